//! In what order the objects that were fetched are published: never an older state after a newer one.
//!
//! An application may call twice about one object in a moment, and a poll may see it meanwhile. Each of
//! them reads the object as it is then, and the first to read may be the last to publish. So the events
//! of a key are published one after the other, and only what was read after the last of them: what was
//! read before may be older, and has to be read again.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// How many keys are kept before those are looked for that nobody needs any more.
const FEW: usize = 256;

/// The readings under way, and the keys that were published meanwhile. Times are counted in steps.
#[derive(Default)]
pub struct Turns(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    now: u64,
    /// When those began that are under way.
    readings: BTreeSet<u64>,
    keys: HashMap<String, Arc<tokio::sync::Mutex<Last>>>,
    /// With how many keys to look next for those that nobody needs.
    full: usize,
}

/// When a key was published last, and by which reading.
#[derive(Default)]
pub struct Last {
    at: u64,
    by: Option<u64>,
}

/// A reading of the application, from before it is asked until what it said is published.
pub struct Reading {
    turns: Arc<Turns>,
    since: u64,
}

impl Turns {
    /// A reading begins.
    pub fn read(self: &Arc<Self>) -> Reading {
        let since = self.step();
        self.inner().readings.insert(since);
        Reading { turns: Arc::clone(self), since }
    }

    /// Waits for the turn to publish an event of this key, which ends when it is dropped. Nothing if
    /// the event was read, and another of the key was published since: then it has to be read again.
    pub async fn turn(
        &self,
        key: &str,
        reading: Option<&Reading>,
    ) -> Option<OwnedMutexGuard<Last>> {
        let last = self.inner().key(key);
        let mut last = last.lock_owned().await;
        let by = reading.map(|reading| reading.since);
        if by.is_some_and(|since| last.at > since) && last.by != by {
            return None;
        }
        // Also if it fails: it may have been written all the same.
        *last = Last { at: self.step(), by };
        Some(last)
    }

    fn step(&self) -> u64 {
        let mut inner = self.inner();
        inner.now += 1;
        inner.now
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.turns.inner().readings.remove(&self.since);
    }
}

impl Inner {
    fn key(&mut self, key: &str) -> Arc<tokio::sync::Mutex<Last>> {
        if self.keys.len() >= self.full.max(FEW) {
            self.forget();
            self.full = self.keys.len() * 2;
        }
        Arc::clone(self.keys.entry(key.to_owned()).or_default())
    }

    /// Forgets the keys that were published before any reading began that is still under way.
    fn forget(&mut self) {
        let oldest = self.readings.first().copied().unwrap_or(u64::MAX);
        self.keys.retain(|_, last| {
            Arc::strong_count(last) > 1 || last.try_lock().is_ok_and(|last| last.at > oldest)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_read_before_an_event_of_its_key_was_published_is_to_be_read_again() {
        let turns = Arc::new(Turns::default());
        let (early, late) = (turns.read(), turns.read());
        let turn = turns.turn("A", Some(&late)).await.unwrap();
        let refused = async { turns.turn("A", Some(&early)).await.is_none() };
        let (refused, ()) = tokio::join!(refused, async { drop(turn) });
        assert!(refused, "it may have been read before the other one");
        assert!(turns.turn("A", Some(&late)).await.is_some(), "more of the same reading");
        assert!(turns.turn("B", Some(&early)).await.is_some(), "another key");
        assert!(turns.turn("A", Some(&turns.read())).await.is_some(), "read again");
        assert!(
            turns.turn("A", None).await.is_some(),
            "what was not read has nothing to read again"
        );
        assert!(turns.turn("A", Some(&late)).await.is_none());
    }

    #[tokio::test]
    async fn keys_are_kept_as_long_as_a_reading_may_need_them() {
        let turns = Arc::new(Turns::default());
        for number in 0..10_000 {
            assert!(turns.turn(&number.to_string(), Some(&turns.read())).await.is_some());
        }
        assert!(turns.inner().keys.len() <= FEW);
        let early = turns.read();
        for number in 0..1_000 {
            assert!(turns.turn(&number.to_string(), None).await.is_some());
        }
        assert!(turns.turn("0", Some(&early)).await.is_none());
    }
}
