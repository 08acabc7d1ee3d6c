//! The engine: a pipeline running.

mod plan;
mod reading;
mod source;
mod startup;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::kafka::{Admin, Measured, Producer, Survey, Urgency};
use crate::metrics::{Metrics, RouteMetrics};
use crate::positions::Accept;
use crate::state::{RouteStatus, State, StateOf, States};
use crate::{Fault, ShutdownTrigger, outcomes};

pub use plan::{
    Backoff, Deduplicate, KeyOf, MaxAhead, OnError, Plan, ProcessorRoute, Promise, SinkOptions,
    SinkRoute, SourceFactory, SourceRoute, Topic,
};
pub(crate) use reading::{Break, Work};
pub(crate) use startup::{DEFAULT_MAX_MESSAGE, compacted, dead_letter_topic};

use reading::Decisions;
use startup::Startup;

/// How long the routes may take to drain, commit and leave their groups.
const SHUTDOWN: Duration = Duration::from_secs(12);
/// How long what is in the producers' queues may take.
const FLUSH: Duration = Duration::from_secs(5);

/// A pipeline running. Dropping it without [`shutdown`](Self::shutdown) stops it without draining.
pub struct Engine {
    stop: ShutdownTrigger,
    task: JoinHandle<()>,
    states: States,
    decisions: Decisions,
    started: watch::Receiver<Option<Result<(), Fault>>>,
    outcomes: Option<Arc<outcomes::Writer>>,
    producers: [Arc<Producer>; 2],
}

impl Engine {
    /// Starts a pipeline and returns at once; see [`started`](Self::started). Call it within a tokio
    /// runtime.
    ///
    /// # Errors
    /// A `Config` fault when a Kafka client refuses its settings.
    pub fn start(plan: Plan, metrics: &Metrics) -> Result<Self, Fault> {
        let (stop, shutdown) = ShutdownTrigger::new();
        let (sender, started) = watch::channel(None);
        let (states, decisions) = (States::default(), Decisions::default());
        let eager = Arc::new(Producer::new(&plan.cluster, Urgency::Eager)?);
        let patient = Arc::new(Producer::new(&plan.cluster, Urgency::Patient)?);
        let routes = startup::add_routes(&plan, &states);
        let outcomes = plan.outcomes.as_ref().map(|policy| {
            let writer = Arc::new(outcomes::Writer::new(policy, Arc::clone(&patient)));
            tokio::spawn(writer.run());
            writer
        });
        let startup = Startup {
            admin: Admin::new(&plan.cluster)?,
            survey: Survey::new(&plan.cluster)?,
            eager: Arc::clone(&eager),
            patient: Arc::clone(&patient),
            metrics: metrics.clone(),
            outcomes: outcomes.clone(),
            decisions: decisions.clone(),
            shutdown,
            started: sender,
        };
        let task = tokio::spawn(startup.run(plan, routes));
        let producers = [eager, patient];
        Ok(Self { stop, task, states, decisions, started, outcomes, producers })
    }

    /// Waits until every route runs or waits for a known reason.
    ///
    /// # Errors
    /// A `Config` fault when the pipeline was refused: a topic is not as declared. Nothing runs then.
    pub async fn started(&self) -> Result<(), Fault> {
        let mut started = self.started.clone();
        match started.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or_else(gone)?,
            Err(_) => return gone(),
        }
        for RouteStatus { route, .. } in self.statuses() {
            if let Some(mut route) = self.watch(&route) {
                // An error means that the route is gone: it starts no more.
                let _ = route.wait_for(|(state, _)| *state != State::Starting).await;
            }
        }
        Ok(())
    }

    /// What [`started`](Self::started) says now; nothing while it would wait. (To look at that future once
    /// is not enough: where there are many routes, tokio lets it wait in between.)
    pub fn try_started(&self) -> Option<Result<(), Fault>> {
        let result = match &*self.started.borrow() {
            Some(result) => result.clone(),
            None if self.started.has_changed().is_err() => gone(),
            None => return None,
        };
        let starts = |status: &RouteStatus| status.state == State::Starting;
        let waits = result.is_ok() && self.statuses().iter().any(starts);
        (!waits).then_some(result)
    }

    /// What each route is doing, by name.
    pub fn statuses(&self) -> Vec<RouteStatus> {
        self.states.all()
    }

    /// Watches one route (`pipeline/route`): its state and since when.
    pub fn watch(&self, route: &str) -> Option<watch::Receiver<(State, i64)>> {
        self.states.watch(route)
    }

    /// Decides where a route (`pipeline/route`) reads from that waits for an operator.
    ///
    /// # Errors
    /// A `Config` fault when the route does not exist or does not wait for a decision.
    pub fn accept(&self, route: &str, accept: Accept) -> Result<(), Fault> {
        self.decisions.decide(route, accept)
    }

    /// Drains for at most five seconds, commits, flushes and returns.
    pub async fn shutdown(self) {
        self.stop.trigger();
        let mut task = self.task;
        if tokio::time::timeout(SHUTDOWN, &mut task).await.is_err() {
            tracing::warn!("some routes did not stop in time; what they had in flight may repeat");
            task.abort();
        }
        if let Some(outcomes) = self.outcomes {
            outcomes.flush();
        }
        let producers = self.producers;
        let flushed = tokio::task::spawn_blocking(move || {
            producers.iter().for_each(|producer| producer.flush(FLUSH));
        });
        if let Err(error) = flushed.await {
            tracing::warn!(%error, "flushing failed");
        }
    }
}

fn gone() -> Result<(), Fault> {
    Err(Fault::internal("startup", "The engine's own task is gone."))
}

/// Says how far behind a route is: `oldest` is the timestamp of its oldest event not delivered.
pub(crate) fn report_lag(
    state: &StateOf,
    metrics: &RouteMetrics,
    oldest: Option<i64>,
    watermarks: &[(i32, i64)],
    measured: &Measured,
) {
    let behind = watermarks.iter().filter_map(|(partition, watermark)| {
        measured.ends.get(partition).map(|end| (end - watermark).max(0))
    });
    let events: i64 = behind.sum();
    let at = measured.at;
    let seconds = oldest.map_or(0.0, |oldest| at.saturating_sub(oldest).max(0) as f64 / 1_000.0);
    metrics.lag_events.set(events);
    metrics.lag_seconds.set(seconds);
    metrics.set_state(&state.get());
    state.set_lag(events, seconds, at);
}
