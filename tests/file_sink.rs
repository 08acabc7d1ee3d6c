//! Orders on their way into files: each is in one of them, once, however the process fails meanwhile.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "faults/disk.rs"]
mod disk;
#[path = "endtoend/mod.rs"]
mod endtoend;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use disk::Disk;
use endtoend::folder::{Folder, ORDERS_TO_SALES};
use endtoend::process::Process;
use endtoend::shop::order;
use endtoend::until;
use rand::Rng as _;
use serde_json::{Value as Json, json};

const CUSTOMERS: usize = 8;

/// Every format, of a topic as it came and of one that was written in transactions, whose marks leave
/// offsets out.
const TO_FILES: &str = r#"
connections:
  files: { file: { folder: out } }
  table: { file: { folder: table } }
sinks:
  lake:
    from: shop.orders
    to: files
    format: parquet
    path: 'lake/customer={{ .customer.id }}'
    roll: { events: 40, every: 700ms }
    backoff: { initial: 100ms, max: 500ms }
  lines:
    from: erp.sales
    to: files
    format: json_lines
    path: 'lines'
    roll: { every: 300ms }
    backoff: { initial: 100ms, max: 500ms }
  cells:
    from: shop.orders
    to: table
    format: csv
    csv: { delimiter: ";", decimal: "," }
    roll: { events: 25, every: 500ms }
    backoff: { initial: 100ms, max: 500ms }
"#;

fn folder() -> Folder {
    let sections =
        ORDERS_TO_SALES.replace("to: erp.sales\n", "to: erp.sales\n    delivery: exactly_once\n");
    let folder = Folder::with(&(sections + TO_FILES));
    for name in ["out", "table"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    folder
}

/// An order whose amounts tell it from the others.
fn priced(customer: usize, number: usize) -> Json {
    let mut order = order(&format!("C-{customer}/{number:04}"), &format!("C-{customer}"));
    order["total"] = json!(format!("{}{number:04}.{:02}", customer + 1, number % 100));
    order["customer"]["name"] = json!("=HYPERLINK(\"http://x\")");
    order
}

/// Sells so many orders to each customer, one after the other, all customers at once.
async fn sell(folder: &Folder, orders: usize) {
    let selling = (0..CUSTOMERS).map(async |customer| {
        let shop = folder.shop();
        for number in 0..orders {
            shop.tell(&priced(customer, number)).await;
        }
    });
    futures::future::join_all(selling).await;
}

/// Waits until so many orders are in the files, and nothing more is to come.
async fn landed(folder: &Folder, orders: usize) {
    let all = CUSTOMERS * orders;
    until("every order is in the lines", async || {
        (lines(&folder.path().join("out/lines")).len() >= all).then_some(())
    })
    .await;
    until("every order is in the table", async || {
        let rows = python("python3", READ_CSV, &files(&folder.path().join("table"), "csv"));
        (rows.len() >= all).then_some(())
    })
    .await;
    folder.operators().caught_up().await;
}

/// The process under a name of its own: what died is known again at once, and the next kill meets it
/// at work.
async fn run(folder: &Folder) -> Process {
    let named = [("PASSERELLE_INSTANCE", "one")];
    let mut process = Process::start_with(folder.path(), "run", &["run", "pipeline.yaml"], &named);
    folder.operators().ready(&mut process).await;
    process
}

/// Every file below a folder that readers see, in the order of the names: of one partition, in that
/// of the offsets.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let hidden = path.file_name().unwrap().to_str().unwrap().starts_with('.');
            match path.is_dir() {
                true => open.push(path),
                false if !hidden && path.extension().is_some_and(|found| found == extension) => {
                    found.push(path);
                }
                false => {}
            }
        }
    }
    found.sort_by_key(|path| path.file_name().unwrap().to_owned());
    found
}

/// Nothing that was begun is left.
fn assert_no_half_files(folder: &Folder) {
    for name in ["out", "table"] {
        assert_eq!(parts(&folder.path().join(name)), Vec::<PathBuf>::new());
    }
}

fn parts(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let half = files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "part"));
    half.chain(folders.iter().flat_map(|folder| parts(folder))).collect()
}

/// Each customer's orders are all there, once, in order.
fn assert_once_in_order(what: &str, ids: impl IntoIterator<Item = String>, orders: usize) {
    let mut by_customer: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for id in ids {
        let (customer, number) = id.split_once('/').unwrap();
        by_customer.entry(customer.to_owned()).or_default().push(number.parse().unwrap());
    }
    assert_eq!(by_customer.len(), CUSTOMERS, "{what}");
    for (customer, numbers) in by_customer {
        assert_eq!(numbers, (0..orders).collect::<Vec<_>>(), "{what}: {customer}");
    }
}

/// The rows of JSON lines files, in the order of the files.
fn lines(folder: &Path) -> Vec<Json> {
    let texts =
        files(folder, "jsonl").into_iter().map(|file| std::fs::read_to_string(file).unwrap());
    let rows = |text: String| -> Vec<Json> {
        assert!(text.ends_with('\n'), "half a line");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    texts.flat_map(rows).collect()
}

/// What a Python makes of files: a line of JSON for each row.
fn python(python: &str, script: &str, files: &[PathBuf]) -> Vec<Json> {
    let output = Command::new(python).args(["-c", script]).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const READ_CSV: &str = "
import csv, json, sys
for name in sys.argv[1:]:
    with open(name, encoding='utf-8-sig', newline='') as file:
        for row in csv.DictReader(file, delimiter=';'):
            print(json.dumps(row))
";

const READ_PARQUET: &str = "
import json, os, sys
import pyarrow.parquet
for name in sys.argv[1:]:
    # The file alone: its folder's `customer=` is no column of it.
    for row in pyarrow.parquet.ParquetFile(name).read().to_pylist():
        row['kinds'] = [type(row['total']).__name__, type(row['placed_at']).__name__]
        print(json.dumps(row, default=str))
# (pyarrow's threads now and then abort a Python that ends in the usual way.)
sys.stdout.flush()
os._exit(0)
";

/// Why what is written cannot be read by another program than ours, if it cannot.
fn obstacle() -> Option<&'static str> {
    let there = Command::new("python3").arg("--version").output();
    let there = there.is_ok_and(|output| output.status.success());
    (!there).then_some("Python 3 reads the files: install it, so that `python3` is on the path")
}

/// A Python that has pyarrow, as `PASSERELLE_PYTHON` names it.
fn with_pyarrow() -> Option<String> {
    let python = std::env::var("PASSERELLE_PYTHON").ok().filter(|python| !python.is_empty())?;
    let imported =
        Command::new(&python).args(["-c", "import os, pyarrow.parquet; os._exit(0)"]).output();
    imported.is_ok_and(|output| output.status.success()).then_some(python)
}

fn assert_csv(folder: &Folder, orders: usize) {
    let rows = python("python3", READ_CSV, &files(&folder.path().join("table"), "csv"));
    let text = |row: &Json, name: &str| row[name].as_str().unwrap().to_owned();
    for row in &rows {
        let id = text(row, "id");
        let number: usize = id.split_once('/').unwrap().1.parse().unwrap();
        assert!(text(row, "total").ends_with(&format!("{number:04},{:02}", number % 100)), "{row}");
        assert_eq!(text(row, "customer.name"), "'=HYPERLINK(\"http://x\")");
        assert_eq!(text(row, "placed_at"), "2026-01-31 08:00:00");
    }
    assert_once_in_order("csv", rows.iter().map(|row| text(row, "id")), orders);
}

fn assert_parquet(folder: &Folder, orders: usize) {
    let Some(interpreter) = with_pyarrow() else {
        eprintln!(
            "SKIPPED: Parquet is read back by pyarrow: `pip install pyarrow` and name its Python in \
             PASSERELLE_PYTHON."
        );
        return;
    };
    let rows =
        python(&interpreter, READ_PARQUET, &files(&folder.path().join("out/lake"), "parquet"));
    for row in &rows {
        let id = row["id"].as_str().unwrap();
        let (customer, number) = id.split_once('/').unwrap();
        let customer: usize = customer.trim_start_matches("C-").parse().unwrap();
        let (sold, number) = (priced(customer, number.parse().unwrap()), number);
        assert_eq!(row["total"], sold["total"], "{number}: exact, with its zeros");
        assert_eq!(row["kinds"], json!(["Decimal", "datetime"]));
        assert_eq!(row["customer"]["address"]["city"], "London");
        assert_eq!(row["lines"][0]["sku"], "SKU-1");
    }
    assert_once_in_order(
        "parquet",
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()),
        orders,
    );
}

#[tokio::test]
async fn every_order_is_in_the_files_once_over_kills_at_random_moments() {
    if let Some(obstacle) = obstacle() {
        eprintln!("SKIPPED: {obstacle}");
        return;
    }
    const ORDERS: usize = 50;
    const KILLS: usize = 8;
    let mut random = endtoend::chance();
    let folder = folder();
    let killing = async {
        let mut process = run(&folder).await;
        for _ in 0..KILLS {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..1_500))).await;
            process.kill();
            process = run(&folder).await;
        }
        process
    };
    let ((), process) = futures::join!(sell(&folder, ORDERS), killing);
    landed(&folder, ORDERS).await;
    assert!(process.terminate().await.success());
    assert_no_half_files(&folder);

    let sales = lines(&folder.path().join("out/lines"));
    let ids = sales.iter().map(|sale| sale["web_id"].as_str().unwrap().to_owned());
    assert_once_in_order("json lines", ids, ORDERS);
    assert_csv(&folder, ORDERS);
    assert_parquet(&folder, ORDERS);
}

#[tokio::test]
async fn a_full_or_read_only_disk_is_waited_for_and_leaves_no_half_files() {
    if let Some(obstacle) = obstacle().map(str::to_owned).or_else(disk::obstacle) {
        eprintln!("SKIPPED: {obstacle}");
        return;
    }
    const ORDERS: usize = 10;
    let folder = folder();
    let disk = Disk::mount(&folder.path().join("out"), 8).expect("it was possible");
    let process = folder.run().await;
    sell(&folder, 1).await;
    landed(&folder, 1).await;
    disk.fill();
    let shop = folder.shop();
    for number in 1..ORDERS {
        for customer in 0..CUSTOMERS {
            shop.tell(&priced(customer, number)).await;
        }
    }
    for route in ["orders/lake", "orders/lines"] {
        folder.operators().waits(route, &["No space left"]).await;
    }
    // What is full is one sink's folder: the others go on.
    until("the table has every order", async || {
        let rows = python("python3", READ_CSV, &files(&folder.path().join("table"), "csv"));
        (rows.len() == CUSTOMERS * ORDERS).then_some(())
    })
    .await;
    disk.free();
    folder.operators().caught_up().await;
    disk.read_only(true);
    for customer in 0..CUSTOMERS {
        shop.tell(&priced(customer, ORDERS)).await;
    }
    folder.operators().waits("orders/lake", &["Read-only file system"]).await;
    disk.read_only(false);
    landed(&folder, ORDERS + 1).await;
    assert!(process.terminate().await.success());
    assert_no_half_files(&folder);
    let sales = lines(&folder.path().join("out/lines"));
    let ids = sales.iter().map(|sale| sale["web_id"].as_str().unwrap().to_owned());
    assert_once_in_order("json lines", ids, ORDERS + 1);
    assert_parquet(&folder, ORDERS + 1);
}
