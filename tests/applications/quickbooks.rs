//! QuickBooks Online, as far as invoices are written: tokens on a refresh token, `requestid`, numbers
//! that are unique, and a `SyncToken` that is stale every third time.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::simulator::{Application, BAD, Reply, Request, counted};

#[derive(Default)]
pub struct QuickBooks {
    invoices: Vec<Value>,
    /// The answers by `requestid`.
    answered: BTreeMap<String, Reply>,
    updates: usize,
}

fn fault(code: &str, message: &str) -> Value {
    json!({ "Fault": { "Error": [{ "Message": message, "code": code }], "type": "ValidationFault" } })
}

impl Application for QuickBooks {
    fn knows(&self, request: &Request) -> bool {
        request.path == "/tokens" || request.header("authorization") == "Bearer access-1"
    }

    fn stranger(&self) -> Reply {
        (401, fault("3200", "message=AuthenticationFailed"))
    }

    fn writes(&self, request: &Request) -> bool {
        request.path.ends_with("/invoice")
    }

    fn answer(&mut self, request: &Request) -> Reply {
        if request.path == "/tokens" {
            return match request.form().get("refresh_token").map(String::as_str) {
                Some("refresh-0") => {
                    (200, json!({ "access_token": "access-1", "expires_in": 3600 }))
                }
                _ => (400, json!({ "error": "invalid_grant" })),
            };
        }
        assert_eq!(request.parameter("minorversion"), "75");
        match (request.method.as_str(), request.below("/v3/company/1/")) {
            ("GET", Some("query")) => {
                let query = request.parameter("query");
                let number = query.split('\'').nth(1).unwrap_or_default();
                let found = self.invoices.iter().find(|one| one["DocNumber"] == number);
                let response = found.map_or(json!({}), |one| json!({ "Invoice": [one] }));
                (200, json!({ "QueryResponse": response }))
            }
            ("POST", Some("invoice")) => self.once(request),
            _ => (400, fault("500", "Unsupported Operation")),
        }
    }

    fn objects(&self) -> BTreeMap<String, usize> {
        counted(self.invoices.iter().filter_map(|one| one["DocNumber"].as_str()))
    }
}

impl QuickBooks {
    /// A request that was answered before is answered the same.
    fn once(&mut self, request: &Request) -> Reply {
        let id = request.parameter("requestid").to_owned();
        assert!(!id.is_empty() && id.len() <= 50, "{id}");
        if let Some(known) = self.answered.get(&id) {
            return known.clone();
        }
        let reply = self.write(request.json());
        if reply.0 == 200 {
            self.answered.insert(id, reply.clone());
        }
        reply
    }

    fn write(&mut self, mut body: Value) -> Reply {
        if body["DocNumber"].as_str().is_none_or(|number| number.starts_with(BAD)) {
            return (400, fault("6000", "A business validation error has occurred"));
        }
        if !body["Line"][0]["Amount"].is_number() {
            return (400, fault("2010", "Invalid Amount"));
        }
        let at = self.invoices.iter().position(|one| one["DocNumber"] == body["DocNumber"]);
        match (body["Id"].as_str(), at) {
            (None, Some(_)) => (400, fault("6140", "Duplicate Document Number Error")),
            (None, None) => {
                body["Id"] = json!((self.invoices.len() + 1).to_string());
                body["SyncToken"] = json!("0");
                self.invoices.push(body.clone());
                (200, json!({ "Invoice": body }))
            }
            (Some(_), Some(at)) => {
                self.updates += 1;
                let known = &mut self.invoices[at];
                let version: u64 = known["SyncToken"].as_str().unwrap().parse().unwrap();
                // Somebody was faster.
                if self.updates % 3 == 1 {
                    known["SyncToken"] = json!((version + 1).to_string());
                }
                if body["SyncToken"] != known["SyncToken"] {
                    return (400, fault("5010", "Stale Object Error"));
                }
                body["SyncToken"] = json!((version + 1).to_string());
                *known = body.clone();
                (200, json!({ "Invoice": body }))
            }
            (Some(_), None) => (400, fault("610", "Object Not Found")),
        }
    }
}
