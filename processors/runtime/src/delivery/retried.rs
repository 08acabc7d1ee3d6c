//! Dead letters that are tried again, among what arrives.

use std::sync::atomic::Ordering;

use super::desk::{Desk, Inner, arrival};
use super::history::overtaken;
use crate::dead_letters::{Entry, Standing};
use crate::{Event, Fault};

impl Desk {
    /// Takes in the dead letters that are to be tried again, in the partitions that are ours.
    pub fn admit(&self) {
        if self.leaves_letters.load(Ordering::Relaxed) {
            return;
        }
        let mut inner = self.lock();
        let mut admitted = 0;
        for entry in self.letters.asked() {
            let place = (entry.origin.partition, entry.origin.offset);
            // (Another letter of this place goes first: of another topic, which a replay sent.)
            if inner.retried.contains_key(&place) || !inner.dispatcher.is_ours(place.0) {
                continue;
            }
            let Some(event) = entry.event() else { continue };
            let objection = inner.objection(&entry, &event);
            if inner.dispatcher.admit(arrival(event)) {
                inner.retried.insert(place, objection);
                admitted += 1;
            }
        }
        drop(inner);
        (0..self.options.concurrency.min(admitted)).for_each(|_| self.wake.notify_one());
    }

    /// Dead letters that are to be tried again are another process's from now on.
    pub fn leave_letters(&self) {
        self.leaves_letters.store(true, Ordering::Relaxed);
    }

    /// Why this dead letter may not go, if it may not: the order of its key, unless that one is parked.
    pub fn objection(&self, entry: &Entry, event: &Event) -> Option<Fault> {
        let inner = self.lock();
        let objection = inner.retried.get(&(event.partition, event.offset)).cloned().flatten();
        // What was under way when it came may have been delivered since.
        let has_passed = !entry.parked && inner.history.has_passed(event);
        objection.or_else(|| has_passed.then(|| overtaken("was delivered before it")))
    }
}

impl Inner {
    /// Why a dead letter that comes now may not go, if it has to keep the order of its key.
    fn objection(&self, entry: &Entry, event: &Event) -> Option<Fault> {
        let Standing::Retrying { out_of_order: false, looked, .. } = &entry.standing else {
            return None;
        };
        if entry.parked || !self.history.orders(event) {
            return None;
        }
        if self.dispatcher.is_overtaken(event.partition, event.key.as_ref()) {
            return Some(overtaken("was being delivered at that moment"));
        }
        self.history.objection(event, looked.as_ref()?)
    }
}
