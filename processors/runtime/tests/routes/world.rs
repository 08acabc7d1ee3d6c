//! What the engine's tests run in: brokers, a registry, a target that remembers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use engine::kafka::{
    Cluster, Committed, GroupOffsets, GroupView, Producer, ReadFrom, Reader, Record, Urgency,
};
use engine::runtime::{
    MaxAhead, OnError, Plan, ProcessorRoute, Promise, SinkOptions, SinkRoute, Topic,
};
use engine::state::State;
use engine::{Delivery, Engine, Event, Fault, Headers, Metrics, Order, Processor, Sink, Value};
use schemas::registry::server::{MemoryLog, Server};
use schemas::registry::{Registry, RegistryConfig};
use schemas::{Encoder, Schema, wire};

pub const SCHEMA: &str = r#"{"type":"record","name":"Thing","fields":[
    {"name":"id","type":"long"},{"name":"text","type":"string"}]}"#;

/// Brokers, a registry, and names of its own.
pub struct World {
    pub cluster: Cluster,
    pub registry: Registry,
    pub pipeline: String,
    pub schema: Schema,
    producer: Producer,
    pub registry_url: String,
    pub registry_server: Server,
    _broker: Option<(broker::Broker, tempfile::TempDir)>,
}

impl World {
    /// A world whose topics are `<name>-<number>.…`.
    pub async fn new(name: &str) -> Self {
        let (brokers, broker) = brokers().await;
        Self::on(name, Cluster::new(brokers), broker).await
    }

    /// A world on these brokers.
    pub async fn on(
        name: &str,
        cluster: Cluster,
        broker: Option<(broker::Broker, tempfile::TempDir)>,
    ) -> Self {
        let logs = tracing_subscriber::EnvFilter::from_default_env();
        let logs = tracing_subscriber::fmt().with_env_filter(logs).with_test_writer();
        // Another test of this process may have been first.
        drop(logs.try_init());
        let registry_server = Server::open(MemoryLog::default()).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry_url = format!("http://{}", listener.local_addr().unwrap());
        serve_registry(listener, registry_server.clone());
        Self {
            producer: Producer::new(&cluster, Urgency::Patient).unwrap(),
            cluster,
            registry: Registry::new(RegistryConfig::new(&registry_url)).unwrap(),
            registry_url,
            registry_server,
            pipeline: format!("{name}-{}", rand::random::<u32>()),
            schema: Schema::parse(SCHEMA).unwrap(),
            _broker: broker,
        }
    }

    /// The full name of a topic of this world.
    pub fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.pipeline)
    }

    pub fn declared(&self, name: &str, partitions: i32) -> Topic {
        Topic {
            name: self.topic(name),
            partitions: Some(partitions),
            schema: Some(self.schema.clone()),
            ..Topic::default()
        }
    }

    /// A plan without routes and with one topic, `in`.
    pub fn plan(&self, partitions: i32) -> Plan {
        Plan {
            pipeline: self.pipeline.clone(),
            cluster: self.cluster.clone(),
            registry: self.registry.clone(),
            instance: None,
            shares: Arc::default(),
            topics: vec![self.declared("in", partitions)],
            outcomes: Some(engine::outcomes::Policy::default()),
            sources: Vec::new(),
            processors: Vec::new(),
            sinks: Vec::new(),
        }
    }

    /// A plan with one topic, `in`, and one sink, `sink`.
    pub fn plan_with_sink(
        &self,
        partitions: i32,
        sink: impl Sink + 'static,
        options: SinkOptions,
    ) -> Plan {
        let mut plan = self.plan(partitions);
        let (name, from, sink) = ("sink".into(), self.topic("in"), Box::new(sink));
        plan.sinks.push(SinkRoute { name, from, awaited: Vec::new(), sink, options });
        plan
    }

    /// A processor from `in` to `out`: what a test is about it says itself.
    pub fn processor(&self, name: &str, step: impl Processor + 'static) -> ProcessorRoute {
        ProcessorRoute {
            name: name.into(),
            from: self.topic("in"),
            to: vec![self.topic("out")],
            deduplicate: None,
            enrichments: Vec::new(),
            steps: vec![Box::new(step)],
            key: None,
            start: None,
            on_error: OnError::DeadLetter,
            promise: Promise::default(),
        }
    }

    /// Starts a plan and waits until it is up.
    pub async fn run(&self, plan: Plan) -> Engine {
        let engine = Engine::start(plan, &Metrics::new().unwrap()).unwrap();
        engine.started().await.unwrap();
        engine
    }

    /// Creates the topics of a plan by running it without routes.
    pub async fn create_topics(&self, partitions: i32) {
        self.run(self.plan(partitions)).await.shutdown().await;
    }

    pub async fn delete_topic(&self, name: &str) {
        let topic = self.topic(name);
        let admin: rdkafka::admin::AdminClient<_> = rdkafka::ClientConfig::new()
            .set("bootstrap.servers", &self.cluster.brokers)
            .create()
            .unwrap();
        let options =
            rdkafka::admin::AdminOptions::new().operation_timeout(Some(Duration::from_secs(5)));
        admin.delete_topics(&[&topic], &options).await.unwrap().remove(0).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    pub async fn encode(&self, topic: &str, id: i64, text: &str) -> Bytes {
        let subject = format!("{}-value", self.topic(topic));
        let schema_id = self.registry.register(&subject, &self.schema).await.unwrap();
        let mut out = wire::header(schema_id).to_vec();
        Encoder::new(&self.schema).unwrap().encode(&thing(id, text), &mut out).unwrap();
        out.into()
    }

    pub async fn write(&self, topic: &str, key: Option<&str>, payload: Option<Bytes>) {
        let mut headers = Headers::default();
        headers.push("odd", Some(Bytes::from_static(b"\xff")));
        let record = Record {
            topic: self.topic(topic).into(),
            partition: None,
            key: key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
            payload,
            headers,
        };
        self.producer.send(&record).await.unwrap();
    }

    /// Writes a record.
    pub async fn send(&self, record: &Record) {
        self.producer.send(record).await.unwrap();
    }

    /// Writes things with the ids of the range, under one of so many keys.
    pub async fn write_things(&self, ids: std::ops::Range<i64>, keys: i64) {
        for id in ids {
            let payload = self.encode("in", id, "hello").await;
            self.write("in", Some(&format!("key {}", id % keys)), Some(payload)).await;
        }
    }

    /// Everything that a topic holds now.
    pub async fn read(&self, topic: &str) -> Vec<Event> {
        let (cluster, topic) = (self.cluster.clone(), topic.to_owned());
        tokio::task::spawn_blocking(move || {
            let mut events = Vec::new();
            let mut reader = Reader::open(&cluster, &topic, ReadFrom::Beginning).unwrap();
            reader.read_to_end(|event| events.push(event)).unwrap();
            events
        })
        .await
        .unwrap()
    }

    /// What a route's group has committed for partition 0 of `in`.
    pub async fn committed(&self, route: &str) -> Committed {
        self.offsets(route).await.committed.remove(&0).unwrap()
    }

    /// Waits until a route's group has committed what is asked for in `in`.
    pub async fn until_committed(&self, route: &str, asked: impl Fn(&GroupView) -> bool) {
        for _ in 0..1_200 {
            if asked(&self.offsets(route).await) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("in vain: offsets of {route}: {:?}", self.offsets(route).await);
    }

    /// How far a route's group is in `in`.
    async fn offsets(&self, route: &str) -> GroupView {
        let group = format!("passerelle.{}.{route}", self.pipeline);
        let (cluster, topic) = (self.cluster.clone(), self.topic("in"));
        let view = tokio::task::spawn_blocking(move || {
            GroupOffsets::open(&cluster, &group).unwrap().view(&topic).unwrap().unwrap()
        });
        view.await.unwrap()
    }

    pub async fn dead_letters(&self) -> Vec<Event> {
        self.read(&self.topic("sink.dead-letters")).await
    }

    /// The state of the route named `sink`.
    pub fn state(&self, engine: &Engine, route: &str) -> State {
        let name = format!("{}/{route}", self.pipeline);
        let found = engine.statuses().into_iter().find(|status| *status.route == *name);
        found.unwrap().state
    }

    /// Waits until the route's state is as asked.
    pub async fn until_state(
        &self,
        engine: &Engine,
        route: &str,
        asked: impl Fn(&State) -> bool,
    ) -> State {
        until(&format!("state of {route}"), || {
            let state = self.state(engine, route);
            asked(&state).then_some(state)
        })
        .await
    }
}

pub fn thing(id: i64, text: &str) -> Value {
    vrl::value!({ id: id, text: text })
}

/// Waits at most a minute for something.
pub async fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    for _ in 0..6_000 {
        if let Some(found) = look() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("in vain: {what}");
}

/// Whether everything that there is has been committed.
pub fn all(view: &GroupView) -> bool {
    let done = |partition| view.committed.get(partition).map_or(0, |commit| commit.offset);
    view.bounds.iter().all(|(partition, bounds)| done(partition) == bounds.high)
}

pub fn waits_for(part: &str) -> impl Fn(&State) -> bool {
    move |state| matches!(state, State::Waiting { reason, .. } if reason.contains(part))
}

/// Options that try again soon.
pub fn quick() -> SinkOptions {
    SinkOptions {
        backoff: engine::runtime::Backoff {
            initial: Duration::from_millis(20),
            max: Duration::from_millis(200),
        },
        max_ahead: MaxAhead { events: 200, bytes: 1 << 20 },
        ..SinkOptions::default()
    }
}

type Answer = Result<Delivery, Fault>;
type Script = dyn Fn(&Event, u32) -> Answer + Send + Sync;

/// A target that remembers what it took and answers by a script.
#[derive(Clone)]
pub struct Target {
    script: Arc<Mutex<Arc<Script>>>,
    /// Every event that it took, in the order of the answers.
    pub taken: Arc<Mutex<Vec<Event>>>,
    pub calls: Arc<AtomicU32>,
    /// How long each call takes.
    pub takes: Duration,
    pub order: Order,
    pub batch: usize,
}

impl Target {
    pub fn new(script: impl Fn(&Event, u32) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            script: Arc::new(Mutex::new(Arc::new(script))),
            taken: Arc::default(),
            calls: Arc::default(),
            takes: Duration::from_millis(1),
            order: Order::Keyed,
            batch: 1,
        }
    }

    pub fn willing() -> Self {
        Self::new(|_, _| Ok(Delivery::default()))
    }

    pub fn behave(&self, script: impl Fn(&Event, u32) -> Answer + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(script);
    }

    pub fn ids(&self) -> Vec<i64> {
        self.taken.lock().unwrap().iter().map(id_of).collect()
    }

    pub async fn until_taken(&self, count: usize) {
        until(&format!("{count} events taken"), || {
            (self.taken.lock().unwrap().len() >= count).then_some(())
        })
        .await;
    }

    /// Every id is there, and each key's ids came in order (repeats aside).
    pub fn assert_all_in_order(&self, ids: std::ops::Range<i64>) {
        let taken = self.taken.lock().unwrap();
        let mut last: HashMap<Bytes, i64> = HashMap::new();
        let mut seen = std::collections::BTreeSet::new();
        for event in taken.iter() {
            let (key, id) = (event.key.clone().unwrap(), id_of(event));
            if seen.insert(id) {
                let before = last.insert(key, id);
                assert!(before.is_none_or(|before| before < id), "{id} came after {before:?}");
            }
        }
        assert!(seen.iter().copied().eq(ids.clone()), "{} of {ids:?}", seen.len());
    }
}

pub fn id_of(event: &Event) -> i64 {
    event.value.as_ref().and_then(number).unwrap()
}

#[async_trait]
impl Sink for Target {
    fn order(&self) -> Order {
        self.order
    }

    fn batch(&self) -> usize {
        self.batch
    }

    async fn deliver(&self, batch: &[Event], attempt: u32) -> Vec<Answer> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(self.takes).await;
        let script = Arc::clone(&*self.script.lock().unwrap());
        let answer = |event: &Event| {
            let answer = script(event, attempt);
            if answer.is_ok() {
                self.taken.lock().unwrap().push(event.clone());
            }
            answer
        };
        batch.iter().map(answer).collect()
    }
}

/// The brokers' address, and the embedded one if there are no others.
async fn brokers() -> (String, Option<(broker::Broker, tempfile::TempDir)>) {
    if let Ok(brokers) = std::env::var("PASSERELLE_TEST_BROKERS") {
        return (brokers, None);
    }
    let directory = tempfile::tempdir().unwrap();
    let broker = broker::Broker::start(broker::Config::new(directory.path())).await.unwrap();
    (broker.address().to_string(), Some((broker, directory)))
}

/// Serves a registry for as long as the test runs.
pub fn serve_registry(listener: tokio::net::TcpListener, server: Server) {
    tokio::spawn(async move { axum::serve(listener, server.router()).await });
}

/// The `id` of a thing.
pub fn number(value: &Value) -> Option<i64> {
    value.as_object()?.get("id")?.as_integer()
}
