//! A broker in a folder of its own, and librdkafka's clients of it.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod requests;

use std::time::Duration;

use broker::{Broker, Config};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    producer::{FutureProducer, FutureRecord},
};
use tempfile::TempDir;

pub struct Running {
    pub broker: Broker,
    pub directory: TempDir,
}

impl Running {
    pub async fn start() -> Self {
        Self::on(TempDir::new().unwrap()).await
    }

    pub async fn on(directory: TempDir) -> Self {
        Self::configured(directory, |_| ()).await
    }

    pub async fn configured(directory: TempDir, configure: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(directory.path().join("data"));
        configure(&mut config);
        let broker = Broker::start(config).await.unwrap();
        Self { broker, directory }
    }

    pub async fn restart(self) -> Self {
        self.broker.shutdown().await;
        Self::on(self.directory).await
    }

    pub async fn topic(&self, name: &str, partitions: i32) {
        self.broker.create_topic(name, partitions, &[]).await.unwrap();
    }

    pub fn client(&self) -> ClientConfig {
        client(&self.broker.address().to_string())
    }

    pub fn producer(&self) -> FutureProducer {
        self.client().set("enable.idempotence", "true").create().unwrap()
    }
}

pub fn client(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("broker.address.family", "v4");
    config
}

/// Sends a record and returns its offset.
pub async fn send(producer: &FutureProducer, topic: &str, partition: i32, value: &str) -> i64 {
    let record = FutureRecord::to(topic).partition(partition).key("k").payload(value);
    producer.send(record, Duration::from_secs(20)).await.unwrap().offset
}

/// The values of a partition from an offset on, as many as asked for.
pub async fn read(
    config: ClientConfig,
    topic: &str,
    partition: i32,
    from: Offset,
    count: usize,
) -> Vec<String> {
    let topic = topic.to_owned();
    let reading = move || {
        let consumer: BaseConsumer = {
            let mut config = config;
            config.set("group.id", "reader").set("auto.offset.reset", "error").create().unwrap()
        };
        let mut assigned = TopicPartitionList::new();
        assigned.add_partition_offset(&topic, partition, from).unwrap();
        consumer.assign(&assigned).unwrap();
        let mut values = Vec::new();
        while values.len() < count {
            let message = consumer.poll(Duration::from_secs(20)).unwrap().unwrap();
            values.push(String::from_utf8(message.payload().unwrap_or_default().to_vec()).unwrap());
        }
        values
    };
    tokio::task::spawn_blocking(reading).await.unwrap()
}
