//! What there is: versions, the node, topics and their partitions.

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use kafka_protocol::{
    error::ResponseError,
    messages::{
        ApiVersionsResponse, BrokerId, DescribeClusterRequest, DescribeClusterResponse,
        DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, MetadataRequest,
        MetadataResponse, TopicName,
        api_versions_response::ApiVersion,
        describe_cluster_response::DescribeClusterBroker,
        describe_topic_partitions_response::{
            Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
        },
        metadata_request::MetadataRequestTopic,
        metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
    },
    protocol::StrBytes,
};
use uuid::Uuid;

use super::{Call, Unreadable, frame, once, versions::SERVED};
use crate::{
    node::{NODE_ID, Node},
    refusal::{Outcome, Refusal, code_of},
    topics::{self, Creation, Partition, Topic, settings::Overrides},
    wire::Head,
};

/// ApiVersions.
pub(super) fn api_versions() -> ApiVersionsResponse {
    let api = |&(key, oldest, newest)| {
        ApiVersion::default()
            .with_api_key(key as i16)
            .with_min_version(oldest)
            .with_max_version(newest)
    };
    ApiVersionsResponse::default().with_api_keys(SERVED.iter().map(api).collect())
}

/// The answer to an ApiVersions request of a version to come: version 0, with the versions that
/// are served, for the client to ask again (KIP-511).
pub(super) fn unsupported_version(head: &Head) -> Result<Bytes, Unreadable> {
    let code = ResponseError::UnsupportedVersion.code();
    frame(head, 0, &api_versions().with_error_code(code))
}

/// Metadata.
pub(super) async fn metadata(
    node: &Arc<Node>,
    call: &Call,
    ask: MetadataRequest,
) -> MetadataResponse {
    // Version 0 asks for all topics with an empty list, later ones with none at all.
    let all = ask.topics.is_none()
        || (call.head.version == 0 && ask.topics.as_ref().is_some_and(Vec::is_empty));
    let topics = if all {
        node.topics.view().by_name.values().map(|topic| metadata_topic(topic)).collect()
    } else {
        let mut topics = Vec::new();
        let asked = ask.topics.unwrap_or_default();
        for asked in once(asked, |topic| (topic.name.clone(), topic.topic_id)) {
            topics.push(asked_topic(node, &asked, ask.allow_auto_topic_creation).await);
        }
        topics
    };
    let (host, port) = call.advertised.clone();
    MetadataResponse::default()
        .with_brokers(vec![
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(NODE_ID))
                .with_host(host.into())
                .with_port(port.into()),
        ])
        .with_cluster_id(Some(node.topics.cluster.clone().into()))
        .with_controller_id(BrokerId(NODE_ID))
        .with_topics(topics)
}

async fn asked_topic(
    node: &Arc<Node>,
    asked: &MetadataRequestTopic,
    may_create: bool,
) -> MetadataResponseTopic {
    let name = asked.name.as_ref().map(|name| name.to_string()).unwrap_or_default();
    let found = node.topics.view().find(&name, asked.topic_id).map(Arc::clone);
    let topic = match found {
        Err(_) if may_create && node.config.auto_create && !name.is_empty() => {
            create(node, name).await
        }
        // A client gives up a name that can never be, and waits for one that is not there yet.
        Err(unknown) if !name.is_empty() => {
            Err(topics::name::check(&name).err().unwrap_or(unknown))
        }
        found => found,
    };
    match topic {
        Ok(topic) => metadata_topic(&topic),
        Err(refusal) => MetadataResponseTopic::default()
            .with_error_code(refusal.number())
            .with_name(asked.name.clone())
            .with_topic_id(asked.topic_id),
    }
}

async fn create(node: &Arc<Node>, name: String) -> Outcome<Arc<Topic>> {
    let partitions = node.config.default_partitions;
    let creation = Creation { name, partitions, overrides: Overrides::default() };
    node.aside(move |node| node.topics.create(creation)).await
}

fn metadata_topic(topic: &Topic) -> MetadataResponseTopic {
    let partition = |partition: &Arc<Partition>| {
        MetadataResponsePartition::default()
            .with_partition_index(partition.index)
            .with_leader_id(BrokerId(NODE_ID))
            .with_leader_epoch(0)
            .with_replica_nodes(vec![BrokerId(NODE_ID)])
            .with_isr_nodes(vec![BrokerId(NODE_ID)])
    };
    MetadataResponseTopic::default()
        .with_name(Some(name(&topic.name)))
        .with_topic_id(topic.id)
        .with_is_internal(topic.is_internal())
        .with_partitions(topic.partitions.iter().map(partition).collect())
}

/// A topic's name, as the codecs take it.
pub(super) fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// DescribeCluster.
pub(super) fn describe_cluster(
    node: &Node,
    call: &Call,
    ask: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    const BROKERS: i8 = 1;
    let response = DescribeClusterResponse::default()
        .with_cluster_id(node.topics.cluster.clone().into())
        .with_controller_id(BrokerId(NODE_ID));
    if call.head.version >= 1 && ask.endpoint_type != BROKERS {
        let refusal = Refusal::new(
            ResponseError::MismatchedEndpointType,
            "this is a broker: ask for brokers, not for controllers",
        );
        return response.with_error_code(refusal.number()).with_error_message(refusal.text());
    }
    let (host, port) = call.advertised.clone();
    response.with_brokers(vec![
        DescribeClusterBroker::default()
            .with_broker_id(BrokerId(NODE_ID))
            .with_host(host.into())
            .with_port(port.into()),
    ])
}

/// DescribeTopicPartitions (KIP-966): topics in order, up to a number of partitions, with a cursor
/// for the rest.
pub(super) fn describe_topic_partitions(
    node: &Node,
    ask: &DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    const MOST: i32 = 2000;
    let view = node.topics.view();
    let mut names: Vec<String> = if ask.topics.is_empty() {
        view.by_name.keys().cloned().collect()
    } else {
        ask.topics.iter().map(|topic| topic.name.to_string()).collect()
    };
    names.sort_unstable();
    names.dedup();
    let from = ask.cursor.as_ref().map(|at| (at.topic_name.to_string(), at.partition_index));
    let mut room = usize::try_from(ask.response_partition_limit.clamp(1, MOST)).unwrap_or(1);
    let mut topics = Vec::new();
    let mut next = None;
    for topic in names.iter().filter(|name| from.as_ref().is_none_or(|(first, _)| *name >= first)) {
        let first = from.as_ref().filter(|(name, _)| name == topic).map_or(0, |(_, index)| *index);
        if room == 0 {
            next = Some(cursor(topic, first));
            break;
        }
        let described = view.named(topic).map(|topic| describe(topic, first, &mut room));
        match described {
            Ok(ControlFlow::Continue(described)) => topics.push(described),
            Ok(ControlFlow::Break((described, index))) => {
                topics.push(described);
                next = Some(cursor(topic, index));
                break;
            }
            Err(refusal) => topics.push(
                DescribeTopicPartitionsResponseTopic::default()
                    .with_error_code(code_of::<()>(&Err(refusal)))
                    .with_name(Some(name(topic)))
                    .with_topic_id(Uuid::nil()),
            ),
        }
    }
    DescribeTopicPartitionsResponse::default().with_topics(topics).with_next_cursor(next)
}

fn cursor(topic: &str, index: i32) -> Cursor {
    Cursor::default().with_topic_name(name(topic)).with_partition_index(index)
}

type Described = DescribeTopicPartitionsResponseTopic;

/// Describes a topic's partitions from one on; breaks at the first one there is no room for.
fn describe(
    topic: &Topic,
    first: i32,
    room: &mut usize,
) -> ControlFlow<(Described, i32), Described> {
    let rest = topic.partitions.iter().filter(|partition| partition.index >= first);
    let partitions: Vec<_> = rest
        .take(*room)
        .map(|partition| {
            DescribeTopicPartitionsResponsePartition::default()
                .with_partition_index(partition.index)
                .with_leader_id(BrokerId(NODE_ID))
                .with_leader_epoch(0)
                .with_replica_nodes(vec![BrokerId(NODE_ID)])
                .with_isr_nodes(vec![BrokerId(NODE_ID)])
                .with_eligible_leader_replicas(Some(Vec::new()))
                .with_last_known_elr(Some(Vec::new()))
        })
        .collect();
    *room -= partitions.len();
    let next = partitions.last().map_or(first, |last| last.partition_index + 1);
    let described = Described::default()
        .with_name(Some(name(&topic.name)))
        .with_topic_id(topic.id)
        .with_is_internal(topic.is_internal())
        .with_partitions(partitions);
    match usize::try_from(next) {
        Ok(next_index) if next_index < topic.partitions.len() => {
            ControlFlow::Break((described, next))
        }
        _ => ControlFlow::Continue(described),
    }
}
