//! What rows hold: every type, long values, columns that come and go, events of the application's own.

use serde_json::{Value, json};

use crate::endtoend::folder::Folder;
use crate::endtoend::until;
use crate::server::{Database, Server};
use crate::{events, folder, items, settled, streaming};

/// A pipeline of one topic, with this schema and these options.
fn pipeline(database: &Database, schema: &str, options: &str) -> Folder {
    let (connection, slot) = (database.connection(), database.slot());
    let folder = Folder::with(&format!(
        "{connection}topics:\n  rows: {{ partitions: 1, schema: row.avsc }}\nsources:\n  rows:\n    \
         from: db\n    to: rows\n    postgres: {{ slot: {slot}, {options} }}\n"
    ));
    folder.write("row.avsc", schema);
    folder
}

/// The events of the topic, once there are so many.
async fn rows(folder: &Folder, count: usize) -> Vec<Value> {
    let there = async || {
        let found = events(folder, "rows").await;
        (found.len() >= count).then_some(found)
    };
    let found = until("the events are there", there).await;
    assert_eq!(found.len(), count, "{found:?}");
    found
}

/// Waits until a dead letter of this cause is there.
async fn kept(folder: &Folder, route: &str, cause: &str) {
    let there = async || {
        let answer = folder.ask(&["dead-letters", "list", route, "--json"]).await;
        answer.stdout.contains(cause).then_some(())
    };
    until(&format!("a dead letter says {cause}"), there).await
}

const TYPES: &str = r#"{"type": "record", "name": "Row", "fields": [
  {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
  {"name": "exact", "type": {"type": "bytes", "logicalType": "decimal", "precision": 60, "scale": 10}},
  {"name": "odd", "type": "string"},
  {"name": "flag", "type": "boolean"},
  {"name": "document", "type": {"type": "record", "name": "Document", "fields": [{"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 3}}]}},
  {"name": "raw", "type": "string"},
  {"name": "moment", "type": {"type": "long", "logicalType": "timestamp-micros"}},
  {"name": "local", "type": {"type": "long", "logicalType": "local-timestamp-micros"}},
  {"name": "day", "type": {"type": "int", "logicalType": "date"}},
  {"name": "bytes", "type": "bytes"},
  {"name": "mood", "type": {"type": "enum", "name": "Mood", "symbols": ["sad", "happy"]}},
  {"name": "numbers", "type": {"type": "array", "items": {"type": "array", "items": ["null", "long"]}}},
  {"name": "words", "type": {"type": "array", "items": "string"}},
  {"name": "ratio", "type": "double"},
  {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}}
]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_type_arrives_exactly_whether_it_is_read_or_streamed() {
    let Some(server) = Server::find() else { return };
    let database = server.database().await;
    database
        .execute(
            r#"CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN amount AS numeric(12, 2);
            CREATE TABLE rows (id uuid PRIMARY KEY, exact numeric, odd numeric, flag bool, document jsonb,
            raw jsonb, moment timestamptz, local timestamp, day date, bytes bytea, mood mood, numbers
            int[], words text[], ratio float8, amount amount, doubled bigint GENERATED ALWAYS AS (2) STORED);
            CREATE PUBLICATION passerelle FOR TABLE rows"#,
        )
        .await;
    let values = |id: u32| {
        format!(
            r#"INSERT INTO rows VALUES ('00000000-0000-0000-0000-{id:012}',
            1234567890123456789012345678901234567890.0123456789, 'NaN', true, '{{"total": 0.1}}',
            '{{"a": [1, 2.50]}}', '2024-05-01 12:34:56.123456+02', '2024-05-01 12:34:56.5', '2024-02-29',
            '\x00ff10', 'happy', '{{{{1,2}},{{3,NULL}}}}', '{{"a,b","c\"d",NULLs,""}}', 0.1, 19.90)"#
        )
    };
    database.execute(&values(1)).await;
    let folder = pipeline(&database, TYPES, "tables: [rows]");
    let process = streaming(&folder).await;
    rows(&folder, 1).await;
    database.execute(&values(2)).await;
    let found = rows(&folder, 2).await;
    let mut values: Vec<Value> = found.iter().map(|event| event["value"].clone()).collect();
    let first = values[0].clone();
    values[1]["id"] = first["id"].clone();
    assert_eq!(values[0], values[1], "read and streamed rows are the same");
    let expected = [
        ("exact", json!("1234567890123456789012345678901234567890.0123456789")),
        ("odd", json!("NaN")),
        ("flag", json!(true)),
        ("document", json!({"total": "0.100"})),
        ("raw", json!("{\"a\": [1, 2.50]}")),
        ("moment", json!("2024-05-01T10:34:56.123456Z")),
        ("day", json!("2024-02-29")),
        ("bytes", json!("AP8Q")),
        ("mood", json!("happy")),
        ("numbers", json!([[1, 2], [3, null]])),
        ("words", json!(["a,b", "c\"d", "NULLs", ""])),
        ("ratio", json!(0.1)),
        ("amount", json!("19.90")),
    ];
    for (name, value) in expected {
        assert_eq!(first[name], value, "{name} of {first}");
    }
    assert!(first["local"].as_str().unwrap().starts_with("2024-05-01T12:34:56.5"), "{first}");
    assert_eq!(found[0]["key"], "00000000-0000-0000-0000-000000000001");
    drop(process);
    database.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_value_that_does_not_change_is_never_told_as_null() {
    let Some(server) = Server::find() else { return };
    let database = server.database().await;
    let schema = r#"{"type": "record", "name": "Row", "fields": [
        {"name": "id", "type": "long"}, {"name": "state", "type": "string"},
        {"name": "body", "type": ["null", "string"], "default": null}]}"#;
    database
        .execute(
            "CREATE TABLE plain (id bigint PRIMARY KEY, state text, body text); ALTER TABLE plain ALTER \
             body SET STORAGE EXTERNAL; CREATE TABLE whole (LIKE plain INCLUDING ALL); ALTER TABLE whole \
             REPLICA IDENTITY FULL; CREATE PUBLICATION passerelle FOR TABLE plain, whole",
        )
        .await;
    let folder = pipeline(&database, schema, "snapshot: false, tables: [plain, whole]");
    let mut process = streaming(&folder).await;
    let long = "x".repeat(100_000);
    for table in ["plain", "whole"] {
        database.execute(&format!("INSERT INTO {table} VALUES (1, 'new', '{long}')")).await;
        database.execute(&format!("UPDATE {table} SET state = 'paid'")).await;
    }
    let found = rows(&folder, 4).await;
    assert!(found.iter().all(|event| event["value"]["body"] == long.as_str()));
    // The row is gone before its update is read: what it held then is not known.
    process.kill();
    for table in ["plain", "whole"] {
        database.execute(&format!("UPDATE {table} SET state = 'sent'")).await;
        database.execute(&format!("DELETE FROM {table}")).await;
    }
    let process = streaming(&folder).await;
    let found = rows(&folder, 7).await;
    let sent: Vec<_> = found.iter().filter(|event| event["value"]["state"] == "sent").collect();
    assert_eq!(sent.len(), 1, "the old row of `whole` told it");
    assert_eq!(sent[0]["value"]["body"], long.as_str());
    kept(&folder, "orders/rows", "column_unknown").await;
    drop(process);
    database.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_come_and_go_and_what_no_longer_fits_is_kept() {
    let Some(server) = Server::find() else { return };
    let database = items(&server).await;
    let folder = folder(&database, ", snapshot: false");
    let process = streaming(&folder).await;
    database.execute("INSERT INTO items VALUES (1, 'a', 1)").await;
    database
        .execute("ALTER TABLE items ADD note text; INSERT INTO items VALUES (2, 'b', 2, 'n')")
        .await;
    database.execute("ALTER TABLE items DROP price; INSERT INTO items VALUES (3, 'c', 'n')").await;
    database
        .execute("ALTER TABLE items ALTER id TYPE text; INSERT INTO items VALUES ('x', 'd', 'n')")
        .await;
    database.execute("INSERT INTO items VALUES ('5', 'e', 'n')").await;
    database.execute("DELETE FROM items WHERE id = 'x'").await;
    let found = settled(&folder, &database).await;
    assert_eq!(found.iter().filter(|event| !event["value"].is_null()).count(), 4, "{found:?}");
    kept(&folder, "orders/items", "invalid_row").await;
    drop(process);
    database.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_publishes_what_the_application_wrote_there_under_its_own_id() {
    let Some(server) = Server::find() else { return };
    let database = server.database().await;
    let schema = r#"{"type": "record", "name": "Row", "fields": [
        {"name": "order", "type": "string"},
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}}]}"#;
    database
        .execute(
            "CREATE TABLE outbox (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), kind text, aggregate \
             text, payload jsonb); CREATE PUBLICATION passerelle FOR TABLE outbox",
        )
        .await;
    let outbox = "outbox: { table: outbox, type: kind, key: aggregate }";
    let folder = pipeline(&database, schema, outbox);
    let process = streaming(&folder).await;
    let id = database
        .ask(
            "INSERT INTO outbox (kind, aggregate, payload) VALUES ('order.placed', 'A-1', '{\"order\": \
             \"A-1\", \"total\": 19.90}') RETURNING id",
        )
        .await;
    // The usual way: written and deleted in one transaction.
    database
        .execute(
            "BEGIN; INSERT INTO outbox (kind, aggregate, payload) VALUES ('order.paid', 'A-1', \
             '{\"order\": \"A-1\", \"total\": 5}'); DELETE FROM outbox; COMMIT",
        )
        .await;
    let found = rows(&folder, 2).await;
    assert_eq!(found[0]["headers"]["ce_id"], id.as_str());
    assert_eq!(found[0]["headers"]["ce_type"], "order.placed");
    assert_eq!((&found[0]["key"], &found[1]["key"]), (&json!("A-1"), &json!("A-1")));
    assert_eq!(found[0]["value"]["total"], "19.90");
    assert_eq!(found[1]["headers"]["ce_type"], "order.paid");
    drop(process);
    database.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_makes_other_events_of_a_change() {
    let Some(server) = Server::find() else { return };
    let database = server.database().await;
    let schema = r#"{"type": "record", "name": "Row", "fields": [
        {"name": "what", "type": "string"}, {"name": "from", "type": ["null", "string"]},
        {"name": "to", "type": ["null", "string"]}]}"#;
    database
        .execute(
            "CREATE TABLE states (id bigint PRIMARY KEY, state text); ALTER TABLE states REPLICA IDENTITY \
             FULL; CREATE PUBLICATION passerelle FOR TABLE states",
        )
        .await;
    let options = "snapshot: false, tables: [states], on_delete: event, type: .op, event: '{ \"what\": .op, \"from\": \
                   .before.state, \"to\": .after.state }'";
    let folder = pipeline(&database, schema, options);
    let process = streaming(&folder).await;
    database.execute("INSERT INTO states VALUES (1, 'new')").await;
    database.execute("UPDATE states SET state = 'paid'").await;
    database.execute("DELETE FROM states").await;
    let found = rows(&folder, 3).await;
    let values: Vec<_> = found.iter().map(|event| event["value"].clone()).collect();
    assert_eq!(
        values,
        [
            json!({"what": "insert", "from": null, "to": "new"}),
            json!({"what": "update", "from": "new", "to": "paid"}),
            json!({"what": "delete", "from": "paid", "to": null}),
        ]
    );
    assert_eq!(found[2]["headers"]["ce_type"], "delete");
    assert_eq!(found[2]["key"], "1");
    drop(process);
    database.end().await;
}
