//! The reference in Markdown, made from the declarations: a page of the file's format, and a page for
//! each connector.

mod connector;
mod facts;
mod fields;
mod shelf;

use serde_json::Value as Json;

use super::grammar::Grammar;
use crate::Catalogue;
use connector::{Connector, Role};
use fields::{Writer, one_line, without_choices};

pub use shelf::{Page, Shelf};

/// The page of the file's format: every section and field, and the list of connectors.
const FORMAT: &str = "reference.md";
/// The page that lists the examples.
const EXAMPLES: &str = "examples/README.md";
/// Where the pages of connectors are, each named after its connector.
pub const FOLDERS: [&str; 4] =
    [Role::Source.folder(), Role::Processor.folder(), Role::Lookup.folder(), Role::Sink.folder()];

/// The pages: the file's format first, then one for each connector, then the list of the shelf's
/// examples, if it has any.
pub fn reference(catalogue: &Catalogue, shelf: &Shelf) -> Vec<Page> {
    let grammar = Grammar::of(catalogue);
    let connectors = connector::all(catalogue, &grammar);
    let format = Page { path: FORMAT.to_owned(), text: format(&grammar, &connectors) };
    let own = connectors.iter().map(|one| one.page(&connectors, &grammar, shelf));
    let examples = shelf.index(&connectors);
    std::iter::once(format).chain(own).chain(examples).collect()
}

const INTRODUCTION: &str = "# Pipeline files

A pipeline file is YAML. `passerelle check FILE` reports every mistake in it at once, with its line,
its cause and what to do. This page is made from the same declarations that `check` reads, and so is
the page of each connector: [sources](#sources), [processors](#processors), [look-ups](#look-ups) and
[sinks](#sinks).

- `${NAME}` in a text is the environment's variable, `${NAME:-text}` that text where the variable is not
  set, `${file:path}` a file's content (paths start at the folder of the pipeline file), `$$` a dollar
  sign. What is put in is never printed, unless it stands in the file itself.
- An *expression* is VRL that gives a value, *statements* are VRL that changes `.`, a *template* is a
  text with expressions between `{{` and `}}`.
- *period* is `500ms`, `30s`, `15m`, `24h`, `7d` or `1y`; *size* is `500`, `64KiB` or `1MiB`.
- A section whose name begins with `x-` is yours, for YAML anchors.

## The file

";

fn format(grammar: &Grammar, connectors: &[Connector<'_>]) -> String {
    let mut page = Writer { text: INTRODUCTION.to_owned(), grammar };
    page.fields(&grammar.file, 0);
    let topic = &grammar.file["properties"]["topics"]["additionalProperties"];
    for (title, schema) in [
        ("A topic", topic),
        ("All sources", &grammar.source),
        ("All processors", &grammar.processor),
        ("What is looked up", &grammar.enrichment),
        ("All sinks", &grammar.sink),
        ("A test", &grammar.file["properties"]["tests"]["items"]),
    ] {
        page.line(&format!("\n## {title}\n"));
        if let Some(description) = schema.get("description").and_then(Json::as_str) {
            page.line(&format!("{}\n", one_line(description)));
        }
        page.fields(&without_choices(schema), 0);
    }
    for role in Role::ALL {
        page.line(&format!("\n## {}\n\n| | |\n|---|---|", role.title()));
        for one in connectors.iter().filter(|one| one.role == role) {
            page.line(&format!("| [{}]({}) | {} |", one.name, one.path(), one.summary));
        }
    }
    page.text
}
