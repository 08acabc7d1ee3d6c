//! `deduplicate`: what comes again is dropped, over restarts, until the window is over.

use std::time::Duration;

use bytes::Bytes;
use engine::kafka::Record;
use engine::runtime::{Deduplicate, Plan, ProcessorRoute, Promise};
use engine::{Emit, Event, Fault, Headers, Processor, Value};

use crate::world::{World, until};

/// Passes everything on.
struct Pass;

impl Processor for Pass {
    fn process(&self, _: &Event, value: Value, out: &mut Emit) -> Result<(), Fault> {
        out.send(value);
        Ok(())
    }
}

fn plan(world: &World, promise: Promise, length: Duration) -> Plan {
    let mut plan = world.plan(2);
    plan.topics.push(world.declared("out", 2));
    plan.processors.push(ProcessorRoute {
        deduplicate: Some(Deduplicate { length, by: None }),
        promise,
        ..world.processor("once", Pass)
    });
    plan
}

async fn write(world: &World, ids: std::ops::Range<i64>) {
    for id in ids {
        let mut headers = Headers::default();
        headers.set("ce_id", format!("evt_{id}"));
        let record = Record {
            topic: world.topic("in").into(),
            partition: None,
            key: Some(Bytes::from(format!("key {}", id % 5))),
            payload: Some(world.encode("in", id, "hello").await),
            headers,
        };
        world.send(&record).await;
    }
}

async fn until_out(world: &World, count: usize) {
    until(&format!("{count} events"), || {
        let out = futures::executor::block_on(world.read(&world.topic("out")));
        assert!(out.len() <= count, "{} of {count} came out", out.len());
        (out.len() == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_again_is_dropped_also_after_a_restart() {
    for promise in [Promise::AtLeastOnce, Promise::ExactlyOnce(Duration::from_millis(50))] {
        let world = World::new("once").await;
        let length = Duration::from_secs(3_600);
        let engine = world.run(plan(&world, promise, length)).await;
        write(&world, 0..20).await;
        write(&world, 0..20).await;
        until_out(&world, 20).await;
        engine.shutdown().await;
        write(&world, 10..25).await;
        let engine = world.run(plan(&world, promise, length)).await;
        write(&world, 0..30).await;
        until_out(&world, 30).await;
        engine.shutdown().await;
        assert_eq!(world.read(&world.topic("once.seen")).await.len(), 30);
        let outcomes = world.read("passerelle.outcomes").await;
        let ours = format!("{}/once", world.pipeline);
        let duplicates = outcomes.iter().filter(|event| {
            let text = String::from_utf8_lossy(event.payload.as_deref().unwrap_or_default());
            text.contains(&ours) && text.contains(r#""outcome":"duplicate""#)
        });
        assert_eq!(duplicates.count(), 20 + 15 + 30 - 10);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_seen_is_forgotten_after_its_window() {
    let world = World::new("once").await;
    let engine = world.run(plan(&world, Promise::AtLeastOnce, Duration::from_millis(500))).await;
    write(&world, 0..1).await;
    until_out(&world, 1).await;
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    write(&world, 0..1).await;
    until_out(&world, 2).await;
    engine.shutdown().await;
    let seen = world.read(&world.topic("once.seen")).await;
    let kept: Vec<bool> = seen.iter().map(|event| event.payload.is_some()).collect();
    assert_eq!(kept, [true, false, true]);
}
