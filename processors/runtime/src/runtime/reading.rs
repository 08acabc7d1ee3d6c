//! A route that reads a topic: settled, run, and settled again when its position is lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use super::Backoff;
use crate::delivery::backoff_wait;
use crate::kafka::{Cluster, Consumer, End, Group, Intake, Survey};
use crate::positions::{Accept, Reading, Settled, Settler};
use crate::share::Share;
use crate::state::{State, StateOf};
use crate::{Fault, Shutdown};

/// Between tries of what no broker answers.
pub(super) const BACKOFF: Backoff =
    Backoff { initial: Duration::from_millis(500), max: Duration::from_secs(15) };
/// How often a route that waits for an operator looks whether the reason has gone.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long a consumer may take to drain, commit and leave.
const LEAVE: Duration = Duration::from_secs(10);
/// A run this long was a good one: the next failure is a first one.
const GOOD_RUN: Duration = Duration::from_secs(60);

/// Why a route's work cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Break {
    /// It stops, for this reason.
    Halt(String),
    /// It starts again from its last commit, after a while.
    Restart(Fault),
}

/// What a route does with what it reads.
#[async_trait]
pub(crate) trait Work: Send {
    /// Takes in what is read.
    fn intake(&self) -> Arc<dyn Intake>;
    /// A consumer has started.
    fn begin(&mut self, consumer: &Consumer);
    /// Waits until the work cannot go on.
    async fn broken(&mut self) -> Break;
    /// The consumer has ended.
    fn end(&mut self);
}

/// Routes that wait for an operator's decision.
#[derive(Clone, Default)]
pub(super) struct Decisions(Arc<Mutex<HashMap<String, oneshot::Sender<Accept>>>>);

impl Decisions {
    pub fn decide(&self, route: &str, accept: Accept) -> Result<(), Fault> {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(route);
        let delivered = waiting.is_some_and(|waiting| waiting.send(accept).is_ok());
        delivered.then_some(()).ok_or_else(|| {
            Fault::config("not_waiting", format!("Route `{route}` does not wait for a decision."))
        })
    }

    /// Waits for a decision, for a while.
    async fn wait(&self, route: &str) -> Option<Accept> {
        let (sender, receiver) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(route.to_owned(), sender);
        let decided = timeout(LOOK_AGAIN, receiver).await;
        if decided.is_err() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(route);
        }
        decided.ok()?.ok()
    }
}

/// A route that reads a topic.
pub(super) struct ReadingRoute {
    pub reading: Reading,
    pub cluster: Cluster,
    pub instance: Option<String>,
    /// Which part of the route is this instance's.
    pub share: Arc<Share>,
    pub state: StateOf,
    pub settler: Arc<Settler>,
    pub survey: Survey,
    pub decisions: Decisions,
    /// Set once it is known where the route reads from, or that an operator has to decide.
    pub placed: watch::Sender<bool>,
    pub shutdown: Shutdown,
}

impl ReadingRoute {
    /// Runs until the shutdown, or until the work stops the route.
    pub async fn run(self, mut work: impl Work) {
        let shutdown = self.shutdown.clone();
        let mut failures = 0;
        loop {
            tokio::select! {
                () = self.settle() => {}
                () = shutdown.requested() => return self.stopped(),
            }
            let started = Instant::now();
            let fault = match self.consume(&mut work).await {
                End::Told => return,
                End::Unsettled(reason) => Fault::remote("offset_lost", reason),
                End::Failed(fault) => fault,
            };
            failures = if started.elapsed() > GOOD_RUN { 1 } else { failures + 1 };
            let wait = backoff_wait(BACKOFF, failures);
            tracing::warn!(route = &**self.state.route(), %fault, ?wait, "starts again");
            self.state.set(State::waiting(fault.message, wait));
            tokio::select! {
                () = sleep(wait) => {}
                () = shutdown.requested() => return self.stopped(),
            }
        }
    }

    /// Settles where to read from, without reading yet.
    pub async fn settle_only(&self) {
        tokio::select! {
            () = self.settle() => {}
            () = self.shutdown.requested() => {}
        }
    }

    fn stopped(&self) {
        self.state.set(State::shut_down());
    }

    /// Settles where to read from; waits for the brokers and for the operator.
    async fn settle(&self) {
        let (mut accept, mut failures) = (None, 0);
        loop {
            match self.settler.settle(&self.reading, accept.clone()).await {
                Ok(Settled::Ready) => break,
                Ok(Settled::Waiting(reason)) => {
                    self.state.set(State::held(reason));
                    self.placed.send_replace(true);
                    failures = 0;
                    accept = self.decisions.wait(self.state.route()).await;
                }
                Err(fault) => {
                    failures += 1;
                    let wait = backoff_wait(BACKOFF, failures);
                    self.state.set(State::waiting(fault.message, wait));
                    sleep(wait).await;
                }
            }
        }
        self.placed.send_replace(true);
    }

    /// Reads and works until one of them ends. `End::Told` when the route is over.
    async fn consume(&self, work: &mut impl Work) -> End {
        let group = Group {
            id: self.reading.group.clone(),
            route: Arc::clone(&self.reading.route),
            topic: Arc::clone(&self.reading.topic),
            instance: self.instance.clone(),
            share: Some(Arc::clone(&self.share)),
            decide: self.settler.decider(&self.reading),
            survey: self.survey.clone(),
        };
        let mut consumer = match Consumer::start(&self.cluster, group, work.intake()) {
            Ok(consumer) => consumer,
            Err(fault) => return End::Failed(fault),
        };
        work.begin(&consumer);
        let end = tokio::select! {
            end = consumer.ended() => end,
            reason = work.broken() => {
                self.leave(&mut consumer).await;
                match reason {
                    Break::Halt(reason) => {
                        self.state.set(State::stopped(reason));
                        End::Told
                    }
                    Break::Restart(fault) => End::Failed(fault),
                }
            }
            () = self.shutdown.requested() => {
                self.leave(&mut consumer).await;
                self.stopped();
                End::Told
            }
        };
        work.end();
        self.share.clear();
        end
    }

    async fn leave(&self, consumer: &mut Consumer) {
        consumer.stop();
        if timeout(LEAVE, consumer.ended()).await.is_err() {
            let route = &**self.state.route();
            tracing::warn!(route, "the group could not be left in time; some events may repeat");
        }
    }
}
