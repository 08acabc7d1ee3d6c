//! Everything that pipeline files can name.

use engine::Catalogue;

/// The lists of all crates of connectors.
pub fn all() -> Catalogue {
    Catalogue { sources: producers::all(), processors: processors::all(), sinks: sinks::all() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use engine::configuration::{Grammar, clashes, draw_all, load, reference};

    use super::all;

    /// A value for every variable; a Standard Webhooks secret where one is needed.
    fn environment(name: &str) -> Option<String> {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        Some(if name.contains("SECRET") { secret.to_owned() } else { name.to_lowercase() })
    }

    fn examples() -> Vec<(&'static str, &'static str)> {
        let all = all();
        let sources = all.sources.iter().map(|one| (one.name, one.example));
        let processors = all.processors.iter().map(|one| (one.name, one.example));
        let sinks = all.sinks.iter().map(|one| (one.name, one.example));
        sources.chain(processors).chain(sinks).collect()
    }

    /// The pipeline of the README.
    fn readme() -> &'static str {
        let readme = include_str!("../../../README.md");
        let block = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
        block.expect("the README shows a pipeline")
    }

    #[test]
    fn every_example_passes_the_check() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("order.avsc"), schemas::events::ORDER).unwrap();
        std::fs::write(folder.path().join("sale.avsc"), schemas::events::SALE).unwrap();
        for (name, example) in examples().into_iter().chain([("README", readme())]) {
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
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference.md");
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
