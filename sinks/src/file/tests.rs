use std::path::Path;

use engine::{Domain, Headers, Retry, Value};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::*;
use crate::tests::setup;

mod bucket;

const SCHEMA: &str = r#"{"type":"record","name":"Order","fields":[
    {"name":"id","type":"string"},
    {"name":"country","type":"string"},
    {"name":"total","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
    {"name":"placed","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"buyer","type":["null",{"type":"record","name":"Buyer","fields":[
        {"name":"name","type":"string"},{"name":"vip","type":"boolean"}]}]},
    {"name":"tags","type":{"type":"array","items":"string"}}]}"#;

fn sink(folder: &Path, options: Json) -> Box<dyn Sink> {
    let mut whole = json!({ "format": "json_lines" });
    whole.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let schema = schemas::Schema::parse(SCHEMA).unwrap();
    let setup = Setup {
        input: schemas::kind(&schema),
        input_schema: Some(schema),
        folder: folder.into(),
        ..setup()
    };
    let connection = serde_json::from_value(json!({ "folder": "out" })).unwrap();
    File::build(connection, serde_json::from_value(whole).unwrap(), &setup).unwrap()
}

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("out")).unwrap();
    folder
}

/// The order of an offset; every third is of Germany.
fn order(offset: i64) -> Event {
    let country = if offset % 3 == 0 { "DE" } else { "FR" };
    let json = json!({ "id": format!("O-{offset}"), "country": country, "total": "-12.50",
        "placed": "2026-01-31T08:00:00Z", "buyer": { "name": "=Ann; \"A\"", "vip": true }, "tags": ["a", "b"] });
    event(offset, &json)
}

fn event(offset: i64, json: &Json) -> Event {
    let schema = schemas::Schema::parse(SCHEMA).unwrap();
    let read = schemas::json::read(&schema, json.to_string().as_bytes()).unwrap();
    Event {
        topic: "shop.orders".into(),
        partition: 3,
        offset,
        timestamp: 1_764_000_000_000 + offset,
        key: Some("C-1".into()),
        payload: Some("avro".into()),
        headers: Headers::default(),
        value: Some(read.value),
    }
}

fn orders(offsets: impl IntoIterator<Item = i64>) -> Vec<Event> {
    offsets.into_iter().map(order).collect()
}

/// Delivers; how many events were there already.
async fn deliver(sink: &dyn Sink, batch: &[Event]) -> usize {
    let outcomes = sink.deliver(batch, 1).await;
    outcomes.into_iter().filter(|outcome| outcome.as_ref().unwrap().already_there).count()
}

async fn fault(sink: &dyn Sink, batch: &[Event]) -> Fault {
    let mut outcomes = sink.deliver(batch, 1).await;
    outcomes.pop().unwrap().unwrap_err()
}

/// Every file that readers see, by its way from the folder, in the order of the names.
fn files(folder: &TempDir) -> Vec<(String, String)> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.file_name().unwrap().to_str().unwrap() {
                name if name.starts_with('.') => {
                    assert!(!name.ends_with(".part"), "{name} is left")
                }
                _ if path.is_dir() => walk(root, &path, found),
                _ => {
                    let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                    found.push((name, std::fs::read_to_string(path).unwrap()));
                }
            }
        }
    }
    let (root, mut found) = (folder.path().join("out"), Vec::new());
    walk(&root, &root, &mut found);
    found.sort();
    found
}

/// The orders in all files, by number.
fn ids(folder: &TempDir) -> Vec<i64> {
    let number = |line: &str| {
        let row: Json = serde_json::from_str(line).unwrap();
        row["id"].as_str().unwrap().trim_start_matches("O-").parse().unwrap()
    };
    let mut ids: Vec<i64> =
        files(folder).iter().flat_map(|(_, text)| text.lines()).map(number).collect();
    ids.sort_unstable();
    ids
}

fn journal(folder: &TempDir) -> PathBuf {
    folder.path().join("out/.passerelle/orders.target/shop.orders-3.journal")
}

#[tokio::test]
async fn what_comes_again_in_other_batches_after_a_restart_is_written_once() {
    let folder = folder();
    assert_eq!(deliver(&*sink(folder.path(), json!({})), &orders(0..10)).await, 0);
    let restarted = sink(folder.path(), json!({}));
    assert_eq!(deliver(&*restarted, &orders(5..15)).await, 5);
    assert_eq!(deliver(&*restarted, &orders(0..15)).await, 15);
    assert_eq!(deliver(&*restarted, &orders(14..16)).await, 1);
    assert_eq!(ids(&folder), (0..16).collect::<Vec<_>>());
    let names: Vec<_> = files(&folder).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "shop.orders-3-000000000000-000000000009.jsonl",
            "shop.orders-3-000000000010-000000000014.jsonl",
            "shop.orders-3-000000000015-000000000015.jsonl",
        ]
    );
}

#[tokio::test]
async fn a_changed_path_doubles_nothing() {
    let folder = folder();
    let by_country = json!({ "path": "country={{ .country }}" });
    assert_eq!(deliver(&*sink(folder.path(), by_country), &orders(0..6)).await, 0);
    assert_eq!(files(&folder).len(), 2);
    assert_eq!(deliver(&*sink(folder.path(), json!({})), &orders(0..7)).await, 6);
    assert_eq!(ids(&folder), (0..7).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_file_that_a_reader_took_away_is_not_written_again() {
    let folder = folder();
    deliver(&*sink(folder.path(), json!({})), &orders(0..4)).await;
    let taken = &files(&folder)[0].0;
    std::fs::remove_file(folder.path().join("out").join(taken)).unwrap();
    assert_eq!(deliver(&*sink(folder.path(), json!({})), &orders(0..4)).await, 4);
    assert!(files(&folder).is_empty());
}

#[tokio::test]
async fn offsets_that_were_missing_are_written_when_they_come_later() {
    let folder = folder();
    let sink = sink(folder.path(), json!({}));
    // 2 went to the dead letters, 5 was the mark of a transaction.
    assert_eq!(deliver(&*sink, &orders([0, 1, 3, 4, 6])).await, 0);
    // It is tried again among what arrives.
    assert_eq!(deliver(&*sink, &orders([7, 2])).await, 0);
    assert_eq!(deliver(&*sink, &orders([2, 6, 7])).await, 3);
    assert_eq!(ids(&folder), [0, 1, 2, 3, 4, 6, 7]);
}

/// A dead letter that is tried again, and its own event, which a kill brought once more.
#[tokio::test]
async fn an_event_that_comes_twice_at_once_is_written_once() {
    let folder = folder();
    let sink = sink(folder.path(), json!({}));
    assert_eq!(deliver(&*sink, &orders([1, 2, 2, 3])).await, 1);
    assert_eq!(ids(&folder), [1, 2, 3]);
}

/// What the disk holds when the process dies at each step of a batch in two folders.
#[tokio::test]
async fn a_batch_is_in_all_its_folders_or_in_none_whenever_the_process_dies() {
    let by_country = || json!({ "path": "{{ .country }}" });
    let folder = folder();
    let out = folder.path().join("out");
    deliver(&*sink(folder.path(), by_country()), &orders(0..6)).await;
    let whole = std::fs::read_to_string(journal(&folder)).unwrap();
    let (writing, written) = whole.split_once('\n').unwrap();
    let names: Vec<String> = files(&folder).into_iter().map(|(name, _)| name).collect();
    let temporary = |name: &str| {
        let (folder, name) = name.split_once('/').unwrap();
        out.join(folder).join(format!(".{name}.part"))
    };
    let unnamed = |count: usize| {
        for name in &names[..count] {
            std::fs::rename(out.join(name), temporary(name)).unwrap();
        }
    };

    // After the journal's word, before the first name, and between the two.
    for count in [2, 1] {
        unnamed(count);
        assert_eq!(deliver(&*sink(folder.path(), by_country()), &orders(2..6)).await, 4);
        assert_eq!(ids(&folder), [0, 1, 2, 3, 4, 5]);
    }

    // Before the journal's word, also when it was cut off in its middle.
    for end in ["", &written[..20]] {
        std::fs::write(journal(&folder), format!("{writing}\n{end}")).unwrap();
        unnamed(2);
        let restarted = sink(folder.path(), by_country());
        assert_eq!(deliver(&*restarted, &orders(0..4)).await, 0);
        assert_eq!(ids(&folder), [0, 1, 2, 3]);
        assert_eq!(deliver(&*restarted, &orders(0..6)).await, 4);
        assert_eq!(ids(&folder), [0, 1, 2, 3, 4, 5]);
        // As it was at first.
        std::fs::remove_dir_all(&out).unwrap();
        std::fs::create_dir(&out).unwrap();
        deliver(&*sink(folder.path(), by_country()), &orders(0..6)).await;
    }
}

#[tokio::test]
async fn nothing_of_what_others_wrote_is_replaced() {
    let folder = folder();
    let name = folder.path().join("out/shop.orders-3-000000000000-000000000001.jsonl");
    std::fs::write(&name, "mine").unwrap();
    let sink = sink(folder.path(), json!({}));
    let refused = fault(&*sink, &orders(0..2)).await;
    assert_eq!((refused.cause, refused.retry), ("file_there", Retry::Route), "{refused}");
    assert_eq!(std::fs::read_to_string(&name).unwrap(), "mine");
    std::fs::remove_file(&name).unwrap();
    assert_eq!(deliver(&*sink, &orders(0..2)).await, 0);
    assert_eq!(ids(&folder), [0, 1]);
}

#[tokio::test]
async fn events_of_a_topic_that_was_made_anew_are_not_taken_for_the_old_ones() {
    let folder = folder();
    let sink = sink(folder.path(), json!({}));
    deliver(&*sink, &orders(0..3)).await;
    let anew = Event { timestamp: 1_790_000_000_000, ..order(1) };
    let refused = fault(&*sink, &[anew]).await;
    assert_eq!((refused.cause, refused.retry), ("topic_made_anew", Retry::Route), "{refused}");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_waited_for() {
    let folder = TempDir::new().unwrap();
    let sink = sink(folder.path(), json!({}));
    let missing = fault(&*sink, &orders(0..2)).await;
    assert_eq!((missing.domain, missing.cause), (Domain::Remote, "folder_missing"), "{missing}");
    std::fs::create_dir(folder.path().join("out")).unwrap();
    assert_eq!(deliver(&*sink, &orders(0..2)).await, 0);
    assert_eq!(ids(&folder), [0, 1]);
}

#[tokio::test]
async fn a_process_that_still_writes_is_waited_for_and_what_it_wrote_is_seen() {
    let folder = folder();
    let (one, other) = (sink(folder.path(), json!({})), sink(folder.path(), json!({})));
    deliver(&*one, &orders(0..2)).await;
    let held = std::fs::File::open(journal(&folder).with_extension("lock")).unwrap();
    held.lock().unwrap();
    assert_eq!(fault(&*other, &orders(0..4)).await.cause, "partition_in_use");
    drop(held);
    assert_eq!(deliver(&*other, &orders(0..4)).await, 2);
    assert_eq!(deliver(&*one, &orders(1..6)).await, 3);
    assert_eq!(ids(&folder), [0, 1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn values_do_not_lead_out_of_the_folder() {
    let folder = folder();
    let sink = sink(folder.path(), json!({ "path": "c={{ .country }}/{{ .id }}" }));
    let of = |country: &str, id: &str| {
        let mut event = order(0);
        let row = event.value.as_mut().unwrap().as_object_mut().unwrap();
        row.insert("country".into(), country.into());
        row.insert("id".into(), id.into());
        event
    };
    deliver(&*sink, &[of("../../etc", "O-0")]).await;
    assert_eq!(
        files(&folder)[0].0,
        "c=.._.._etc/O-0/shop.orders-3-000000000000-000000000000.jsonl"
    );
    for id in ["..", ".", "", ".passerelle", &"x".repeat(300)] {
        let event = Event { offset: 1, ..of("FR", id) };
        let fault = fault(&*sink, &[event]).await;
        assert_eq!((fault.domain, fault.cause), (Domain::Data, "path_invalid"), "{fault}");
    }
}

#[tokio::test]
async fn one_event_without_a_row_keeps_no_other_from_its_file() {
    let folder = folder();
    let sink = sink(folder.path(), json!({ "format": "parquet" }));
    let mut batch = orders(0..3);
    batch[1].value = Some(Value::from("no record"));
    let deletion = Event { payload: None, value: None, ..order(3) };
    let outcomes = sink.deliver(&[batch, vec![deletion]].concat(), 1).await;
    let cause = |index: usize| outcomes[index].as_ref().map_err(|fault| fault.cause);
    assert!(cause(0).is_ok() && cause(2).is_ok());
    assert_eq!((cause(1), cause(3)), (Err("row_invalid"), Err("row_of_deletion")));
}

#[tokio::test]
async fn csv_opens_as_it_is_meant() {
    let folder = folder();
    let options = json!({ "format": "csv", "csv": { "delimiter": ";", "decimal": "," } });
    let lone = json!({ "id": "0042", "country": "FR", "total": "1000.00",
        "placed": "2026-01-31T08:00:00.250Z", "buyer": null, "tags": [] });
    deliver(&*sink(folder.path(), options), &[order(0), event(1, &lone)]).await;
    let expected = "\u{feff}id;country;total;placed;buyer.name;buyer.vip;tags\r\n\
        O-0;DE;-12,50;2026-01-31 08:00:00;\"'=Ann; \"\"A\"\"\";true;\"[\"\"a\"\",\"\"b\"\"]\"\r\n\
        \"=\"\"0042\"\"\";FR;1000,00;2026-01-31 08:00:00.250;;;[]\r\n";
    assert_eq!(files(&folder)[0].1, expected);
}

#[tokio::test]
async fn a_long_journal_is_shortened_and_forgets_nothing() {
    let folder = folder();
    let first = sink(folder.path(), json!({}));
    deliver(&*first, &orders([0, 1, 5])).await;
    let line = "{\"writing\":[]}\n".repeat(11_000);
    let mut text = std::fs::read_to_string(journal(&folder)).unwrap();
    text.insert_str(0, &line);
    std::fs::write(journal(&folder), text).unwrap();
    assert_eq!(deliver(&*first, &orders(0..7)).await, 3);
    assert!(std::fs::metadata(journal(&folder)).unwrap().len() < 1_000);
    assert_eq!(deliver(&*sink(folder.path(), json!({})), &orders(0..7)).await, 7);
    assert_eq!(ids(&folder), (0..7).collect::<Vec<_>>());
}

#[test]
fn columns_need_a_schema() {
    let connection: Connection = serde_json::from_value(json!({ "folder": "out" })).unwrap();
    for format in ["csv", "parquet"] {
        let options = serde_json::from_value(json!({ "format": format })).unwrap();
        let Err(fault) = File::build(connection.clone(), options, &setup()) else { panic!() };
        assert_eq!(fault.cause, "schema_missing");
        assert!(fault.message.contains(format), "{fault}");
    }
}

#[test]
fn a_path_stays_within_the_folder_and_a_delimiter_is_one() {
    let connection: Connection = serde_json::from_value(json!({ "folder": "out" })).unwrap();
    for (options, code) in [
        (json!({ "format": "csv", "path": "/etc/{{ .id }}" }), "path_outside"),
        (json!({ "format": "csv", "path": "a/../../b" }), "path_outside"),
        (json!({ "format": "csv", "csv": { "delimiter": "a" } }), "delimiter_invalid"),
    ] {
        let mut findings = Findings::default();
        File::check(&connection, &serde_json::from_value(options).unwrap(), &mut findings);
        assert_eq!(findings.0.iter().map(|finding| finding.code).collect::<Vec<_>>(), [code]);
    }
}
