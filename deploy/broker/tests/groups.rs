//! Consumer groups share partitions, and remember where they were.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};
use support::{Running, send};

const PATIENCE: Duration = Duration::from_secs(60);

/// A member that reads in a thread of its own, until it is stopped.
struct Reader {
    consumer: Arc<BaseConsumer>,
    stop: Arc<AtomicBool>,
    read: Arc<Mutex<Vec<(i32, i64)>>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn start(mut config: ClientConfig, strategy: &str) -> Self {
        config
            .set("group.id", "readers")
            .set("partition.assignment.strategy", strategy)
            .set("session.timeout.ms", "30000")
            .set("heartbeat.interval.ms", "300")
            .set("auto.offset.reset", "earliest");
        let consumer: Arc<BaseConsumer> = Arc::new(config.create().unwrap());
        consumer.subscribe(&["orders"]).unwrap();
        let (stop, read) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let thread = thread::spawn({
            let (consumer, stop, read) = (consumer.clone(), stop.clone(), read.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
                        read.lock().unwrap().push((message.partition(), message.offset()));
                    }
                }
            }
        });
        Self { consumer, stop, read, thread: Some(thread) }
    }

    fn owned(&self) -> BTreeSet<i32> {
        let assignment = self.consumer.assignment().unwrap();
        assignment.elements().iter().map(|element| element.partition()).collect()
    }

    /// Leaves the group.
    fn leave(mut self) -> Vec<(i32, i64)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        let read = self.read.lock().unwrap().clone();
        drop(self);
        read
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether six partitions are each owned by one of the readers, and evenly.
fn shared(readers: &[&Reader]) -> bool {
    let owned: Vec<_> = readers.iter().map(|reader| reader.owned()).collect();
    let all: BTreeSet<_> = owned.iter().flatten().copied().collect();
    owned.iter().all(|owned| owned.len() == 6 / readers.len()) && all.len() == 6
}

async fn three_members_join_and_leave(strategy: &'static str) {
    let running = Running::start().await;
    running.topic("orders", 6).await;
    let producer = running.producer();
    let mut offsets = BTreeMap::new();
    for partition in (0..6).cycle().take(60) {
        let offset = send(&producer, "orders", partition, "before").await;
        offsets.insert(partition, offset);
    }
    let config = running.client();
    let reading = tokio::task::spawn_blocking(move || {
        let first = Reader::start(config.clone(), strategy);
        eventually("one owns all", || shared(&[&first]));
        let second = Reader::start(config.clone(), strategy);
        eventually("two share", || shared(&[&first, &second]));
        let third = Reader::start(config, strategy);
        eventually("three share", || shared(&[&first, &second, &third]));
        let mut read = first.leave();
        thread::sleep(Duration::from_millis(100));
        read.extend(third.leave());
        eventually("one owns all again", || shared(&[&second]));
        (read, second)
    });
    let (mut read, last) = reading.await.unwrap();
    for partition in 0..6 {
        let offset = send(&producer, "orders", partition, "after").await;
        offsets.insert(partition, offset);
    }
    let everything: BTreeSet<_> = offsets
        .iter()
        .flat_map(|(&partition, &last)| (0..=last).map(move |offset| (partition, offset)))
        .collect();
    let read = tokio::task::spawn_blocking(move || {
        let all_read = |last: &Reader| {
            let seen: BTreeSet<_> =
                read.iter().chain(last.read.lock().unwrap().iter()).copied().collect();
            seen == everything
        };
        eventually("all records are read", || all_read(&last));
        read.extend(last.leave());
        read
    });
    let read = read.await.unwrap();
    assert_eq!(read.len(), 66, "members that leave in good order cause no repeats");
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_shared_eagerly() {
    three_members_join_and_leave("range").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_shared_cooperatively() {
    three_members_join_and_leave("cooperative-sticky").await;
}

fn committed(consumer: &BaseConsumer, partition: i32) -> (Offset, String) {
    let mut asked = TopicPartitionList::new();
    asked.add_partition("orders", partition);
    let committed = consumer.committed_offsets(asked, Duration::from_secs(20)).unwrap();
    let element = &committed.elements()[0];
    (element.offset(), element.metadata().to_owned())
}

fn commit(
    consumer: &BaseConsumer,
    partition: i32,
    offset: i64,
    metadata: &str,
) -> Result<(), KafkaError> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("orders", partition, Offset::Offset(offset)).unwrap();
    list.elements()[0].set_metadata(metadata);
    consumer.commit(&list, CommitMode::Sync)
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_with_their_metadata_survive_a_restart() {
    let running = Running::start().await;
    running.topic("orders", 2).await;
    let consumer = |running: &Running| -> BaseConsumer {
        running.client().set("group.id", "billing").create().unwrap()
    };
    let note = "x".repeat(4096);
    {
        let consumer = consumer(&running);
        assert_eq!(committed(&consumer, 0).0, Offset::Invalid);
        commit(&consumer, 0, 41, "").unwrap();
        commit(&consumer, 0, 42, &note).unwrap();
        let refused = commit(&consumer, 0, 43, &"x".repeat(4097)).unwrap_err();
        assert_eq!(refused.rdkafka_error_code(), Some(RDKafkaErrorCode::OffsetMetadataTooLarge));
    }
    let running = running.restart().await;
    let consumer = consumer(&running);
    assert_eq!(committed(&consumer, 0), (Offset::Offset(42), note));
    assert_eq!(committed(&consumer, 1).0, Offset::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_does_not_commit_for_a_group_with_members() {
    let running = Running::start().await;
    running.topic("orders", 6).await;
    let config = running.client();
    tokio::task::spawn_blocking(move || {
        let member = Reader::start(config.clone(), "range");
        eventually("it owns all", || shared(&[&member]));
        let stranger: BaseConsumer = config.clone().set("group.id", "readers").create().unwrap();
        let refused = commit(&stranger, 0, 5, "").unwrap_err();
        assert_eq!(refused.rdkafka_error_code(), Some(RDKafkaErrorCode::UnknownMemberId));
        member.leave();
        eventually("the group is empty", || commit(&stranger, 0, 5, "").is_ok());
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_comes_back_without_a_rebalance() {
    let running = Running::start().await;
    running.topic("orders", 6).await;
    let config = running.client();
    tokio::task::spawn_blocking(move || {
        let with_id = |id: &str| config.clone().set("group.instance.id", id).clone();
        let first = Reader::start(with_id("one"), "range");
        let second = Reader::start(with_id("two"), "range");
        eventually("two share", || shared(&[&first, &second]));
        let (before, others) = (first.owned(), second.owned());
        first.leave();
        let first = Reader::start(with_id("one"), "range");
        eventually("it is back", || !first.owned().is_empty());
        assert_eq!((first.owned(), second.owned()), (before, others));
    })
    .await
    .unwrap();
}
