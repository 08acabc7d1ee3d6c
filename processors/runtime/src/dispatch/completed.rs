//! What is complete above a watermark, and its form in a commit's metadata.
//!
//! The form is `1:` and, in unpadded base64, run lengths as LEB128 varints: starting at the
//! watermark, so many offsets not complete, so many complete, and so on. Metadata of another form
//! (other tools write there too) means that nothing is known to be complete: events are then
//! delivered again, never lost.

use std::collections::VecDeque;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// The brokers' default of `offset.metadata.max.bytes`.
pub const METADATA_LIMIT: usize = 4_096;

const VERSION: &str = "1:";
/// Bytes of run lengths that fit beside the version, in base64.
const RUNS_LIMIT: usize = (METADATA_LIMIT - VERSION.len()) / 4 * 3;

/// Offsets that are complete: ranges in order, not empty, not touching.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Completed(VecDeque<Range<i64>>);

impl Completed {
    /// Whether the offset is complete. Offsets below it are no longer of interest: they are
    /// forgotten, so ask in ascending order.
    pub fn contains(&mut self, offset: i64) -> bool {
        while self.0.front().is_some_and(|range| range.end <= offset) {
            self.0.pop_front();
        }
        self.0.front().is_some_and(|range| range.contains(&offset))
    }

    /// The ranges, in order.
    pub fn ranges(&self) -> impl Iterator<Item = &Range<i64>> {
        self.0.iter()
    }

    /// Adds those of `others` from `from` on.
    pub fn append(&mut self, others: &Completed, from: i64) {
        for range in &others.0 {
            self.push(range.start.max(from)..range.end);
        }
    }

    /// Adds a range that starts at or after the end of the last one.
    fn push(&mut self, range: Range<i64>) {
        if range.is_empty() {
            return;
        }
        match self.0.back_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => self.0.push_back(range),
        }
    }

    /// The form for a commit at `watermark`, and whether everything fitted. What does not fit is
    /// left out from the end.
    pub fn encode(&self, watermark: i64) -> (String, bool) {
        let mut runs = Vec::new();
        let mut at = watermark;
        let mut whole = true;
        for range in self.0.iter().filter(|range| range.end > watermark) {
            let start = range.start.max(watermark);
            let before = runs.len();
            varint(&mut runs, start - at);
            varint(&mut runs, range.end - start);
            if runs.len() > RUNS_LIMIT {
                runs.truncate(before);
                whole = false;
                break;
            }
            at = range.end;
        }
        match runs.is_empty() {
            true => (String::new(), whole),
            false => (format!("{VERSION}{}", STANDARD_NO_PAD.encode(runs)), whole),
        }
    }

    /// Reads the metadata of a commit at `watermark`.
    pub fn decode(watermark: i64, metadata: &str) -> Self {
        Self::read(watermark, metadata).unwrap_or_default()
    }

    fn read(watermark: i64, metadata: &str) -> Option<Self> {
        let runs = STANDARD_NO_PAD.decode(metadata.strip_prefix(VERSION)?).ok()?;
        let mut runs = runs.as_slice();
        let mut completed = Self::default();
        let mut at = watermark;
        while !runs.is_empty() {
            let start = at.checked_add(read_varint(&mut runs)?)?;
            at = start.checked_add(read_varint(&mut runs)?)?;
            completed.push(start..at);
        }
        Some(completed)
    }
}

impl FromIterator<Range<i64>> for Completed {
    fn from_iter<I: IntoIterator<Item = Range<i64>>>(ranges: I) -> Self {
        let mut completed = Self::default();
        for range in ranges {
            completed.push(range);
        }
        completed
    }
}

/// Run lengths are never negative.
fn varint(out: &mut Vec<u8>, value: i64) {
    let mut value = value.unsigned_abs();
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn read_varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return i64::try_from(value).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(ranges: &[Range<i64>]) -> Completed {
        ranges.iter().cloned().collect()
    }

    #[test]
    fn what_was_complete_is_read_back() {
        let above = completed(&[101..105, 107..1_000_107, 2_000_000..2_000_001]);
        let (metadata, whole) = above.encode(100);
        assert!(whole);
        assert!(metadata.len() < 30, "{metadata}");
        assert_eq!(Completed::decode(100, &metadata), above);
    }

    #[test]
    fn metadata_never_exceeds_the_brokers_limit_and_what_is_left_out_is_delivered_again() {
        let above = completed(&(0..5_000).map(|n| n * 300 + 1..n * 300 + 200).collect::<Vec<_>>());
        let (metadata, whole) = above.encode(0);
        assert!(!whole);
        assert!(metadata.len() <= METADATA_LIMIT);
        let mut read = Completed::decode(0, &metadata);
        assert!(read.contains(1) && !read.contains(200) && read.contains(301));
        assert!(!read.contains(4_999 * 300 + 1));
    }

    #[test]
    fn foreign_or_broken_metadata_means_that_nothing_is_complete() {
        for metadata in ["", "1:", "2:AQE", "1:!!", "1:AQ", "hello", "1://///////////////w", "1:gA"]
        {
            assert_eq!(Completed::decode(7, metadata), Completed::default(), "{metadata}");
        }
    }

    #[test]
    fn nothing_complete_is_an_empty_metadata() {
        assert_eq!(Completed::default().encode(5), (String::new(), true));
        let below: Completed = std::iter::once(1..5).collect();
        assert_eq!(below.encode(5), (String::new(), true));
    }
}
