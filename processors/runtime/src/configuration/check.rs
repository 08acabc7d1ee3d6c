//! Checks one file: its shape against the grammar, then its sense.
//!
//! Every check goes as far as it can with what is right: a wrong option in one route hides nothing
//! in another.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::document::{Content, Entry, Node};
use super::file::File;
use super::grammar::Grammar;
use super::pipeline::{ConnectionSection, DeclaredTopic, Pipeline};
use super::problem::Problem;
use super::sections::{Admin, Http, Kafka, Outcomes, Registry, Test};
use super::text::Text;
use super::validation::{Code, Place, Validation, suggestion};
use crate::Catalogue;
use crate::connector::Shared;

mod applications;
mod code;
mod enrichments;
mod examples;
mod graph;
mod names;
mod processors;
mod sinks;
mod sources;
mod topics;

pub(super) use applications::application;
use topics::Contract;

/// What a file was found to be.
pub(super) struct Checked {
    /// The pipeline, if nothing is wrong.
    pub pipeline: Option<Pipeline>,
    /// What is wrong, and what to look at.
    pub problems: Vec<Problem>,
    /// The bytes that hold secrets.
    pub secrets: Vec<Range<usize>>,
    /// The paths of the HTTP listener that its sources take, each with the source's name.
    pub paths: Vec<(String, String, Range<usize>)>,
}

/// The check of one file.
pub(super) struct Checker<'a> {
    file: &'a File,
    root: &'a Node,
    catalogue: &'a Catalogue,
    grammar: &'a Grammar,
    problems: Vec<Problem>,
    secrets: Vec<Range<usize>>,
    paths: Vec<(String, String, Range<usize>)>,
    /// The pipeline's name, for sentences even if it is wrong.
    name: String,
    listen: Http,
    shared: Shared,
    /// The schemas of the topics, as far as they could be had.
    contracts: BTreeMap<&'a str, Contract>,
    /// The topics that each processor writes, as far as they are known.
    written: BTreeMap<&'a str, Vec<&'a str>>,
    /// The topics that look-ups hold.
    held: BTreeSet<&'a str>,
}

/// A part of the file that has the right shape: its value, and the expressions in it.
struct Shaped<'a> {
    value: Json,
    code: Vec<Code<'a>>,
    /// Nothing is wrong with its shape.
    sound: bool,
}

/// Checks a file.
pub(super) fn check<'a>(
    file: &'a File,
    root: &'a Node,
    catalogue: &'a Catalogue,
    grammar: &'a Grammar,
) -> Checked {
    let mut checker = Checker::new(file, root, catalogue, grammar);
    let pipeline = checker.pipeline();
    let Checker { problems, secrets, paths, .. } = checker;
    let sound = !problems.iter().any(Problem::is_error);
    Checked { pipeline: pipeline.filter(|_| sound), problems, secrets, paths }
}

impl<'a> Checker<'a> {
    fn new(file: &'a File, root: &'a Node, catalogue: &'a Catalogue, grammar: &'a Grammar) -> Self {
        let name = root.get("name").and_then(Node::text).map(Text::as_str).unwrap_or("pipeline");
        Self {
            file,
            root,
            catalogue,
            grammar,
            problems: Vec::new(),
            secrets: Vec::new(),
            paths: Vec::new(),
            name: name.to_owned(),
            listen: Http::default(),
            shared: Shared::default(),
            contracts: BTreeMap::new(),
            written: BTreeMap::new(),
            held: BTreeSet::new(),
        }
    }

    fn pipeline(&mut self) -> Option<Pipeline> {
        let Content::Map(entries) = &self.root.content else {
            let cause = format!("a pipeline file is a map, not {}", self.root.kind());
            self.wrong(self.root.span.clone(), "wrong_type", cause, "begin with `name: orders`");
            return None;
        };
        let place = Place::new("the pipeline file", 0..0);
        let whole = self.shape_of_file(entries, &place);
        if let Some(http) = self.section::<Http>("http", &whole) {
            self.listen = http;
        }
        self.check_names();
        let topics = self.topics(&whole);
        let connections = self.connections();
        let sources = self.sources(&connections);
        let processors = self.processors(&connections);
        let sinks = self.sinks(&connections);
        self.check_cycles();
        self.check_listeners(&whole);
        self.check_kafka();
        let tests = self.section::<Vec<Test>>("tests", &whole).unwrap_or_default();
        self.check_examples();
        if !whole.sound || self.problems.iter().any(Problem::is_error) {
            return None;
        }
        self.check_unused();
        let data = whole.value.get("data").and_then(Json::as_str).unwrap_or("passerelle-data");
        Some(Pipeline {
            name: whole.value.get("name")?.as_str()?.to_owned(),
            file: self.file.path.clone(),
            folder: self.file.folder().to_owned(),
            kafka: self.section::<Kafka>("kafka", &whole),
            registry: self.section::<Registry>("registry", &whole),
            http: self.listen.clone(),
            admin: self.section::<Admin>("admin", &whole).unwrap_or_default(),
            outcomes: self.section::<Outcomes>("outcomes", &whole).unwrap_or_default(),
            data: self.file.folder().join(data),
            connections: connections.iter().filter_map(|(name, one)| one.section(name)).collect(),
            topics,
            sources: sources?,
            processors: processors?,
            sinks: sinks?,
            tests,
            applications: Vec::new(),
        })
    }

    /// The shape of everything but the routes and connections, which have grammars of their own.
    /// Sections that begin with `x-` are the user's, for anchors.
    fn shape_of_file(&mut self, entries: &'a [Entry], place: &Place) -> Shaped<'a> {
        let mut schema = self.grammar.file.clone();
        for entry in entries.iter().filter(|entry| entry.name.starts_with("x-")) {
            schema["properties"][entry.name.as_str()] = Json::Bool(true);
        }
        self.shape(self.root, &schema, place)
    }

    /// Holds a part of the file against a schema.
    fn shape(&mut self, node: &'a Node, schema: &Json, place: &Place) -> Shaped<'a> {
        let mut validation = Validation::new(self.file, &self.grammar.definitions);
        let value = validation.read(node, schema, place);
        let sound = validation.problems.is_empty();
        self.problems.append(&mut validation.problems);
        self.secrets.append(&mut validation.secrets);
        Shaped { value, code: validation.code, sound }
    }

    /// A section of the file as its type; nothing if it is not there or wrong.
    fn section<T: DeserializeOwned>(&mut self, name: &str, whole: &Shaped<'a>) -> Option<T> {
        let entry = self.root.entry(name)?;
        let value = whole.value.get(name).filter(|value| !value.is_null())?;
        if !whole.sound {
            return serde_json::from_value(value.clone()).ok();
        }
        self.typed(value.clone(), entry)
    }

    /// Reads a part as its type. Its shape is right, so a refusal means that a schema and its type
    /// disagree: it is shown at the part all the same.
    fn typed<T: DeserializeOwned>(&mut self, value: Json, entry: &Entry) -> Option<T> {
        match serde_json::from_value(value) {
            Ok(typed) => Some(typed),
            Err(error) => {
                self.refused(entry, &error);
                None
            }
        }
    }

    fn refused(&mut self, entry: &Entry, error: &serde_json::Error) {
        let cause = format!("`{}` cannot be read: {error}", entry.name);
        self.wrong(entry.name_span.clone(), "unreadable_options", cause, "");
    }

    /// The entries of a top-level section that is a map.
    fn entries(&self, section: &str) -> &'a [Entry] {
        self.root.get(section).map(Node::entries).unwrap_or_default()
    }

    fn wrong(
        &mut self,
        span: Range<usize>,
        code: &'static str,
        cause: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.problems.push(self.file.problem(span, code, cause).hint(hint));
    }

    fn warn(
        &mut self,
        span: Range<usize>,
        code: &'static str,
        cause: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.problems.push(self.file.problem(span, code, cause).hint(hint).warning());
    }

    /// The name that a field of a route gives, if it is one of these; anything else is reported.
    fn reference(
        &mut self,
        route: &'a Node,
        field: &str,
        noun: &str,
        code: &'static str,
        names: &[&'a str],
    ) -> Option<&'a str> {
        let node = route.get(field)?;
        let text = node.text()?;
        if let Some(name) = names.iter().find(|name| **name == text.as_str()) {
            return Some(name);
        }
        self.unknown(node, node.span.clone(), noun, code, names);
        None
    }

    /// A text that should be one of these names.
    fn unknown(
        &mut self,
        node: &Node,
        span: Range<usize>,
        noun: &str,
        code: &'static str,
        names: &[&str],
    ) {
        let Some(text) = node.text() else { return };
        let cause = format!("unknown {noun} {}", quoted(text));
        let hint = match suggestion(text.as_str(), names) {
            _ if text.is_secret() => String::new(),
            hint if !hint.is_empty() => hint,
            _ if names.is_empty() => format!("declare it under `{noun}s`"),
            _ => format!("declare it under `{noun}s`, or take one of: {}", names.join(", ")),
        };
        self.wrong(span, code, cause, hint);
    }

    /// A topic that a route names.
    fn topic_of(&mut self, route: &'a Node, field: &str) -> Option<&'a str> {
        let names: Vec<_> = self.entries("topics").iter().map(|entry| &*entry.name).collect();
        self.reference(route, field, "topic", "unknown_topic", &names)
    }

    /// The connections that can be used: their connectors and options.
    fn connections(&mut self) -> BTreeMap<&'a str, Connection<'a>> {
        let mut all = BTreeMap::new();
        for entry in self.entries("connections") {
            let place =
                Place::new(format!("the connection `{}`", entry.name), entry.name_span.clone());
            if let Some(wrong) = entry.value.entries().iter().find(|field| self.is_source(field)) {
                let cause = format!("`{}` is a source and has no connection", wrong.name);
                let hint = "write its options in the source itself, under `sources`";
                self.wrong(wrong.name_span.clone(), "not_a_connection", cause, hint);
                continue;
            }
            let grammar = self.grammar;
            let shaped = self.shape(&entry.value, &grammar.connection, &place);
            let sinks = &self.catalogue.sinks;
            let connector = entry.value.entries().iter().find_map(|field| {
                let sink = sinks.iter().find(|sink| sink.name == field.name)?;
                Some((&*sink.name, field))
            });
            let options = connector.and_then(|(name, _)| shaped.value.get(name).cloned());
            let sound = shaped.sound.then_some(options).flatten();
            all.insert(entry.name.as_str(), Connection { connector, options: sound });
        }
        all
    }

    fn is_source(&self, field: &Entry) -> bool {
        let sources = self.catalogue.sources.iter().any(|source| source.name == field.name);
        sources && self.catalogue.sinks.iter().all(|sink| sink.name != field.name)
    }
}

/// A connection of the file.
struct Connection<'a> {
    /// Its connector, and the field that names it.
    connector: Option<(&'a str, &'a Entry)>,
    /// Its options, if nothing is wrong with them.
    options: Option<Json>,
}

impl Connection<'_> {
    /// The same as it goes into the pipeline, if nothing is wrong with it.
    fn section(&self, name: &str) -> Option<(String, ConnectionSection)> {
        let connector = self.connector?.0.to_owned();
        Some((name.to_owned(), ConnectionSection { connector, options: self.options.clone()? }))
    }
}

/// A text in backticks, unless it came from a variable.
fn quoted(text: &Text) -> String {
    if text.is_secret() { "in this value".to_owned() } else { format!("`{}`", text.as_str()) }
}

/// A topic as it goes into the pipeline.
type Topics = BTreeMap<String, DeclaredTopic>;
