//! Everything that pipeline files can name.

use engine::Catalogue;

/// The lists of all crates of connectors.
pub fn all() -> Catalogue {
    Catalogue {
        sources: producers::all(),
        processors: processors::all(),
        lookups: producers::lookups(),
        sinks: sinks::all(),
        descriptions: Some(sinks::descriptions()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use engine::configuration::{Grammar, clashes, draw_all, load, reference};

    use super::all;

    /// A value for every variable; a Standard Webhooks secret where one is needed.
    fn environment(name: &str) -> Option<String> {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        Some(if name.contains("SECRET") { secret.to_owned() } else { name.to_lowercase() })
    }

    fn examples() -> Vec<(String, String)> {
        let all = all();
        let sources = all.sources.iter().map(|one| (one.name, one.example));
        let processors = all.processors.iter().map(|one| (one.name, one.example));
        let sinks = all.sinks.iter().map(|one| (&*one.name, &*one.example));
        let lookups = all.lookups.iter().map(|one| (one.name, one.example));
        let owned = |(name, example): (&str, &str)| (name.to_owned(), example.to_owned());
        sources.chain(processors).chain(lookups).chain(sinks).map(owned).collect()
    }

    fn docs() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
    }

    /// The files in a folder whose names end so.
    fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
        let all = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.to_str().is_some_and(|path| path.ends_with(end))).collect()
    }

    /// The whole pipelines that the README and the pages of the docs show.
    fn pipelines() -> Vec<(String, String)> {
        let mut pages = files(&docs(), ".md");
        pages.push(docs().join("../README.md"));
        let mut found = Vec::new();
        for page in pages {
            let text = std::fs::read_to_string(&page).unwrap();
            let blocks =
                text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
            let whole = blocks.filter(|block| block.lines().any(|line| line.starts_with("name: ")));
            let name = page.file_stem().unwrap().to_string_lossy().into_owned();
            found.extend(whole.map(|block| (name.clone(), block.to_owned())));
        }
        assert!(found.iter().any(|(page, _)| page == "README"), "the README shows a pipeline");
        found
    }

    #[test]
    fn every_example_passes_the_check() {
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
        // A folder there is an example of its own, with its own test.
        for file in files(&docs().join("examples"), "").into_iter().filter(|file| file.is_file()) {
            std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
        }
        for (name, example) in examples().into_iter().chain(pipelines()) {
            let file = folder.path().join(format!("{name}.yaml"));
            std::fs::write(&file, example).unwrap();
            if let Err(problems) = load(&[file], &all(), &environment) {
                panic!("the example of {name} has mistakes:\n{}", draw_all(&problems, false));
            }
        }
    }

    #[test]
    fn no_connector_hides_an_option_that_all_have() {
        assert_eq!(clashes(&all()), Vec::<String>::new());
    }

    #[test]
    fn the_reference_is_what_the_connectors_declare() {
        let file = docs().join("reference.md");
        let expected = reference(&all());
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&file, &expected).unwrap();
        }
        let written = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            written == expected,
            "docs/reference.md is not what the connectors declare: run UPDATE_DOCS=1 cargo test -p passerelle reference"
        );
    }

    #[test]
    fn the_schema_for_editors_describes_every_connector() {
        let schema = Grammar::of(&all()).json_schema().to_string();
        for (name, _) in examples() {
            assert!(schema.contains(&format!("\"{name}\"")), "{name}");
        }
    }
}
