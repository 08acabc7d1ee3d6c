use engine::connector::Setup;
use schemas::Schema;
use serde_json::{Value as Json, json};

use super::*;

/// Options with a table.
pub(super) fn options(mut given: Json) -> Options {
    given["table"] = json!("shop.orders");
    serde_json::from_value(given).unwrap()
}

/// A route that reads events of this schema.
pub(super) fn setup_of(schema: &Schema) -> Setup {
    Setup {
        input: schemas::kind(schema),
        input_schema: Some(schema.clone()),
        ..crate::tests::setup()
    }
}

fn mistakes(given: Json) -> Vec<&'static str> {
    options(given).mistakes().into_iter().map(|(_, code, ..)| code).collect()
}

#[test]
fn options_that_cannot_work_are_told_when_the_file_is_checked() {
    for (given, expected) in [
        (json!({ "keys": ["id"] }), vec![]),
        (json!({}), vec!["keys_missing"]),
        (json!({ "mode": "insert" }), vec![]),
        (json!({ "mode": "insert", "newer_by": "at" }), vec!["newer_by_unused"]),
        (json!({ "keys": ["id"], "columns": { "a": ".a" } }), vec!["column_missing"]),
        (json!({ "keys": ["id"], "on_delete": "delete" }), vec![]),
        (json!({ "keys": ["a", "b"], "on_delete": "delete" }), vec!["delete_by_missing"]),
        (json!({ "mode": "insert", "on_delete": "delete" }), vec!["delete_by_missing"]),
        (json!({ "keys": ["id"], "delete_by": { "id": "%key" } }), vec!["delete_by_unused"]),
        (json!({ "keys": ["id"], "offsets_table": "a.b.c" }), vec!["table_invalid"]),
        (json!({ "keys": ["id"], "statement_timeout": "0s" }), vec!["timeout_zero"]),
    ] {
        assert_eq!(mistakes(given.clone()), expected, "{given}");
    }
}

#[test]
fn what_is_promised_about_repeats_follows_from_the_keys() {
    let once = |given| Postgres::once(&options(given));
    assert_eq!(once(json!({ "keys": ["id"] })), Once::Forever);
    assert_eq!(once(json!({ "mode": "insert", "keys": ["id"] })), Once::Forever);
    // A replay adds the rows again, whatever the offsets say.
    assert_eq!(once(json!({ "mode": "insert", "exactly_once": true })), Once::No);
    let overwrites = |given| Postgres::overwrites(&options(given));
    assert!(overwrites(json!({ "keys": ["id"] })));
    assert!(!overwrites(json!({ "keys": ["id"], "newer_by": "at" })));
    assert!(!overwrites(json!({ "mode": "insert" })));
}

fn event(value: Option<Json>) -> Event {
    let value = value.map(|json| schemas::json::read_plain(json.to_string().as_bytes()).unwrap());
    let mut event = Event::of_value(engine::Value::Null);
    (event.value, event.key) = (value, Some("k1".into()));
    event
}

/// The columns and their texts that an event becomes.
fn row_of(given: Json, value: Option<Json>) -> Result<Vec<(String, Option<String>)>, Fault> {
    let reading = Reading::new(options(given), &crate::tests::setup()).unwrap();
    let table = catalogue::tests::table(
        "shop.orders",
        &[("id", "bigint"), ("total", "numeric"), ("lines", "jsonb"), ("name", "text")],
    );
    let event = event(value);
    let act = reading.draft(&event)?;
    let row = reading.row(0, act, &table)?;
    let names = row.names.iter().map(|name| (*name).to_owned());
    Ok(names.zip(row.texts).collect())
}

fn texts(pairs: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
    let owned = |(name, text): &(&str, Option<&str>)| ((*name).to_owned(), text.map(str::to_owned));
    pairs.iter().map(owned).collect()
}

#[test]
fn fields_go_to_the_columns_of_their_names_or_where_the_file_says() {
    let value = json!({ "id": 1, "lines": [{ "sku": "A" }], "total": "1.50", "name": null });
    let row = row_of(json!({ "keys": ["id"] }), Some(value.clone())).unwrap();
    let expected = [
        ("id", Some("1")),
        ("lines", Some(r#"[{"sku":"A"}]"#)),
        ("name", None),
        ("total", Some("1.50")),
    ];
    assert_eq!(row, texts(&expected));
    let columns = json!({ "id": ".id", "name": "\"n\" + to_string!(.id)" });
    let row = row_of(json!({ "keys": ["id"], "columns": columns }), Some(value)).unwrap();
    assert_eq!(row, texts(&[("id", Some("1")), ("name", Some("n1"))]));
}

#[test]
fn what_a_column_cannot_hold_is_the_event_s_own_fault() {
    let fault = |value| row_of(json!({ "keys": ["id"] }), Some(value)).unwrap_err();
    let nested = fault(json!({ "id": 1, "name": { "first": "A" } }));
    assert_eq!(nested.domain, engine::Domain::Data);
    assert!(nested.message.contains("`name` of shop.orders"), "{nested}");
    assert_eq!(fault(json!({ "id": null })).cause, "postgres_key_null");
    assert_eq!(fault(json!({ "name": "A" })).cause, "postgres_key_null");
    for empty in [json!(7), json!({})] {
        assert_eq!(fault(empty).cause, "postgres_no_fields");
    }
}

#[test]
fn a_deletion_is_by_the_event_s_key_or_what_the_file_says() {
    let given = json!({ "keys": ["name"], "on_delete": "delete" });
    assert_eq!(row_of(given, None).unwrap(), texts(&[("name", Some("k1"))]));
    let by = json!({ "id": "7", "name": "%key" });
    let given = json!({ "keys": ["id", "name"], "on_delete": "delete", "delete_by": by });
    assert_eq!(row_of(given, None).unwrap(), texts(&[("id", Some("7")), ("name", Some("k1"))]));
    assert_eq!(row_of(json!({ "keys": ["id"] }), None).unwrap_err().cause, "tombstone");
}

#[tokio::test]
async fn a_server_that_is_away_is_no_event_s_fault() {
    let connection = json!({ "url": "postgres://nobody@127.0.0.1:1/nothing" });
    let connection: Connection = serde_json::from_value(connection).unwrap();
    let sink =
        PostgresSink::new(&connection, options(json!({ "keys": ["id"] })), &crate::tests::setup());
    let answers = sink.unwrap().deliver(&[event(None), event(None)], 1).await;
    assert_eq!(answers.len(), 2);
    for answer in answers {
        let fault = answer.unwrap_err();
        assert_eq!((fault.domain, fault.retry), (engine::Domain::Remote, engine::Retry::Backoff));
    }
}

#[test]
fn the_row_that_would_be_written_is_told() {
    let intent = |given: Json, value| {
        let reading = Reading::new(options(given), &crate::tests::setup()).unwrap();
        reading.intent(&event(value))
    };
    let columns = json!({ "id": ".id", "day": ".day" });
    let given = json!({ "keys": ["id", "day"], "columns": columns });
    let row = intent(given, Some(json!({ "id": 7, "day": "monday", "more": 1 }))).unwrap().unwrap();
    assert_eq!((row.operation.as_str(), row.key.as_deref()), ("upsert", Some("7/monday")));
    assert_eq!(row.payload, json!({ "id": 7, "day": "monday" }));
    let deleted = intent(json!({ "keys": ["id"], "on_delete": "delete" }), None).unwrap().unwrap();
    assert_eq!((deleted.operation.as_str(), deleted.key.as_deref()), ("delete", Some("k1")));
    assert_eq!(intent(json!({ "keys": ["id"], "on_delete": "ignore" }), None).unwrap(), None);
    assert_eq!(intent(json!({ "keys": ["id"] }), None).unwrap_err().cause, "tombstone");
}
