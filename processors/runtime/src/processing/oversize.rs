//! Records that no topic takes for their size.
//!
//! Brokers refuse a batch as a whole, and do not say for which record. So the events of a window that
//! was refused are written anew one record at a time; the one that is refused then follows `on_error`.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Event, Fault};

/// What is known of the events of a route; it outlives its runs.
#[derive(Debug, Default)]
pub(super) struct Oversize(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Below this offset, a partition's events are written one record at a time.
    suspected: HashMap<i32, i64>,
    /// The events, by partition and offset, of which a record was refused that was alone.
    refused: HashMap<(i32, i64), Fault>,
}

impl Oversize {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch was refused with what came of events of a partition below this offset.
    pub fn suspect(&self, partition: i32, end: i64) {
        let mut known = self.lock();
        let suspected = known.suspected.entry(partition).or_insert(end);
        *suspected = end.max(*suspected);
    }

    /// Whether what comes of an event is to be written alone.
    pub fn suspects(&self, event: &Event) -> bool {
        self.lock().suspected.get(&event.partition).is_some_and(|end| event.offset < *end)
    }

    /// A record that came of an event was refused although it was alone. What lies before `watermark`
    /// has passed.
    pub fn refuse(&self, event: &Event, fault: &Fault, watermark: i64) {
        let (partition, offset) = (event.partition, event.offset);
        let mut known = self.lock();
        known.refused.retain(|place, _| place.0 != partition || place.1 >= watermark);
        known.refused.insert((partition, offset), fault.clone());
    }

    /// Why an event cannot be written, if that is known.
    pub fn refusal(&self, event: &Event) -> Option<Fault> {
        self.lock().refused.get(&(event.partition, event.offset)).cloned()
    }
}
