//! The pipelines that this process runs, and their files, which are read again when asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use engine::configuration::{Pipeline, Problem, Surroundings, draw_all, summary};
use engine::connector::Shared;
use engine::kafka::{Admin, Cluster};
use engine::state::RouteStatus;
use engine::{Domain, Engine, Fault, Metrics, Plan};
use futures::future::join_all;
use producers::webhook::Listeners;
use schemas::registry::{Registry, RegistryConfig, Verdict};
use serde::Serialize;
use tokio::sync::RwLock;

use crate::embedded::Embedded;
use crate::failure::Failure;
use crate::place::Place;
use crate::shadow::Shadows;
use crate::{catalogue, files};

/// How soon to look again whether new pipelines have started.
const STARTING: Duration = Duration::from_millis(20);

/// Brokers and registry in this process, for pipelines that name none.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// The broker's address.
    kafka: String,
    /// The registry's.
    registry: String,
}

impl Own {
    /// Those that run here, if any.
    pub fn of(embedded: Option<&Embedded>) -> Self {
        embedded.map_or_else(Self::default, |embedded| Self {
            kafka: embedded.kafka.to_string(),
            registry: format!("http://{}", embedded.registry),
        })
    }

    /// The cluster of a pipeline.
    pub fn cluster(&self, pipeline: &Pipeline) -> Cluster {
        pipeline.cluster().unwrap_or_else(|| Cluster::new(self.kafka.clone()))
    }

    /// The registry of a pipeline. The embedded registry's schemas are not kept on disk: a data
    /// directory that was emptied would give its ids a second meaning.
    pub fn registry(&self, pipeline: &Pipeline) -> RegistryConfig {
        pipeline.registry_config().unwrap_or_else(|| RegistryConfig::new(self.registry.clone()))
    }
}

/// What became of the files when they were last read.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Configuration {
    /// They are what runs.
    Applied {
        /// Since when (RFC 3339).
        at: String,
    },
    /// They have mistakes: what ran before runs on.
    Rejected {
        /// When they were read (RFC 3339).
        at: String,
        /// Every mistake.
        errors: Vec<Problem>,
        /// The same, drawn.
        drawn: String,
    },
}

struct Running {
    pipeline: Pipeline,
    engine: Engine,
}

/// The pipelines of this process.
pub struct Pipelines {
    files: Vec<PathBuf>,
    own: Own,
    shadows: Arc<Shadows>,
    running: RwLock<BTreeMap<String, Running>>,
    metrics: Metrics,
    shared: Shared,
    configuration: Mutex<Configuration>,
    /// Held while pipelines are replaced or stopped: one after the other.
    changing: tokio::sync::Mutex<()>,
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl Pipelines {
    /// Starts the pipelines of these files, and returns at once; see [`started`](Self::started).
    ///
    /// # Errors
    /// A connector refuses its options, or a Kafka client its settings.
    pub fn start(
        files: &[PathBuf],
        pipelines: Vec<Pipeline>,
        own: Own,
        shadows: Arc<Shadows>,
    ) -> Result<Self, Failure> {
        let all = Self {
            files: files.to_vec(),
            own,
            shadows,
            running: RwLock::default(),
            metrics: Metrics::new()?,
            shared: Shared::default(),
            configuration: Mutex::new(Configuration::Applied { at: now() }),
            changing: tokio::sync::Mutex::default(),
        };
        let mut running = BTreeMap::new();
        for pipeline in pipelines {
            let engine = Engine::start(all.plan(&pipeline)?, &all.metrics)?;
            running.insert(pipeline.name.clone(), Running { pipeline, engine });
        }
        Ok(Self { running: RwLock::new(running), ..all })
    }

    /// Builds a pipeline; opens no connection.
    fn plan(&self, pipeline: &Pipeline) -> Result<Plan, Fault> {
        let registry = Registry::new(self.own.registry(pipeline))
            .map_err(|error| Fault::config("registry", error.to_string()))?;
        let around = Surroundings {
            cluster: self.own.cluster(pipeline),
            registry,
            // A stable name keeps the partitions over a restart: the name of a StatefulSet's pod, say.
            instance: std::env::var("PASSERELLE_INSTANCE").ok(),
            shared: self.shared.clone(),
        };
        let mut plan = pipeline.plan(&catalogue::all(), around)?;
        self.shadows.apply(&mut plan);
        Ok(plan)
    }

    /// The sinks that are in shadow.
    pub fn shadows(&self) -> &Arc<Shadows> {
        &self.shadows
    }

    /// Waits until every pipeline has started.
    ///
    /// # Errors
    /// One is refused: a topic is not as declared.
    pub async fn started(&self) -> Result<(), Failure> {
        for Running { engine, .. } in self.running.read().await.values() {
            engine.started().await?;
        }
        Ok(())
    }

    /// The pipelines that have not started, by name.
    pub async fn starting(&self) -> Vec<String> {
        let running = self.running.read().await;
        let starting = |(_, running): &(&String, &Running)| {
            !matches!(running.engine.try_started(), Some(Ok(())))
        };
        running.iter().filter(starting).map(|(name, _)| name.clone()).collect()
    }

    /// What each route is doing.
    pub async fn statuses(&self) -> Vec<RouteStatus> {
        let running = self.running.read().await;
        running.values().flat_map(|running| running.engine.statuses()).collect()
    }

    /// What all of them count.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What became of the files when they were last read.
    pub fn configuration(&self) -> Configuration {
        self.configuration.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets a route go on from another place; nothing if no such pipeline runs.
    pub async fn accept(
        &self,
        pipeline: &str,
        route: &str,
        place: Place,
    ) -> Option<Result<(), Fault>> {
        let running = self.running.read().await;
        Some(running.get(pipeline)?.engine.accept(route, place.into()))
    }

    /// Stops the pipelines, all at once: each drains and commits.
    pub async fn shutdown(&self) {
        let _turn = self.changing.lock().await;
        let running = std::mem::take(&mut *self.running.write().await);
        join_all(running.into_values().map(|running| running.engine.shutdown())).await;
    }

    /// Reads the files again. Files with mistakes change nothing; else pipelines that are not what
    /// they were are drained and started anew, and the others run on.
    pub async fn reload(self: &Arc<Self>) {
        let _turn = self.changing.lock().await;
        let outcome = match self.read_again().await {
            Ok(next) => {
                self.replace(next).await;
                Configuration::Applied { at: now() }
            }
            Err(errors) => {
                let drawn = draw_all(&errors, false);
                tracing::error!(
                    "the configuration is rejected, {}; what ran before runs on:\n{drawn}",
                    summary(&errors)
                );
                Configuration::Rejected { at: now(), errors, drawn }
            }
        };
        *self.configuration.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
    }

    /// The pipelines that the files hold now, and how each is to run if it is not what it was.
    async fn read_again(&self) -> Result<Next, Vec<Problem>> {
        let loaded = files::load(&self.files)?;
        let running = self.running.read().await;
        let mut problems = self.shadows.missing(&loaded.pipelines);
        let mut next = Next::default();
        for pipeline in loaded.pipelines {
            if let Some(before) = running.values().next() {
                problems.extend(needs_restart(&before.pipeline, &pipeline));
            }
            if running.get(&pipeline.name).is_some_and(|before| before.pipeline == pipeline) {
                next.unchanged.push(pipeline.name);
                continue;
            }
            match self.plan(&pipeline) {
                Ok(plan) => {
                    problems.extend(refused(&pipeline, &plan).await);
                    next.changed.push((pipeline, plan));
                }
                Err(fault) => problems.push(mistake(&pipeline, fault)),
            }
        }
        if problems.is_empty() { Ok(next) } else { Err(problems) }
    }

    async fn replace(self: &Arc<Self>, next: Next) {
        let Next { unchanged, changed } = next;
        // Webhooks are answered 503 until the new sources listen.
        let held = self.shared.get::<Listeners>().hold();
        let mut running = std::mem::take(&mut *self.running.write().await);
        let kept: BTreeMap<_, _> =
            unchanged.into_iter().filter_map(|name| running.remove_entry(&name)).collect();
        let stopped: Vec<_> = running.keys().cloned().collect();
        let started: Vec<_> = changed.iter().map(|(pipeline, _)| pipeline.name.clone()).collect();
        self.running.write().await.extend(kept);
        tracing::info!(?stopped, ?started, "the configuration has changed");
        join_all(running.into_values().map(|running| running.engine.shutdown())).await;
        for (pipeline, plan) in changed {
            match Engine::start(plan, &self.metrics) {
                Ok(engine) => {
                    let running = Running { pipeline, engine };
                    self.running.write().await.insert(running.pipeline.name.clone(), running);
                }
                Err(fault) => {
                    tracing::error!(pipeline = pipeline.name, %fault, "it does not start");
                }
            }
        }
        // Not waited for: a stop that is asked for meanwhile is to find them.
        let pipelines = Arc::clone(self);
        tokio::spawn(async move {
            while pipelines.are_undecided().await {
                tokio::time::sleep(STARTING).await;
            }
            drop(held);
        });
    }

    /// Whether a pipeline has neither started nor been refused.
    async fn are_undecided(&self) -> bool {
        let running = self.running.read().await;
        running.values().any(|running| running.engine.try_started().is_none())
    }
}

/// What the files hold that were read again.
#[derive(Default)]
struct Next {
    unchanged: Vec<String>,
    changed: Vec<(Pipeline, Plan)>,
}

fn mistake(pipeline: &Pipeline, fault: Fault) -> Problem {
    Problem::of_file(&pipeline.file, fault.cause, fault.message)
}

/// What a process has from its start on.
fn needs_restart(before: &Pipeline, after: &Pipeline) -> Vec<Problem> {
    let sections = [
        ("data", before.data != after.data),
        ("admin", before.admin != after.admin),
        ("kafka", before.kafka.is_some() != after.kafka.is_some()),
        ("registry", before.registry.is_some() != after.registry.is_some()),
    ];
    let changed = sections.into_iter().filter(|(_, changed)| *changed);
    let problem = |(section, _): (&str, bool)| {
        let cause = format!("`{section}` differs from what this process was started with");
        Problem::of_file(&after.file, "needs_restart", cause)
            .hint("restart the process for this change, or take it back")
    };
    changed.map(problem).collect()
}

/// What brokers and registry would refuse of a pipeline. Those that do not answer refuse nothing:
/// the routes wait for them.
async fn refused(pipeline: &Pipeline, plan: &Plan) -> Vec<Problem> {
    let mut problems = Vec::new();
    let topics = async { Admin::new(&plan.cluster)?.ensure(&plan.topics).await };
    if let Err(fault) = topics.await
        && fault.domain == Domain::Config
    {
        problems.push(mistake(pipeline, fault));
    }
    let sources = plan.sources.iter().map(|route| &route.to);
    let written: Vec<_> =
        sources.chain(plan.processors.iter().flat_map(|route| &route.to)).collect();
    for topic in plan.topics.iter().filter(|topic| written.contains(&&topic.name)) {
        let Some(schema) = &topic.schema else { continue };
        let subject = format!("{}-value", topic.name);
        if let Ok(Verdict::Incompatible(reasons)) = plan.registry.check(&subject, schema).await {
            let cause = format!(
                "the schema of topic `{}` is not compatible with its subject `{subject}`: {}",
                topic.name,
                reasons.join("; ")
            );
            problems.push(Problem::of_file(&pipeline.file, "schema_incompatible", cause));
        }
    }
    problems
}
