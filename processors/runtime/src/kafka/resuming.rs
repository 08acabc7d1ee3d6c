//! Reading a topic of others on from where it was left, which its owner keeps.

use std::collections::BTreeMap;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::cluster::Cluster;
use super::login::{Login, failure};
use super::offsets::{self, Bounds};
use super::reader::{ReadFrom, Reader, client, ends, starts};
use crate::Fault;
use crate::options::Start;

/// Where to go on.
#[derive(Debug, Clone)]
pub struct Positions {
    /// The next offset of each partition that is known; `None` the first time.
    pub known: Option<BTreeMap<i32, i64>>,
    /// Where to begin the first time.
    pub start: Start,
    /// Whether to go on behind events that are gone.
    pub skip_gaps: bool,
}

impl Reader {
    /// Opens every partition of a topic where it was left. Those that are new since then are read
    /// from their beginning. Gives where it stands.
    ///
    /// # Errors
    /// A `Remote` fault when the brokers are away or refuse, there is no such topic, or what was not
    /// read yet is no longer there.
    pub fn resume(
        cluster: &Cluster,
        topic: &str,
        positions: Positions,
    ) -> Result<(Self, BTreeMap<i32, i64>), Fault> {
        let doing = format!("opening topic {topic}");
        let client = client(cluster, &doing)?;
        let failed = |error: KafkaError| failure(&client, &doing, &error);
        let Some(count) = offsets::partition_count(&client, topic).map_err(failed)? else {
            return Err(Fault::remote("topic_missing", format!("There is no topic `{topic}`.")));
        };
        let partitions: Vec<i32> = (0..count).collect();
        let bounds = offsets::bounds(&client, topic, &partitions).map_err(failed)?;
        let next = match positions.known {
            None => begun(&client, topic, &bounds, positions.start).map_err(failed)?,
            Some(known) => resumed(topic, known, &bounds, positions.skip_gaps)?,
        };
        let mut list = TopicPartitionList::with_capacity(next.len());
        for (partition, offset) in &next {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
                .map_err(failed)?;
        }
        client.assign(&list).map_err(failed)?;
        Ok((Self { client, topic: topic.into(), behind: ends(&bounds) }, next))
    }
}

fn begun(
    client: &BaseConsumer<Login>,
    topic: &str,
    bounds: &BTreeMap<i32, Bounds>,
    start: Start,
) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let from = match start {
        Start::Beginning => ReadFrom::Beginning,
        Start::Now => ReadFrom::Now,
        Start::At(time) => ReadFrom::Time(time.timestamp_millis()),
    };
    let starts = starts(client, topic, bounds, from)?;
    let offset = |offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
    let starts = starts.elements();
    Ok(starts.iter().map(|start| (start.partition(), offset(start.offset()))).collect())
}

fn resumed(
    topic: &str,
    mut known: BTreeMap<i32, i64>,
    bounds: &BTreeMap<i32, Bounds>,
    skip_gaps: bool,
) -> Result<BTreeMap<i32, i64>, Fault> {
    for (partition, next) in &mut known {
        let Some(Bounds { low, high }) = bounds.get(partition) else {
            let message = format!(
                "Topic `{topic}` has lost its partition {partition}: was it made anew? Then give the \
                 source another name."
            );
            return Err(Fault::refused("partition_missing", message));
        };
        if *next > *high {
            let message = format!(
                "Partition {partition} of `{topic}` ends at {high}, before the offset {next} to be \
                 read next: was the topic made anew? Then give the source another name."
            );
            return Err(Fault::refused("topic_made_anew", message));
        }
        if *next < *low && !skip_gaps {
            let message = format!(
                "The events {next} to {} of partition {partition} of `{topic}` were not read and are \
                 gone (its retention?). Once you have seen to them, `on_gap: skip` goes on at {low}.",
                low - 1
            );
            return Err(Fault::refused("events_gone", message));
        }
        *next = (*next).max(*low);
    }
    let new = bounds.iter().filter(|(partition, _)| !known.contains_key(partition));
    let new: Vec<_> = new.map(|(partition, bounds)| (*partition, bounds.low)).collect();
    known.extend(new);
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(all: &[(i64, i64)]) -> BTreeMap<i32, Bounds> {
        let bounds = all.iter().map(|(low, high)| Bounds { low: *low, high: *high });
        (0..).zip(bounds).collect()
    }

    fn resume(next: i64, low: i64, high: i64, skip: bool) -> Result<i64, &'static str> {
        let known = BTreeMap::from([(0, next)]);
        let resumed = resumed("t", known, &bounds(&[(low, high)]), skip);
        resumed.map(|next| next[&0]).map_err(|fault| fault.cause)
    }

    #[test]
    fn it_goes_on_where_it_was_and_never_jumps() {
        assert_eq!(resume(5, 0, 9, false), Ok(5));
        assert_eq!(resume(9, 9, 9, false), Ok(9), "all was read, and is gone now");
        assert_eq!(resume(5, 7, 9, false), Err("events_gone"));
        assert_eq!(resume(5, 7, 9, true), Ok(7));
        assert_eq!(resume(10, 0, 9, true), Err("topic_made_anew"));
    }

    #[test]
    fn partitions_that_are_new_are_read_from_their_beginning() {
        let known = BTreeMap::from([(0, 5)]);
        let next = resumed("t", known.clone(), &bounds(&[(0, 9), (3, 8)]), false).unwrap();
        assert_eq!(next, BTreeMap::from([(0, 5), (1, 3)]));
        let gone = resumed("t", known, &BTreeMap::new(), true).unwrap_err();
        assert_eq!(gone.cause, "partition_missing");
    }
}
