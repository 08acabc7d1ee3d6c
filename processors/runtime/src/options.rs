//! The types of options that mean more than their text: durations, sizes, secrets.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

/// A length of time in the file: `500ms`, `30s`, `15m`, `24h`, `7d`, `1y`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// A size in the file: `64KiB`, `1MiB`, `500 kB`, or a bare number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

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
    ($type:ident, $format:literal, $description:literal, $read:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = serde_json::Value::deserialize(deserializer)?;
                let text = match &value {
                    serde_json::Value::String(text) => Cow::Borrowed(text.as_str()),
                    serde_json::Value::Number(number) => Cow::Owned(number.to_string()),
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
                json_schema!({ "type": ["string", "number"], "format": $format })
            }

            fn inline_schema() -> bool {
                true
            }
        }
    };
}

text_option!(Period, "period", "a length of time such as 30s", Period::parse);
text_option!(Size, "size", "a size such as 1MiB", Size::parse);
text_option!(Secret, "secret", "a text", |text| Ok(Secret::new(text)));

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
}
