//! An application that takes requests over HTTP and remembers each of them, repeats included.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::until;

/// A request, and what it was answered.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its `Idempotency-Key`.
    pub key: String,
    /// Its `Passerelle-Replay`, if a replay sent it.
    pub replay: Option<String>,
    pub body: Value,
    pub status: u16,
}

impl Request {
    /// A text of its body, `party.code`.
    pub fn text(&self, path: &str) -> &str {
        path.split('.').fold(&self.body, |value, name| &value[name]).as_str().unwrap()
    }
}

type Policy = dyn Fn(&Value) -> u16 + Send + Sync;

#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    policy: Arc<Mutex<Arc<Policy>>>,
    delay: Duration,
}

impl Target {
    /// A target that takes everything, this long after it was asked.
    pub async fn start(delay: Duration) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            policy: Arc::new(Mutex::new(Arc::new(|_: &Value| 201))),
            delay,
        };
        let router = Router::new().fallback(take).with_state(target.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        target
    }

    /// From now on it answers so.
    pub fn answer(&self, policy: impl Fn(&Value) -> u16 + Send + Sync + 'static) {
        *self.policy.lock().unwrap() = Arc::new(policy);
    }

    /// Everything that it was asked, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// What it took, in order, repeats included.
    pub fn taken(&self) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.status < 300).collect()
    }

    /// The rows of a target that keeps one for each idempotency key.
    pub fn rows(&self) -> BTreeMap<String, Request> {
        self.taken().into_iter().map(|request| (request.key.clone(), request)).collect()
    }

    /// Waits until it has this many rows.
    pub async fn has_rows(&self, count: usize) {
        until(&format!("the target has {count} rows"), async || {
            (self.rows().len() >= count).then_some(())
        })
        .await;
    }
}

async fn take(State(target): State<Target>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let (key, replay) =
        (header("idempotency-key").unwrap_or_default(), header("passerelle-replay"));
    let body: Value = serde_json::from_slice(&body).unwrap();
    let policy = Arc::clone(&target.policy.lock().unwrap());
    let status = policy(&body);
    // It has done its work before it answers: whoever is killed meanwhile does not know.
    target.requests.lock().unwrap().push(Request { key, replay, body, status });
    tokio::time::sleep(target.delay).await;
    StatusCode::from_u16(status).unwrap()
}
