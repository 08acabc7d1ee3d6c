//! Orders on their way to an application: each arrives, in its customer's order, however the process
//! or the target fails meanwhile.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "endtoend/mod.rs"]
mod endtoend;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use endtoend::folder::{Folder, ORDERS_TO_SALES, free_address};
use endtoend::process::Process;
use endtoend::shop::order;
use endtoend::target::{Request, Target};
use endtoend::{topic, until};
use rand::Rng as _;
use tests::broker_process::BrokerProcess;
use tests::gate::{Gate, Login};

tests::broker_process!();

const CONCURRENCY: usize = 4;

const TO_THE_TARGET: &str = r#"
connections:
  erp: { http: { url: "http://TARGET", allow_private: true, timeout: 5s } }
sinks:
  sales: { from: erp.sales, to: erp, path: /sales, concurrency: 4, backoff: { initial: 100ms, max: 500ms } }
"#;

/// The pipeline that delivers to a target.
fn pipeline(target: SocketAddr) -> String {
    ORDERS_TO_SALES.to_owned() + &TO_THE_TARGET.replace("TARGET", &target.to_string())
}

const DEAD_LETTERS: &str = "orders.sales.dead-letters";

async fn dead_letters(folder: &Folder) -> Vec<topic::Record> {
    topic::read(folder.kafka(), DEAD_LETTERS).await
}

/// A folder with the pipeline, and the target that it delivers to.
async fn world(delay: Duration) -> (Folder, Target) {
    let target = Target::start(delay).await;
    let folder = Folder::with(&pipeline(target.address));
    (folder, target)
}

/// Sells so many orders to each customer, one after the other, all customers at once.
async fn sell(folder: &Folder, customers: usize, orders: usize) {
    let selling = (0..customers).map(async |customer| {
        let shop = folder.shop();
        for number in 0..orders {
            let id = format!("C-{customer}/{number:04}");
            shop.tell(&order(&id, &format!("C-{customer}"))).await;
        }
    });
    futures::future::join_all(selling).await;
}

/// Each customer's orders arrived one after the other: a repeat may go back, nothing goes ahead.
fn assert_in_order(taken: &[Request]) {
    let mut arrived: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for request in taken {
        let (customer, number) = request.text("web_id").split_once('/').unwrap();
        arrived.entry(customer).or_default().push(number.parse().unwrap());
    }
    for (customer, numbers) in arrived {
        let mut next = 0;
        for number in &numbers {
            assert!(*number <= next, "{customer}: {number} before {next} in {numbers:?}");
            next = next.max(number + 1);
        }
        assert_eq!(numbers.last(), Some(&(next - 1)), "{customer} ends with its last: {numbers:?}");
    }
}

/// An order has one idempotency key, and a key one order, however often it was sent.
fn assert_one_key_an_order(requests: &[Request]) {
    let pairs: BTreeSet<_> =
        requests.iter().map(|request| (request.text("web_id"), request.key.as_str())).collect();
    let orders: BTreeSet<_> = pairs.iter().map(|(order, _)| order).collect();
    let keys: BTreeSet<_> = pairs.iter().map(|(_, key)| key).collect();
    assert_eq!((orders.len(), keys.len()), (pairs.len(), pairs.len()), "{pairs:?}");
    assert!(keys.iter().all(|key| !key.is_empty()));
}

#[tokio::test]
async fn orders_reach_the_target_once_each_over_kills_at_random_moments() {
    const CUSTOMERS: usize = 8;
    const ORDERS: usize = 40;
    const KILLS: usize = 6;
    let mut random = endtoend::chance();
    let (folder, target) = world(Duration::from_millis(30)).await;
    let selling = sell(&folder, CUSTOMERS, ORDERS);
    let killing = async {
        let mut process = folder.run().await;
        for _ in 0..KILLS {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..1_200))).await;
            process.kill();
            process = folder.run().await;
        }
        process
    };
    let ((), process) = futures::join!(selling, killing);
    target.has_rows(CUSTOMERS * ORDERS).await;
    folder.operators().caught_up().await;

    let all = CUSTOMERS * ORDERS;
    let events = topic::read(folder.kafka(), "shop.orders").await;
    assert_eq!(events.len(), all, "an order sent again after a crash is no second event");
    let (taken, sales) = (target.taken(), topic::read(folder.kafka(), "erp.sales").await.len());
    println!("{all} orders, {sales} sales in the topic, {} at the target", taken.len());
    assert_eq!(target.rows().len(), all);
    assert_one_key_an_order(&taken);
    assert_in_order(&taken);
    assert!(taken.len() - sales <= KILLS * 4 * CONCURRENCY, "only what was in flight repeats");
    assert!(dead_letters(&folder).await.is_empty());
    assert!(process.terminate().await.success());
}

#[tokio::test]
async fn a_target_that_is_down_loses_nothing() {
    let (folder, target) = world(Duration::ZERO).await;
    let mut process = folder.run().await;
    let status = Arc::new(AtomicU16::new(503));
    let answered = Arc::clone(&status);
    target.answer(move |_| answered.load(Ordering::Relaxed));
    sell(&folder, 6, 3).await;
    let operators = folder.operators();
    operators.waits("orders/sales", &["503"]).await;
    operators.route_caught_up("orders/to_sale").await;
    status.store(201, Ordering::Relaxed);
    target.has_rows(18).await;
    folder.operators().caught_up().await;
    operators.state("orders/sales", "running").await;
    assert_eq!(target.taken().len(), 18, "no repeats without a crash");
    assert_one_key_an_order(&target.requests());
    assert_in_order(&target.taken());
    assert!(dead_letters(&folder).await.is_empty());

    let route = r#"{pipeline="orders",route="sales"}"#;
    for name in ["records_in_total", "records_out_total", "latency_seconds_count"] {
        assert_eq!(operators.metric(&format!("passerelle_{name}{route}")).await, 18.0, "{name}");
    }
    let errors = r#"passerelle_errors_total{cause="http_503",domain="remote",pipeline="orders""#;
    let (failed, refused) = (operators.metric(errors).await, target.requests().len() - 18);
    assert_eq!(failed as usize, refused, "each failure is counted by its cause");
    assert_eq!(operators.metric(&format!("passerelle_dead_letters_total{route}")).await, 0.0);
    process.assert_alive();
}

#[tokio::test]
async fn what_the_target_refuses_is_a_dead_letter_after_one_attempt_and_the_next_proceeds() {
    let (folder, target) = world(Duration::ZERO).await;
    let mut process = folder.run().await;
    target.answer(|sale| if sale["web_id"] == "C-0/0001" { 400 } else { 201 });
    sell(&folder, 1, 4).await;
    target.has_rows(3).await;
    folder.operators().caught_up().await;
    let asked: Vec<_> = target.requests().iter().map(|r| r.text("web_id").to_owned()).collect();
    assert_eq!(asked, ["C-0/0000", "C-0/0001", "C-0/0002", "C-0/0003"]);

    let letters = dead_letters(&folder).await;
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    let sales = topic::read(folder.kafka(), "erp.sales").await;
    let sale = sales.iter().find(|sale| sale.header("ce_id") == "C-0/0001").unwrap();
    assert_eq!((&letter.key, &letter.value), (&sale.key, &sale.value));
    let (kept, added) = letter.headers.split_at(sale.headers.len());
    assert_eq!(kept, sale.headers);
    let names: BTreeSet<_> =
        added.iter().filter_map(|(name, _)| name.strip_prefix("__connect.errors.")).collect();
    let expected = [
        "topic",
        "partition",
        "offset",
        "connector.name",
        "task.id",
        "stage",
        "class.name",
        "exception.class.name",
        "exception.message",
        "exception.stacktrace",
    ];
    assert_eq!((names, added.len()), (BTreeSet::from(expected), 10));
    assert_eq!(letter.header("__connect.errors.topic"), "erp.sales");
    assert_eq!(letter.header("__connect.errors.connector.name"), "orders/sales");
    assert!(letter.header("__connect.errors.exception.message").contains("400"));
    process.assert_alive();
}

#[tokio::test]
async fn a_refused_credential_makes_the_route_wait_and_it_resumes_by_itself() {
    let (folder, target) = world(Duration::ZERO).await;
    let mut process = folder.run().await;
    let status = Arc::new(AtomicU16::new(401));
    let answered = Arc::clone(&status);
    target.answer(move |_| answered.load(Ordering::Relaxed));
    sell(&folder, 3, 2).await;
    folder.operators().state("orders/sales", "waiting").await;
    let shown = folder.ask(&["status"]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    let lines: Vec<_> = shown.stdout.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("orders/sales")).unwrap();
    assert!(lines[at].contains("waiting"), "{shown:?}");
    assert!(lines[at + 1].contains("401") && lines[at + 1].contains("credentials"), "{shown:?}");
    status.store(201, Ordering::Relaxed);
    target.has_rows(6).await;
    folder.operators().caught_up().await;
    assert_eq!(target.taken().len(), 6);
    assert_in_order(&target.taken());
    assert!(dead_letters(&folder).await.is_empty());
    process.assert_alive();
}

#[tokio::test]
async fn a_stop_drains_what_is_under_way_and_a_start_goes_on_behind_it() {
    let (folder, target) = world(Duration::from_millis(300)).await;
    let mut process = folder.start();
    println!("ready after {:?}", folder.operators().ready(&mut process).await);
    let second = folder.passerelle(&["run", "pipeline.yaml"]).await;
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.stderr.contains("in use by another broker"), "{second:?}");

    sell(&folder, 4, 1).await;
    until("the target is asked", async || (!target.requests().is_empty()).then_some(())).await;
    assert_eq!(process.terminate().await.code(), Some(0));
    assert!(!folder.path().join("data/addresses.json").exists());
    let before = target.requests().len();
    let mut process = folder.run().await;
    sell(&folder, 4, 2).await;
    target.has_rows(8).await;
    folder.operators().caught_up().await;
    println!("{before} before the stop, {} in all", target.requests().len());
    assert_eq!(target.requests().len(), 8, "nothing that was answered is sent again");
    process.assert_alive();
}

#[tokio::test]
async fn started_before_its_broker_it_says_what_it_waits_for() {
    let (kafka, registry) = (free_address().to_string(), free_address().to_string());
    let (folder, target) = world(Duration::ZERO).await;
    let sections = pipeline(target.address);
    folder.set_pipeline(&format!(
        "kafka: {{ brokers: \"{kafka}\" }}\nregistry: {{ url: \"http://{registry}\" }}\n{sections}"
    ));
    let mut process = folder.start();
    let operators = folder.operators();
    until("it is not ready", async || {
        operators.get("/ready").await.filter(|(status, _)| *status == 503)
    })
    .await;
    operators.waits("orders/sales", &[&kafka]).await;
    assert_eq!(operators.get("/health").await.unwrap().0, 200);

    let arguments = ["broker", "--data", "broker", "--listen", &kafka, "--registry", &registry];
    let _broker = Process::start(folder.path(), "broker", &arguments);
    operators.ready(&mut process).await;
    sell(&folder, 1, 1).await;
    target.has_rows(1).await;
    assert!(process.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_that_the_brokers_refuse_is_named() {
    let (gate, files) = (Gate::start().await, tempfile::TempDir::new().unwrap());
    let broker = BrokerProcess::behind(files.path(), gate.address);
    gate.lead_to(broker.address());
    gate.ask_for(Login { user: "passerelle", password: "right" });
    let (folder, target) = world(Duration::ZERO).await;
    let (kafka, sections) = (gate.address, pipeline(target.address));
    folder.write("password", "wrong");
    let login = "{ mechanism: PLAIN, username: passerelle, password: \"${file:password}\" }";
    let kafka_section = format!("kafka: {{ brokers: \"{kafka}\", security: {{ sasl: {login} }} }}");
    let registry = format!("registry: {{ url: \"http://{}\" }}", free_address());
    folder.set_pipeline(&format!("{kafka_section}\n{registry}\n{sections}"));
    let mut process = folder.start();
    let operators = folder.operators();
    until("it answers", async || operators.get("/health").await).await;
    let refused = format!("The log-in of `passerelle` at {kafka} was refused");
    operators.waits("orders/sales", &[&refused, "Invalid username or password"]).await;
    process.assert_alive();
}

#[tokio::test]
async fn a_pipeline_of_many_routes_is_ready_once_all_of_them_have_started() {
    let source = |number| {
        format!(
            "  shop_{number}: {{ webhook: {{ path: /{number}, signature: none, id: fresh }}, to: orders }}\n"
        )
    };
    let sources: String = (0..140).map(source).collect();
    let topics = "topics:\n  orders: { partitions: 1, schema: order.avsc }\n";
    let folder = Folder::with(&format!("{topics}sources:\n{sources}"));
    let mut process = folder.run().await;
    process.assert_alive();
}
