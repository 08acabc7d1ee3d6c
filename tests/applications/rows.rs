//! Applications that keep rows of JSON: each of these speaks as one of the real ones does.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::simulator::{Application, BAD, Reply, Request, counted};

/// The rows of a table.
#[derive(Default)]
struct Rows(Vec<Value>);

impl Rows {
    fn add(&mut self, mut row: Value) -> usize {
        row["id"] = json!(self.0.len() + 1);
        row["version"] = json!(0);
        self.0.push(row);
        self.0.len()
    }

    fn find(&self, field: &str, value: &str) -> Option<&Value> {
        self.0.iter().find(|row| row[field] == value)
    }

    fn of(&mut self, id: &str) -> Option<&mut Value> {
        let id: usize = id.parse().ok()?;
        self.0.get_mut(id.checked_sub(1)?)
    }

    /// Puts fields into a row.
    fn change(&mut self, id: &str, with: &Value) -> Option<Value> {
        let row = self.of(id)?;
        let (own, version) = (row["id"].clone(), row["version"].as_u64().unwrap_or_default());
        for (name, value) in with.as_object()? {
            row[name] = value.clone();
        }
        (row["id"], row["version"]) = (own, json!(version + 1));
        Some(row.clone())
    }

    fn counts(&self, field: &str) -> BTreeMap<String, usize> {
        counted(self.0.iter().filter_map(|row| row[field].as_str()))
    }
}

fn is_bad(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with(BAD))
}

/// The application of the template: pages of look-ups, versions, a list of its fields. Its names are
/// its own, so that a description made from the template is another's.
pub struct Crm {
    rows: Rows,
    object: &'static str,
    id: &'static str,
    has_field: bool,
}

impl Crm {
    pub fn new(object: &'static str, id: &'static str) -> Self {
        Self { rows: Rows::default(), object, id, has_field: true }
    }
}

impl Application for Crm {
    fn knows(&self, request: &Request) -> bool {
        request.header("x-api-key") == "key-of-the-crm"
    }

    fn answer(&mut self, request: &Request) -> Reply {
        let list = format!("/{}", self.object);
        let one = request.below(&format!("{list}/")).map(str::to_owned);
        let body = request.json();
        match (request.method.as_str(), one) {
            ("GET", _) if request.path == format!("/fields{list}") => {
                let fields: &[&str] =
                    if self.has_field { &[self.id, "name", "version"] } else { &[self.id] };
                (200, json!({ "fields": fields }))
            }
            // What is asked for stands on the second page.
            ("GET", None) if request.parameter("after").is_empty() => {
                (200, json!({ "items": [], "next": "2" }))
            }
            ("GET", None) => match self.rows.find(self.id, request.parameter(self.id)) {
                Some(row) => (200, json!({ "items": [row], "next": null })),
                None => (200, json!({ "items": [], "next": null })),
            },
            ("POST", None) if is_bad(&body[self.id]) => (422, json!({ "error": "invalid" })),
            ("POST", None) => (201, json!({ "id": self.rows.add(body) })),
            ("PUT", Some(id)) => {
                let known = self.rows.of(&id).map(|row| row["version"].clone());
                match known {
                    Some(version) if version != body["version"] => {
                        (409, json!({ "error": "changed" }))
                    }
                    _ => self.rows.change(&id, &body).map_or((404, Value::Null), |row| (200, row)),
                }
            }
            _ => (404, Value::Null),
        }
    }

    fn objects(&self) -> BTreeMap<String, usize> {
        self.rows.counts(self.id)
    }

    fn set_field(&mut self, there: bool) -> bool {
        self.has_field = there;
        true
    }
}

/// Odoo 19 over JSON-2: nothing is unique.
#[derive(Default)]
pub struct Odoo {
    orders: Rows,
    lacks_field: bool,
}

impl Application for Odoo {
    fn knows(&self, request: &Request) -> bool {
        request.header("authorization") == "Bearer odoo-key"
            && request.header("x-odoo-database") == "shop"
    }

    fn writes(&self, request: &Request) -> bool {
        request.path.ends_with("/create") || request.path.ends_with("/write")
    }

    fn answer(&mut self, request: &Request) -> Reply {
        let body = request.json();
        match request.below("/json/2/sale.order/") {
            Some("fields_get") if self.lacks_field => (200, json!({ "client_order_ref": {} })),
            Some("fields_get") => (200, json!({ "client_order_ref": {}, "note": {} })),
            Some("search_read") => {
                let wanted = body["domain"][0][2].as_str().unwrap_or_default();
                let found = self.orders.find("client_order_ref", wanted);
                (200, found.map_or(json!([]), |row| json!([{ "id": row["id"], "state": "draft" }])))
            }
            Some("create") if is_bad(&body["vals_list"][0]["client_order_ref"]) => {
                (422, json!({ "name": "odoo.exceptions.ValidationError", "message": "no" }))
            }
            Some("create") => (200, json!([self.orders.add(body["vals_list"][0].clone())])),
            Some("write") => match self.orders.change(&body["ids"][0].to_string(), &body["vals"]) {
                Some(_) => (200, json!(true)),
                None => (404, json!({ "name": "odoo.exceptions.MissingError" })),
            },
            _ => (404, json!({ "name": "werkzeug.exceptions.NotFound" })),
        }
    }

    fn objects(&self) -> BTreeMap<String, usize> {
        self.orders.counts("client_order_ref")
    }

    fn set_field(&mut self, there: bool) -> bool {
        self.lacks_field = !there;
        true
    }
}

/// ERPNext: `po_no` is not unique, validation is answered 417.
#[derive(Default)]
pub struct ErpNext(Rows);

impl Application for ErpNext {
    fn knows(&self, request: &Request) -> bool {
        request.header("authorization") == "token erp-key:erp-secret"
    }

    fn stranger(&self) -> Reply {
        (401, json!({ "exc_type": "AuthenticationError" }))
    }

    fn answer(&mut self, request: &Request) -> Reply {
        let Some(rest) = request.below("/api/resource/Sales Order") else {
            return (404, json!({ "exc_type": "DoesNotExistError" }));
        };
        let body = request.json();
        match (request.method.as_str(), rest.trim_start_matches('/')) {
            ("GET", "") => {
                let filters: Value = serde_json::from_str(request.parameter("filters")).unwrap();
                let found = self.0.find("po_no", filters[0][2].as_str().unwrap_or_default());
                let found = found.map(|row| json!({ "name": row["id"].to_string() }));
                (200, json!({ "data": found.into_iter().collect::<Vec<_>>() }))
            }
            ("POST", "") if is_bad(&body["po_no"]) => {
                (417, json!({ "exc_type": "ValidationError", "exception": "frappe.exceptions…" }))
            }
            ("POST", "") if !body["items"][0]["rate"].is_number() => {
                (417, json!({ "exc_type": "ValidationError", "exception": "rate is a number" }))
            }
            ("POST", "") => (200, json!({ "data": { "name": self.0.add(body).to_string() } })),
            ("PUT", name) => match self.0.change(name, &body) {
                Some(row) => (200, json!({ "data": { "name": row["id"].to_string() } })),
                None => (404, json!({ "exc_type": "DoesNotExistError" })),
            },
            _ => (405, Value::Null),
        }
    }

    fn objects(&self) -> BTreeMap<String, usize> {
        self.0.counts("po_no")
    }
}

/// Dolibarr: its key in a header, ids as bare numbers, 404 for nothing found.
#[derive(Default)]
pub struct Dolibarr(Rows);

impl Application for Dolibarr {
    fn knows(&self, request: &Request) -> bool {
        request.header("dolapikey") == "doli-key"
    }

    fn answer(&mut self, request: &Request) -> Reply {
        let missing = || (404, json!({ "error": { "code": 404, "message": "Not Found" } }));
        let body = request.json();
        let Some(rest) = request.below("/orders") else { return missing() };
        match (request.method.as_str(), rest.trim_start_matches('/')) {
            ("GET", "") => {
                let filter = request.parameter("sqlfilters");
                let reference = filter.strip_prefix("(t.ref_ext:=:'").unwrap_or_default();
                let reference = reference.strip_suffix("')").unwrap_or_default();
                let found = self.0.find("ref_ext", reference).cloned();
                found.map_or_else(missing, |row| (200, json!([row])))
            }
            ("POST", "") if is_bad(&body["ref_ext"]) => {
                let message = "Bad Request: ErrorFieldRequired socid";
                (500, json!({ "error": { "code": 500, "message": message } }))
            }
            ("POST", "") => (200, json!(self.0.add(body))),
            ("PUT", id) => self.0.change(id, &body).map_or_else(missing, |row| (200, row)),
            _ => missing(),
        }
    }

    fn objects(&self) -> BTreeMap<String, usize> {
        self.0.counts("ref_ext")
    }
}

/// WooCommerce: the SKU is unique.
#[derive(Default)]
pub struct WooCommerce(Rows);

impl Application for WooCommerce {
    fn knows(&self, request: &Request) -> bool {
        // ck:csecret
        request.header("authorization") == "Basic Y2s6Y3NlY3JldA=="
    }

    fn stranger(&self) -> Reply {
        (401, json!({ "code": "woocommerce_rest_authentication_error" }))
    }

    fn answer(&mut self, request: &Request) -> Reply {
        let body = request.json();
        let Some(rest) = request.below("/wp-json/wc/v3/products") else {
            return (404, json!({ "code": "rest_no_route" }));
        };
        match (request.method.as_str(), rest.trim_start_matches('/')) {
            // It takes what it is asked for to be a list.
            ("GET", "") => {
                let asked = request.parameter("sku").split(',').chain([request.parameter("sku")]);
                let found = asked.filter_map(|sku| self.0.find("sku", sku));
                (200, json!(found.collect::<Vec<_>>()))
            }
            ("POST", "") if is_bad(&body["sku"]) => {
                (400, json!({ "code": "rest_invalid_param", "message": "no" }))
            }
            ("POST", "")
                if self.0.find("sku", body["sku"].as_str().unwrap_or_default()).is_some() =>
            {
                (400, json!({ "code": "product_invalid_sku" }))
            }
            ("POST", "") => (201, json!({ "id": self.0.add(body) })),
            ("PUT", id) => match self.0.change(id, &body) {
                Some(row) => (200, row),
                None => (404, json!({ "code": "woocommerce_rest_product_invalid_id" })),
            },
            _ => (405, Value::Null),
        }
    }

    fn objects(&self) -> BTreeMap<String, usize> {
        self.0.counts("sku")
    }
}

/// Shopify: products that are there are changed; an order is one of our ids.
#[derive(Default)]
pub struct Shopify(BTreeMap<String, Value>);

impl Application for Shopify {
    fn knows(&self, request: &Request) -> bool {
        request.header("x-shopify-access-token") == "shpat"
    }

    fn answer(&mut self, request: &Request) -> Reply {
        let below = request.below("/admin/api/2025-07/products/");
        let id = below.and_then(|rest| rest.strip_suffix(".json"));
        match (request.method.as_str(), id) {
            ("PUT", Some(id)) if id.starts_with(BAD) => {
                (422, json!({ "errors": { "title": ["can't be blank"] } }))
            }
            ("PUT", Some(id)) => {
                let product = request.json()["product"].clone();
                self.0.insert(id.to_owned(), product.clone());
                (200, json!({ "product": product }))
            }
            _ => (404, json!({ "errors": "Not Found" })),
        }
    }

    fn objects(&self) -> BTreeMap<String, usize> {
        counted(self.0.keys().map(String::as_str))
    }
}

/// A hook of Zapier, Make or n8n: it takes what comes. `unique` keeps one for each idempotency key,
/// as a target of the sink `http` may.
#[derive(Default)]
pub struct Hook {
    taken: Vec<(String, String)>,
    unique: bool,
}

impl Hook {
    pub fn unique() -> Self {
        Self { unique: true, ..Self::default() }
    }
}

impl Application for Hook {
    fn knows(&self, request: &Request) -> bool {
        request.path.starts_with("/hooks/secret-of-the-hook")
    }

    fn answer(&mut self, request: &Request) -> Reply {
        let id = request.json()["id"].as_str().unwrap_or_default().to_owned();
        if id.starts_with(BAD) {
            return (400, json!({ "status": "error" }));
        }
        let key = request.header("idempotency-key").to_owned();
        assert!(!key.is_empty());
        if !self.unique || self.taken.iter().all(|(taken, _)| *taken != key) {
            self.taken.push((key, id));
        }
        (200, json!({ "status": "success" }))
    }

    fn objects(&self) -> BTreeMap<String, usize> {
        counted(self.taken.iter().map(|(_, id)| id.as_str()))
    }
}
