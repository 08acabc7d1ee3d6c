//! A source route: started once all routes know where they read from, and again when it fails.

use std::sync::Arc;
use std::time::Duration;

use schemas::Schema;
use schemas::registry::Registry;
use tokio::time::{interval, sleep};

use super::reading::BACKOFF;
use super::{SourceRoute, Topic};
use crate::codec::Encoding;
use crate::dead_letters::DeadLetters;
use crate::delivery::backoff_wait;
use crate::kafka::{Cluster, Producer};
use crate::metrics::RouteMetrics;
use crate::outlet::TopicOutlet;
use crate::publisher::Outlet;
use crate::state::{State, StateOf};
use crate::{Domain, Fault, Publisher, Shutdown};

/// A source route, ready to run.
pub(super) struct Publishing {
    pub route: SourceRoute,
    pub topic: Option<Topic>,
    pub cluster: Cluster,
    pub registry: Registry,
    pub producer: Arc<Producer>,
    pub state: StateOf,
    pub metrics: RouteMetrics,
    pub shutdown: Shutdown,
}

impl Publishing {
    /// Runs until the shutdown, the source's own end, or a fault that only an operator can mend.
    pub async fn run(self) {
        let shutdown = self.shutdown.clone();
        let mut failures = 0;
        loop {
            let fault = match self.run_once().await {
                Ok(()) if shutdown.is_requested() => {
                    return self.state.set(State::shut_down());
                }
                Ok(()) => return self.state.set(State::stopped("the source has come to its end")),
                Err(fault) => fault,
            };
            self.metrics.failed(&fault);
            if matches!(fault.domain, Domain::Config | Domain::Internal | Domain::Data) {
                return self.state.set(State::stopped(fault.message));
            }
            failures += 1;
            let wait = backoff_wait(BACKOFF, failures);
            self.state.set(State::waiting(fault.message, wait));
            tokio::select! {
                () = sleep(wait) => {}
                () = shutdown.requested() => return self.state.set(State::shut_down()),
            }
        }
    }

    async fn run_once(&self) -> Result<(), Fault> {
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
            state: self.state.clone(),
            metrics: self.metrics.clone(),
        });
        let source = (self.route.build)()?;
        let running = source.run(Publisher::new(outlet, schema.cloned()), self.shutdown.clone());
        tokio::select! {
            ended = running => ended,
            never = self.watch_brokers() => match never {},
        }
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
