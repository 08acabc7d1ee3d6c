//! What a processor makes that its topic does not take for its size.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use engine::positions::Start;
use engine::runtime::{ProcessorRoute, Promise};
use engine::{Emit, Event, Fault, Processor, Value};
use rand::Rng as _;
use rand::distr::Alphanumeric;

use crate::world::{World, number, thing, until};

const OUT_TAKES: usize = 4_000;

/// Makes some larger than their topic takes, however they are packed.
struct Swell;

impl Processor for Swell {
    fn process(&self, _: &Event, value: Value, out: &mut Emit) -> Result<(), Fault> {
        let id = number(&value).unwrap_or_default();
        let length = if id % 8 == 3 { 4 * OUT_TAKES } else { 10 };
        let text = rand::rng().sample_iter(Alphanumeric).take(length).map(char::from);
        out.send(thing(id, &text.collect::<String>()));
        Ok(())
    }
}

async fn goes_to_the_dead_letters(name: &str, promise: Promise) -> BTreeMap<i64, usize> {
    let world = World::new(name).await;
    let mut plan = world.plan(1);
    let mut out = world.declared("out", 1);
    out.properties.push(("max.message.bytes".into(), OUT_TAKES.to_string()));
    plan.topics.push(out);
    plan.processors.push(ProcessorRoute {
        start: Some(Start::Beginning),
        promise,
        ..world.processor("swell", Swell)
    });
    world.create_topics(1).await;
    world.write_things(0..20, 5).await;
    let engine = world.run(plan).await;
    let read = |topic: &str| futures::executor::block_on(world.read(&world.topic(topic)));
    until("all of it has passed", || {
        let ids: BTreeSet<_> = read("out").iter().map(place).collect();
        (ids.len() == 17 && read("swell.dead-letters").len() >= 3).then_some(())
    })
    .await;
    engine.shutdown().await;
    let letters = read("swell.dead-letters");
    for letter in &letters {
        let cause = letter.headers.text("__connect.errors.exception.class.name");
        assert_eq!(cause, Some("record_too_large"));
    }
    let mut counts = BTreeMap::new();
    for event in read("out").iter().chain(&letters) {
        *counts.entry(place(event)).or_default() += 1;
    }
    counts
}

/// The offset in `in` of the event that it was made of, or that it is.
fn place(event: &Event) -> i64 {
    let id = event.headers.text("ce_id").and_then(|id| id.rsplit('/').next());
    let offset = id.or_else(|| event.headers.text("__connect.errors.offset"));
    offset.and_then(|offset| offset.parse().ok()).unwrap_or(-1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_too_large_is_its_events_own_fault() {
    let counts = goes_to_the_dead_letters("too-large", Promise::default()).await;
    assert!(counts.len() == 20 && !counts.contains_key(&-1), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_too_large_is_undone_with_its_transaction_and_comes_once() {
    let promise = Promise::ExactlyOnce(Duration::from_millis(100));
    let counts = goes_to_the_dead_letters("too-large-once", promise).await;
    assert!(counts.len() == 20 && counts.values().all(|count| *count == 1), "{counts:?}");
}
