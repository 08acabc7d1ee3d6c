//! The cursor of a source that must run once: written in one transaction with the events before it.

use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::kafka::{
    Cluster, OWNERS_TOPIC, ReadFrom, Reader, Record, Transactions, Unwritten, blocking, open_end,
    stable_end,
};
use crate::publisher::Placed;
use crate::{Fault, Headers};

const VERSION: u32 = 1;
/// How long the transactions of other sources may hide our last cursor: the brokers end those of the
/// dead after ten seconds, and look for them every ten.
const HIDDEN: Duration = Duration::from_secs(40);
/// How often to look whether they have ended.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    version: u32,
    cursor: String,
}

/// A source's cursor, while it is ours.
pub(crate) struct Cursor {
    route: Arc<str>,
    transactions: Arc<Transactions>,
    last: Option<String>,
}

impl Cursor {
    /// Fences whoever ran the source before, ends what that one left open, and reads its last cursor.
    ///
    /// # Errors
    /// A `Remote` fault when the brokers are away or refuse.
    pub async fn open(cluster: &Cluster, route: &Arc<str>, id: String) -> Result<Self, Fault> {
        let transactions = Arc::new(Transactions::new(cluster, id, Duration::ZERO));
        let (opened, cluster, name) = (Arc::clone(&transactions), cluster.clone(), route.clone());
        let last = blocking(move || {
            opened.open()?;
            read(&cluster, &name)
        });
        Ok(Self { last: last.await?, route: Arc::clone(route), transactions })
    }

    /// The cursor that was last written before the source was started.
    pub fn last(&self) -> Option<String> {
        self.last.clone()
    }

    /// The record that keeps a cursor.
    ///
    /// # Errors
    /// An `Internal` fault: it cannot be written down.
    pub fn record(&self, cursor: String) -> Result<Record, Fault> {
        let kept = serde_json::to_vec(&Kept { version: VERSION, cursor })
            .map_err(|error| Fault::internal("cursor_record", error.to_string()))?;
        Ok(Record {
            topic: OWNERS_TOPIC.into(),
            partition: Some(0),
            key: Some(Bytes::copy_from_slice(self.route.as_bytes())),
            payload: Some(kept.into()),
            headers: Headers::default(),
        })
    }

    /// Writes records, the cursor behind them the last, in one transaction, no two of these runs of
    /// them in one batch.
    ///
    /// # Errors
    /// Nothing of it can be seen, unless its outcome is unknown. What was written stands in the cursor
    /// that the next start reads.
    pub async fn write(
        &self,
        records: Arc<Vec<Record>>,
        runs: Vec<Range<usize>>,
    ) -> Result<Vec<Placed>, Unwritten> {
        let transactions = Arc::clone(&self.transactions);
        let written = blocking(move || Ok(transactions.write(&records, &runs))).await;
        written.unwrap_or_else(|fault| Err(fault.into()))
    }
}

/// The last cursor. All sources share a partition, and what another has open there hides what lies
/// behind it: what was there when ours began is waited for. Blocks.
fn read(cluster: &Cluster, route: &str) -> Result<Option<String>, Fault> {
    let end = open_end(cluster, OWNERS_TOPIC, 0)?;
    let started = Instant::now();
    while stable_end(cluster, OWNERS_TOPIC, 0)? < end {
        if started.elapsed() > HIDDEN {
            let message = "The last cursor is hidden by another source's open transaction.";
            return Err(Fault::remote("cursor_hidden", message));
        }
        thread::sleep(LOOK_AGAIN);
    }
    let mut last = None;
    Reader::open(cluster, OWNERS_TOPIC, ReadFrom::Beginning)?.read_to_end(|event| {
        if event.key.as_deref() == Some(route.as_bytes()) {
            last = event.payload;
        }
    })?;
    let read = |payload: Bytes| {
        serde_json::from_slice::<Kept>(&payload).map(|kept| kept.cursor).map_err(|error| {
            let message =
                format!("The cursor of {route} in {OWNERS_TOPIC} is unreadable: {error}.");
            Fault::config("cursor_unreadable", message)
        })
    };
    last.map(read).transpose()
}
