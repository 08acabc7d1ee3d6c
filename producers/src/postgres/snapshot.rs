//! The rows that were there before the stream began, read between its changes.
//!
//! The way is that of DBLog (Andreakis and Papapanagiotou, 2020): a table is read in chunks, in the
//! order of its identity, while the stream goes on. A chunk is published once the stream has come to
//! where it was read; rows that the stream has changed meanwhile are left out, for the stream has
//! told what became of them. Whether a chunk shows all that was streamed before it is told by its own
//! snapshot, not by positions ([`super::visibility`]).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use engine::Fault;
use tokio::time::Instant;

use super::catalogue::{Catalogue, Chunk, Table};
use super::lsn::Lsn;
use super::row::Row;
use super::visibility::{Seen, Streamed};

/// How soon a chunk that would show too little is asked for again.
const AGAIN: Duration = Duration::from_millis(200);
/// How often it is told that a snapshot waits, or how far it is.
const TELL: Duration = Duration::from_secs(10);

/// A snapshot under way.
pub(super) struct Snapshot {
    /// The tables that are still to be read, the current one first.
    pub tables: Vec<String>,
    /// The transactions that were open when the source started have to end first, all before this
    /// one: they may be in the log before the cursor, and be seen by nobody yet.
    gate: u64,
    streamed: Streamed,
    pub window: Option<Window>,
    not_before: Instant,
    told: Option<Instant>,
}

/// A chunk whose place in the stream has not come yet.
pub(super) struct Window {
    pub table: Arc<Table>,
    high: Lsn,
    rows: Vec<Row>,
    replaced: HashSet<Vec<String>>,
    emptied: bool,
    /// Whether the table ends with it.
    pub last: bool,
}

/// A row of a chunk.
pub(super) struct Taken {
    pub row: Row,
    pub identity: Vec<String>,
    /// Whether the stream has told what became of it.
    pub replaced: bool,
}

impl Snapshot {
    /// Begins with these tables.
    ///
    /// # Errors
    /// As those of the catalogue.
    pub async fn begin(catalogue: &mut Catalogue, tables: Vec<String>) -> Result<Self, Fault> {
        // What a snapshot calls its next transaction does not serve: it is the one after the last that
        // has ended, and may be open already.
        let gate = if tables.is_empty() { 0 } else { catalogue.new_transaction().await? };
        Ok(Self::after(gate, tables))
    }

    fn after(gate: u64, tables: Vec<String>) -> Self {
        Self {
            tables,
            gate,
            streamed: Streamed::default(),
            window: None,
            not_before: Instant::now(),
            told: None,
        }
    }

    /// The table of which a chunk can be read now.
    pub fn due(&self) -> Option<&String> {
        let can = self.window.is_none() && Instant::now() >= self.not_before;
        self.tables.first().filter(|_| can)
    }

    /// When to look again, if anything is to be read.
    pub fn next(&self) -> Option<Instant> {
        (self.window.is_none() && !self.tables.is_empty()).then_some(self.not_before)
    }

    /// A transaction was streamed.
    pub fn streamed(&mut self, xid: u32) {
        if !self.tables.is_empty() {
            self.streamed.note(xid);
        }
    }

    /// Whether a chunk of this visibility shows all that the stream has told already; if not, it is to
    /// be asked for again.
    pub fn shows_all(&mut self, seen: &Seen) -> bool {
        let shows_all = self.streamed.all_shown(seen) && seen.oldest > self.gate;
        if !shows_all {
            self.not_before = Instant::now() + AGAIN;
        }
        shows_all
    }

    /// Opens the window of a chunk.
    pub fn open(&mut self, table: Arc<Table>, chunk: Chunk) {
        let Chunk { high, rows, last } = chunk;
        let replaced = HashSet::new();
        self.window = Some(Window { table, high, rows, replaced, emptied: false, last });
    }

    /// Tells now and then how far it is: how many rows of a table were read, and whether more could be.
    pub fn tell(&mut self, route: &str, table: &Table, rows: u64, reads: bool) {
        let now = Instant::now();
        if self.told.is_some_and(|told| now - told < TELL) {
            return;
        }
        self.told = Some(now);
        let Table { name: table, estimate: about, .. } = table;
        if reads {
            tracing::info!(route, table, rows, about, "reads the rows of a table");
        } else {
            tracing::info!(
                route,
                table,
                rows,
                "waits for transactions that were open when the source started"
            );
        }
    }

    /// The window whose place has come, now that everything before `lsn` was streamed.
    pub fn close(&mut self, lsn: Lsn) -> Option<Window> {
        self.window.take_if(|window| lsn >= window.high)
    }
}

impl Window {
    /// The stream tells what became of a row. Where the chunk shows that already, it is the same
    /// row; where not, the stream's is newer.
    pub fn replace(&mut self, table: &str, identity: Vec<String>) {
        if self.table.name == table {
            self.replaced.insert(identity);
        }
    }

    /// The stream tells that a table was emptied.
    pub fn empty(&mut self, table: &str) {
        self.emptied |= self.table.name == table;
    }

    /// Where it was read.
    pub fn high(&self) -> Lsn {
        self.high
    }

    /// Its rows.
    pub fn take(&mut self) -> Vec<Taken> {
        let rows = std::mem::take(&mut self.rows);
        let taken = rows.into_iter().map(|row| {
            let identity = self.table.identity_of(&row).unwrap_or_default();
            let replaced = self.emptied || self.replaced.contains(&identity);
            Taken { row, identity, replaced }
        });
        taken.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_waits_for_a_transaction_that_is_newer_than_all_that_have_ended() {
        // 20 is open, 21 was the source's own, 19 was the last to end before.
        let mut snapshot = Snapshot::after(21, vec!["public.items".to_owned()]);
        assert!(!snapshot.shows_all(&Seen::parse("20:20:").unwrap()));
        assert!(!snapshot.shows_all(&Seen::parse("20:22:20").unwrap()));
        assert!(snapshot.shows_all(&Seen::parse("22:22:").unwrap()));
    }
}
