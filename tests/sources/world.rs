//! What is around an application: our brokers behind a gate, the folders and processes of instances,
//! and the account of what became of each change.

use std::collections::{BTreeMap, BTreeSet};

use tempfile::TempDir;
use tests::broker_process::BrokerProcess;
use tests::gate::Gate;

use crate::application::Application;
use crate::endtoend::folder::Folder;
use crate::endtoend::process::{Process, Signal};
use crate::endtoend::topic::{self, Record};
use crate::endtoend::{PATIENCE, until};
use crate::registry;

/// An application and all that is around it.
pub struct World<A> {
    pub application: A,
    // Before its folder, so that its log can be shown when it is dropped.
    process: Option<Process>,
    instance: &'static str,
    /// By instance: each has files of its own.
    folders: BTreeMap<&'static str, Folder>,
    pub gate: Gate,
    // The process ends before its folder goes.
    _broker: BrokerProcess,
    _files: TempDir,
    registry: std::net::SocketAddr,
    /// The names of all that was changed.
    changed: BTreeSet<String>,
}

impl<A: Application> World<A> {
    /// Nothing runs yet but the application and the brokers.
    pub async fn new() -> Self {
        let (gate, files) = (Gate::start().await, TempDir::new().unwrap());
        let broker = BrokerProcess::behind(files.path(), gate.address);
        gate.lead_to(broker.address());
        Self {
            application: A::start().await,
            process: None,
            instance: "one",
            folders: BTreeMap::new(),
            gate,
            _broker: broker,
            _files: files,
            registry: registry::address().await,
            changed: BTreeSet::new(),
        }
    }

    /// Starts the pipeline as an instance of this name, in a folder of its own.
    pub fn start(&mut self, instance: &'static str) {
        let Self { application, gate, registry, .. } = self;
        let folder = self.folders.entry(instance).or_insert_with(|| {
            let folder = Folder::with(&format!(
                "kafka: {{ brokers: \"{}\" }}\nregistry: {{ url: \"http://{registry}\" }}\ntopics:\n  \
                 {}: {{ partitions: 3, schema: topic.avsc }}\n{}",
                gate.address,
                A::TOPIC,
                application.sections()
            ));
            folder.write("topic.avsc", A::SCHEMA);
            folder.write("application.secret", A::SECRETS[0]);
            folder
        });
        application.meets(folder);
        let own = [("PASSERELLE_INSTANCE", instance)];
        let arguments = ["run", "pipeline.yaml"];
        self.process = Some(Process::start_with(folder.path(), instance, &arguments, &own));
        self.instance = instance;
    }

    /// The same, and waits until its source runs.
    pub async fn started(&mut self, instance: &'static str) {
        self.start(instance);
        self.runs().await;
    }

    /// Waits until the source runs.
    pub async fn runs(&self) {
        until("the source runs", async || {
            let status = self.folder().operators().get("/status").await?.1;
            status.contains(r#""state":"running""#).then_some(())
        })
        .await;
    }

    /// Waits until no route is starting any more.
    pub async fn all_started(&self) {
        until("every route has started", async || {
            let routes = self.folder().operators().routes().await;
            routes.values().all(|route| route["state"] != "starting").then_some(())
        })
        .await;
    }

    /// The folder of the instance that was started last.
    pub fn folder(&self) -> &Folder {
        &self.folders[self.instance]
    }

    /// The process that runs.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it was started")
    }

    /// What all instances have said.
    pub fn logs(&self) -> String {
        let log = |(instance, folder): (&&str, &Folder)| {
            std::fs::read_to_string(folder.path().join(format!("{instance}.log"))).unwrap()
        };
        self.folders.iter().map(log).collect()
    }

    /// Waits until Kafka has given the answer that the gate holds back.
    pub async fn held(&self) {
        let held = tokio::time::timeout(PATIENCE, self.gate.holds()).await;
        held.unwrap_or_else(|_| panic!("nothing is written in {PATIENCE:?}:\n{}", self.logs()));
    }

    /// SIGKILL, and a new start at once.
    pub fn kill_and_start(&mut self) {
        self.process().kill();
        self.start(self.instance);
    }

    /// SIGTERM, and its own end.
    pub async fn stop(&mut self) {
        let process = self.process.take().expect("it was started");
        assert!(process.terminate().await.success(), "{}", self.logs());
    }

    /// Gives the instance another secret, and has it read its files again.
    pub fn set_secret(&mut self, secret: &str) {
        self.folder().write("application.secret", secret);
        self.process().signal(Signal::Hangup);
    }

    /// Changes so many things of the application at most.
    pub async fn change(&mut self, count: usize) {
        self.changed.extend(self.application.change(count).await);
    }

    /// Takes note of what was changed at the application itself.
    pub fn notes(&mut self, names: Vec<String>) {
        self.changed.extend(names);
    }

    /// Waits until the event of every change is in the topic.
    pub async fn arrived(&mut self) {
        self.application.is_told().await;
        until(&format!("all {} changes are in the topic", self.changed.len()), async || {
            let found = Found::of::<A>(&self.events().await);
            self.changed.iter().all(|name| found.ids.contains_key(name)).then_some(())
        })
        .await;
        self.process().assert_alive();
    }

    /// What readers of committed events see.
    pub async fn events(&self) -> Vec<Record> {
        topic::read(self.gate.address.to_string(), A::TOPIC).await
    }

    /// Waits until all has arrived, stops, and holds the account: each change has one event, nothing
    /// else has, and there are no dead letters.
    pub async fn holds(&mut self) {
        self.arrived().await;
        self.stop().await;
        let found = Found::of::<A>(&self.events().await);
        found.holds::<A>();
        let invented: Vec<_> = found.ids.keys().filter(|id| !self.changed.contains(*id)).collect();
        assert!(A::CHANGES_BY_ITSELF || invented.is_empty(), "nobody changed {invented:?}");
        let lost: Vec<_> = self.changed.iter().filter(|id| !found.ids.contains_key(*id)).collect();
        assert!(lost.is_empty(), "{lost:?} were lost");
        self.no_dead_letters().await;
    }

    /// Nothing was kept as unfit.
    pub async fn no_dead_letters(&self) {
        let kafka = self.gate.address.to_string();
        let letters = topic::read(kafka, "orders.source.dead-letters").await;
        assert!(letters.is_empty(), "{letters:?}");
    }

    /// Takes away what it leaves behind.
    pub async fn end(self) {
        let Self { application, process, .. } = self;
        drop(process);
        application.end().await;
    }
}

/// What is in the topic.
pub struct Found {
    /// The `ce_id` of each event, by the name of what it tells the change of.
    pub ids: BTreeMap<String, BTreeSet<String>>,
    count: usize,
}

impl Found {
    pub fn of<A: Application>(events: &[Record]) -> Self {
        let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for event in events {
            ids.entry(A::name_of(event)).or_default().insert(event.header("ce_id").to_owned());
        }
        Self { ids, count: events.len() }
    }

    /// A change has one event, in the topic once where that is promised; else its repeats can be known.
    pub fn holds<A: Application>(&self) {
        let several: Vec<_> = self.ids.iter().filter(|(_, ids)| ids.len() != 1).collect();
        assert!(several.is_empty(), "events of one change with several ids: {several:?}");
        let repeats = self.count - self.ids.len();
        eprintln!("{}: {} events, {repeats} repeats", A::NAME, self.count);
        assert!(!A::ONCE || repeats == 0, "{repeats} of {} events are repeats", self.count);
    }
}
