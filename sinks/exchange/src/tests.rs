use std::time::Duration;

use ::tests::bad_server::{Act, BadServer, answer};
use engine::connector::{Setup, Shared};
use engine::options::Period;
use engine::{Domain, Retry};
use vrl::value::Kind;

use super::*;

pub(super) fn setup() -> Setup {
    Setup {
        route: "orders/target".into(),
        input: Kind::any(),
        input_schema: None,
        output_schema: None,
        connection: None,
        listen: ([127, 0, 0, 1], 8080).into(),
        folder: ".".into(),
        shared: Shared::default(),
    }
}

pub(super) fn target(url: &str, timeout: u64) -> Target {
    let timeout = Period(Duration::from_millis(timeout));
    Target { url: url.to_owned(), allow_private: true, timeout, tls: Tls::default() }
}

fn exchange(url: &str) -> Exchange {
    Exchange::new(&target(url, 2_000), &[Secret::new("hush-hush")], &setup()).unwrap()
}

pub(super) fn call(path: &str) -> Call {
    Call {
        method: Method::POST,
        path: path.to_owned(),
        headers: HeaderMap::new(),
        body: b"{}".to_vec(),
        most: 1_000,
    }
}

/// The fault of one exchange with a server that does this.
async fn fault(act: Act) -> Fault {
    let server = BadServer::start(move |_| act.clone()).await;
    let exchange = exchange(&server.url);
    match exchange.send(call("/orders")).await {
        Ok(answer) => exchange.verdict(&answer).unwrap_err(),
        Err(fault) => fault,
    }
}

fn plain(status: &str) -> Act {
    answer(status, "", "because")
}

#[tokio::test]
async fn each_status_goes_where_the_table_says() {
    for status in ["408", "425", "429", "500", "502", "503", "504", "599", "999"] {
        let fault = fault(plain(&format!("{status} X"))).await;
        assert_eq!((fault.domain, fault.retry), (Domain::Remote, Retry::Backoff), "{fault}");
        assert_eq!(fault.unknown_outcome, matches!(status, "502" | "504"), "{fault}");
    }
    for status in ["301", "302", "307", "401", "403", "410"] {
        let fault = fault(plain(&format!("{status} X"))).await;
        assert_eq!((fault.domain, fault.retry), (Domain::Remote, Retry::Route), "{fault}");
    }
    for status in ["400", "404", "405", "409", "413", "422", "418"] {
        let fault = fault(plain(&format!("{status} X"))).await;
        assert_eq!((fault.domain, fault.retry), (Domain::Data, Retry::Never), "{fault}");
        assert!(fault.message.contains("because"), "{fault}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = BadServer::start(|_| answer("302 Found", "location: /elsewhere\r\n", "")).await;
    let exchange = exchange(&server.url);
    let answer = exchange.send(call("/orders")).await.unwrap();
    assert_eq!(exchange.verdict(&answer).unwrap_err().cause, "http_redirect");
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn silence_is_an_unknown_outcome_at_the_deadline() {
    let start = Instant::now();
    let fault = fault(Act::Silence).await;
    assert_eq!(fault.cause, "http_timeout");
    assert!(fault.unknown_outcome && fault.domain == Domain::Remote);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn slow_headers_and_a_cut_connection_are_unknown_outcomes() {
    let slow = fault(Act::Trickle("HTTP/1.1 200 O".to_owned())).await;
    assert_eq!((slow.cause, slow.unknown_outcome), ("http_timeout", true));
    let cut = fault(Act::AnswerAndClose("HTTP/1.1 200 O".to_owned())).await;
    assert_eq!((cut.cause, cut.unknown_outcome), ("http_cut", true), "{cut}");
    let none = fault(Act::AnswerAndClose(String::new())).await;
    assert_eq!((none.cause, none.unknown_outcome), ("http_cut", true), "{none}");
}

#[tokio::test]
async fn a_body_that_trickles_or_breaks_keeps_its_status_and_says_why() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\nstart";
    for (act, cause) in [
        (Act::Trickle(head.to_owned()), "http_timeout"),
        (Act::AnswerAndClose(head.to_owned()), "http_cut"),
        (Act::Flood("HTTP/1.1 200 OK\r\n\r\nstart".to_owned()), "answer_too_large"),
    ] {
        let server = BadServer::start(move |_| act.clone()).await;
        let start = Instant::now();
        let answer = exchange(&server.url).send(call("/orders")).await.unwrap();
        assert!(start.elapsed() < Duration::from_secs(5));
        assert_eq!(answer.cut.unwrap().cause, cause);
        assert!(answer.status.is_success() && answer.body.starts_with(b"start"));
        assert!(answer.body.len() <= 1_000);
    }
}

#[tokio::test]
async fn a_refused_connection_and_an_unknown_name_are_known_not_to_have_acted() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let fault = exchange(&format!("http://{closed}")).send(call("")).await.unwrap_err();
    assert_eq!((fault.cause, fault.unknown_outcome), ("http_connect", false), "{fault}");
    assert!(fault.message.contains("refused"), "{fault}");
    // (Whoever resolves names may take its time.)
    let nowhere = target("http://no-such-host.invalid", 30_000);
    let nowhere = Exchange::new(&nowhere, &[], &setup()).unwrap();
    let name = nowhere.send(call("")).await.unwrap_err();
    assert_eq!((name.cause, name.unknown_outcome), ("http_dns", false), "{name}");
    assert_eq!(name.domain, Domain::Remote);
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_named_so() {
    let server = BadServer::start(|_| plain("200 OK")).await;
    let url = server.url.replace("http:", "https:");
    let fault = exchange(&url).send(call("")).await.unwrap_err();
    assert_eq!(fault.domain, Domain::Remote);
    assert!(!fault.unknown_outcome, "{fault}");
}

#[tokio::test]
async fn a_name_that_resolves_to_loopback_is_refused_and_nothing_is_sent() {
    let server = BadServer::start(|_| plain("200 OK")).await;
    let mut target = target(&server.url.replace("127.0.0.1", "localhost"), 2_000);
    target.allow_private = false;
    let exchange = Exchange::new(&target, &[], &setup()).unwrap();
    let fault = exchange.send(call("/orders")).await.unwrap_err();
    assert_eq!((fault.cause, fault.retry), ("address_refused", Retry::Route), "{fault}");
    assert!(fault.message.contains("loopback") && fault.message.contains("allow_private"));
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn what_a_route_signs_with_gives_it_no_limits_of_its_own() {
    let options =
        serde_json::json!({ "url": "http://shop.example", "limits": { "per_second": 10 } });
    let connection: Connection = serde_json::from_value(options).unwrap();
    let setup = setup();
    let [plain, signed] = [Vec::new(), vec![Secret::new("hush-hush")]]
        .map(|secrets| Exchange::with(&connection, &secrets, &setup).unwrap().gate.unwrap());
    assert!(Arc::ptr_eq(&plain, &signed));
}

#[tokio::test]
async fn after_retry_after_nothing_more_is_sent_before_its_time() {
    let server = BadServer::start(|number| match number {
        0 => answer("429 Too Many Requests", "retry-after: 3\r\n", ""),
        _ => plain("200 OK"),
    })
    .await;
    let setup = setup();
    let [one, other] =
        [(); 2].map(|()| Exchange::new(&target(&server.url, 2_000), &[], &setup).unwrap());
    let start = Instant::now();
    let answer = one.send(call("/orders")).await.unwrap();
    let fault = one.verdict(&answer).unwrap_err();
    assert_eq!(fault.retry, Retry::After(Duration::from_secs(3)));
    let paused = other.send(call("/orders")).await.unwrap_err();
    assert_eq!((paused.cause, server.received().len()), ("http_paused", 1));
    let Retry::After(left) = paused.retry else { panic!("{paused}") };
    tokio::time::sleep(left).await;
    assert!(other.send(call("/orders")).await.unwrap().status.is_success());
    assert!(start.elapsed() >= Duration::from_secs(3));
}

#[tokio::test]
async fn retry_after_is_honoured_up_to_the_cap() {
    let later = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(9_000));
    let header = format!("retry-after: {later}\r\n");
    let server = BadServer::start(move |_| answer("503 Busy", &header, "")).await;
    let exchange = exchange(&server.url).with_retry_after_cap(Duration::from_secs(60));
    let answer = exchange.send(call("")).await.unwrap();
    let fault = exchange.verdict(&answer).unwrap_err();
    assert_eq!(fault.retry, Retry::After(Duration::from_secs(60)));
}

#[tokio::test]
async fn compressed_answers_are_not_asked_for_and_not_inflated() {
    let body = "\u{1f}not really gzip";
    let server =
        BadServer::start(move |_| answer("200 OK", "content-encoding: gzip\r\n", body)).await;
    let answer = exchange(&server.url).send(call("")).await.unwrap();
    assert_eq!(answer.body, body.as_bytes());
    assert_eq!(server.received()[0].headers.get("accept-encoding"), None);
}

#[tokio::test]
async fn messages_hold_no_secret_and_no_more_of_the_address_than_its_host() {
    let server =
        BadServer::start(|_| answer("422 X", "", "no /T000/hidden-and-secret,\r\n\u{7}hush-hush?"))
            .await;
    let exchange = exchange(&format!("{}/T000/hidden-and-secret?token=hidden", server.url));
    let answer = exchange.send(call("/orders?sign=hidden")).await.unwrap();
    let message = exchange.verdict(&answer).unwrap_err().message;
    let host = &server.url;
    assert!(message.starts_with(&format!("POST /orders of {host} answered 422")), "{message}");
    assert!(message.contains("no ***, ***?"), "{message}");
    assert!(!message.contains("hidden"), "{message}");
    let line = &server.received()[0].line;
    assert_eq!(line, "POST /T000/hidden-and-secret/orders?token=hidden&sign=hidden HTTP/1.1");
}

#[tokio::test]
async fn no_path_leaves_the_connections_address() {
    let server = BadServer::start(|_| plain("200 OK")).await;
    let exchange = exchange(&format!("{}/api", server.url));
    for path in ["/../admin", "/a/%2e%2E/admin", "/.", "..", "/a\\..\\b", "/%2e"] {
        let fault = exchange.send(call(path)).await.unwrap_err();
        assert_eq!((fault.cause, fault.domain), ("path_invalid", Domain::Data), "{path}");
    }
    for path in ["@evil.example/", "//evil.example/x", ":99/x", "/a#b", "http://evil.example/"] {
        exchange.send(call(path)).await.unwrap();
    }
    for request in server.received() {
        assert!(request.line.starts_with("POST /api/"), "{}", request.line);
    }
}

#[tokio::test]
async fn one_connection_is_kept_and_used_again() {
    let server = BadServer::start(|_| plain("200 OK")).await;
    let exchange = exchange(&server.url);
    for _ in 0..5 {
        exchange.send(call("/orders")).await.unwrap();
    }
    assert_eq!(server.received().len(), 5);
    assert_eq!(server.connections(), 1);
}
