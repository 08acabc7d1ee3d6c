//! The source `postgres`: the rows of tables, and every change of them, as PostgreSQL's log tells it.
//!
//! - `replication` and `pgoutput` read the stream of changes, `catalogue` asks what it does not tell;
//! - `source` publishes them with the cursor in one transaction, and confirms to PostgreSQL what lies
//!   in Kafka;
//! - `snapshot` reads the rows that were there before, between changes;
//! - `slot` refuses to go on where changes may be missing.

mod catalogue;
mod cursor;
mod envelope;
mod lsn;
mod pgoutput;
mod replication;
mod row;
mod slot;
mod snapshot;
mod source;
mod text;
mod transaction;
mod visibility;

use std::time::Duration;

use database::{Connection, Database};
use engine::connector::{Findings, Options, Place, Setup, SourceConnector};
use engine::expression::{Diagnostic, Expression, Own, sentence};
use engine::options::Period;
use engine::{Fault, Source};
use schemars::JsonSchema;
use serde::Deserialize;

use envelope::Envelope;
use slot::Slot;
use source::PostgresSource;

/// Most rows of a chunk.
const LARGEST_CHUNK: u32 = 100_000;

/// The rows of tables, and every change of them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct PostgresOptions {
    /// The tables whose rows become events: `[public.orders, public.customers]`.
    #[serde(default)]
    pub tables: Vec<String>,
    /// A table whose rows are events themselves (the outbox pattern), in place of `tables`.
    #[serde(default)]
    pub outbox: Option<Outbox>,
    /// The publication that publishes the tables: `CREATE PUBLICATION passerelle FOR TABLE …`.
    #[serde(default = "PostgresOptions::default_publication")]
    pub publication: String,
    /// The replication slot, which keeps the log until it is read. It is created when it is not
    /// there. Without it `passerelle_` and the route's name. Another name begins anew: with a
    /// snapshot, or with what is committed from now on.
    #[serde(default)]
    pub slot: Option<String>,
    /// Whether the rows that are there already are published first. Without it, those of `tables`
    /// are, and those of an `outbox` are not.
    #[serde(default)]
    pub snapshot: Option<bool>,
    /// How many rows a snapshot reads at once.
    #[serde(default = "PostgresOptions::default_chunk")]
    pub chunk: u32,
    /// What is published, made of a change: `.before` and `.after` (rows, or null), `.op` (`read` in
    /// a snapshot, `insert`, `update`, `delete`), `.table`, `.lsn`, `.time`, and `.omitted`, the
    /// columns of `.after` that are not known. It has to fit the topic's schema. Without it, the row.
    #[serde(default)]
    pub event: Option<Own<Expression>>,
    /// What kind of event it is (`ce_type`), made of a change. Without it the table and what happened:
    /// `public.orders.update`.
    #[serde(default, rename = "type")]
    pub kind: Option<Own<Expression>>,
    /// What a row that is deleted becomes.
    #[serde(default)]
    pub on_delete: OnDelete,
    /// How often the position is kept and confirmed while nothing of these tables changes, so that
    /// the server keeps no log for it.
    #[serde(default = "PostgresOptions::default_heartbeat")]
    pub heartbeat: Period,
}

/// A table whose rows are events: its columns. Rows that are inserted are published; what is updated
/// or deleted there is not.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Outbox {
    /// The table: `public.outbox`.
    pub table: String,
    /// The column of the event's id (`ce_id`).
    #[serde(default = "Outbox::default_id")]
    pub id: String,
    /// The column of the event's type (`ce_type`), which routes can be chosen by.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// The column of the event's key.
    #[serde(default)]
    pub key: Option<String>,
    /// The column of the event, JSON that fits the topic's schema; null for a tombstone.
    #[serde(default = "Outbox::default_payload")]
    pub payload: String,
}

/// What a row that is deleted becomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDelete {
    /// A tombstone: the row's key without a value.
    #[default]
    Tombstone,
    /// An event like the others: made by `event`, or else the old row, which the log holds whole
    /// under `REPLICA IDENTITY FULL`.
    Event,
    /// Nothing.
    Ignore,
}

impl Outbox {
    fn default_id() -> String {
        "id".to_owned()
    }

    fn default_payload() -> String {
        "payload".to_owned()
    }
}

impl PostgresOptions {
    fn default_publication() -> String {
        "passerelle".to_owned()
    }

    fn default_chunk() -> u32 {
        2_000
    }

    fn default_heartbeat() -> Period {
        Period(Duration::from_secs(10))
    }

    /// The tables, with their schemas: `public.orders`.
    fn tables(&self) -> Vec<String> {
        let outbox = self.outbox.iter().map(|outbox| &outbox.table);
        let whole = |name: &String| match name.contains('.') {
            true => name.clone(),
            false => format!("public.{name}"),
        };
        self.tables.iter().chain(outbox).map(whole).collect()
    }

    /// The slot's name, which holds lower-case letters, digits and underscores only.
    fn slot(&self, route: &str) -> String {
        let derived = || {
            let plain = |character: char| match character {
                'a'..='z' | '0'..='9' => character,
                _ => '_',
            };
            let name = format!("passerelle_{}", route.to_lowercase());
            name.chars().map(plain).take(63).collect()
        };
        self.slot.clone().unwrap_or_else(derived)
    }

    fn check(&self, findings: &mut Findings) {
        let mut wrong = |option: &str, code, cause: &str, hint: &str| {
            findings.route(&format!("/postgres{option}"), code, cause, hint);
        };
        if self.tables.is_empty() == self.outbox.is_none() {
            let cause = "A source reads either `tables` or an `outbox`.";
            wrong("", "tables_or_outbox", cause, "Write tables: [public.orders].");
        }
        let is_plain = |name: &str| {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            !name.is_empty() && name.len() <= 63 && name.chars().all(plain)
        };
        if self.slot.as_deref().is_some_and(|slot| !is_plain(slot)) {
            let cause = "The name of a slot holds lower-case letters, digits and underscores, 63 at \
                         most.";
            wrong("/slot", "slot_name", cause, "Write slot: passerelle_orders.");
        }
        if !(1..=LARGEST_CHUNK).contains(&self.chunk) {
            let cause = format!("`chunk` lies between 1 and {LARGEST_CHUNK}.");
            wrong("/chunk", "chunk", &cause, "Write 2000.");
        }
        if self.heartbeat.0.is_zero() {
            let cause = "The position would be kept again and again without a pause.";
            wrong("/heartbeat", "heartbeat_zero", cause, "Write 10s.");
        }
        if self.outbox.is_some() && self.event.is_some() {
            let cause = "The events of an outbox are its payloads.";
            wrong("/event", "outbox_event", cause, "Leave `event` out, or map the topic.");
        }
        for (option, text) in [("event", &self.event), ("type", &self.kind)] {
            let compiled = text.as_ref().map(|text| text.0.compile(envelope::input()));
            if let Some(Err(all)) = compiled {
                let pointer = format!("/postgres/{option}");
                let found = |diagnostic: Diagnostic| diagnostic.finding(Place::Route, &pointer);
                findings.0.extend(all.into_iter().map(found));
            }
        }
    }
}

/// The connector.
pub struct Postgres;

impl SourceConnector for Postgres {
    const NAME: &'static str = "postgres";
    const SUMMARY: &'static str =
        "Publishes the rows of PostgreSQL's tables and every change of them, from its log.";
    const EXAMPLE: &'static str =
        include_str!("../../../docs/examples/orders-from-postgres/pipeline.yaml");
    const ONCE: bool = true;
    const CONNECTION: Option<&'static str> = Some("postgres");
    type Options = PostgresOptions;

    fn check(options: &PostgresOptions, findings: &mut Findings) {
        options.check(findings);
    }

    fn check_connection(connection: Options, findings: &mut Findings) -> serde_json::Result<()> {
        serde_json::from_value::<Connection>(connection)?.check(findings);
        Ok(())
    }

    fn build(
        options: PostgresOptions,
        key: Option<Expression>,
        setup: &Setup,
    ) -> Result<Box<dyn Source>, Fault> {
        let Some(schema) = &setup.output_schema else {
            return Err(Fault::config(
                "schema",
                format!("The topic of {} declares no schema: add `schema:` to it.", setup.route),
            ));
        };
        let wrong = |all: Vec<Diagnostic>| Fault::config("expression", sentence(&all));
        let key = key.map(|key| key.compile(schema)).transpose().map_err(wrong)?;
        let envelope = Envelope::compile(&options, schema, key).map_err(wrong)?;
        let application = format!("passerelle {}", setup.route);
        let connection: Connection = setup.connection()?;
        Ok(Box::new(PostgresSource {
            route: setup.route.clone(),
            database: Database::new(&connection, &application)?,
            application,
            slot: Slot {
                name: options.slot(&setup.route),
                publication: options.publication.clone(),
            },
            tables: options.tables(),
            snapshot: options.snapshot.unwrap_or(options.outbox.is_none()),
            chunk: options.chunk,
            heartbeat: options.heartbeat.0,
            envelope,
        }))
    }
}

#[cfg(test)]
mod tests;
