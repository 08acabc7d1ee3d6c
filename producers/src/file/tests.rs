//! The source over a real folder and a list that stands for Kafka.

use std::fs;
use std::path::Path;
use std::time::Duration;

use engine::connector::Shared;
use engine::{Domain, Publisher, ShutdownTrigger};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use vrl::value::Kind;

use super::source::Run;
use super::*;
use crate::cursor::Versioned as _;
use crate::poll::simulator::Desk;

mod bucket;

const SCHEMA: &str = r#"{"type":"record","name":"Row","fields":[
    {"name":"code","type":"string"},{"name":"name","type":"string"},
    {"name":"price","type":["null",{"type":"bytes","logicalType":"decimal","precision":20,"scale":2}],"default":null},
    {"name":"day","type":["null",{"type":"int","logicalType":"date"}],"default":null}]}"#;

struct Place {
    folder: TempDir,
    desk: Desk,
    options: Json,
}

impl Place {
    fn with(more: Json) -> Self {
        let mut options = json!({
            "folder": "in", "settle": "0s", "format": { "csv": { "delimiter": ";" } },
            "numbers": { "decimal": ",", "thousands": " " }, "dates": ["%d/%m/%Y"],
        });
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("in")).unwrap();
        Self { folder, desk: Desk::default(), options }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("in").join(name)
    }

    fn drop_file(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn setup(&self) -> Setup {
        Setup {
            route: "tests/rows".into(),
            input: Kind::any(),
            input_schema: None,
            output_schema: Some(schemas::Schema::parse(SCHEMA).unwrap()),
            connection: None,
            listen: ([127, 0, 0, 1], 0).into(),
            folder: self.folder.path().to_owned(),
            shared: Shared::default(),
        }
    }

    /// The source as it starts, at the cursor that lies in Kafka.
    fn run(&self) -> Run {
        let options: FileOptions = serde_json::from_value(self.options.clone()).unwrap();
        self.start(open(&options, key(), &self.setup()).unwrap())
    }

    fn start(&self, source: FileSource) -> Run {
        let (trigger, stop) = ShutdownTrigger::new();
        std::mem::forget(trigger);
        let out = Publisher::new(Arc::new(self.desk.clone()), None);
        Run::new(source, out, stop).unwrap()
    }

    async fn round(&self) -> Result<(), Fault> {
        self.run().round().await
    }

    fn kill_after(&self, writes: Option<usize>) {
        self.desk.0.lock().unwrap().writes_left = writes;
    }

    fn rejected(&self) -> Vec<(String, &'static str, String)> {
        let kept = self.desk.0.lock().unwrap();
        let of = |one: &(engine::publisher::Rejected, Fault)| {
            (
                one.0.id.clone(),
                one.1.cause,
                String::from_utf8_lossy(one.0.body.as_deref().unwrap()).into_owned(),
            )
        };
        kept.rejected.iter().map(of).collect()
    }

    fn distinct_ids(&self) -> usize {
        let mut ids = self.desk.ids();
        ids.sort();
        ids.dedup();
        ids.len()
    }
}

fn key() -> Option<Expression> {
    Some(Expression(".code".to_owned()))
}

fn rows(range: std::ops::Range<usize>) -> String {
    range.map(|row| format!("{row:05};n{row:05};{} 000,10;31/12/2025\n", row % 1_000)).collect()
}

const HEAD: &str = "code;name;price;day\n";

#[tokio::test]
async fn a_row_becomes_an_event_of_the_topics_schema_digit_by_digit() {
    let place = Place::with(json!({ "encoding": "CP1252", "type": "\"row\"" }));
    let bytes = b"code;name;price;day\r\n00123;Caf\xe9 \x80;1 234,56;31/12/2025\r\n00124;n;;\r\n";
    fs::write(place.path("a.csv"), bytes).unwrap();
    place.round().await.unwrap();
    let kept = place.desk.0.lock().unwrap();
    let shown: Vec<_> = kept
        .events
        .iter()
        .map(|event| schemas::json::write(event.value.as_ref().unwrap()))
        .collect();
    assert_eq!(
        shown,
        [
            r#"{"code":"00123","day":"2025-12-31","name":"Café €","price":"1234.56"}"#,
            r#"{"code":"00124","day":null,"name":"n","price":null}"#,
        ]
    );
    let event = &kept.events[0];
    assert_eq!((event.key.as_deref(), event.kind.as_deref()), (Some("00123"), Some("row")));
    assert!(event.id.len() == 34 && event.id.ends_with(":1"), "{}", event.id);
}

#[tokio::test]
async fn an_expression_reads_typed_columns_and_names_the_event() {
    let place = Place::with(json!({
        "types": { "Prix": "number", "Jour": "date" },
        "event": r#"{ "code": .Code, "name": upcase!(.Nom), "price": .Prix, "day": .Jour }"#,
        "event_id": ".Code", "time": r#"string!(.Jour) + "T00:00:00Z""#,
    }));
    place.drop_file(
        "a.csv",
        "Code;Nom;Prix;Jour\n00123;a;1 234,5;31/12/2025\n00124;b;1.5;31/12/2025\n",
    );
    place.round().await.unwrap();
    let kept = place.desk.0.lock().unwrap().events.clone();
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].id.as_str(), kept[0].time), ("00123", Some(1_767_139_200_000)));
    let price = kept[0].value.as_ref().unwrap().as_object().unwrap()["price"].clone();
    assert_eq!(price, engine::Value::from("1234.50"));
    assert_eq!(place.rejected()[0].1, "invalid_text", "a point is no comma");
}

#[tokio::test]
async fn a_kill_at_any_write_neither_loses_nor_doubles_a_row() {
    for writes in 0..4 {
        let place = Place::with(json!({ "then": { "archive": "done" } }));
        let text = format!("{HEAD}{}bad\n{}", rows(0..1_700), rows(1_700..2_500));
        place.drop_file("a.csv", &text);
        place.kill_after(Some(writes));
        let killed = place.round().await;
        assert!(killed.is_err() || writes == 3, "{writes}");
        place.kill_after(None);
        place.round().await.unwrap();
        place.round().await.unwrap();
        assert_eq!((place.desk.names().len(), place.distinct_ids()), (2_500, 2_500), "{writes}");
        assert!(place.desk.names().is_sorted(), "in the file's order");
        let mut rejected = place.rejected();
        rejected.dedup();
        assert_eq!(rejected.len(), 1, "the same again: {rejected:?}");
        assert_eq!((rejected[0].1, rejected[0].2.as_str()), ("ragged_row", "bad\n"));
        assert!(!place.path("a.csv").exists() && place.folder.path().join("done/a.csv").exists());
    }
}

#[tokio::test]
async fn the_same_content_dropped_again_has_no_effect_under_any_name() {
    let place = Place::with(json!({ "then": { "archive": "done" } }));
    let text = format!("{HEAD}{}", rows(0..3));
    for name in ["a.csv", "a.csv", "b.csv"] {
        place.drop_file(name, &text);
        place.round().await.unwrap();
    }
    assert_eq!(place.desk.names().len(), 3);
    assert_eq!(fs::read_dir(place.folder.path().join("done")).unwrap().count(), 3, "each is kept");
    place.drop_file("a.csv", &format!("{HEAD}{}", rows(3..4)));
    place.round().await.unwrap();
    assert_eq!(place.desk.names().len(), 4, "another content is another file");
}

#[tokio::test]
async fn a_file_is_read_only_once_it_is_complete() {
    let mut place = Place::with(json!({ "settle": "200ms", "pattern": "*.csv" }));
    let mut run = place.run();
    for name in [".a.csv", "~a.csv", "a.csv.part", "a.txt"] {
        place.drop_file(name, &format!("{HEAD}{}", rows(0..3)));
    }
    for rows_there in 1..5 {
        place.drop_file("a.csv", &format!("{HEAD}{}0000", rows(0..rows_there)));
        run.round().await.unwrap();
        assert!(place.desk.names().is_empty(), "it grows");
    }
    place.drop_file("a.csv", &format!("{HEAD}{}", rows(0..4)));
    while place.desk.names().is_empty() {
        run.round().await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((place.desk.names().len(), place.rejected().len()), (4, 0));

    place.options["ready"] = "marker".into();
    place.drop_file("b.csv", &format!("{HEAD}{}", rows(4..6)));
    place.round().await.unwrap();
    assert_eq!(place.desk.names().len(), 4);
    place.drop_file("b.csv.done", "");
    place.options["then"] = "delete".into();
    place.round().await.unwrap();
    assert_eq!(place.desk.names().len(), 6);
    assert!(!place.path("b.csv").exists() && !place.path("b.csv.done").exists());
}

#[tokio::test]
async fn a_marker_that_was_left_behind_says_nothing_of_the_next_file() {
    let place = Place::with(json!({ "ready": "marker", "pattern": "*.csv" }));
    place.drop_file("a.csv", &format!("{HEAD}{}", rows(0..2)));
    place.drop_file("a.csv.done", "");
    place.round().await.unwrap();
    assert_eq!(place.desk.names().len(), 2);
    // (Times of files are as coarse as a clock's tick.)
    tokio::time::sleep(Duration::from_millis(50)).await;
    place.drop_file("a.csv", &format!("{HEAD}{}", rows(2..3)));
    place.round().await.unwrap();
    assert_eq!(place.desk.names().len(), 2, "it is written still");
    place.drop_file("a.csv", &format!("{HEAD}{}", rows(2..6)));
    place.drop_file("a.csv.done", "");
    place.round().await.unwrap();
    assert_eq!(place.desk.names().len(), 6);
}

#[tokio::test]
async fn a_file_that_is_never_complete_does_not_keep_others_remembered() {
    let place = Place::with(json!({
        "ready": "marker", "pattern": "*.csv", "remember": 2, "then": { "archive": "away" },
    }));
    place.drop_file("never.csv", &format!("{HEAD}{}", rows(0..1)));
    let mut run = place.run();
    for number in 1..=5 {
        let name = format!("{number}.csv");
        place.drop_file(&name, &format!("{HEAD}{}", rows(number..number + 1)));
        place.drop_file(&format!("{name}.done"), "");
        run.round().await.unwrap();
        assert!(!place.path(&name).exists() && !place.path(&format!("{name}.done")).exists());
    }
    assert_eq!(place.desk.names().len(), 5);
    let cursor = engine::publisher::Outlet::cursor(&place.desk).unwrap();
    let remembered = super::cursor::Cursor::read(&cursor).unwrap().remembered();
    assert!(remembered <= 3, "{remembered}");
}

#[tokio::test]
async fn a_file_that_grows_or_comes_back_goes_on_where_it_was() {
    let place = Place::with(json!({}));
    let text = format!("{HEAD}{}", rows(0..2_500));
    place.drop_file("a.csv", &text);
    place.kill_after(Some(1));
    place.round().await.unwrap_err();
    place.kill_after(None);
    assert_eq!(place.desk.names().len(), 1_000);
    // It is renamed away, and named once.
    fs::rename(place.path("a.csv"), place.folder.path().join("away")).unwrap();
    for _ in 0..3 {
        place.round().await.unwrap();
    }
    let rejected = place.rejected();
    assert_eq!((rejected.len(), rejected[0].1), (1, "file_interrupted"));
    // It comes back under another name, and grows before it is looked at again.
    fs::rename(place.folder.path().join("away"), place.path("a.csv")).unwrap();
    place.drop_file("a.csv", &format!("{text}{}", rows(2_500..2_600)));
    place.round().await.unwrap();
    assert_eq!((place.desk.names().len(), place.distinct_ids()), (2_600, 2_600));
    place.round().await.unwrap();
    assert_eq!((place.desk.names().len(), place.rejected().len()), (2_600, 1));
}

#[tokio::test]
async fn a_file_that_is_changed_in_the_middle_is_named_and_read_as_it_is_now() {
    let place = Place::with(json!({}));
    place.drop_file("a.csv", &format!("{HEAD}{}", rows(0..2_500)));
    place.kill_after(Some(1));
    place.round().await.unwrap_err();
    place.kill_after(None);
    place.drop_file("a.csv", &format!("{HEAD}{}0010", rows(0..10)));
    place.round().await.unwrap();
    assert_eq!(place.desk.names().len(), 1_010);
    let causes: Vec<_> = place.rejected().iter().map(|one| one.1).collect();
    assert_eq!(causes, ["ragged_row", "file_interrupted"]);
    assert_eq!(place.distinct_ids(), 1_010, "another content, other ids");
}

#[tokio::test]
async fn no_content_is_forgotten_while_its_file_lies_there() {
    let mut place = Place::with(json!({ "remember": 2 }));
    for number in 0..2 {
        place.drop_file(&format!("{number}.csv"), &format!("{HEAD}{}", rows(number..number + 1)));
    }
    place.round().await.unwrap();
    place.drop_file("2.csv", &format!("{HEAD}{}", rows(2..3)));
    place.round().await.unwrap();
    place.drop_file("3.csv", &format!("{HEAD}{}", rows(3..4)));
    let fault = place.round().await.unwrap_err();
    assert_eq!((fault.cause, fault.domain), ("too_many_files", Domain::Remote));
    place.options["remember"] = 100.into();
    place.round().await.unwrap();
    assert_eq!((place.desk.names().len(), place.distinct_ids()), (4, 4));
}

#[tokio::test]
async fn a_file_that_is_none_of_its_format_is_one_dead_letter() {
    let place = Place::with(json!({ "format": { "xml": { "record": "/r/o" } } }));
    place.drop_file("a.xml", "<!DOCTYPE r SYSTEM 'x'><r><o/></r>");
    fs::write(place.path("b.xml"), b"\xff\xfe<\0r\0/\0>\0").unwrap();
    place.drop_file("empty.xml", "");
    place.drop_file("c.xml", "<r><o><code>1</code><name>n</name><price>1,5</price></o></r>");
    place.round().await.unwrap();
    place.round().await.unwrap();
    let mut causes: Vec<_> = place.rejected().iter().map(|one| one.1).collect();
    causes.sort_unstable();
    assert_eq!(causes, ["xml_dtd", "xml_encoding"]);
    assert_eq!(place.desk.names(), ["n"]);
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let place = Place::with(json!({ "folder": "nowhere" }));
    let fault = place.round().await.unwrap_err();
    assert_eq!((fault.cause, fault.domain), ("folder_unreadable", Domain::Remote));
    assert!(fault.message.contains("nowhere"), "{fault}");
}

#[test]
fn mistakes_are_found_with_their_place() {
    let options = json!({
        "folder": "in", "every": "0s", "remember": 0, "encoding": "EBCDIC", "pattern": "[",
        "format": { "xml": { "record": "Order" } }, "numbers": { "thousands": "." },
        "dates": ["%Q"], "event": ".a ==", "largest_record": 10, "time_zone": "Paris",
    });
    let mut findings = Findings::default();
    File::check(&serde_json::from_value(options).unwrap(), &mut findings);
    let mut found: Vec<_> = findings.0.iter().map(|one| one.pointer.as_str()).collect();
    found.sort_unstable();
    let expected = [
        "/file/dates",
        "/file/encoding",
        "/file/event",
        "/file/every",
        "/file/format/xml/record",
        "/file/largest_record",
        "/file/numbers/thousands",
        "/file/pattern",
        "/file/remember",
        "/file/time_zone",
    ];
    assert_eq!(found, expected);
    assert!(!Path::new("in").exists());
}
