//! Rows in which history is sent again.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::endtoend::process::Process;
use crate::run::{Broker, Run};
use crate::world::{ORDERS_TO_SALES, PROCESSOR, SINKS, SOURCE, TOPICS, World, until};

/// Nothing is needed.
pub fn obstacle() -> Option<String> {
    None
}

/// After a kill the next start waits until the group has missed the member, six seconds: more kills
/// would show no more.
const MOST_KILLS: usize = 5;

/// A shop sells all the while. What it has sold so far is sent to another application, by a process
/// that is killed again and again and goes on; in the end everything is sent there once more.
pub async fn t27_history_is_replayed_while_live_traffic_runs(run: &Run) {
    let mut world = World::around(run, ORDERS_TO_SALES).await;
    let mut process = world.started().await;
    let shop = world.shop(8);
    world.receives("/plain", 200).await;
    // The same route, so that events have the same keys, and another application behind it.
    let sinks = SINKS.replace("path: /plain,", "path: /history, once: forever,");
    let folder = world.another("replay", &[TOPICS, SOURCE, PROCESSOR, &sinks]);
    let data = world.folder.path().join("data");
    let asked = ["replay", "plain", "pipeline.yaml", "--from", "beginning", "--data"];
    let asked = [&asked[..], &[data.to_str().unwrap()]].concat();
    let slowly = [&asked[..], &["--rate", "30"]].concat();
    for _ in 0..run.times.min(MOST_KILLS) {
        let mut replay = Process::start(folder.path(), "replay", &slowly);
        world.receives("/history", run.draw(5..20) as usize).await;
        world.inflicted("SIGKILL");
        replay.kill();
        world.healed("start");
    }
    let ended = folder.passerelle(&[&asked[..], &["--rate", "unlimited"]].concat()).await;
    assert!(ended.code == 0 && ended.stderr.contains("goes on"), "{ended:?}");
    shop.closed().await;
    until("every order has arrived", async || {
        world.account("/plain", &["plain"]).await.lost.is_empty().then_some(())
    })
    .await;
    if let Broker::Kafka { .. } = run.broker {
        let (kafka, topic) = (world.kafka(), world.topic("erp.sales"));
        tokio::task::spawn_blocking(move || abort_a_transaction(&kafka, &topic)).await.unwrap();
    }
    let again = [&asked[..], &["--rate", "unlimited", "--again"]].concat();
    let again = folder.passerelle(&again).await;
    assert_eq!(again.code, 0, "{again:?}");
    world.delivered().await;

    let plain = world.account("/plain", &["plain"]).await;
    let history = world.account("/history", &["plain"]).await;
    run.report(&history);
    run.note(|finding| finding.note = "history sent twice, beside live traffic".to_owned());
    plain.holds();
    history.holds();
    assert_eq!(plain.repeated, 0, "the live route sent nothing again");
    assert_eq!(history.dead_letters, 0);
    let keys = |path| -> BTreeMap<String, String> {
        world.books.receipts(path).into_iter().map(|receipt| (receipt.id, receipt.key)).collect()
    };
    assert_eq!(keys("/history"), keys("/plain"), "the same events under the same keys");
    process.assert_alive();
}

/// Writes to the end of each partition what nobody is to see, and a transaction's mark after it: the
/// topic ends with offsets at which there is nothing to read.
fn abort_a_transaction(kafka: &str, topic: &str) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("transactional.id", topic)
        .create()
        .unwrap();
    let patience = Duration::from_secs(30);
    producer.init_transactions(patience).unwrap();
    producer.begin_transaction().unwrap();
    for partition in 0..4 {
        let record = BaseRecord::<(), str>::to(topic).partition(partition).payload("no sale");
        producer.send(record).unwrap();
    }
    producer.flush(patience).unwrap();
    producer.abort_transaction(patience).unwrap();
}
