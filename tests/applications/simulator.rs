//! An application over HTTP that misbehaves as it is told. What it is, an [`Application`] says: the
//! shapes of the real one's API. What happens to its answers on their way is the same for all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use futures::StreamExt as _;
use serde_json::{Value, json};

/// An order that every application refuses has an id that starts like this.
pub const BAD: &str = "BAD";

/// A request as the application reads it.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Decoded.
    pub path: String,
    /// Decoded, by name.
    pub query: BTreeMap<String, String>,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The fields of a form, decoded.
    pub fn form(&self) -> BTreeMap<String, String> {
        pairs(&String::from_utf8_lossy(&self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// What follows this beginning of the path.
    pub fn below(&self, beginning: &str) -> Option<&str> {
        self.path.strip_prefix(beginning)
    }
}

/// A status and a body.
pub type Reply = (u16, Value);

/// What an application is.
pub trait Application: Send + 'static {
    /// Whether a request brings the right credentials.
    fn knows(&self, request: &Request) -> bool;

    /// What it answers to wrong ones.
    fn stranger(&self) -> Reply {
        (401, json!({ "message": "unauthorized" }))
    }

    /// Does what a request asks for.
    fn answer(&mut self, request: &Request) -> Reply;

    /// Whether a request writes: only those are met in a manner.
    fn writes(&self, request: &Request) -> bool {
        request.method != "GET"
    }

    /// How many objects it has of each id of ours.
    fn objects(&self) -> BTreeMap<String, usize>;

    /// Takes a field away, or gives it back; false if it lists no fields.
    fn set_field(&mut self, _there: bool) -> bool {
        false
    }
}

/// How a write is met.
#[derive(Debug, Clone)]
pub enum Manner {
    /// It is done, and not answered.
    Silent,
    /// It is done, and answered so much later.
    Late(Duration),
    /// It is done, and answered a byte at a time.
    Drip,
    /// It is not done: a status, with a `Retry-After` in seconds.
    Refuse(u16, Option<u64>),
}

/// A running application.
#[derive(Clone)]
pub struct Simulator {
    pub url: String,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    application: Box<dyn Application>,
    /// How the next writes are met; then all are done.
    manners: Vec<Manner>,
    locked: bool,
    writes: Vec<Request>,
}

impl Simulator {
    pub async fn start(application: impl Application) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let simulator = Self::of(application, format!("http://{}", listener.local_addr().unwrap()));
        let router = Router::new().fallback(take).with_state(simulator.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        simulator
    }

    /// One that somebody else serves at this address.
    pub fn of(application: impl Application, url: String) -> Self {
        let inner = Inner {
            application: Box::new(application),
            manners: Vec::new(),
            locked: false,
            writes: Vec::new(),
        };
        Self { url, inner: Arc::new(Mutex::new(inner)) }
    }

    /// What it does with a request: its answer, and how that is met on its way.
    pub fn receive(&self, request: Request) -> (Reply, Option<Manner>) {
        self.inner.lock().unwrap().receive(request)
    }

    /// Whether it refuses all credentials.
    pub fn is_locked(&self) -> bool {
        self.inner.lock().unwrap().locked
    }

    /// The next writes are met so.
    pub fn meet(&self, manners: &[Manner]) {
        self.inner.lock().unwrap().manners = manners.iter().rev().cloned().collect();
    }

    /// How many of the manners are left.
    pub fn left(&self) -> usize {
        self.inner.lock().unwrap().manners.len()
    }

    /// Refuses all credentials, or no longer.
    pub fn lock(&self, locked: bool) {
        self.inner.lock().unwrap().locked = locked;
    }

    pub fn set_field(&self, there: bool) -> bool {
        self.inner.lock().unwrap().application.set_field(there)
    }

    pub fn objects(&self) -> BTreeMap<String, usize> {
        self.inner.lock().unwrap().application.objects()
    }

    /// The writes so far, repeats included.
    pub fn writes(&self) -> Vec<Request> {
        self.inner.lock().unwrap().writes.clone()
    }
}

async fn take(
    State(simulator): State<Simulator>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |value: &axum::http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let request = Request {
        method: method.to_string(),
        path: decoded(uri.path()),
        query: pairs(uri.query().unwrap_or_default()),
        headers: headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: body.to_vec(),
    };
    let ((status, body), manner) = simulator.receive(request);
    match manner {
        Some(Manner::Silent) => std::future::pending().await,
        Some(Manner::Late(wait)) => tokio::time::sleep(wait).await,
        Some(Manner::Drip) => return drip(status, &body),
        Some(Manner::Refuse(status, after)) => {
            let mut refusal = Response::builder().status(status);
            if let Some(seconds) = after {
                refusal = refusal.header("retry-after", seconds);
            }
            return refusal.body(Body::from("{}")).unwrap();
        }
        None => {}
    }
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let head = Response::builder().status(status).header("content-type", "application/json");
    head.body(Body::from(text)).unwrap()
}

impl Inner {
    fn receive(&mut self, request: Request) -> (Reply, Option<Manner>) {
        if self.locked || !self.application.knows(&request) {
            return (self.application.stranger(), None);
        }
        if !self.application.writes(&request) {
            return (self.application.answer(&request), None);
        }
        let manner = self.manners.pop();
        if let Some(Manner::Refuse(..)) = manner {
            return ((0, Value::Null), manner);
        }
        self.writes.push(request.clone());
        (self.application.answer(&request), manner)
    }
}

/// An answer whose body never ends in time.
fn drip(status: u16, body: &Value) -> Response {
    let bytes: Vec<u8> = (body.to_string() + &" ".repeat(1_000)).into_bytes();
    let stream = futures::stream::iter(bytes).then(async |byte| {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok::<_, std::io::Error>(Bytes::from(vec![byte]))
    });
    let status = StatusCode::from_u16(status).unwrap();
    Response::builder().status(status).body(Body::from_stream(stream)).unwrap()
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let hex = others.get(..2).filter(|_| *first == b'%');
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match byte {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[2..];
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Counts texts.
pub fn counted<'t>(texts: impl Iterator<Item = &'t str>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for text in texts {
        *counts.entry(text.to_owned()).or_default() += 1;
    }
    counts
}
