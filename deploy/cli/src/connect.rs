//! `passerelle check --connect`: whether what the files name is there, takes us, and has what is
//! written. Nothing is changed anywhere.

use engine::configuration::{Pipeline, Problem, Surroundings};
use engine::connector::Shared;
use engine::kafka::{Admin, Cluster};
use engine::{Enrichment, Fault, Plan};
use schemas::registry::{Registry, RegistryConfig, Verdict};

use crate::arguments::Check;
use crate::failure::Outcome;
use crate::{catalogue, files};

/// Where nobody answers, for a plan that is not run.
const NOBODY: &str = "127.0.0.1:1";

/// Checks files, then connects to what they name.
pub async fn run(options: &Check) -> Outcome {
    let loaded = match files::load(&options.files.files) {
        Ok(loaded) => loaded,
        Err(problems) => return files::tell(&problems, options.json),
    };
    let mut found = Found { problems: loaded.warnings, silent: options.json };
    let shared = Shared::default();
    for pipeline in &loaded.pipelines {
        match plan(pipeline, &shared) {
            Ok(plan) => found.look_at(pipeline, plan).await,
            Err(fault) => found.take((pipeline, "sinks", None), String::new(), Err(fault)),
        }
    }
    files::tell(&found.problems, options.json)
}

/// The pipeline, built; opens no connection.
fn plan(pipeline: &Pipeline, shared: &Shared) -> Result<Plan, Fault> {
    let registry = pipeline
        .registry_config()
        .unwrap_or_else(|| RegistryConfig::new(format!("http://{NOBODY}")));
    let around = Surroundings {
        cluster: pipeline.cluster().unwrap_or_else(|| Cluster::new(NOBODY)),
        registry: Registry::new(registry)
            .map_err(|error| Fault::config("registry", error.to_string()))?,
        instance: None,
        shared: shared.clone(),
    };
    pipeline.plan(&catalogue::all(), around)
}

/// A pipeline, a section of its file, and a name in it.
type Place<'p> = (&'p Pipeline, &'static str, Option<&'p str>);

/// What was found so far.
struct Found {
    problems: Vec<Problem>,
    /// Whether what is well is left unsaid.
    silent: bool,
}

impl Found {
    async fn look_at(&mut self, pipeline: &Pipeline, plan: Plan) {
        if pipeline.kafka.is_some() {
            let topics = async { Admin::new(&plan.cluster)?.partitions().await };
            let told = topics.await.map(|topics| {
                format!("{} answer; they have {} topics", plan.cluster.brokers, topics.len())
            });
            self.take((pipeline, "kafka", None), "kafka".to_owned(), told);
        }
        if pipeline.registry.is_some() {
            let told = registry(&plan).await;
            self.take((pipeline, "registry", None), "registry".to_owned(), told);
        }
        let full = |name: &str| format!("{}/{name}", pipeline.name);
        for source in &plan.sources {
            let told = match (source.build)() {
                Ok(mut source) => source.connect().await,
                Err(fault) => Err(fault),
            };
            self.take((pipeline, "sources", Some(&source.name)), full(&source.name), told);
        }
        for route in &plan.processors {
            self.look_up((pipeline, "processors", Some(&route.name)), &route.enrichments).await;
        }
        for route in &plan.sinks {
            let told = route.sink.connect().await;
            let place = (pipeline, "sinks", Some(&*route.name));
            self.take(place, full(&route.name), told);
            self.look_up(place, &route.awaited).await;
        }
    }

    /// Looks at what a route looks up.
    async fn look_up(&mut self, place: Place<'_>, all: &[Enrichment]) {
        for one in all {
            let Some(told) = one.lookup.connect().await.transpose() else { continue };
            let (pipeline, _, route) = place;
            let route = route.unwrap_or_default();
            let what = format!("{}/{route}, look-up of `{}`", pipeline.name, one.field);
            self.take(place, what, told);
        }
    }

    /// Takes in what was found of a thing.
    fn take(&mut self, place: Place<'_>, what: String, told: Result<String, Fault>) {
        let (pipeline, section, name) = place;
        match told {
            Ok(told) if self.silent => tracing::debug!(what, told),
            Ok(told) => say!("{what}: {told}"),
            Err(fault) => {
                self.problems.push(pipeline.problem(section, name, fault.cause, fault.message));
            }
        }
    }
}

/// Whether the registry answers, and would take the schemas of the pipeline's topics.
async fn registry(plan: &Plan) -> Result<String, Fault> {
    let failed = |error: schemas::registry::RegistryError| {
        Fault::remote("registry", format!("The registry does not answer: {error}."))
    };
    let subjects = plan.registry.subjects().await.map_err(failed)?;
    for topic in &plan.topics {
        let Some(schema) = &topic.schema else { continue };
        let subject = format!("{}-value", topic.name);
        let verdict = plan.registry.check(&subject, schema).await.map_err(failed)?;
        if let Verdict::Incompatible(reasons) = verdict {
            let message = format!(
                "The schema of topic `{}` is not compatible with its subject `{subject}`: {}.",
                topic.name,
                reasons.join("; ")
            );
            return Err(Fault::config("schema_incompatible", message));
        }
    }
    Ok(format!(
        "it answers; it has {} subjects, and takes the schemas of the topics",
        subjects.len()
    ))
}
