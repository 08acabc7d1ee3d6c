//! Events that are larger than our topic takes.

use rand::Rng as _;
use rand::distr::Alphanumeric;
use serde_json::json;
use tests::admin::Admin;

use super::endtoend::folder::Folder;
use super::endtoend::shop::order;
use super::endtoend::topic::{self, Record};
use super::endtoend::until;
use super::{Application, BrokerProcess, THEIRS, theirs};

/// What our topic takes at first; its dead letters take twice as much.
const LIMIT: &str = "2000";

fn sections(broker: &BrokerProcess) -> String {
    format!(
        r#"
connections:
  others: {{ kafka: {{ brokers: "{}" }} }}
topics:
  shop.orders: {{ partitions: 1, schema: order.avsc, properties: {{ max.message.bytes: {LIMIT} }} }}
sources:
  theirs:
    from: others
    kafka: {{ topic: {THEIRS}, value: json, start: beginning, id_header: id }}
    to: shop.orders
    key: .customer.id
"#,
        broker.address()
    )
}

/// Writes an order with so much text that nothing compresses.
fn write(application: &Application, id: &str, text: usize) {
    let mut value = order(id, "C-1");
    let note = rand::rng().sample_iter(Alphanumeric).take(text);
    value["note"] = json!(note.map(char::from).collect::<String>());
    application.write(id, "C-1", value.to_string());
}

fn ids(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.header("ce_id")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_too_large_is_a_dead_letter_or_waited_at_until_the_topic_takes_it() {
    let broker = theirs();
    let folder = Folder::with(&sections(&broker));
    let application = Application::of(&broker);
    // Together they are more than one batch may hold.
    let mut expected: Vec<String> = (0..20).map(|number| format!("small-{number}")).collect();
    expected.iter().for_each(|id| write(&application, id, 300));
    write(&application, "large", 2_500);
    write(&application, "behind", 300);
    expected.push("behind".to_owned());
    application.flush();
    let process = folder.run().await;
    let ours = async |count: usize| {
        until(&format!("{count} orders are there"), async || {
            let ours = topic::read(folder.kafka(), "shop.orders").await;
            (ours.len() == count).then_some(ours)
        })
        .await
    };
    assert_eq!(ids(&ours(21).await), expected, "each once and in order");
    let letters = topic::read(folder.kafka(), "orders.theirs.dead-letters").await;
    assert_eq!(ids(&letters), ["large"]);
    let said = letters[0].header("__connect.errors.exception.message");
    assert!(said.contains("`large`") && said.contains("takes 2000"), "{said}");

    write(&application, "huge", 20_000);
    write(&application, "last", 300);
    application.flush();
    let reason = [
        "`huge`",
        "bytes; topic `shop.orders` takes 2000",
        "`orders.theirs.dead-letters` take 4000",
        "`shop.orders: { properties: { max.message.bytes: … } }`",
    ];
    folder.operators().waits("orders/theirs", &reason).await;
    assert_eq!(ours(21).await.len(), 21, "nothing is jumped over");
    let kafka = folder.kafka();
    tokio::task::spawn_blocking(move || {
        Admin::new(&kafka).configure("shop.orders", &[("max.message.bytes", "100000")]);
    })
    .await
    .unwrap();
    expected.extend(["huge".to_owned(), "last".to_owned()]);
    assert_eq!(ids(&ours(23).await), expected, "without a restart, each once and in order");
    folder.operators().state("orders/theirs", "running").await;
    assert_eq!(topic::read(folder.kafka(), "orders.theirs.dead-letters").await.len(), 1);
    assert!(process.terminate().await.success());
}
