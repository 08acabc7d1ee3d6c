//! A server for tests that answers as badly as real ones do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does once it has read a request.
#[derive(Clone)]
pub enum Act {
    /// Sends this, word for word, and keeps the connection open.
    Answer(String),
    /// Sends this and closes the connection.
    AnswerAndClose(String),
    /// Says nothing.
    Silence,
    /// Sends this, then a byte every 100 ms for ever.
    Trickle(String),
    /// Sends this, then bytes without end.
    Flood(String),
}

/// A request as it was received.
#[derive(Debug, Clone)]
pub struct Received {
    /// `POST /orders HTTP/1.1`
    pub line: String,
    /// By lower-case name.
    pub headers: HashMap<String, String>,
    /// Its body.
    pub body: Vec<u8>,
}

/// A server on loopback.
pub struct BadServer {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    received: Arc<Mutex<Vec<Received>>>,
    connections: Arc<AtomicUsize>,
}

/// An answer of this status line's rest, with headers and body.
pub fn answer(status: &str, headers: &str, body: &str) -> Act {
    let length = body.len();
    Act::Answer(format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}"))
}

impl BadServer {
    /// Starts a server that does `act(n)` for the n-th request, from 0.
    pub async fn start(act: impl Fn(usize) -> Act + Send + Sync + 'static) -> Self {
        let count = AtomicUsize::new(0);
        Self::start_reading(move |_| act(count.fetch_add(1, Ordering::Relaxed))).await
    }

    /// Starts a server that does what a request asks for.
    pub async fn start_reading(act: impl Fn(&Received) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let (all, act) = (Arc::clone(&received), Arc::new(act));
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let (all, act) = (Arc::clone(&all), Arc::clone(&act));
                tokio::spawn(async move { serve(stream, &all, &*act).await });
            }
        });
        Self { url, received, connections }
    }

    /// Every request so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn serve(
    mut stream: TcpStream,
    all: &Mutex<Vec<Received>>,
    act: &(dyn Fn(&Received) -> Act + Send + Sync),
) -> Option<()> {
    loop {
        let request = read(&mut stream).await?;
        all.lock().unwrap().push(request.clone());
        match act(&request) {
            Act::Answer(text) => stream.write_all(text.as_bytes()).await.ok()?,
            Act::AnswerAndClose(text) => return stream.write_all(text.as_bytes()).await.ok(),
            Act::Silence => tokio::time::sleep(Duration::from_secs(60)).await,
            Act::Trickle(text) => {
                stream.write_all(text.as_bytes()).await.ok()?;
                loop {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    stream.write_all(b"x").await.ok()?;
                }
            }
            Act::Flood(text) => {
                stream.write_all(text.as_bytes()).await.ok()?;
                loop {
                    stream.write_all(&[b'x'; 4096]).await.ok()?;
                }
            }
        }
    }
}

/// Reads one request; none when the client has gone.
pub async fn read(stream: &mut TcpStream) -> Option<Received> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        bytes.push(stream.read_u8().await.ok()?);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let line = lines.next()?.to_owned();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Received { line, headers, body })
}
