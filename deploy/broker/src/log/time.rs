//! Finding offsets by time.

use super::{
    Log, LogError,
    batch::BatchHeader,
    record::{self, Records},
    scan::{Scan, ScanError},
    segment::{Damage, ReadError, Segment},
};

/// A record's offset and timestamp.
type Place = (i64, i64);

impl Log {
    /// The first record that consumers see with this timestamp or a later one, as offset and
    /// timestamp; timestamps need not be in order.
    ///
    /// # Errors
    /// If the disk fails or the log is damaged on the way.
    pub fn offset_for_time(&self, timestamp: i64) -> Result<Option<Place>, LogError> {
        let log_start = self.log_start();
        let wanted = |offset, time| offset >= log_start && time >= timestamp;
        let found = self.shared.ask(|segments| {
            for segment in segments {
                let summary = segment.summary();
                if summary.max_timestamp < timestamp || summary.next_offset <= log_start {
                    continue;
                }
                let from = segment.position_of_time(timestamp);
                let found = segment.first_record(from, timestamp, wanted)?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            Ok(None)
        })?;
        Ok(found.filter(|(offset, _)| *offset < self.high_watermark()))
    }

    /// The record with the largest timestamp, as offset and timestamp; the first of several.
    ///
    /// # Errors
    /// If the disk fails or the log is damaged there.
    pub fn max_timestamp(&self) -> Result<Option<Place>, LogError> {
        self.shared.ask(|segments| {
            // Of several, `max_by_key` gives the last.
            let newest =
                segments.iter().rev().max_by_key(|segment| segment.summary().max_timestamp);
            let Some(segment) = newest else { return Ok(None) };
            let summary = segment.summary();
            let from = segment.position_of(summary.max_timestamp_batch);
            segment.first_record(from, summary.max_timestamp, |_, timestamp| {
                timestamp == summary.max_timestamp
            })
        })
    }
}

impl Segment {
    /// The first record from a position on that is wanted, by offset and timestamp; only batches
    /// with a timestamp of `at_least` are looked into.
    fn first_record(
        &self,
        from: u64,
        at_least: i64,
        wanted: impl Fn(i64, i64) -> bool,
    ) -> Result<Option<Place>, ReadError> {
        let file = self.file()?;
        let mut scan = Scan::new(self, &file, from..self.size());
        let mut offset = self.base;
        loop {
            let batch = match scan.next() {
                Ok(Some(batch)) => batch,
                Ok(None) => return Ok(None),
                Err(error) => return Err(self.scan_failed(error, offset).into()),
            };
            offset = batch.header.next_offset();
            if batch.header.max_timestamp < at_least || batch.header.is_control() {
                continue;
            }
            let found = first_in_batch(&batch.header, batch.bytes, &wanted).map_err(|reason| {
                let (offset, position) = (batch.header.base_offset, batch.position);
                ReadError::Failed(Damage { offset, position, reason }.of(self))
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    /// What a scan's error says of this segment, `offset` being the first it did not read.
    pub(super) fn scan_failed(&self, error: ScanError, offset: i64) -> LogError {
        match error {
            ScanError::Io(error) => LogError::io("read", &self.path)(error),
            ScanError::Damaged { position, reason } => Damage { offset, position, reason }.of(self),
        }
    }
}

fn first_in_batch(
    header: &BatchHeader,
    batch: &[u8],
    wanted: impl Fn(i64, i64) -> bool,
) -> Result<Option<Place>, String> {
    let records = record::decompressed(header, batch)?;
    for record in Records::new(header, &records) {
        let record = record?;
        let offset = header.base_offset.saturating_add(record.offset_delta.into());
        let timestamp = record.timestamp(header);
        if wanted(offset, timestamp) {
            return Ok(Some((offset, timestamp)));
        }
    }
    Ok(None)
}
