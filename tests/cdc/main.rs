//! Changes of a real PostgreSQL 15 are published: its rows, its types, its log, its faults.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "../endtoend/mod.rs"]
mod endtoend;
mod faults;
mod server;
mod servers;
mod shapes;

use std::collections::{BTreeMap, BTreeSet};

use endtoend::folder::Folder;
use endtoend::process::Process;
use endtoend::until;
use serde_json::Value;
use server::{Database, Server};

const ITEM: &str = r#"{"type": "record", "name": "Item", "fields": [
  {"name": "id", "type": "long"},
  {"name": "name", "type": ["null", "string"], "default": null},
  {"name": "price", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}], "default": null}
]}"#;

/// A pipeline that publishes `public.items` of this database.
fn folder(database: &Database, options: &str) -> Folder {
    let (connection, slot) = (database.connection(), database.slot());
    let folder = Folder::with(&format!(
        "{connection}topics:\n  items: {{ partitions: 4, schema: item.avsc }}\nsources:\n  items: {{ \
         from: db, postgres: {{ tables: [public.items], slot: {slot}{options} }}, to: items, key: .id }}\n"
    ));
    folder.write("item.avsc", ITEM);
    folder
}

/// A database with an empty table `items`, published.
async fn items(server: &Server) -> Database {
    let database = server.database().await;
    database
        .execute(
            "CREATE TABLE items (id bigint PRIMARY KEY, name text, price numeric(12, 2)); CREATE \
             PUBLICATION passerelle FOR TABLE items",
        )
        .await;
    database
}

/// Starts the pipeline, and waits until its source reads the log: what happens from then on is told as
/// it happens.
async fn streaming(folder: &Folder) -> Process {
    let process = folder.run().await;
    let reads = async || process.log().contains("reads the log").then_some(());
    until("the source reads the log", reads).await;
    process
}

/// The events of a topic; none lies there twice.
async fn events(folder: &Folder, topic: &str) -> Vec<Value> {
    let events = folder.tap(topic).await;
    let ids: BTreeSet<_> =
        events.iter().map(|event| event["headers"]["ce_id"].to_string()).collect();
    assert_eq!(ids.len(), events.len(), "an event lies there twice");
    events
}

/// The last name of each item in the topic; items that are gone are left out.
fn state(events: &[Value]) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    for event in events {
        let key = event["key"].as_str().unwrap().to_owned();
        match &event["value"] {
            Value::Null => state.remove(&key),
            value => state.insert(key, value["name"].as_str().unwrap_or("null").to_owned()),
        };
    }
    state
}

/// The name of each item in the table.
async fn table(database: &Database) -> BTreeMap<String, String> {
    let query = "SELECT coalesce(json_object_agg(id::text, coalesce(name, 'null')), '{}')::text FROM \
                 items";
    serde_json::from_str(&database.ask(query).await).unwrap()
}

/// Waits until the topic tells what the table holds.
async fn settled(folder: &Folder, database: &Database) -> Vec<Value> {
    let expected = table(database).await;
    let same = async || {
        let events = events(folder, "items").await;
        (state(&events) == expected).then_some(events)
    };
    until("the topic tells what the table holds", same).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_there_and_their_changes_arrive() {
    let Some(server) = Server::find() else { return };
    let database = items(&server).await;
    database
        .execute("INSERT INTO items SELECT i, 'old ' || i, i * 1.25 FROM generate_series(1, 50) i")
        .await;
    let folder = folder(&database, "");
    let process = folder.run().await;
    until("the rows are there", async || {
        (events(&folder, "items").await.len() == 50).then_some(())
    })
    .await;
    database.execute("INSERT INTO items VALUES (51, 'new', 0.10)").await;
    database.execute("UPDATE items SET name = 'changed' WHERE id <= 3").await;
    database.execute("DELETE FROM items WHERE id = 4").await;
    database.execute("UPDATE items SET id = 100 WHERE id = 5").await;
    let found = settled(&folder, &database).await;
    assert_eq!(found.len(), 50 + 1 + 3 + 1 + 2, "a key that changes is a tombstone and a row");
    let priced = found.iter().find(|event| event["key"] == "51").unwrap();
    assert_eq!(priced["value"]["price"], "0.10", "{priced}");
    assert_eq!(priced["headers"]["ce_type"], "public.items.insert");
    assert!(!process.log().contains("secret-of-the-role"));
    drop(process);
    database.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_change_while_they_are_read_end_as_they_are_over_kills() {
    let Some(server) = Server::find() else { return };
    let database = items(&server).await;
    database.execute("INSERT INTO items SELECT i, '0', 1 FROM generate_series(1, 4000) i").await;
    let folder = folder(&database, ", chunk: 50");
    let writer = database.connect().await;
    let writes = tokio::spawn(async move {
        for round in 1..=600 {
            let write = format!(
                "UPDATE items SET name = '{round}' WHERE id % 97 = {m}; DELETE FROM items WHERE id = \
                 {d}; INSERT INTO items VALUES ({n}, 'new {round}', 2); UPDATE items SET id = id + \
                 100000 WHERE id = {u}",
                m = round % 97,
                d = 4001 - round * 3,
                n = 10_000 + round,
                u = round * 5 + 1
            );
            writer.batch_execute(&write).await.unwrap();
        }
    });
    let mut process = folder.run().await;
    for pause in [300, 900, 150, 700] {
        tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
        process.kill();
        process = folder.run().await;
    }
    writes.await.unwrap();
    settled(&folder, &database).await;
    let read = "the rows of a table are published";
    until("the snapshot ends", async || process.log().contains(read).then_some(())).await;
    settled(&folder, &database).await;
    drop(process);
    database.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_many_rows_and_a_long_transaction_arrive_once_over_kills() {
    let Some(server) = Server::find() else { return };
    let database = items(&server).await;
    let folder = folder(&database, "");
    let mut process = streaming(&folder).await;
    let long = database.connect().await;
    long.batch_execute(
        "BEGIN; INSERT INTO items SELECT i, 'long', 1 FROM generate_series(1, 20000) i",
    )
    .await
    .unwrap();
    database
        .execute("INSERT INTO items SELECT i, 'short', 1 FROM generate_series(100001, 110000) i")
        .await;
    for pause in [200, 400, 100] {
        tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
        process.kill();
        process = folder.run().await;
    }
    long.batch_execute("COMMIT").await.unwrap();
    for pause in [50, 300, 100] {
        tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
        process.kill();
        process = folder.run().await;
    }
    let found = settled(&folder, &database).await;
    assert_eq!(found.len(), 30_000);
    drop(process);
    database.end().await;
}
