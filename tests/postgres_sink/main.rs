//! Events in the tables of a real PostgreSQL: each once, exactly as it is, however the process, the
//! server or the way between them fails.
//!
//! ```text
//! tests/postgres/postgres start DIR 25432
//! PASSERELLE_TEST_POSTGRES=postgres://postgres@127.0.0.1:25432/postgres cargo test --workspace --test postgres_sink
//! ```
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod database;
#[path = "../endtoend/mod.rs"]
mod endtoend;
mod instances;
#[path = "../postgres/database.rs"]
mod postgres;
#[path = "../faults/proxy.rs"]
#[expect(dead_code, reason = "one kind of weather is enough here")]
mod proxy;

use std::time::{Duration, Instant};

use database::{Database, Server};
use endtoend::folder::Folder;
use endtoend::process::{Answer, Process};
use endtoend::shop::{order, signed};
use endtoend::topic;
use proxy::{Proxy, Weather};
use rand::Rng as _;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use serde_json::{Value, json};

/// How long anything may take: the machine does other things too.
const PATIENCE: Duration = Duration::from_secs(180);

/// Looks again and again until it is so.
async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !look().await {
        assert!(started.elapsed() < PATIENCE, "in {PATIENCE:?} it did not happen that {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const SECTIONS: &str = r#"
connections:
  db: { postgres: { url: "URL" } }
topics:
  rows: { partitions: 4, schema: SCHEMA }
sources:
  app:
    webhook: { path: /shop, signature: { standard_webhooks: "${file:shop.secret}" } }
    to: rows
    key: .id
"#;

fn pipeline(url: &str, schema: &str, sinks: &str) -> String {
    let sections = SECTIONS.replace("URL", url).replace("SCHEMA", schema);
    if sinks.is_empty() { sections } else { format!("{sections}sinks:\n{sinks}") }
}

/// What all sinks of these tests share.
const SINK: &str = "from: rows, to: db, start: beginning, backoff: { initial: 50ms, max: 500ms }";

fn sink(name: &str, options: &str) -> String {
    format!("  {name}: {{ {SINK}, {options} }}\n")
}

/// Takes one event, by its id.
async fn say(folder: &Folder, id: &str, body: &Value) {
    let answer = folder.shop().send(signed(id, body.to_string())).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn producer(kafka: &str) -> ThreadedProducer<DefaultProducerContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka).set("linger.ms", "20").create().unwrap()
}

fn write(producer: &ThreadedProducer<DefaultProducerContext>, key: &str, value: Option<&[u8]>) {
    loop {
        let mut record = BaseRecord::<str, [u8]>::to("rows").key(key);
        record.payload = value;
        if producer.send(record).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A topic of so many orders with the keys `k-0`…, and no sink yet.
async fn history(url: &str, orders: usize) -> (Folder, Process) {
    let folder = Folder::with(&pipeline(url, "order.avsc", ""));
    let process = folder.run().await;
    say(&folder, "k-0", &order("k-0", "C")).await;
    let kafka = folder.kafka();
    let first = topic::read(kafka.clone(), "rows").await.remove(0);
    tokio::task::spawn_blocking(move || {
        let producer = producer(&kafka);
        for number in 1..orders {
            write(&producer, &format!("k-{number}"), first.value.as_deref());
        }
        producer.flush(PATIENCE).unwrap();
    })
    .await
    .unwrap();
    (folder, process)
}

const ROW: &str = "columns: { id: '%key', total: .total, lines: .lines }";

/// Three tables, written in the three ways that promise each row once.
fn three_ways(database: &Database) -> String {
    for (table, key) in [("up", "PRIMARY KEY"), ("ins", "PRIMARY KEY"), ("log", "")] {
        let columns = format!("id text {key}, total numeric(18,2), lines jsonb");
        database.sql(&format!("CREATE TABLE {table} ({columns})"));
    }
    [
        sink("up", &format!("table: up, keys: [id], batch: 100, {ROW}")),
        sink("ins", &format!("table: public.ins, mode: insert, keys: [id], batch: 100, {ROW}")),
        sink("log", &format!("table: log, mode: insert, exactly_once: true, batch: 100, {ROW}")),
    ]
    .concat()
}

fn rows_of(database: &Database, table: &str) -> i64 {
    database.number(&format!("SELECT count(*) FROM {table}")).unwrap_or(-1)
}

/// Every table has each of so many rows, once.
async fn settle(database: &Database, orders: i64) {
    for table in ["up", "ins", "log"] {
        database.has(&format!("SELECT count(DISTINCT id) FROM {table}"), orders).await;
        assert_eq!(rows_of(database, table), orders, "{table} has a row twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_is_there_once_in_every_mode_however_often_the_process_is_killed() {
    let Some(database) = Database::new() else { return };
    let orders = 30_000;
    let (folder, process) = history(&database.url, orders).await;
    drop(process);
    folder.set_pipeline(&pipeline(&database.url, "order.avsc", &three_ways(&database)));
    for _ in 0..5 {
        let mut process = folder.run().await;
        let before = rows_of(&database, "log");
        if before >= orders as i64 {
            break;
        }
        until("more rows come", async || rows_of(&database, "log") > before).await;
        let moment = rand::rng().random_range(0..400);
        tokio::time::sleep(Duration::from_millis(moment)).await;
        process.kill();
    }
    let left = orders as i64 - rows_of(&database, "log");
    println!("{left} of {orders} rows were left after the last kill");
    let _process = folder.run().await;
    settle(&database, orders as i64).await;
    folder.operators().caught_up().await;
    assert_eq!(rows_of(&database, "log"), orders as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_in_the_middle_has_each_row_once() {
    if Database::new().is_none() {
        return;
    }
    let server = Server::start();
    let database = Database::on(&format!("postgres://postgres@127.0.0.1:{}/postgres", server.port));
    let orders = 20_000;
    let (folder, process) = history(&database.url, orders).await;
    drop(process);
    folder.set_pipeline(&pipeline(&database.url, "order.avsc", &three_ways(&database)));
    let mut process = folder.run().await;
    for _ in 0..3 {
        let before = rows_of(&database, "log");
        if before >= orders as i64 {
            break;
        }
        until("more rows come", async || rows_of(&database, "log") > before).await;
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(0..200))).await;
        server.run("kill");
        tokio::time::sleep(Duration::from_millis(500)).await;
        server.run("start");
    }
    settle(&database, orders as i64).await;
    process.assert_alive();
    assert!(topic::read(folder.kafka(), "orders.log.dead-letters").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_not_done_twice() {
    let Some(database) = Database::new() else { return };
    let proxy = Proxy::start(database.address()).await;
    let through = database.url.replace(&database.address().to_string(), &proxy.address.to_string());
    let orders = 20_000;
    let (folder, process) = history(&through, orders).await;
    drop(process);
    folder.set_pipeline(&pipeline(&through, "order.avsc", &three_ways(&database)));
    let _process = folder.run().await;
    for _ in 0..15 {
        let before = rows_of(&database, "log");
        if before >= orders as i64 {
            break;
        }
        until("more rows come", async || rows_of(&database, "log") > before).await;
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(0..60))).await;
        proxy.set(Weather::Cut);
        tokio::time::sleep(Duration::from_millis(20)).await;
        proxy.set(Weather::Fair);
    }
    settle(&database, orders as i64).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_do_not_fit_go_to_the_dead_letters_alone_and_land_once_when_they_do() {
    let Some(database) = Database::new() else { return };
    database.sql(
        "CREATE TABLE up (id text PRIMARY KEY, note varchar(3), total numeric CHECK (total < 100))",
    );
    database.sql("CREATE TABLE log (id text, note varchar(3), total numeric CHECK (total < 100))");
    let row = "columns: { id: .id, note: .note, total: .total }";
    let sinks = sink("up", &format!("table: up, keys: [id], {row}"))
        + &sink("log", &format!("table: log, mode: insert, exactly_once: true, {row}"));
    let folder = Folder::with(&pipeline(&database.url, "order.avsc", ""));
    let process = folder.run().await;
    for number in 0..60 {
        let id = format!("k-{number}");
        let mut order = order(&id, "C");
        match number {
            7 | 41 => order["note"] = json!("too long for it"),
            23 => order["total"] = json!("100.00"),
            _ => {}
        }
        say(&folder, &id, &order).await;
    }
    drop(process);
    folder.set_pipeline(&pipeline(&database.url, "order.avsc", &sinks));
    let mut process = folder.run().await;
    for table in ["up", "log"] {
        database.has(&format!("SELECT count(*) FROM {table}"), 57).await;
        let route = format!("orders/{table}");
        let open = async || folder.operators().routes().await[&route]["open_dead_letters"] == 3;
        until("three are in the dead letters", open).await;
        let answer = folder.ask(&["dead-letters", "list", &route]).await;
        assert!(answer.stdout.contains("postgres_value"), "{answer:?}");
        database.sql(&format!("ALTER TABLE {table} ALTER note TYPE text"));
        database.sql(&format!("ALTER TABLE {table} DROP CONSTRAINT {table}_total_check"));
        let retried = folder.ask(&["dead-letters", "retry", &route, "--all"]).await;
        assert_eq!(retried.code, 0, "{retried:?}");
        database.has(&format!("SELECT count(*) FROM {table}"), 60).await;
        database.has(&format!("SELECT count(DISTINCT id) FROM {table}"), 60).await;
    }
    process.assert_alive();
}

const EVERYTHING: &str = r#"{"type":"record","name":"Row","fields":[
  {"name":"id","type":"string"},
  {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":50,"scale":20}},
  {"name":"price","type":["null",{"type":"bytes","logicalType":"big-decimal"}],"default":null},
  {"name":"name","type":["null","string"],"default":null},
  {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
  {"name":"local","type":{"type":"long","logicalType":"local-timestamp-micros"}},
  {"name":"day","type":{"type":"int","logicalType":"date"}},
  {"name":"clock","type":{"type":"long","logicalType":"time-micros"}},
  {"name":"ref","type":{"type":"string","logicalType":"uuid"}},
  {"name":"raw","type":"bytes"},
  {"name":"status","type":{"type":"enum","name":"S","symbols":["open","paid"]}},
  {"name":"tags","type":{"type":"array","items":"string"}},
  {"name":"prices","type":{"type":"array","items":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}},
  {"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[{"name":"sku","type":"string"}]}}},
  {"name":"yes","type":"boolean"},
  {"name":"big","type":"long"},
  {"name":"ratio","type":"double"}
]}"#;

fn everything(id: &str) -> Value {
    json!({
        "id": id, "amount": "123456789012345678901234567890.12345678901234567890", "price": "0.1000000000000000000000000000000000001",
        "name": "O'Brien \\ \"x\" {é}", "at": "2026-01-31T12:34:56.789012Z", "local": "1969-07-20T20:17:40.000001",
        "day": "1999-12-31", "clock": "23:59:59.999999", "ref": "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "raw": "AP9h",
        "status": "paid", "tags": ["a,b", "NULL", "", "{\"q\"}", "\\"], "prices": ["0.10", "1234567.89"],
        "lines": [{ "sku": "A" }], "yes": true, "big": 9223372036854775807_i64, "ratio": 0.1,
    })
}

const SHOWN: &str = r"SELECT amount = 123456789012345678901234567890.12345678901234567890, price::text, name, at = '2026-01-31 12:34:56.789012Z',
  local = '1969-07-20 20:17:40.000001', day = '1999-12-31', clock = '23:59:59.999999', ref::text, encode(raw::bytea, 'hex'), status::text,
  array_to_json(tags)::text, prices = '{0.10,1234567.89}'::numeric[], lines->0->>'sku', yes, big, ratio = 0.1::float8 FROM TABLE";

#[tokio::test(flavor = "multi_thread")]
async fn values_arrive_exactly_in_a_table_of_ours_or_of_theirs() {
    let Some(database) = Database::new() else { return };
    database.sql(
        "CREATE TYPE status AS ENUM ('open', 'paid'); CREATE DOMAIN cents AS numeric CHECK (value >= 0);
         CREATE TABLE \"Their Rows\" (id varchar(10) PRIMARY KEY, amount numeric(50,20), price cents, name varchar, at timestamptz,
           local timestamp, day date, clock time, ref uuid, raw bytea, status status, tags varchar[], prices numeric(9,2)[],
           lines jsonb, yes boolean, big bigint, ratio double precision, untouched text DEFAULT 'default')",
    );
    let sinks = sink("theirs", "table: 'Their Rows', keys: [id]")
        + &sink("ours", "table: ours, keys: [id], create: true, on_delete: delete");
    let folder = Folder::with(&pipeline(&database.url, "row.avsc", &sinks));
    folder.write("row.avsc", EVERYTHING);
    let _process = folder.run().await;
    say(&folder, "r-1", &everything("r-1")).await;
    for table in ["\"Their Rows\"", "ours"] {
        database.has(&format!("SELECT count(*) FROM {table}"), 1).await;
        let shown = database.sql(&SHOWN.replace("TABLE", table));
        let expected = "t|0.1000000000000000000000000000000000001|O'Brien \\ \"x\" {é}|t|t|t|t|6ba7b810-9dad-11d1-80b4-00c04fd430c8|\
                        00ff61|paid|[\"a,b\",\"NULL\",\"\",\"{\\\"q\\\"}\",\"\\\\\"]|t|A|t|9223372036854775807|t";
        assert_eq!(shown, expected, "{table}");
    }
    assert_eq!(database.sql("SELECT untouched FROM \"Their Rows\""), "default");
    let mut empty = everything("r-1");
    (empty["name"], empty["price"], empty["tags"]) = (Value::Null, Value::Null, json!([]));
    say(&folder, "r-1 again", &empty).await;
    database
        .has("SELECT count(*) FROM ours WHERE name IS NULL AND price IS NULL AND tags = '{}'", 1)
        .await;
    // A deletion.
    let kafka = folder.kafka();
    tokio::task::spawn_blocking(move || {
        let producer = producer(&kafka);
        write(&producer, "r-1", None);
        producer.flush(PATIENCE).unwrap();
    })
    .await
    .unwrap();
    database.has("SELECT count(*) FROM ours", 0).await;
    let letters =
        async || !topic::read(folder.kafka(), "orders.theirs.dead-letters").await.is_empty();
    until("who does not say what a deletion does has it in the dead letters", letters).await;
    assert_eq!(rows_of(&database, "\"Their Rows\""), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_field_waits_for_its_column_or_gets_one() {
    let Some(database) = Database::new() else { return };
    let version = |extra: &str| {
        format!(
            r#"{{"type":"record","name":"R","fields":[{{"name":"id","type":"string"}},{{"name":"at","type":"long"}}{extra}]}}"#
        )
    };
    let sinks = sink("waits", "table: waits, keys: [id], create: true, newer_by: at")
        + &sink("grows", "table: grows, keys: [id], create: true, evolve: add_columns");
    let folder = Folder::with(&pipeline(&database.url, "row.avsc", &sinks));
    folder.write("row.avsc", &version(""));
    let process = folder.run().await;
    say(&folder, "1", &json!({ "id": "a", "at": 5 })).await;
    say(&folder, "2", &json!({ "id": "a", "at": 4 })).await;
    database.has("SELECT count(*) FROM waits", 1).await;
    database.has("SELECT at FROM grows", 4).await;
    database.has("SELECT at FROM waits", 5).await;
    assert!(process.terminate().await.success());
    let field = r#",{"name":"tags","type":["null",{"type":"array","items":"int"}],"default":null}"#;
    folder.write("row.avsc", &version(field));
    let _process = folder.run().await;
    say(&folder, "3", &json!({ "id": "b", "at": 6, "tags": [1, 2] })).await;
    database.has("SELECT tags[2] FROM grows WHERE id = 'b'", 2).await;
    folder.operators().waits("orders/waits", &["`tags`", "add_columns"]).await;
    database.sql("ALTER TABLE waits ADD tags int[]");
    database.has("SELECT tags[2] FROM waits WHERE id = 'b'", 2).await;
    folder.operators().state("orders/waits", "running").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_waits_with_the_reason_and_goes_on_by_itself() {
    let Some(database) = Database::new() else { return };
    let role = format!("writer_{}", std::process::id());
    let url = database.url.replace("postgres@", &format!("{role}@"));
    let sinks = sink("rows", "table: late, keys: [id], columns: { id: .id }");
    let folder = Folder::with(&pipeline(&url, "order.avsc", &sinks));
    let mut process = folder.start();
    folder.operators().ready(&mut process).await;
    say(&folder, "k-1", &order("k-1", "C")).await;
    let waits_for = async |words: &str| {
        let waits = async || {
            let route = folder.operators().routes().await.remove("orders/rows");
            route.is_some_and(|route| route.to_string().contains(words))
        };
        until(&format!("the route waits: {words}"), waits).await;
    };
    waits_for(&format!("role \\\"{role}\\\" does not exist")).await;
    database.sql(&format!("CREATE ROLE {role} LOGIN"));
    waits_for("There is no table late").await;
    database.sql("CREATE TABLE late (id text)");
    waits_for("no unique or exclusion constraint").await;
    database.sql("ALTER TABLE late ADD PRIMARY KEY (id)");
    waits_for("permission denied for table late").await;
    database.sql(&format!("GRANT ALL ON late TO {role}"));
    database.has("SELECT count(*) FROM late", 1).await;
    drop(process);
    database.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_written_once_in_itself_and_never_left_out() {
    let Some(database) = Database::new() else { return };
    database.sql("CREATE TABLE log (id text)");
    let orders = 300;
    let (folder, process) = history(&database.url, orders).await;
    drop(process);
    let sinks =
        sink("log", "table: log, mode: insert, exactly_once: true, columns: { id: '%key' }");
    folder.set_pipeline(&pipeline(&database.url, "order.avsc", &sinks));
    let _process = folder.run().await;
    let orders = orders as i64;
    database.has("SELECT count(*) FROM log", orders).await;
    let asked = [
        "replay",
        "log",
        "pipeline.yaml",
        "--from",
        "beginning",
        "--rate",
        "unlimited",
        "--data",
        "data",
    ];
    let replay =
        async |more: &[&str]| -> Answer { folder.passerelle(&[&asked[..], more].concat()).await };
    let refused = replay(&[]).await;
    assert!(refused.code != 0 && refused.stderr.contains("--accept-duplicates"), "{refused:?}");
    let sent = replay(&["--accept-duplicates"]).await;
    assert_eq!((sent.code, rows_of(&database, "log")), (0, 2 * orders), "{sent:?}");
    let again = replay(&["--accept-duplicates", "--again"]).await;
    assert_eq!((again.code, rows_of(&database, "log")), (0, 3 * orders), "{again:?}");
    database
        .has("SELECT count(*) FROM (SELECT id FROM log GROUP BY id HAVING count(*) = 3) t", orders)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_that_hold_other_events_than_then_are_not_left_out_in_silence() {
    let Some(database) = Database::new() else { return };
    database.sql("CREATE TABLE log (id text)");
    let sinks = sink("log", "table: log, mode: insert, exactly_once: true, columns: { id: .id }");
    let folder = Folder::with(&pipeline(&database.url, "order.avsc", &sinks));
    let _process = folder.run().await;
    say(&folder, "k-1", &order("k-1", "C")).await;
    database.has("SELECT count(*) FROM log", 1).await;
    // As if another topic of this name had been written up to here.
    database.sql("UPDATE passerelle_offsets SET next_offset = 1000000");
    say(&folder, "k-1b", &order("k-1", "C")).await;
    let waiting = folder.operators().waits("orders/log", &["created anew"]).await;
    let reason = waiting["reason"].as_str().unwrap();
    let cure = &reason[reason.find("DELETE FROM").unwrap()..];
    database.sql(cure.trim_end_matches('.'));
    database.has("SELECT count(*) FROM log", 2).await;
    folder.operators().state("orders/log", "running").await;
}
