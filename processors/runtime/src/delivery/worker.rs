//! One slot of a sink route: takes a batch, delivers it, hands in what became of each event.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;

use super::desk::{Desk, Next};
use crate::allowance::{Answer, Call};
use crate::clock::{Moment, unix_millis};
use crate::codec::{Decoders, Decoding};
use crate::dead_letters::{DeadLetters, Stage};
use crate::dispatch::{Failing, Taken, Ticket};
use crate::enrichment::Enrichment;
use crate::kafka::Producer;
use crate::outcomes::{RouteOutcomes, What};
use crate::replay::Selection;
use crate::runtime::{Backoff, OnError};
use crate::{Delivery, Domain, Event, Fault, Retry, Sink, event};

/// What all workers of a route share.
pub(super) struct Station {
    pub desk: Arc<Desk>,
    pub sink: Arc<dyn Sink>,
    pub reads_values: bool,
    /// What has to be there before an event is delivered.
    pub awaited: Vec<Enrichment>,
    /// Whether a partition's order is kept, and not only each key's.
    pub in_order: bool,
    pub decoders: Arc<Decoders>,
    pub producer: Arc<Producer>,
    pub dead_letters: DeadLetters,
    pub outcomes: RouteOutcomes,
    /// What a replay delivers of what it reads; without it, everything.
    pub selection: Option<Arc<Selection>>,
    pub on_error: OnError,
    pub backoff: Backoff,
    pub route: Arc<str>,
}

/// An event being delivered, without the event.
pub(super) struct Job {
    pub ticket: Ticket,
    pub attempt: u32,
    /// When this attempt began, milliseconds since the Unix epoch.
    pub started: i64,
    pub failing: Option<Failing>,
}

/// Works until it is aborted.
pub(super) async fn work(station: Arc<Station>) {
    let mut decoding = station.decoders.view();
    loop {
        match station.desk.next() {
            Next::Deliver(batch, call) => station.deliver(batch, call, &mut decoding).await,
            Next::Wait(_) => station.rest(&mut decoding).await,
        }
    }
}

impl Station {
    /// Waits for work. Looks once more after it can be woken, so that no call is missed.
    async fn rest(&self, decoding: &mut Decoding) {
        let (batch, call) = {
            let mut woken = pin!(self.desk.wake.notified());
            woken.as_mut().enable();
            match self.desk.next() {
                // It waits no more: a wake-up that comes while it works is for somebody else.
                Next::Deliver(batch, call) => (batch, call),
                Next::Wait(None) => return woken.await,
                Next::Wait(Some(moment)) => {
                    let wait = moment.since(Moment::now()).max(Duration::from_millis(1));
                    // Woken or not: it looks again.
                    return drop(tokio::time::timeout(wait, woken).await);
                }
            }
        };
        self.deliver(batch, call, decoding).await;
    }

    async fn deliver(&self, batch: Vec<Taken<Event>>, call: Call, decoding: &mut Decoding) {
        let mut turn = Turn { desk: &self.desk, call, answer: Answer::None };
        let losses = self.desk.losses.subscribe();
        let (mut jobs, mut events, started) = (Vec::new(), Vec::new(), unix_millis());
        // Where a partition's order is kept, nothing overtakes an event that stays behind.
        let mut is_held = false;
        for Taken { ticket, event, attempt, failing } in batch {
            if is_held {
                self.desk.put_back(&ticket, event);
                continue;
            }
            let job = Job { ticket, attempt, started, failing };
            if let Some((job, event)) = self.readied(job, event, decoding).await {
                jobs.push(job);
                events.push(event);
            } else {
                is_held = self.in_order && self.desk.holds(&ticket);
            }
        }
        if !self.awaited.is_empty() {
            (jobs, events) = self.awaited(jobs, events).await;
        }
        if events.is_empty() {
            return self.desk.unprobe();
        }
        if let Some(selection) = &self.selection {
            selection.pace(events.len()).await;
        }
        // Decoding may have waited for the registry, and a look-up for its application.
        if !self.desk.is_alive() {
            return self.put_back(jobs, events);
        }
        let attempt = jobs.iter().map(|job| job.attempt).max().unwrap_or(1);
        self.desk.metrics.called(events.len());
        let began = Instant::now();
        let call = AssertUnwindSafe(self.sink.deliver(&events, attempt)).catch_unwind();
        let called = tokio::select! {
            biased;
            // Another instance delivers them, and later ones of their keys: what has not been sent yet,
            // for the target's limits, is not sent any more.
            () = self.desk.lost(&jobs, losses) => return,
            called = call => called,
        };
        let results = match called {
            Ok(results) if results.len() == events.len() => results,
            Ok(results) => {
                let (asked, answered) = (events.len(), results.len());
                self.desk.halt(format!(
                    "The sink answered for {answered} of {asked} events: a bug, please report it."
                ));
                return self.put_back(jobs, events);
            }
            Err(_) => {
                self.desk.halt("The sink panicked: a bug, please report it.".to_owned());
                return self.put_back(jobs, events);
            }
        };
        turn.answer = answer(&results, began.elapsed());
        for ((job, event), result) in jobs.into_iter().zip(events).zip(results) {
            match result {
                Ok(delivery) => self.delivered(&job, &event, delivery).await,
                Err(fault) => self.failed(job, event, &fault, Stage::Delivery).await,
            }
        }
    }

    /// The event with its value, if it may be delivered now; if not, it stays behind or is done with.
    async fn readied(
        &self,
        job: Job,
        event: Event,
        decoding: &mut Decoding,
    ) -> Option<(Job, Event)> {
        let mut event = self.screen(&job, event).await?;
        if let Err(fault) = self.decode(&mut event, decoding).await {
            self.failed(job, event, &fault, Stage::Decoding).await;
            return None;
        }
        let event = self.select(&job, event)?;
        Some((job, event))
    }

    async fn decode(&self, event: &mut Event, decoding: &mut Decoding) -> Result<(), Fault> {
        if let (true, Some(payload)) = (self.reads_values, &event.payload) {
            event.value = Some(decoding.decode(payload).await?);
        }
        Ok(())
    }

    /// Gives the event back if it is to be delivered.
    fn select(&self, job: &Job, mut event: Event) -> Option<Event> {
        let Some(selection) = &self.selection else { return Some(event) };
        match selection.admit(&mut event, job.attempt) {
            Ok(true) => return Some(event),
            Ok(false) => drop(self.desk.complete(&job.ticket)),
            Err(fault) => {
                self.desk.halt(format!("The filter failed on {}: {}", event.id(), fault.message));
                self.desk.put_back(&job.ticket, without_value(event));
            }
        }
        None
    }

    fn put_back(&self, jobs: Vec<Job>, events: Vec<Event>) {
        for (job, event) in jobs.into_iter().zip(events) {
            self.desk.put_back(&job.ticket, without_value(event));
        }
    }

    async fn delivered(&self, job: &Job, event: &Event, delivery: Delivery) {
        self.desk.answered();
        if !self.note_delivered(job, event, &delivery).await {
            return;
        }
        let ours = self.desk.delivered(&job.ticket, event);
        let metrics = &self.desk.metrics;
        metrics.records_out.inc();
        metrics.bytes_out.inc_by(event.bytes() as u64);
        metrics.reached(unix_millis(), event.received(), happened(event));
        tracing::debug!(
            route = &*self.route,
            event = event.id(),
            attempt = job.attempt,
            answer = delivery.answer,
            already_there = delivery.already_there,
            ours,
            "delivered"
        );
        self.outcomes.note(event, job.started, job.attempt, What::from(delivery));
    }

    pub(super) async fn failed(&self, job: Job, event: Event, fault: &Fault, stage: Stage) {
        self.desk.metrics.failed(fault);
        let (route, attempt) = (&*self.route, job.attempt);
        match (fault.domain, fault.retry) {
            (Domain::Config | Domain::Internal, _) => {
                tracing::error!(route, event = event.id(), %fault, "cannot go on");
                self.desk.halt(fault.message.clone());
                self.desk.put_back(&job.ticket, without_value(event));
            }
            (Domain::Data, Retry::Never) => {
                if stage == Stage::Delivery {
                    self.desk.answered();
                }
                self.follow_on_error(&job, event, fault, stage).await;
            }
            _ => {
                tracing::debug!(route, event = event.id(), attempt, %fault, "failed");
                let event = without_value(event);
                let Job { ticket, failing, .. } = &job;
                // A registry or a look-up that is away says nothing of the event: it waits.
                let is_its_own = stage == Stage::Delivery || fault.domain != Domain::Remote;
                let most = is_its_own.then_some(self.desk.options.give_up_after);
                let given_up = self.desk.fail(ticket, event, *failing, attempt, fault, most);
                if let Some(event) = given_up {
                    self.follow_on_error(&job, event, fault, stage).await;
                }
            }
        }
    }
}

/// A call of the target that is allowed, as long as it lives.
struct Turn<'a> {
    desk: &'a Desk,
    call: Call,
    answer: Answer,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.desk.leave(self.call, self.answer);
    }
}

/// What a call tells about how much the target bears. What fails for its own sake may not have been
/// sent, and a target that is away bears nothing: that is the breaker's concern.
fn answer(results: &[Result<Delivery, Fault>], took: Duration) -> Answer {
    let refused = |fault: &Fault| matches!(fault.cause, "http_429" | "http_503");
    match results.iter().find_map(|result| result.as_ref().err()) {
        None => Answer::After(took),
        Some(_) if results.iter().filter_map(|result| result.as_ref().err()).any(refused) => {
            Answer::Refused
        }
        Some(_) => Answer::None,
    }
}

/// Values are decoded again for the next try: waiting, an event is only its bytes.
pub(super) fn without_value(mut event: Event) -> Event {
    event.value = None;
    event
}

/// The application's own time of an event, in milliseconds since the Unix epoch.
fn happened(event: &Event) -> Option<i64> {
    let time = event.headers.text(event::CE_TIME)?;
    chrono::DateTime::parse_from_rfc3339(time).ok().map(|time| time.timestamp_millis())
}
