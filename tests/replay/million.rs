//! A long history beside live traffic: how fast it goes, and what it costs the live events.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use super::endtoend::folder::Folder;
use super::endtoend::process::Process;
use super::endtoend::shop::order;
use super::endtoend::{topic, until};
use super::{FOREVER, pipeline};

/// Live orders a second.
const LIVE_RATE: u32 = 20;
const BASELINE: Duration = Duration::from_secs(15);

/// A target that keeps one row for each idempotency key, and when a live order came.
#[derive(Clone)]
struct Counter {
    address: SocketAddr,
    rows: Arc<Mutex<HashSet<String>>>,
    /// How often one came that has its row.
    repeats: Arc<AtomicUsize>,
    live: Arc<Mutex<BTreeMap<String, Instant>>>,
}

impl Counter {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counter =
            Self { address, rows: Arc::default(), repeats: Arc::default(), live: Arc::default() };
        let router = Router::new().fallback(count).with_state(counter.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        counter
    }

    fn rows(&self) -> usize {
        self.rows.lock().unwrap().len()
    }
}

async fn count(State(counter): State<Counter>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let key = headers.get("idempotency-key").unwrap().to_str().unwrap().to_owned();
    if headers.contains_key("passerelle-replay") {
        if !counter.rows.lock().unwrap().insert(key) {
            counter.repeats.fetch_add(1, Ordering::Relaxed);
        }
    } else {
        let sale: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let id = sale["web_id"].as_str().unwrap().to_owned();
        counter.live.lock().unwrap().insert(id, Instant::now());
    }
    StatusCode::CREATED
}

/// Sells live orders for a while; milliseconds from each call to its arrival at the target, sorted.
async fn sell(
    folder: &Folder,
    counter: &Counter,
    phase: &str,
    until_then: impl Fn() -> bool,
) -> Vec<u64> {
    let (shop, mut sent) = (folder.shop(), Vec::new());
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / LIVE_RATE);
    for number in 0.. {
        ticks.tick().await;
        if until_then() {
            break;
        }
        let id = format!("{phase}-{number}");
        sent.push((id.clone(), Instant::now()));
        shop.tell(&order(&id, &format!("C-{}", number % 50))).await;
    }
    let came = until("the last live order has come", async || {
        let live = counter.live.lock().unwrap();
        sent.iter().all(|(id, _)| live.contains_key(id)).then(|| live.clone())
    })
    .await;
    let waits = sent.iter().map(|(id, sent)| came[id].duration_since(*sent).as_millis());
    let mut waits: Vec<u64> = waits.map(|wait| u64::try_from(wait).unwrap()).collect();
    waits.sort_unstable();
    waits
}

fn percentiles(waits: &[u64]) -> String {
    let at = |share: usize| waits[(waits.len() - 1) * share / 100];
    format!("p50 {} ms, p99 {} ms, {} orders", at(50), at(99), waits.len())
}

/// Writes a sale that is there so many times, each with an id of its own, of 1,000 customers.
fn write_history(kafka: &str, sale: &topic::Record, events: usize) {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("compression.type", "lz4")
        .set("linger.ms", "20")
        .create()
        .unwrap();
    for number in 0..events {
        let (key, id) = (format!("H-{}", number % 1_000), format!("history-{number}"));
        let headers = sale.headers.iter().filter(|(name, _)| name != "ce_id");
        let headers = headers.fold(OwnedHeaders::new(), |all, (name, value)| {
            all.insert(Header { key: name, value: Some(value) })
        });
        let headers = headers.insert(Header { key: "ce_id", value: Some(&id) });
        let mut record = BaseRecord::to("old.sales")
            .key(&key)
            .payload(sale.value.as_ref().unwrap())
            .headers(headers);
        while let Err((_, back)) = producer.send(record) {
            std::thread::sleep(Duration::from_millis(5));
            record = back;
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
}

/// The history's topic, and the sink that only the replay's file knows.
const TOPIC: &str = "  old.sales: { partitions: 4, schema: sale.avsc }\n";
const ARCHIVE: &str =
    "  archive: { from: old.sales, to: erp, path: /sales, once: forever, concurrency: 32 }\n";

/// `just replay`: the figures go to standard output.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, for a release binary: `just replay`"]
async fn a_long_history_is_replayed_beside_live_traffic() {
    let events = std::env::var("PASSERELLE_REPLAY_EVENTS");
    let events = events.map_or(1_000_000, |events| events.parse().unwrap());
    let counter = Counter::start().await;
    let sections =
        pipeline(counter.address, FOREVER).replacen("sources:\n", &format!("{TOPIC}sources:\n"), 1);
    let folder = Folder::with(&sections);
    let text = std::fs::read_to_string(folder.path().join("pipeline.yaml")).unwrap();
    folder.write("replay.yaml", &(text + ARCHIVE));
    let mut process = folder.run().await;
    folder.shop().tell(&order("first", "C-0")).await;
    let sale = until("the first sale is there", async || {
        topic::read(folder.kafka(), "erp.sales").await.pop()
    })
    .await;
    let (kafka, started) = (folder.kafka(), Instant::now());
    let writing = tokio::task::spawn_blocking(move || write_history(&kafka, &sale, events));
    writing.await.unwrap();
    println!("{events} events written in {:.1} s", started.elapsed().as_secs_f64());

    let ends = Instant::now() + BASELINE;
    let alone = sell(&folder, &counter, "alone", || Instant::now() > ends).await;
    println!("live alone: {}", percentiles(&alone));

    let asked = ["replay", "archive", "replay.yaml", "--from-offset", "0"];
    let usual = [&asked[..], &["--to-offset", "1000"]].concat();
    let beside = run(&folder, &counter, "usual", &usual).await;
    println!("live beside a replay at the usual rate: {}", percentiles(&beside));
    assert_eq!(counter.rows(), 4_000.min(events));

    // The target gets about half of the history, then all of it.
    let end = (events / 8).to_string();
    let half = [&asked[..], &["--to-offset", &end, "--rate", "unlimited"]].concat();
    run(&folder, &counter, "half", &half).await;
    let (there, before) = (counter.rows(), counter.repeats.load(Ordering::Relaxed));
    let whole = [&asked[..], &["--rate", "unlimited"]].concat();
    let beside = run(&folder, &counter, "whole", &whole).await;
    println!("live beside a replay without limit: {}", percentiles(&beside));
    let known = counter.repeats.load(Ordering::Relaxed) - before;
    println!("{there} of {events} rows were there before; the target knew {known} by their keys");
    assert_eq!(counter.rows(), events, "one row for each event of the history");
    assert_eq!(known, there, "what was there came again under its key, and nothing else twice");
    process.assert_alive();
}

/// Runs a replay to its end, selling live orders meanwhile; how long those took.
async fn run(folder: &Folder, counter: &Counter, phase: &str, asked: &[&str]) -> Vec<u64> {
    let done = AtomicBool::new(false);
    let replaying = async {
        let mut process = Process::start(folder.path(), phase, asked);
        let status = process.ends_within(Duration::from_secs(3 * 60 * 60)).await;
        done.store(true, Ordering::Relaxed);
        assert!(status.success(), "{}", process.log());
        println!("{}", process.log().lines().last().unwrap_or_default());
    };
    let selling = sell(folder, counter, phase, || done.load(Ordering::Relaxed));
    futures::join!(replaying, selling).1
}
