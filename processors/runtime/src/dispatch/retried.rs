//! Dead letters that are tried again, among what arrives.

use bytes::Bytes;

use super::lanes::Inserted;
use super::{Arrival, Dispatcher, Entry, FIRST, Ticket};
use crate::Order;
use crate::clock::Moment;

impl<E> Dispatcher<E> {
    /// Takes in a dead letter that is to be tried again. It is older than everything that arrives,
    /// so it goes first; no offset waits for it. Those of one key go in the order of these calls.
    /// False if its partition is not ours.
    pub fn admit(&mut self, letter: Arrival<E>) -> bool {
        let (partition, offset) = (letter.partition, letter.offset);
        let Some(known) = self.partitions.get(&partition).filter(|known| !known.revoked) else {
            return false;
        };
        let (generation, sequence) = (known.generation, self.retried);
        self.retried += 1;
        let lane = self.lane(partition, letter.key);
        let inserted = match &lane {
            Some(lane) => self.lanes.insert(lane, sequence),
            None => Inserted::First { instead_of: None },
        };
        if let Inserted::First { instead_of } = inserted {
            if let Some(other) = instead_of {
                self.ready.remove(&other);
                let moment = self.entries.get(&other).and_then(|entry| entry.not_before);
                moment.map(|moment| self.delayed.remove(&(moment, other)));
            }
            self.ready.insert(sequence);
        }
        let entry = Entry {
            ticket: Ticket { partition, offset, retried: true, generation, sequence },
            lane,
            bytes: letter.bytes,
            event: Some(letter.event),
            attempts: 0,
            failing: None,
            not_before: None,
        };
        self.entries.insert(sequence, entry);
        true
    }

    /// Whether events of a partition are ours to deliver.
    pub fn is_ours(&self, partition: i32) -> bool {
        self.partitions.get(&partition).is_some_and(|known| !known.revoked)
    }

    /// Whether an event of this key that arrived is being delivered now, or was tried: its target may have
    /// it.
    pub fn is_overtaken(&self, partition: i32, key: Option<&Bytes>) -> bool {
        let (Order::Keyed, Some(lane)) = (self.order, self.lane(partition, key.cloned())) else {
            return false;
        };
        let newest = self.lanes.in_flight(&lane);
        let is_tried = |sequence| {
            sequence >= FIRST && self.entries.get(&sequence).is_some_and(|entry| entry.attempts > 0)
        };
        newest.is_some_and(|sequence| sequence >= FIRST) || self.lanes.waiting(&lane).any(is_tried)
    }

    /// The event was not tried, and is looked at again at `at`; until then its lane stays closed.
    pub fn defer(&mut self, ticket: &Ticket, event: E, at: Moment) -> bool {
        self.give_back(ticket, event, None, Some(at))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, Taken};
    use super::*;

    const NOW: Moment = Moment::from_millis(1_000);

    fn arrival(offset: i64) -> Arrival<i64> {
        let key = Some(Bytes::from_static(b"k"));
        Arrival { partition: 0, offset, key, bytes: 10, timestamp: offset, event: offset }
    }

    fn dispatcher() -> Dispatcher<i64> {
        let mut desk = Dispatcher::new(Order::Keyed, Limits { events: 100, bytes: 1 << 20 });
        desk.assign(0, 10, "");
        desk
    }

    fn next(desk: &mut Dispatcher<i64>, now: Moment) -> Option<Taken<i64>> {
        desk.take(now, 1).pop()
    }

    #[test]
    fn dead_letters_go_before_what_has_arrived_of_their_key_and_pass_no_offset() {
        let mut desk = dispatcher();
        (10..12).for_each(|offset| assert!(desk.arrive(arrival(offset))));
        (3..5).for_each(|offset| assert!(desk.admit(arrival(offset))));
        let mut order = Vec::new();
        while let Some(taken) = next(&mut desk, NOW) {
            order.push(taken.event);
            assert!(next(&mut desk, NOW).is_none(), "one of a key at a time");
            desk.complete(&taken.ticket);
            let watermark = desk.commit_of(0).map(|commit| commit.offset);
            assert_eq!(watermark, Some(taken.event.max(9) + 1));
        }
        assert_eq!(order, [3, 4, 10, 11]);
        assert!(desk.is_drained(0));
    }

    #[test]
    fn a_dead_letter_is_overtaken_once_a_newer_event_of_its_key_was_tried() {
        let mut desk = dispatcher();
        desk.arrive(arrival(10));
        let key = Bytes::from_static(b"k");
        assert!(!desk.is_overtaken(0, Some(&key)), "it goes before what has arrived");
        let taken = next(&mut desk, NOW).unwrap();
        assert!(desk.is_overtaken(0, Some(&key)));
        desk.put_back(&taken.ticket, 10);
        assert!(!desk.is_overtaken(0, Some(&key)), "it was not tried after all");
        let taken = next(&mut desk, NOW).unwrap();
        let later = NOW.plus(std::time::Duration::from_secs(1));
        desk.retry(&taken.ticket, 10, NOW, later);
        assert!(desk.is_overtaken(0, Some(&key)), "its target may have it although it failed");
        assert!(desk.admit(arrival(3)));
        assert_eq!(next(&mut desk, later).map(|taken| taken.event), Some(3));
        assert!(next(&mut desk, later).is_none());
    }

    #[test]
    fn what_was_not_tried_counts_no_attempt_and_is_looked_at_again() {
        let mut desk = dispatcher();
        desk.arrive(arrival(10));
        let taken = next(&mut desk, NOW).unwrap();
        let later = NOW.plus(std::time::Duration::from_millis(50));
        assert!(desk.defer(&taken.ticket, 10, later));
        assert!(next(&mut desk, NOW).is_none());
        let again = next(&mut desk, later).unwrap();
        assert_eq!((again.attempt, again.failing), (1, None));
    }

    #[test]
    fn dead_letters_of_a_partition_that_goes_are_let_go() {
        let mut desk = dispatcher();
        assert!(desk.admit(arrival(3)));
        let taken = next(&mut desk, NOW).unwrap();
        assert!(desk.admit(arrival(4)));
        desk.revoke(0);
        assert!(!desk.admit(arrival(5)));
        assert!(!desk.is_drained(0));
        assert!(desk.complete(&taken.ticket));
        assert!(desk.is_drained(0));
        assert!(next(&mut desk, NOW).is_none());
    }
}
