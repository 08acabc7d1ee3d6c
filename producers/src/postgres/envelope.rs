//! What becomes of a change: an event, a tombstone, nothing.

use chrono::DateTime;
use chrono::SecondsFormat;
use engine::expression::{Diagnostic, Expression, Input, Own, Program};
use engine::publisher::Rejected;
use engine::{Draft, Fault, Value};
use schemas::{Schema, Segment};
use vrl::value::Kind;
use vrl::value::kind::Collection;

use super::lsn::Lsn;
use super::row::Row;
use super::text::{Reader, quote};
use super::{OnDelete, Outbox, PostgresOptions};
use crate::poll::{run, text};

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// It was there when the table was read.
    Read,
    Insert,
    Update,
    Delete,
}

impl Op {
    fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// A change of a row.
pub(super) struct Happened<'a> {
    pub op: Op,
    /// `public.orders`.
    pub table: &'a str,
    /// The columns that tell rows of the table apart.
    pub identity: Vec<&'a str>,
    /// The row before: whole, its identity, or not known.
    pub before: Option<Row>,
    /// The row after.
    pub after: Option<Row>,
    pub lsn: Lsn,
    /// When it was committed, milliseconds since the Unix epoch.
    pub time: Option<i64>,
    /// Its id.
    pub id: String,
    pub received: i64,
}

/// How changes become events.
pub(super) struct Envelope {
    schema: Schema,
    key: Option<Program>,
    event: Option<Program>,
    kind: Option<Program>,
    on_delete: OnDelete,
    pub outbox: Option<Outbox>,
    /// The fields of the topic's schema.
    fields: Vec<String>,
    /// Those of them that hold a text, also where the column holds JSON.
    texts: Vec<String>,
}

/// What expressions read.
pub(super) fn input() -> Input {
    let known = Collection::empty()
        .with_known("before", Kind::any_object().or_null())
        .with_known("after", Kind::any_object().or_null())
        .with_known("op", Kind::bytes())
        .with_known("table", Kind::bytes())
        .with_known("lsn", Kind::bytes())
        .with_known("time", Kind::bytes().or_null())
        .with_known("omitted", Kind::array(Collection::any()));
    Input::from(&Kind::object(known))
}

impl Envelope {
    /// Compiles what the file says.
    pub fn compile(
        options: &PostgresOptions,
        schema: &Schema,
        key: Option<Program>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let compile = |text: &Option<Own<Expression>>| {
            text.as_ref().map(|text| text.0.compile(input())).transpose()
        };
        let (event, kind) = (compile(&options.event)?, compile(&options.kind)?);
        let (mut fields, mut texts) = (Vec::new(), Vec::new());
        for field in schema.fields() {
            if let [Segment::Field(name)] = field.path.segments() {
                fields.push(name.clone());
                if field.kind.split(" or ").any(|kind| kind == "string") {
                    texts.push(name.clone());
                }
            }
        }
        Ok(Self {
            schema: schema.clone(),
            key,
            event,
            kind,
            on_delete: options.on_delete,
            outbox: options.outbox.clone(),
            fields,
            texts,
        })
    }

    /// Whether the topic's events have this column, or an expression could read it.
    pub fn needs(&self, column: &str) -> bool {
        self.event.is_some() || self.fields.iter().any(|field| field == column)
    }

    /// The event of a change; nothing for one that makes none.
    ///
    /// # Errors
    /// A `Data` fault: it makes no event of this topic.
    pub fn draft(&self, change: &Happened<'_>) -> Result<Option<Draft>, Fault> {
        if let Some(outbox) = &self.outbox {
            return match change.op {
                Op::Read | Op::Insert => self.posted(outbox, change).map(Some),
                Op::Update | Op::Delete => Ok(None),
            };
        }
        match (change.op, self.on_delete) {
            (Op::Delete, OnDelete::Ignore) => Ok(None),
            (Op::Delete, OnDelete::Tombstone) => self.tombstone(change).map(Some),
            _ => self.event(change).map(Some),
        }
    }

    fn event(&self, change: &Happened<'_>) -> Result<Draft, Fault> {
        let row = change.after.as_ref().or(change.before.as_ref());
        let omitted = row.map(Row::unknown).unwrap_or_default();
        let json = match &self.event {
            Some(program) => schemas::json::write(&run(program, &self.change(change)?)?),
            None => {
                if let Some(column) = omitted.iter().find(|column| self.needs(column)) {
                    return Err(Fault::data("column_unknown", unknown(change.table, column)));
                }
                let mut json = String::new();
                match row {
                    Some(row) => row.write(Reader::Schema, &self.texts, &mut json),
                    None => json.push_str("null"),
                }
                json
            }
        };
        let value = self.read(&json)?;
        let key = match &self.key {
            Some(program) => Some(text(program, &value)?),
            None => row.and_then(|row| identity(row, &change.identity)),
        };
        Ok(Draft { value: Some(value), key, ..self.bare(change)? })
    }

    /// A tombstone: its key is made of what is known of the row.
    fn tombstone(&self, change: &Happened<'_>) -> Result<Draft, Fault> {
        let Some(row) = &change.before else {
            return Err(Fault::data("row_unknown", "What was deleted is not told."));
        };
        let key = match (&self.key, &self.event) {
            (None, _) => identity(row, &change.identity),
            (Some(key), Some(event)) => Some(text(key, &run(event, &self.change(change)?)?)?),
            (Some(key), None) => {
                let mut json = String::new();
                row.write(Reader::Expression, &[], &mut json);
                Some(text(key, &plain(&json)?)?)
            }
        };
        Ok(Draft { value: None, key, ..self.bare(change)? })
    }

    /// The event that an outbox' row holds.
    fn posted(&self, outbox: &Outbox, change: &Happened<'_>) -> Result<Draft, Fault> {
        let row = change.after.as_ref();
        let column = |name: &str| {
            let found = row.and_then(|row| row.text(name));
            found.ok_or_else(|| {
                let message = format!("The outbox' row has no `{name}`, or it is null.");
                Fault::data("outbox_column", message)
            })
        };
        let payload = row.and_then(|row| row.cell(&outbox.payload));
        let value = match payload {
            Some(super::pgoutput::Cell::Null) => None,
            _ => Some(self.read(&column(&outbox.payload)?)?),
        };
        let key = match (&self.key, &value, &outbox.key) {
            (Some(program), Some(value), _) => Some(text(program, value)?),
            (_, _, Some(name)) => Some(column(name)?),
            _ => None,
        };
        let kind = outbox.kind.as_ref().map(|name| column(name)).transpose()?;
        Ok(Draft { id: column(&outbox.id)?, kind, key, value, ..self.bare(change)? })
    }

    /// What all events have.
    fn bare(&self, change: &Happened<'_>) -> Result<Draft, Fault> {
        let kind = match &self.kind {
            Some(program) => text(program, &self.change(change)?)?,
            None => format!("{}.{}", change.table, change.op.word()),
        };
        Ok(Draft {
            id: change.id.clone(),
            kind: Some(kind),
            time: change.time,
            traceparent: None,
            received: change.received,
            key: None,
            value: None,
        })
    }

    fn read(&self, json: &str) -> Result<Value, Fault> {
        let read = schemas::json::read(&self.schema, json.as_bytes()).map_err(|error| {
            let message = format!("The row does not fit the topic's schema: {error}.");
            Fault::data("invalid_row", message)
        })?;
        Ok(read.value)
    }

    /// A change as expressions read it.
    fn change(&self, change: &Happened<'_>) -> Result<Value, Fault> {
        plain(&json(change))
    }

    /// A change that makes no event, to be kept.
    pub fn rejected(&self, change: &Happened<'_>) -> Rejected {
        let headers = [("content-type", "application/json".to_owned())];
        Rejected::of(change.id.clone(), json(change), headers, change.received)
    }
}

fn json(change: &Happened<'_>) -> String {
    let mut out = String::from("{");
    for (name, row) in [("before", &change.before), ("after", &change.after)] {
        quote(name, &mut out);
        out.push(':');
        match row {
            Some(row) => row.write(Reader::Expression, &[], &mut out),
            None => out.push_str("null"),
        }
        out.push(',');
    }
    let time = change.time.and_then(DateTime::from_timestamp_millis);
    let time = time.map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true));
    let omitted = change.after.as_ref().map(Row::unknown).unwrap_or_default();
    let rest = serde_json::json!({
        "op": change.op.word(),
        "table": change.table,
        "lsn": change.lsn.to_string(),
        "time": time,
        "omitted": omitted,
    });
    out.push_str(rest.to_string().trim_start_matches('{'));
    out
}

fn plain(json: &str) -> Result<Value, Fault> {
    schemas::json::read_plain(json.as_bytes()).map_err(|error| {
        Fault::data("invalid_row", format!("The row cannot be read as JSON: {error}."))
    })
}

fn unknown(table: &str, column: &str) -> String {
    format!(
        "The log does not hold the long value of `{column}`, which the update did not change, and the \
         row is not there any more, or was changed since: a later event tells what became of it. ALTER \
         TABLE {table} REPLICA IDENTITY FULL; logs such values."
    )
}

/// The key of a row: the values that tell it apart, joined by `/`.
fn identity(row: &Row, columns: &[&str]) -> Option<String> {
    if columns.is_empty() {
        return None;
    }
    row.texts(columns.iter().copied()).map(|texts| texts.join("/"))
}
