//! How much an application allows: requests a second, and at once.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// What an application allows, for all routes of a process that use one connection together. Several
/// instances of a pipeline each have their own: divide what the application allows by their number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// How many requests a second at most. They are spread evenly.
    #[serde(default)]
    pub per_second: Option<NonZeroU16>,
    /// How many requests at once at most; fewer while the application answers 429 or 503.
    #[serde(default)]
    pub concurrent: Option<NonZeroU16>,
}

/// The gates of this process, each by what leads through it: routes of one connection share one.
#[derive(Default)]
pub(super) struct Gates(Mutex<HashMap<(u64, Limits), Arc<Gate>>>);

impl Gates {
    pub(super) fn of(&self, connection: u64, limits: Limits) -> Arc<Gate> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry((connection, limits)).or_insert_with(|| Arc::new(Gate::new(limits))))
    }
}

/// What requests wait at. Of what is allowed at once, less is used while the application refuses: half
/// as much after each 429 or 503, one more after as many answers as are allowed (additive increase,
/// multiplicative decrease). The order of events is kept above: here are only those that may run side
/// by side.
pub(super) struct Gate {
    most: Option<f64>,
    now: Mutex<Now>,
    freed: Notify,
    apart: Duration,
    next: Mutex<Instant>,
}

struct Now {
    allowed: f64,
    under_way: f64,
}

/// A request under way, as long as it lives.
pub(super) struct UnderWay(Arc<Gate>);

impl Gate {
    fn new(limits: Limits) -> Self {
        let most = limits.concurrent.map(|most| f64::from(most.get()));
        let apart = limits.per_second.map(|count| Duration::from_secs(1) / u32::from(count.get()));
        Self {
            most,
            now: Mutex::new(Now { allowed: most.unwrap_or(f64::MAX), under_way: 0.0 }),
            freed: Notify::new(),
            apart: apart.unwrap_or_default(),
            next: Mutex::new(Instant::now()),
        }
    }

    /// Waits for this request's turn.
    pub(super) async fn enter(self: &Arc<Self>) -> UnderWay {
        loop {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            if self.takes_one() {
                break;
            }
            freed.await;
        }
        let under_way = UnderWay(Arc::clone(self));
        if !self.apart.is_zero() {
            sleep_until(self.turn()).await;
        }
        under_way
    }

    fn takes_one(&self) -> bool {
        let mut now = self.now();
        let free = now.under_way + 1.0 <= now.allowed;
        if free {
            now.under_way += 1.0;
        }
        free
    }

    /// What the application answered.
    pub(super) fn told(&self, status: u16) {
        let Some(most) = self.most else { return };
        let mut now = self.now();
        match status {
            429 | 503 => now.allowed = (now.allowed / 2.0).max(1.0),
            200..=299 => now.allowed = (now.allowed + 1.0 / now.allowed).min(most),
            _ => return,
        }
        drop(now);
        self.freed.notify_one();
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*next).max(Instant::now());
        *next = turn + self.apart;
        turn
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.now().under_way -= 1.0;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(per_second: u16, concurrent: u16) -> Arc<Gate> {
        Arc::new(Gate::new(Limits {
            per_second: NonZeroU16::new(per_second),
            concurrent: NonZeroU16::new(concurrent),
        }))
    }

    async fn is_full(gate: &Arc<Gate>) -> bool {
        tokio::time::timeout(Duration::from_millis(100), gate.enter()).await.is_err()
    }

    #[tokio::test]
    async fn requests_are_spread_over_the_second() {
        let gate = gate(100, 0);
        let start = Instant::now();
        for _ in 0..21 {
            gate.enter().await;
        }
        assert!(start.elapsed() >= Duration::from_millis(200));
    }

    #[tokio::test]
    async fn no_more_than_so_many_are_under_way() {
        let gate = gate(0, 2);
        let first = gate.enter().await;
        let _second = gate.enter().await;
        assert!(is_full(&gate).await, "the third waits");
        drop(first);
        assert!(!is_full(&gate).await);
    }

    #[tokio::test]
    async fn less_is_under_way_while_the_application_refuses() {
        let gate = gate(0, 4);
        gate.told(429);
        let first = gate.enter().await;
        let _second = gate.enter().await;
        assert!(is_full(&gate).await, "half of four");
        gate.told(429);
        gate.told(503);
        drop(first);
        assert!(is_full(&gate).await, "one, which is under way");
        (0..20).for_each(|_| gate.told(200));
        let more = [gate.enter().await, gate.enter().await, gate.enter().await];
        assert!(is_full(&gate).await, "never more than four");
        drop(more);
    }
}
