//! Files dropped into a folder become events through the binary, digit by digit, in bounded memory.
//! (Orders of UBL, cXML, EDIFACT and X12 are examples of the docs: tests/examples.)
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod endtoend;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use endtoend::folder::Folder;
use endtoend::process::Process;
use endtoend::{topic, until};
use serde_json::{Value, json};

const CSV: &[u8] = include_bytes!("../docs/examples/orders-from-csv/in/orders.csv");

/// How many megabytes the large file has, unless somebody says so.
const MEGABYTES: usize = 60;
/// How many mebibytes more a process may need for a file ten times as large.
const GROWTH: u64 = 48;
/// How long reading the large file may take, a megabyte: generous, for slow machines.
const PATIENCE_A_MEGABYTE: Duration = Duration::from_secs(5);

const ROW: &str = r#"{"type":"record","name":"Row","fields":[
  {"name":"number","type":"string"},{"name":"customer","type":"string"},
  {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":38,"scale":2}},
  {"name":"day","type":{"type":"int","logicalType":"date"}},
  {"name":"label","type":["null","string"],"default":null}]}"#;

const TEXT: &str = r#"{"type":"record","name":"Text","fields":[
  {"name":"code","type":"string"},{"name":"text","type":"string"}]}"#;

const SECTIONS: &str = r##"
topics:
  rows: { partitions: 2, schema: row.avsc }
  texts: { partitions: 1, schema: text.avsc }
sources:
  csv:
    file:
      folder: in/csv
      ready: rename
      every: 100ms
      format: { csv: { delimiter: ";" } }
      encoding: CP1252
      numbers: { decimal: ",", thousands: " " }
      dates: ["%d/%m/%Y"]
      types: { Montant: number, Date: date }
      event: '{ "number": ."N°", "customer": .Client, "amount": .Montant, "day": .Date, "label": ."Libellé" }'
    to: rows
    key: .customer
  fixed:
    file:
      folder: in/fixed
      ready: rename
      every: 100ms
      format:
        fixed_width:
          columns:
            number: { start: 1, length: 6 }
            customer: { start: 7, length: 4 }
            amount: { start: 11, length: 12 }
            day: { start: 23, length: 8 }
      numbers: { decimal: "," }
      dates: ["%d%m%Y"]
    to: rows
  lines:
    file: { folder: in/lines, ready: rename, every: 100ms, format: json_lines, type: '"row"' }
    to: rows
  large:
    file:
      folder: in/large
      ready: rename
      every: 100ms
      format: { csv: {} }
      then: { archive: done }
    to: texts
  large_xml:
    file:
      folder: in/large_xml
      ready: rename
      every: 100ms
      format: { xml: { record: /r/o } }
      then: { archive: done }
    to: texts
"##;

const SOURCES: [&str; 5] = ["csv", "fixed", "lines", "large", "large_xml"];

fn folder() -> Folder {
    let folder = Folder::with(SECTIONS);
    folder.write("row.avsc", ROW);
    folder.write("text.avsc", TEXT);
    for source in SOURCES {
        std::fs::create_dir_all(folder.path().join("in").join(source)).unwrap();
    }
    folder
}

/// Puts a file into a source's folder under its right name once it is whole.
fn put(folder: &Folder, source: &str, name: &str, bytes: &[u8]) -> PathBuf {
    let within = folder.path().join("in").join(source);
    let hidden = within.join(format!(".{name}"));
    std::fs::write(&hidden, bytes).unwrap();
    let path = within.join(name);
    std::fs::rename(hidden, &path).unwrap();
    path
}

/// The events of a topic once there are so many, by one of their fields.
async fn events(folder: &Folder, topic: &str, count: usize, by: &str) -> Vec<Value> {
    let there = async || {
        let events = folder.tap(topic).await;
        (events.len() >= count).then_some(events)
    };
    let mut events = until(&format!("{topic} has {count} events"), there).await;
    events.sort_by_key(|event| event["value"][by].to_string());
    events
}

/// The dead letters of a source once there are so many: cause and bytes.
async fn rejected(folder: &Folder, source: &str, count: usize) -> Vec<(String, String)> {
    let letters = async || {
        let all = topic::read(folder.kafka(), &format!("orders.{source}.dead-letters")).await;
        (all.len() >= count).then_some(all)
    };
    let all = until(&format!("{source} has {count} dead letters"), letters).await;
    let shown = |record: &topic::Record| {
        let cause = record.header("__connect.errors.exception.class.name").to_owned();
        (cause, String::from_utf8_lossy(record.value.as_deref().unwrap()).into_owned())
    };
    all.iter().map(shown).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_every_flat_format_arrive_digit_by_digit() {
    let folder = folder();
    let mut process = folder.run().await;
    put(&folder, "csv", "orders.csv", CSV);
    put(
        &folder,
        "fixed",
        "night.txt",
        b"00012300421234567,89  31122025\n00012400070,5\n000125000900000000000131122025",
    );
    let lines = "{\"number\":\"1\",\"customer\":\"c\",\"amount\":12345678901234567890123456.78,\"day\":\"2025-12-31\"}\n{\"number\":\n";
    put(&folder, "lines", "rows.jsonl", lines.as_bytes());
    let rows = events(&folder, "rows", 6, "number").await;
    let values: Vec<&Value> = rows.iter().map(|row| &row["value"]).collect();
    let row = |number: &str, customer: &str, amount: &str, day: &str, label: Value| json!({ "number": number, "customer": customer, "amount": amount, "day": day, "label": label });
    assert_eq!(
        values,
        [
            &row("000123", "0042", "1234567.89", "2025-12-31", Value::Null),
            &row("000125", "0009", "1.00", "2025-12-31", Value::Null),
            &row("00123", "0042", "1234.56", "2025-12-31", json!("Café € \"fin\";\r\ndeux lignes")),
            &row("00124", "0007", "-0.10", "2026-01-01", json!("Œuvre")),
            &row("00125", "0009", "12345678901234.05", "2024-02-29", json!("5\" tube")),
            &row("1", "c", "12345678901234567890123456.78", "2025-12-31", Value::Null),
        ]
    );
    let ids: Vec<&str> = rows.iter().map(|row| row["headers"]["ce_id"].as_str().unwrap()).collect();
    assert!(ids[2].ends_with(":1") && ids[4].ends_with(":3"), "{ids:?}");
    assert_eq!(rejected(&folder, "fixed", 1).await[0].1, "00012400070,5\n");
    assert_eq!(
        rejected(&folder, "lines", 1).await[0],
        ("not_json".into(), "{\"number\":\n".into())
    );
    // The same content under another name, and after a restart, has no effect.
    put(&folder, "csv", "again.csv", CSV);
    process.kill();
    let mut process = folder.run().await;
    put(&folder, "csv", "more.csv", "N\u{b0};Client;Montant;Date;Libell\u{e9};Note\n".as_bytes());
    put(
        &folder,
        "lines",
        "more.jsonl",
        b"{\"number\":\"2\",\"customer\":\"c\",\"amount\":1,\"day\":\"2025-12-31\"}",
    );
    let rows = events(&folder, "rows", 7, "number").await;
    assert_eq!(rows.len(), 7);
    process.assert_alive();
}

#[tokio::test(flavor = "multi_thread")]
async fn xml_with_a_document_type_or_an_entity_is_refused_and_fetches_nothing() {
    let folder = folder();
    let mut process = folder.run().await;
    let secret = folder.path().join("shop.secret");
    let attack = format!(
        "<!DOCTYPE r [<!ENTITY x SYSTEM \"file://{}\">]><r><o><code>&x;</code><text>t</text></o></r>",
        secret.display()
    );
    put(&folder, "large_xml", "attack.xml", attack.as_bytes());
    let entity = "<r><o><code>&x;</code><text>t</text></o><o><code>1</code><text>t</text></o></r>";
    put(&folder, "large_xml", "entity.xml", entity.as_bytes());
    let mut letters = rejected(&folder, "large_xml", 2).await;
    letters.sort();
    assert_eq!(letters[0], ("xml_dtd".to_owned(), attack));
    assert_eq!(letters[1].0, "xml_entity");
    assert_eq!(letters[1].1, "<o><code>&x;</code><text>t</text></o>", "its own bytes");
    let texts = events(&folder, "texts", 1, "code").await;
    assert_eq!(texts[0]["value"], json!({ "code": "1", "text": "t" }));
    process.assert_alive();
}

#[tokio::test]
async fn a_schema_is_proposed_for_a_sample_with_what_was_unsure() {
    let folder = Folder::with("");
    std::fs::write(folder.path().join("sample.csv"), CSV).unwrap();
    let arguments = ["schemas", "infer", "--from", "sample.csv", "--name", "exported_row"];
    let answer = folder.passerelle(&arguments).await;
    assert_eq!(answer.code, 0, "{answer:?}");
    let schema = schemas::Schema::parse(&answer.stdout).unwrap();
    assert_eq!(schema.fullname().as_deref(), Some("ExportedRow"));
    let fields = schema.fields();
    let kind = |name: &str| {
        let field = fields.iter().find(|field| field.path.to_string() == format!(".{name}"));
        field.unwrap().kind.clone()
    };
    assert_eq!(kind("Client"), "string");
    assert_eq!(kind("Montant"), "decimal(18, 2)");
    assert_eq!(kind("Date"), "date");
    for said in ["leading zeros", "decimal comma", "CP1252", "day/month/year"] {
        assert!(answer.stderr.contains(said), "{said}: {}", answer.stderr);
    }
    let answer = folder.passerelle(&["schemas", "infer", "--from", "nowhere.csv"]).await;
    assert!(answer.code == 1 && answer.stderr.contains("nowhere.csv"), "{answer:?}");
}

/// Waits until a file was read, however large.
async fn read(folder: &Folder, name: &str, megabytes: usize, process: &mut Process) {
    let archived = folder.path().join("done").join(name);
    let patience = PATIENCE_A_MEGABYTE * u32::try_from(megabytes.max(12)).unwrap();
    let started = Instant::now();
    while !archived.exists() {
        process.assert_alive();
        assert!(started.elapsed() < patience, "{name} is not read in {patience:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Writes so many megabytes of records of eight kilobytes; how many they are.
fn generate(folder: &Folder, source: &str, name: &str, megabytes: usize) -> usize {
    let hidden = folder.path().join("in").join(source).join(format!(".{name}"));
    let mut file = std::io::BufWriter::new(std::fs::File::create(&hidden).unwrap());
    let is_xml = source == "large_xml";
    file.write_all(if is_xml { b"<r>\n" } else { b"code,text\n" }).unwrap();
    let count = megabytes * 1_000_000 / 8_000;
    let mut record = String::new();
    for number in 0..count {
        record.clear();
        let text = format!("{number:08} ").repeat(880);
        match is_xml {
            true => writeln!(record, "<o><code>{name}{number}</code><text>{text}</text></o>"),
            false => writeln!(record, "{name}{number},\"{text}\""),
        }
        .unwrap();
        file.write_all(record.as_bytes()).unwrap();
    }
    file.write_all(if is_xml { b"</r>\n" } else { b"" }).unwrap();
    drop(file);
    std::fs::rename(&hidden, hidden.with_file_name(name)).unwrap();
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_is_read_in_the_memory_of_a_small_one() {
    let asked = std::env::var("PASSERELLE_TEST_FILE_MEGABYTES").ok();
    let megabytes = asked.as_ref().map_or(MEGABYTES, |text| text.parse().unwrap());
    if asked.is_none() {
        eprintln!(
            "SKIPPED: a file of 500 MB; {MEGABYTES} MB are read here. \
             PASSERELLE_TEST_FILE_MEGABYTES=500 cargo test --workspace --test file reads it."
        );
    }
    for source in ["large", "large_xml"] {
        let folder = folder();
        let mut process = folder.run().await;
        let mut expected = generate(&folder, source, "small", megabytes / 10);
        read(&folder, "small", megabytes / 10, &mut process).await;
        let small = process.peak_memory();
        expected += generate(&folder, source, "large", megabytes);
        read(&folder, "large", megabytes, &mut process).await;
        let large = process.peak_memory();
        eprintln!(
            "{source}: {small} MiB after {} MB, {large} MiB after {megabytes} MB",
            megabytes / 10
        );
        assert!(large < small + GROWTH, "{source}: {small} MiB became {large} MiB");
        let labels = format!("{{pipeline=\"orders\",route=\"{source}\"}}");
        let written = format!("passerelle_records_out_total{labels}");
        let written = folder.operators().metric(&written).await;
        assert_eq!(written as usize, expected, "every record is an event");
    }
}
