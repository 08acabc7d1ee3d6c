//! `passerelle connectors`: the catalogue.

use std::process::ExitCode;

use engine::configuration::{Grammar, Page, Shelf, reference};
use serde_json::{Value as Json, json};

use crate::arguments::Connectors;
use crate::failure::{Failure, Outcome};
use crate::{catalogue, output};

/// Shows the catalogue, one connector, the JSON Schema or the reference.
pub fn run(options: &Connectors) -> Outcome {
    let catalogue = catalogue::all();
    if options.json_schema {
        write_json(&Grammar::of(&catalogue).json_schema())?;
    } else if options.description_schema {
        write_json(&Grammar::of(&catalogue).description_schema())?;
    } else if options.reference {
        write_reference(&catalogue, options.name.as_deref())?;
    } else {
        let all = entries(&catalogue);
        match (&options.name, options.json) {
            (None, false) => list(&all),
            (None, true) => write_json(&all.iter().map(Entry::json).collect())?,
            (Some(name), false) => find(&all, name)?.into_iter().for_each(show),
            (Some(name), true) => match &find(&all, name)?[..] {
                [one] => write_json(&one.json())?,
                several => write_json(&several.iter().map(|entry| entry.json()).collect())?,
            },
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of the file's format, or those of the connectors of a name.
fn write_reference(catalogue: &engine::Catalogue, name: Option<&str>) -> Result<(), Failure> {
    let pages = reference(catalogue, &Shelf::default());
    let Some(name) = name else {
        pages.into_iter().take(1).for_each(|page| output::write(page.text));
        return Ok(());
    };
    find(&entries(catalogue), name)?;
    let end = format!("/{name}.md");
    let named = |page: &Page| page.path.ends_with(&end);
    let texts: Vec<_> = pages.into_iter().filter(named).map(|page| page.text).collect();
    output::write(texts.join("\n"));
    Ok(())
}

fn write_json(json: &Json) -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(json).map_err(|error| Failure::new(error.to_string()))?;
    say!("{text}");
    Ok(())
}

/// A connector in the list.
struct Entry<'c> {
    name: &'c str,
    role: &'static str,
    summary: &'c str,
    example: &'c str,
    /// What of an application it covers.
    coverage: Option<&'c Json>,
}

fn entries(catalogue: &engine::Catalogue) -> Vec<Entry<'_>> {
    let sources = catalogue.sources.iter().map(|one| Entry {
        name: one.name,
        role: "source",
        summary: one.summary,
        example: one.example,
        coverage: None,
    });
    let processors = catalogue.processors.iter().map(|one| Entry {
        name: one.name,
        role: "processor",
        summary: one.summary,
        example: one.example,
        coverage: None,
    });
    let sinks = catalogue.sinks.iter().map(|one| Entry {
        name: &one.name,
        role: "sink",
        summary: &one.summary,
        example: &one.example,
        coverage: one.coverage.as_deref(),
    });
    let lookups = catalogue.lookups.iter().map(|one| Entry {
        name: one.name,
        role: "look-up",
        summary: one.summary,
        example: one.example,
        coverage: None,
    });
    sources.chain(processors).chain(sinks).chain(lookups).collect()
}

impl Entry<'_> {
    fn json(&self) -> Json {
        let Self { name, role, summary, example, coverage } = self;
        json!({ "name": name, "role": role, "summary": summary, "example": example, "coverage": coverage })
    }
}

fn list(all: &[Entry<'_>]) {
    say!("CONNECTOR    ROLE       WHAT IT DOES");
    for Entry { name, role, summary, .. } in all {
        say!("{name:<11}  {role:<9}  {summary}");
    }
    say!(
        "\n`passerelle connectors NAME` shows one with an example; with `--reference`, every option of it."
    );
}

/// The connectors of this name: a source, a sink and a look-up may share one.
fn find<'e, 'c>(all: &'e [Entry<'c>], name: &str) -> Result<Vec<&'e Entry<'c>>, Failure> {
    let named: Vec<_> = all.iter().filter(|entry| entry.name == name).collect();
    if named.is_empty() {
        let names = all.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
        return Err(Failure::new(format!("There is no connector `{name}`; there are: {names}.")));
    }
    Ok(named)
}

fn show(entry: &Entry<'_>) {
    let Entry { name, role, summary, example, coverage } = entry;
    say!("{name} ({role}): {summary}");
    if let Some(coverage) = coverage {
        show_coverage(coverage);
    }
    say!("\nExample:\n\n{example}");
}

/// What of an application is covered: a line for each operation of each object, then what is not.
fn show_coverage(coverage: &Json) {
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    say!("\nAPI version: {}\n", text(&coverage["version"]));
    say!("{:<19} {:<9} {:<7} A REPEAT HAS NO SECOND EFFECT", "OBJECT", "OPERATION", "AT ONCE");
    for (object, described) in coverage["objects"].as_object().into_iter().flatten() {
        for (operation, promise) in described["operations"].as_object().into_iter().flatten() {
            let (batch, once) = (&promise["batch"], text(&promise["once"]));
            say!("{object:<19} {operation:<9} {batch:<7} {once}");
        }
    }
    for (title, name) in [("Not covered", "lacks"), ("Not proven", "unsure"), ("From", "sources")] {
        let lines = coverage[name].as_array().into_iter().flatten();
        let lines: Vec<_> = lines.map(|line| format!("- {}", text(line))).collect();
        if !lines.is_empty() {
            say!("\n{title}:\n{}", lines.join("\n"));
        }
    }
}
