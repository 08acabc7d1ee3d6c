//! CSV as spreadsheets open it. RFC 4180, with the delimiter and the decimal sign of the country.

use engine::{Fault, Value};
use schemars::JsonSchema;
use schemas::columns::{Column, Type};
use serde::Deserialize;

use super::rows::{Format, Rows};

/// How CSV is written. Timestamps are `2026-01-31 10:00:00`, in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Csv {
    /// What stands between cells: `,`, `;` (where the comma is the decimal sign) or a tab.
    pub delimiter: char,
    /// The decimal sign.
    pub decimal: Decimal,
    /// Whether the file begins with a byte order mark, by which spreadsheets know UTF-8.
    pub bom: bool,
    /// Whether texts that a spreadsheet would run as a formula (they begin with `=`, `+`, `-`, `@`, a
    /// tab or a line break) get a `'` before them. Texts that are numbers, such as `-5.20`, do not.
    pub escape_formulas: bool,
    /// Whether texts of digits that a spreadsheet would change (leading zeros, more than 15 digits)
    /// are written `="00123"`. `false` writes `00123`: for programs.
    pub keep_digits: bool,
}

/// A decimal sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Decimal {
    /// `1234.50`
    #[serde(rename = ".")]
    Point,
    /// `1234,50`
    #[serde(rename = ",")]
    Comma,
}

impl Default for Csv {
    fn default() -> Self {
        Self {
            delimiter: ',',
            decimal: Decimal::Point,
            bom: true,
            escape_formulas: true,
            keep_digits: true,
        }
    }
}

impl Csv {
    /// # Errors
    /// What is wrong with the delimiter.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.delimiter {
            ',' | ';' | '\t' | '|' => Ok(()),
            other => Err(format!("`{other}` cannot stand between the cells of a CSV file.")),
        }
    }
}

/// More digits than a spreadsheet keeps.
const MOST_DIGITS: usize = 15;

pub(super) struct Table {
    csv: Csv,
    cells: Vec<Cell>,
}

/// One column: the way to its value, and what it is.
#[derive(Clone)]
struct Cell {
    path: Vec<String>,
    kind: Type,
}

impl Table {
    pub fn new(csv: Csv, columns: &[Column]) -> Self {
        let mut cells = Vec::new();
        flatten(columns, &[], &mut cells);
        Self { csv, cells }
    }
}

fn flatten(columns: &[Column], above: &[String], cells: &mut Vec<Cell>) {
    for Column { name, kind, .. } in columns {
        let path = [above, std::slice::from_ref(name)].concat();
        match kind {
            Type::Record(inner) => flatten(inner, &path, cells),
            kind => cells.push(Cell { path, kind: kind.clone() }),
        }
    }
}

impl Format for Table {
    fn extension(&self) -> &'static str {
        "csv"
    }

    fn begin(&self) -> Box<dyn Rows> {
        let mut out = String::new();
        if self.csv.bom {
            out.push('\u{feff}');
        }
        let mut lines = Lines { csv: self.csv.clone(), cells: self.cells.clone(), out };
        let heads: Vec<_> =
            self.cells.iter().map(|cell| lines.text(&cell.path.join("."))).collect();
        lines.line(&heads);
        Box::new(lines)
    }
}

struct Lines {
    csv: Csv,
    cells: Vec<Cell>,
    out: String,
}

impl Rows for Lines {
    fn add(&mut self, value: &Value) -> Result<(), Fault> {
        let row: Vec<_> = self.cells.iter().map(|cell| self.cell(cell, value)).collect();
        self.line(&row);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>, Fault> {
        Ok(self.out.into_bytes())
    }
}

impl Lines {
    fn line(&mut self, row: &[String]) {
        for (index, cell) in row.iter().enumerate() {
            if index > 0 {
                self.out.push(self.csv.delimiter);
            }
            let quoted = |c: char| c == self.csv.delimiter || matches!(c, '"' | '\r' | '\n');
            match cell.contains(quoted) {
                true => {
                    self.out.push('"');
                    self.out.push_str(&cell.replace('"', "\"\""));
                    self.out.push('"');
                }
                false => self.out.push_str(cell),
            }
        }
        self.out.push_str("\r\n");
    }

    fn cell(&self, cell: &Cell, row: &Value) -> String {
        let found =
            cell.path.iter().try_fold(row, |value, name| value.as_object()?.get(name.as_str()));
        let value = found.unwrap_or(&Value::Null);
        match (&cell.kind, value) {
            (_, Value::Null) => String::new(),
            (Type::Decimal { .. }, value) => self.number(&value.to_string_lossy()),
            (_, Value::Integer(number)) => number.to_string(),
            (_, Value::Float(number)) => self.number(&number.into_inner().to_string()),
            (_, Value::Boolean(boolean)) => boolean.to_string(),
            (_, Value::Timestamp(time)) => time.naive_utc().to_string(),
            // Bytes are base64 in JSON too.
            (Type::Text | Type::Bytes, value) => self.text(&bare(value)),
            (Type::Date | Type::Time(_), value) => value.to_string_lossy().into_owned(),
            (Type::Local(_), value) => value.to_string_lossy().replace('T', " "),
            (_, value) => self.text(&schemas::json::write(value)),
        }
    }

    fn number(&self, text: &str) -> String {
        match self.csv.decimal {
            Decimal::Point => text.to_owned(),
            Decimal::Comma => text.replace('.', ","),
        }
    }

    fn text(&self, text: &str) -> String {
        let zeros = text.len() > 1 && text.starts_with('0');
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if self.csv.keep_digits && digits && (zeros || text.len() > MOST_DIGITS) {
            return format!("=\"{text}\"");
        }
        let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
        match self.csv.escape_formulas && formula && !is_negative_number(text) {
            true => format!("'{text}"),
            false => text.to_owned(),
        }
    }
}

/// The text itself; bytes that are no text in base64.
fn bare(value: &Value) -> String {
    match value {
        Value::Bytes(bytes) if std::str::from_utf8(bytes).is_err() => {
            schemas::json::write(value).trim_matches('"').to_owned()
        }
        value => value.to_string_lossy().into_owned(),
    }
}

/// `-5`, `-5.20`, `-5,20`.
fn is_negative_number(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('-') else { return false };
    let mut parts = rest.splitn(2, ['.', ',']);
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.all(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(csv: Csv, text: &str) -> String {
        Lines { csv, cells: Vec::new(), out: String::new() }.text(text)
    }

    #[test]
    fn what_a_spreadsheet_would_run_or_change_is_kept_as_text() {
        for (text, shown) in [
            ("=1+1", "'=1+1"),
            ("+33 1 23", "'+33 1 23"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("-cmd|' /C calc'!A0", "'-cmd|' /C calc'!A0"),
            ("\t=1", "'\t=1"),
            ("-5", "-5"),
            ("-5.20", "-5.20"),
            ("-5,20", "-5,20"),
            ("-5-2", "'-5-2"),
            ("-", "'-"),
            ("-5.", "'-5."),
            ("00123", "=\"00123\""),
            ("0", "0"),
            ("4012345678901234", "=\"4012345678901234\""),
            ("401234567890", "401234567890"),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            assert_eq!(written(Csv::default(), text), shown);
        }
        let plain = Csv { escape_formulas: false, keep_digits: false, ..Csv::default() };
        for text in ["=1+1", "00123"] {
            assert_eq!(written(plain.clone(), text), text);
        }
    }
}
