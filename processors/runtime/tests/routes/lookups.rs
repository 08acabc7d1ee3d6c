//! A compacted topic that events are enriched with.

use std::time::Duration;

use engine::connector::{Setup, Shared};
use engine::expression::Expression;
use engine::lookup::{LookupConnector as _, Topic};
use engine::runtime::{Plan, ProcessorRoute, Promise};
use engine::state::State;
use engine::{Emit, Enrichment, Event, Fault, Found, OnMiss, Processor, Value};
use schemas::Schema;
use serde_json::{Value as Json, json};
use vrl::value::Kind;

use crate::world::{World, number, thing, until, waits_for};

/// Writes what the topic says of the thing.
struct Name;

impl Processor for Name {
    fn process(&self, _: &Event, value: Value, out: &mut Emit) -> Result<(), Fault> {
        let name = value.as_object().and_then(|fields| fields.get("name"));
        let name = name.and_then(|name| name.as_object()?.get("text"));
        let name = name.and_then(Value::to_str_lossy).unwrap_or("nobody".into());
        out.send(thing(number(&value).unwrap_or_default(), &name));
        Ok(())
    }
}

/// A route that enriches what it reads with what the topic `names` has.
fn plan(world: &World, bounds: Json, on_miss: OnMiss) -> Plan {
    let mut plan = world.plan(2);
    plan.topics.push(world.declared("out", 2));
    let names = world.declared("names", 3);
    plan.topics.push(engine::runtime::Topic { compaction: Some(true), ..names });
    let setup = Setup {
        route: "tests/name".into(),
        input: Kind::any(),
        input_schema: None,
        output_schema: None,
        connection: None,
        listen: ([127, 0, 0, 1], 0).into(),
        folder: ".".into(),
        shared: Shared::default(),
    };
    let mut options = json!({ "name": world.topic("names") });
    options.as_object_mut().unwrap().extend(bounds.as_object().unwrap().clone());
    let lookup = Topic::build(serde_json::from_value(options).unwrap(), &setup).unwrap();
    plan.processors.push(ProcessorRoute {
        enrichments: vec![Enrichment {
            field: "name".into(),
            by: Expression(".id".into()).compile(&Kind::any_object()).unwrap(),
            schema: None,
            on_miss,
            lookup,
            found: Found::new(Duration::from_secs(60), 100),
        }],
        promise: Promise::AtLeastOnce,
        ..world.processor("name", Name)
    });
    plan
}

/// Says what the name of an id is.
async fn name(world: &World, id: i64, name: Option<&str>) {
    let payload = match name {
        Some(name) => Some(world.encode("names", id, name).await),
        None => None,
    };
    world.write("names", Some(&id.to_string()), payload).await;
}

/// What came out, once there is so much of it.
async fn out(world: &World, count: usize) -> Vec<Value> {
    let out = until(&format!("{count} events"), || {
        let out = futures::executor::block_on(world.read(&world.topic("out")));
        (out.len() >= count).then_some(out)
    })
    .await;
    assert_eq!(out.len(), count);
    let decoder = schemas::Decoder::new(&world.schema, None).unwrap();
    out.into_iter().map(|event| decoder.decode(&event.payload.unwrap()[5..]).unwrap()).collect()
}

/// How often each name came out.
async fn named(world: &World, count: usize, name: &str) -> usize {
    let out = out(world, count).await;
    let text = |value: &Value| value.as_object().unwrap()["text"].to_string_lossy().into_owned();
    out.iter().filter(|value| text(value) == name).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_event_finds_all_that_the_topic_had_and_later_ones_what_it_has() {
    let world = World::new("held").await;
    let create = plan(&world, json!({}), OnMiss::Null);
    world.run(create).await.shutdown().await;
    for id in 0..500 {
        name(&world, id, Some("old")).await;
    }
    for id in 0..500 {
        name(&world, id, Some("new")).await;
    }
    name(&world, 7, None).await;
    world.write_things(0..500, 8).await;
    let engine = world.run(plan(&world, json!({}), OnMiss::Null)).await;
    let first = out(&world, 500).await;
    for value in &first {
        let id = number(value).unwrap();
        assert_eq!(*value, thing(id, if id == 7 { "nobody" } else { "new" }));
    }
    // What is written while it runs is found soon: removed, changed, new.
    name(&world, 1, None).await;
    name(&world, 2, Some("changed")).await;
    name(&world, 600, Some("late")).await;
    let mut count = 500;
    for (id, wanted) in [(1, "nobody"), (2, "changed"), (600, "late")] {
        let mut tries = 0;
        loop {
            world.write_things(id..id + 1, 8).await;
            count += 1;
            let all = out(&world, count).await;
            if all.contains(&thing(id, wanted)) {
                break;
            }
            tries += 1;
            assert!(tries < 100, "in vain: {id} {wanted}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    engine.shutdown().await;
    // Another process knows the same, from nothing but the topic.
    let before = named(&world, count, "changed").await;
    world.write_things(2..3, 8).await;
    let engine = world.run(plan(&world, json!({}), OnMiss::Null)).await;
    assert_eq!(named(&world, count + 1, "changed").await, before + 1);
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_waits_for_what_the_topic_does_not_have_yet() {
    let world = World::new("awaited").await;
    let engine = world.run(plan(&world, json!({}), OnMiss::Wait)).await;
    world.write_things(1..2, 1).await;
    world.until_state(&engine, "name", waits_for("Nothing was found for `name` by `1`")).await;
    name(&world, 1, Some("one")).await;
    assert_eq!(named(&world, 1, "one").await, 1);
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_larger_than_its_bound_makes_the_route_wait_and_say_so() {
    let world = World::new("bounded").await;
    let create = plan(&world, json!({}), OnMiss::Null);
    world.run(create).await.shutdown().await;
    for id in 0..20 {
        name(&world, id, Some("known")).await;
    }
    world.write_things(0..5, 1).await;
    let engine = world.run(plan(&world, json!({ "at_most": 19 }), OnMiss::Null)).await;
    world.until_state(&engine, "name", waits_for("more than `at_most` (19) entries")).await;
    assert_eq!(world.read(&world.topic("out")).await.len(), 0);
    assert_eq!(world.read(&world.topic("name.dead-letters")).await.len(), 0);
    engine.shutdown().await;
    let engine = world.run(plan(&world, json!({ "largest": "1KiB" }), OnMiss::Null)).await;
    world.until_state(&engine, "name", waits_for("more than `largest` (1024 bytes)")).await;
    engine.shutdown().await;
    let engine = world.run(plan(&world, json!({ "at_most": 20 }), OnMiss::Null)).await;
    assert_eq!(named(&world, 5, "known").await, 5);
    world.until_state(&engine, "name", |state| *state == State::Running).await;
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_value_is_a_mistake_of_the_events_that_need_it() {
    let world = World::new("poisoned").await;
    let engine = world.run(plan(&world, json!({}), OnMiss::Null)).await;
    world.write("names", Some("2"), Some(bytes::Bytes::from_static(b"poison"))).await;
    // Written with an older version of the schema: read as the topic's own.
    let older = Schema::parse(
        r#"{"type":"record","name":"Thing","fields":[{"name":"id","type":"int"},
            {"name":"text","type":"string"}]}"#,
    );
    let older = older.unwrap();
    let subject = format!("{}-value", world.topic("other"));
    let id = world.registry.register(&subject, &older).await.unwrap();
    let mut payload = schemas::wire::header(id).to_vec();
    schemas::Encoder::new(&older).unwrap().encode(&thing(3, "three"), &mut payload).unwrap();
    world.write("names", Some("3"), Some(payload.into())).await;
    // The topic's last: once it is found, all of them were read.
    name(&world, 1, Some("one")).await;
    world.write_things(1..2, 1).await;
    named(&world, 1, "one").await;
    world.write_things(2..4, 1).await;
    let out = out(&world, 2).await;
    assert_eq!(out[1], thing(3, "three"));
    let letters = until("the dead letter", || {
        let topic = world.topic("name.dead-letters");
        let letters = futures::executor::block_on(world.read(&topic));
        (!letters.is_empty()).then_some(letters)
    })
    .await;
    assert_eq!(letters.len(), 1);
    engine.shutdown().await;
}
