//! Dead letters: events that cannot pass, kept byte for byte with their cause.
//!
//! Nothing is deleted from them. What was decided about each, and what became of it, is in the
//! journal, a compacted topic; a key is parked while the journal holds an event of it that was
//! parked and is not settled.

mod archive;
mod course;
mod entry;
mod journal;
mod letter;
mod letters;

use std::sync::Arc;

use crate::kafka::Record;
use crate::publisher::Rejected;
use crate::{Domain, Event, Fault, Headers, event};

pub use archive::{Archive, Filed};
pub use course::{Course, Looked};
pub use entry::{Decision, Entry, KeptHeader, Standing};
pub(crate) use journal::Journal;
pub use letter::{Letter, Origin};
pub(crate) use letters::{Letters, Passage};

/// The compacted topic of the journal, one partition. Key: the route and the letter's origin; value:
/// [`Entry`] as JSON.
pub const JOURNAL_TOPIC: &str = "passerelle.letters";

/// The cause of a dead letter that went behind another of its key.
pub(crate) const BEHIND: &str = "behind";

/// The cause of a dead letter that came back untried: at that moment it could not be told whether later
/// events of its key had been delivered.
pub const UNTOLD: &str = "untold";

/// Why an event of a parked key goes to the dead letters: `id` is of the one before it.
pub(crate) fn behind(id: &str) -> Fault {
    Fault::data(BEHIND, format!("behind {id}: the key is parked until that event is settled."))
}

/// Whether the target itself has refused an event, so that it is known not to have it.
pub(crate) fn is_rejection(fault: &Fault, stage: Stage) -> bool {
    fault.domain == Domain::Data && stage == Stage::Delivery && fault.cause != BEHIND
}

/// Where an event failed, in Kafka Connect's words (`org.apache.kafka.connect.runtime.errors.Stage`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its value could not be decoded.
    Decoding,
    /// A processor refused it, or its result does not fit the output schema.
    Processing,
    /// The target refused it.
    Delivery,
    /// A source received it, and it is none of the topic's events.
    Receipt,
}

impl Stage {
    fn word(self) -> &'static str {
        match self {
            Stage::Decoding => "VALUE_CONVERTER",
            Stage::Processing => "TRANSFORMATION",
            Stage::Delivery => "TASK_PUT",
            Stage::Receipt => "TASK_POLL",
        }
    }
}

/// The topic of a route's dead letters.
pub fn topic_of(pipeline: &str, route: &str) -> String {
    format!("{pipeline}.{route}.dead-letters")
}

/// The same, of a route's full name, `pipeline/route`.
pub(crate) fn topic_of_route(full_name: &str) -> String {
    let (pipeline, route) = full_name.split_once('/').unwrap_or(("", full_name));
    topic_of(pipeline, route)
}

/// The headers that Kafka Connect adds (KIP-298), so that its users' tools read them.
mod name {
    pub const PREFIX: &str = "__connect.errors.";
    pub const TOPIC: &str = "__connect.errors.topic";
    pub const PARTITION: &str = "__connect.errors.partition";
    pub const OFFSET: &str = "__connect.errors.offset";
    pub const CONNECTOR: &str = "__connect.errors.connector.name";
    pub const TASK: &str = "__connect.errors.task.id";
    pub const STAGE: &str = "__connect.errors.stage";
    pub const CLASS: &str = "__connect.errors.class.name";
    pub const EXCEPTION: &str = "__connect.errors.exception.class.name";
    pub const MESSAGE: &str = "__connect.errors.exception.message";
    pub const STACKTRACE: &str = "__connect.errors.exception.stacktrace";
}

/// Makes a route's dead letters.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    route: Arc<str>,
    topic: Arc<str>,
}

impl DeadLetters {
    /// Those of a route, `pipeline/route`.
    pub fn of(full_name: &Arc<str>) -> Self {
        Self { route: Arc::clone(full_name), topic: topic_of_route(full_name).into() }
    }

    /// The topic.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The record that keeps an event: its key, value and headers as they were, and the cause.
    pub fn record(&self, event: &Event, fault: &Fault, stage: Stage) -> Record {
        let mut headers = event.headers.clone();
        let place = (&*event.topic, event.partition, event.offset);
        self.explain(&mut headers, Some(place), fault, stage);
        Record {
            topic: Arc::clone(&self.topic),
            partition: None,
            key: event.key.clone(),
            payload: event.payload.clone(),
            headers,
        }
    }

    /// The record that keeps what a source received and cannot publish on `topic`.
    pub fn rejected(&self, rejected: &Rejected, fault: &Fault, topic: &str) -> Record {
        let mut headers = rejected.headers.clone();
        headers.set(event::CE_ID, rejected.id.clone());
        headers.set(event::CE_SOURCE, self.route.to_string());
        headers.set(event::RECEIVED, rejected.received.to_string());
        self.explain(&mut headers, Some((topic, -1, -1)), fault, Stage::Receipt);
        Record {
            topic: Arc::clone(&self.topic),
            partition: None,
            key: rejected.key.clone(),
            payload: rejected.body.clone(),
            headers,
        }
    }

    /// The record that keeps what a source would have written, and its topic does not take.
    pub fn unwritten(&self, record: &Record, fault: &Fault) -> Record {
        let mut letter =
            Record { topic: Arc::clone(&self.topic), partition: None, ..record.clone() };
        let place = (&*record.topic, -1, -1);
        self.explain(&mut letter.headers, Some(place), fault, Stage::Receipt);
        letter
    }

    fn explain(
        &self,
        headers: &mut Headers,
        place: Option<(&str, i32, i64)>,
        fault: &Fault,
        stage: Stage,
    ) {
        let (topic, partition, offset) = place.unwrap_or_default();
        let mut add = |name: &'static str, value: String| headers.push(name, Some(value.into()));
        add(name::TOPIC, topic.to_owned());
        add(name::PARTITION, partition.to_string());
        add(name::OFFSET, offset.to_string());
        add(name::CONNECTOR, self.route.to_string());
        add(name::TASK, "0".to_owned());
        add(name::STAGE, stage.word().to_owned());
        add(name::CLASS, format!("passerelle.{}", fault.domain.word()));
        add(name::EXCEPTION, fault.cause.to_owned());
        add(name::MESSAGE, fault.message.clone());
        add(name::STACKTRACE, fault.to_string());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_dead_letter_is_the_event_byte_for_byte_with_connects_ten_headers() {
        let mut headers = Headers::default();
        headers.push("ce_id", Some(Bytes::from_static(b"evt_1")));
        headers.push("odd", None);
        headers.push("odd", Some(Bytes::from_static(b"\xff\x00")));
        let event = Event {
            topic: "shop.orders".into(),
            partition: 3,
            offset: 42,
            timestamp: 0,
            key: Some(Bytes::from_static(b"k")),
            payload: Some(Bytes::from_static(b"\x00\xff")),
            headers: headers.clone(),
            value: None,
        };
        let fault = Fault::data("http_422", "The ERP refused the order: no such product.");
        let letter =
            DeadLetters::of(&"orders/sales".into()).record(&event, &fault, Stage::Delivery);
        assert_eq!(&*letter.topic, "orders.sales.dead-letters");
        assert_eq!((&letter.key, &letter.payload), (&event.key, &event.payload));
        let kept: Headers = letter
            .headers
            .iter()
            .take(3)
            .map(|(name, value)| (name.to_owned(), value.cloned()))
            .collect();
        assert_eq!(kept, headers);
        let added: Vec<_> = letter.headers.iter().skip(3).collect();
        assert_eq!(added.len(), 10);
        assert!(added.iter().all(|(name, _)| name.starts_with("__connect.errors.")));
        assert_eq!(letter.headers.text(name::OFFSET), Some("42"));
        assert_eq!(letter.headers.text(name::EXCEPTION), Some("http_422"));
    }
}
