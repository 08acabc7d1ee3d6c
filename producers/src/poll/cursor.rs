//! How far a source has come: what lies in Kafka beside its events.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::item::{Item, Mark};
use super::memory::Memory;
use super::pages::Position;
use crate::cursor::Versioned;

/// How many pages of a sweep are remembered to tell a loop.
const PAGES_REMEMBERED: usize = 1_000;
/// How many items that tell no id or time are remembered.
const REJECTED_REMEMBERED: usize = 1_000;

/// A source's cursor. Times are microseconds since the Unix epoch, of the application's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub version: u32,
    /// Where the first sweep began.
    pub start: i64,
    /// The latest change that was seen.
    pub high: Option<i64>,
    /// The latest change that was seen when the sweep before the last one ended: where pages drift,
    /// a stretch is swept twice before it counts as seen.
    pub before: Option<i64>,
    /// Items up to this one count as published, although they are remembered no more.
    pub floor: Option<Mark>,
    /// What was published.
    pub seen: Memory,
    /// Hashes of the latest items whose id or time could not be told: each was rejected once.
    pub rejected: VecDeque<u64>,
    /// The ids that the last sweep of the whole list lacked.
    pub absent: Vec<String>,
    /// The sweep under way.
    pub sweep: Option<Sweep>,
}

/// A sweep under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sweep {
    /// What was asked for: changes since then.
    pub since: i64,
    /// [`Cursor::floor`] when it began.
    pub floor: Option<Mark>,
    /// [`Cursor::high`] when it began.
    pub high: Option<i64>,
    /// The page to ask for.
    pub position: Position,
    /// How many pages there were.
    pub pages: u64,
    /// How many events they gave.
    pub found: u64,
    /// Hashes of the pages so far: their places and what they held.
    pub visited: Vec<u64>,
}

impl Versioned for Cursor {
    const VERSION: u32 = 1;

    fn version(&self) -> u32 {
        self.version
    }
}

impl Cursor {
    /// The cursor of a source that has never run.
    pub fn new(start: i64) -> Self {
        Self {
            version: Self::VERSION,
            start,
            high: None,
            before: None,
            floor: None,
            seen: Memory::default(),
            rejected: VecDeque::new(),
            absent: Vec::new(),
            sweep: None,
        }
    }

    /// Notes an item as published or rejected; false if it was already, in this version. What is dated
    /// later than `now` (microseconds since the Unix epoch) does not hide what changes until then.
    pub fn take(&mut self, item: &Item, incremental: bool, now: i64) -> bool {
        if item.fault.is_some() {
            let new = !self.rejected.contains(&item.version);
            if new {
                if self.rejected.len() >= REJECTED_REMEMBERED {
                    self.rejected.pop_front();
                }
                self.rejected.push_back(item.version);
            }
            return new;
        }
        if incremental {
            self.high = self.high.max(Some(item.mark.0.min(now)));
            if self.sweep.as_ref().is_some_and(|sweep| sweep.passes_over(&item.mark)) {
                return false;
            }
        }
        let new = self.seen.version(&item.mark) != Some(item.version);
        if new {
            self.seen.insert(item.mark.clone(), item.version);
        }
        new
    }

    /// Where the next sweep has to begin.
    pub fn since(&self, overlap: i64, drifts: bool) -> i64 {
        let seen = if drifts { self.before } else { self.high };
        let since = seen.map_or(self.start, |seen| seen.saturating_sub(overlap).max(self.start));
        // What lies below the floor counts as published.
        self.floor.as_ref().map_or(since, |Mark(time, _)| since.max(*time))
    }

    /// The sweep under way, or a new one.
    pub fn begin(&mut self, overlap: i64, drifts: bool) -> &mut Sweep {
        let since = self.since(overlap, drifts);
        let (floor, high) = (self.floor.clone(), self.high);
        self.sweep.get_or_insert_with(|| Sweep {
            since,
            floor,
            high,
            position: Position::First,
            pages: 0,
            found: 0,
            visited: Vec::new(),
        })
    }

    /// Ends the sweep under way. True if another one has to follow at once: there were several pages
    /// that drift, with news on them.
    pub fn end(&mut self, drifts: bool) -> bool {
        let Some(sweep) = self.sweep.take() else { return false };
        let one_page = sweep.pages <= 1;
        self.before = if one_page { self.high } else { sweep.high };
        drifts && !one_page && sweep.found > 0
    }

    /// Forgets what the next sweep will not ask for, and the oldest beyond `at_most`.
    pub fn shrink(&mut self, at_most: usize, overlap: i64, drifts: bool) {
        self.seen.forget_before(self.since(overlap, drifts));
        if let Some(last) = self.seen.shrink(at_most) {
            self.floor = Some(last);
        }
        let outlived = |floor: &Mark| floor.0 < self.since(overlap, drifts);
        if self.floor.as_ref().is_some_and(outlived) {
            self.floor = None;
        }
    }
}

impl Sweep {
    /// Notes a page; false if it was there before, by its place or by what it holds.
    pub fn visit(&mut self, items: &[Item]) -> bool {
        let held: Vec<_> = items.iter().map(|item| (&item.mark, item.version)).collect();
        self.note(&held)
    }

    /// Moves on to a page; false if it was there before.
    pub fn move_to(&mut self, position: &Position) -> bool {
        self.position = position.clone();
        self.note(position)
    }

    fn note(&mut self, what: &impl Hash) -> bool {
        // Its keys are fixed: the cursor may be read by another process of the same build; after an
        // upgrade at worst a loop is told one round later.
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        let hash = hasher.finish();
        if self.visited.contains(&hash) {
            return false;
        }
        if self.visited.len() >= PAGES_REMEMBERED {
            self.visited.remove(0);
        }
        self.visited.push(hash);
        true
    }

    /// Begins again with the first page.
    pub fn restart(&mut self) {
        self.position = Position::First;
        self.visited.clear();
    }

    /// Whether an item lies before what was asked for, or counts as published.
    fn passes_over(&self, mark: &Mark) -> bool {
        mark.0 < self.since || self.floor.as_ref().is_some_and(|floor| mark <= floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dated_in_the_future_hides_nothing_that_changes_before() {
        let mut cursor = Cursor::new(0);
        let item = |time: i64, id: &str| Item {
            mark: Mark(time, id.to_owned()),
            version: 1,
            value: engine::Value::Null,
            fault: None,
        };
        let (now, overlap) = (1_000, 100);
        cursor.begin(overlap, false);
        assert!(cursor.take(&item(900, "a"), true, now));
        assert!(cursor.take(&item(i64::MAX, "typed wrong"), true, now));
        cursor.end(false);
        cursor.shrink(10, overlap, false);
        assert_eq!(cursor.since(overlap, false), now - overlap);
        cursor.begin(overlap, false);
        assert!(cursor.take(&item(1_100, "b"), true, 1_200));
        assert!(!cursor.take(&item(i64::MAX, "typed wrong"), true, 1_200), "once");
    }
}
