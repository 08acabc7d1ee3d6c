//! A process that is stopped (SIGSTOP) for longer than its session, and wakes up.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use async_trait::async_trait;
use engine::kafka::Cluster;
use engine::positions::Start;
use engine::runtime::SinkOptions;
use engine::{Delivery, Event, Fault, Sink};
use schemas::registry::{Registry, RegistryConfig};

use crate::world::{World, id_of, quick, until};

/// Notes in a file when each call starts and when it is answered.
struct Notebook(PathBuf);

impl Notebook {
    fn note(&self, what: &str, id: i64) {
        let mut file = std::fs::File::options().append(true).create(true).open(&self.0).unwrap();
        file.write_all(format!("{what} {id}\n").as_bytes()).unwrap();
    }
}

#[async_trait]
impl Sink for Notebook {
    async fn deliver(&self, batch: &[Event], _attempt: u32) -> Vec<Result<Delivery, Fault>> {
        for event in batch {
            self.note("start", id_of(event));
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
        for event in batch {
            self.note("done", id_of(event));
        }
        vec![Ok(Delivery::default()); batch.len()]
    }
}

fn noted(path: &Path, what: &str) -> Vec<i64> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let ids = text.lines().filter_map(|line| line.strip_prefix(what)?.trim().parse().ok());
    ids.collect()
}

fn options() -> SinkOptions {
    SinkOptions { start: Some(Start::Beginning), ..quick() }
}

/// The other process: it runs the same route until it is killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test below, in a process of its own"]
async fn the_other_process() {
    let Ok(setting) = std::env::var("ZOMBIE") else { return };
    let [pipeline, brokers, registry, notes] = setting.split(' ').collect::<Vec<_>>()[..] else {
        panic!("four words are needed")
    };
    let mut world = World::on("zombie", Cluster::new(brokers), None).await;
    world.pipeline = pipeline.to_owned();
    world.registry = Registry::new(RegistryConfig::new(registry)).unwrap();
    let _engine = world.run(world.plan_with_sink(4, Notebook(notes.into()), options())).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
}

fn spawn_other(world: &World, notes: &Path) -> Child {
    let brokers = &world.cluster.brokers;
    let (pipeline, registry) = (&world.pipeline, &world.registry_url);
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "zombie::the_other_process"])
        .env("ZOMBIE", format!("{pipeline} {brokers} {registry} {}", notes.display()))
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_woken_after_its_session_repeats_only_what_was_in_flight() {
    let world = World::new("zombie").await;
    world.create_topics(4).await;
    let directory = tempfile::tempdir().unwrap();
    let (zombie, heir) = (directory.path().join("zombie"), directory.path().join("heir"));
    let mut child = spawn_other(&world, &zombie);
    world.write_things(0..1, 1).await;
    until("a sign of life", || (!noted(&zombie, "done").is_empty()).then_some(())).await;
    world.write_things(1..400, 40).await;
    until("the zombie at work", || (noted(&zombie, "done").len() > 50).then_some(())).await;
    signal(&child, "-STOP");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let started: HashSet<i64> = noted(&zombie, "start").into_iter().collect();
    let before: HashSet<i64> = noted(&zombie, "done").into_iter().collect();

    // Its session ends, and another delivers everything that it has not been answered for.
    let plan = world.plan_with_sink(4, Notebook(heir.clone()), options());
    let engine = world.run(plan).await;
    let delivered = |last: i64| {
        let mut all: HashSet<i64> = noted(&zombie, "done").into_iter().collect();
        all.extend(noted(&heir, "done"));
        (1..last).all(|id| all.contains(&id)).then_some(())
    };
    until("the heir has delivered the rest", || delivered(400)).await;
    signal(&child, "-CONT");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let since: HashSet<i64> = noted(&zombie, "start").into_iter().collect();
    let new: Vec<i64> = since.difference(&started).copied().collect();
    // (One at most of each of its workers, which had looked before it was stopped.)
    assert!(new.len() <= 8, "the woken process started {new:?} for partitions it had lost");
    // It is a member again, and does its share.
    world.write_things(400..500, 40).await;
    until("all delivered", || delivered(500)).await;
    child.kill().unwrap();
    child.wait().unwrap();
    engine.shutdown().await;

    let mut calls = noted(&zombie, "start");
    calls.extend(noted(&heir, "start"));
    let mut seen = HashSet::new();
    let repeated: Vec<i64> = calls.into_iter().filter(|id| *id > 0 && !seen.insert(*id)).collect();
    let in_flight: HashSet<i64> = started.difference(&before).copied().collect();
    let uncommitted = repeated.iter().filter(|id| !in_flight.contains(id)).count();
    // Answered in the last moments before the stop, and not committed yet: how many depends on the disk.
    assert!(uncommitted <= 64, "{repeated:?} repeated, {in_flight:?} were in flight");
}
