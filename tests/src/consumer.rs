//! Consumers: of given partitions, and members of groups.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance},
    error::{KafkaError, RDKafkaErrorCode},
};

use crate::{
    deadline::{GENEROUS, eventually},
    record::Seen,
};

fn config(address: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", address)
        .set("broker.address.family", "v4")
        // librdkafka wants one even where no group is used.
        .set("group.id", "none")
        .set("auto.offset.reset", "error")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
}

/// A consumer that resets no offset and commits none by itself, with settings of librdkafka.
///
/// # Panics
/// If a setting is wrong.
#[must_use]
pub fn consumer(address: &str, settings: &[(&str, &str)]) -> BaseConsumer {
    config(address, settings).create().unwrap()
}

/// A list of one partition with an offset.
///
/// # Panics
/// If the offset is none.
#[must_use]
pub fn position(topic: &str, partition: i32, offset: Offset) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, offset).unwrap();
    list
}

/// A consumer of one partition from an offset on.
///
/// # Panics
/// If there is no such offset.
#[must_use]
pub fn reader(address: &str, topic: &str, partition: i32, from: Offset) -> BaseConsumer {
    let reader = consumer(address, &[]);
    reader.assign(&position(topic, partition, from)).unwrap();
    reader
}

/// Whether librdkafka goes on by itself after an error: a broker that is away comes back.
fn passes(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut, Resolve};
    let code = error.rdkafka_error_code();
    code.is_some_and(|code| {
        [AllBrokersDown, BrokerTransportFailure, OperationTimedOut, Resolve].contains(&code)
    })
}

/// The next record, or the error that came in its place.
///
/// # Errors
/// What librdkafka says, other than that a broker is away.
///
/// # Panics
/// If nothing comes in time.
pub fn next<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Result<Seen, KafkaError> {
    let deadline = Instant::now() + GENEROUS;
    loop {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => return Ok(Seen::of(&message)),
            Some(Err(error)) if !passes(&error) => return Err(error),
            _ => assert!(Instant::now() < deadline, "no record came in {GENEROUS:?}"),
        }
    }
}

/// The next records.
///
/// # Panics
/// If they do not come in time, or an error does.
pub fn read<C: ConsumerContext>(consumer: &BaseConsumer<C>, count: usize) -> Vec<Seen> {
    (0..count).map(|_| next(consumer).unwrap()).collect()
}

/// All the records of a partition.
///
/// # Panics
/// If they do not come in time.
#[must_use]
pub fn read_all(address: &str, topic: &str, partition: i32) -> Vec<Seen> {
    read_all_with(address, topic, partition, &[])
}

/// All the records of a partition that a consumer with such settings sees: without any, those that
/// are committed.
///
/// # Panics
/// If they do not come in time.
#[must_use]
pub fn read_all_with(
    address: &str,
    topic: &str,
    partition: i32,
    settings: &[(&str, &str)],
) -> Vec<Seen> {
    let settings = [settings, &[("enable.partition.eof", "true")]].concat();
    let reader = consumer(address, &settings);
    reader.assign(&position(topic, partition, Offset::Beginning)).unwrap();
    let mut seen = Vec::new();
    loop {
        match next(&reader) {
            Ok(record) => seen.push(record),
            Err(KafkaError::PartitionEOF(_)) => return seen,
            Err(error) => panic!("read {topic} [{partition}]: {error}"),
        }
    }
}

/// The first offset of a partition and the one after its last.
///
/// # Panics
/// If the broker does not say.
#[must_use]
pub fn watermarks(address: &str, topic: &str, partition: i32) -> (i64, i64) {
    consumer(address, &[]).fetch_watermarks(topic, partition, GENEROUS).unwrap()
}

/// Asks a group's coordinator again until it is ready: after a start it may not be.
fn coordinated<T>(mut ask: impl FnMut() -> Result<T, KafkaError>) -> Result<T, KafkaError> {
    use RDKafkaErrorCode::{CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator};
    const NOT_READY: [RDKafkaErrorCode; 3] =
        [CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator];
    eventually("the group's coordinator is ready", || {
        let answer = ask();
        let code = answer.as_ref().err().and_then(KafkaError::rdkafka_error_code);
        code.is_none_or(|code| !NOT_READY.contains(&code)).then_some(answer)
    })
}

/// Commits an offset of one partition for a group, with metadata.
///
/// # Errors
/// What the broker answers, other than that it is not ready yet.
///
/// # Panics
/// If it never gets ready.
pub fn commit(
    address: &str,
    group: &str,
    topic: &str,
    partition: i32,
    (offset, metadata): (i64, &str),
) -> Result<(), KafkaError> {
    let list = position(topic, partition, Offset::Offset(offset));
    list.find_partition(topic, partition).unwrap().set_metadata(metadata);
    let consumer = consumer(address, &[("group.id", group)]);
    coordinated(|| consumer.commit(&list, CommitMode::Sync))
}

/// What a group committed for one partition, and with which metadata.
///
/// # Panics
/// If the broker does not say.
#[must_use]
pub fn committed(address: &str, group: &str, topic: &str, partition: i32) -> (Offset, String) {
    let consumer = consumer(address, &[("group.id", group)]);
    let asked = position(topic, partition, Offset::Invalid);
    let found = coordinated(|| consumer.committed_offsets(asked.clone(), GENEROUS)).unwrap();
    let element = found.find_partition(topic, partition).unwrap();
    element.error().unwrap();
    (element.offset(), element.metadata().to_owned())
}

/// A member of a consumer group that reads all the time, in a thread of its own.
pub struct Member {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    stop: AtomicBool,
    rebalances: AtomicUsize,
    owned: Mutex<BTreeSet<i32>>,
    seen: Mutex<Vec<Seen>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Watch(Arc<State>);

impl ClientContext for Watch {}

impl ConsumerContext for Watch {
    // A consumer that is being closed answers no question any more, not even for its assignment.
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        self.0.rebalances.fetch_add(1, Ordering::SeqCst);
        let partitions = |list: &TopicPartitionList| {
            list.elements().iter().map(|element| element.partition()).collect::<BTreeSet<_>>()
        };
        let mut owned = lock(&self.0.owned);
        match rebalance {
            Rebalance::Assign(list) => owned.extend(partitions(list)),
            Rebalance::Revoke(list) => {
                let revoked = partitions(list);
                owned.retain(|partition| !revoked.contains(partition));
            }
            Rebalance::Error(error) => panic!("a rebalance failed: {error}"),
        }
    }
}

impl Member {
    /// Joins a group and reads a topic. What it has seen it commits. Partitions without a committed
    /// offset are read from their beginning.
    ///
    /// # Panics
    /// If a setting is wrong.
    #[must_use]
    pub fn join(address: &str, group: &str, topic: &str, settings: &[(&str, &str)]) -> Self {
        let state = Arc::new(State::default());
        let consumer: BaseConsumer<Watch> = config(address, settings)
            .set("group.id", group)
            .set("auto.offset.reset", "earliest")
            .create_with_context(Watch(Arc::clone(&state)))
            .unwrap();
        consumer.subscribe(&[topic]).unwrap();
        let of_thread = Arc::clone(&state);
        let thread = thread::spawn(move || read_until_stopped(&consumer, &of_thread));
        Self { state, thread: Some(thread) }
    }

    /// The partitions it owns now.
    #[must_use]
    pub fn owned(&self) -> BTreeSet<i32> {
        lock(&self.state.owned).clone()
    }

    /// How often it was given or gave up partitions.
    #[must_use]
    pub fn rebalances(&self) -> usize {
        self.state.rebalances.load(Ordering::SeqCst)
    }

    /// What it has read so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.state.seen).clone()
    }

    /// Closes its consumer: a dynamic member leaves its group, a static one says nothing.
    ///
    /// # Panics
    /// If reading failed.
    pub fn leave(mut self) -> Vec<Seen> {
        self.state.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        self.seen()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read_until_stopped(consumer: &BaseConsumer<Watch>, state: &State) {
    while !state.stop.load(Ordering::SeqCst) {
        match consumer.poll(Duration::from_millis(50)) {
            Some(Ok(message)) => {
                lock(&state.seen).push(Seen::of(&message));
                // Of partitions that are about to go elsewhere it may be refused: who gets them
                // sees the records again.
                let _ = consumer.commit_message(&message, CommitMode::Async);
            }
            Some(Err(error)) => assert!(passes(&error), "a member met {error}"),
            None => {}
        }
    }
}
