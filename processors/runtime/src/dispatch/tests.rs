use std::collections::{BTreeMap, HashMap, HashSet};

use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};

use super::*;

const NOW: Moment = Moment::from_millis(1_000);

fn later(millis: u64) -> Moment {
    NOW.plus(Duration::from_millis(millis))
}

fn dispatcher(order: Order, events: usize) -> Dispatcher<i64> {
    let mut dispatcher = Dispatcher::new(order, Limits { events, bytes: 1 << 20 });
    dispatcher.assign(0, 0, "");
    dispatcher
}

fn arrival(partition: i32, offset: i64, key: Option<&str>) -> Arrival<i64> {
    let key = key.map(|key| Bytes::copy_from_slice(key.as_bytes()));
    Arrival { partition, offset, key, bytes: 10, timestamp: offset, event: offset }
}

fn offsets(batch: &[Taken<i64>]) -> Vec<i64> {
    batch.iter().map(|taken| taken.ticket.offset).collect()
}

#[test]
fn the_oldest_event_whose_key_is_free_goes_first() {
    let mut desk = dispatcher(Order::Keyed, 100);
    for (offset, key) in ["a", "a", "b", "a", "c"].iter().enumerate() {
        assert!(desk.arrive(arrival(0, offset as i64, Some(key))));
    }
    let first = desk.take(NOW, 10);
    assert_eq!(offsets(&first), [0, 2, 4], "one of each key");
    assert!(desk.take(NOW, 10).is_empty());
    assert!(desk.complete(&first[0].ticket));
    assert_eq!(offsets(&desk.take(NOW, 10)), [1]);
}

#[test]
fn events_without_a_key_wait_for_nobody() {
    let mut desk = dispatcher(Order::Keyed, 100);
    (0..5).for_each(|offset| assert!(desk.arrive(arrival(0, offset, None))));
    assert_eq!(desk.take(NOW, 10).len(), 5);
}

#[test]
fn a_partition_in_order_gives_one_batch_at_a_time() {
    let mut desk = dispatcher(Order::Partition, 100);
    (0..5).for_each(|offset| assert!(desk.arrive(arrival(0, offset, None))));
    let batch = desk.take(NOW, 3);
    assert_eq!(offsets(&batch), [0, 1, 2]);
    assert!(desk.take(NOW, 3).is_empty());
    desk.complete(&batch[0].ticket);
    desk.retry(&batch[1].ticket, 1, NOW, later(10));
    desk.complete(&batch[2].ticket);
    assert!(desk.take(NOW, 3).is_empty(), "the failed one comes before those behind it");
    assert_eq!(offsets(&desk.take(later(10), 3)), [1, 3, 4]);
}

#[test]
fn what_is_skipped_holds_up_no_offset_and_lets_none_pass_before_its_time() {
    let mut desk = dispatcher(Order::Keyed, 100);
    desk.arrive(arrival(0, 3, Some("a")));
    desk.skip(0, 10);
    assert_eq!(desk.commits().remove(0).offset, 3, "one event is outstanding");
    let batch = desk.take(NOW, 1);
    desk.complete(&batch[0].ticket);
    assert_eq!(desk.commits().remove(0).offset, 10);
    desk.skip(0, 7);
    assert!(desk.commits().is_empty(), "an offset never goes back");
    assert!(!desk.arrive(arrival(0, 9, Some("a"))), "it was said that nothing comes");
}

#[test]
fn an_event_that_waits_for_another_try_keeps_its_key_and_frees_its_slot() {
    let mut desk = dispatcher(Order::Keyed, 100);
    desk.arrive(arrival(0, 0, Some("a")));
    desk.arrive(arrival(0, 1, Some("a")));
    desk.arrive(arrival(0, 2, Some("b")));
    let first = desk.take(NOW, 1);
    desk.retry(&first[0].ticket, 0, NOW, later(50));
    assert_eq!(offsets(&desk.take(NOW, 5)), [2]);
    assert_eq!(desk.next_due(), Some(later(50)));
    let again = desk.take(later(50), 5);
    assert_eq!(offsets(&again), [0]);
    let failing = Failing { since: NOW, last: NOW };
    assert_eq!((again[0].attempt, again[0].failing), (2, Some(failing)));
}

#[test]
fn the_offset_never_passes_what_is_outstanding_and_the_rest_is_remembered() {
    let mut desk = dispatcher(Order::Keyed, 100);
    for offset in 0..6 {
        desk.arrive(arrival(0, offset, Some(&offset.to_string())));
    }
    let batch = desk.take(NOW, 6);
    for place in [1, 2, 5] {
        desk.complete(&batch[place].ticket);
    }
    let commit = desk.commits().remove(0);
    assert_eq!(commit.offset, 0);
    assert!(desk.commits().is_empty(), "nothing has changed since");

    let mut restarted = dispatcher(Order::Keyed, 100);
    restarted.assign(0, commit.offset, &commit.metadata);
    let fresh: Vec<bool> =
        (0..7).map(|offset| restarted.arrive(arrival(0, offset, None))).collect();
    assert_eq!(fresh, [true, false, false, true, true, false, true]);
}

#[test]
fn what_was_complete_stays_known_when_a_second_crash_comes_early() {
    let mut desk = dispatcher(Order::Keyed, 100);
    (0..4).for_each(|offset| {
        desk.arrive(arrival(0, offset, None));
    });
    let batch = desk.take(NOW, 4);
    desk.complete(&batch[1].ticket);
    desk.complete(&batch[3].ticket);
    let first = desk.commits().remove(0);

    desk.assign(0, first.offset, &first.metadata);
    desk.arrive(arrival(0, 0, None));
    let batch = desk.take(NOW, 1);
    desk.complete(&batch[0].ticket);
    let second = desk.commits().remove(0);
    assert_eq!(second.offset, 1);

    desk.assign(0, second.offset, &second.metadata);
    let fresh: Vec<bool> = (1..5).map(|offset| desk.arrive(arrival(0, offset, None))).collect();
    assert_eq!(fresh, [false, true, false, true]);
}

#[test]
fn a_late_result_of_an_old_assignment_is_ignored() {
    let mut desk = dispatcher(Order::Keyed, 100);
    desk.arrive(arrival(0, 0, Some("a")));
    let old = desk.take(NOW, 1);
    desk.forget(0);
    desk.assign(0, 0, "");
    desk.arrive(arrival(0, 0, Some("a")));
    assert!(!desk.complete(&old[0].ticket));
    assert_eq!(desk.commit_of(0).unwrap().offset, 0);
    assert_eq!(offsets(&desk.take(NOW, 1)), [0]);
}

#[test]
fn a_revoked_partition_starts_nothing_and_commits_what_was_answered() {
    let mut desk = dispatcher(Order::Keyed, 100);
    (0..3).for_each(|offset| {
        desk.arrive(arrival(0, offset, None));
    });
    let flying = desk.take(NOW, 2);
    desk.revoke(0);
    assert!(desk.take(NOW, 5).is_empty());
    assert!(!desk.arrive(arrival(0, 3, None)));
    assert!(!desk.is_drained(0));
    desk.complete(&flying[0].ticket);
    desk.retry(&flying[1].ticket, 1, NOW, later(1));
    assert!(desk.is_drained(0));
    assert_eq!(desk.commit_of(0).unwrap().offset, 1);
}

#[test]
fn a_full_partition_is_paused_after_a_while_and_resumed_at_half() {
    let mut desk = dispatcher(Order::Keyed, 4);
    (0..4).for_each(|offset| {
        desk.arrive(arrival(0, offset, None));
    });
    assert_eq!(desk.room(), 0);
    assert_eq!(desk.flow(NOW), Flow::default());
    assert_eq!(desk.flow(later(199)), Flow::default());
    assert_eq!(desk.flow(later(200)).pause, [0]);
    assert!(desk.room() > 0, "other partitions may be read");
    let batch = desk.take(NOW, 3);
    desk.complete(&batch[0].ticket);
    desk.complete(&batch[1].ticket);
    assert_eq!(desk.flow(later(300)), Flow::default());
    desk.complete(&batch[2].ticket);
    assert_eq!(desk.flow(later(300)).resume, [0]);
}

/// A partition's log, and what a run of the route has done with it.
struct Model {
    log: Vec<Vec<Option<u8>>>,
    committed: BTreeMap<i32, (i64, String)>,
    acknowledged: HashSet<(i32, i64)>,
    /// How often an event was acknowledged.
    deliveries: HashMap<(i32, i64), u32>,
    position: BTreeMap<i32, i64>,
    flying: Vec<Taken<i64>>,
    now: Moment,
}

impl Model {
    fn key(&self, partition: i32, offset: i64) -> Option<u8> {
        self.log[partition as usize][offset as usize]
    }

    fn assign(&mut self, desk: &mut Dispatcher<i64>, partition: i32) {
        let (offset, metadata) = self.committed.get(&partition).cloned().unwrap_or_default();
        desk.assign(partition, offset, &metadata);
        self.position.insert(partition, offset);
    }

    fn arrive(&mut self, desk: &mut Dispatcher<i64>, partition: i32) {
        let Some(offset) = self.position.get(&partition).copied() else { return };
        let Some(key) = self.log[partition as usize].get(offset as usize) else { return };
        let key = key.map(|key| Bytes::from(vec![key]));
        let event = Arrival { partition, offset, key, bytes: 1, timestamp: 0, event: offset };
        if !desk.arrive(event) {
            assert!(self.acknowledged.contains(&(partition, offset)), "skipped unacknowledged");
        }
        self.position.insert(partition, offset + 1);
    }

    fn take(&mut self, desk: &mut Dispatcher<i64>, most: usize, order: Order) {
        let batch = desk.take(self.now, most);
        for taken in batch {
            let Ticket { partition, offset, .. } = taken.ticket;
            if let (Order::Keyed, Some(key)) = (order, self.key(partition, offset)) {
                let twice = self.flying.iter().any(|other| {
                    other.ticket.partition == partition
                        && self.key(partition, other.ticket.offset) == Some(key)
                        && desk.holds(&other.ticket)
                });
                assert!(!twice, "two of one key in flight");
                self.assert_order(partition, offset, |other| other == Some(key));
            }
            self.flying.push(taken);
        }
    }

    /// Nothing earlier of the same order is unacknowledged.
    fn assert_order(&self, partition: i32, offset: i64, same: impl Fn(Option<u8>) -> bool) {
        for earlier in 0..offset {
            if same(self.key(partition, earlier)) {
                assert!(self.acknowledged.contains(&(partition, earlier)), "out of order");
            }
        }
    }

    fn answer(&mut self, desk: &mut Dispatcher<i64>, random: &mut StdRng, order: Order) {
        let Some(place) = (0..self.flying.len()).choose(random) else { return };
        let taken = self.flying.swap_remove(place);
        let at = (taken.ticket.partition, taken.ticket.offset);
        match random.random_range(0..10) {
            0..3 => {
                let wait = Duration::from_millis(random.random_range(0..40));
                desk.retry(&taken.ticket, taken.event, self.now, self.now.plus(wait));
            }
            3 => {
                desk.put_back(&taken.ticket, taken.event);
            }
            _ => {
                let ours = desk.complete(&taken.ticket);
                if ours {
                    *self.deliveries.entry(at).or_default() += 1;
                    self.acknowledged.insert(at);
                }
                let _ = order;
            }
        }
    }

    fn commit(&mut self, commits: Vec<Commit>) {
        for commit in commits {
            for offset in 0..commit.offset {
                let passed = self.acknowledged.contains(&(commit.partition, offset));
                assert!(passed, "offset {offset} passed unacknowledged");
            }
            self.committed.insert(commit.partition, (commit.offset, commit.metadata));
        }
    }

    fn is_done(&self) -> bool {
        let total: usize = self.log.iter().map(Vec::len).sum();
        self.acknowledged.len() == total
    }
}

fn interleave(seed: u64, order: Order) {
    let mut random = StdRng::seed_from_u64(seed);
    let partitions = random.random_range(1..4_usize);
    let log = (0..partitions)
        .map(|_| {
            let mut key = || random.random_bool(0.8).then(|| random.random_range(0..5));
            (0..80).map(|_| key()).collect()
        })
        .collect();
    let mut model = Model {
        log,
        committed: BTreeMap::new(),
        acknowledged: HashSet::new(),
        deliveries: HashMap::new(),
        position: BTreeMap::new(),
        flying: Vec::new(),
        now: NOW,
    };
    let limits = Limits { events: 30, bytes: 1 << 20 };
    let mut desk = Dispatcher::new(order, limits);
    (0..partitions as i32).for_each(|partition| model.assign(&mut desk, partition));
    for _ in 0..200_000 {
        let partition = random.random_range(0..partitions) as i32;
        model.now = model.now.plus(Duration::from_millis(random.random_range(0..4)));
        match random.random_range(0..1_000) {
            // A crash: only what was committed survives, answers of before come late or never.
            0 => {
                desk = Dispatcher::new(order, limits);
                model.flying.clear();
                (0..partitions as i32).for_each(|partition| model.assign(&mut desk, partition));
            }
            1..6 => {
                desk.revoke(partition);
                assert!(desk.take(model.now, 0).is_empty());
                model.commit(desk.commit_of(partition).into_iter().collect());
                desk.forget(partition);
                model.assign(&mut desk, partition);
            }
            6 => desk.recover(model.now, Duration::from_secs(1)),
            7..400 => {
                if desk.room() > 0 {
                    model.arrive(&mut desk, partition);
                }
            }
            400..600 => model.take(&mut desk, random.random_range(1..4), order),
            600..900 => model.answer(&mut desk, &mut random, order),
            _ => model.commit(desk.commits()),
        }
        let Flow { .. } = desk.flow(model.now);
        if model.is_done() {
            break;
        }
    }
    assert!(model.is_done(), "seed {seed}: not everything was delivered");
    while let Some(taken) = model.flying.pop() {
        desk.complete(&taken.ticket);
    }
    model.commit(desk.commits());
    assert!(desk.lanes.is_empty() || desk.entries.len() == desk.ready.len() + desk.delayed.len());
}

#[test]
fn no_interleaving_passes_an_unacknowledged_offset_or_reorders_a_key() {
    (0..40).for_each(|seed| interleave(seed, Order::Keyed));
}

#[test]
fn no_interleaving_passes_an_unacknowledged_offset_in_partition_order() {
    (100..120).for_each(|seed| interleave(seed, Order::Partition));
}
