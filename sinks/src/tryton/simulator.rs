//! For tests: an ERP that speaks trytond's REST interface, in its shapes and with its rules: unique
//! codes and web ids, buttons that work in one state only, 400 with a sentence, 500 in HTML. It goes
//! on with what was asked when the client has left, as the real one does.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use bigdecimal::BigDecimal;
use serde_json::{Value as Json, json};

use super::cutter::is_request;

/// The key that the simulator takes.
pub(super) const KEY: &str = "0123456789abcdef";

type Records = BTreeMap<i64, Json>;

/// A simulated ERP.
#[derive(Clone, Default)]
pub(super) struct Simulator(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    records: HashMap<String, Records>,
    last: i64,
    /// What it answers instead, to the next such request.
    bad: VecDeque<(&'static str, u16, &'static str)>,
    asked: Vec<String>,
    /// A field that it no longer has.
    gone: Option<&'static str>,
}

impl Simulator {
    /// Starts one with a shop, two products and a currency; gives its `HOST:PORT` too.
    pub(super) async fn start() -> (Self, String) {
        let simulator = Self::default();
        for (model, record) in [
            ("company.company", json!({})),
            ("web.shop", json!({ "name": "shop", "company": 1 })),
            ("currency.currency", json!({ "code": "EUR" })),
            ("account.invoice.payment_term", json!({ "name": "Direct" })),
            ("product.product", json!({ "code": "SKU-1", "sale_uom": 1 })),
            ("product.product", json!({ "code": "SKU-2", "sale_uom": 1 })),
        ] {
            simulator.0.lock().unwrap().insert(model, record);
        }
        let model = "/erp/rest/model/{model}";
        let routes = Router::new()
            .route(model, get(search).post(create))
            .route(&format!("{model}/fields_get"), post(fields))
            .route(&format!("{model}/{{id}}/{{button}}"), post(press))
            .layer(axum::middleware::from_fn_with_state(simulator.clone(), gate))
            .with_state(simulator.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        (simulator, host)
    }

    /// Answers the next request of this method and end of the path with this instead.
    pub(super) fn fail_next(&self, request: &'static str, status: u16, body: &'static str) {
        self.0.lock().unwrap().bad.push_back((request, status, body));
    }

    /// Adds a record.
    pub(super) fn insert(&self, model: &str, record: Json) -> i64 {
        self.0.lock().unwrap().insert(model, record)
    }

    /// Changes a field of every record of a model.
    pub(super) fn set(&self, model: &str, field: &str, value: &Json) {
        let mut inside = self.0.lock().unwrap();
        let records = inside.records.entry(model.to_owned()).or_default();
        records.values_mut().for_each(|record| record[field] = value.clone());
    }

    /// Takes a field away from every model, or gives it back.
    pub(super) fn take_away(&self, field: Option<&'static str>) {
        self.0.lock().unwrap().gone = field;
    }

    /// The requests so far: `GET web.shop`.
    pub(super) fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.clone()
    }
}

impl Inside {
    fn insert(&mut self, model: &str, mut record: Json) -> i64 {
        let records = self.records.entry(model.to_owned()).or_default();
        let id = records.len() as i64 + 1;
        record["id"] = json!(id);
        records.insert(id, record);
        id
    }

    fn has(&self, model: &str, pairs: &[(&str, &Json)]) -> bool {
        let records = self.records.get(model).into_iter().flat_map(BTreeMap::values);
        records.into_iter().any(|record| pairs.iter().all(|(name, value)| record[name] == **value))
    }
}

async fn gate(
    State(erp): State<Simulator>,
    request: Request,
    next: axum::middleware::Next,
) -> Response {
    let path = request.uri().path().to_owned();
    let key = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes().to_vec());
    {
        let mut inside = erp.0.lock().unwrap();
        let model = path.trim_start_matches("/erp/rest/model/");
        inside.asked.push(format!("{} {model}", request.method()));
        let asked = format!("{} {path}", request.method());
        if let Some(at) = inside.bad.iter().position(|(one, ..)| is_request(&asked, one)) {
            let (_, status, body) = inside.bad.remove(at).unwrap();
            return (StatusCode::from_u16(status).unwrap(), body).into_response();
        }
    }
    if key.as_deref() != Some(format!("Bearer {KEY}").as_bytes()) {
        return html(
            StatusCode::UNAUTHORIZED,
            "The server could not verify that you are authorized",
        );
    }
    next.run(request).await
}

fn html(status: StatusCode, text: &str) -> Response {
    let text = format!("<!doctype html>\n<html lang=en>\n<title>{status}</title>\n<p>{text}</p>\n");
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response()
}

fn refused(message: &str) -> Response {
    let body = json!({ "status": 400, "message": message, "description": "" });
    (StatusCode::BAD_REQUEST, body.to_string()).into_response()
}

/// A record's own fields; child records are whole.
fn shown(record: &Json) -> Json {
    let mut record = record.clone();
    if let Some(lines) = record.get("lines") {
        let total: BigDecimal = lines.as_array().unwrap().iter().map(amount).sum();
        let total = json!({ "__class__": "Decimal", "decimal": total.with_scale(2).to_string() });
        record["total_amount"] = total.clone();
        record["untaxed_amount"] = total;
    }
    record
}

fn amount(line: &Json) -> BigDecimal {
    let price: BigDecimal = line["unit_price"]["decimal"].as_str().unwrap().parse().unwrap();
    let quantity: BigDecimal = line["quantity"].to_string().parse().unwrap();
    price * quantity
}

fn matches(record: &Json, domain: &Json) -> bool {
    domain.as_array().unwrap().iter().all(|clause| {
        let (field, value) = (&record[clause[0].as_str().unwrap()], &clause[2]);
        match clause[1].as_str().unwrap() {
            "=" => field == value,
            "in" => value.as_array().unwrap().contains(field),
            "where" => {
                field.as_array().is_some_and(|all| all.iter().any(|one| matches(one, value)))
            }
            other => panic!("the simulator knows no operator {other}"),
        }
    })
}

async fn search(
    State(erp): State<Simulator>,
    Path(model): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let parts: HashMap<&str, &str> = query.split('&').filter_map(|p| p.split_once('=')).collect();
    let domain = percent_encoding::percent_decode_str(parts["d"]).decode_utf8().unwrap();
    let domain: Json = serde_json::from_slice(&BASE64_URL_SAFE.decode(&*domain).unwrap()).unwrap();
    let most = parts["s"].parse().unwrap();
    let inside = erp.0.lock().unwrap();
    let records = inside.records.get(&model).into_iter().flat_map(BTreeMap::values);
    let found: Vec<Json> =
        records.filter(|record| matches(record, &domain)).take(most).map(shown).collect();
    axum::Json(found).into_response()
}

/// The fields of a model, as `fields_get` lists them: those that the sink writes or reads.
async fn fields(State(erp): State<Simulator>, Path(model): Path<String>) -> Response {
    let names = match model.as_str() {
        "sale.sale" => {
            "company currency invoice_address lines party payment_term reference sale_date \
             shipment_address state web_id web_shop total_amount untaxed_amount description comment"
        }
        "sale.line" => "product unit quantity unit_price",
        "party.party" => "name code addresses contact_mechanisms",
        "party.address" => "street city postal_code country party",
        _ => return html(StatusCode::NOT_FOUND, "The requested URL was not found on the server."),
    };
    let gone = erp.0.lock().unwrap().gone;
    let there = names.split_whitespace().filter(|name| Some(*name) != gone);
    let fields: serde_json::Map<String, Json> =
        there.map(|name| (name.to_owned(), json!({ "type": "char" }))).collect();
    axum::Json(fields).into_response()
}

async fn create(
    State(erp): State<Simulator>,
    Path(model): Path<String>,
    axum::Json(record): axum::Json<Json>,
) -> Response {
    work(move || {
        let mut inside = erp.0.lock().unwrap();
        if let Some(name) = record.as_object().unwrap().keys().find(|name| name.starts_with("no_"))
        {
            return html(StatusCode::INTERNAL_SERVER_ERROR, &format!("&#39;{name}&#39;"));
        }
        match model.as_str() {
            "party.party" if inside.has(&model, &[("code", &record["code"])]) => {
                return refused("The code on party must be unique.");
            }
            "sale.sale" => {
                let unique = [("web_shop", &record["web_shop"]), ("web_id", &record["web_id"])];
                if inside.has(&model, &unique) {
                    return refused("L'identifiant web de la vente doit être unique par boutique.");
                }
            }
            _ => {}
        }
        let mut record = with_children(&mut inside, record);
        if model == "sale.sale" {
            record["state"] = json!("draft");
        }
        let party = record["party"].as_i64().filter(|_| model == "party.address");
        let id = inside.insert(&model, record.clone());
        record["id"] = json!(id);
        if let Some(party) = party {
            let parties = inside.records.get_mut("party.party").unwrap();
            let addresses = parties.get_mut(&party).unwrap()["addresses"].as_array_mut().unwrap();
            addresses.push(record.clone());
        }
        axum::Json(shown(&record)).into_response()
    })
    .await
}

/// `[["create", [{…}]]]` as the records that it makes.
fn with_children(inside: &mut Inside, mut record: Json) -> Json {
    for value in record.as_object_mut().unwrap().values_mut() {
        if value[0][0] == "create" {
            let mut children = value[0][1].as_array().unwrap().clone();
            for child in &mut children {
                inside.last += 1;
                child["id"] = json!(inside.last);
            }
            *value = Json::Array(children);
        }
    }
    record
}

async fn press(
    State(erp): State<Simulator>,
    Path((model, id, button)): Path<(String, i64, String)>,
) -> Response {
    work(move || {
        let mut inside = erp.0.lock().unwrap();
        let Some(record) = inside.records.get_mut(&model).and_then(|all| all.get_mut(&id)) else {
            return html(StatusCode::NOT_FOUND, "The requested URL was not found on the server.");
        };
        let (before, answered, after) = match button.as_str() {
            "quote" => ("draft", "quotation", "quotation"),
            // What follows a confirmation is done after the answer is made.
            "confirm" => ("quotation", "confirmed", "processing"),
            _ => return html(StatusCode::FORBIDDEN, "You don&#39;t have the permission"),
        };
        if record["state"] != before {
            return refused(&format!("You can not call \"{button}\" on \"{id}\" of \"Sale\"."));
        }
        record["state"] = json!(answered);
        let answer = shown(record);
        record["state"] = json!(after);
        axum::Json(answer).into_response()
    })
    .await
}

/// Works for a while, also when the client has gone.
async fn work(work: impl FnOnce() -> Response + Send + 'static) -> Response {
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(40)).await;
        work()
    })
    .await
    .unwrap()
}
