//! A part of a segment in memory, from which a read is answered.

use bytes::Bytes;

use super::{
    batch::{self, BatchHeader},
    segment::{Damage, ReadError, Segment},
};

/// Bytes of a segment file from `position` on, where a batch begins.
pub(super) struct Window<'a> {
    pub segment: &'a Segment,
    pub position: u64,
    pub bytes: Vec<u8>,
    /// Where the segment's whole batches end.
    pub segment_end: u64,
}

/// What is at a place of a window.
pub(super) enum Peek {
    /// The end of the segment.
    End,
    /// The end of the window.
    Short,
    /// A batch, of which the window may hold the header only.
    Batch(BatchHeader),
}

/// Whole batches, and where the one after them is.
#[derive(Debug)]
pub(super) struct Batches {
    pub bytes: Bytes,
    pub next_offset: i64,
    pub next_position: u64,
}

impl Window<'_> {
    /// What begins at `at`: a batch with this offset or an earlier one or, if there are gaps, a
    /// later one.
    pub fn peek(&self, at: usize, offset: i64) -> Result<Peek, ReadError> {
        let position = self.position + at as u64;
        let left = self.segment_end.saturating_sub(position);
        let Some(header) = self.bytes.get(at..).and_then(BatchHeader::parse) else {
            return match left {
                0 => Ok(Peek::End),
                1..=60 => Err(self.damage(at, offset, "the file ends in a header".to_owned())),
                _ => Ok(Peek::Short),
            };
        };
        if let Some(defect) = header.defect() {
            return Err(self.damage(at, offset, defect));
        }
        if header.base_offset > offset && !self.segment.has_gaps {
            let reason = format!("it has offset {}, expected {offset}", header.base_offset);
            return Err(self.damage(at, offset, reason));
        }
        if header.size() as u64 > left {
            let reason = format!("{left} bytes are left of a batch of {}", header.size());
            return Err(self.damage(at, offset, reason));
        }
        Ok(Peek::Batch(header))
    }

    /// Whether the whole batch at `at` is here.
    pub fn holds(&self, at: usize, batch: &BatchHeader) -> bool {
        self.bytes.len() - at >= batch.size()
    }

    /// The batches from `start` on: the one there, which has the offset `from` or, if there are
    /// gaps, a later one, and those after it that are whole, before `until` and within
    /// `max_bytes`. Ends before a damaged one.
    pub fn take(
        self,
        start: usize,
        from: i64,
        until: i64,
        max_bytes: usize,
    ) -> Result<Batches, ReadError> {
        let mut end = start;
        let mut next_offset = from;
        while let Ok(Peek::Batch(batch)) = self.peek(end, next_offset) {
            let first = end == start;
            let fits = end - start + batch.size() <= max_bytes && batch.base_offset < until;
            if !self.holds(end, &batch) || !(first || fits) {
                break;
            }
            match batch::check(&self.bytes[end..]) {
                Ok(_) => {}
                Err(reason) if first => return Err(self.damage(end, from, reason)),
                Err(_) => break,
            }
            next_offset = batch.next_offset();
            end += batch.size();
        }
        Ok(Batches {
            next_offset,
            next_position: self.position + end as u64,
            bytes: Bytes::from(self.bytes).slice(start..end),
        })
    }

    fn damage(&self, at: usize, offset: i64, reason: String) -> ReadError {
        let position = self.position + at as u64;
        ReadError::Failed(Damage { offset, position, reason }.of(self.segment))
    }
}
