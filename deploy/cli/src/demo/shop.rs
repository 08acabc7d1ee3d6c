//! A small shop that sends each of its orders as a signed webhook, and sends it again until it is
//! acknowledged, as real ones do.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::Shutdown;
use hmac::{Hmac, Mac};
use rand::Rng;
use serde_json::{Value, json};
use sha2::Sha256;

use super::journey::Journey;

/// The time between two orders.
const PACE: Duration = Duration::from_millis(700);

/// How long the shop waits before it sends an order again.
const AGAIN: Duration = Duration::from_secs(1);

const CUSTOMERS: [(&str, &str, &str, &str); 5] = [
    ("C-1001", "Ada Lovelace", "12 St James's Square", "London"),
    ("C-1002", "Blaise Pascal", "1 rue des Gras", "Clermont-Ferrand"),
    ("C-1003", "Sofia Kovalevskaya", "Kungsgatan 4", "Stockholm"),
    ("C-1004", "Emmy Noether", "Hauptstrasse 23", "Erlangen"),
    ("C-1005", "Évariste Galois", "12 rue de la Bièvre", "Bourg-la-Reine"),
];

/// Price in cents.
const PRODUCTS: [(&str, &str, u32); 4] = [
    ("SKU-1", "Notebook", 1_000),
    ("SKU-2", "Compass", 2_550),
    ("SKU-3", "Slide rule", 12_990),
    ("SKU-4", "Chalk", 199),
];

/// The shop.
pub struct Shop {
    /// Where it sends its orders.
    pub url: String,
    /// The secret it signs with, `whsec_…`.
    pub secret: String,
    /// The folder that holds its order counter.
    pub folder: PathBuf,
}

impl Shop {
    /// Sends orders until `stop`, or until `limit` of them are sent.
    ///
    /// # Errors
    /// The counter cannot be written, or the secret is not one.
    pub async fn run(
        self,
        journey: Journey,
        limit: Option<u64>,
        stop: Shutdown,
    ) -> Result<(), String> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .build()
            .map_err(|error| format!("The shop has no HTTP client: {error}."))?;
        let mut sent = 0;
        while limit.is_none_or(|limit| sent < limit) && !stop.is_requested() {
            let number = next_number(&self.folder).map_err(|error| {
                format!("The shop cannot write in {}: {error}.", self.folder.display())
            })?;
            let order = order(number);
            journey.left_the_shop(&format!("O-{number}"));
            self.send(&client, &order, &stop).await?;
            sent += 1;
            tokio::select! {
                () = tokio::time::sleep(PACE) => {}
                () = stop.requested() => {}
            }
        }
        Ok(())
    }

    /// Sends one order, with the same id until it is acknowledged.
    async fn send(
        &self,
        client: &reqwest::Client,
        order: &Value,
        stop: &Shutdown,
    ) -> Result<(), String> {
        let body = order.to_string();
        let id = format!("msg_{}", order["id"].as_str().unwrap_or_default());
        loop {
            let timestamp =
                SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let signature = sign(&self.secret, &id, timestamp, body.as_bytes())?;
            let call = client
                .post(&self.url)
                .header("content-type", "application/json")
                .header("webhook-id", &id)
                .header("webhook-timestamp", timestamp)
                .header("webhook-signature", signature)
                .body(body.clone());
            match call.send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => {
                    tracing::warn!(order = %id, status = %answer.status(), "the shop's order was not taken; it sends it again")
                }
                Err(error) => {
                    tracing::warn!(order = %id, %error, "the shop's order was not taken; it sends it again")
                }
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = stop.requested() => return Ok(()),
            }
        }
    }
}

/// Signs as Standard Webhooks 1.0.0 says.
pub fn sign(secret: &str, id: &str, timestamp: u64, body: &[u8]) -> Result<String, String> {
    let key = STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap_or(secret))
        .map_err(|error| format!("The shop's secret is not `whsec_` and base64: {error}."))?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|error| error.to_string())?;
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

/// A new secret of 24 bytes.
pub fn new_secret() -> String {
    format!("whsec_{}", STANDARD.encode(rand::random::<[u8; 24]>()))
}

/// The next order's number. It is written before the order is sent, so that no number is used twice.
fn next_number(folder: &Path) -> std::io::Result<u64> {
    let file = folder.join("shop.next");
    let number =
        std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1);
    std::fs::write(&file, (number + 1).to_string())?;
    Ok(number)
}

/// An order as the shop's API shows it; money is text or digits, never a float.
fn order(number: u64) -> Value {
    let mut random = rand::rng();
    let (id, name, street, city) = CUSTOMERS[random.random_range(0..CUSTOMERS.len())];
    let mut cents = 0;
    let lines = (0..random.random_range(1..=3))
        .map(|_| {
            let (sku, description, price) = PRODUCTS[random.random_range(0..PRODUCTS.len())];
            let quantity = random.random_range(1..=3);
            cents += quantity * price;
            json!({ "sku": sku, "description": description, "quantity": quantity, "unit_price": money(price) })
        })
        .collect::<Vec<_>>();
    json!({
        "id": format!("O-{number}"),
        "placed_at": chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        "currency": "EUR",
        "customer": {
            "id": id,
            "name": name,
            "email": format!("{}@example.com", id.to_lowercase()),
            "address": { "street": street, "city": city, "postal_code": "10000", "country": "FR" },
        },
        "lines": lines,
        "total": money(cents),
    })
}

fn money(cents: u32) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
