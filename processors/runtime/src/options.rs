//! The types of options that mean more than their text: durations, sizes, secrets.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::outcomes::MaskPath;

/// A length of time in the file: `500ms`, `30s`, `15m`, `24h`, `7d`, `1y`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// A size in the file: `64KiB`, `1MiB`, `500 kB`, or a bare number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// How long a topic keeps its events: a [`Period`], or `forever`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// This long.
    For(Period),
    /// For ever.
    Forever,
}

/// Where a route begins the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest event of the topic.
    Beginning,
    /// With the first event after the route's start.
    Now,
    /// With the first event received at this time or later.
    At(DateTime<Utc>),
}

/// A setting of another program, by its own name: a text, a number, or true or false, as text.
#[derive(Clone, PartialEq, Eq)]
pub struct Property(pub String);

/// An address to listen at, `127.0.0.1:8080`, for [`JsonSchema`]'s `with`.
pub struct Listen;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret of this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: only for the place that sends or compares it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // librdkafka has settings that are passwords.
        f.write_str("***")
    }
}

impl Retention {
    /// Reads `1y` or `forever`.
    ///
    /// # Errors
    /// A sentence that shows the forms that are understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == "forever" {
            return Ok(Retention::Forever);
        }
        Period::parse(text).map(Retention::For).map_err(|error| format!("{error}, or forever"))
    }
}

impl Start {
    /// Reads `beginning`, `now`, or a time in RFC 3339's form.
    ///
    /// # Errors
    /// A sentence that shows the forms that are understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "beginning" => Ok(Start::Beginning),
            "now" => Ok(Start::Now),
            time => DateTime::parse_from_rfc3339(time)
                .map(|time| Start::At(time.with_timezone(&Utc)))
                .map_err(|_| {
                    format!(
                        "`{text}` is no place to start from; write beginning, now, or a time such \
                         as 2026-01-31T00:00:00Z"
                    )
                }),
        }
    }
}

impl Listen {
    /// Reads `127.0.0.1:8080`.
    ///
    /// # Errors
    /// A sentence that shows the form that is understood.
    pub fn parse(text: &str) -> Result<SocketAddr, String> {
        text.parse().map_err(|_| {
            format!("`{text}` is not an address to listen at; write 127.0.0.1:8080 or [::1]:8080")
        })
    }
}

impl Period {
    /// Reads `15m`; `y` is 365.25 days.
    ///
    /// # Errors
    /// A sentence that shows the forms that are understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text.trim()).map(Period).map_err(|error| {
            format!(
                "`{text}` is not a length of time ({error}); write 500ms, 30s, 15m, 24h, 7d or 1y"
            )
        })
    }
}

impl Size {
    /// Reads `64KiB` (1,024), `64kB` (1,000) or a number of bytes.
    ///
    /// # Errors
    /// A sentence that shows the forms that are understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = || format!("`{text}` is not a size; write 500, 64KiB, 1MiB or 10GiB");
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
        let unit: u64 = match text[digits..].trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            _ => return Err(wrong()),
        };
        number.checked_mul(unit).map(Size).ok_or_else(wrong)
    }
}

/// The validator of files reads these formats, so that a mistake is shown at its place.
macro_rules! text_option {
    ($type:ident, $format:literal, $types:tt, $description:literal, $read:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = serde_json::Value::deserialize(deserializer)?;
                let text = match &value {
                    serde_json::Value::String(text) => Cow::Borrowed(text.as_str()),
                    serde_json::Value::Number(number) => Cow::Owned(number.to_string()),
                    serde_json::Value::Bool(value) => Cow::Owned(value.to_string()),
                    _ => return Err(de::Error::custom(concat!("expected ", $description))),
                };
                let read: fn(&str) -> Result<Self, String> = $read;
                read(&text).map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": $types, "format": $format })
            }

            fn inline_schema() -> bool {
                true
            }
        }
    };
}

text_option!(Period, "period", "string", "a length of time such as 30s", Period::parse);
text_option!(Size, "size", ["string", "integer"], "a size such as 1MiB", Size::parse);
text_option!(Secret, "secret", ["string", "number"], "a text", |text| Ok(Secret::new(text)));
text_option!(Retention, "retention", "string", "a length of time", Retention::parse);
text_option!(MaskPath, "mask", "string", "a path such as .customer.email", MaskPath::parse);
text_option!(Start, "start", "string", "beginning, now or a time", Start::parse);
text_option!(
    Property,
    "property",
    ["string", "number", "boolean"],
    "a text, a number, or true or false",
    |text| Ok(Property(text.to_owned()))
);

impl JsonSchema for Listen {
    fn schema_name() -> Cow<'static, str> {
        "Listen".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "listen" })
    }

    fn inline_schema() -> bool {
        true
    }
}

impl fmt::Display for Period {
    /// To the millisecond.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.as_millis();
        if left == 0 {
            return f.write_str("0s");
        }
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
        for (millis, unit) in units {
            if left >= millis {
                write!(f, "{}{unit}", left / millis)?;
            }
            left %= millis;
        }
        Ok(())
    }
}

impl fmt::Display for Size {
    /// The largest unit that divides it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        let whole = |(shift, _): &(u32, &str)| self.0 > 0 && self.0.is_multiple_of(1 << shift);
        match units.into_iter().find(whole) {
            Some((shift, unit)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

/// As defaults are shown in the reference.
macro_rules! shown {
    ($type:ident) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Retention::For(period) => period.fmt(f),
            Retention::Forever => f.write_str("forever"),
        }
    }
}

shown!(Period);
shown!(Retention);
shown!(Size);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        assert_eq!(format!("{:?}", Secret::new("whsec_x")), "***");
    }

    #[test]
    fn sizes_and_periods_are_read_in_their_units() {
        assert_eq!(Size::parse("64KiB"), Ok(Size(65_536)));
        assert_eq!(Size::parse("10 MB"), Ok(Size(10_000_000)));
        assert!(Size::parse("99999999999999GiB").is_err());
        assert!(Size::parse("").is_err());
        assert_eq!(Period::parse("15m"), Ok(Period(Duration::from_secs(900))));
        assert!(Period::parse("soon").is_err_and(|error| error.contains("30s")));
    }

    #[test]
    fn a_size_and_a_period_are_shown_as_they_are_written() {
        for text in ["64KiB", "16MiB", "1500", "0"] {
            assert_eq!(Size::parse(text).unwrap().to_string(), text);
        }
        for text in ["200ms", "15m", "1h30m", "7d", "0s"] {
            assert_eq!(Period::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_start_is_a_word_or_a_time() {
        assert_eq!(Start::parse("now"), Ok(Start::Now));
        assert!(matches!(Start::parse("2026-01-31T00:00:00+01:00"), Ok(Start::At(_))));
        assert!(Start::parse("yesterday").is_err_and(|error| error.contains("beginning")));
        assert_eq!(Retention::parse("forever"), Ok(Retention::Forever));
        assert!(Retention::parse("long").is_err_and(|error| error.contains("forever")));
    }
}
