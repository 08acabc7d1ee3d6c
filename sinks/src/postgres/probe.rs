//! What a database lets us read and write: its tables, and whether their changes can be captured.

mod capture;

use std::collections::HashMap;
use std::time::Duration;

use database::tokio_postgres::types::ToSql;
use database::tokio_postgres::{Client, Row};
use database::{Connection, Database};
use engine::connector::{Probing, Setup};
use engine::study::{Field, MOST_FIELDS, MOST_OBJECTS, Object, Question, Reading, Study, Way};
use engine::{Domain, Fault};
use tokio::time::timeout;

use capture::{Publications, Server};

/// How long one look may take: the catalogue is small.
const PATIENCE: Duration = Duration::from_secs(30);
/// Nothing is written, and nothing waits for ever, on the server either.
const SESSION: &str = "SET default_transaction_read_only = on; SET statement_timeout = '25s'; \
     SET lock_timeout = '5s'";
/// Tables, partitions apart; of partitioned ones the roots. Sizes are what `ANALYZE` last estimated.
const TABLES: &str = "SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, \
     c.relreplident::text, c.reltuples::float8, c.relpages::int8 * current_setting('block_size')::int8, \
     has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'INSERT'), \
     has_table_privilege(c.oid, 'UPDATE'), has_table_privilege(c.oid, 'DELETE'), c.relrowsecurity, \
     count(*) OVER ()::int8 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition \
     AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)' \
     AND has_schema_privilege(n.oid, 'USAGE') \
     AND ($1::text IS NULL OR n.nspname || '.' || c.relname = $1 OR c.relname = $1) \
     ORDER BY 2, 3 LIMIT $2";
/// Columns of these tables, those of a primary key marked; what has a default need not be given.
const COLUMNS: &str = "SELECT a.attrelid, a.attname::text, format_type(a.atttypid, a.atttypmod), \
     a.attnotnull AND NOT (a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> ''), \
     coalesce(a.attnum = ANY (i.indkey::int2[]), false), t.typcategory = 'D' AND t.typname ~ '^timestamp', \
     count(*) OVER (PARTITION BY a.attrelid)::int8 \
     FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
     LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary \
     WHERE a.attrelid = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped \
     ORDER BY a.attrelid, a.attnum LIMIT 50000";

/// A table, as far as it matters to whoever wants its changes.
#[derive(Debug, Clone, Default)]
struct Table {
    /// `public.orders`
    name: String,
    /// The same for SQL.
    quoted: String,
    is_table: bool,
    is_partitioned: bool,
    readable: bool,
    keyed: bool,
    /// `d`efault, `f`ull, `i`ndex, `n`othing.
    identity: String,
    /// Columns that hold a time, the likeliest to be that of the last change first.
    times: Vec<String>,
}

/// Studies the database of a connection.
pub(super) fn probe(connection: Connection, question: Question, _: Setup) -> Probing {
    Box::pin(async move {
        let database = Database::new(&connection, "passerelle probe")?;
        let looking = Looking { client: database.connect().await?, database };
        looking.study(&question).await
    })
}

struct Looking {
    client: Client,
    database: Database,
}

impl Looking {
    async fn study(&self, question: &Question) -> Result<Study, Fault> {
        let set = self.client.batch_execute(SESSION).await;
        set.map_err(|error| self.database.failed("Setting up the session", &error))?;
        let server = Server::of(&self.one("Asking what the server is", capture::SERVER).await?);
        let most = i64::try_from(MOST_OBJECTS).unwrap_or(i64::MAX);
        let rows = self.rows("Listing the tables", TABLES, &[&question.object, &most]).await?;
        let oids: Vec<u32> = rows.iter().map(|row| row.get(0)).collect();
        let columns = self.rows("Listing the columns", COLUMNS, &[&oids]).await?;
        let published = self.rows("Listing the publications", capture::PUBLISHED, &[]).await?;
        let slots = self.rows("Listing the slots", capture::SLOTS, &[]).await?;
        let publications = Publications::of(&published);
        let mut fields = columns_of(&columns);
        let mut objects = Vec::new();
        let mut tables = Vec::new();
        for row in &rows {
            let (own, further, times) = fields.remove(&row.get(0)).unwrap_or_default();
            let table = table_of(row, &own, times);
            let notes = notes_of(&table, row, &publications);
            objects.push(Object {
                name: table.name.clone(),
                records: records_of(row),
                operations: operations_of(row),
                fields: own,
                further_fields: further,
                notes,
            });
            tables.push(table);
        }
        let all = rows.first().map_or(0, |row| row.get::<_, i64>(12));
        let capture = capture::reading(&server, &tables, &publications, slots.len());
        Ok(Study {
            application: format!("PostgreSQL {} at {}", server.version_text, self.database.shown()),
            further_objects: usize::try_from(all).unwrap_or_default().saturating_sub(objects.len()),
            objects,
            access: capture::access(&server),
            reads: vec![capture, poll(&tables), file()],
            writes: vec![WRITES.to_owned()],
            limits: capture::limits(&server, &slots),
            unknown: Vec::new(),
        })
    }

    async fn one(&self, doing: &str, statement: &str) -> Result<Row, Fault> {
        let rows = self.rows(doing, statement, &[]).await?;
        rows.into_iter().next().ok_or_else(|| Fault::internal("postgres_row", "There is none."))
    }

    async fn rows(
        &self,
        doing: &str,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Fault> {
        let Ok(rows) = timeout(PATIENCE, self.client.query(statement, parameters)).await else {
            let shown = self.database.shown();
            let message = format!("{doing} of {shown} was not answered within {PATIENCE:?}.");
            return Err(Fault::remote("postgres_timeout", message));
        };
        rows.map_err(|error| {
            let fault = self.database.failed(doing, &error);
            match fault.domain {
                Domain::Data => Fault::refused(fault.cause, fault.message),
                _ => fault,
            }
        })
    }
}

const WRITES: &str = "sink `postgres`: upsert, insert and delete, in batches; `keys` of a unique index \
     make a repeat harmless, `exactly_once` does without one";

/// The columns of each table: fields, how many there are beyond those, columns of times.
type Columns = HashMap<u32, (Vec<Field>, usize, Vec<String>)>;

fn columns_of(rows: &[Row]) -> Columns {
    let mut all = Columns::new();
    for row in rows {
        let (fields, further, times) = all.entry(row.get(0)).or_default();
        let field = Field {
            name: row.get(1),
            kind: row.get(2),
            required: Some(row.get(3)),
            key: row.get(4),
        };
        if row.get(5) {
            times.push(field.name.clone());
        }
        if fields.len() < MOST_FIELDS {
            fields.push(field);
        }
        let count = usize::try_from(row.get::<_, i64>(6)).unwrap_or_default();
        *further = count.saturating_sub(fields.len());
    }
    for (.., times) in all.values_mut() {
        times.sort_by_key(|name| !tells_of_change(name));
    }
    all
}

/// Whether a column is named like the time of the last change.
fn tells_of_change(name: &str) -> bool {
    let name = name.to_lowercase();
    ["updat", "modif", "chang", "write_date", "last_"].iter().any(|part| name.contains(part))
}

fn table_of(row: &Row, fields: &[Field], times: Vec<String>) -> Table {
    let (schema, name): (String, String) = (row.get(1), row.get(2));
    let kind: String = row.get(3);
    Table {
        quoted: format!("{}.{}", quoted(&schema), quoted(&name)),
        name: format!("{schema}.{name}"),
        is_table: matches!(kind.as_str(), "r" | "p"),
        is_partitioned: kind == "p",
        readable: row.get(7),
        keyed: fields.iter().any(|field| field.key),
        identity: row.get(4),
        times,
    }
}

/// A name for SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate, not negative"
)]
fn records_of(row: &Row) -> Option<u64> {
    // -1 where nothing was estimated yet.
    let estimate: f64 = row.get(5);
    (estimate >= 0.0).then_some(estimate as u64)
}

fn operations_of(row: &Row) -> Vec<String> {
    let rights = [("select", 7), ("insert", 8), ("update", 9), ("delete", 10)];
    let had = rights.into_iter().filter(|(_, place)| row.get(*place));
    had.map(|(word, _)| word.to_owned()).collect()
}

fn notes_of(table: &Table, row: &Row, publications: &Publications) -> Vec<String> {
    let mut notes = Vec::new();
    notes.push(match row.get::<_, String>(3).as_str() {
        "v" => "a view".to_owned(),
        "m" => "a materialized view".to_owned(),
        "f" => "a foreign table".to_owned(),
        kind => {
            let whole = if kind == "p" { "a partitioned table" } else { "a table" };
            let bytes: i64 = row.get(6);
            format!("{whole} of about {} KiB", bytes.max(0) / 1024)
        }
    });
    if table.is_table {
        let identity = match table.identity.as_str() {
            "f" => "full",
            "i" => "an index",
            "n" => "nothing",
            _ if table.keyed => "the primary key",
            _ => "none (there is no primary key)",
        };
        notes.push(format!("replica identity: {identity}"));
        let names = publications.of_table(&table.name);
        if !names.is_empty() {
            notes.push(format!("published by {}", names.join(", ")));
        }
    }
    if row.get(11) {
        notes.push("row security may hide rows from us".to_owned());
    }
    notes
}

/// There is no source that polls by SQL: what it would take is told all the same.
fn poll(tables: &[Table]) -> Reading {
    let timed: Vec<_> =
        tables.iter().filter(|table| table.readable && !table.times.is_empty()).collect();
    if timed.is_empty() {
        return Reading::closed(Way::Poll, "no table that we may read has a column of times");
    }
    let named: Vec<_> = timed
        .iter()
        .take(5)
        .filter_map(|table| Some(format!("{} by `{}`", table.name, table.times.first()?)))
        .collect();
    let more = if timed.len() > 5 { ", …" } else { "" };
    let because = format!(
        "a column of times tells what changed ({}{more}), if each change moves it; deletions are not \
         seen",
        named.join(", ")
    );
    let first = timed.first().and_then(|table| Some((&table.quoted, table.times.first()?)));
    let to_do = first.map(|(table, column)| {
        format!(
            "SELECT … FROM {table} WHERE {column} >= … ORDER BY {column}; by an HTTP interface over the \
             database, such as PostgREST: the source `poll` asks over HTTP",
            column = quoted(column)
        )
    });
    Reading { to_do: to_do.into_iter().collect(), ..Reading::open(Way::Poll, because) }
}

fn file() -> Reading {
    let because = "an export is dropped into a folder, which the source `file` reads";
    let to_do = vec!["\\copy (SELECT …) TO 'export.csv' CSV HEADER".to_owned()];
    Reading { to_do, ..Reading::open(Way::File, because) }
}
