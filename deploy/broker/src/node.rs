//! What the connections of a broker share.

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use kafka_protocol::error::ResponseError;
use tokio::sync::watch;

use crate::{
    config::Config,
    groups::Groups,
    refusal::{Outcome, Refusal},
    topics::Topics,
    transactions::Transactions,
};

/// The number of the only node there is.
pub(crate) const NODE_ID: i32 = 1;

/// What the connections of a broker share.
#[derive(Debug)]
pub(crate) struct Node {
    pub config: Config,
    pub topics: Topics,
    pub groups: Groups,
    pub transactions: Transactions,
    /// When it was last said that the disk fails, in milliseconds since 1970.
    pub warned: AtomicI64,
    /// The lock on the folder: held for as long as anything may be written to it.
    pub lock: File,
    /// Becomes true when the broker shuts down.
    pub closing: watch::Sender<bool>,
}

impl Node {
    /// Returns when the broker begins to shut down.
    pub async fn closed(&self) {
        // The sender is ours: it cannot have gone.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// Says that the disk failed a request: once in a while, since its client will try again.
    pub fn warn_of_storage(&self, topic: &str, partition: i32, refusal: &Refusal) {
        const PAUSE_MS: i64 = 5000;
        let (now, last) = (now_ms(), self.warned.load(Ordering::Relaxed));
        let fails = refusal.code == ResponseError::KafkaStorageError;
        if fails && (now - last).abs() > PAUSE_MS {
            self.warned.store(now, Ordering::Relaxed);
            tracing::warn!(topic, partition, %refusal, "records are not taken");
        }
    }

    /// Does blocking work of the node aside.
    ///
    /// # Errors
    /// Those of the work; `UNKNOWN_SERVER_ERROR` if it panicked.
    pub async fn aside<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let node = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&node)).await.unwrap_or_else(|error| {
            Err(Refusal::new(
                ResponseError::UnknownServerError,
                format!("the broker failed: {error}"),
            ))
        })
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
