//! Values as PostgreSQL writes them in text, and as JSON says them.
//!
//! The stream and the snapshot's queries both give texts, under the same settings, so a value looks
//! the same whichever way it came. Nothing passes through a float.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// What makes texts the same everywhere, as options of a log-in.
pub(super) const SETTINGS: &str = "-c DateStyle=ISO -c TimeZone=UTC -c IntervalStyle=iso_8601 \
     -c bytea_output=hex -c extra_float_digits=1";

/// How the texts of a type are read. What is not named here is a text in JSON too: `uuid`, enums,
/// `interval`, `money`, ranges, composites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// `t` and `f`.
    Boolean,
    /// `smallint`, `integer`, `bigint`, `oid`.
    Integer,
    /// `real`, `double precision`.
    Float,
    /// `numeric`: exact, of any length.
    Numeric,
    /// `json`, `jsonb`.
    Json,
    /// `bytea`.
    Bytes,
    /// `timestamp`: no zone.
    Timestamp,
    /// `timestamptz`: a moment.
    Moment,
    /// An array, and what separates its elements.
    Array(Box<Kind>, char),
    /// Anything else.
    Text,
}

/// For whom JSON is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// A schema, which reads numbers from their digits.
    Schema,
    /// An expression, in which a decimal is its exact text.
    Expression,
}

impl Kind {
    /// The kind of a type by its number in `pg_type.dat`; `None` for those that the catalogue of the
    /// database has to tell.
    pub fn of(oid: u32) -> Option<Self> {
        Some(match oid {
            16 => Self::Boolean,
            17 => Self::Bytes,
            20 | 21 | 23 | 26 => Self::Integer,
            700 | 701 => Self::Float,
            1700 => Self::Numeric,
            114 | 3802 => Self::Json,
            1114 => Self::Timestamp,
            1184 => Self::Moment,
            // "char", name, text, bpchar, varchar, date, time, timetz, interval, uuid
            18 | 19 | 25 | 1042 | 1043 | 1082 | 1083 | 1266 | 1186 | 2950 => Self::Text,
            _ => return None,
        })
    }

    /// Writes a text of this kind as JSON.
    pub fn write(&self, text: &str, reader: Reader, out: &mut String) {
        match self {
            Self::Boolean => out.push_str(if text == "t" { "true" } else { "false" }),
            Self::Integer => out.push_str(text),
            Self::Json => out.push_str(text),
            Self::Numeric if reader == Reader::Schema && is_finite(text) => out.push_str(text),
            Self::Float if is_finite(text) => out.push_str(text),
            Self::Bytes => quote(&base64_of(text), out),
            Self::Timestamp => quote(&text.replacen(' ', "T", 1), out),
            Self::Moment => quote(&moment(text), out),
            Self::Array(element, separator) => array(text, element, *separator, reader, out),
            Self::Numeric | Self::Float | Self::Text => quote(text, out),
        }
    }
}

/// Whether a number is neither `NaN` nor infinite.
fn is_finite(text: &str) -> bool {
    text.bytes().next_back().is_some_and(|last| last.is_ascii_digit())
}

/// Writes a text as JSON.
pub(super) fn quote(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// `\x0102` in base64; a text of another form as it is.
fn base64_of(text: &str) -> Cow<'_, str> {
    match text.strip_prefix("\\x").map(hex::decode) {
        Some(Ok(bytes)) => BASE64_STANDARD.encode(bytes).into(),
        _ => text.into(),
    }
}

/// `2024-05-01 12:34:56.789+00` in RFC 3339's form; `infinity` and years before Christ as they are.
fn moment(text: &str) -> Cow<'_, str> {
    match text.strip_suffix("+00") {
        Some(local) => format!("{}Z", local.replacen(' ', "T", 1)).into(),
        None => text.into(),
    }
}

/// Writes `{1,NULL,"a\"b",{…}}` as a JSON array (PostgreSQL's documentation, Array Input and Output
/// Syntax).
fn array(text: &str, element: &Kind, separator: char, reader: Reader, out: &mut String) {
    // `[0:1]={…}`: an array that does not begin with 1.
    let items = match text.starts_with('[') {
        true => text.split_once('=').map_or(text, |(_, items)| items),
        false => text,
    };
    let mut rest = items.chars().peekable();
    let mut first = true;
    while let Some(character) = rest.next() {
        match character {
            '{' => {
                comma(&mut first, out);
                out.push('[');
                first = true;
            }
            '}' => {
                out.push(']');
                first = false;
            }
            _ if character == separator => {}
            '"' => {
                let mut item = String::new();
                while let Some(character) = rest.next().filter(|character| *character != '"') {
                    item.push(match character {
                        '\\' => rest.next().unwrap_or_default(),
                        other => other,
                    });
                }
                comma(&mut first, out);
                element.write(&item, reader, out);
            }
            _ => {
                let mut item = String::from(character);
                let ends = |next: &char| *next == separator || *next == '}';
                while let Some(next) = rest.next_if(|next| !ends(next)) {
                    item.push(next);
                }
                comma(&mut first, out);
                match item.as_str() {
                    "NULL" => out.push_str("null"),
                    item => element.write(item, reader, out),
                }
            }
        }
    }
}

fn comma(first: &mut bool, out: &mut String) {
    if !std::mem::take(first) {
        out.push(',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(kind: &Kind, text: &str) -> String {
        let mut out = String::new();
        kind.write(text, Reader::Schema, &mut out);
        out
    }

    #[test]
    fn numbers_keep_every_digit() {
        let huge = format!("{}.{}", "9".repeat(100), "1".repeat(50));
        assert_eq!(json(&Kind::Numeric, &huge), huge);
        assert_eq!(json(&Kind::Numeric, "12.50"), "12.50");
        assert_eq!(json(&Kind::Numeric, "NaN"), r#""NaN""#);
        assert_eq!(json(&Kind::Float, "-Infinity"), r#""-Infinity""#);
        assert_eq!(json(&Kind::Float, "1e+20"), "1e+20");
        let mut read = String::new();
        Kind::Numeric.write("12.50", Reader::Expression, &mut read);
        assert_eq!(read, r#""12.50""#, "an expression has no decimals");
    }

    #[test]
    fn times_are_in_rfc_3339_s_form_where_they_can_be() {
        assert_eq!(
            json(&Kind::Moment, "2024-05-01 12:34:56.789+00"),
            r#""2024-05-01T12:34:56.789Z""#
        );
        assert_eq!(json(&Kind::Moment, "infinity"), r#""infinity""#);
        assert_eq!(
            json(&Kind::Moment, "0044-03-15 12:00:00+00 BC"),
            r#""0044-03-15 12:00:00+00 BC""#
        );
        assert_eq!(json(&Kind::Timestamp, "2024-05-01 12:34:56"), r#""2024-05-01T12:34:56""#);
    }

    #[test]
    fn bytes_are_base64_and_texts_are_quoted() {
        assert_eq!(json(&Kind::Bytes, "\\x00ff10"), r#""AP8Q""#);
        assert_eq!(json(&Kind::Text, "a\"b\\\n\u{1}é"), r#""a\"b\\\n\u0001é""#);
        assert_eq!(json(&Kind::Boolean, "t"), "true");
    }

    #[test]
    fn arrays_nest_and_quote() {
        let of = |kind| Kind::Array(Box::new(kind), ',');
        assert_eq!(json(&of(Kind::Integer), "{}"), "[]");
        assert_eq!(json(&of(Kind::Integer), "{{1,2},{3,NULL}}"), "[[1,2],[3,null]]");
        assert_eq!(json(&of(Kind::Integer), "[0:1]={1,2}"), "[1,2]");
        assert_eq!(
            json(&of(Kind::Text), r#"{a,"NULL","b,\"c\\",""}"#),
            r#"["a","NULL","b,\"c\\",""]"#
        );
        assert_eq!(json(&of(Kind::Json), r#"{"{\"a\":1.10}"}"#), r#"[{"a":1.10}]"#);
    }
}
