//! A topic as it is declared, held against the topic as it is.

use std::collections::HashMap;

use crate::runtime::Topic;

/// The broker's settings that a declaration asks for.
pub(super) fn settings(topic: &Topic) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    let policy = match (topic.compaction, topic.retention) {
        (Some(true), None) => Some("compact"),
        (Some(true), Some(_)) => Some("compact,delete"),
        (Some(false), _) => Some("delete"),
        (None, _) => None,
    };
    settings.extend(policy.map(|policy| ("cleanup.policy".to_owned(), policy.to_owned())));
    let retention = topic.retention.map(|retention| retention.as_millis().to_string());
    settings.extend(retention.map(|millis| ("retention.ms".to_owned(), millis)));
    settings.extend(topic.properties.iter().cloned());
    settings
}

/// Where a topic is not as declared, each difference as a clause with what to do.
pub fn drift(topic: &Topic, partitions: i32, actual: &HashMap<String, String>) -> Vec<String> {
    let mut found = Vec::new();
    match topic.partitions {
        Some(declared) if declared > partitions => found.push(format!(
            "it has {partitions} partitions, the file declares {declared}: adding partitions moves \
             keys to others, so do it yourself (kafka-topics --alter --partitions {declared}) or \
             declare {partitions}"
        )),
        Some(declared) if declared < partitions => found.push(format!(
            "it has {partitions} partitions, the file declares {declared}: partitions cannot be \
             taken away, declare {partitions}"
        )),
        _ => {}
    }
    for (name, declared) in settings(topic) {
        let Some(actual) = actual.get(&name) else { continue };
        if !same(&name, &declared, actual) {
            found.push(format!(
                "its {name} is {actual}, the file asks for {declared}: change one of them \
                 (kafka-configs --alter --add-config {name}={declared})"
            ));
        }
    }
    found
}

fn same(name: &str, declared: &str, actual: &str) -> bool {
    let parts = |text: &str| {
        let mut parts: Vec<String> = text.split(',').map(|part| part.trim().to_owned()).collect();
        parts.sort();
        parts
    };
    match name {
        "cleanup.policy" => parts(declared) == parts(actual),
        _ => declared == actual,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn declared() -> Topic {
        Topic {
            name: "shop.orders".into(),
            partitions: Some(12),
            retention: Some(Duration::from_secs(3_600)),
            compaction: Some(true),
            ..Topic::default()
        }
    }

    fn actual(policy: &str, retention: &str) -> HashMap<String, String> {
        [("cleanup.policy", policy), ("retention.ms", retention)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn a_topic_as_declared_does_not_drift() {
        assert!(drift(&declared(), 12, &actual("delete,compact", "3600000")).is_empty());
        assert!(drift(&Topic::default(), 3, &actual("delete", "1")).is_empty());
    }

    #[test]
    fn each_difference_is_named_with_what_to_do() {
        let found = drift(&declared(), 6, &actual("delete", "1"));
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("--partitions 12"));
        assert!(found[1].contains("cleanup.policy is delete"));
        assert!(found[2].contains("retention.ms=3600000"));
        assert!(drift(&declared(), 13, &HashMap::new())[0].contains("declare 13"));
    }
}
