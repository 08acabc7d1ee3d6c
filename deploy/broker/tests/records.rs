//! Records go in and come out, in order, and stay.

mod support;

use std::time::{Duration, Instant};

use broker::{Broker, BrokerError, Config};
use rdkafka::{
    Offset,
    consumer::{BaseConsumer, Consumer},
};
use support::{Running, read, send};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_produced_is_consumed_in_order() {
    let running = Running::start().await;
    running.topic("orders", 3).await;
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let producer: rdkafka::producer::FutureProducer =
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
    let mut assigned = rdkafka::TopicPartitionList::new();
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
    assert!(waits[10] < Duration::from_millis(100), "{waits:?}");
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
