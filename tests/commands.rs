//! The commands of the binary as they are typed: what they show, and how they exit.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "endtoend/mod.rs"]
mod endtoend;

use std::process::Stdio;

use endtoend::folder::{Folder, ORDERS_TO_SALES, free_address};
use endtoend::process::{Answer, BINARY, Process, Signal, run};
use endtoend::shop::order;
use endtoend::{client, until};
use serde_json::Value;
use tempfile::TempDir;

const TESTS: &str = r#"
tests:
  - name: an order becomes a sale
    input: { shop.orders: order.json }
    expect: { erp.sales: sale.json }
"#;

const SALE: &str = r#"{
  "web_id": "O-1", "date": "2026-01-31", "currency": "EUR",
  "party": {
    "code": "C-1", "name": "Ada Lovelace", "email": "ada@example.com",
    "address": { "street": "12 St James's Square", "city": "London", "postal_code": "SW1Y 4JH", "country": "GB" }
  },
  "lines": [{ "product": "SKU-1", "quantity": "3", "unit_price": "33.30" }],
  "total": "99.90"
}"#;

#[track_caller]
fn shows(answer: &Answer, code: i32, texts: &[&str]) {
    let shown = format!("{}{}", answer.stdout, answer.stderr);
    assert_eq!(answer.code, code, "{shown}");
    for text in texts {
        assert!(shown.contains(text), "`{text}` is not in:\n{shown}");
    }
    assert!(!shown.contains("panicked"), "{shown}");
}

/// The line and column of a text in the pipeline file, as editors count.
fn place(folder: &Folder, text: &str) -> (u64, u64) {
    let file = std::fs::read_to_string(folder.path().join("pipeline.yaml")).unwrap();
    let before = &file[..file.find(text).unwrap()];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|char| *char != '\n').count() + 1;
    (line as u64, column as u64)
}

#[tokio::test]
async fn check_shows_every_mistake_at_its_place() {
    let folder = Folder::with(ORDERS_TO_SALES);
    shows(&folder.passerelle(&["check", "pipeline.yaml"]).await, 0, &["no problems"]);

    let wrong = ORDERS_TO_SALES
        .replacen("partitions: 4", "partitons: 4", 1)
        .replace("from: shop.orders", "from: shop.order")
        .replace(".web_id = .id", ".web_id = upcas(.id)")
        .replace("${file:shop.secret}", "${NOT_SET}");
    folder.set_pipeline(&wrong);
    let places = ["partitons", "${NOT_SET}", "shop.order\n"].map(|text| place(&folder, text));
    let answer = folder.passerelle(&["check", "pipeline.yaml"]).await;
    shows(&answer, 1, &["did you mean `partitions`?", "did you mean `shop.orders`?", "NOT_SET"]);
    for (line, column) in places {
        shows(&answer, 1, &[&format!("pipeline.yaml:{line}:{column}\n")]);
    }

    // A mistake in an expression is drawn at its own place, not at the option's.
    folder.set_pipeline(
        &ORDERS_TO_SALES.replace(".web_id = .id", ".web_id = upcas(.id)\n      .note = .nowhere"),
    );
    let answer = folder.passerelle(&["check", "pipeline.yaml"]).await;
    for text in ["upcas", ".nowhere"] {
        let (line, column) = place(&folder, text);
        shows(&answer, 1, &[text, &format!("pipeline.yaml:{line}:{column}\n")]);
    }
    let answer = folder.passerelle(&["check", "--json", "pipeline.yaml"]).await;
    assert_eq!(answer.code, 1);
    let problems: Vec<Value> = serde_json::from_str(&answer.stdout).unwrap();
    let (line, column) = place(&folder, "upcas");
    let found = problems.iter().find(|problem| problem["line"] == line).unwrap();
    assert_eq!((&found["column"], &found["severity"]), (&column.into(), &"error".into()));

    let refused = folder.passerelle(&["run", "pipeline.yaml"]).await;
    shows(&refused, 1, &["upcas", "errors"]);
    let missing = folder.passerelle(&["check", "pipeline.yaml", "nowhere.yaml"]).await;
    shows(&missing, 1, &["nowhere.yaml", "cannot be read"]);
    shows(&folder.passerelle(&["chekc"]).await, 2, &["similar subcommand exists: 'check'"]);
}

#[tokio::test]
async fn test_runs_the_examples_of_a_file_and_names_the_fields_that_differ() {
    let folder = Folder::with(&format!("{ORDERS_TO_SALES}{TESTS}"));
    folder.write("order.json", &order("O-1", "C-1").to_string());
    folder.write("sale.json", SALE);
    let answer = folder.passerelle(&["test", "pipeline.yaml"]).await;
    shows(&answer, 0, &["ok   an order becomes a sale\n", "1 passed, 0 failed"]);

    folder.write("sale.json", &SALE.replace("33.30", "33.31").replace("O-1", "O-2"));
    let answer = folder.passerelle(&["test", "pipeline.yaml"]).await;
    let differences = [
        "FAIL an order becomes a sale\n",
        r#".web_id: expected "O-2", got "O-1""#,
        r#".lines[0].unit_price: expected "33.31", got "33.30""#,
        "0 passed, 1 failed",
    ];
    shows(&answer, 1, &differences);
    assert_eq!(answer.stdout.lines().count(), 4, "{answer:?}");
}

#[tokio::test]
async fn topics_tap_and_status_show_what_a_running_process_does() {
    let folder = Folder::with(ORDERS_TO_SALES);
    let nobody = folder.ask(&["topics"]).await;
    shows(&nobody, 1, &["No running process was found", "--kafka"]);
    let mut process = folder.run().await;
    for number in 1..=3 {
        folder.shop().tell(&order(&format!("O-{number}"), &format!("C-{number}"))).await;
    }
    until("three sales are there", async || {
        (folder.tap("erp.sales").await.len() == 3).then_some(())
    })
    .await;

    let topics = folder.ask(&["topics"]).await;
    assert_eq!(topics.code, 0);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let table: Vec<_> = topics.stdout.lines().map(words).collect();
    assert!(table.contains(&words("shop.orders 4 3")), "{table:?}");
    assert!(table.contains(&words("orders.to_sale.dead-letters 1 0")), "{table:?}");

    let tap = ["tap", "erp.sales", "--from", "beginning", "-n", "2"];
    let two = folder.ask(&tap).await;
    assert_eq!((two.code, two.stdout.lines().count()), (0, 2), "{two:?}");
    let sale: Value = serde_json::from_str(two.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&sale["value"]["total"], &sale["topic"]), (&"99.90".into(), &"erp.sales".into()));
    assert_eq!(sale["headers"]["ce_source"], "orders/shop");
    let one =
        folder.ask(&["tap", "shop.orders", "--from", "10m", "--no-follow", "--key", "C-2"]).await;
    assert_eq!(one.stdout.lines().count(), 1, "{one:?}");
    assert!(one.stdout.contains(r#""id":"O-2""#), "{one:?}");
    let now = folder.ask(&["tap", "shop.orders", "--no-follow"]).await;
    assert_eq!((now.code, now.stdout.as_str()), (0, ""), "{now:?}");
    shows(&folder.ask(&["tap", "shop.order"]).await, 1, &["no topic `shop.order`"]);
    let yesterday = folder.ask(&["tap", "shop.orders", "--from", "yesterday"]).await;
    shows(&yesterday, 1, &["`beginning`"]);

    let status = folder.ask(&["status"]).await;
    shows(&status, 0, &["orders/shop", "orders/to_sale", "running"]);
    shows(&folder.ask(&["stats"]).await, 0, &["orders/shop", "orders/to_sale", "CALLS SAVED"]);
    let stats: Value =
        serde_json::from_str(&folder.ask(&["stats", "--json"]).await.stdout).unwrap();
    assert!(stats["orders/to_sale"]["events"].as_u64() > Some(0), "{stats}");
    let accept = folder.ask(&["accept", "orders/nowhere", "--from", "now"]).await;
    shows(&accept, 1, &["orders/nowhere"]);
    process.assert_alive();
    assert!(process.terminate().await.success());
    shows(&folder.ask(&["status"]).await, 1, &["No running process was found"]);
}

#[tokio::test]
async fn a_schema_that_would_break_readers_is_refused_with_its_reason() {
    let folder = TempDir::new().unwrap();
    let (kafka, registry) = (free_address().to_string(), free_address().to_string());
    let arguments = ["broker", "--data", "data", "--listen", &kafka, "--registry", &registry];
    let broker = Process::start(folder.path(), "broker", &arguments);
    until("the registry answers", async || {
        client().get(format!("http://{registry}/subjects")).send().await.ok()
    })
    .await;
    let ask = async |arguments: &[&str]| {
        run(folder.path(), &[arguments, &["--registry", &format!("http://{registry}")]].concat())
            .await
    };
    let order = schemas::events::ORDER;
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("order.avsc", order);
    write("note.avsc", &order.replace("What the customer wrote", "What they wrote"));
    let broken = order
        .replace(r#""name": "currency", "type": "string""#, r#""name": "currency", "type": "int""#);
    write("broken.avsc", &broken);
    write("text.avsc", "no schema");

    let register = ask(&["schemas", "register", "shop.orders-value", "order.avsc"]).await;
    shows(&register, 0, &["shop.orders-value", "id 1"]);
    shows(&ask(&["schemas", "check", "shop.orders-value", "note.avsc"]).await, 0, &["may become"]);
    for command in ["check", "register"] {
        let answer = ask(&["schemas", command, "shop.orders-value", "broken.avsc"]).await;
        shows(&answer, 1, &["`currency`", "shop.orders-value"]);
        let text = ask(&["schemas", command, "shop.orders-value", "text.avsc"]).await;
        shows(&text, 1, &["text.avsc is not an Avro schema"]);
    }
    let list = ask(&["schemas", "list"]).await;
    shows(&list, 0, &["shop.orders-value  1 ", "BACKWARD", "passerelle.shop.Order"]);

    // Both are where they said, and a second one is told why it does not start.
    let topics = run(folder.path(), &["topics", "--data", "data"]).await;
    shows(&topics, 0, &["_schemas"]);
    let elsewhere = free_address().to_string();
    let second = ["broker", "--data", "data", "--listen", &elsewhere, "--registry", "127.0.0.1:0"];
    shows(&run(folder.path(), &second).await, 1, &["in use by another broker"]);
    let same = ["broker", "--data", "other", "--listen", &kafka, "--registry", "127.0.0.1:0"];
    shows(&run(folder.path(), &same).await, 1, &[&kafka, "in use"]);
    assert_eq!(broker.terminate().await.code(), Some(0));
    shows(&ask(&["schemas", "list"]).await, 1, &[&registry]);
}

#[tokio::test]
async fn the_catalogue_names_every_connector_with_an_example_and_its_options() {
    let folder = TempDir::new().unwrap();
    let ask = async |arguments: &[&str]| run(folder.path(), arguments).await;
    let list = ask(&["connectors"]).await;
    shows(&list, 0, &["webhook      source", "map          processor", "http         sink"]);
    let names: Vec<_> =
        list.stdout.lines().skip(1).map_while(|line| line.split_whitespace().next()).collect();
    for name in names {
        shows(&ask(&["connectors", name]).await, 0, &[name, "Example:"]);
    }
    shows(&ask(&["connectors", "webhok"]).await, 1, &["`webhok`", "webhook"]);
    let schema = ask(&["connectors", "--json-schema"]).await;
    let schema: Value = serde_json::from_str(&schema.stdout).unwrap();
    assert_eq!(schema["type"], "object");
    for section in ["sources", "processors", "sinks", "topics", "connections"] {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
    shows(&ask(&["connectors", "--reference"]).await, 0, &["# Pipeline files", "concurrency"]);
    let page = ask(&["connectors", "webhook", "--reference"]).await;
    shows(&page, 0, &["# webhook (source)", "`signature`"]);
    shows(&ask(&["--version"]).await, 0, &[env!("CARGO_PKG_VERSION")]);

    // Whoever reads the output may stop reading.
    let mut cut = std::process::Command::new(BINARY)
        .args(["connectors", "--json-schema"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(cut.stdout.take());
    let ended = cut.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
    assert!(ended.status.success());
}

/// What the demo may say on a machine that stands still for seconds.
const LATE: [&str; 3] =
    ["did not stop in time", "connections are cut", "the shop's order was not taken"];

#[tokio::test]
async fn the_demo_starts_in_an_empty_folder_and_goes_on_from_there() {
    let folder = TempDir::new().unwrap();
    let demo = async |orders: &str| run(folder.path(), &["demo", "--orders", orders]).await;
    let first = demo("3").await;
    shows(&first, 0, &["(0 orders so far)", "O-1 ", "O-2 ", "O-3 ", "Orders in the ERP: 3."]);
    let is_late = |line: &&str| LATE.iter().any(|late| line.contains(late));
    let log: Vec<_> = first.stderr.lines().filter(|line| !is_late(line)).collect();
    assert!(log.is_empty(), "it has nothing to warn of: {log:?}");
    let pipeline = "passerelle-demo/orders.yaml";
    shows(&run(folder.path(), &["check", pipeline]).await, 0, &["no problems"]);

    let second = demo("2").await;
    shows(&second, 0, &["(3 orders so far)", "O-4 ", "O-5 ", "Orders in the ERP: 5."]);
    assert!(!second.stdout.contains("O-3 "), "nothing lands twice: {}", second.stdout);

    // Without an end of its own it stops when it is told to, and commands find it meanwhile.
    let mut endless = Process::start(folder.path(), "demo", &["demo"]);
    until("an order lands", async || endless.log().contains("O-6 ").then_some(())).await;
    shows(&run(folder.path(), &["status"]).await, 0, &["orders/sales", "running"]);
    endless.signal(Signal::Terminate);
    let status = endless.ended().await;
    let shown = endless.log();
    assert!(status.success() && shown.contains("SIGTERM: stopping."), "{shown}");
}
