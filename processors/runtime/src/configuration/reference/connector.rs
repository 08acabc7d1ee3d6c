//! The page of a connector.

use serde_json::{Value as Json, json};

use super::facts;
use super::fields::Writer;
use super::shelf::{Example, Page, Shelf, name_of};
use crate::Catalogue;
use crate::configuration::grammar::Grammar;
use crate::configuration::pipeline::own_options;
use crate::configuration::substitution::needed;

/// What a connector is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Source,
    Processor,
    Lookup,
    Sink,
}

impl Role {
    pub(super) const ALL: [Self; 4] = [Self::Source, Self::Processor, Self::Lookup, Self::Sink];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Source => "Sources",
            Self::Processor => "Processors",
            Self::Lookup => "Look-ups",
            Self::Sink => "Sinks",
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Processor => "processor",
            Self::Lookup => "look-up",
            Self::Sink => "sink",
        }
    }

    pub(super) const fn folder(self) -> &'static str {
        match self {
            Self::Source => "sources",
            Self::Processor => "processors",
            Self::Lookup => "lookups",
            Self::Sink => "sinks",
        }
    }

    /// The section of the file's format that has what all of them have.
    fn common(self) -> &'static str {
        match self {
            Self::Source => "[all sources](../reference.md#all-sources)",
            Self::Processor => "[all processors](../reference.md#all-processors)",
            Self::Lookup => "[all look-ups](../reference.md#what-is-looked-up)",
            Self::Sink => "[all sinks](../reference.md#all-sinks)",
        }
    }
}

/// A connector, as its page tells of it.
pub(super) struct Connector<'a> {
    pub(super) role: Role,
    pub(super) name: &'a str,
    pub(super) summary: &'a str,
    pub(super) example: &'a str,
    /// What its declaration says beside its options: a word, and a sentence.
    facts: Vec<(&'static str, String)>,
    /// Its options below their titles.
    options: Vec<(&'static str, Json)>,
    coverage: Option<&'a Json>,
}

/// Every connector, in the order of the lists.
pub(super) fn all<'a>(catalogue: &'a Catalogue, grammar: &'a Grammar) -> Vec<Connector<'a>> {
    let sources = catalogue.sources.iter().map(|one| Connector {
        role: Role::Source,
        name: one.name,
        summary: one.summary,
        example: one.example,
        facts: facts::of_source(one),
        options: vec![("Options", grammar.source["properties"][one.name].clone())],
        coverage: None,
    });
    let processors = catalogue.processors.iter().map(|one| Connector {
        role: Role::Processor,
        name: one.name,
        summary: one.summary,
        example: one.example,
        facts: facts::of_processor(one),
        options: vec![("Options", grammar.processor["properties"][one.name].clone())],
        coverage: None,
    });
    let lookups = catalogue.lookups.iter().map(|one| Connector {
        role: Role::Lookup,
        name: one.name,
        summary: one.summary,
        example: one.example,
        facts: facts::of_lookup(one),
        options: vec![("Options", grammar.enrichment["properties"][one.name].clone())],
        coverage: None,
    });
    let sinks = catalogue.sinks.iter().map(|one| {
        let mut own = grammar.sink(&one.name).cloned().unwrap_or_else(|| json!({}));
        own["properties"] = own_options(&own["properties"], &grammar.sink);
        Connector {
            role: Role::Sink,
            name: &one.name,
            summary: &one.summary,
            example: &one.example,
            facts: facts::of_sink(one, catalogue, grammar),
            options: vec![
                ("Connection", grammar.connection["properties"][&*one.name].clone()),
                ("Options", own),
            ],
            coverage: one.coverage.as_deref(),
        }
    });
    sources.chain(processors).chain(lookups).chain(sinks).collect()
}

impl Connector<'_> {
    /// Where its page is.
    pub(super) fn path(&self) -> String {
        format!("{}/{}.md", self.role.folder(), self.name)
    }

    pub(super) fn page(&self, all: &[Self], grammar: &Grammar, shelf: &Shelf) -> Page {
        let path = self.path();
        let Self { role, name, summary, .. } = self;
        let text = format!("# {name} ({})\n\n{summary}\n\n| | |\n|---|---|\n", role.word());
        let mut page = Writer { text, grammar };
        for (word, fact) in &self.facts {
            page.line(&format!("| {word} | {fact} |"));
        }
        let links = shelf.guides_to(&path).map(|(path, title)| format!("[{title}](../{path})"));
        let others = all.iter().filter(|one| one.name == *name && one.role != *role);
        let others = others.map(|one| format!("[{name} ({})](../{})", one.role.word(), one.path()));
        let links = links.chain(others).collect::<Vec<_>>().join(", ");
        if !links.is_empty() {
            page.line(&format!("| read on | {links} |"));
        }
        page.line(&format!("| beside its own options | those of {} |", role.common()));
        if let Some(coverage) = self.coverage {
            covered(&mut page, coverage);
        }
        self.shown_example(&mut page, shelf);
        for (title, schema) in &self.options {
            page.options(schema, title);
        }
        Page { path, text: page.text }
    }

    /// The example, how it is run, and where else the connector is used.
    fn shown_example(&self, page: &mut Writer<'_>, shelf: &Shelf) {
        let place = shelf.place_of(self.example);
        let example = Example::of(self.example);
        page.line("\n## Example\n");
        match place {
            Some(path) => {
                page.line(&format!("[docs/{path}](../{path}), run where it lies:"));
            }
            None => {
                let link = |file: &&str| format!("[{file}](../../schemas/events/{file})");
                let files: Vec<_> = example.schemas().iter().map(link).collect();
                let beside = match files.is_empty() {
                    true => String::new(),
                    false => format!(", beside {}", files.join(" and ")),
                };
                page.line(&format!("Saved as `pipeline.yaml`{beside}:"));
            }
        }
        page.line("\n```sh");
        if let Some(folder) = place.and_then(|path| path.strip_suffix("/pipeline.yaml")) {
            page.line(&format!("cd docs/{folder}"));
        }
        let variables = needed(self.example);
        if !variables.is_empty() {
            let all: Vec<_> = variables.iter().map(|name| format!("{name}=…")).collect();
            page.line(&format!("export {}", all.join(" ")));
        }
        page.line("passerelle check pipeline.yaml");
        if example.is_tested() {
            page.line("passerelle test pipeline.yaml");
        }
        page.line("passerelle run pipeline.yaml");
        page.line(&format!("```\n\n```yaml\n{}\n```", self.example.trim_end()));
        let used = |one: &&Page| Some(&*one.path) != place && Example::of(&one.text).uses(self);
        let others = shelf.examples.iter().filter(used);
        let others = others.map(|one| format!("[{}](../{})", name_of(&one.path), one.path));
        let others = others.collect::<Vec<_>>().join(", ");
        if !others.is_empty() {
            page.line(&format!("\nMore of it: {others}."));
        }
    }
}

/// What of an application is covered: each operation of each object, then what is not.
fn covered(page: &mut Writer<'_>, coverage: &Json) {
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    page.line(&format!("\n## What is covered\n\nAPI version: {}.\n", text(&coverage["version"])));
    page.line("| object | id | operation | at once | a repeat has no second effect |");
    page.line("|---|---|---|--:|---|");
    for (object, described) in coverage["objects"].as_object().into_iter().flatten() {
        let id = described["id"].as_str().map(|id| format!("`{id}`")).unwrap_or_default();
        for (operation, promise) in described["operations"].as_object().into_iter().flatten() {
            let (batch, once) = (&promise["batch"], text(&promise["once"]));
            page.line(&format!("| {object} | {id} | {operation} | {batch} | {once} |"));
        }
    }
    for (title, name) in [("Not covered", "lacks"), ("Not proven", "unsure"), ("From", "sources")] {
        let lines = coverage[name].as_array().into_iter().flatten();
        let lines: Vec<_> = lines.map(|line| format!("- {}", text(line))).collect();
        if !lines.is_empty() {
            page.line(&format!("\n{title}:\n\n{}", lines.join("\n")));
        }
    }
}
