use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use engine::{Domain, Headers, event};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::tests::setup;

/// What the server does once, at the first command that begins so.
#[derive(Clone, Copy)]
enum Act {
    Answer(&'static str),
    HangUp,
    Sleep,
}

/// A mail server that takes everything but what it is told not to.
#[derive(Clone)]
struct Server {
    port: u16,
    acts: Arc<Mutex<VecDeque<(&'static str, Act)>>>,
    mails: Arc<Mutex<Vec<String>>>,
    sessions: Arc<Mutex<u32>>,
}

impl Server {
    async fn start(acts: &[(&'static str, Act)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            acts: Arc::new(Mutex::new(acts.iter().copied().collect())),
            mails: Arc::default(),
            sessions: Arc::default(),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *serving.sessions.lock().unwrap() += 1;
                let serving = serving.clone();
                tokio::spawn(async move { serving.converse(stream).await });
            }
        });
        server
    }

    fn act(&self, line: &str) -> Option<Act> {
        let mut acts = self.acts.lock().unwrap();
        let (_, act) = acts.pop_front_if(|(command, _)| line.starts_with(*command))?;
        Some(act)
    }

    async fn converse(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 mail.test\r\n").await.unwrap();
        let (mut line, mut mail, mut in_mail) = (String::new(), String::new(), false);
        loop {
            line.clear();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if in_mail && line != ".\r\n" {
                mail.push_str(&line);
                continue;
            }
            let act = self.act(&line);
            if std::mem::take(&mut in_mail) {
                // It has the mail, whatever it says of it.
                if !matches!(act, Some(Act::Answer(_))) {
                    self.mails.lock().unwrap().push(std::mem::take(&mut mail));
                }
            }
            let answer = match act {
                Some(Act::Answer(answer)) => answer,
                Some(Act::HangUp) => return,
                Some(Act::Sleep) => std::future::pending().await,
                None if line.starts_with("EHLO") => "250-mail.test\r\n250 AUTH PLAIN",
                None if line.starts_with("AUTH") => "235 welcome",
                None if line.starts_with("DATA") => "354 go on",
                None if line == ".\r\n" => "250 queued as 17",
                None => "250 ok",
            };
            in_mail = answer.starts_with("354");
            stream.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
        }
    }

    fn mails(&self) -> Vec<String> {
        self.mails.lock().unwrap().clone()
    }
}

fn options(more: Json) -> Json {
    let mut whole = json!({
        "mail_from": "The shop <orders@shop.example>",
        "mail_to": "{{ .to }}",
        "subject": "Your order {{ .id }}",
        "text": "Total: {{ .total }}",
    });
    whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    whole
}

fn sink(server: &Server, more: Json) -> Box<dyn Sink> {
    let connection = json!({
        "url": format!("smtp://127.0.0.1:{}", server.port), "tls": false, "timeout": "2s",
        "user": "shop", "password": "secret",
    });
    Smtp::build(
        serde_json::from_value(connection).unwrap(),
        serde_json::from_value(options(more)).unwrap(),
        &setup(),
    )
    .unwrap()
}

fn order(json: &str) -> Event {
    let mut headers = Headers::default();
    headers.set(event::CE_ID, "evt_1");
    headers.set(event::RECEIVED, "1764000000000");
    crate::tests::order(json, headers)
}

fn ordinary() -> Event {
    order(r#"{"id":"O-1","total":"10.00","to":"Ann <ann@example.com>, bob@example.com"}"#)
}

async fn deliver(sink: &dyn Sink, event: &Event) -> Result<Delivery, Fault> {
    sink.deliver(std::slice::from_ref(event), 1).await.pop().unwrap()
}

#[tokio::test]
async fn a_repeat_is_the_same_mail_over_the_same_session() {
    let server = Server::start(&[]).await;
    let sink = sink(&server, json!({ "html": "<p>{{ .total }}</p>" }));
    for _ in 0..2 {
        let delivery = deliver(&*sink, &ordinary()).await.unwrap();
        assert_eq!(delivery.answer, "250 queued as 17");
    }
    let mails = server.mails();
    assert_eq!((mails.len(), *server.sessions.lock().unwrap()), (2, 1));
    assert_eq!(mails[0], mails[1], "byte for byte");
    let id =
        format!("Message-ID: <{}@shop.example>\r\n", ordinary().idempotency_key("orders/target"));
    for line in [
        id.as_str(),
        "Date: Mon, 24 Nov 2025 16:00:00 +0000\r\n",
        "To: Ann <ann@example.com>, bob@example.com\r\n",
        "Subject: Your order O-1\r\n",
        "Auto-Submitted: auto-generated\r\n",
        "Total: 10.00",
        "<p>10.00</p>",
    ] {
        assert!(mails[0].contains(line), "{line} is not in {}", mails[0]);
    }
}

#[tokio::test]
async fn values_cannot_add_headers_tags_or_lines() {
    let server = Server::start(&[]).await;
    let sink = sink(&server, json!({ "html": "<p>{{ .total }}</p>" }));
    let event = order(
        r#"{"id":"O-1\r\nBcc: eve@example.com","total":"<b>\r\n.\r\nQUIT","to":"ann@example.com"}"#,
    );
    deliver(&*sink, &event).await.unwrap();
    let mails = server.mails();
    assert!(mails[0].contains("Subject: Your order O-1 Bcc: eve@example.com\r\n"), "{}", mails[0]);
    assert!(mails[0].contains("<p>&lt;b&gt;"), "{}", mails[0]);
    assert!(
        !mails[0].contains("\r\nBcc:") && !mails[0].contains("<b>\r\n.\r\n</p>"),
        "{}",
        mails[0]
    );
    let forged =
        order(r#"{"id":"O-2","total":"1","to":"ann@example.com\r\nBcc: eve@example.com"}"#);
    let fault = deliver(&*sink, &forged).await.unwrap_err();
    assert_eq!((fault.domain, fault.cause), (Domain::Data, "address_invalid"));
}

#[tokio::test]
async fn answers_say_whose_fault_it_is() {
    for (command, answer, domain, cause) in [
        ("AUTH", "535 no", Domain::Remote, "smtp_auth"),
        ("MAIL", "451 later", Domain::Remote, "smtp_busy"),
        ("RCPT", "550 nobody of that name", Domain::Data, "smtp_rejected"),
        ("RCPT", "450 greylisted", Domain::Remote, "smtp_busy"),
        ("DATA", "421 closing", Domain::Remote, "smtp_busy"),
        (".", "554 spam", Domain::Data, "smtp_rejected"),
        (".", "452 full", Domain::Remote, "smtp_busy"),
    ] {
        let server = Server::start(&[(command, Act::Answer(answer))]).await;
        let sink = sink(&server, json!({}));
        let fault = deliver(&*sink, &ordinary()).await.unwrap_err();
        assert_eq!((fault.domain, fault.cause), (domain, cause), "{fault}");
        assert!(fault.message.contains(answer.split_once(' ').unwrap().1), "{fault}");
        assert!(!fault.unknown_outcome && !fault.message.contains("secret"), "{fault}");
        assert!(server.mails().is_empty());
        deliver(&*sink, &ordinary()).await.unwrap();
    }
}

#[tokio::test]
async fn only_what_was_sent_whole_may_have_arrived() {
    for (command, act, unknown) in [
        ("RCPT", Act::HangUp, false),
        ("RCPT", Act::Sleep, false),
        (".", Act::HangUp, true),
        (".", Act::Sleep, true),
    ] {
        let server = Server::start(&[(command, act)]).await;
        let sink = sink(&server, json!({}));
        let fault = deliver(&*sink, &ordinary()).await.unwrap_err();
        assert_eq!((fault.cause, fault.unknown_outcome), ("smtp_unreachable", unknown), "{fault}");
        assert_eq!(server.mails().len(), usize::from(unknown));
        deliver(&*sink, &ordinary()).await.unwrap();
    }
}

#[tokio::test]
async fn a_session_that_the_server_ended_is_opened_anew() {
    let server = Server::start(&[]).await;
    let sink = sink(&server, json!({}));
    deliver(&*sink, &ordinary()).await.unwrap();
    server.acts.lock().unwrap().push_back(("NOOP", Act::HangUp));
    deliver(&*sink, &ordinary()).await.unwrap();
    assert_eq!((server.mails().len(), *server.sessions.lock().unwrap()), (2, 2));
}

#[tokio::test]
async fn a_deletion_is_no_mail() {
    let server = Server::start(&[]).await;
    let deletion = Event { payload: None, value: None, ..ordinary() };
    let fault = deliver(&*sink(&server, json!({})), &deletion).await.unwrap_err();
    assert_eq!((fault.domain, fault.cause), (Domain::Data, "mail_of_deletion"));
    let ignoring = sink(&server, json!({ "on_delete": "ignore" }));
    assert_eq!(deliver(&*ignoring, &deletion).await.unwrap().answer, "a deletion, ignored");
    assert!(server.mails().is_empty());
}

#[tokio::test]
async fn a_server_without_starttls_gets_no_password() {
    let server = Server::start(&[]).await;
    let connection = json!({
        "url": format!("smtp://127.0.0.1:{}", server.port), "timeout": "2s",
        "user": "shop", "password": "secret",
    });
    let (connection, options) = (
        serde_json::from_value(connection).unwrap(),
        serde_json::from_value(options(json!({}))).unwrap(),
    );
    let sink = Smtp::build(connection, options, &setup()).unwrap();
    let fault = deliver(&*sink, &ordinary()).await.unwrap_err();
    assert_eq!(fault.cause, "smtp_unfit", "{fault}");
    assert!(fault.message.contains("STARTTLS"), "{fault}");
}

#[test]
fn addresses_of_servers_are_read_or_refused_with_a_cure() {
    let place = |url: &str, tls: bool| {
        let connection = json!({ "url": url, "tls": tls });
        serde_json::from_value::<Connection>(connection).unwrap().place()
    };
    let found = |url, tls| place(url, tls).map(|place| (place.port, place.encryption)).unwrap();
    assert_eq!(found("smtps://mail.example.com", true), (465, Encryption::FromTheStart));
    assert_eq!(found("smtp://mail.example.com", true), (587, Encryption::StartTls));
    assert_eq!(found("smtp://mail.example.com:2525/", false), (2525, Encryption::None));
    for (url, tls, word) in [
        ("mail.example.com", true, "smtps://"),
        ("https://mail.example.com", true, "https"),
        ("smtps://mail.example.com", false, "tls"),
        ("smtp://ann:secret@mail.example.com", true, "user"),
        ("smtp://mail.example.com/x", true, "host and a port"),
    ] {
        let why = place(url, tls).unwrap_err();
        assert!(why.contains(word) && !why.contains("secret"), "{why}");
    }
}

#[tokio::test]
async fn the_mail_that_would_be_sent_is_told_and_a_greeting_sends_none() {
    let server = Server::start(&[]).await;
    let sink = sink(&server, json!({ "html": "<p>{{ .id }}</p>" }));
    let mail = sink.intent(&ordinary()).unwrap().unwrap();
    assert_eq!(mail.operation, "mail");
    let expected = json!({
        "from": "The shop <orders@shop.example>",
        "to": "Ann <ann@example.com>, bob@example.com",
        "subject": "Your order O-1",
        "text": "Total: 10.00",
        "html": "<p>O-1</p>",
    });
    assert_eq!(mail.payload, expected);
    assert_eq!(sink.intent(&order("{\"to\":\"\"}")).unwrap_err().domain, engine::Domain::Data);
    assert!(sink.connect().await.unwrap().contains("lets us in"));
    assert!(server.mails().is_empty());
}
