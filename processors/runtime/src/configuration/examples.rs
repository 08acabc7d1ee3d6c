//! Runs the examples of a file: input, the processors in memory, and what comes out.
//!
//! Values are written and read with the topics' schemas between two processors, so that what is
//! compared is what would lie in the topic: fields dropped, defaults filled in, decimals in scale.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use schemas::{Decoder, Encoder, Schema};
use serde::Serialize;
use serde_json::Value as Json;

use super::keys::Key;
use super::pipeline::Pipeline;
use super::sections::Test;
use crate::connector::{Catalogue, Shared};
use crate::enrichment::Enrichment;
use crate::event::{CE_ID, Headers};
use crate::expression::Input;
use crate::processor::Chain;
use crate::{Emitted, Event, Fault, Value};

mod difference;
mod update;

pub use difference::Difference;
pub use update::{Updated, update};

/// What an example gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Its name, or its number in the file.
    pub name: String,
    /// Where what came out is not what was expected; none if it passed.
    pub differences: Vec<Difference>,
}

impl Outcome {
    /// Whether everything came out as expected.
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// The outcome for a person: one line, and one more for each difference.
impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = if self.passed() { "ok  " } else { "FAIL" };
        writeln!(f, "{word} {}", self.name)?;
        self.differences.iter().try_for_each(|difference| writeln!(f, "       {difference}"))
    }
}

/// Runs every example of a pipeline, in the file's order. Reaches no network and no clock.
///
/// # Errors
/// A `Config` fault when a processor cannot be built, although the check accepted it.
pub fn run(pipeline: &Pipeline, catalogue: &Catalogue) -> Result<Vec<Outcome>, Fault> {
    let routes = Routes::of(pipeline, catalogue)?;
    let outcome = |(at, test): (usize, &Test)| {
        let name = test.name.clone().unwrap_or_else(|| format!("example {}", at + 1));
        Outcome { name, differences: routes.differences(test) }
    };
    Ok(pipeline.tests.iter().enumerate().map(outcome).collect())
}

/// A side of an example.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// What comes in: fields that the schema lacks are left out, as sources do.
    Input,
    /// What is expected: a field that the schema lacks can never come out.
    Expected,
}

struct Routes<'a> {
    pipeline: &'a Pipeline,
    processors: Vec<Route<'a>>,
    /// The keys that sources give to the events of a topic.
    source_keys: BTreeMap<&'a str, Key>,
}

/// A processor, ready to work.
struct Route<'a> {
    name: &'a str,
    from: &'a str,
    to: &'a [String],
    enrichments: Vec<Enrichment>,
    steps: Chain,
    key: Option<Key>,
}

/// What look-ups find: for each field, by key.
type Lookups = BTreeMap<String, BTreeMap<String, Json>>;

/// Gives an event what the example says of it.
fn enrich(
    enrichment: &Enrichment,
    event: &Event,
    value: &mut Value,
    lookups: &Lookups,
) -> Result<(), Fault> {
    let key = enrichment.key(event, value)?;
    let found = match lookups.get(&enrichment.field) {
        Some(known) => key.as_ref().and_then(|key| stub(enrichment, key, known)).transpose()?,
        None => at_hand(enrichment, key.as_ref())?,
    };
    enrichment.put(value, key.as_ref(), found)
}

/// What stands for every key that an example does not name.
const ANY: &str = "*";

/// What the example says is found by a key.
fn stub(
    enrichment: &Enrichment,
    key: &Value,
    known: &BTreeMap<String, Json>,
) -> Option<Result<Value, Fault>> {
    let found = known.get(&Enrichment::text(key)).or_else(|| known.get(ANY));
    let found = found.filter(|found| !found.is_null())?;
    let plain = schemas::json::read_plain(found.to_string().as_bytes());
    let plain = plain.map_err(|error| Fault::data("lookup_invalid", error.to_string()));
    Some(plain.and_then(|plain| enrichment.formed(plain)))
}

/// What a file says is found by a key.
fn at_hand(enrichment: &Enrichment, key: Option<&Value>) -> Result<Option<Value>, Fault> {
    // Whether there is a file does not depend on the key.
    match enrichment.lookup.at_hand(key.unwrap_or(&Value::Null)) {
        Some(found) if key.is_some() => found,
        Some(_) => Ok(None),
        None => {
            let field = &enrichment.field;
            let message = format!(
                "The example does not say what is looked up: add `lookups: {{ {field}: … }}`."
            );
            Err(Fault::data("lookup_unknown", message))
        }
    }
}

/// What a route made of an event.
struct Made<'a> {
    to: &'a str,
    key: Option<Bytes>,
    headers: Headers,
    value: Value,
}

/// What lies in the topics, in order.
type Written = BTreeMap<String, Vec<Value>>;

impl<'a> Routes<'a> {
    fn of(pipeline: &'a Pipeline, catalogue: &Catalogue) -> Result<Self, Fault> {
        let shared = Shared::default();
        let processors = pipeline.processors.iter().map(|processor| {
            Ok(Route {
                name: &processor.name,
                from: &processor.common.from,
                to: &processor.outputs,
                enrichments: pipeline.enrichments(processor, catalogue, &shared)?,
                steps: Chain(pipeline.steps(processor, catalogue, &shared)?),
                key: pipeline.key(processor)?,
            })
        });
        let mut source_keys = BTreeMap::new();
        for source in &pipeline.sources {
            let schema = pipeline.topics.get(&source.common.to).and_then(|it| it.schema.as_ref());
            if let (Some(key), Some(schema)) = (&source.common.key, schema) {
                let key = Key::compile(&source.name, key, Input::from(schema))?;
                source_keys.insert(source.common.to.as_str(), key);
            }
        }
        Ok(Self { pipeline, processors: processors.collect::<Result<_, Fault>>()?, source_keys })
    }

    fn differences(&self, test: &Test) -> Vec<Difference> {
        let mut differences = Vec::new();
        let input = self.read(Side::Input, &test.input, &mut differences);
        let expected = self.read(Side::Expected, &test.expect, &mut differences);
        if !differences.is_empty() {
            return differences;
        }
        let written = self.process(input, &test.lookups, &mut differences);
        let nothing = Vec::new();
        for (topic, expected) in &expected {
            let got = written.get(topic).unwrap_or(&nothing);
            differences.extend(difference::compare(topic, expected, got));
        }
        differences
    }

    /// The values of one side of an example.
    fn read(
        &self,
        side: Side,
        topics: &BTreeMap<String, Json>,
        differences: &mut Vec<Difference>,
    ) -> BTreeMap<String, Vec<Value>> {
        let mut all = BTreeMap::new();
        for (topic, given) in topics {
            let samples = match given {
                Json::Array(samples) => samples.clone(),
                one => vec![one.clone()],
            };
            let mut values = Vec::new();
            for sample in samples {
                match self.samples(side, topic, &sample) {
                    Ok(found) => values.extend(found),
                    Err(message) => differences.push(Difference::failed(topic, message)),
                }
            }
            all.insert(topic.clone(), values);
        }
        all
    }

    /// The values of one sample: a file, which may hold a list of events, or the value itself.
    fn samples(&self, side: Side, topic: &str, sample: &Json) -> Result<Vec<Value>, String> {
        let Json::String(path) = sample else {
            return self.value(side, topic, sample).map(|value| vec![value]);
        };
        let full = self.pipeline.folder.join(path);
        let text = std::fs::read(&full).map_err(|error| format!("`{path}`: {error}"))?;
        let within = |error: String| format!("`{path}`: {error}");
        match serde_json::from_slice(&text) {
            Ok(Json::Array(events)) => {
                let value = |event| self.value(side, topic, event).map_err(within);
                events.iter().map(value).collect()
            }
            // The text itself is read, so that an error tells its line and column.
            _ => self.value_of_text(side, topic, &text).map(|value| vec![value]).map_err(within),
        }
    }

    fn value(&self, side: Side, topic: &str, sample: &Json) -> Result<Value, String> {
        self.value_of_text(side, topic, sample.to_string().as_bytes())
    }

    fn value_of_text(&self, side: Side, topic: &str, text: &[u8]) -> Result<Value, String> {
        let Some(schema) = self.schema(topic) else {
            return schemas::json::read_plain(text).map_err(|error| error.to_string());
        };
        let read = schemas::json::read(schema, text).map_err(|error| error.to_string())?;
        match read.unknown.first() {
            Some(path) if side == Side::Expected => {
                Err(format!("the schema of `{topic}` has no `{path}`"))
            }
            _ => Ok(read.value),
        }
    }

    fn schema(&self, topic: &str) -> Option<&Schema> {
        self.pipeline.topics.get(topic).and_then(|topic| topic.schema.as_ref())
    }

    /// Lets events run through the processors until nothing is left. There are no cycles.
    fn process(
        &self,
        input: BTreeMap<String, Vec<Value>>,
        lookups: &Lookups,
        differences: &mut Vec<Difference>,
    ) -> Written {
        let mut written = Written::new();
        let mut waiting = VecDeque::new();
        for (topic, values) in input {
            for (value, offset) in values.into_iter().zip(0..) {
                waiting.push_back(self.event(&topic, offset, value));
            }
        }
        while let Some(event) = waiting.pop_front() {
            for route in self.processors.iter().filter(|route| *route.from == *event.topic) {
                match self.apply(route, &event, lookups) {
                    Ok(emitted) => {
                        for Made { to, key, headers, value } in emitted {
                            let topic = written.entry(to.to_owned()).or_default();
                            let offset = i64::try_from(topic.len()).unwrap_or(i64::MAX);
                            topic.push(value.clone());
                            let next = self.event(to, offset, value);
                            waiting.push_back(Event { key, headers, ..next });
                        }
                    }
                    Err(fault) => {
                        let message = format!(
                            "`{}` gives an event of `{}` up: {fault}",
                            route.name, route.from
                        );
                        let topic = route.to.first().map_or(route.from, String::as_str);
                        differences.push(Difference::failed(topic, message));
                    }
                }
            }
        }
        written
    }

    fn event(&self, topic: &str, offset: i64, value: Value) -> Event {
        let mut headers = Headers::default();
        headers.set(CE_ID, format!("{topic}/{offset}"));
        let mut event = Event {
            topic: topic.into(),
            partition: 0,
            offset,
            timestamp: 0,
            key: None,
            payload: None,
            headers,
            value: None,
        };
        let key = self.source_keys.get(topic);
        event.key = key.and_then(|key| key.of(&event, &value).ok().flatten());
        event.value = Some(value);
        event
    }

    fn apply(
        &self,
        route: &Route<'a>,
        event: &Event,
        lookups: &Lookups,
    ) -> Result<Vec<Made<'a>>, Fault> {
        let mut value = event.value.clone().unwrap_or(Value::Null);
        for enrichment in &route.enrichments {
            enrich(enrichment, event, &mut value, lookups)?;
        }
        let made = |emitted: Emitted| {
            let event = emitted.event(event);
            let missing = || Fault::internal("output", "A step chose a topic that is not there.");
            let to = route.to.get(emitted.to).ok_or_else(missing)?;
            let key = match &route.key {
                Some(key) => key.of(event, &emitted.value)?,
                None => event.key.clone(),
            };
            let headers = event.headers.clone();
            Ok(Made { to, key, headers, value: self.as_written(to, emitted.value)? })
        };
        route.steps.process(event, value)?.into_iter().map(made).collect()
    }

    /// The value as it lies in the topic: encoded and decoded.
    fn as_written(&self, topic: &str, value: Value) -> Result<Value, Fault> {
        let Some(schema) = self.schema(topic) else { return Ok(value) };
        let wrong = |error: String| Fault::data("value_invalid", error);
        let encoder = Encoder::new(schema).map_err(|error| wrong(error.to_string()))?;
        let decoder = Decoder::new(schema, None).map_err(|error| wrong(error.to_string()))?;
        let mut payload = Vec::new();
        encoder.encode(&value, &mut payload).map_err(|error| wrong(error.to_string()))?;
        decoder.decode(&payload).map_err(|error| wrong(error.to_string()))
    }
}
