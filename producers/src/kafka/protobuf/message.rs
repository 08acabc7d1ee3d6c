//! A message as the tree of which an event of our topic's schema is read.

use std::borrow::Cow;
use std::fmt::Debug;

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use protox::prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, ReflectMessage as _, Value,
};
use schemas::json::{Json, Node};

/// The message: its fields by their names in the `.proto` file, numbers by their digits. What is not
/// set and could be (`optional`, messages, members of a `oneof`) is left out; the others have their
/// default.
pub(super) fn node(message: &DynamicMessage) -> Node<'static> {
    well_known(message).unwrap_or_else(|| fields(message))
}

fn fields(message: &DynamicMessage) -> Node<'static> {
    let descriptor = message.descriptor();
    let written = descriptor.fields().filter(|field| is_written(message, field));
    let named = written.map(|field| {
        let value = message.get_field(&field);
        (Cow::Owned(field.name().to_owned()), json(value_of(&field, &value)))
    });
    Node::Object(named.collect())
}

fn is_written(message: &DynamicMessage, field: &FieldDescriptor) -> bool {
    // (proto2 has defaults of its own.)
    let has_default = field.field_descriptor_proto().default_value.is_some();
    message.has_field(field) || !field.supports_presence() || has_default
}

fn value_of(field: &FieldDescriptor, value: &Value) -> Node<'static> {
    match value {
        Value::List(items) => {
            let kind = field.kind();
            Node::Array(items.iter().map(|item| json(single(&kind, item))).collect())
        }
        Value::Map(entries) => {
            let Kind::Message(entry) = field.kind() else { return wrong("a map") };
            let kind = entry.map_entry_value_field().kind();
            let named = entries.iter();
            let named = named.map(|(key, value)| (key_of(key), json(single(&kind, value))));
            Node::Object(named.collect())
        }
        one => single(&field.kind(), one),
    }
}

fn key_of(key: &MapKey) -> Cow<'static, str> {
    Cow::Owned(match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    })
}

fn single(kind: &Kind, value: &Value) -> Node<'static> {
    match value {
        Value::Bool(value) => Node::Boolean(*value),
        Value::I32(number) => digits(number),
        Value::I64(number) => digits(number),
        Value::U32(number) => digits(number),
        Value::U64(number) => digits(number),
        Value::F32(number) => real(number, f64::from(*number)),
        Value::F64(number) => real(number, *number),
        Value::String(text) => Node::Text(text.clone().into()),
        Value::Bytes(bytes) => Node::Bytes(bytes.to_vec()),
        Value::EnumNumber(number) => match kind {
            Kind::Enum(names) => name_of(names, *number),
            _ => digits(number),
        },
        Value::Message(message) => node(message),
        Value::List(_) | Value::Map(_) => wrong("a list within a list"),
    }
}

fn json(node: Node<'static>) -> Json<'static> {
    node.into()
}

fn wrong(what: impl Into<String>) -> Node<'static> {
    Node::Wrong(what.into())
}

fn digits(number: impl ToString) -> Node<'static> {
    Node::Number(number.to_string().into())
}

/// The shortest digits that give the same number of the same size again.
fn real(number: impl Debug, value: f64) -> Node<'static> {
    match value {
        _ if value.is_finite() => Node::Number(format!("{number:?}").into()),
        f64::INFINITY => Node::Text("Infinity".into()),
        f64::NEG_INFINITY => Node::Text("-Infinity".into()),
        _ => wrong("NaN, which is no number"),
    }
}

/// A number that has no name may be one that their application has got since: it is nothing of ours.
fn name_of(names: &EnumDescriptor, number: i32) -> Node<'static> {
    match names.get_value(number) {
        _ if names.full_name() == "google.protobuf.NullValue" => Node::Null,
        Some(value) => Node::Text(value.name().to_owned().into()),
        None => {
            wrong(format!("the number {number}, for which `{}` has no name", names.full_name()))
        }
    }
}

/// What Google's and Confluent's own messages stand for.
fn well_known(message: &DynamicMessage) -> Option<Node<'static>> {
    let descriptor = message.descriptor();
    let name = descriptor.full_name();
    Some(match name {
        "google.protobuf.Timestamp" => timestamp(message),
        "google.protobuf.Duration" => duration(message),
        "google.protobuf.Struct" => field(message, "fields"),
        "google.protobuf.ListValue" => field(message, "values"),
        // Of its `oneof`, the one that is set.
        "google.protobuf.Value" => {
            let set = message.fields().next();
            set.map_or(Node::Null, |(field, value)| value_of(&field, value))
        }
        "google.type.Date" => date(message),
        "confluent.type.Decimal" => decimal(message),
        "google.protobuf.DoubleValue"
        | "google.protobuf.FloatValue"
        | "google.protobuf.Int64Value"
        | "google.protobuf.UInt64Value"
        | "google.protobuf.Int32Value"
        | "google.protobuf.UInt32Value"
        | "google.protobuf.BoolValue"
        | "google.protobuf.StringValue"
        | "google.protobuf.BytesValue"
        | "google.type.Decimal" => field(message, "value"),
        _ => return None,
    })
}

fn field(message: &DynamicMessage, name: &str) -> Node<'static> {
    let found = message.descriptor().get_field_by_name(name);
    found.map_or(Node::Null, |field| value_of(&field, &message.get_field(&field)))
}

fn number(message: &DynamicMessage, name: &str) -> i64 {
    match message.get_field_by_name(name).as_deref() {
        Some(Value::I32(number)) => i64::from(*number),
        Some(Value::I64(number)) => *number,
        _ => 0,
    }
}

/// RFC 3339. (Beyond the years that `timestamp.proto` allows, RFC 3339 has no form.)
fn timestamp(message: &DynamicMessage) -> Node<'static> {
    let (seconds, nanos) = (number(message, "seconds"), number(message, "nanos"));
    let instant = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    let instant = instant.and_then(|nanos| DateTime::from_timestamp(seconds, nanos));
    let years = -62_135_596_800..=253_402_300_799_i64;
    match instant.filter(|_| years.contains(&seconds)) {
        Some(instant) => Node::Text(instant.to_rfc3339_opts(SecondsFormat::AutoSi, true).into()),
        None => wrong(format!("{seconds} seconds and {nanos} nanoseconds, which is no time")),
    }
}

/// As Protobuf writes it in JSON: `1.5s`.
fn duration(message: &DynamicMessage) -> Node<'static> {
    let (seconds, nanos) = (number(message, "seconds"), number(message, "nanos"));
    let agree = nanos.abs() < 1_000_000_000 && seconds.signum() * nanos.signum() >= 0;
    if !agree {
        return wrong(format!("{seconds} seconds and {nanos} nanoseconds, which is no duration"));
    }
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    let fraction = format!("{:09}", nanos.abs());
    let fraction = match fraction.trim_end_matches('0') {
        "" => String::new(),
        digits => format!(".{digits}"),
    };
    Node::Text(format!("{sign}{}{fraction}s", seconds.unsigned_abs()).into())
}

/// `2026-01-31`; a date without a year, a month or a day is none.
fn date(message: &DynamicMessage) -> Node<'static> {
    let part = |name| number(message, name);
    let (year, month, day) = (part("year"), part("month"), part("day"));
    let whole = i32::try_from(year).ok().filter(|year| *year > 0).and_then(|year| {
        chrono::NaiveDate::from_ymd_opt(year, month.try_into().ok()?, day.try_into().ok()?)
    });
    match whole {
        Some(date) => Node::Text(date.to_string().into()),
        None => wrong(format!("year {year}, month {month}, day {day}, which is no date")),
    }
}

/// What Kafka Connect and ksqlDB write for a decimal: its digits as a big-endian integer in two's
/// complement, and how many of them follow the point.
fn decimal(message: &DynamicMessage) -> Node<'static> {
    // What is larger would only fill the memory.
    const MOST: usize = 1_000;
    let scale = number(message, "scale");
    let bytes = match message.get_field_by_name("value").as_deref() {
        Some(Value::Bytes(bytes)) => bytes.clone(),
        _ => Bytes::new(),
    };
    if scale.unsigned_abs() > MOST as u64 || bytes.len() > MOST {
        return wrong(format!("a decimal of {} bytes and the scale {scale}", bytes.len()));
    }
    digits(BigDecimal::new(BigInt::from_signed_bytes_be(&bytes), scale).to_plain_string())
}
