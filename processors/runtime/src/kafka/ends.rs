//! How far partitions have been read, where their ends hold nothing that is ever read: the marks of
//! transactions, and what was undone.

use std::collections::BTreeMap;

/// Where partitions ended.
#[derive(Debug)]
pub struct Measured {
    /// When that was asked, milliseconds since the Unix epoch.
    pub at: i64,
    /// The offset after the newest event of each partition.
    pub ends: BTreeMap<i32, i64>,
}

/// Where reading stands, per partition.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// The offset after the last event that was read.
    read: BTreeMap<i32, i64>,
    /// The end of the partition when it was last read to its end.
    reached: BTreeMap<i32, i64>,
}

impl Ends {
    /// An event was read.
    pub fn read(&mut self, partition: i32, offset: i64) {
        self.read.insert(partition, offset + 1);
    }

    /// The partition was read to its end.
    pub fn reached(&mut self, partition: i32, end: i64) {
        self.reached.insert(partition, end);
    }

    /// The end of a partition as far as events go: `start` is where reading began.
    pub fn of(&self, partition: i32, end: i64, start: Option<i64>) -> i64 {
        let reached = self.reached.get(&partition).is_some_and(|reached| end <= *reached);
        let read = self.read.get(&partition).copied().or(start);
        read.filter(|_| reached).unwrap_or(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_a_transaction_is_nothing_to_catch_up_with() {
        let mut ends = Ends::default();
        assert_eq!(ends.of(0, 9, Some(4)), 9, "not read yet");
        ends.read(0, 7);
        ends.reached(0, 9);
        assert_eq!(ends.of(0, 9, Some(4)), 8, "the last event is 7; 8 is a mark");
        assert_eq!(ends.of(0, 12, Some(4)), 12, "more has come");
        ends.reached(1, 3);
        assert_eq!(ends.of(1, 3, Some(0)), 0, "nothing but marks");
    }
}
