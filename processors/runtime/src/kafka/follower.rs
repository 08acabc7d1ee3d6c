//! Following one partition of a topic, outside any group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};

use super::cluster::Cluster;
use super::error::fault;
use super::offsets::{self, Bounds};
use super::record::to_event;
use crate::{Event, Fault};

/// What a compacted topic has lost at its very end never comes: quiet for this long after its end
/// was reached, it is at its end.
const QUIET: Duration = Duration::from_secs(1);

/// Follows a partition. Its calls block: use it on a thread of its own.
pub struct Follower {
    client: BaseConsumer,
    topic: Arc<str>,
    partition: i32,
    /// The next offset to be read.
    next: i64,
    /// Since when nothing has come, once the end was reached.
    quiet: Option<Instant>,
}

impl Follower {
    /// Opens a partition at an offset.
    ///
    /// # Errors
    /// A `Remote` fault when the brokers are away or refuse, or there is no such topic.
    pub fn open(cluster: &Cluster, topic: &str, partition: i32, from: i64) -> Result<Self, Fault> {
        let doing = format!("opening topic {topic}");
        let failed = |error: KafkaError| fault(&doing, &error);
        let client: BaseConsumer = cluster.reader("passerelle.reader").create().map_err(failed)?;
        let topic: Arc<str> = topic.into();
        let mut follower = Self { client, topic, partition, next: from, quiet: None };
        let bounds = follower.bounds()?;
        follower.next = from.clamp(bounds.low, bounds.high);
        follower.assign().map_err(failed)?;
        Ok(follower)
    }

    /// Reads on from the next offset.
    fn assign(&self) -> KafkaResult<()> {
        let next = Offset::Offset(self.next);
        self.client.assign(&offsets::list(&self.topic, &[self.partition], next)?)
    }

    /// From now on only an end counts that is reached anew: an earlier one tells nothing of what has come
    /// since.
    ///
    /// # Errors
    /// A `Remote` fault when it cannot be read anew.
    pub fn look_anew(&mut self) -> Result<(), Fault> {
        self.quiet = None;
        let doing = format!("reading topic {} anew", self.topic);
        self.assign().map_err(|error| fault(&doing, &error))
    }

    /// What the partition holds.
    ///
    /// # Errors
    /// A `Remote` fault when the brokers are away or refuse, or there is no such partition.
    pub fn bounds(&self) -> Result<Bounds, Fault> {
        let Self { topic, partition, .. } = self;
        let doing = format!("asking for the ends of topic {topic}");
        let found = offsets::bounds(&self.client, topic, &[*partition]);
        let found = found.map_err(|error| fault(&doing, &error))?;
        found.get(partition).copied().ok_or_else(|| {
            let message = format!("Topic `{topic}` has no partition {partition}.");
            Fault::remote("topic_missing", message)
        })
    }

    /// What the same partition of other topics holds, of those that can be seen now.
    ///
    /// # Errors
    /// A `Remote` fault when the brokers are away or refuse.
    pub fn bounds_of(&self, topics: &[String]) -> Result<BTreeMap<String, Bounds>, Fault> {
        let found = offsets::bounds_of_topics(&self.client, topics, self.partition);
        found.map_err(|error| fault("asking for the ends of topics", &error))
    }

    /// The next record, if one comes in time.
    ///
    /// # Errors
    /// A `Remote` fault when reading fails for good; open it again.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Event>, Fault> {
        match self.client.poll(timeout) {
            Some(Ok(message)) => {
                let event = to_event(&message, &self.topic);
                (self.next, self.quiet) = (event.offset + 1, None);
                Ok(Some(event))
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {
                self.quiet = Some(Instant::now());
                Ok(None)
            }
            // librdkafka connects again by itself.
            Some(Err(KafkaError::Global(_))) | None => Ok(None),
            Some(Err(error)) => Err(fault(&format!("reading topic {}", self.topic), &error)),
        }
    }

    /// The next offset to be read.
    pub fn position(&self) -> i64 {
        self.next
    }

    /// Whether everything before this offset has been read.
    pub fn has_reached(&self, offset: i64) -> bool {
        self.next >= offset || self.quiet.is_some_and(|since| since.elapsed() >= QUIET)
    }
}
