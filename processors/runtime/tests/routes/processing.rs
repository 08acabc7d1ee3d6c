//! Processor routes and sources against brokers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::world::{World, thing, until, waits_for};
use async_trait::async_trait;
use bytes::Bytes;
use engine::publisher::Rejected;
use engine::runtime::{ProcessorRoute, Promise, SourceRoute};
use engine::state::State;
use engine::{Draft, Emit, Event, Fault, Processor, Publisher, Shutdown, Source, Value};

/// Drops every tenth, refuses the one numbered 13, shouts the others.
struct Shout;

impl Processor for Shout {
    fn process(&self, _: &Event, value: Value, out: &mut Emit) -> Result<(), Fault> {
        let id = crate::world::number(&value).unwrap_or_default();
        match id {
            13 => return Err(Fault::data("unlucky", "13 is not processed")),
            id if id % 10 == 0 => {}
            id => out.send(thing(id, "HELLO")),
        }
        Ok(())
    }
}

fn shout(world: &World) -> ProcessorRoute {
    world.processor("shout", Shout)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_processed_in_order_and_what_is_refused_is_kept() {
    let world = World::new("shout").await;
    let mut plan = world.plan(2);
    plan.topics.push(world.declared("out", 2));
    plan.processors.push(shout(&world));
    let engine = world.run(plan).await;
    world.write_things(0..100, 5).await;
    world.write("in", Some("key 1"), None).await;
    world.write("in", Some("key 1"), Some(Bytes::from_static(b"junk"))).await;
    let out = until("the output", || {
        let out = futures::executor::block_on(world.read(&world.topic("out")));
        (out.len() >= 90).then_some(out)
    })
    .await;
    let letters = until("both dead letters", || {
        let topic = world.topic("shout.dead-letters");
        let letters = futures::executor::block_on(world.read(&topic));
        (letters.len() >= 2).then_some(letters)
    })
    .await;
    world.until_state(&engine, "shout", |state| *state == State::Running).await;
    engine.shutdown().await;
    assert_eq!(out.len(), 90, "89 shouts and a tombstone");
    let tombstone = out.iter().find(|event| event.payload.is_none()).unwrap();
    assert_eq!(tombstone.key.as_deref(), Some(&b"key 1"[..]));
    let first = out.iter().find(|event| event.payload.is_some()).unwrap();
    assert!(first.headers.text("ce_id").unwrap().starts_with(&world.topic("in")));
    assert!(first.headers.text("passerelle_received").is_some());
    assert!(first.headers.text("odd").is_none());
    let mut causes: Vec<_> = letters
        .iter()
        .map(|letter| letter.headers.text("__connect.errors.exception.class.name").unwrap())
        .collect();
    causes.sort_unstable();
    assert_eq!(causes, ["unlucky", "wire_format"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_processor_goes_on_where_it_was() {
    let world = World::new("resume").await;
    for round in 0..3_i64 {
        let mut plan = world.plan(1);
        plan.topics.push(world.declared("out", 1));
        plan.processors.push(shout(&world));
        let engine = world.run(plan).await;
        let from = 100 + round * 100;
        world.write_things(from..from + 50, 5).await;
        let expected = (round as usize + 1) * 45;
        until("the output", || {
            let out = futures::executor::block_on(world.read(&world.topic("out")));
            (out.len() >= expected).then_some(())
        })
        .await;
        engine.shutdown().await;
        assert_eq!(world.read(&world.topic("out")).await.len(), expected);
    }
}

/// Publishes ten drafts, rejects one, and hands out its publisher.
struct Ten(Arc<Mutex<Option<Publisher>>>);

#[async_trait]
impl Source for Ten {
    async fn run(self: Box<Self>, out: Publisher, stop: Shutdown) -> Result<(), Fault> {
        for id in 0..10_i64 {
            let draft = Draft {
                id: format!("evt_{id}"),
                kind: Some("thing".into()),
                time: Some(1_700_000_000_000),
                traceparent: None,
                received: engine::clock::unix_millis(),
                key: Some("k".into()),
                value: Some(thing(id, "from a source")),
            };
            out.send(draft).await?;
        }
        let headers = [("content-type", "application/json".to_owned())];
        let now = engine::clock::unix_millis();
        let rejected = Rejected::of("evt_bad".to_owned(), &b"{"[..], headers, now);
        out.reject(rejected, &Fault::data("json_invalid", "cut off")).await?;
        self.0.lock().expect("not poisoned").replace(out.clone());
        out.ready();
        stop.requested().await;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_publishes_with_its_headers_and_finds_its_ids_again() {
    let world = World::new("source").await;
    let mut plan = world.plan(2);
    let publisher = Arc::new(Mutex::new(None));
    let handed = Arc::clone(&publisher);
    plan.sources.push(SourceRoute {
        name: "ten".into(),
        build: Box::new(move || Ok(Box::new(Ten(Arc::clone(&handed))))),
        to: world.topic("in"),
        once: false,
    });
    let engine = world.run(plan).await;
    world.until_state(&engine, "ten", |state| *state == State::Running).await;
    let out = publisher.lock().unwrap().clone().unwrap();
    assert!(out.available().is_ok());
    let ids = out.recent_ids(0, 1_000).await.unwrap();
    assert_eq!(ids.len(), 11);
    assert!(ids.iter().any(|(id, _)| id == "evt_bad"));
    assert_eq!(out.recent_ids(0, 4).await.unwrap().len(), 4);
    assert!(out.recent_ids(engine::clock::unix_millis() + 1_000, 9).await.unwrap().is_empty());
    engine.shutdown().await;
    let events = world.read(&world.topic("in")).await;
    assert_eq!(events.len(), 10);
    assert_eq!(events[0].headers.text("ce_source"), Some(&*format!("{}/ten", world.pipeline)));
    assert_eq!(events[0].headers.text("ce_time"), Some("2023-11-14T22:13:20.000Z"));
    let letters = world.read(&world.topic("ten.dead-letters")).await;
    assert_eq!(letters[0].payload.as_deref(), Some(&b"{"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incompatible_schema_makes_the_route_that_writes_it_wait_until_it_is_mended() {
    let world = World::new("incompatible").await;
    let other = r#"{"type":"record","name":"Thing","fields":[{"name":"id","type":"string"}]}"#;
    let other = schemas::Schema::parse(other).unwrap();
    let subject = format!("{}-value", world.topic("out"));
    world.registry.register(&subject, &other).await.unwrap();
    let mut plan = world.plan(1);
    plan.topics.push(world.declared("out", 1));
    plan.processors.push(shout(&world));
    let engine = world.run(plan).await;
    let state = world.until_state(&engine, "shout", waits_for("not compatible")).await;
    assert!(matches!(state, State::Waiting { next_try: Some(_), .. }), "{state:?}");
    world.write_things(1..3, 5).await;

    // Whoever mends the subject needs no restart.
    let level = schemas::compatibility::Level::None;
    world.registry.set_compatibility_level(&subject, level).await.unwrap();
    world.until_state(&engine, "shout", |state| *state == State::Running).await;
    until("the output", || {
        let out = futures::executor::block_on(world.read(&world.topic("out")));
        (out.len() == 2).then_some(())
    })
    .await;
    engine.shutdown().await;
}

/// Makes two events of each, and sends each to a topic of its own.
struct Halve;

impl Processor for Halve {
    fn process(&self, event: &Event, value: Value, out: &mut Emit) -> Result<(), Fault> {
        for half in ["left", "right"] {
            out.send_child(event, half, value.clone());
        }
        Ok(())
    }
}

struct Sort;

impl Processor for Sort {
    fn process(&self, event: &Event, value: Value, out: &mut Emit) -> Result<(), Fault> {
        match event.headers.text("ce_id") {
            Some(id) if id.ends_with("/left") => out.send_to(value, 0),
            Some(_) if crate::world::number(&value) == Some(3) => {
                return Err(Fault::data("refused", "not this one"));
            }
            _ => out.send_to(value, 1),
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_of_an_event_goes_to_the_topics_chosen_with_ids_of_its_own_or_not_at_all() {
    for promise in [Promise::AtLeastOnce, Promise::ExactlyOnce(Duration::from_millis(50))] {
        let world = World::new("sort").await;
        let mut plan = world.plan(2);
        plan.topics.extend([world.declared("left", 2), world.declared("right", 2)]);
        plan.processors.push(ProcessorRoute {
            to: vec![world.topic("left"), world.topic("right")],
            steps: vec![Box::new(Halve), Box::new(Sort)],
            promise,
            ..shout(&world)
        });
        let engine = world.run(plan).await;
        world.write_things(0..10, 3).await;
        world.write("in", Some("key 1"), None).await;
        let written = async |name: &str| world.read(&world.topic(name)).await;
        until("both topics", || {
            let (left, right) = futures::executor::block_on(async {
                (written("left").await, written("right").await)
            });
            (left.len() >= 10 && right.len() >= 10).then_some(())
        })
        .await;
        engine.shutdown().await;
        let letters = world.read(&world.topic("shout.dead-letters")).await;
        assert_eq!(letters.len(), 1, "the whole event, once");
        for (name, half) in [("left", "/left"), ("right", "/right")] {
            let events = written(name).await;
            let (tombstones, others): (Vec<_>, Vec<_>) =
                events.iter().partition(|event| event.payload.is_none());
            assert_eq!((tombstones.len(), others.len()), (1, 9), "{name}: one was refused");
            let ids: std::collections::BTreeSet<_> =
                others.iter().map(|event| event.id()).collect();
            assert_eq!(ids.len(), 9);
            assert!(ids.iter().all(|id| id.ends_with(half)), "{ids:?}");
        }
    }
}
