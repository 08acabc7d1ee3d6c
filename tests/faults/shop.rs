//! A shop with many customers. Each customer's orders are sent one after the other, each until it
//! is taken: a signed webhook, sent again under the same id as long as it is not answered 2xx.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::endtoend::shop::{Shop, order as plain_order, signed};
use crate::ledger::{Call, Ledger, hash, now};
use crate::party::{Commands, say};

/// How long the shop waits for an answer before it calls again.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a shop does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// Where it calls.
    pub url: String,
    /// Its ledger.
    pub ledger: PathBuf,
    /// How many customers it has.
    pub customers: usize,
    /// What their names begin with: two shops have no customer in common.
    pub prefix: String,
    /// How many orders each customer places; none: they go on until the shop is told to close.
    pub orders: Option<usize>,
    /// The longest pause of a customer between two orders, in milliseconds.
    pub pause: u64,
    /// How many of a hundred orders are sent once more after they were taken, as platforms do.
    pub again: u32,
    /// What an application is to receive of an order.
    pub becomes: Becomes,
    /// The seed of everything that is left to chance.
    pub seed: u64,
}

/// What becomes of an order on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Becomes {
    /// It stays as it is.
    Order,
    /// The sale that the pipeline makes of it.
    Sale,
}

/// An order as it is sent. The name of its customer is new each time: an old version that is
/// mistaken for a new one has another hash.
pub fn order(id: &str, customer: &str, rng: &mut StdRng) -> Value {
    let mut order = plain_order(id, customer);
    let (name, cents) = (rng.random::<u64>(), rng.random_range(0..1_000_000));
    order["customer"]["name"] = format!("Évariste \"{name:x}\" Галуа €").into();
    let price = format!("{}.{:02}", cents / 100, cents % 100);
    order["lines"] = json!([
        { "sku": "SKU-1", "description": null, "quantity": "3.0000", "unit_price": price },
    ]);
    order["note"] = Value::Null;
    order
}

/// What an application is to receive of an order.
pub fn becomes(order: &Value, kind: Becomes) -> Value {
    let line = |line: &Value| json!({ "product": line["sku"], "quantity": line["quantity"], "unit_price": line["unit_price"] });
    let customer = &order["customer"];
    match kind {
        Becomes::Order => order.clone(),
        Becomes::Sale => json!({
            "web_id": order["id"], "date": order["placed_at"].as_str().unwrap()[..10],
            "currency": order["currency"], "total": order["total"], "reference": null,
            "party": {
                "code": customer["id"], "name": customer["name"], "email": customer["email"],
                "address": customer["address"],
            },
            "lines": order["lines"].as_array().unwrap().iter().map(line).collect::<Vec<_>>(),
        }),
    }
}

struct Selling {
    plan: Plan,
    ledger: Ledger,
    closing: AtomicBool,
    calls: AtomicUsize,
}

/// What a shop is told.
#[derive(Debug, Serialize, Deserialize)]
pub enum Command {
    /// To take no more orders, and to end once those it has are taken.
    Close,
    /// To say how many calls it has made.
    Count,
}

/// Sells until every order is taken.
pub async fn run(plan: Plan, mut commands: Commands) {
    let ledger = Ledger::open(&plan.ledger);
    let selling = Arc::new(Selling {
        plan,
        ledger,
        closing: AtomicBool::new(false),
        calls: AtomicUsize::new(0),
    });
    say("open");
    let customers = (0..selling.plan.customers).map(|number| customer(&selling, number));
    let all = futures::future::join_all(customers);
    let obeying = async {
        while let Some(command) = commands.recv().await {
            match serde_json::from_str(&command).unwrap() {
                Command::Close => {
                    selling.closing.store(true, Ordering::Relaxed);
                    say("closing");
                }
                Command::Count => say(&selling.calls.load(Ordering::Relaxed).to_string()),
            }
        }
    };
    tokio::select! {
        _ = all => {}
        // The harness has gone.
        () = obeying => {}
    }
}

async fn customer(selling: &Selling, number: usize) {
    let plan = &selling.plan;
    let name = format!("{}-{number}", plan.prefix);
    let mut rng = StdRng::seed_from_u64(plan.seed.wrapping_mul(1_000).wrapping_add(number as u64));
    let shop = Shop::new(&plan.url);
    for version in 0..plan.orders.unwrap_or(usize::MAX) {
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..=plan.pause))).await;
        if selling.closing.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("{name}/{version:06}");
        let order = order(&id, &name, &mut rng);
        while !selling.call(&shop, &id, &order).await {
            tokio::time::sleep(Duration::from_millis(rng.random_range(10..60))).await;
        }
        if rng.random_range(0..100) < plan.again {
            selling.call(&shop, &id, &order).await;
        }
    }
}

impl Selling {
    /// Whether the order is taken.
    async fn call(&self, shop: &Shop, id: &str, order: &Value) -> bool {
        let hash = hash(&becomes(order, self.plan.becomes));
        let entry = |answer, retry_after| Call {
            at: now(),
            id: id.to_owned(),
            hash: hash.clone(),
            answer,
            retry_after,
        };
        self.ledger.append(&entry(None, false));
        self.calls.fetch_add(1, Ordering::Relaxed);
        let calling = shop.try_send(signed(id, order.to_string()));
        let answer = tokio::time::timeout(TIMEOUT, calling).await.ok().flatten();
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        let retry_after = answer.is_some_and(|answer| answer.retry_after.is_some());
        let answered = entry(Some(status), retry_after);
        self.ledger.append(&answered);
        answered.is_acknowledged()
    }
}
