//! What the stream tells of: tables, and the transaction that is being sent.

use std::sync::Arc;

use engine::Fault;

use super::catalogue::Table;
use super::cursor::Change;
use super::lsn::Lsn;
use super::pgoutput::Tuple;
use super::row::{Column, Row};

/// A table as the stream tells it.
pub(super) struct Known {
    pub name: String,
    /// Whether old rows come whole.
    pub full: bool,
    pub columns: Arc<[Column]>,
    /// The columns that are sent of old rows.
    pub keys: Vec<String>,
    /// The table, if it is one of ours.
    pub table: Option<Arc<Table>>,
}

/// A transaction that is being sent.
pub(super) struct Open {
    pub commit: Lsn,
    pub xid: u32,
    /// Milliseconds since the Unix epoch.
    pub time: i64,
    pub change: Option<Change>,
    /// The last change that was published before.
    pub published: Option<Change>,
}

impl Open {
    /// The next change's place; nothing if it was published before.
    pub fn advance(&mut self, at: Lsn) -> Option<Change> {
        let index = match self.change {
            Some(last) if last.at == at => last.index + 1,
            _ => 0,
        };
        let change = Change { at, index };
        self.change = Some(change);
        (self.published < Some(change)).then_some(change)
    }
}

impl Known {
    /// A row of it.
    pub fn row(&self, cells: Tuple) -> Result<Row, Fault> {
        if cells.len() != self.columns.len() {
            let message = format!("A row of {} has not as many values as columns.", self.name);
            return Err(Fault::internal("pgoutput", message));
        }
        Ok(Row { columns: Arc::clone(&self.columns), cells })
    }
}
