//! Which part of a route is this instance's, so that instances share what an application allows
//! without asking each other: an instance with `k` of a topic's `P` partitions has `k / P` of it. A
//! partition has one owner at a time, so the parts of all instances never come to more than one.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The part of a route that is this instance's. Whole where nobody divides it: a webhook is taken by
/// whichever instance it comes to, and a command runs alone.
#[derive(Debug, Default)]
pub struct Share {
    held: Mutex<Option<Held>>,
    counts: AtomicBool,
}

/// What an instance has of a route that is divided.
#[derive(Debug, Default)]
struct Held {
    partitions: BTreeSet<i32>,
    of: i32,
}

impl Share {
    /// The part, from 0 to 1.
    pub fn part(&self) -> f64 {
        match &*self.held() {
            None => 1.0,
            Some(Held { of: ..=0, .. }) => 0.0,
            Some(Held { partitions, of }) => (partitions.len() as f64 / f64::from(*of)).min(1.0),
        }
    }

    /// From now on somebody asks for the part: its changes are followed.
    pub fn count(&self) {
        self.counts.store(true, Ordering::Release);
    }

    /// Whether somebody asks for the part.
    pub fn counts(&self) -> bool {
        self.counts.load(Ordering::Acquire)
    }

    /// The route is divided, and nothing of it is this instance's.
    pub fn clear(&self) {
        *self.held() = Some(Held::default());
    }

    /// The route runs on one instance at a time: this one.
    pub fn own(&self) {
        self.clear();
        self.gain(&[0], 1);
    }

    /// These partitions, of so many, are this instance's as well.
    pub fn gain(&self, partitions: &[i32], of: i32) {
        let mut held = self.held();
        let held = held.get_or_insert_default();
        held.partitions.extend(partitions);
        held.of = of;
    }

    /// These partitions are another's.
    pub fn lose(&self, lost: &[i32]) {
        if let Some(held) = &mut *self.held() {
            held.partitions.retain(|partition| !lost.contains(partition));
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The shares of a process, one for each route, by its full name.
#[derive(Debug, Default)]
pub struct Shares(Mutex<HashMap<String, Weak<Share>>>);

impl Shares {
    /// The share of a route, `pipeline/route`; it is the same as long as somebody has it.
    pub fn of(&self, route: &str) -> Arc<Share> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(route).and_then(Weak::upgrade) {
            return known;
        }
        all.retain(|_, share| share.strong_count() > 0);
        let share = Arc::default();
        all.insert(route.to_owned(), Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    #[test]
    fn a_share_is_whole_until_the_route_is_divided_and_then_what_is_held() {
        let share = Share::default();
        assert!(share.part() >= 1.0);
        share.clear();
        assert!(share.part() <= 0.0, "nothing is assigned yet");
        share.gain(&[0, 3, 5], 12);
        assert!((share.part() - 0.25).abs() < 1e-9);
        share.gain(&[], 6);
        assert!((share.part() - 0.5).abs() < 1e-9, "the topic has another number of partitions");
        share.lose(&[3, 7]);
        assert!((share.part() - 2.0 / 6.0).abs() < 1e-9);
        share.own();
        assert!(share.part() >= 1.0);
    }

    /// Partitions wander between instances as a cooperative group moves them: given up by one before
    /// another gets them, now and then lost with the instance.
    #[test]
    fn the_shares_of_all_instances_never_come_to_more_than_one() {
        for seed in 0..200 {
            let mut random = StdRng::seed_from_u64(seed);
            let count = random.random_range(1..40);
            let instances: Vec<Share> =
                (0..random.random_range(1..8)).map(|_| <_>::default()).collect();
            instances.iter().for_each(Share::clear);
            let mut owners: Vec<Option<usize>> = vec![None; count as usize];
            for _ in 0..300 {
                let partition = random.random_range(0..count);
                let owner = &mut owners[partition as usize];
                match owner.take() {
                    Some(last) if random.random_bool(0.1) => {
                        instances[last].clear();
                        owners
                            .iter_mut()
                            .filter(|owner| **owner == Some(last))
                            .for_each(|owner| *owner = None);
                    }
                    Some(last) => instances[last].lose(&[partition]),
                    None => {
                        let next = random.random_range(0..instances.len());
                        instances[next].gain(&[partition], count);
                        *owner = Some(next);
                    }
                }
                let sum: f64 = instances.iter().map(Share::part).sum();
                let held = owners.iter().flatten().count() as f64 / f64::from(count);
                assert!(sum <= 1.0 + 1e-9 && (sum - held).abs() < 1e-9, "seed {seed}: {sum}");
            }
        }
    }

    #[test]
    fn a_route_has_one_share_as_long_as_somebody_has_it() {
        let shares = Shares::default();
        let first = shares.of("orders/sales");
        first.clear();
        assert!(Arc::ptr_eq(&first, &shares.of("orders/sales")));
        assert!(!Arc::ptr_eq(&first, &shares.of("orders/mail")));
        drop(first);
        assert!(shares.of("orders/sales").part() >= 1.0, "it was forgotten");
    }
}
