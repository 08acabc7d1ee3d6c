//! Running a replay, to its end or until it is stopped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{interval, sleep, timeout};

use super::capture::{begin, committed};
use super::intake::Stretch;
use super::{Captured, Counts, Letters, Plan, Request, Selection, Span, Standing, Tally};
use crate::clock::unix_millis;
use crate::codec::Decoders;
use crate::dead_letters::{JOURNAL_TOPIC, Journal};
use crate::delivery::{Delivery, backoff_wait};
use crate::kafka::{
    Admin, Bounds, Committed, Consumer, Decide, End, Group, Intake, Producer, Survey, Urgency,
};
use crate::lookup::Around;
use crate::metrics::Metrics;
use crate::outcomes::{self, RouteOutcomes};
use crate::positions::Decision;
use crate::runtime::{
    Backoff, Break, DEFAULT_MAX_MESSAGE, OnError, SinkRoute, Work as _, compacted,
    dead_letter_topic,
};
use crate::state::{Role, State, StateOf, States};
use crate::{Domain, Fault, Shutdown};

/// How often it is looked how far the replay is.
const LOOK: Duration = Duration::from_millis(200);
/// How often the group is asked how far other processes are.
const ASK: Duration = Duration::from_secs(3);
/// How long a consumer may take to drain, commit and leave.
const LEAVE: Duration = Duration::from_secs(10);
const FLUSH: Duration = Duration::from_secs(5);
/// Between tries of what no broker answers.
const BACKOFF: Backoff =
    Backoff { initial: Duration::from_millis(500), max: Duration::from_secs(15) };

/// How far a replay is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The offsets that it spans.
    pub total: i64,
    /// How many of them are done, those of earlier runs included.
    pub done: i64,
    /// What this process has done.
    pub counts: Counts,
    /// Why it gets nowhere, if it does.
    pub waits: Option<String>,
}

/// What a run of a replay came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// How far the replay is.
    pub progress: Progress,
    /// Whether it came to its end; else the same replay goes on from here.
    pub finished: bool,
    /// How long this run took.
    pub took: Duration,
}

/// Runs a replay until its end, or until a stop is asked for; `show` is told how far it is.
///
/// # Errors
/// A fault when it cannot go on: the route's `on_error` is `stop` and an event cannot pass, the
/// filter fails, an offset is gone, another process has the same replay at its beginning.
pub async fn run(
    request: Request,
    sink: SinkRoute,
    plan: Plan,
    stop: Shutdown,
    mut show: impl FnMut(&Progress) + Send,
) -> Result<Summary, Fault> {
    let started = Instant::now();
    let producer = Arc::new(Producer::new(&request.cluster, Urgency::Patient)?);
    let captured = plan.captured;
    prepare(&request).await?;
    if plan.standing == Standing::New {
        begin(&request, &captured, &producer).await?;
    }
    let outcomes = request.outcomes.as_ref();
    let writer =
        outcomes.map(|policy| Arc::new(outcomes::Writer::new(policy, Arc::clone(&producer))));
    let writing = writer.as_ref().map(|writer| tokio::spawn(writer.run()));
    let letters = Letters::follow(&request.cluster, &captured).await?;
    let kept = Kept { letters, writer: writer.clone() };
    let mut running = Running::new(&request, sink, captured, plan.committed, &producer, kept)?;
    let ended = running.run(&request, &stop, &mut show).await;
    if let Some(writer) = &writer {
        writer.flush();
    }
    writing.iter().for_each(tokio::task::JoinHandle::abort);
    let flushing = Arc::clone(&producer);
    // A failure to flush costs outcomes only, and is logged.
    drop(tokio::task::spawn_blocking(move || flushing.flush(FLUSH)).await);
    let finished = ended?;
    if finished {
        let captured = Captured { finished: Some(unix_millis()), ..running.captured.clone() };
        captured.write(&request.group(), &producer).await?;
    }
    Ok(Summary { progress: running.progress(), finished, took: started.elapsed() })
}

/// Creates what is missing of the topics that it writes.
async fn prepare(request: &Request) -> Result<(), Fault> {
    let Request { pipeline, into, topic, .. } = request;
    let admin = Admin::new(&request.cluster)?;
    let settings = admin.settings(&[&topic.name]).await?;
    let limit = settings.get(&topic.name).and_then(|all| all.get("max.message.bytes"));
    let limit = limit.and_then(|bytes| bytes.parse().ok()).unwrap_or(DEFAULT_MAX_MESSAGE);
    let letters = dead_letter_topic(pipeline, into, limit);
    let mut topics = vec![letters, compacted(JOURNAL_TOPIC, Some(limit))];
    topics.extend(request.outcomes.as_ref().map(outcomes::topic));
    admin.create_missing(&topics).await
}

/// What is known, and kept, beside the events.
struct Kept {
    letters: Arc<Letters>,
    writer: Option<Arc<outcomes::Writer>>,
}

/// A replay at work.
struct Running {
    captured: Captured,
    delivery: Delivery,
    intake: Arc<Stretch>,
    state: StateOf,
    tally: Arc<Tally>,
    survey: Survey,
    /// How far the group is, as far as is known.
    places: BTreeMap<i32, i64>,
}

impl Running {
    fn new(
        request: &Request,
        mut sink: SinkRoute,
        captured: Captured,
        places: BTreeMap<i32, i64>,
        producer: &Arc<Producer>,
        Kept { letters, writer }: Kept,
    ) -> Result<Self, Fault> {
        let name: Arc<str> = captured.into.as_str().into();
        let state = States::default().add(&name, Role::Sink);
        let metrics = Metrics::new()?.route(&name);
        let tally = Arc::new(Tally::default());
        let outcomes =
            RouteOutcomes::new(&name, writer.as_ref(), &metrics.outcomes_lost).counting(&tally);
        let (filter, rate) = (request.filter.clone(), request.rate);
        let (begun, counted) = (captured.begun, Arc::clone(&tally));
        let selection = Selection::new(&request.id, begun, filter, rate, counted, letters);
        let decoders = Arc::new(Decoders::new(&request.registry, request.topic.schema.as_ref()));
        // What is parked stays parked; but what is sent again parks no key of the live route.
        if sink.options.on_error == OnError::ParkKey {
            sink.options.on_error = OnError::DeadLetter;
        }
        let Request { cluster, registry, topics, .. } = request;
        Around { cluster, registry, topics }.begin(&sink.awaited)?;
        let own = request.own_topic.then(|| (state.clone(), metrics.clone()));
        let journal = Journal::follow(&request.cluster, producer, own)?;
        let producer = Arc::clone(producer);
        let delivery = Delivery::new(sink, &state, &metrics, decoders, producer, outcomes, journal)
            .selecting(Arc::new(selection));
        let intake = Arc::new(Stretch {
            desk: Arc::clone(delivery.desk()),
            spans: captured.spans.clone(),
            key: request.key.clone(),
            tally: Arc::clone(&tally),
        });
        let survey = Survey::new(&request.cluster)?;
        Ok(Self { captured, delivery, intake, state, tally, survey, places })
    }

    /// True when the replay came to its end, false when it was stopped.
    async fn run(
        &mut self,
        request: &Request,
        stop: &Shutdown,
        show: &mut (impl FnMut(&Progress) + Send),
    ) -> Result<bool, Fault> {
        let mut failures = 0;
        while !self.is_done() {
            let group = self.group(request);
            let intake = Arc::clone(&self.intake) as Arc<dyn Intake>;
            let mut consumer = Consumer::start(&request.cluster, group, intake)?;
            self.delivery.begin(&consumer);
            let end = self.consume(&mut consumer, request, stop, show).await;
            self.delivery.end();
            let fault = match end {
                End::Told => break,
                End::Unsettled(reason) => return Err(Fault::remote("offset_lost", reason)),
                End::Failed(fault) if fault.domain != Domain::Remote => return Err(fault),
                End::Failed(fault) => fault,
            };
            failures += 1;
            let wait = backoff_wait(BACKOFF, failures);
            self.state.set(State::waiting(fault.message, wait));
            show(&self.progress());
            tokio::select! {
                () = sleep(wait) => {}
                () = stop.requested() => break,
            }
        }
        show(&self.progress());
        Ok(self.is_done())
    }

    fn group(&self, request: &Request) -> Group {
        let (spans, topic) = (self.captured.spans.clone(), self.captured.topic.clone());
        let decide: Decide = Arc::new(move |partition, committed, bounds| {
            decide(&topic, spans.get(&partition), partition, committed, bounds)
        });
        Group {
            id: request.group(),
            route: Arc::clone(self.state.route()),
            topic: self.captured.topic.as_str().into(),
            instance: None,
            share: None,
            decide,
            survey: self.survey.clone(),
        }
    }

    /// Reads and works until the end, a stop, or a failure; leaves the group.
    async fn consume(
        &mut self,
        consumer: &mut Consumer,
        request: &Request,
        stop: &Shutdown,
        show: &mut (impl FnMut(&Progress) + Send),
    ) -> End {
        let (mut looks, mut asks) = (interval(LOOK), interval(ASK));
        let end = loop {
            tokio::select! {
                end = consumer.ended() => return end,
                broken = self.delivery.broken() => break End::Failed(fault_of(broken)),
                () = stop.requested() => break End::Told,
                _ = looks.tick() => {
                    self.look();
                    show(&self.progress());
                    if self.is_done() {
                        break End::Told;
                    }
                }
                _ = asks.tick() => self.ask(request).await,
            }
        };
        consumer.stop();
        if timeout(LEAVE, consumer.ended()).await.is_err() {
            tracing::warn!("the group could not be left in time; some events may repeat");
        }
        end
    }

    /// Learns how far the other processes of this replay are.
    async fn ask(&mut self, request: &Request) {
        match committed(request).await {
            Ok(places) => self.advance(places),
            Err(fault) => tracing::debug!(%fault, "how far others are is not known"),
        }
    }

    fn look(&mut self) {
        self.advance(self.delivery.desk().watermarks());
    }

    /// A place never goes back: what was done stays done.
    fn advance(&mut self, places: impl IntoIterator<Item = (i32, i64)>) {
        for (partition, place) in places {
            let known = self.places.entry(partition).or_insert(place);
            *known = place.max(*known);
        }
    }

    fn is_done(&self) -> bool {
        let (total, done) = self.captured.progress(&self.places);
        done >= total
    }

    fn progress(&self) -> Progress {
        let (total, done) = self.captured.progress(&self.places);
        let waits = match self.state.get() {
            State::Waiting { reason, .. } | State::Stopped { reason } => Some(reason),
            State::Starting | State::Running => None,
        };
        Progress { total, done, counts: self.tally.counts(), waits }
    }
}

fn fault_of(broken: Break) -> Fault {
    match broken {
        Break::Halt(reason) => Fault::data("stopped", reason),
        Break::Restart(fault) => fault,
    }
}

/// Where a partition is read from.
fn decide(
    topic: &str,
    span: Option<&Span>,
    partition: i32,
    committed: Option<&Committed>,
    bounds: Bounds,
) -> Decision {
    let behind = || Decision::Resume { offset: bounds.high, metadata: String::new() };
    let Some(span) = span else { return behind() };
    let (offset, metadata) = committed
        .map_or((span.from, String::new()), |found| (found.offset, found.metadata.clone()));
    if offset >= span.to {
        return behind();
    }
    if offset < bounds.low {
        let last = bounds.low - 1;
        let reason = format!(
            "{topic}[{partition}]: offsets {offset} to {last} were removed by retention before the \
             replay sent them; start it again with --again to go on without them"
        );
        return Decision::Hold { reason };
    }
    match committed {
        Some(_) => Decision::Resume { offset, metadata },
        None => Decision::Begin { offset },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { low: 10, high: 50 };
    const SPAN: Span = Span { from: 12, to: 30 };

    fn at(offset: i64) -> Committed {
        Committed { offset, metadata: "1:AQE".into() }
    }

    #[test]
    fn a_partition_goes_on_where_its_group_was_and_is_left_alone_once_it_is_done() {
        let decide =
            |span, committed: Option<Committed>| decide("t", span, 0, committed.as_ref(), BOUNDS);
        assert_eq!(decide(Some(&SPAN), None), Decision::Begin { offset: 12 });
        let resumed = Decision::Resume { offset: 20, metadata: "1:AQE".into() };
        assert_eq!(decide(Some(&SPAN), Some(at(20))), resumed);
        let behind = Decision::Resume { offset: 50, metadata: String::new() };
        assert_eq!(decide(Some(&SPAN), Some(at(30))), behind);
        assert_eq!(decide(None, None), behind);
        let held = decide(Some(&SPAN), Some(at(4)));
        assert!(matches!(held, Decision::Hold { reason } if reason.contains("4 to 9")));
    }
}
