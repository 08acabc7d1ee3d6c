//! A sink whose events wait for what has to be there first: payments for their orders.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "endtoend/mod.rs"]
mod endtoend;

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use endtoend::folder::{Folder, ORDERS_TO_SALES};
use endtoend::shop::{Shop, order};
use endtoend::until;
use rand::Rng as _;
use serde_json::{Value, json};

const PAYMENT: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/examples/payments-after-orders/payment.avsc"
));

/// Accounts that refuse a payment for good whose order they do not know.
#[derive(Clone, Default)]
struct Accounts(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    orders: HashSet<String>,
    /// The payments by their requests' keys, with how often each came.
    payments: BTreeMap<String, (Value, usize)>,
    refused: usize,
}

async fn has(
    State(accounts): State<Accounts>,
    Path(id): Path<String>,
) -> Result<Json<Value>, StatusCode> {
    match accounts.0.lock().unwrap().orders.contains(&id) {
        true => Ok(Json(json!({ "id": id }))),
        false => Err(StatusCode::NOT_FOUND),
    }
}

async fn take_order(State(accounts): State<Accounts>, Json(order): Json<Value>) -> StatusCode {
    let id = order["id"].as_str().unwrap().to_owned();
    accounts.0.lock().unwrap().orders.insert(id);
    StatusCode::CREATED
}

async fn take_payment(
    State(accounts): State<Accounts>,
    headers: HeaderMap,
    Json(payment): Json<Value>,
) -> StatusCode {
    let mut books = accounts.0.lock().unwrap();
    let known = payment["order_id"].as_str().is_none_or(|id| books.orders.contains(id));
    if !known {
        books.refused += 1;
        return StatusCode::UNPROCESSABLE_ENTITY;
    }
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    books.payments.entry(key).or_insert((payment, 0)).1 += 1;
    StatusCode::CREATED
}

impl Accounts {
    async fn start() -> (Self, SocketAddr) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (accounts, address) = (Self::default(), listener.local_addr().unwrap());
        let router = Router::new()
            .route("/orders/{id}", get(has))
            .route("/orders", post(take_order))
            .route("/payments", post(take_payment))
            .with_state(accounts.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (accounts, address)
    }

    fn paid(&self) -> usize {
        self.0.lock().unwrap().payments.len()
    }
}

/// Orders and their payments, each to the accounts by a sink of its own.
fn folder(accounts: SocketAddr) -> Folder {
    let sections = ORDERS_TO_SALES
        .replace("topics:\n", "topics:\n  shop.payments: { partitions: 4, schema: payment.avsc }\n")
        .replace(
            "sources:\n",
            "sources:\n  payments:\n    webhook: { path: /payments, signature: { standard_webhooks: \"${file:shop.secret}\" } }\n    to: shop.payments\n    key: if .order_id == null { .id } else { .order_id }\n",
        );
    let own = format!(
        r#"
connections:
  accounts: {{ http: {{ url: "http://{accounts}", allow_private: true }} }}
sinks:
  orders_to_accounts: {{ from: shop.orders, to: accounts, path: /orders, body: '{{ "id": .id }}' }}
  payments_to_accounts:
    from: shop.payments
    to: accounts
    path: /payments
    wait_for:
      order: {{ lookup: accounts, by: .order_id, http: {{ path: "/orders/{{{{ . }}}}" }} }}
"#
    );
    let folder = Folder::with(&(sections + &own));
    folder.write("payment.avsc", PAYMENT);
    folder
}

/// Tells a payment until it is taken.
async fn pay(shop: &Shop, id: &str, order: Option<&str>) {
    let payment = json!({ "id": id, "order_id": order, "amount": "99.90", "currency": "EUR" });
    shop.tell(&payment).await;
}

#[tokio::test]
async fn the_check_says_what_is_wrong_with_what_is_waited_for() {
    let folder = folder("127.0.0.1:9".parse().unwrap());
    let right = std::fs::read_to_string(folder.path().join("pipeline.yaml")).unwrap();
    assert_eq!(folder.passerelle(&["check", "pipeline.yaml"]).await.code, 0);
    for (old, new, part) in [
        ("lookup: accounts", "lookup: account", "`accounts`"),
        ("lookup: accounts, ", "", "missing_field"),
        ("by: .order_id", "by: .order", "unknown_field"),
        ("by: .order_id", "on_miss: wait, by: .order_id", "unknown field `on_miss`"),
        ("by: .order_id, http: ", "by: .order_id, htp: ", "http"),
        ("wait_for", "wait_fr", "wait_for"),
    ] {
        let changed = right.replacen(old, new, 1);
        assert_ne!(changed, right, "{old}");
        folder.write("pipeline.yaml", &changed);
        let answer = folder.passerelle(&["check", "pipeline.yaml"]).await;
        assert!(answer.code == 1 && answer.stdout.contains(part), "{part} in {answer:?}");
    }
}

#[tokio::test]
async fn payments_told_before_their_orders_are_taken_once_each_over_kills() {
    const ORDERS: usize = 60;
    const KILLS: usize = 4;
    let mut random = endtoend::chance();
    let (accounts, address) = Accounts::start().await;
    let folder = folder(address);
    let payments = Shop::new(&format!("http://{}/payments", folder.webhooks));
    let mut process = folder.run().await;
    for number in 0..ORDERS {
        pay(&payments, &format!("P-{number}"), Some(&format!("O-{number}"))).await;
    }
    pay(&payments, "P-on-account", None).await;
    let only_that = async || (accounts.paid() == 1).then_some(());
    until("the payment on account is taken", only_that).await;
    let route = "orders/payments_to_accounts";
    folder.operators().waits(route, &["An event waits", "Nothing was found for `order`"]).await;
    let shop = folder.shop();
    let selling = async {
        for number in 0..ORDERS {
            shop.tell(&order(&format!("O-{number}"), &format!("C-{}", number % 7))).await;
            // The kills have to meet it.
            tokio::time::sleep(Duration::from_millis(80)).await;
        }
    };
    let killing = async {
        for _ in 0..KILLS {
            tokio::time::sleep(Duration::from_millis(random.random_range(300..1_200))).await;
            process.kill();
            process = folder.run().await;
        }
    };
    futures::join!(selling, killing);
    let all = async || (accounts.paid() == ORDERS + 1).then_some(());
    until("every payment is taken", all).await;
    folder.operators().caught_up().await;
    {
        let books = accounts.0.lock().unwrap();
        assert_eq!((books.payments.len(), books.refused), (ORDERS + 1, 0));
        let ids: HashSet<_> = books.payments.values().map(|(payment, _)| &payment["id"]).collect();
        assert_eq!(ids.len(), ORDERS + 1, "a repeat has the key of the first");
    }
    let letters =
        endtoend::topic::read(folder.kafka(), "orders.payments_to_accounts.dead-letters").await;
    assert!(letters.is_empty(), "{}", letters.len());
    assert!(process.terminate().await.success());
}
