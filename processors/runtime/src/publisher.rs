//! How a source puts events on its topic.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Draft, Fault, Headers};

/// Where an event landed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
}

/// An event kept as it came because it cannot be one of the topic's: it goes to the source's dead
/// letters, byte for byte.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// The application's id of it.
    pub id: String,
    /// The key that it came with.
    pub key: Option<Bytes>,
    /// The bytes as received; none if it came without.
    pub body: Option<Bytes>,
    /// What came with it (content type, the application's own headers), without secrets.
    pub headers: Headers,
    /// When it was received, milliseconds since the Unix epoch.
    pub received: i64,
}

impl Rejected {
    /// What came with headers of text, and without a key.
    pub fn of(
        id: String,
        body: impl Into<Bytes>,
        headers: impl IntoIterator<Item = (&'static str, String)>,
        received: i64,
    ) -> Self {
        let headers = headers.into_iter().map(|(name, value)| (name, Some(value.into())));
        Self { id, key: None, body: Some(body.into()), headers: headers.collect(), received }
    }
}

/// How far a source has come with the rows of a table that were there before it began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The table.
    pub table: String,
    /// So many of its rows are read.
    pub rows: u64,
    /// Of about so many, if that is known.
    pub about: Option<u64>,
}

/// What stands behind a [`Publisher`]: Kafka, or a test's list.
#[async_trait]
pub trait Outlet: Send + Sync {
    /// Encodes and writes an event; returns once Kafka has acknowledged it.
    async fn send(&self, draft: Draft) -> Result<Placed, Fault>;

    /// Keeps a rejected event in the source's dead letters; returns once Kafka has acknowledged it.
    async fn reject(&self, rejected: Rejected, cause: &Fault) -> Result<Placed, Fault>;

    /// The ids of the events that this source has on its topic and in its dead letters, received
    /// since `since` (milliseconds since the Unix epoch), the oldest first, at most the last
    /// `at_most`.
    async fn recent_ids(
        &self,
        since: i64,
        at_most: usize,
    ) -> Result<VecDeque<(String, i64)>, Fault>;

    /// Writes events and the cursor behind them in one transaction, and returns once it is committed:
    /// whoever reads committed records sees all of it or nothing. For sources that must run once
    /// ([`SourceConnector::ONCE`](crate::connector::SourceConnector::ONCE)); the cursor is theirs,
    /// any text. An event that is too large for the topic is among the source's dead letters then.
    async fn send_with_cursor(
        &self,
        drafts: Vec<Draft>,
        cursor: String,
    ) -> Result<Vec<Placed>, Fault> {
        let _ = (drafts, cursor);
        Err(Fault::internal("not_owned", "The source is not declared to run once."))
    }

    /// The cursor that was last written, by whichever instance ran the source then.
    fn cursor(&self) -> Option<String> {
        None
    }

    /// Whether events can be written now: `Err` says why not (the broker is away, the topic is
    /// missing).
    fn available(&self) -> Result<(), Fault>;

    /// The source can receive from now on.
    fn ready(&self);

    /// The source reads what was there before it began; `None` once that is done. Operators see it.
    fn progress(&self, progress: Option<Progress>) {
        let _ = progress;
    }
}

/// Puts a source's events on its topic. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    outlet: Arc<dyn Outlet>,
    schema: Option<schemas::Schema>,
}

impl Publisher {
    /// A publisher over an outlet, for a topic with this schema.
    pub fn new(outlet: Arc<dyn Outlet>, schema: Option<schemas::Schema>) -> Self {
        Self { outlet, schema }
    }

    /// The schema of the topic, to read the application's data with.
    pub fn schema(&self) -> Option<&schemas::Schema> {
        self.schema.as_ref()
    }
}

impl std::ops::Deref for Publisher {
    type Target = dyn Outlet;

    fn deref(&self) -> &Self::Target {
        &*self.outlet
    }
}
