//! A value as compact JSON, for people and for tools.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::SecondsFormat;
use vrl::value::Value;

/// Writes a value as JSON on one line. Decimals and dates are the texts they are in VRL; instants
/// are RFC 3339; bytes that are not UTF-8 are base64; infinities are `"Infinity"` and `"-Infinity"`.
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    write_value(value, &mut out);
    out
}

fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Boolean(boolean) => out.push_str(if *boolean { "true" } else { "false" }),
        Value::Integer(number) => {
            // Writing to a String cannot fail.
            let _ = write!(out, "{number}");
        }
        Value::Float(number) if number.is_finite() => {
            let _ = write!(out, "{:?}", number.into_inner());
        }
        Value::Float(number) => {
            out.push_str(if number.is_sign_negative() { "\"-Infinity\"" } else { "\"Infinity\"" });
        }
        Value::String(text) => write_text(text, out),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => write_text(text, out),
            Err(_) => write_text(&STANDARD.encode(bytes), out),
        },
        Value::Regex(regex) => write_text(regex.as_str(), out),
        Value::Timestamp(instant) => {
            write_text(&instant.to_rfc3339_opts(SecondsFormat::AutoSi, true), out);
        }
        Value::Array(items) => write_all(('[', ']'), items, out, write_value),
        Value::Object(fields) => write_all(('{', '}'), fields, out, |(name, value), out| {
            write_text(name, out);
            out.push(':');
            write_value(value, out);
        }),
    }
}

fn write_all<T>(
    (open, close): (char, char),
    parts: impl IntoIterator<Item = T>,
    out: &mut String,
    write: impl Fn(T, &mut String),
) {
    out.push(open);
    for (index, part) in parts.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(part, out);
    }
    out.push(close);
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' || control == '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}
