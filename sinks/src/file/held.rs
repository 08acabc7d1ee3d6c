//! Which events of a partition are in files.

use std::collections::BTreeMap;

use engine::{Event, Fault};
use serde::{Deserialize, Serialize};

/// Rows without an offset missing between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Range {
    pub first: i64,
    pub last: i64,
    /// The rows' Kafka timestamps lie between these, milliseconds since the Unix epoch.
    pub oldest: i64,
    pub newest: i64,
}

/// The events of one partition that are in files.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<i64, Range>);

impl Held {
    /// All of them.
    pub fn ranges(&self) -> Vec<Range> {
        self.0.values().copied().collect()
    }

    /// Adds a range, as part of the one before it if they touch.
    pub fn add(&mut self, range: Range) {
        let before = self.0.range_mut(..range.first).next_back();
        match before.filter(|(_, before)| before.last + 1 == range.first) {
            Some((_, before)) => {
                before.last = range.last;
                before.oldest = before.oldest.min(range.oldest);
                before.newest = before.newest.max(range.newest);
            }
            None => drop(self.0.insert(range.first, range)),
        }
    }

    /// Whether the event is in a file. `journal` is what says so, for messages.
    ///
    /// # Errors
    /// A `Remote` fault: another event of this offset is, of a topic that is gone.
    pub fn holds(&self, event: &Event, journal: &str) -> Result<bool, Fault> {
        let before = self.0.range(..=event.offset).next_back();
        let Some((_, range)) = before.filter(|(_, range)| range.last >= event.offset) else {
            return Ok(false);
        };
        if (range.oldest..=range.newest).contains(&event.timestamp) {
            return Ok(true);
        }
        let message = format!(
            "The event {}/{}/{} is not the one that was written with this offset: was the topic \
             deleted and made anew? Then move its files and {journal} away, and it is written.",
            event.topic, event.partition, event.offset
        );
        Err(Fault::refused("topic_made_anew", message))
    }
}

/// The offsets of events, which are in their order.
pub(super) fn ranges<'e>(events: impl Iterator<Item = &'e Event>) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for Event { offset, timestamp, .. } in events {
        match ranges.last_mut().filter(|range| range.last + 1 == *offset) {
            Some(range) => {
                range.last = *offset;
                range.oldest = range.oldest.min(*timestamp);
                range.newest = range.newest.max(*timestamp);
            }
            None => {
                let (first, last) = (*offset, *offset);
                ranges.push(Range { first, last, oldest: *timestamp, newest: *timestamp });
            }
        }
    }
    ranges
}
