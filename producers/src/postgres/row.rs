//! A row, however it came.

use std::sync::Arc;

use super::pgoutput::Cell;
use super::text::{Kind, Reader, quote};

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    /// Its name.
    pub name: String,
    /// How its texts are read.
    pub kind: Kind,
}

/// A row: values in the order of its columns.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub columns: Arc<[Column]>,
    pub cells: Vec<Cell>,
}

impl Row {
    /// Its values with their columns.
    fn iter(&self) -> impl Iterator<Item = (&Column, &Cell)> {
        self.columns.iter().zip(&self.cells)
    }

    /// The value of a column.
    pub fn cell(&self, name: &str) -> Option<&Cell> {
        self.iter().find(|(column, _)| column.name == name).map(|(_, cell)| cell)
    }

    /// The text of a column; nothing if it is null, or not known.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.cell(name)? {
            Cell::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            Cell::Null | Cell::Unchanged => None,
        }
    }

    /// The texts of these columns; nothing if one is null, or not known.
    pub fn texts<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Option<Vec<String>> {
        names.into_iter().map(|name| self.text(name)).collect()
    }

    /// The columns whose values are not known.
    pub fn unknown(&self) -> Vec<String> {
        let unknown = self.iter().filter(|(_, cell)| **cell == Cell::Unchanged);
        unknown.map(|(column, _)| column.name.clone()).collect()
    }

    /// Puts a value in the place of one that is not known.
    pub fn fill(&mut self, name: &str, value: Cell) {
        let place = self.columns.iter().position(|column| column.name == name);
        let cell = place.and_then(|place| self.cells.get_mut(place));
        if let Some(cell) = cell.filter(|cell| **cell == Cell::Unchanged) {
            *cell = value;
        }
    }

    /// The same row with these columns only.
    pub fn only(&self, names: &[String]) -> Self {
        let kept = self.iter().filter(|(column, _)| names.contains(&column.name));
        let (columns, cells): (Vec<_>, Vec<_>) =
            kept.map(|(column, cell)| (column.clone(), cell.clone())).unzip();
        Self { columns: columns.into(), cells }
    }

    /// About how many bytes it holds.
    pub fn bytes(&self) -> usize {
        let bytes = |cell: &Cell| match cell {
            Cell::Text(text) => text.len() + 32,
            Cell::Null | Cell::Unchanged => 32,
        };
        self.cells.iter().map(bytes).sum()
    }

    /// Writes it as a JSON object, without what is not known. JSON documents in `as_text` are
    /// written as texts.
    pub fn write(&self, reader: Reader, as_text: &[String], out: &mut String) {
        out.push('{');
        let known = self.iter().filter(|(_, cell)| **cell != Cell::Unchanged);
        for (place, (column, cell)) in known.enumerate() {
            if place > 0 {
                out.push(',');
            }
            quote(&column.name, out);
            out.push(':');
            match cell {
                Cell::Text(text) => {
                    let text = String::from_utf8_lossy(text);
                    let whole = column.kind == Kind::Json && as_text.contains(&column.name);
                    let kind = if whole { &Kind::Text } else { &column.kind };
                    kind.write(&text, reader, out);
                }
                Cell::Null | Cell::Unchanged => out.push_str("null"),
            }
        }
        out.push('}');
    }
}
