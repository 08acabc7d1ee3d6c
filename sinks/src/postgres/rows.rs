//! From events to rows.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use engine::connector::Setup;
use engine::expression::{Diagnostic, Expression, Program};
use engine::sink::{Intent, payload};
use engine::{Event, Fault, Value};

use super::catalogue::Table;
use super::text::text;
use super::{Mode, OnDelete, Options};

/// What an event does, before it is known what its columns take.
#[derive(Debug)]
pub(super) enum Act<'e> {
    /// Nothing.
    Nothing,
    /// A row is written.
    Put(Cells<'e>),
    /// The row of these keys is deleted.
    Delete(Cells<'e>),
}

/// Columns and what they are given.
type Cells<'e> = Vec<(&'e str, Cow<'e, Value>)>;

/// A row as PostgreSQL reads it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row<'e> {
    /// The event's index in the batch.
    pub index: usize,
    /// Whether it is deleted.
    pub is_deleted: bool,
    /// The columns.
    pub names: Vec<&'e str>,
    /// What each is given.
    pub texts: Vec<Option<String>>,
}

/// Rows that one statement can write: of the same columns, none of them twice.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group<'e> {
    pub is_deleted: bool,
    pub names: Vec<&'e str>,
    pub rows: Vec<Row<'e>>,
}

/// How a route's events are read.
pub(super) struct Reading {
    pub options: Options,
    columns: Vec<(String, Program)>,
    delete_by: Vec<(String, Program)>,
}

impl Act<'_> {
    /// The columns that it names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let cells = match self {
            Self::Nothing => &[],
            Self::Put(cells) | Self::Delete(cells) => cells.as_slice(),
        };
        cells.iter().map(|(name, _)| *name)
    }
}

fn compile(
    columns: &BTreeMap<String, Expression>,
    setup: &Setup,
) -> Result<Vec<(String, Program)>, Fault> {
    let compile = |(name, expression): (&String, &Expression)| {
        let program = expression.compile(setup).map_err(|found: Vec<Diagnostic>| {
            let cause = found.first().map(|first| first.cause.as_str()).unwrap_or_default();
            let message = format!("The column `{name}` cannot be compiled: {cause}");
            Fault::config("expression", message)
        })?;
        Ok((name.clone(), program))
    };
    columns.iter().map(compile).collect()
}

impl Reading {
    /// # Errors
    /// A `Config` fault: an expression cannot be compiled.
    pub fn new(options: Options, setup: &Setup) -> Result<Self, Fault> {
        let columns = compile(&options.columns, setup)?;
        let delete_by = compile(&options.delete_by, setup)?;
        Ok(Self { options, columns, delete_by })
    }

    /// The columns that make a row unique.
    pub fn keys(&self) -> &[String] {
        &self.options.keys
    }

    /// The columns of the file, with the types of what they are given.
    pub fn columns(&self) -> &[(String, Program)] {
        &self.columns
    }

    /// The columns that are known to be written before any event comes.
    pub fn declared(&self, setup: &Setup) -> Vec<String> {
        let fields = setup.input.as_object().into_iter().flat_map(|object| object.known().keys());
        let fields: Vec<String> = match self.columns.as_slice() {
            [] => fields.map(ToString::to_string).collect(),
            columns => columns.iter().map(|(name, _)| name.clone()).collect(),
        };
        let keys = self.options.keys.iter().filter(|key| !fields.contains(key));
        let keys: Vec<String> = keys.cloned().collect();
        [keys, fields].concat()
    }

    /// What would be written of an event.
    ///
    /// # Errors
    /// As those of [`draft`](Self::draft).
    pub fn intent(&self, event: &Event) -> Result<Option<Intent>, Fault> {
        let (cells, operation) = match (self.draft(event)?, self.options.mode) {
            (Act::Nothing, _) => return Ok(None),
            (Act::Delete(cells), _) => (cells, "delete"),
            (Act::Put(cells), Mode::Upsert) => (cells, "upsert"),
            (Act::Put(cells), Mode::Insert) => (cells, "insert"),
        };
        let mut row = serde_json::Map::new();
        for (name, value) in cells {
            row.insert(name.to_owned(), payload(&value)?);
        }
        let text = |key: &String| match row.get(key) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        };
        let keys: Vec<String> = self.options.keys.iter().map(text).collect();
        let key = (!keys.is_empty()).then(|| keys.join("/"));
        Ok(Some(Intent { key, operation: operation.to_owned(), payload: row.into() }))
    }

    /// What an event does.
    ///
    /// # Errors
    /// A `Data` fault: an expression fails on it, or it has no fields.
    pub fn draft<'e>(&'e self, event: &'e Event) -> Result<Act<'e>, Fault> {
        let Some(value) = &event.value else { return self.deletion(event) };
        if !self.columns.is_empty() {
            return run(&self.columns, event, value).map(Act::Put);
        }
        let Some(fields) = value.as_object().filter(|fields| !fields.is_empty()) else {
            let message = format!(
                "The event's value is {} without fields: there is nothing for the columns.",
                value.kind_str()
            );
            return Err(Fault::data("postgres_no_fields", message));
        };
        let cells = fields.iter().map(|(name, value)| (name.as_str(), Cow::Borrowed(value)));
        Ok(Act::Put(cells.collect()))
    }

    fn deletion<'e>(&'e self, event: &'e Event) -> Result<Act<'e>, Fault> {
        match self.options.on_delete {
            OnDelete::Ignore => Ok(Act::Nothing),
            OnDelete::DeadLetter => {
                let message = "The event is a deletion (a key without a value), and the sink's \
                               `on_delete` does not say what to do with one.";
                Err(Fault::data("tombstone", message))
            }
            OnDelete::Delete if !self.delete_by.is_empty() => {
                run(&self.delete_by, event, &Value::Null).map(Act::Delete)
            }
            OnDelete::Delete => {
                let key = event.key.clone().map_or(Value::Null, Value::Bytes);
                let names = self.options.keys.iter();
                Ok(Act::Delete(
                    names.map(|name| (name.as_str(), Cow::Owned(key.clone()))).collect(),
                ))
            }
        }
    }

    /// The row of what an event does.
    ///
    /// # Errors
    /// A `Data` fault: a column cannot hold what it is given, or a key is null.
    pub fn row<'e>(&self, index: usize, act: Act<'e>, table: &Table) -> Result<Row<'e>, Fault> {
        let is_deleted = matches!(act, Act::Delete(_));
        let cells = match act {
            Act::Nothing => Vec::new(),
            Act::Put(cells) | Act::Delete(cells) => cells,
        };
        let mut row =
            Row { index, is_deleted, names: Vec::new(), texts: Vec::with_capacity(cells.len()) };
        for (name, value) in cells {
            let given = table.column(name).map(|column| text(&value, &column.kind));
            let given = given.unwrap_or(Ok(None)).map_err(|cause| {
                let message = format!("The column `{name}` of {} cannot hold {cause}.", table.name);
                Fault::data("postgres_value", message)
            })?;
            row.names.push(name);
            row.texts.push(given);
        }
        // A row whose `newer_by` is nothing would be left out without a word.
        let newer = self.options.newer_by.iter().filter(|_| !row.is_deleted);
        match self.options.keys.iter().chain(newer).find(|key| row.text(key).is_none()) {
            Some(key) => {
                let message = format!(
                    "The event gives `{key}` nothing, which is one of the `keys` of {}, or its \
                     `newer_by`.",
                    table.name
                );
                Err(Fault::data("postgres_key_null", message))
            }
            None => Ok(row),
        }
    }
}

fn run<'e>(
    programs: &'e [(String, Program)],
    event: &Event,
    value: &Value,
) -> Result<Cells<'e>, Fault> {
    let run = |(name, program): &'e (String, Program)| {
        Ok((name.as_str(), Cow::Owned(program.run(event, value)?)))
    };
    programs.iter().map(run).collect()
}

impl Row<'_> {
    /// What a column is given.
    fn text(&self, name: &str) -> Option<&str> {
        let place = self.names.iter().position(|other| *other == name)?;
        self.texts.get(place)?.as_deref()
    }

    /// What makes it unique.
    fn key(&self, keys: &[String]) -> Vec<String> {
        keys.iter().map(|key| self.text(key).unwrap_or_default().to_owned()).collect()
    }
}

/// A row behind what makes it unique.
type Keyed<'e> = (Vec<String>, Row<'e>);

/// Rows in as few groups as can be: the second row of a key comes in a later group than its first,
/// and within a group rows lie in the order of their keys, in which two batches lock them without a
/// deadlock.
pub(super) fn groups<'e>(rows: Vec<Row<'e>>, keys: &[String]) -> Vec<Group<'e>> {
    let mut seen: HashMap<Vec<String>, usize> = HashMap::new();
    let mut groups: BTreeMap<(usize, bool, Vec<&str>), Vec<Keyed<'e>>> = BTreeMap::new();
    for row in rows {
        let key = row.key(keys);
        let level = match keys.is_empty() {
            true => 0,
            false => {
                let times = seen.entry(key.clone()).or_default();
                *times += 1;
                *times
            }
        };
        groups.entry((level, row.is_deleted, row.names.clone())).or_default().push((key, row));
    }
    let group = |((_, is_deleted, names), mut rows): (_, Vec<Keyed<'e>>)| {
        // Without keys all are equal, and stay as they came.
        rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        Group { is_deleted, names, rows: rows.into_iter().map(|(_, row)| row).collect() }
    };
    groups.into_iter().map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(index: usize, is_deleted: bool, cells: &[(&'static str, &str)]) -> Row<'static> {
        let names = cells.iter().map(|(name, _)| *name).collect();
        let texts = cells.iter().map(|(_, text)| Some((*text).to_owned())).collect();
        Row { index, is_deleted, names, texts }
    }

    fn indices(groups: &[Group<'_>]) -> Vec<Vec<usize>> {
        groups.iter().map(|group| group.rows.iter().map(|row| row.index).collect()).collect()
    }

    #[test]
    fn a_key_that_comes_again_is_written_after_its_first_and_a_deletion_in_between() {
        let keys = ["id".to_owned()];
        let rows = vec![
            row(0, false, &[("id", "b"), ("x", "1")]),
            row(1, false, &[("id", "a"), ("x", "1")]),
            row(2, true, &[("id", "b")]),
            row(3, false, &[("id", "b"), ("x", "2")]),
        ];
        assert_eq!(indices(&groups(rows, &keys)), [vec![1, 0], vec![2], vec![3]]);
    }

    #[test]
    fn rows_without_keys_stay_together_as_they_came_unless_their_columns_differ() {
        let rows = vec![
            row(0, false, &[("x", "2")]),
            row(1, false, &[("x", "1")]),
            row(2, false, &[("x", "1"), ("y", "1")]),
        ];
        assert_eq!(indices(&groups(rows, &[])), [vec![0, 1], vec![2]]);
    }
}
