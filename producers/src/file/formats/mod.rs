//! What files are made of: each format cuts a file into records, one after another, in memory that is
//! bounded by the largest record.

mod csv;
mod decoded;
mod edi;
mod lines;
mod message;
mod segment;
mod window;
mod xml;

use std::sync::Arc;

use encoding_rs::Encoding;
use engine::{Domain, Fault, Value};
use serde::{Deserialize, Serialize};

use super::options::{Format, ReadingOptions};
pub(super) use window::{Input, changed};

/// How far a file was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// How many records came before, those of the dead letters among them.
    pub row: u64,
    /// How many line breaks came before.
    pub line: u64,
    /// How many bytes came before.
    pub offset: u64,
}

/// A record as the format has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Record {
    /// Texts in objects and lists, to be read as the schema says.
    Texts(Value),
    /// A JSON text.
    Json(Vec<u8>),
}

/// A record, or what stands where one should.
#[derive(Debug)]
pub(super) struct Found {
    /// Its number in the file, from 1.
    pub row: u64,
    /// The line it begins in, from 1.
    pub line: u64,
    /// Where its bytes are.
    pub bytes: std::ops::Range<u64>,
    /// Where the next one begins.
    pub after: Position,
    /// What it is, or why it is none.
    pub record: Result<Record, Fault>,
    /// Whether nothing can be read behind it.
    pub last: bool,
}

impl Found {
    /// The record that was read from `begin` to `end`; its row is counted.
    fn next(row: &mut u64, begin: Position, end: Position, record: Result<Record, Fault>) -> Self {
        *row += 1;
        let after = Position { row: *row, ..end };
        let bytes = begin.offset..after.offset;
        Self { row: *row, line: begin.line + 1, bytes, after, record, last: false }
    }

    /// What cannot be read from `begin` on, where reading has come to `end`: it is one dead letter,
    /// and the end of a file of `size` bytes.
    ///
    /// # Errors
    /// The fault itself, if it is none of the data.
    fn rest(
        row: &mut u64,
        begin: Position,
        end: Position,
        size: u64,
        fault: Fault,
    ) -> Result<Self, Fault> {
        if fault.domain != Domain::Data {
            return Err(fault);
        }
        let message = format!("{} Nothing behind it is read.", fault.message);
        let end = Position { offset: size, ..end };
        let found = Self::next(row, begin, end, Err(Fault::data(fault.cause, message)));
        Ok(Self { last: true, ..found })
    }
}

/// The records of a file, in order.
pub(super) trait Records: Send {
    /// The next record; nothing at the file's end.
    ///
    /// # Errors
    /// A `Remote` fault: the file cannot be read, or ends before the end that it had.
    fn next(&mut self) -> Result<Option<Found>, Fault>;
}

/// What files are read with.
#[derive(Clone)]
pub(super) struct Reading {
    pub format: Format,
    pub encoding: Option<&'static Encoding>,
    /// The most bytes of a record.
    pub largest: usize,
}

impl Reading {
    /// The records of a file from a position on.
    ///
    /// # Errors
    /// A `Remote` fault: the file cannot be read. A `Data` fault: it is none of this format.
    pub fn open(&self, input: &Arc<Input>, from: Position) -> Result<Box<dyn Records>, Fault> {
        let usual = ReadingOptions::usual_encoding(self.encoding);
        Ok(match &self.format {
            Format::Csv(options) => {
                Box::new(csv::Rows::open(options, usual, input, from, self.largest)?)
            }
            Format::JsonLines => Box::new(lines::JsonLines::open(input, from, self.largest)?),
            Format::FixedWidth(options) => {
                Box::new(lines::FixedLines::open(options, usual, input, from, self.largest)?)
            }
            // Their records depend on what came before: they are read from the beginning.
            Format::Xml(options) => {
                let elements = xml::Elements::open(options, self.encoding, input, self.largest)?;
                passed(Box::new(elements), from)?
            }
            Format::Edifact(options) => {
                let dialect = edi::Dialect::Edifact { types: options.messages.clone() };
                let messages = edi::Messages::open(dialect, self.encoding, input, self.largest)?;
                passed(Box::new(messages), from)?
            }
            Format::X12(options) => {
                let dialect = edi::Dialect::X12 { types: options.transactions.clone() };
                let messages = edi::Messages::open(dialect, self.encoding, input, self.largest)?;
                passed(Box::new(messages), from)?
            }
        })
    }
}

/// Reads on to a position.
fn passed(mut records: Box<dyn Records>, from: Position) -> Result<Box<dyn Records>, Fault> {
    for _ in 0..from.row {
        if records.next()?.is_none() {
            break;
        }
    }
    Ok(records)
}

/// A text in its encoding.
fn decode(encoding: &'static Encoding, bytes: &[u8]) -> Result<String, Fault> {
    match encoding.decode_without_bom_handling_and_without_replacement(bytes) {
        Some(text) => Ok(text.into_owned()),
        None => Err(Fault::data(
            "not_in_encoding",
            format!(
                "The bytes are not {}: set `encoding`, for example CP1252 for files of Windows.",
                encoding.name()
            ),
        )),
    }
}

fn too_large(largest: usize) -> Fault {
    let message = format!(
        "The record is larger than `largest_record` ({largest} bytes); the dead letter has its first bytes."
    );
    Fault::data("record_too_large", message)
}

#[cfg(test)]
mod tests;
