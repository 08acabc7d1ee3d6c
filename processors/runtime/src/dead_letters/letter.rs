//! A dead letter as it lies in its topic.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{BEHIND, Stage, name};
use crate::{Event, Headers};

/// The place of an event in the topic that its route reads. It names a dead letter: an event that a
/// crash buried twice is one letter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset there.
    pub offset: i64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

/// A dead letter: an event that could not pass, and why.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The event as it was, at its own place.
    pub event: Event,
    /// Where it came from; its place among the dead letters when it came from no topic.
    pub origin: Origin,
    /// Its offset among the dead letters.
    pub offset: i64,
    /// When it was put there, milliseconds since the Unix epoch.
    pub at: i64,
    /// The short name of its cause.
    pub cause: String,
    /// The cause as a sentence.
    pub message: String,
    /// False when a source received it and could not put it on its topic: it cannot be tried again.
    pub is_event: bool,
    /// How often the target itself has refused the event, so that it is known not to have it under the
    /// idempotency keys that it had then.
    pub rejected: u32,
}

impl Letter {
    /// Reads a record of a dead-letter topic, ours or of another tool with Kafka Connect's headers.
    pub fn read(record: Event) -> Self {
        let text = |name: &str| record.headers.text(name).unwrap_or_default().to_owned();
        let number =
            |name: &str| record.headers.text(name).and_then(|text| text.parse::<i64>().ok());
        let (cause, message) = (text(name::EXCEPTION), text(name::MESSAGE));
        let is_rejection = text(name::STAGE) == Stage::Delivery.word()
            && text(name::CLASS) == "passerelle.data"
            && cause != BEHIND;
        let source = (text(name::TOPIC), number(name::PARTITION), number(name::OFFSET));
        let (origin, is_event) = match source {
            (topic, Some(partition), Some(offset)) if partition >= 0 && offset >= 0 => {
                let partition = i32::try_from(partition).unwrap_or(i32::MAX);
                (Origin { topic, partition, offset }, true)
            }
            _ => {
                let Event { topic, partition, offset, .. } = &record;
                let topic = topic.to_string();
                (Origin { topic, partition: *partition, offset: *offset }, false)
            }
        };
        let (offset, at) = (record.offset, record.timestamp);
        let event = Event {
            topic: origin.topic.as_str().into(),
            partition: origin.partition,
            offset: origin.offset,
            headers: original(&record.headers),
            ..record
        };
        let rejected = event.rejected().saturating_add(u32::from(is_rejection));
        Self { event, origin, offset, at, cause, message, is_event, rejected }
    }
}

/// The headers that the event had: the ten that were added stand behind them.
fn original(headers: &Headers) -> Headers {
    let all: Vec<_> = headers.iter().collect();
    let added = all.iter().rev().take(10).take_while(|(name, _)| name.starts_with(name::PREFIX));
    let kept = all.len() - added.count();
    all.into_iter().take(kept).map(|(name, value)| (Headers::name(name), value.cloned())).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::DeadLetters;
    use super::*;
    use crate::Fault;

    #[test]
    fn a_letter_gives_back_the_event_as_it_was() {
        let mut headers = Headers::default();
        headers.push("__connect.errors.topic", Some(Bytes::from_static(b"of an earlier life")));
        headers.push("odd", None);
        let event = Event {
            topic: "erp.sales".into(),
            partition: 3,
            offset: 42,
            timestamp: 1,
            key: Some(Bytes::from_static(b"k")),
            payload: Some(Bytes::from_static(b"\x00\xff")),
            headers,
            value: None,
        };
        let fault = Fault::data("http_422", "No such product.");
        let record =
            DeadLetters::of(&"orders/sales".into()).record(&event, &fault, Stage::Delivery);
        let letter = Letter::read(Event {
            topic: record.topic,
            partition: 0,
            offset: 7,
            timestamp: 99,
            key: record.key,
            payload: record.payload,
            headers: record.headers,
            value: None,
        });
        assert_eq!(letter.origin.to_string(), "erp.sales/3/42");
        assert_eq!((letter.offset, letter.at), (7, 99));
        assert_eq!((&*letter.cause, &*letter.message), ("http_422", "No such product."));
        assert_eq!(letter.rejected, 1);
        let Letter { event: read, .. } = letter;
        assert_eq!(
            (&read.key, &read.payload, &read.headers),
            (&event.key, &event.payload, &event.headers)
        );
        assert_eq!(read.id(), event.id());
        assert_eq!(read.idempotency_key("r"), event.idempotency_key("r"));
    }
}
