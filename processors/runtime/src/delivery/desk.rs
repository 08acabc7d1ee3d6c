//! Where a route's workers take their work and hand in what became of it.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::awaiting::Late;
use super::backoff;
use super::breaker::{Breaker, Gate};
use super::history::History;
use super::worker::Job;
use crate::allowance::{Allowance, Answer, Call};
use crate::clock::Moment;
use crate::dead_letters::{Journal, Letters, Passage};
use crate::dispatch::{Arrival, Dispatcher, Failing, Limits, Taken, Ticket};
use crate::kafka::Pulse;
use crate::metrics::RouteMetrics;
use crate::runtime::SinkOptions;
use crate::sink::Fill;
use crate::state::{State, StateOf};
use crate::{Event, Fault, Order, Retry};

/// How soon an event is looked at again that waits for its parked key.
const HELD_WAIT: Duration = Duration::from_millis(100);
/// How soon to look again while the assignment is not confirmed.
const UNCONFIRMED_WAIT: Duration = Duration::from_millis(20);

/// What a worker does next.
pub(super) enum Next {
    /// Deliver these, in this call of the target.
    Deliver(Vec<Taken<Event>>, Call),
    /// Look again at this moment, or when woken.
    Wait(Option<Moment>),
}

/// How much goes to the target at once.
pub(crate) struct Batch {
    /// At most so many events.
    pub most: usize,
    /// How full it is to be.
    pub fill: Option<Fill>,
}

/// Whether what the sink is known to write fits what its target has: nothing is delivered before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Contract {
    /// It was not held against it yet.
    Unknown,
    /// It does not, for this reason; it is looked at again after this long.
    Broken(String, Duration),
    /// It fits.
    Holds,
}

/// Where a route's workers take their work.
pub(crate) struct Desk {
    pub(super) options: SinkOptions,
    batch: usize,
    /// Whether a batch is one call of the target, also when it finds out whether the target is back.
    fills: bool,
    pub(super) state: StateOf,
    pub metrics: RouteMetrics,
    pub journal: Arc<Journal>,
    pub letters: Arc<Letters>,
    pub(super) leaves_letters: AtomicBool,
    inner: Mutex<Inner>,
    /// Wakes a worker.
    pub wake: Notify,
    pulse: Mutex<Option<Arc<Pulse>>>,
    halted: watch::Sender<Option<String>>,
    /// Counts how often partitions became another's.
    pub(super) losses: watch::Sender<u64>,
}

pub(super) struct Inner {
    pub(super) dispatcher: Dispatcher<Event>,
    pub(super) breaker: Breaker,
    /// How many calls of the target may be open.
    allowance: Allowance,
    last_success: Option<Moment>,
    /// Whether an event has begun to fail since: the target may be away.
    others_fail: bool,
    /// What keeps the route from reading.
    pub(super) trouble: Option<String>,
    pub(super) contract: Contract,
    /// What keeps a dead letter from being written.
    unwritten: Option<(String, Duration)>,
    /// Events that wait for something that is not there, by partition and offset: since when, and how
    /// often it was looked for.
    pub(super) waiting: HashMap<(i32, i64), (Moment, u32)>,
    /// An event that waits for something that should be there by now.
    pub(super) late: Option<Late>,
    /// Dead letters that are being tried again, by partition and offset: why they may not go, if they may
    /// not.
    pub(super) retried: HashMap<(i32, i64), Option<Fault>>,
    pub(super) history: History,
}

impl Desk {
    pub fn new(
        topic: &str,
        options: &SinkOptions,
        order: Order,
        batch: Batch,
        state: StateOf,
        metrics: RouteMetrics,
        journal: Arc<Journal>,
    ) -> Self {
        let most = options.concurrency.max(1);
        // A batch takes the longer the fuller it is.
        let allowance = match batch.most > 1 || batch.fill.is_some() {
            true => Allowance::of_refusals(most),
            false => Allowance::new(most),
        };
        metrics.concurrency.set(count(allowance.limit()));
        let limits = Limits { events: options.max_ahead.events, bytes: options.max_ahead.bytes };
        Self {
            options: options.clone(),
            batch: batch.most.max(1),
            fills: batch.fill.is_some(),
            letters: journal.letters(state.route()),
            journal,
            state,
            metrics,
            leaves_letters: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                dispatcher: Dispatcher::new(order, limits).filling(batch.fill),
                breaker: Breaker::new(options.backoff),
                allowance,
                last_success: None,
                others_fail: false,
                trouble: None,
                contract: Contract::Unknown,
                unwritten: None,
                waiting: HashMap::new(),
                late: None,
                retried: HashMap::new(),
                history: History::of(topic),
            }),
            wake: Notify::new(),
            pulse: Mutex::default(),
            halted: watch::channel(None).0,
            losses: watch::channel(0).0,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
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
    pub(super) fn next(&self) -> Next {
        if !self.is_alive() {
            return Next::Wait(Some(Moment::now().plus(UNCONFIRMED_WAIT)));
        }
        let now = Moment::now();
        let mut inner = self.lock();
        // Whoever has a call open looks again once it is over.
        if inner.contract != Contract::Holds || inner.allowance.is_full() {
            return Next::Wait(None);
        }
        let batch = match inner.breaker.gate(now) {
            Gate::All => inner.dispatcher.take(now, self.batch),
            Gate::Probe if self.fills => inner.dispatcher.take(now, self.batch),
            Gate::Probe => inner.dispatcher.take_probe(now).into_iter().collect(),
            Gate::Until(moment) => return Next::Wait(Some(moment)),
            Gate::Probing => return Next::Wait(None),
        };
        if batch.is_empty() {
            return Next::Wait(inner.dispatcher.next_due());
        }
        if inner.breaker.is_open() {
            inner.breaker.probe();
        }
        self.metrics.in_flight.set(count(inner.dispatcher.in_flight()));
        Next::Deliver(batch, inner.allowance.enter())
    }

    /// A call of the target is over.
    pub fn leave(&self, call: Call, answer: Answer) {
        let mut inner = self.lock();
        let before = inner.allowance.limit();
        inner.allowance.leave(call, answer);
        let after = inner.allowance.limit();
        drop(inner);
        if after != before {
            self.metrics.concurrency.set(count(after));
        }
        (before..after).for_each(|_| self.wake.notify_one());
    }

    /// Waits until none of these events is this route's to answer for any more.
    pub(super) async fn lost(&self, jobs: &[Job], mut losses: watch::Receiver<u64>) {
        loop {
            if losses.changed().await.is_err() {
                return std::future::pending().await;
            }
            let inner = self.lock();
            if !jobs.iter().any(|job| inner.dispatcher.holds(&job.ticket)) {
                return;
            }
        }
    }

    /// Nothing comes any more of a partition below this offset: what did not arrive is not to be
    /// delivered.
    pub fn skip(&self, partition: i32, next: i64) {
        self.lock().dispatcher.skip(partition, next);
    }

    /// The next offset to commit of each partition that is ours.
    pub fn watermarks(&self) -> Vec<(i32, i64)> {
        self.lock().dispatcher.progress().1
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
        inner.others_fail = false;
        let was_troubled = inner.breaker.waiting(now).is_some();
        let recovered = inner.breaker.succeeded(now);
        if let Some(away) = recovered {
            inner.dispatcher.recover(now, away);
        }
        if was_troubled {
            self.show(&inner, now);
        }
        drop(inner);
        if recovered.is_some() {
            self.wake_all();
        }
    }

    /// Whether an event that arrived may go; one that has to wait for its key is put back.
    pub fn passage(&self, ticket: &Ticket, event: Event) -> (Passage, Option<Event>) {
        let passage = self.letters.passage(event.partition, event.key.as_ref(), event.offset);
        if passage != Passage::Held {
            return (passage, Some(event));
        }
        let at = Moment::now().plus(HELD_WAIT);
        self.lock().dispatcher.defer(ticket, event, at);
        self.wake.notify_one();
        (passage, None)
    }

    /// From now on no batch waits longer than this to be filled.
    pub fn hasten(&self, within: Duration) {
        self.lock().dispatcher.hasten(within);
    }

    /// The target has the event. False if it was no longer ours.
    pub fn delivered(&self, ticket: &Ticket, event: &Event) -> bool {
        let mut inner = self.lock();
        if inner.dispatcher.holds(ticket) {
            inner.history.delivered(event, Moment::now());
        }
        self.done(inner, ticket)
    }

    /// The event is done with, its target has not got it now. False if it was no longer ours.
    pub fn complete(&self, ticket: &Ticket) -> bool {
        self.done(self.lock(), ticket)
    }

    fn done(&self, mut inner: MutexGuard<'_, Inner>, ticket: &Ticket) -> bool {
        let place = (ticket.partition, ticket.offset);
        let ours = inner.dispatcher.complete(ticket);
        inner.waiting.remove(&place);
        if ticket.retried && ours {
            inner.retried.remove(&place);
        }
        self.metrics.in_flight.set(count(inner.dispatcher.in_flight()));
        if inner.late.take_if(|late| late.is(ticket)).is_some() {
            self.show(&inner, Moment::now());
        }
        drop(inner);
        if ticket.retried && self.letters.asks_for(place) {
            self.admit();
        }
        ours
    }

    /// The event failed through no fault of its own, or might pass later. Hands the event back
    /// when it is to be given up: if it has failed for the time `most`.
    pub(super) fn fail(
        &self,
        ticket: &Ticket,
        event: Event,
        failing: Option<Failing>,
        attempt: u32,
        fault: &Fault,
        most: Option<Duration>,
    ) -> Option<Event> {
        let now = Moment::now();
        let mut inner = self.lock();
        let is_closed = fault.retry == Retry::Backoff && !inner.breaker.is_open();
        // Others pass: its failure says nothing about the target.
        let fails_alone =
            is_closed && failing.is_some_and(|failing| inner.passed_since(failing.last));
        let began_before_a_success =
            failing.is_some_and(|failing| inner.passed_since(failing.since));
        let spent =
            failing.zip(most).is_some_and(|(failing, most)| now.since(failing.since) >= most);
        let is_its_own = fails_alone || !inner.others_fail;
        if spent && is_closed && began_before_a_success && is_its_own {
            return Some(event);
        }
        inner.others_fail |= !began_before_a_success;
        if !fails_alone {
            inner.breaker.failed(now, (ticket.partition, ticket.offset), fault);
        }
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
        None
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

    /// Whether the sink may deliver.
    pub(super) fn set_contract(&self, contract: Contract) {
        let holds = contract == Contract::Holds;
        let mut inner = self.lock();
        inner.contract = contract;
        self.show(&inner, Moment::now());
        drop(inner);
        if holds {
            self.wake_all();
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

    pub(super) fn show(&self, inner: &Inner, now: Moment) {
        let waiting = inner.breaker.waiting(now);
        let state = match (&inner.trouble, &inner.contract, &inner.unwritten, waiting) {
            (Some(reason), ..) => State::held(reason.clone()),
            (_, Contract::Unknown, ..) => State::Starting,
            (_, Contract::Broken(reason, wait), ..) | (_, _, Some((reason, wait)), _) => {
                State::waiting(reason.clone(), *wait)
            }
            (.., Some((reason, Some(wait)))) => State::waiting(reason, wait),
            (.., Some((reason, None))) => {
                let due = inner.dispatcher.next_due();
                State::waiting(reason, due.map_or(Duration::ZERO, |due| due.since(now)))
            }
            _ => inner.late.as_ref().map_or(State::Running, Late::state),
        };
        self.state.set(state);
    }

    pub fn wake_all(&self) {
        (0..self.options.concurrency).for_each(|_| self.wake.notify_one());
        self.wake.notify_waiters();
    }
}

impl Inner {
    /// Whether the target has taken an event since.
    pub(super) fn passed_since(&self, moment: Moment) -> bool {
        self.last_success > Some(moment)
    }
}

fn count(events: usize) -> i64 {
    i64::try_from(events).unwrap_or(i64::MAX)
}

/// An event as the dispatcher takes it.
pub(super) fn arrival(event: Event) -> Arrival<Event> {
    Arrival {
        partition: event.partition,
        offset: event.offset,
        key: event.key.clone(),
        bytes: event.bytes(),
        timestamp: event.timestamp,
        event,
    }
}
