//! `tryton`: books each event as a sale in a Tryton ERP, once.
//!
//! The ERP's web shop module keeps one sale for each shop and web id, so a repeat cannot make a
//! second one. A sale is created whole, its total is held against the event's while it is a draft,
//! and then it is quoted and confirmed. Each step can be where an earlier try ended: after one whose
//! outcome is unknown the sale is looked up first, and goes on from the state that it is in.

mod contract;
mod parties;
mod probe;
mod references;
mod rest;
mod sale;

use std::collections::BTreeMap;

use async_trait::async_trait;
use bigdecimal::BigDecimal;
use engine::connector::{Findings, Probe, Setup, SinkConnector};
use engine::event::REPLAY;
use engine::expression::{Expression, Program};
use engine::options::Secret;
use engine::sink::{Intent, Once};
use engine::{Delivery, Event, Fault, Sink};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use exchange::{Exchange, Target};
use parties::Buyer;
use references::{References, Shop, unreadable};
use rest::{Failure, Id, Rest};
use sale::Sale;

/// The `tryton` connector.
pub struct Tryton;

/// A database of a Tryton server, version 8.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Connection {
    /// Where it is; the `url` ends in the database's name: `https://erp.example.com/erp`.
    #[serde(flatten)]
    pub target: Target,
    /// The key of a user application of the kind REST. The user needs the rights to read and create
    /// parties and sales, and to read products, shops and currencies.
    pub key: Secret,
}

/// What a route books.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Options {
    /// What each event becomes.
    #[serde(default)]
    pub object: Object,
    /// The ERP's unique field that makes a repeat harmless.
    #[serde(default)]
    pub id: UniqueId,
    /// The name of the web shop that the sales belong to, and with it their company. Without it, the
    /// only one that the ERP has.
    #[serde(default)]
    pub shop: Option<String>,
    /// The name of the payment term. Without it, the party's own, if it has one.
    #[serde(default)]
    pub payment_term: Option<String>,
    /// How a party is recognised. One that is not found is created with the event's code.
    #[serde(default)]
    pub match_party: MatchParty,
    /// Which amount of the ERP's must equal the event's `total`, to the last digit, before the sale is
    /// quoted.
    #[serde(default)]
    pub check_total: CheckTotal,
    /// How far the sale is taken.
    #[serde(default)]
    pub state: Goal,
    /// Further fields of the sale: `comment: .note`. An object or an array is given as the ERP's JSON.
    #[serde(default)]
    pub fields: BTreeMap<String, Expression>,
    /// What a deletion (a tombstone: a key without a value) does.
    #[serde(default)]
    pub on_delete: OnDelete,
}

/// What an event becomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Object {
    /// A sale, from the fields of the built-in schema `sale.avsc`.
    #[default]
    #[serde(rename = "sale.sale")]
    Sale,
}

/// What makes a sale unique.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UniqueId {
    /// The shop and the event's `web_id` (the ERP's module `web_shop`).
    #[default]
    WebId,
}

/// How a party is recognised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MatchParty {
    /// By its code.
    #[default]
    Code,
    /// By its mail address; several parties with the same one are a fault of the event.
    Email,
}

/// Which amount must equal the event's total.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckTotal {
    /// The amount with taxes.
    #[default]
    TotalAmount,
    /// The amount without taxes.
    UntaxedAmount,
    /// None.
    No,
}

/// How far a sale is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// It is created.
    Draft,
    /// It is quoted, and has a number.
    Quotation,
    /// It is confirmed; the ERP then processes it.
    #[default]
    Confirmed,
}

/// What a deletion does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDelete {
    /// It goes to the dead letters.
    #[default]
    DeadLetter,
    /// Nothing.
    Ignore,
}

/// The fields of the sale that the sink writes itself.
const OWN: [&str; 12] = [
    "company",
    "currency",
    "invoice_address",
    "lines",
    "party",
    "payment_term",
    "reference",
    "sale_date",
    "shipment_address",
    "state",
    "web_id",
    "web_shop",
];

const SALE: &str = "sale.sale";

/// What is read of a sale.
const FIELDS: [&str; 3] = ["state", "total_amount", "untaxed_amount"];

/// A sale goes through two steps; somebody in the ERP may take it back meanwhile, not for ever.
const MOST_STEPS: usize = 6;

impl SinkConnector for Tryton {
    const NAME: &'static str = "tryton";
    const SUMMARY: &'static str = "Books each event as a sale in a Tryton ERP, once.";
    const EXAMPLE: &'static str =
        include_str!("../../../docs/examples/orders-to-erp/pipeline.yaml");
    type Connection = Connection;
    type Options = Options;

    const PROBE: Option<Probe<Connection>> = Some(probe::probe);

    fn once(_: &Options) -> Once {
        Once::Forever
    }

    fn check(connection: &Connection, options: &Options, findings: &mut Findings) {
        connection.target.check(findings);
        if rest::authorization(connection.key.reveal()).is_none() {
            let cause = "The key holds a character that a header cannot carry.";
            findings.connection("/key", "key_invalid", cause, "Copy it from the user application.");
        }
        for name in options.fields.keys().filter(|name| OWN.contains(&name.as_str())) {
            let cause = format!("The field `{name}` is written by the sink itself.");
            findings.route(&format!("/fields/{name}"), "field_taken", cause, "Leave it out.");
        }
    }

    fn build(
        connection: Connection,
        options: Options,
        setup: &Setup,
    ) -> Result<Box<dyn Sink>, Fault> {
        TrytonSink::new(&connection, options, setup).map(|sink| Box::new(sink) as Box<dyn Sink>)
    }
}

struct TrytonSink {
    rest: Rest,
    references: References,
    options: Options,
    fields: Vec<(String, Program)>,
}

/// A sale in the ERP.
#[derive(Debug)]
struct Booked {
    id: Id,
    state: String,
    total: Option<BigDecimal>,
    /// Whether it was there before this delivery.
    already_there: bool,
}

impl TrytonSink {
    fn new(connection: &Connection, options: Options, setup: &Setup) -> Result<Self, Fault> {
        sale::check_input(setup)?;
        let mut fields = Vec::new();
        for (name, expression) in &options.fields {
            let program = expression.compile(setup).map_err(|found| {
                let cause = found.first().map(|first| first.cause.as_str()).unwrap_or_default();
                let message = format!("The field `{name}` cannot be compiled: {cause}");
                Fault::config("expression", message)
            })?;
            fields.push((name.clone(), program));
        }
        let authorization = rest::authorization(connection.key.reveal()).ok_or_else(|| {
            Fault::config("key", "The ERP's key holds a character that a header cannot carry.")
        })?;
        let key = Secret::new(connection.key.reveal().trim());
        let exchange = Exchange::new(&connection.target, &[key], setup)?;
        Ok(Self {
            rest: Rest::new(exchange, authorization),
            references: References::new(options.shop.clone()),
            options,
            fields,
        })
    }
}

#[async_trait]
impl Sink for TrytonSink {
    async fn contract(&self) -> Result<(), Fault> {
        contract::hold(self).await
    }

    async fn connect(&self) -> Result<String, Fault> {
        contract::hold(self).await?;
        Ok(format!("{} takes our key; it has what a sale is written with", self.rest.origin()))
    }

    fn intent(&self, event: &Event) -> Result<Option<Intent>, Fault> {
        if event.payload.is_none() && event.value.is_none() {
            return self.delete().map(|_| None);
        }
        let value = sale::value(event)?;
        let Sale { web_id, .. } = Sale::read(value)?;
        let mut payload = engine::sink::payload(value)?;
        for (name, program) in &self.fields {
            payload[name] = engine::sink::payload(&program.run(event, value)?)?;
        }
        Ok(Some(Intent { key: Some(web_id), operation: "create".to_owned(), payload }))
    }

    async fn deliver(&self, batch: &[Event], attempt: u32) -> Vec<Result<Delivery, Fault>> {
        let mut outcomes = Vec::with_capacity(batch.len());
        for event in batch {
            outcomes.push(self.deliver_one(event, attempt).await);
        }
        outcomes
    }
}

impl TrytonSink {
    async fn deliver_one(&self, event: &Event, attempt: u32) -> Result<Delivery, Fault> {
        if event.payload.is_none() && event.value.is_none() {
            return self.delete();
        }
        let sale = Sale::read(sale::value(event)?)?;
        let shop = self.references.shop(&self.rest).await?;
        // The first try is nearly always the first: it asks only when the ERP refuses it.
        let repeat = attempt > 1 || event.headers.get(REPLAY).is_some();
        let known = if repeat { self.find(shop, &sale).await? } else { None };
        let booked = match known {
            Some(known) => known,
            None => self.create(event, &sale, shop).await?,
        };
        self.advance(&sale, shop, booked).await
    }

    fn delete(&self) -> Result<Delivery, Fault> {
        match self.options.on_delete {
            OnDelete::Ignore => {
                Ok(Delivery { answer: "a deletion, ignored".to_owned(), already_there: false })
            }
            OnDelete::DeadLetter => {
                let message =
                    "The event is a deletion (a key without a value): a sale is not deleted.";
                Err(Fault::data("tombstone", message))
            }
        }
    }

    /// The sale of this shop and web id, if the ERP has it.
    async fn find(&self, shop: Shop, sale: &Sale) -> Result<Option<Booked>, Fault> {
        let domain = json!([["web_shop", "=", shop.id], ["web_id", "=", sale.web_id]]);
        let found = self.rest.search(SALE, &domain, &FIELDS, 1).await?;
        found.first().map(|record| self.booked(record, true)).transpose()
    }

    fn booked(&self, record: &Json, already_there: bool) -> Result<Booked, Fault> {
        let unreadable = || unreadable("the sale");
        let total = match self.options.check_total {
            CheckTotal::No => None,
            CheckTotal::TotalAmount => Some(&record["total_amount"]),
            CheckTotal::UntaxedAmount => Some(&record["untaxed_amount"]),
        };
        let read = |total| rest::read_decimal(total).ok_or_else(unreadable);
        Ok(Booked {
            id: rest::id(record).ok_or_else(unreadable)?,
            state: record["state"].as_str().ok_or_else(unreadable)?.to_owned(),
            total: total.map(read).transpose()?,
            already_there,
        })
    }

    /// Creates the sale, or finds it when the ERP says that it cannot be created: its answer to a
    /// duplicate is a sentence in the user's language, so only a look-up tells.
    async fn create(&self, event: &Event, sale: &Sale, shop: Shop) -> Result<Booked, Fault> {
        let record = self.record(event, sale, shop).await?;
        match self.rest.create(SALE, &record, &FIELDS).await {
            Ok(created) => self.booked(&created, false),
            Err(Failure::Refused { said }) => match self.find(shop, sale).await? {
                Some(known) => Ok(known),
                None => {
                    // Perhaps for what we remember of it, which has changed.
                    self.references.forget();
                    Err(Failure::Refused { said }.into())
                }
            },
            Err(failure) => Err(failure.into()),
        }
    }

    async fn record(&self, event: &Event, sale: &Sale, shop: Shop) -> Result<Json, Fault> {
        let Self { references, options, .. } = self;
        let rest = &self.rest.of_company(shop.company);
        let currency = references.currency(rest, &sale.currency).await?;
        let products = references.products(rest, &sale.lines).await?;
        let term = match &options.payment_term {
            Some(name) => Some(references.payment_term(rest, name).await?),
            None => None,
        };
        let buyer =
            parties::find_or_create(rest, references, options.match_party, &sale.party).await?;
        let Buyer { id: party, address, payment_term } = buyer;
        let lines = sale.lines.iter().zip(products);
        let lines: Vec<Json> =
            lines.map(|(line, product)| line.record(product)).collect::<Result<_, _>>()?;
        let mut record = json!({
            "company": shop.company,
            "web_shop": shop.id,
            "web_id": sale.web_id,
            "currency": currency,
            "party": party,
            "invoice_address": address,
            "shipment_address": address,
            "payment_term": term.or(payment_term),
            "reference": sale.reference.as_ref().unwrap_or(&sale.web_id),
            "sale_date": rest::date(sale.date),
            "lines": [["create", lines]],
        });
        for (name, program) in &self.fields {
            let text = schemas::json::write(&program.run(event, sale::value(event)?)?);
            record[name] = serde_json::from_str(&text).map_err(|error| {
                Fault::internal("json", format!("Our own JSON cannot be read back: {error}."))
            })?;
        }
        Ok(record)
    }

    /// Takes the sale from the state that it is in to the one that is wanted.
    async fn advance(&self, sale: &Sale, shop: Shop, mut at: Booked) -> Result<Delivery, Fault> {
        for _ in 0..MOST_STEPS {
            // A sale that somebody cancelled in the ERP was delivered before.
            if at.state != "cancelled" {
                self.check_total(sale, &at)?;
            }
            let button = match (at.state.as_str(), self.options.state) {
                ("draft", Goal::Quotation | Goal::Confirmed) => "quote",
                ("quotation", Goal::Confirmed) => "confirm",
                _ => {
                    let answer = format!("sale {} {}", at.id, at.state);
                    return Ok(Delivery { answer, already_there: at.already_there });
                }
            };
            at = match self.rest.press(SALE, at.id, button, &FIELDS).await {
                Ok(record) => self.booked(&record, at.already_there)?,
                // Another try, or a person, may have pressed it meanwhile.
                Err(Failure::Refused { said }) => match self.find(shop, sale).await? {
                    Some(now) if now.state != at.state => now,
                    _ => return Err(Failure::Refused { said }.into()),
                },
                Err(failure) => return Err(failure.into()),
            };
        }
        let message = format!(
            "The sale {} ({}) keeps going back to `{}` in the ERP; it is tried again.",
            at.id, sale.web_id, at.state
        );
        Err(Fault::remote("tryton_state", message))
    }

    /// Money that differs is not booked: the sale stays as it is for a person to look at.
    fn check_total(&self, sale: &Sale, at: &Booked) -> Result<(), Fault> {
        match &at.total {
            Some(total) if *total != sale.total => {
                let message = format!(
                    "The sale {} ({}) comes to {total} {currency} in the ERP and to {} {currency} \
                     in the event; it is left there as {}. Mend its prices or taxes in the ERP, or \
                     the sink's `check_total`, then retry.",
                    at.id,
                    sale.web_id,
                    sale.total,
                    at.state,
                    currency = sale.currency
                );
                Err(Fault::data("tryton_total", message))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod cutter;
#[cfg(test)]
mod simulator;
#[cfg(test)]
mod tests;
