//! What an application is asked before the steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use engine::expression::Expression;
use engine::runtime::{ProcessorRoute, Promise};
use engine::state::State;
use engine::{Emit, Enrichment, Event, Fault, Found, Lookup, OnMiss, Processor, Value};
use vrl::value::Kind;

use crate::world::{World, number, thing, until, waits_for};

/// An application that knows names, but not that of 4, and refuses to be asked for 5.
#[derive(Clone, Default)]
struct Names {
    away: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl Lookup for Names {
    async fn find(&self, key: &Value) -> Result<Option<Value>, Fault> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(5)).await;
        if self.away.load(Ordering::Relaxed) {
            return Err(Fault::remote("http_503", "The names answered 503."));
        }
        match key.as_integer() {
            Some(4) => Ok(None),
            Some(5) => Err(Fault::data("http_422", "The names answered 422.")),
            id => Ok(Some(format!("name {}", id.unwrap_or_default()).into())),
        }
    }
}

/// Writes the name.
struct Name;

impl Processor for Name {
    fn process(&self, _: &Event, value: Value, out: &mut Emit) -> Result<(), Fault> {
        let name = value.as_object().and_then(|fields| fields.get("name"));
        let name = name.and_then(Value::to_str_lossy).unwrap_or("nobody".into());
        out.send(thing(number(&value).unwrap_or_default(), &name));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_that_fails_makes_the_route_wait_and_gives_nothing_up() {
    for promise in [Promise::AtLeastOnce, Promise::ExactlyOnce(Duration::from_millis(50))] {
        let world = World::new("names").await;
        let names = Names::default();
        names.away.store(true, Ordering::Relaxed);
        let mut plan = world.plan(2);
        plan.topics.push(world.declared("out", 2));
        plan.processors.push(ProcessorRoute {
            enrichments: vec![Enrichment {
                field: "name".into(),
                by: Expression(".id".into()).compile(&Kind::any_object()).unwrap(),
                schema: None,
                on_miss: OnMiss::Null,
                lookup: Box::new(names.clone()),
                found: Found::new(Duration::from_secs(60), 100),
            }],
            promise,
            ..world.processor("name", Name)
        });
        let engine = world.run(plan).await;
        for _ in 0..3 {
            world.write_things(0..10, 3).await;
        }
        world.until_state(&engine, "name", waits_for("answered 503")).await;
        assert_eq!(world.read(&world.topic("name.dead-letters")).await.len(), 0);
        names.away.store(false, Ordering::Relaxed);
        let asked = names.asked.load(Ordering::Relaxed);
        let out = until("the output", || {
            let out = futures::executor::block_on(world.read(&world.topic("out")));
            (out.len() >= 27).then_some(out)
        })
        .await;
        world.until_state(&engine, "name", |state| *state == State::Running).await;
        let asked = names.asked.load(Ordering::Relaxed) - asked;
        assert!(asked <= 10 + 2, "each name once, and the refused one three times: {asked}");
        engine.shutdown().await;
        assert_eq!(out.len(), 27);
        let decoder = schemas::Decoder::new(&world.schema, None).unwrap();
        for event in out {
            let value = decoder.decode(&event.payload.unwrap()[5..]).unwrap();
            let id = number(&value).unwrap();
            let name = if id == 4 { "nobody".to_owned() } else { format!("name {id}") };
            assert_eq!(value, thing(id, &name));
        }
        let letters = world.read(&world.topic("name.dead-letters")).await;
        assert_eq!(letters.len(), 3, "what is refused itself");
    }
}
