//! What was delivered lately: whether a dead letter may still go in the order of its key.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Moment;
use crate::dead_letters::{Looked, UNTOLD};
use crate::dispatch::Completed;
use crate::{Event, Fault};

/// For how long a delivery is known: whoever wants a letter tried again has looked at the topic sooner
/// before.
const KEPT: Duration = Duration::from_secs(60);
/// How many are known at most.
const MOST: usize = 65_536;
/// How many ranges are kept of what is no longer known.
const RANGES: usize = 16_384;

/// A route's deliveries of the last while, of the topic that it reads. Letters of another topic, which a
/// replay sent, are in no order with them.
pub(super) struct History {
    topic: Arc<str>,
    recent: VecDeque<Delivered>,
    /// Offsets, by partition, whose keys are not known any more: delivered too long ago, or before the
    /// partition was ours.
    gone: HashMap<i32, Ranges>,
}

struct Delivered {
    at: Moment,
    partition: i32,
    offset: i64,
    /// The key's hash.
    key: u64,
}

impl History {
    /// Nothing is known of this topic's deliveries yet.
    pub fn of(topic: &str) -> Self {
        Self { topic: topic.into(), recent: VecDeque::new(), gone: HashMap::new() }
    }

    /// The event's key, hashed, if it is in an order with others of it.
    fn key(&self, event: &Event) -> Option<u64> {
        event.key.as_ref().filter(|_| event.topic == self.topic).map(hash)
    }

    /// A partition is ours from its committed offset on.
    pub fn assigned(&mut self, partition: i32, offset: i64, metadata: &str) {
        let mut gone = Ranges::default();
        gone.insert(0..offset);
        for range in Completed::decode(offset, metadata).ranges() {
            gone.insert(range.clone());
        }
        self.gone.insert(partition, gone);
    }

    /// Partitions are another's.
    pub fn forgotten(&mut self, partitions: &[i32]) {
        self.gone.retain(|partition, _| !partitions.contains(partition));
        self.recent.retain(|one| !partitions.contains(&one.partition));
    }

    /// Whether an event is in an order with others of its key.
    pub fn orders(&self, event: &Event) -> bool {
        self.key(event).is_some()
    }

    /// The target has this event.
    pub fn delivered(&mut self, event: &Event, now: Moment) {
        let Some(key) = self.key(event) else { return };
        while let Some(oldest) = self.recent.front() {
            if self.recent.len() < MOST && now.since(oldest.at) < KEPT {
                break;
            }
            if let Some(gone) = self.gone.get_mut(&oldest.partition) {
                gone.insert(oldest.offset..oldest.offset + 1);
            }
            self.recent.pop_front();
        }
        let Event { partition, offset, .. } = *event;
        self.recent.push_back(Delivered { at: now, partition, offset, key });
    }

    /// Whether a later event of a dead letter's key was delivered.
    pub fn has_passed(&self, letter: &Event) -> bool {
        let Some(key) = self.key(letter) else { return false };
        self.recent.iter().any(|one| {
            one.partition == letter.partition && one.offset > letter.offset && one.key == key
        })
    }

    /// Why a dead letter may not go now, of which it was looked before how far its key has gone.
    pub fn objection(&self, letter: &Event, looked: &Looked) -> Option<Fault> {
        self.key(letter)?;
        if self.has_passed(letter) {
            return Some(overtaken("has been delivered meanwhile"));
        }
        let above = Completed::decode(looked.offset, &looked.above);
        let is_known = self.gone.get(&letter.partition).is_some_and(|gone| {
            gone.from(looked.offset).all(|range| above.ranges().any(|seen| covers(seen, &range)))
        });
        (!is_known).then(|| {
            let message = "Whether later events of its key have been delivered could not be told at \
                           that moment: try it again.";
            Fault::data(UNTOLD, message)
        })
    }
}

/// A later event of a letter's key went before it.
pub(super) fn overtaken(what: &str) -> Fault {
    Fault::data("overtaken", format!("A later event of its key {what}."))
}

fn covers(outer: &Range<i64>, inner: &Range<i64>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

fn hash(key: &Bytes) -> u64 {
    BuildHasherDefault::<DefaultHasher>::new().hash_one(key)
}

/// Offsets as ranges that do not touch, by their starts: their ends. Beyond so many, the lowest become
/// one with what lies between them.
#[derive(Default)]
struct Ranges(BTreeMap<i64, i64>);

impl Ranges {
    fn insert(&mut self, range: Range<i64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        while let Some((&other, &to)) = self.0.range(..=end).next_back()
            && to >= start
        {
            (start, end) = (start.min(other), end.max(to));
            self.0.remove(&other);
        }
        self.0.insert(start, end);
        if self.0.len() > RANGES
            && let Some((first, _)) = self.0.pop_first()
            && let Some((_, end)) = self.0.pop_first()
        {
            self.0.insert(first, end);
        }
    }

    /// What lies at an offset or behind it.
    fn from(&self, offset: i64) -> impl Iterator<Item = Range<i64>> {
        let ends = self.0.iter().filter(move |(_, end)| **end > offset);
        ends.map(move |(start, end)| (*start).max(offset)..*end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "k";
    const OTHER: &str = "l";

    fn event(partition: i32, offset: i64, key: &'static str) -> Event {
        Event {
            topic: "in".into(),
            key: Some(key.into()),
            partition,
            offset,
            ..Event::of_value(crate::Value::Null)
        }
    }

    fn after(seconds: u64) -> Moment {
        Moment::from_millis(1_000 * seconds)
    }

    const NONE: Range<i64> = 0..0;

    fn looked(offset: i64, above: Range<i64>) -> Looked {
        let above: Completed = std::iter::once(above).collect();
        Looked { offset, above: above.encode(offset).0 }
    }

    /// The cause why the letter at offset 2 may not go.
    fn cause(history: &History, looked: &Looked) -> Option<&'static str> {
        history.objection(&event(0, 2, KEY), looked).map(|fault| fault.cause)
    }

    #[test]
    fn a_letter_goes_unless_a_later_event_of_its_key_was_delivered_since_the_look() {
        let mut history = History::of("in");
        assert_eq!(cause(&history, &looked(10, NONE)), Some(UNTOLD), "the partition is not ours");
        history.assigned(0, 10, "");
        history.delivered(&event(0, 10, OTHER), after(1));
        history.delivered(&event(1, 10, KEY), after(1));
        history.delivered(&event(0, 1, KEY), after(1));
        assert_eq!(cause(&history, &looked(10, NONE)), None);
        assert_eq!(cause(&history, &looked(9, NONE)), Some(UNTOLD), "another may have delivered 9");
        let other_topic = Event { topic: "of a replay".into(), ..event(0, 99, KEY) };
        history.delivered(&other_topic, after(2));
        assert_eq!(cause(&history, &looked(10, NONE)), None);
        assert!(history.objection(&other_topic, &looked(10, NONE)).is_none());
        history.delivered(&event(0, 11, KEY), after(2));
        assert_eq!(cause(&history, &looked(10, NONE)), Some("overtaken"));
    }

    #[test]
    fn what_is_no_longer_known_has_to_have_been_looked_at() {
        let mut history = History::of("in");
        let before: Completed = std::iter::once(12..14).collect();
        history.assigned(0, 10, &before.encode(10).0);
        assert_eq!(cause(&history, &looked(10, NONE)), Some(UNTOLD));
        assert_eq!(cause(&history, &looked(10, 12..15)), None);
        history.delivered(&event(0, 15, KEY), after(1));
        history.delivered(&event(0, 16, OTHER), after(62));
        assert_eq!(cause(&history, &looked(10, 12..15)), Some(UNTOLD));
        assert_eq!(cause(&history, &looked(10, 12..16)), None);
        assert_eq!(cause(&history, &looked(17, NONE)), None);
        history.forgotten(&[0]);
        assert_eq!(cause(&history, &looked(17, NONE)), Some(UNTOLD));
    }

    #[test]
    fn more_ranges_than_are_kept_become_fewer_that_hold_them_all() {
        let mut ranges = Ranges::default();
        for offset in 0..20_000 {
            ranges.insert(2 * offset..2 * offset + 1);
        }
        assert_eq!(ranges.0.len(), RANGES);
        assert!(ranges.from(39_998).eq(std::iter::once(39_998..39_999)));
        assert!(ranges.from(0).any(|range| range.contains(&2)));
        ranges.insert(0..40_000);
        assert!(ranges.from(0).eq(std::iter::once(0..40_000)));
    }
}
