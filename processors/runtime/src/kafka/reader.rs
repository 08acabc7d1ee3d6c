//! Reading a topic from anywhere, outside any group.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::cluster::Cluster;
use super::error::fault;
use super::offsets;
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

/// Reads all partitions of a topic. Its calls block: use it on a thread of its own.
pub struct Reader {
    client: BaseConsumer,
    topic: Arc<str>,
    /// The partitions whose end has not been reached yet.
    behind: BTreeSet<i32>,
}

/// How long reading to the end of a topic may go without anything coming.
const SILENCE: Duration = Duration::from_secs(10);

impl Reader {
    /// Opens a topic.
    ///
    /// # Errors
    /// A `Remote` fault when the brokers are away or refuse, or there is no such topic.
    pub fn open(cluster: &Cluster, topic: &str, from: ReadFrom) -> Result<Self, Fault> {
        let doing = format!("opening topic {topic}");
        let failed = |error: KafkaError| fault(&doing, &error);
        let client: BaseConsumer = cluster.reader("passerelle.reader").create().map_err(failed)?;
        let Some(count) = offsets::partition_count(&client, topic).map_err(failed)? else {
            return Err(Fault::remote("topic_missing", format!("There is no topic `{topic}`.")));
        };
        let partitions: Vec<i32> = (0..count).collect();
        let starts = starts(&client, topic, &partitions, from).map_err(failed)?;
        client.assign(&starts).map_err(failed)?;
        Ok(Self { client, topic: topic.into(), behind: partitions.into_iter().collect() })
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
                Some(Ok(message)) => return Ok(Some(to_event(&message, &self.topic))),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.behind.remove(&partition);
                    if self.behind.is_empty() {
                        return Ok(None);
                    }
                }
                // librdkafka connects again by itself.
                Some(Err(KafkaError::Global(_))) => {}
                Some(Err(error)) => {
                    return Err(fault(&format!("reading topic {}", self.topic), &error));
                }
                None => return Ok(None),
            }
        }
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

fn starts(
    client: &BaseConsumer,
    topic: &str,
    partitions: &[i32],
    from: ReadFrom,
) -> Result<TopicPartitionList, KafkaError> {
    let bounds = offsets::bounds(client, topic, partitions)?;
    let times = match from {
        ReadFrom::Time(time) => offsets::at_time(client, topic, partitions, time)?,
        _ => Default::default(),
    };
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (partition, bounds) in bounds {
        let offset = match from {
            ReadFrom::Beginning => bounds.low,
            ReadFrom::Now => bounds.high,
            ReadFrom::Time(_) => times.get(&partition).copied().unwrap_or(bounds.high),
            ReadFrom::Offset(offset) => offset.clamp(bounds.low, bounds.high),
        };
        list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
    }
    Ok(list)
}
