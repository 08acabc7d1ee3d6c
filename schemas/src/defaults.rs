//! A field's default, which a schema holds as JSON, as the Avro bytes that stand for it.

use std::collections::HashMap;

use apache_avro::schema::{
    DecimalSchema, EnumSchema, InnerDecimalSchema, RecordField, RecordSchema, Schema as Avro,
    UuidSchema,
};
use serde_json::Value as Json;
use vrl::value::Value;

use crate::binary;
use crate::decoder::Decoder;
use crate::schema::{self, Schema};

/// Records within each other that a default may take: one whose default holds itself never ends.
const MAX_DEPTH: usize = 32;

/// The values of a record's defaults, by field.
pub(crate) fn values(schema: &Schema, record: &RecordSchema) -> HashMap<String, Value> {
    let value = |field: &RecordField| {
        let bytes = bytes(schema, &field.schema, field.default.as_ref()?).ok()?;
        let decoder = Decoder::of_part(schema, &field.schema).ok()?;
        Some((field.name.clone(), decoder.decode(&bytes).ok()?))
    };
    record.fields.iter().filter_map(value).collect()
}

/// The bytes of a default of type `avro`, which is a part of `schema`.
///
/// # Errors
/// The JSON is no value of that type.
pub(crate) fn bytes(schema: &Schema, avro: &Avro, json: &Json) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    write(schema, avro, json, 0, &mut out)?;
    Ok(out)
}

fn write(
    schema: &Schema,
    avro: &Avro,
    json: &Json,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("its default is nested more than {MAX_DEPTH} deep"));
    }
    let avro = schema.resolve(avro);
    let refused = || format!("its default {json} is not a {}", schema::type_name(schema, avro));
    match (avro, json) {
        (Avro::Array(array), Json::Array(items)) => {
            return write_blocks(items.len(), out, |out| {
                items.iter().try_for_each(|item| write(schema, &array.items, item, depth + 1, out))
            });
        }
        (Avro::Map(map), Json::Object(entries)) => {
            return write_blocks(entries.len(), out, |out| {
                entries.iter().try_for_each(|(key, value)| {
                    binary::bytes(key.as_bytes(), out);
                    write(schema, &map.types, value, depth + 1, out)
                })
            });
        }
        (Avro::Union(union), _) => return write_branch(schema, union.variants(), json, depth, out),
        (Avro::Record(record), Json::Object(_)) => {
            return write_record(schema, record, json, depth, out);
        }
        _ => {}
    }
    write_scalar(avro, json, out).ok_or_else(refused)
}

fn write_blocks(
    count: usize,
    out: &mut Vec<u8>,
    items: impl FnOnce(&mut Vec<u8>) -> Result<(), String>,
) -> Result<(), String> {
    if count > 0 {
        binary::count(count, out);
        items(out)?;
    }
    out.push(0);
    Ok(())
}

/// Since Avro 1.12 a union's default may be of any branch; the first that takes it is meant.
fn write_branch(
    schema: &Schema,
    branches: &[Avro],
    json: &Json,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let start = out.len();
    let mut cause = "a union without branches has no default".to_owned();
    for (index, branch) in branches.iter().enumerate() {
        binary::count(index, out);
        match write(schema, branch, json, depth + 1, out) {
            Ok(()) => return Ok(()),
            Err(refused) => cause = refused,
        }
        out.truncate(start);
    }
    Err(cause)
}

fn write_record(
    schema: &Schema,
    record: &RecordSchema,
    json: &Json,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    record.fields.iter().try_for_each(|field| {
        let value = json.get(&field.name).or(field.default.as_ref());
        let missing = || format!("its default lacks the field `{}`", field.name);
        write(schema, &field.schema, value.ok_or_else(missing)?, depth + 1, out)
    })
}

fn write_scalar(avro: &Avro, json: &Json, out: &mut Vec<u8>) -> Option<()> {
    match avro {
        Avro::Null => return json.as_null(),
        Avro::Boolean => out.push(u8::from(json.as_bool()?)),
        Avro::Int | Avro::Date | Avro::TimeMillis => {
            binary::long(i32::try_from(json.as_i64()?).ok()?.into(), out);
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a float's default is the nearest float"
        )]
        Avro::Float => out.extend_from_slice(&(number(json)? as f32).to_le_bytes()),
        Avro::Double => out.extend_from_slice(&number(json)?.to_le_bytes()),
        Avro::String | Avro::Uuid(UuidSchema::String) => {
            binary::bytes(json.as_str()?.as_bytes(), out)
        }
        Avro::Bytes
        | Avro::BigDecimal
        | Avro::Uuid(UuidSchema::Bytes)
        | Avro::Decimal(DecimalSchema { inner: InnerDecimalSchema::Bytes, .. }) => {
            binary::bytes(&code_points(json)?, out);
        }
        Avro::Fixed(fixed)
        | Avro::Duration(fixed)
        | Avro::Uuid(UuidSchema::Fixed(fixed))
        | Avro::Decimal(DecimalSchema { inner: InnerDecimalSchema::Fixed(fixed), .. }) => {
            let bytes = code_points(json)?;
            out.extend_from_slice((bytes.len() == fixed.size).then_some(&bytes)?);
        }
        Avro::Enum(EnumSchema { symbols, .. }) => {
            binary::count(symbols.iter().position(|symbol| json == symbol)?, out);
        }
        Avro::Array(_) | Avro::Map(_) | Avro::Union(_) | Avro::Record(_) | Avro::Ref { .. } => {
            return None;
        }
        // Every type that is left is a long.
        _ => binary::long(json.as_i64()?, out),
    }
    Some(())
}

fn number(json: &Json) -> Option<f64> {
    match json.as_str() {
        Some("Infinity" | "INF") => Some(f64::INFINITY),
        Some("-Infinity" | "-INF") => Some(f64::NEG_INFINITY),
        Some("NaN") => Some(f64::NAN),
        _ => json.as_f64(),
    }
}

/// Bytes in a default are a text whose code points, 0 to 255, are the bytes.
fn code_points(json: &Json) -> Option<Vec<u8>> {
    json.as_str()?.chars().map(|point| u8::try_from(u32::from(point)).ok()).collect()
}
