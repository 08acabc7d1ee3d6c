//! Brokers and registries that go away and come back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::kafka::Cluster;
use engine::runtime::SourceRoute;
use engine::state::State;
use engine::{Publisher, Shutdown};
use schemas::registry::{Registry, RegistryConfig};

use crate::world::{Target, World, all, quick, serve_registry, until, waits_for};

/// Hands out its publisher.
struct Idle(Arc<Mutex<Option<Publisher>>>);

#[async_trait::async_trait]
impl engine::Source for Idle {
    async fn run(self: Box<Self>, out: Publisher, stop: Shutdown) -> Result<(), engine::Fault> {
        self.0.lock().expect("not poisoned").replace(out.clone());
        out.ready();
        stop.requested().await;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_costs_nothing_and_sources_know_that_it_is_away() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker::Broker::start(broker::Config::new(directory.path())).await.unwrap();
    let address = broker.address();
    let world = World::on("outage", Cluster::new(address.to_string()), None).await;
    let target = Target::willing();
    let mut plan = world.plan_with_sink(2, target.clone(), quick());
    let publisher = Arc::new(Mutex::new(None));
    let handed = Arc::clone(&publisher);
    plan.sources.push(SourceRoute {
        name: "idle".into(),
        build: Box::new(move || Ok(Box::new(Idle(Arc::clone(&handed))))),
        to: world.topic("in"),
        once: false,
    });
    let engine = world.run(plan).await;
    world.until_state(&engine, "idle", |state| *state == State::Running).await;
    let out = publisher.lock().unwrap().clone().unwrap();
    world.write_things(0..50, 5).await;
    target.until_taken(50).await;
    world.until_committed("sink", all).await;

    broker.shutdown().await;
    until("the broker missed", || out.available().err()).await;
    world.until_state(&engine, "idle", waits_for("No broker")).await;
    world.until_state(&engine, "sink", |state| matches!(state, State::Waiting { .. })).await;

    let mut config = broker::Config::new(directory.path());
    config.listen = address;
    let broker = broker::Broker::start(config).await.unwrap();
    until("the broker found again", || out.available().ok()).await;
    world.write_things(50..100, 5).await;
    target.until_taken(100).await;
    for route in ["idle", "sink"] {
        world.until_state(&engine, route, |state| *state == State::Running).await;
    }
    engine.shutdown().await;
    broker.shutdown().await;
    target.assert_all_in_order(0..100);
    let repeats = target.taken.lock().unwrap().len() - 100;
    assert!(repeats <= 4, "{repeats} repeats: more than the broker's end left uncommitted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_waits_for_brokers_that_are_not_there_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let world = World::on("late-broker", Cluster::new(address.to_string()), None).await;
    let target = Target::willing();
    let plan = world.plan_with_sink(1, target.clone(), quick());
    let engine = engine::Engine::start(plan, &engine::Metrics::new().unwrap()).unwrap();
    world.until_state(&engine, "sink", waits_for("check that the brokers run")).await;
    let mut config = broker::Config::new(directory.path());
    config.listen = address;
    let broker = broker::Broker::start(config).await.unwrap();
    engine.started().await.unwrap();
    world.write_things(0..5, 1).await;
    target.until_taken(5).await;
    engine.shutdown().await;
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_waits_for_a_registry_that_is_away_and_gives_up_nothing() {
    let mut world = World::new("registry").await;
    world.create_topics(1).await;
    world.write_things(0..5, 5).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let server = world.registry_server.clone();
    world.registry = Registry::new(RegistryConfig::new(format!("http://{address}"))).unwrap();
    let target = Target::willing();
    let mut options = quick();
    options.start = Some(engine::positions::Start::Beginning);
    options.give_up_after = Duration::from_millis(100);
    let engine = world.run(world.plan_with_sink(1, target.clone(), options)).await;
    world.until_state(&engine, "sink", waits_for("registry")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(target.ids().is_empty());
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    serve_registry(listener, server);
    target.until_taken(5).await;
    world.until_state(&engine, "sink", |state| *state == State::Running).await;
    engine.shutdown().await;
    assert!(world.dead_letters().await.is_empty());
}
