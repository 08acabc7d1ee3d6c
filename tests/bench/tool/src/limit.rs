//! The limit: rdkafka that reads and writes the same records with no work between.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::Write as _,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message as _,
    consumer::{BaseConsumer, Consumer as _},
    error::RDKafkaErrorCode,
    producer::{BaseRecord, DefaultProducerContext, ThreadedProducer},
};

use tokio::sync::mpsc;

use crate::{
    arguments::Arguments,
    http::{Connection, Url},
};

/// So many records wait for a connection at most.
const WAITING: usize = 1_000;

/// Librdkafka's own defaults, but for what is said of all contestants: begin at the beginning.
fn consumer(kafka: &str, topic: &str) -> BaseConsumer {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("group.id", format!("limit.{topic}.{}", std::process::id()))
        .set("auto.offset.reset", "earliest")
        .set("auto.commit.interval.ms", "1000")
        .set("fetch.queue.backoff.ms", "10")
        .create()
        .unwrap();
    consumer.subscribe(&[topic]).unwrap();
    consumer
}

/// Copies a topic until it is ended.
pub fn copy(arguments: &mut Arguments) {
    let (kafka, from, to) = (arguments.word(), arguments.word(), arguments.word());
    let consumer = consumer(&kafka, &from);
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", "lz4")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "5")
        .create()
        .unwrap();
    loop {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.unwrap();
        let mut record = BaseRecord::<[u8], [u8]>::to(&to);
        (record.key, record.payload) = (message.key(), message.payload());
        while let Err((error, back)) = producer.send(record) {
            assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{error}");
            std::thread::sleep(Duration::from_millis(1));
            record = back;
        }
    }
}

/// Posts the records of a topic as they are, until it is ended, in the order of their key: each key has
/// its connection. Nothing is kept of what was posted.
pub async fn carry(arguments: &mut Arguments) {
    let (kafka, from, url) = (arguments.word(), arguments.word(), Url::new(&arguments.word()));
    let connections: u64 = arguments.option("connections");
    let mut lanes = Vec::new();
    for _ in 0..connections {
        let (lane, mut records) = mpsc::channel::<String>(WAITING);
        lanes.push(lane);
        let mut connection = Connection::open(&url.address).await.unwrap();
        let url = url.clone();
        tokio::spawn(async move {
            while let Some(body) = records.recv().await {
                assert_eq!(connection.post(&url, &body).await.unwrap(), 200);
            }
        });
    }
    let read = move || {
        let consumer = consumer(&kafka, &from);
        loop {
            let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
            let message = message.unwrap();
            let mut hasher = DefaultHasher::new();
            message.key().hash(&mut hasher);
            let lane = &lanes[(hasher.finish() % connections) as usize];
            let body = str::from_utf8(message.payload().unwrap()).unwrap().to_owned();
            lane.blocking_send(body).unwrap();
        }
    };
    tokio::task::spawn_blocking(read).await.unwrap();
}

/// Reads a topic and does nothing: the limit of a replay.
pub fn consume(arguments: &mut Arguments) {
    let (kafka, from) = (arguments.word(), arguments.word());
    let consumer = consumer(&kafka, &from);
    let (started, mut told, mut count) = (Instant::now(), Instant::now(), 0_u64);
    loop {
        if let Some(message) = consumer.poll(Duration::from_millis(50)) {
            message.unwrap();
            count += 1;
        }
        if told.elapsed() > Duration::from_millis(100) {
            println!("{:.3} {count}", started.elapsed().as_secs_f64());
            std::io::stdout().flush().unwrap();
            told = Instant::now();
        }
    }
}
