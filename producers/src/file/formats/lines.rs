//! Formats with a record a line: JSON lines, and columns at fixed places.

use std::sync::Arc;

use encoding_rs::Encoding;
use engine::{Fault, Value};
use vrl::value::ObjectMap;

use super::window::{Extent, Input, Window};
use super::{Found, Position, Record, Records, decode, too_large};
use crate::file::options::FixedWidth;

/// The lines of a file that hold something.
struct Lines {
    window: Window,
    row: u64,
    largest: usize,
}

impl Lines {
    fn open(input: &Arc<Input>, from: Position, skip: u32, largest: usize) -> Result<Self, Fault> {
        let mut window = Window::at(input, from);
        if from.offset == 0 {
            window.pass_head(skip)?;
        }
        Ok(Self { window, row: from.row, largest })
    }

    /// The next line, made a record by `read`, without its break.
    fn next(
        &mut self,
        read: impl Fn(&[u8]) -> Result<Record, Fault>,
    ) -> Result<Option<Found>, Fault> {
        loop {
            let begin = self.window.position();
            let record = match self.window.line(self.largest)? {
                Extent::Unended(0) => return Ok(None),
                Extent::TooLong => {
                    self.window.pass(b'\n')?;
                    Err(too_large(self.largest))
                }
                Extent::Whole(length) | Extent::Unended(length) => {
                    let line = self.window.bytes()[..length].trim_ascii_end();
                    let record = (!line.is_empty()).then(|| read(line));
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

/// A JSON value a line.
pub(super) struct JsonLines(Lines);

impl JsonLines {
    pub fn open(input: &Arc<Input>, from: Position, largest: usize) -> Result<Self, Fault> {
        Lines::open(input, from, 0, largest).map(Self)
    }
}

impl Records for JsonLines {
    fn next(&mut self) -> Result<Option<Found>, Fault> {
        self.0.next(|line| Ok(Record::Json(line.to_vec())))
    }
}

/// Lines whose columns have fixed places.
pub(super) struct FixedLines {
    lines: Lines,
    options: FixedWidth,
    encoding: &'static Encoding,
}

impl FixedLines {
    pub fn open(
        options: &FixedWidth,
        encoding: &'static Encoding,
        input: &Arc<Input>,
        from: Position,
        largest: usize,
    ) -> Result<Self, Fault> {
        let lines = Lines::open(input, from, options.skip, largest)?;
        Ok(Self { lines, options: options.clone(), encoding })
    }
}

impl Records for FixedLines {
    fn next(&mut self) -> Result<Option<Found>, Fault> {
        let Self { lines, options, encoding } = self;
        lines.next(|line| {
            let characters: Vec<char> = decode(encoding, line)?.chars().collect();
            let mut columns = ObjectMap::new();
            for (name, place) in &options.columns {
                let start = place.start.saturating_sub(1);
                // Spaces at a line's end are often left out, and columns with them.
                if start < characters.len() {
                    let end = start.saturating_add(place.length).min(characters.len());
                    let text: String = characters[start..end].iter().collect();
                    columns.insert(name.as_str().into(), Value::from(text.trim()));
                } else {
                    columns.insert(name.as_str().into(), Value::from(""));
                }
            }
            Ok(Record::Texts(Value::Object(columns)))
        })
    }
}
