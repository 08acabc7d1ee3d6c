//! Instances that both take a partition for theirs, as around a rebalance: the sink itself, twice.

use std::sync::Arc;

use engine::connector::{Setup, Shared};
use engine::{Delivery, Domain, Event, Fault, Sink};
use rand::Rng as _;
use serde_json::json;

use super::database::Database;

/// One instance's sink: plain rows, offsets beside them.
fn instance(database: &Database) -> Arc<dyn Sink> {
    let schema = r#"{"type":"record","name":"R","fields":[{"name":"n","type":"long"}]}"#;
    let schema = schemas::Schema::parse(schema).unwrap();
    let setup = Setup {
        route: "orders/log".into(),
        input: schemas::kind(&schema),
        input_schema: Some(schema),
        output_schema: None,
        connection: None,
        listen: ([127, 0, 0, 1], 8080).into(),
        folder: ".".into(),
        shared: Shared::default(),
    };
    let declared = sinks::all();
    let postgres = declared.iter().find(|sink| sink.name == "postgres").unwrap();
    let connection = json!({ "url": database.url });
    let options = json!({ "table": "log", "mode": "insert", "exactly_once": true });
    (postgres.build)(connection, options, &setup).unwrap().into()
}

fn events(count: i64) -> Vec<Event> {
    let event = |offset: i64| {
        let value = format!("{{\"n\": {offset}}}");
        let mut event = Event::of_value(schemas::json::read_plain(value.as_bytes()).unwrap());
        (event.topic, event.partition, event.offset) = ("rows".into(), 3, offset);
        event.timestamp = 1_000 + offset;
        event
    };
    (0..count).map(event).collect()
}

/// Delivers a batch until the server takes it.
async fn insist(sink: &dyn Sink, batch: &[Event]) -> Vec<Result<Delivery, Fault>> {
    loop {
        let answers = sink.deliver(batch, 1).await;
        let is_remote = |answer: &Result<Delivery, Fault>| {
            answer.as_ref().is_err_and(|fault| fault.domain == Domain::Remote)
        };
        if !answers.iter().any(is_remote) {
            return answers;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_both_take_a_partition_for_theirs_write_each_event_once() {
    let Some(database) = Database::new() else { return };
    database.sql("CREATE TABLE log (n bigint)");
    let events: Arc<[Event]> = events(3_000).into();
    let walk = |sink: Arc<dyn Sink>| {
        let events = Arc::clone(&events);
        async move {
            let mut from = 0;
            while from < events.len() {
                let to = (from + rand::rng().random_range(1..200)).min(events.len());
                insist(&*sink, &events[from..to]).await;
                from = to;
            }
        }
    };
    let instances = [0, 1, 2].map(|_| tokio::spawn(walk(instance(&database))));
    for instance in instances {
        instance.await.unwrap();
    }
    let counted = "SELECT count(*) || ' ' || count(DISTINCT n) || ' ' || max(n) FROM log";
    assert_eq!(database.sql(counted), "3000 3000 2999");
    // A frozen one wakes up with an old batch.
    let late = insist(&*instance(&database), &events[100..150]).await;
    assert!(late.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.already_there)));
    assert_eq!(database.sql(counted), "3000 3000 2999");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_event_is_refused_again_until_its_dead_letter_is_written() {
    let Some(database) = Database::new() else { return };
    database.sql("CREATE TABLE log (n bigint CHECK (n <> 5))");
    let (events, sink) = (events(20), instance(&database));
    let refused = |answers: &[Result<Delivery, Fault>]| -> Vec<usize> {
        let is_refused = |(_, answer): &(usize, &Result<Delivery, Fault>)| {
            answer.as_ref().is_err_and(|fault| fault.domain == Domain::Data)
        };
        answers.iter().enumerate().filter(is_refused).map(|(index, _)| index).collect()
    };
    assert_eq!(refused(&insist(&*sink, &events[..10]).await), [5]);
    // The process died before the letter was written: it all comes again, in other batches.
    let again = instance(&database);
    assert_eq!(refused(&insist(&*again, &events[..3]).await), [0_usize; 0]);
    assert_eq!(refused(&insist(&*again, &events[3..12]).await), [2]);
    // The next batch follows an acknowledged letter: what comes of that now is a repeat.
    insist(&*again, &events[12..]).await;
    assert_eq!(refused(&insist(&*again, &events[..10]).await), [0_usize; 0]);
    assert_eq!(database.sql("SELECT count(*) || ' ' || count(DISTINCT n) FROM log"), "19 19");
}
