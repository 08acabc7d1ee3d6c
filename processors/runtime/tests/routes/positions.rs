//! Where routes start, and that they never jump.

use crate::world::{Target, World, quick, until, waits_for};
use engine::dispatch::Commit;
use engine::kafka::GroupOffsets;
use engine::positions::{Accept, Start};
use engine::runtime::SinkOptions;
use engine::state::State;

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_on_a_topic_that_holds_events_waits_until_someone_decides() {
    let world = World::new("first").await;
    world.create_topics(2).await;
    world.write_things(0..20, 5).await;
    let target = Target::willing();
    let engine = world.run(world.plan_with_sink(2, target.clone(), quick())).await;
    world.until_state(&engine, "sink", waits_for("start: beginning")).await;
    let route = format!("{}/sink", world.pipeline);
    until("the decision taken", || engine.accept(&route, Accept::Beginning).ok()).await;
    target.until_taken(20).await;
    engine.shutdown().await;
    target.assert_all_in_order(0..20);
}

#[tokio::test(flavor = "multi_thread")]
async fn start_now_leaves_out_what_is_there_and_a_restart_goes_on_where_it_was() {
    let world = World::new("now").await;
    world.create_topics(1).await;
    world.write_things(0..5, 1).await;
    let target = Target::willing();
    let options = SinkOptions { start: Some(Start::Now), ..quick() };
    let engine = world.run(world.plan_with_sink(1, target.clone(), options.clone())).await;
    engine.shutdown().await;
    world.write_things(5..8, 1).await;
    let engine = world.run(world.plan_with_sink(1, target.clone(), options)).await;
    target.until_taken(3).await;
    engine.shutdown().await;
    assert_eq!(target.ids(), [5, 6, 7], "the position of the first start was kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_beyond_the_end_makes_the_route_wait_and_name_the_range() {
    let world = World::new("beyond").await;
    let target = Target::willing();
    world.run(world.plan_with_sink(1, target.clone(), quick())).await.shutdown().await;
    let group = format!("passerelle.{}.sink", world.pipeline);
    let (cluster, topic) = (world.cluster.clone(), world.topic("in"));
    tokio::task::spawn_blocking(move || {
        let offsets = GroupOffsets::open(&cluster, &group).unwrap();
        let commit = Commit { partition: 0, offset: 50, metadata: String::new() };
        offsets.commit(&topic, &[commit]).unwrap();
    })
    .await
    .unwrap();
    world.write_things(0..3, 1).await;
    let engine = world.run(world.plan_with_sink(1, target.clone(), quick())).await;
    let state = world.until_state(&engine, "sink", waits_for("3 to 49")).await;
    assert!(matches!(state, State::Waiting { next_try: None, .. }));
    let route = format!("{}/sink", world.pipeline);
    until("the decision taken", || engine.accept(&route, Accept::Offset(1)).ok()).await;
    target.until_taken(2).await;
    engine.shutdown().await;
    assert_eq!(target.ids(), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_route_waits_and_can_go_on_where_it_was_left() {
    let world = World::new("renamed").await;
    let target = Target::willing();
    let engine = world.run(world.plan_with_sink(1, target.clone(), quick())).await;
    world.write_things(0..3, 1).await;
    target.until_taken(3).await;
    engine.shutdown().await;
    world.write_things(3..5, 1).await;

    let mut plan = world.plan_with_sink(
        1,
        target.clone(),
        SinkOptions { start: Some(Start::Beginning), ..quick() },
    );
    plan.sinks[0].name = "sales".into();
    let engine = world.run(plan).await;
    world.until_state(&engine, "sales", waits_for("renamed")).await;
    let (route, old) = (format!("{}/sales", world.pipeline), format!("{}/sink", world.pipeline));
    until("the decision taken", || engine.accept(&route, Accept::Renamed(old.clone())).ok()).await;
    target.until_taken(5).await;
    engine.shutdown().await;
    assert_eq!(target.ids(), [0, 1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_as_declared_is_refused_before_anything_runs() {
    let world = World::new("drift").await;
    world.create_topics(2).await;
    let plan = world.plan_with_sink(3, Target::willing(), quick());
    let engine = engine::Engine::start(plan, &engine::Metrics::new().unwrap()).unwrap();
    let fault = engine.started().await.unwrap_err();
    assert_eq!(fault.cause, "topic_drift");
    assert!(fault.message.contains("2 partitions"), "{fault}");
    assert!(matches!(world.state(&engine, "sink"), State::Stopped { .. }));
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_created_anew_makes_the_route_wait_even_if_it_holds_more_than_before() {
    let world = World::new("anew").await;
    let target = Target::willing();
    let engine = world.run(world.plan_with_sink(1, target.clone(), quick())).await;
    world.write_things(0..3, 1).await;
    target.until_taken(3).await;
    engine.shutdown().await;
    world.delete_topic("in").await;
    world.create_topics(1).await;
    world.write_things(10..20, 1).await;
    let engine = world.run(world.plan_with_sink(1, target.clone(), quick())).await;
    world.until_state(&engine, "sink", waits_for("created anew")).await;
    let route = format!("{}/sink", world.pipeline);
    until("the decision taken", || engine.accept(&route, Accept::Beginning).ok()).await;
    target.until_taken(13).await;
    engine.shutdown().await;
    assert_eq!(target.ids()[3..], (10..20).collect::<Vec<_>>());
}
