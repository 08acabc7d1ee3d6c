//! What an application allows a second, for two instances of a pipeline that do not know of each other.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "endtoend/mod.rs"]
mod endtoend;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Json, State};
use axum::http::StatusCode;
use endtoend::folder::{Folder, free_address};
use endtoend::shop::order;
use endtoend::until;
use serde_json::Value;

/// What the application allows a second.
const ALLOWED: usize = 20;
const CUSTOMERS: usize = 24;
/// Of each instance.
const CONCURRENCY: usize = 8;
/// Of each customer.
const ORDERS: usize = 32;

/// An application that notes what it was asked, and when.
#[derive(Clone, Default)]
struct Application(Arc<Mutex<Vec<(Instant, String)>>>);

impl Application {
    async fn start() -> (Self, SocketAddr) {
        let listener = tokio::net::TcpListener::bind(free_address()).await.unwrap();
        let (address, application) = (listener.local_addr().unwrap(), Self::default());
        let router = Router::new().fallback(take).with_state(application.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (application, address)
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// How many requests come for a while from now on, and how many of them were allowed.
    async fn asked_within(&self, time: Duration) -> (usize, f64) {
        let (before, started) = (self.count(), Instant::now());
        tokio::time::sleep(time).await;
        (self.count() - before, ALLOWED as f64 * started.elapsed().as_secs_f64())
    }

    /// The most requests that ever came within so long.
    fn most_within(&self, time: Duration) -> usize {
        let asked = self.0.lock().unwrap();
        let of = |from: Instant| {
            asked.iter().filter(move |(at, _)| *at >= from && at.duration_since(from) < time)
        };
        asked.iter().map(|(at, _)| of(*at).count()).max().unwrap_or_default()
    }
}

async fn take(State(application): State<Application>, Json(order): Json<Value>) -> StatusCode {
    let id = order["id"].as_str().unwrap().to_owned();
    application.0.lock().unwrap().push((Instant::now(), id));
    StatusCode::CREATED
}

/// An instance of the pipeline, on these brokers.
fn instance(folder: &Folder, brokers: &str, application: SocketAddr) {
    folder.set_pipeline(&format!(
        r#"
{brokers}
connections:
  erp: {{ http: {{ url: "http://{application}", allow_private: true, limits: {{ per_second: {ALLOWED} }} }} }}
topics:
  shop.orders: {{ partitions: 6, schema: order.avsc }}
sources:
  shop:
    webhook: {{ path: /shop, signature: {{ standard_webhooks: "${{file:shop.secret}}" }} }}
    to: shop.orders
    key: .customer.id
sinks:
  sales: {{ from: shop.orders, to: erp, concurrency: {CONCURRENCY} }}
"#
    ));
}

async fn sell(folder: &Folder, customer: usize) {
    let (shop, customer) = (folder.shop(), format!("C-{customer}"));
    for number in 0..ORDERS {
        shop.tell(&order(&format!("{customer}/{number}"), &customer)).await;
    }
}

/// Whether so many are no more than what is allowed, and most of it: what a busy machine is late with it
/// makes up for only in part, and what had been under way may be noted late.
fn is_shared((asked, allowed): (usize, f64), instances: usize) -> bool {
    let late = instances * (CONCURRENCY + 1);
    (0.6 * allowed..allowed + late as f64).contains(&(asked as f64))
}

async fn delivered(folder: &Folder) -> f64 {
    let line = r#"passerelle_records_out_total{pipeline="orders",route="sales""#;
    folder.operators().metric(line).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_together_ask_no_more_than_the_application_allows() {
    let (application, address) = Application::start().await;
    let first = Folder::with("");
    instance(&first, "", address);
    let _first = first.run().await;
    futures::future::join_all((0..CUSTOMERS).map(|customer| sell(&first, customer))).await;
    let alone = application.asked_within(Duration::from_secs(3)).await;
    assert!(is_shared(alone, 1), "one instance has it all: {alone:?}");

    let addresses = std::fs::read(first.path().join("data/addresses.json")).unwrap();
    let addresses: Value = serde_json::from_slice(&addresses).unwrap();
    let brokers = format!(
        "kafka: {{ brokers: {} }}\nregistry: {{ url: {} }}",
        addresses["kafka"], addresses["registry"]
    );
    let second = Folder::with("");
    instance(&second, &brokers, address);
    let second_process = second.run().await;
    until("the second delivers", async || (delivered(&second).await >= 1.0).then_some(())).await;
    let before = [delivered(&first).await, delivered(&second).await];
    let together = application.asked_within(Duration::from_secs(4)).await;
    let after = [delivered(&first).await, delivered(&second).await];
    assert!(is_shared(together, 2), "both share it: {together:?}");
    let each = [after[0] - before[0], after[1] - before[1]];
    let all = each[0] + each[1];
    assert!(each.iter().all(|count| *count >= all / 4.0), "about half of it each: {each:?}");

    assert!(second_process.terminate().await.success());
    let own = delivered(&first).await;
    until("the first has it all again", async || {
        let before = delivered(&first).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        (delivered(&first).await - before >= 17.0 || application.count() >= CUSTOMERS * ORDERS)
            .then_some(())
    })
    .await;
    assert!(delivered(&first).await > own);
    until("every order is delivered", async || {
        (application.count() >= CUSTOMERS * ORDERS).then_some(())
    })
    .await;
    // The seconds of two instances do not begin together: each may have one more in one of ours. And
    // what a busy machine notes late comes with what follows.
    let busiest = application.most_within(Duration::from_secs(5));
    println!("{alone:?} alone, {together:?} together ({each:?}), {busiest} in the busiest 5 s");
    assert!(busiest <= 5 * ALLOWED + 2 * (CONCURRENCY + 1), "{busiest} in five seconds");
    let mut next: BTreeMap<String, usize> = BTreeMap::new();
    for (_, id) in application.0.lock().unwrap().iter() {
        let (customer, number) = id.split_once('/').unwrap();
        let next = next.entry(customer.to_owned()).or_default();
        assert_eq!(number.parse::<usize>().unwrap(), *next, "{customer}: once, and in order");
        *next += 1;
    }
}
