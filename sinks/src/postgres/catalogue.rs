//! What the server says of the table: its columns and their types. Asked once, and again after
//! something was refused: it may have changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use engine::Fault;

use super::identifier::TableName;
use super::session::Session;
use super::text::Kind;
use super::{Evolve, creation};

/// The columns of a relation. Of a domain the type below it counts, whose assignment the domain
/// checks; of an array the type of its items. `format_type` with -1 gives types without lengths.
const COLUMNS: &str = "\
SELECT a.attname::text, pg_catalog.format_type(b.oid, -1), b.typname::text, i.typname::text,
       CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_catalog.pg_type i ON i.oid = b.typelem AND b.typcategory = 'A'
WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped";

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub kind: Kind,
    /// The type that its text is cast to, without length or precision.
    pub cast: String,
}

/// A table and its columns.
#[derive(Debug)]
pub(super) struct Table {
    pub name: TableName,
    columns: HashMap<String, Column>,
}

impl Table {
    /// A column by its name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.get(name)
    }
}

/// The table of a route, as far as it is known.
pub(super) struct Catalogue {
    name: TableName,
    keys: Vec<String>,
    create: bool,
    evolve: Evolve,
    /// The types of columns that are created.
    types: BTreeMap<String, String>,
    known: Mutex<Option<Arc<Table>>>,
}

impl Catalogue {
    /// What is to be known of a table; `types` are those of columns that may be created.
    pub fn new(name: TableName, options: &super::Options, types: BTreeMap<String, String>) -> Self {
        Self {
            name,
            keys: options.keys.clone(),
            create: options.create,
            evolve: options.evolve,
            types,
            known: Mutex::default(),
        }
    }

    fn known(&self) -> Option<Arc<Table>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks again next time: what failed may have failed because the table is another one by now.
    pub fn forget(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The table, which has all of these columns; what is missing is created where the file says so.
    ///
    /// # Errors
    /// The route waits where something is missing; a `Remote` fault when the server does not answer.
    pub async fn table(&self, session: &Session, names: &[&str]) -> Result<Arc<Table>, Fault> {
        let lacks = |table: &Table| names.iter().any(|name| table.column(name).is_none());
        if let Some(table) = self.known().filter(|table| !lacks(table)) {
            return Ok(table);
        }
        let table = match self.ask(session).await? {
            Some(table) => table,
            None => {
                self.create(session, names).await?;
                self.ask(session).await?.ok_or_else(|| self.missing(session))?
            }
        };
        let table = match lacks(&table) {
            false => table,
            true => {
                self.extend(session, &table, names).await?;
                self.ask(session).await?.ok_or_else(|| self.missing(session))?
            }
        };
        let table = Arc::new(table);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&table));
        Ok(table)
    }

    /// Holds the names of columns against those that the table has; creates nothing.
    ///
    /// # Errors
    /// The route waits: the table or a column is not there, and the file does not say to create it.
    pub async fn hold(&self, session: &Session, names: &[String]) -> Result<(), Fault> {
        let Some(table) = self.ask(session).await? else {
            return if self.create { Ok(()) } else { Err(self.missing(session)) };
        };
        let gone = names.iter().map(String::as_str).filter(|name| table.column(name).is_none());
        let gone: Vec<&str> = gone.collect();
        match self.evolve {
            Evolve::No if !gone.is_empty() => Err(self.lacks(session, &gone.join("`, `"))),
            _ => Ok(()),
        }
    }

    /// What holds of the table once it was looked at.
    pub fn told(&self) -> String {
        match (self.create, self.evolve) {
            (false, Evolve::No) => format!("{} has all columns that are written", self.name),
            _ => format!("what {} lacks of what is written is created", self.name),
        }
    }

    async fn ask(&self, session: &Session) -> Result<Option<Table>, Fault> {
        let doing = format!("Asking for the columns of {}", self.name);
        let rows = session.query(&doing, COLUMNS, &[&self.name.sql()]).await?;
        let column = |row: &database::tokio_postgres::Row| {
            let (cast, base): (String, String) = (row.try_get(1)?, row.try_get(2)?);
            let (item, modifier): (Option<String>, i32) = (row.try_get(3)?, row.try_get(4)?);
            let kind = match item {
                Some(item) => Kind::Array(Box::new(kind(&item, modifier))),
                None => kind(&base, modifier),
            };
            Ok((row.try_get(0)?, Column { kind, cast }))
        };
        let columns: Result<HashMap<String, Column>, database::tokio_postgres::Error> =
            rows.iter().map(column).collect();
        let columns = columns.map_err(|error| session.fault(&doing, &error))?;
        Ok((!columns.is_empty()).then(|| Table { name: self.name.clone(), columns }))
    }

    async fn create(&self, session: &Session, names: &[&str]) -> Result<(), Fault> {
        if !self.create {
            return Err(self.missing(session));
        }
        let typed = self.typed(names, session)?;
        let sql = creation::table(&self.name, &typed, &self.keys);
        session.execute(&format!("Creating the table {}", self.name), &sql).await
    }

    async fn extend(&self, session: &Session, table: &Table, names: &[&str]) -> Result<(), Fault> {
        let missing = names.iter().copied().filter(|name| table.column(name).is_none());
        let missing: Vec<&str> = missing.collect();
        let shown = missing.join("`, `");
        if self.evolve == Evolve::No {
            return Err(self.lacks(session, &shown));
        }
        let typed = self.typed(&missing, session)?;
        let sql = creation::columns(&self.name, &typed);
        let doing = format!("Adding `{shown}` to the table {}", self.name);
        session.execute(&doing, &sql).await?;
        tracing::info!(table = %self.name, columns = shown, "columns were added");
        Ok(())
    }

    /// Columns with their types.
    fn typed<'n>(
        &'n self,
        names: &[&'n str],
        session: &Session,
    ) -> Result<Vec<(&'n str, &'n str)>, Fault> {
        let typed = |name: &&'n str| match self.types.get(*name) {
            Some(known) => Ok((*name, known.as_str())),
            None => {
                let message = format!(
                    "The table {} in {} lacks `{name}`, and the topic's schema does not say of \
                     which type it would be: add it there.",
                    self.name,
                    session.shown()
                );
                Err(Fault::refused("postgres_column", message))
            }
        };
        names.iter().map(typed).collect()
    }

    fn lacks(&self, session: &Session, columns: &str) -> Fault {
        let message = format!(
            "The table {} in {} has no column `{columns}`: add it there, say `evolve: \
             add_columns`, or name the columns to write in the sink's `columns`.",
            self.name,
            session.shown()
        );
        Fault::refused("postgres_column", message)
    }

    fn missing(&self, session: &Session) -> Fault {
        let message = format!(
            "There is no table {} in {}, or `{}` may not see it: create it, or say `create: true`.",
            self.name,
            session.shown(),
            session.user()
        );
        Fault::refused("postgres_table", message)
    }
}

/// What a type needs to be told apart. `modifier` is its `atttypmod`.
fn kind(name: &str, modifier: i32) -> Kind {
    match name {
        "json" | "jsonb" => Kind::Json,
        "bytea" => Kind::Bytes,
        "interval" => Kind::Interval,
        "numeric" if modifier < 4 => Kind::Decimal(None),
        // Of the lower eleven bits, a signed number (numeric.c: `numeric_typmod_scale`).
        "numeric" => Kind::Decimal(Some(i64::from((((modifier - 4) & 0x7ff) ^ 1024) - 1024))),
        _ => Kind::Other,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A table with columns of these types.
    pub fn table(name: &str, columns: &[(&str, &str)]) -> Table {
        let column = |(name, cast): &(&str, &str)| {
            ((*name).to_owned(), Column { kind: kind(cast, -1), cast: (*cast).to_owned() })
        };
        let name = TableName::parse(name).unwrap();
        Table { name, columns: columns.iter().map(column).collect() }
    }

    #[test]
    fn a_numeric_s_decimals_are_read_from_its_modifier() {
        assert_eq!(kind("numeric", -1), Kind::Decimal(None));
        assert_eq!(kind("numeric", ((12 << 16) | 2) + 4), Kind::Decimal(Some(2)));
        assert_eq!(kind("numeric", ((3 << 16) | (-3 & 0x7ff)) + 4), Kind::Decimal(Some(-3)));
        assert_eq!(kind("text", -1), Kind::Other);
    }
}
