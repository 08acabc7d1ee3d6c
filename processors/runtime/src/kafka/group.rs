//! A group's offsets from outside the group. All of it blocks.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};

use super::cluster::Cluster;
use super::error::fault;
use super::native::topic_id;
use super::offsets::{self, Bounds, Committed};
use crate::Fault;
use crate::clock::Moment;
use crate::dispatch::Commit;

/// How long a group may be without its coordinator, which moves when its broker goes away, and is
/// made with the first group that a cluster ever has.
const COORDINATOR_MOVES: Duration = Duration::from_secs(15);
const ASKED_AGAIN: Duration = Duration::from_millis(200);

/// The consumer group of a route, `pipeline/route`.
pub fn group_of(route: &str) -> String {
    format!("passerelle.{}", route.replacen('/', ".", 1))
}

/// Reads a group's offsets, and commits them while the group has no member.
pub struct GroupOffsets {
    client: BaseConsumer,
    group: String,
}

/// A topic's partitions and how far a group is.
#[derive(Debug)]
pub struct GroupView {
    /// How many partitions there are.
    pub partitions: i32,
    /// The topic's own id, if the brokers tell it.
    pub topic_id: Option<String>,
    /// What is committed, where something is.
    pub committed: BTreeMap<i32, Committed>,
    /// What each partition holds.
    pub bounds: BTreeMap<i32, Bounds>,
}

impl GroupOffsets {
    /// A client for a group.
    ///
    /// # Errors
    /// A `Config` fault when librdkafka refuses a setting.
    pub fn open(cluster: &Cluster, group: &str) -> Result<Self, Fault> {
        let client = cluster
            .reader(group)
            .create()
            .map_err(|error| fault(&format!("preparing to read group {group}"), &error))?;
        Ok(Self { client, group: group.to_owned() })
    }

    fn failed(&self, verb: &str) -> impl Fn(KafkaError) -> Fault {
        let doing = format!("{verb} the offsets of group {}", self.group);
        move |error| fault(&doing, &error)
    }

    /// How far the group is in a topic; `None` when there is no such topic.
    ///
    /// # Errors
    /// A `Remote` fault when the brokers do not answer or refuse.
    pub fn view(&self, topic: &str) -> Result<Option<GroupView>, Fault> {
        let failed = self.failed("reading");
        let Some(count) = offsets::partition_count(&self.client, topic).map_err(&failed)? else {
            return Ok(None);
        };
        let partitions: Vec<i32> = (0..count).collect();
        let committed = coordinated(|| offsets::committed(&self.client, topic, &partitions));
        let committed = committed.map_err(&failed)?;
        let bounds = offsets::bounds(&self.client, topic, &partitions).map_err(&failed)?;
        let topic_id = topic_id(&self.client, topic, Duration::from_secs(3));
        Ok(Some(GroupView { partitions: count, topic_id, committed, bounds }))
    }

    /// For each partition the first offset at or after a time, where there is one.
    ///
    /// # Errors
    /// A `Remote` fault when the brokers do not answer or refuse.
    pub fn at_time(&self, topic: &str, count: i32, time: i64) -> Result<BTreeMap<i32, i64>, Fault> {
        let partitions: Vec<i32> = (0..count).collect();
        offsets::at_time(&self.client, topic, &partitions, time).map_err(self.failed("looking up"))
    }

    /// Commits offsets; the group must have no member.
    ///
    /// # Errors
    /// A `Remote` fault when the brokers do not answer, refuse, or the group has members.
    pub fn commit(&self, topic: &str, commits: &[Commit]) -> Result<(), Fault> {
        offsets::commit(&self.client, topic, commits).map_err(self.failed("committing"))
    }
}

/// Asks a group's coordinator; again for a while, when it is not there yet.
fn coordinated<T>(ask: impl Fn() -> KafkaResult<T>) -> KafkaResult<T> {
    let started = Moment::now();
    loop {
        match ask() {
            Err(error) if is_moving(&error) && Moment::now().since(started) < COORDINATOR_MOVES => {
                std::thread::sleep(ASKED_AGAIN);
            }
            answer => return answer,
        }
    }
}

fn is_moving(error: &KafkaError) -> bool {
    use Code::{CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator};
    let code = error.rdkafka_error_code();
    code.is_some_and(|code| {
        matches!(code, NotCoordinator | CoordinatorNotAvailable | CoordinatorLoadInProgress)
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_coordinator_that_is_not_there_yet_is_asked_again() {
        let asked = Cell::new(0);
        let answer = coordinated(|| {
            asked.set(asked.get() + 1);
            match asked.get() {
                1 => Err(KafkaError::OffsetFetch(Code::NotCoordinator)),
                2 => Err(KafkaError::OffsetFetch(Code::CoordinatorLoadInProgress)),
                _ => Ok("offsets"),
            }
        });
        assert_eq!((answer, asked.get()), (Ok("offsets"), 3));
    }

    #[test]
    fn a_refusal_is_final() {
        let asked = Cell::new(0);
        let answer = coordinated(|| {
            asked.set(asked.get() + 1);
            Err::<(), _>(KafkaError::OffsetFetch(Code::GroupAuthorizationFailed))
        });
        assert_eq!(answer, Err(KafkaError::OffsetFetch(Code::GroupAuthorizationFailed)));
        assert_eq!(asked.get(), 1);
    }
}
