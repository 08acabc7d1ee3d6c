//! Which of the events read are delivered, how they are marked, and how fast they go.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use super::{Letters, Tally};
use crate::dead_letters::Entry;
use crate::expression::Program;
use crate::{Event, Fault, Value, event};

/// Timers are no finer than a millisecond: what is late by less than this catches up.
const SLACK: Duration = Duration::from_millis(50);

/// What a replay delivers of what it reads.
pub(crate) struct Selection {
    id: Bytes,
    begun: Bytes,
    filter: Option<Program>,
    pace: Option<Pace>,
    tally: Arc<Tally>,
    letters: Arc<Letters>,
}

/// At most one event in each such time.
struct Pace {
    each: Duration,
    next: Mutex<Instant>,
}

impl Selection {
    /// A selection by a filter, at most `rate` events a second, marked with the replay's id and when it
    /// began (milliseconds since the Unix epoch); `letters` are those of the sink that delivers.
    pub fn new(
        id: &str,
        begun: i64,
        filter: Option<Program>,
        rate: Option<f64>,
        tally: Arc<Tally>,
        letters: Arc<Letters>,
    ) -> Self {
        let each = rate.and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok());
        let pace = each.map(|each| Pace { each, next: Mutex::new(Instant::now()) });
        let (id, begun) = (Bytes::copy_from_slice(id.as_bytes()), begun.to_string().into());
        Self { id, begun, filter, pace, tally, letters }
    }

    /// Whether it looks at values.
    pub fn reads_values(&self) -> bool {
        self.filter.is_some()
    }

    /// Whether the event is to be delivered; then it is marked, and what was a dead letter goes under the
    /// idempotency key that a retry of it has.
    ///
    /// # Errors
    /// A `Data` fault when the filter fails on it.
    pub fn admit(&self, event: &mut Event, attempt: u32) -> Result<bool, Fault> {
        if !passes(self.filter.as_ref(), event)? {
            return Ok(false);
        }
        if attempt == 1 {
            self.tally.matched();
        }
        event.headers.set(event::REPLAY, self.id.clone());
        event.headers.set(event::REPLAY_BEGUN, self.begun.clone());
        event.set_rejected(self.letters.rejected(event.partition, event.offset));
        Ok(true)
    }

    /// The dead letter of this place, if it is open.
    pub fn open_letter(&self, partition: i32, offset: i64) -> Option<Entry> {
        self.letters.open(partition, offset)
    }

    /// Waits until so many events may go.
    pub async fn pace(&self, events: usize) {
        let Some(pace) = &self.pace else { return };
        let turn = {
            let mut next = pace.next.lock().unwrap_or_else(PoisonError::into_inner);
            let late = Instant::now().checked_sub(SLACK).unwrap_or(*next);
            let turn = late.max(*next);
            *next = turn + pace.each.saturating_mul(u32::try_from(events).unwrap_or(u32::MAX));
            turn
        };
        sleep_until(turn).await;
    }
}

/// Whether a filter lets an event pass.
///
/// # Errors
/// A `Data` fault when it fails, or gives something else than true or false.
pub(super) fn passes(filter: Option<&Program>, event: &Event) -> Result<bool, Fault> {
    let Some(filter) = filter else { return Ok(true) };
    match filter.run(event, event.value.as_ref().unwrap_or(&Value::Null))? {
        Value::Boolean(passes) => Ok(passes),
        other => {
            let message = format!("it gives {}, neither true nor false.", other.kind_str());
            Err(Fault::data("filter_invalid", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_more_events_go_in_a_second_than_were_asked_for() {
        let selection = Selection::new("r", 0, None, Some(1_000.0), Arc::default(), Arc::default());
        for pause in [0, 100] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let started = Instant::now();
            for _ in 0..200 {
                selection.pace(1).await;
            }
            let took = started.elapsed();
            assert!(took > Duration::from_millis(140), "{took:?}: a pause saves nothing up");
        }
    }
}
