//! A shop that signs its calls as Standard Webhooks says.
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::client;

/// The shop's secret.
pub const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

pub struct Shop {
    client: reqwest::Client,
    pub url: String,
}

/// A call as it goes over the wire: each part can be spoilt.
#[derive(Clone)]
pub struct Call {
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// What the shop is answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<String>,
    pub body: Value,
}

impl Shop {
    pub fn new(url: &str) -> Self {
        Self { client: client(), url: url.to_owned() }
    }

    /// Sends a call; nothing if nobody answers.
    pub async fn try_send(&self, call: Call) -> Option<Answer> {
        let mut request = self.client.post(&self.url).body(call.body);
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let retry_after =
            answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        let body = serde_json::from_slice(&answer.bytes().await.ok()?).unwrap_or_default();
        Some(Answer { status, retry_after, body })
    }

    /// Sends a call that is answered.
    pub async fn send(&self, call: Call) -> Answer {
        self.try_send(call).await.expect("the webhook answers")
    }

    /// Sends an order, or another event with an id, until it is taken, as shops do.
    pub async fn tell(&self, event: &Value) {
        let id = event["id"].as_str().unwrap();
        super::until(&format!("{id} is taken"), async || {
            let answer = self.try_send(signed(id, event.to_string())).await?;
            (answer.status == 200).then_some(())
        })
        .await
    }
}

/// A call signed now with the shop's secret.
pub fn signed(id: &str, body: impl Into<Vec<u8>>) -> Call {
    signed_with(SECRET, now(), id, body)
}

/// A call signed with a secret, at a time (seconds since the Unix epoch).
pub fn signed_with(secret: &str, timestamp: u64, id: &str, body: impl Into<Vec<u8>>) -> Call {
    let body = body.into();
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(&body);
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", signature),
    ];
    Call { headers, body }
}

impl Call {
    /// The call with another value of a header.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(there, _)| *there != name);
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// An order that fits the schema.
pub fn order(id: &str, customer: &str) -> Value {
    json!({
        "id": id,
        "placed_at": "2026-01-31T08:00:00Z",
        "currency": "EUR",
        "customer": {
            "id": customer, "name": "Ada Lovelace", "email": "ada@example.com",
            "address": { "street": "12 St James's Square", "city": "London", "postal_code": "SW1Y 4JH", "country": "GB" },
        },
        "lines": [{ "sku": "SKU-1", "quantity": 3, "unit_price": "33.30" }],
        "total": "99.90",
    })
}

/// Seconds since the Unix epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
