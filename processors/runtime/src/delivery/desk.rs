//! Where a route's workers take their work and hand in what became of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::backoff;
use super::breaker::{Breaker, Gate};
use crate::clock::Moment;
use crate::dispatch::{Arrival, Commit, Dispatcher, Flow, Limits, Taken, Ticket};
use crate::kafka::{Intake, Pulse};
use crate::metrics::RouteMetrics;
use crate::runtime::SinkOptions;
use crate::state::{State, StateOf};
use crate::{Event, Fault, Order, Retry};

/// How soon to look again while the assignment is not confirmed.
const UNCONFIRMED_WAIT: Duration = Duration::from_millis(20);

/// What a worker does next.
pub(super) enum Next {
    /// Deliver these.
    Deliver(Vec<Taken<Event>>),
    /// Look again at this moment, or when woken.
    Wait(Option<Moment>),
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is tried again.
    Again,
    /// It has failed for too long while others passed: it follows `on_error`.
    GiveUp,
}

/// Where a route's workers take their work.
pub(super) struct Desk {
    options: SinkOptions,
    batch: usize,
    state: StateOf,
    pub metrics: RouteMetrics,
    inner: Mutex<Inner>,
    /// Wakes a worker.
    pub wake: Notify,
    pulse: Mutex<Option<Arc<Pulse>>>,
    halted: watch::Sender<Option<String>>,
}

struct Inner {
    dispatcher: Dispatcher<Event>,
    breaker: Breaker,
    last_success: Option<Moment>,
    /// What keeps the route from reading.
    trouble: Option<String>,
    /// What keeps a dead letter from being written.
    unwritten: Option<(String, Duration)>,
}

impl Desk {
    pub fn new(
        options: &SinkOptions,
        order: Order,
        batch: usize,
        state: StateOf,
        metrics: RouteMetrics,
    ) -> Self {
        let limits = Limits { events: options.max_ahead.events, bytes: options.max_ahead.bytes };
        Self {
            options: options.clone(),
            batch: batch.max(1),
            state,
            metrics,
            inner: Mutex::new(Inner {
                dispatcher: Dispatcher::new(order, limits),
                breaker: Breaker::new(options.backoff),
                last_success: None,
                trouble: None,
                unwritten: None,
            }),
            wake: Notify::new(),
            pulse: Mutex::default(),
            halted: watch::channel(None).0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The consumer whose sign of life is asked for before each call of the target.
    pub fn follow(&self, pulse: Arc<Pulse>) {
        *self.pulse.lock().unwrap_or_else(PoisonError::into_inner) = Some(pulse);
    }

    /// Whether a call of the target may be started now.
    pub fn is_alive(&self) -> bool {
        let pulse = self.pulse.lock().unwrap_or_else(PoisonError::into_inner);
        pulse.as_ref().is_some_and(|pulse| pulse.is_alive()) && self.halted.borrow().is_none()
    }

    /// Takes the oldest events that may go.
    pub fn next(&self) -> Next {
        if !self.is_alive() {
            return Next::Wait(Some(Moment::now().plus(UNCONFIRMED_WAIT)));
        }
        let now = Moment::now();
        let mut inner = self.lock();
        let most = match inner.breaker.gate(now) {
            Gate::All => self.batch,
            Gate::Probe => 1,
            Gate::Until(moment) => return Next::Wait(Some(moment)),
            Gate::Probing => return Next::Wait(None),
        };
        let batch = inner.dispatcher.take(now, most);
        if batch.is_empty() {
            return Next::Wait(inner.dispatcher.next_due());
        }
        if inner.breaker.is_open() {
            inner.breaker.probe();
        }
        self.metrics.in_flight.set(count(inner.dispatcher.in_flight()));
        Next::Deliver(batch)
    }

    /// Whether the event is still this route's to answer for.
    pub fn holds(&self, ticket: &Ticket) -> bool {
        self.lock().dispatcher.holds(ticket)
    }

    /// The event was not tried after all.
    pub fn put_back(&self, ticket: &Ticket, event: Event) {
        let mut inner = self.lock();
        inner.dispatcher.put_back(ticket, event);
        inner.breaker.unprobe();
        drop(inner);
        self.wake.notify_one();
    }

    /// Nothing of a batch reached the target: if it was the probe, another is to follow.
    pub fn unprobe(&self) {
        self.lock().breaker.unprobe();
    }

    /// The target works: it took the event, or refused it for its own sake.
    pub fn answered(&self) {
        let now = Moment::now();
        let mut inner = self.lock();
        inner.last_success = Some(now);
        let was_troubled = inner.breaker.waiting(now).is_some();
        let recovered = inner.breaker.succeeded(now);
        if recovered {
            inner.dispatcher.recover();
        }
        if was_troubled {
            self.show(&inner, now);
        }
        drop(inner);
        if recovered {
            self.wake_all();
        }
    }

    /// The event is done with: its target or the dead letters have acknowledged it. False if it was
    /// no longer ours.
    pub fn complete(&self, ticket: &Ticket) -> bool {
        let mut inner = self.lock();
        let ours = inner.dispatcher.complete(ticket);
        self.metrics.in_flight.set(count(inner.dispatcher.in_flight()));
        ours
    }

    /// The event failed through no fault of its own, or might pass later. Hands the event back
    /// when it is to be given up.
    pub fn fail(
        &self,
        ticket: &Ticket,
        event: Event,
        since: Option<Moment>,
        attempt: u32,
        fault: &Fault,
    ) -> (Verdict, Option<Event>) {
        let now = Moment::now();
        let mut inner = self.lock();
        let since = since.unwrap_or(now);
        let others_pass = inner.last_success.is_some_and(|success| success > since);
        let spent = now.since(since) >= self.options.give_up_after;
        if spent && others_pass && !inner.breaker.is_open() && fault.retry != Retry::Route {
            return (Verdict::GiveUp, Some(event));
        }
        inner.breaker.failed(now, (ticket.partition, ticket.offset), fault);
        let own = match fault.retry {
            Retry::After(wait) => backoff::at_least(wait),
            _ => backoff::wait(self.options.backoff, attempt),
        };
        let at = match inner.breaker.gate(now) {
            // One of them is the next probe.
            Gate::Until(moment) => moment,
            _ => now.plus(own),
        };
        if inner.dispatcher.retry(ticket, event, now, at) {
            self.metrics.retries.inc();
        }
        self.metrics.in_flight.set(count(inner.dispatcher.in_flight()));
        self.show(&inner, now);
        drop(inner);
        // The probe may have failed: someone has to wait for the next one.
        self.wake.notify_one();
        (Verdict::Again, None)
    }

    /// A dead letter cannot be written; `None` once it could.
    pub fn unwritten(&self, fault: Option<(&Fault, Duration)>) {
        let mut inner = self.lock();
        let now = fault.map(|(fault, wait)| (fault.message.clone(), wait));
        if inner.unwritten.is_some() || now.is_some() {
            inner.unwritten = now;
            self.show(&inner, Moment::now());
        }
    }

    /// Stops the route, for this reason.
    pub fn halt(&self, reason: String) {
        self.halted.send_if_modified(|halted| {
            let first = halted.is_none();
            if first {
                *halted = Some(reason);
            }
            first
        });
    }

    /// Waits until the route has to stop.
    pub async fn halted(&self) -> String {
        let mut halted = self.halted.subscribe();
        match halted.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Says what the route is doing, now that it reads.
    pub fn show_state(&self) {
        self.show(&self.lock(), Moment::now());
    }

    fn show(&self, inner: &Inner, now: Moment) {
        let state = match (&inner.trouble, &inner.unwritten, inner.breaker.waiting(now)) {
            (Some(reason), _, _) => State::held(reason.clone()),
            (_, Some((reason, wait)), _) => State::waiting(reason.clone(), *wait),
            (_, _, Some((reason, Some(wait)))) => State::waiting(reason, wait),
            (_, _, Some((reason, None))) => {
                let due = inner.dispatcher.next_due();
                State::waiting(reason, due.map_or(Duration::ZERO, |due| due.since(now)))
            }
            _ => State::Running,
        };
        self.state.set(state);
    }

    pub fn wake_all(&self) {
        (0..self.options.concurrency).for_each(|_| self.wake.notify_one());
        self.wake.notify_waiters();
    }
}

fn count(events: usize) -> i64 {
    i64::try_from(events).unwrap_or(i64::MAX)
}

impl Intake for Desk {
    fn assigned(&self, partition: i32, offset: i64, metadata: &str, begun: bool) {
        let mut inner = self.lock();
        inner.dispatcher.assign(partition, offset, metadata);
        if begun {
            inner.dispatcher.mark_changed(partition);
        }
    }

    fn revoked(&self, partitions: &[i32]) {
        let mut inner = self.lock();
        partitions.iter().for_each(|partition| inner.dispatcher.revoke(*partition));
    }

    fn is_drained(&self, partitions: &[i32]) -> bool {
        let inner = self.lock();
        partitions.iter().all(|partition| inner.dispatcher.is_drained(*partition))
    }

    fn commit_of(&self, partition: i32) -> Option<Commit> {
        self.lock().dispatcher.commit_of(partition)
    }

    fn forgotten(&self, partitions: &[i32]) {
        let mut inner = self.lock();
        partitions.iter().for_each(|partition| inner.dispatcher.forget(*partition));
        inner.breaker.unprobe();
    }

    fn receive(&self, events: Vec<Event>) {
        let count = events.len();
        let mut bytes = 0;
        let mut inner = self.lock();
        for event in events {
            bytes += event.bytes();
            let arrival = Arrival {
                partition: event.partition,
                offset: event.offset,
                key: event.key.clone(),
                bytes: event.bytes(),
                timestamp: event.timestamp,
                event,
            };
            inner.dispatcher.arrive(arrival);
        }
        drop(inner);
        self.metrics.records_in.inc_by(count as u64);
        self.metrics.bytes_in.inc_by(bytes as u64);
        (0..count.min(self.options.concurrency)).for_each(|_| self.wake.notify_one());
    }

    fn room(&self) -> usize {
        self.lock().dispatcher.room()
    }

    fn flow(&self) -> Flow {
        self.lock().dispatcher.flow(Moment::now())
    }

    fn commits(&self) -> Vec<Commit> {
        self.lock().dispatcher.commits()
    }

    fn recommit(&self) {
        let mut inner = self.lock();
        let assigned: Vec<i32> = inner.dispatcher.assigned().collect();
        assigned.into_iter().for_each(|partition| inner.dispatcher.mark_changed(partition));
    }

    fn is_busy(&self) -> bool {
        let inner = self.lock();
        inner.dispatcher.in_flight() > 0 || inner.dispatcher.has_commits()
    }

    fn trouble(&self, fault: Option<&Fault>) {
        let mut inner = self.lock();
        inner.trouble = fault.map(|fault| fault.message.clone());
        self.show(&inner, Moment::now());
    }

    fn measured(&self, ends: &BTreeMap<i32, i64>) {
        let (oldest, watermarks) = self.lock().dispatcher.progress();
        crate::runtime::report_lag(&self.state, &self.metrics, oldest, &watermarks, ends);
    }
}
