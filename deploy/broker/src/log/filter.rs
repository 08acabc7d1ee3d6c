//! Which records of a batch compaction keeps, and the batch that is left.

use std::collections::HashMap;

use super::{
    batch::{BatchHeader, HEADER_BYTES, LENGTH_PREFIX},
    codec::Codec,
    compaction::LastOffsets,
    config::TimestampType,
    record::{self, RecordView, Records},
    scan::Found,
    transactions::{self, Ending, Transactions},
};

/// What decides.
pub(super) struct Filter {
    pub last_offsets: LastOffsets,
    /// The last offset of each producer: its batch keeps its header even without records, for its
    /// sequence number.
    pub last_of_producers: HashMap<i64, i64>,
    /// Those of the log. What is compacted has all ended.
    pub transactions: Transactions,
    pub now_ms: i64,
    /// When the tombstones may go that are met now for the first time (KIP-534).
    pub delete_horizon: i64,
}

/// What is left of a batch.
pub(super) enum Filtered {
    /// All of it, as it is.
    Kept,
    /// Some of it.
    Rewritten(Vec<u8>),
    /// Nothing.
    Dropped,
}

/// Calls with each key of a batch that counts, and its record's offset.
pub(super) fn for_each_key(
    batch: &Found<'_>,
    transactions: &Transactions,
    mut each: impl FnMut(&[u8], i64),
) -> Result<(), String> {
    if batch.header.is_control() || transactions.is_aborted(&batch.header) {
        return Ok(());
    }
    let records = record::decompressed(&batch.header, batch.bytes)?;
    for record in Records::new(&batch.header, &records) {
        let record = record?;
        if let Some(key) = record.key {
            each(key, offset_of(&record, &batch.header));
        }
    }
    Ok(())
}

fn offset_of(record: &RecordView<'_>, header: &BatchHeader) -> i64 {
    header.base_offset.saturating_add(record.offset_delta.into())
}

impl Filter {
    /// Filters one batch and counts the records it removes.
    ///
    /// Records of an aborted transaction go; those of a committed one become records of none, so that
    /// its marker can go. Markers of aborted ones stay: a reader that is told of one waits for it.
    pub fn apply(&self, batch: &Found<'_>, removed: &mut u64) -> Result<Filtered, String> {
        if batch.header.is_control() {
            let ending = transactions::ending_of(&batch.header, &batch.bytes[HEADER_BYTES..]);
            let is_noted = batch.header.next_offset() <= self.last_offsets.end;
            return Ok(match ending {
                Some(Ending::Commit) if is_noted => Filtered::Dropped,
                _ => Filtered::Kept,
            });
        }
        let mut header = batch.header;
        if self.transactions.is_aborted(&header) {
            *removed += u64::try_from(header.record_count).unwrap_or_default();
            header.set_settled();
            return Ok(self.without_records(&header));
        }
        header.set_settled();
        Ok(match self.filter(&header, batch.bytes, removed)? {
            Filtered::Kept if header != batch.header => {
                Filtered::Rewritten(with_records(header, &batch.bytes[HEADER_BYTES..]))
            }
            filtered => filtered,
        })
    }

    fn filter(
        &self,
        header: &BatchHeader,
        bytes: &[u8],
        removed: &mut u64,
    ) -> Result<Filtered, String> {
        let records = record::decompressed(header, bytes)?;
        let mut kept = Vec::new();
        let mut has_tombstones = false;
        for record in Records::new(header, &records) {
            let record = record?;
            if self.keeps(&record, header) {
                has_tombstones |= record.value.is_none();
                kept.push(record);
            } else {
                *removed += 1;
            }
        }
        let horizon =
            (has_tombstones && header.delete_horizon().is_none()).then_some(self.delete_horizon);
        if kept.is_empty() {
            return Ok(self.without_records(header));
        }
        if i32::try_from(kept.len()) == Ok(header.record_count) && horizon.is_none() {
            return Ok(Filtered::Kept);
        }
        rewritten(header, &kept, horizon).map(Filtered::Rewritten)
    }

    fn keeps(&self, record: &RecordView<'_>, header: &BatchHeader) -> bool {
        let offset = offset_of(record, header);
        if offset >= self.last_offsets.end {
            return true;
        }
        let Some(key) = record.key else { return false };
        let is_last = self.last_offsets.of(key).is_none_or(|last| offset >= last);
        let has_expired = record.value.is_none()
            && header.delete_horizon().is_some_and(|horizon| self.now_ms >= horizon);
        is_last && !has_expired
    }

    fn without_records(&self, header: &BatchHeader) -> Filtered {
        if self.last_of_producers.get(&header.producer_id) != Some(&header.last_offset()) {
            return Filtered::Dropped;
        }
        if header.record_count == 0 {
            return Filtered::Kept;
        }
        let mut header = *header;
        header.set_codec(Codec::None);
        header.record_count = 0;
        Filtered::Rewritten(with_records(header, &[]))
    }
}

/// A batch of the same offsets with only some of its records, and perhaps a delete horizon.
fn rewritten(
    header: &BatchHeader,
    kept: &[RecordView<'_>],
    horizon: Option<i64>,
) -> Result<Vec<u8>, String> {
    let mut header = *header;
    let timestamps = kept.iter().map(|record| record.timestamp(&header));
    let mut records = Vec::with_capacity(kept.iter().map(|record| record.raw.len() + 10).sum());
    for (record, timestamp) in kept.iter().zip(timestamps.clone()) {
        match horizon {
            None => records.extend_from_slice(record.raw),
            // The horizon takes the place of what the timestamps are relative to.
            Some(horizon) => record.encode(timestamp.saturating_sub(horizon), &mut records),
        }
    }
    if header.timestamp_type() == TimestampType::CreateTime {
        header.max_timestamp = timestamps.max().unwrap_or(header.max_timestamp);
    }
    if let Some(horizon) = horizon {
        header.set_delete_horizon(horizon);
    }
    header.record_count = i32::try_from(kept.len()).map_err(|_| "too many records")?;
    let codec = header.codec().ok_or("an unknown codec")?;
    let compressed = codec
        .compress(&records)
        .map_err(|error| format!("{codec:?} cannot compress its records again: {error}"))?;
    Ok(with_records(header, &compressed))
}

/// The batch of a header, whose length and CRC are set here, and its records.
fn with_records(mut header: BatchHeader, records: &[u8]) -> Vec<u8> {
    let length = HEADER_BYTES - LENGTH_PREFIX + records.len();
    // Records decompress to at most 64 MiB, and compress to little more.
    header.length = i32::try_from(length).unwrap_or(i32::MAX);
    header.crc = header.checksum(records);
    let mut batch = header.encode().to_vec();
    batch.extend_from_slice(records);
    batch
}
