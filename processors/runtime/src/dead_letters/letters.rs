//! What the journal says of one route's dead letters: which keys are parked, and what is to be tried
//! again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::{Entry, Origin, Standing};
use crate::Event;
use crate::clock::Moment;

/// While a parked key is being tried again, its next events wait at most this long from the last
/// step for the key to be free, instead of going behind it.
const HELD: Duration = Duration::from_secs(15);

/// Whether an event may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passage {
    /// Yes.
    Free,
    /// It was parked before: it has its dead letter and its entry in the journal.
    Parked,
    /// It goes behind the event of this id.
    Behind(String),
    /// Not yet: those before it are being tried again.
    Held,
}

/// Called when something is to be tried again, or when a key is free again.
pub type OnChange = Arc<dyn Fn() + Send + Sync>;

/// One route's dead letters, as the journal tells. What this process writes holds at once; what it
/// reads of itself later changes nothing.
#[derive(Default)]
pub struct Letters {
    view: Mutex<View>,
    /// How many keys are parked; read before each event.
    parked: AtomicUsize,
    on_change: Mutex<Option<OnChange>>,
}

#[derive(Default)]
struct View {
    parked: HashMap<(i32, Bytes), ParkedKey>,
    /// What is to be tried again, by partition, offset and topic.
    asked: BTreeMap<(i32, i64, String), Arc<Entry>>,
    /// Letters that are settled, by the hash of their origin.
    settled: HashSet<u64>,
    /// Our own entries that were not read yet: their offset in the journal.
    ahead: HashMap<Origin, i64>,
    /// The offset of the last entry that was read.
    read: Option<i64>,
}

#[derive(Default)]
struct ParkedKey {
    /// The ids of its events that are not settled, by offset.
    events: BTreeMap<i64, String>,
    /// Since when it is being tried again.
    retried: Option<Moment>,
}

impl Letters {
    fn lock(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls this from now on when something is to be tried again, or a key is free again.
    pub fn on_change(&self, call: OnChange) {
        *self.on_change.lock().unwrap_or_else(PoisonError::into_inner) = Some(call);
    }

    /// An entry was read in the journal.
    pub fn read(&self, offset: i64, entry: Entry) {
        let mut view = self.lock();
        view.read = Some(offset);
        if let Some(own) = view.ahead.get(&entry.origin).copied() {
            if own <= offset {
                view.ahead.remove(&entry.origin);
            }
            if own >= offset {
                return;
            }
        }
        self.apply(view, entry);
    }

    /// An entry of ours was acknowledged.
    pub fn written(&self, offset: i64, entry: Entry) {
        let mut view = self.lock();
        if view.read.is_some_and(|read| read >= offset) {
            return;
        }
        view.ahead.insert(entry.origin.clone(), offset);
        self.apply(view, entry);
    }

    fn apply(&self, mut view: MutexGuard<'_, View>, entry: Entry) {
        let Origin { topic, partition, offset } = &entry.origin;
        let place = (*partition, *offset, topic.clone());
        view.asked.remove(&place);
        let mut news = self.apply_key(&mut view, &entry);
        let hash = hash(&entry.origin);
        match entry.is_settled() {
            true => view.settled.insert(hash),
            false => view.settled.remove(&hash),
        };
        if matches!(entry.standing, Standing::Retrying { .. }) {
            view.asked.insert(place, Arc::new(entry));
            news = true;
        }
        self.parked.store(view.parked.len(), Ordering::Release);
        drop(view);
        let call = self.on_change.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let (true, Some(call)) = (news, call) {
            call();
        }
    }

    /// True if the event's key is free again.
    fn apply_key(&self, view: &mut View, entry: &Entry) -> bool {
        let (true, Some(key)) = (entry.parked, &entry.key) else { return false };
        let key = (entry.origin.partition, key.clone());
        let known = view.parked.entry(key.clone()).or_default();
        match &entry.standing {
            Standing::Returned { .. } => known.retried = None,
            Standing::Retrying { .. } | Standing::Delivered { .. } => {
                known.retried = Some(Moment::now());
            }
            Standing::Parked | Standing::Discarded => {}
        }
        match entry.is_settled() {
            true => known.events.remove(&entry.origin.offset),
            false => known.events.insert(entry.origin.offset, entry.id.clone()),
        };
        let free = known.events.is_empty();
        if free {
            view.parked.remove(&key);
        }
        free
    }

    /// Whether an event that arrived may go.
    pub fn passage(&self, partition: i32, key: Option<&Bytes>, offset: i64) -> Passage {
        if self.parked.load(Ordering::Acquire) == 0 {
            return Passage::Free;
        }
        let Some(key) = key else { return Passage::Free };
        let view = self.lock();
        let Some(known) = view.parked.get(&(partition, key.clone())) else { return Passage::Free };
        match known.events.first_key_value() {
            _ if known.events.contains_key(&offset) => Passage::Parked,
            Some((first, id)) if *first < offset => match known.retried {
                Some(since) if Moment::now().since(since) < HELD => Passage::Held,
                _ => Passage::Behind(id.clone()),
            },
            _ => Passage::Free,
        }
    }

    /// The id of the event that a parked event would have to wait for.
    pub fn ahead_of(&self, entry: &Entry) -> Option<String> {
        let key = (entry.origin.partition, entry.key.clone()?);
        let view = self.lock();
        let (first, id) = view.parked.get(&key)?.events.first_key_value()?;
        (*first < entry.origin.offset).then(|| id.clone())
    }

    /// What is to be tried again in these partitions, in the order of their offsets.
    pub fn asked(&self) -> Vec<Arc<Entry>> {
        self.lock().asked.values().cloned().collect()
    }

    /// What is said of a dead letter's event, if it still is to be tried again.
    pub fn asked_of(&self, event: &Event) -> Option<Arc<Entry>> {
        let place = (event.partition, event.offset, event.topic.to_string());
        self.lock().asked.get(&place).cloned()
    }

    /// Whether anything is to be tried again at this place, of whichever topic.
    pub fn asks_for(&self, (partition, offset): (i32, i64)) -> bool {
        let of_place = (partition, offset, String::new())
            ..(partition, offset.saturating_add(1), String::new());
        self.lock().asked.range(of_place).next().is_some()
    }

    /// How many keys are parked, over all partitions.
    pub fn parked_keys(&self) -> usize {
        self.parked.load(Ordering::Acquire)
    }

    /// How many letters are settled.
    pub fn settled(&self) -> usize {
        self.lock().settled.len()
    }
}

fn hash(origin: &Origin) -> u64 {
    BuildHasherDefault::<DefaultHasher>::new().hash_one(origin)
}

#[cfg(test)]
mod tests {
    use super::super::{Decision, Letter};
    use super::*;
    use crate::{Event, Headers};

    const KEY: Bytes = Bytes::from_static(b"k");

    fn event(offset: i64) -> Event {
        let mut headers = Headers::default();
        headers.set(crate::event::CE_ID, format!("evt_{offset}"));
        Event {
            topic: "in".into(),
            partition: 0,
            offset,
            timestamp: 0,
            key: Some(KEY),
            payload: None,
            headers,
            value: None,
        }
    }

    fn parked(offset: i64) -> Entry {
        Entry::parked("p/r", &event(offset), offset, false)
    }

    fn retried(entry: &Entry) -> Entry {
        let event = event(entry.origin.offset);
        let (origin, offset) = (entry.origin.clone(), entry.letter);
        let (cause, message) = (String::new(), String::new());
        let letter =
            Letter { event, origin, offset, at: 0, cause, message, is_event: true, rejected: 0 };
        entry.retried(&letter, Decision { by: "ada".into(), at: 0, reason: None }, false, None)
    }

    fn delivered(entry: &Entry) -> Entry {
        entry.becomes(Standing::Delivered { answer: "201".into() })
    }

    fn passage(letters: &Letters, offset: i64) -> Passage {
        letters.passage(0, Some(&KEY), offset)
    }

    #[test]
    fn a_key_is_parked_until_each_of_its_events_is_settled() {
        let letters = Letters::default();
        assert_eq!(passage(&letters, 4), Passage::Free);
        letters.written(0, parked(3));
        letters.written(1, parked(4));
        assert_eq!(passage(&letters, 5), Passage::Behind("evt_3".into()));
        assert_eq!(passage(&letters, 4), Passage::Parked, "a crash came before its commit");
        assert_eq!(passage(&letters, 2), Passage::Free, "it comes before them");
        assert_eq!(letters.passage(1, Some(&KEY), 5), Passage::Free, "of another partition");
        letters.written(2, parked(3).becomes(Standing::Discarded));
        assert_eq!(letters.ahead_of(&parked(5)), Some("evt_4".into()));
        letters.written(3, delivered(&parked(4)));
        assert_eq!((passage(&letters, 5), letters.parked_keys()), (Passage::Free, 0));
        assert_eq!(letters.settled(), 2);
    }

    #[test]
    fn what_comes_while_a_parked_key_is_tried_again_waits_for_it() {
        let letters = Letters::default();
        letters.written(0, parked(3));
        letters.read(1, retried(&parked(3)));
        assert_eq!(passage(&letters, 5), Passage::Held);
        assert_eq!(letters.asked().len(), 1);
        let (cause, message) = ("http_422".into(), "still no".into());
        letters.written(2, retried(&parked(3)).becomes(Standing::Returned { cause, message }));
        assert_eq!(passage(&letters, 5), Passage::Behind("evt_3".into()));
        assert!(letters.asked().is_empty());
    }

    #[test]
    fn what_was_written_is_not_undone_by_reading_what_came_before_it() {
        let letters = Letters::default();
        letters.written(10, parked(3));
        letters.written(11, delivered(&parked(3)));
        assert_eq!(passage(&letters, 5), Passage::Free);
        letters.read(10, parked(3));
        assert_eq!(passage(&letters, 5), Passage::Free);
        letters.read(11, delivered(&parked(3)));
        letters.read(12, parked(3));
        assert_eq!(passage(&letters, 5), Passage::Behind("evt_3".into()), "that one is new");
        letters.written(12, delivered(&parked(3)));
        assert_eq!(passage(&letters, 5), Passage::Behind("evt_3".into()), "it was read already");
    }
}
