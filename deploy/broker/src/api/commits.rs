//! The offsets of consumer groups.

use std::{collections::BTreeSet, sync::Arc};

use kafka_protocol::{
    error::ResponseError,
    messages::{
        ConsumerProtocolSubscription, OffsetCommitRequest, OffsetCommitResponse,
        OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse,
        TopicName,
        offset_commit_request::OffsetCommitRequestPartition,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
        offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
        offset_fetch_request::OffsetFetchRequestGroup,
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
    },
    protocol::StrBytes,
};

use super::{Call, once};
use crate::{
    groups::{Asker, Committed, Entry, MAX_METADATA, Place},
    node::{Node, now_ms},
    refusal::{Outcome, Refusal, code_of},
    topics::View,
    wire,
};

/// OffsetCommit.
pub(super) async fn commit(node: &Arc<Node>, ask: OffsetCommitRequest) -> OffsetCommitResponse {
    let topics = ask.topics.into_iter().map(|topic| (topic.name, topic.partitions));
    let (commits, checked) = sort_out(node, topics);
    let asker = Asker {
        member: &ask.member_id,
        instance: ask.group_instance_id.as_deref(),
        generation: ask.generation_id_or_member_epoch,
    };
    let committed = node.groups.commit(&ask.group_id, asker, commits).await;
    let partition = |(index, outcome): (i32, Outcome<()>)| {
        OffsetCommitResponsePartition::default()
            .with_partition_index(index)
            .with_error_code(code_of(&committed.clone().and(outcome)))
    };
    let topics = checked.into_iter().map(|(name, outcomes)| {
        OffsetCommitResponseTopic::default()
            .with_name(name)
            .with_partitions(outcomes.into_iter().map(partition).collect())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

/// What was found of each partition, by topic.
pub(super) type Checked = Vec<(TopicName, Vec<(i32, Outcome<()>)>)>;

/// The commits that may be made of those asked for, and what was found of each.
pub(super) fn sort_out(
    node: &Node,
    topics: impl Iterator<Item = (TopicName, Vec<OffsetCommitRequestPartition>)>,
) -> (Vec<(Place, Committed)>, Checked) {
    let view = node.topics.view();
    let now = now_ms();
    let mut commits = Vec::new();
    let mut checked = Checked::new();
    for (name, partitions) in topics {
        let mut outcomes = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let outcome = check(&view, &name, &partition);
            if outcome.is_ok() {
                commits.push(to_commit(&name, &partition, now));
            }
            outcomes.push((partition.partition_index, outcome));
        }
        checked.push((name, outcomes));
    }
    (commits, checked)
}

fn check(view: &View, topic: &str, partition: &OffsetCommitRequestPartition) -> Outcome<()> {
    view.named(topic)?.partition(partition.partition_index)?;
    let metadata = partition.committed_metadata.as_ref().map_or(0, |metadata| metadata.len());
    if metadata > MAX_METADATA {
        return Err(Refusal::new(
            ResponseError::OffsetMetadataTooLarge,
            format!("{metadata} bytes of metadata, the limit is {MAX_METADATA}"),
        ));
    }
    Ok(())
}

fn to_commit(
    topic: &str,
    partition: &OffsetCommitRequestPartition,
    now: i64,
) -> (Place, Committed) {
    let place = Place { topic: topic.to_owned(), partition: partition.partition_index };
    let committed = Committed {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.as_deref().unwrap_or_default().to_owned(),
        at: now,
    };
    (place, committed)
}

/// OffsetFetch: of one group up to version 7, of several since.
pub(super) fn fetch(node: &Node, call: &Call, ask: OffsetFetchRequest) -> OffsetFetchResponse {
    if call.head.version >= 8 {
        let stable = ask.require_stable;
        let groups = once(ask.groups, |group| group.group_id.clone());
        let groups = groups.into_iter().map(|group| fetch_group(node, group, stable));
        return OffsetFetchResponse::default().with_groups(groups.collect());
    }
    let asked = ask.topics.map(|topics| {
        topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect()
    });
    let unsettled = Unsettled::of(node, &ask.group_id, ask.require_stable);
    let topics = offsets(node, &ask.group_id, asked).into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, committed)| {
            OffsetFetchResponsePartition::default()
                .with_error_code(unsettled.code(&name, index))
                .with_partition_index(index)
                .with_committed_offset(committed.offset)
                .with_committed_leader_epoch(committed.leader_epoch)
                .with_metadata(Some(committed.metadata.into()))
        });
        OffsetFetchResponseTopic::default().with_partitions(partitions.collect()).with_name(name)
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

fn fetch_group(
    node: &Node,
    asked: OffsetFetchRequestGroup,
    stable: bool,
) -> OffsetFetchResponseGroup {
    let topics = asked.topics.map(|topics| {
        topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect()
    });
    let unsettled = Unsettled::of(node, &asked.group_id, stable);
    let topics = offsets(node, &asked.group_id, topics).into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, committed)| {
            OffsetFetchResponsePartitions::default()
                .with_error_code(unsettled.code(&name, index))
                .with_partition_index(index)
                .with_committed_offset(committed.offset)
                .with_committed_leader_epoch(committed.leader_epoch)
                .with_metadata(Some(committed.metadata.into()))
        });
        OffsetFetchResponseTopics::default().with_partitions(partitions.collect()).with_name(name)
    });
    OffsetFetchResponseGroup::default().with_topics(topics.collect()).with_group_id(asked.group_id)
}

/// The places that a group has commits for in transactions that are still open (KIP-447); none for those who
/// do not ask.
struct Unsettled(BTreeSet<Place>);

impl Unsettled {
    /// As they are now, before the offsets are read: a transaction that ends meanwhile is either known as
    /// open, or counts.
    fn of(node: &Node, group: &str, asked: bool) -> Self {
        Self(if asked { node.groups.pending_places(group) } else { BTreeSet::new() })
    }

    /// `UNSTABLE_OFFSET_COMMIT` if there was such a commit: the client asks again.
    fn code(&self, topic: &str, partition: i32) -> i16 {
        match self.0.contains(&Place { topic: topic.to_owned(), partition }) {
            true => ResponseError::UnstableOffsetCommit.code(),
            false => 0,
        }
    }
}

type Offsets = Vec<(TopicName, Vec<(i32, Committed)>)>;

/// What a group has committed: for the partitions asked for, or for all there are.
fn offsets(node: &Node, group: &str, asked: Option<Vec<(TopicName, Vec<i32>)>>) -> Offsets {
    node.groups
        .look(group, |entry| match &asked {
            Some(asked) => asked_offsets(Some(entry), asked),
            None => all_offsets(entry),
        })
        .unwrap_or_else(|| asked_offsets(None, asked.as_deref().unwrap_or_default()))
}

fn asked_offsets(entry: Option<&Entry>, asked: &[(TopicName, Vec<i32>)]) -> Offsets {
    let none = || Committed { offset: -1, leader_epoch: -1, metadata: String::new(), at: -1 };
    let of = |topic: &TopicName, partition: i32| {
        let place = Place { topic: topic.to_string(), partition };
        entry.and_then(|entry| entry.offset(&place)).cloned().unwrap_or_else(none)
    };
    let topic = |(name, partitions): &(TopicName, Vec<i32>)| {
        let offsets = partitions.iter().map(|&partition| (partition, of(name, partition)));
        (name.clone(), offsets.collect())
    };
    asked.iter().map(topic).collect()
}

fn all_offsets(entry: &Entry) -> Offsets {
    let mut offsets = Offsets::new();
    // In order of topics.
    for (Place { topic, partition }, committed) in entry.offsets() {
        if offsets.last().is_none_or(|(name, _)| **name != **topic) {
            offsets.push((super::metadata::name(topic), Vec::new()));
        }
        if let Some((_, partitions)) = offsets.last_mut() {
            partitions.push((*partition, committed.clone()));
        }
    }
    offsets
}

/// OffsetDelete: of topics that no member of the group reads (KIP-496).
pub(super) async fn delete(node: &Arc<Node>, ask: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let Some(subscribed) = node.groups.look(&ask.group_id, subscribed) else {
        let code = ResponseError::GroupIdNotFound.code();
        return OffsetDeleteResponse::default().with_error_code(code);
    };
    let mut topics = Vec::new();
    for topic in ask.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let index = partition.partition_index;
            let deleted = if subscribed.iter().any(|read| **read == **topic.name) {
                let message = format!("members of the group read topic {}", *topic.name);
                Err(Refusal::new(ResponseError::GroupSubscribedToTopic, message))
            } else {
                let doomed = Place { topic: topic.name.to_string(), partition: index };
                node.groups.delete_offsets(&ask.group_id, |place, _| *place == doomed).await
            };
            partitions.push(
                OffsetDeleteResponsePartition::default()
                    .with_partition_index(index)
                    .with_error_code(code_of(&deleted)),
            );
        }
        let response = OffsetDeleteResponseTopic::default().with_name(topic.name);
        topics.push(response.with_partitions(partitions));
    }
    OffsetDeleteResponse::default().with_topics(topics)
}

/// The topics that members of a group read.
fn subscribed(entry: &Entry) -> Vec<String> {
    let protocol = entry.group.protocol();
    let topics = |member: &crate::groups::Member| {
        let metadata = member.metadata(protocol);
        // A version, and the subscription of that version.
        let (version, subscription) = metadata.split_first_chunk::<2>()?;
        let version = i16::from_be_bytes(*version).min(3);
        let subscription = metadata.slice_ref(subscription);
        wire::decode::<ConsumerProtocolSubscription>(&subscription, version).ok()
    };
    let text = |topic: &StrBytes| topic.to_string();
    entry
        .group
        .members()
        .filter_map(topics)
        .flat_map(|read| read.topics.iter().map(text).collect::<Vec<_>>())
        .collect()
}
