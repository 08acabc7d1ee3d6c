//! What an answer's items are: their ids, their times, the events made of them.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat};
use engine::expression::Program;
use engine::publisher::Rejected;
use engine::{Draft, Event, Fault, Value};
use schemas::Schema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use vrl::value::ObjectMap;

use super::request::{Inputs, expression};
use super::{Mistake, PollOptions};

/// When an item has changed last, in microseconds since the Unix epoch, and its id: the order in which
/// items are published and remembered. The time is 0 for all where no time is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Mark(pub i64, pub String);

/// An item of an answer.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// When it has changed, and its id.
    pub mark: Mark,
    /// A hash of what it holds.
    pub version: u64,
    /// The item.
    pub value: Value,
    /// Why its id or its time cannot be told, if they cannot.
    pub fault: Option<Fault>,
}

/// How items are read.
pub(super) struct Reading {
    items: Program,
    failure: Option<Program>,
    id: Program,
    changed: Option<Program>,
    detail: Option<Program>,
    event: Option<Program>,
    event_id: Option<Program>,
    kind: Option<Program>,
}

impl Reading {
    /// Compiles what the file says; nothing if something is wrong with it, which is noted.
    pub fn compile(
        options: &PollOptions,
        inputs: &Inputs,
        section: &str,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<Self> {
        let before = mistakes.len();
        let mut one = |text: &_, option: &str| {
            expression(text, &inputs.answer, &format!("{section}/{option}"), mistakes)
        };
        let items = one(&options.items, "items");
        let id = one(&options.id, "id");
        let detail = options.detail.as_ref().and_then(|detail| detail.item.as_ref());
        let mut optional = |text: Option<&_>, option| text.and_then(|text| one(text, option));
        let (failure, changed) = (
            optional(options.failure.as_ref(), "failure"),
            optional(options.changed.as_ref(), "changed"),
        );
        let (detail, event) =
            (optional(detail, "detail/item"), optional(options.event.as_ref(), "event"));
        let (event_id, kind) = (
            optional(options.event_id.as_ref(), "event_id"),
            optional(options.kind.as_ref(), "type"),
        );
        let sound = mistakes.len() == before;
        let (items, id) = (items?, id?);
        sound.then_some(Self { items, failure, id, changed, detail, event, event_id, kind })
    }

    /// What the application says went wrong, in an answer of success.
    ///
    /// # Errors
    /// A `Data` fault: the expression fails.
    pub fn failure(&self, body: &Value) -> Result<Option<String>, Fault> {
        let Some(program) = &self.failure else { return Ok(None) };
        Ok(match run(program, body)? {
            Value::Null | Value::Boolean(false) => None,
            other => Some(schemas::json::write(&other)),
        })
    }

    /// The items of an answer.
    ///
    /// # Errors
    /// A `Data` fault: there is no list where it should be.
    pub fn items(&self, body: &Value) -> Result<Vec<Item>, Fault> {
        match run(&self.items, body)? {
            Value::Array(items) => Ok(items.into_iter().map(|value| self.item(value)).collect()),
            Value::Null => Err(Fault::data(
                "items_missing",
                "`items` gives null. Is the path right? If the application leaves an empty list \
                 out, write `… || []`.",
            )),
            other => Err(Fault::data(
                "items_missing",
                format!("`items` gives {} where a list is needed.", other.kind_str()),
            )),
        }
    }

    /// An item, whatever it holds.
    fn item(&self, value: Value) -> Item {
        let version = hash(&value);
        let named = text(&self.id, &value);
        let time = match &self.changed {
            None => Ok(0),
            Some(program) => time(program, &value),
        };
        let fault = named.as_ref().err().or(time.as_ref().err()).cloned();
        let id = named.unwrap_or_else(|_| format!("hash:{version:016x}"));
        Item { mark: Mark(time.unwrap_or_default(), id), version, value, fault }
    }

    /// The item in the answer that shows it in detail.
    ///
    /// # Errors
    /// A `Data` fault: the expression fails.
    pub fn detail(&self, body: Value) -> Result<Value, Fault> {
        match &self.detail {
            Some(program) => run(program, &body),
            None => Ok(body),
        }
    }

    /// The event of an item.
    ///
    /// # Errors
    /// A `Data` fault: it makes none of this topic.
    pub fn draft(
        &self,
        item: &Item,
        key: Option<&Program>,
        schema: &Schema,
        received: i64,
    ) -> Result<Draft, Fault> {
        if let Some(fault) = &item.fault {
            return Err(fault.clone());
        }
        let made = self.event.as_ref().map(|program| run(program, &item.value)).transpose()?;
        let json = schemas::json::write(made.as_ref().unwrap_or(&item.value));
        let read = schemas::json::read(schema, json.as_bytes()).map_err(|error| {
            let message = format!("The item does not fit the topic's schema: {error}.");
            Fault::data("invalid_item", message)
        })?;
        Ok(Draft {
            id: self.event_id(item)?,
            kind: self.kind.as_ref().map(|program| text(program, &item.value)).transpose()?,
            time: self.changed.is_some().then_some(item.mark.0.div_euclid(1_000)),
            traceparent: None,
            received,
            key: key.map(|program| text(program, &read.value)).transpose()?,
            value: Some(read.value),
        })
    }

    fn event_id(&self, item: &Item) -> Result<String, Fault> {
        let Item { mark: Mark(time, id), version, value, .. } = item;
        Ok(match (&self.event_id, &self.changed) {
            (Some(program), _) => text(program, value)?,
            (None, None) => format!("{id}@{version:016x}"),
            (None, Some(_)) => {
                let time = DateTime::from_timestamp_micros(*time).unwrap_or_default();
                let time = time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
                format!("{id}@{time}.{version:016x}")
            }
        })
    }

    /// An item that makes no event, to be kept as it came.
    pub fn rejected(item: &Item, received: i64) -> Rejected {
        let headers = [("content-type", "application/json".to_owned())];
        let id = format!("{}@{:016x}", item.mark.1, item.version);
        Rejected::of(id, schemas::json::write(&item.value), headers, received)
    }
}

/// What an expression gives.
pub(crate) fn run(program: &Program, value: &Value) -> Result<Value, Fault> {
    program.run(&Event::of_value(Value::Null), value)
}

/// The text that an expression gives; whole numbers are texts too.
pub(crate) fn text(program: &Program, value: &Value) -> Result<String, Fault> {
    let given = run(program, value)?;
    match (&given, given.to_str_lossy()) {
        (Value::Integer(number), _) => Ok(number.to_string()),
        (_, Some(text)) if !text.is_empty() => Ok(text.into_owned()),
        (other, _) => Err(Fault::data(
            "not_text",
            format!("The expression gives {} where a text is needed.", other.kind_str()),
        )),
    }
}

/// The time that an expression gives, in microseconds since the Unix epoch.
pub(crate) fn time(program: &Program, value: &Value) -> Result<i64, Fault> {
    let wrong = |what: String| {
        Fault::data("not_a_time", format!("The expression for a time gives {what}."))
    };
    let given = run(program, value)?;
    match (&given, given.to_str_lossy()) {
        (Value::Timestamp(time), _) => Ok(time.timestamp_micros()),
        (Value::Object(parts), _) => {
            time_of_parts(parts).ok_or_else(|| wrong("an object that is no time".to_owned()))
        }
        (_, Some(text)) => {
            read_time(&text).ok_or_else(|| wrong(format!("`{text}`, no RFC 3339 time")))
        }
        (other, None) => Err(wrong(format!(
            "{}, not a time; a number is turned into one by `from_unix_timestamp!(…)`",
            other.kind_str()
        ))),
    }
}

/// A time in parts, as Tryton writes it: `{"year": 2026, "month": 1, …, "microsecond": 0}`, in UTC.
fn time_of_parts(parts: &ObjectMap) -> Option<i64> {
    let number = |name: &str| parts.get(name).and_then(Value::as_integer);
    let part = |name: &str| number(name).and_then(|number| u32::try_from(number).ok());
    let date =
        NaiveDate::from_ymd_opt(part("year")?.try_into().ok()?, part("month")?, part("day")?)?;
    let micro = part("microsecond").unwrap_or_default();
    let time = date.and_hms_micro_opt(part("hour")?, part("minute")?, part("second")?, micro)?;
    Some(time.and_utc().timestamp_micros())
}

fn read_time(text: &str) -> Option<i64> {
    let zoned = DateTime::parse_from_rfc3339(text).or_else(|_| {
        // RFC 3339 wants a colon in the zone; HubSpot, Jira and others leave it out.
        DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z")
    });
    let naive = |format| NaiveDateTime::parse_from_str(text, format).ok();
    zoned.ok().map(|time| time.timestamp_micros()).or_else(|| {
        let utc = naive("%Y-%m-%dT%H:%M:%S%.f").or_else(|| naive("%Y-%m-%d %H:%M:%S%.f"));
        utc.map(|time| time.and_utc().timestamp_micros())
    })
}

fn hash(value: &Value) -> u64 {
    let digest = Sha256::digest(schemas::json::write(value).as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_the_forms_that_applications_write() {
        let expected = Some(1_706_702_400_123_456);
        for text in [
            "2024-01-31T12:00:00.123456Z",
            "2024-01-31T13:00:00.123456+01:00",
            "2024-01-31T13:00:00.123456+0100",
            "2024-01-31T12:00:00.123456",
            "2024-01-31 12:00:00.123456",
        ] {
            assert_eq!(read_time(text), expected, "{text}");
        }
        assert_eq!(read_time("yesterday"), None);
        assert_eq!(read_time(""), None);
    }
}
