//! The row in which a PostgreSQL's changes are published while everything around them fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

use crate::endtoend::process::Process;
use crate::run::Run;
use crate::server::{self, Database, Server};
use crate::world::{World, until};

const ITEM: &str = r#"{"type": "record", "name": "Item", "fields": [
  {"name": "id", "type": "long"}, {"name": "name", "type": "string"},
  {"name": "body", "type": ["null", "string"], "default": null}]}"#;

/// Rows of one statement, all of them in few records of the log.
const COPIED: usize = 10_000;

/// A server is needed.
pub fn obstacle() -> Option<String> {
    Server::of_environment().is_none().then(|| server::ABSENT.to_owned())
}

/// The process is killed while tables are read for the first time, while transactions are open, and
/// while ten thousand rows of one statement are sent; long values do not change; then the slot is gone.
pub async fn t23_changes_of_a_postgresql_are_read_while_everything_fails(run: &Run) {
    let server = Server::of_environment().unwrap();
    let database = server.database().await;
    database
        .execute(
            "CREATE TABLE items (id bigint PRIMARY KEY, name text NOT NULL, body text); ALTER TABLE items \
             ALTER body SET STORAGE EXTERNAL; CREATE PUBLICATION passerelle FOR TABLE items; INSERT INTO \
             items SELECT i, 'old', repeat('x', 5000) FROM generate_series(1, 1000) i",
        )
        .await;
    let sections = format!(
        "{}topics:\n  @items: {{ partitions: 4, schema: item.avsc }}\nsources:\n  items:\n    from: db\n    \
         to: @items\n    key: .id\n    postgres: {{ tables: [items], chunk: 200, heartbeat: 1s }}\n",
        database.connection()
    );
    let world = World::around(run, &[&sections]).await;
    world.folder.write("item.avsc", ITEM);
    let mut process = world.started().await;
    let long = database.connect().await;
    // A new slot waits for transactions that are open.
    let mut starts = reading(&process, 0).await;
    for round in 0..run.rounds {
        long.batch_execute(&opened(round)).await.unwrap();
        run.moment(0..300).await;
        world.kill_and_start(&mut process);
        for change in changes(round) {
            database.execute(&change).await;
        }
        starts = reading(&process, starts).await;
        long.batch_execute("COMMIT").await.unwrap();
        run.moment(0..400).await;
        world.kill_and_start(&mut process);
        starts = reading(&process, starts).await;
    }
    world.operators().ready(&mut process).await;
    let expected = table(&database).await;
    let topic = world.topic("items");
    let found = async || {
        let events = world.folder.tap(&topic).await;
        (state(&events) == expected).then_some(events)
    };
    let events = until("the topic tells what the table holds", found).await;
    let ids: BTreeSet<_> = events.iter().map(|event| event["headers"]["ce_id"].as_str()).collect();
    let lacking = events.iter().filter(|event| is_lacking(event)).count();
    run.note(|finding| {
        finding.sent = ids.len();
        finding.received = events.len();
        finding.repeated = events.len() - ids.len();
        finding.note = format!("{} rows; {lacking} long values told as null", expected.len());
    });
    assert_eq!(events.len(), ids.len(), "no event lies in the topic twice");
    assert_eq!(lacking, 0, "a long value that has not changed is not null");
    process.kill();
    a_slot_that_is_gone_is_waited_for(&world, &database, &expected).await;
    database.end().await;
}

/// The slot goes while nothing runs: what it would have told is not passed over.
async fn a_slot_that_is_gone_is_waited_for(
    world: &World<'_>,
    database: &Database,
    expected: &BTreeMap<String, String>,
) {
    drop_slot(database).await;
    database.execute("INSERT INTO items VALUES (1, 'unseen', NULL)").await;
    let mut process = world.start();
    until("the route waits, and says why", async || {
        let status = world.folder.ask(&["status"]).await.stdout;
        status.contains("the slot is not there any more").then_some(())
    })
    .await;
    let now = state(&world.folder.tap(&world.topic("items")).await);
    assert!(now == *expected, "what was missed is not passed over");
    process.kill();
}

/// How many rows one statement copies. They are all read back at the end: after some large ones, small
/// ones will do.
fn copied_in(round: usize) -> usize {
    if round < 5 { COPIED } else { COPIED / 20 }
}

/// The first of a round's own rows.
fn first(round: usize) -> usize {
    100_000 * (round + 1)
}

/// The begin of a transaction that stays open.
fn opened(round: usize) -> String {
    let first = first(round);
    format!(
        "BEGIN; INSERT INTO items SELECT i, 'long', NULL FROM generate_series({first}, {}) i",
        first + copied_in(round) / 2 - 1
    )
}

/// The rows of one statement, then rows that change, go and get another key.
fn changes(round: usize) -> [String; 2] {
    let first = first(round);
    let mut copied = String::from("INSERT INTO items VALUES ");
    for id in first + 10_000..first + 10_000 + copied_in(round) {
        let _ = write!(copied, "({id}, 'copied', NULL),");
    }
    let change = format!(
        "UPDATE items SET name = 'round {round}' WHERE id <= 1000 AND id % 7 = {}; DELETE FROM items \
         WHERE id = {}; UPDATE items SET id = id + 1000000000 WHERE id = {first} + 10000",
        round % 7,
        round + 1
    );
    [copied.trim_end_matches(',').to_owned(), change]
}

/// Waits until the source has begun to read the log more than so many times; gives how many.
async fn reading(process: &Process, before: usize) -> usize {
    let begun = async || {
        let times = process.log().matches("reads the log").count();
        (times > before).then_some(times)
    };
    until("the source reads the log", begun).await
}

async fn drop_slot(database: &Database) {
    let find = "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()";
    let slot = database.ask(find).await;
    database.drop_slot(&slot).await;
}

/// Whether a row that had a long body is told to have none.
fn is_lacking(event: &Value) -> bool {
    let id = event["value"]["id"].as_i64();
    id.is_some_and(|id| id <= 1000) && event["value"]["body"].is_null()
}

/// The last name of each item; those that are gone are left out.
fn state(events: &[Value]) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    for event in events {
        let key = event["key"].as_str().unwrap().to_owned();
        match event["value"]["name"].as_str() {
            Some(name) => state.insert(key, name.to_owned()),
            None => state.remove(&key),
        };
    }
    state
}

/// The name of each item in the table.
async fn table(database: &Database) -> BTreeMap<String, String> {
    let query = "SELECT json_object_agg(id::text, name)::text FROM items";
    serde_json::from_str(&database.ask(query).await).unwrap()
}
