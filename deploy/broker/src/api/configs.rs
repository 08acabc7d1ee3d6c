//! Describing and changing the configuration of topics, and describing the broker's.

use std::sync::Arc;

use kafka_protocol::{
    error::ResponseError,
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
        alter_configs_response::AlterConfigsResourceResponse as Replaced,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{
            DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
        },
        incremental_alter_configs_request::AlterableConfig,
        incremental_alter_configs_response::AlterConfigsResourceResponse as Altered,
    },
    protocol::StrBytes,
};

use super::once;
use crate::{
    log::LogConfig,
    node::{NODE_ID, Node},
    refusal::{Outcome, Refusal, code_of, message_of},
    topics::settings::{Kind, Overrides, SETTINGS, Setting, UNHEEDED, resolve, setting},
};

/// What a configuration is of (`ConfigResource.Type`).
mod resource {
    pub const TOPIC: i8 = 2;
    pub const BROKER: i8 = 4;
}

/// Where a value comes from (`ConfigEntry.ConfigSource`).
mod source {
    pub const TOPIC: i8 = 1;
    pub const BROKER: i8 = 4;
    pub const DEFAULT: i8 = 5;
}

/// Each setting of a topic with its value, and where that comes from.
pub(super) fn topic_values(
    overrides: &Overrides,
    config: &LogConfig,
) -> impl Iterator<Item = (&'static Setting, String, i8)> {
    let heeded = SETTINGS.iter().map(|setting| (setting, (setting.show)(config)));
    let unheeded = UNHEEDED.iter().map(|setting| {
        let own = overrides.get(setting.name).cloned();
        (setting, own.unwrap_or_else(|| (setting.show)(config)))
    });
    heeded.chain(unheeded).map(|(setting, value)| {
        let own = overrides.contains_key(setting.name);
        (setting, value, if own { source::TOPIC } else { source::DEFAULT })
    })
}

/// DescribeConfigs.
pub(super) fn describe(node: &Node, ask: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let resources =
        once(ask.resources, |resource| (resource.resource_type, resource.resource_name.clone()));
    let results = resources.into_iter().map(|resource| {
        let described = match resource.resource_type {
            resource::TOPIC => describe_topic(node, &ask.include_documentation, &resource),
            resource::BROKER => describe_broker(node, &resource),
            other => Err(no_such_resource(other)),
        };
        let result = DescribeConfigsResult::default()
            .with_error_code(code_of(&described))
            .with_error_message(message_of(&described))
            .with_resource_type(resource.resource_type);
        let mut configs = described.unwrap_or_default();
        if let Some(keys) = &resource.configuration_keys {
            configs.retain(|config| keys.contains(&config.name));
        }
        if !ask.include_synonyms {
            configs.iter_mut().for_each(|config| config.synonyms.clear());
        }
        result.with_resource_name(resource.resource_name).with_configs(configs)
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn no_such_resource(kind: i8) -> Refusal {
    Refusal::new(
        ResponseError::InvalidRequest,
        format!("resources of type {kind} have no configuration here: topics and brokers do"),
    )
}

fn describe_topic(
    node: &Node,
    documented: &bool,
    asked: &DescribeConfigsResource,
) -> Outcome<Vec<DescribeConfigsResourceResult>> {
    let view = node.topics.view();
    let topic = view.named(&asked.resource_name)?;
    let config = resolve(&node.topics.defaults, &topic.overrides)?;
    let described = topic_values(&topic.overrides, &config).map(|(setting, value, from)| {
        let mut synonyms =
            vec![synonym(setting.name, (setting.show)(&node.topics.defaults), source::DEFAULT)];
        if from == source::TOPIC {
            synonyms.insert(0, synonym(setting.name, value.clone(), from));
        }
        entry(setting.name, value, setting.kind, from)
            .with_synonyms(synonyms)
            .with_documentation(documented.then(|| setting.documentation.into()))
    });
    Ok(described.collect())
}

fn synonym(name: &'static str, value: String, from: i8) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym::default()
        .with_name(name.into())
        .with_value(Some(value.into()))
        .with_source(from)
}

fn entry(name: &'static str, value: String, kind: Kind, from: i8) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult::default()
        .with_name(name.into())
        .with_value(Some(value.into()))
        .with_config_source(from)
        .with_config_type(kind as i8)
}

fn describe_broker(
    node: &Node,
    asked: &DescribeConfigsResource,
) -> Outcome<Vec<DescribeConfigsResourceResult>> {
    let name: &str = &asked.resource_name;
    if !name.is_empty() && name != NODE_ID.to_string() {
        return Err(Refusal::new(
            ResponseError::InvalidRequest,
            format!("there is no broker {name:?}, the only one is {NODE_ID}"),
        ));
    }
    if name.is_empty() {
        // What is set for all brokers at run time: nothing can be.
        return Ok(Vec::new());
    }
    let config = &node.config;
    let minutes = |of: std::time::Duration| (of.as_secs() / 60).to_string();
    let entries = [
        ("broker.id", Kind::Int, NODE_ID.to_string()),
        ("log.dirs", Kind::String, config.directory.display().to_string()),
        ("num.partitions", Kind::Int, config.default_partitions.to_string()),
        ("auto.create.topics.enable", Kind::Boolean, config.auto_create.to_string()),
        ("message.max.bytes", Kind::Int, config.topic_defaults.max_message_bytes.to_string()),
        ("offsets.retention.minutes", Kind::Int, minutes(config.offsets_retention)),
        (
            "group.initial.rebalance.delay.ms",
            Kind::Int,
            config.initial_rebalance_delay.as_millis().to_string(),
        ),
        ("group.max.size", Kind::Int, config.limits.group_members.to_string()),
        ("socket.request.max.bytes", Kind::Int, config.limits.request_bytes.to_string()),
        ("fetch.max.bytes", Kind::Int, config.limits.fetch_bytes.to_string()),
        ("max.connections", Kind::Int, config.limits.connections.to_string()),
    ];
    Ok(entries
        .into_iter()
        .map(|(name, kind, value)| entry(name, value, kind, source::BROKER).with_read_only(true))
        .collect())
}

/// IncrementalAlterConfigs.
pub(super) async fn alter(
    node: &Arc<Node>,
    ask: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::new();
    for resource in ask.resources {
        let (kind, name) = (resource.resource_type, resource.resource_name);
        let changes = resource.configs;
        let outcome = change(node, kind, &name, ask.validate_only, move |config, overrides| {
            changes.iter().try_for_each(|change| apply(config, overrides, change))
        });
        let outcome = outcome.await;
        responses.push(
            Altered::default()
                .with_error_code(code_of(&outcome))
                .with_error_message(message_of(&outcome))
                .with_resource_type(kind)
                .with_resource_name(name),
        );
    }
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

/// AlterConfigs: the older way, which replaces all that a topic sets.
pub(super) async fn replace(node: &Arc<Node>, ask: AlterConfigsRequest) -> AlterConfigsResponse {
    let mut responses = Vec::new();
    for resource in ask.resources {
        let (kind, name) = (resource.resource_type, resource.resource_name);
        let given = resource.configs;
        let outcome = change(node, kind, &name, ask.validate_only, move |_, overrides| {
            overrides.clear();
            for config in &given {
                let value = config.value.as_ref().ok_or_else(|| no_value(&config.name))?;
                overrides.insert(config.name.to_string(), value.to_string());
            }
            Ok(())
        });
        let outcome = outcome.await;
        responses.push(
            Replaced::default()
                .with_error_code(code_of(&outcome))
                .with_error_message(message_of(&outcome))
                .with_resource_type(kind)
                .with_resource_name(name),
        );
    }
    AlterConfigsResponse::default().with_responses(responses)
}

async fn change(
    node: &Arc<Node>,
    kind: i8,
    name: &StrBytes,
    validate_only: bool,
    make: impl FnOnce(&LogConfig, &mut Overrides) -> Outcome<()> + Send + 'static,
) -> Outcome<()> {
    if kind != resource::TOPIC {
        return Err(Refusal::new(
            ResponseError::InvalidRequest,
            "only the configuration of topics can be changed: the broker's is given at its start",
        ));
    }
    let name = name.to_string();
    node.aside(move |node| {
        node.topics.configure(&name, validate_only, |overrides| {
            let config = resolve(&node.topics.defaults, overrides)?;
            make(&config, overrides)
        })
    })
    .await
}

/// Applies one change of IncrementalAlterConfigs (KIP-339).
fn apply(config: &LogConfig, overrides: &mut Overrides, change: &AlterableConfig) -> Outcome<()> {
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    const APPEND: i8 = 2;
    const SUBTRACT: i8 = 3;
    let of = setting(&change.name)?;
    let value = || change.value.as_deref().ok_or_else(|| no_value(&change.name));
    let name = of.name.to_owned();
    match change.config_operation {
        SET => {
            overrides.insert(name, value()?.to_owned());
        }
        DELETE => {
            overrides.remove(&name);
        }
        operation @ (APPEND | SUBTRACT) if of.kind == Kind::List => {
            let now = overrides.get(&name).cloned().unwrap_or_else(|| (of.show)(config));
            let given: Vec<_> = value()?.split(',').map(str::trim).collect();
            let mut list: Vec<_> = now.split(',').filter(|item| !given.contains(item)).collect();
            if operation == APPEND {
                list.extend(given);
            }
            let list = list.join(",");
            overrides.insert(name, list);
        }
        APPEND | SUBTRACT => {
            let message = format!("{name} is no list: it can be set or deleted");
            return Err(Refusal::invalid_config(message));
        }
        other => {
            let message = format!("operation {other} is not known, 0 to 3 are");
            return Err(Refusal::new(ResponseError::InvalidRequest, message));
        }
    }
    Ok(())
}

fn no_value(name: &str) -> Refusal {
    Refusal::invalid_config(format!("{name} has no value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(
        before: &[(&str, &str)],
        name: &'static str,
        operation: i8,
        value: &'static str,
    ) -> Outcome<Overrides> {
        let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let mut overrides: Overrides = before.iter().map(own).collect();
        let change = AlterableConfig::default()
            .with_name(name.into())
            .with_config_operation(operation)
            .with_value(Some(value.into()));
        apply(&LogConfig::default(), &mut overrides, &change).map(|()| overrides)
    }

    #[test]
    fn a_list_is_added_to_and_taken_from() {
        let both = applied(&[], "cleanup.policy", 2, "compact").unwrap();
        assert_eq!(both["cleanup.policy"], "delete,compact");
        let one = applied(&[("cleanup.policy", "delete,compact")], "cleanup.policy", 3, "delete");
        assert_eq!(one.unwrap()["cleanup.policy"], "compact");
    }

    #[test]
    fn a_setting_is_set_and_deleted() {
        let set = applied(&[], "retention.ms", 0, "5").unwrap();
        assert_eq!(set["retention.ms"], "5");
        assert!(applied(&[("retention.ms", "5")], "retention.ms", 1, "").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_list_is_not_added_to() {
        assert!(applied(&[], "retention.ms", 2, "5").is_err());
        assert!(applied(&[], "retention.ms", 9, "5").is_err());
        assert!(applied(&[], "retention", 0, "5").is_err());
    }
}
