//! How much an application allows: requests a second, and at once.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use engine::allowance::{Allowance, Answer, Call};
use engine::share::Share;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

/// How often it is looked whether another part is ours: an assignment that changes wakes nobody here.
const LOOK: Duration = Duration::from_millis(100);
/// How much of what was missed is made up for: timers are late by a millisecond or so.
const LATE: Duration = Duration::from_millis(5);

/// What an application allows, for all routes and all instances that use one connection together:
/// each instance takes the part that it has of the routes' partitions.
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

/// What requests wait at. Of what is allowed at once, less is used while the application refuses. The
/// order of events is kept above: here are only those that may run side by side.
///
/// Of what the application allows, each route of the connection stands for an equal part, and this
/// instance has as much of it as of the route's partitions. So all instances together never have more
/// than the whole, and what one route leaves here the others use.
pub(super) struct Gate {
    limits: Limits,
    routes: Mutex<Vec<Weak<Share>>>,
    now: Mutex<Allowance>,
    freed: Notify,
    /// Whoever has it is the next one.
    pace: tokio::sync::Mutex<Pace>,
}

/// Spreads requests evenly. Pure: times are given.
///
/// What is due grows with time, as fast as the part that is ours allows; a part that has just become
/// ours counts from now on, for until now another has used it.
#[derive(Debug, Default)]
struct Pace {
    /// How much of a request is due.
    due: f64,
    per_second: f64,
    /// When that was so.
    at: Option<Instant>,
}

impl Pace {
    /// Nothing when a request goes now; else when to ask again. What is not used is not made up for.
    fn wait(&mut self, now: Instant, per_second: f64) -> Option<Instant> {
        let most = 1.0 + per_second * LATE.as_secs_f64();
        self.due = match self.at {
            None => 1.0,
            Some(at) => {
                let passed = now.saturating_duration_since(at).as_secs_f64();
                (self.due + passed * self.per_second.min(per_second)).min(most)
            }
        };
        (self.at, self.per_second) = (Some(now), per_second);
        if per_second <= 0.0 {
            return Some(now + LOOK);
        }
        // Sums of fractions come out a little short.
        if self.due < 1.0 - 1e-6 {
            let wait = Duration::try_from_secs_f64((1.0 - self.due) / per_second);
            return Some(now + wait.unwrap_or(LOOK).min(LOOK));
        }
        self.due -= 1.0;
        None
    }
}

/// A request under way, as long as it lives.
pub(super) struct UnderWay {
    gate: Arc<Gate>,
    call: Call,
    answer: Answer,
}

impl Gate {
    fn new(limits: Limits) -> Self {
        let most = limits.concurrent.map_or(usize::MAX, |most| usize::from(most.get()));
        Self {
            limits,
            routes: Mutex::default(),
            now: Mutex::new(Allowance::of_refusals(most)),
            freed: Notify::new(),
            pace: tokio::sync::Mutex::default(),
        }
    }

    /// A route leads through here, as long as its share lives.
    pub(super) fn add(&self, route: &Arc<Share>) {
        route.count();
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if !routes.iter().any(|known| known.as_ptr() == Arc::as_ptr(route)) {
            routes.push(Arc::downgrade(route));
        }
    }

    /// This instance's part of what the application allows, from 0 to 1.
    fn part(&self) -> f64 {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.retain(|route| route.strong_count() > 0);
        let parts: Vec<f64> =
            routes.iter().filter_map(Weak::upgrade).map(|one| one.part()).collect();
        parts.iter().sum::<f64>() / parts.len().max(1) as f64
    }

    /// Waits for this request's turn.
    pub(super) async fn enter(self: &Arc<Self>) -> UnderWay {
        let call = loop {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            if let Some(call) = self.takes_one() {
                break call;
            }
            // Freed or not: it looks again.
            drop(timeout(LOOK, freed).await);
        };
        let under_way = UnderWay { gate: Arc::clone(self), call, answer: Answer::None };
        if let Some(per_second) = self.limits.per_second {
            self.turn(f64::from(per_second.get())).await;
        }
        under_way
    }

    fn takes_one(&self) -> Option<Call> {
        let mut now = self.now();
        if let Some(concurrent) = self.limits.concurrent {
            // An instance with more partitions than one that may have none under way would stand still.
            let most = f64::from(concurrent.get()) * self.part();
            // A third of three is one, also where thirds are rounded.
            now.bound(((most + 1e-6) as usize).max(1));
        }
        (!now.is_full()).then(|| now.enter())
    }

    /// Waits until the next request is due. Those that wait go in the order in which they came.
    async fn turn(&self, per_second: f64) {
        let mut pace = self.pace.lock().await;
        loop {
            let Some(due) = pace.wait(Instant::now(), per_second * self.part()) else { return };
            sleep_until(due).await;
        }
    }

    fn now(&self) -> MutexGuard<'_, Allowance> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// What the application answered.
    pub(super) fn told(&mut self, status: u16) {
        self.answer = match status {
            // Nothing is declared that could be halved.
            _ if self.gate.limits.concurrent.is_none() => Answer::None,
            429 | 503 => Answer::Refused,
            200..=299 => Answer::After(Duration::ZERO),
            _ => Answer::None,
        };
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.gate.now().leave(self.call, self.answer);
        self.gate.freed.notify_one();
    }
}

#[cfg(test)]
mod tests;
