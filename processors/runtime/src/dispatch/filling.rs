//! Batches that wait until they are worth a call of the target: a file, not an event.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lanes::Lane;
use super::{Dispatcher, Limits, Taken};
use crate::clock::Moment;
use crate::sink::Fill;

/// The next batch of each partition that fills.
#[derive(Debug)]
pub(super) struct Filling {
    wish: Fill,
    /// Since when its first event waits.
    since: BTreeMap<i32, Moment>,
}

impl Filling {
    /// The partition's next batch begins anew.
    pub fn begin_anew(&mut self, partition: i32) {
        self.since.remove(&partition);
    }

    /// When the first batch goes that fills no more.
    pub fn next_due(&self) -> Option<Moment> {
        self.since.values().min().map(|since| since.plus(self.wish.within))
    }

    /// What a partition may have outstanding: one batch on its way, and the next one. Bytes are
    /// what fills memory: they are shared.
    pub fn share(&self, limits: Limits, partitions: usize) -> Limits {
        let Fill { events, bytes, .. } = self.wish;
        Limits {
            events: (limits.events / partitions).max(events.saturating_mul(2)),
            bytes: limits.bytes.max(bytes.saturating_mul(2)) / partitions,
        }
    }
}

impl<E> Dispatcher<E> {
    /// The same, with batches that wait until they are filled; for one that keeps the partition's
    /// order.
    #[must_use]
    pub fn filling(mut self, wish: Option<Fill>) -> Self {
        self.filling = wish.map(|wish| Filling { wish, since: BTreeMap::new() });
        self
    }

    /// From now on no batch waits longer than this: what it waits for may not come.
    pub fn hasten(&mut self, within: Duration) {
        if let Some(filling) = &mut self.filling {
            filling.wish.within = filling.wish.within.min(within);
        }
    }

    /// The next batch that has waited long enough or is full, of at most `most` events.
    pub(super) fn take_filled(&mut self, now: Moment, most: usize) -> Vec<Taken<E>> {
        let mut ready: Vec<u64> = self.ready.iter().copied().collect();
        // As with a probe: a batch that fails must not keep the others from being tried. (A lane has
        // one entry here, so no partition's order is touched.)
        ready.sort_by_key(|sequence| {
            self.entries.get(sequence).and_then(|entry| entry.failing).map(|failing| failing.last)
        });
        for sequence in ready {
            let Some(lane) = self.lane_of(sequence) else { continue };
            if !self.is_filled(sequence, lane.partition, now) {
                continue;
            }
            self.ready.remove(&sequence);
            if let Some(filling) = &mut self.filling {
                filling.begin_anew(lane.partition);
            }
            let count = self.count_of_batch(&lane, most);
            let started = self.lanes.start(&lane, count);
            return started.into_iter().filter_map(|sequence| self.start(sequence)).collect();
        }
        Vec::new()
    }

    /// Whether the batch that begins with this event goes now.
    fn is_filled(&mut self, first: u64, partition: i32, now: Moment) -> bool {
        let share = self.share();
        let has_failed = self.entries.get(&first).is_some_and(|entry| entry.attempts > 0);
        let (Some(filling), Some(known)) = (&mut self.filling, self.partitions.get(&partition))
        else {
            return true;
        };
        let Fill { events, bytes, within } = filling.wish;
        let since = *filling.since.entry(partition).or_insert(now);
        // Half of the share is left for what arrives while the batch is on its way.
        let enough =
            Limits { events: events.min(share.events / 2), bytes: bytes.min(share.bytes / 2) };
        has_failed || known.is_full(enough) || now.since(since) >= within
    }

    /// How many of a lane's events make a batch.
    fn count_of_batch(&self, lane: &Lane, most: usize) -> usize {
        let limit = self.filling.as_ref().map_or(usize::MAX, |filling| filling.wish.bytes);
        let mut bytes = 0_usize;
        let fitting = self.lanes.waiting(lane).take(most).take_while(|sequence| {
            let fits = bytes < limit;
            bytes += self.entries.get(sequence).map_or(0, |entry| entry.bytes);
            fits
        });
        fitting.count().max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Arrival;
    use super::*;
    use crate::Order;

    const NOW: Moment = Moment::from_millis(1_000_000);
    const WISH: Fill = Fill { events: 4, bytes: 1_000, within: Duration::from_secs(60) };

    fn after(seconds: u64) -> Moment {
        NOW.plus(Duration::from_secs(seconds))
    }

    fn dispatcher(partitions: i32) -> Dispatcher<i64> {
        let limits = Limits { events: 10, bytes: 100 };
        let mut desk = Dispatcher::new(Order::Partition, limits).filling(Some(WISH));
        (0..partitions).for_each(|partition| desk.assign(partition, 0, ""));
        desk
    }

    fn arrive(
        desk: &mut Dispatcher<i64>,
        partition: i32,
        offsets: std::ops::Range<i64>,
        bytes: usize,
    ) {
        for offset in offsets {
            let arrival =
                Arrival { partition, offset, key: None, bytes, timestamp: 0, event: offset };
            assert!(desk.arrive(arrival));
        }
    }

    fn taken(desk: &mut Dispatcher<i64>, now: Moment) -> Vec<i64> {
        desk.take(now, WISH.events).into_iter().map(|taken| taken.event).collect()
    }

    #[test]
    fn a_batch_goes_once_it_is_full_or_its_first_event_has_waited() {
        let mut desk = dispatcher(2);
        arrive(&mut desk, 0, 0..3, 1);
        assert_eq!(taken(&mut desk, NOW), [0_i64; 0]);
        assert_eq!(desk.next_due(), Some(after(60)));
        arrive(&mut desk, 1, 0..6, 1);
        assert_eq!(taken(&mut desk, after(10)), [0, 1, 2, 3], "partition 1 is full");
        arrive(&mut desk, 0, 3..4, 1);
        assert_eq!(taken(&mut desk, after(20)), [0, 1, 2, 3], "partition 0 is now");
        assert_eq!(
            taken(&mut desk, after(200)),
            [0_i64; 0],
            "partition 1 has its batch on its way"
        );
    }

    #[test]
    fn a_batch_that_waited_goes_although_more_could_come() {
        let mut desk = dispatcher(1);
        arrive(&mut desk, 0, 0..1, 1);
        assert_eq!(taken(&mut desk, NOW), [0_i64; 0]);
        arrive(&mut desk, 0, 1..2, 1);
        assert_eq!(taken(&mut desk, after(59)), [0_i64; 0]);
        assert_eq!(taken(&mut desk, after(60)), [0, 1]);
    }

    #[test]
    fn bytes_fill_a_batch_and_bound_it() {
        let mut desk = dispatcher(1);
        arrive(&mut desk, 0, 0..3, 400);
        assert_eq!(taken(&mut desk, NOW), [0, 1, 2], "the third goes beyond");
        let mut desk = dispatcher(1);
        arrive(&mut desk, 0, 0..2, 1_500);
        assert_eq!(taken(&mut desk, NOW), [0]);
    }

    #[test]
    fn more_partitions_than_memory_make_smaller_batches_and_none_waits_for_ever() {
        let mut desk = dispatcher(10);
        // 2,000 bytes over ten partitions, of which a batch is half.
        arrive(&mut desk, 3, 0..2, 50);
        assert_eq!(taken(&mut desk, NOW), [0, 1]);
        assert!(desk.room() > 0);
    }

    #[test]
    fn a_batch_that_failed_goes_again_when_it_is_due_and_takes_along_what_has_come() {
        let mut desk = dispatcher(1);
        arrive(&mut desk, 0, 0..2, 1);
        desk.take(NOW, 4);
        let batch = desk.take(after(60), 4);
        for taken in batch.into_iter().rev() {
            desk.retry(&taken.ticket, taken.event, after(61), after(65));
        }
        arrive(&mut desk, 0, 2..3, 1);
        assert_eq!(taken(&mut desk, after(64)), [0_i64; 0]);
        assert_eq!(taken(&mut desk, after(65)), [0, 1, 2]);
    }

    #[test]
    fn a_batch_that_fails_does_not_keep_other_partitions_from_being_tried() {
        let mut desk = dispatcher(2);
        arrive(&mut desk, 0, 0..4, 1);
        let failed = desk.take(NOW, 4);
        arrive(&mut desk, 1, 10..14, 1);
        for taken in failed.into_iter().rev() {
            desk.retry(&taken.ticket, taken.event, after(1), after(5));
        }
        assert_eq!(taken(&mut desk, after(5)), [10, 11, 12, 13]);
        assert_eq!(taken(&mut desk, after(5)), [0, 1, 2, 3]);
    }

    #[test]
    fn batches_that_are_hastened_wait_no_longer() {
        let mut desk = dispatcher(1);
        desk.hasten(Duration::from_secs(5));
        arrive(&mut desk, 0, 0..1, 1);
        assert_eq!(taken(&mut desk, NOW), [0_i64; 0]);
        assert_eq!(taken(&mut desk, after(5)), [0]);
    }
}
