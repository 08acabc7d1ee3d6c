//! A shop of tickets whose calls only name an order, as pretix's do; some of them are lost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

/// The running shop.
#[derive(Clone)]
pub struct Tickets {
    pub url: String,
    /// By code: how often the order was changed.
    orders: Arc<Mutex<BTreeMap<String, u64>>>,
    /// How many fetches are refused first.
    refusals: Arc<Mutex<usize>>,
}

impl Tickets {
    pub async fn start(refusals: usize) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let refusals = Arc::new(Mutex::new(refusals));
        let tickets = Self { url, orders: Arc::default(), refusals };
        let router = Router::new()
            .route("/orders/", get(list))
            .route("/orders/{code}/", get(order))
            .with_state(tickets.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        tickets
    }

    /// Changes an order; gives the body of the call that says so.
    pub fn change(&self, code: &str) -> Value {
        *self.orders.lock().unwrap().entry(code.to_owned()).or_default() += 1;
        json!({ "notification_id": 7, "code": code, "action": "order.changed" })
    }
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
    let mut refusals = tickets.refusals.lock().unwrap();
    if *refusals > 0 {
        *refusals -= 1;
        return StatusCode::BAD_GATEWAY.into_response();
    }
    match tickets.orders.lock().unwrap().get_key_value(&code) {
        Some(order) => Json(shown(order)).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn list(
    State(tickets): State<Tickets>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    assert!(query.contains_key("modified_since"));
    let orders = tickets.orders.lock().unwrap();
    Json(json!({ "next": null, "results": orders.iter().map(shown).collect::<Vec<_>>() }))
        .into_response()
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
