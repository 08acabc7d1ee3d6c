//! What has to be there before an event is delivered: an order, before its payment.

use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _, stream};

use super::backoff;
use super::desk::Desk;
use super::worker::{Job, Station, without_value};
use crate::clock::Moment;
use crate::dead_letters::Stage;
use crate::dispatch::Ticket;
use crate::options::Period;
use crate::runtime::Backoff;
use crate::state::State;
use crate::{Domain, Event, Fault};

/// How often it is looked for what an event waits for: it is most likely on its way.
const LOOK: Backoff = Backoff { initial: Duration::from_millis(200), max: Duration::from_secs(10) };
/// A little early is usual: only an event that has waited longer is told of.
const EARLY: Duration = Duration::from_secs(5);

/// An event that has waited for a while, and for what.
pub(super) struct Late {
    place: (i32, i64),
    reason: String,
    wait: Duration,
}

/// Whether an event may go.
enum Readiness {
    Ready,
    /// What it waits for is not there, as this says.
    Early(String),
    /// It cannot be known.
    Unknown(Fault),
}

impl Station {
    /// Keeps of a batch what waits for nothing that is not there. Where a partition's order is kept,
    /// nothing overtakes an event that waits.
    pub(super) async fn awaited(
        &self,
        jobs: Vec<Job>,
        events: Vec<Event>,
    ) -> (Vec<Job>, Vec<Event>) {
        let at_once = self.awaited.iter().map(|one| one.lookup.at_once()).min();
        let looks: Vec<_> = events.iter().map(|event| self.readiness(event).boxed()).collect();
        let looks = stream::iter(looks).buffered(at_once.unwrap_or(1));
        let found: Vec<Readiness> = looks.collect().await;
        let (mut ready_jobs, mut ready_events, mut is_held) = (Vec::new(), Vec::new(), false);
        for ((job, event), readiness) in jobs.into_iter().zip(events).zip(found) {
            match readiness {
                _ if is_held => self.desk.put_back(&job.ticket, without_value(event)),
                Readiness::Ready => {
                    ready_jobs.push(job);
                    ready_events.push(event);
                }
                Readiness::Early(lack) => {
                    is_held = self.in_order;
                    self.early(job, event, lack).await;
                }
                Readiness::Unknown(fault) => {
                    is_held = self.in_order && fault.domain == Domain::Remote;
                    self.failed(job, event, &fault, Stage::Processing).await;
                }
            }
        }
        (ready_jobs, ready_events)
    }

    async fn readiness(&self, event: &Event) -> Readiness {
        // What a deletion deletes has been there.
        let Some(value) = &event.value else { return Readiness::Ready };
        for awaited in &self.awaited {
            let key = match awaited.key(event, value) {
                Ok(Some(key)) => key,
                Ok(None) => continue,
                Err(fault) => return Readiness::Unknown(fault),
            };
            match awaited.find(&key).await {
                Ok(Some(_)) => {}
                Ok(None) => return Readiness::Early(awaited.lack(Some(&key))),
                Err(fault) => return Readiness::Unknown(fault),
            }
        }
        Readiness::Ready
    }

    async fn early(&self, job: Job, event: Event, lack: String) {
        let event = without_value(event);
        if let Some(event) = self.desk.wait(&job.ticket, event, &lack) {
            let waited = Period(self.desk.options.give_up_after);
            let fault = Fault::data("not_found", format!("{lack} The event waited for {waited}."));
            self.desk.metrics.failed(&fault);
            self.follow_on_error(&job, event, &fault, Stage::Processing).await;
        }
    }
}

impl Desk {
    /// What an event waits for is not there yet. Hands the event back when it has waited for as long
    /// as an event is tried while others pass.
    fn wait(&self, ticket: &Ticket, event: Event, lack: &str) -> Option<Event> {
        let now = Moment::now();
        let place = (ticket.partition, ticket.offset);
        let mut inner = self.lock();
        let (since, looks) = inner.waiting.get(&place).copied().unwrap_or((now, 0));
        let waited = now.since(since);
        if waited >= self.options.give_up_after && inner.passed_since(since) {
            return Some(event);
        }
        inner.waiting.insert(place, (since, looks + 1));
        let wait = backoff::wait(LOOK, looks + 1);
        // It was not tried: neither its attempts nor the time for which they fail begin.
        inner.dispatcher.defer(ticket, event, now.plus(wait));
        if waited >= EARLY {
            let reason = format!("An event waits, and the others of its key: {lack}");
            inner.late = Some(Late { place, reason, wait });
            self.show(&inner, now);
        }
        drop(inner);
        self.wake.notify_one();
        None
    }
}

impl Late {
    /// Whether it is told of this event.
    pub fn is(&self, ticket: &Ticket) -> bool {
        self.place == (ticket.partition, ticket.offset)
    }

    /// Whether it is told of an event of one of these partitions.
    pub fn is_of(&self, partitions: &[i32]) -> bool {
        partitions.contains(&self.place.0)
    }

    /// The state of a route that has nothing worse to tell.
    pub fn state(&self) -> State {
        State::waiting(self.reason.clone(), self.wait)
    }
}
