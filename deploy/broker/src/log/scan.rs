//! Reading a segment from one batch to the next, checking each.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt};

use super::{
    batch::{self, BatchHeader, HEADER_BYTES},
    segment::Segment,
};

/// Bytes read at once.
const CHUNK: usize = 256 * 1024;

/// Walks the batches of a segment file; holds one chunk, or one batch if that is larger.
pub(super) struct Scan<'a> {
    file: &'a File,
    /// Where the next batch begins.
    position: u64,
    end: u64,
    /// The offset the next batch has, unless the segment has gaps: then the least it may have.
    /// `None` before the first.
    expected: Option<i64>,
    has_gaps: bool,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    buffer_position: u64,
}

/// A batch in place.
pub(super) struct Found<'a> {
    pub position: u64,
    pub header: BatchHeader,
    pub bytes: &'a [u8],
}

/// Why a scan ended before the end.
#[derive(Debug)]
pub(super) enum ScanError {
    Io(io::Error),
    /// The batch at this position is damaged.
    Damaged {
        position: u64,
        reason: String,
    },
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<'a> Scan<'a> {
    /// Scans a part of the segment's file that begins with a batch.
    pub fn new(segment: &Segment, file: &'a File, range: Range<u64>) -> Self {
        Self {
            file,
            position: range.start,
            end: range.end,
            expected: (range.start == 0).then_some(segment.base),
            has_gaps: segment.has_gaps,
            buffer: Vec::new(),
            buffer_position: range.start,
        }
    }

    /// The next batch, `None` at the end.
    pub fn next(&mut self) -> Result<Option<Found<'_>>, ScanError> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(None);
        }
        let position = self.position;
        let damaged = |reason| ScanError::Damaged { position, reason };
        if left < HEADER_BYTES {
            return Err(damaged(format!("the file ends after {left} bytes of a batch's header")));
        }
        let header = BatchHeader::parse(self.fill(HEADER_BYTES, left)?)
            .ok_or_else(|| damaged("no header".to_owned()))?;
        if let Some(defect) = header.defect() {
            return Err(damaged(defect));
        }
        if header.size() > left {
            let size = header.size();
            return Err(damaged(format!("the file ends after {left} of a batch's {size} bytes")));
        }
        let expected = self.expected.unwrap_or(header.base_offset);
        if header.base_offset < expected || header.base_offset > expected && !self.has_gaps {
            let found = header.base_offset;
            return Err(damaged(format!("it has offset {found}, expected {expected}")));
        }
        batch::check(self.fill(header.size(), left)?).map_err(damaged)?;
        self.position += header.size() as u64;
        self.expected = Some(header.next_offset());
        let from = (position - self.buffer_position) as usize;
        Ok(Some(Found { position, header, bytes: &self.buffer[from..from + header.size()] }))
    }

    /// The next `length` bytes, of the `left` that there are.
    fn fill(&mut self, length: usize, left: usize) -> io::Result<&[u8]> {
        let from = (self.position - self.buffer_position) as usize;
        if self.buffer.len() < from + length {
            self.buffer_position = self.position;
            self.buffer.resize(length.max(CHUNK.min(left)), 0);
            self.file.read_exact_at(&mut self.buffer, self.position)?;
            return Ok(&self.buffer[..length]);
        }
        Ok(&self.buffer[from..from + length])
    }
}

/// Whether any whole batch begins at or after a position.
pub(super) fn finds_whole_batch(file: &File, mut position: u64) -> io::Result<bool> {
    let end = file.metadata()?.len();
    let mut chunk = Vec::new();
    while position + HEADER_BYTES as u64 <= end {
        chunk.resize(CHUNK.min((end - position) as usize), 0);
        file.read_exact_at(&mut chunk, position)?;
        for start in 0..=chunk.len() - HEADER_BYTES {
            let Some(header) = BatchHeader::parse(&chunk[start..]) else { continue };
            let at = position + start as u64;
            if header.defect().is_some() || header.size() as u64 > end - at {
                continue;
            }
            let mut batch = vec![0; header.size()];
            file.read_exact_at(&mut batch, at)?;
            if batch::check(&batch).is_ok() {
                return Ok(true);
            }
        }
        // The last header that began in the chunk may go on in the next.
        position += (chunk.len() - HEADER_BYTES + 1) as u64;
    }
    Ok(false)
}
