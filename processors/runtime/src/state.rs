//! What each route is doing, for `/status` and the command line.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use crate::clock;
use crate::publisher::Progress;

const SHUT_DOWN: &str = "shut down";

/// What a route is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// It is being started.
    Starting,
    /// It runs.
    Running,
    /// It waits for the other side or for an operator, and goes on by itself.
    Waiting {
        /// What it waits for, as a sentence.
        reason: String,
        /// When it tries again, milliseconds since the Unix epoch; nothing when an operator decides.
        next_try: Option<i64>,
    },
    /// It has ended.
    Stopped {
        /// Why, as a sentence.
        reason: String,
    },
}

impl State {
    /// A route that waits, and tries again after this long.
    pub fn waiting(reason: impl Into<String>, wait: Duration) -> Self {
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        let next_try = Some(clock::unix_millis().saturating_add(wait));
        State::Waiting { reason: reason.into(), next_try }
    }

    /// A route that waits for an operator.
    pub fn held(reason: impl Into<String>) -> Self {
        State::Waiting { reason: reason.into(), next_try: None }
    }

    /// A route that has ended.
    pub fn stopped(reason: impl Into<String>) -> Self {
        State::Stopped { reason: reason.into() }
    }

    /// A route that was asked to end.
    pub fn shut_down() -> Self {
        Self::stopped(SHUT_DOWN)
    }

    /// The word used in metrics.
    pub fn word(&self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Running => "running",
            State::Waiting { .. } => "waiting",
            State::Stopped { .. } => "stopped",
        }
    }
}

/// What a route is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It writes a topic.
    Source,
    /// It reads a topic and writes one.
    Processor,
    /// It reads a topic and calls an application.
    Sink,
}

/// A route and what it is doing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RouteStatus {
    /// Its full name, `pipeline/route`.
    pub route: Arc<str>,
    /// What it is.
    pub role: Role,
    /// What it is doing.
    #[serde(flatten)]
    pub state: State,
    /// Since when, milliseconds since the Unix epoch.
    pub since: i64,
    /// Events not yet delivered, as far as is known.
    pub lag_events: i64,
    /// The age of the oldest of them, in seconds.
    pub lag_seconds: f64,
    /// When that was measured, milliseconds since the Unix epoch; nothing until it was.
    pub lag_at: Option<i64>,
    /// Keys that are parked, over all partitions: their later events go behind an event that could
    /// not pass.
    pub parked_keys: i64,
    /// Dead letters that are neither delivered since nor discarded; nothing until they were counted.
    pub open_dead_letters: Option<i64>,
    /// What a source reads that was there before it began.
    pub progress: Option<Progress>,
}

/// The states of all routes.
#[derive(Debug, Clone, Default)]
pub struct States(Arc<Mutex<BTreeMap<Arc<str>, Known>>>);

#[derive(Debug)]
struct Known {
    role: Role,
    state: watch::Sender<(State, i64)>,
    lag: (i64, f64, Option<i64>),
    parked: i64,
    open_letters: Option<i64>,
    progress: Option<Progress>,
}

/// Says what one route is doing. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StateOf {
    route: Arc<str>,
    states: States,
}

impl States {
    /// Adds a route; it is starting.
    pub fn add(&self, route: &Arc<str>, role: Role) -> StateOf {
        let (state, _) = watch::channel((State::Starting, clock::unix_millis()));
        self.lock().insert(
            Arc::clone(route),
            Known {
                role,
                state,
                lag: (0, 0.0, None),
                parked: 0,
                open_letters: None,
                progress: None,
            },
        );
        StateOf { route: Arc::clone(route), states: self.clone() }
    }

    /// What each route is doing now, by name.
    pub fn all(&self) -> Vec<RouteStatus> {
        let all = self.lock();
        all.iter()
            .map(|(route, known)| {
                let (state, since) = known.state.borrow().clone();
                let (lag_events, lag_seconds, lag_at) = known.lag;
                RouteStatus {
                    route: Arc::clone(route),
                    role: known.role,
                    state,
                    since,
                    lag_events,
                    lag_seconds,
                    lag_at,
                    parked_keys: known.parked,
                    open_dead_letters: known.open_letters,
                    progress: known.progress.clone(),
                }
            })
            .collect()
    }

    /// Watches one route: its state and since when.
    pub fn watch(&self, route: &str) -> Option<watch::Receiver<(State, i64)>> {
        self.lock().get(route).map(|known| known.state.subscribe())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Arc<str>, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateOf {
    /// The route's full name.
    pub fn route(&self) -> &Arc<str> {
        &self.route
    }

    /// Says what the route is doing; a change is logged.
    pub fn set(&self, state: State) {
        let all = self.states.lock();
        let Some(known) = all.get(&self.route) else { return };
        known.state.send_if_modified(|(old, since)| {
            if *old == state {
                return false;
            }
            log_change(&self.route, old, &state);
            if old.word() != state.word() {
                *since = clock::unix_millis();
            }
            *old = state;
            true
        });
    }

    /// What the route is doing.
    pub fn get(&self) -> State {
        let all = self.states.lock();
        all.get(&self.route).map_or(State::Starting, |known| known.state.borrow().0.clone())
    }

    /// Says how far behind the route was at `at` (milliseconds since the Unix epoch): events, and the
    /// age of the oldest in seconds.
    pub fn set_lag(&self, events: i64, seconds: f64, at: i64) {
        if let Some(known) = self.states.lock().get_mut(&self.route) {
            known.lag = (events, seconds, Some(at));
        }
    }

    /// Says what the route reads that was there before it began.
    pub fn set_progress(&self, progress: Option<Progress>) {
        if let Some(known) = self.states.lock().get_mut(&self.route) {
            known.progress = progress;
        }
    }

    /// Says how many of the route's keys are parked.
    pub fn set_parked(&self, keys: i64) {
        if let Some(known) = self.states.lock().get_mut(&self.route) {
            known.parked = keys;
        }
    }

    /// Says how many of the route's dead letters are open.
    pub fn set_open_letters(&self, letters: i64) {
        if let Some(known) = self.states.lock().get_mut(&self.route) {
            known.open_letters = Some(letters);
        }
    }
}

fn log_change(route: &str, old: &State, new: &State) {
    match (old.word(), new) {
        (_, State::Stopped { reason }) if reason != SHUT_DOWN => log_stop(route, reason),
        ("waiting", State::Waiting { .. }) => {}
        (_, State::Waiting { reason, .. }) => tracing::warn!(route, reason, "route waiting"),
        (before, now) => tracing::info!(route, before, now = now.word(), "route"),
    }
}

fn log_stop(route: &str, reason: &str) {
    tracing::error!(route, reason, "route stopped");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_route_is_one_flat_json_object() {
        let states = States::default();
        let route = states.add(&"orders/sales".into(), Role::Sink);
        route.set(State::Waiting { reason: "the target answers 503".into(), next_try: Some(7) });
        let status = serde_json::to_value(&states.all()[0]).unwrap();
        assert_eq!(status["route"], "orders/sales");
        assert_eq!(status["role"], "sink");
        assert_eq!(status["state"], "waiting");
        assert_eq!(status["reason"], "the target answers 503");
        assert_eq!(status["next_try"], 7);
    }

    #[test]
    fn since_says_when_the_kind_of_state_began() {
        let states = States::default();
        let route = states.add(&"orders/sales".into(), Role::Sink);
        route.set(State::held("a"));
        let since = states.all()[0].since;
        std::thread::sleep(Duration::from_millis(3));
        route.set(State::held("b"));
        assert_eq!(states.all()[0].since, since);
        assert_eq!(route.get(), State::held("b"));
    }
}
