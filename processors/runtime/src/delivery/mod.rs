//! Sink routes: events taken in order, delivered, tried again, given up, committed.

mod backoff;
mod breaker;
mod desk;
mod worker;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::task::JoinSet;

use crate::Sink;
use crate::codec::Decoders;
use crate::dead_letters::DeadLetters;
use crate::kafka::{Consumer, Intake, Producer};
use crate::metrics::RouteMetrics;
use crate::runtime::{Break, SinkRoute, Work};
use crate::state::StateOf;

use desk::Desk;
use worker::{Station, work};

pub(crate) use backoff::wait as backoff_wait;

/// A sink route at work.
pub(crate) struct Delivery {
    desk: Arc<Desk>,
    station: Arc<Station>,
    concurrency: usize,
    workers: JoinSet<()>,
}

impl Delivery {
    /// Prepares the route; nothing runs yet.
    pub fn new(
        route: SinkRoute,
        state: &StateOf,
        metrics: &RouteMetrics,
        decoders: Arc<Decoders>,
        producer: Arc<Producer>,
    ) -> Self {
        let sink: Arc<dyn Sink> = route.sink.into();
        let options = &route.options;
        let (state, order, batch) = (state.clone(), sink.order(), sink.batch());
        let name = Arc::clone(state.route());
        let desk = Arc::new(Desk::new(options, order, batch, state, metrics.clone()));
        let station = Station {
            desk: Arc::clone(&desk),
            reads_values: sink.reads_values(),
            sink,
            decoders,
            producer,
            dead_letters: DeadLetters::of(&name),
            on_error: options.on_error,
            backoff: options.backoff,
            route: name,
        };
        Self {
            desk,
            station: Arc::new(station),
            concurrency: options.concurrency.max(1),
            workers: JoinSet::new(),
        }
    }
}

#[async_trait]
impl Work for Delivery {
    fn intake(&self) -> Arc<dyn Intake> {
        Arc::clone(&self.desk) as Arc<dyn Intake>
    }

    fn begin(&mut self, consumer: &Consumer) {
        self.desk.follow(consumer.pulse());
        self.desk.show_state();
        for _ in 0..self.concurrency {
            self.workers.spawn(work(Arc::clone(&self.station)));
        }
    }

    async fn broken(&mut self) -> Break {
        Break::Halt(self.desk.halted().await)
    }

    fn end(&mut self) {
        self.workers.abort_all();
        self.workers = JoinSet::new();
    }
}
