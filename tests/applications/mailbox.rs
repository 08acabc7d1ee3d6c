//! A mail server (RFC 5321), as far as mail is taken.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::simulator::{Application, BAD, Manner, Reply, Request, Simulator, counted};

/// The subjects of the mails that it took.
#[derive(Default)]
struct Mailbox(Vec<String>);

impl Application for Mailbox {
    fn knows(&self, _: &Request) -> bool {
        true
    }

    fn stranger(&self) -> Reply {
        (535, Value::Null)
    }

    fn answer(&mut self, request: &Request) -> Reply {
        let subject = String::from_utf8_lossy(&request.body).into_owned();
        if subject.starts_with(BAD) {
            return (550, Value::Null);
        }
        self.0.push(subject);
        (250, Value::Null)
    }

    fn objects(&self) -> BTreeMap<String, usize> {
        counted(self.0.iter().map(String::as_str))
    }
}

/// Starts one.
pub async fn start() -> Simulator {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let simulator = Simulator::of(Mailbox::default(), format!("smtp://{address}"));
    let serving = simulator.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let serving = serving.clone();
            tokio::spawn(async move { converse(&serving, stream).await });
        }
    });
    simulator
}

async fn converse(simulator: &Simulator, stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mail.test\r\n").await?;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let command = line.split([' ', '\r']).next().unwrap_or_default();
        let answer = match (command, simulator.is_locked()) {
            ("EHLO", _) => "250-mail.test\r\n250 AUTH PLAIN",
            ("AUTH", true) => "535 5.7.8 authentication credentials invalid",
            ("AUTH", false) => "235 welcome",
            ("MAIL", true) => "530 5.7.0 authentication required",
            ("DATA", _) => "354 go on",
            _ => "250 ok",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
        if command == "DATA" {
            let mail = mail(&mut stream).await?;
            take(simulator, mail, &mut stream).await?;
        }
    }
}

/// A mail, up to the line with a dot.
async fn mail(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut mail = String::new();
    loop {
        let start = mail.len();
        if stream.read_line(&mut mail).await? == 0 || &mail[start..] == ".\r\n" {
            mail.truncate(start);
            return Ok(mail);
        }
    }
}

/// Answers a mail in the manner that it is to be met in.
async fn take(
    simulator: &Simulator,
    mail: String,
    stream: &mut BufReader<TcpStream>,
) -> std::io::Result<()> {
    let subject = mail.lines().find_map(|line| line.strip_prefix("Subject: "));
    // All of the mail is what tells a repeat from another mail.
    let request = Request {
        method: "MAIL".to_owned(),
        path: String::new(),
        query: BTreeMap::new(),
        body: subject.unwrap_or_default().as_bytes().to_vec(),
        headers: BTreeMap::from([("idempotency-key".to_owned(), mail.clone())]),
    };
    let ((code, _), manner) = simulator.receive(request);
    let code = match manner {
        Some(Manner::Silent) => std::future::pending().await,
        Some(Manner::Late(wait)) => {
            tokio::time::sleep(wait).await;
            code
        }
        Some(Manner::Drip) => {
            for byte in
                format!("{code} queued, as mail servers say at {}", "length ".repeat(50)).bytes()
            {
                stream.write_all(&[byte]).await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            code
        }
        // The refusals that pass: too many, not now, a local error, no room.
        Some(Manner::Refuse(status, _)) => match status {
            429 => 450,
            503 => 421,
            502 => 451,
            _ => 452,
        },
        None => code,
    };
    stream.write_all(format!("{code} so it is\r\n").as_bytes()).await?;
    // 421 is said before the server closes.
    if code == 421 { stream.shutdown().await } else { Ok(()) }
}
