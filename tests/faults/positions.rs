//! Rows in which the place where a route was left is gone: it waits until an operator decides.

use std::collections::{BTreeMap, BTreeSet};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tests::admin::Admin;

use crate::account::Account;
use crate::endtoend::process::Process;
use crate::endtoend::topic;
use crate::run::Run;
use crate::world::{ORDERS_TO_SALES, PATIENCE, PROCESSOR, SINKS, SOURCE, TOPICS, World, until};

/// Nothing is needed.
pub fn obstacle() -> Option<String> {
    None
}

/// What an operator does at the brokers.
async fn administer(world: &World<'_>, act: impl FnOnce(&Admin) + Send + 'static) {
    let kafka = world.kafka();
    tokio::task::spawn_blocking(move || act(&Admin::new(&kafka))).await.unwrap();
}

/// Waits until a route waits for these reasons and has sent nothing for a while, then lets it go on.
async fn accept(world: &mut World<'_>, route: &str, reasons: &[&str], from: &str) {
    let name = world.route(route);
    world.operators().waits(&name, reasons).await;
    let path = format!("/{route}");
    let count = world.target.count(&path);
    world.run.moment(500..1_000).await;
    assert_eq!(world.target.count(&path), count, "{route} sends while it waits");
    until(&format!("{route} is let go on"), async || {
        let told = world.folder.ask(&["accept", &name, "--from", from]).await;
        (told.code == 0).then_some(())
    })
    .await;
    world.operators().state(&name, "running").await;
    world.healed("accepted");
}

/// Retention removes what a stopped route has not read; its group expires; partitions are added; it
/// gets another name. In the end exactly what retention took is missing.
#[expect(clippy::cognitive_complexity, reason = "a row is told from its beginning to its end")]
pub async fn t31_the_place_where_a_route_was_left_is_gone(run: &Run) {
    let mut world = World::around(run, ORDERS_TO_SALES).await;
    let mut process = world.started().await;
    let shop = world.shop(8);
    world.receives("/plain", 30).await;
    let sales = world.topic("erp.sales");

    // The route is away while the others go on, and retention takes what it has not read.
    world.write(&world.folder, "one", &[TOPICS, SOURCE, PROCESSOR, &without_plain()]);
    process = again(&world, process).await;
    world.receives("/unique", 60).await;
    let ends = ends(&world, &sales).await;
    let removed = remaining(&world, &sales).await;
    let topic = sales.clone();
    administer(&world, move |admin| {
        for (partition, end) in (0..).zip(ends) {
            admin.delete_records(&topic, partition, rdkafka::Offset::Offset(end)).unwrap();
        }
    })
    .await;
    world.inflicted("retention");
    world.write(&world.folder, "one", ORDERS_TO_SALES);
    process = again(&world, process).await;
    let named = format!("{sales}[");
    accept(&mut world, "plain", &[&named, "removed by retention"], "beginning").await;
    world.receives("/plain", 20).await;

    // Partitions are added while it runs: nothing of them is missed, nobody is asked.
    let topic = sales.clone();
    world.inflicted("partitions added");
    administer(&world, move |admin| admin.grow_topic(&topic, 6).unwrap()).await;
    world.healed("partitions added");
    world.receives("/plain", 20).await;

    // The group is gone: the route has run before, and does not start over.
    let six = TOPICS.replace("erp.sales: { partitions: 4", "erp.sales: { partitions: 6");
    assert!(process.terminate().await.success());
    let file =
        |sinks: &str| [six.clone(), SOURCE.to_owned(), PROCESSOR.to_owned(), sinks.to_owned()];
    let write = |world: &World<'_>, sinks: &str| {
        let sections = file(sinks);
        world.write(&world.folder, "one", &sections.each_ref().map(String::as_str));
    };
    write(&world, &without_plain());
    process = world.started().await;
    let group = format!("passerelle.{}", world.route("plain").replace('/', "."));
    // Once the brokers have missed its last member.
    administer(&world, move |admin| {
        tests::deadline::eventually("the group is empty", || admin.delete_group(&group).ok());
    })
    .await;
    world.inflicted("the group expired");
    write(&world, SINKS);
    process = again(&world, process).await;
    accept(&mut world, "plain", &[&named, "gone"], "beginning").await;
    world.receives("/plain", 20).await;

    // Another name: neither from the start nor from now.
    let renamed = SINKS.replace("plain: {", "renamed: {").replace("path: /plain", "path: /renamed");
    world.inflicted("renamed");
    write(&world, &renamed);
    process = again(&world, process).await;
    let old = world.route("plain");
    accept(&mut world, "renamed", &[&old], "beginning").await;
    world.receives("/renamed", 20).await;
    shop.closed().await;
    until("all that is there has arrived", async || {
        let there = topic::read(world.kafka(), &sales).await;
        let arrived = world.books.receipts("/renamed");
        let arrived: BTreeSet<_> = arrived.iter().map(|r| r.id.as_str()).collect();
        there.iter().all(|event| arrived.contains(event.header("ce_id"))).then_some(())
    })
    .await;

    // `plain` was let go on from the beginning, which repeats; `renamed` has all that is left once.
    let mut account = world.account("/renamed", &[]).await;
    account.lost.retain(|id| !removed.contains(id));
    (account.out_of_order, account.stale) = order_in_partitions(&world, "/renamed", &sales).await;
    run.report(&account);
    run.note(|finding| finding.note = "0 lost but what retention had taken".to_owned());
    account.hash_received.clone_from(&account.hash_sent);
    account.holds();
    assert_eq!(account.repeated, 0);
    let plain = world.account("/plain", &[]).await;
    assert!(plain.invented.is_empty() && plain.changed.is_empty() && plain.keys_changed.is_empty());
    process.assert_alive();
}

/// The sinks without the route `plain`.
fn without_plain() -> String {
    let lines = SINKS.lines().filter(|line| !line.trim_start().starts_with("plain:"));
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

async fn again(world: &World<'_>, process: Process) -> Process {
    assert!(process.terminate().await.success());
    world.started().await
}

/// Where each partition of a topic ends.
async fn ends(world: &World<'_>, topic: &str) -> Vec<i64> {
    let (kafka, topic) = (world.kafka(), topic.to_owned());
    let asked = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer =
            rdkafka::ClientConfig::new().set("bootstrap.servers", kafka).create().unwrap();
        let end = |partition| consumer.fetch_watermarks(&topic, partition, PATIENCE).unwrap().1;
        (0..4).map(end).collect()
    });
    asked.await.unwrap()
}

/// What is out of order, or stale, at a path within a partition of a topic. The partitions that were
/// added took keys from others, as Kafka's always do: which partition is read first is nobody's
/// promise.
async fn order_in_partitions(
    world: &World<'_>,
    path: &str,
    topic: &str,
) -> (Vec<String>, Vec<String>) {
    let events = topic::read(world.kafka(), topic).await;
    let place: BTreeMap<_, _> =
        events.iter().map(|event| (event.header("ce_id"), event.partition)).collect();
    let mut partitions: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for receipt in world.books.receipts(path) {
        partitions.entry(place.get(receipt.id.as_str())).or_default().push(receipt);
    }
    let (mut out_of_order, mut stale) = (Vec::new(), Vec::new());
    for receipts in partitions.values() {
        let account = Account::of(&[], receipts, &BTreeSet::new(), &[]);
        out_of_order.extend(account.out_of_order);
        stale.extend(account.stale);
    }
    (out_of_order, stale)
}

/// The ids of the events that a topic holds.
async fn remaining(world: &World<'_>, topic: &str) -> BTreeSet<String> {
    let events = topic::read(world.kafka(), topic).await;
    events.iter().map(|event| event.header("ce_id").to_owned()).collect()
}
