//! Dead letters: events that cannot pass, kept byte for byte with their cause.

use std::sync::Arc;

use bytes::Bytes;

use crate::kafka::Record;
use crate::publisher::Rejected;
use crate::{Event, Fault, Headers, event};

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

/// The headers that Kafka Connect adds (KIP-298), so that its users' tools read them.
mod name {
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
        let (pipeline, route) = full_name.split_once('/').unwrap_or(("", full_name));
        Self { route: Arc::clone(full_name), topic: topic_of(pipeline, route).into() }
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
        let given = rejected.headers.iter();
        let mut headers: Headers =
            given.map(|(name, value)| (name.clone(), Some(Bytes::from(value.clone())))).collect();
        headers.set(event::CE_ID, rejected.id.clone());
        headers.set(event::CE_SOURCE, self.route.to_string());
        headers.set(event::RECEIVED, rejected.received.to_string());
        self.explain(&mut headers, Some((topic, -1, -1)), fault, Stage::Receipt);
        Record {
            topic: Arc::clone(&self.topic),
            partition: None,
            key: None,
            payload: Some(rejected.body.clone()),
            headers,
        }
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
