//! `passerelle run`: pipelines, and the broker and registry they need, until a stop is asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use engine::configuration::{Pipeline, Surroundings};
use engine::connector::Shared;
use engine::kafka::Cluster;
use engine::{Engine, Metrics, ShutdownTrigger};
use schemas::registry::{Registry, RegistryConfig};

use crate::addresses::Addresses;
use crate::admin;
use crate::arguments::Files;
use crate::catalogue;
use crate::embedded::{Embedded, Listen};
use crate::failure::{Failure, Outcome};
use crate::{files, signals};

/// Runs pipelines until SIGTERM or Ctrl-C.
pub async fn run(options: &Files) -> Outcome {
    let started = Instant::now();
    let running = Running::start(&options.files).await?;
    let refused = async {
        if let Err(failure) = running.started().await {
            return failure;
        }
        let Addresses { kafka, registry, admin } = running.addresses();
        let admin = admin.as_deref().unwrap_or_default();
        let milliseconds = started.elapsed().as_millis() as u64;
        tracing::info!(milliseconds, kafka, registry, admin, "ready");
        std::future::pending().await
    };
    let ended = tokio::select! {
        signal = signals::stop() => {
            tracing::info!(signal, "stopping: draining what is under way");
            Ok(ExitCode::SUCCESS)
        }
        failure = refused => Err(failure),
    };
    running.shutdown().await;
    ended
}

/// Pipelines that run, with what they need.
pub struct Running {
    addresses: Addresses,
    data: PathBuf,
    running: Arc<admin::Running>,
    embedded: Option<Embedded>,
    /// Stops the registry and the operators' address, after the pipelines.
    stop: ShutdownTrigger,
}

impl Running {
    /// Starts pipelines and returns at once; see [`started`](Self::started). The operators' address
    /// answers from now on: it says what a start waits for.
    ///
    /// # Errors
    /// A file has mistakes, or an address is taken.
    pub async fn start(paths: &[PathBuf]) -> Result<Self, Failure> {
        let pipelines = files::read(paths)?.pipelines;
        // Files that run together say the same of brokers, registry, data and operators' address.
        let Some(first) = pipelines.first() else {
            return Err(Failure::new("There is no pipeline to run."));
        };
        let (data, listen) = (first.data.clone(), first.admin.listen);
        let (stop, stopping) = ShutdownTrigger::new();
        let embedded = match first.kafka.is_none() || first.registry.is_none() {
            true => Some(Embedded::start(&data, Listen::Usual, stopping.clone()).await?),
            false => None,
        };
        let kept = Kept {
            cluster: cluster(first, embedded.as_ref()),
            registry: registry(first, embedded.as_ref()),
        };
        let metrics = Metrics::new()?;
        let engines = start(&pipelines, &kept, &metrics)?;
        let running = Arc::new(admin::Running::new(engines, metrics));
        let admin = admin::serve(listen, Arc::clone(&running), stopping).await?;
        let addresses = Addresses {
            kafka: kept.cluster.brokers,
            registry: kept.registry.urls.join(","),
            admin: Some(admin.to_string()),
        };
        addresses.write(&data)?;
        Ok(Self { addresses, data, running, embedded, stop })
    }

    /// Waits until every route runs, or waits for a known reason while the others run.
    ///
    /// # Errors
    /// A pipeline is refused: a topic is not as declared.
    pub async fn started(&self) -> Result<(), Failure> {
        self.running.started().await
    }

    /// Where everything listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Drains, commits, then stops the operators' address, the registry and the embedded broker.
    pub async fn shutdown(self) {
        Addresses::remove(&self.data);
        self.running.shutdown().await;
        self.stop.trigger();
        if let Some(embedded) = self.embedded {
            embedded.shutdown().await;
        }
    }
}

/// How brokers and registry are reached.
struct Kept {
    cluster: Cluster,
    registry: RegistryConfig,
}

fn cluster(pipeline: &Pipeline, embedded: Option<&Embedded>) -> Cluster {
    let own =
        || Cluster::new(embedded.map(|embedded| embedded.kafka.to_string()).unwrap_or_default());
    pipeline.cluster().unwrap_or_else(own)
}

/// The embedded registry's schemas are not kept on disk: a data directory that was emptied would
/// give its ids a second meaning.
fn registry(pipeline: &Pipeline, embedded: Option<&Embedded>) -> RegistryConfig {
    let own = || {
        RegistryConfig::new(
            embedded.map(|embedded| format!("http://{}", embedded.registry)).unwrap_or_default(),
        )
    };
    pipeline.registry_config().unwrap_or_else(own)
}

/// Starts every pipeline.
fn start(
    pipelines: &[Pipeline],
    kept: &Kept,
    metrics: &Metrics,
) -> Result<BTreeMap<String, Engine>, Failure> {
    let client =
        Registry::new(kept.registry.clone()).map_err(|error| Failure::new(error.to_string()))?;
    let (catalogue, shared) = (catalogue::all(), Shared::default());
    let mut engines = BTreeMap::new();
    for pipeline in pipelines {
        let around = Surroundings {
            cluster: kept.cluster.clone(),
            registry: client.clone(),
            // A stable name keeps the partitions over a restart: the name of a StatefulSet's pod, say.
            instance: std::env::var("PASSERELLE_INSTANCE").ok(),
            shared: shared.clone(),
        };
        let engine = Engine::start(pipeline.plan(&catalogue, around)?, metrics)?;
        engines.insert(pipeline.name.clone(), engine);
    }
    Ok(engines)
}
