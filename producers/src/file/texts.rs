//! How a file's texts say numbers, days and instants. A number stays a text: no money becomes a float.

use chrono::{
    DateTime, Datelike as _, NaiveDate, NaiveDateTime, SecondsFormat, TimeZone as _, Utc,
};
use chrono_tz::Tz;
use engine::Value;
use schemas::Form;

use super::TextType;

/// How texts say what they say.
#[derive(Debug, Clone)]
pub(super) struct Texts {
    pub decimal: char,
    pub thousands: Option<char>,
    pub dates: Vec<String>,
    pub times: Vec<String>,
    pub zone: Tz,
}

/// Years below it are taken for two digits that were meant otherwise (`31/12/25` for `%d/%m/%Y`).
const FIRST_YEAR: i32 = 1000;

impl Texts {
    /// Numbers written like this, and nothing else.
    pub fn of_numbers(decimal: char, thousands: Option<char>) -> Self {
        Self { decimal, thousands, dates: Vec::new(), times: Vec::new(), zone: Tz::UTC }
    }

    /// The usual writing of what a text says.
    ///
    /// # Errors
    /// A sentence's end: `"x", which is not …`.
    pub fn read(&self, form: Form, text: &str) -> Result<Value, String> {
        match form {
            Form::Number => self.number(text).map(Value::from),
            Form::Real => {
                let number = self.number(text)?.parse::<f64>().ok();
                let number = number.and_then(|number| number.try_into().ok());
                number.map(Value::Float).ok_or_else(|| said(text, "a number"))
            }
            Form::Date => self.date(text).map(|date| Value::from(date.to_string())),
            Form::Timestamp => self
                .instant(text)
                .map(|time| Value::from(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))),
            Form::LocalTimestamp => match self.naive(text) {
                Some(time) => Ok(Value::from(time.format("%Y-%m-%dT%H:%M:%S%.f").to_string())),
                None => Err(said(text, &format!("a time like {}", self.times.join(" or ")))),
            },
            Form::Boolean => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" => Ok(Value::Boolean(true)),
                "false" | "0" => Ok(Value::Boolean(false)),
                _ => Err(said(text, "true, false, 1 or 0")),
            },
        }
    }

    /// What a text of a type is to an expression: null where it is empty.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn typed(&self, kind: TextType, text: &str) -> Result<Value, String> {
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        match kind {
            TextType::Number => self.read(Form::Number, text),
            TextType::Date => self.read(Form::Date, text),
            TextType::Boolean => self.read(Form::Boolean, text),
            TextType::Time => self.instant(text).map(Value::Timestamp),
        }
    }

    /// The digits of a number: `-1 234,56` is `-1234.56`. Thousands stand in threes, or nowhere:
    /// `1.5` is never taken for fifteen.
    fn number(&self, text: &str) -> Result<String, String> {
        let wrong = || {
            let decimal = self.decimal;
            let example = match self.thousands {
                Some(separator) => format!("1{separator}234{decimal}56"),
                None => format!("1234{decimal}56"),
            };
            said(text, &format!("a number like {example}"))
        };
        let trimmed = text.trim();
        // Some hosts write the sign behind: `12,50-`.
        let (negative, digits) = match (trimmed.strip_prefix('-'), trimmed.strip_suffix('-')) {
            (Some(rest), _) | (None, Some(rest)) => (true, rest),
            (None, None) => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
        };
        let (whole, decimals) = match digits.split_once(self.decimal) {
            Some((whole, decimals)) => (whole, Some(decimals)),
            None => (digits, None),
        };
        let all_digits =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let groups: Vec<&str> = whole.split(|character| self.is_thousands(character)).collect();
        let sound = match groups.as_slice() {
            [only] => all_digits(only) || (only.is_empty() && decimals.is_some()),
            [first, others @ ..] => {
                (1..=3).contains(&first.len())
                    && all_digits(first)
                    && others.iter().all(|group| group.len() == 3 && all_digits(group))
            }
            [] => false,
        };
        if !sound || !decimals.is_none_or(all_digits) {
            return Err(wrong());
        }
        let whole = groups.concat();
        let whole = if whole.is_empty() { "0" } else { whole.as_str() };
        let sign = if negative { "-" } else { "" };
        Ok(match decimals {
            Some(decimals) => format!("{sign}{whole}.{decimals}"),
            None => format!("{sign}{whole}"),
        })
    }

    fn is_thousands(&self, character: char) -> bool {
        match self.thousands {
            Some(' ') => matches!(character, ' ' | '\u{a0}' | '\u{202f}' | '\u{2009}'),
            Some('\'') => matches!(character, '\'' | '\u{2019}'),
            separator => separator == Some(character),
        }
    }

    fn date(&self, text: &str) -> Result<NaiveDate, String> {
        let trimmed = text.trim();
        let mut found =
            self.dates.iter().filter_map(|form| NaiveDate::parse_from_str(trimmed, form).ok());
        let date = found.find(|date| date.year() >= FIRST_YEAR);
        date.ok_or_else(|| said(text, &format!("a day like {}", self.dates.join(" or "))))
    }

    fn naive(&self, text: &str) -> Option<NaiveDateTime> {
        let read = |form: &String| NaiveDateTime::parse_from_str(text.trim(), form).ok();
        self.times.iter().filter_map(read).find(|time| time.year() >= FIRST_YEAR)
    }

    fn instant(&self, text: &str) -> Result<DateTime<Utc>, String> {
        if let Ok(time) = DateTime::parse_from_rfc3339(text.trim()) {
            return Ok(time.with_timezone(&Utc));
        }
        let zoned = self.times.iter().find_map(|form| {
            DateTime::parse_from_str(text.trim(), form)
                .ok()
                .filter(|time| time.year() >= FIRST_YEAR)
        });
        if let Some(time) = zoned {
            return Ok(time.with_timezone(&Utc));
        }
        let Some(naive) = self.naive(text) else {
            return Err(said(text, &format!("a time like {}", self.times.join(" or "))));
        };
        // A time that comes twice is its first coming; one that a change of the clock leaves out is none.
        let local = self.zone.from_local_datetime(&naive).earliest();
        let local = local.ok_or_else(|| said(text, &format!("a time in {}", self.zone)))?;
        Ok(local.with_timezone(&Utc))
    }
}

fn said(text: &str, wanted: &str) -> String {
    const SHOWN: usize = 60;
    let shown: String = text.chars().take(SHOWN).collect();
    let more = if text.chars().nth(SHOWN).is_some() { "…" } else { "" };
    format!("`{shown}{more}` is not {wanted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(decimal: char, thousands: Option<char>) -> Texts {
        Texts {
            decimal,
            thousands,
            dates: vec!["%d/%m/%Y".to_owned(), "%Y-%m-%d".to_owned()],
            times: vec!["%d/%m/%Y %H:%M".to_owned()],
            zone: chrono_tz::Europe::Paris,
        }
    }

    #[test]
    fn numbers_keep_every_digit_and_none_is_taken_for_another() {
        let french = texts(',', Some(' '));
        for (text, expected) in [
            ("1 234,56", "1234.56"),
            ("1\u{a0}234\u{202f}567,5", "1234567.5"),
            (" 0,10 ", "0.10"),
            ("-12,50", "-12.50"),
            ("12,50-", "-12.50"),
            (",5", "0.5"),
            ("12345678901234567890,12", "12345678901234567890.12"),
        ] {
            assert_eq!(french.number(text).as_deref(), Ok(expected), "{text}");
        }
        for text in
            ["1.234,56", "1 23,5", "12 34", "1,2,3", "", "-", "x", "1e5", "1234,", " ", "€5"]
        {
            assert!(french.number(text).is_err(), "{text}");
        }
        let german = texts(',', Some('.'));
        assert_eq!(german.number("1.234,56").as_deref(), Ok("1234.56"));
        assert!(german.number("12.50").is_err(), "what was meant as twelve and a half is no 1250");
    }

    #[test]
    fn days_and_instants_are_read_in_their_forms_and_zone() {
        let texts = texts(',', None);
        let date =
            |text| texts.read(Form::Date, text).map(|value| value.to_string_lossy().into_owned());
        assert_eq!(date("31/12/2025").as_deref(), Ok("2025-12-31"));
        assert_eq!(date("2025-12-31").as_deref(), Ok("2025-12-31"));
        for text in ["12/31/2025", "31/12/25", "2025-02-29", ""] {
            assert!(date(text).is_err(), "{text}");
        }
        let time = |text| {
            texts.read(Form::Timestamp, text).map(|value| value.to_string_lossy().into_owned())
        };
        assert_eq!(time("01/07/2025 12:00").as_deref(), Ok("2025-07-01T10:00:00Z"));
        assert_eq!(time("2025-07-01T12:00:00+02:00").as_deref(), Ok("2025-07-01T10:00:00Z"));
        assert!(time("30/03/2025 02:30").is_err(), "the clock leaves it out");
    }
}
