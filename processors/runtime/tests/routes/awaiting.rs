//! What has to be there before a sink's events are delivered.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use engine::expression::Expression;
use engine::runtime::{Plan, SinkOptions};
use engine::state::State;
use engine::{Enrichment, Fault, Found, Lookup, OnMiss, Order, Value};
use vrl::value::Kind;

use crate::world::{Target, World, quick, until, waits_for};

/// An application that has some ids, and may be away.
#[derive(Clone, Default)]
struct Orders {
    there: Arc<Mutex<Option<BTreeSet<i64>>>>,
    asked: Arc<AtomicUsize>,
}

impl Orders {
    /// Is there, and has these.
    fn have(&self, ids: impl IntoIterator<Item = i64>) {
        *self.there.lock().unwrap() = Some(ids.into_iter().collect());
    }
}

#[async_trait]
impl Lookup for Orders {
    async fn find(&self, key: &Value) -> Result<Option<Value>, Fault> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(2)).await;
        let there = self.there.lock().unwrap();
        let Some(ids) = &*there else {
            return Err(Fault::remote("http_503", "The orders answered 503."));
        };
        let id = key.as_integer().unwrap_or_default();
        Ok(ids.contains(&id).then(|| key.clone()))
    }
}

/// A sink whose events wait for the order of their id; those above 900 name none.
fn plan(world: &World, target: &Target, orders: &Orders, options: SinkOptions) -> Plan {
    let mut plan = world.plan_with_sink(1, target.clone(), options);
    let by = "if int!(.id) > 900 { null } else { .id }";
    plan.sinks[0].awaited = vec![Enrichment {
        field: "order".into(),
        by: Expression(by.into()).compile(&Kind::any_object()).unwrap(),
        schema: None,
        on_miss: OnMiss::Wait,
        lookup: Box::new(orders.clone()),
        found: Found::new(Duration::from_secs(60), 1_000),
    }];
    plan
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_waits_for_what_it_needs_and_holds_up_its_own_key_only() {
    let world = World::new("awaited").await;
    let (orders, target) = (Orders::default(), Target::willing());
    orders.have((0..40).filter(|id| *id != 5));
    let engine = world.run(plan(&world, &target, &orders, quick())).await;
    world.write_things(0..40, 8).await;
    world.write_things(901..902, 8).await;
    // Those of its key come behind it: 5, 13, 21, 29, 37; and 901 % 8 is 5, too.
    target.until_taken(35).await;
    let reason = "Nothing was found for `order` by `5`";
    world.until_state(&engine, "sink", waits_for(reason)).await;
    assert_eq!(target.ids().len(), 35);
    assert!(target.ids().iter().all(|id| id % 8 != 5));
    orders.have(0..40);
    target.until_taken(41).await;
    world.until_state(&engine, "sink", |state| *state == State::Running).await;
    engine.shutdown().await;
    assert_eq!(target.ids().len(), 41, "nothing twice");
    let of_its_key: Vec<_> = target.ids().into_iter().filter(|id| id % 8 == 5).collect();
    assert_eq!(of_its_key, [5, 13, 21, 29, 37, 901]);
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_partition_is_in_order_nothing_overtakes_what_waits() {
    let world = World::new("queued").await;
    let (orders, mut target) = (Orders::default(), Target::willing());
    (target.order, target.batch) = (Order::Partition, 20);
    orders.have((0..60).filter(|id| *id != 7 && *id != 30));
    let engine = world.run(plan(&world, &target, &orders, quick())).await;
    world.write_things(0..60, 8).await;
    target.until_taken(7).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(target.ids(), (0..7).collect::<Vec<_>>());
    orders.have((0..60).filter(|id| *id != 30));
    target.until_taken(30).await;
    orders.have(0..60);
    target.until_taken(60).await;
    engine.shutdown().await;
    assert_eq!(target.ids(), (0..60).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_comes_is_given_up_while_others_pass_and_its_key_goes_on() {
    let world = World::new("given-up").await;
    let (orders, target) = (Orders::default(), Target::willing());
    orders.have(1..900);
    let options = SinkOptions { give_up_after: Duration::from_secs(2), ..quick() };
    let engine = world.run(plan(&world, &target, &orders, options)).await;
    // A single one waits for as long as nothing else passes.
    world.write_things(0..1, 8).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(world.dead_letters().await.is_empty());
    for id in 1..20 {
        world.write_things(id..id + 1, 8).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    target.until_taken(19).await;
    engine.shutdown().await;
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1);
    let why = letters[0].headers.text("__connect.errors.exception.message").unwrap();
    assert_eq!(why, "Nothing was found for `order` by `0`. The event waited for 2s.");
    target.assert_all_in_order(1..20);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_what_is_asked_is_away_the_route_waits_and_gives_nothing_up() {
    let world = World::new("unanswered").await;
    let (orders, target) = (Orders::default(), Target::willing());
    let options = SinkOptions { give_up_after: Duration::from_millis(100), ..quick() };
    let engine = world.run(plan(&world, &target, &orders, options)).await;
    world.write_things(0..20, 4).await;
    world.until_state(&engine, "sink", waits_for("The orders answered 503")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(target.ids().is_empty());
    orders.have(0..20);
    target.until_taken(20).await;
    world.until_state(&engine, "sink", |state| *state == State::Running).await;
    engine.shutdown().await;
    target.assert_all_in_order(0..20);
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_asked_for_once() {
    let world = World::new("asked-once").await;
    let (orders, target) = (Orders::default(), Target::willing());
    orders.have(3..4);
    let engine = world.run(plan(&world, &target, &orders, quick())).await;
    for _ in 0..30 {
        world.write_things(3..4, 8).await;
    }
    until("all are taken", || (target.ids().len() == 30).then_some(())).await;
    engine.shutdown().await;
    assert_eq!(orders.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_is_away_while_others_pass_costs_no_event() {
    let world = World::new("awaited-away").await;
    let (orders, target) = (Orders::default(), Target::willing());
    let options = SinkOptions { give_up_after: Duration::from_secs(1), ..quick() };
    let engine = world.run(plan(&world, &target, &orders, options)).await;
    world.write_things(3..4, 8).await;
    // What waits for nothing passes meanwhile.
    for id in (901..925).filter(|id| id % 8 != 3) {
        world.write_things(id..id + 1, 8).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    target.until_taken(21).await;
    assert!(world.dead_letters().await.is_empty(), "it says nothing of the event");
    orders.have(0..40);
    target.until_taken(22).await;
    engine.shutdown().await;
    assert!(target.ids().contains(&3) && world.dead_letters().await.is_empty());
}
