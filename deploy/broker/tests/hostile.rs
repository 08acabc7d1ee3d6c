//! Every request is answered, and no request harms the broker.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{collections::BTreeMap, fs, time::Duration};

use bytes::{Buf, Bytes};
use kafka_protocol::{
    messages::{
        ApiKey, ApiVersionsResponse, MetadataRequest, MetadataResponse, RequestHeader,
        ResponseHeader, TopicName, metadata_request::MetadataRequestTopic,
    },
    protocol::{Decodable, Encodable, StrBytes},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use support::{
    Running, read,
    requests::{Sample, all, framed},
    send,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use uuid::Uuid;

async fn ask(stream: &mut TcpStream, frame: &[u8]) -> std::io::Result<Bytes> {
    stream.write_all(&framed(frame)).await?;
    let length = stream.read_u32().await?;
    let mut response = vec![0; length as usize];
    stream.read_exact(&mut response).await?;
    Ok(response.into())
}

async fn connect(running: &Running) -> TcpStream {
    TcpStream::connect(running.broker.address()).await.unwrap()
}

/// The id of a topic, as clients learn it.
async fn topic_id(running: &Running, topic: &str) -> Uuid {
    let mut frame = bytes::BytesMut::new();
    let header = RequestHeader::default()
        .with_request_api_key(ApiKey::Metadata as i16)
        .with_request_api_version(12);
    header.encode(&mut frame, 2).unwrap();
    let name = TopicName(StrBytes::from_string(topic.to_owned()));
    MetadataRequest::default()
        .with_topics(Some(vec![MetadataRequestTopic::default().with_name(Some(name))]))
        .encode(&mut frame, 12)
        .unwrap();
    let mut response = ask(&mut connect(running).await, &frame).await.unwrap();
    ResponseHeader::decode(&mut response, 1).unwrap();
    MetadataResponse::decode(&mut response, 12).unwrap().topics[0].topic_id
}

async fn served(running: &Running) -> BTreeMap<i16, (i16, i16)> {
    let samples = all(Uuid::nil());
    let sample = samples.iter().find(|sample| sample.key == ApiKey::ApiVersions as i16).unwrap();
    let mut response = ask(&mut connect(running).await, &sample.frame).await.unwrap();
    response.advance(4);
    let versions = ApiVersionsResponse::decode(&mut response, 0).unwrap();
    versions.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_announced_is_answered() {
    let running = Running::start().await;
    running.topic("orders", 2).await;
    let samples = all(topic_id(&running, "orders").await);
    let mut sampled: BTreeMap<i16, (i16, i16)> = BTreeMap::new();
    let mut stream = connect(&running).await;
    for Sample { key, version, frame } in &samples {
        let range = sampled.entry(*key).or_insert((*version, *version));
        *range = (range.0.min(*version), range.1.max(*version));
        let response = timeout(Duration::from_secs(20), ask(&mut stream, frame)).await;
        let response =
            response.unwrap_or_else(|_| panic!("API {key} version {version}: no answer"));
        let mut response =
            response.unwrap_or_else(|error| panic!("API {key} version {version}: {error}"));
        assert_eq!(response.get_i32(), 7, "API {key} version {version}");
    }
    assert_eq!(sampled, served(&running).await, "a sample of each");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_to_come_is_answered_with_those_there_are() {
    let running = Running::start().await;
    // ApiVersions, version 99, correlation 7, client id null, no tags.
    let frame = [0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 0];
    let mut response = ask(&mut connect(&running).await, &frame).await.unwrap();
    assert_eq!(response.get_i32(), 7);
    let versions = ApiVersionsResponse::decode(&mut response, 0).unwrap();
    assert_eq!(versions.error_code, 35);
    assert!(!versions.api_keys.is_empty());
}

/// Each of the names would be answered with a hundred partitions.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_asked_for_again_and_again_is_answered_once() {
    let running = Running::start().await;
    running.topic("orders", 100).await;
    let mut frame = bytes::BytesMut::new();
    let header = RequestHeader::default()
        .with_request_api_key(ApiKey::Metadata as i16)
        .with_request_api_version(1);
    header.encode(&mut frame, 1).unwrap();
    let name = TopicName(StrBytes::from_static_str("orders"));
    let topic = MetadataRequestTopic::default().with_name(Some(name));
    MetadataRequest::default()
        .with_topics(Some(vec![topic; 100_000]))
        .encode(&mut frame, 1)
        .unwrap();
    let response = ask(&mut connect(&running).await, &frame).await.unwrap();
    assert!(response.len() < 100_000, "{} bytes", response.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_on_one_connection_are_answered_in_order() {
    let running = Running::start().await;
    running.topic("orders", 2).await;
    let samples = all(topic_id(&running, "orders").await);
    let mut stream = connect(&running).await;
    let mut sent = Vec::new();
    for (correlation, sample) in (0_i32..).zip(&samples) {
        let mut frame = sample.frame.to_vec();
        frame[4..8].copy_from_slice(&correlation.to_be_bytes());
        sent.extend_from_slice(&framed(&frame));
    }
    let (mut receive, mut send) = stream.split();
    let writing = async { send.write_all(&sent).await.unwrap() };
    let reading = async {
        for correlation in 0..samples.len() {
            let length = receive.read_u32().await.unwrap();
            let mut response = vec![0; length as usize];
            receive.read_exact(&mut response).await.unwrap();
            assert_eq!(response[..4], (correlation as u32).to_be_bytes());
        }
    };
    timeout(Duration::from_secs(60), async { tokio::join!(writing, reading) }).await.unwrap();
}

fn mutated(random: &mut StdRng, frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    for _ in 0..random.random_range(1..4) {
        // Past the API's key and version, mostly: the rest is what is decoded.
        let from = if random.random_bool(0.9) { 4.min(frame.len()) } else { 0 };
        let at = random.random_range(from..=frame.len().max(from));
        match random.random_range(0..6) {
            0 if at < frame.len() => frame[at] ^= 1 << random.random_range(0..8),
            1 if at < frame.len() => frame[at] = random.random(),
            2 if at < frame.len() => {
                frame[at] = *[0x7f, 0x80, 0xff].get(random.random_range(0..3)).unwrap()
            }
            3 => frame.truncate(at),
            4 if at + 4 <= frame.len() => {
                let length: u32 = random.random();
                frame[at..at + 4].copy_from_slice(&length.to_be_bytes());
            }
            _ => frame.insert(at.min(frame.len()), random.random()),
        }
    }
    frame
}

fn memory(what: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

async fn attack(running: &Running, seed: u64, samples: &[Sample], count: usize) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut stream = connect(running).await;
    for _ in 0..count {
        let sample = &samples[random.random_range(0..samples.len())];
        let frame = mutated(&mut random, &sample.frame);
        let asked = timeout(Duration::from_millis(30), ask(&mut stream, &frame)).await;
        if !matches!(asked, Ok(Ok(_))) {
            stream = connect(running).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_mutated_requests_do_no_harm() {
    const ATTACKERS: u64 = 4;
    const EACH: usize = 25_000;
    let seed: u64 =
        std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("SEED={seed}");
    let directory = tempfile::TempDir::new().unwrap();
    let running = Running::configured(directory, |config| config.limits.partitions = 100).await;
    running.topic("orders", 2).await;
    running.topic("kept", 1).await;
    let producer = running.producer();
    send(&producer, "kept", 0, "before").await;
    let samples = all(topic_id(&running, "orders").await);
    let before = memory("VmRSS");
    let attacks = (0..ATTACKERS).map(|i| attack(&running, seed ^ i, &samples, EACH));
    futures::future::join_all(attacks).await;
    let (after, most) = (memory("VmRSS"), memory("VmPeak"));
    println!("{before} MiB before, {after} MiB after, {most} MiB of addresses at most");
    assert!(after < before + 200, "{before} MiB grew to {after} MiB");
    assert!(most < 8 << 10, "{most} MiB of addresses");
    send(&producer, "kept", 0, "after").await;
    let values = read(running.client(), "kept", 0, rdkafka::Offset::Beginning, 2).await;
    assert_eq!(values, ["before", "after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_beyond_the_limit_closes_the_connection() {
    let running = Running::start().await;
    for length in [0_u32, 1 << 31, u32::MAX, 101 << 20] {
        let mut stream = connect(&running).await;
        stream.write_all(&length.to_be_bytes()).await.unwrap();
        let answer = timeout(Duration::from_secs(20), stream.read(&mut [0; 16])).await.unwrap();
        assert_eq!(answer.unwrap(), 0, "{length} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_closed() {
    let directory = tempfile::TempDir::new().unwrap();
    let running = Running::configured(directory, |config| config.limits.connections = 3).await;
    let samples = all(Uuid::nil());
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(&running).await;
        ask(&mut stream, &samples[0].frame).await.unwrap();
        streams.push(stream);
    }
    assert!(ask(&mut connect(&running).await, &samples[0].frame).await.is_err());
    drop(streams.pop());
    // The place is free once the broker has noticed.
    for _ in 0..100 {
        if ask(&mut connect(&running).await, &samples[0].frame).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the place is not given to another");
}
