//! A company's HubSpot and its QuickBooks, as far as the example that connects them asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use serde_json::{Value, json};

type Parameters = Query<BTreeMap<String, String>>;

/// The two, at one address.
#[derive(Clone)]
pub struct Company {
    pub url: String,
    books: Arc<Mutex<Books>>,
}

/// What the two hold.
#[derive(Default)]
struct Books {
    /// What the contact shows of itself, and when it changed.
    contact: serde_json::Map<String, Value>,
    changed: String,
    /// How often the contact was written to.
    shown: usize,
    customers: Vec<Value>,
    invoices: Vec<Value>,
    /// Whether somebody follows the invoices: what is invoiced before is no news to them.
    followed: bool,
}

fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// Milliseconds since the Unix epoch: as texts, `10:00:00.5Z` would come before `10:00:00Z`.
fn milliseconds(text: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
}

impl Company {
    /// With one contact, and one deal of theirs that is won.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let contact =
            json!({ "email": "ada@example.com", "firstname": "Ada", "lastname": "O'Hara" });
        let contact = contact.as_object().unwrap().clone();
        let books = Books { contact, changed: now(), ..Books::default() };
        let company = Self { url, books: Arc::new(Mutex::new(books)) };
        let router = Router::new()
            .route("/crm/v3/objects/contacts/search", post(contacts))
            .route("/crm/v3/objects/deals/search", post(deals))
            .route("/crm/v3/objects/deals/9001", get(deal))
            .route("/crm/v3/objects/contacts/{email}", patch(show))
            .route("/tokens", post(token))
            .route("/v3/company/1/query", get(query))
            .route("/v3/company/1/{entity}", post(write))
            .route("/v3/company/1/cdc", get(changes))
            .with_state(company.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        company
    }

    /// What the contact shows, and how often that was written.
    pub fn contact(&self) -> (Value, usize) {
        let books = self.books.lock().unwrap();
        (Value::Object(books.contact.clone()), books.shown)
    }

    /// The names of the customers, and the numbers of the invoices.
    pub fn books(&self) -> (Vec<Value>, Vec<Value>) {
        let books = self.books.lock().unwrap();
        let each = |all: &[Value], name: &str| all.iter().map(|one| one[name].clone()).collect();
        (each(&books.customers, "DisplayName"), each(&books.invoices, "DocNumber"))
    }

    /// Somebody pays all invoices.
    pub fn pay(&self) {
        for invoice in &mut self.books.lock().unwrap().invoices {
            invoice["Balance"] = json!(0);
            invoice["SyncToken"] = json!("1");
            invoice["MetaData"]["LastUpdatedTime"] = json!(now());
        }
    }
}

/// A page of a search holds what has changed since; there is one object.
fn page(body: &Value, changed: &str, object: Value) -> Response {
    let filters = body["filterGroups"][0]["filters"].as_array().unwrap();
    let since = filters.iter().find(|filter| filter["operator"] == "GTE").unwrap();
    let later = milliseconds(changed) >= since["value"].as_i64().unwrap();
    let results = if later { vec![object] } else { Vec::new() };
    Json(json!({ "total": results.len(), "results": results })).into_response()
}

async fn contacts(State(company): State<Company>, Json(body): Json<Value>) -> Response {
    let books = company.books.lock().unwrap();
    let contact = json!({ "id": "101", "properties": books.contact, "updatedAt": books.changed });
    page(&body, &books.changed, contact)
}

/// The deal is won once its invoice will be seen.
async fn deals(State(company): State<Company>, Json(body): Json<Value>) -> Response {
    if !company.books.lock().unwrap().followed {
        return Json(json!({ "total": 0, "results": [] })).into_response();
    }
    let won = "2026-01-31T10:00:00.000Z";
    page(&body, won, json!({ "id": "9001", "properties": {}, "updatedAt": won }))
}

async fn deal(Query(parameters): Parameters) -> Json<Value> {
    assert_eq!(parameters["associations"], "contacts");
    Json(json!({
        "id": "9001",
        "properties": { "dealname": "Ten lessons", "amount": "450.5", "closedate": "2026-01-31T10:00:00Z" },
        "updatedAt": "2026-01-31T10:00:00.000Z",
        "associations": { "contacts": { "results": [{ "id": "101", "type": "deal_to_contact" }] } },
    }))
}

async fn show(
    State(company): State<Company>,
    Path(email): Path<String>,
    Json(body): Json<Value>,
) -> Json<Value> {
    let mut books = company.books.lock().unwrap();
    assert_eq!(books.contact["email"], email);
    books.contact.extend(body["properties"].as_object().unwrap().clone());
    books.changed = now();
    books.shown += 1;
    Json(json!({ "id": "101" }))
}

async fn token() -> Json<Value> {
    Json(
        json!({ "token_type": "bearer", "access_token": "a", "refresh_token": "r", "expires_in": 3600 }),
    )
}

/// `select … from TABLE where FIELD = 'TEXT' …`
async fn query(State(company): State<Company>, Query(parameters): Parameters) -> Json<Value> {
    let books = company.books.lock().unwrap();
    let statement = &parameters["query"];
    let after = |word: &str| {
        let (_, rest) = statement.split_once(word).unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    };
    let (from, to) = (statement.find('\'').unwrap(), statement.rfind('\'').unwrap());
    let text = statement[from + 1..to].replace("\\'", "'");
    let (table, field) = (after(" from "), after(" where "));
    let rows = if table == "Customer" { &books.customers } else { &books.invoices };
    let found: Vec<_> = rows.iter().filter(|row| row[&field] == text.as_str()).collect();
    let answer = if found.is_empty() { json!({}) } else { json!({ table: found }) };
    Json(json!({ "QueryResponse": answer }))
}

/// A new object, or what is known by its id in its next version.
async fn write(
    State(company): State<Company>,
    Path(entity): Path<String>,
    Json(mut body): Json<Value>,
) -> Json<Value> {
    let mut books = company.books.lock().unwrap();
    let name = if entity == "customer" { "Customer" } else { "Invoice" };
    let rows = if entity == "customer" { &mut books.customers } else { &mut books.invoices };
    if body["Id"].is_null() {
        body["Id"] = json!((rows.len() + 51).to_string());
        body["SyncToken"] = json!("0");
        body["TotalAmt"] = body["Line"][0]["Amount"].clone();
        body["Balance"] = body["TotalAmt"].clone();
        body["MetaData"] = json!({ "LastUpdatedTime": now() });
        rows.push(body.clone());
    }
    Json(json!({ name: body }))
}

async fn changes(State(company): State<Company>, Query(parameters): Parameters) -> Json<Value> {
    let mut books = company.books.lock().unwrap();
    books.followed = true;
    let since = milliseconds(&parameters["changedSince"]);
    let changed = |row: &Value| milliseconds(row["MetaData"]["LastUpdatedTime"].as_str().unwrap());
    let later = |row: &&Value| changed(row) >= since;
    let found: Vec<_> = books.invoices.iter().filter(later).collect();
    let answer = if found.is_empty() { json!({}) } else { json!({ "Invoice": found }) };
    Json(json!({ "CDCResponse": [{ "QueryResponse": [answer] }], "time": now() }))
}
