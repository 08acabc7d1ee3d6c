//! Records go in and come out, in order, and stay.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use broker::{Broker, BrokerError, Config};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    producer::{FutureProducer, FutureRecord},
};
use support::{Running, read, send};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_produced_is_consumed_in_order() {
    let running = Running::start().await;
    running.topic("orders", 3).await;
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let producer: FutureProducer =
            running.client().set("compression.codec", codec).create().unwrap();
        for i in 0..100 {
            send(&producer, "orders", 1, &format!("{codec} {i}")).await;
        }
    }
    let values = read(running.client(), "orders", 1, Offset::Beginning, 500).await;
    assert_eq!(values[0], "none 0");
    assert_eq!(values[499], "zstd 99");
    let tail = read(running.client(), "orders", 1, Offset::Offset(250), 250).await;
    assert_eq!(tail, values[250..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_everything() {
    let mut running = Running::start().await;
    running.topic("orders", 2).await;
    let mut expected = Vec::new();
    for round in 0..3 {
        let producer = running.producer();
        for i in 0..50 {
            let value = format!("{round} {i}");
            assert_eq!(send(&producer, "orders", 0, &value).await, expected.len() as i64);
            expected.push(value);
        }
        drop(producer);
        running = running.restart().await;
        let values = read(running.client(), "orders", 0, Offset::Beginning, expected.len()).await;
        assert_eq!(values, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_consumer_sees_a_record_at_once() {
    let running = Running::start().await;
    running.topic("orders", 1).await;
    let producer = running.producer();
    send(&producer, "orders", 0, "first").await;
    let consumer: BaseConsumer = running.client().set("group.id", "waiting").create().unwrap();
    let mut assigned = TopicPartitionList::new();
    assigned.add_partition_offset("orders", 0, Offset::Offset(0)).unwrap();
    consumer.assign(&assigned).unwrap();
    consumer.poll(Duration::from_secs(20)).unwrap().unwrap();
    let mut waits = Vec::new();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        send(&producer, "orders", 0, "next").await;
        let acknowledged = Instant::now();
        consumer.poll(Duration::from_secs(20)).unwrap().unwrap();
        waits.push(acknowledged.elapsed());
    }
    waits.sort_unstable();
    // A long poll's time-out is 500 ms: a consumer that is not woken waits for half of it.
    assert!(waits[10] < Duration::from_millis(200), "{waits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topic_handle_appends_and_reads() {
    let running = Running::start().await;
    running.topic("_schemas", 1).await;
    let topic = running.broker.topic("_schemas").unwrap();
    assert_eq!(topic.append(Some("a".into()), Some("1".into())).await.unwrap(), 0);
    assert_eq!(topic.append(Some("b".into()), None).await.unwrap(), 1);
    assert_eq!(topic.end().unwrap(), 2);
    let records = topic.read(0).await.unwrap();
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].value.as_deref(), Some(&b"1"[..]));
    assert_eq!((records[1].key.as_deref(), &records[1].value), (Some(&b"b"[..]), &None));
    assert!(topic.read(2).await.unwrap().is_empty());
    let values = read(running.client(), "_schemas", 0, Offset::Beginning, 2).await;
    assert_eq!(values, ["1", ""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_broker_on_the_folder_is_refused() {
    let running = Running::start().await;
    let second = Broker::start(Config::new(running.directory.path().join("data"))).await;
    let error = second.unwrap_err();
    assert!(matches!(error, BrokerError::Locked { .. }), "{error}");
    let _ = running.restart().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_others_can_reach_must_be_allowed() {
    let directory = tempfile::TempDir::new().unwrap();
    let mut config = Config::new(directory.path());
    config.listen = "0.0.0.0:0".parse().unwrap();
    let error = Broker::start(config.clone()).await.unwrap_err();
    assert!(matches!(error, BrokerError::Remote { .. }), "{error}");
    config.allow_remote = true;
    Broker::start(config).await.unwrap().shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_finds_the_first_record_since() {
    let running = Running::start().await;
    running.topic("orders", 1).await;
    let producer = running.producer();
    let at = |minute| 1_700_000_000_000 + minute * 60_000_i64;
    for minute in 0..100 {
        let record =
            FutureRecord::to("orders").partition(0).key("k").payload("v").timestamp(at(minute));
        producer.send(record, Duration::from_secs(20)).await.unwrap();
    }
    let consumer: BaseConsumer = running.client().set("group.id", "seeker").create().unwrap();
    let find = |timestamp: i64| {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_offset("orders", 0, Offset::Offset(timestamp)).unwrap();
        let found = consumer.offsets_for_times(asked, Duration::from_secs(20)).unwrap();
        found.elements()[0].offset()
    };
    assert_eq!(find(0), Offset::Offset(0));
    assert_eq!(find(at(50)), Offset::Offset(50));
    assert_eq!(find(at(50) + 1), Offset::Offset(51));
    assert_eq!(find(at(100)), Offset::End);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_nobody_waits_for_arrive_too() {
    let running = Running::start().await;
    running.topic("orders", 1).await;
    let producer: FutureProducer = running.client().set("acks", "0").create().unwrap();
    for i in 0..20 {
        send(&producer, "orders", 0, &i.to_string()).await;
    }
    let values = read(running.client(), "orders", 0, Offset::Beginning, 20).await;
    assert_eq!(values[19], "19");
}

/// Flips a bit in the middle of the largest segment of the partitions of a number.
fn damage(data: &Path, partition: &str) {
    let mut segments = Vec::new();
    for topic in fs::read_dir(data.join("topics")).unwrap() {
        let Ok(files) = fs::read_dir(topic.unwrap().path().join(partition)) else { continue };
        let files = files.map(|file| file.unwrap().path());
        segments.extend(files.filter(|file| file.extension().is_some_and(|kind| kind == "log")));
    }
    let largest = segments.iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = fs::read(largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(largest, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_partition_says_so_and_the_others_serve() {
    let running = Running::start().await;
    running.topic("orders", 2).await;
    let producer = running.producer();
    for i in 0..20 {
        send(&producer, "orders", 1, &format!("{i} {}", "x".repeat(100))).await;
    }
    send(&producer, "orders", 0, "whole").await;
    drop(producer);
    let Running { broker, directory } = running;
    broker.shutdown().await;
    damage(&directory.path().join("data"), "1");
    let running = Running::on(directory).await;
    assert_eq!(read(running.client(), "orders", 0, Offset::Beginning, 1).await, ["whole"]);
    let producer = running.producer();
    send(&producer, "orders", 0, "still whole").await;
    let first = read(running.client(), "orders", 1, Offset::Beginning, 1).await;
    assert!(first[0].starts_with("0 "), "what is before the damage is served");
    let impatient: FutureProducer =
        running.client().set("message.timeout.ms", "1000").create().unwrap();
    // The damage shows once a reader comes to it; from then on the partition takes no more.
    let record = || FutureRecord::to("orders").partition(1).key("k").payload("v");
    let is_taken = async || impatient.send(record(), Duration::from_secs(20)).await.is_ok();
    let begun = Instant::now();
    while is_taken().await {
        assert!(begun.elapsed() < Duration::from_secs(60), "a damaged partition takes records");
        read(running.client(), "orders", 1, Offset::Beginning, 5).await;
    }
}
