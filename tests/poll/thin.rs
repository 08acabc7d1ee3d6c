//! A shop of tickets whose calls only name an order, as pretix's do; some of them are lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// The running shop.
#[derive(Clone)]
pub struct Tickets {
    pub url: String,
    /// By code: how often the order was changed.
    orders: Arc<Mutex<BTreeMap<String, u64>>>,
    /// How many fetches are refused first.
    refusals: Arc<Mutex<usize>>,
    /// How often the orders were listed.
    lists: Arc<AtomicUsize>,
    /// Whether the next answer is held back.
    holds: Arc<AtomicBool>,
    held: Arc<Notify>,
}

impl Tickets {
    pub async fn start(refusals: usize) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let refusals = Arc::new(Mutex::new(refusals));
        let tickets = Self {
            url,
            orders: Arc::default(),
            refusals,
            lists: Arc::default(),
            holds: Arc::default(),
            held: Arc::default(),
        };
        let router = Router::new()
            .route("/orders/", get(list))
            .route("/orders/{code}/", get(order))
            .with_state(tickets.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        tickets
    }

    fn refuses(&self) -> bool {
        let mut refusals = self.refusals.lock().unwrap();
        let refuses = *refusals > 0;
        *refusals = refusals.saturating_sub(1);
        refuses
    }

    /// Waits until a poll has listed the orders.
    pub async fn listed(&self) {
        super::until("it is polled", async || {
            (self.lists.load(Ordering::SeqCst) > 0).then_some(())
        })
        .await;
    }

    /// The next answer is held back once its order was looked up.
    pub fn hold(&self) {
        self.holds.store(true, Ordering::SeqCst);
    }

    /// Waits until an answer is held back.
    pub async fn looked_up(&self) {
        super::until("it is asked", async || (!self.holds.load(Ordering::SeqCst)).then_some(()))
            .await;
    }

    /// Gives the answer that is held back.
    pub fn give(&self) {
        self.held.notify_one();
    }

    /// Changes an order; gives the body of the call that says so.
    pub fn change(&self, code: &str) -> Value {
        *self.orders.lock().unwrap().entry(code.to_owned()).or_default() += 1;
        json!({ "notification_id": 7, "code": code, "action": "order.changed" })
    }
}

/// What was looked up, at once or some time later.
async fn answered(tickets: &Tickets, found: Value) -> Response {
    if tickets.holds.swap(false, Ordering::SeqCst) {
        tickets.held.notified().await;
    }
    Json(found).into_response()
}

/// Orders changed today, so that a poll that looks back a day finds them.
fn shown((code, changes): (&String, &u64)) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let at = now.as_secs() / 3_600 * 3_600 - 3_600;
    let day = at % 86_400;
    let (hour, days) = (day / 3_600, i64::try_from(at / 86_400).unwrap());
    let (year, month, date) = super::hubspot::civil(days);
    let modified = format!("{year:04}-{month:02}-{date:02}T{hour:02}:00:00Z");
    json!({ "id": code, "name": changes.to_string(), "email": format!("{code}@{changes}"), "modified": modified })
}

async fn order(State(tickets): State<Tickets>, Path(code): Path<String>) -> Response {
    if tickets.refuses() {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let found = tickets.orders.lock().unwrap().get_key_value(&code).map(shown);
    match found {
        Some(order) => answered(&tickets, order).await,
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn list(
    State(tickets): State<Tickets>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    assert!(query.contains_key("modified_since"));
    let orders: Vec<_> = tickets.orders.lock().unwrap().iter().map(shown).collect();
    tickets.lists.fetch_add(1, Ordering::SeqCst);
    answered(&tickets, json!({ "next": null, "results": orders })).await
}

/// The sections of a pipeline that is called by it, and polls it beside.
pub fn sections(url: &str) -> String {
    SECTIONS.replace("TICKETS", url)
}

const SECTIONS: &str = r#"
connections:
  tickets: { http: { url: TICKETS, allow_private: true, auth: { bearer: t } } }
topics:
  tickets.orders: { partitions: 4, schema: contact.avsc }
sources:
  orders:
    from: tickets
    webhook:
      path: /tickets
      signature: none
      id: { field: .email }
      fetch: { path: "/orders/{{ .code }}/" }
      repair:
        every: 1s
        path: /orders/
        query: { modified_since: "{{ .since }}" }
        items: .results
        pages: { address: .next }
        id: .id
        changed: .modified
        event_id: .email
    to: tickets.orders
    key: .id
"#;
