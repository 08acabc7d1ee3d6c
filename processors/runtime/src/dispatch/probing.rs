//! Finding out whether the other side is back.

use std::time::Duration;

use super::Dispatcher;
use super::{Entry, Taken};
use crate::clock::Moment;

impl<E> Dispatcher<E> {
    /// Takes the event that shall find out whether the other side is back: one that has not failed
    /// yet, else the one whose last failure is the longest ago. The fault of one event must not keep
    /// the others from being tried.
    pub fn take_probe(&mut self, now: Moment) -> Option<Taken<E>> {
        self.promote(now);
        let last = |entry: Option<&Entry<E>>| {
            entry.and_then(|entry| entry.failing).map(|failing| failing.last)
        };
        let chosen = self.ready.iter().min_by_key(|sequence| last(self.entries.get(sequence)));
        let sequence = *chosen?;
        self.ready.remove(&sequence);
        let lane = self.lane_of(sequence);
        self.start_one(sequence, lane)
    }

    /// Lets everything that waits for another try go now: the other side was away this long and is
    /// back. That time is no fault of the events that failed.
    pub fn recover(&mut self, now: Moment, away: Duration) {
        for (_, sequence) in std::mem::take(&mut self.delayed) {
            self.ready.insert(sequence);
        }
        for entry in self.entries.values_mut() {
            entry.not_before = None;
            if let Some(failing) = &mut entry.failing {
                failing.since = failing.since.plus(away).min(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{Arrival, Limits};
    use super::*;
    use crate::Order;

    const NOW: Moment = Moment::from_millis(1_000_000);

    fn after(seconds: u64) -> Moment {
        NOW.plus(Duration::from_secs(seconds))
    }

    fn dispatcher(events: i64) -> Dispatcher<i64> {
        let mut desk = Dispatcher::new(Order::Keyed, Limits { events: 100, bytes: 1 << 20 });
        desk.assign(0, 0, "");
        for offset in 0..events {
            let key = Some(Bytes::from(offset.to_string()));
            let arrival =
                Arrival { partition: 0, offset, key, bytes: 1, timestamp: 0, event: offset };
            assert!(desk.arrive(arrival));
        }
        desk
    }

    #[test]
    fn each_probe_is_another_event_so_that_one_alone_keeps_nobody_waiting() {
        let mut desk = dispatcher(3);
        let mut probes = Vec::new();
        for second in 0..5 {
            let taken = desk.take_probe(after(second)).unwrap();
            probes.push(taken.event);
            desk.retry(&taken.ticket, taken.event, after(second), after(second));
        }
        assert_eq!(probes, [0, 1, 2, 0, 1]);
    }

    #[test]
    fn the_time_for_which_the_other_side_was_away_does_not_count_as_failing() {
        let mut desk = dispatcher(2);
        let first = desk.take(NOW, 1).remove(0);
        desk.retry(&first.ticket, 0, NOW, after(600));
        let second = desk.take(after(9), 1).remove(0);
        desk.retry(&second.ticket, 1, after(9), after(600));
        desk.recover(after(30), Duration::from_secs(25));
        let taken = desk.take(after(30), 2);
        let since: Vec<_> = taken.iter().filter_map(|taken| taken.failing).collect();
        assert_eq!(since[0].since, after(25), "five seconds of failing are left");
        assert_eq!(since[1].since, after(30), "it never lies in the future");
        assert_eq!((since[0].last, since[1].last), (NOW, after(9)));
    }
}
