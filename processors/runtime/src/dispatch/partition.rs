//! One assigned partition: what is outstanding, and how far its offset may pass.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Commit, Completed, Limits};
use crate::clock::Moment;

#[derive(Debug)]
pub struct Partition {
    pub generation: u64,
    /// True once it is being taken away: nothing new is started.
    pub revoked: bool,
    pub in_flight: usize,
    /// The offset after the newest event that arrived.
    next: i64,
    /// Offsets not yet acknowledged, with their timestamps.
    outstanding: BTreeMap<i64, i64>,
    bytes: usize,
    /// What an earlier assignment completed above its watermark.
    completed: Completed,
    full_since: Option<Moment>,
    paused: bool,
    changed: bool,
    /// True when what is complete above the watermark no longer fits a commit's metadata.
    overflowed: bool,
}

impl Partition {
    pub fn new(generation: u64, offset: i64, completed: Completed) -> Self {
        Self {
            generation,
            revoked: false,
            in_flight: 0,
            next: offset,
            outstanding: BTreeMap::new(),
            bytes: 0,
            completed,
            full_since: None,
            paused: false,
            changed: false,
            overflowed: false,
        }
    }

    /// Notes an event. False if it was seen before.
    pub fn arrive(&mut self, offset: i64, timestamp: i64, bytes: usize) -> bool {
        if offset < self.next {
            return false;
        }
        self.next = offset + 1;
        if self.completed.contains(offset) {
            self.changed = true;
            return false;
        }
        self.outstanding.insert(offset, timestamp);
        self.bytes += bytes;
        true
    }

    /// Nothing comes any more below this offset.
    pub fn skip(&mut self, next: i64) {
        if next > self.next {
            (self.next, self.changed) = (next, true);
        }
    }

    pub fn complete(&mut self, offset: i64, bytes: usize) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if self.outstanding.remove(&offset).is_some() {
            self.bytes = self.bytes.saturating_sub(bytes);
            self.changed = true;
        }
    }

    /// The next offset to commit: nothing below it is outstanding.
    pub fn watermark(&self) -> i64 {
        self.outstanding.first_key_value().map_or(self.next, |(offset, _)| *offset)
    }

    pub fn oldest(&self) -> Option<i64> {
        self.outstanding.first_key_value().map(|(_, timestamp)| *timestamp)
    }

    pub fn is_changed(&self) -> bool {
        self.changed
    }

    pub fn commit(&mut self, partition: i32) -> Commit {
        self.changed = false;
        let offset = self.watermark();
        let (metadata, whole) = self.completed_above(offset).encode(offset);
        self.overflowed = !whole;
        Commit { partition, offset, metadata }
    }

    /// Everything between outstanding offsets is complete, as is what an earlier assignment had
    /// completed beyond what has arrived.
    fn completed_above(&self, watermark: i64) -> Completed {
        let starts = self.outstanding.keys().map(|offset| offset + 1);
        let ends = self.outstanding.keys().skip(1).copied().chain([self.next]);
        let mut completed: Completed = starts.zip(ends).map(|(start, end)| start..end).collect();
        completed.append(&self.completed, self.next.max(watermark));
        completed
    }

    pub fn is_full(&self, share: Limits) -> bool {
        self.overflowed
            || self.outstanding.len() >= share.events
            || (self.bytes >= share.bytes && !self.outstanding.is_empty())
    }

    pub fn mark_changed(&mut self) {
        self.changed = true;
    }

    /// How many events more it may take.
    pub fn room(&self, share: Limits) -> usize {
        match self.is_full(share) {
            true => 0,
            false => share.events - self.outstanding.len(),
        }
    }

    pub fn is_reading(&self) -> bool {
        !self.paused && !self.revoked
    }

    /// `Some(true)`: pause now; `Some(false)`: resume now.
    pub fn flow(&mut self, share: Limits, now: Moment, patience: Duration) -> Option<bool> {
        if self.revoked {
            return None;
        }
        if self.paused {
            let half = Limits { events: share.events.div_ceil(2), bytes: share.bytes.div_ceil(2) };
            self.paused = self.is_full(half);
            return (!self.paused).then_some(false);
        }
        if !self.is_full(share) {
            self.full_since = None;
            return None;
        }
        let since = *self.full_since.get_or_insert(now);
        if now.since(since) < patience {
            return None;
        }
        (self.paused, self.full_since) = (true, None);
        Some(true)
    }
}
