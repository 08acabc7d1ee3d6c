//! Topics as another client of Kafka reads them: keys, values and headers byte for byte.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::PATIENCE;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A record as it lies in the topic.
#[derive(Debug, Clone)]
pub struct Record {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// The last header of this name, as text.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().rev().find(|(there, _)| there == name);
        found.map_or("", |(_, value)| std::str::from_utf8(value).unwrap())
    }
}

/// All records of a topic, from its beginning to its end now; none if there is no such topic.
pub async fn read(kafka: String, topic: &'static str) -> Vec<Record> {
    tokio::task::spawn_blocking(move || read_now(&kafka, topic)).await.unwrap()
}

fn read_now(kafka: &str, topic: &str) -> Vec<Record> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("group.id", "tests")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).unwrap();
    let (mut list, mut left) = (TopicPartitionList::new(), 0);
    for partition in metadata.topics()[0].partitions() {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), TIMEOUT).unwrap();
        left += high - low;
        list.add_partition_offset(topic, partition.id(), Offset::Offset(low)).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (started, mut records) = (Instant::now(), Vec::new());
    while left > 0 {
        assert!(started.elapsed() < PATIENCE, "{left} records of {topic} do not come");
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.unwrap();
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        records.push(Record {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers
                .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()))
                .collect(),
        });
        left -= 1;
    }
    records
}
