//! Topics: their schemas, and settings that make no sense together.

use std::ops::Range;
use std::time::Duration;

use serde_json::Value as Json;

use super::{Checker, Shaped, Topics, quoted};
use crate::configuration::document::{Entry, Node};
use crate::configuration::pipeline::DeclaredTopic;
use crate::configuration::sections::Topic;
use crate::options::{Period, Retention};

const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Schemas above this size are refused.
const LARGEST: u64 = 4 << 20;

/// What is known of the values on a topic.
#[derive(Debug, Clone)]
pub(super) enum Contract {
    /// The topic declares no schema.
    Open,
    /// It declares one that is missing or wrong: nothing can be said of its values.
    Broken,
    /// It declares one.
    Schema(schemas::Schema),
}

impl Contract {
    pub(super) fn schema(&self) -> Option<&schemas::Schema> {
        match self {
            Contract::Schema(schema) => Some(schema),
            Contract::Open | Contract::Broken => None,
        }
    }
}

impl<'a> Checker<'a> {
    pub(super) fn topics(&mut self, whole: &Shaped<'a>) -> Topics {
        let mut topics = Topics::new();
        for entry in self.entries("topics") {
            let contract = self.contract(&entry.value);
            let schema = contract.schema().cloned();
            self.contracts.insert(entry.name.as_str(), contract);
            let value = whole.value.get("topics").and_then(|topics| topics.get(&entry.name));
            let Some(value) = value.filter(|value| value.is_object()) else { continue };
            let Some(settings) = self.settings(value, entry, whole.sound) else { continue };
            self.check_settings(entry, &settings);
            topics.insert(entry.name.clone(), DeclaredTopic { settings, schema });
        }
        topics
    }

    fn settings(&mut self, value: &Json, entry: &Entry, sound: bool) -> Option<Topic> {
        if sound {
            return self.typed(value.clone(), entry);
        }
        serde_json::from_value(value.clone()).ok()
    }

    pub(super) fn contract(&mut self, topic: &'a Node) -> Contract {
        let Some(node) = topic.get("schema") else { return Contract::Open };
        let Some(path) = node.text() else { return Contract::Broken };
        let full = self.file.folder().join(path.as_str());
        let text = match std::fs::metadata(&full) {
            Ok(found) if found.len() > LARGEST => Err(format!("it has {} bytes", found.len())),
            Ok(_) => std::fs::read_to_string(&full).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let text = match text {
            Ok(text) => text,
            Err(error) => {
                let cause = format!("the schema {} cannot be read: {error}", quoted(path));
                let hint = "paths start at the folder of the pipeline file";
                self.wrong(node.span.clone(), "schema_missing", cause, hint);
                return Contract::Broken;
            }
        };
        match schemas::Schema::parse(&text) {
            Ok(schema) => Contract::Schema(schema),
            Err(error) => {
                let cause = format!("{}: {error}", quoted(path));
                self.wrong(node.span.clone(), "schema_invalid", cause, "");
                Contract::Broken
            }
        }
    }

    fn check_settings(&mut self, entry: &'a Entry, topic: &Topic) {
        let embedded = self.root.get("kafka").is_none();
        if let (true, Some(replication)) = (embedded, topic.replication)
            && replication.get() > 1
        {
            let span = span_of(entry, "replication");
            let cause =
                format!("the embedded broker is one node and keeps no {replication} copies");
            let hint = "leave `replication` out, or name a cluster under `kafka`";
            self.wrong(span, "too_many_replicas", cause, hint);
        }
        let written = self
            .entries("sources")
            .iter()
            .any(|source| Self::named(&source.value, "to") == Some(entry.name.as_str()));
        if let (true, Some(Retention::For(Period(kept)))) = (written, topic.retention)
            && kept < WEEK
        {
            let cause = "what this source says is kept for less than a week: no replay reaches further back";
            let cause = cause.replace("this source", &format!("the source of `{}`", entry.name));
            let hint = "keep it as long as you may want to send history again: `retention: 1y`";
            self.warn(span_of(entry, "retention"), "short_retention", cause, hint);
        }
        for name in topic.properties.keys() {
            let field = match name.as_str() {
                "retention.ms" => "retention",
                "cleanup.policy" => "compaction",
                _ => continue,
            };
            let properties = entry.value.get("properties").and_then(|node| node.entry(name));
            let span = properties.map_or(entry.name_span.clone(), |one| one.name_span.clone());
            let cause = format!("`{name}` has a field of its own");
            self.wrong(span, "property_taken", cause, format!("write `{field}` in the topic"));
        }
    }

    /// A route writes by the schema that the topic declares. A processor can also take the one that a
    /// registry has, which is known only when it runs; a source reads what comes by it.
    pub(super) fn check_written(&mut self, span: Range<usize>, topic: &'a str, source: bool) {
        if !matches!(self.contracts.get(topic), Some(Contract::Open)) {
            return;
        }
        let hint = format!("give `{topic}` a `schema`, a file");
        if self.root.get("registry").is_some() && !source {
            let cause = format!(
                "what is written to `{topic}` is checked only when it runs: the topic declares no schema"
            );
            self.warn(span, "unchecked_values", cause, hint);
        } else {
            let cause = format!("`{topic}` is written with Avro, and declares no schema");
            self.wrong(span, "schema_needed", cause, hint);
            if source {
                // What reads it without the schema has mistakes that the schema will mend.
                self.contracts.insert(topic, Contract::Broken);
            }
        }
    }
}

impl<'a> Checker<'a> {
    /// A `key` gives a text.
    pub(super) fn check_key_format(&mut self, route: &'a Entry, topic: &str) {
        let topics = self.root.get("topics").and_then(|topics| topics.get(topic));
        let format = topics.and_then(|topic| topic.get("key_format")).and_then(Node::text);
        let other = format.filter(|format| format.as_str() != "text");
        if let (Some(key), Some(format)) = (route.value.entry("key"), other) {
            let cause =
                format!("`key` gives a text, and the keys of `{topic}` are {}", quoted(format));
            let hint = "write a topic of `key_format: text`, or leave `key` out";
            self.wrong(key.name_span.clone(), "key_format", cause, hint);
        }
    }
}

/// Where a field's value stands, or the name of its section.
pub(super) fn span_of(entry: &Entry, field: &str) -> Range<usize> {
    entry.value.get(field).map_or(entry.name_span.clone(), |node| node.span.clone())
}
