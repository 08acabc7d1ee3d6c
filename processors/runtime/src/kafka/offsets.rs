//! Reading and committing a group's offsets, and the ends of partitions. All of it blocks.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};

use super::native;
use crate::dispatch::Commit;

/// How long the brokers have to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub offset: i64,
    /// The commit's metadata.
    pub metadata: String,
}

/// What a partition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The offset of the oldest record.
    pub low: i64,
    /// The offset after the newest record.
    pub high: i64,
}

/// What the client's group has committed, for those partitions where it has.
pub fn committed<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    partitions: &[i32],
) -> KafkaResult<BTreeMap<i32, Committed>> {
    let found = client.committed_offsets(list(topic, partitions, Offset::Invalid)?, TIMEOUT)?;
    let mut committed = BTreeMap::new();
    for element in found.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            let metadata = element.metadata().to_owned();
            committed.insert(element.partition(), Committed { offset, metadata });
        }
    }
    Ok(committed)
}

/// The ends of partitions.
pub fn bounds<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    partitions: &[i32],
) -> KafkaResult<BTreeMap<i32, Bounds>> {
    // Kafka's ListOffsets takes -2 and -1 as times: the oldest and the newest.
    let low = asked(client, list(topic, partitions, Offset::Beginning)?)?;
    let high = asked(client, list(topic, partitions, Offset::End)?)?;
    Ok(both(low, &high))
}

/// The bounds of what has both of them.
fn both<K: Ord>(low: BTreeMap<K, i64>, high: &BTreeMap<K, i64>) -> BTreeMap<K, Bounds> {
    let known = low.into_iter().filter_map(|(key, low)| {
        let high = *high.get(&key)?;
        Some((key, Bounds { low, high }))
    });
    known.collect()
}

/// The ends of one partition of each of many topics, in one question; those that cannot be seen now are
/// left out.
pub fn bounds_of_topics<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topics: &[String],
    partition: i32,
) -> KafkaResult<BTreeMap<String, Bounds>> {
    let ask = |which: Offset| -> KafkaResult<BTreeMap<String, i64>> {
        let mut list = TopicPartitionList::with_capacity(topics.len());
        for topic in topics {
            list.add_partition_offset(topic, partition, which)?;
        }
        let seen = seen(client, list, TIMEOUT)?;
        Ok(seen.into_iter().map(|((topic, _), offset)| (topic, offset)).collect())
    };
    Ok(both(ask(Offset::Beginning)?, &ask(Offset::End)?))
}

/// What `list` asks for, of those partitions that can be seen now.
pub fn seen<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    list: TopicPartitionList,
    timeout: Duration,
) -> KafkaResult<HashMap<(String, i32), i64>> {
    let found = client.offsets_for_times(list, timeout)?;
    let each = found.elements().into_iter().filter_map(|element| {
        let place = (element.topic().to_owned(), element.partition());
        match (element.error(), element.offset()) {
            (Ok(()), Offset::Offset(offset)) => Some((place, offset)),
            _ => None,
        }
    });
    Ok(each.collect())
}

/// For each partition the offset of the first record not older than `time` (milliseconds since the
/// Unix epoch); those whose records are all older are left out.
pub fn at_time<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    partitions: &[i32],
    time: i64,
) -> KafkaResult<BTreeMap<i32, i64>> {
    asked(client, list(topic, partitions, Offset::Offset(time.max(0)))?)
}

fn asked<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    times: TopicPartitionList,
) -> KafkaResult<BTreeMap<i32, i64>> {
    let found = client.offsets_for_times(times, TIMEOUT)?;
    let mut offsets = BTreeMap::new();
    for element in found.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            offsets.insert(element.partition(), offset);
        }
    }
    Ok(offsets)
}

/// The same offset for partitions of a topic.
pub fn list(topic: &str, partitions: &[i32], offset: Offset) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition_offset(topic, *partition, offset)?;
    }
    Ok(list)
}

/// Commits, and waits for the answer.
pub fn commit<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    commits: &[Commit],
) -> KafkaResult<()> {
    match commits.is_empty() {
        true => Ok(()),
        false => client.commit(&commit_list(topic, commits)?, CommitMode::Sync),
    }
}

/// Sends a commit; the answer comes to the context's `commit_callback`.
pub fn send_commit<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    commits: &[Commit],
) -> KafkaResult<()> {
    native::commit(client, &commit_list(topic, commits)?)
}

/// The offset is the next one to read: librdkafka commits it as it is.
pub fn commit_list(topic: &str, commits: &[Commit]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(commits.len());
    for commit in commits {
        let mut element = list.add_partition(topic, commit.partition);
        element.set_offset(Offset::Offset(commit.offset))?;
        if !commit.metadata.is_empty() {
            element.set_metadata(&commit.metadata);
        }
    }
    Ok(list)
}

/// How many partitions a topic has; `None` when there is no such topic.
pub fn partition_count<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
) -> KafkaResult<Option<i32>> {
    let metadata = client.fetch_metadata(Some(topic), TIMEOUT)?;
    let found = metadata.topics().iter().find(|known| known.name() == topic);
    let count = found.filter(|known| known.error().is_none()).map(|known| known.partitions().len());
    Ok(count.filter(|count| *count > 0).and_then(|count| i32::try_from(count).ok()))
}
