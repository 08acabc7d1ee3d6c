//! `passerelle run`: pipelines, and the broker and registry they need, until a stop is asked for.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use engine::ShutdownTrigger;
use engine::configuration::Pipeline;

use crate::addresses::Addresses;
use crate::arguments::Run;
use crate::embedded::{Embedded, Listen};
use crate::failure::{Failure, Outcome};
use crate::pipelines::{Own, Pipelines};
use crate::shadow::Shadows;
use crate::signals::Hangups;
use crate::{admin, files, signals};

/// Runs pipelines until SIGTERM or Ctrl-C; reads their files again on SIGHUP.
pub async fn run(options: &Run) -> Outcome {
    let started = Instant::now();
    let hangups = Hangups::listen();
    let paths = &options.files.files;
    let pipelines = files::read(paths)?.pipelines;
    let shadows = Arc::new(Shadows::open(&options.shadow, &options.terms, &pipelines)?);
    let running = Running::start(paths, pipelines, Arc::clone(&shadows)).await?;
    let watching = tokio::spawn(Arc::clone(&shadows).watch());
    let refused = async {
        if let Err(failure) = running.started().await {
            return failure;
        }
        let Addresses { kafka, registry, admin } = running.addresses();
        let admin = admin.as_deref().unwrap_or_default();
        let milliseconds = started.elapsed().as_millis() as u64;
        tracing::info!(milliseconds, kafka, registry, admin, "ready");
        running.reload_at(hangups).await
    };
    let ended = tokio::select! {
        signal = signals::stop() => {
            tracing::info!(signal, "stopping: draining what is under way");
            Ok(ExitCode::SUCCESS)
        }
        failure = refused => Err(failure),
    };
    running.shutdown().await;
    watching.abort();
    shadows.tell();
    ended
}

/// Pipelines that run, with what they need.
pub struct Running {
    addresses: Addresses,
    data: PathBuf,
    pipelines: Arc<Pipelines>,
    embedded: Option<Embedded>,
    /// Stops the registry and the operators' address, after the pipelines.
    stop: ShutdownTrigger,
}

impl Running {
    /// Starts pipelines and returns at once; see [`started`](Self::started). The operators' address
    /// answers from now on: it says what a start waits for.
    ///
    /// # Errors
    /// An address is taken, or a connector refuses its options.
    pub async fn start(
        paths: &[PathBuf],
        pipelines: Vec<Pipeline>,
        shadows: Arc<Shadows>,
    ) -> Result<Self, Failure> {
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
        let own = Own::of(embedded.as_ref());
        let (kafka, registry) = (own.cluster(first).brokers, own.registry(first).urls.join(","));
        let pipelines = Arc::new(Pipelines::start(paths, pipelines, own, shadows)?);
        let admin = admin::serve(listen, Arc::clone(&pipelines), stopping).await?;
        let addresses = Addresses { kafka, registry, admin: Some(admin.to_string()) };
        addresses.write(&data)?;
        Ok(Self { addresses, data, pipelines, embedded, stop })
    }

    /// Waits until every route runs, or waits for a known reason while the others run.
    ///
    /// # Errors
    /// A pipeline is refused: a topic is not as declared.
    pub async fn started(&self) -> Result<(), Failure> {
        self.pipelines.started().await
    }

    /// Reads the files again at each signal; comes to no end.
    async fn reload_at<T>(&self, mut hangups: Hangups) -> T {
        loop {
            hangups.next().await;
            tracing::info!("SIGHUP: reading the pipeline files again");
            // A task of its own: a stop that is asked for meanwhile waits for it.
            let pipelines = Arc::clone(&self.pipelines);
            if let Err(error) = tokio::spawn(async move { pipelines.reload().await }).await {
                tracing::error!(%error, "the files were not read: a bug, please report it");
            }
        }
    }

    /// Where everything listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Drains, commits, then stops the operators' address, the registry and the embedded broker.
    pub async fn shutdown(self) {
        Addresses::remove(&self.data);
        self.pipelines.shutdown().await;
        self.stop.trigger();
        if let Some(embedded) = self.embedded {
            embedded.shutdown().await;
        }
    }
}
