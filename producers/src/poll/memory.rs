//! What was published lately: what is seen again is not published again.

use std::collections::BTreeMap;

use chrono::DateTime;
use engine::Value;
use serde::{Deserialize, Serialize};

use super::item::Mark;

/// The most items that can be remembered: with them the cursor stays well below a megabyte, the
/// largest record that brokers take by default.
pub const MOST_REMEMBERED: usize = 10_000;

/// The versions of items that were published, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(i64, String, u64)>", into = "Vec<(i64, String, u64)>")]
pub(super) struct Memory(BTreeMap<Mark, u64>);

impl Memory {
    /// The version of the item that was published last for this time and id.
    pub fn version(&self, mark: &Mark) -> Option<u64> {
        self.0.get(mark).copied()
    }

    /// Remembers a version.
    pub fn insert(&mut self, mark: Mark, version: u64) {
        self.0.insert(mark, version);
    }

    /// Forgets an item.
    pub fn remove(&mut self, mark: &Mark) {
        self.0.remove(mark);
    }

    /// Forgets what is older than this time, in microseconds.
    pub fn forget_before(&mut self, time: i64) {
        self.0 = self.0.split_off(&Mark(time, String::new()));
    }

    /// Forgets the oldest beyond `at_most`; gives the latest of those.
    pub fn shrink(&mut self, at_most: usize) -> Option<Mark> {
        let mut last = None;
        while self.0.len() > at_most {
            last = self.0.pop_first().map(|(mark, _)| mark);
        }
        last
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn marks(&self) -> impl Iterator<Item = &Mark> {
        self.0.keys()
    }
}

impl From<Vec<(i64, String, u64)>> for Memory {
    fn from(all: Vec<(i64, String, u64)>) -> Self {
        Self(all.into_iter().map(|(time, id, version)| (Mark(time, id), version)).collect())
    }
}

impl From<Memory> for Vec<(i64, String, u64)> {
    fn from(memory: Memory) -> Self {
        memory.0.into_iter().map(|(Mark(time, id), version)| (time, id, version)).collect()
    }
}

/// Microseconds since the Unix epoch as a time. Before the year -262143 there is none.
pub(super) fn timestamp(micros: i64) -> Value {
    DateTime::from_timestamp_micros(micros).map_or(Value::Null, Value::Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(time: i64, id: &str) -> Mark {
        Mark(time, id.to_owned())
    }

    #[test]
    fn the_oldest_are_forgotten_first_and_the_cursor_keeps_the_rest() {
        let mut memory = Memory::default();
        for (time, id) in [(3, "a"), (1, "b"), (2, "c"), (2, "d")] {
            memory.insert(mark(time, id), 7);
        }
        assert_eq!(memory.shrink(2), Some(mark(2, "c")));
        assert_eq!(memory.version(&mark(2, "d")), Some(7));
        let text = serde_json::to_string(&memory).unwrap();
        assert_eq!(text, r#"[[2,"d",7],[3,"a",7]]"#);
        assert_eq!(serde_json::from_str::<Memory>(&text).unwrap(), memory);
        memory.forget_before(3);
        assert_eq!(memory.len(), 1);
    }
}
