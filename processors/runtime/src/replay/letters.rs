//! The dead letters of the sink that a replay goes into, followed as long as it runs: what was one goes
//! under the idempotency key that a retry of it has, and what the target then has is one no more.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use super::{Captured, Span};
use crate::dead_letters::{Entry, JOURNAL_TOPIC, Letter, Origin, Standing, topic_of_route};
use crate::kafka::{Cluster, ReadFrom, Reader, blocking};
use crate::{Event, Fault};

/// How long one look for a record lasts.
const LOOK: Duration = Duration::from_millis(50);
/// How long to wait before a topic is opened again.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

/// What is known of the dead letters among a replay's events.
#[derive(Default)]
pub(crate) struct Letters {
    route: String,
    topic: String,
    spans: BTreeMap<i32, Span>,
    known: Mutex<HashMap<(i32, i64), Known>>,
}

/// A dead letter.
#[derive(Default)]
struct Known {
    /// The journal's entry that its letter would begin with.
    first: Option<Entry>,
    /// The journal's last entry of it, and that one's offset.
    last: Option<(i64, Entry)>,
}

impl Known {
    /// Where it stands.
    fn entry(&self) -> Option<Entry> {
        let last = self.last.as_ref().map(|(_, last)| last);
        match &self.first {
            Some(first) => Some(first.clone().after(last)),
            None => last.cloned(),
        }
    }
}

impl Letters {
    fn of(captured: &Captured) -> Self {
        let Captured { into: route, topic, spans, .. } = captured.clone();
        Self { route, topic, spans, known: Mutex::default() }
    }

    /// Reads everything that is there, and follows what comes until it is dropped.
    ///
    /// # Errors
    /// A `Remote` fault when it cannot be read, an `Internal` one when there is no thread.
    pub(super) async fn follow(cluster: &Cluster, captured: &Captured) -> Result<Arc<Self>, Fault> {
        let (letters, cluster) = (Arc::new(Self::of(captured)), cluster.clone());
        blocking(move || {
            for (topic, take) in [
                (topic_of_route(&letters.route), Self::read_letter as fn(&Self, Event)),
                (JOURNAL_TOPIC.to_owned(), Self::read_entry),
            ] {
                let mut reader = Reader::open(&cluster, &topic, ReadFrom::Beginning)?;
                reader.read_to_end(|record| take(&letters, record))?;
                let (weak, cluster) = (Arc::downgrade(&letters), cluster.clone());
                let spawned = thread::Builder::new()
                    .name("letters".into())
                    .spawn(move || read_on(&weak, &cluster, &topic, reader, take));
                spawned.map_err(|error| {
                    Fault::internal("thread", format!("No thread to follow letters: {error}."))
                })?;
            }
            Ok(letters)
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(i32, i64), Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_of_replay(&self, origin: &Origin) -> bool {
        let span = self.spans.get(&origin.partition);
        origin.topic == self.topic
            && span.is_some_and(|span| (span.from..span.to).contains(&origin.offset))
    }

    fn read_letter(&self, record: Event) {
        let letter = Letter::read(record);
        if !letter.is_event || !self.is_of_replay(&letter.origin) {
            return;
        }
        let mut known = self.lock();
        let known = known.entry((letter.origin.partition, letter.origin.offset)).or_default();
        if known.first.as_ref().is_none_or(|first| first.letter < letter.offset) {
            known.first = Some(Entry::new(&self.route, &letter, Standing::Parked));
        }
    }

    fn read_entry(&self, record: Event) {
        let entry = Entry::read(&record).filter(|entry| entry.route == self.route);
        let Some(entry) = entry.filter(|entry| self.is_of_replay(&entry.origin)) else { return };
        let mut known = self.lock();
        let known = known.entry((entry.origin.partition, entry.origin.offset)).or_default();
        if known.last.as_ref().is_none_or(|(offset, _)| *offset < record.offset) {
            known.last = Some((record.offset, entry.without_event()));
        }
    }

    /// How often the target has refused the event at this place.
    pub fn rejected(&self, partition: i32, offset: i64) -> u32 {
        let known = self.lock();
        known.get(&(partition, offset)).and_then(Known::entry).map_or(0, |entry| entry.rejected)
    }

    /// The dead letter of this place, if it is open.
    pub fn open(&self, partition: i32, offset: i64) -> Option<Entry> {
        let known = self.lock();
        known.get(&(partition, offset))?.entry().filter(|entry| !entry.is_settled())
    }
}

/// Reads on for as long as the letters are used.
fn read_on(
    letters: &Weak<Letters>,
    cluster: &Cluster,
    topic: &str,
    mut reader: Reader,
    take: fn(&Letters, Event),
) {
    while let Some(letters) = letters.upgrade() {
        let fault = match reader.next(LOOK) {
            Ok(Some(record)) => {
                take(&letters, record);
                continue;
            }
            Ok(None) => continue,
            Err(fault) => fault,
        };
        tracing::debug!(%fault, topic, "it is opened again");
        // What was taken already is taken no second time.
        match Reader::open(cluster, topic, ReadFrom::Beginning) {
            Ok(opened) => reader = opened,
            Err(_) => thread::sleep(OPEN_AGAIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::{DeadLetters, Stage};

    fn event(offset: i64) -> Event {
        let nothing = Event::of_value(crate::Value::Null);
        let mut event = Event { topic: "in".into(), offset, ..nothing };
        event.headers.set(crate::event::CE_ID, format!("evt_{offset}"));
        event
    }

    /// The record, in the topic of dead letters, of this event.
    fn letter(event: &Event, offset: i64) -> Event {
        let fault = Fault::data("http_422", "No such product.");
        let record = DeadLetters::of(&"p/r".into()).record(event, &fault, Stage::Delivery);
        Event { offset, headers: record.headers, ..event.clone() }
    }

    fn written(entry: &Entry, offset: i64) -> Event {
        Event { offset, payload: entry.record().unwrap().payload, ..event(0) }
    }

    fn origin(offset: i64) -> Origin {
        Origin { topic: "in".into(), partition: 0, offset }
    }

    #[test]
    fn what_was_refused_goes_under_the_key_that_a_retry_of_it_has() {
        let span = Span { from: 0, to: 10 };
        let letters = Letters {
            route: "p/r".into(),
            topic: "in".into(),
            spans: BTreeMap::from([(0, span)]),
            known: Mutex::default(),
        };
        for offset in [3, 4, 12] {
            letters.read_letter(letter(&event(offset), offset));
        }
        assert_eq!([3, 5, 12].map(|offset| letters.rejected(0, offset)), [1, 0, 0]);
        let open = letters.open(0, 3).unwrap();
        assert_eq!((&*open.id, open.letter), ("evt_3", 3));
        let answer = "201".to_owned();
        let delivered =
            Entry { rejected: 2, ..open.becomes(Standing::Delivered { answer: answer.clone() }) };
        letters.read_entry(written(&delivered, 9));
        letters.read_entry(written(&open, 8));
        assert!(letters.open(0, 3).is_none(), "an entry that is read again changes nothing");
        assert_eq!(letters.rejected(0, 3), 2);

        // It is refused once more, in the replay.
        let mut again = event(3);
        again.set_rejected(letters.rejected(0, 3));
        letters.read_letter(letter(&again, 7));
        assert_eq!((letters.open(0, 3).unwrap().letter, letters.rejected(0, 3)), (7, 3));
        let (cause, message) = ("http_500".to_owned(), String::new());
        let returned = letters.open(0, 3).unwrap().becomes(Standing::Returned { cause, message });
        letters.read_entry(written(&returned, 11));
        letters.read_letter(letter(&again, 8));
        assert_eq!(letters.open(0, 3).unwrap().letter, 8, "the letter that is settled is the last");
        // The letter is gone, what became of it is known.
        letters.read_entry(written(&Entry { origin: origin(6), ..delivered }, 12));
        assert_eq!((letters.rejected(0, 6), letters.open(0, 6).is_none()), (2, true));
    }
}
