//! A whole file of rows, in memory by the texts of one column.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use engine::{Fault, Value};
use schemas::Schema;

use super::formats::{Found, Input, Reading, Record};
use super::making::typed;
use super::options::{Csv, Format, Writing};
pub(crate) use super::snapshot::Stamp;
use super::snapshot::unreadable;
use super::texts::Texts;

/// A file that was written to more lately than this may still be written.
pub(crate) const SETTLED: Duration = Duration::from_secs(2);
/// How many of several equal keys are named.
const NAMED: usize = 5;

/// A file to be read whole.
pub(crate) struct TableFile {
    path: PathBuf,
    key: String,
    /// The most bytes of the file.
    largest: u64,
    reading: Reading,
    texts: Texts,
    schema: Option<Schema>,
}

/// The rows of a file by their keys.
pub(crate) type Table = HashMap<String, Value>;

impl TableFile {
    /// A file of rows whose keys stand in a column. With a schema, its rows are read by it; without,
    /// columns are texts.
    ///
    /// # Errors
    /// A `Config` fault: the options cannot work.
    pub fn new(
        path: PathBuf,
        key: &str,
        largest: u64,
        csv: &Csv,
        writing: &Writing,
        schema: Option<Schema>,
    ) -> Result<Self, Fault> {
        let reading = Reading {
            format: Format::Csv(csv.clone()),
            encoding: writing.encoding()?,
            largest: usize::try_from(largest).unwrap_or(usize::MAX),
        };
        Ok(Self { path, key: key.to_owned(), largest, reading, texts: writing.texts()?, schema })
    }

    /// Its name, for people.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Whether there is such a file.
    pub fn is_there(&self) -> bool {
        self.path.exists()
    }

    /// What shows that it was written to.
    ///
    /// # Errors
    /// A `Remote` fault: there is no such file, or it cannot be looked at.
    pub fn stamp(&self) -> Result<Stamp, Fault> {
        let metadata = std::fs::metadata(&self.path);
        metadata.map(|found| Stamp::of(&found)).map_err(|error| unreadable(&self.path, &error))
    }

    /// Reads the file whole, and tells what it was.
    ///
    /// # Errors
    /// A `Remote` fault, each with a sentence that names the file: it cannot be read, is written to
    /// meanwhile, is too large, a row is none, or two have one key.
    pub fn read(&self) -> Result<(Table, Stamp), Fault> {
        let named = |fault: Fault| {
            let message = format!("`{}` cannot be looked up in: {}", self.name(), fault.message);
            Fault::remote(fault.cause, message)
        };
        self.rows().map_err(named)
    }

    fn rows(&self) -> Result<(Table, Stamp), Fault> {
        let failed = |error| unreadable(&self.path, &error);
        let file = File::open(&self.path).map_err(failed)?;
        let stamp = Stamp::of(&file.metadata().map_err(failed)?);
        if stamp.size > self.largest {
            let message =
                format!("it has {} bytes, more than `largest` ({}).", stamp.size, self.largest);
            return Err(Fault::data("file_too_large", message));
        }
        let input = Arc::new(Input { file, size: stamp.size });
        let mut records = self.reading.open(&input, Default::default())?;
        let mut table = Filling::default();
        while let Some(found) = records.next()? {
            let (row, line) = (found.row, found.line);
            self.take(found, &mut table).map_err(|fault| {
                let message = format!("row {row} (line {line}): {}", fault.message);
                Fault::data(fault.cause, message)
            })?;
        }
        if Stamp::of(&input.file.metadata().map_err(failed)?) != stamp || self.stamp()? != stamp {
            let message = "it was written to while it was read.";
            return Err(Fault::remote("file_changed", message));
        }
        Ok((table.distinct(&self.key)?, stamp))
    }

    fn take(&self, found: Found, table: &mut Filling) -> Result<(), Fault> {
        let Record::Texts(value) = found.record? else { return Ok(()) };
        let Some(columns) = value.as_object() else { return Ok(()) };
        // Spreadsheets write rows of nothing behind the last.
        if columns.values().all(|column| column.as_bytes().is_some_and(|text| text.is_empty())) {
            return Ok(());
        }
        let Some(key) = columns.get(self.key.as_str()).and_then(Value::to_str_lossy) else {
            let names: Vec<String> = columns.keys().map(|name| format!("`{name}`")).collect();
            let message = format!("there is no column `{}`, but {}.", self.key, names.join(", "));
            return Err(Fault::data("key_missing", message));
        };
        let key = key.into_owned();
        let value = match &self.schema {
            Some(schema) => typed(schema, &self.texts, value)?.value,
            None => value,
        };
        table.add(key, found.row, value);
        Ok(())
    }
}

/// Whether nobody has written to a file for so long that it is complete.
pub(crate) fn is_settled(stamp: &Stamp) -> bool {
    let seconds = u64::try_from(stamp.modified.0).unwrap_or_default();
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds + 1);
    SystemTime::now().duration_since(since).is_ok_and(|since| since >= SETTLED)
}

/// Rows, and which of them have the same key.
#[derive(Default)]
struct Filling {
    rows: HashMap<String, (u64, Value)>,
    /// A key that stands in two rows.
    equal: Vec<(String, u64, u64)>,
}

impl Filling {
    fn add(&mut self, key: String, row: u64, value: Value) {
        match self.rows.entry(key) {
            Entry::Vacant(free) => drop(free.insert((row, value))),
            Entry::Occupied(taken) => {
                self.equal.push((taken.key().clone(), taken.get().0, row));
            }
        }
    }

    /// The rows, if each has a key of its own.
    fn distinct(self, column: &str) -> Result<Table, Fault> {
        if self.equal.is_empty() {
            return Ok(self.rows.into_iter().map(|(key, (_, value))| (key, value)).collect());
        }
        let named = self.equal.iter().take(NAMED);
        let mut named: Vec<String> = named
            .map(|(key, first, second)| format!("`{key}` (rows {first} and {second})"))
            .collect();
        if self.equal.len() > NAMED {
            named.push(format!("and {} more", self.equal.len() - NAMED));
        }
        let message = format!("in `{column}` keys stand twice: {}.", named.join(", "));
        Err(Fault::data("keys_twice", message))
    }
}
