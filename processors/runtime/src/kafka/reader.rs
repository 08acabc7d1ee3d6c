//! Reading a topic from anywhere, outside any group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::cluster::Cluster;
use super::error::fault;
use super::login::{Login, failure};
use super::offsets::{self, Bounds};
use super::record::to_event;
use crate::{Event, Fault};

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// With the oldest event.
    Beginning,
    /// With the next event that comes.
    Now,
    /// With the first event that Kafka received then or later, milliseconds since the Unix epoch.
    Time(i64),
    /// With this offset, in each partition.
    Offset(i64),
}

/// Reads partitions of a topic. Its calls block: use it on a thread of its own.
pub struct Reader {
    pub(super) client: BaseConsumer<Login>,
    pub(super) topic: Arc<str>,
    /// The partitions whose end has not been reached yet, and the end that each had when it was opened: one
    /// that grows faster than it is read has no other.
    pub(super) behind: BTreeMap<i32, i64>,
}

/// How long reading to the end of a topic may go without anything coming.
const SILENCE: Duration = Duration::from_secs(10);

impl Reader {
    /// Opens a topic.
    ///
    /// # Errors
    /// A `Remote` fault when the brokers are away or refuse, or there is no such topic.
    pub fn open(cluster: &Cluster, topic: &str, from: ReadFrom) -> Result<Self, Fault> {
        Self::open_some(cluster, topic, from, |count| (0..count).collect())
    }

    /// Opens those partitions of a topic that are chosen when it is known how many there are.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_some(
        cluster: &Cluster,
        topic: &str,
        from: ReadFrom,
        choose: impl FnOnce(i32) -> BTreeSet<i32>,
    ) -> Result<Self, Fault> {
        let doing = format!("opening topic {topic}");
        let client = client(cluster, &doing)?;
        let failed = |error: KafkaError| failure(&client, &doing, &error);
        let Some(count) = offsets::partition_count(&client, topic).map_err(failed)? else {
            return Err(missing(topic));
        };
        let partitions: Vec<i32> = choose(count).into_iter().collect();
        let bounds = offsets::bounds(&client, topic, &partitions).map_err(failed)?;
        let starts = starts(&client, topic, &bounds, from).map_err(failed)?;
        client.assign(&starts).map_err(failed)?;
        Ok(Self { client, topic: topic.into(), behind: ends(&bounds) })
    }

    /// Opens partitions of a topic, each at its offset.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_at(
        cluster: &Cluster,
        topic: &str,
        offsets: &BTreeMap<i32, i64>,
    ) -> Result<Self, Fault> {
        let doing = format!("opening topic {topic}");
        let client = client(cluster, &doing)?;
        let failed = |error: KafkaError| failure(&client, &doing, &error);
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (partition, offset) in offsets {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
                .map_err(failed)?;
        }
        let partitions: Vec<i32> = offsets.keys().copied().collect();
        let bounds = offsets::bounds(&client, topic, &partitions).map_err(failed)?;
        client.assign(&list).map_err(failed)?;
        Ok(Self { client, topic: topic.into(), behind: ends(&bounds) })
    }

    /// Nothing more of a partition is wanted.
    pub fn leave(&mut self, partition: i32) {
        self.behind.remove(&partition);
    }

    /// The next event, of any partition, if one comes in time.
    ///
    /// # Errors
    /// A `Remote` fault when reading fails for good; reading may be opened again.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Event>, Fault> {
        let until = Instant::now() + timeout;
        loop {
            let wait = until.saturating_duration_since(Instant::now());
            match self.client.poll(wait) {
                Some(Ok(message)) => {
                    let event = to_event(&message, &self.topic);
                    let end = self.behind.get(&event.partition);
                    if end.is_some_and(|end| event.offset + 1 >= *end) {
                        self.behind.remove(&event.partition);
                    }
                    return Ok(Some(event));
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.behind.remove(&partition);
                    if self.behind.is_empty() {
                        return Ok(None);
                    }
                }
                // librdkafka connects again by itself.
                Some(Err(KafkaError::Global(_))) => {}
                Some(Err(error)) => {
                    let doing = format!("reading topic {}", self.topic);
                    return Err(failure(&self.client, &doing, &error));
                }
                None => return Ok(None),
            }
        }
    }

    /// How many partitions the topic has now.
    ///
    /// # Errors
    /// A `Remote` fault when the brokers are away or refuse, or there is no such topic any more.
    pub fn partition_count(&self) -> Result<i32, Fault> {
        let topic = &*self.topic;
        let count = offsets::partition_count(&self.client, topic);
        let count = count.map_err(|error| fault(&format!("opening topic {topic}"), &error))?;
        count.ok_or_else(|| missing(topic))
    }

    /// Whether every partition has been read to its end at least once.
    pub fn is_at_end(&self) -> bool {
        self.behind.is_empty()
    }

    /// Reads to the end that every partition has now.
    ///
    /// # Errors
    /// A `Remote` fault when reading fails, or nothing comes for ten seconds.
    pub fn read_to_end(&mut self, mut each: impl FnMut(Event)) -> Result<(), Fault> {
        let mut last = Instant::now();
        while !self.is_at_end() {
            match self.next(Duration::from_millis(200))? {
                Some(event) => {
                    last = Instant::now();
                    each(event);
                }
                None if last.elapsed() > SILENCE => {
                    let message =
                        format!("Reading topic {} to its end: nothing comes.", self.topic);
                    return Err(Fault::remote("kafka_timeout", message));
                }
                None => {}
            }
        }
        Ok(())
    }
}

/// Where partitions end.
pub(super) fn ends(bounds: &BTreeMap<i32, Bounds>) -> BTreeMap<i32, i64> {
    bounds.iter().map(|(partition, bounds)| (*partition, bounds.high)).collect()
}

/// A client that reads, in no group.
pub(super) fn client(cluster: &Cluster, doing: &str) -> Result<BaseConsumer<Login>, Fault> {
    let config = cluster.reader("passerelle.reader");
    config.create_with_context(Login::of(cluster)).map_err(|error| fault(doing, &error))
}

fn missing(topic: &str) -> Fault {
    Fault::remote("topic_missing", format!("There is no topic `{topic}`."))
}

/// The offset after the last record of a partition, be its transaction ended or not. Blocks.
///
/// # Errors
/// A `Remote` fault when the brokers do not answer.
pub fn open_end(cluster: &Cluster, topic: &str, partition: i32) -> Result<i64, Fault> {
    let mut config = cluster.reader("passerelle.reader");
    config.set("isolation.level", "read_uncommitted");
    end(&config, topic, partition)
}

/// The offset before which every transaction of a partition has ended. Blocks.
///
/// # Errors
/// A `Remote` fault when the brokers do not answer.
pub fn stable_end(cluster: &Cluster, topic: &str, partition: i32) -> Result<i64, Fault> {
    end(&cluster.reader("passerelle.reader"), topic, partition)
}

fn end(config: &ClientConfig, topic: &str, partition: i32) -> Result<i64, Fault> {
    let failed = |error: KafkaError| fault(&format!("asking for the end of topic {topic}"), &error);
    let client: BaseConsumer = config.create().map_err(failed)?;
    let bounds = offsets::bounds(&client, topic, &[partition]).map_err(failed)?;
    bounds.get(&partition).map(|bounds| bounds.high).ok_or_else(|| {
        let message = format!("Topic `{topic}` has no partition {partition}.");
        Fault::remote("topic_missing", message)
    })
}

pub(super) fn starts<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    bounds: &BTreeMap<i32, Bounds>,
    from: ReadFrom,
) -> Result<TopicPartitionList, KafkaError> {
    let partitions: Vec<i32> = bounds.keys().copied().collect();
    let times = match from {
        ReadFrom::Time(time) => offsets::at_time(client, topic, &partitions, time)?,
        _ => Default::default(),
    };
    let mut list = TopicPartitionList::with_capacity(bounds.len());
    for (partition, bounds) in bounds {
        let offset = match from {
            ReadFrom::Beginning => bounds.low,
            ReadFrom::Now => bounds.high,
            ReadFrom::Time(_) => times.get(partition).copied().unwrap_or(bounds.high),
            ReadFrom::Offset(offset) => offset.clamp(bounds.low, bounds.high),
        };
        list.add_partition_offset(topic, *partition, Offset::Offset(offset))?;
    }
    Ok(list)
}
