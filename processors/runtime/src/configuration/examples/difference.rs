//! Where two values differ, field by field.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use schemas::{Path, Segment};
use serde::Serialize;

use crate::Value;

/// One difference between what was expected on a topic and what came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The topic.
    pub topic: String,
    /// The number of the event on it, from 1; nothing for what is about the topic.
    pub event: Option<usize>,
    /// The field, as VRL writes it: `.lines[0].product`.
    pub path: Option<String>,
    /// What was expected there, as JSON; nothing if there should be nothing.
    pub expected: Option<String>,
    /// What came out, as JSON; nothing if nothing did.
    pub got: Option<String>,
    /// What went wrong, if nothing could be compared.
    pub failure: Option<String>,
}

impl Difference {
    pub(super) fn failed(topic: &str, failure: String) -> Self {
        let topic = topic.to_owned();
        Self { topic, event: None, path: None, expected: None, got: None, failure: Some(failure) }
    }
}

impl Display for Difference {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(failure) = &self.failure {
            return write!(f, "{}: {failure}", self.topic);
        }
        write!(f, "{}", self.topic)?;
        if let Some(event) = self.event {
            write!(f, ", event {event}")?;
        }
        if let Some(path) = &self.path {
            write!(f, ": {path}")?;
        }
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(f, ": expected {}, got {}", shown(&self.expected), shown(&self.got))
    }
}

/// Compares what lies on a topic with what was expected, event by event.
pub(super) fn compare(topic: &str, expected: &[Value], got: &[Value]) -> Vec<Difference> {
    let mut all = Vec::new();
    for at in 0..expected.len().max(got.len()) {
        let mut differing = Vec::new();
        collect(expected.get(at), got.get(at), &Path::root(), &mut differing);
        all.extend(differing.into_iter().map(|(path, expected, got)| Difference {
            topic: topic.to_owned(),
            event: Some(at + 1),
            path:
                Some(path).filter(|path| !path.segments().is_empty()).map(|path| path.to_string()),
            expected: expected.map(schemas::json::write),
            got: got.map(schemas::json::write),
            failure: None,
        }));
    }
    all
}

type Differing<'a> = (Path, Option<&'a Value>, Option<&'a Value>);

fn collect<'a>(
    expected: Option<&'a Value>,
    got: Option<&'a Value>,
    path: &Path,
    all: &mut Vec<Differing<'a>>,
) {
    match (expected, got) {
        (Some(Value::Object(expected)), Some(Value::Object(got))) => {
            let names: BTreeSet<_> = expected.keys().chain(got.keys()).collect();
            for name in names {
                let field = path.field(name.as_str());
                collect(expected.get(name), got.get(name), &field, all);
            }
        }
        (Some(Value::Array(expected)), Some(Value::Array(got))) => {
            for at in 0..expected.len().max(got.len()) {
                let item = path.join(Segment::Index(at));
                collect(expected.get(at), got.get(at), &item, all);
            }
        }
        (expected, got) if expected == got => {}
        (expected, got) => all.push((path.clone(), expected, got)),
    }
}
