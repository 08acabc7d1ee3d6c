//! What an apache-avro value is in VRL, by other means than the codec's: the table of the book.

use apache_avro::schema::{DecimalSchema, Schema as Avro};
use apache_avro::types::Value as AvroValue;
use bigdecimal::BigDecimal;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta};
use num_bigint::BigInt;
use vrl::value::{ObjectMap, Value};

use apache_avro::schema::ResolvedSchema;
use std::collections::HashMap;

type Names<'a> = HashMap<apache_avro::schema::Name, &'a Avro>;

pub fn of(avro: &Avro, value: &AvroValue) -> Value {
    let resolved = ResolvedSchema::try_from(avro).unwrap();
    part(avro, value, resolved.get_names())
}

fn float(number: f64) -> Value {
    Value::Float(number.try_into().unwrap())
}

fn part(avro: &Avro, value: &AvroValue, names: &Names<'_>) -> Value {
    match (avro, value) {
        (Avro::Ref { name }, _) => part(names[name], value, names),
        (Avro::Union(union), AvroValue::Union(index, value)) => {
            part(&union.variants()[*index as usize], value, names)
        }
        (Avro::Record(record), AvroValue::Record(fields)) => {
            let fields = record.fields.iter().zip(fields);
            let fields = fields.map(|(field, (name, value))| {
                assert_eq!(&field.name, name);
                (name.as_str().into(), part(&field.schema, value, names))
            });
            Value::Object(fields.collect::<ObjectMap>())
        }
        (Avro::Array(array), AvroValue::Array(items)) => {
            Value::Array(items.iter().map(|item| part(&array.items, item, names)).collect())
        }
        (Avro::Map(map), AvroValue::Map(entries)) => {
            let entries = entries
                .iter()
                .map(|(key, value)| (key.as_str().into(), part(&map.types, value, names)));
            Value::Object(entries.collect::<ObjectMap>())
        }
        (Avro::Decimal(DecimalSchema { scale, .. }), AvroValue::Decimal(decimal)) => {
            let unscaled = BigInt::from(decimal.clone());
            Value::from(BigDecimal::new(unscaled, *scale as i64).to_plain_string())
        }
        (_, value) => leaf(value),
    }
}

fn leaf(value: &AvroValue) -> Value {
    let instant =
        |seconds: i64, nanos: i64| DateTime::from_timestamp(seconds, nanos as u32).unwrap();
    let split = |count: i64, unit: i64| {
        instant(count.div_euclid(unit), count.rem_euclid(unit) * (1_000_000_000 / unit))
    };
    let midnight = |nanos| NaiveTime::MIN.overflowing_add_signed(TimeDelta::nanoseconds(nanos)).0;
    match value {
        AvroValue::Null => Value::Null,
        AvroValue::Boolean(boolean) => Value::Boolean(*boolean),
        AvroValue::Int(number) => Value::Integer(i64::from(*number)),
        AvroValue::Long(number) => Value::Integer(*number),
        AvroValue::Float(number) => float(f64::from(*number)),
        AvroValue::Double(number) => float(*number),
        AvroValue::String(text) | AvroValue::Enum(_, text) => Value::from(text.as_str()),
        AvroValue::Bytes(bytes) | AvroValue::Fixed(_, bytes) => Value::Bytes(bytes.clone().into()),
        AvroValue::Date(days) => {
            let date =
                NaiveDate::from_ymd_opt(1970, 1, 1).unwrap() + TimeDelta::days(i64::from(*days));
            Value::from(date.to_string())
        }
        AvroValue::TimeMillis(count) => {
            Value::from(midnight(i64::from(*count) * 1_000_000).format("%H:%M:%S%.3f").to_string())
        }
        AvroValue::TimeMicros(count) => {
            Value::from(midnight(*count * 1_000).format("%H:%M:%S%.6f").to_string())
        }
        AvroValue::TimestampMillis(count) => Value::Timestamp(split(*count, 1_000)),
        AvroValue::TimestampMicros(count) => Value::Timestamp(split(*count, 1_000_000)),
        AvroValue::TimestampNanos(count) => Value::Timestamp(split(*count, 1_000_000_000)),
        AvroValue::LocalTimestampMillis(count) => local(split(*count, 1_000), "%.3f"),
        AvroValue::LocalTimestampMicros(count) => local(split(*count, 1_000_000), "%.6f"),
        AvroValue::LocalTimestampNanos(count) => local(split(*count, 1_000_000_000), "%.9f"),
        AvroValue::Uuid(uuid) => Value::from(uuid.to_string()),
        AvroValue::BigDecimal(decimal) => Value::from(decimal.to_plain_string()),
        AvroValue::Duration(duration) => {
            let counts: [u8; 12] = (*duration).into();
            let count = |at: usize| {
                let bytes = [counts[at], counts[at + 1], counts[at + 2], counts[at + 3]];
                Value::Integer(i64::from(u32::from_le_bytes(bytes)))
            };
            vrl::value!({ months: (count(0)), days: (count(4)), milliseconds: (count(8)) })
        }
        other => panic!("{other:?}"),
    }
}

fn local(instant: DateTime<chrono::Utc>, fraction: &str) -> Value {
    let date = instant.date_naive();
    Value::from(format!("{date}T{}", instant.format(&format!("%H:%M:%S{fraction}"))))
}
