//! `tryton`: writes events into a Tryton ERP, once.
//!
//! A sale is unique there by its shop and web id (module `web_shop`), so a repeat cannot make a second
//! one. It is created whole, its total is held against the event's while it is a draft, and then it is
//! quoted and confirmed. Each step can be where an earlier try ended: after one whose outcome is
//! unknown the sale is looked up first, and goes on from the state that it is in.
//!
//! With a key the ERP's REST interface is spoken, a record at a time; with a user and a password its
//! JSON-RPC, where many records go in one transaction: all of them or none. A batch that is refused is
//! halved until the bad record stands alone.

mod booked;
mod contract;
mod coverage;
mod erp;
mod failure;
mod invoices;
mod objects;
mod options;
mod parties;
mod payments;
mod probe;
mod records;
mod references;
mod rest;
mod rpc;
mod sale;
mod sales;
mod session;
mod task;
mod told;

use async_trait::async_trait;
use engine::connector::{Findings, Probe, Setup, SinkConnector};
use engine::expression::Program;
use engine::options::Secret;
use engine::sink::{Intent, Once};
use engine::{Delivery, Event, Fault, Sink};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use erp::Erp;
use exchange::Target;
use invoices::Invoice;
use objects::{Party, Product};
use options::{Object, OnDelete, Options};
use payments::Payment;
use references::References;
use rpc::Rpc;
use sale::Sale;
use told::Told;

/// The `tryton` connector.
pub struct Tryton;

/// A database of a Tryton server, version 8.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Connection {
    /// Where it is; the `url` ends in the database's name: `https://erp.example.com/erp`.
    #[serde(flatten)]
    pub target: Target,
    /// The key of a user application of the kind REST: sales are written one at a time. The user needs
    /// the rights to read and create parties and sales, and to read products, shops and currencies.
    #[serde(default)]
    pub key: Option<Secret>,
    /// Instead of a key: the login of a user, best one that nobody else uses. JSON-RPC is spoken, which
    /// takes many records in one transaction.
    #[serde(default)]
    pub user: Option<String>,
    /// The user's password.
    #[serde(default)]
    pub password: Option<Secret>,
}

/// Why a key does not do: a stale version is refused by JSON-RPC only, and so are many records at once.
const ONLY_BY_RPC: &str = "With a key only sales are written: other objects need JSON-RPC.";

impl SinkConnector for Tryton {
    const NAME: &'static str = "tryton";
    const SUMMARY: &'static str =
        "Writes sales, invoices, payments, parties and products into a Tryton ERP, each once.";
    const EXAMPLE: &'static str =
        include_str!("../../../docs/examples/orders-to-erp/pipeline.yaml");
    type Connection = Connection;
    type Options = Options;

    const PROBE: Option<Probe<Connection>> = Some(probe::probe);

    fn once(_: &Options) -> Once {
        Once::Forever
    }

    fn overwrites(options: &Options) -> bool {
        matches!(options.object, Object::Party | Object::Product)
    }

    fn coverage() -> Option<Json> {
        Some(coverage::told())
    }

    fn check(connection: &Connection, options: &Options, findings: &mut Findings) {
        connection.check(findings);
        options.check(findings);
        if options.object != Object::Sale && connection.key.is_some() {
            let advice = "Write a `user` and a `password` in the connection.";
            findings.route("/object", "credentials", ONLY_BY_RPC, advice);
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

impl Connection {
    fn check(&self, findings: &mut Findings) {
        self.target.check(findings);
        let advice = "Write the `key` of a user application, or a `user` and a `password`.";
        match (&self.key, &self.user, &self.password) {
            (Some(key), None, None) => {
                if rest::authorization(key.reveal()).is_none() {
                    let cause = "The key holds a character that a header cannot carry.";
                    let advice = "Copy it from the user application.";
                    findings.connection("/key", "key_invalid", cause, advice);
                }
            }
            (None, Some(_), Some(_)) => {}
            (Some(_), ..) => {
                let cause = "A key and a user are two ways in: only one is taken.";
                findings.connection("/key", "credentials", cause, advice);
            }
            _ => {
                let cause = "The ERP lets nobody in without credentials.";
                findings.connection("", "credentials", cause, advice);
            }
        }
    }
}

struct TrytonSink {
    erp: Erp,
    references: References,
    options: Options,
    fields: Vec<(String, Program)>,
}

impl TrytonSink {
    fn new(connection: &Connection, options: Options, setup: &Setup) -> Result<Self, Fault> {
        match options.object {
            Object::Sale => told::check_input::<Sale>(setup),
            Object::Party => told::check_input::<Party>(setup),
            Object::Product => told::check_input::<Product>(setup),
            Object::Invoice => told::check_input::<Invoice>(setup),
            Object::Payment => told::check_input::<Payment>(setup),
        }?;
        let mut fields = Vec::new();
        for (name, expression) in &options.fields {
            let program = expression.compile(setup).map_err(|found| {
                let cause = found.first().map(|first| first.cause.as_str()).unwrap_or_default();
                let message = format!("The field `{name}` cannot be compiled: {cause}");
                Fault::config("expression", message)
            })?;
            fields.push((name.clone(), program));
        }
        Ok(Self {
            erp: Erp::of(connection, setup)?,
            references: References::new(options.shop.clone()),
            options,
            fields,
        })
    }

    /// The ERP by JSON-RPC, as the user's company sees it.
    ///
    /// # Errors
    /// A `Config` fault when the connection has a key.
    async fn company(&self) -> Result<Rpc, Fault> {
        match &self.erp {
            Erp::Rpc(rpc) => Ok(rpc.of_company(self.references.company(rpc).await?)),
            Erp::Rest(_) => Err(Fault::config("credentials", ONLY_BY_RPC)),
        }
    }

    /// What a deletion becomes.
    fn deletion(&self) -> Result<Delivery, Fault> {
        match self.options.on_delete {
            OnDelete::Ignore => {
                Ok(Delivery { answer: "a deletion, ignored".to_owned(), already_there: false })
            }
            OnDelete::DeadLetter => {
                let message = "The event is a deletion (a key without a value): the ERP's records \
                               are not deleted.";
                Err(Fault::data("tombstone", message))
            }
        }
    }

    /// Puts the file's further fields into a record.
    fn add_fields(&self, event: &Event, record: &mut Json) -> Result<(), Fault> {
        for (name, program) in &self.fields {
            let text = schemas::json::write(&program.run(event, told::value(event)?)?);
            record[name] = serde_json::from_str(&text).map_err(|error| {
                Fault::internal("json", format!("Our own JSON cannot be read back: {error}."))
            })?;
        }
        Ok(())
    }
}

#[async_trait]
impl Sink for TrytonSink {
    async fn contract(&self) -> Result<(), Fault> {
        self.hold_contract().await
    }

    async fn connect(&self) -> Result<String, Fault> {
        self.hold_contract().await?;
        let origin = self.erp.origin();
        Ok(format!("{origin} takes our credentials; it has what is written"))
    }

    fn intent(&self, event: &Event) -> Result<Option<Intent>, Fault> {
        if event.payload.is_none() && event.value.is_none() {
            return self.deletion().map(|_| None);
        }
        let value = told::value(event)?;
        let (key, operation) = match self.options.object {
            Object::Sale => (named::<Sale>(value)?, "create"),
            Object::Party => (named::<Party>(value)?, "upsert"),
            Object::Product => (named::<Product>(value)?, "upsert"),
            Object::Invoice => (named::<Invoice>(value)?, "create"),
            Object::Payment => (named::<Payment>(value)?, "create"),
        };
        let mut payload = engine::sink::payload(value)?;
        self.add_fields(event, &mut payload)?;
        Ok(Some(Intent { key, operation: operation.to_owned(), payload }))
    }

    fn batch(&self) -> usize {
        self.erp.at_once(self.options.batch)
    }

    async fn deliver(&self, batch: &[Event], attempt: u32) -> Vec<Result<Delivery, Fault>> {
        let is_deletion = |event: &Event| event.payload.is_none() && event.value.is_none();
        let written: Vec<Event> =
            batch.iter().filter(|event| !is_deletion(event)).cloned().collect();
        let outcomes = match self.options.object {
            Object::Sale => self.sales(&written, attempt).await,
            Object::Party => self.keep::<Party>(&written).await,
            Object::Product => self.keep::<Product>(&written).await,
            Object::Invoice => self.invoices(&written).await,
            Object::Payment => self.payments(&written).await,
        };
        let mut outcomes = outcomes.into_iter();
        let outcome = |event| match is_deletion(event) {
            true => Some(self.deletion()),
            false => outcomes.next(),
        };
        batch.iter().filter_map(outcome).collect()
    }
}

/// What names an object of the event.
fn named<T: Told>(value: &engine::Value) -> Result<Option<String>, Fault> {
    let told = T::read(value)?;
    Ok(told.ids().first().map(|(_, id)| (*id).to_owned()))
}

#[cfg(test)]
mod batch_tests;
#[cfg(test)]
mod cutter;
#[cfg(test)]
mod object_tests;
#[cfg(test)]
mod simulated_http;
#[cfg(test)]
mod simulated_tests;
#[cfg(test)]
mod simulator;
#[cfg(test)]
mod tests;
