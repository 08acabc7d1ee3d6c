//! A schema as the columns of a table: what files of rows and databases make of it.

use apache_avro::schema::{DecimalSchema, Name, RecordSchema, Schema as Avro};
use vrl::value::Value;

use crate::calendar;
pub use crate::calendar::Unit;
use crate::schema::Schema;

/// A field of a record, or what a list or a map holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The field's name; `item` in a list, `value` in a map.
    pub name: String,
    /// What its values are.
    pub kind: Type,
    /// Whether null is one of them.
    pub nullable: bool,
}

/// What the values of a column are, null aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// `boolean`.
    Boolean,
    /// `int`.
    Int,
    /// `long`.
    Long,
    /// `float`.
    Float,
    /// `double`.
    Double,
    /// `string`, `enum`, `uuid`, and `big-decimal`, whose digits have no bound.
    Text,
    /// `bytes`, `fixed`.
    Bytes,
    /// `date`.
    Date,
    /// `time-millis`, `time-micros`: since midnight.
    Time(Unit),
    /// `timestamp-*`: an instant.
    Timestamp(Unit),
    /// `local-timestamp-*`: of a clock whose zone is not known.
    Local(Unit),
    /// `decimal`.
    Decimal {
        /// Most digits.
        precision: usize,
        /// Those behind the point.
        scale: usize,
    },
    /// A record that has fields.
    Record(Vec<Column>),
    /// An array.
    List(Box<Column>),
    /// A map; its keys are texts.
    Map(Box<Column>),
    /// What no column holds, as JSON: unions of several types, records that hold themselves,
    /// records without fields, durations.
    Json,
}

/// The columns of a schema that is a record; nothing of another.
pub fn columns(schema: &Schema) -> Option<Vec<Column>> {
    match schema.resolve(schema.avro()) {
        Avro::Record(record) => Some(fields(schema, record, &mut Vec::new())),
        _ => None,
    }
}

fn fields<'a>(
    schema: &'a Schema,
    record: &'a RecordSchema,
    open: &mut Vec<&'a Name>,
) -> Vec<Column> {
    open.push(&record.name);
    let columns =
        record.fields.iter().map(|field| column(schema, &field.name, &field.schema, open));
    let columns = columns.collect();
    open.pop();
    columns
}

fn column<'a>(schema: &'a Schema, name: &str, avro: &'a Avro, open: &mut Vec<&'a Name>) -> Column {
    let name = name.to_owned();
    let Avro::Union(union) = schema.resolve(avro) else {
        let kind = kind(schema, avro, open);
        let nullable = matches!(schema.resolve(avro), Avro::Null);
        return Column { name, kind, nullable };
    };
    let (nulls, others): (Vec<_>, Vec<_>) =
        union.variants().iter().partition(|variant| matches!(variant, Avro::Null));
    let kind = match others[..] {
        [only] => kind(schema, only, open),
        _ => Type::Json,
    };
    Column { name, kind, nullable: !nulls.is_empty() }
}

fn kind<'a>(schema: &'a Schema, avro: &'a Avro, open: &mut Vec<&'a Name>) -> Type {
    match schema.resolve(avro) {
        Avro::Boolean => Type::Boolean,
        Avro::Int => Type::Int,
        Avro::Long => Type::Long,
        Avro::Float => Type::Float,
        Avro::Double => Type::Double,
        Avro::String | Avro::Enum(_) | Avro::Uuid(_) | Avro::BigDecimal => Type::Text,
        Avro::Bytes | Avro::Fixed(_) => Type::Bytes,
        Avro::Date => Type::Date,
        Avro::TimeMillis => Type::Time(Unit::Millis),
        Avro::TimeMicros => Type::Time(Unit::Micros),
        Avro::TimestampMillis => Type::Timestamp(Unit::Millis),
        Avro::TimestampMicros => Type::Timestamp(Unit::Micros),
        Avro::TimestampNanos => Type::Timestamp(Unit::Nanos),
        Avro::LocalTimestampMillis => Type::Local(Unit::Millis),
        Avro::LocalTimestampMicros => Type::Local(Unit::Micros),
        Avro::LocalTimestampNanos => Type::Local(Unit::Nanos),
        Avro::Decimal(DecimalSchema { precision, scale, .. }) => {
            Type::Decimal { precision: *precision, scale: *scale }
        }
        Avro::Record(record) if record.fields.is_empty() || open.contains(&&record.name) => {
            Type::Json
        }
        Avro::Record(record) => Type::Record(fields(schema, record, open)),
        Avro::Array(array) => Type::List(Box::new(column(schema, "item", &array.items, open))),
        Avro::Map(map) => Type::Map(Box::new(column(schema, "value", &map.types, open))),
        _ => Type::Json,
    }
}

impl Type {
    /// The number that stands for a value of a whole number's, date's or time's type: days since
    /// 1970, or a count of the type's unit. Nothing for other types, and for what is no value of it.
    pub fn count(&self, value: &Value) -> Option<i64> {
        let text = || value.to_str_lossy();
        match self {
            Type::Int | Type::Long => value.as_integer(),
            Type::Date => calendar::date_days(&text()?).map(i64::from),
            Type::Time(unit) => calendar::time_count(&text()?, *unit),
            Type::Timestamp(unit) => calendar::timestamp_count(*value.as_timestamp()?, *unit),
            Type::Local(unit) => calendar::local_count(&text()?, *unit),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events;

    fn of(text: &str) -> Vec<Column> {
        columns(&Schema::parse(text).unwrap()).unwrap()
    }

    fn one(fields: &str) -> Column {
        let text = format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
        of(&text).remove(0)
    }

    #[test]
    fn an_order_is_columns_with_records_and_lists() {
        let order = of(events::ORDER);
        let find = |name: &str| order.iter().find(|column| column.name == name).unwrap();
        assert!(matches!(find("total").kind, Type::Decimal { .. }));
        assert!(matches!(find("placed_at").kind, Type::Timestamp(_)));
        assert!(matches!(find("customer").kind, Type::Record(_)));
        assert!(find("note").nullable && !find("id").nullable);
        let Type::List(line) = &find("lines").kind else { panic!("{:?}", find("lines")) };
        let Type::Record(line) = &line.kind else { panic!("{line:?}") };
        assert_eq!(line.len(), 4);
    }

    #[test]
    fn what_no_column_holds_is_json() {
        let union = one(r#"{"name":"a","type":["null","int","string"]}"#);
        assert_eq!((union.kind, union.nullable), (Type::Json, true));
        let Type::Record(inner) = one(
            r#"{"name":"a","type":{"type":"record","name":"N","fields":[{"name":"next","type":["null","N"]}]}}"#,
        )
        .kind
        else {
            panic!("a record")
        };
        assert_eq!((&inner[0].kind, inner[0].nullable), (&Type::Json, true));
        assert_eq!(columns(&Schema::parse(r#""string""#).unwrap()), None);
    }

    #[test]
    fn dates_and_times_are_counts() {
        let count = |kind: Type, text: &str| kind.count(&Value::from(text));
        assert_eq!(count(Type::Date, "2024-05-01"), Some(19_844));
        assert_eq!(count(Type::Time(Unit::Micros), "00:00:01.000002"), Some(1_000_002));
        assert_eq!(count(Type::Date, "soon"), None);
        assert_eq!(Type::Long.count(&Value::Integer(-3)), Some(-3));
    }
}
