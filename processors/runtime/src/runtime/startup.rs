//! Bringing a pipeline up: topics, schemas, positions, then processors and sinks, then sources.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::reading::{BACKOFF, Decisions, ReadingRoute};
use super::source::Publishing;
use super::{Plan, ProcessorRoute, SinkRoute, SourceRoute, Topic};
use crate::codec::{Decoders, Encoding};
use crate::dead_letters::{DeadLetters, topic_of};
use crate::delivery::{Delivery, backoff_wait};
use crate::kafka::{Admin, Producer};
use crate::metrics::Metrics;
use crate::positions::{ROUTES_TOPIC, Reading, Settler, Start};
use crate::processing::{Mill, Processing};
use crate::state::{Role, State, StateOf, States};
use crate::{Domain, Fault, Shutdown};

/// Kafka's default of `max.message.bytes`.
const DEFAULT_MAX_MESSAGE: u64 = 1_048_588;

/// What is needed to bring a pipeline up.
pub(super) struct Startup {
    pub admin: Admin,
    pub prompt: Arc<Producer>,
    pub patient: Arc<Producer>,
    pub metrics: Metrics,
    pub decisions: Decisions,
    pub shutdown: Shutdown,
    pub started: watch::Sender<Option<Result<(), Fault>>>,
}

/// Makes the routes known: sources first, then processors, then sinks.
pub(super) fn add_routes(plan: &Plan, states: &States) -> Vec<StateOf> {
    let sources = plan.sources.iter().map(|route| (&route.name, Role::Source));
    let processors = plan.processors.iter().map(|route| (&route.name, Role::Processor));
    let sinks = plan.sinks.iter().map(|route| (&route.name, Role::Sink));
    let all = sources.chain(processors).chain(sinks);
    all.map(|(name, role)| states.add(&plan.full_name(name), role)).collect()
}

/// What all routes of a pipeline share.
struct Common {
    plan: Outline,
    startup: Startup,
    settler: Arc<Settler>,
}

/// The plan without its routes.
struct Outline {
    name: String,
    cluster: crate::kafka::Cluster,
    registry: schemas::registry::Registry,
    instance: Option<String>,
    topics: Vec<Topic>,
}

impl Outline {
    fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.iter().find(|topic| topic.name == name)
    }
}

impl Startup {
    /// Brings the pipeline up and waits until all of its routes have ended.
    pub async fn run(self, plan: Plan, states: Vec<StateOf>) {
        tokio::spawn(self.prompt.watch());
        let shutdown = self.shutdown.clone();
        let prepared = tokio::select! {
            prepared = self.prepare(&plan, &states) => prepared,
            () = shutdown.requested() => {
                states.iter().for_each(|state| state.set(State::shut_down()));
                return;
            }
        };
        if let Err(fault) = prepared {
            states.iter().for_each(|state| state.set(State::stopped(fault.message.clone())));
            self.started.send_replace(Some(Err(fault)));
            return;
        }
        self.launch(plan, states).await;
    }

    /// Creates the topics; waits for the brokers.
    async fn prepare(&self, plan: &Plan, states: &[StateOf]) -> Result<(), Fault> {
        let mut failures = 0;
        loop {
            let fault = match self.prepare_topics(plan).await {
                Ok(()) => return Ok(()),
                Err(fault) if fault.domain == Domain::Config => return Err(fault),
                Err(fault) => fault,
            };
            failures += 1;
            let wait = backoff_wait(BACKOFF, failures);
            for state in states {
                state.set(State::waiting(fault.message.clone(), wait));
            }
            sleep(wait).await;
        }
    }

    async fn prepare_topics(&self, plan: &Plan) -> Result<(), Fault> {
        self.admin.ensure(&plan.topics).await?;
        let sources = plan.sources.iter().map(|route| (&route.name, &route.to));
        let processors = plan.processors.iter().map(|route| (&route.name, &route.from));
        let sinks = plan.sinks.iter().map(|route| (&route.name, &route.from));
        let routes: Vec<_> = sources.chain(processors).chain(sinks).collect();
        let topics: BTreeSet<&str> = routes.iter().map(|(_, topic)| topic.as_str()).collect();
        let there = self.admin.partitions().await?;
        let known: Vec<&str> =
            topics.into_iter().filter(|topic| there.contains_key(*topic)).collect();
        let settings = self.admin.settings(&known).await?;
        let limit = |topic: &str| {
            let setting = settings.get(topic).and_then(|all| all.get("max.message.bytes"));
            setting.and_then(|bytes| bytes.parse().ok()).unwrap_or(DEFAULT_MAX_MESSAGE)
        };
        let mut internal: Vec<Topic> = routes
            .iter()
            .map(|(route, topic)| dead_letter_topic(&plan.pipeline, route, limit(topic)))
            .collect();
        internal.push(Topic {
            name: ROUTES_TOPIC.to_owned(),
            partitions: Some(1),
            compaction: Some(true),
            ..Topic::default()
        });
        self.admin.create_missing(&internal).await
    }

    async fn launch(self, plan: Plan, states: Vec<StateOf>) {
        let names = states.iter().map(|state| Arc::clone(state.route())).collect();
        let settler = Settler::new(&plan.cluster, Arc::clone(&self.patient), names);
        let outline = Outline {
            name: plan.pipeline,
            cluster: plan.cluster,
            registry: plan.registry,
            instance: plan.instance,
            topics: plan.topics,
        };
        let common = Arc::new(Common { plan: outline, startup: self, settler: Arc::new(settler) });
        let mut states = states.into_iter();
        let source_states: Vec<_> = states.by_ref().take(plan.sources.len()).collect();
        let mut routes = JoinSet::new();
        let mut placed = Vec::new();
        for (route, state) in plan.processors.into_iter().zip(states.by_ref()) {
            let (sender, receiver) = watch::channel(false);
            placed.push(receiver);
            routes.spawn(Arc::clone(&common).process(route, state, sender));
        }
        for (route, state) in plan.sinks.into_iter().zip(states) {
            let (sender, receiver) = watch::channel(false);
            placed.push(receiver);
            routes.spawn(Arc::clone(&common).deliver(route, state, sender));
        }
        let shutdown = common.startup.shutdown.clone();
        for mut placed in placed {
            // An error means that the route has ended before: it reads from nowhere.
            tokio::select! {
                _ = placed.wait_for(|placed| *placed) => {}
                () = shutdown.requested() => break,
            }
        }
        for (route, state) in plan.sources.into_iter().zip(source_states) {
            routes.spawn(Arc::clone(&common).publish(route, state));
        }
        common.startup.started.send_replace(Some(Ok(())));
        while let Some(ended) = routes.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a route's task failed: a bug, please report it");
            }
        }
    }
}

/// Kept until someone discards them; twice the size, so that the added headers always fit.
fn dead_letter_topic(pipeline: &str, route: &str, limit: u64) -> Topic {
    let property = |name: &str, value: String| (name.to_owned(), value);
    Topic {
        name: topic_of(pipeline, route),
        partitions: Some(1),
        properties: vec![
            property("retention.ms", "-1".to_owned()),
            property("max.message.bytes", limit.saturating_mul(2).to_string()),
        ],
        ..Topic::default()
    }
}

impl Common {
    fn reading(&self, state: &StateOf, topic: &str, start: Option<Start>) -> Reading {
        let route = Arc::clone(state.route());
        let name = route.split_once('/').map_or(&*route, |(_, name)| name);
        let group = format!("passerelle.{}.{name}", self.plan.name);
        Reading { group, topic: topic.into(), start, route }
    }

    fn reading_route(
        &self,
        state: &StateOf,
        topic: &str,
        start: Option<Start>,
        placed: watch::Sender<bool>,
    ) -> ReadingRoute {
        ReadingRoute {
            reading: self.reading(state, topic, start),
            cluster: self.plan.cluster.clone(),
            instance: self.plan.instance.clone(),
            state: state.clone(),
            settler: Arc::clone(&self.settler),
            decisions: self.startup.decisions.clone(),
            placed,
            shutdown: self.startup.shutdown.clone(),
        }
    }

    fn decoders(&self, topic: &str) -> Arc<Decoders> {
        let schema = self.plan.topic(topic).and_then(|topic| topic.schema.as_ref());
        Arc::new(Decoders::new(&self.plan.registry, schema))
    }

    async fn deliver(
        self: Arc<Self>,
        route: SinkRoute,
        state: StateOf,
        placed: watch::Sender<bool>,
    ) {
        let metrics = self.startup.metrics.route(state.route());
        let reading = self.reading_route(&state, &route.from, route.options.start, placed);
        let decoders = self.decoders(&route.from);
        let producer = Arc::clone(&self.startup.patient);
        reading.run(Delivery::new(route, &state, &metrics, decoders, producer)).await;
        metrics.set_state(&state.get());
    }

    async fn process(
        self: Arc<Self>,
        route: ProcessorRoute,
        state: StateOf,
        placed: watch::Sender<bool>,
    ) {
        let metrics = self.startup.metrics.route(state.route());
        let reading = self.reading_route(&state, &route.from, route.start, placed);
        let shutdown = self.startup.shutdown.clone();
        // Positions are settled by the reading route; that must not wait for the registry.
        reading.settle_only().await;
        let encoding = tokio::select! {
            encoding = self.encoding(&route.to, &state) => encoding,
            () = shutdown.requested() => return state.set(State::shut_down()),
        };
        let encoding = match encoding {
            Ok(encoding) => encoding,
            Err(fault) => return state.set(State::stopped(fault.message)),
        };
        let mill = Mill {
            route: Arc::clone(state.route()),
            to: route.to.as_str().into(),
            steps: route.steps,
            key: route.key,
            decoders: self.decoders(&route.from),
            encoding,
            producer: Arc::clone(&self.startup.patient),
            dead_letters: DeadLetters::of(state.route()),
            on_error: route.on_error,
        };
        reading.run(Processing::new(mill, &state, &metrics)).await;
        metrics.set_state(&state.get());
    }

    /// Registers the output's schema; waits for the registry.
    async fn encoding(&self, topic: &str, state: &StateOf) -> Result<Encoding, Fault> {
        let schema = self.plan.topic(topic).and_then(|topic| topic.schema.as_ref());
        let mut failures = 0;
        loop {
            match Encoding::settle(&self.plan.registry, topic, schema).await {
                Err(fault) if fault.domain == Domain::Remote => {
                    failures += 1;
                    let wait = backoff_wait(BACKOFF, failures);
                    state.set(State::waiting(fault.message, wait));
                    sleep(wait).await;
                }
                result => return result,
            }
        }
    }

    async fn publish(self: Arc<Self>, route: SourceRoute, state: StateOf) {
        let publishing = Publishing {
            topic: self.plan.topic(&route.to).cloned(),
            cluster: self.plan.cluster.clone(),
            registry: self.plan.registry.clone(),
            producer: Arc::clone(&self.startup.prompt),
            metrics: self.startup.metrics.route(state.route()),
            shutdown: self.startup.shutdown.clone(),
            state,
            route,
        };
        publishing.run().await;
    }
}
