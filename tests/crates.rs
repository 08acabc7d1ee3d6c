//! The crates depend on each other one way, and each foreign crate stays in its place.
#![expect(clippy::expect_used, reason = "these are tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Each crate of ours and those of ours that it may depend on.
const DIRECTION: [(&str, &[&str]); 10] = [
    ("schemas", &[]),
    ("broker", &[]),
    ("engine", &["schemas"]),
    ("processors", &["schemas", "engine"]),
    ("exchange", &["engine"]),
    ("database", &["engine"]),
    ("producers", &["schemas", "engine", "exchange", "database"]),
    ("sinks", &["schemas", "engine", "exchange", "database"]),
    ("passerelle", &["schemas", "engine", "processors", "producers", "sinks", "broker"]),
    ("tests", &["broker"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace holds this crate")
        .to_owned()
}

#[test]
fn dependencies_point_one_way() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap_or_default().to_owned();
    let ours = packages.iter().map(name).collect::<BTreeSet<_>>();
    let known = DIRECTION.iter().map(|(package, _)| (*package).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(ours, known, "a new crate takes its place in DIRECTION");
    for (package, allowed) in DIRECTION {
        let found =
            packages.iter().find(|found| name(found) == package).expect("the crate is there");
        for dependency in found["dependencies"].as_array().expect("dependencies") {
            let (to, test_only) = (name(dependency), dependency["kind"] == "dev");
            // Tests may stand on the embedded broker, and on what tests share.
            let allowed = !ours.contains(&to)
                || allowed.contains(&to.as_str())
                || (test_only && ["broker", "tests"].contains(&to.as_str()));
            assert!(allowed, "{package} must not depend on {to}");
        }
    }
}

/// Every Rust file under a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Asserts that a crate is named only in files under these folders, tests aside.
fn lives_in(name: &str, folders: &[&str]) {
    let mut files = Vec::new();
    for folder in ["schemas", "processors", "producers", "sinks", "deploy"] {
        sources(&root().join(folder), &mut files);
    }
    let word = format!("{name}::");
    for file in files {
        let place =
            file.strip_prefix(root()).expect("under the root").to_string_lossy().into_owned();
        let is_test = place.contains("/tests/") || place.ends_with("tests.rs");
        if is_test || folders.iter().any(|folder| place.starts_with(folder)) {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a source is text");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let used =
            code.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(&word));
        assert!(!used, "{place} names {name}, which belongs to {folders:?}");
    }
}

#[test]
fn only_the_engines_kafka_module_speaks_to_kafka() {
    lives_in("rdkafka", &["processors/runtime/src/kafka"]);
}

#[test]
fn only_schemas_knows_avro_and_the_registrys_client() {
    lives_in("apache_avro", &["schemas"]);
    lives_in("schema_registry_converter", &["schemas"]);
}

#[test]
fn only_the_broker_knows_the_protocol() {
    lives_in("kafka_protocol", &["deploy/broker"]);
}

#[test]
fn a_file_is_read_in_one_sitting() {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    let long = files
        .iter()
        .map(|file| {
            (file, std::fs::read_to_string(file).expect("a source is text").lines().count())
        })
        .filter(|(_, lines)| *lines > 500)
        .collect::<Vec<_>>();
    assert!(long.is_empty(), "files of more than 500 lines: {long:?}");
}
