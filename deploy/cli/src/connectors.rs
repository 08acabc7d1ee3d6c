//! `passerelle connectors`: the catalogue.

use std::process::ExitCode;

use engine::configuration::{Grammar, reference};

use crate::arguments::Connectors;
use crate::failure::{Failure, Outcome};
use crate::{catalogue, output};

/// Shows the catalogue, one connector, the JSON Schema or the reference.
pub fn run(options: &Connectors) -> Outcome {
    let catalogue = catalogue::all();
    if options.json_schema {
        let schema = Grammar::of(&catalogue).json_schema();
        say!(
            "{}",
            serde_json::to_string_pretty(&schema)
                .map_err(|error| Failure::new(error.to_string()))?
        );
    } else if options.reference {
        output::write(reference(&catalogue));
    } else {
        let all = entries(&catalogue);
        match &options.name {
            None => list(&all),
            Some(name) => show(&all, name)?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A connector in the list.
struct Entry {
    name: &'static str,
    role: &'static str,
    summary: &'static str,
    example: &'static str,
}

fn entries(catalogue: &engine::Catalogue) -> Vec<Entry> {
    let sources = catalogue.sources.iter().map(|one| Entry {
        name: one.name,
        role: "source",
        summary: one.summary,
        example: one.example,
    });
    let processors = catalogue.processors.iter().map(|one| Entry {
        name: one.name,
        role: "processor",
        summary: one.summary,
        example: one.example,
    });
    let sinks = catalogue.sinks.iter().map(|one| Entry {
        name: one.name,
        role: "sink",
        summary: one.summary,
        example: one.example,
    });
    sources.chain(processors).chain(sinks).collect()
}

fn list(all: &[Entry]) {
    say!("CONNECTOR  ROLE       WHAT IT DOES");
    for Entry { name, role, summary, .. } in all {
        say!("{name:<9}  {role:<9}  {summary}");
    }
    say!(
        "\n`passerelle connectors NAME` shows one with an example; docs/reference.md has every option."
    );
}

fn show(all: &[Entry], name: &str) -> Result<(), Failure> {
    let Some(Entry { name, role, summary, example }) = all.iter().find(|entry| entry.name == name)
    else {
        let names = all.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
        return Err(Failure::new(format!("There is no connector `{name}`; there are: {names}.")));
    };
    say!("{name} ({role}): {summary}\n\nExample:\n\n{example}");
    Ok(())
}
