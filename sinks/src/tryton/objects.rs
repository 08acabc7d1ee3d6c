//! The events of parties and products: `schemas/events/party.avsc`, `product.avsc`.

use bigdecimal::BigDecimal;
use engine::Fault;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::TrytonSink;
use super::erp::Erp;
use super::records::{Kept, Kind, Wanted};
use super::rest;
use super::rpc::Rpc;
use super::sale::Address;
use super::told::{Told, exact};

/// A party as the event tells it.
#[derive(Debug, Deserialize)]
pub(super) struct Party {
    code: String,
    name: String,
    #[serde(default)]
    addresses: Vec<Address>,
    #[serde(default)]
    contacts: Vec<Contact>,
}

/// A way to reach a party.
#[derive(Debug, Deserialize)]
struct Contact {
    #[serde(rename = "type")]
    kind: String,
    value: String,
}

/// A product as the event tells it.
#[derive(Debug, Deserialize)]
pub(super) struct Product {
    code: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    unit: String,
    #[serde(deserialize_with = "exact")]
    list_price: BigDecimal,
    #[serde(default)]
    category: Option<String>,
}

impl Told for Party {
    const WHAT: &'static str = "party";
    const SCHEMA: (&'static str, &'static str) = ("party.avsc", schemas::events::PARTY);

    fn ids(&self) -> Vec<(&'static str, &str)> {
        vec![("code", &self.code)]
    }
}

impl Told for Product {
    const WHAT: &'static str = "product";
    const SCHEMA: (&'static str, &'static str) = ("product.avsc", schemas::events::PRODUCT);

    fn ids(&self) -> Vec<(&'static str, &str)> {
        vec![("code", &self.code)]
    }
}

impl Kept for Party {
    const KIND: Kind = Kind {
        model: "party.party",
        key: "code",
        name: "party",
        children: &[
            "addresses.street",
            "addresses.city",
            "addresses.postal_code",
            "addresses.country",
            "contact_mechanisms.type",
            "contact_mechanisms.value",
        ],
    };

    fn code(&self) -> &str {
        &self.code
    }

    async fn wanted(&self, sink: &TrytonSink, rpc: &Rpc) -> Result<Wanted, Fault> {
        let erp = Erp::Rpc(rpc.clone());
        let mut children = Vec::new();
        for address in &self.addresses {
            let country = sink.references.country(&erp, &address.country).await?;
            children.push(("addresses", super::parties::address_record(address, country)));
        }
        for Contact { kind, value } in &self.contacts {
            children.push(("contact_mechanisms", json!({ "type": kind, "value": value })));
        }
        let of = |field: &str| -> Vec<&Json> {
            children.iter().filter(|(name, _)| *name == field).map(|(_, child)| child).collect()
        };
        let record = json!({
            "code": self.code,
            "name": self.name,
            "addresses": [["create", of("addresses")]],
            "contact_mechanisms": [["create", of("contact_mechanisms")]],
        });
        let fields = vec![("name".to_owned(), json!(self.name))];
        Ok(Wanted { record, fields, children })
    }
}

impl Kept for Product {
    // A product's name and price are its template's.
    const KIND: Kind =
        Kind { model: "product.template", key: "products.code", name: "product", children: &[] };

    fn code(&self) -> &str {
        &self.code
    }

    /// What a product is and how it is counted cannot be changed once it is used.
    async fn wanted(&self, sink: &TrytonSink, rpc: &Rpc) -> Result<Wanted, Fault> {
        let erp = Erp::Rpc(rpc.clone());
        let unit = sink.references.unit(&erp, &self.unit).await?;
        let category = match &self.category {
            Some(name) => Some(sink.references.accounting_category(&erp, name).await?),
            None => None,
        };
        let (name, price) = (json!(self.name), rest::decimal(&self.list_price));
        let record = json!({
            "name": name,
            "type": self.kind,
            "default_uom": unit,
            "sale_uom": unit,
            "salable": true,
            "list_price": price,
            "account_category": category,
            "products": [["create", [{ "suffix_code": self.code }]]],
        });
        let fields = vec![("name".to_owned(), name), ("list_price".to_owned(), price)];
        Ok(Wanted { record, fields, children: Vec::new() })
    }
}
