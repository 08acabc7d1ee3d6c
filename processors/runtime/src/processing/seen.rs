//! What a partition has seen lately, so that what comes again is dropped: kept in a compacted topic
//! with as many partitions as the one that is read, restored before anything is processed, and written
//! with what is made of the events.
//!
//! Time is that of the events (Kafka's receipt of them), so that with `exactly_once` what is read again
//! after a crash is judged as it was before; without, a repeat within what is read again may pass, if
//! that spans more than the window. An event that is read again is none that comes again: its offset
//! tells.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ledger::Ledger;
use super::line::Decoded;
use crate::clock::unix_millis;
use crate::dead_letters::Stage;
use crate::delivery::backoff_wait;
use crate::event::{CE_ID, REPLAY, REPLAY_BEGUN};
use crate::kafka::{Cluster, ReadFrom, Reader, Record, blocking, open_end, stable_end};
use crate::runtime::{Backoff, KeyOf};
use crate::state::{State, StateOf};
use crate::{Event, Fault, Headers, Value};

/// The form of the records.
const VERSION: u32 = 1;
/// Between tries of what no broker answers, and while another's transaction hides what was seen.
const BACKOFF: Backoff =
    Backoff { initial: Duration::from_millis(50), max: Duration::from_secs(1) };

/// What a route drops.
pub(crate) struct Deduplication {
    pub cluster: Cluster,
    /// The topic of what was seen.
    pub topic: Arc<str>,
    /// How long an id is remembered.
    pub length: Duration,
    /// The id; without it, the event's own.
    pub by: Option<KeyOf>,
}

/// The topic of what a route has seen.
pub(crate) fn seen_topic(pipeline: &str, route: &str) -> String {
    format!("{pipeline}.{route}.seen")
}

/// A hash of an id.
pub(super) type Id = [u8; 16];

/// An id, and where and when it was seen first: the value of a record, by the id in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct First {
    version: u32,
    offset: i64,
    /// Milliseconds since the Unix epoch.
    at: i64,
}

/// What one partition has seen.
pub(super) struct Seen {
    deduplication: Arc<Deduplication>,
    partition: i32,
    known: HashMap<Id, First>,
    /// The ids in the order in which they were seen.
    order: VecDeque<Id>,
    /// The newest event's time.
    now: i64,
}

impl Deduplication {
    /// The id of an event; nothing where it has none.
    fn id(&self, event: &Event, value: &Value) -> Result<Option<Id>, Fault> {
        let given = match &self.by {
            Some(by) => by(event, value)?,
            None => event.headers.get(CE_ID).cloned(),
        };
        let Some(given) = given else { return Ok(None) };
        let mut hash = Sha256::new();
        hash.update(&given);
        if let Some(replay) = event.headers.get(REPLAY) {
            // What an operator sends again comes again on purpose, however often.
            hash.update([0]);
            hash.update(replay);
            hash.update(event.headers.get(REPLAY_BEGUN).map_or(&[][..], |begun| begun));
        }
        let mut id = Id::default();
        id.copy_from_slice(&hash.finalize()[..16]);
        Ok(Some(id))
    }
}

impl Seen {
    /// Reads what a partition has seen; waits while it cannot be had. Nothing if the partition is
    /// taken away meanwhile.
    pub async fn restore(
        deduplication: &Arc<Deduplication>,
        partition: i32,
        ledger: &Ledger,
        state: &StateOf,
    ) -> Option<Self> {
        let mut failures = 0;
        while !ledger.is_closed() {
            let own = Arc::clone(deduplication);
            match blocking(move || Self::read(own, partition)).await {
                Ok(seen) => {
                    if failures > 0 {
                        state.set(State::Running);
                    }
                    return Some(seen);
                }
                Err(fault) => {
                    failures += 1;
                    let wait = backoff_wait(BACKOFF, failures);
                    state.set(State::waiting(fault.message, wait));
                    tokio::time::sleep(wait).await;
                }
            }
        }
        None
    }

    /// Blocks.
    fn read(deduplication: Arc<Deduplication>, partition: i32) -> Result<Self, Fault> {
        let Deduplication { cluster, topic, .. } = &*deduplication;
        // What was open when the partition became ours is somebody else's who died: it ends soon.
        if stable_end(cluster, topic, partition)? < open_end(cluster, topic, partition)? {
            let message = format!("What was seen in {topic} is hidden by an open transaction.");
            return Err(Fault::remote("seen_hidden", message));
        }
        let mut firsts: HashMap<Id, First> = HashMap::new();
        let only = |_| [partition].into();
        let mut reader = Reader::open_some(cluster, topic, ReadFrom::Beginning, only)?;
        reader.read_to_end(|event| {
            let mut id = Id::default();
            let key = event.key.as_deref().unwrap_or_default();
            if hex::decode_to_slice(key, &mut id).is_err() {
                tracing::warn!(topic = &**topic, offset = event.offset, "a record is no id");
                return;
            }
            match event.payload.as_deref().map(serde_json::from_slice) {
                Some(Ok(first)) => drop(firsts.insert(id, first)),
                _ => drop(firsts.remove(&id)),
            }
        })?;
        let mut order: Vec<Id> = firsts.keys().copied().collect();
        order.sort_by_key(|id| firsts.get(id).map(|first| first.offset));
        let now = firsts.values().map(|first| first.at).max().unwrap_or_default();
        Ok(Self { deduplication, partition, known: firsts, order: order.into(), now })
    }

    /// The ids of events, told before anything is made of them; none for one without. An event whose
    /// id cannot be told cannot pass.
    pub fn ids(&self, events: &[Event], values: &mut [Decoded]) -> Vec<Option<Id>> {
        let own = &self.deduplication;
        let id = |(event, value): (&Event, &mut Decoded)| {
            let told = match &*value {
                Ok(Some(value)) => own.id(event, value),
                // The event's own id needs no value.
                Err(_) if own.by.is_none() => own.id(event, &Value::Null),
                _ => return None,
            };
            told.unwrap_or_else(|fault| {
                *value = Err((fault, Stage::Processing));
                None
            })
        };
        events.iter().zip(values).map(id).collect()
    }

    /// Whether an event of this id comes again. One that does not is remembered, and the records for
    /// that are added to `records`.
    ///
    /// # Errors
    /// An `Internal` fault: a record has no value that JSON lacks.
    pub fn comes_again(
        &mut self,
        event: &Event,
        id: Option<Id>,
        records: &mut Vec<Record>,
    ) -> Result<bool, Fault> {
        // A clock that is ahead must not make everything else old.
        let time = event.timestamp.min(unix_millis());
        self.forget(time, records);
        let Some(id) = id else { return Ok(false) };
        if let Some(first) = self.known.get(&id) {
            return Ok(first.offset < event.offset);
        }
        let first = First { version: VERSION, offset: event.offset, at: time };
        self.known.insert(id, first);
        self.order.push_back(id);
        let payload = serde_json::to_vec(&first)
            .map_err(|error| Fault::internal("seen_record", error.to_string()))?;
        records.push(self.record(&id, Some(payload.into())));
        Ok(false)
    }

    /// Forgets what was seen too long before this time.
    fn forget(&mut self, time: i64, records: &mut Vec<Record>) {
        self.now = self.now.max(time);
        let length = i64::try_from(self.deduplication.length.as_millis()).unwrap_or(i64::MAX);
        while let Some(id) = self.order.front().copied() {
            let first = self.known.get(&id);
            if first.is_some_and(|first| self.now.saturating_sub(first.at) < length) {
                return;
            }
            self.order.pop_front();
            self.known.remove(&id);
            records.push(self.record(&id, None));
        }
    }

    fn record(&self, id: &Id, payload: Option<Bytes>) -> Record {
        Record {
            topic: Arc::clone(&self.deduplication.topic),
            partition: Some(self.partition),
            key: Some(hex::encode(id).into()),
            payload,
            headers: Headers::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(length: Duration) -> Seen {
        let cluster = Cluster::new("127.0.0.1:1");
        let deduplication = Deduplication { cluster, topic: "seen".into(), length, by: None };
        let (known, order) = (HashMap::new(), VecDeque::new());
        Seen { deduplication: Arc::new(deduplication), partition: 0, known, order, now: 0 }
    }

    fn event(id: &str, offset: i64, timestamp: i64) -> Event {
        let mut event = Event { offset, timestamp, ..Event::of_value(Value::Null) };
        event.headers.set(CE_ID, id.to_owned());
        event
    }

    fn judged(seen: &mut Seen, event: &Event, records: &mut Vec<Record>) -> bool {
        let ids = seen.ids(std::slice::from_ref(event), &mut [Ok(Some(Value::Null))]);
        seen.comes_again(event, ids[0], records).unwrap()
    }

    #[test]
    fn what_comes_again_within_the_window_is_known_and_what_is_read_again_is_not() {
        let mut seen = seen(Duration::from_secs(10));
        let mut records = Vec::new();
        let mut again =
            |id: &str, offset, at| judged(&mut seen, &event(id, offset, at), &mut records);
        assert!(!again("a", 1, 1_000));
        assert!(!again("a", 1, 1_000), "it is the same event, read again");
        assert!(again("a", 2, 2_000) && again("a", 3, 10_999));
        assert!(!again("a", 4, 11_000), "the window is over");
        assert!(again("a", 5, 11_001));
        let written: Vec<bool> = records.iter().map(|record| record.payload.is_some()).collect();
        assert_eq!(written, [true, false, true], "seen, forgotten, seen");
        assert!(records.iter().all(|record| record.partition == Some(0)));
    }

    #[test]
    fn an_event_without_id_and_one_that_is_sent_again_on_purpose_pass() {
        let mut seen = seen(Duration::from_secs(10));
        let mut records = Vec::new();
        let without = Event { offset: 1, ..Event::of_value(Value::Null) };
        for _ in 0..2 {
            assert!(!judged(&mut seen, &without, &mut records));
        }
        assert!(records.is_empty());
        assert!(!judged(&mut seen, &event("a", 2, 0), &mut records));
        let mut replayed = event("a", 3, 0);
        replayed.headers.set(REPLAY, "r-1");
        assert!(!judged(&mut seen, &replayed, &mut records));
        let mut once_more = Event { offset: 4, ..replayed };
        once_more.headers.set(REPLAY_BEGUN, "1700000000000");
        assert!(!judged(&mut seen, &once_more, &mut records), "the same replay, begun again");
    }

    #[test]
    fn an_event_of_a_clock_that_is_ahead_makes_nothing_old() {
        let mut seen = seen(Duration::from_secs(10));
        let (mut records, now) = (Vec::new(), unix_millis());
        assert!(!judged(&mut seen, &event("a", 1, now), &mut records));
        assert!(!judged(&mut seen, &event("ahead", 2, now + 86_400_000), &mut records));
        assert!(judged(&mut seen, &event("a", 3, now), &mut records));
    }

    #[test]
    fn what_does_not_decode_has_its_own_id_and_none_that_is_made_of_its_value() {
        let spoilt = || Err((Fault::data("decode", "no Avro"), Stage::Decoding));
        let told = |seen: &Seen| seen.ids(&[event("a", 1, 0)], &mut [spoilt()]);
        assert!(told(&seen(Duration::from_secs(10)))[0].is_some());
        let mut by = seen(Duration::from_secs(10));
        let expression: KeyOf = Box::new(|_, _| Err(Fault::data("by", "no such field")));
        Arc::get_mut(&mut by.deduplication).unwrap().by = Some(expression);
        assert!(told(&by)[0].is_none());
        let mut values = [Ok(Some(Value::Null))];
        assert!(by.ids(&[event("a", 1, 0)], &mut values)[0].is_none());
        assert!(matches!(&values[0], Err((fault, _)) if fault.cause == "by"));
    }
}
