//! Tryton 8.2, as far as sales are booked, by both of its interfaces: unique codes and web ids, calls
//! that do all or nothing, errors in answers of 200 by JSON-RPC.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};

use crate::simulator::{Application, BAD, Reply, Request, counted};

/// The processor that makes sales of the shop's orders.
pub const TO_SALE: &str = r#"
processors:
  to_sale:
    from: shop.orders
    to: erp.sales
    map: |
      .web_id = .id
      .date = format_timestamp!(.placed_at, "%Y-%m-%d")
      .party = { "code": .customer.id, "name": .customer.name, "email": .customer.email, "address": .customer.address }
      .lines = map_values(.lines) -> |line| {
        { "product": line.sku, "quantity": line.quantity, "unit_price": line.unit_price }
      }
"#;

/// Of all its models: more than one of them has.
const FIELDS: [&str; 26] = [
    "company",
    "currency",
    "invoice_address",
    "lines",
    "party",
    "payment_term",
    "reference",
    "sale_date",
    "shipment_address",
    "web_id",
    "web_shop",
    "state",
    "total_amount",
    "untaxed_amount",
    "product",
    "unit",
    "quantity",
    "unit_price",
    "name",
    "code",
    "addresses",
    "contact_mechanisms",
    "street",
    "city",
    "postal_code",
    "country",
];

#[derive(Default)]
pub struct Tryton {
    parties: Vec<Value>,
    sales: Vec<Value>,
    /// Whether its module `web_shop` is gone.
    lacks_web_id: bool,
}

/// What its own rules say.
type Outcome = Result<Value, String>;

impl Application for Tryton {
    fn knows(&self, request: &Request) -> bool {
        let session = format!("Session {}", STANDARD.encode("admin:1:token"));
        match method(request).as_str() {
            "common.db.login" => {
                request.json()["params"] == json!(["admin", { "password": "open-sesame" }])
            }
            "" => request.header("authorization") == "Bearer a-key-of-tryton",
            _ => request.header("authorization") == session,
        }
    }

    fn answer(&mut self, request: &Request) -> Reply {
        match method(request).as_str() {
            "" => self.rest(request),
            "common.db.login" => (200, json!({ "id": 0, "result": [1, "token", null] })),
            method => {
                let (model, method) = method["model.".len()..].rsplit_once('.').unwrap();
                match self.call(model, method, &request.json()["params"]) {
                    Ok(result) => (200, json!({ "id": 0, "result": result })),
                    Err(said) => {
                        (200, json!({ "id": 0, "error": ["UserError", [said, "", null]] }))
                    }
                }
            }
        }
    }

    fn writes(&self, request: &Request) -> bool {
        let method = method(request);
        let last = method.rsplit('.').next().unwrap_or_default();
        match last {
            "" => request.method == "POST" && !request.path.ends_with("/fields_get"),
            last => ["create", "quote", "confirm"].contains(&last),
        }
    }

    /// Those that are processed.
    fn objects(&self) -> BTreeMap<String, usize> {
        let id = |sale: &Value| sale["web_id"].as_str().unwrap().to_owned();
        let mut all =
            counted(self.sales.iter().map(id).collect::<Vec<_>>().iter().map(String::as_str));
        let open = self.sales.iter().filter(|sale| sale["state"] != "processing");
        for sale in open {
            all.remove(&id(sale));
        }
        all
    }

    fn set_field(&mut self, there: bool) -> bool {
        self.lacks_web_id = !there;
        true
    }
}

/// The method that JSON-RPC calls; nothing by REST.
fn method(request: &Request) -> String {
    match request.path.as_str() {
        "/erp/rpc/" => request.json()["method"].as_str().unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}

impl Tryton {
    fn rest(&mut self, request: &Request) -> Reply {
        let path = request.below("/erp/rest/model/").unwrap_or_default().to_owned();
        let parts: Vec<&str> = path.split('/').collect();
        let outcome = match (request.method.as_str(), parts.as_slice()) {
            ("GET", [model]) => {
                let domain = URL_SAFE.decode(request.parameter("d")).unwrap();
                Ok(self.search(model, &serde_json::from_slice(&domain).unwrap()))
            }
            ("POST", [_, "fields_get"]) => Ok(self.fields()),
            ("POST", [model]) => {
                let created = self.create(model, &json!([request.json()]));
                created.map(|ids| self.read(model, &ids)[0].clone())
            }
            ("POST", [model, id, button]) => {
                let ids = json!([id.parse::<i64>().unwrap()]);
                let pressed = self.press(&ids, button);
                pressed.map(|()| self.read(model, &ids)[0].clone())
            }
            _ => return (404, Value::Null),
        };
        match outcome {
            Ok(answer) => (200, answer),
            Err(said) => (400, json!({ "status": 400, "message": said, "description": "" })),
        }
    }

    fn call(&mut self, model: &str, method: &str, params: &Value) -> Outcome {
        match method {
            "search_read" => Ok(dotted(self.search(model, &params[0]))),
            "read" => Ok(dotted(self.read(model, &params[0]))),
            "fields_get" => Ok(self.fields()),
            "create" => self.create(model, &params[0]),
            button => self.press(&params[0], button).map(|()| Value::Null),
        }
    }

    fn fields(&self) -> Value {
        let there = FIELDS.iter().filter(|name| !(self.lacks_web_id && **name == "web_id"));
        there.map(|name| ((*name).to_owned(), json!({ "type": "char" }))).collect()
    }

    fn all(&self, model: &str) -> Vec<Value> {
        match model {
            "web.shop" => vec![json!({ "id": 1, "company": 1 })],
            "currency.currency" => vec![json!({ "id": 1, "code": "EUR" })],
            "product.product" => vec![json!({ "id": 1, "code": "SKU-1", "sale_uom": 1 })],
            "party.party" => self.parties.clone(),
            "sale.sale" => self.sales.clone(),
            _ => Vec::new(),
        }
    }

    fn search(&self, model: &str, domain: &Value) -> Value {
        let fits = |record: &Value, clause: &Value| {
            let (field, value) = (&record[clause[0].as_str().unwrap()], &clause[2]);
            field == value || value.as_array().is_some_and(|all| all.contains(field))
        };
        let clauses = domain.as_array().unwrap();
        let all = self.all(model).into_iter();
        all.filter(|record| clauses.iter().all(|clause| fits(record, clause))).collect()
    }

    fn read(&self, model: &str, ids: &Value) -> Value {
        self.search(model, &json!([["id", "in", ids]]))
    }

    /// All of them, or none.
    fn create(&mut self, model: &str, records: &Value) -> Outcome {
        let before = (self.parties.clone(), self.sales.clone());
        let mut ids = Vec::new();
        for record in records.as_array().unwrap() {
            match self.create_one(model, record.clone()) {
                Ok(id) => ids.push(id),
                Err(said) => {
                    (self.parties, self.sales) = before;
                    return Err(said);
                }
            }
        }
        Ok(json!(ids))
    }

    fn create_one(&mut self, model: &str, mut record: Value) -> Result<usize, String> {
        let (unique, kept) = match model {
            "party.party" => ("code", &mut self.parties),
            "sale.sale" => ("web_id", &mut self.sales),
            other => return Err(format!("no {other} is created here")),
        };
        if record[unique].as_str().is_some_and(|id| id.starts_with(BAD)) {
            return Err("The date of the sale lies in a closed period.".to_owned());
        }
        if kept.iter().any(|other| other[unique] == record[unique]) {
            return Err(format!("The {unique} must be unique."));
        }
        let id = kept.len() + 1;
        record["id"] = json!(id);
        if model == "sale.sale" {
            let total = json!({ "__class__": "Decimal", "decimal": "99.90" });
            record["state"] = json!("draft");
            record["total_amount"] = total.clone();
            record["untaxed_amount"] = total;
        } else {
            let mut address = record["addresses"][0][1][0].clone();
            address["id"] = json!(id);
            record["addresses"] = json!([address]);
        }
        kept.push(record);
        Ok(id)
    }

    /// All of them, or none.
    fn press(&mut self, ids: &Value, button: &str) -> Result<(), String> {
        let (before, after) = match button {
            "quote" => ("draft", "quotation"),
            _ => ("quotation", "processing"),
        };
        let ids = ids.as_array().unwrap();
        let mut pressed: Vec<&mut Value> =
            self.sales.iter_mut().filter(|sale| ids.contains(&sale["id"])).collect();
        if pressed.iter().any(|sale| sale["state"] != before) {
            return Err(format!("You can not call {button} in this state."));
        }
        pressed.iter_mut().for_each(|sale| sale["state"] = json!(after));
        Ok(())
    }
}

/// JSON-RPC puts other records under a name with a dot.
fn dotted(mut found: Value) -> Value {
    for record in found.as_array_mut().unwrap() {
        let addresses = record.as_object_mut().unwrap().remove("addresses");
        if let Some(addresses) = addresses {
            record["addresses."] = addresses;
        }
    }
    found
}
