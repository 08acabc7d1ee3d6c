//! Topics as another client of Kafka reads them: keys, values and headers byte for byte.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::PATIENCE;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A record as it lies in the topic.
#[derive(Debug, Clone)]
pub struct Record {
    pub partition: i32,
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
pub async fn read(kafka: String, topic: &str) -> Vec<Record> {
    let topic = topic.to_owned();
    tokio::task::spawn_blocking(move || read_now(&kafka, &topic)).await.unwrap()
}

fn read_now(kafka: &str, topic: &str) -> Vec<Record> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("group.id", "tests")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).unwrap();
    let (mut list, mut ends) = (TopicPartitionList::new(), BTreeMap::new());
    for partition in metadata.topics()[0].partitions() {
        let (low, high) = bounds(&consumer, topic, partition.id());
        if low < high {
            ends.insert(partition.id(), high);
        }
        list.add_partition_offset(topic, partition.id(), Offset::Offset(low)).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (started, mut records) = (Instant::now(), Vec::new());
    while !ends.is_empty() {
        assert!(started.elapsed() < PATIENCE, "records of {topic} do not come: {ends:?}");
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = match message {
            // The last offsets may hold no record: a transaction's mark, or what was undone.
            Err(KafkaError::PartitionEOF(partition)) => {
                ends.remove(&partition);
                continue;
            }
            message => message.unwrap(),
        };
        // Others may write meanwhile: each partition is read to where it ended.
        let Some(end) = ends.get(&message.partition()).copied() else { continue };
        if message.offset() + 1 >= end {
            ends.remove(&message.partition());
        }
        if message.offset() >= end {
            continue;
        }
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        records.push(Record {
            partition: message.partition(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers
                .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()))
                .collect(),
        });
    }
    records
}

/// Where a partition begins and ends. A broker that has just come back may lead it only in a moment.
fn bounds(consumer: &BaseConsumer, topic: &str, partition: i32) -> (i64, i64) {
    let started = Instant::now();
    loop {
        match consumer.fetch_watermarks(topic, partition, TIMEOUT) {
            Err(error)
                if error.rdkafka_error_code() == Some(Code::NotLeaderForPartition)
                    && started.elapsed() < PATIENCE =>
            {
                std::thread::sleep(Duration::from_millis(100));
            }
            bounds => return bounds.unwrap(),
        }
    }
}
