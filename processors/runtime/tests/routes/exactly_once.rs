//! `delivery: exactly_once`: whoever reads what is committed sees each event's output once, whatever
//! happens to the processes that write it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use engine::kafka::Cluster;
use engine::positions::Start;
use engine::runtime::{Deduplicate, KeyOf, Plan, ProcessorRoute, Promise, SinkOptions};
use engine::state::State;
use engine::{Delivery, Emit, Event, Fault, Processor, Sink, Value};
use schemas::registry::{Registry, RegistryConfig};

use crate::world::{World, number, quick, thing, until};

/// Every so many events one is refused.
const REFUSED: i64 = 17;

/// Refuses some, passes the others on, and takes its time.
struct Slow;

impl Processor for Slow {
    fn process(&self, _: &Event, value: Value, out: &mut Emit) -> Result<(), Fault> {
        std::thread::sleep(Duration::from_millis(2));
        match number(&value).unwrap_or_default() {
            id if id % REFUSED == 0 => Err(Fault::data("refused", "not this one")),
            id => {
                out.send(thing(id, "out"));
                Ok(())
            }
        }
    }
}

/// The worlds in which every event is written twice.
const REPEATS: &str = "repeats";

fn by_number() -> Deduplicate {
    let number = |value: &Value| number(value).map(|id| id.to_string().into());
    let by: KeyOf = Box::new(move |_, value| Ok(number(value)));
    Deduplicate { length: Duration::from_secs(3_600), by: Some(by) }
}

fn plan(world: &World) -> Plan {
    let mut plan = world.plan(4);
    plan.topics.push(world.declared("out", 4));
    plan.processors.push(ProcessorRoute {
        deduplicate: world.pipeline.starts_with(REPEATS).then(by_number),
        start: Some(Start::Beginning),
        promise: Promise::ExactlyOnce(Duration::from_millis(100)),
        ..world.processor("slow", Slow)
    });
    plan
}

/// The other process: it runs the route until it is killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test below, in a process of its own"]
async fn the_other_process() {
    let Ok(setting) = std::env::var("EXACTLY_ONCE") else { return };
    let [pipeline, brokers, registry] = setting.split(' ').collect::<Vec<_>>()[..] else {
        panic!("three words are needed")
    };
    let mut world = World::on("exactly-once", Cluster::new(brokers), None).await;
    world.pipeline = pipeline.to_owned();
    world.registry = Registry::new(RegistryConfig::new(registry)).unwrap();
    let _engine = world.run(plan(&world)).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
}

/// Another process; killed when it is dropped.
struct Other(Child);

impl Other {
    fn start(world: &World) -> Self {
        let brokers = &world.cluster.brokers;
        let (pipeline, registry) = (&world.pipeline, &world.registry_url);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--ignored", "--exact", "exactly_once::the_other_process", "--nocapture"])
            .env("EXACTLY_ONCE", format!("{pipeline} {brokers} {registry}"));
        Self(command.spawn().unwrap())
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The ids of what was made of each event, by key, in the order of the topic.
async fn outputs(world: &World) -> BTreeMap<Vec<u8>, Vec<i64>> {
    let decoder = schemas::Decoder::new(&world.schema, None).unwrap();
    let mut ids: BTreeMap<Vec<u8>, Vec<i64>> = BTreeMap::new();
    for event in world.read(&world.topic("out")).await {
        let value = decoder.decode(&event.payload.unwrap()[5..]).unwrap();
        ids.entry(event.key.unwrap().to_vec()).or_default().push(number(&value).unwrap());
    }
    ids
}

async fn assert_each_once_in_order(world: &World, count: i64) {
    let outputs = outputs(world).await;
    for (key, ids) in &outputs {
        let key = String::from_utf8_lossy(key);
        assert!(ids.is_sorted_by(|one, next| one < next), "{key}: {ids:?}");
    }
    let out: BTreeSet<i64> = outputs.into_values().flatten().collect();
    let expected: BTreeSet<i64> = (0..count).filter(|id| id % REFUSED != 0).collect();
    let missing: Vec<_> = expected.difference(&out).collect();
    assert!(missing.is_empty(), "missing: {missing:?}");
    assert_eq!(out, expected);
    let letters = world.read(&world.topic("slow.dead-letters")).await;
    let origins: BTreeSet<_> = letters.iter().map(origin).collect();
    let refused = (0..count).filter(|id| id % REFUSED == 0).count();
    assert_eq!((letters.len(), origins.len()), (refused, refused), "each dead letter once");
}

fn origin(letter: &Event) -> (String, String) {
    let header = |name| letter.headers.text(name).unwrap().to_owned();
    (header("__connect.errors.partition"), header("__connect.errors.offset"))
}

/// How many outputs and dead letters are to be seen.
async fn seen(world: &World) -> usize {
    let (out, letters) = (world.topic("out"), world.topic("slow.dead-letters"));
    world.read(&out).await.len() + world.read(&letters).await.len()
}

/// Waits, for two minutes at most, until everything has come out: what a process that was killed
/// left open hides what comes after it until the brokers abort it.
async fn until_seen(world: &World, count: i64) {
    for _ in 0..240 {
        if seen(world).await >= usize::try_from(count).unwrap() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("{} of {count} come out", seen(world).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_comes_out_once_over_five_kills_and_a_zombie() {
    survive(World::new("exactly-once").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_again_comes_out_once_over_five_kills_and_a_zombie() {
    survive(World::new(REPEATS).await).await;
}

/// The event that is written again after this one: sometimes soon, sometimes late.
fn before(id: i64) -> Option<i64> {
    let again = if id % 2 == 0 { id - 2 } else { id - 80 };
    (again >= 0).then_some(again)
}

/// Kills those who run the route, one after another, and lets one sleep until it is a zombie.
async fn survive(world: World) {
    world.run(plan(&world)).await.shutdown().await;
    let written = AtomicI64::new(0);
    let writing = async {
        while written.load(Ordering::Relaxed) >= 0 {
            let id = written.fetch_add(1, Ordering::Relaxed);
            world.write_things(id..id + 1, 40).await;
            if let (true, Some(again)) = (world.pipeline.starts_with(REPEATS), before(id)) {
                world.write_things(again..again + 1, 40).await;
            }
            tokio::time::sleep(Duration::from_millis(8)).await;
        }
    };
    let faults = async {
        let mut all = [Other::start(&world), Other::start(&world)];
        until_seen(&world, 100).await;
        for round in 0..5 {
            tokio::time::sleep(Duration::from_millis(1_500 + 700 * round)).await;
            // The other takes over, and gives some back to the new one.
            all[usize::from(round % 2 == 1)] = Other::start(&world);
        }
        until_seen(&world, 600).await;
        all[0].signal("-STOP");
        // Beyond its session and beyond its transaction's time-out.
        tokio::time::sleep(Duration::from_secs(14)).await;
        all[0].signal("-CONT");
        tokio::time::sleep(Duration::from_secs(4)).await;
        let count = written.fetch_min(i64::MIN, Ordering::Relaxed);
        (all, count)
    };
    let ((), (_all, count)) = futures::join!(writing, faults);
    until_seen(&world, count).await;
    assert_each_once_in_order(&world, count).await;
}

/// Takes nothing and counts.
struct Counter;

#[async_trait]
impl Sink for Counter {
    async fn deliver(&self, batch: &[Event], _attempt: u32) -> Vec<Result<Delivery, Fault>> {
        vec![Ok(Delivery::default()); batch.len()]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_reads_transactions_catches_up_with_their_ends() {
    let world = World::new("exactly-once").await;
    let mut plan = plan(&world);
    plan.sinks.push(engine::runtime::SinkRoute {
        name: "sink".into(),
        from: world.topic("out"),
        awaited: Vec::new(),
        sink: Box::new(Counter),
        options: SinkOptions { start: Some(Start::Beginning), ..quick() },
    });
    let engine = world.run(plan).await;
    world.write_things(0..60, 4).await;
    until_seen(&world, 60).await;
    let committed = world.committed("slow").await;
    assert!(committed.offset > 0, "{committed:?}");
    // Measured every three seconds.
    until("no lag", || {
        let caught_up = engine.statuses().iter().all(|status| status.lag_events == 0);
        let running = world.state(&engine, "sink") == State::Running;
        (caught_up && running).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    for status in engine.statuses() {
        assert_eq!(status.lag_events, 0, "{}", status.route);
    }
    engine.shutdown().await;
    assert_each_once_in_order(&world, 60).await;
}
