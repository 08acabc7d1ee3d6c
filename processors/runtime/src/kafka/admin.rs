//! The cluster's administration: topics made, held against their declarations, listed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{ClientContext, config::RDKafkaLogLevel};

use super::cluster::Cluster;
use super::error::{code_fault, fault};
use super::topics::{drift, settings};
use super::{login, offsets};
use crate::Fault;
use crate::runtime::Topic;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A topic, for `passerelle topics`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicListing {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: usize,
    /// How many offsets it holds over all partitions: its events, plus what compaction and
    /// transactions left empty.
    pub events: i64,
}

/// A client for the cluster's administration. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    cluster: Cluster,
    client: Arc<AdminClient<Quiet>>,
}

#[derive(Debug)]
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::error::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "administration");
    }
}

impl Admin {
    /// A client; connects in the background.
    ///
    /// # Errors
    /// A `Config` fault when librdkafka refuses a setting.
    pub fn new(cluster: &Cluster) -> Result<Self, Fault> {
        let client = cluster
            .admin()
            .create_with_context(Quiet)
            .map_err(|error| fault("preparing the administration client", &error))?;
        Ok(Self { cluster: cluster.clone(), client: Arc::new(client) })
    }

    /// The topics of the cluster and how many partitions each has.
    ///
    /// # Errors
    /// A `Remote` fault when no broker answers.
    pub async fn partitions(&self) -> Result<BTreeMap<String, i32>, Fault> {
        let (client, cluster) = (Arc::clone(&self.client), self.cluster.clone());
        let doing = format!("listing the topics of {}", cluster.brokers);
        blocking(move || {
            let metadata = client
                .inner()
                .fetch_metadata(None, Duration::from_secs(3))
                .map_err(|error| login::explained(&cluster, &doing, &error))?;
            let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
            let count = |partitions: usize| i32::try_from(partitions).unwrap_or(i32::MAX);
            Ok(topics
                .map(|topic| (topic.name().to_owned(), count(topic.partitions().len())))
                .collect())
        })
        .await
    }

    /// Creates those topics that are missing and refuses those that are not as declared.
    ///
    /// # Errors
    /// A `Config` fault that names every difference; a `Remote` fault when no broker answers.
    pub async fn ensure(&self, topics: &[Topic]) -> Result<(), Fault> {
        let there = self.partitions().await?;
        let (known, missing): (Vec<_>, Vec<_>) =
            topics.iter().partition(|topic| there.contains_key(&topic.name));
        self.refuse_drift(&known, &there).await?;
        if !missing.is_empty() {
            self.create(&missing).await?;
        }
        Ok(())
    }

    /// Creates those topics that are missing; the others stay as they are.
    ///
    /// # Errors
    /// A `Config` fault when the brokers refuse one; a `Remote` fault when no broker answers.
    pub async fn create_missing(&self, topics: &[Topic]) -> Result<(), Fault> {
        let there = self.partitions().await?;
        let missing: Vec<_> =
            topics.iter().filter(|topic| !there.contains_key(&topic.name)).collect();
        match missing.is_empty() {
            true => Ok(()),
            false => self.create(&missing).await,
        }
    }

    /// Adds to topics that are there the partitions that they lack.
    ///
    /// # Errors
    /// A `Config` fault when the brokers refuse one; a `Remote` fault when no broker answers.
    pub async fn grow(&self, topics: &[Topic]) -> Result<(), Fault> {
        let there = self.partitions().await?;
        let lacking = |topic: &&Topic| {
            let counts = there.get(&topic.name).zip(topic.partitions);
            counts.is_some_and(|(count, wanted)| *count < wanted)
        };
        let count = |topic: &Topic| usize::try_from(topic.partitions.unwrap_or(1)).unwrap_or(1);
        let lacking = topics.iter().filter(lacking);
        let new: Vec<_> =
            lacking.map(|topic| NewPartitions::new(&topic.name, count(topic))).collect();
        if new.is_empty() {
            return Ok(());
        }
        let options =
            AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT));
        let grown = self.client.create_partitions(&new, &options).await;
        for result in grown.map_err(|error| fault("adding partitions", &error))? {
            match result {
                // Another instance may have been faster.
                Ok(_) | Err((_, Code::InvalidPartitions)) => {}
                Err((name, code)) => {
                    return Err(code_fault(&format!("adding partitions to `{name}`"), code));
                }
            }
        }
        Ok(())
    }

    async fn refuse_drift(
        &self,
        topics: &[&Topic],
        there: &BTreeMap<String, i32>,
    ) -> Result<(), Fault> {
        let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
        let settings = self.settings(&names).await?;
        let none = HashMap::new();
        let mut found = Vec::new();
        for topic in topics {
            let partitions = there.get(&topic.name).copied().unwrap_or_default();
            let actual = settings.get(&topic.name).unwrap_or(&none);
            let differences = drift(topic, partitions, actual);
            let named =
                |difference| format!("Topic `{}` is not as declared: {difference}.", topic.name);
            found.extend(differences.into_iter().map(named));
        }
        match found.is_empty() {
            true => Ok(()),
            false => Err(Fault::config("topic_drift", found.join(" "))),
        }
    }

    async fn create(&self, topics: &[&Topic]) -> Result<(), Fault> {
        let all: Vec<_> = topics.iter().map(|topic| settings(topic)).collect();
        let new: Vec<_> = topics
            .iter()
            .zip(&all)
            .map(|(topic, settings)| {
                let replication = TopicReplication::Fixed(topic.replication.unwrap_or(-1));
                let new = NewTopic::new(&topic.name, topic.partitions.unwrap_or(-1), replication);
                settings.iter().fold(new, |new, (name, value)| new.set(name, value))
            })
            .collect();
        let options =
            AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT));
        let results = self
            .client
            .create_topics(&new, &options)
            .await
            .map_err(|error| fault("creating the topics", &error))?;
        for result in results {
            match result {
                Ok(name) => tracing::info!(topic = name, "topic created"),
                // Another instance was faster.
                Err((_, Code::TopicAlreadyExists)) => {}
                Err((name, code)) => return Err(creation_fault(&name, code)),
            }
        }
        self.wait_for(topics).await
    }

    /// The controller knows a new topic before every broker does.
    async fn wait_for(&self, topics: &[&Topic]) -> Result<(), Fault> {
        for _ in 0..100 {
            let there = self.partitions().await?;
            if topics.iter().all(|topic| there.contains_key(&topic.name)) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(Fault::remote("topic_missing", "The topics were created but do not appear."))
    }

    /// The settings of topics, those that exist and may be read.
    ///
    /// # Errors
    /// A `Remote` fault when no broker answers.
    pub async fn settings(
        &self,
        topics: &[&str],
    ) -> Result<HashMap<String, HashMap<String, String>>, Fault> {
        if topics.is_empty() {
            return Ok(HashMap::new());
        }
        let asked: Vec<_> = topics.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
        let answered = self
            .client
            .describe_configs(&asked, &options)
            .await
            .map_err(|error| fault("reading the settings of the topics", &error))?;
        let mut all = HashMap::new();
        for resource in answered.into_iter().flatten() {
            let OwnedResourceSpecifier::Topic(name) = resource.specifier else { continue };
            let entries = resource.entries.into_iter();
            let values = entries.filter_map(|entry| Some((entry.name, entry.value?)));
            all.insert(name, values.collect());
        }
        Ok(all)
    }

    /// Every topic with its size; internal ones of Kafka are left out.
    ///
    /// # Errors
    /// A `Remote` fault when no broker answers.
    pub async fn list(&self) -> Result<Vec<TopicListing>, Fault> {
        let there = self.partitions().await?;
        let cluster = self.cluster.clone();
        blocking(move || {
            let failed = |error: KafkaError| fault("listing the topics", &error);
            let client: BaseConsumer =
                cluster.reader("passerelle.reader").create().map_err(failed)?;
            let mut listings = Vec::new();
            for (name, count) in there.into_iter().filter(|(name, _)| !name.starts_with("__")) {
                let partitions: Vec<i32> = (0..count).collect();
                let bounds = offsets::bounds(&client, &name, &partitions).map_err(failed)?;
                let events = bounds.values().map(|bounds| bounds.high - bounds.low).sum();
                listings.push(TopicListing { name, partitions: partitions.len(), events });
            }
            client.unsubscribe();
            Ok(listings)
        })
        .await
    }
}

fn creation_fault(topic: &str, code: Code) -> Fault {
    let doing = format!("creating topic `{topic}`");
    match code {
        Code::InvalidReplicationFactor
        | Code::InvalidPartitions
        | Code::InvalidConfig
        | Code::InvalidTopic
        | Code::PolicyViolation => Fault::config(
            "topic_refused",
            format!("The brokers refuse {doing}: {code}. Change its declaration under `topics`."),
        ),
        _ => code_fault(&doing, code),
    }
}

/// Runs what blocks on a thread for it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Fault::internal("blocking_task", format!("A task failed: {error}."))),
    }
}
