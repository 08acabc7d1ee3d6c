//! One slot of a sink route: takes a batch, delivers it, hands in what became of each event.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use futures::FutureExt as _;

use super::backoff;
use super::desk::{Desk, Next, Verdict};
use crate::clock::{Moment, unix_millis};
use crate::codec::{Decoders, Decoding};
use crate::dead_letters::{DeadLetters, Stage};
use crate::dispatch::{Taken, Ticket};
use crate::kafka::Producer;
use crate::runtime::{Backoff, OnError};
use crate::{Delivery, Domain, Event, Fault, Retry, Sink, event};

/// What all workers of a route share.
pub(super) struct Station {
    pub desk: Arc<Desk>,
    pub sink: Arc<dyn Sink>,
    pub reads_values: bool,
    pub decoders: Arc<Decoders>,
    pub producer: Arc<Producer>,
    pub dead_letters: DeadLetters,
    pub on_error: OnError,
    pub backoff: Backoff,
    pub route: Arc<str>,
}

/// An event being delivered, without the event.
struct Job {
    ticket: Ticket,
    attempt: u32,
    failing_since: Option<Moment>,
}

/// Works until it is aborted.
pub(super) async fn work(station: Arc<Station>) {
    let mut decoding = station.decoders.view();
    loop {
        match station.desk.next() {
            Next::Deliver(batch) => station.deliver(batch, &mut decoding).await,
            Next::Wait(_) => station.rest(&mut decoding).await,
        }
    }
}

impl Station {
    /// Waits for work. Looks once more after it can be woken, so that no call is missed.
    async fn rest(&self, decoding: &mut Decoding) {
        let mut woken = pin!(self.desk.wake.notified());
        woken.as_mut().enable();
        match self.desk.next() {
            Next::Deliver(batch) => self.deliver(batch, decoding).await,
            Next::Wait(None) => woken.await,
            Next::Wait(Some(moment)) => {
                let wait = moment.since(Moment::now()).max(std::time::Duration::from_millis(1));
                // Woken or not: it looks again.
                drop(tokio::time::timeout(wait, woken).await);
            }
        }
    }

    async fn deliver(&self, batch: Vec<Taken<Event>>, decoding: &mut Decoding) {
        let (mut jobs, mut events) = (Vec::new(), Vec::new());
        for Taken { ticket, mut event, attempt, failing_since } in batch {
            let job = Job { ticket, attempt, failing_since };
            match self.decode(&mut event, decoding).await {
                Ok(()) => {
                    jobs.push(job);
                    events.push(event);
                }
                Err(fault) => self.failed(job, event, &fault, Stage::Decoding).await,
            }
        }
        if events.is_empty() {
            return self.desk.unprobe();
        }
        // Decoding may have waited for the registry.
        if !self.desk.is_alive() {
            return self.put_back(jobs, events);
        }
        let attempt = jobs.iter().map(|job| job.attempt).max().unwrap_or(1);
        let called = AssertUnwindSafe(self.sink.deliver(&events, attempt)).catch_unwind().await;
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
        for ((job, event), result) in jobs.into_iter().zip(events).zip(results) {
            match result {
                Ok(delivery) => self.delivered(&job, &event, &delivery),
                Err(fault) => self.failed(job, event, &fault, Stage::Delivery).await,
            }
        }
    }

    async fn decode(&self, event: &mut Event, decoding: &mut Decoding) -> Result<(), Fault> {
        if let (true, Some(payload)) = (self.reads_values, &event.payload) {
            event.value = Some(decoding.decode(payload).await?);
        }
        Ok(())
    }

    fn put_back(&self, jobs: Vec<Job>, events: Vec<Event>) {
        for (job, event) in jobs.into_iter().zip(events) {
            self.desk.put_back(&job.ticket, without_value(event));
        }
    }

    fn delivered(&self, job: &Job, event: &Event, delivery: &Delivery) {
        self.desk.answered();
        let ours = self.desk.complete(&job.ticket);
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
    }

    async fn failed(&self, job: Job, event: Event, fault: &Fault, stage: Stage) {
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
                let Job { ticket, failing_since, .. } = &job;
                let verdict = self.desk.fail(ticket, event, *failing_since, attempt, fault);
                if let (Verdict::GiveUp, Some(event)) = verdict {
                    self.follow_on_error(&job, event, fault, stage).await;
                }
            }
        }
    }

    async fn follow_on_error(&self, job: &Job, event: Event, fault: &Fault, stage: Stage) {
        let route = &*self.route;
        match self.on_error {
            OnError::Stop => {
                self.desk.halt(format!("In front of event {}: {}", event.id(), fault.message));
                self.desk.put_back(&job.ticket, without_value(event));
            }
            OnError::DeadLetter => {
                tracing::warn!(route, event = event.id(), %fault, "goes to the dead letters");
                if self.bury(job, &event, fault, stage).await {
                    self.desk.complete(&job.ticket);
                    self.desk.metrics.dead_letters.inc();
                }
            }
        }
    }

    /// Writes the dead letter, again and again until it is acknowledged. False if the event is no
    /// longer ours.
    async fn bury(&self, job: &Job, event: &Event, fault: &Fault, stage: Stage) -> bool {
        let record = self.dead_letters.record(event, fault, stage);
        let mut failures = 0;
        loop {
            match self.producer.send(&record).await {
                Ok(_) if failures > 0 => self.desk.unwritten(None),
                Ok(_) => {}
                Err(error) => {
                    failures += 1;
                    let wait = backoff::wait(self.backoff, failures);
                    self.desk.unwritten(Some((&error, wait)));
                    tokio::time::sleep(wait).await;
                    if !self.desk.holds(&job.ticket) {
                        self.desk.unwritten(None);
                        return false;
                    }
                    continue;
                }
            }
            return true;
        }
    }
}

/// Values are decoded again for the next try: waiting, an event is only its bytes.
fn without_value(mut event: Event) -> Event {
    event.value = None;
    event
}

/// The application's own time of an event, in milliseconds since the Unix epoch.
fn happened(event: &Event) -> Option<i64> {
    let time = event.headers.text(event::CE_TIME)?;
    chrono::DateTime::parse_from_rfc3339(time).ok().map(|time| time.timestamp_millis())
}
