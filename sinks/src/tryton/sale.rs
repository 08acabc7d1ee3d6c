//! The event that the sink takes: `schemas/events/sale.avsc`.

use bigdecimal::BigDecimal;
use chrono::NaiveDate;
use engine::Fault;
use serde::Deserialize;
use serde_json::{Number, Value as Json, json};

use super::rest::{self, Id};
use super::told::{Told, exact};

/// A sale as the event tells it.
#[derive(Debug, Deserialize)]
pub(super) struct Sale {
    pub(super) web_id: String,
    pub(super) date: NaiveDate,
    pub(super) currency: String,
    pub(super) party: Party,
    pub(super) lines: Vec<Line>,
    #[serde(deserialize_with = "exact")]
    pub(super) total: BigDecimal,
    #[serde(default)]
    pub(super) reference: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Party {
    pub(super) code: String,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) address: Address,
}

#[derive(Debug, Deserialize)]
pub(super) struct Address {
    pub(super) street: String,
    pub(super) city: String,
    pub(super) postal_code: String,
    pub(super) country: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Line {
    /// The product's code.
    pub(super) product: String,
    #[serde(deserialize_with = "exact")]
    quantity: BigDecimal,
    #[serde(deserialize_with = "exact")]
    unit_price: BigDecimal,
}

/// A product of the ERP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Product {
    pub(super) id: Id,
    /// The unit it is sold in.
    pub(super) unit: Id,
}

impl Told for Sale {
    const WHAT: &'static str = "sale";
    const SCHEMA: (&'static str, &'static str) = ("sale.avsc", schemas::events::SALE);

    fn ids(&self) -> Vec<(&'static str, &str)> {
        vec![("web_id", &self.web_id), ("party.code", &self.party.code)]
    }
}

impl Line {
    /// The line as the ERP takes it. Its quantities are floating point numbers, made there from this
    /// text; its prices are decimals.
    pub(super) fn record(&self, product: Product) -> Result<Json, Fault> {
        let quantity: Number =
            self.quantity.normalized().to_plain_string().parse().map_err(|_| {
                let message = format!("The quantity {} is not a JSON number.", self.quantity);
                Fault::internal("tryton_quantity", message)
            })?;
        Ok(json!({
            "product": product.id,
            "unit": product.unit,
            "quantity": quantity,
            "unit_price": rest::decimal(&self.unit_price),
        }))
    }
}

#[cfg(test)]
mod tests {
    use engine::connector::Setup;
    use schemas::Schema;

    use super::super::told::check_input;
    use super::*;

    fn read(json: &str) -> Result<Sale, Fault> {
        Sale::read(&schemas::json::read_plain(json.as_bytes()).unwrap())
    }

    fn sale(quantity: &str, web_id: &str) -> String {
        format!(
            r#"{{"web_id":"{web_id}","date":"2026-01-05","currency":"EUR","party":{{"code":"C","name":"N",
            "email":"e","address":{{"street":"s","city":"c","postal_code":"p","country":"FR"}}}},
            "lines":[{{"product":"P","quantity":{quantity},"unit_price":"0.10"}}],"total":"0.30"}}"#
        )
    }

    #[test]
    fn decimals_reach_the_erp_by_their_text() {
        let read = read(&sale(r#""3.0000""#, "O-1")).unwrap();
        let line = read.lines[0].record(Product { id: 1, unit: 2 }).unwrap();
        assert_eq!(
            line.to_string(),
            r#"{"product":1,"unit":2,"quantity":3,"unit_price":{"__class__":"Decimal","decimal":"0.1"}}"#
        );
        let half = super::tests::read(&sale("2.5", "O-1")).unwrap();
        let line = half.lines[0].record(Product { id: 1, unit: 2 }).unwrap();
        assert_eq!(line["quantity"].to_string(), "2.5");
    }

    #[test]
    fn a_topic_of_something_else_is_refused_before_its_first_event() {
        let of = |text: &str| {
            let schema = Schema::parse(text).unwrap();
            let (input, input_schema) = (schemas::kind(&schema), Some(schema));
            check_input::<Sale>(&Setup { input, input_schema, ..crate::tests::setup() })
        };
        of(schemas::events::SALE).unwrap();
        let note = r#""fields": [{ "name": "note", "type": "string" },"#;
        of(&schemas::events::SALE.replacen(r#""fields": ["#, note, 1)).unwrap();
        let fault = of(schemas::events::ORDER).unwrap_err();
        assert_eq!(fault.domain, engine::Domain::Config);
        assert!(fault.message.contains("`.web_id` should be string"), "{fault}");
    }

    #[test]
    fn what_is_not_a_sale_is_named() {
        for (json, cause) in [
            ("{}", "missing field"),
            (sale("\"1e9999999\"", "O-1").as_str(), "1e9999999"),
            (sale("\"many\"", "O-1").as_str(), "many"),
            (sale("1", "").as_str(), "`web_id` is empty"),
            (sale("1", " O-1").as_str(), "`web_id`"),
        ] {
            let fault = read(json).unwrap_err();
            assert_eq!(fault.domain, engine::Domain::Data);
            assert!(fault.message.contains(cause), "{fault}");
        }
    }
}
