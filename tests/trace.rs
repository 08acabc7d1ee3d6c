//! One business key's way through all routes: what an operator is told of it.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "endtoend/mod.rs"]
mod endtoend;

use std::time::Duration;

use endtoend::folder::{Folder, ORDERS_TO_SALES};
use endtoend::shop::order;
use endtoend::target::Target;
use endtoend::{topic, until};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use serde_json::Value;

const TO_THE_TARGET: &str = r#"
connections:
  erp: { http: { url: "http://TARGET", allow_private: true, timeout: 5s } }
sinks:
  sales: { from: erp.sales, to: erp, path: /sales, backoff: { initial: 100ms, max: 500ms } }
"#;

/// A pipeline whose processor gives the sales another key than the orders have.
fn pipeline(target: &Target, further: &str) -> String {
    let rekeyed =
        ORDERS_TO_SALES.replace("    to: erp.sales\n", "    to: erp.sales\n    key: .web_id\n");
    rekeyed + &TO_THE_TARGET.replace("TARGET", &target.address.to_string()) + further
}

/// What `trace --json` says, once it knows of so many outcomes.
async fn traced(folder: &Folder, arguments: &[&str], outcomes: usize) -> Vec<Value> {
    until(&format!("{outcomes} outcomes are traced"), async || {
        let answer = folder.passerelle(&[&["trace", "--json"], arguments].concat()).await;
        let journeys: Vec<Value> = serde_json::from_str(&answer.stdout).ok()?;
        let count = |journey: &Value| journey["outcomes"].as_array().unwrap().len();
        (journeys.iter().map(count).sum::<usize>() >= outcomes).then_some(journeys)
    })
    .await
}

/// What came of an event, as words with the routes.
fn told(journey: &Value) -> Vec<(&str, &str)> {
    let outcomes = journey["outcomes"].as_array().unwrap().iter();
    outcomes.map(|one| (one["route"].as_str().unwrap(), one["outcome"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_key_is_followed_from_its_receipt_to_the_targets_answer_over_a_change_of_key() {
    let target = Target::start(Duration::from_millis(20)).await;
    let folder = Folder::with(&pipeline(&target, ""));
    let process = folder.run().await;
    target.answer(|sale| if sale["web_id"] == "O-2" { 422 } else { 201 });
    for (id, customer) in [("O-1", "C-1"), ("O-2", "C-1"), ("O-3", "C-2")] {
        folder.shop().tell(&order(id, customer)).await;
    }
    let journeys = traced(&folder, &["C-1", "--data", "data"], 6).await;
    let [first, second] = journeys.as_slice() else { panic!("{journeys:?}") };
    let way = [("orders/shop", "published"), ("orders/to_sale", "produced")];
    assert_eq!((first["id"].as_str(), second["id"].as_str()), (Some("O-1"), Some("O-2")));
    assert_eq!(told(first), [way.as_slice(), &[("orders/sales", "delivered")]].concat());
    assert_eq!(told(second), [way.as_slice(), &[("orders/sales", "dead_letter")]].concat());
    let delivered = &first["outcomes"][2];
    let time = |name: &str| delivered[name].as_i64().unwrap();
    assert_eq!((&delivered["answer"], &delivered["topic"]), (&"201".into(), &"erp.sales".into()));
    assert!(time("received") <= time("started") && time("started") + 20 <= time("finished"));
    assert_eq!(second["outcomes"][2]["cause"], "http_422");
    let back = traced(&folder, &["O-1", "pipeline.yaml"], 3).await;
    assert_eq!(back, *std::slice::from_ref(first), "the new key leads to the same way");

    let shown = folder.ask(&["trace", "C-1"]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    for part in ["O-1  received", "orders/to_sale", "→ erp.sales", ": 201, in ", "http_422"] {
        assert!(shown.stdout.contains(part), "{part} is not in\n{}", shown.stdout);
    }
    let unknown = folder.ask(&["trace", "C-9"]).await;
    assert!(unknown.code == 1 && unknown.stdout.contains("Nothing is known"), "{unknown:?}");
    assert!(process.terminate().await.success());
}

#[tokio::test]
async fn masked_keys_are_found_by_those_who_have_the_file_and_read_by_nobody() {
    let target = Target::start(Duration::ZERO).await;
    let further =
        "outcomes: { mask: [\"%key\", .customer.email], hash_key: \"${file:shop.secret}\" }\n";
    let folder = Folder::with(&pipeline(&target, further));
    let _process = folder.run().await;
    folder.shop().tell(&order("O-1", "C-secret")).await;
    let journeys = traced(&folder, &["C-secret", "pipeline.yaml"], 3).await;
    assert_eq!((journeys.len(), told(&journeys[0]).len()), (1, 3));
    let without = folder.ask(&["trace", "C-secret"]).await;
    assert_eq!(without.code, 1, "{without:?}");
    for record in topic::read(folder.kafka(), "passerelle.outcomes").await {
        let key = String::from_utf8(record.key.unwrap()).unwrap();
        let value = String::from_utf8(record.value.unwrap()).unwrap();
        assert!(key.starts_with("hmac:") && !value.contains("C-secret"), "{key} {value}");
    }
}

#[tokio::test]
async fn a_pipeline_may_keep_no_outcomes() {
    let target = Target::start(Duration::ZERO).await;
    let folder = Folder::with(&pipeline(&target, "outcomes: { keep: false }\n"));
    let process = folder.run().await;
    folder.shop().tell(&order("O-1", "C-1")).await;
    target.has_rows(1).await;
    let answer = folder.ask(&["trace", "C-1"]).await;
    assert!(answer.code == 1 && answer.stderr.contains("No outcomes are kept"), "{answer:?}");
    assert!(process.terminate().await.success());
}

#[tokio::test]
async fn a_clean_stop_writes_every_outcome() {
    let target = Target::start(Duration::ZERO).await;
    let folder = Folder::with(&pipeline(&target, ""));
    let process = folder.run().await;
    folder.shop().tell(&order("O-1", "C-1")).await;
    target.has_rows(1).await;
    assert!(process.terminate().await.success());
    let _process = folder.run().await;
    assert_eq!(traced(&folder, &["C-1", "--data", "data"], 3).await.len(), 1);
}

/// Makes the topic of outcomes before the pipeline does, too narrow for any.
async fn make_narrow(kafka: &str) {
    let admin: AdminClient<_> =
        ClientConfig::new().set("bootstrap.servers", kafka).create().unwrap();
    let topic = NewTopic::new("passerelle.outcomes", 12, TopicReplication::Fixed(1));
    let topic = topic.set("max.message.bytes", "20");
    admin.create_topics([&topic], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
}

#[tokio::test]
async fn outcomes_that_the_brokers_refuse_cost_no_event() {
    let target = Target::start(Duration::ZERO).await;
    let folder = Folder::with(&pipeline(&target, "outcomes: { keep: false }\n"));
    let process = folder.run().await;
    make_narrow(&folder.kafka()).await;
    assert!(process.terminate().await.success());
    folder.set_pipeline(&pipeline(&target, ""));
    let process = folder.run().await;
    for number in 0..40 {
        folder.shop().tell(&order(&format!("O-{number}"), "C-1")).await;
    }
    target.has_rows(40).await;
    let operators = folder.operators();
    until("all of them are counted as lost", async || {
        (operators.metric("passerelle_outcomes_lost_total").await >= 120.0).then_some(())
    })
    .await;
    assert_eq!(target.requests().len(), 40, "each order was delivered once");
    assert!(process.terminate().await.success());
}
