//! How far a source has come: what lies in Kafka beside its events.

use serde::{Deserialize, Serialize};

use super::lsn::Lsn;
use crate::cursor::Versioned;

/// A source's cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub version: u32,
    /// The slot that is read.
    pub slot: String,
    /// The server, as `pg_control_system()` tells it, and its timeline: positions mean something
    /// there only.
    pub system: String,
    pub timeline: u32,
    /// What was committed before is published.
    pub lsn: Lsn,
    /// The transaction that is published in part.
    pub within: Option<Within>,
    /// The tables whose rows have been read.
    pub done: Vec<String>,
    /// The table whose rows are being read.
    pub reading: Option<Reading>,
}

/// A transaction that is published in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Within {
    /// The position of its commit.
    pub commit: Lsn,
    /// Its last change that is published.
    pub change: Change,
}

/// A change's place: its position, and which one it is of those at that position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Change {
    pub at: Lsn,
    pub index: u32,
}

/// A table whose rows are being read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reading {
    /// Its name.
    pub table: String,
    /// The identity of the last row that was read.
    pub last: Vec<String>,
    /// How many there were.
    pub rows: u64,
}

impl Versioned for Cursor {
    const VERSION: u32 = 1;

    fn version(&self) -> u32 {
        self.version
    }
}

impl Cursor {
    /// The cursor of a source that has never read from this slot.
    pub fn new(slot: &str, system: &str, timeline: u32, lsn: Lsn) -> Self {
        Self {
            version: Self::VERSION,
            slot: slot.to_owned(),
            system: system.to_owned(),
            timeline,
            lsn,
            within: None,
            done: Vec::new(),
            reading: None,
        }
    }

    /// Notes a row of a table as read.
    pub fn read_row(&mut self, table: &str, identity: Vec<String>) {
        self.reading.take_if(|reading| reading.table != table);
        let reading = self.reading.get_or_insert_with(|| Reading {
            table: table.to_owned(),
            last: Vec::new(),
            rows: 0,
        });
        reading.last = identity;
        reading.rows += 1;
    }

    /// The last position of the server's log that it knows of: a transaction that is published in part
    /// has been committed there.
    pub fn seen(&self) -> Lsn {
        self.within.map_or(self.lsn, |within| within.commit.max(self.lsn))
    }

    /// The begin of the ids of events: positions of two servers, or of two timelines, must not meet.
    pub fn origin(&self) -> String {
        format!("{}.{}", self.system, self.timeline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_was_seen_has_to_be_in_the_servers_log() {
        let mut cursor = Cursor::new("slot", "7", 1, Lsn(10));
        assert_eq!(cursor.seen(), Lsn(10));
        let change = Change { at: Lsn(12), index: 0 };
        cursor.within = Some(Within { commit: Lsn(14), change });
        assert_eq!(cursor.seen(), Lsn(14));
    }

    #[test]
    fn the_place_in_one_table_is_never_taken_for_that_in_another() {
        let mut cursor = Cursor::new("slot", "7", 1, Lsn::default());
        cursor.read_row("a", vec!["500".to_owned()]);
        cursor.read_row("b", vec!["1".to_owned()]);
        let reading = cursor.reading.as_ref().unwrap();
        assert_eq!((&*reading.table, reading.rows), ("b", 1));
        assert_eq!(Cursor::read(&cursor.text().unwrap()).unwrap(), cursor);
    }
}
