//! An event: one record of a topic, with the headers that Passerelle keeps.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::Value;

/// The event's id, unique within its source (CloudEvents `id`).
pub const CE_ID: &str = "ce_id";
/// The application or source that said it (CloudEvents `source`).
pub const CE_SOURCE: &str = "ce_source";
/// What kind of event it is (CloudEvents `type`).
pub const CE_TYPE: &str = "ce_type";
/// When the application says that it happened, RFC 3339. Kafka's timestamp is the receipt.
pub const CE_TIME: &str = "ce_time";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// When Passerelle received it: milliseconds since the Unix epoch, as decimal text.
pub const RECEIVED: &str = "passerelle_received";
/// Present on events that a replay sent again.
pub const REPLAY: &str = "passerelle_replay";
/// Beside it: when that replay began, milliseconds since the Unix epoch. The same replay sent once
/// more has begun anew.
pub const REPLAY_BEGUN: &str = "passerelle_replay_begun";
/// On a dead letter that is tried again: how often it was, this time included.
pub const RETRIED: &str = "passerelle_retried";
/// On what was a dead letter and is sent again: how often its target has refused it.
pub const REJECTED: &str = "passerelle_rejected";

/// The headers kept through processors.
pub const KEPT: [&str; 8] =
    [CE_ID, CE_SOURCE, CE_TYPE, CE_TIME, TRACEPARENT, RECEIVED, REPLAY, REPLAY_BEGUN];

/// An event's headers, in order, names repeated as received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Cow<'static, str>, Option<Bytes>)>);

impl Headers {
    /// The last header of this name as text, if it is there and is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The last header of this name, if it has a value.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        let (_, value) = self.0.iter().rev().find(|(key, _)| key == name)?;
        value.as_ref()
    }

    /// Adds a header after the others.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: Option<Bytes>) {
        self.0.push((name.into(), value));
    }

    /// Replaces every header of this name by one.
    pub fn set(&mut self, name: &str, value: impl Into<Bytes>) {
        self.0.retain(|(key, _)| key != name);
        self.push(Self::name(name), Some(value.into()));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A header's name, without an allocation for those that are ours.
    pub fn name(name: &str) -> Cow<'static, str> {
        match KEPT.iter().find(|kept| **kept == name) {
            Some(kept) => Cow::Borrowed(kept),
            None => Cow::Owned(name.to_owned()),
        }
    }

    /// All headers in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&Bytes>)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// Those that travel through processors ([`KEPT`]).
    pub fn kept(&self) -> Headers {
        Headers(self.0.iter().filter(|(name, _)| KEPT.contains(&name.as_ref())).cloned().collect())
    }
}

impl<N: Into<Cow<'static, str>>> FromIterator<(N, Option<Bytes>)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, Option<Bytes>)>>(headers: I) -> Self {
        Headers(headers.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

/// One record read from a topic.
#[derive(Debug, Clone)]
pub struct Event {
    /// The topic it was read from.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset in the partition.
    pub offset: i64,
    /// Kafka's timestamp, the receipt: milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The record's key as it lies in the topic.
    pub key: Option<Bytes>,
    /// The record's value as it lies in the topic; `None` is a tombstone.
    pub payload: Option<Bytes>,
    /// Its headers.
    pub headers: Headers,
    /// The payload decoded by the runtime; `None` for a tombstone and on routes that only move bytes.
    pub value: Option<Value>,
}

impl Event {
    /// What an expression reads where there is no event of a topic: only its value is something.
    pub fn of_value(value: Value) -> Self {
        Self {
            topic: "".into(),
            partition: 0,
            offset: 0,
            timestamp: crate::clock::unix_millis(),
            key: None,
            payload: None,
            headers: Headers::default(),
            value: Some(value),
        }
    }

    /// The event's id: `ce_id`, or its place in the topic (`topic/partition/offset`) when whoever
    /// produced it gave none.
    pub fn id(&self) -> String {
        match self.headers.text(CE_ID) {
            Some(id) => id.to_owned(),
            None => format!("{}/{}/{}", self.topic, self.partition, self.offset),
        }
    }

    /// A part of this event as an event of its own: the same in everything but its id, which is this
    /// one's and `key`, after a slash.
    #[must_use]
    pub fn child(&self, key: &str) -> Self {
        let mut child = self.clone();
        child.headers.set(CE_ID, format!("{}/{key}", self.id()));
        child
    }

    /// When Passerelle received it, in milliseconds since the Unix epoch; Kafka's timestamp when the
    /// header is missing.
    pub fn received(&self) -> i64 {
        self.headers.text(RECEIVED).and_then(|text| text.parse().ok()).unwrap_or(self.timestamp)
    }

    /// How often its target has refused it, when it was a dead letter.
    pub fn rejected(&self) -> u32 {
        self.headers.text(REJECTED).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Its target has refused it so often ([`idempotency_key`](Self::idempotency_key)).
    pub fn set_rejected(&mut self, times: u32) {
        if times > 0 {
            self.headers.set(REJECTED, times.to_string());
        }
    }

    /// What it weighs: the bytes of its key, value and headers.
    pub fn bytes(&self) -> usize {
        let length = |bytes: Option<&Bytes>| bytes.map_or(0, Bytes::len);
        let headers = self.headers.iter().map(|(name, value)| name.len() + length(value));
        length(self.key.as_ref()) + length(self.payload.as_ref()) + headers.sum::<usize>()
    }

    /// The key as text, for logs and templates (lossy where it is not UTF-8).
    pub fn key_text(&self) -> Option<String> {
        self.key.as_ref().map(|key| String::from_utf8_lossy(key).into_owned())
    }

    /// The idempotency key of this event at the target of `route`: the same over retries, restarts
    /// and replays. A hash of `ce_source`, the id and the route, 32 hex digits. A dead letter that is
    /// sent again (tried again, or in a replay) after its target refused it gains `.n`, for the n-th
    /// refusal: targets that keep keys would only repeat their refusal.
    pub fn idempotency_key(&self, route: &str) -> String {
        self.key_of([self.headers.text(CE_SOURCE).unwrap_or(&self.topic), &self.id(), route])
    }

    /// A key for what these name together; another one once the application has rejected the event.
    pub fn key_of<'a>(&self, parts: impl IntoIterator<Item = &'a str>) -> String {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        for part in parts {
            // The length goes first so that no two lists of parts read the same.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let key = hex::encode(&hash.finalize()[..16]);
        match self.headers.text(REJECTED) {
            Some(times) => format!("{key}.{times}"),
            None => key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: Option<&str>) -> Event {
        let mut headers = Headers::default();
        if let Some(id) = id {
            headers.set(CE_ID, id.to_owned());
        }
        Event {
            topic: "shop.orders".into(),
            partition: 3,
            offset: 42,
            timestamp: 1_000,
            key: None,
            payload: None,
            headers,
            value: None,
        }
    }

    #[test]
    fn an_event_without_an_id_is_named_by_its_place() {
        assert_eq!(event(None).id(), "shop.orders/3/42");
        assert_eq!(event(Some("evt_1")).id(), "evt_1");
    }

    #[test]
    fn the_idempotency_key_depends_on_the_id_and_the_route_and_on_nothing_else() {
        let mut again = event(Some("evt_1"));
        (again.partition, again.offset) = (0, 7);
        assert_eq!(
            event(Some("evt_1")).idempotency_key("orders/sales"),
            again.idempotency_key("orders/sales")
        );
        assert_ne!(again.idempotency_key("orders/sales"), again.idempotency_key("orders/mail"));
        assert_ne!(event(Some("evt_2")).idempotency_key("r"), again.idempotency_key("r"));
    }
}
