//! Values as PostgreSQL reads them: as texts, which the column's own type turns into its form.
//!
//! So every type of the server is written by one rule, its own, digit by digit: `numeric` of any
//! length, enums, domains, ranges. Only what a type would take and cut is held back here.

use std::fmt::Write as _;

use bigdecimal::BigDecimal;
use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use engine::Value;

/// What a column's type needs to be told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// `json`, `jsonb`: any value, as JSON.
    Json,
    /// `bytea`.
    Bytes,
    /// `numeric`, with the decimals that it keeps, if it is bound to some.
    Decimal(Option<i64>),
    /// `interval`.
    Interval,
    /// An array of any dimension of these.
    Array(Box<Kind>),
    /// Any other: it reads its text.
    Other,
}

/// A value as the text that a column of this kind reads; nothing for NULL.
///
/// # Errors
/// Why the column cannot hold it, to follow "cannot hold".
pub(super) fn text(value: &Value, kind: &Kind) -> Result<Option<String>, String> {
    match (value, kind) {
        (Value::Null, _) => Ok(None),
        (value, Kind::Json) => Ok(Some(schemas::json::write(value))),
        (Value::Array(items), Kind::Array(kind)) => {
            let mut text = String::from("{");
            write_items(items, kind, &mut text)?;
            text.push('}');
            Ok(Some(text))
        }
        (Value::Object(_), Kind::Interval) => interval(value).map(Some),
        (Value::Array(_), _) => {
            Err("a list: give it an array or `jsonb`, or write a part of it".to_owned())
        }
        (Value::Object(_), _) => {
            Err("an object: give it `jsonb`, or write its parts by `columns`".to_owned())
        }
        (_, Kind::Array(_)) => Err("a single value, as it holds lists".to_owned()),
        (Value::Bytes(_) | Value::String(_), Kind::Bytes) => {
            let bytes = value.as_bytes().cloned().unwrap_or_default();
            let mut text = String::with_capacity(2 + 2 * bytes.len());
            text.push_str("\\x");
            for byte in bytes {
                // Writing into a text cannot fail.
                _ = write!(text, "{byte:02x}");
            }
            Ok(Some(text))
        }
        (value, Kind::Decimal(Some(scale))) => {
            let text = scalar(value)?;
            hold_decimals(&text, *scale)?;
            Ok(Some(text))
        }
        (value, _) => scalar(value).map(Some),
    }
}

fn scalar(value: &Value) -> Result<String, String> {
    if let Some(bytes) = value.as_bytes() {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| "bytes that are not UTF-8: give them `bytea`".to_owned())?;
        if text.contains('\0') {
            return Err("a text with a zero byte, which PostgreSQL has no place for".to_owned());
        }
        return Ok(text.to_owned());
    }
    match value {
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(boolean) => Ok(boolean.to_string()),
        Value::Timestamp(time) => Ok(instant(time)),
        other => Err(format!("{}: only data is written", other.kind_str())),
    }
}

/// An instant in UTC, years before our era and after 9999 as PostgreSQL writes them.
fn instant(time: &DateTime<Utc>) -> String {
    let (year, era) = match time.year() {
        year if year > 0 => (year, ""),
        year => (1 - year, " BC"),
    };
    format!(
        "{year:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:09}+00{era}",
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.nanosecond() % 1_000_000_000
    )
}

/// PostgreSQL would round in silence what has more decimals than the column.
fn hold_decimals(text: &str, scale: i64) -> Result<(), String> {
    let wrong = || format!("{text} without rounding it to {scale} decimals");
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
    let decimals = match is_plain && scale >= 0 {
        true => text.split_once('.').map_or("", |(_, after)| after.trim_end_matches('0')).len(),
        false => match text.parse::<BigDecimal>() {
            Ok(number) => {
                let fits = number.normalized().as_bigint_and_exponent().1 <= scale;
                return fits.then_some(()).ok_or_else(wrong);
            }
            // The column says itself what it thinks of it.
            Err(_) => return Ok(()),
        },
    };
    (i64::try_from(decimals).unwrap_or(i64::MAX) <= scale).then_some(()).ok_or_else(wrong)
}

/// Avro's `duration`.
fn interval(value: &Value) -> Result<String, String> {
    let part = |name: &str| value.as_object()?.get(name).and_then(Value::as_integer);
    let parts = (part("months"), part("days"), part("milliseconds"));
    let (Some(months), Some(days), Some(milliseconds)) = parts else {
        return Err("an object without `months`, `days` and `milliseconds`".to_owned());
    };
    Ok(format!("{months} months {days} days {milliseconds} milliseconds"))
}

/// The items of an array literal. Each is quoted, so that none is taken for a NULL or a brace.
fn write_items(items: &[Value], kind: &Kind, into: &mut String) -> Result<(), String> {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            into.push(',');
        }
        if let (Value::Array(inner), false) = (item, *kind == Kind::Json) {
            into.push('{');
            write_items(inner, kind, into)?;
            into.push('}');
            continue;
        }
        let Some(text) = text(item, kind)? else {
            into.push_str("NULL");
            continue;
        };
        into.push('"');
        for character in text.chars() {
            if matches!(character, '"' | '\\') {
                into.push('\\');
            }
            into.push(character);
        }
        into.push('"');
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Value {
        schemas::json::read_plain(text.as_bytes()).unwrap()
    }

    fn of(value: impl Into<Value>, kind: &Kind) -> String {
        text(&value.into(), kind).unwrap().unwrap()
    }

    #[test]
    fn a_decimal_keeps_every_digit_or_is_refused() {
        let long = "12345678901234567890123456789012345678.123456789012345678901234567890";
        assert_eq!(of(long, &Kind::Decimal(None)), long);
        let two = Kind::Decimal(Some(2));
        assert_eq!(of("19.90", &two), "19.90");
        assert_eq!(of("19.9000", &two), "19.9000", "zeros at the end are no digits");
        assert_eq!(of("1.5e3", &two), "1.5e3");
        assert_eq!(of(7, &two), "7");
        for wrong in ["19.999", "1e-3", "-0.001"] {
            assert!(text(&wrong.into(), &two).is_err_and(|cause| cause.contains("rounding")));
        }
        assert!(text(&"1234".into(), &Kind::Decimal(Some(-2))).is_err());
        assert_eq!(of("1200", &Kind::Decimal(Some(-2))), "1200");
        assert_eq!(of("NaN", &two), "NaN");
    }

    #[test]
    fn an_array_s_items_are_never_taken_for_its_own_signs() {
        let texts = Kind::Array(Box::new(Kind::Other));
        let given = json(r#"["a", "NULL", null, "b,c", "d\"e", "f\\g", "{h}", ""]"#);
        assert_eq!(of(given, &texts), r#"{"a","NULL",NULL,"b,c","d\"e","f\\g","{h}",""}"#);
        assert_eq!(of(json("[[1,2],[3,4]]"), &texts), r#"{{"1","2"},{"3","4"}}"#);
        assert_eq!(of(json("[]"), &texts), "{}");
        let objects = Kind::Array(Box::new(Kind::Json));
        assert_eq!(of(json(r#"[{"a":[1]}]"#), &objects), r#"{"{\"a\":[1]}"}"#);
        assert!(text(&json(r#"[{"a":1}]"#), &texts).is_err());
    }

    #[test]
    fn nested_values_are_json_where_the_column_is() {
        assert_eq!(of(json(r#"{"b":[true,null]}"#), &Kind::Json), r#"{"b":[true,null]}"#);
        assert_eq!(of("text", &Kind::Json), r#""text""#);
        assert!(text(&json("{}"), &Kind::Other).is_err_and(|cause| cause.contains("jsonb")));
        assert!(text(&json("[1]"), &Kind::Other).is_err());
        assert_eq!(text(&Value::Null, &Kind::Json), Ok(None));
    }

    #[test]
    fn bytes_texts_and_times_are_as_postgresql_reads_them() {
        let bytes = Value::Bytes(vec![0, 255, b'a'].into());
        assert_eq!(of(bytes.clone(), &Kind::Bytes), "\\x00ff61");
        assert!(text(&bytes, &Kind::Other).is_err_and(|cause| cause.contains("bytea")));
        assert!(text(&"a\0".into(), &Kind::Other).is_err());
        let time = |text: &str| Value::Timestamp(text.parse::<DateTime<Utc>>().unwrap());
        let written = of(time("2026-01-31T12:34:56.789012Z"), &Kind::Other);
        assert_eq!(written, "2026-01-31 12:34:56.789012000+00");
        assert_eq!(
            of(time("-0043-03-15T00:00:00Z"), &Kind::Other),
            "0044-03-15 00:00:00.000000000+00 BC"
        );
        assert_eq!(of(true, &Kind::Other), "true");
        let duration = json(r#"{"months":1,"days":2,"milliseconds":3}"#);
        assert_eq!(of(duration, &Kind::Interval), "1 months 2 days 3 milliseconds");
    }
}
