//! What the journal says of a dead letter: who decided what, and what became of it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{JOURNAL_TOPIC, Letter, Looked, Origin};
use crate::kafka::Record;
use crate::{Event, Fault, Headers, clock, event};

const VERSION: u32 = 1;

/// Where a dead letter stands. The last one of each letter holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The form of this record.
    pub version: u32,
    /// The route, `pipeline/route`.
    pub route: String,
    /// Which letter.
    pub origin: Origin,
    /// The event's id.
    pub id: String,
    /// The event's key.
    #[serde(default, with = "encoded")]
    pub key: Option<Bytes>,
    /// Its offset among the dead letters.
    pub letter: i64,
    /// True while later events of its key go behind it.
    #[serde(default)]
    pub parked: bool,
    /// How often it was tried again, this time included.
    #[serde(default)]
    pub retries: u32,
    /// How often it came back from that.
    #[serde(default)]
    pub returned: u32,
    /// How often the target itself has refused it.
    #[serde(default)]
    pub rejected: u32,
    /// The last decision of an operator.
    #[serde(default)]
    pub decision: Option<Decision>,
    /// When this was written, milliseconds since the Unix epoch.
    pub at: i64,
    /// Where it stands.
    pub standing: Standing,
}

/// Who decided, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Who, `user@host`.
    pub by: String,
    /// When, milliseconds since the Unix epoch.
    pub at: i64,
    /// Why.
    pub reason: Option<String>,
}

/// Where a dead letter stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It lies there, and later events of its key go behind it.
    Parked,
    /// It is to be tried again: the event, byte for byte.
    Retrying {
        /// The event's value.
        #[serde(default, with = "encoded")]
        payload: Option<Bytes>,
        /// The event's headers.
        headers: Vec<KeptHeader>,
        /// The event's timestamp.
        timestamp: i64,
        /// It may go although later events of its key have gone.
        out_of_order: bool,
        /// How far it was looked whether later events of its key have gone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        looked: Option<Looked>,
    },
    /// It was tried again in vain.
    Returned {
        /// The short name of the cause.
        cause: String,
        /// The cause as a sentence.
        message: String,
    },
    /// Its target has it.
    Delivered {
        /// The target's answer.
        answer: String,
    },
    /// An operator decided that it is not needed.
    Discarded,
}

/// A header of an event that is to be tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptHeader {
    name: String,
    #[serde(default, with = "encoded")]
    value: Option<Bytes>,
}

impl Entry {
    /// The first one of a letter.
    pub fn new(route: &str, letter: &Letter, standing: Standing) -> Self {
        Self {
            rejected: letter.rejected,
            ..Self::of_event(route, &letter.event, letter.origin.clone(), letter.offset, standing)
        }
    }

    /// An event of a parked key, whose letter has this offset.
    pub fn parked(route: &str, event: &Event, letter: i64, is_rejection: bool) -> Self {
        let origin = Origin {
            topic: event.topic.to_string(),
            partition: event.partition,
            offset: event.offset,
        };
        Self {
            parked: true,
            rejected: event.rejected().saturating_add(u32::from(is_rejection)),
            ..Self::of_event(route, event, origin, letter, Standing::Parked)
        }
    }

    fn of_event(
        route: &str,
        event: &Event,
        origin: Origin,
        letter: i64,
        standing: Standing,
    ) -> Self {
        Self {
            version: VERSION,
            route: route.to_owned(),
            origin,
            id: event.id(),
            key: event.key.clone(),
            letter,
            parked: false,
            retries: 0,
            returned: 0,
            rejected: 0,
            decision: None,
            at: clock::unix_millis(),
            standing,
        }
    }

    /// The next one, of now.
    #[must_use]
    pub fn becomes(&self, standing: Standing) -> Self {
        Self { at: clock::unix_millis(), standing, ..self.clone() }
    }

    /// The next one: an operator wants the letter tried again, in the order of its key (`looked` tells how
    /// far that one was seen to have gone) or in any.
    #[must_use]
    pub fn retried(
        &self,
        letter: &Letter,
        decision: Decision,
        out_of_order: bool,
        looked: Option<Looked>,
    ) -> Self {
        let kept = |(name, value): (&str, Option<&Bytes>)| KeptHeader {
            name: name.to_owned(),
            value: value.cloned(),
        };
        let standing = Standing::Retrying {
            payload: letter.event.payload.clone(),
            headers: letter.event.headers.iter().map(kept).collect(),
            timestamp: letter.event.timestamp,
            out_of_order,
            looked,
        };
        let (letter, decision) = (letter.offset, Some(decision));
        Self { letter, decision, retries: self.retries + 1, ..self.becomes(standing) }
    }

    /// Whether it was settled before the event was buried anew, as the letter of this offset.
    pub fn is_of_before(&self, letter: i64) -> bool {
        self.is_settled() && self.letter < letter
    }

    /// Where a letter stands that would begin with this entry, after the journal's last one of its event:
    /// one that was settled and is buried anew is another letter. Refusals count over both.
    #[must_use]
    pub fn after(self, last: Option<&Entry>) -> Self {
        let Some(last) = last else { return self };
        let (letter, rejected) = (self.letter.max(last.letter), self.rejected.max(last.rejected));
        let entry = if last.is_of_before(self.letter) { self } else { last.clone() };
        Self { letter, rejected, ..entry }
    }

    /// The same without the event that it may hold.
    #[must_use]
    pub fn without_event(mut self) -> Self {
        if let Standing::Retrying { payload, headers, .. } = &mut self.standing {
            (*payload, *headers) = (None, Vec::new());
        }
        self
    }

    /// Whether nothing is left to be done with the letter.
    pub fn is_settled(&self) -> bool {
        matches!(self.standing, Standing::Delivered { .. } | Standing::Discarded)
    }

    /// The event that is to be tried again; nothing if it is not.
    pub fn event(&self) -> Option<Event> {
        let Standing::Retrying { payload, headers, timestamp, .. } = &self.standing else {
            return None;
        };
        let kept = headers.iter();
        let mut headers: Headers =
            kept.map(|header| (Headers::name(&header.name), header.value.clone())).collect();
        headers.set(event::RETRIED, self.retries.to_string());
        let mut event = Event {
            topic: self.origin.topic.as_str().into(),
            partition: self.origin.partition,
            offset: self.origin.offset,
            timestamp: *timestamp,
            key: self.key.clone(),
            payload: payload.clone(),
            headers,
            value: None,
        };
        event.set_rejected(self.rejected);
        Some(event)
    }

    /// The record that holds it.
    ///
    /// # Errors
    /// An `Internal` fault when it cannot be written: a bug.
    pub fn record(&self) -> Result<Record, Fault> {
        let json = serde_json::to_vec(self);
        let json = json.map_err(|error| Fault::internal("journal_entry", error.to_string()))?;
        Ok(Record {
            topic: Arc::from(JOURNAL_TOPIC),
            partition: Some(0),
            key: Some(Bytes::from(format!("{} {}", self.route, self.origin))),
            payload: Some(Bytes::from(json)),
            headers: Headers::default(),
        })
    }

    /// Reads a record of the journal; nothing if it is none of a known form.
    pub fn read(record: &Event) -> Option<Self> {
        let entry: Self = serde_json::from_slice(record.payload.as_deref()?).ok()?;
        (entry.version == VERSION).then_some(entry)
    }
}

/// Bytes in JSON, as base64.
mod encoded {
    use super::*;

    pub fn serialize<S: Serializer>(
        bytes: &Option<Bytes>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        bytes.as_ref().map(|bytes| STANDARD.encode(bytes)).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Bytes>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        STANDARD.decode(text).map(|bytes| Some(bytes.into())).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> Letter {
        let mut headers = Headers::default();
        headers.set(event::CE_ID, "evt_1");
        headers.push("odd", Some(Bytes::from_static(b"\xff\x00")));
        headers.push("none", None);
        let event = Event {
            topic: "erp.sales".into(),
            partition: 3,
            offset: 42,
            timestamp: 5,
            key: Some(Bytes::from_static(b"\xfe")),
            payload: Some(Bytes::from_static(b"\x00\x01")),
            headers,
            value: None,
        };
        let origin = Origin { topic: "erp.sales".into(), partition: 3, offset: 42 };
        let (cause, message) = ("http_422".into(), "no".into());
        Letter { event, origin, offset: 7, at: 9, cause, message, is_event: true, rejected: 1 }
    }

    #[test]
    fn the_journal_gives_back_the_event_byte_for_byte() {
        let letter = letter();
        let decision = Decision { by: "ada@erp".into(), at: 1, reason: None };
        let entry = Entry::new("orders/sales", &letter, Standing::Parked);
        let entry = entry.retried(&letter, decision, false, None);
        let record = entry.record().unwrap();
        let stored = Event { payload: record.payload, ..letter.event.clone() };
        let read = Entry::read(&stored).unwrap();
        assert_eq!(read, entry);
        let event = read.event().unwrap();
        assert_eq!((&event.key, &event.payload), (&letter.event.key, &letter.event.payload));
        let added = [event::REJECTED, event::RETRIED];
        let headers = event.headers.iter().filter(|(name, _)| !added.contains(name));
        assert!(headers.eq(letter.event.headers.iter()));
        assert_eq!((event.id(), event.offset), ("evt_1".to_owned(), 42));
    }

    #[test]
    fn after_a_clear_refusal_the_target_is_asked_under_a_new_idempotency_key() {
        let letter = letter();
        let decision = Decision { by: "ada@erp".into(), at: 1, reason: None };
        let key = |entry: &Entry| entry.event().unwrap().idempotency_key("orders/sales");
        let refused = Entry::new("orders/sales", &letter, Standing::Parked);
        let refused = refused.retried(&letter, decision.clone(), false, None);
        let first = letter.event.idempotency_key("orders/sales");
        assert_eq!(key(&refused), format!("{first}.1"));
        let unknown = Letter { rejected: 0, ..letter };
        let entry = Entry::new("orders/sales", &unknown, Standing::Parked);
        assert_eq!(key(&entry.retried(&unknown, decision, false, None)), first, "it may have it");
    }
}
