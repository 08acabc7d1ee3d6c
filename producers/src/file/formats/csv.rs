//! Rows of columns, as RFC 4180 writes them and as spreadsheets do.

use std::sync::Arc;

use encoding_rs::Encoding;
use engine::{Fault, Value};
use vrl::value::ObjectMap;

use super::window::{Extent, Input, Window};
use super::{Found, Position, Record, Records, decode, too_large};
use crate::file::options::{Csv, Ragged};

/// The rows of a file.
pub(super) struct Rows {
    window: Window,
    options: Csv,
    encoding: &'static Encoding,
    names: Vec<String>,
    row: u64,
    largest: usize,
}

/// A row as it stands in the file.
enum Raw {
    /// It has so many bytes, its break included.
    Row(usize),
    /// It is larger than a record may be, and was passed over.
    TooLarge,
    /// A quote is opened and not closed; so many bytes are left of its first line.
    Unclosed(usize),
}

impl Rows {
    pub fn open(
        options: &Csv,
        encoding: &'static Encoding,
        input: &Arc<Input>,
        from: Position,
        largest: usize,
    ) -> Result<Self, Fault> {
        let mut rows = Self {
            window: Window::at(input, Position::default()),
            options: options.clone(),
            encoding,
            names: Vec::new(),
            row: from.row,
            largest,
        };
        rows.window.pass_head(options.skip)?;
        match &options.columns {
            Some(names) => rows.names = distinct(names),
            None => rows.read_names()?,
        }
        if from.offset > 0 {
            rows.window = Window::at(input, from);
        }
        Ok(rows)
    }

    /// The columns' names are the first row that holds something.
    fn read_names(&mut self) -> Result<(), Fault> {
        while let Some(raw) = self.raw()? {
            let Raw::Row(length) = raw else {
                let message = "The row of the columns' names cannot be read: a quote is not closed, \
                               or it is larger than `largest_record`.";
                return Err(Fault::data("names_unreadable", message));
            };
            let row = without_break(&self.window.bytes()[..length]);
            let names = (!row.is_empty()).then(|| self.split(row)).transpose()?;
            self.window.take(length);
            if let Some(names) = names {
                self.names = distinct(&names);
                return Ok(());
            }
        }
        Ok(())
    }

    /// How far the next row goes.
    fn raw(&mut self) -> Result<Option<Raw>, Fault> {
        let mut quotes = Quotes::new(&self.options);
        let extent = self.window.extent(self.largest, |part| quotes.end(part))?;
        Ok(Some(match extent {
            Extent::Unended(0) => return Ok(None),
            Extent::Whole(length) => Raw::Row(length),
            Extent::Unended(_) | Extent::TooLong if quotes.is_open() => {
                match self.window.line(self.largest)? {
                    Extent::Whole(length) | Extent::Unended(length) => Raw::Unclosed(length),
                    Extent::TooLong => self.pass_line()?,
                }
            }
            Extent::Unended(length) => Raw::Row(length),
            Extent::TooLong => self.pass_line()?,
        }))
    }

    fn pass_line(&mut self) -> Result<Raw, Fault> {
        self.window.pass(b'\n')?;
        Ok(Raw::TooLarge)
    }

    fn split(&self, row: &[u8]) -> Result<Vec<String>, Fault> {
        split(&decode(self.encoding, row)?, &self.options)
    }

    fn read(&self, row: &[u8]) -> Result<Record, Fault> {
        let columns = self.split(row)?;
        let (there, wanted) = (columns.len(), self.names.len());
        let pads =
            self.options.ragged == Ragged::Pad && columns.iter().skip(wanted).all(String::is_empty);
        if there != wanted && !pads {
            let message = format!("The row has {there} columns where there are {wanted} names.");
            return Err(Fault::data("ragged_row", message));
        }
        let named = self.names.iter().zip(columns);
        let object: ObjectMap =
            named.map(|(name, text)| (name.as_str().into(), Value::from(text))).collect();
        Ok(Record::Texts(Value::Object(object)))
    }
}

impl Records for Rows {
    fn next(&mut self) -> Result<Option<Found>, Fault> {
        loop {
            let begin = self.window.position();
            let record = match self.raw()? {
                None => return Ok(None),
                Some(Raw::TooLarge) => Err(too_large(self.largest)),
                Some(Raw::Unclosed(length)) => {
                    self.window.take(length);
                    let message = "A quote is opened in the row and closed nowhere within \
                                   `largest_record`; reading goes on with the next line.";
                    Err(Fault::data("quote_unclosed", message))
                }
                Some(Raw::Row(length)) => {
                    let row = without_break(&self.window.bytes()[..length]);
                    let record = (!row.is_empty()).then(|| self.read(row));
                    self.window.take(length);
                    match record {
                        Some(record) => record,
                        None => continue,
                    }
                }
            };
            let end = self.window.position();
            return Ok(Some(Found::next(&mut self.row, begin, end, record)));
        }
    }
}

fn without_break(row: &[u8]) -> &[u8] {
    let row = row.strip_suffix(b"\n").unwrap_or(row);
    row.strip_suffix(b"\r").unwrap_or(row)
}

/// Finds the end of a row: a line break outside quotes. A quote opens at the begin of a column only:
/// `5" pipe` holds none. (All encodings that are read have ASCII's bytes for these.)
struct Quotes {
    delimiter: u8,
    quote: u8,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Begin,
    Plain,
    Quoted,
    /// A quote within quotes: the end of them, or the first of two.
    Quote,
}

impl Quotes {
    fn new(options: &Csv) -> Self {
        let byte = |character: char| u8::try_from(character).unwrap_or_default();
        Self { delimiter: byte(options.delimiter), quote: byte(options.quote), state: State::Begin }
    }

    fn is_open(&self) -> bool {
        self.state == State::Quoted
    }

    /// How many bytes of the part belong to the row, if it ends there.
    fn end(&mut self, part: &[u8]) -> Option<usize> {
        for (index, byte) in part.iter().copied().enumerate() {
            self.state = match self.state {
                State::Quoted if byte == self.quote => State::Quote,
                State::Quoted => State::Quoted,
                State::Begin | State::Quote if byte == self.quote => State::Quoted,
                _ if byte == b'\n' => return Some(index + 1),
                _ if byte == self.delimiter => State::Begin,
                _ => State::Plain,
            };
        }
        None
    }
}

/// The columns of a row.
fn split(row: &str, options: &Csv) -> Result<Vec<String>, Fault> {
    let (quote, delimiter) = (options.quote, options.delimiter);
    let mut columns = Vec::new();
    let mut rest = row;
    loop {
        let Some(quoted) = rest.strip_prefix(quote) else {
            match rest.split_once(delimiter) {
                Some((column, others)) => {
                    columns.push(column.to_owned());
                    rest = others;
                    continue;
                }
                None => {
                    columns.push(rest.to_owned());
                    return Ok(columns);
                }
            }
        };
        let (column, after) = unquote(quoted, quote).ok_or_else(unclosed)?;
        columns.push(column);
        if after.is_empty() {
            return Ok(columns);
        }
        rest = after.strip_prefix(delimiter).ok_or_else(|| {
            let message = format!(
                "After a quote is closed there is `{}` where a delimiter is expected: a quote within \
                 quotes is doubled.",
                after.chars().take(20).collect::<String>()
            );
            Fault::data("quote_misplaced", message)
        })?;
    }
}

fn unclosed() -> Fault {
    Fault::data("quote_unclosed", "A quote is opened in the row and not closed.")
}

/// What stands before the closing quote, and what follows it.
fn unquote(text: &str, quote: char) -> Option<(String, &str)> {
    let mut column = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once(quote)?;
        column.push_str(before);
        match after.strip_prefix(quote) {
            Some(after) => {
                column.push(quote);
                rest = after;
            }
            None => return Some((column, after)),
        }
    }
}

/// Names without spaces around; of two equal ones the second is `name_2`, one that is empty `column_3`.
fn distinct(names: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let name = match name.trim() {
            "" => format!("column_{}", index + 1),
            name => name.to_owned(),
        };
        let mut given = name.clone();
        let mut count = 1;
        while all.contains(&given) {
            count += 1;
            given = format!("{name}_{count}");
        }
        all.push(given);
    }
    all
}
