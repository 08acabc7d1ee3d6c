//! What an administrator asks of a cluster.

use std::sync::{
    LazyLock,
    atomic::{AtomicUsize, Ordering},
};

use futures::executor::block_on;
use rdkafka::{
    ClientConfig,
    admin::{
        AdminClient, AdminOptions, AlterConfig, ConfigEntry, NewPartitions, NewTopic,
        ResourceSpecifier, TopicReplication, TopicResult,
    },
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
    groups::GroupList,
};

use crate::{
    consumer::position,
    deadline::{GENEROUS, eventually},
};

/// An administrator's client.
pub struct Admin {
    native: AdminClient<DefaultClientContext>,
    config: ClientConfig,
}

/// Part of every name that this process gives.
static OURS: LazyLock<String> = LazyLock::new(|| format!("{:08x}", rand::random::<u32>()));

/// A name that no other test uses, on a cluster that may be used again.
#[must_use]
pub fn unique(name: &str) -> String {
    static GIVEN: AtomicUsize = AtomicUsize::new(0);
    format!("{name}-{}-{}", *OURS, GIVEN.fetch_add(1, Ordering::Relaxed))
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(GENEROUS)).operation_timeout(Some(GENEROUS))
}

fn only(results: Result<Vec<TopicResult>, KafkaError>) -> Result<(), RDKafkaErrorCode> {
    results.unwrap().remove(0).map(drop).map_err(|(_, code)| code)
}

impl Admin {
    /// A client of the cluster at an address.
    ///
    /// # Panics
    /// If the address is none.
    #[must_use]
    pub fn new(address: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", address).set("broker.address.family", "v4");
        Self { native: config.create().unwrap(), config }
    }

    /// Creates a topic of a unique name with settings, and returns the name once the topic is
    /// known.
    ///
    /// # Panics
    /// If it is refused.
    pub fn topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
        let topic = unique(name);
        self.create_topic(&topic, partitions, 1, settings).unwrap();
        eventually("a created topic is known", || {
            (self.partitions(&topic) == usize::try_from(partitions).unwrap()).then_some(())
        });
        // Apache Kafka tells of a partition a moment before it leads it.
        let reader: BaseConsumer = self.config.create().unwrap();
        for partition in 0..partitions {
            eventually("a created topic is led", || {
                reader.fetch_watermarks(&topic, partition, GENEROUS).ok()
            });
        }
        topic
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// What the broker answers.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn create_topic(
        &self,
        topic: &str,
        partitions: i32,
        replication: i32,
        settings: &[(&str, &str)],
    ) -> Result<(), RDKafkaErrorCode> {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(replication));
        let new = settings.iter().fold(new, |new, (name, value)| new.set(name, value));
        only(block_on(self.native.create_topics([&new], &options())))
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// What the broker answers.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn delete_topic(&self, topic: &str) -> Result<(), RDKafkaErrorCode> {
        only(block_on(self.native.delete_topics(&[topic], &options())))
    }

    /// Adds partitions to a topic, up to a number.
    ///
    /// # Errors
    /// What the broker answers.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn grow_topic(&self, topic: &str, partitions: usize) -> Result<(), RDKafkaErrorCode> {
        let new = NewPartitions::new(topic, partitions);
        only(block_on(self.native.create_partitions([&new], &options())))
    }

    /// The number of a topic's partitions: none if it does not exist.
    ///
    /// # Panics
    /// If there is no answer.
    #[must_use]
    pub fn partitions(&self, topic: &str) -> usize {
        let metadata = self.native.inner().fetch_metadata(Some(topic), GENEROUS).unwrap();
        let [topic] = metadata.topics() else { panic!("one topic was asked for") };
        topic.partitions().iter().filter(|partition| partition.error().is_none()).count()
    }

    /// Deletes the topics of unique names that this process created: a cluster that is used again
    /// and again would take ever longer to start.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn delete_ours(&self) {
        let mut topics = self.topics();
        topics.retain(|topic| topic.contains(&*OURS));
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        if !topics.is_empty() {
            block_on(self.native.delete_topics(&topics, &options())).unwrap();
        }
    }

    /// The names of all topics.
    ///
    /// # Panics
    /// If there is no answer.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        let metadata = self.native.inner().fetch_metadata(None, GENEROUS).unwrap();
        metadata.topics().iter().map(|topic| topic.name().to_owned()).collect()
    }

    /// A setting of a topic.
    ///
    /// # Panics
    /// If there is no such topic or setting.
    #[must_use]
    pub fn setting(&self, topic: &str, name: &str) -> ConfigEntry {
        let resource = ResourceSpecifier::Topic(topic);
        let described = block_on(self.native.describe_configs([&resource], &options()));
        let described = described.unwrap().remove(0).unwrap();
        let found = described.entries.into_iter().find(|entry| entry.name == name);
        found.unwrap_or_else(|| panic!("topic {topic} has no setting {name}"))
    }

    /// Gives a topic these settings and takes all others away, as `AlterConfigs` does. Whether the
    /// broker refuses one the client does not tell.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn configure(&self, topic: &str, settings: &[(&str, &str)]) {
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic));
        let change = settings.iter().fold(change, |change, (name, value)| change.set(name, value));
        block_on(self.native.alter_configs([&change], &options())).unwrap();
    }

    /// Deletes the records of a partition before an offset; returns the first one left.
    ///
    /// # Errors
    /// What the broker answers.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn delete_records(
        &self,
        topic: &str,
        partition: i32,
        before: rdkafka::Offset,
    ) -> Result<rdkafka::Offset, KafkaError> {
        let asked = position(topic, partition, before);
        let deleted = block_on(self.native.delete_records(&asked, &options()))?;
        let element = deleted.find_partition(topic, partition).unwrap();
        element.error().map(|()| element.offset())
    }

    /// Deletes a consumer group.
    ///
    /// # Errors
    /// What the broker answers.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn delete_group(&self, group: &str) -> Result<(), RDKafkaErrorCode> {
        let mut deleted = block_on(self.native.delete_groups(&[group], &options())).unwrap();
        deleted.remove(0).map(drop).map_err(|(_, code)| code)
    }

    /// Describes one group, or all.
    ///
    /// # Panics
    /// If there is no answer.
    #[must_use]
    pub fn groups(&self, group: Option<&str>) -> GroupList {
        self.native.inner().fetch_group_list(group, GENEROUS).unwrap()
    }
}
