//! What others write to a topic of their cluster becomes events once, and events reach a topic of
//! another cluster, however the process or that cluster's broker fails meanwhile.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "../endtoend/mod.rs"]
mod endtoend;
mod large;
mod protobuf;
mod registry;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use endtoend::folder::Folder;
use endtoend::shop::order;
use endtoend::topic::{self, Record};
use endtoend::until;
use rand::Rng as _;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::{Value as Json, json};
use tests::admin::Admin;
use tests::broker_process::BrokerProcess;

tests::broker_process!();

const CUSTOMERS: usize = 6;
const THEIRS: &str = "their-orders";
const COPY: &str = "copied-orders";

/// A cluster of others, whose topic is read and whose topic is written.
fn theirs() -> BrokerProcess {
    let broker = BrokerProcess::start();
    let admin = Admin::new(&broker.address().to_string());
    for topic in [THEIRS, COPY] {
        admin.create_topic(topic, 3, 1, &[]).unwrap();
    }
    broker
}

fn sections(broker: &BrokerProcess, on_gap: &str) -> String {
    format!(
        r#"
connections:
  others: {{ kafka: {{ brokers: "{}" }} }}
topics:
  shop.orders: {{ partitions: 4, schema: order.avsc }}
sources:
  theirs:
    from: others
    kafka: {{ topic: {THEIRS}, value: json, start: beginning, id_header: id, on_gap: {on_gap} }}
    to: shop.orders
    key: .customer.id
sinks:
  copy: {{ from: shop.orders, to: others, topic: {COPY}, value: json, backoff: {{ initial: 100ms, max: 500ms }} }}
"#,
        broker.address()
    )
}

/// Writes orders as another application does, each customer's in one partition.
struct Application(BaseProducer);

impl Application {
    fn of(broker: &BrokerProcess) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker.address().to_string());
        Self(config.set("enable.idempotence", "true").create().unwrap())
    }

    fn write(&self, id: &str, key: &str, value: impl AsRef<[u8]>) {
        let headers = OwnedHeaders::new().insert(Header { key: "id", value: Some(id) });
        let record = BaseRecord::to(THEIRS).key(key).payload(value.as_ref()).headers(headers);
        self.0.send(record).map_err(|(error, _)| error).unwrap();
    }

    fn order(&self, customer: usize, number: usize) {
        let (id, key) = (format!("C-{customer}/{number:04}"), format!("C-{customer}"));
        self.write(&id, &key, order(&id, &key).to_string());
    }

    fn flush(&self) {
        self.0.flush(endtoend::PATIENCE).unwrap();
    }
}

/// The numbers of each customer's orders, as they lie in a topic.
fn by_customer<'r>(ids: impl IntoIterator<Item = &'r str>) -> BTreeMap<String, Vec<usize>> {
    let mut numbers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for id in ids {
        let (customer, number) = id.split_once('/').unwrap();
        numbers.entry(customer.to_owned()).or_default().push(number.parse().unwrap());
    }
    numbers
}

/// Waits until our topic and their copy hold so many different orders.
async fn landed(folder: &Folder, broker: &BrokerProcess, count: usize) -> [Vec<Record>; 2] {
    until(&format!("{count} orders are in both topics"), async || {
        let ours = topic::read(folder.kafka(), "shop.orders").await;
        let copy = topic::read(broker.address().to_string(), COPY).await;
        let enough = |records: &[Record]| {
            let ids: BTreeSet<_> = records.iter().map(|record| record.header("ce_id")).collect();
            ids.len() == count
        };
        (enough(&ours) && enough(&copy)).then_some([ours, copy])
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn their_orders_are_ours_once_and_reach_their_copy_over_kills_on_both_sides() {
    const ORDERS: usize = 60;
    const KILLS: usize = 6;
    let mut random = endtoend::chance();
    let mut broker = theirs();
    let folder = Folder::with(&sections(&broker, "wait"));
    let application = Application::of(&broker);
    let mut process = folder.run().await;
    for kill in 0..KILLS {
        for number in ORDERS / KILLS * kill..ORDERS / KILLS * (kill + 1) {
            (0..CUSTOMERS).for_each(|customer| application.order(customer, number));
            application.0.poll(Duration::ZERO);
            tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
        }
        if kill % 2 == 0 {
            process.kill();
            process = folder.run().await;
        } else {
            broker.kill();
            tokio::time::sleep(Duration::from_millis(random.random_range(0..800))).await;
            broker.start_again();
        }
    }
    tokio::task::spawn_blocking(move || application.flush()).await.unwrap();

    let [ours, copy] = landed(&folder, &broker, CUSTOMERS * ORDERS).await;
    for (customer, numbers) in by_customer(ours.iter().map(|record| record.header("ce_id"))) {
        assert_eq!(numbers, (0..ORDERS).collect::<Vec<_>>(), "{customer}: once, in order");
    }
    for (customer, numbers) in by_customer(copy.iter().map(|record| record.header("ce_id"))) {
        let mut next = 0;
        for number in &numbers {
            assert!(*number <= next, "{customer}: {number} before {next} in {numbers:?}");
            next = next.max(number + 1);
        }
    }
    for record in &copy {
        let value: Json = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        assert_eq!(value["id"], record.header("ce_id"));
        assert_eq!(value["total"], "99.90", "decimals are exact");
        let key = String::from_utf8(record.key.clone().unwrap()).unwrap();
        assert_eq!(value["customer"]["id"], json!(key));
    }
    assert!(process.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_a_dead_letter_and_a_gap_is_waited_at() {
    let broker = theirs();
    let folder = Folder::with(&sections(&broker, "wait"));
    let application = Application::of(&broker);
    let process = folder.run().await;
    application.order(0, 0);
    application.write("bad-1", "C-0", "{ no JSON");
    application.order(0, 1);
    application.flush();
    landed(&folder, &broker, 2).await;
    let letters = topic::read(folder.kafka(), "orders.theirs.dead-letters").await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].value.as_deref(), Some(&b"{ no JSON"[..]));
    assert!(process.terminate().await.success());

    // While nothing runs, retention takes two of three.
    (2..5).for_each(|number| application.order(0, number));
    application.flush();
    let admin = Admin::new(&broker.address().to_string());
    let (partition, end) = the_end(&broker);
    admin.delete_records(THEIRS, partition, rdkafka::Offset::Offset(end - 1)).unwrap();
    let process = folder.start();
    let waiting = until("the source waits at the gap", async || {
        let route = folder.operators().get("/status").await?.1;
        route.contains("are gone").then_some(route)
    })
    .await;
    assert!(waiting.contains("on_gap: skip"), "{waiting}");
    assert_eq!(topic::read(folder.kafka(), "shop.orders").await.len(), 2, "nothing is jumped over");
    assert!(process.terminate().await.success());

    folder.set_pipeline(&sections(&broker, "skip"));
    let process = folder.run().await;
    let [ours, _] = landed(&folder, &broker, 3).await;
    assert_eq!(ours.last().unwrap().header("ce_id"), "C-0/0004");
    assert!(process.terminate().await.success());
}

/// The partition that holds their orders, and its end.
fn the_end(broker: &BrokerProcess) -> (i32, i64) {
    use rdkafka::consumer::{BaseConsumer, Consumer as _};
    let mut config = ClientConfig::new();
    let client: BaseConsumer =
        config.set("bootstrap.servers", broker.address().to_string()).create().unwrap();
    let end = |partition| client.fetch_watermarks(THEIRS, partition, endtoend::PATIENCE).unwrap().1;
    (0..3).map(|partition| (partition, end(partition))).max_by_key(|(_, end)| *end).unwrap()
}
