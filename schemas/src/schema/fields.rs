//! The fields of a schema as a person would list them.

use apache_avro::schema::{
    DecimalSchema, InnerDecimalSchema, RecordField, RecordSchema, Schema as Avro,
};

use super::Schema;
use crate::path::{Path, Segment};

/// A field of a schema, for consoles and completions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Where it is: `.lines[].unit_price`.
    pub path: Path,
    /// Its type as a person writes it: `decimal(18, 2)`, `array of Line`, `string or null`.
    pub kind: String,
    /// The schema's description of it.
    pub doc: Option<String>,
    /// The JSON text of its default.
    pub default: Option<String>,
    /// Whether null is one of its values.
    pub nullable: bool,
}

pub(super) fn list(schema: &Schema) -> Vec<Field> {
    let mut listing = Listing { schema, fields: Vec::new(), open: Vec::new() };
    listing.walk(schema.avro(), &Path::root());
    listing.fields
}

struct Listing<'a> {
    schema: &'a Schema,
    fields: Vec<Field>,
    /// The records that enclose the current one: a recursive type is listed once.
    open: Vec<&'a RecordSchema>,
}

impl<'a> Listing<'a> {
    fn walk(&mut self, avro: &'a Avro, path: &Path) {
        match self.schema.resolve(avro) {
            Avro::Record(record) => self.walk_record(record, path),
            Avro::Array(array) => self.walk(&array.items, &path.join(Segment::Items)),
            Avro::Map(map) => self.walk(&map.types, &path.join(Segment::Values)),
            Avro::Union(union) => {
                union.variants().iter().for_each(|variant| self.walk(variant, path))
            }
            _ => {}
        }
    }

    fn walk_record(&mut self, record: &'a RecordSchema, path: &Path) {
        if self.open.iter().any(|open| open.name == record.name) {
            return;
        }
        self.open.push(record);
        for field in &record.fields {
            let path = path.field(&field.name);
            self.fields.push(describe(self.schema, field, &path));
            self.walk(&field.schema, &path);
        }
        self.open.pop();
    }
}

fn describe(schema: &Schema, field: &RecordField, path: &Path) -> Field {
    let avro = schema.resolve(&field.schema);
    Field {
        path: path.clone(),
        kind: type_name(schema, avro),
        doc: field.doc.clone(),
        default: field.default.as_ref().map(ToString::to_string),
        nullable: match avro {
            Avro::Union(union) => union.variants().contains(&Avro::Null),
            other => matches!(other, Avro::Null),
        },
    }
}

/// A type as a person writes it.
pub(crate) fn type_name(schema: &Schema, avro: &Avro) -> String {
    match schema.resolve(avro) {
        Avro::Array(array) => format!("array of {}", type_name(schema, &array.items)),
        Avro::Map(map) => format!("map of {}", type_name(schema, &map.types)),
        Avro::Union(union) => union_name(schema, union.variants()),
        Avro::Decimal(DecimalSchema {
            precision,
            scale,
            inner: InnerDecimalSchema::Bytes | InnerDecimalSchema::Fixed(_),
        }) => {
            format!("decimal({precision}, {scale})")
        }
        Avro::Record(record) => record.name.name().to_owned(),
        Avro::Enum(symbols) => format!("enum {}", symbols.name.name()),
        Avro::Fixed(fixed) => format!("fixed({})", fixed.size),
        other => plain_name(other).to_owned(),
    }
}

fn union_name(schema: &Schema, variants: &[Avro]) -> String {
    let (null, others): (Vec<_>, Vec<_>) = variants.iter().partition(|v| matches!(v, Avro::Null));
    let names: Vec<_> = others.into_iter().chain(null).map(|v| type_name(schema, v)).collect();
    match names.split_last() {
        None => "nothing".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}

/// The Avro specification's name of a type that needs no parameters.
fn plain_name(avro: &Avro) -> &'static str {
    match avro {
        Avro::Null => "null",
        Avro::Boolean => "boolean",
        Avro::Int => "int",
        Avro::Long => "long",
        Avro::Float => "float",
        Avro::Double => "double",
        Avro::Bytes => "bytes",
        Avro::String => "string",
        Avro::BigDecimal => "big-decimal",
        Avro::Uuid(_) => "uuid",
        Avro::Date => "date",
        Avro::TimeMillis => "time-millis",
        Avro::TimeMicros => "time-micros",
        Avro::TimestampMillis => "timestamp-millis",
        Avro::TimestampMicros => "timestamp-micros",
        Avro::TimestampNanos => "timestamp-nanos",
        Avro::LocalTimestampMillis => "local-timestamp-millis",
        Avro::LocalTimestampMicros => "local-timestamp-micros",
        Avro::LocalTimestampNanos => "local-timestamp-nanos",
        Avro::Duration(_) => "duration",
        _ => "unknown",
    }
}
