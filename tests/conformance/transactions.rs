//! Transactions (KIP-98): what is written in one is seen whole or not at all.

use std::time::Duration;

use rdkafka::{
    Offset,
    consumer::{BaseConsumer, Consumer as _, ConsumerGroupMetadata},
    error::{KafkaError, RDKafkaErrorCode},
    producer::Producer as _,
};
use tests::{
    admin::{Admin, unique},
    cluster::Cluster,
    consumer::{committed, consumer, position, read_all, read_all_with, watermarks},
    deadline::{GENEROUS, eventually},
    producer::{Native, Producer},
    record::Record,
};

/// A transactional producer that has its id.
fn transactional(cluster: &Cluster, id: &str, settings: &[(&str, &str)]) -> Producer {
    let settings = [settings, &[("transactional.id", id), ("retry.backoff.ms", "20")]].concat();
    let producer = Producer::new(cluster.address(), &settings);
    producer.native().init_transactions(GENEROUS).unwrap();
    producer
}

/// Writes records in a transaction that stays open.
fn begin(producer: &Producer, topic: &str, values: &[&str]) {
    producer.native().begin_transaction().unwrap();
    let records: Vec<_> = values.iter().map(|value| Record::of(*value).keyed("key")).collect();
    producer.write(topic, 0, &records);
}

fn commit(producer: &Producer) {
    producer.native().commit_transaction(GENEROUS).unwrap();
}

fn abort(producer: &Producer) {
    producer.native().abort_transaction(GENEROUS).unwrap();
}

fn texts(cluster: &Cluster, topic: &str, settings: &[(&str, &str)]) -> Vec<String> {
    let seen = read_all_with(cluster.address(), topic, 0, settings);
    seen.iter().map(|seen| seen.record.text().unwrap().to_owned()).collect()
}

/// The values of the committed records of a topic's first partition.
fn committed_texts(cluster: &Cluster, topic: &str) -> Vec<String> {
    texts(cluster, topic, &[])
}

/// Apache Kafka answers once a transaction's end is decided, and marks its partitions after that.
fn assert_committed(cluster: &Cluster, topic: &str, expected: &[&str]) {
    eventually("what is committed is read, and nothing else", || {
        let seen = committed_texts(cluster, topic);
        assert!(seen.iter().zip(expected).all(|(seen, expected)| seen == expected), "{seen:?}");
        (seen.len() == expected.len()).then_some(())
    });
}

const UNCOMMITTED: &[(&str, &str)] = &[("isolation.level", "read_uncommitted")];

pub fn what_is_committed_is_read_and_what_is_aborted_is_not(cluster: &mut Cluster) {
    let topic = Admin::new(cluster.address()).topic("transactional", 1, &[]);
    let producer = transactional(cluster, &unique("id"), &[]);
    for number in 0..3 {
        begin(&producer, &topic, &[&format!("kept {number}"), "also kept"]);
        commit(&producer);
        begin(&producer, &topic, &["dropped", "dropped too"]);
        abort(&producer);
    }
    let kept = ["kept 0", "also kept", "kept 1", "also kept", "kept 2", "also kept"];
    assert_committed(cluster, &topic, &kept);
    assert_eq!(texts(cluster, &topic, UNCOMMITTED).len(), 12, "records, and no markers");
    let seen = read_all(cluster.address(), &topic, 0);
    let offsets: Vec<_> = seen.iter().map(|seen| seen.offset).collect();
    assert_eq!(offsets, [0, 1, 6, 7, 12, 13], "every marker takes an offset");
    // (The last marker is written after the answer.)
    let whole = || (watermarks(cluster.address(), &topic, 0) == (0, 18)).then_some(());
    eventually("every marker takes an offset", whole);
}

pub fn readers_of_committed_records_stop_at_an_open_transaction(cluster: &mut Cluster) {
    let topic = Admin::new(cluster.address()).topic("open", 1, &[]);
    let plain = Producer::new(cluster.address(), &[]);
    plain.write(&topic, 0, &[Record::of("before")]);
    let producer = transactional(cluster, &unique("id"), &[]);
    begin(&producer, &topic, &["open"]);
    plain.write(&topic, 0, &[Record::of("behind")]);
    assert_eq!(committed_texts(cluster, &topic), ["before"]);
    assert_eq!(texts(cluster, &topic, UNCOMMITTED), ["before", "open", "behind"]);
    let end = |settings| {
        let consumer = consumer(cluster.address(), settings);
        consumer.fetch_watermarks(&topic, 0, GENEROUS).unwrap().1
    };
    assert_eq!((end(&[]), end(UNCOMMITTED)), (1, 3), "where a reader begins that wants the end");
    commit(&producer);
    assert_committed(cluster, &topic, &["before", "open", "behind"]);
    assert_eq!((end(&[]), end(UNCOMMITTED)), (4, 4));
}

fn is_fenced(outcome: Result<(), KafkaError>) -> bool {
    let Err(KafkaError::Transaction(error)) = outcome else { return false };
    error.is_fatal() && error.code() == RDKafkaErrorCode::Fenced
}

/// What the one before left open is aborted, and it writes nothing more.
pub fn a_producer_that_comes_later_fences_the_one_before(cluster: &mut Cluster) {
    let topic = Admin::new(cluster.address()).topic("fenced", 1, &[]);
    let id = unique("id");
    let zombie = transactional(cluster, &id, &[]);
    begin(&zombie, &topic, &["of the zombie"]);
    let producer = transactional(cluster, &id, &[]);
    let late = zombie.send(&topic, Some(0), &Record::of("late"));
    let late = late.map(|receipt| receipt.wait());
    assert!(!matches!(late, Ok(Ok(_))), "the zombie wrote: {late:?}");
    assert!(is_fenced(zombie.native().commit_transaction(GENEROUS)));
    begin(&producer, &topic, &["of the other"]);
    commit(&producer);
    assert_committed(cluster, &topic, &["of the other"]);
}

/// A member of a group as it names itself when it sends offsets in a transaction.
fn metadata(consumer: &BaseConsumer) -> ConsumerGroupMetadata {
    consumer.group_metadata().unwrap()
}

fn send_offset(
    producer: &Native,
    topic: &str,
    offset: i64,
    group: &ConsumerGroupMetadata,
) -> Result<(), KafkaError> {
    let offsets = position(topic, 0, Offset::Offset(offset));
    producer.send_offsets_to_transaction(&offsets, group, GENEROUS)
}

pub fn offsets_sent_in_a_transaction_count_once_it_commits(cluster: &mut Cluster) {
    let topic = Admin::new(cluster.address()).topic("consumed", 1, &[]);
    let name = unique("group");
    let outside = consumer(cluster.address(), &[("group.id", &name)]);
    let producer = transactional(cluster, &unique("id"), &[]);
    let found = || committed(cluster.address(), &name, &topic, 0).0;
    begin(&producer, &topic, &["a"]);
    send_offset(producer.native(), &topic, 5, &metadata(&outside)).unwrap();
    commit(&producer);
    assert_eq!(found(), Offset::Offset(5));
    begin(&producer, &topic, &["b"]);
    send_offset(producer.native(), &topic, 9, &metadata(&outside)).unwrap();
    abort(&producer);
    assert_eq!(found(), Offset::Offset(5));
    // Offsets alone are a transaction as well.
    producer.native().begin_transaction().unwrap();
    send_offset(producer.native(), &topic, 7, &metadata(&outside)).unwrap();
    commit(&producer);
    assert_eq!(found(), Offset::Offset(7));
    assert_committed(cluster, &topic, &["a"]);
}

/// A consumer that is a member of its group with some partitions.
fn member(cluster: &Cluster, group: &str, topic: &str) -> BaseConsumer {
    let consumer = consumer(cluster.address(), &[("group.id", group)]);
    consumer.subscribe(&[topic]).unwrap();
    consumer
}

fn settle(members: &[&BaseConsumer], each: usize) {
    eventually("every member has its partitions", || {
        let assigned = |member: &&BaseConsumer| {
            let _ = member.poll(Duration::from_millis(20));
            member.assignment().unwrap().count() == each
        };
        members.iter().map(assigned).fold(true, |all, has| all & has).then_some(())
    });
}

/// KIP-447: a processor that has lost its partitions cannot commit what it has read of them.
pub fn who_is_no_member_any_more_sends_no_offsets(cluster: &mut Cluster) {
    let topic = Admin::new(cluster.address()).topic("rebalanced", 2, &[]);
    let name = unique("group");
    let first = member(cluster, &name, &topic);
    settle(&[&first], 2);
    let old = metadata(&first);
    let second = member(cluster, &name, &topic);
    settle(&[&first, &second], 1);
    let producer = transactional(cluster, &unique("id"), &[]);
    producer.native().begin_transaction().unwrap();
    let Err(KafkaError::Transaction(refused)) = send_offset(producer.native(), &topic, 5, &old)
    else {
        panic!("offsets of an old generation were taken")
    };
    assert_eq!(refused.code(), RDKafkaErrorCode::IllegalGeneration);
    assert!(refused.txn_requires_abort());
    abort(&producer);
    producer.native().begin_transaction().unwrap();
    send_offset(producer.native(), &topic, 3, &metadata(&first)).unwrap();
    commit(&producer);
    assert_eq!(committed(cluster.address(), &name, &topic, 0).0, Offset::Offset(3));
}

/// KIP-447: who takes over a partition learns no offset that a transaction is about to change.
pub fn an_offset_about_to_change_is_waited_for(cluster: &mut Cluster) {
    let topic = Admin::new(cluster.address()).topic("pending", 1, &[]);
    let name = unique("group");
    let outside = consumer(cluster.address(), &[("group.id", &name)]);
    let producer = transactional(cluster, &unique("id"), &[]);
    begin(&producer, &topic, &["a"]);
    send_offset(producer.native(), &topic, 5, &metadata(&outside)).unwrap();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| committed(cluster.address(), &name, &topic, 0).0);
        std::thread::sleep(Duration::from_secs(2));
        assert!(!asking.is_finished(), "it was answered while the transaction was open");
        commit(&producer);
        assert_eq!(asking.join().unwrap(), Offset::Offset(5));
    });
    let settings = [UNCOMMITTED, &[("group.id", name.as_str())]].concat();
    begin(&producer, &topic, &["b"]);
    send_offset(producer.native(), &topic, 9, &metadata(&outside)).unwrap();
    let hasty = consumer(cluster.address(), &settings);
    let asked = position(&topic, 0, Offset::Invalid);
    let found = hasty.committed_offsets(asked, GENEROUS).unwrap();
    assert_eq!(found.elements()[0].offset(), Offset::Offset(5), "who does not care is answered");
    abort(&producer);
}

/// Whoever began it is fenced: it may have written only a part of what it wanted to.
pub fn a_transaction_open_for_too_long_is_aborted(cluster: &mut Cluster) {
    let topic = Admin::new(cluster.address()).topic("overdue", 1, &[]);
    let producer = transactional(cluster, &unique("id"), &[("transaction.timeout.ms", "5000")]);
    begin(&producer, &topic, &["overdue"]);
    Producer::new(cluster.address(), &[]).write(&topic, 0, &[Record::of("behind")]);
    assert_committed(cluster, &topic, &["behind"]);
    let late = producer.native().commit_transaction(GENEROUS);
    assert!(late.is_err(), "it was committed after all");
    assert_eq!(committed_texts(cluster, &topic), ["behind"]);
}

/// Open when the broker was killed, it is committed after that; and what was aborted before stays so.
pub fn a_transaction_goes_on_after_a_kill_of_the_broker(cluster: &mut Cluster) {
    let topic = Admin::new(cluster.address()).topic("surviving", 1, &[]);
    let name = unique("group");
    let outside = consumer(cluster.address(), &[("group.id", &name)]);
    let producer = transactional(cluster, &unique("id"), &[]);
    begin(&producer, &topic, &["dropped"]);
    abort(&producer);
    begin(&producer, &topic, &["a"]);
    send_offset(producer.native(), &topic, 5, &metadata(&outside)).unwrap();
    cluster.kill_and_restart();
    assert_eq!(committed_texts(cluster, &topic), Vec::<String>::new());
    producer.write(&topic, 0, &[Record::of("b")]);
    commit(&producer);
    let assert_whole = |cluster: &Cluster| {
        assert_committed(cluster, &topic, &["a", "b"]);
        assert_eq!(committed(cluster.address(), &name, &topic, 0).0, Offset::Offset(5));
    };
    if cluster.forgets_decided_transactions() {
        assert_whole(cluster);
    }
    cluster.kill_and_restart();
    assert_whole(cluster);
    begin(&producer, &topic, &["c"]);
    commit(&producer);
    assert_committed(cluster, &topic, &["a", "b", "c"]);
}
