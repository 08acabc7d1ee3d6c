//! Counting what a replay does.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::outcomes::What;

/// What this process has done of a replay so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events read.
    pub read: u64,
    /// Those of them that were asked for.
    pub matched: u64,
    /// Those that the target took.
    pub delivered: u64,
    /// Those that it had already, as it says.
    pub already_there: u64,
    /// Those that went to the dead letters.
    pub dead_letters: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    read: AtomicU64,
    matched: AtomicU64,
    delivered: AtomicU64,
    already_there: AtomicU64,
    dead_letters: AtomicU64,
}

impl Tally {
    pub fn read(&self) {
        self.read.fetch_add(1, Ordering::Relaxed);
    }

    pub fn matched(&self) {
        self.matched.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an outcome.
    pub fn count(&self, what: &What) {
        let counter = match what {
            What::Delivered { .. } => &self.delivered,
            What::AlreadyThere { .. } => &self.already_there,
            What::DeadLetter { .. } | What::Parked { .. } => &self.dead_letters,
            What::Published | What::Produced { .. } | What::Filtered | What::Duplicate => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub fn counts(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            read: of(&self.read),
            matched: of(&self.matched),
            delivered: of(&self.delivered),
            already_there: of(&self.already_there),
            dead_letters: of(&self.dead_letters),
        }
    }
}
