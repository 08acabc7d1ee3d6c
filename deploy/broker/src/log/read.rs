//! Reading.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use super::{
    Log, LogError, Shared,
    batch::{BatchHeader, HEADER_BYTES},
    lock,
    record::{self, Record},
    segment::{ReadError, Segment},
    transactions::{self, Aborted, Ending},
    window::Batches,
};

/// Bytes at once when reading records one by one.
const RECORDS_BYTES: usize = 256 * 1024;

/// What a read found.
#[derive(Debug, Clone)]
pub struct Read {
    /// Whole record batches, as stored; the first can begin before the offset asked for. Empty at
    /// the end of the log.
    pub batches: Bytes,
    /// The offset after the last record that consumers see.
    pub high_watermark: i64,
    /// The first offset there is.
    pub log_start: i64,
    /// The offset before which no transaction is open.
    pub last_stable: i64,
    /// The aborted transactions among the batches, for a reader of committed records to leave out.
    pub aborted: Vec<Aborted>,
}

/// Which records a reader wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// All.
    Uncommitted,
    /// Those before the first open transaction, and to be told which were aborted.
    Committed,
}

/// Where the readers at work left off, so that the next read of each needs no index.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    recent: VecDeque<Cursor>,
}

#[derive(Debug)]
struct Cursor {
    offset: i64,
    segment: Arc<Segment>,
    position: u64,
}

/// Readers remembered of each log.
const CURSORS: usize = 16;

impl Cursors {
    fn take(&mut self, offset: i64, segment: &Arc<Segment>) -> Option<u64> {
        let found = self
            .recent
            .iter()
            .position(|cursor| cursor.offset == offset && Arc::ptr_eq(&cursor.segment, segment))?;
        self.recent.remove(found).map(|cursor| cursor.position)
    }

    /// Forgets all: the segments have changed.
    pub fn clear(&mut self) {
        self.recent.clear();
    }

    fn put(&mut self, cursor: Cursor) {
        if self.recent.len() == CURSORS {
            self.recent.pop_front();
        }
        self.recent.push_back(cursor);
    }
}

impl Log {
    /// Reads whole batches from the one with the offset `from` on, up to the high watermark, or the
    /// first open transaction: about `max_bytes`, but at least one batch if there is one.
    ///
    /// # Errors
    /// If the offset is before the log's start or after its end, or the log is damaged there.
    pub fn read(
        &self,
        from: i64,
        max_bytes: usize,
        isolation: Isolation,
    ) -> Result<Read, LogError> {
        let high_watermark = self.high_watermark();
        let (log_start, log_end) = (self.log_start(), self.log_end());
        if from < log_start || from > log_end {
            return Err(LogError::OffsetOutOfRange { offset: from, log_start, log_end });
        }
        let last_stable = self.last_stable();
        let until = match isolation {
            Isolation::Uncommitted => high_watermark,
            Isolation::Committed => last_stable,
        };
        let (batches, next) = match self.shared.read(from, until, max_bytes)? {
            Some(batches) => (batches.bytes, batches.next_offset),
            None => (Bytes::new(), from),
        };
        // Read after the records: whatever ended before them is known.
        let aborted = match isolation {
            Isolation::Uncommitted => Vec::new(),
            Isolation::Committed => lock(&self.shared.transactions).aborted_within(from, next),
        };
        let log_start = self.log_start();
        if from < log_start {
            // Deleted meanwhile: what was found can begin after a part that is gone.
            return Err(LogError::OffsetOutOfRange { offset: from, log_start, log_end });
        }
        Ok(Read { batches, high_watermark, log_start, last_stable, aborted })
    }

    /// The records from an offset on, up to the high watermark, decoded, whatever became of their
    /// transactions.
    pub fn records(&self, from: i64) -> impl Iterator<Item = Result<Record, LogError>> + '_ {
        self.entries(from).filter_map(|entry| match entry {
            Ok(Entry::Record { record, .. }) => Some(Ok(record)),
            Ok(Entry::End { .. }) => None,
            Err(error) => Some(Err(error)),
        })
    }

    /// The records and the ends of transactions from an offset on, up to the high watermark: for a
    /// coordinator that reads its own topic back.
    pub fn entries(&self, from: i64) -> Entries<'_> {
        Entries {
            log: self,
            next: from.max(self.log_start()),
            batches: Bytes::new(),
            entries: Vec::new().into_iter(),
        }
    }
}

/// A record, or the end of a transaction.
#[derive(Debug)]
pub enum Entry {
    /// A record.
    Record {
        /// Itself.
        record: Record,
        /// The producer in whose transaction it was written.
        transaction_of: Option<i64>,
    },
    /// The end of a producer's transaction.
    End {
        /// The producer.
        producer_id: i64,
        /// How it ended.
        ending: Ending,
    },
}

/// What a log holds, in order. Ends after the first error.
#[derive(Debug)]
pub struct Entries<'a> {
    log: &'a Log,
    next: i64,
    batches: Bytes,
    entries: std::vec::IntoIter<Entry>,
}

impl Entries<'_> {
    /// Decodes the next batch; whether there was one.
    fn advance(&mut self) -> Result<bool, LogError> {
        if self.batches.is_empty() {
            self.batches = self.log.read(self.next, RECORDS_BYTES, Isolation::Uncommitted)?.batches;
        }
        let Some(header) = BatchHeader::parse(&self.batches) else { return Ok(false) };
        let batch = self.batches.split_to(header.size().min(self.batches.len()));
        let from = std::mem::replace(&mut self.next, header.next_offset());
        let producer_id = header.producer_id;
        if header.is_control() {
            let records = batch.get(HEADER_BYTES..).unwrap_or_default();
            let ending = transactions::ending_of(&header, records);
            let end = ending.map(|ending| Entry::End { producer_id, ending });
            self.entries = end.into_iter().collect::<Vec<_>>().into_iter();
        } else {
            let records = record::decode(&batch).map_err(LogError::invalid)?;
            let transaction_of = header.is_transactional().then_some(producer_id);
            let records = records.into_iter().filter(|record| record.offset >= from);
            let entries = records.map(|record| Entry::Record { record, transaction_of });
            self.entries = entries.collect::<Vec<_>>().into_iter();
        }
        Ok(true)
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.entries.next() {
                return Some(Ok(entry));
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.next = i64::MAX;
                    self.batches = Bytes::new();
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Shared {
    /// An answer from the segments: asked again if compaction replaced one meanwhile. Damage met
    /// on the way stops the log.
    pub(super) fn ask<T>(
        &self,
        mut answer: impl FnMut(&[Arc<Segment>]) -> Result<T, ReadError>,
    ) -> Result<T, LogError> {
        loop {
            match answer(&self.segments()) {
                Ok(found) => return Ok(found),
                Err(ReadError::Replaced) => {}
                Err(ReadError::Failed(error)) => return Err(self.failed(error)),
            }
        }
    }

    /// The batches from an offset on, before `until`.
    pub(super) fn read(
        &self,
        from: i64,
        until: i64,
        max_bytes: usize,
    ) -> Result<Option<Batches>, LogError> {
        if from >= until {
            return Ok(None);
        }
        let found = self.ask(|segments| {
            let first = segments.partition_point(|segment| segment.base <= from).saturating_sub(1);
            self.read_first_of(&segments[first..], from, until, max_bytes)
        })?;
        if found.is_none() {
            // What was synced there is gone, and that stopped the log; if not, compaction took it.
            self.check_running()?;
        }
        Ok(found)
    }

    /// Reads from the first of the segments that has the offset or a later one.
    fn read_first_of(
        &self,
        segments: &[Arc<Segment>],
        from: i64,
        until: i64,
        max_bytes: usize,
    ) -> Result<Option<Batches>, ReadError> {
        let later = segments.iter().skip(1).map(Some).chain([None]);
        for (segment, next) in segments.iter().zip(later) {
            if segment.base >= until {
                break;
            }
            let known = lock(&self.cursors).take(from, segment);
            let Some(batches) = segment.read(from, until, max_bytes, known)? else {
                if let Some(next) = next.filter(|_| !segment.has_gaps) {
                    return Err(ReadError::Failed(segment.ends_before(next.base)));
                }
                continue;
            };
            lock(&self.cursors).put(Cursor {
                offset: batches.next_offset,
                segment: Arc::clone(segment),
                position: batches.next_position,
            });
            return Ok(Some(batches));
        }
        Ok(None)
    }
}
