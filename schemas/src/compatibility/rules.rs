//! The rules of schema resolution, from the reader's side.

use std::collections::HashMap;

use apache_avro::schema::{
    Aliases, DecimalSchema, EnumSchema, FixedSchema, InnerDecimalSchema, Name, RecordField,
    RecordSchema, Schema as Avro, UnionSchema, UuidSchema,
};

use super::{Direction, Incompatibility, Kind};
use crate::path::Segment;
use crate::schema::type_name;
use crate::{Path, Schema};

/// Everything that keeps `reader` from reading what `writer` wrote.
pub(super) fn read(reader: &Schema, writer: &Schema, direction: Direction) -> Vec<Incompatibility> {
    let mut rules = Rules { reader, writer, direction, records: HashMap::new() };
    rules.read(reader.avro(), writer.avro(), &Path::root())
}

struct Rules<'a> {
    reader: &'a Schema,
    writer: &'a Schema,
    direction: Direction,
    /// What was found for a pair of records; nothing yet for those under way, which count as
    /// compatible until something proves them not to be. Only records can be recursive.
    records: HashMap<(Name, Name), Vec<Incompatibility>>,
}

/// An Avro type without its logical type, which does not count on the wire.
enum Shape<'a> {
    Plain(Plain),
    Array(&'a Avro),
    Map(&'a Avro),
    Fixed(&'a FixedSchema),
    Enum(&'a EnumSchema),
    Record(&'a RecordSchema),
    Union(&'a UnionSchema),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Plain {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
}

impl Plain {
    /// The specification's promotions.
    const fn reads(self, writer: Self) -> bool {
        use Plain::{Bytes, Double, Float, Int, Long, String};
        self as u8 == writer as u8
            || matches!(
                (self, writer),
                (Long, Int)
                    | (Float, Int | Long)
                    | (Double, Int | Long | Float)
                    | (Bytes, String)
                    | (String, Bytes)
            )
    }
}

impl<'a> Shape<'a> {
    fn of(avro: &'a Avro) -> Self {
        match avro {
            Avro::Null | Avro::Ref { .. } => Self::Plain(Plain::Null),
            Avro::Boolean => Self::Plain(Plain::Boolean),
            Avro::Int | Avro::Date | Avro::TimeMillis => Self::Plain(Plain::Int),
            Avro::Long
            | Avro::TimeMicros
            | Avro::TimestampMillis
            | Avro::TimestampMicros
            | Avro::TimestampNanos
            | Avro::LocalTimestampMillis
            | Avro::LocalTimestampMicros
            | Avro::LocalTimestampNanos => Self::Plain(Plain::Long),
            Avro::Float => Self::Plain(Plain::Float),
            Avro::Double => Self::Plain(Plain::Double),
            Avro::Bytes | Avro::BigDecimal | Avro::Uuid(UuidSchema::Bytes) => {
                Self::Plain(Plain::Bytes)
            }
            Avro::Decimal(DecimalSchema { inner: InnerDecimalSchema::Bytes, .. }) => {
                Self::Plain(Plain::Bytes)
            }
            Avro::String | Avro::Uuid(UuidSchema::String) => Self::Plain(Plain::String),
            Avro::Fixed(fixed)
            | Avro::Duration(fixed)
            | Avro::Uuid(UuidSchema::Fixed(fixed))
            | Avro::Decimal(DecimalSchema { inner: InnerDecimalSchema::Fixed(fixed), .. }) => {
                Self::Fixed(fixed)
            }
            Avro::Array(array) => Self::Array(&array.items),
            Avro::Map(map) => Self::Map(&map.types),
            Avro::Enum(symbols) => Self::Enum(symbols),
            Avro::Record(record) => Self::Record(record),
            Avro::Union(union) => Self::Union(union),
        }
    }

    /// Whether a person would call both the same type, in a union's branches.
    fn resembles(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain(a), Self::Plain(b)) => a == b,
            (Self::Fixed(a), Self::Fixed(b)) => a.name.name() == b.name.name(),
            (Self::Enum(a), Self::Enum(b)) => a.name.name() == b.name.name(),
            (Self::Record(a), Self::Record(b)) => a.name.name() == b.name.name(),
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl<'a> Rules<'a> {
    fn read(&mut self, reader: &'a Avro, writer: &'a Avro, path: &Path) -> Vec<Incompatibility> {
        let (reader, writer) = (self.reader.resolve(reader), self.writer.resolve(writer));
        match (Shape::of(reader), Shape::of(writer)) {
            (Shape::Union(_), Shape::Union(branches)) => branches
                .variants()
                .iter()
                .flat_map(|branch| self.read(reader, branch, path))
                .collect(),
            (Shape::Union(union), _) => self.read_by_union(union, writer, path),
            (_, Shape::Union(branches)) => branches
                .variants()
                .iter()
                .flat_map(|branch| self.read(reader, branch, path))
                .collect(),
            (Shape::Record(r), Shape::Record(w)) => self.read_record(r, w, path),
            (Shape::Array(r), Shape::Array(w)) => self.read(r, w, &path.join(Segment::Items)),
            (Shape::Map(r), Shape::Map(w)) => self.read(r, w, &path.join(Segment::Values)),
            (Shape::Enum(r), Shape::Enum(w)) => self.read_enum(r, w, path),
            (Shape::Fixed(r), Shape::Fixed(w)) => {
                let mut found = self.read_fixed(r, w, path);
                found.extend(self.read_decimal(reader, writer, path));
                found
            }
            (Shape::Plain(r), Shape::Plain(w)) if r.reads(w) => {
                self.read_decimal(reader, writer, path).into_iter().collect()
            }
            _ => vec![self.type_mismatch(reader, writer, path)],
        }
    }

    fn read_by_union(
        &mut self,
        union: &'a UnionSchema,
        writer: &'a Avro,
        path: &Path,
    ) -> Vec<Incompatibility> {
        let mut nearest = None;
        for branch in union.variants() {
            let found = self.read(branch, writer, path);
            if found.is_empty() {
                return found;
            }
            if Shape::of(self.reader.resolve(branch)).resembles(&Shape::of(writer)) {
                nearest = found.into_iter().next();
            }
        }
        let message = match nearest {
            Some(reason) => reason.message,
            None => format!(
                "{} has no branch for {}: {}. Keep that branch in the union",
                place(path),
                self.writers_type(writer),
                self.consequence()
            ),
        };
        vec![Incompatibility { kind: Kind::MissingUnionBranch, path: path.clone(), message }]
    }

    fn read_record(
        &mut self,
        reader: &'a RecordSchema,
        writer: &'a RecordSchema,
        path: &Path,
    ) -> Vec<Incompatibility> {
        let pair = (reader.name.clone(), writer.name.clone());
        if let Some(found) = self.records.get(&pair) {
            return found.clone();
        }
        self.records.insert(pair.clone(), Vec::new());
        let mut found: Vec<_> =
            self.read_name(&reader.name, &reader.aliases, &writer.name, path).into_iter().collect();
        for field in &reader.fields {
            let path = path.field(&field.name);
            match written(field, writer) {
                Some(source) => found.extend(self.read(&field.schema, &source.schema, &path)),
                None if field.default.is_some() => {}
                None => found.push(self.missing_default(field, &path)),
            }
        }
        self.records.insert(pair, found.clone());
        found
    }

    fn missing_default(&self, field: &RecordField, path: &Path) -> Incompatibility {
        let place = place(path);
        let kind = type_name(self.reader, &field.schema);
        let message = match self.direction {
            Direction::NewReadsOld => format!(
                "{place} was added without a default: {}. Give it a default",
                self.consequence()
            ),
            Direction::OldReadsNew => format!(
                "{place} ({kind}) was removed and had no default: {}. Keep the field",
                self.consequence()
            ),
        };
        Incompatibility { kind: Kind::ReaderFieldMissingDefaultValue, path: path.clone(), message }
    }

    fn read_enum(
        &self,
        reader: &EnumSchema,
        writer: &EnumSchema,
        path: &Path,
    ) -> Vec<Incompatibility> {
        let mut found: Vec<_> =
            self.read_name(&reader.name, &reader.aliases, &writer.name, path).into_iter().collect();
        let missing: Vec<_> = writer
            .symbols
            .iter()
            .filter(|symbol| !reader.symbols.contains(symbol))
            .map(|symbol| format!("`{symbol}`"))
            .collect();
        let has_default =
            reader.default.as_ref().is_some_and(|default| reader.symbols.contains(default));
        if !missing.is_empty() && !has_default {
            let (symbols, place) = (missing.join(", "), place(path));
            let advice = match self.direction {
                Direction::NewReadsOld => "Keep them, or give the enum a default",
                Direction::OldReadsNew => {
                    "Add symbols only once the earlier version has an enum default"
                }
            };
            let change = match self.direction {
                Direction::NewReadsOld => "lost",
                Direction::OldReadsNew => "gained",
            };
            let consequence = self.consequence();
            let message =
                format!("{place} {change} the symbols {symbols}: {consequence}. {advice}");
            let kind = Kind::MissingEnumSymbols;
            found.push(Incompatibility { kind, path: path.clone(), message });
        }
        found
    }

    fn read_fixed(
        &self,
        reader: &FixedSchema,
        writer: &FixedSchema,
        path: &Path,
    ) -> Vec<Incompatibility> {
        let mut found: Vec<_> =
            self.read_name(&reader.name, &reader.aliases, &writer.name, path).into_iter().collect();
        if reader.size != writer.size {
            let message = format!(
                "{} holds {} bytes for readers and {} as written: {}. Keep the size, or add a new \
                 field",
                place(path),
                reader.size,
                writer.size,
                self.consequence()
            );
            let kind = Kind::FixedSizeMismatch;
            found.push(Incompatibility { kind, path: path.clone(), message });
        }
        found
    }

    /// The specification's rule for decimals, which Java leaves out; see the module's docs.
    fn read_decimal(&self, reader: &Avro, writer: &Avro, path: &Path) -> Option<Incompatibility> {
        let (Avro::Decimal(r), Avro::Decimal(w)) = (reader, writer) else { return None };
        if r.scale == w.scale && r.precision >= w.precision {
            return None;
        }
        let consequence = match r.scale == w.scale {
            true => "values of more digits would not fit",
            false => "amounts would be read with the decimal point in another place",
        };
        let message = format!(
            "{} is {} for readers and {} as written: {consequence}. Keep it, or add a new field",
            place(path),
            type_name(self.reader, reader),
            type_name(self.writer, writer),
        );
        Some(Incompatibility { kind: Kind::TypeMismatch, path: path.clone(), message })
    }

    /// Names match without their namespace, or by the reader's alias for the writer's full name.
    fn read_name(
        &self,
        reader: &Name,
        aliases: &Aliases,
        writer: &Name,
        path: &Path,
    ) -> Option<Incompatibility> {
        let fullname = writer.fullname(None);
        let mut aliases = aliases.iter().flatten();
        if reader.name() == writer.name()
            || aliases.any(|alias| alias.fullname(reader.namespace()) == fullname)
        {
            return None;
        }
        let advice = match self.direction {
            Direction::NewReadsOld => format!("Give it the alias `{fullname}`"),
            Direction::OldReadsNew => "Keep the name".to_owned(),
        };
        let message = format!(
            "{} is named `{}` for readers and `{fullname}` as written: {}. {advice}",
            place(path),
            reader.fullname(None),
            self.consequence()
        );
        Some(Incompatibility { kind: Kind::NameMismatch, path: path.clone(), message })
    }

    fn type_mismatch(&self, reader: &Avro, writer: &Avro, path: &Path) -> Incompatibility {
        let message = format!(
            "{} is {} for readers, which does not hold {}: {}. Keep the type, or add a new field",
            place(path),
            type_name(self.reader, reader),
            self.writers_type(writer),
            self.consequence()
        );
        Incompatibility { kind: Kind::TypeMismatch, path: path.clone(), message }
    }

    fn writers_type(&self, writer: &Avro) -> String {
        let events = match self.direction {
            Direction::NewReadsOld => "old",
            Direction::OldReadsNew => "new",
        };
        format!("the {} of {events} events", type_name(self.writer, writer))
    }

    const fn consequence(&self) -> &'static str {
        match self.direction {
            Direction::NewReadsOld => "readers of the new schema cannot read old events",
            Direction::OldReadsNew => "readers of the earlier version cannot read new events",
        }
    }
}

/// The writer's field for a reader's, by name or by the reader's aliases.
fn written<'a>(field: &RecordField, writer: &'a RecordSchema) -> Option<&'a RecordField> {
    std::iter::once(&field.name)
        .chain(&field.aliases)
        .find_map(|name| writer.fields.iter().find(|candidate| candidate.name == *name))
}

fn place(path: &Path) -> String {
    match path.segments() {
        [] => "the schema".to_owned(),
        _ => format!("field `{}`", path.to_string().trim_start_matches('.')),
    }
}
