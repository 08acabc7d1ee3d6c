//! Dead letters that are tried again, among what arrives.

use std::collections::hash_map::Entry as Place;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::desk::{Desk, Inner, arrival};
use super::history::overtaken;
use crate::dead_letters::{Entry, Origin, Standing};
use crate::dispatch::Ticket;
use crate::{Event, Fault};

/// A dead letter that is being tried again.
pub(super) struct Retried {
    /// Which one: letters of a replay come from another topic, and may have the same place there.
    origin: Origin,
    /// Why it may not go, if it may not: the order of its key.
    objection: Option<Fault>,
}

impl Desk {
    /// Takes in the dead letters that are to be tried again, in the partitions that are ours.
    pub fn admit(&self) {
        if self.leaves_letters.load(Ordering::Relaxed) {
            return;
        }
        let mut inner = self.lock();
        let mut admitted = 0;
        for entry in self.letters.asked() {
            let Some(event) = entry.event() else { continue };
            let objection = inner.objection(&entry, &event);
            let Inner { retried, dispatcher, .. } = &mut *inner;
            // Another letter of this place goes first.
            let Place::Vacant(place) = retried.entry((event.partition, event.offset)) else {
                continue;
            };
            if dispatcher.admit(arrival(event)) {
                place.insert(Retried { origin: entry.origin.clone(), objection });
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

    /// What the journal says of a dead letter that is being tried again; nothing if it no longer is to be.
    pub fn asked(&self, ticket: &Ticket) -> Option<Arc<Entry>> {
        let inner = self.lock();
        let retried = inner.retried.get(&(ticket.partition, ticket.offset))?;
        self.letters.asked_of(&retried.origin)
    }

    /// Why this dead letter may not go, if it may not.
    pub fn objection(&self, ticket: &Ticket) -> Option<Fault> {
        let inner = self.lock();
        inner.retried.get(&(ticket.partition, ticket.offset))?.objection.clone()
    }
}

impl Inner {
    /// Why a dead letter that comes now may not go, if it has to keep the order of its key.
    fn objection(&self, entry: &Entry, event: &Event) -> Option<Fault> {
        let Standing::Retrying { out_of_order: false, looked, .. } = &entry.standing else {
            return None;
        };
        let key = event.key.as_ref().filter(|_| !entry.parked)?;
        if self.dispatcher.is_overtaken(event.partition, Some(key)) {
            return Some(overtaken("was being delivered at that moment"));
        }
        self.history.objection((event.partition, event.offset), key, looked.as_ref()?)
    }
}
