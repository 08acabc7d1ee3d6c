//! The examples of the docs as a user runs them: each is checked and tested where it lies, and those that
//! need nobody else are run until their files are there.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod company;
#[path = "../endtoend/mod.rs"]
mod endtoend;

use std::path::{Path, PathBuf};
use std::time::Duration;

use company::Company;
use endtoend::folder::Folder;
use endtoend::process::{Answer, Process, run_with};
use endtoend::until;
use serde_json::{Value, json};

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
    let value = |name: &str| match name {
        _ if name.contains("SECRET") => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        _ if name.ends_with("_URL") => "http://127.0.0.1:1",
        _ => "something",
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

/// A copy of an example, with changes to its pipeline, and with addresses of its own beside whatever
/// else runs here.
fn copied(example: &str, change: impl Fn(String) -> String) -> Folder {
    let folder = Folder::with("");
    let lies = examples().join(example);
    copy(&lies, folder.path());
    let text = change(std::fs::read_to_string(lies.join("pipeline.yaml")).unwrap());
    let text = format!("{text}\ndata: data\nadmin: {{ listen: \"{}\" }}\n", folder.admin);
    folder.write("pipeline.yaml", &text);
    folder
}

/// Waits until the folder `out` holds all of these; gives what it holds.
async fn writes(folder: &Folder, expected: &[&str]) -> String {
    until(&format!("{expected:?} is written"), async || {
        let text = String::from_utf8_lossy(&written(folder)?).into_owned();
        expected.iter().all(|part| text.contains(part)).then_some(text)
    })
    .await
}

/// Runs an example in a copy of its folder until `out` holds all of these; gives what it holds.
async fn gives(example: &str, expected: &[&str]) -> String {
    let folder = copied(example, |text| text);
    let mut process = folder.run().await;
    let found = writes(&folder, expected).await;
    process.assert_alive();
    assert!(process.terminate().await.success(), "{found}");
    found
}

/// The order of this id among lines of JSON.
fn order(lines: &str, id: &str) -> Value {
    let orders = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut named = orders.filter(|order| order["id"] == id);
    named.next().unwrap_or_else(|| panic!("no order {id} in:\n{lines}"))
}

fn line(sku: &str, description: Option<&str>, quantity: &str, price: &str) -> Value {
    json!({ "sku": sku, "description": description, "quantity": quantity, "unit_price": price })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_the_night_becomes_entries_for_a_spreadsheet() {
    let first = "WEB-00123;4110042;2025-12-31;1234,56;;\"Café € \"\"fin\"\";\r\ndeux lignes\"";
    let second = "WEB-00124;4110007;2026-01-01;;0,10;Œuvre";
    let third = "WEB-00125;4110009;2024-02-29;12345678901234,05;;\"5\"\" tube\"";
    gives("orders-from-csv", &[first, second, third]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_fixed_width_becomes_parquet() {
    gives("stock-from-fixed-width", &["PAR1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_ubl_becomes_an_order() {
    let order = order(&gives("orders-from-ubl", &["AEG012345"]).await, "AEG012345");
    let beeswax = line("000017589", Some("Acme beeswax"), "100.5000", "12.28");
    assert_eq!(order["lines"], json!([beeswax]));
    assert_eq!(order["total"], "1234.56");
    assert_eq!(order["customer"]["name"], "Müller & Söhne");
    assert_eq!(order["placed_at"], "2025-12-31T10:30:00Z");
    assert_eq!(order["note"], "Deliver <before> noon & ring twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_cxml_becomes_an_order_and_a_price_of_three_decimals_is_not_rounded() {
    let folder = copied("orders-from-cxml", |text| text);
    let sample = std::fs::read_to_string(folder.path().join("in/order.xml")).unwrap();
    folder.write("in/exact.xml", &sample.replace("3.65", "3.655"));
    let mut process = folder.run().await;
    let order = order(&writes(&folder, &["DO1234"]).await, "DO1234");
    assert_eq!(order["lines"][1], line("00124", Some("Washers"), "20.0000", "3.65"));
    assert_eq!(order["placed_at"], "2025-12-31T09:30:00Z");
    until("the other is a dead letter", async || {
        let letters = folder.ask(&["dead-letters", "list"]).await;
        letters.stdout.contains("invalid_record").then_some(())
    })
    .await;
    process.assert_alive();
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_of_edifact_become_orders() {
    let written = gives("orders-from-edifact", &["128576", "128577"]).await;
    let (first, second) = (order(&written, "128576"), order(&written, "128577"));
    let lines = [
        line("4000862141404", None, "48.0000", "12.50"),
        line("4000862141411", None, "0.5000", "1699.00"),
    ];
    assert_eq!(first["lines"], json!(lines));
    assert_eq!(first["total"], "1449.50");
    assert_eq!(first["customer"]["email"], "peeters@example.com");
    assert_eq!(second["lines"], json!([line("00123", None, "1.0000", "0.00")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_x12_becomes_an_order() {
    let order = order(&gives("orders-from-x12", &["PO00123"]).await, "PO00123");
    assert_eq!(order["lines"][1], line("00124", None, "0.5000", "1699.00"));
    assert_eq!(order["total"], "974.50");
    assert_eq!(order["customer"]["address"]["postal_code"], "61602");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_is_invoiced_and_the_contact_shows_that_it_is_paid_without_an_echo() {
    let company = Company::start().await;
    let folder = copied("hubspot-and-quickbooks", |text| {
        // On this machine, and often.
        text.replace("http: { url:", "http: { allow_private: true, url:")
            .replace("      url: \"${Q", "      allow_private: true\n      url: \"${Q")
            .replace("every: 30s", "every: 200ms")
            .replace("every: 1m", "every: 200ms")
    });
    let tokens = format!("{}/tokens", company.url);
    let environment = [
        ("HUBSPOT_URL", company.url.as_str()),
        ("HUBSPOT_TOKEN", "token"),
        ("QUICKBOOKS_URL", &company.url),
        ("QUICKBOOKS_TOKEN_URL", &tokens),
        ("QUICKBOOKS_REALM", "1"),
        ("QUICKBOOKS_CLIENT", "passerelle"),
        ("QUICKBOOKS_SECRET", "secret"),
        ("QUICKBOOKS_TOKEN", "refresh"),
    ];
    let run = ["run", "pipeline.yaml"];
    let mut process = Process::start_with(folder.path(), "run", &run, &environment);
    folder.operators().ready(&mut process).await;
    let shows = async |balance: &str, paid: &str| {
        let contact = company.contact().0;
        let shown =
            ["invoice_number", "invoice_balance", "invoice_paid"].map(|name| &contact[name]);
        (shown == [&json!("HS-9001"), &json!(balance), &json!(paid)]).then_some(())
    };
    until("the contact shows its invoice", async || shows("450.50", "false").await).await;
    company.pay();
    until("the contact shows that it is paid", async || shows("0.00", "true").await).await;

    // Several sweeps of both sides later, nothing has come back.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(company.contact().1, 2, "each state of the invoice is shown once");
    assert_eq!(company.books(), (vec![json!("Ada O'Hara")], vec![json!("HS-9001")]));
    process.assert_alive();
}
