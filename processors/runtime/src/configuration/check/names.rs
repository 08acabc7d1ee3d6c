//! The names that a pipeline gives: its own, its routes', its topics'.

use std::ops::Range;

use super::Checker;
use crate::configuration::document::{Entry, Node};

/// Kafka takes at most 249 characters (`org.apache.kafka.common.internals.Topic`), and the dead
/// letters of a route add theirs to two of ours.
const LONGEST: usize = 100;
const LONGEST_TOPIC: usize = 249;

impl<'a> Checker<'a> {
    pub(super) fn check_names(&mut self) {
        if let Some(node) = self.root.get("name")
            && let Some(text) = node.text()
        {
            self.check_name("pipeline", text.as_str(), node.span.clone(), text.is_secret());
        }
        for section in ["connections", "sources", "processors", "sinks"] {
            let noun = section.trim_end_matches('s');
            for entry in self.entries(section) {
                self.check_name(noun, &entry.name, entry.name_span.clone(), false);
            }
        }
        for entry in self.entries("topics") {
            self.check_topic_name(entry);
        }
        self.check_topics_alike();
        self.check_routes_alike();
    }

    pub(super) fn check_name(&mut self, noun: &str, name: &str, span: Range<usize>, hidden: bool) {
        let starts = name.starts_with(|first: char| first.is_ascii_lowercase());
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        if starts && name.chars().all(fits) && name.len() <= LONGEST {
            return;
        }
        let shown = if hidden { "this".to_owned() } else { format!("`{name}`") };
        let cause = format!("{shown} cannot be the name of a {noun}");
        let hint = format!(
            "a small letter, then small letters, digits, `_` and `-`, at most {LONGEST} in all"
        );
        self.wrong(span, "bad_name", cause, hint);
    }

    fn check_topic_name(&mut self, entry: &Entry) {
        let name = entry.name.as_str();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let hint = if name.is_empty() || !name.chars().all(fits) {
            "letters, digits, `.`, `_` and `-`"
        } else if name == "." || name == ".." {
            "Kafka refuses `.` and `..`"
        } else if name.len() > LONGEST_TOPIC {
            "at most 249 characters"
        } else if name.starts_with("__") || name == "_schemas" || name.starts_with("passerelle.") {
            "names that begin with `__` or `passerelle.` belong to Kafka and to Passerelle"
        } else {
            return;
        };
        let cause = format!("`{name}` cannot be the name of a topic");
        self.wrong(entry.name_span.clone(), "bad_topic_name", cause, hint);
    }

    /// Kafka refuses a topic whose name differs from another's only in `.` and `_`: their metrics
    /// would have one name.
    fn check_topics_alike(&mut self) {
        let entries = self.entries("topics");
        for (at, entry) in entries.iter().enumerate() {
            let plain = entry.name.replace('.', "_");
            let other = entries[..at].iter().find(|other| other.name.replace('.', "_") == plain);
            if let Some(other) = other {
                let cause = format!(
                    "`{}` and `{}` differ only in `.` and `_`, which Kafka refuses",
                    other.name, entry.name
                );
                self.wrong(entry.name_span.clone(), "bad_topic_name", cause, "rename one of them");
            }
        }
    }

    fn check_routes_alike(&mut self) {
        let mut seen: Vec<(&str, &'a Entry)> = Vec::new();
        for section in ["sources", "processors", "sinks"] {
            for entry in self.entries(section) {
                let first = seen.iter().find(|(_, other)| other.name == entry.name);
                if let Some((other, first)) = first {
                    let line = self.file.position(first.name_span.start).line;
                    let cause = format!(
                        "two routes are named `{}`: there is one among the {other}, line {line}",
                        entry.name
                    );
                    let hint = "a route's name is part of its consumer group: rename one of them";
                    self.wrong(entry.name_span.clone(), "duplicate_route", cause, hint);
                }
                seen.push((section, entry));
            }
        }
    }

    /// The text of a field of a route.
    pub(super) fn named(route: &'a Node, field: &str) -> Option<&'a str> {
        route.get(field).and_then(Node::text).map(|text| text.as_str())
    }
}
