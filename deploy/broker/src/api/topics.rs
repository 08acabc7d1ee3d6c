//! Creating, deleting and growing topics.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use kafka_protocol::{
    error::ResponseError,
    messages::{
        BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest,
        CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
        create_partitions_request::CreatePartitionsTopic,
        create_partitions_response::CreatePartitionsTopicResult,
        create_topics_request::CreatableTopic,
        create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
        delete_topics_response::DeletableTopicResult,
    },
};
use uuid::Uuid;

use super::{Call, configs, metadata::name};
use crate::{
    log::LogConfig,
    node::{NODE_ID, Node},
    refusal::{Outcome, Refusal, code_of, message_of},
    topics::{Creation, settings::Overrides},
};

/// CreateTopics.
pub(super) async fn create(node: &Arc<Node>, ask: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut times = HashMap::new();
    for topic in &ask.topics {
        *times.entry(topic.name.clone()).or_insert(0) += 1;
    }
    let mut results = Vec::new();
    for topic in ask.topics {
        let asked = topic.name.clone();
        let created = match times.remove(&asked) {
            // Answered already.
            None => continue,
            Some(1) => create_one(node, topic, ask.validate_only).await,
            Some(_) => Err(invalid_request(format!("topic {} is asked for twice", *asked))),
        };
        results.push(match created {
            Ok(result) => result,
            Err(refusal) => CreatableTopicResult::default()
                .with_name(asked)
                .with_error_code(refusal.number())
                .with_error_message(refusal.text())
                .with_num_partitions(-1)
                .with_replication_factor(-1),
        });
    }
    CreateTopicsResponse::default().with_topics(results)
}

fn invalid_request(message: String) -> Refusal {
    Refusal::new(ResponseError::InvalidRequest, message)
}

async fn create_one(
    node: &Arc<Node>,
    topic: CreatableTopic,
    validate_only: bool,
) -> Outcome<CreatableTopicResult> {
    let partitions = partitions(node, &topic)?;
    let overrides = overrides(&topic)?;
    let creation = Creation { name: topic.name.to_string(), partitions, overrides };
    let config = node.topics.check(&creation)?;
    let result = CreatableTopicResult::default()
        .with_name(topic.name)
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(Some(creation_configs(&creation.overrides, &config)));
    if validate_only {
        return Ok(result);
    }
    let created = node.aside(move |node| node.topics.create(creation)).await?;
    tracing::info!(topic = created.name, partitions, "topic created");
    Ok(result.with_topic_id(created.id))
}

/// How many partitions a topic is to have.
fn partitions(node: &Node, topic: &CreatableTopic) -> Outcome<i32> {
    let one_node = || {
        Refusal::new(
            ResponseError::InvalidReplicationFactor,
            format!(
                "topic {}: replication factor {}, yet this broker is one node: give 1, or -1",
                *topic.name, topic.replication_factor
            ),
        )
    };
    if topic.assignments.is_empty() {
        if !matches!(topic.replication_factor, 1 | -1) {
            return Err(one_node());
        }
        return Ok(match topic.num_partitions {
            -1 => node.config.default_partitions,
            count => count,
        });
    }
    if topic.num_partitions != -1 || topic.replication_factor != -1 {
        return Err(invalid_request(format!(
            "topic {}: with an assignment, partitions and replication factor are -1",
            *topic.name
        )));
    }
    let count = topic.assignments.len();
    let indices: HashSet<_> = topic.assignments.iter().map(|at| at.partition_index).collect();
    let whole = (0..).take(count).all(|index| indices.contains(&index));
    let here = topic.assignments.iter().all(|at| at.broker_ids == [BrokerId(NODE_ID)]);
    if !whole || !here {
        return Err(Refusal::new(
            ResponseError::InvalidReplicaAssignment,
            format!(
                "topic {}: the only assignment there is has partitions 0 to n on node {NODE_ID}",
                *topic.name
            ),
        ));
    }
    i32::try_from(count).map_err(|_| one_node())
}

fn overrides(topic: &CreatableTopic) -> Outcome<Overrides> {
    topic
        .configs
        .iter()
        .map(|config| match &config.value {
            Some(value) => Ok((config.name.to_string(), value.to_string())),
            None => Err(Refusal::invalid_config(format!(
                "topic {}: {} has no value; leave it out for the default",
                *topic.name, &*config.name
            ))),
        })
        .collect()
}

fn creation_configs(overrides: &Overrides, config: &LogConfig) -> Vec<CreatableTopicConfigs> {
    configs::topic_values(overrides, config)
        .map(|(setting, value, source)| {
            CreatableTopicConfigs::default()
                .with_name(setting.name.into())
                .with_value(Some(value.into()))
                .with_config_source(source)
        })
        .collect()
}

/// DeleteTopics.
pub(super) async fn delete(
    node: &Arc<Node>,
    call: &Call,
    ask: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    // Since version 6 a topic goes by its name or by its id.
    let asked: Vec<_> = if call.head.version >= 6 {
        ask.topics.into_iter().map(|topic| (topic.name, topic.topic_id)).collect()
    } else {
        ask.topic_names.into_iter().map(|name| (Some(name), Uuid::nil())).collect()
    };
    let mut responses = Vec::new();
    for (topic, id) in asked {
        let asked_name = topic.as_ref().map(|name| name.to_string()).unwrap_or_default();
        let deleted = match node.topics.view().find(&asked_name, id) {
            Err(refusal) => Err(refusal),
            Ok(found) => {
                let (name, id) = (found.name.clone(), found.id);
                delete_one(node, name.clone()).await.map(|()| (name, id))
            }
        };
        let response = DeletableTopicResult::default()
            .with_error_code(code_of(&deleted))
            .with_error_message(if call.head.version >= 5 { message_of(&deleted) } else { None });
        responses.push(match deleted {
            Ok((deleted, id)) => response.with_name(Some(name(&deleted))).with_topic_id(id),
            Err(_) => response.with_name(topic).with_topic_id(id),
        });
    }
    DeleteTopicsResponse::default().with_responses(responses)
}

async fn delete_one(node: &Arc<Node>, topic: String) -> Outcome<()> {
    let deleted = topic.clone();
    node.aside(move |node| node.topics.delete(&deleted)).await?;
    tracing::info!(topic, "topic deleted");
    node.groups.forget_topic(&topic).await
}

/// CreatePartitions.
pub(super) async fn add_partitions(
    node: &Arc<Node>,
    ask: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut results = Vec::new();
    for topic in ask.topics {
        let name = topic.name.clone();
        let added = add_to_one(node, topic, ask.validate_only).await;
        results.push(
            CreatePartitionsTopicResult::default()
                .with_name(name)
                .with_error_code(code_of(&added))
                .with_error_message(message_of(&added)),
        );
    }
    CreatePartitionsResponse::default().with_results(results)
}

async fn add_to_one(
    node: &Arc<Node>,
    topic: CreatePartitionsTopic,
    validate_only: bool,
) -> Outcome<()> {
    let elsewhere = |assigned: &[BrokerId]| assigned != [BrokerId(NODE_ID)];
    if topic.assignments.iter().flatten().any(|assigned| elsewhere(&assigned.broker_ids)) {
        return Err(Refusal::new(
            ResponseError::InvalidReplicaAssignment,
            format!("topic {}: node {NODE_ID} is the only one", *topic.name),
        ));
    }
    let (name, count) = (topic.name.to_string(), topic.count);
    if validate_only {
        return node.topics.check_partitions(&name, count);
    }
    node.aside(move |node| node.topics.add_partitions(&name, count)).await
}
