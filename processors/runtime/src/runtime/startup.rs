//! Bringing a pipeline up: topics, schemas, positions, then processors and sinks, then sources.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::reading::{BACKOFF, Decisions, ReadingRoute};
use super::source::Publishing;
use super::{Deduplicate, Plan, ProcessorRoute, Promise, SinkRoute, SourceRoute, Topic};
use crate::codec::{Decoders, Encoding};
use crate::dead_letters::{DeadLetters, JOURNAL_TOPIC, Journal, topic_of};
use crate::delivery::{Delivery, backoff_wait};
use crate::enrichment::Enrichment;
use crate::kafka::{Admin, OWNERS_TOPIC, Producer, Survey, Transactions, group_of};
use crate::lookup::Around;
use crate::metrics::{Metrics, RouteMetrics};
use crate::outcomes::{self, RouteOutcomes};
use crate::positions::{ROUTES_TOPIC, Reading, Settler, Start};
use crate::processing::{Deduplication, Mill, Output, Processing, seen_topic};
use crate::processor::Chain;
use crate::share::Shares;
use crate::state::{Role, State, StateOf, States};
use crate::{Domain, Fault, Shutdown};

/// Kafka's default of `max.message.bytes`.
pub(crate) const DEFAULT_MAX_MESSAGE: u64 = 1_048_588;

/// What is needed to bring a pipeline up.
pub(super) struct Startup {
    pub admin: Admin,
    pub survey: Survey,
    pub eager: Arc<Producer>,
    pub patient: Arc<Producer>,
    pub metrics: Metrics,
    pub outcomes: Option<Arc<outcomes::Writer>>,
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
    journal: Arc<Journal>,
    /// A name of this process that no other ever has.
    process: u64,
}

/// The plan without its routes.
struct Outline {
    cluster: crate::kafka::Cluster,
    registry: schemas::registry::Registry,
    instance: Option<String>,
    shares: Arc<Shares>,
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
        tokio::spawn(self.eager.watch());
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
        internal.extend(plan.outcomes.as_ref().map(outcomes::topic));
        let largest = routes.iter().map(|(_, topic)| limit(topic)).max();
        let mut seen = Vec::new();
        for route in plan.processors.iter().filter(|route| route.deduplicate.is_some()) {
            let partitions = there.get(&route.from).copied();
            let name = seen_topic(&plan.pipeline, &route.name);
            seen.push(Topic { partitions, ..compacted(&name, None) });
        }
        internal.extend(seen.iter().cloned());
        internal.push(compacted(ROUTES_TOPIC, None));
        if plan.sources.iter().any(|source| source.once) {
            internal.push(compacted(OWNERS_TOPIC, None));
        }
        internal.push(compacted(JOURNAL_TOPIC, largest));
        self.admin.create_missing(&internal).await?;
        // The topic that a route reads may have got more partitions since.
        self.admin.grow(&seen).await
    }

    async fn launch(self, plan: Plan, states: Vec<StateOf>) {
        let names = states.iter().map(|state| Arc::clone(state.route())).collect();
        let settler = Settler::new(&plan.cluster, Arc::clone(&self.patient), names);
        let outline = Outline {
            cluster: plan.cluster,
            registry: plan.registry,
            instance: plan.instance,
            shares: plan.shares,
            topics: plan.topics,
        };
        let known = states.iter().map(|state| (state.clone(), self.metrics.route(state.route())));
        let journal = match Journal::follow(&outline.cluster, &self.patient, known) {
            Ok(journal) => journal,
            Err(fault) => {
                states.iter().for_each(|state| state.set(State::stopped(fault.message.clone())));
                self.started.send_replace(Some(Err(fault)));
                return;
            }
        };
        let settler = Arc::new(settler);
        let common = Arc::new(Common {
            plan: outline,
            startup: self,
            settler,
            journal,
            process: rand::random(),
        });
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

/// A compacted topic of our own. The journal of dead letters holds events in base64 beside what is
/// decided about them: four times an event's size always suffices.
pub(crate) fn compacted(name: &str, largest_event: Option<u64>) -> Topic {
    let limit = |bytes: u64| ("max.message.bytes".to_owned(), bytes.saturating_mul(4).to_string());
    Topic {
        name: name.to_owned(),
        partitions: Some(1),
        compaction: Some(true),
        properties: largest_event.map(limit).into_iter().collect(),
        ..Topic::default()
    }
}

/// Kept until someone discards them; twice the size, so that the added headers always fit.
pub(crate) fn dead_letter_topic(pipeline: &str, route: &str, limit: u64) -> Topic {
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
        Reading { group: group_of(&route), topic: topic.into(), start, route }
    }

    fn reading_route(
        &self,
        state: &StateOf,
        topic: &str,
        start: Option<Start>,
        placed: watch::Sender<bool>,
    ) -> ReadingRoute {
        // Nothing of it is ours before the group says so.
        let share = self.plan.shares.of(state.route());
        share.clear();
        ReadingRoute {
            share,
            reading: self.reading(state, topic, start),
            cluster: self.plan.cluster.clone(),
            instance: self.plan.instance.clone(),
            state: state.clone(),
            settler: Arc::clone(&self.settler),
            survey: self.startup.survey.clone(),
            decisions: self.startup.decisions.clone(),
            placed,
            shutdown: self.startup.shutdown.clone(),
        }
    }

    fn decoders(&self, topic: &str) -> Arc<Decoders> {
        let schema = self.plan.topic(topic).and_then(|topic| topic.schema.as_ref());
        Arc::new(Decoders::new(&self.plan.registry, schema))
    }

    fn outcomes(&self, state: &StateOf, metrics: &RouteMetrics) -> RouteOutcomes {
        let writer = self.startup.outcomes.as_ref();
        RouteOutcomes::new(state.route(), writer, &metrics.outcomes_lost)
    }

    async fn deliver(
        self: Arc<Self>,
        route: SinkRoute,
        state: StateOf,
        placed: watch::Sender<bool>,
    ) {
        if let Err(fault) = self.begin(&route.awaited) {
            return state.set(State::stopped(fault.message));
        }
        let metrics = self.startup.metrics.route(state.route());
        let reading = self.reading_route(&state, &route.from, route.options.start, placed);
        let decoders = self.decoders(&route.from);
        let producer = Arc::clone(&self.startup.patient);
        let outcomes = self.outcomes(&state, &metrics);
        let journal = Arc::clone(&self.journal);
        let delivery =
            Delivery::new(route, &state, &metrics, decoders, producer, outcomes, journal);
        reading.run(delivery).await;
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
        let outputs = tokio::select! {
            outputs = self.outputs(&route.to, &state) => outputs,
            () = shutdown.requested() => return state.set(State::shut_down()),
        };
        let outputs = match outputs {
            Ok(outputs) => outputs,
            Err(fault) => return state.set(State::stopped(fault.message)),
        };
        if let Err(fault) = self.begin(&route.enrichments) {
            return state.set(State::stopped(fault.message));
        }
        let transactions = match route.promise {
            Promise::AtLeastOnce => None,
            Promise::ExactlyOnce(every) => Some(self.transactions(&reading, every)),
        };
        let mill = Mill {
            route: Arc::clone(state.route()),
            outputs,
            deduplication: route.deduplicate.map(|what| self.deduplication(what, &state)),
            enrichments: route.enrichments,
            steps: Chain(route.steps),
            key: route.key,
            decoders: self.decoders(&route.from),
            producer: Arc::clone(&self.startup.patient),
            transactions,
            dead_letters: DeadLetters::of(state.route()),
            outcomes: self.outcomes(&state, &metrics),
            journal: Arc::clone(&self.journal),
            letters: self.journal.letters(state.route()),
            on_error: route.on_error,
        };
        reading.run(Processing::new(mill, &state, &metrics)).await;
        metrics.set_state(&state.get());
    }

    /// Begins to read what look-ups hold in memory.
    fn begin(&self, enrichments: &[Enrichment]) -> Result<(), Fault> {
        let Outline { cluster, registry, topics, .. } = &self.plan;
        Around { cluster, registry, topics }.begin(enrichments)
    }

    fn deduplication(&self, what: Deduplicate, state: &StateOf) -> Arc<Deduplication> {
        let Deduplicate { length, by } = what;
        let (pipeline, route) = state.route().split_once('/').unwrap_or(("", state.route()));
        let topic = seen_topic(pipeline, route).into();
        Arc::new(Deduplication { cluster: self.plan.cluster.clone(), topic, length, by })
    }

    /// The transactions of a route in this process: of the same id after a restart if the instance
    /// has a name that survives it.
    fn transactions(&self, reading: &ReadingRoute, every: Duration) -> Arc<Transactions> {
        let instance = reading.instance.clone().unwrap_or_else(|| format!("{:016x}", self.process));
        let id = format!("{}.{instance}", reading.reading.group);
        Arc::new(Transactions::new(&reading.cluster, id, every))
    }

    /// The topics that a processor writes, their schemas registered.
    async fn outputs(&self, topics: &[String], state: &StateOf) -> Result<Vec<Output>, Fault> {
        let mut outputs = Vec::with_capacity(topics.len());
        for topic in topics {
            let encoding = self.encoding(topic, state).await?;
            outputs.push(Output { topic: topic.as_str().into(), encoding });
        }
        Ok(outputs)
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
        let metrics = self.startup.metrics.route(state.route());
        let publishing = Publishing {
            topic: self.plan.topic(&route.to).cloned(),
            cluster: self.plan.cluster.clone(),
            instance: self.plan.instance.clone(),
            share: self.plan.shares.of(state.route()),
            registry: self.plan.registry.clone(),
            producer: Arc::clone(&self.startup.eager),
            outcomes: self.outcomes(&state, &metrics),
            metrics,
            shutdown: self.startup.shutdown.clone(),
            state,
            route,
        };
        publishing.run().await;
    }
}
