//! What a Tryton has, asked by its REST interface, as an accountant would look.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::{Value, json};

/// A running Tryton.
pub struct Erp {
    /// Where it is, with the database's name.
    pub url: String,
    /// The key of its REST interface.
    pub key: String,
    client: reqwest::Client,
}

/// A sale, with its party and its lines.
#[derive(Debug)]
pub struct Sale {
    /// The ERP's own number.
    pub number: String,
    /// The shop's number.
    pub order: String,
    /// How far it is.
    pub state: String,
    /// The sum with taxes, in cents.
    pub total: u64,
    /// The code, name and mail address of the party.
    pub party: [String; 3],
    /// Street, town and postal code of the party's addresses.
    pub addresses: Vec<[String; 3]>,
    /// Product, quantity and the price of one in cents.
    pub lines: Vec<(String, f64, u64)>,
}

/// What is read of a sale.
const FIELDS: [&str; 13] = [
    "number",
    "web_id",
    "state",
    "total_amount",
    "party.code",
    "party.name",
    "party.email",
    "party.addresses.street",
    "party.addresses.city",
    "party.addresses.postal_code",
    "lines.product.code",
    "lines.quantity",
    "lines.unit_price",
];

impl Erp {
    /// The one that `tests/erp/erp start DIRECTORY` started.
    pub fn in_directory(directory: &Path) -> Self {
        let read = |name: &str| {
            std::fs::read_to_string(directory.join(name)).expect("the ERP's folder has it")
        };
        let configuration = read("trytond.conf");
        let listen = configuration.lines().find_map(|line| line.strip_prefix("listen = "));
        Self {
            url: format!("http://{}/erp", listen.expect("trytond.conf says where it listens")),
            key: read("key").trim().to_owned(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    /// All sales of these orders, in the order of their ids.
    pub async fn sales(&self, orders: &[&str]) -> Vec<Sale> {
        let domain = URL_SAFE.encode(json!([["web_id", "in", orders]]).to_string());
        let order = URL_SAFE.encode(r#"[["id","ASC"]]"#);
        let query =
            FIELDS.iter().map(|field| ("f", *field)).chain([("d", &*domain), ("o", &*order)]);
        let call = self
            .client
            .get(format!("{}/rest/model/sale.sale", self.url))
            .bearer_auth(&self.key)
            .query(&query.collect::<Vec<_>>());
        let answer = call.send().await.expect("the ERP answers");
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{status} {text}");
        let found: Vec<Value> = serde_json::from_str(&text).unwrap();
        found.iter().map(Sale::read).collect()
    }
}

impl Sale {
    fn read(sale: &Value) -> Self {
        let party = &sale["party"];
        let line = |line: &Value| {
            let quantity = line["quantity"].as_f64().expect("a line has a quantity");
            (text(&line["product"]["code"]), quantity, cents(&line["unit_price"]))
        };
        let address =
            |address: &Value| ["street", "city", "postal_code"].map(|part| text(&address[part]));
        let all = |list: &Value| list.as_array().cloned().unwrap_or_default();
        Self {
            number: text(&sale["number"]),
            order: text(&sale["web_id"]),
            state: text(&sale["state"]),
            total: cents(&sale["total_amount"]),
            party: ["code", "name", "email"].map(|part| text(&party[part])),
            addresses: all(&party["addresses"]).iter().map(address).collect(),
            lines: all(&sale["lines"]).iter().map(line).collect(),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The ERP writes decimals as texts, without the zeros at their ends. No float is in between.
fn cents(amount: &Value) -> u64 {
    let text = text(&amount["decimal"]);
    let (units, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let fraction = fraction.trim_end_matches('0');
    assert!(fraction.len() <= 2, "{text} has more than cents");
    format!("{units}{fraction:0<2}").parse().expect("an amount of the ERP is a number")
}
