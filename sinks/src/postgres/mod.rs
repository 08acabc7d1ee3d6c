//! `postgres`: writes events into a table of PostgreSQL.
//!
//! A batch of events becomes a few statements of many rows each ([`rows`], [`statement`]). What a
//! column does not take is one event's fault, found by halving the batch ([`writing`]); a table or
//! column that is not there lets the route wait. With `exactly_once` the offsets of what was written
//! go into the same transaction ([`places`]), so that nothing is written twice even where nothing is
//! unique.

mod catalogue;
mod creation;
mod identifier;
mod places;
mod probe;
mod rows;
mod session;
mod statement;
mod text;
mod writing;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use database::{Connection, Database};
use engine::connector::{Findings, Probe, Setup, SinkConnector};
use engine::expression::Expression;
use engine::options::Period;
use engine::sink::{Intent, Once};
use engine::{Delivery, Event, Fault, Order, Sink};
use schemars::JsonSchema;
use serde::Deserialize;

use catalogue::{Catalogue, Table};
use identifier::TableName;
use places::Places;
use rows::{Act, Reading, Row};
use session::{Session, Sessions};
use writing::{Verdict, Writing};

/// The `postgres` connector.
pub struct Postgres;

/// What a route writes, and where.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Options {
    /// The table: `orders`, or with its schema `shop.orders`. Names are taken as they are written;
    /// one with a dot in it stands in double quotes.
    pub table: String,
    /// What an event does to the table.
    #[serde(default)]
    pub mode: Mode,
    /// The columns that make a row unique: a primary key, or the columns of a unique index. `upsert`
    /// needs them; with `insert` an event whose row is there already changes nothing.
    #[serde(default)]
    pub keys: Vec<String>,
    /// The columns that are written, each with what it is given: `total: .total`. Without it, each
    /// field of the event goes to the column of its name.
    #[serde(default)]
    pub columns: BTreeMap<String, Expression>,
    /// A column that grows with each change of a row, such as `updated_at`: with `upsert`, an event
    /// whose value is smaller than the row's changes nothing.
    #[serde(default)]
    pub newer_by: Option<String>,
    /// What a deletion (a tombstone: a key without a value) does.
    #[serde(default)]
    pub on_delete: OnDelete,
    /// With `on_delete: delete`, what each of the `keys` is equal to: `id: '%key'`. There is no value
    /// then. Without it, the only one of the `keys` is the event's key.
    #[serde(default)]
    pub delete_by: BTreeMap<String, Expression>,
    /// Creates the table when there is none, from the topic's schema, with `keys` as its primary key.
    #[serde(default)]
    pub create: bool,
    /// What becomes of a field that the table has no column for.
    #[serde(default)]
    pub evolve: Evolve,
    /// Writes the offsets of what was written into `offsets_table`, in the same transaction: each
    /// event is written once, even where nothing is unique. A partition's events then go in order,
    /// one batch at a time.
    #[serde(default)]
    pub exactly_once: bool,
    /// The table of those offsets; it is created when there is none.
    #[serde(default = "Options::default_offsets_table")]
    pub offsets_table: String,
    /// How many events go at once, at most. `max_ahead` bounds them as well.
    #[serde(default = "Options::default_batch")]
    pub batch: std::num::NonZeroU16,
    /// How long a statement may take.
    #[serde(default = "Options::default_statement_timeout")]
    pub statement_timeout: Period,
}

/// What an event does to the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It replaces the columns of the row of its `keys`, or becomes that row.
    #[default]
    Upsert,
    /// It becomes a row.
    Insert,
}

/// What a deletion does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDelete {
    /// It goes to the dead letters.
    #[default]
    DeadLetter,
    /// The row of its key is deleted.
    Delete,
    /// Nothing.
    Ignore,
}

/// What becomes of a field that the table has no column for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Evolve {
    /// The route waits until somebody adds the column, or leaves the field out by `columns`.
    #[default]
    No,
    /// The column is added, nullable, with the type that the topic's schema gives it.
    AddColumns,
}

/// A mistake that the options' types do not exclude: where, its name, what, what to do.
type Mistake = (&'static str, &'static str, String, &'static str);

impl Options {
    fn default_offsets_table() -> String {
        "passerelle_offsets".to_owned()
    }

    fn default_batch() -> std::num::NonZeroU16 {
        std::num::NonZeroU16::MIN.saturating_add(499)
    }

    fn default_statement_timeout() -> Period {
        Period(std::time::Duration::from_secs(30))
    }

    fn mistakes(&self) -> Vec<Mistake> {
        let mut found: Vec<Mistake> = Vec::new();
        for (pointer, name) in [("/table", &self.table), ("/offsets_table", &self.offsets_table)] {
            if let Err(cause) = TableName::parse(name) {
                found.push((pointer, "table_invalid", cause, "Write `orders` or `shop.orders`."));
            }
        }
        if self.mode == Mode::Upsert && self.keys.is_empty() {
            let cause = "`upsert` needs to know which row an event is.".to_owned();
            found.push(("", "keys_missing", cause, "Name the unique columns in `keys`."));
        }
        if let (Mode::Insert, Some(_)) = (self.mode, &self.newer_by) {
            let cause =
                "`newer_by` compares with the row that is replaced, and `insert` replaces none.";
            found.push(("/newer_by", "newer_by_unused", cause.to_owned(), "Leave it out."));
        }
        let written = |name: &&String| self.columns.is_empty() || self.columns.contains_key(*name);
        for name in self.keys.iter().chain(&self.newer_by).filter(|name| !written(name)) {
            let cause = format!("`columns` gives `{name}` no value.");
            found.push(("/columns", "column_missing", cause, "Add it there."));
        }
        found.extend(self.deletion_mistake());
        if self.statement_timeout.0.is_zero() {
            let cause = "A time-out of zero fails every statement.".to_owned();
            found.push(("/statement_timeout", "timeout_zero", cause, "Write 30s."));
        }
        found
    }

    fn deletion_mistake(&self) -> Option<Mistake> {
        if self.on_delete != OnDelete::Delete {
            let cause = "`delete_by` is for `on_delete: delete`.".to_owned();
            let unused = ("/delete_by", "delete_by_unused", cause, "Leave it out.");
            return (!self.delete_by.is_empty()).then_some(unused);
        }
        let by_key = self.delete_by.is_empty() && self.keys.len() == 1;
        let named = self.delete_by.len() == self.keys.len()
            && self.keys.iter().all(|key| self.delete_by.contains_key(key));
        if !self.keys.is_empty() && (by_key || named) {
            return None;
        }
        let cause = "A deletion has to say which row it is.".to_owned();
        Some(("", "delete_by_missing", cause, "Give each of `keys` its value in `delete_by`."))
    }
}

impl SinkConnector for Postgres {
    const NAME: &'static str = "postgres";
    const SUMMARY: &'static str = "Writes events into a table of PostgreSQL.";
    const EXAMPLE: &'static str =
        include_str!("../../../docs/examples/orders-to-postgres/pipeline.yaml");
    type Connection = Connection;
    type Options = Options;

    const PROBE: Option<Probe<Connection>> = Some(probe::probe);

    /// By keys for ever. Without them a replay adds rows, although nothing else does with
    /// `exactly_once`.
    fn once(options: &Options) -> Once {
        if options.keys.is_empty() { Once::No } else { Once::Forever }
    }

    fn overwrites(options: &Options) -> bool {
        options.mode == Mode::Upsert && options.newer_by.is_none()
    }

    fn check(connection: &Connection, options: &Options, findings: &mut Findings) {
        connection.check(findings);
        for (pointer, code, cause, hint) in options.mistakes() {
            findings.route(pointer, code, cause, hint);
        }
    }

    fn build(
        connection: Connection,
        options: Options,
        setup: &Setup,
    ) -> Result<Box<dyn Sink>, Fault> {
        PostgresSink::new(&connection, options, setup).map(|sink| Box::new(sink) as Box<dyn Sink>)
    }
}

struct PostgresSink {
    batch: usize,
    sessions: Sessions,
    catalogue: Catalogue,
    reading: Reading,
    /// The columns that the route is known to write before any event comes.
    declared: Vec<String>,
    /// Where the offsets are written, with `exactly_once`.
    places: Option<Places>,
}

impl PostgresSink {
    fn new(connection: &Connection, options: Options, setup: &Setup) -> Result<Self, Fault> {
        if let Some((_, code, cause, hint)) = options.mistakes().pop() {
            return Err(Fault::config(code, format!("{cause} {hint}")));
        }
        let table = |name: &str| {
            TableName::parse(name).map_err(|cause| Fault::config("table_invalid", cause))
        };
        let database = Database::new(connection, &format!("passerelle {}", setup.route))?;
        let offsets = options.exactly_once.then(|| table(&options.offsets_table)).transpose()?;
        let name = table(&options.table)?;
        let reading = Reading::new(options, setup)?;
        let options = &reading.options;
        Ok(Self {
            batch: usize::from(options.batch.get()),
            sessions: Sessions::new(database, options.statement_timeout.0),
            places: offsets.map(|offsets| Places::new(offsets, Arc::clone(&setup.route))),
            catalogue: Catalogue::new(name, options, creation::types(&reading, setup)),
            declared: reading.declared(setup),
            reading,
        })
    }

    /// Delivers a batch. What has no verdict at the end has the fault that ended it.
    async fn write(&self, batch: &[Event]) -> Vec<Verdict> {
        let mut verdicts: Vec<Option<Verdict>> = vec![None; batch.len()];
        let fault = self.try_to_write(batch, &mut verdicts).await.err();
        let unwritten = || {
            let message = "An event of the batch was forgotten: a bug, please report it.";
            fault.clone().unwrap_or_else(|| Fault::internal("postgres_batch", message))
        };
        verdicts.into_iter().map(|verdict| verdict.unwrap_or_else(|| Err(unwritten()))).collect()
    }

    /// A session that failed is dropped: what it left open ends with it.
    async fn try_to_write(
        &self,
        batch: &[Event],
        verdicts: &mut [Option<Verdict>],
    ) -> Result<(), Fault> {
        let session = self.sessions.take().await?;
        let written = match &self.places {
            None => {
                let all: Vec<usize> = (0..batch.len()).collect();
                self.write_rows(&session, batch, &all, verdicts).await
            }
            Some(places) => self.write_once(places, &session, batch, verdicts).await,
        };
        match written {
            Ok(()) => {
                self.sessions.give_back(session);
                if verdicts.iter().any(|verdict| matches!(verdict, Some(Err(_)))) {
                    // What is known of the table may be what refused it.
                    self.catalogue.forget();
                }
                Ok(())
            }
            Err(fault) => {
                self.catalogue.forget();
                if let Some(places) = &self.places {
                    // Nothing of the transaction stays, whatever was said of its rows.
                    verdicts.fill(None);
                    places.doubt();
                }
                Err(fault)
            }
        }
    }

    /// Writes what the offsets say is not there, and the offsets, in one transaction.
    async fn write_once(
        &self,
        places: &Places,
        session: &Session,
        batch: &[Event],
        verdicts: &mut [Option<Verdict>],
    ) -> Result<(), Fault> {
        places.prepare(session).await?;
        let visit = places.visit(session, batch).await?;
        let new = visit.admit(batch, verdicts)?;
        self.write_rows(session, batch, &new, verdicts).await?;
        visit.leave(session, batch, verdicts).await
    }

    async fn write_rows(
        &self,
        session: &Session,
        batch: &[Event],
        indices: &[usize],
        verdicts: &mut [Option<Verdict>],
    ) -> Result<(), Fault> {
        let mut drafts = Vec::with_capacity(indices.len());
        for &index in indices {
            match self.reading.draft(&batch[index]) {
                Ok(Act::Nothing) => verdicts[index] = Some(Ok(ignored())),
                Ok(act) => drafts.push((index, act)),
                Err(fault) => verdicts[index] = Some(Err(fault)),
            }
        }
        if drafts.is_empty() {
            return Ok(());
        }
        let table = self.table(session, &drafts).await?;
        let mut rows: Vec<Row> = Vec::with_capacity(drafts.len());
        for (index, act) in drafts {
            match self.reading.row(index, act, &table) {
                Ok(row) => rows.push(row),
                Err(fault) => verdicts[index] = Some(Err(fault)),
            }
        }
        let (options, within) = (&self.reading.options, self.places.is_some());
        let mut writing = Writing { session, table: &table, options, within, verdicts };
        for group in rows::groups(rows, self.reading.keys()) {
            writing.write(group).await?;
        }
        Ok(())
    }

    /// The table, with a column for all that is to be written.
    async fn table(
        &self,
        session: &Session,
        drafts: &[(usize, Act<'_>)],
    ) -> Result<Arc<Table>, Fault> {
        let mut names: Vec<&str> = self.reading.keys().iter().map(String::as_str).collect();
        names.extend(drafts.iter().flat_map(|(_, act)| act.names()));
        names.sort_unstable();
        names.dedup();
        self.catalogue.table(session, &names).await
    }
}

fn ignored() -> Delivery {
    Delivery { answer: "a deletion, ignored".to_owned(), already_there: false }
}

#[async_trait]
impl Sink for PostgresSink {
    fn order(&self) -> Order {
        match self.places {
            Some(_) => Order::Partition,
            None => Order::Keyed,
        }
    }

    fn batch(&self) -> usize {
        self.batch
    }

    async fn contract(&self) -> Result<(), Fault> {
        let session = self.sessions.take().await?;
        self.catalogue.hold(&session, &self.declared).await?;
        self.sessions.give_back(session);
        Ok(())
    }

    async fn connect(&self) -> Result<String, Fault> {
        self.contract().await?;
        let session = self.sessions.take().await?;
        Ok(format!(
            "{} takes us as `{}`; {}",
            session.shown(),
            session.user(),
            self.catalogue.told()
        ))
    }

    fn intent(&self, event: &Event) -> Result<Option<Intent>, Fault> {
        self.reading.intent(event)
    }

    async fn deliver(&self, batch: &[Event], _attempt: u32) -> Vec<Result<Delivery, Fault>> {
        self.write(batch).await
    }
}

#[cfg(test)]
mod tests;
