use std::time::Duration;

use engine::connector::Setup;
use engine::{Domain, Headers, Retry, event};
use serde_json::{Value as Json, json};

use super::*;
use crate::tests::setup;
use ::tests::bad_server::{Act, BadServer, answer};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn order(json: &str) -> Event {
    let mut headers = Headers::default();
    headers.set(event::CE_ID, "evt_1");
    headers.set(event::CE_SOURCE, "shop");
    crate::tests::order(json, headers)
}

fn tombstone() -> Event {
    Event { payload: None, value: None, ..order("{}") }
}

fn built(server: &BadServer, connection: Json, options: Json, setup: &Setup) -> HttpSink {
    let mut whole = json!({ "url": server.url, "allow_private": true, "timeout": "2s" });
    whole.as_object_mut().unwrap().extend(connection.as_object().unwrap().clone());
    let connection: Connection = serde_json::from_value(whole).unwrap();
    let options: Options = serde_json::from_value(options).unwrap();
    let secrets = options.signature.as_ref().map(Signature::secrets).unwrap_or_default();
    let exchange = Exchange::with(&connection, secrets, setup).unwrap();
    let batch = options.batch;
    let request = Request::new(options, setup).unwrap();
    HttpSink { exchange, batch, request }
}

fn sink(server: &BadServer, options: Json) -> HttpSink {
    built(server, json!({}), options, &setup())
}

async fn good() -> BadServer {
    BadServer::start(|_| answer("201 Created", "", "{}")).await
}

async fn deliver(sink: &HttpSink, event: &Event, attempt: u32) -> Result<Delivery, Fault> {
    let batch = std::slice::from_ref(event);
    sink.deliver(batch, attempt).await.pop().unwrap()
}

#[tokio::test]
async fn an_event_is_posted_as_json_with_its_idempotency_key() {
    let server = good().await;
    let sink = sink(&server, json!({}));
    let order = order(r#"{"id":"O-1","total":"10.00"}"#);
    for attempt in 1..=2 {
        let delivery = deliver(&sink, &order, attempt).await.unwrap();
        assert_eq!(delivery.answer, "201");
    }
    let received = server.received();
    assert_eq!(received[0].line, "POST / HTTP/1.1");
    assert_eq!(received[0].body, br#"{"id":"O-1","total":"10.00"}"#);
    assert_eq!(received[0].headers["content-type"], "application/json");
    let key = order.idempotency_key("orders/target");
    assert!(received.iter().all(|request| request.headers["idempotency-key"] == key));
    assert_eq!(received[0].headers.get("webhook-id"), None);
}

#[tokio::test]
async fn a_value_put_into_the_path_stays_one_part_of_it() {
    let server = good().await;
    let sink =
        sink(&server, json!({ "method": "PUT", "path": "/orders/{{ .id }}?shop={{ .shop }}" }));
    let order = order(r#"{"id":"a/../b?x#y é","shop":"1&admin=1"}"#);
    deliver(&sink, &order, 1).await.unwrap();
    assert_eq!(
        server.received()[0].line,
        "PUT /orders/a%2F..%2Fb%3Fx%23y%20%C3%A9?shop=1%26admin%3D1 HTTP/1.1"
    );
    let up = super::tests::order(r#"{"id":"..","shop":""}"#);
    assert_eq!(deliver(&sink, &up, 1).await.unwrap_err().cause, "path_invalid");
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn a_line_break_in_the_data_never_becomes_a_header() {
    let server = good().await;
    let sink = sink(&server, json!({ "headers": { "X-Note": "{{ .note }}" } }));
    deliver(&sink, &order(r#"{"note":"déjà vu"}"#), 1).await.unwrap();
    for note in [r"a\r\nX-Admin: 1", r"a\nb", r"a\u0000b"] {
        let order = order(&format!(r#"{{"note":"{note}"}}"#));
        let fault = deliver(&sink, &order, 1).await.unwrap_err();
        assert_eq!((fault.cause, fault.domain), ("header_invalid", Domain::Data));
    }
    let received = server.received();
    assert_eq!((received.len(), received[0].headers["x-note"].as_str()), (1, "déjà vu"));
}

#[tokio::test]
async fn credentials_are_sent_and_never_shown() {
    let server = BadServer::start(|_| answer("422 X", "", "bad: tok-123 key-456 Bearer")).await;
    let connection = json!({
        "auth": { "bearer": "tok-123" }, "headers": { "X-Api-Key": "key-456" },
    });
    let sink = built(&server, connection, json!({}), &setup());
    let fault = deliver(&sink, &order("{}"), 1).await.unwrap_err();
    assert!(fault.message.contains("bad: *** *** Bearer"), "{fault}");
    let received = server.received();
    assert_eq!(received[0].headers["authorization"], "Bearer tok-123");
    assert_eq!(received[0].headers["x-api-key"], "key-456");
    let basic = json!({ "auth": { "basic": { "user": "me", "password": "pass" } } });
    let sink = built(&server, basic, json!({}), &setup());
    deliver(&sink, &order("{}"), 1).await.unwrap_err();
    assert_eq!(server.received()[1].headers["authorization"], "Basic bWU6cGFzcw==");
}

#[tokio::test]
async fn the_signature_covers_the_bytes_that_were_sent() {
    let server = good().await;
    let sink = sink(&server, json!({ "signature": { "standard_webhooks": [SECRET, SECRET] } }));
    deliver(&sink, &order(r#"{"name":"é"}"#), 1).await.unwrap();
    let received = server.received().remove(0);
    let header = |name: &str| received.headers[name].clone();
    assert_eq!(header("webhook-id"), header("idempotency-key"));
    let now = chrono::Utc::now().timestamp();
    assert!((now - header("webhook-timestamp").parse::<i64>().unwrap()).abs() < 60);
    let signer = [signature::Signer::read(&Secret::new(SECRET)).ok().unwrap()];
    let (id, time) = (header("webhook-id"), header("webhook-timestamp"));
    let expected = signature::header(&signer, &id, &time, &received.body);
    assert_eq!(header("webhook-signature"), format!("{expected} {expected}"));
}

#[tokio::test]
async fn a_body_expression_gives_json_or_a_text() {
    let server = good().await;
    let object = sink(&server, json!({ "body": r#"{ "n": .id, "t": .total }"# }));
    deliver(&object, &order(r#"{"id":1,"total":"10.00"}"#), 1).await.unwrap();
    let text = json!({
        "body": r#""id=" + to_string!(.id)"#,
        "headers": { "Content-Type": "application/x-www-form-urlencoded" },
    });
    deliver(&sink(&server, text), &order(r#"{"id":1}"#), 1).await.unwrap();
    let received = server.received();
    assert_eq!(received[0].body, br#"{"n":1,"t":"10.00"}"#);
    assert_eq!(received[1].body, b"id=1");
    assert_eq!(received[1].headers["content-type"], "application/x-www-form-urlencoded");
}

#[tokio::test]
async fn decimals_can_be_numbers_with_all_their_digits() {
    let server = good().await;
    let mut setup = setup();
    let options = json!({ "decimals": "number" });
    let unknown = Request::new(serde_json::from_value(options.clone()).unwrap(), &setup);
    assert_eq!(unknown.err().unwrap().domain, Domain::Config);
    setup.input_schema = Some(schemas::Schema::parse(schemas::events::SALE).unwrap());
    let sink = built(&server, json!({}), options, &setup);
    let sale =
        r#"{"lines":[{"product":"1","unit_price":"12345678901234567890.10"}],"total":"0.10"}"#;
    deliver(&sink, &order(sale), 1).await.unwrap();
    let body = String::from_utf8(server.received().remove(0).body).unwrap();
    assert_eq!(
        body,
        r#"{"lines":[{"product":"1","unit_price":12345678901234567890.10}],"total":0.10}"#
    );
}

#[tokio::test]
async fn a_deletion_does_what_the_route_says() {
    let server = good().await;
    let kept = deliver(&sink(&server, json!({})), &tombstone(), 1).await.unwrap_err();
    assert_eq!((kept.domain, kept.cause), (Domain::Data, "tombstone"));
    let ignored = sink(&server, json!({ "on_delete": "ignore", "path": "/{{ .id }}" }));
    deliver(&ignored, &tombstone(), 1).await.unwrap();
    assert!(server.received().is_empty());
    let delete = sink(&server, json!({ "on_delete": "delete", "path": "/customers/{{ %key }}" }));
    deliver(&delete, &tombstone(), 1).await.unwrap();
    let received = server.received().remove(0);
    assert_eq!(received.line, "DELETE /customers/C-1 HTTP/1.1");
    assert!(received.body.is_empty() && received.headers.contains_key("idempotency-key"));
}

#[tokio::test]
async fn a_batch_is_one_array_and_what_is_refused_together_is_sent_alone() {
    let server = BadServer::start_reading(|request| {
        let bad = String::from_utf8_lossy(&request.body).contains("bad");
        if bad { answer("422 X", "", "") } else { answer("200 OK", "", "") }
    })
    .await;
    let sink = sink(&server, json!({ "batch": 10, "on_delete": "ignore" }));
    assert_eq!(sink.batch(), 10);
    let good = [order(r#"{"id":1}"#), tombstone(), order(r#"{"id":2}"#)];
    assert!(sink.deliver(&good, 1).await.iter().all(Result::is_ok));
    assert_eq!(server.received()[0].body, br#"[{"id":1},{"id":2}]"#);
    let mixed = [order(r#"{"id":"bad"}"#), order(r#"{"id":3}"#)];
    let outcomes = sink.deliver(&mixed, 1).await;
    assert!(outcomes[0].is_err() && outcomes[1].is_ok());
    let bodies: Vec<_> = server.received().into_iter().skip(2).map(|one| one.body).collect();
    assert_eq!(bodies, [&br#"[{"id":"bad"}]"#[..], br#"[{"id":3}]"#]);
    let options = json!({ "batch": 10, "path": "/{{ .id }}" });
    let differs = Request::new(serde_json::from_value(options).unwrap(), &setup());
    assert_eq!(differs.err().unwrap().cause, "batch_differs");
}

#[tokio::test]
async fn a_2xx_is_delivered_whatever_becomes_of_its_body() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 90000000\r\n\r\n";
    for act in [Act::Trickle, Act::AnswerAndClose, Act::Flood] {
        let act = act(head.to_owned());
        let server = BadServer::start(move |_| act.clone()).await;
        deliver(&sink(&server, json!({})), &order("{}"), 1).await.unwrap();
    }
}

#[tokio::test]
async fn a_time_out_is_unknown_and_a_conflict_at_the_repeat_is_tried_again() {
    let server = BadServer::start(|number| match number {
        0 => Act::Silence,
        1 | 2 => answer("409 Conflict", "", "in progress"),
        _ => answer("200 OK", "", ""),
    })
    .await;
    let sink = sink(&server, json!({}));
    let late = deliver(&sink, &order("{}"), 1).await.unwrap_err();
    assert_eq!((late.unknown_outcome, late.retry), (true, Retry::Backoff));
    let busy = deliver(&sink, &order("{}"), 2).await.unwrap_err();
    assert_eq!((busy.domain, busy.retry), (Domain::Remote, Retry::Backoff));
    let first = deliver(&sink, &order("{}"), 1).await.unwrap_err();
    assert_eq!(first.domain, Domain::Data);
    deliver(&sink, &order("{}"), 3).await.unwrap();
}

#[test]
fn mistakes_are_found_when_the_file_is_checked_without_showing_secrets() {
    let connection = json!({
        "url": "http://10.0.0.1/", "headers": { "Host": "x" },
        "auth": { "bearer": "tok\n" },
    });
    let options = json!({
        "headers": { "Idempotency-Key": "x", "webhook-id": "y", "a b": "z" },
        "idempotency_header": "Idempotency-Key",
        "signature": { "standard_webhooks": "whsec_hidden" },
        "body": ".x", "decimals": "number",
    });
    let mut findings = Findings::default();
    Http::check(
        &serde_json::from_value(connection).unwrap(),
        &serde_json::from_value(options).unwrap(),
        &mut findings,
    );
    let codes: Vec<_> =
        findings.0.iter().map(|found| (found.pointer.as_str(), found.code)).collect();
    assert_eq!(
        codes,
        [
            ("/url", "url_invalid"),
            ("/headers/Host", "header_invalid"),
            ("/signature/standard_webhooks", "secret_invalid"),
            ("/headers/Idempotency-Key", "header_taken"),
            ("/headers/a b", "header_invalid"),
            ("/headers/webhook-id", "header_taken"),
            ("/decimals", "decimals_unused"),
        ]
    );
    assert!(!format!("{findings:?}").contains("hidden"));
}

#[test]
fn what_is_promised_about_repeats_is_what_the_route_says() {
    let once = |options: Json| Http::once(&serde_json::from_value(options).unwrap());
    assert_eq!(once(json!({})), Once::No);
    assert_eq!(once(json!({ "once": "no" })), Once::No);
    assert_eq!(once(json!({ "once": "forever" })), Once::Forever);
    assert_eq!(once(json!({ "once": { "for": "24h" } })), Once::For(Duration::from_secs(86_400)));
}

#[tokio::test]
async fn what_would_be_sent_is_told_without_a_call_and_the_way_there_is_tried_without_a_request() {
    let server = good().await;
    let options =
        json!({ "path": "/orders/{{ .id }}?key=hidden", "method": "PUT", "on_delete": "ignore" });
    let sink = sink(&server, options);
    let intent = sink.intent(&order(r#"{"id":"O 1","total":"10.00"}"#)).unwrap().unwrap();
    assert_eq!(intent.operation, "PUT /orders/O%201", "what a query holds is not shown");
    assert_eq!((intent.key, intent.payload), (None, json!({ "id": "O 1", "total": "10.00" })));
    assert_eq!(sink.intent(&tombstone()).unwrap(), None);
    let together = self::sink(&server, json!({ "batch": 10, "body": "{ \"id\": .id }" }));
    let intent = together.intent(&order(r#"{"id":"O-1"}"#)).unwrap().unwrap();
    assert_eq!(intent.payload, json!({ "id": "O-1" }), "each event by itself");
    assert!(sink.connect().await.unwrap().contains("is reached"));
    assert!(server.received().is_empty());
}
