//! Sink routes: events taken in order, delivered, tried again, given up, committed.

mod awaiting;
mod backoff;
mod breaker;
mod burial;
mod contract;
mod desk;
mod history;
mod intake;
mod retried;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinSet;

use crate::codec::Decoders;
use crate::dead_letters::{DeadLetters, Journal};
use crate::kafka::{Consumer, Intake, Producer};
use crate::metrics::RouteMetrics;
use crate::outcomes::RouteOutcomes;
use crate::replay::Selection;
use crate::runtime::{Break, SinkRoute, Work};
use crate::state::StateOf;
use crate::{Order, Sink};

use desk::Contract;
pub(crate) use desk::{Batch, Desk};
use worker::{Station, work};

pub(crate) use backoff::wait as backoff_wait;

/// How long a replay's last batch waits to be filled.
const LAST_BATCH: Duration = Duration::from_secs(5);

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
        outcomes: RouteOutcomes,
        journal: Arc<Journal>,
    ) -> Self {
        let sink: Arc<dyn Sink> = route.sink.into();
        let options = &route.options;
        let batch = Batch { most: sink.batch(), fill: sink.fill() };
        let (state, order) = (state.clone(), sink.order());
        let name = Arc::clone(state.route());
        let desk = Desk::new(&route.from, options, order, batch, state, metrics.clone(), journal);
        let desk = Arc::new(desk);
        let weak = Arc::downgrade(&desk);
        desk.letters.on_change(Arc::new(move || {
            if let Some(desk) = weak.upgrade() {
                desk.admit();
                desk.wake_all();
            }
        }));
        let station = Station {
            desk: Arc::clone(&desk),
            reads_values: sink.reads_values() || !route.awaited.is_empty(),
            awaited: route.awaited,
            in_order: order == Order::Partition,
            sink,
            decoders,
            producer,
            dead_letters: DeadLetters::of(&name),
            outcomes,
            selection: None,
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

    /// Delivers of what it reads only what is selected, marked and paced as a replay; call it before
    /// the work begins.
    #[must_use]
    pub fn selecting(mut self, selection: Arc<Selection>) -> Self {
        if let Some(station) = Arc::get_mut(&mut self.station) {
            station.reads_values |= selection.reads_values();
            station.selection = Some(selection);
        }
        self.desk.leave_letters();
        // Its end comes, and nothing after it that could fill a batch.
        self.desk.hasten(LAST_BATCH);
        self
    }

    /// Where it takes in what is read.
    pub fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }
}

#[async_trait]
impl Work for Delivery {
    fn intake(&self) -> Arc<dyn Intake> {
        Arc::clone(&self.desk) as Arc<dyn Intake>
    }

    fn begin(&mut self, consumer: &Consumer) {
        self.desk.follow(consumer.pulse());
        self.desk.set_contract(Contract::Unknown);
        self.workers.spawn(contract::hold(Arc::clone(&self.station)));
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
