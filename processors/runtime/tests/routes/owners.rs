//! Sources that must run once: one instance runs them, and their events and cursor go together.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use engine::kafka::{Cluster, OWNERS_TOPIC};
use engine::runtime::{Plan, SourceRoute};
use engine::state::State;
use engine::{Draft, Event, Fault, Publisher, Shutdown, Source};
use futures::executor::block_on;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use schemas::registry::{Registry, RegistryConfig};

use crate::world::{World, thing, until, waits_for};

/// What the instances write down, each in lines of its own: who, what, which number.
#[derive(Clone)]
struct Notes(PathBuf);

impl Notes {
    fn add(&self, who: &str, what: &str, number: i64) {
        let mut file = std::fs::File::options().append(true).create(true).open(&self.0).unwrap();
        file.write_all(format!("{who} {what} {number}\n").as_bytes()).unwrap();
    }

    /// Who wrote that down, and with which number, in order.
    fn of(&self, what: &str) -> Vec<(String, i64)> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        let words = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let noted = words.filter(|words| words.len() == 3 && words[1] == what);
        noted.map(|words| (words[0].to_owned(), words[2].parse().unwrap())).collect()
    }

    /// Who began last.
    fn owner(&self) -> String {
        self.of("began").pop().map(|(who, _)| who).unwrap_or_default()
    }

    /// How many events this one has written.
    fn written(&self, who: &str) -> usize {
        self.of("written").iter().filter(|(writer, _)| writer == who).count()
    }

    /// The last number with which this one wrote that down.
    fn last(&self, who: &str, what: &str) -> Option<i64> {
        let noted = self.of(what).into_iter().rfind(|(writer, _)| writer == who);
        noted.map(|(_, number)| number)
    }
}

/// Counts on from its cursor, an event each time, with the instance's name as its text. It does so on
/// its own, and does not notice that it is dropped: only the brokers can hold it back.
#[derive(Clone)]
struct Counting {
    instance: String,
    notes: Notes,
}

impl Counting {
    async fn count(self, out: Publisher, stop: Shutdown) -> Result<(), Fault> {
        let mut next: i64 = out.cursor().map_or(0, |last| last.parse::<i64>().unwrap() + 1);
        self.notes.add(&self.instance, "began", next);
        out.ready();
        while !stop.is_requested() {
            let draft = Draft {
                id: format!("evt_{next}"),
                kind: None,
                time: None,
                traceparent: None,
                received: engine::clock::unix_millis(),
                key: Some("k".into()),
                value: Some(thing(next, &self.instance)),
            };
            self.notes.add(&self.instance, "writes", next);
            let written = out.send_with_cursor(vec![draft], next.to_string()).await;
            let what = if written.is_ok() { "written" } else { "refused" };
            self.notes.add(&self.instance, what, next);
            written?;
            next += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

#[async_trait]
impl Source for Counting {
    async fn run(self: Box<Self>, out: Publisher, stop: Shutdown) -> Result<(), Fault> {
        tokio::spawn((*self).count(out, stop)).await.unwrap()
    }
}

fn plan(world: &World, instance: &str, notes: &Notes) -> Plan {
    let mut plan = world.plan(1);
    let counting = Counting { instance: instance.to_owned(), notes: notes.clone() };
    plan.sources.push(SourceRoute {
        name: "counting".into(),
        build: Box::new(move || Ok(Box::new(counting.clone()))),
        to: world.topic("in"),
        once: true,
    });
    plan
}

/// Every event that can be read, in order, has the next number.
fn assert_each_once_in_order(events: &[Event]) {
    let ids: Vec<_> = events.iter().map(|event| event.headers.text("ce_id").unwrap()).collect();
    let expected: Vec<_> = (0..events.len()).map(|number| format!("evt_{number}")).collect();
    assert_eq!(ids, expected, "none is lost, none is doubled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_must_run_once_goes_on_at_its_cursor_in_another_instance() {
    let world = World::new("owners").await;
    let directory = tempfile::tempdir().unwrap();
    let notes = Notes(directory.path().join("notes"));
    let first = world.run(plan(&world, "first", &notes)).await;
    world.until_state(&first, "counting", |state| *state == State::Running).await;
    let second = world.run(plan(&world, "second", &notes)).await;
    world.until_state(&second, "counting", waits_for("owned by another instance")).await;
    until("events", || (notes.written("first") > 20).then_some(())).await;
    assert_eq!(notes.of("began"), [("first".to_owned(), 0)], "it runs once");
    first.shutdown().await;
    until("more", || (notes.written("second") > 20).then_some(())).await;
    second.shutdown().await;
    assert_each_once_in_order(&world.read(&world.topic("in")).await);
}

/// Is a member of the source's group under this name for a while; its session then ends by itself.
fn take_the_name(world: &World, name: &str) {
    let group = format!("passerelle.{}.counting", world.pipeline);
    let member: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", &world.cluster.brokers)
        .set("group.id", group)
        .set("group.instance.id", name)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", "6000")
        .create()
        .unwrap();
    member.subscribe(&[OWNERS_TOPIC]).unwrap();
    let until = Instant::now() + Duration::from_secs(8);
    while Instant::now() < until {
        drop(member.poll(Duration::from_millis(100)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_refused_as_another_of_its_name_comes_back() {
    let world = World::new("owners-name").await;
    let directory = tempfile::tempdir().unwrap();
    let notes = Notes(directory.path().join("notes"));
    let mut plan = plan(&world, "first", &notes);
    plan.instance = Some("pod-0".to_owned());
    let first = world.run(plan).await;
    world.until_state(&first, "counting", |state| *state == State::Running).await;
    until("the source begins", || (notes.of("began").len() == 1).then_some(())).await;
    tokio::task::block_in_place(|| take_the_name(&world, "pod-0"));
    until("the source begins again", || (notes.of("began").len() > 1).then_some(())).await;
    let written = notes.written("first");
    until("it goes on", || (notes.written("first") > written + 20).then_some(())).await;
    first.shutdown().await;
    assert_each_once_in_order(&world.read(&world.topic("in")).await);
}

/// The other process: it runs the source, when it is its turn, until it is killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test below, in a process of its own"]
async fn the_other_process() {
    let Ok(setting) = std::env::var("OWNERS") else { return };
    let [pipeline, brokers, registry, notes, name] = setting.split(' ').collect::<Vec<_>>()[..]
    else {
        panic!("five words are needed")
    };
    let mut world = World::on("owners", Cluster::new(brokers), None).await;
    world.pipeline = pipeline.to_owned();
    world.registry = Registry::new(RegistryConfig::new(registry)).unwrap();
    let _engine = world.run(plan(&world, name, &Notes(notes.into()))).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
}

/// The other processes, by name; killed when they are dropped.
struct Others(BTreeMap<String, Child>);

impl Others {
    fn start(world: &World, notes: &Notes, names: &[&str]) -> Self {
        let (pipeline, brokers) = (&world.pipeline, &world.cluster.brokers);
        let (registry, notes) = (&world.registry_url, notes.0.display());
        let spawn = |name: &&str| {
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--ignored", "--exact", "owners::the_other_process"])
                .env("OWNERS", format!("{pipeline} {brokers} {registry} {notes} {name}"))
                .spawn();
            ((*name).to_owned(), child.unwrap())
        };
        Self(names.iter().map(spawn).collect())
    }

    fn signal(&self, name: &str, signal: &str) {
        let id = self.0[name].id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    fn kill(&mut self, name: &str) {
        let mut child = self.0.remove(name).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Stops this one between two transactions, and returns the number that it has written last: the
    /// one that it is in the midst of would be aborted in time, whoever wrote meanwhile.
    async fn stop_between(&self, name: &str, notes: &Notes) -> i64 {
        loop {
            self.signal(name, "-STOP");
            let written = notes.last(name, "written");
            if written == notes.last(name, "writes") {
                return written.unwrap();
            }
            self.signal(name, "-CONT");
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        for child in self.0.values_mut() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// Who wrote the events that can be read, each time that it changes.
async fn writers(world: &World) -> Vec<String> {
    let decoder = schemas::Decoder::new(&world.schema, None).unwrap();
    let mut writers = Vec::new();
    for event in world.read(&world.topic("in")).await {
        let value = decoder.decode(&event.payload.unwrap()[5..]).unwrap();
        let text = value.as_object().unwrap().get("text").unwrap();
        writers.push(text.to_str_lossy().unwrap().into_owned());
    }
    writers.dedup();
    writers
}

/// The number in the last cursor that can be read.
async fn last_cursor(world: &World) -> i64 {
    let route = format!("{}/counting", world.pipeline);
    let mut kept = world.read(OWNERS_TOPIC).await;
    kept.retain(|event| event.key.as_deref() == Some(route.as_bytes()));
    let last = kept.pop().and_then(|event| event.payload).unwrap();
    let kept: serde_json::Value = serde_json::from_slice(&last).unwrap();
    kept["cursor"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_and_a_kill_neither_lose_nor_double_an_event_of_a_source() {
    let world = World::new("owners").await;
    let directory = tempfile::tempdir().unwrap();
    let notes = Notes(directory.path().join("notes"));
    let mut others = Others::start(&world, &notes, &["one", "two", "three"]);
    until("an owner", || (notes.written(&notes.owner()) > 20).then_some(())).await;

    let zombie = notes.owner();
    let last = others.stop_between(&zombie, &notes).await;
    until("an heir", || (notes.owner() != zombie).then_some(())).await;
    let heir = notes.owner();
    until("the heir at work", || (notes.written(&heir) > 20).then_some(())).await;
    others.signal(&zombie, "-CONT");
    let refused = || notes.last(&zombie, "refused");
    assert_eq!(until("the woken one is refused", refused).await, last + 1);
    let written = writers(&world).await;
    assert_eq!(written.last(), Some(&heir), "{written:?}");
    // Nothing of the zombie's lies after the first of its heir's.
    assert_eq!(written.iter().filter(|writer| **writer == heir).count(), 1, "{written:?}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(notes.owner(), heir, "the woken process is not the owner again");

    others.kill(&heir);
    until("another heir", || (notes.owner() != heir).then_some(())).await;
    let last = notes.owner();
    let before = notes.written(&last);
    until("the last one at work", || (notes.written(&last) > before + 20).then_some(())).await;
    drop(others);

    // The transaction that was cut off has ended, or hides itself in both topics.
    let agreed = || {
        let (events, cursor) = block_on(futures::future::join(
            async { world.read(&world.topic("in")).await },
            last_cursor(&world),
        ));
        (i64::try_from(events.len()).unwrap() == cursor + 1).then_some(events)
    };
    let events = until("events and cursor agree", agreed).await;
    assert_each_once_in_order(&events);
    let written = notes.of("written");
    assert!(written.iter().all(|(_, number)| *number < i64::try_from(events.len()).unwrap()));
}
