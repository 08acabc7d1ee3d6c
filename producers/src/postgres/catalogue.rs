//! What an ordinary connection tells: tables and types, the rows of a table chunk by chunk, a row that
//! the log does not hold whole.

use std::collections::HashMap;
use std::sync::Arc;

use database::Database;
use database::tokio_postgres::{Client, Error, SimpleQueryMessage, types::ToSql};
use engine::publisher::Progress;
use engine::{Domain, Fault};
use futures::TryStreamExt as _;
use futures::future::BoxFuture;

use super::lsn::Lsn;
use super::pgoutput::{Cell, RelationColumn};
use super::row::{Column, Row};
use super::text::Kind;
use super::visibility::Seen;

/// As [`SETTINGS`](super::text::SETTINGS); row security would hide rows without a word.
const SESSION: &str = "SET DateStyle = ISO; SET TimeZone = UTC; SET IntervalStyle = iso_8601; \
     SET bytea_output = hex; SET extra_float_digits = 1; SET row_security = off; \
     SET standard_conforming_strings = on; SET statement_timeout = 0";
/// A chunk ends with the row that makes it larger than this.
const CHUNK_BYTES: usize = 16 << 20;
/// Domains of arrays of domains… end somewhere.
const DEPTH: usize = 8;

/// An ordinary connection, made when it is needed.
pub(super) struct Catalogue {
    database: Database,
    client: Option<Client>,
    kinds: HashMap<u32, Kind>,
}

/// A table, as its rows are asked for.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// `public.orders`.
    pub name: String,
    /// The same for SQL.
    quoted: String,
    /// What tells its rows apart: its primary key, or the index of its replica identity.
    pub identity: Vec<Identity>,
    /// The columns that are published.
    pub columns: Arc<[Column]>,
    /// Which rows are published, if not all.
    filter: Option<String>,
    /// About how many there are; negative where the server has never counted.
    pub estimate: f64,
}

/// A column that tells rows apart.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub name: String,
    /// Its type in SQL.
    kind: String,
}

/// Rows that follow each other in the order of their identity.
pub(super) struct Chunk {
    /// What was written after they were read lies behind this.
    pub high: Lsn,
    /// The rows.
    pub rows: Vec<Row>,
    /// Whether they are the table's last.
    pub last: bool,
}

impl Catalogue {
    pub fn new(database: Database) -> Self {
        Self { database, client: None, kinds: HashMap::new() }
    }

    /// The database as messages name it.
    pub fn shown(&self) -> &str {
        self.database.shown()
    }

    /// A statement of ours that fails is no event's fault, whatever the server's code says.
    fn failed(&self, doing: &str, error: &Error) -> Fault {
        let fault = self.database.failed(doing, error);
        match fault.domain {
            Domain::Data => Fault::refused(fault.cause, fault.message),
            _ => fault,
        }
    }

    async fn client(&mut self) -> Result<&Client, Fault> {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            let client = self.database.connect().await?;
            let set = client.batch_execute(SESSION).await;
            set.map_err(|error| self.failed("Setting up the session", &error))?;
            self.client = Some(client);
        }
        self.client.as_ref().ok_or_else(|| Fault::internal("postgres_client", "There is none."))
    }

    /// The rows of a statement. `doing` is what for: `Reading public.orders`.
    pub async fn query(
        &mut self,
        doing: &str,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<database::tokio_postgres::Row>, Fault> {
        let rows = self.client().await?.query(statement, parameters).await;
        rows.map_err(|error| self.failed(doing, &error))
    }

    /// Runs statements that give nothing.
    pub async fn execute(&mut self, doing: &str, statements: &str) -> Result<(), Fault> {
        let done = self.client().await?.batch_execute(statements).await;
        done.map_err(|error| self.failed(doing, &error))
    }

    /// Looks whether a publication publishes these tables; tells so.
    ///
    /// # Errors
    /// As those of [`table`](Self::table).
    pub async fn published(
        &mut self,
        publication: &str,
        tables: &[String],
    ) -> Result<String, Fault> {
        for name in tables {
            self.table(publication, name).await?;
        }
        let (shown, tables) = (self.shown(), tables.join(", "));
        Ok(format!("{shown} publishes {tables}; the slot is looked at when the source starts"))
    }

    /// A table that a publication publishes.
    ///
    /// # Errors
    /// A `Remote` fault: it is not there, or not published; the message says how to mend it.
    pub async fn table(&mut self, publication: &str, name: &str) -> Result<Table, Fault> {
        const FOUND: &str = "SELECT c.oid, c.relkind = 'p', c.relreplident = 'i', \
             greatest(c.reltuples, 0)::float8 FROM pg_class c JOIN pg_namespace n ON n.oid = \
             c.relnamespace WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')";
        const PUBLISHED: &str = "SELECT (to_jsonb(p) -> 'attnames')::text, to_jsonb(p) ->> \
             'rowfilter' FROM pg_publication_tables p WHERE pubname = $1 AND schemaname = $2 AND \
             tablename = $3";
        const COLUMNS: &str = "SELECT attname::text, atttypid FROM pg_attribute WHERE attrelid = $1 \
             AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum";
        const IDENTITY: &str = "SELECT a.attname::text, format_type(a.atttypid, -1) FROM pg_index i \
             CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place) JOIN \
             pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number WHERE i.indrelid = $1 \
             AND CASE WHEN $2 THEN i.indisreplident ELSE i.indisprimary END AND k.place <= \
             i.indnkeyatts ORDER BY k.place";
        let doing = format!("Looking up {name}");
        let (schema, table) = name.split_once('.').unwrap_or(("public", name));
        let shown = self.shown().to_owned();
        let found = self.query(&doing, FOUND, &[&schema, &table]).await?;
        let Some(found) = found.first() else {
            let message = format!("{shown} has no table {name}.");
            return Err(Fault::refused("table_missing", message));
        };
        let published = self.query(&doing, PUBLISHED, &[&publication, &schema, &table]).await?;
        let Some(published) = published.first() else {
            let quoted = quoted(schema, table);
            let message = format!(
                "The publication `{publication}` of {shown} does not publish {name}. Its owner says: \
                 ALTER PUBLICATION \"{publication}\" ADD TABLE {quoted}; (or CREATE PUBLICATION \
                 \"{publication}\" FOR TABLE {quoted}; a partitioned table needs WITH \
                 (publish_via_partition_root = true))."
            );
            return Err(Fault::refused("table_unpublished", message));
        };
        let oid: u32 = found.get(0);
        let listed: Option<String> = published.get(0);
        let listed: Option<Vec<String>> = listed.and_then(|text| serde_json::from_str(&text).ok());
        let mut columns = Vec::new();
        for column in self.query(&doing, COLUMNS, &[&oid]).await? {
            let name: String = column.get(0);
            if listed.as_ref().is_none_or(|listed| listed.contains(&name)) {
                columns.push(Column { name, kind: self.kind(column.get(1)).await? });
            }
        }
        let by_index: bool = found.get(2);
        let identity = self.query(&doing, IDENTITY, &[&oid, &by_index]).await?;
        let identity = identity.iter().map(|row| Identity { name: row.get(0), kind: row.get(1) });
        let only = if found.get(1) { "" } else { "ONLY " };
        Ok(Table {
            name: name.to_owned(),
            quoted: format!("{only}{}", quoted(schema, table)),
            identity: identity.collect(),
            columns: columns.into(),
            filter: published.get(1),
            estimate: found.get(3),
        })
    }

    /// The columns that the stream tells of.
    pub async fn columns(&mut self, told: &[RelationColumn]) -> Result<Arc<[Column]>, Fault> {
        let mut columns = Vec::with_capacity(told.len());
        for RelationColumn { name, oid, .. } in told {
            columns.push(Column { name: name.clone(), kind: self.kind(*oid).await? });
        }
        Ok(columns.into())
    }

    /// How the texts of a type are read. A type that is gone is read as text.
    async fn kind(&mut self, oid: u32) -> Result<Kind, Fault> {
        self.kind_within(oid, DEPTH).await
    }

    fn kind_within(&mut self, oid: u32, depth: usize) -> BoxFuture<'_, Result<Kind, Fault>> {
        const TYPE: &str = "SELECT t.typtype::text, t.typcategory::text, t.typbasetype, t.typelem, \
             coalesce(e.typdelim, ',')::text FROM pg_type t LEFT JOIN pg_type e ON e.oid = t.typelem \
             WHERE t.oid = $1";
        Box::pin(async move {
            if let Some(known) = Kind::of(oid).or_else(|| self.kinds.get(&oid).cloned()) {
                return Ok(known);
            }
            let found = self.query("Looking up a type", TYPE, &[&oid]).await?;
            let kind = match found.first() {
                Some(row) if depth > 0 => {
                    let word = |place| row.get::<_, String>(place);
                    let (base, element): (u32, u32) = (row.get(2), row.get(3));
                    match (word(0).as_str(), word(1).as_str()) {
                        ("d", _) => self.kind_within(base, depth - 1).await?,
                        (_, "A") if element != 0 => {
                            let separator = word(4).chars().next().unwrap_or(',');
                            let element = self.kind_within(element, depth - 1).await?;
                            Kind::Array(Box::new(element), separator)
                        }
                        _ => Kind::Text,
                    }
                }
                _ => Kind::Text,
            };
            self.kinds.insert(oid, kind.clone());
            Ok(kind)
        })
    }

    /// The number of a transaction that begins now, and ends at once.
    pub async fn new_transaction(&mut self) -> Result<u64, Fault> {
        let doing = "Numbering a transaction";
        let rows = self.query(doing, "SELECT pg_current_xact_id()::text", &[]).await?;
        let number = rows.first().and_then(|row| row.get::<_, String>(0).parse().ok());
        number.ok_or_else(|| Fault::internal("postgres_transaction", "It has no number."))
    }

    /// The next rows of a table after those that end with `last`, at most `most` of them; nothing if
    /// what they would show does not `suffice`.
    pub async fn chunk(
        &mut self,
        table: &Table,
        last: &[String],
        most: u32,
        suffices: impl FnOnce(&Seen) -> bool,
    ) -> Result<Option<Chunk>, Fault> {
        let doing = format!("Reading {}", table.name);
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        self.execute(&doing, begin).await?;
        let read = self.read_chunk(&doing, table, last, most, suffices).await;
        let Ok(rows) = read else {
            // The connection is in a transaction that failed.
            self.client = None;
            return Err(read.err().unwrap_or_else(|| Fault::internal("chunk", "It failed.")));
        };
        self.execute(&doing, "COMMIT").await?;
        let Some(rows) = rows else { return Ok(None) };
        // Whatever those rows show was committed before this mark; it shows in the stream at once,
        // also where nothing else is written.
        let mark = "SELECT pg_logical_emit_message(true, 'passerelle', 'chunk')::text";
        let marked = self.query(&doing, mark, &[]).await?;
        let high: Option<Lsn> = marked.first().and_then(|row| row.get::<_, String>(0).parse().ok());
        let high =
            high.ok_or_else(|| Fault::internal("postgres_mark", "A mark has no position."))?;
        let full = rows.len() >= most as usize
            || rows.iter().map(Row::bytes).sum::<usize>() >= CHUNK_BYTES;
        Ok(Some(Chunk { high, rows, last: !full }))
    }

    async fn read_chunk(
        &mut self,
        doing: &str,
        table: &Table,
        last: &[String],
        most: u32,
        suffices: impl FnOnce(&Seen) -> bool,
    ) -> Result<Option<Vec<Row>>, Fault> {
        let snapshot = self.query(doing, "SELECT pg_current_snapshot()::text", &[]).await?;
        let seen = snapshot.first().and_then(|row| Seen::parse(row.get(0)));
        let seen =
            seen.ok_or_else(|| Fault::internal("postgres_snapshot", "It cannot be read."))?;
        if !suffices(&seen) {
            return Ok(None);
        }
        let statement = table.chunk(last, most);
        let client = self.client().await?;
        let read = async {
            let mut rows = Vec::new();
            let mut bytes = 0;
            let mut stream = Box::pin(client.simple_query_raw(&statement).await?);
            while let Some(message) = stream.try_next().await? {
                if let SimpleQueryMessage::Row(row) = message {
                    let cells = (0..row.len()).map(|place| cell(row.get(place))).collect();
                    let row = Row { columns: Arc::clone(&table.columns), cells };
                    bytes += row.bytes();
                    rows.push(row);
                    if bytes >= CHUNK_BYTES {
                        break;
                    }
                }
            }
            Ok::<_, Error>(rows)
        };
        read.await.map(Some).map_err(|error| self.failed(doing, &error))
    }

    /// Values of a row as they are now; nothing if it is not there any more.
    pub async fn read_again(
        &mut self,
        table: &Table,
        identity: &[String],
        columns: &[&str],
    ) -> Result<Option<Vec<Cell>>, Fault> {
        let doing = format!("Reading a row of {} again", table.name);
        let names: Vec<_> = columns.iter().map(|name| identifier(name)).collect();
        let is = |(column, value): (&Identity, &String)| {
            format!("{} = {}", identifier(&column.name), column.literal(value))
        };
        let found: Vec<_> = table.identity.iter().zip(identity).map(is).collect();
        let (names, found) = (names.join(", "), found.join(" AND "));
        let statement = format!("SELECT {names} FROM {} WHERE {found}", table.quoted);
        let rows = self.client().await?.simple_query(&statement).await;
        let rows = match rows {
            // A column that is gone since: the row cannot be read as it was.
            Err(error) if error.code().is_some_and(|code| code.code() == "42703") => {
                return Ok(None);
            }
            rows => rows.map_err(|error| self.failed(&doing, &error))?,
        };
        Ok(rows.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|place| cell(row.get(place))).collect())
            }
            _ => None,
        }))
    }
}

impl Table {
    /// The columns that tell its rows apart.
    pub fn identity_names(&self) -> Vec<&str> {
        self.identity.iter().map(|column| column.name.as_str()).collect()
    }

    /// What tells a row apart; nothing if the row does not say it.
    pub fn identity_of(&self, row: &Row) -> Option<Vec<String>> {
        let names = self.identity_names();
        row.texts(names).filter(|texts| !texts.is_empty())
    }

    /// How far reading it has come after so many rows.
    pub fn progress(&self, rows: u64) -> Progress {
        let about = (self.estimate >= 0.0).then_some(self.estimate as u64);
        Progress { table: self.name.clone(), rows, about: about.map(|about| about.max(rows)) }
    }

    fn chunk(&self, last: &[String], most: u32) -> String {
        let list = |names: Vec<String>| names.join(", ");
        let columns = list(self.columns.iter().map(|column| identifier(&column.name)).collect());
        let order = list(self.identity.iter().map(|column| identifier(&column.name)).collect());
        let literals = self.identity.iter().zip(last).map(|(column, value)| column.literal(value));
        let after = match last {
            [] => None,
            _ => Some(format!("({order}) > ({})", list(literals.collect()))),
        };
        let filter = self.filter.as_ref().map(|filter| format!("({filter})"));
        let conditions: Vec<_> = after.into_iter().chain(filter).collect();
        let conditions = match conditions[..] {
            [] => String::new(),
            _ => format!(" WHERE {}", conditions.join(" AND ")),
        };
        let table = &self.quoted;
        format!("SELECT {columns} FROM {table}{conditions} ORDER BY {order} LIMIT {most}")
    }
}

impl Identity {
    fn literal(&self, text: &str) -> String {
        format!("'{}'::{}", text.replace('\'', "''"), self.kind)
    }
}

fn cell(value: Option<&str>) -> Cell {
    value.map_or(Cell::Null, |text| Cell::Text(text.to_owned().into()))
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn quoted(schema: &str, table: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_begins_after_the_last_row_whatever_its_identity_holds() {
        let column = |name: &str, kind: &str| Identity { name: name.into(), kind: kind.into() };
        let table = Table {
            name: "public.orders".into(),
            quoted: quoted("public", "or\"ders"),
            identity: vec![column("shop", "text"), column("id", "bigint")],
            columns: [Column { name: "id".into(), kind: Kind::Integer }].into(),
            filter: Some("id > 5".into()),
            estimate: 0.0,
        };
        let first =
            r#"SELECT "id" FROM "public"."or""ders" WHERE (id > 5) ORDER BY "shop", "id" LIMIT 7"#;
        assert_eq!(table.chunk(&[], 7), first);
        let next = table.chunk(&["O'Neil".into(), "42".into()], 7);
        assert!(
            next.contains(r#"WHERE ("shop", "id") > ('O''Neil'::text, '42'::bigint) AND (id > 5)"#)
        );
    }
}
