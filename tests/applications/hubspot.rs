//! HubSpot, as far as contacts are written: batches whose answers speak of each item.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::simulator::{Application, BAD, Reply, Request, counted};

#[derive(Default)]
pub struct HubSpot {
    /// Each write of a contact that made a new one, by address.
    created: Vec<String>,
    contacts: BTreeMap<String, Value>,
    lacks_field: bool,
}

fn error(category: &str, message: &str) -> Value {
    json!({ "status": "error", "category": category, "message": message })
}

impl Application for HubSpot {
    fn knows(&self, request: &Request) -> bool {
        request.header("authorization") == "Bearer pat-1"
    }

    fn stranger(&self) -> Reply {
        (401, error("INVALID_AUTHENTICATION", "Authentication credentials not found."))
    }

    fn answer(&mut self, request: &Request) -> Reply {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/crm/v3/properties/contacts") => {
                let all = ["email", "lastname"]
                    .iter()
                    .filter(|one| !self.lacks_field || **one == "email");
                let results: Vec<_> = all.map(|name| json!({ "name": name })).collect();
                (200, json!({ "results": results }))
            }
            ("POST", "/crm/v3/objects/contacts/batch/upsert") => self.upsert(&request.json()),
            _ => (404, error("OBJECT_NOT_FOUND", "no such path")),
        }
    }

    fn objects(&self) -> BTreeMap<String, usize> {
        counted(self.created.iter().map(String::as_str))
    }

    fn set_field(&mut self, there: bool) -> bool {
        self.lacks_field = !there;
        true
    }
}

impl HubSpot {
    fn upsert(&mut self, body: &Value) -> Reply {
        let inputs = body["inputs"].as_array().unwrap();
        let mut ids: Vec<_> = inputs.iter().map(|input| input["id"].to_string()).collect();
        ids.sort();
        ids.dedup();
        if ids.len() != inputs.len() || inputs.len() > 100 {
            return (400, error("VALIDATION_ERROR", "Duplicate IDs found in batch input"));
        }
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        for input in inputs {
            let (id, trace) = (input["id"].as_str().unwrap(), &input["objectWriteTraceId"]);
            assert_eq!(input["idProperty"], "email");
            if id.starts_with(BAD) {
                let mut error = error("VALIDATION_ERROR", "Property values were not valid");
                error["context"] = json!({ "objectWriteTraceId": [trace] });
                errors.push(error);
                continue;
            }
            let new = self.contacts.insert(id.to_owned(), input["properties"].clone()).is_none();
            if new {
                self.created.push(id.to_owned());
            }
            results.push(json!({ "id": id, "new": new, "objectWriteTraceId": trace }));
        }
        let status = if errors.is_empty() { 200 } else { 207 };
        let count = errors.len();
        (
            status,
            json!({ "status": "COMPLETE", "results": results, "errors": errors, "numErrors": count }),
        )
    }
}
