use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use engine::connector::Shared;
use engine::{Domain, Publisher, Retry, ShutdownTrigger, Value};
use serde_json::{Value as Json, json};
use vrl::value::Kind;

use super::simulator::{App, Desk, Trick, instant, set};
use super::source::Run;
use super::*;

const SCHEMA: &str = r#"{"type":"record","name":"Item","fields":[
    {"name":"id","type":"string"},{"name":"name","type":"string"},
    {"name":"price","type":["null",{"type":"bytes","logicalType":"decimal","precision":20,"scale":2}],"default":null}]}"#;

fn setup(url: &str) -> Setup {
    let connection = json!({ "url": url, "allow_private": true, "timeout": "2s" });
    Setup {
        route: "tests/items".into(),
        input: Kind::any(),
        input_schema: None,
        output_schema: Some(schemas::Schema::parse(SCHEMA).unwrap()),
        connection: Some(connection),
        listen: ([127, 0, 0, 1], 0).into(),
        folder: ".".into(),
        shared: Shared::default(),
    }
}

fn options(paging: &str, more: Json) -> Json {
    let mut all = json!({ "items": ".items", "id": ".id", "changed": ".at", "overlap": "10s" });
    let (path, query, pages) = match paging {
        "keyset" => (
            "/keyset",
            json!({ "time": "{{ .last.time }}", "id": "{{ .last.id }}", "since": "{{ .since }}", "size": "{{ .size }}" }),
            json!({ "keyset": { "size": 2 } }),
        ),
        "number" => ("/number", json!({ "page": "{{ .page }}" }), json!({ "number": {} })),
        "offset" => {
            ("/offset", json!({ "offset": "{{ .offset }}" }), json!({ "offset": { "size": 2 } }))
        }
        "cursor" => ("/cursor", json!({ "cursor": "{{ .cursor }}" }), json!({ "cursor": ".next" })),
        "link" => ("/link", json!({}), json!("link")),
        "address" => ("/address", json!({}), json!({ "address": ".address" })),
        other => panic!("{other}"),
    };
    all["path"] = path.into();
    all["query"] = query;
    all["query"]["since"] = "{{ .since }}".into();
    all["pages"] = pages;
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

const ALL: [&str; 6] = ["keyset", "number", "offset", "cursor", "link", "address"];

/// The source as it starts, at the cursor that lies in Kafka.
fn run(app: &App, desk: &Desk, options: &Json) -> Run {
    let options: PollOptions = serde_json::from_value(options.clone()).unwrap();
    let key = Some(Expression(".id".to_owned()));
    let source = open(options, key, &setup(&app.url)).unwrap();
    let (trigger, stop) = ShutdownTrigger::new();
    std::mem::forget(trigger);
    let out = Publisher::new(Arc::new(desk.clone()), None);
    Run::new(source, out, stop).unwrap()
}

/// Sweeps until no other has to follow at once.
async fn sweep(run: &mut Run) -> Result<(), Fault> {
    while run.sweep().await? {}
    Ok(())
}

#[tokio::test]
async fn every_way_of_paging_gives_every_item_once_and_then_only_what_changes() {
    for paging in ALL {
        let app = App::start(&[
            (10, "a", "a1"),
            (20, "b", "b1"),
            (20, "c", "c1"),
            (20, "d", "d1"),
            (30, "e", "e1"),
        ])
        .await;
        let desk = Desk::default();
        let mut run = run(&app, &desk, &options(paging, json!({})));
        sweep(&mut run).await.unwrap();
        assert_eq!(desk.names(), ["a1", "b1", "c1", "d1", "e1"], "{paging}");
        sweep(&mut run).await.unwrap();
        assert_eq!(desk.names().len(), 5, "{paging}: what is unchanged is not published again");
        app.set(31, "b", "b2");
        // It shows late: its time lies before the latest one, within the overlap.
        app.set(25, "f", "f1");
        sweep(&mut run).await.unwrap();
        assert_eq!(desk.sorted(), ["a1", "b1", "b2", "c1", "d1", "e1", "f1"], "{paging}");
        let mut ids = desk.ids();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 7, "{paging}: each event has an id of its own");
    }
}

#[tokio::test]
async fn a_kill_at_any_write_neither_loses_nor_doubles_an_event() {
    for paging in ALL {
        for writes in 0..6 {
            let rows = [
                (10, "a", "a1"),
                (20, "b", "b1"),
                (20, "c", "c1"),
                (20, "d", "d1"),
                (30, "e", "e1"),
            ];
            let app = App::start(&rows).await;
            let desk = Desk::default();
            desk.0.lock().unwrap().writes_left = Some(writes);
            let options = options(paging, json!({}));
            let killed = sweep(&mut run(&app, &desk, &options)).await;
            assert!(killed.is_err() || writes > 1, "{paging} {writes}");
            desk.0.lock().unwrap().writes_left = None;
            let mut again = run(&app, &desk, &options);
            sweep(&mut again).await.unwrap();
            assert_eq!(desk.sorted(), ["a1", "b1", "c1", "d1", "e1"], "{paging} {writes}");
        }
    }
}

#[tokio::test]
async fn a_list_that_changes_while_it_is_paged_loses_nothing() {
    for paging in ALL {
        // Before the second page is asked for, what is on the first changes: all that follows moves
        // forward by one, and `c` slips from the second page to the first.
        let trick: Trick = Box::new(|number, rows| {
            if number == 1 {
                set(rows, 40, "a", "a2");
            }
            None
        });
        let rows = [
            (10, "a", "a1"),
            (20, "b", "b1"),
            (20, "c", "c1"),
            (21, "d", "d1"),
            (22, "e", "e1"),
            (23, "f", "f1"),
        ];
        let app = App::with(&rows, trick).await;
        let desk = Desk::default();
        let mut run = run(&app, &desk, &options(paging, json!({ "overlap": "1m" })));
        for _ in 0..2 {
            sweep(&mut run).await.unwrap();
        }
        assert_eq!(desk.sorted(), ["a1", "a2", "b1", "c1", "d1", "e1", "f1"], "{paging}");
    }
}

#[tokio::test]
async fn more_items_of_one_time_than_are_remembered_neither_vanish_nor_loop() {
    let rows: Vec<(i64, String)> = (0..40).map(|number| (20, format!("i{number:02}"))).collect();
    let rows: Vec<_> = rows.iter().map(|(time, id)| (*time, id.as_str(), id.as_str())).collect();
    for paging in ALL {
        let app = App::start(&rows).await;
        let desk = Desk::default();
        let mut run = run(&app, &desk, &options(paging, json!({ "remember": 5 })));
        for _ in 0..3 {
            sweep(&mut run).await.unwrap();
        }
        assert_eq!(desk.sorted().len(), 40, "{paging}");
        app.set(21, "i00", "changed");
        sweep(&mut run).await.unwrap();
        assert_eq!(desk.names().last().unwrap(), "changed", "{paging}");
        assert_eq!(desk.names().len(), 41, "{paging}");
    }
}

#[tokio::test]
async fn pages_without_an_end_are_named_and_publish_nothing_twice() {
    // An application that ignores what asks for the next page, and one whose links go in a circle.
    for paging in ["number", "cursor", "link"] {
        let trick: Trick = Box::new(move |number, _| {
            let name = if paging == "number" { 0 } else { number % 2 };
            let items =
                json!([{ "id": name.to_string(), "at": instant(20), "name": name.to_string() }]);
            let body = json!({ "items": items, "next": (number % 2).to_string() }).to_string();
            let link = format!("<{}/?page={}>; rel=next", "", number % 2);
            Some(([("link", link)], body).into_response())
        });
        let app = App::with(&[], trick).await;
        let desk = Desk::default();
        for _ in 0..3 {
            let mut run = run(&app, &desk, &options(paging, json!({ "remember": 1 })));
            let fault = sweep(&mut run).await.unwrap_err();
            assert_eq!((fault.cause, fault.retry), ("page_loop", Retry::Route), "{paging}");
            assert!(fault.message.contains("Page "), "{fault}");
        }
        assert!(desk.names().len() <= 2, "{paging}: {:?}", desk.names());
    }
}

#[tokio::test]
async fn a_refusal_or_a_wait_in_the_middle_goes_on_where_it_was() {
    for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::BAD_GATEWAY] {
        let trick: Trick = Box::new(move |number, _| {
            (number == 1).then(|| (status, [("retry-after", "1")], "busy").into_response())
        });
        let rows = [(10, "a", "a1"), (20, "b", "b1"), (20, "c", "c1")];
        let app = App::with(&rows, trick).await;
        let desk = Desk::default();
        let options = options("keyset", json!({}));
        let fault = sweep(&mut run(&app, &desk, &options)).await.unwrap_err();
        assert_eq!(fault.domain, Domain::Remote);
        if status == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(fault.retry, Retry::After(std::time::Duration::from_secs(1)));
        }
        assert_eq!(desk.names(), ["a1", "b1"]);
        sweep(&mut run(&app, &desk, &options)).await.unwrap();
        assert_eq!(desk.names(), ["a1", "b1", "c1"]);
        assert_eq!(app.calls().len(), 3, "the first page is not asked for again");
    }
}

#[tokio::test]
async fn a_token_that_has_ended_begins_the_sweep_again() {
    let trick: Trick = Box::new(|number, _| {
        (number == 1).then(|| (StatusCode::BAD_REQUEST, "the cursor has expired").into_response())
    });
    let app = App::with(&[(10, "a", "a1"), (20, "b", "b1"), (20, "c", "c1")], trick).await;
    let desk = Desk::default();
    sweep(&mut run(&app, &desk, &options("cursor", json!({})))).await.unwrap();
    assert_eq!(desk.names(), ["a1", "b1", "c1"]);
    assert_eq!(app.calls().len(), 4);
}

#[tokio::test]
async fn no_answer_makes_it_panic_and_each_is_named() {
    let wrong: [(&str, &str); 9] = [
        ("<html>gateway</html>", "not_json"),
        ("", "not_json"),
        ("[1,2", "not_json"),
        ("{}", "items_missing"),
        (r#"{"items": {}}"#, "items_missing"),
        ("[]", "items_missing"),
        ("null", "items_missing"),
        (
            r#"{"items": [{"id":"a","at":"2024-01-01T00:00:00Z","name":"n"}], "next": {}}"#,
            "page_unreadable",
        ),
        (r#"{"items": [], "problem": "no such filter"}"#, "application_failure"),
    ];
    for (body, cause) in wrong {
        let app = App::with(&[], Box::new(move |_, _| Some(body.into_response()))).await;
        let options = options("cursor", json!({ "failure": ".problem" }));
        let fault = sweep(&mut run(&app, &Desk::default(), &options)).await.unwrap_err();
        assert_eq!((fault.cause, fault.domain), (cause, Domain::Remote), "{fault}");
        assert!(fault.message.contains("/cursor"), "{fault}");
    }
}

#[tokio::test]
async fn items_that_make_no_event_go_to_the_dead_letters_once() {
    let items = json!([
        7, null, "text", { "id": "a", "at": "2024-01-01T00:00:00Z" },
        { "id": {}, "at": "2024-01-01T00:00:00Z", "name": "b" },
        { "id": "c", "at": "then", "name": "c" },
        { "id": "d", "at": "2024-01-01T00:00:00Z", "name": "d", "price": "ten" },
        { "id": "e", "at": "2024-01-01T00:00:00Z", "name": "e", "price": "PRICE" },
    ]);
    let body = format!(
        "{{\"items\": {}}}",
        items.to_string().replace("\"PRICE\"", "12345678901234567.89")
    );
    let app = App::with(&[], Box::new(move |_, _| Some(body.clone().into_response()))).await;
    let desk = Desk::default();
    let mut run = run(&app, &desk, &options("cursor", json!({})));
    for _ in 0..3 {
        sweep(&mut run).await.unwrap();
    }
    assert_eq!(desk.names(), ["e"]);
    let price = desk.0.lock().unwrap().events[0].value.clone().unwrap();
    let price = &price.as_object().unwrap()["price"];
    assert_eq!(*price, Value::from("12345678901234567.89"), "a price is never a float");
    let rejected = &desk.0.lock().unwrap().rejected;
    let causes: BTreeMap<&str, usize> = rejected.iter().fold(BTreeMap::new(), |mut all, one| {
        *all.entry(one.1.cause).or_default() += 1;
        all
    });
    assert_eq!(rejected.len(), 7, "{causes:?}");
}

#[tokio::test]
async fn a_list_without_times_is_compared_and_what_is_gone_for_two_sweeps_is_buried() {
    let app = App::start(&[(10, "a", "a1"), (20, "b", "b1"), (30, "c", "c1")]).await;
    let desk = Desk::default();
    let mut options = options("cursor", json!({ "on_absence": "tombstone" }));
    options.as_object_mut().unwrap().remove("changed");
    options["query"].as_object_mut().unwrap().remove("since");
    let mut first = run(&app, &desk, &options);
    sweep(&mut first).await.unwrap();
    app.set(20, "b", "b2");
    app.rows.lock().unwrap().all.retain(|row| row.1 != "a");
    sweep(&mut first).await.unwrap();
    assert_eq!(desk.names(), ["a1", "b1", "c1", "b2"], "one sweep alone can have missed it");
    let mut second = run(&app, &desk, &options);
    sweep(&mut second).await.unwrap();
    assert_eq!(desk.names(), ["a1", "b1", "c1", "b2", "-a"]);
    sweep(&mut second).await.unwrap();
    assert_eq!(desk.names().len(), 5);
    options["remember"] = 1.into();
    let fault = sweep(&mut run(&app, &desk, &options)).await.unwrap_err();
    assert_eq!((fault.cause, fault.domain), ("too_many_items", Domain::Config));
}

#[tokio::test]
async fn the_detail_of_an_item_is_asked_for_once_for_each_change() {
    let app = App::start(&[(10, "a", "a1"), (20, "gone", "g1")]).await;
    let detail = json!({ "path": "/detail/{{ .id }}", "item": ".items[0]" });
    let more = json!({ "detail": detail, "event": r#"{ "id": .id, "name": "in detail: " + string!(.name) }"# });
    let desk = Desk::default();
    let mut run = run(&app, &desk, &options("cursor", more));
    sweep(&mut run).await.unwrap();
    sweep(&mut run).await.unwrap();
    assert_eq!(desk.names(), ["in detail: a1"], "what has gone meanwhile makes no event");
    let mut details = app.calls();
    details.retain(|call| call.starts_with("/detail/"));
    details.sort();
    assert_eq!(details, ["/detail/a", "/detail/gone"]);
}

#[tokio::test]
async fn a_start_now_leaves_out_what_was_there() {
    let now = chrono::Utc::now().timestamp();
    let app = App::start(&[(now - 1_000, "old", "old")]).await;
    app.set(now + 5, "new", "new");
    let desk = Desk::default();
    sweep(&mut run(&app, &desk, &options("keyset", json!({ "start": "now" })))).await.unwrap();
    assert_eq!(desk.names(), ["new"]);
}

#[test]
fn mistakes_are_found_with_their_place() {
    let wrong = options(
        "keyset",
        json!({
            "path": "/items/{{ .paeg }}", "id": ".id ==", "remember": 1_000_000, "every": "0s",
            "headers": { "Host": "a" }, "on_absence": "tombstone",
        }),
    );
    let mut findings = Findings::default();
    Poll::check(&serde_json::from_value(wrong).unwrap(), &mut findings);
    let mut found: Vec<_> = findings.0.iter().map(|one| one.pointer.as_str()).collect();
    found.sort_unstable();
    let expected = [
        "/poll/every",
        "/poll/headers/Host",
        "/poll/id",
        "/poll/on_absence",
        "/poll/path",
        "/poll/remember",
    ];
    assert_eq!(found, expected);
}
