//! What stands beside the pages of connectors: the pages written by hand, and the examples.

use serde_json::Value as Json;

use super::EXAMPLES;
use super::connector::{Connector, Role};
use crate::configuration::document::parse;
use crate::configuration::file::File;

/// A page of the docs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its place below the docs' folder, such as `sources/webhook.md`.
    pub path: String,
    /// Its Markdown; of an example, its YAML.
    pub text: String,
}

/// What stands beside the pages of connectors, and is linked from them.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    /// The pages written by hand. One that links to a connector's page is linked from there.
    pub guides: Vec<Page>,
    /// The pipelines below `examples/`. One that uses a connector is linked from the connector's page.
    pub examples: Vec<Page>,
}

impl Shelf {
    /// The pages written by hand that lead to this page: path and title.
    pub(super) fn guides_to(&self, path: &str) -> impl Iterator<Item = (&str, &str)> {
        let link = format!("]({path}");
        let leads = move |guide: &&Page| guide.text.contains(&link);
        self.guides.iter().filter(leads).map(|guide| {
            let title = guide.text.lines().find_map(|line| line.strip_prefix("# "));
            (guide.path.as_str(), title.unwrap_or(&guide.path))
        })
    }

    /// The path of the example with this text.
    pub(super) fn place_of(&self, example: &str) -> Option<&str> {
        self.examples.iter().find(|page| page.text == example).map(|page| page.path.as_str())
    }

    /// The list of the examples: what each is for, and which connectors it uses.
    pub(super) fn index(&self, connectors: &[Connector<'_>]) -> Option<Page> {
        if self.examples.is_empty() {
            return None;
        }
        let mut text = INTRODUCTION.to_owned();
        for page in &self.examples {
            let example = Example::of(&page.text);
            let used = connectors.iter().filter(|one| example.uses(one));
            let links =
                used.map(|one| format!("[{} ({})](../{})", one.name, one.role.word(), one.path()));
            let links = links.collect::<Vec<_>>().join(", ");
            let path = page.path.strip_prefix("examples/").unwrap_or(&page.path);
            let row = format!("| [{}]({path}) | {} | {links} |\n", name_of(path), example.summary);
            text.push_str(&row);
        }
        Some(Page { path: EXAMPLES.to_owned(), text })
    }
}

const INTRODUCTION: &str = "# Examples

Each folder is a whole pipeline with its schemas and its sample data. The lines at the top of a file say
what there is to try. (This page is made from the files.)

```sh
cd docs/examples/orders-from-ubl
passerelle check pipeline.yaml    # every mistake, with its line; it names the variables that are to be set
passerelle test pipeline.yaml     # the examples of its maps
passerelle run pipeline.yaml      # on an embedded broker; Ctrl-C stops
```

| example | what it does | with |
|---|---|---|
";

/// The folder of an example, or the name of its file where it has none of its own.
pub(super) fn name_of(path: &str) -> &str {
    let path = path.strip_prefix("examples/").unwrap_or(path);
    path.strip_suffix("/pipeline.yaml").unwrap_or(path)
}

/// A pipeline as it stands in its file, variables and all.
pub(super) struct Example {
    /// What its first lines say, up to a comment without words.
    pub(super) summary: String,
    root: Json,
}

impl Example {
    pub(super) fn of(text: &str) -> Self {
        let comments = text.lines().map_while(|line| line.strip_prefix('#')).map(str::trim);
        let summary = comments.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        let file = File::new(std::path::Path::new("pipeline.yaml"), text.to_owned());
        let root = parse(&file).map(|root| root.json()).unwrap_or_default();
        Self { summary, root }
    }

    /// The entries of a section, with their names.
    fn section(&self, name: &str) -> impl Iterator<Item = (&String, &Json)> {
        self.root[name].as_object().into_iter().flatten()
    }

    /// Whether it has examples of its maps.
    pub(super) fn is_tested(&self) -> bool {
        self.root.get("tests").is_some()
    }

    /// The files of its topics' schemas.
    pub(super) fn schemas(&self) -> Vec<&str> {
        let mut files: Vec<_> =
            self.section("topics").filter_map(|(_, topic)| topic["schema"].as_str()).collect();
        files.sort_unstable();
        files.dedup();
        files
    }

    /// The options of the first source of this connector.
    pub(super) fn source(&self, connector: &str) -> Option<&Json> {
        self.section("sources").find_map(|(_, source)| source.get(connector))
    }

    /// The options of the first step of this kind.
    pub(super) fn step(&self, connector: &str) -> Option<&Json> {
        self.section("processors").find_map(|(_, route)| route.get(connector))
    }

    /// The sinks to connections of this connector.
    pub(super) fn sinks(&self, connector: &str) -> impl Iterator<Item = (&String, &Json)> {
        let connections = &self.root["connections"];
        self.section("sinks").filter(move |(_, sink)| {
            let to = sink["to"].as_str().unwrap_or_default();
            connections[to].get(connector).is_some()
        })
    }

    fn looks_up(&self, connector: &str) -> bool {
        let of = |section, option: &'static str| {
            self.section(section).filter_map(move |(_, route)| route.get(option)?.as_object())
        };
        let all = of("processors", "enrich").chain(of("sinks", "wait_for"));
        all.flatten().any(|(_, lookup)| lookup.get(connector).is_some())
    }

    /// Whether it uses a connector.
    pub(super) fn uses(&self, one: &Connector<'_>) -> bool {
        match one.role {
            Role::Source => self.source(one.name).is_some(),
            Role::Processor => self.step(one.name).is_some(),
            Role::Lookup => self.looks_up(one.name),
            Role::Sink => self.sinks(one.name).next().is_some(),
        }
    }
}
