//! Stripe, as far as customers are written: forms, `Idempotency-Key`, and a search that is late.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::simulator::{Application, BAD, Reply, Request, counted};

#[derive(Default)]
pub struct Stripe {
    /// The ids of ours, in the order of creation, and when that was.
    customers: Vec<(String, Instant)>,
    /// What was sent with each key, and the answer to it.
    answered: BTreeMap<String, (Vec<u8>, Reply)>,
}

impl Application for Stripe {
    fn knows(&self, request: &Request) -> bool {
        request.header("authorization") == "Bearer sk_test_1"
    }

    fn stranger(&self) -> Reply {
        (401, json!({ "error": { "type": "invalid_request_error", "message": "Invalid API Key" } }))
    }

    fn answer(&mut self, request: &Request) -> Reply {
        assert_eq!(request.header("stripe-version"), "2025-09-30.clover");
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/v1/customers/search") => (200, self.seen(request.parameter("query"))),
            ("POST", "/v1/customers") => self.once(request),
            ("POST", path) if path.starts_with("/v1/customers/cus_") => (200, json!({})),
            _ => (404, json!({ "error": { "code": "resource_missing" } })),
        }
    }

    fn objects(&self) -> BTreeMap<String, usize> {
        counted(self.customers.iter().map(|(id, _)| id.as_str()))
    }
}

/// How late its search is.
const LATE: Duration = Duration::from_secs(1);

impl Stripe {
    /// What its search finds.
    fn seen(&self, query: &str) -> Value {
        let asked = |id: &str| query == format!("metadata['order_system_id']:'{id}'");
        let mut seen = self.customers.iter().zip(1..);
        let found = seen.find(|((id, created), _)| asked(id) && created.elapsed() > LATE);
        let data: Vec<_> =
            found.iter().map(|(_, number)| json!({ "id": format!("cus_{number}") })).collect();
        json!({ "data": data, "has_more": false })
    }

    fn once(&mut self, request: &Request) -> Reply {
        let key = request.header("idempotency-key").to_owned();
        if let Some((body, reply)) = self.answered.get(&key) {
            return match *body == request.body {
                true => reply.clone(),
                false => (400, json!({ "error": { "type": "idempotency_error" } })),
            };
        }
        let form = request.form();
        assert_eq!(request.header("content-type"), "application/x-www-form-urlencoded");
        let id = form["metadata[order_system_id]"].clone();
        // What is refused before it begins is not remembered.
        if id.starts_with(BAD) {
            return (400, json!({ "error": { "code": "parameter_invalid_empty" } }));
        }
        self.customers.push((id, Instant::now()));
        let reply: Reply = (200, json!({ "id": format!("cus_{}", self.customers.len()) }));
        let kept: (Vec<u8>, (u16, Value)) = (request.body.clone(), reply.clone());
        self.answered.insert(key, kept);
        reply
    }
}
