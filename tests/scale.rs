//! Three instances on an Apache Kafka of three nodes: partitions spread over them, and what waits
//! while one joins or leaves.
//!
//! `just scale`: it starts the nodes itself (tests/kafka) and takes minutes, so `cargo test` leaves
//! it out. No speed is asserted but that nothing stands still: the pauses are printed.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "endtoend/mod.rs"]
mod endtoend;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Json, State};
use axum::http::StatusCode;
use endtoend::folder::{Folder, free_address};
use endtoend::process::Process;
use endtoend::shop::order;
use endtoend::until;
use serde_json::Value;
use tempfile::TempDir;
use tests::apache_kafka::script;

/// Of the topic; each instance is to have a third of them.
const PARTITIONS: usize = 12;
/// Orders of so many customers are sold, one customer's one after another.
const CUSTOMERS: usize = 36;
/// An order of each customer so often.
const EVERY: Duration = Duration::from_millis(500);
/// How long events may wait for a rebalance on a machine that has nothing else to do.
const PROMISED: Duration = Duration::from_secs(2);
/// How long before it counts as standing still, on any machine.
const STILL: Duration = Duration::from_secs(30);

/// Three nodes, ended with the test.
struct Nodes {
    folder: TempDir,
    addresses: String,
}

impl Nodes {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        // Six ports in a row, of which nobody listens on the first.
        let first = free_address().port();
        kafka(&["start3", folder.path().to_str().unwrap(), &first.to_string()]);
        let addresses = (first..first + 3).map(|port| format!("127.0.0.1:{port}"));
        Self { folder, addresses: addresses.collect::<Vec<_>>().join(",") }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        kafka(&["kill", self.folder.path().to_str().unwrap()]);
    }
}

fn kafka(arguments: &[&str]) {
    assert!(Command::new(script()).args(arguments).status().unwrap().success(), "{arguments:?}");
}

/// A target that notes when an order came, and in which order those of a customer did.
#[derive(Clone, Default)]
struct Target(Arc<Mutex<Arrivals>>);

#[derive(Default)]
struct Arrivals {
    at: BTreeMap<String, Instant>,
    of_customer: BTreeMap<String, Vec<u64>>,
}

impl Target {
    async fn start() -> (Self, SocketAddr) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, target) = (listener.local_addr().unwrap(), Self::default());
        let router = Router::new().fallback(take).with_state(target.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (target, address)
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().at.len()
    }
}

async fn take(State(target): State<Target>, Json(order): Json<Value>) -> StatusCode {
    let id = order["id"].as_str().unwrap().to_owned();
    let (customer, number) = id.split_once('/').unwrap();
    let mut arrivals = target.0.lock().unwrap();
    let of_customer = arrivals.of_customer.entry(customer.to_owned()).or_default();
    of_customer.push(number.parse().unwrap());
    arrivals.at.entry(id).or_insert_with(Instant::now);
    StatusCode::CREATED
}

/// Orders that are sold until it is stopped, and when each was.
#[derive(Default)]
struct Sold {
    stop: AtomicBool,
    at: Mutex<BTreeMap<String, Instant>>,
}

/// Sells a customer's orders one after another.
async fn sell(folder: &Folder, customer: usize, sold: &Sold) {
    let shop = folder.shop();
    for number in 0_u64.. {
        if sold.stop.load(Ordering::Relaxed) {
            return;
        }
        let id = format!("C-{customer}/{number}");
        shop.tell(&order(&id, &format!("C-{customer}"))).await;
        sold.at.lock().unwrap().insert(id, Instant::now());
        tokio::time::sleep(EVERY).await;
    }
}

/// Sells the orders of all customers on a thread of its own.
fn selling(folder: Arc<Folder>, sold: Arc<Sold>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let shops = (0..CUSTOMERS).map(|customer| sell(&folder, customer, &sold));
        runtime.block_on(futures::future::join_all(shops));
    })
}

/// The longest time that an order acknowledged since then has waited for the target, or still waits.
fn pause(sold: &Sold, target: &Target, since: Instant) -> Duration {
    let arrivals = target.0.lock().unwrap();
    let sold = sold.at.lock().unwrap();
    let waited = sold.iter().filter(|(_, at)| **at >= since).map(|(id, at)| {
        arrivals.at.get(id).map_or(at.elapsed(), |came| came.saturating_duration_since(*at))
    });
    waited.max().unwrap_or_default()
}

/// An instance of the pipeline: only the first takes webhooks.
fn instance(nodes: &Nodes, registry: SocketAddr, target: SocketAddr) -> Folder {
    let folder = Folder::with("");
    folder.set_pipeline(&format!(
        r#"
kafka: {{ brokers: "{}" }}
registry: {{ url: "http://{registry}" }}
connections:
  erp: {{ http: {{ url: "http://{target}", allow_private: true }} }}
topics:
  shop.orders: {{ partitions: {PARTITIONS}, schema: order.avsc }}
sources:
  shop:
    webhook: {{ path: /shop, signature: {{ standard_webhooks: "${{file:shop.secret}}" }} }}
    to: shop.orders
    key: .customer.id
sinks:
  sales: {{ from: shop.orders, to: erp, concurrency: 8 }}
"#,
        nodes.addresses
    ));
    folder
}

/// Events that each instance has delivered.
async fn delivered(instances: &[&Folder]) -> Vec<f64> {
    let mut counts = Vec::new();
    for folder in instances {
        let line = r#"passerelle_records_out_total{pipeline="orders",route="sales""#;
        counts.push(folder.operators().metric(line).await);
    }
    counts
}

/// Waits until each instance delivers; how they share the work from now on.
async fn spread(instances: &[&Folder]) -> Vec<f64> {
    let before = delivered(instances).await;
    until("each instance delivers", async || {
        let now = delivered(instances).await;
        now.iter().zip(&before).all(|(now, before)| now - before >= 20.0).then_some(())
    })
    .await;
    let now = delivered(instances).await;
    let shares: Vec<f64> = now.iter().zip(&before).map(|(now, before)| now - before).collect();
    let whole: f64 = shares.iter().sum();
    shares.iter().map(|share| share / whole).collect()
}

fn told(what: &str, pause: Duration, shares: &[f64]) {
    let shares: Vec<String> =
        shares.iter().map(|share| format!("{:.0} %", share * 100.0)).collect();
    let verdict = if pause <= PROMISED { "within" } else { "over" };
    println!(
        "{what}: the longest wait {:.2} s ({verdict} {PROMISED:?}), shares {}",
        pause.as_secs_f64(),
        shares.join(", ")
    );
    assert!(pause < STILL, "{what}: an order waited {pause:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it starts an Apache Kafka of three nodes: `just scale`"]
async fn three_instances_share_the_partitions_and_hand_them_over_without_standing_still() {
    let nodes = Nodes::start();
    let (target, address) = Target::start().await;
    let (home, registry) = (TempDir::new().unwrap(), free_address());
    let (broker, listen) = (free_address().to_string(), registry.to_string());
    let arguments = ["broker", "--data", "data", "--listen", &broker, "--registry", &listen];
    let _registry = Process::start(home.path(), "registry", &arguments);
    let first = Arc::new(instance(&nodes, registry, address));
    let _first = first.run().await;
    let sold = Arc::new(Sold::default());
    let shops = selling(Arc::clone(&first), Arc::clone(&sold));
    let began = Instant::now();
    let alone = spread(&[&first]).await;
    told("one instance", pause(&sold, &target, began), &alone);

    let joins = Instant::now();
    let second = instance(&nodes, registry, address);
    let second_process = second.run().await;
    let shares = spread(&[&first, &second]).await;
    told("a second joins", pause(&sold, &target, joins), &shares);

    let joins = Instant::now();
    let third = instance(&nodes, registry, address);
    let _third = third.run().await;
    let shares = spread(&[&first, &second, &third]).await;
    told("a third joins", pause(&sold, &target, joins), &shares);
    let fair = 1.0 / 3.0;
    let even = shares.iter().all(|share| (share - fair).abs() < 0.2);
    assert!(even, "each has about a third of {PARTITIONS} partitions: {shares:?}");

    let leaves = Instant::now();
    assert!(second_process.terminate().await.success());
    let shares = spread(&[&first, &third]).await;
    told("the second leaves", pause(&sold, &target, leaves), &shares);

    sold.stop.store(true, Ordering::Relaxed);
    tokio::task::spawn_blocking(move || shops.join()).await.unwrap().unwrap();
    let orders = sold.at.lock().unwrap().len();
    until("the target has every order", async || (target.count() >= orders).then_some(())).await;
    let arrivals = target.0.lock().unwrap();
    for (customer, numbers) in &arrivals.of_customer {
        let once: Vec<u64> = (0..numbers.len() as u64).collect();
        assert_eq!(*numbers, once, "{customer}: each order once and in order");
    }
}
