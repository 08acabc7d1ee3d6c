//! The examples of the docs as a user runs them: each is checked and tested where it lies, and those that
//! need nobody else are run until their files are there.
#![expect(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod endtoend;

use std::path::{Path, PathBuf};

use endtoend::folder::Folder;
use endtoend::process::{Answer, run_with};
use endtoend::until;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples")
}

/// What a folder holds, sorted.
fn within(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The pipelines of all examples: a folder without any is a mistake.
fn pipelines() -> Vec<PathBuf> {
    let is_yaml = |path: &PathBuf| path.extension().is_some_and(|end| end == "yaml");
    let mut all = Vec::new();
    for folder in within(&examples()).into_iter().filter(|path| path.is_dir()) {
        let found: Vec<_> = within(&folder).into_iter().filter(is_yaml).collect();
        assert!(!found.is_empty(), "{} holds no pipeline", folder.display());
        all.extend(found);
    }
    all
}

/// The variables that a file cannot do without, each with a value of the right form.
fn environment(text: &str) -> Vec<(&str, &str)> {
    let names = text.split("${").skip(1).filter_map(|rest| rest.split('}').next());
    let needed = names.filter(|name| !name.contains([':', '#', ' ']));
    let value = |name: &str| match name.contains("SECRET") {
        true => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        false => "something",
    };
    needed.map(|name| (name, value(name))).collect()
}

/// Runs a command of the binary on a pipeline, in its own folder.
async fn passerelle(command: &str, pipeline: &Path, text: &str) -> Answer {
    let file = pipeline.file_name().unwrap().to_str().unwrap();
    run_with(pipeline.parent().unwrap(), &[command, file], &environment(text)).await
}

#[tokio::test]
async fn every_example_passes_the_check_and_its_own_tests() {
    for pipeline in pipelines() {
        let shown = pipeline.display();
        let text = std::fs::read_to_string(&pipeline).unwrap();
        assert!(text.starts_with("# "), "{shown} says in its first lines what it is");
        let answer = passerelle("check", &pipeline, &text).await;
        assert_eq!(answer.code, 0, "{shown}:\n{}{}", answer.stdout, answer.stderr);
        let maps = text.lines().any(|line| line.trim_start().starts_with("map:"));
        let tested = text.lines().any(|line| line == "tests:");
        assert!(tested || !maps, "{shown} maps, and has no `tests`");
        if tested {
            let answer = passerelle("test", &pipeline, &text).await;
            assert_eq!(answer.code, 0, "{shown}:\n{}{}", answer.stdout, answer.stderr);
            assert!(!answer.stdout.contains("\n0 passed"), "{shown}:\n{}", answer.stdout);
        }
    }
}

/// Copies what an example holds, links as the files they lead to.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for path in within(from) {
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &target),
            false => std::fs::copy(&path, &target).map(drop).unwrap(),
        }
    }
}

/// The files in an example's folder `out`, one after another; none that begins with a dot.
fn written(folder: &Folder) -> Option<Vec<u8>> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let files = within(&folder.path().join("out")).into_iter();
    let files: Vec<_> = files.filter(|path| !name(path).starts_with('.')).collect();
    (!files.is_empty())
        .then(|| files.iter().flat_map(|file| std::fs::read(file).unwrap()).collect())
}

/// Runs an example in a copy of its folder until `out` holds all of these.
async fn gives(example: &str, expected: &[&str]) {
    let folder = Folder::with("");
    let lies = examples().join(example);
    copy(&lies, folder.path());
    let text = std::fs::read_to_string(lies.join("pipeline.yaml")).unwrap();
    // Addresses of its own, beside whatever else runs here.
    let text = format!("{text}\ndata: data\nadmin: {{ listen: \"{}\" }}\n", folder.admin);
    folder.write("pipeline.yaml", &text);
    let mut process = folder.run().await;
    let found = until(&format!("{example} has written all"), async || {
        let text = String::from_utf8_lossy(&written(&folder)?).into_owned();
        expected.iter().all(|part| text.contains(part)).then_some(text)
    })
    .await;
    process.assert_alive();
    assert!(process.terminate().await.success(), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_the_night_becomes_entries_for_a_spreadsheet() {
    gives("orders-from-csv", &["WEB-00123", "1234,56", "WEB-00124", "0,10"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_fixed_width_becomes_parquet() {
    gives("stock-from-fixed-width", &["PAR1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_ubl_becomes_an_order() {
    gives("orders-from-ubl", &[r#""id":"AEG012345""#, r#""total":"1234.56""#]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_cxml_becomes_an_order() {
    gives("orders-from-cxml", &[r#""id":"DO1234""#, r#""unit_price":"3.65""#]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_of_edifact_become_orders() {
    gives("orders-from-edifact", &[r#""id":"128576""#, r#""total":"1449.50""#, r#""id":"128577""#])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_x12_becomes_an_order() {
    gives("orders-from-x12", &[r#""id":"PO00123""#, r#""total":"974.50""#]).await;
}
