//! For tests: an ERP that speaks trytond's two interfaces, in their shapes and with its rules: unique
//! codes and web ids, buttons that work in one state only, all of a call or nothing. It goes on with
//! what was asked when the client has left, as the real one does.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use bigdecimal::BigDecimal;
use serde_json::{Value as Json, json};

/// The key that the simulator takes.
pub(super) const KEY: &str = "0123456789abcdef";
/// The password of its user `admin`.
pub(super) const PASSWORD: &str = "open-sesame";
/// The number of its user `admin`.
pub(super) const USER: i64 = 1;

type Records = BTreeMap<i64, Json>;

/// A simulated ERP.
#[derive(Clone, Default)]
pub(super) struct Simulator(pub(super) Arc<Mutex<Inside>>);

#[derive(Default)]
pub(super) struct Inside {
    records: HashMap<String, Records>,
    last: i64,
    /// A field that it no longer has.
    lacking: Option<&'static str>,
    /// What it answers instead, to the next such request.
    pub(super) bad: VecDeque<(&'static str, u16, &'static str)>,
    pub(super) asked: Vec<String>,
    /// How many sessions were opened, and how many of them have ended.
    pub(super) sessions: (u32, u32),
}

/// What is thrown where Tryton throws.
pub(super) enum Thrown {
    User(String),
    Key(String),
    Stale,
    Missing,
    Forbidden,
}

pub(super) type Outcome = Result<Json, Thrown>;

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
        let routes = super::simulated_http::routes(&simulator);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        (simulator, host)
    }

    /// Answers the next request of this method and end of the path with this instead; by JSON-RPC the
    /// next call of this method: `RPC sale.sale.create`.
    pub(super) fn fail_next(&self, request: &'static str, status: u16, body: &'static str) {
        self.0.lock().unwrap().bad.push_back((request, status, body));
    }

    /// Adds a record.
    pub(super) fn insert(&self, model: &str, record: Json) -> i64 {
        self.0.lock().unwrap().insert(model, record)
    }

    /// Changes a field of every record of a model, as another user.
    pub(super) fn set(&self, model: &str, field: &str, value: &Json) {
        let mut inside = self.0.lock().unwrap();
        inside.last += 1;
        let last = inside.last;
        let records = inside.records.entry(model.to_owned()).or_default();
        for record in records.values_mut() {
            record[field] = value.clone();
            record["write_uid"] = json!({ "id": USER + 1, "rec_name": "Ann" });
            record["_timestamp"] = json!(last.to_string());
        }
    }

    /// Takes a field away from every model, or gives back what it took.
    pub(super) fn lack(&self, field: Option<&'static str>) {
        self.0.lock().unwrap().lacking = field;
    }

    /// Ends all sessions.
    pub(super) fn end_sessions(&self) {
        let mut inside = self.0.lock().unwrap();
        inside.sessions.1 = inside.sessions.0;
    }

    /// How many sessions were opened.
    pub(super) fn sessions(&self) -> u32 {
        self.0.lock().unwrap().sessions.0
    }

    /// The requests so far: `GET web.shop`, `RPC web.shop.search_read`.
    pub(super) fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.clone()
    }
}

impl Inside {
    fn insert(&mut self, model: &str, mut record: Json) -> i64 {
        self.last += 1;
        let records = self.records.entry(model.to_owned()).or_default();
        let id = records.len() as i64 + 1;
        record["id"] = json!(id);
        record["create_uid"] = json!({ "id": USER, "rec_name": "Administrator" });
        record["write_uid"] = json!(null);
        record["_timestamp"] = json!(self.last.to_string());
        records.insert(id, record);
        id
    }

    fn has(&self, model: &str, pairs: &[(&str, &Json)]) -> bool {
        let records = self.records.get(model).into_iter().flat_map(BTreeMap::values);
        records.into_iter().any(|record| pairs.iter().all(|(name, value)| record[name] == **value))
    }

    /// The answer that was ordered to this request, if any.
    pub(super) fn ordered(
        &mut self,
        is: impl Fn(&str) -> bool,
    ) -> Option<(&'static str, u16, &'static str)> {
        let at = self.bad.iter().position(|(one, ..)| is(one))?;
        self.bad.remove(at)
    }

    pub(super) fn search(&self, model: &str, domain: &Json, most: usize) -> Outcome {
        let records = self.records.get(model).into_iter().flat_map(BTreeMap::values);
        let found = records.filter(|record| matches(record, domain)).take(most).map(shown);
        Ok(Json::Array(found.collect()))
    }

    pub(super) fn read(&self, model: &str, ids: &Json) -> Outcome {
        self.search(model, &json!([["id", "in", ids]]), usize::MAX)
    }

    /// The fields of a model, as `fields_get` lists them: those that the sink writes or reads.
    pub(super) fn fields_of(&self, model: &str) -> Outcome {
        let names = match model {
            "sale.sale" => {
                "company currency invoice_address lines party payment_term reference sale_date \
                 shipment_address state web_id web_shop total_amount untaxed_amount description comment"
            }
            "sale.line" => "product unit quantity unit_price",
            "party.party" => "name code addresses contact_mechanisms",
            "party.address" => "street city postal_code country party",
            "product.template" => {
                "name type default_uom sale_uom salable list_price account_category products"
            }
            "account.invoice" => {
                "type company currency party account payment_term invoice_address journal reference \
                 invoice_date lines description comment"
            }
            _ => return Err(Thrown::Missing),
        };
        let there = names.split_whitespace().filter(|name| Some(*name) != self.lacking);
        Ok(there.map(|name| (name.to_owned(), json!({ "type": "char" }))).collect())
    }

    /// Creates all of these, or none.
    pub(super) fn create(&mut self, model: &str, all: &[Json]) -> Result<Vec<Json>, Thrown> {
        let before = self.records.get(model).cloned();
        let mut created = Vec::new();
        for record in all {
            match self.create_one(model, record.clone()) {
                Ok(record) => created.push(record),
                Err(thrown) => {
                    self.records.insert(model.to_owned(), before.unwrap_or_default());
                    return Err(thrown);
                }
            }
        }
        Ok(created)
    }

    fn create_one(&mut self, model: &str, record: Json) -> Outcome {
        if let Some(name) = record.as_object().unwrap().keys().find(|name| name.starts_with("no_"))
        {
            return Err(Thrown::Key(name.clone()));
        }
        match model {
            "party.party" if self.has(model, &[("code", &record["code"])]) => {
                return Err(Thrown::User("The code on party must be unique.".to_owned()));
            }
            "sale.sale" => {
                let unique = [("web_shop", &record["web_shop"]), ("web_id", &record["web_id"])];
                if self.has(model, &unique) {
                    let said = "L'identifiant web de la vente doit être unique par boutique.";
                    return Err(Thrown::User(said.to_owned()));
                }
                if record["reference"] == "refuse me" {
                    return Err(Thrown::User("The reference is not polite.".to_owned()));
                }
                if record["reference"] == "break" {
                    return Err(Thrown::Key("a key of its own".to_owned()));
                }
            }
            _ => {}
        }
        let mut record = with_children(self, record);
        if model == "sale.sale" {
            record["state"] = json!("draft");
        }
        let party = record["party"].as_i64().filter(|_| model == "party.address");
        let id = self.insert(model, record.clone());
        let record = self.records[model][&id].clone();
        if let Some(party) = party {
            let parties = self.records.get_mut("party.party").unwrap();
            let addresses = parties.get_mut(&party).unwrap()["addresses"].as_array_mut().unwrap();
            addresses.push(record.clone());
        }
        Ok(shown(&record))
    }

    /// Whether a record is of this version, if any is given.
    pub(super) fn is_of(&self, model: &str, id: i64, version: &Json) -> bool {
        version.is_null() || self.records[model][&id]["_timestamp"] == *version
    }

    /// Changes a record.
    pub(super) fn write(&mut self, model: &str, id: i64, values: &Json) -> Outcome {
        self.last += 1;
        let last = self.last;
        let record = self.records.get_mut(model).and_then(|all| all.get_mut(&id));
        let record = record.ok_or(Thrown::Missing)?;
        for (name, value) in values.as_object().unwrap() {
            if value[0][0] == "create" {
                let all = record[name].as_array_mut().unwrap();
                for (number, child) in value[0][1].as_array().unwrap().iter().enumerate() {
                    all.push(child.clone());
                    all.last_mut().unwrap()["id"] = json!(1_000 * last + number as i64);
                }
            } else {
                record[name] = value.clone();
            }
        }
        record["_timestamp"] = json!(last.to_string());
        record["write_uid"] = json!({ "id": USER, "rec_name": "Administrator" });
        Ok(Json::Null)
    }

    /// Presses a button of all of these, or of none.
    pub(super) fn press(&mut self, model: &str, ids: &[i64], button: &str) -> Outcome {
        let (before, answered, after) = match button {
            "quote" => ("draft", "quotation", "quotation"),
            // What follows a confirmation is done after the answer is made.
            "confirm" => ("quotation", "confirmed", "processing"),
            _ => return Err(Thrown::Forbidden),
        };
        let records = self.records.get_mut(model).ok_or(Thrown::Missing)?;
        for id in ids {
            if records.get(id).ok_or(Thrown::Missing)?["state"] != before {
                let said = format!("You can not call \"{button}\" on \"{id}\" of \"Sale\".");
                return Err(Thrown::User(said));
            }
        }
        let mut answer = Json::Null;
        for id in ids {
            let Some(record) = records.get_mut(id) else { continue };
            record["state"] = json!(answered);
            answer = shown(record);
            record["state"] = json!(after);
        }
        Ok(answer)
    }
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
