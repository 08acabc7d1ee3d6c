//! Sink routes against brokers: order, dead letters, waiting, draining, rebalancing.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::world::{Target, World, id_of, quick, until, waits_for};
use bytes::Bytes;
use engine::kafka::GroupView;
use engine::positions::Start;
use engine::runtime::{OnError, SinkOptions};
use engine::state::State;
use engine::{Delivery, Fault, Order};

#[tokio::test(flavor = "multi_thread")]
async fn order_per_key_is_kept_while_calls_fail() {
    let world = World::new("order").await;
    let target = Target::new(|_, _| match rand::random_bool(0.3) {
        true => Err(Fault::remote("http_503", "busy")),
        false => Ok(Delivery::default()),
    });
    let engine = world.run(world.plan_with_sink(3, target.clone(), quick())).await;
    world.write_things(0..200, 7).await;
    target.until_taken(200).await;
    engine.shutdown().await;
    target.assert_all_in_order(0..200);
    assert_eq!(target.taken.lock().unwrap().len(), 200, "nothing twice");
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_repeats_nothing_that_was_answered_and_loses_nothing() {
    let world = World::new("restart").await;
    let mut target = Target::willing();
    target.takes = Duration::from_millis(100);
    world.create_topics(2).await;
    world.write_things(0..200, 100).await;
    let options = SinkOptions { start: Some(Start::Beginning), ..quick() };
    let engine = world.run(world.plan_with_sink(2, target.clone(), options)).await;
    target.until_taken(10).await;
    engine.shutdown().await;
    let before = target.taken.lock().unwrap().len();
    assert!(before < 200);
    let engine = world.run(world.plan_with_sink(2, target.clone(), quick())).await;
    target.until_taken(200).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    engine.shutdown().await;
    target.assert_all_in_order(0..200);
    assert_eq!(target.taken.lock().unwrap().len(), 200, "what was in flight was drained");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_pass_goes_to_the_dead_letters_byte_for_byte_and_the_rest_passes() {
    let world = World::new("poison").await;
    let target = Target::new(|event, _| match id_of(event) {
        2 => Err(Fault::data("http_422", "no such product")),
        _ => Ok(Delivery::default()),
    });
    let engine = world.run(world.plan_with_sink(1, target.clone(), quick())).await;
    let truncated = world.encode("in", 1, "hello").await.slice(..8);
    let poison = [Bytes::from_static(b"\x07json"), truncated, Bytes::from_static(b"\x00")];
    for payload in &poison {
        world.write("in", Some("k"), Some(payload.clone())).await;
    }
    world.write_things(2..5, 1).await;
    target.until_taken(2).await;
    let mut letters = until("four dead letters", || {
        let letters = futures::executor::block_on(world.dead_letters());
        (letters.len() == 4).then_some(letters)
    })
    .await;
    engine.shutdown().await;
    assert_eq!(target.ids(), [3, 4]);
    // Those of different keys come in any order.
    letters.sort_by_key(|letter| letter.headers.text("__connect.errors.offset").map(str::to_owned));
    for (letter, payload) in letters.iter().zip(&poison) {
        assert_eq!(letter.payload.as_ref(), Some(payload));
        assert_eq!(letter.key.as_deref(), Some(&b"k"[..]));
        assert_eq!(letter.headers.get("odd").map(|bytes| &bytes[..]), Some(&b"\xff"[..]));
        let added = letter.headers.iter().filter(|(name, _)| name.starts_with("__connect.errors."));
        assert_eq!(added.count(), 10);
    }
    let class = "__connect.errors.exception.class.name";
    assert_eq!(letters[0].headers.text(class), Some("wire_format"));
    assert_eq!(letters[1].headers.text(class), Some("avro_decode"));
    assert_eq!(letters[3].headers.text(class), Some("http_422"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_does_not_fit_makes_the_route_wait_and_the_offset_does_not_pass() {
    let world = World::new("unfit").await;
    let mut small = world.declared("sink.dead-letters", 1);
    small.properties = vec![("max.message.bytes".into(), "1000".into())];
    let mut plan = world.plan(1);
    plan.topics.push(small);
    world.run(plan).await.shutdown().await;

    let target = Target::new(|_, _| Err(Fault::data("http_422", "no")));
    let engine = world.run(world.plan_with_sink(1, target.clone(), quick())).await;
    // lz4 must not help it to fit.
    let noise: Vec<u8> = (0..3_000).map(|_| rand::random()).collect();
    world.write("in", Some("k"), Some(Bytes::from(noise.clone()))).await;
    let state = world.until_state(&engine, "sink", waits_for("too large")).await;
    assert!(matches!(state, State::Waiting { next_try: Some(_), .. }), "{state:?}");
    engine.shutdown().await;

    let engine = world.run(world.plan_with_sink(1, target.clone(), quick())).await;
    world.until_state(&engine, "sink", waits_for("too large")).await;
    engine.shutdown().await;
    assert!(world.dead_letters().await.is_empty(), "nothing was cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_down_makes_the_route_wait_and_nothing_is_given_up() {
    let world = World::new("breaker").await;
    let target = Target::new(|_, _| Err(Fault::remote("http_503", "the target answers 503")));
    let options = SinkOptions { give_up_after: Duration::from_millis(300), ..quick() };
    let engine = world.run(world.plan_with_sink(2, target.clone(), options)).await;
    world.write_things(0..40, 40).await;
    world.until_state(&engine, "sink", waits_for("503")).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let calls = target.calls.load(Ordering::Relaxed);
    assert!(calls < 60, "one probe at a time, not {calls} calls");
    target.behave(|_, _| Ok(Delivery::default()));
    target.until_taken(40).await;
    world.until_state(&engine, "sink", |state| *state == State::Running).await;
    engine.shutdown().await;
    target.assert_all_in_order(0..40);
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_that_always_fails_is_given_up_while_the_others_pass() {
    let world = World::new("give-up").await;
    let target = Target::new(|event, _| match id_of(event) {
        0 => Err(Fault::remote("http_500", "it crashes on this one")),
        _ => Ok(Delivery::default()),
    });
    world.create_topics(1).await;
    world.write_things(0..100, 50).await;
    let start = Some(Start::Beginning);
    let options = SinkOptions { give_up_after: Duration::from_secs(10), start, ..quick() };
    let engine = world.run(world.plan_with_sink(1, target.clone(), options)).await;
    target.until_taken(99).await;
    engine.shutdown().await;
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].headers.text("__connect.errors.exception.class.name"), Some("http_500"));
    let ids = target.ids();
    let behind = ids.iter().position(|id| *id == 50).unwrap();
    assert_eq!(behind, 98, "the one of its key came last, the others did not wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_told_to_stop_in_front_of_a_bad_event_stops_there() {
    let world = World::new("stop").await;
    let target = Target::new(|event, _| match id_of(event) {
        3 => Err(Fault::data("http_422", "no such product")),
        _ => Ok(Delivery::default()),
    });
    let options = SinkOptions { on_error: OnError::Stop, ..quick() };
    let engine = world.run(world.plan_with_sink(1, target.clone(), options.clone())).await;
    world.write_things(0..6, 1).await;
    let stopped = |state: &State| matches!(state, State::Stopped { reason } if reason.contains("422") || reason.contains("no such product"));
    world.until_state(&engine, "sink", stopped).await;
    engine.shutdown().await;
    assert_eq!(target.ids(), [0, 1, 2]);
    target.behave(|_, _| Ok(Delivery::default()));
    let engine = world.run(world.plan_with_sink(1, target.clone(), options)).await;
    target.until_taken(6).await;
    engine.shutdown().await;
    assert_eq!(target.ids(), [0, 1, 2, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_in_order_is_delivered_in_batches() {
    let world = World::new("batches").await;
    let mut target = Target::willing();
    (target.order, target.batch) = (Order::Partition, 20);
    let engine = world.run(world.plan_with_sink(1, target.clone(), quick())).await;
    world.write_things(0..100, 100).await;
    target.until_taken(100).await;
    engine.shutdown().await;
    assert_eq!(target.ids(), (0..100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_instance_takes_over_partitions_without_loss_or_disorder() {
    let world = World::new("rebalance").await;
    let mut target = Target::willing();
    // So slow that something is in flight whenever a partition moves.
    target.takes = Duration::from_millis(300);
    let first = world.run(world.plan_with_sink(4, target.clone(), quick())).await;
    world.write_things(0..200, 40).await;
    let second = world.run(world.plan_with_sink(4, target.clone(), quick())).await;
    target.until_taken(150).await;
    first.shutdown().await;
    world.write_things(200..250, 40).await;
    target.until_taken(250).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    second.shutdown().await;
    target.assert_all_in_order(0..250);
    let repeats = target.taken.lock().unwrap().len() - 250;
    assert_eq!(repeats, 0, "what was in flight was drained before partitions moved");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_committed_at_once_also_beyond_one_that_fails() {
    let world = World::new("commit").await;
    let target = Target::new(|event, _| match id_of(event) {
        3 => Err(Fault::remote("http_500", "it crashes on this one")),
        _ => Ok(Delivery::default()),
    });
    let engine = world.run(world.plan_with_sink(1, target.clone(), quick())).await;
    world.write_things(0..50, 50).await;
    target.until_taken(49).await;
    let above = engine::dispatch::Completed::decode;
    let all_but_it = |view: &GroupView| {
        view.committed.get(&0).is_some_and(|commit| {
            commit.offset == 3 && above(3, &commit.metadata) == std::iter::once(4..50).collect()
        })
    };
    world.until_committed("sink", all_but_it).await;
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_always_fail_are_given_up_also_where_little_else_comes() {
    let world = World::new("light").await;
    let target = Target::new(|event, _| match id_of(event) {
        0 | 1 => Err(Fault::remote("http_500", "it crashes on this one")),
        _ => Ok(Delivery::default()),
    });
    let options = SinkOptions { give_up_after: Duration::from_secs(3), ..quick() };
    let engine = world.run(world.plan_with_sink(1, target.clone(), options)).await;
    world.write_things(0..2, 2).await;
    world.until_state(&engine, "sink", waits_for("crashes")).await;
    // While nothing passes nothing is given up.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(world.dead_letters().await.is_empty());
    let mut slowest = Duration::ZERO;
    for id in 2..8 {
        let started = std::time::Instant::now();
        world.write_things(id..id + 1, 100).await;
        target.until_taken(usize::try_from(id - 1).unwrap()).await;
        slowest = slowest.max(started.elapsed());
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    println!("the slowest of the others took {slowest:?}");
    until("two dead letters", || {
        let letters = futures::executor::block_on(world.dead_letters());
        (letters.len() == 2).then_some(())
    })
    .await;
    world.until_state(&engine, "sink", |state| *state == State::Running).await;
    engine.shutdown().await;
    assert_eq!(target.ids(), (2..8).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_refuses_us_is_probed_and_the_route_resumes_by_itself() {
    for (status, cause) in [(401, "http_401"), (403, "http_403"), (410, "http_410")] {
        let world = World::new("refused").await;
        let target =
            Target::new(move |_, _| Err(Fault::refused(cause, format!("it answers {status}"))));
        let options = SinkOptions { give_up_after: Duration::from_millis(300), ..quick() };
        let engine = world.run(world.plan_with_sink(1, target.clone(), options)).await;
        world.write_things(0..20, 20).await;
        let state = world.until_state(&engine, "sink", waits_for(&status.to_string())).await;
        assert!(matches!(state, State::Waiting { next_try: Some(_), .. }), "{state:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let calls = target.calls.load(Ordering::Relaxed);
        assert!((2..40).contains(&calls), "it probes, one event at a time: {calls} calls");
        target.behave(|_, _| Ok(Delivery::default()));
        target.until_taken(20).await;
        world.until_state(&engine, "sink", |state| *state == State::Running).await;
        engine.shutdown().await;
        target.assert_all_in_order(0..20);
        assert!(world.dead_letters().await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_dead_letter_topic_a_route_waits_and_goes_on_once_it_is_back() {
    let world = World::new("no-topic").await;
    let target = Target::new(|event, _| match id_of(event) {
        0 => Err(Fault::data("http_422", "no such product")),
        _ => Ok(Delivery::default()),
    });
    let engine = world.run(world.plan_with_sink(1, target.clone(), quick())).await;
    world.delete_topic("sink.dead-letters").await;
    world.write_things(0..4, 2).await;
    let topic = world.topic("sink.dead-letters");
    world.until_state(&engine, "sink", waits_for(&topic)).await;
    target.until_taken(2).await;
    assert_eq!(target.ids(), [1, 3], "others pass");
    assert_eq!(world.committed("sink").await.offset, 0);

    let again = engine::runtime::Topic { name: topic, partitions: Some(1), ..Default::default() };
    let admin = engine::kafka::Admin::new(&world.cluster).unwrap();
    admin.create_missing(&[again]).await.unwrap();
    target.until_taken(3).await;
    world.until_state(&engine, "sink", |state| *state == State::Running).await;
    engine.shutdown().await;
    assert_eq!(target.ids(), [1, 3, 2]);
    assert_eq!(world.dead_letters().await.len(), 1);
}
