//! localstripe: a server on loopback that speaks Stripe's API and signs its webhooks as Stripe does.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::orders::{BUYERS, Buyer, Order};
use crate::{eventually, passerelle};

/// A running localstripe.
pub struct Stripe {
    process: Child,
    url: String,
    client: reqwest::Client,
}

impl Stripe {
    /// Starts one without any customers.
    pub async fn start(python: &Path) -> Self {
        let port = passerelle::free_port().to_string();
        let process = Command::new(python)
            .args(["-m", "localstripe", "--from-scratch", "--port", &port])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("PASSERELLE_PYTHON starts");
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let stripe = Self { process, url: format!("http://127.0.0.1:{port}"), client };
        eventually("localstripe answers", async || {
            stripe.client.get(&stripe.url).send().await.ok().map(|_| ())
        })
        .await;
        stripe
    }

    /// Subscribes an address to all events.
    pub async fn send_webhooks_to(&self, url: &str, secret: &str) {
        let hook = json!({ "url": url, "secret": secret });
        self.post("/_config/webhooks/journey", &hook).await;
    }

    /// Creates a customer; Stripe tells of it too. Returns its id.
    pub async fn customer(&self, buyer: &Buyer) -> String {
        id(&self.post("/v1/customers", &json!({ "name": buyer.name, "email": buyer.email })).await)
    }

    /// Pays an order with a good card. The shop's metadata say what the payment is for.
    pub async fn pay(&self, customers: &[String], order: &Order) {
        let card = json!({
            "type": "card",
            "card": { "number": "4242424242424242", "exp_month": 12, "exp_year": 2040, "cvc": "123" },
        });
        let method = id(&self.post("/v1/payment_methods", &card).await);
        let customer = &customers[order.buyer];
        let attach = format!("/v1/payment_methods/{method}/attach");
        self.post(&attach, &json!({ "customer": customer })).await;
        let payment = json!({
            "amount": order.cents(),
            "currency": "eur",
            "customer": customer,
            "payment_method": method,
            "confirm": true,
            "metadata": {
                "order": order.id,
                "buyer": BUYERS[order.buyer].json(),
                "lines": order.lines_json(),
            },
        });
        let paid = self.post("/v1/payment_intents", &payment).await;
        assert_eq!(paid["status"], "succeeded", "{paid}");
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let call = self
            .client
            .post(format!("{}{path}", self.url))
            .header("authorization", "Bearer sk_test_journey")
            .header("content-type", "application/json")
            .body(body.to_string());
        let answer = call.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }
}

impl Drop for Stripe {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn id(object: &Value) -> String {
    object["id"].as_str().expect("an object of Stripe has an id").to_owned()
}
