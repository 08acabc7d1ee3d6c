//! Against a server of tokens and an application that takes them, on one address.

use std::sync::Mutex;

use ::tests::bad_server::{Act, BadServer, answer};
use engine::Retry;
use serde_json::json;

use super::tests::{call, setup};
use super::*;

/// What the server knows: the token that it takes now, and how many it has given.
#[derive(Default)]
struct Given {
    tokens: usize,
    refreshes: Vec<String>,
}

fn connection(server: &BadServer, oauth2: serde_json::Value) -> Connection {
    let mut whole = json!({
        "token_url": format!("{}/token", server.url), "client_id": "me", "client_secret": "s/cret",
    });
    whole.as_object_mut().unwrap().extend(oauth2.as_object().unwrap().clone());
    let connection = json!({
        "url": server.url, "allow_private": true, "timeout": "2s", "auth": { "oauth2": whole },
    });
    serde_json::from_value(connection).unwrap()
}

/// A server that gives tokens `t1`, `t2`…, and takes only the last one.
async fn server(given: Arc<Mutex<Given>>, lasts: &'static str) -> BadServer {
    let answers = Arc::clone(&given);
    BadServer::start_reading(move |request| {
        let mut given = answers.lock().unwrap();
        if request.line.starts_with("POST /token") {
            given.tokens += 1;
            let body = String::from_utf8_lossy(&request.body).into_owned();
            given.refreshes.push(body);
            let number = given.tokens;
            return answer(
                "200 OK",
                "",
                &format!(r#"{{"access_token":"t{number}","expires_in":{lasts},"refresh_token":"r{number}"}}"#),
            );
        }
        let expected = format!("Bearer t{}", given.tokens);
        match request.headers.get("authorization") == Some(&expected) && given.tokens != 2 {
            true => answer("200 OK", "", "[]"),
            false => answer("401 Unauthorized", "", "expired"),
        }
    })
    .await
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_used_until_it_is_refused() {
    let given = Arc::new(Mutex::new(Given::default()));
    let server = server(Arc::clone(&given), "3600").await;
    let exchange = Exchange::with(&connection(&server, json!({})), &[], &setup()).unwrap();
    for _ in 0..3 {
        assert_eq!(exchange.send(call("/x")).await.unwrap().status, 200);
    }
    assert_eq!(given.lock().unwrap().tokens, 1);
    let first = &server.received()[0];
    assert_eq!(first.headers["authorization"], "Basic bWU6cyUyRmNyZXQ=");
    assert_eq!(first.body, b"grant_type=client_credentials");
}

#[tokio::test]
async fn clients_that_differ_in_what_they_ask_for_have_tokens_of_their_own() {
    let given = Arc::new(Mutex::new(Given::default()));
    let server = server(Arc::clone(&given), "3600").await;
    let setup = setup();
    let others = [
        json!({}),
        json!({ "parameters": { "audience": "a" } }),
        json!({ "parameters": { "audience": "b" } }),
        json!({ "client_secret": "new" }),
        json!({ "scope": "orders" }),
        json!({}),
    ];
    for oauth2 in others {
        let exchange = Exchange::with(&connection(&server, oauth2), &[], &setup).unwrap();
        let tokens = exchange.tokens.unwrap();
        tokens.current().await.unwrap();
    }
    assert_eq!(given.lock().unwrap().tokens, 5, "the first and the last are one");
}

#[tokio::test]
async fn of_many_requests_refused_at_once_one_renews_the_token_and_all_are_sent_again() {
    let given = Arc::new(Mutex::new(Given::default()));
    let server = server(Arc::clone(&given), "\"3600\"").await;
    let setup = setup();
    let open = || Exchange::with(&connection(&server, json!({})), &[], &setup).unwrap();
    let (one, other) = (open(), open());
    one.send(call("/x")).await.unwrap();
    // The first token is withdrawn: the server takes a third one only.
    given.lock().unwrap().tokens = 2;
    let calls = (0..8).map(|number| if number % 2 == 0 { &one } else { &other }.send(call("/x")));
    for answer in futures_all(calls).await {
        assert_eq!(answer.unwrap().status, 200);
    }
    assert_eq!(given.lock().unwrap().tokens, 3, "one renewal for all");
}

async fn futures_all<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (one, slot) in all.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let std::task::Poll::Ready(output) = one.as_mut().poll(context)
            {
                *slot = Some(output);
            }
        }
        match done.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_refresh_token_that_is_given_anew_is_kept_for_the_next_start() {
    let given = Arc::new(Mutex::new(Given::default()));
    let server = server(Arc::clone(&given), "0").await;
    let folder = tempfile::tempdir().unwrap();
    let connection = connection(
        &server,
        json!({ "refresh_token": "r0", "store": "tokens/me.json", "credentials_in": "body" }),
    );
    for _ in 0..2 {
        // Another process: nothing is shared but the file.
        let setup = Setup { folder: folder.path().to_owned(), ..setup() };
        let exchange = Exchange::with(&connection, &[], &setup).unwrap();
        exchange.send(call("/x")).await.unwrap();
    }
    let forms = given.lock().unwrap().refreshes.clone();
    assert!(forms[0].contains("refresh_token=r0"), "{forms:?}");
    assert!(forms[0].contains("client_id=me&client_secret=s%2Fcret"), "{forms:?}");
    assert!(forms.iter().skip(1).all(|form| !form.contains("refresh_token=r0")), "{forms:?}");
    let kept = std::fs::read_to_string(folder.path().join("tokens/me.json")).unwrap();
    assert!(kept.contains(&format!("r{}", forms.len())), "{kept}");
}

#[tokio::test]
async fn a_refusal_of_the_client_names_the_cure_and_no_secret() {
    let refusal = r#"{"error":"invalid_grant","error_description":"Token r0secret revoked"}"#;
    let server = BadServer::start(move |_| answer("400 Bad Request", "", refusal)).await;
    let user = connection(&server, json!({ "refresh_token": "r0secret" }));
    let exchange = Exchange::with(&user, &[], &setup()).unwrap();
    let fault = exchange.send(call("/x")).await.unwrap_err();
    assert_eq!((fault.cause, fault.retry), ("oauth2_refused", Retry::Route));
    for word in ["`me`", "invalid_grant", "authorize the application again", "refresh_token"] {
        assert!(fault.message.contains(word), "{fault}");
    }
    assert!(!fault.message.contains("r0secret"), "{fault}");
}

#[tokio::test]
async fn no_answer_of_a_token_server_makes_it_panic() {
    let bodies = ["", "<html>", "{}", "[]", r#"{"access_token":7}"#, r#"{"access_token":"a\nb"}"#];
    for body in bodies {
        let server = BadServer::start(move |_| answer("200 OK", "", body)).await;
        let exchange = Exchange::with(&connection(&server, json!({})), &[], &setup()).unwrap();
        assert!(exchange.send(call("/x")).await.is_err(), "{body}");
    }
    let server = BadServer::start(|_| Act::AnswerAndClose("HTTP/1.1 503 X\r\n\r\n".into())).await;
    let exchange = Exchange::with(&connection(&server, json!({})), &[], &setup()).unwrap();
    let fault = exchange.send(call("/x")).await.unwrap_err();
    assert_eq!(fault.retry, Retry::Backoff, "{fault}");
}

#[test]
fn links_are_followed_only_below_the_connections_address() {
    let connection = json!({ "url": "https://a.example/api?key=k", "allow_private": true });
    let connection: Connection = serde_json::from_value(connection).unwrap();
    let exchange = Exchange::with(&connection, &[], &setup()).unwrap();
    for (link, path) in [
        ("https://a.example/api/items?page=2", "/items?page=2"),
        ("https://a.example/api/items?key=k&page=2", "/items?page=2"),
        ("/api/items?page=2", "/items?page=2"),
        ("?page=2", "/items?page=2"),
        ("items2", "/items2"),
    ] {
        assert_eq!(exchange.path_of(link, "/items?page=1").unwrap(), path, "{link}");
    }
    for link in [
        "https://b.example/api/items",
        "http://a.example/api/items",
        "/other",
        "//b.example/api/x",
        "https://a.example/apix",
        "https://a.example:99/api/",
    ] {
        let fault = exchange.path_of(link, "/items").unwrap_err();
        assert_eq!(fault.cause, "link_elsewhere", "{link}");
    }
}
