//! Which event goes next, and how far the offsets may pass. Pure: no I/O, and times are given.
//!
//! A free slot takes the oldest event whose lane is free. In a keyed route a lane is a key (events
//! without one have no lane); in a route that keeps the partition's order it is the partition. An
//! event that waits for another try keeps its lane and frees its slot. State exists only for what is
//! outstanding; each operation costs O(log n) of it.

mod completed;
mod filling;
mod lanes;
mod partition;
mod probing;
mod retried;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;

use crate::Order;
use crate::clock::Moment;

use filling::Filling;
use lanes::{Lane, Lanes};
use partition::Partition;

pub use completed::{Completed, METADATA_LIMIT};

/// How long a partition must be full before it is paused: librdkafka throws away what it has
/// fetched of a paused partition, so short peaks are waited out instead.
const FULL_BEFORE_PAUSE: Duration = Duration::from_millis(200);

/// How much may be outstanding over all partitions; each has an equal share.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Events.
    pub events: usize,
    /// Bytes.
    pub bytes: usize,
}

/// Names one delivery of one event, so that a late result of an old assignment is harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The partition.
    pub partition: i32,
    /// The offset there.
    pub offset: i64,
    /// True for a dead letter that is tried again: its offset has passed long since.
    pub retried: bool,
    generation: u64,
    sequence: u64,
}

/// What arrives is numbered from here on; dead letters that are tried again come from below: they
/// are older than anything that arrives.
const FIRST: u64 = 1 << 48;

/// An event that arrives.
#[derive(Debug)]
pub struct Arrival<E> {
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its key; events without one are in no order (unless the partition's order is kept).
    pub key: Option<Bytes>,
    /// What it weighs.
    pub bytes: usize,
    /// Kafka's timestamp, milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The event itself.
    pub event: E,
}

/// An event taken for delivery.
#[derive(Debug)]
pub struct Taken<E> {
    /// Answers for it.
    pub ticket: Ticket,
    /// The event.
    pub event: E,
    /// 1 the first time.
    pub attempt: u32,
    /// When it failed, if it has.
    pub failing: Option<Failing>,
}

/// When an event failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failing {
    /// The first time; later by the time for which the other side was away.
    pub since: Moment,
    /// The last time.
    pub last: Moment,
}

/// What to commit for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The partition.
    pub partition: i32,
    /// The next offset to read: nothing below it is outstanding.
    pub offset: i64,
    /// What is complete above it, for the commit's metadata.
    pub metadata: String,
}

/// Partitions to pause and to resume.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Full for a while.
    pub pause: Vec<i32>,
    /// Half empty again.
    pub resume: Vec<i32>,
}

/// Decides which event goes next and how far the offsets may pass.
#[derive(Debug)]
pub struct Dispatcher<E> {
    order: Order,
    limits: Limits,
    sequence: u64,
    /// The number of the next dead letter that is tried again.
    retried: u64,
    generation: u64,
    partitions: BTreeMap<i32, Partition>,
    entries: HashMap<u64, Entry<E>>,
    lanes: Lanes,
    ready: BTreeSet<u64>,
    delayed: BTreeSet<(Moment, u64)>,
    /// Absent where whatever is there goes at once.
    filling: Option<Filling>,
}

#[derive(Debug)]
struct Entry<E> {
    ticket: Ticket,
    lane: Option<Lane>,
    bytes: usize,
    /// Absent while it is being delivered.
    event: Option<E>,
    attempts: u32,
    failing: Option<Failing>,
    not_before: Option<Moment>,
}

impl<E> Dispatcher<E> {
    /// A dispatcher without partitions.
    pub fn new(order: Order, limits: Limits) -> Self {
        Self {
            order,
            limits,
            sequence: FIRST,
            retried: 0,
            generation: 0,
            partitions: BTreeMap::new(),
            entries: HashMap::new(),
            lanes: Lanes::default(),
            ready: BTreeSet::new(),
            delayed: BTreeSet::new(),
            filling: None,
        }
    }

    /// Takes charge of a partition from its committed offset on; `metadata` is the commit's.
    pub fn assign(&mut self, partition: i32, offset: i64, metadata: &str) {
        self.forget(partition);
        self.generation += 1;
        let completed = Completed::decode(offset, metadata);
        self.partitions.insert(partition, Partition::new(self.generation, offset, completed));
    }

    /// Starts nothing more of a partition; what is being delivered may still be answered for.
    pub fn revoke(&mut self, partition: i32) {
        let Some(known) = self.partitions.get_mut(&partition) else { return };
        known.revoked = true;
        let generation = known.generation;
        if let Some(filling) = &mut self.filling {
            filling.begin_anew(partition);
        }
        let waiting = self
            .entries
            .extract_if(|_, entry| entry.event.is_some() && entry.ticket.generation == generation);
        for (sequence, entry) in waiting {
            self.ready.remove(&sequence);
            if let Some(moment) = entry.not_before {
                self.delayed.remove(&(moment, sequence));
            }
            if let Some(lane) = &entry.lane {
                self.lanes.remove(lane, sequence);
            }
        }
    }

    /// Whether nothing of a partition is being delivered.
    pub fn is_drained(&self, partition: i32) -> bool {
        self.partitions.get(&partition).is_none_or(|known| known.in_flight == 0)
    }

    /// Lets go of a partition: answers that still come are ignored.
    pub fn forget(&mut self, partition: i32) {
        self.revoke(partition);
        let Some(known) = self.partitions.remove(&partition) else { return };
        let late = self.entries.extract_if(|_, entry| entry.ticket.generation == known.generation);
        for lane in late.filter_map(|(_, entry)| entry.lane) {
            self.lanes.clear(&lane);
        }
    }

    /// Takes an event in. Returns false if it is not ours to deliver: its partition is not assigned,
    /// or it was delivered before (a crash came between its commit and the watermark's).
    pub fn arrive(&mut self, arrival: Arrival<E>) -> bool {
        let Some(known) = self.partitions.get_mut(&arrival.partition) else { return false };
        if known.revoked || !known.arrive(arrival.offset, arrival.timestamp, arrival.bytes) {
            return false;
        }
        let sequence = self.sequence;
        self.sequence += 1;
        let (partition, offset, generation) = (arrival.partition, arrival.offset, known.generation);
        let lane = self.lane(partition, arrival.key);
        let first = lane.as_ref().is_none_or(|lane| self.lanes.push(lane, sequence));
        if first {
            self.ready.insert(sequence);
        }
        let entry = Entry {
            ticket: Ticket { partition, offset, retried: false, generation, sequence },
            lane,
            bytes: arrival.bytes,
            event: Some(arrival.event),
            attempts: 0,
            failing: None,
            not_before: None,
        };
        self.entries.insert(sequence, entry);
        true
    }

    /// Nothing comes any more of a partition below this offset: what did not arrive is none of ours.
    pub fn skip(&mut self, partition: i32, next: i64) {
        if let Some(known) = self.partitions.get_mut(&partition).filter(|known| !known.revoked) {
            known.skip(next);
        }
    }

    /// Takes the oldest events that may go now, at most `most`. A keyed batch never holds two events
    /// of one key; a batch in the partition's order is one partition's next events.
    pub fn take(&mut self, now: Moment, most: usize) -> Vec<Taken<E>> {
        self.promote(now);
        if self.filling.is_some() {
            return self.take_filled(now, most);
        }
        let mut batch = Vec::new();
        while batch.len() < most {
            let Some(sequence) = self.ready.pop_first() else { break };
            match (self.order, self.lane_of(sequence)) {
                (Order::Partition, Some(lane)) => {
                    for sequence in self.lanes.start(&lane, most) {
                        batch.extend(self.start(sequence));
                    }
                    break;
                }
                (_, lane) => batch.extend(self.start_one(sequence, lane)),
            }
        }
        batch
    }

    /// Starts an event that was ready, the first of its lane.
    fn start_one(&mut self, sequence: u64, lane: Option<Lane>) -> Option<Taken<E>> {
        if let Some(lane) = lane {
            self.lanes.start(&lane, 1);
        }
        self.start(sequence)
    }

    fn lane(&self, partition: i32, key: Option<Bytes>) -> Option<Lane> {
        match self.order {
            Order::Partition => Some(Lane { partition, key: None }),
            Order::Keyed => key.map(|key| Lane { partition, key: Some(key) }),
        }
    }

    fn lane_of(&self, sequence: u64) -> Option<Lane> {
        self.entries.get(&sequence)?.lane.clone()
    }

    fn start(&mut self, sequence: u64) -> Option<Taken<E>> {
        let entry = self.entries.get_mut(&sequence)?;
        let event = entry.event.take()?;
        entry.attempts += 1;
        entry.not_before = None;
        if let Some(known) = self.partitions.get_mut(&entry.ticket.partition) {
            known.in_flight += 1;
        }
        let (ticket, failing) = (entry.ticket, entry.failing);
        Some(Taken { ticket, event, attempt: entry.attempts, failing })
    }

    /// Makes ready what has waited long enough.
    fn promote(&mut self, now: Moment) {
        while let Some((moment, sequence)) = self.delayed.first().copied() {
            if moment > now {
                break;
            }
            self.delayed.pop_first();
            self.ready.insert(sequence);
        }
    }

    /// When the next event may go that waits for another try, or for its batch to fill.
    pub fn next_due(&self) -> Option<Moment> {
        let retried = self.delayed.first().map(|(moment, _)| *moment);
        let filled = self.filling.as_ref().and_then(Filling::next_due);
        retried.into_iter().chain(filled).min()
    }

    /// Whether the ticket is still ours to answer for.
    pub fn holds(&self, ticket: &Ticket) -> bool {
        self.entries.get(&ticket.sequence).is_some_and(|entry| entry.ticket == *ticket)
    }

    /// The event has been acknowledged, by its target or by the dead letters. Returns false if it is
    /// no longer ours.
    pub fn complete(&mut self, ticket: &Ticket) -> bool {
        if !self.holds(ticket) {
            return false;
        }
        let Some(entry) = self.entries.remove(&ticket.sequence) else { return false };
        if let Some(known) = self.partitions.get_mut(&ticket.partition) {
            match ticket.retried {
                true => known.in_flight = known.in_flight.saturating_sub(1),
                false => known.complete(ticket.offset, entry.bytes),
            }
        }
        if let Some(lane) = entry.lane {
            self.finish(&lane);
        }
        true
    }

    /// The event failed and is tried again at `at`; until then its lane stays closed.
    pub fn retry(&mut self, ticket: &Ticket, event: E, now: Moment, at: Moment) -> bool {
        self.give_back(ticket, event, Some(now), Some(at))
    }

    /// The event was not tried after all.
    pub fn put_back(&mut self, ticket: &Ticket, event: E) -> bool {
        self.give_back(ticket, event, None, None)
    }

    fn give_back(
        &mut self,
        ticket: &Ticket,
        event: E,
        failed: Option<Moment>,
        at: Option<Moment>,
    ) -> bool {
        if !self.holds(ticket) {
            return false;
        }
        let Some(known) = self.partitions.get_mut(&ticket.partition) else { return false };
        known.in_flight = known.in_flight.saturating_sub(1);
        if known.revoked {
            let lane = self.entries.remove(&ticket.sequence).and_then(|entry| entry.lane);
            if let Some(lane) = lane {
                self.finish(&lane);
            }
            return true;
        }
        let Some(entry) = self.entries.get_mut(&ticket.sequence) else { return false };
        entry.event = Some(event);
        entry.not_before = at;
        match failed {
            Some(last) => {
                let since = entry.failing.map_or(last, |failing| failing.since);
                entry.failing = Some(Failing { since, last });
            }
            None => entry.attempts -= 1,
        }
        match entry.lane.clone() {
            Some(lane) => {
                self.lanes.give_back(&lane, ticket.sequence);
                self.finish(&lane);
            }
            None => self.enqueue(ticket.sequence),
        }
        true
    }

    /// One event of a lane is no longer being delivered: its next one may go.
    fn finish(&mut self, lane: &Lane) {
        if let Some(next) = self.lanes.finish(lane) {
            self.enqueue(next);
        }
    }

    fn enqueue(&mut self, sequence: u64) {
        match self.entries.get(&sequence).and_then(|entry| entry.not_before) {
            Some(moment) => self.delayed.insert((moment, sequence)),
            None => self.ready.insert(sequence),
        };
    }

    /// What may be committed for a partition, also when nothing has changed.
    pub fn commit_of(&mut self, partition: i32) -> Option<Commit> {
        self.partitions.get_mut(&partition).map(|known| known.commit(partition))
    }

    /// What may be committed where something has changed since it was last asked.
    pub fn commits(&mut self) -> Vec<Commit> {
        let changed = self.partitions.iter_mut().filter(|(_, known)| known.is_changed());
        changed.map(|(partition, known)| known.commit(*partition)).collect()
    }

    /// Whether something could be committed.
    pub fn has_commits(&self) -> bool {
        self.partitions.values().any(Partition::is_changed)
    }

    /// What is committed of a partition has to be committed again.
    pub fn mark_changed(&mut self, partition: i32) {
        if let Some(known) = self.partitions.get_mut(&partition) {
            known.mark_changed();
        }
    }

    /// How many events may be read now: what the fullest partition has room for that is being read.
    pub fn room(&self) -> usize {
        let share = self.share();
        let reading = self.partitions.values().filter(|known| known.is_reading());
        reading.map(|known| known.room(share)).min().unwrap_or(share.events)
    }

    /// Which partitions to pause and which to resume.
    pub fn flow(&mut self, now: Moment) -> Flow {
        let share = self.share();
        let mut flow = Flow::default();
        for (partition, known) in &mut self.partitions {
            match known.flow(share, now, FULL_BEFORE_PAUSE) {
                Some(true) => flow.pause.push(*partition),
                Some(false) => flow.resume.push(*partition),
                None => {}
            }
        }
        flow
    }

    fn share(&self) -> Limits {
        let count = self.partitions.len().max(1);
        if let Some(filling) = &self.filling {
            return filling.share(self.limits, count);
        }
        Limits {
            events: (self.limits.events / count).max(1),
            bytes: (self.limits.bytes / count).max(1),
        }
    }

    /// The partitions that are ours, revoked ones left out.
    pub fn assigned(&self) -> impl Iterator<Item = i32> {
        self.partitions.iter().filter(|(_, known)| !known.revoked).map(|(partition, _)| *partition)
    }

    /// The oldest outstanding event's timestamp, and each partition's next offset to commit.
    pub fn progress(&self) -> (Option<i64>, Vec<(i32, i64)>) {
        let oldest = self.partitions.values().filter_map(Partition::oldest).min();
        let watermarks = self.partitions.iter().map(|(id, known)| (*id, known.watermark()));
        (oldest, watermarks.collect())
    }

    /// How many events are being delivered.
    pub fn in_flight(&self) -> usize {
        self.partitions.values().map(|known| known.in_flight).sum()
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
