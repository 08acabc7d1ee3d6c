//! Sends Stripe's webhooks on, byte for byte, until they are answered 2xx, as Stripe itself does.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use bytes::Bytes;
use serde_json::Value;

use crate::eventually;

/// Keeps each webhook as it was signed.
pub struct Outbox {
    /// Where Stripe sends to.
    pub url: String,
    shelf: Arc<Shelf>,
}

struct Shelf {
    target: String,
    client: reqwest::Client,
    kept: Mutex<Vec<Kept>>,
    repeats: AtomicUsize,
}

#[derive(Clone)]
struct Kept {
    /// The order that it is about; none for a customer.
    order: Option<String>,
    signature: String,
    body: Bytes,
    taken: bool,
}

impl Outbox {
    /// Starts one that sends to `target`.
    pub async fn start(target: String) -> Self {
        let shelf = Arc::new(Shelf {
            target,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            kept: Mutex::default(),
            repeats: AtomicUsize::new(0),
        });
        let router = axum::Router::new().route("/", post(receive)).with_state(Arc::clone(&shelf));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shelf }
    }

    /// How many webhooks Stripe sent.
    pub fn received(&self) -> usize {
        self.shelf.kept.lock().unwrap().len()
    }

    /// How many calls carried a webhook that had been sent before.
    pub fn repeats(&self) -> usize {
        self.shelf.repeats.load(Ordering::Relaxed)
    }

    /// Stripe's id of the event about an order.
    pub fn event_of(&self, order: &str) -> Option<String> {
        let kept = self.shelf.find(order)?;
        let event: Value = serde_json::from_slice(&kept.body).ok()?;
        Some(event["id"].as_str()?.to_owned())
    }

    /// Sends the webhook of an order once more, after it was taken: the same body, the same signature.
    pub async fn send_again(&self, order: &str) -> (u16, Value) {
        let taken = async || self.shelf.find(order).filter(|kept| kept.taken);
        let kept = eventually("a webhook was taken", taken).await;
        self.shelf.repeats.fetch_add(1, Ordering::Relaxed);
        self.shelf.send(&kept).await.expect("the webhook is answered")
    }
}

impl Shelf {
    fn find(&self, order: &str) -> Option<Kept> {
        let kept = self.kept.lock().unwrap();
        kept.iter().find(|kept| kept.order.as_deref() == Some(order)).cloned()
    }

    async fn send(&self, kept: &Kept) -> Option<(u16, Value)> {
        let call = self
            .client
            .post(&self.target)
            .header("content-type", "application/json; charset=utf-8")
            .header("stripe-signature", &kept.signature)
            .body(kept.body.clone());
        let answer = call.send().await.ok()?;
        let status = answer.status().as_u16();
        let text = answer.text().await.ok()?;
        Some((status, serde_json::from_str(&text).unwrap_or_default()))
    }
}

async fn receive(State(shelf): State<Arc<Shelf>>, headers: HeaderMap, body: Bytes) {
    let event: Value = serde_json::from_slice(&body).unwrap_or_default();
    let order = event["data"]["object"]["metadata"]["order"].as_str().map(str::to_owned);
    let signature = headers["stripe-signature"].to_str().unwrap().to_owned();
    let kept = Kept { order, signature, body, taken: false };
    let number = {
        let mut all = shelf.kept.lock().unwrap();
        all.push(kept.clone());
        all.len() - 1
    };
    tokio::spawn(async move {
        while !matches!(shelf.send(&kept).await, Some((200..=299, _))) {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        shelf.kept.lock().unwrap()[number].taken = true;
    });
}
