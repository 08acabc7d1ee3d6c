use std::path::Path;

use engine::Catalogue;
use engine::configuration::applications::declare;
use engine::configuration::file::File;
use engine::configuration::{Grammar, draw_all};
use serde_json::{Value as Json, json};

use super::*;
use crate::tests::setup;
use ::tests::bad_server::{Act, BadServer, Received, answer};

/// What is said of a description.
fn said(text: &str) -> Result<SinkDeclaration, String> {
    let catalogue = Catalogue { descriptions: Some(descriptions()), ..Catalogue::default() };
    let file = File::new(Path::new("our-crm.yaml"), text.to_owned());
    declare(&file, &catalogue, &Grammar::of(&catalogue)).map_err(|found| draw_all(&found, false))
}

#[test]
fn every_description_of_the_catalogue_is_right() {
    for (name, text) in catalogue::FILES {
        if let Err(problems) = said(text) {
            panic!("{name}:\n{problems}");
        }
    }
    assert_eq!(catalogue::all().len(), catalogue::FILES.len());
}

const CRM: &str = r#"
name: our-crm
summary: Ours.
version: "1"
settings:
  key: { description: The key., secret: true }
auth:
  - headers: { X-Key: "{{ .key }}" }
errors:
  - { status: [200], when: '.body.error == "stale"', is: stale }
  - { when: '.body.error == "duplicate"', is: there }
idempotency: { header: Idempotency-Key, remembered: 24h }
objects:
  contact:
    id: email
    find:
      method: GET
      path: /contacts
      query: { email: "{{ .id }}", after: "{{ .cursor }}" }
      record: .body.items[0]
      next: .body.next
    create: { method: POST, path: /contacts, body: .value, result: .body.id }
    update:
      method: PUT
      path: "/contacts/{{ .found.id }}"
      body: 'merge(object!(.value), { "version": .found.version })'
    delete: { method: DELETE, path: "/contacts/{{ .found.id }}" }
coverage: {}
"#;

#[test]
fn mistakes_are_shown_at_their_place_in_the_file() {
    for (old, new, expected) in [
        ("version: \"1\"\n", "", "has no `version`"),
        ("method: PUT", "method: PUTT", "PUTT"),
        ("record: .body", "record: .body..", "our-crm.yaml:20:"),
        ("{{ .key }}", "{{ .kee }}", "no setting"),
        ("    id: email\n", "", "no `id` to look for"),
        ("is: stale", "is: stail", "stale"),
        ("find:", "fnd:", "did you mean `find`?"),
    ] {
        let changed = CRM.replacen(old, new, 1);
        let problems = said(&changed).err().unwrap_or_else(|| panic!("{new:?} is taken"));
        assert!(problems.contains(expected), "{new:?}: {problems}");
    }
}

fn event(json: &str) -> Event {
    let value = schemas::json::read_plain(json.as_bytes()).unwrap();
    let mut headers = engine::Headers::default();
    headers.set(engine::event::CE_ID, "evt_1");
    headers.set(engine::event::CE_SOURCE, "shop");
    Event {
        topic: "contacts".into(),
        key: Some("a@x".into()),
        payload: Some("avro".into()),
        headers,
        ..Event::of_value(value)
    }
}

fn sink(
    server: &BadServer,
    declared: &SinkDeclaration,
    more: Json,
    options: Json,
) -> Box<dyn Sink> {
    let mut connection = json!({ "url": server.url, "allow_private": true, "timeout": "2s" });
    connection.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut findings = Findings::default();
    (declared.check)(connection.clone(), options.clone(), &mut findings).unwrap();
    assert!(findings.0.is_empty(), "{findings:?}");
    (declared.build)(connection, options, &setup()).unwrap()
}

fn crm(server: &BadServer, operation: &str) -> Box<dyn Sink> {
    let declared = said(CRM).unwrap();
    sink(server, &declared, json!({ "key": "key-123" }), json!({ "operation": operation }))
}

async fn one(sink: &dyn Sink, event: &Event) -> Result<Delivery, Fault> {
    sink.deliver(std::slice::from_ref(event), 1).await.pop().unwrap()
}

fn ok(json: &Json) -> Act {
    answer("200 OK", "", &json.to_string())
}

fn lines(received: &[Received]) -> Vec<&str> {
    received.iter().map(|one| one.line.trim_end_matches(" HTTP/1.1")).collect()
}

#[tokio::test]
async fn an_object_is_looked_up_over_pages_and_created_with_its_key() {
    let server = BadServer::start(|number| match number {
        0 => ok(&json!({ "items": [], "next": "p2" })),
        1 => ok(&json!({ "items": [], "next": null })),
        _ => answer("201 Created", "", r#"{"id":17}"#),
    })
    .await;
    let sink = crm(&server, "upsert");
    let delivery = one(&*sink, &event(r#"{"email":"a&b@x","name":"A"}"#)).await.unwrap();
    assert_eq!((delivery.answer.as_str(), delivery.already_there), ("created 17", false));
    let received = server.received();
    assert_eq!(
        lines(&received),
        [
            "GET /contacts?email=a%26b%40x",
            "GET /contacts?after=p2&email=a%26b%40x",
            "POST /contacts"
        ]
    );
    assert_eq!(received[2].body, br#"{"email":"a&b@x","name":"A"}"#);
    assert!(received.iter().all(|one| one.headers["x-key"] == "key-123"));
    assert!(received[2].headers["idempotency-key"].ends_with("-create"));
}

#[tokio::test]
async fn a_stale_object_is_read_again_and_written_with_its_new_version() {
    let server = BadServer::start(|number| match number {
        0 => ok(&json!({ "items": [{ "id": 5, "version": 1 }] })),
        1 => ok(&json!({ "error": "stale" })),
        2 => ok(&json!({ "items": [{ "id": 5, "version": 2 }] })),
        _ => ok(&json!({})),
    })
    .await;
    let sink = crm(&server, "upsert");
    let delivery = one(&*sink, &event(r#"{"email":"a@x"}"#)).await.unwrap();
    assert_eq!(delivery.answer, "updated");
    let received = server.received();
    assert_eq!(received[3].line, "PUT /contacts/5 HTTP/1.1");
    assert_eq!(received[3].body, br#"{"email":"a@x","version":2}"#);
    let keys = [1, 3].map(|at: usize| received[at].headers["idempotency-key"].clone());
    assert_ne!(keys[0], keys[1], "another body goes with another key");
}

#[tokio::test]
async fn what_is_there_already_is_left_by_create_and_changed_by_upsert() {
    let act = |number| match number {
        0 => ok(&json!({ "items": [] })),
        1 => answer("400 X", "", r#"{"error":"duplicate"}"#),
        2 => ok(&json!({ "items": [{ "id": 5 }] })),
        _ => ok(&json!({})),
    };
    let order = event(r#"{"email":"a@x"}"#);
    let server = BadServer::start(act).await;
    let created = one(&*crm(&server, "create"), &order).await.unwrap();
    assert!(created.already_there && server.received().len() == 3);
    let server = BadServer::start(act).await;
    let updated = one(&*crm(&server, "upsert"), &order).await.unwrap();
    assert!(!updated.already_there && server.received().len() == 4);
}

#[tokio::test]
async fn an_object_that_is_missing_is_data_for_update_and_done_for_delete() {
    let server = BadServer::start(|_| ok(&json!({ "items": [] }))).await;
    let order = event(r#"{"email":"a@x"}"#);
    let fault = one(&*crm(&server, "update"), &order).await.unwrap_err();
    assert_eq!((fault.cause, fault.domain), ("object_missing", engine::Domain::Data));
    let gone = one(&*crm(&server, "delete"), &order).await.unwrap();
    assert!(gone.already_there);
    let nameless = one(&*crm(&server, "upsert"), &event(r#"{"name":"A"}"#)).await.unwrap_err();
    assert_eq!(nameless.cause, "id_missing");
}

#[test]
fn what_is_promised_follows_from_the_description() {
    let once = |text: &str, operation: &str| {
        (said(text).unwrap().once)(json!({ "operation": operation })).unwrap()
    };
    assert_eq!(once(CRM, "create"), Once::Forever);
    assert_eq!(once(CRM, "upsert"), Once::Forever);
    let repeats = CRM.replace("result: .body.id", "result: .body.id, look: on_repeat");
    assert_eq!(once(&repeats, "create"), Once::For(std::time::Duration::from_secs(86_400)));
    let never = repeats.replace("on_repeat", "never").replace("idempotency: {", "x: {");
    assert!(said(&never).is_err());
    let without = CRM.replace("result: .body.id", "look: never");
    let without =
        without.replace("idempotency: { header: Idempotency-Key, remembered: 24h }\n", "");
    assert_eq!(once(&without, "create"), Once::No);
}

fn hubspot(server: &BadServer) -> Box<dyn Sink> {
    let declared = catalogue::all().into_iter().find(|one| one.name == "hubspot").unwrap();
    let options = json!({ "object": "contacts", "operation": "upsert" });
    sink(server, &declared, json!({ "token": "tok-123" }), options)
}

fn properties() -> Act {
    ok(&json!({ "results": [{ "name": "email" }, { "name": "lastname" }] }))
}

#[tokio::test]
async fn each_item_of_a_batch_is_told_what_became_of_it() {
    let server = BadServer::start_reading(|request| {
        if request.line.starts_with("GET") {
            return properties();
        }
        let body: Json = serde_json::from_slice(&request.body).unwrap();
        let inputs = body["inputs"].as_array().unwrap();
        let trace = |at: usize| inputs[at]["objectWriteTraceId"].clone();
        if inputs.len() == 1 {
            return ok(&json!({ "results": [{ "id": "9" }] }));
        }
        answer("207 Multi-Status", "", &json!({
            "status": "COMPLETE", "numErrors": 1,
            "results": [{ "id": "1", "objectWriteTraceId": trace(0), "new": true }],
            "errors": [{ "category": "VALIDATION_ERROR", "message": "bad", "context": { "objectWriteTraceId": [trace(1)] } }],
        }).to_string())
    })
    .await;
    let named = |name: &str| {
        let mut event = event(&format!(r#"{{"email":"{name}@x"}}"#));
        event.headers.set(engine::event::CE_ID, name.to_owned());
        event
    };
    let events = ["a", "b", "c"].map(named);
    let sink = hubspot(&server);
    assert_eq!(sink.batch(), 100);
    let outcomes = sink.deliver(&events, 1).await;
    assert!(outcomes[0].is_ok());
    let refused = outcomes[1].as_ref().unwrap_err();
    assert_eq!((refused.domain, refused.cause), (engine::Domain::Data, "item_refused"));
    assert!(outcomes[2].is_ok(), "the answer did not speak of it: it was sent alone");
    let received = server.received();
    assert_eq!(lines(&received)[1..], ["POST /crm/v3/objects/contacts/batch/upsert"; 2]);
    assert_eq!(received[1].headers["authorization"], "Bearer tok-123");
}

#[tokio::test]
async fn one_request_never_holds_two_items_of_one_id() {
    let server = BadServer::start_reading(|request| {
        if request.line.starts_with("GET") {
            return properties();
        }
        let body: Json = serde_json::from_slice(&request.body).unwrap();
        ok(&json!({ "results": body["inputs"] }))
    })
    .await;
    let events = [("1", "a"), ("2", "b"), ("3", "a")].map(|(id, name)| {
        let mut event = event(&format!(r#"{{"email":"{name}@x","lastname":"{id}"}}"#));
        event.headers.set(engine::event::CE_ID, id.to_owned());
        event
    });
    assert!(hubspot(&server).deliver(&events, 1).await.iter().all(Result::is_ok));
    let sizes: Vec<_> = server.received()[1..]
        .iter()
        .map(|one| {
            let body: Json = serde_json::from_slice(&one.body).unwrap();
            body["inputs"].as_array().unwrap().len()
        })
        .collect();
    assert_eq!(sizes, [2, 1]);
}

#[tokio::test]
async fn a_field_that_went_away_is_named_before_anything_is_written() {
    let server = BadServer::start(|_| properties()).await;
    let order = event(r#"{"email":"a@x","firstname":"A"}"#);
    let fault = one(&*hubspot(&server), &order).await.unwrap_err();
    assert_eq!(fault.retry, engine::Retry::Route);
    assert!(fault.message.contains("`firstname`"), "{fault}");
    assert!(server.received().iter().all(|one| one.line.starts_with("GET")));
}

#[test]
fn credentials_that_are_incomplete_are_named() {
    let declared = catalogue::all().into_iter().find(|one| one.name == "hubspot").unwrap();
    let options = json!({ "object": "contacts", "operation": "upsert" });
    let mut findings = Findings::default();
    (declared.check)(json!({ "client_id": "x" }), options, &mut findings).unwrap();
    assert!(
        findings.0[0].cause.contains("give `token`; or `token_url`, `client_id`"),
        "{findings:?}"
    );
}

#[tokio::test]
async fn half_a_refusal_is_no_refusal() {
    let head = "HTTP/1.1 400 Bad Request\r\ncontent-length: 900\r\n\r\n{\"error\":\"dup";
    let server = BadServer::start(move |number| match number {
        0 => ok(&json!({ "items": [] })),
        _ => Act::AnswerAndClose(head.to_owned()),
    })
    .await;
    let fault = one(&*crm(&server, "upsert"), &event(r#"{"email":"a@x"}"#)).await.unwrap_err();
    assert_eq!((fault.domain, fault.unknown_outcome), (engine::Domain::Remote, true));
}

#[tokio::test]
async fn what_would_be_written_is_told_and_a_look_up_tells_whether_we_are_known() {
    let server = BadServer::start(|number| match number {
        0 => ok(&json!({ "items": [], "next": null })),
        _ => answer("401 Unauthorized", "", "who are you"),
    })
    .await;
    let sink = crm(&server, "upsert");
    let intent = sink.intent(&event(r#"{"email":"a@x","name":"A"}"#)).unwrap().unwrap();
    assert_eq!((intent.operation.as_str(), intent.key.as_deref()), ("upsert", Some("a@x")));
    assert_eq!(intent.payload, json!({ "email": "a@x", "name": "A" }));
    assert_eq!(sink.intent(&event("{}")).unwrap_err().cause, "id_missing");
    assert!(server.received().is_empty());
    assert!(sink.connect().await.unwrap().contains("answers a look-up in `contact`"));
    assert_eq!(sink.connect().await.unwrap_err().cause, "http_401");
    assert!(lines(&server.received()).iter().all(|line| line.starts_with("GET ")));
}
