//! A source route: started once all routes know where they read from, and again when it fails.

use std::sync::Arc;
use std::time::Duration;

use schemas::Schema;
use schemas::registry::Registry;
use tokio::time::{interval, sleep};

use super::reading::BACKOFF;
use super::{SourceRoute, Topic};
use crate::codec::Encoding;
use crate::cursor::Cursor;
use crate::dead_letters::DeadLetters;
use crate::delivery::backoff_wait;
use crate::kafka::{Cluster, Limits, Owner, Ownership, Producer, group_of};
use crate::metrics::RouteMetrics;
use crate::outcomes::RouteOutcomes;
use crate::outlet::TopicOutlet;
use crate::publisher::Outlet;
use crate::share::Share;
use crate::state::{State, StateOf};
use crate::{Domain, Fault, Publisher, Retry, Shutdown};

/// Resolves once the source is another instance's.
async fn lost(ownership: Option<&Ownership>) {
    match ownership {
        None => std::future::pending().await,
        // An error means that the member is gone, and with it the source.
        Some(ownership) => drop(ownership.owner().wait_for(|owner| *owner != Owner::Us).await),
    }
}

fn is_lost(ownership: Option<&Ownership>) -> bool {
    ownership.is_some_and(|ownership| *ownership.owner().borrow() != Owner::Us)
}

/// A source route, ready to run.
pub(super) struct Publishing {
    pub route: SourceRoute,
    pub topic: Option<Topic>,
    pub cluster: Cluster,
    pub instance: Option<String>,
    /// Which part of the route is this instance's: where it must run once, all or nothing.
    pub share: Arc<Share>,
    pub registry: Registry,
    pub producer: Arc<Producer>,
    pub state: StateOf,
    pub metrics: RouteMetrics,
    pub outcomes: RouteOutcomes,
    pub shutdown: Shutdown,
}

impl Publishing {
    /// Runs until the shutdown, the source's own end, or a fault that only an operator can mend.
    pub async fn run(self) {
        let shutdown = self.shutdown.clone();
        let ownership = match self.ownership() {
            Ok(ownership) => ownership,
            Err(fault) => return self.state.set(State::stopped(fault.message)),
        };
        let mut failures = 0;
        loop {
            let fault = match self.run_once(ownership.as_ref()).await {
                Ok(()) if is_lost(ownership.as_ref()) && !shutdown.is_requested() => continue,
                Ok(()) if shutdown.is_requested() => {
                    return self.state.set(State::shut_down());
                }
                Ok(()) => return self.state.set(State::stopped("the source has come to its end")),
                Err(fault) => fault,
            };
            self.metrics.failed(&fault);
            // What Kafka does not take now, such as a record that is too large for the topic, it takes once
            // its limit is raised.
            if matches!(fault.domain, Domain::Config | Domain::Internal) {
                return self.state.set(State::stopped(fault.message));
            }
            failures = if self.state.get() == State::Running { 1 } else { failures + 1 };
            let wait = match fault.retry {
                Retry::After(asked) => asked.max(backoff_wait(BACKOFF, failures)),
                _ => backoff_wait(BACKOFF, failures),
            };
            tracing::warn!(route = &**self.state.route(), %fault, ?wait, "the source starts again");
            self.state.set(State::waiting(fault.message, wait));
            tokio::select! {
                () = sleep(wait) => {}
                () = shutdown.requested() => return self.state.set(State::shut_down()),
            }
        }
    }

    /// The membership of a source that must run once.
    fn ownership(&self) -> Result<Option<Ownership>, Fault> {
        if !self.route.once {
            return Ok(None);
        }
        self.share.clear();
        let instance = self.instance.as_deref();
        Ownership::join(&self.cluster, &self.own_name(), instance, self.state.route()).map(Some)
    }

    /// The group of its owners, and the id of its transactions.
    fn own_name(&self) -> String {
        group_of(self.state.route())
    }

    /// Waits until it is ours, fences who had it before, and takes up its cursor.
    async fn take_over(&self, ownership: &Ownership) -> Result<Cursor, Fault> {
        let mut owner = ownership.owner();
        loop {
            match *owner.borrow_and_update() {
                Owner::Us => break,
                Owner::Another => self.state.set(State::held("owned by another instance")),
                Owner::Unknown => {
                    self.state.set(State::held("which instance runs it is being settled"));
                }
            }
            let gone = |_| Fault::internal("ownership", "The group's member is gone.");
            owner.changed().await.map_err(gone)?;
        }
        ownership.confirm().await?;
        self.share.own();
        Cursor::open(&self.cluster, self.state.route(), self.own_name()).await
    }

    async fn run_once(&self, ownership: Option<&Ownership>) -> Result<(), Fault> {
        let cursor = match ownership {
            None => None,
            Some(ownership) => tokio::select! {
                cursor = self.take_over(ownership) => Some(cursor?),
                () = self.shutdown.requested() => return Ok(()),
            },
        };
        let schema: Option<&Schema> = self.topic.as_ref().and_then(|topic| topic.schema.as_ref());
        let to = &self.route.to;
        let settled = tokio::select! {
            settled = Encoding::settle(&self.registry, to, schema) => settled,
            () = self.shutdown.requested() => return Ok(()),
        };
        let route = Arc::clone(self.state.route());
        let outlet: Arc<dyn Outlet> = Arc::new(TopicOutlet {
            dead_letters: DeadLetters::of(&route),
            route,
            topic: to.as_str().into(),
            encoding: settled?,
            producer: Arc::clone(&self.producer),
            cluster: self.cluster.clone(),
            limits: Limits::of(&self.cluster),
            state: self.state.clone(),
            metrics: self.metrics.clone(),
            outcomes: self.outcomes.clone(),
            cursor,
        });
        let source = (self.route.build)()?;
        let running = source.run(Publisher::new(outlet, schema.cloned()), self.shutdown.clone());
        let ended = tokio::select! {
            ended = running => ended,
            // What it has under way is fenced by the next owner.
            () = lost(ownership) => Ok(()),
            never = self.watch_brokers() => match never {},
        };
        if ownership.is_some() {
            self.share.clear();
        }
        ended
    }

    /// Shows when no broker can be reached: the source itself goes on, and answers accordingly.
    async fn watch_brokers(&self) -> std::convert::Infallible {
        let mut ticks = interval(Duration::from_millis(500));
        let mut away = false;
        loop {
            ticks.tick().await;
            match (self.producer.available(), away) {
                (Err(fault), false) => {
                    away = true;
                    self.state.set(State::waiting(fault.message, Duration::from_secs(1)));
                }
                (Ok(()), true) => {
                    away = false;
                    self.state.set(State::Running);
                }
                _ => {}
            }
            self.metrics.set_state(&self.state.get());
        }
    }
}
