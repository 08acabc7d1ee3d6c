//! `passerelle dead-letters`: what could not pass, and what is decided about it.

mod arguments;
mod discard;
mod list;
mod retry;
mod selection;
mod show;

use std::path::Path;

use engine::configuration::Pipeline;
use engine::dead_letters::{Archive, Decision, Entry};
use engine::kafka::{Cluster, Producer, Urgency};

use crate::addresses::Addresses;
use crate::arguments::Address;
use crate::failure::{Failure, Outcome};
use crate::files;

pub use arguments::DeadLetters;
use arguments::OfRoute;

/// Runs one of the commands.
pub async fn run(command: DeadLetters) -> Outcome {
    match command {
        DeadLetters::List(options) => list::run(options).await,
        DeadLetters::Show(options) => show::run(options).await,
        DeadLetters::Retry(options) => retry::run(options).await,
        DeadLetters::Discard(options) => discard::run(options).await,
    }
}

/// A route's dead letters, and where they are.
struct Opened {
    cluster: Cluster,
    archive: Archive,
    /// The registry's URL, if it is known.
    registry: Option<String>,
}

impl OfRoute {
    async fn open(&self) -> Result<Opened, Failure> {
        let pipeline = self.file.as_deref().map(pipeline).transpose()?;
        let (cluster, registry) = place(pipeline.as_ref(), &self.address)?;
        let route = match (&pipeline, self.route.contains('/')) {
            (Some(pipeline), false) => format!("{}/{}", pipeline.name, self.route),
            (None, false) => {
                let route = &self.route;
                return Err(Failure::new(format!(
                    "`{route}` is not a route's full name: write `pipeline/{route}`."
                )));
            }
            _ => self.route.clone(),
        };
        let archive = read(&cluster, route).await?;
        Ok(Opened { cluster, archive, registry })
    }
}

fn pipeline(file: &Path) -> Result<Pipeline, Failure> {
    let pipelines = files::read(&[file.to_owned()])?.pipelines;
    pipelines.into_iter().next().ok_or_else(|| Failure::new("The file holds no pipeline."))
}

/// The brokers and the registry of a file, or of the process that runs with the file's data.
fn place(
    pipeline: Option<&Pipeline>,
    told: &Address,
) -> Result<(Cluster, Option<String>), Failure> {
    let own = pipeline.and_then(Pipeline::registry_config).map(|config| config.urls.join(","));
    if let (Some(cluster), None) = (pipeline.and_then(Pipeline::cluster), &told.kafka) {
        return Ok((cluster, told.registry.clone().or(own)));
    }
    let mut address = told.clone();
    if let (Some(pipeline), None) = (pipeline, &address.data) {
        address.data = Some(pipeline.data.clone());
    }
    let found = Addresses::resolve(&address)?;
    let registry = found.registry().ok().map(str::to_owned);
    Ok((Cluster::new(found.kafka()?), registry.or(own)))
}

async fn read(cluster: &Cluster, route: String) -> Result<Archive, Failure> {
    let (cluster, name) = (cluster.clone(), route.clone());
    let reading = tokio::task::spawn_blocking(move || Archive::read(&cluster, &name));
    let read = reading.await.map_err(|error| Failure::new(format!("Reading ended: {error}.")))?;
    read.map_err(|fault| match fault.cause {
        "topic_missing" => Failure::new(format!(
            "Route `{route}` has no dead letters: no route of this name has run on these brokers."
        )),
        _ => fault.into(),
    })
}

/// Who decides now, and why.
fn decision(reason: Option<String>) -> Decision {
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let by = format!("{}@{}", user.as_deref().unwrap_or("unknown"), host.trim());
    Decision { by, at: engine::clock::unix_millis(), reason }
}

/// Writes entries into the journal.
struct Journal(Producer);

impl Journal {
    fn open(cluster: &Cluster) -> Result<Self, Failure> {
        Ok(Self(Producer::new(cluster, Urgency::Prompt)?))
    }

    async fn write(&self, entry: &Entry) -> Result<(), Failure> {
        self.0.send(&entry.record()?).await?;
        Ok(())
    }
}

fn letters(count: usize) -> String {
    match count {
        1 => "1 dead letter".to_owned(),
        count => format!("{count} dead letters"),
    }
}
