//! Writing records and reading them back.

use std::{
    thread,
    time::{Duration, Instant},
};

use rand::RngCore as _;
use rdkafka::{
    Message as _, Offset, Timestamp,
    error::RDKafkaErrorCode::{
        InvalidTimestamp, MessageSizeTooLarge, UnknownPartition, UnknownTopic,
        UnknownTopicOrPartition,
    },
};
use tests::{
    admin::{Admin, unique},
    cluster::Cluster,
    consumer::{read, read_all, reader, watermarks},
    deadline::GENEROUS,
    producer::{Placed, Producer, Receipt},
    record::Record,
};

/// A moment in November 2023, in milliseconds since 1970.
const THEN: i64 = 1_700_000_000_000;
/// So that records of [`THEN`] stay.
const KEPT_FOR_EVER: (&str, &str) = ("retention.ms", "-1");

fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    rand::rng().fill_bytes(&mut noise);
    noise
}

/// Every shape that a record can have.
fn shapes() -> Vec<Record> {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let empty = || Some(Vec::new());
    let header = |name: &str, value| (name.to_owned(), value);
    let shapes = [
        Record::of("a value alone"),
        Record::of("a value").keyed("a key"),
        Record { key: text("a tombstone"), ..Record::default() },
        Record { value: empty(), key: empty(), ..Record::default() },
        Record::default(),
        Record::of([0xff, 0x00, 0xfe]).keyed([0x00, 0xff]),
        Record::of("compresses well ".repeat(2000)).keyed("long"),
        Record::of(noise(20_000)).keyed("incompressible"),
        Record {
            headers: vec![
                header("ce_id", text("1")),
                header("again", text("first")),
                header("again", text("second")),
                header("null", None),
                header("empty", empty()),
                header("binary", Some(vec![0, 255, 128])),
                header("n\u{e4}me", text("name of several bytes a letter")),
            ],
            ..Record::of("with headers").keyed("headers")
        },
    ];
    // Timestamps that go back and forth, and a very old one.
    let times = [THEN, THEN + 5000, THEN - 86_400_000, 1, THEN].into_iter().cycle();
    shapes.into_iter().cycle().take(60).zip(times).map(|(record, time)| record.at(time)).collect()
}

pub fn every_codec_is_read_back_byte_identical(cluster: &mut Cluster) {
    let admin = Admin::new(cluster.address());
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = admin.topic(codec, 1, &[KEPT_FOR_EVER]);
        let settings = [("compression.codec", codec), ("linger.ms", "50")];
        let records = shapes();
        let placed = Producer::new(cluster.address(), &settings).write(&topic, 0, &records);
        let seen = read_all(cluster.address(), &topic, 0);
        assert_eq!(seen.len(), records.len(), "{codec}");
        for (((record, placed), seen), offset) in records.iter().zip(placed).zip(&seen).zip(0..) {
            assert_eq!(placed, Placed { partition: 0, offset }, "{codec}");
            assert_eq!((seen.partition, seen.offset), (0, offset), "{codec}");
            assert_eq!(&seen.record, record, "{codec}, offset {offset}");
        }
    }
}

pub fn a_big_record_is_read_back(cluster: &mut Cluster) {
    const LIMIT: (&str, &str) = ("message.max.bytes", "9000000");
    let admin = Admin::new(cluster.address());
    let topic = admin.topic("big", 1, &[("max.message.bytes", "9000000"), KEPT_FOR_EVER]);
    let big = Record::of(noise(8_000_000)).keyed("big").at(THEN + 1);
    let records = [Record::of("before").at(THEN), big, Record::of("after").at(THEN + 2)];
    Producer::new(cluster.address(), &[LIMIT]).write(&topic, 0, &records);
    let seen = read(&reader(cluster.address(), &topic, 0, Offset::Beginning), 3);
    let same = seen.iter().map(|seen| &seen.record).eq(&records);
    assert!(same, "a record of 8 MB came back changed");
}

pub fn a_record_larger_than_the_topic_allows_is_refused_and_the_next_is_taken(
    cluster: &mut Cluster,
) {
    let admin = Admin::new(cluster.address());
    let topic = admin.topic("limited", 1, &[("max.message.bytes", "10000")]);
    let producer = Producer::new(cluster.address(), &[("message.max.bytes", "9000000")]);
    let refused = producer.send(&topic, Some(0), &Record::of(noise(10_001))).unwrap().wait();
    assert_eq!(refused, Err(MessageSizeTooLarge));
    producer.write(&topic, 0, &[Record::of(noise(9_000))]);
    assert_eq!(watermarks(cluster.address(), &topic, 0), (0, 1));
}

pub fn a_topic_can_stamp_records_with_its_own_clock(cluster: &mut Cluster) {
    let admin = Admin::new(cluster.address());
    let topic = admin.topic("stamped", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let before = Timestamp::now().to_millis().unwrap();
    Producer::new(cluster.address(), &[]).write(&topic, 0, &[Record::of("x").at(THEN)]);
    let reader = reader(cluster.address(), &topic, 0, Offset::Beginning);
    let message = reader.poll(GENEROUS).unwrap().unwrap();
    let Timestamp::LogAppendTime(stamp) = message.timestamp() else {
        panic!("stamped by the producer: {:?}", message.timestamp());
    };
    let now = Timestamp::now().to_millis().unwrap();
    assert!((before..=now).contains(&stamp), "{before} ≤ {stamp} ≤ {now}");
}

pub fn a_timestamp_far_from_the_brokers_clock_is_refused(cluster: &mut Cluster) {
    const MINUTE: i64 = 60_000;
    let admin = Admin::new(cluster.address());
    let plain = admin.topic("timed", 1, &[KEPT_FOR_EVER]);
    let bounds = [
        ("message.timestamp.before.max.ms", "1800000"),
        ("message.timestamp.after.max.ms", "18000000"),
    ];
    let bound = admin.topic("bound", 1, &bounds);
    let producer = Producer::new(cluster.address(), &[]);
    let now = Timestamp::now().to_millis().unwrap();
    for (topic, minutes, taken) in [
        (&plain, 30, true),
        (&plain, 90, false),
        (&plain, -100_000, true),
        (&bound, -20, true),
        (&bound, -40, false),
        (&bound, 240, true),
        (&bound, 360, false),
    ] {
        let record = Record::of("x").at(now + minutes * MINUTE);
        let written = producer.send(topic, Some(0), &record).unwrap().wait().map(drop);
        let expected = if taken { Ok(()) } else { Err(InvalidTimestamp) };
        assert_eq!(written, expected, "{minutes} minutes from now");
    }
    assert_eq!(watermarks(cluster.address(), &plain, 0).1, 2);
}

pub fn records_are_taken_with_any_kind_of_acknowledgement(cluster: &mut Cluster) {
    let admin = Admin::new(cluster.address());
    for acks in ["0", "1", "all"] {
        let topic = admin.topic("acknowledged", 1, &[]);
        Producer::new(cluster.address(), &[("acks", acks)]).write(
            &topic,
            0,
            &vec![Record::of("x"); 10],
        );
        let seen = read(&reader(cluster.address(), &topic, 0, Offset::Beginning), 10);
        assert!(seen.iter().map(|seen| seen.offset).eq(0..10), "acks={acks}");
    }
}

pub fn a_topic_nobody_created_is_refused_and_not_created(cluster: &mut Cluster) {
    let topic = unique("unknown");
    let impatient = [("topic.metadata.propagation.max.ms", "100")];
    let producer = Producer::new(cluster.address(), &impatient);
    let refused = producer.send(&topic, None, &Record::of("x")).and_then(Receipt::wait);
    assert!(
        matches!(refused, Err(UnknownTopic | UnknownTopicOrPartition | UnknownPartition)),
        "{refused:?}"
    );
    assert!(!Admin::new(cluster.address()).topics().contains(&topic));
}

/// A consumer's fetch waits at the broker, for a minute if nothing comes: what comes must end it.
pub fn an_append_is_seen_by_a_waiting_consumer(cluster: &mut Cluster) {
    const BOUND: Duration = Duration::from_secs(30);
    let topic = Admin::new(cluster.address()).topic("awaited", 1, &[]);
    let producer = Producer::new(cluster.address(), &[("linger.ms", "0")]);
    producer.write(&topic, 0, &[Record::of("warm up")]);
    let waits = [("fetch.wait.max.ms", "60000"), ("socket.timeout.ms", "90000")];
    let consumer = tests::consumer::consumer(cluster.address(), &waits);
    let start = tests::consumer::position(&topic, 0, Offset::Beginning);
    rdkafka::consumer::Consumer::assign(&consumer, &start).unwrap();
    read(&consumer, 1);
    let mut took: Vec<_> = (0..20)
        .map(|_| {
            thread::sleep(Duration::from_millis(50));
            let started = Instant::now();
            let receipt = producer.send(&topic, Some(0), &Record::of("event")).unwrap();
            read(&consumer, 1);
            receipt.wait().unwrap();
            started.elapsed()
        })
        .collect();
    took.sort();
    let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
    println!("{}: written to read, median {median:?}, longest {longest:?}", cluster.name());
    assert!(longest < BOUND, "an event was seen only after {longest:?}");
}
