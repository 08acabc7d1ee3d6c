//! Groups of rows, written: whole, and where one of them does not fit, in halves, until it is found.

use database::Said;
use database::tokio_postgres::types::ToSql;
use engine::{Delivery, Domain, Fault};

use super::catalogue::Table;
use super::rows::{Group, Row};
use super::session::Session;
use super::{Mode, Options, statement};

/// What became of an event.
pub(super) type Verdict = Result<Delivery, Fault>;

/// A row that the statement would touch twice: keys whose texts differ can be equal (`1`, `1.0`).
const TOUCHED_TWICE: &str = "21000";

/// The writing of one batch.
pub(super) struct Writing<'w> {
    pub session: &'w Session,
    pub table: &'w Table,
    pub options: &'w Options,
    /// Whether a transaction is open.
    pub within: bool,
    pub verdicts: &'w mut [Option<Verdict>],
}

impl Writing<'_> {
    /// Writes a group, and notes what became of each of its events.
    ///
    /// # Errors
    /// A fault of the server or the table: what has no verdict was not written, or nobody knows.
    pub async fn write(&mut self, mut group: Group<'_>) -> Result<(), Fault> {
        let sql = statement::of(&group, self.table, self.options);
        // The stretches that are still to be written, the next one last.
        let mut open = Vec::from([(0, group.rows.len())]);
        while let Some((from, to)) = open.pop() {
            let rows = &group.rows[from..to];
            match self.attempt(&sql, rows).await {
                Ok(touched) => {
                    let delivery = self.delivery(group.is_deleted, rows.len(), touched);
                    rows.iter().for_each(|row| self.note(row, Ok(delivery.clone())));
                }
                Err((_, fault)) if fault.domain != Domain::Data => return Err(fault),
                Err((_, fault)) if rows.len() == 1 => {
                    rows.iter().for_each(|row| self.note(row, Err(fault.clone())));
                }
                Err((said, _)) => {
                    if said.code.as_deref() == Some(TOUCHED_TWICE) {
                        group.rows[from..to].sort_by_key(|row| row.index);
                    }
                    let middle = from.midpoint(to);
                    open.extend([(middle, to), (from, middle)]);
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, row: &Row<'_>, verdict: Verdict) {
        if let Some(noted) = self.verdicts.get_mut(row.index) {
            *noted = Some(verdict);
        }
    }

    async fn attempt(&self, sql: &str, rows: &[Row<'_>]) -> Result<u64, (Said, Fault)> {
        let doing = format!("Writing to {}", self.table.name);
        let nothing = |fault| (Said { code: None, message: String::new() }, fault);
        let statement = self.session.prepare(&doing, sql).await.map_err(nothing)?;
        let width = rows.first().map_or(0, |row| row.texts.len());
        let columns: Vec<Vec<Option<&str>>> = (0..width)
            .map(|column| rows.iter().map(|row| row.texts[column].as_deref()).collect())
            .collect();
        let parameters: Vec<&(dyn ToSql + Sync)> =
            columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect();
        let written = self.session.write(&statement, &parameters, self.within).await;
        written.map_err(|said| {
            let fault = self.session.row_fault(&doing, &said);
            (said, fault)
        })
    }

    /// What the server did with so many rows, of which it touched so many.
    fn delivery(&self, is_deleted: bool, rows: usize, touched: u64) -> Delivery {
        let (none, all) = (touched == 0, touched == rows as u64);
        let is_keyed = !self.options.keys.is_empty();
        let (answer, already_there) = match (is_deleted, self.options.mode) {
            (true, _) if none => ("was deleted before", true),
            (true, _) => ("deleted", false),
            (false, Mode::Insert) if is_keyed && none => ("was there before", true),
            (false, Mode::Insert) if is_keyed && !all => ("inserted, or there before", false),
            (false, Mode::Insert) => ("inserted", false),
            (false, Mode::Upsert) if none => ("the row is newer", true),
            (false, Mode::Upsert) if !all => ("upserted, or the row is newer", false),
            (false, Mode::Upsert) => ("upserted", false),
        };
        Delivery { answer: format!("{}: {answer}", self.table.name), already_there }
    }
}
