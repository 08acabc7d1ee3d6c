//! A member of a consumer group: one thread that polls, commits, pauses and resumes. Nothing else
//! touches the client, so that rebalances, which run within the poll, meet no one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tokio::sync::oneshot;

use super::absence::Absence;
use super::cluster::Cluster;
use super::ends::{Ends, Measured};
use super::error::fault;
use super::intake::Intake;
use super::native;
use super::offsets::{self, Bounds, Committed};
use super::pulse::Pulse;
use super::rebalance::{Client, Context, DRAIN};
use super::record::to_event;
use super::survey::Survey;
use crate::Fault;
use crate::clock::{self, Moment};
use crate::dispatch::Flow;
use crate::positions::Decision;
use crate::share::Share;

/// Commits follow progress at least this far apart; with the commit's own way, about what a crash
/// repeats beyond what is in flight.
const COMMIT_INTERVAL: Duration = Duration::from_millis(10);
/// How long to wait before committing again after a commit failed.
const COMMIT_RETRY: Duration = Duration::from_millis(500);
/// A commit that is not answered by then never will be.
const COMMIT_LOST: Duration = Duration::from_secs(20);
/// How long a poll may block while events are in flight: their commits wait for it.
const BUSY_POLL: Duration = Duration::from_millis(4);
/// How long a poll may block otherwise.
const IDLE_POLL: Duration = Duration::from_millis(100);
/// How often the lag is measured.
const MEASURE_INTERVAL: Duration = Duration::from_secs(3);
/// How often a doubt about the assignment is looked into.
const ASK_INTERVAL: Duration = Duration::from_millis(200);
/// How long brokers have to answer then.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);
/// Events handed over at once, at most.
const BATCH_EVENTS: usize = 512;
/// Bytes handed over at once, about.
const BATCH_BYTES: usize = 512 << 10;

/// Decides where a partition is read from.
pub type Decide = Arc<dyn Fn(i32, Option<&Committed>, Bounds) -> Decision + Send + Sync>;

/// The group to be a member of.
#[derive(Clone)]
pub struct Group {
    /// Its name.
    pub id: String,
    /// The route's full name, for logs.
    pub route: Arc<str>,
    /// The topic it reads.
    pub topic: Arc<str>,
    /// This instance's own stable name, if it has one.
    pub instance: Option<String>,
    /// Told which partitions are ours; nothing for a reader that works beside the route's instances.
    pub share: Option<Arc<Share>>,
    /// Decides where a partition is read from.
    pub decide: Decide,
    /// Asked how far the topic reaches.
    pub survey: Survey,
}

/// Why a consumer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Told,
    /// Where to read from must be settled again: an offset is out of range, a topic is gone.
    Unsettled(String),
    /// It could not go on; start another.
    Failed(Fault),
}

/// A running consumer.
pub struct Consumer {
    stop: Arc<AtomicBool>,
    pulse: Arc<Pulse>,
    ended: oneshot::Receiver<End>,
}

impl Consumer {
    /// Joins the group and starts to read.
    ///
    /// # Errors
    /// A `Config` fault when librdkafka refuses a setting.
    pub fn start(cluster: &Cluster, group: Group, intake: Arc<dyn Intake>) -> Result<Self, Fault> {
        let pulse = Arc::new(Pulse::default());
        let config = cluster.member(&group.id, group.instance.as_deref());
        let context = Context {
            group,
            transactions: intake.transactions(),
            held: Mutex::default(),
            rewind: AtomicBool::default(),
            intake,
            pulse: Arc::clone(&pulse),
            end: Mutex::default(),
            committing: AtomicBool::default(),
            commit_failed: AtomicBool::default(),
            brokers_away: AtomicBool::default(),
        };
        let doing = format!("joining group {}", context.group.id);
        let name = format!("read {}", context.group.route);
        let client = Client::from_config_and_context(&config, context)
            .map_err(|error| fault(&doing, &error))?;
        client
            .subscribe(&[&client.context().group.topic])
            .map_err(|error| fault(&doing, &error))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, ended) = oneshot::channel();
        let member = Member {
            client,
            stop: Arc::clone(&stop),
            committed: None,
            asked: None,
            absence: Absence::default(),
            measured: Instant::now(),
            measuring: None,
            ends: RefCell::default(),
        };
        let spawned = thread::Builder::new().name(name).spawn(move || {
            let end = member.run();
            // Nobody waits any more when the engine is gone.
            drop(sender.send(end));
        });
        spawned.map_err(|error| {
            Fault::internal("thread", format!("No thread for {doing}: {error}."))
        })?;
        Ok(Self { stop, pulse, ended })
    }

    /// The thread's sign of life, to be asked before each call of the target.
    pub fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }

    /// Asks it to drain, commit and leave.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Waits until it has left.
    pub async fn ended(&mut self) -> End {
        let gone = || Fault::internal("consumer", "The thread that reads from Kafka is gone.");
        (&mut self.ended).await.unwrap_or_else(|_| End::Failed(gone()))
    }
}

struct Member {
    client: Client,
    stop: Arc<AtomicBool>,
    /// When the last commit was sent.
    committed: Option<Instant>,
    /// When a doubt about the assignment was last looked into.
    asked: Option<Instant>,
    absence: Absence,
    /// When the lag was last measured.
    measured: Instant,
    /// The answer to the measurement under way.
    measuring: Option<Receiver<Measured>>,
    /// How far has been read.
    ends: RefCell<Ends>,
}

impl Member {
    fn run(mut self) -> End {
        let end = loop {
            if self.stop.load(Ordering::Acquire) {
                break End::Told;
            }
            if let Some(end) = self.context().take_end() {
                break end;
            }
            // An assignment may confirm what is ours before anybody has noticed that the brokers are back.
            let away = self.context().brokers_away.load(Ordering::Relaxed);
            if !self.context().pulse.beat() || away {
                self.ask();
            }
            self.look();
            self.commit();
            self.regulate();
            self.measure();
            match self.context().intake.room() {
                0 => thread::sleep(Duration::from_millis(1)),
                room => self.read(room.min(BATCH_EVENTS)),
            }
        };
        self.leave();
        end
    }

    fn context(&self) -> &Context {
        self.client.context()
    }

    fn read(&self, most: usize) {
        let context = self.context();
        let mut wait = if context.intake.is_busy() { BUSY_POLL } else { IDLE_POLL };
        let (mut events, mut bytes, mut ended) = (Vec::new(), 0, None);
        while events.len() < most && bytes < BATCH_BYTES {
            match self.client.poll(wait) {
                Some(Ok(message)) => {
                    let event = to_event(&message, &context.group.topic);
                    bytes += event.bytes();
                    self.ends.borrow_mut().read(event.partition, event.offset);
                    events.push(event);
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.reached(partition);
                    ended = Some(partition);
                    break;
                }
                Some(Err(error)) => self.meet(&error),
                None => break,
            }
            wait = Duration::ZERO;
        }
        // A rebalance within the poll may have undone a transaction: these are read again.
        if self.go_back() {
            return;
        }
        if !events.is_empty() {
            context.intake.receive(events);
        }
        if let Some(partition) = ended {
            context.intake.ended(partition);
        }
    }

    /// The partition was read to its end.
    fn reached(&self, partition: i32) {
        let topic = &self.context().group.topic;
        if let Some(end) = native::end_seen(&self.client, topic, partition) {
            self.ends.borrow_mut().reached(partition, end);
        }
    }

    fn go_back(&self) -> bool {
        let back = self.context().go_back(&self.client);
        if back {
            self.ends.take();
        }
        back
    }

    /// Most errors pass by themselves: librdkafka goes on trying.
    fn meet(&self, error: &KafkaError) {
        let context = self.context();
        let doing = format!("reading topic {}", context.group.topic);
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::OffsetNotAvailable) => {
                context.end(End::Unsettled(format!("an offset is out of range while {doing}")));
            }
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
                context
                    .end(End::Unsettled(format!("the topic or a partition is gone while {doing}")));
            }
            Some(Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed) => {
                context.intake.trouble(Some(&fault(&doing, error)));
            }
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                context.end(End::Failed(fault(&doing, error)));
            }
            _ => tracing::debug!(route = &*context.group.route, %error, "while reading"),
        }
    }

    fn commit(&mut self) {
        let context = self.client.context();
        if context.commit_failed.swap(false, Ordering::AcqRel) {
            context.intake.recommit();
            self.committed = Some(Instant::now() + COMMIT_RETRY);
        }
        if self.is_early() {
            return;
        }
        let commits = context.intake.commits();
        if commits.is_empty() {
            return;
        }
        if let Some(transactions) = &context.transactions {
            if let Err(fault) = context.transact(&self.client, transactions) {
                tracing::debug!(route = &*context.group.route, %fault, "not committed");
            }
            self.go_back();
            self.committed = Some(Instant::now());
            return;
        }
        context.committing.store(true, Ordering::Release);
        let topic = &context.group.topic;
        if let Err(error) = offsets::send_commit(&self.client, topic, &commits) {
            tracing::debug!(%error, "a commit could not be sent");
            context.committing.store(false, Ordering::Release);
            context.commit_failed.store(true, Ordering::Release);
        }
        self.committed = Some(Instant::now());
    }

    /// Whether the last commit is not answered yet, or too fresh (a failed one counts from later).
    fn is_early(&self) -> bool {
        let Some(last) = self.committed else { return false };
        let unanswered = self.context().committing.load(Ordering::Acquire);
        let wait = match &self.context().transactions {
            Some(transactions) => transactions.every,
            None if unanswered => COMMIT_LOST,
            None => COMMIT_INTERVAL,
        };
        Instant::now() < last + wait
    }

    /// A commit of what stands tells whether the partitions are still ours: a member that was thrown
    /// out is refused.
    fn confirm(&self) {
        let context = self.context();
        let route = &*context.group.route;
        match context.commit_last(&self.client, &self.assigned()) {
            Ok(()) => {
                tracing::info!(route, "the group confirmed the assignment");
                context.pulse.confirm();
            }
            Err(error) => tracing::warn!(route, %error, "the assignment is not confirmed"),
        }
    }

    fn regulate(&self) {
        let context = self.context();
        let Flow { pause, resume } = context.intake.flow();
        let topic = &context.group.topic;
        let offset = rdkafka::Offset::Invalid;
        for (partitions, pausing) in [(pause, true), (resume, false)] {
            if partitions.is_empty() {
                continue;
            }
            let result = offsets::list(topic, &partitions, offset).and_then(|list| match pausing {
                true => self.client.pause(&list),
                false => self.client.resume(&list),
            });
            if let Err(error) = result {
                let doing = format!("pausing or resuming partitions of {topic}");
                context.end(End::Failed(fault(&doing, &error)));
            }
        }
    }

    /// While the assignment is in doubt: are the brokers there, and are the partitions still ours?
    fn ask(&mut self) {
        if self.asked.is_some_and(|last| last.elapsed() < ASK_INTERVAL) {
            return;
        }
        let context = self.client.context();
        if !context.brokers_away.load(Ordering::Relaxed) {
            self.confirm();
        } else if let Err(error) =
            self.client.fetch_metadata(Some(&context.group.topic), ASK_TIMEOUT)
        {
            context.intake.trouble(Some(&fault("looking for the brokers", &error)));
        } else {
            context.brokers_away.store(false, Ordering::Relaxed);
            context.intake.trouble(None);
            self.confirm();
        }
        self.asked = Some(Instant::now());
    }

    /// Should the group not take this member back, another one takes its place.
    fn look(&mut self) {
        let Self { client, absence, .. } = self;
        let context = client.context();
        let is_member = || match context.brokers_away.load(Ordering::Relaxed) {
            true => None,
            false => Some(native::is_member(client)),
        };
        if let Err(fault) = absence.look(Moment::now(), is_member) {
            context.end(End::Failed(fault));
        }
    }

    /// Asks how far behind this is, now and then, and looks for the answer.
    fn measure(&mut self) {
        if let Some(answer) = self.measuring.take() {
            match answer.try_recv() {
                Err(TryRecvError::Empty) => self.measuring = Some(answer),
                Err(TryRecvError::Disconnected) => self.measured = Instant::now(),
                Ok(measured) => self.tell(measured),
            }
            return;
        }
        let context = self.client.context();
        let away = context.brokers_away.load(Ordering::Relaxed);
        if away || self.measured.elapsed() < MEASURE_INTERVAL {
            return;
        }
        let ours = self.assigned();
        match ours.is_empty() {
            false => self.measuring = Some(context.group.survey.ask(&context.group.topic, ours)),
            // Whoever has not been taken in yet does not know how far behind it is.
            true if !native::is_member(&self.client) => {}
            true => self.tell(Measured { at: clock::unix_millis(), ends: BTreeMap::new() }),
        }
    }

    fn tell(&mut self, mut measured: Measured) {
        let ours = self.assigned();
        // Whoever has lost all of its partitions meanwhile is not behind by nothing.
        if ours.is_empty() && !measured.ends.is_empty() {
            self.measured = Instant::now();
            return;
        }
        // What has become ours since is not in it: it is asked again.
        if ours.iter().any(|partition| !measured.ends.contains_key(partition)) {
            return;
        }
        let (seen, held) = (self.ends.borrow(), self.context().held());
        for (partition, end) in &mut measured.ends {
            *end = seen.of(*partition, *end, held.get(partition).copied());
        }
        drop((seen, held));
        self.context().intake.measured(&measured);
        self.measured = Instant::now();
    }

    /// Drains, commits and leaves the group. It goes on polling: while the group rebalances no
    /// commit is taken, and it cannot finish without this member. What is polled is not started any
    /// more.
    fn leave(self) {
        let context = Arc::clone(self.client.context());
        let started = Instant::now();
        let mut committed = false;
        let gone = || context.transactions.as_ref().is_some_and(|all| !all.is_open());
        while started.elapsed() < DRAIN && !gone() {
            let partitions = self.assigned();
            context.intake.revoked(&partitions);
            if context.intake.is_drained(&partitions) {
                match context.commit_last(&self.client, &partitions) {
                    Ok(()) => committed = true,
                    Err(error) => tracing::debug!(%error, "the last commit is tried again"),
                }
            }
            if committed {
                break;
            }
            drop(self.client.poll(Duration::from_millis(10)));
            context.pulse.beat();
        }
        let partitions = self.assigned();
        if !committed {
            let route = &*context.group.route;
            let last = context.commit_last(&self.client, &partitions);
            tracing::warn!(route, ?last, "not everything was drained; some events may repeat");
        }
        context.forget(&partitions);
        if let Some(transactions) = &context.transactions {
            transactions.close();
        }
        // Closing the client leaves the group. What a group does not know has nothing to leave, and might
        // wait for it for ever.
        match self.absence.is_over() {
            true => drop(thread::spawn(move || drop(self.client))),
            false => drop(self.client),
        }
    }

    fn assigned(&self) -> Vec<i32> {
        let Ok(list) = self.client.assignment() else { return Vec::new() };
        let topic = &self.context().group.topic;
        list.elements_for_topic(topic).iter().map(|element| element.partition()).collect()
    }
}
