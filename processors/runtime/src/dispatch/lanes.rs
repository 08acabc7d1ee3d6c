//! Lanes: events that must go one after another.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

/// What keeps events in order: a key within a partition, or a whole partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lane {
    pub partition: i32,
    pub key: Option<Bytes>,
}

/// Every lane that has an event outstanding.
#[derive(Debug, Default)]
pub struct Lanes(HashMap<Lane, Queue>);

#[derive(Debug, Default)]
struct Queue {
    /// Those not being delivered, the oldest first.
    waiting: VecDeque<u64>,
    in_flight: usize,
    /// The newest of those in flight, while there are any.
    newest_in_flight: u64,
}

/// Where an event stands that was inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It may go at once; the one that could have gone may no longer.
    First { instead_of: Option<u64> },
    /// Others go before it.
    Behind,
}

impl Lanes {
    /// Adds the newest event of a lane. True if the lane was empty, so that it may go at once.
    pub fn push(&mut self, lane: &Lane, sequence: u64) -> bool {
        if let Some(queue) = self.0.get_mut(lane) {
            queue.waiting.push_back(sequence);
            return queue.in_flight == 0 && queue.waiting.len() == 1;
        }
        let queue = Queue { waiting: VecDeque::from([sequence]), ..Queue::default() };
        self.0.insert(lane.clone(), queue);
        true
    }

    /// Adds an event that is older than those which arrived. If it may go at once, the one that
    /// could have gone before may no longer.
    pub fn insert(&mut self, lane: &Lane, sequence: u64) -> Inserted {
        let queue = self.0.entry(lane.clone()).or_default();
        let place = queue.waiting.partition_point(|other| *other < sequence);
        let first = queue.waiting.front().copied();
        queue.waiting.insert(place, sequence);
        match (queue.in_flight, place) {
            (0, 0) => Inserted::First { instead_of: first },
            _ => Inserted::Behind,
        }
    }

    /// The newest event of a lane that is being delivered.
    pub fn in_flight(&self, lane: &Lane) -> Option<u64> {
        let queue = self.0.get(lane).filter(|queue| queue.in_flight > 0)?;
        Some(queue.newest_in_flight)
    }

    /// Starts the lane's oldest events, at most `most`: the lane is closed until they are answered.
    pub fn start(&mut self, lane: &Lane, most: usize) -> Vec<u64> {
        let Some(queue) = self.0.get_mut(lane) else { return Vec::new() };
        let count = most.min(queue.waiting.len());
        queue.in_flight += count;
        let started: Vec<u64> = queue.waiting.drain(..count).collect();
        queue.newest_in_flight = started.last().copied().unwrap_or_default();
        started
    }

    /// The lane's events that are not being delivered, the oldest first.
    pub fn waiting(&self, lane: &Lane) -> impl Iterator<Item = u64> {
        self.0.get(lane).into_iter().flat_map(|queue| queue.waiting.iter().copied())
    }

    /// Puts a started event back at its place. [`finish`](Self::finish) it as well.
    pub fn give_back(&mut self, lane: &Lane, sequence: u64) {
        let queue = self.0.entry(lane.clone()).or_default();
        let place = queue.waiting.partition_point(|other| *other < sequence);
        queue.waiting.insert(place, sequence);
    }

    /// One started event is answered. Returns the lane's next event once none is left in flight.
    pub fn finish(&mut self, lane: &Lane) -> Option<u64> {
        let queue = self.0.get_mut(lane)?;
        queue.in_flight = queue.in_flight.saturating_sub(1);
        if queue.in_flight > 0 {
            return None;
        }
        let next = queue.waiting.front().copied();
        if next.is_none() {
            self.0.remove(lane);
        }
        next
    }

    /// Takes out an event that was not started.
    pub fn remove(&mut self, lane: &Lane, sequence: u64) {
        let Some(queue) = self.0.get_mut(lane) else { return };
        if let Ok(place) = queue.waiting.binary_search(&sequence) {
            queue.waiting.remove(place);
        }
        if queue.waiting.is_empty() && queue.in_flight == 0 {
            self.0.remove(lane);
        }
    }

    /// Forgets a lane.
    pub fn clear(&mut self, lane: &Lane) {
        self.0.remove(lane);
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
