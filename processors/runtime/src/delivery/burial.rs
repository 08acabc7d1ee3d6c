//! Events that cannot pass: to the dead letters, their keys parked, and from there tried again.

use std::pin::pin;
use std::time::Duration;

use super::backoff;
use super::worker::{Job, Station, without_value};
use crate::dead_letters::{Entry, JOURNAL_TOPIC, Passage, Stage, Standing, behind, is_rejection};
use crate::outcomes::What;
use crate::publisher::Placed;
use crate::runtime::OnError;
use crate::{Delivery, Event, Fault};

/// A write that takes longer is shown.
const SLOW: Duration = Duration::from_secs(3);

impl Station {
    /// Gives the event back if it may go to the target now. If its key is parked it goes behind.
    pub(super) async fn screen(&self, job: &Job, event: Event) -> Option<Event> {
        if job.ticket.retried {
            return self.screen_retried(job, event).await;
        }
        match self.desk.passage(&job.ticket, event) {
            (Passage::Free, event) => event,
            (Passage::Behind(id), Some(event)) => {
                let fault = behind(&id);
                self.desk.metrics.failed(&fault);
                let what = What::Parked { behind: id };
                self.park(job, &event, &fault, Stage::Delivery, what).await;
                None
            }
            (Passage::Parked, _) => {
                self.desk.complete(&job.ticket);
                None
            }
            _ => None,
        }
    }

    /// A dead letter waits for no other of its key, unless that is being tried again before it.
    async fn screen_retried(&self, job: &Job, event: Event) -> Option<Event> {
        let Some(entry) = self.desk.letters.asked_of(&event) else {
            // It was decided otherwise meanwhile.
            self.desk.complete(&job.ticket);
            return None;
        };
        if matches!(entry.standing, Standing::Retrying { out_of_order: true, .. }) {
            return Some(event);
        }
        let standing = if entry.parked && self.desk.letters.ahead_of(&entry).is_some() {
            Standing::Parked
        } else if let Some(fault) = self.desk.objection(&entry, &event) {
            Standing::Returned { cause: fault.cause.to_owned(), message: fault.message }
        } else {
            return Some(event);
        };
        if self.note(job, entry.becomes(standing)).await {
            self.desk.complete(&job.ticket);
        }
        None
    }

    /// The event cannot pass.
    pub(super) async fn follow_on_error(
        &self,
        job: &Job,
        event: Event,
        fault: &Fault,
        stage: Stage,
    ) {
        let route = &*self.route;
        if job.ticket.retried {
            return self.come_back(job, &event, fault, stage).await;
        }
        match self.on_error {
            OnError::Stop => {
                self.desk.halt(format!("In front of event {}: {}", event.id(), fault.message));
                self.desk.put_back(&job.ticket, without_value(event));
            }
            OnError::ParkKey if event.key.is_some() => {
                tracing::warn!(route, event = event.id(), %fault, "its key is parked");
                let what = What::dead_letter(fault);
                self.park(job, &event, fault, stage, what).await;
            }
            OnError::DeadLetter | OnError::ParkKey => {
                tracing::warn!(route, event = event.id(), %fault, "goes to the dead letters");
                if self.bury(job, &event, fault, stage).await.is_some() {
                    self.desk.complete(&job.ticket);
                    let what = What::dead_letter(fault);
                    self.outcomes.note(&event, job.started, job.attempt, what);
                }
            }
        }
    }

    /// The event goes to the dead letters, and until it is settled later ones of its key behind it.
    /// The letter comes first: what the journal holds as parked can be tried again.
    async fn park(&self, job: &Job, event: &Event, fault: &Fault, stage: Stage, what: What) {
        let Some(placed) = self.bury(job, event, fault, stage).await else { return };
        let is_rejection = is_rejection(fault, stage);
        let entry = Entry::parked(&self.route, event, placed.offset, is_rejection);
        if self.note(job, entry).await {
            self.desk.complete(&job.ticket);
            self.outcomes.note(event, job.started, job.attempt, what);
        }
    }

    /// Writes the dead letter. Nothing if the event is no longer ours.
    async fn bury(&self, job: &Job, event: &Event, fault: &Fault, stage: Stage) -> Option<Placed> {
        let record = self.dead_letters.record(event, fault, stage);
        let placed = self.insist(job, || self.producer.send(&record)).await?;
        self.desk.metrics.dead_letters.inc();
        Some(placed)
    }

    /// A dead letter was tried again in vain.
    async fn come_back(&self, job: &Job, event: &Event, fault: &Fault, stage: Stage) {
        let (route, id) = (&*self.route, event.id());
        tracing::warn!(route, event = id, %fault, "comes back to the dead letters");
        if let Some(entry) = self.desk.letters.asked_of(event) {
            let (cause, message) = (fault.cause.to_owned(), fault.message.clone());
            let rejected = entry.rejected.saturating_add(u32::from(is_rejection(fault, stage)));
            let next = entry.becomes(Standing::Returned { cause, message });
            let next = Entry { returned: entry.returned + 1, rejected, ..next };
            if !self.note(job, next).await {
                return;
            }
        }
        self.desk.complete(&job.ticket);
        self.outcomes.note(event, job.started, job.attempt, What::dead_letter(fault));
    }

    /// The target has the event: if it was a dead letter it no longer is one. False if the event is
    /// no longer ours.
    pub(super) async fn note_delivered(
        &self,
        job: &Job,
        event: &Event,
        delivery: &Delivery,
    ) -> bool {
        let entry = match &self.selection {
            Some(selection) => selection.open_letter(job.ticket.partition, job.ticket.offset),
            None if job.ticket.retried => {
                self.desk.letters.asked_of(event).map(|entry| (*entry).clone())
            }
            None => None,
        };
        let Some(entry) = entry else { return true };
        let answer = delivery.answer.clone();
        self.note(job, entry.becomes(Standing::Delivered { answer })).await
    }

    /// Writes into the journal. False if the event is no longer ours.
    async fn note(&self, job: &Job, entry: Entry) -> bool {
        self.insist(job, || self.desk.journal.write(entry.clone())).await.is_some()
    }

    /// Writes again and again until it is acknowledged. Nothing if the event is no longer ours.
    async fn insist<T, W>(&self, job: &Job, write: impl Fn() -> W) -> Option<T>
    where
        W: Future<Output = Result<T, Fault>>,
    {
        let mut failures = 0;
        loop {
            let fault = match self.or_say_so(write()).await {
                Ok(written) => {
                    self.desk.unwritten(None);
                    return Some(written);
                }
                Err(fault) => fault,
            };
            failures += 1;
            let wait = backoff::wait(self.backoff, failures);
            self.desk.unwritten(Some((&fault, wait)));
            tokio::time::sleep(wait).await;
            if !self.desk.holds(&job.ticket) {
                self.desk.unwritten(None);
                return None;
            }
        }
    }

    /// Waits for a write; one that takes long is shown as what the route waits for.
    async fn or_say_so<T>(
        &self,
        write: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let mut write = pin!(write);
        if let Ok(written) = tokio::time::timeout(SLOW, &mut write).await {
            return written;
        }
        let topic = self.dead_letters.topic();
        let fault = Fault::remote(
            "kafka_timeout",
            format!(
                "No broker has acknowledged a dead letter yet: {topic} or {JOURNAL_TOPIC} cannot be \
                 written. It goes on by itself."
            ),
        );
        self.desk.unwritten(Some((&fault, SLOW)));
        write.await
    }
}
