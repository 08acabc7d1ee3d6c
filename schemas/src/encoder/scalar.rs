//! Writes one value without parts. What it cannot write it describes: the end of a sentence
//! "must be …, but there is".

use uuid::Uuid;
use vrl::value::{ObjectMap, Value};

use crate::decimal::{self, Shape, Unscaled};
use crate::leaf::{Leaf, Length, Logical, Number, NumberForm, Real, Store};
use crate::{binary, calendar};

/// The largest integers that a double and a float hold without gaps below.
const DOUBLE_INTEGERS: u64 = 1 << 53;
const FLOAT_INTEGERS: u64 = 1 << 24;

/// Appends `value` to `out` as a `leaf`.
pub(crate) fn write(leaf: Leaf, value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
    match (leaf, value) {
        (Leaf::Null, Value::Null) => Ok(()),
        (Leaf::Boolean, Value::Boolean(boolean)) => {
            out.push(u8::from(*boolean));
            Ok(())
        }
        (Leaf::Number(wire, form), value) => {
            let number = number(form, value)?;
            if wire == Number::Int && i32::try_from(number).is_err() {
                return Err(format!("{number}, which an int does not hold"));
            }
            binary::long(number, out);
            Ok(())
        }
        (Leaf::Real(real), value) => write_real(real, value, out),
        (Leaf::Bytes(store, None), value) => write_bytes(store, value, out),
        (Leaf::Bytes(store, Some(logical)), value) => {
            let bytes = logical_bytes(logical, store, value)?;
            store_bytes(store, &bytes, out)
        }
        (_, value) => Err(describe(value)),
    }
}

/// Appends the index of an enum's symbol.
pub(crate) fn write_symbol(
    symbols: &[String],
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let symbol = text(value).ok_or_else(|| describe(value))?;
    let index = symbols.iter().position(|known| known == symbol);
    let index = index.ok_or_else(|| {
        let list = symbols.iter().take(10).cloned().collect::<Vec<_>>().join(", ");
        let more = if symbols.len() > 10 { ", …" } else { "" };
        format!("{}, none of its symbols ({list}{more})", quoted(symbol))
    })?;
    binary::count(index, out);
    Ok(())
}

fn number(form: NumberForm, value: &Value) -> Result<i64, String> {
    match (form, value) {
        (NumberForm::Integer, Value::Integer(number)) => return Ok(*number),
        (NumberForm::Timestamp(unit), Value::Timestamp(instant)) => {
            let count = calendar::timestamp_count(*instant, unit);
            return count.ok_or_else(|| format!("{instant}, too far for its unit"));
        }
        _ => {}
    }
    let text = text(value).ok_or_else(|| describe(value))?;
    let (number, pattern) = match form {
        NumberForm::Date => (calendar::date_days(text).map(i64::from), "2024-05-01"),
        NumberForm::Time(unit) => (calendar::time_count(text, unit), "12:34:56.789"),
        NumberForm::Local(unit) => (calendar::local_count(text, unit), "2024-05-01T12:34:56.789"),
        _ => return Err(describe(value)),
    };
    number.ok_or_else(|| format!("{}, which is not written like {pattern}", quoted(text)))
}

fn write_real(real: Real, value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
    let exact = match real {
        Real::Double => DOUBLE_INTEGERS,
        Real::Float => FLOAT_INTEGERS,
    };
    let number = match value {
        Value::Float(number) => number.into_inner(),
        #[expect(clippy::cast_precision_loss, reason = "it was compared with what is exact")]
        Value::Integer(number) if number.unsigned_abs() <= exact => *number as f64,
        Value::Integer(number) => return Err(format!("{number}, which it does not hold exactly")),
        other => return Err(describe(other)),
    };
    match real {
        Real::Double => out.extend_from_slice(&number.to_le_bytes()),
        Real::Float => {
            #[expect(clippy::cast_possible_truncation, reason = "a float is the nearest float")]
            let narrow = number as f32;
            if narrow.is_infinite() && number.is_finite() {
                return Err(format!("{number}, beyond what it holds"));
            }
            out.extend_from_slice(&narrow.to_le_bytes());
        }
    }
    Ok(())
}

fn write_bytes(store: Store, value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
    match (store, value) {
        (_, Value::String(text)) => store_bytes(store, text.as_bytes(), out),
        (Store::String, Value::Bytes(bytes)) if std::str::from_utf8(bytes).is_err() => {
            Err("bytes that are not UTF-8".to_owned())
        }
        (_, Value::Bytes(bytes)) => store_bytes(store, bytes, out),
        (_, other) => Err(describe(other)),
    }
}

fn store_bytes(store: Store, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    match store.length() {
        Length::Prefixed => binary::bytes(bytes, out),
        Length::Fixed(size) if size == bytes.len() => out.extend_from_slice(bytes),
        Length::Fixed(_) => return Err(format!("a text of {} bytes", bytes.len())),
    }
    Ok(())
}

fn logical_bytes(logical: Logical, store: Store, value: &Value) -> Result<Vec<u8>, String> {
    match logical {
        Logical::Decimal(shape) => decimal_bytes(shape, store, value),
        Logical::BigDecimal => big_decimal_bytes(value),
        Logical::Uuid => uuid(value).map(|uuid| uuid.into_bytes().to_vec()),
        Logical::UuidText => uuid(value).map(|uuid| uuid.to_string().into_bytes()),
        Logical::Duration => match value {
            Value::Object(object) => duration(object),
            other => Err(describe(other)),
        },
    }
}

fn decimal_bytes(shape: Shape, store: Store, value: &Value) -> Result<Vec<u8>, String> {
    let unscaled = exact(value, |text| decimal::from_text(text, shape))?;
    match store {
        Store::Fixed(size) => unscaled
            .to_fixed(size)
            .ok_or_else(|| format!("a number that its {size} bytes do not hold")),
        Store::String | Store::Bytes => Ok(unscaled.to_bytes()),
    }
}

fn big_decimal_bytes(value: &Value) -> Result<Vec<u8>, String> {
    let (unscaled, scale): (Unscaled, i64) = exact(value, decimal::big_from_text)?;
    let mut bytes = Vec::new();
    binary::bytes(&unscaled.to_bytes(), &mut bytes);
    binary::long(scale, &mut bytes);
    Ok(bytes)
}

/// A decimal is an exact text or an integer. A float is refused: it already lost what is exact.
fn exact<T>(value: &Value, read: impl Fn(&str) -> Result<T, String>) -> Result<T, String> {
    let because = |text: &str, cause: String| format!("{}: {cause}", quoted(text));
    match value {
        Value::Integer(number) => {
            let text = number.to_string();
            read(&text).map_err(|cause| because(&text, cause))
        }
        Value::Float(_) => {
            Err("a float, which is not exact: write it as text, such as \"20.00\"".to_owned())
        }
        value => {
            let text = text(value).ok_or_else(|| describe(value))?;
            read(text).map_err(|cause| because(text, cause))
        }
    }
}

fn uuid(value: &Value) -> Result<Uuid, String> {
    let text = text(value).ok_or_else(|| describe(value))?;
    Uuid::try_parse(text).map_err(|cause| format!("{}: {cause}", quoted(text)))
}

fn duration(object: &ObjectMap) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(12);
    for part in ["months", "days", "milliseconds"] {
        let count = object
            .get(part)
            .and_then(Value::as_integer)
            .and_then(|count| u32::try_from(count).ok());
        let count = count.ok_or_else(|| {
            format!("an object whose `{part}` is not an integer from 0 to {}", u32::MAX)
        })?;
        bytes.extend_from_slice(&count.to_le_bytes());
    }
    Ok(bytes)
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// A text, cut where it is long: errors are logged and stored with the dead letters.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}

/// What a value is, without what it holds.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null",
        Value::Boolean(_) => "a boolean",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a float",
        Value::Timestamp(_) => "a timestamp",
        Value::String(_) => "a text",
        Value::Bytes(bytes) if std::str::from_utf8(bytes).is_ok() => "a text",
        Value::Bytes(_) => "bytes",
        Value::Regex(_) => "a regular expression",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
    .to_owned()
}
