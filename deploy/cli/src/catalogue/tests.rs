//! What the docs say of connectors is what they declare, and what they show is right.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use engine::configuration::{FOLDERS, Grammar, Page, Shelf, clashes, draw_all, load, reference};

use super::all;

const UPDATE: &str = "run UPDATE_DOCS=1 cargo test --workspace --bin passerelle reference";

/// A value for every variable; a Standard Webhooks secret where one is needed.
fn environment(name: &str) -> Option<String> {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    Some(if name.contains("SECRET") { secret.to_owned() } else { name.to_lowercase() })
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// The names in a folder that end so, sorted.
fn names(folder: &Path, end: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(end)).collect();
    names.sort();
    names
}

fn page(path: String) -> Page {
    let text = std::fs::read_to_string(docs().join(&path)).unwrap_or_default();
    Page { path, text }
}

/// The pages written by hand, and the pipelines of the examples.
fn shelf() -> Shelf {
    let guides = names(&docs(), ".md").into_iter().filter(|name| name != "reference.md");
    let folders = names(&docs().join("examples"), "").into_iter();
    let folders = folders.filter(|name| docs().join("examples").join(name).is_dir());
    let pipelines = folders.flat_map(|folder| {
        let files = names(&docs().join("examples").join(&folder), ".yaml");
        files.into_iter().map(move |file| page(format!("examples/{folder}/{file}")))
    });
    Shelf { guides: guides.map(page).collect(), examples: pipelines.collect() }
}

/// The whole pipelines that the README and the pages written by hand show.
fn shown() -> Vec<(String, String)> {
    let mut pages = shelf().guides;
    pages.push(page("../README.md".to_owned()));
    let mut found = Vec::new();
    for Page { path, text } in pages {
        let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let whole = blocks.filter(|block| block.lines().any(|line| line.starts_with("name: ")));
        found.extend(whole.map(|block| (path.clone(), block.to_owned())));
    }
    assert!(found.iter().any(|(page, _)| page == "../README.md"), "the README shows a pipeline");
    found
}

/// Whether the sink of this name is an application that is described, not coded.
fn is_described(name: &str) -> bool {
    docs().join("../sinks/applications").join(format!("{name}.yaml")).exists()
}

/// The examples of applications that are described: they stand in the descriptions.
fn described() -> Vec<(String, String)> {
    let sinks = all().sinks.into_iter().filter(|sink| is_described(&sink.name));
    sinks.map(|sink| (sink.name.into_owned(), sink.example.into_owned())).collect()
}

/// (Those of the folder `examples` are checked as users do it: tests/examples.)
#[test]
fn every_pipeline_that_a_page_or_a_description_shows_passes_the_check() {
    let folder = tempfile::tempdir().unwrap();
    for (name, schema) in [
        ("order.avsc", schemas::events::ORDER),
        ("contact.avsc", schemas::events::CONTACT),
        ("tick.avsc", schemas::events::TICK),
        ("line.avsc", schemas::events::LINE),
        ("sale.avsc", schemas::events::SALE),
        ("party.avsc", schemas::events::PARTY),
        ("product.avsc", schemas::events::PRODUCT),
        ("invoice.avsc", schemas::events::INVOICE),
        ("payment.avsc", schemas::events::PAYMENT),
    ] {
        std::fs::write(folder.path().join(name), schema).unwrap();
    }
    let file = folder.path().join("pipeline.yaml");
    for (place, pipeline) in shown().into_iter().chain(described()) {
        std::fs::write(&file, pipeline).unwrap();
        if let Err(problems) = load(std::slice::from_ref(&file), &all(), &environment) {
            panic!("the pipeline of {place} has mistakes:\n{}", draw_all(&problems, false));
        }
    }
}

/// The catalogue shows what can be run where it lies.
#[test]
fn the_example_of_a_connector_is_a_pipeline_of_the_docs() {
    let catalogue = all();
    let sources = catalogue.sources.iter().map(|one| (one.name, one.example));
    let processors = catalogue.processors.iter().map(|one| (one.name, one.example));
    let lookups = catalogue.lookups.iter().map(|one| (one.name, one.example));
    let coded = catalogue.sinks.iter().filter(|sink| !is_described(&sink.name));
    let sinks = coded.map(|one| (&*one.name, &*one.example));
    let shelf = shelf();
    for (name, example) in sources.chain(processors).chain(lookups).chain(sinks) {
        let there = shelf.examples.iter().any(|page| page.text == example);
        assert!(there, "the example of {name} is none of docs/examples/*/pipeline.yaml");
    }
}

#[test]
fn no_connector_hides_an_option_that_all_have() {
    assert_eq!(clashes(&all()), Vec::<String>::new());
}

#[test]
fn the_pages_of_the_reference_are_what_the_connectors_declare() {
    let pages = reference(&all(), &shelf());
    let expected: BTreeSet<_> = pages.iter().map(|page| page.path.clone()).collect();
    let update = std::env::var_os("UPDATE_DOCS").is_some();
    for Page { path, text } in &pages {
        let file = docs().join(path);
        if update {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, text).unwrap();
        }
        let written = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(written == *text, "docs/{path} is not what the connectors declare: {UPDATE}");
    }
    for folder in FOLDERS {
        for name in names(&docs().join(folder), "") {
            let path = format!("{folder}/{name}");
            if update && !expected.contains(&path) {
                std::fs::remove_file(docs().join(&path)).unwrap();
            }
            let stale = !update && !expected.contains(&path);
            assert!(!stale, "docs/{path} is of no connector: {UPDATE}");
        }
    }
}

#[test]
fn no_page_links_to_a_file_that_is_not_there() {
    let mut pages = reference(&all(), &shelf());
    pages.extend(shelf().guides);
    pages.push(page("../README.md".to_owned()));
    for Page { path, text } in &pages {
        for link in links(text).into_iter().filter(|link| !link.contains("://")) {
            let file = link.split('#').next().unwrap_or_default();
            let target = docs().join(path).parent().unwrap().join(file);
            assert!(file.is_empty() || target.exists(), "docs/{path} links to {link}");
        }
    }
}

fn links(text: &str) -> Vec<&str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

#[test]
fn the_schema_for_editors_describes_every_connector() {
    let schema = Grammar::of(&all()).json_schema().to_string();
    for page in reference(&all(), &Shelf::default()) {
        let Some((_, name)) = page.path.split_once('/') else { continue };
        let name = name.strip_suffix(".md").unwrap();
        assert!(schema.contains(&format!("\"{name}\"")), "{name}");
    }
}
