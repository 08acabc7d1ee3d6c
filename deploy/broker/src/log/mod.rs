//! The log of one partition: record batches in segment files, as Apache Kafka keeps them.
//!
//! - Batches are stored as received. The log sets the offset, the leader epoch and, if so
//!   configured, the timestamp.
//! - With [`Fsync::EveryAcknowledgement`] a record is acknowledged and seen by consumers once
//!   `fdatasync` has covered it; appends that wait together share one.
//! - After a crash only what was never synced can be cut. Damage before that stops the log: it
//!   names the file and the offset, takes no records, and serves those before the damage.
//!
//! All calls but [`Log::durable`] do blocking file I/O. `append` and `read` work in the page cache
//! and may be called from async code; the rest belongs in `spawn_blocking`.

mod append;
mod arrival;
pub mod batch;
mod checkpoint;
pub mod codec;
mod compaction;
mod config;
mod error;
mod files;
mod filter;
mod index;
mod producer;
mod read;
mod record;
mod recovery;
mod retention;
mod scan;
mod segment;
mod sync;
mod time;
mod transactions;
mod window;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use tokio::sync::watch;

pub use self::{
    append::Appended,
    config::{Cleanup, LogConfig, TimestampType},
    error::LogError,
    producer::ActiveProducer,
    read::{Entry, Isolation, Read},
    record::{Record, decode},
    recovery::Recovery,
    retention::{Cleaned, REMOVED_SUFFIX, sweep_removed},
    sync::{Fsync, Syncer},
    transactions::{Aborted, Ending},
};
use self::{
    checkpoint::{Checkpoint, CheckpointFile},
    producer::Producers,
    segment::Segment,
    sync::Turn,
    transactions::Transactions,
};

/// The log of one partition.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    recovery: Recovery,
}

/// The segments at one time.
type Segments = Arc<Vec<Arc<Segment>>>;

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    config: RwLock<Arc<LogConfig>>,
    syncer: Syncer,
    turn: Turn,
    /// Oldest first; the last one is appended to. Never empty.
    segments: RwLock<Segments>,
    writer: Mutex<Writer>,
    checkpoint: Mutex<Checkpoints>,
    /// Held while segments are removed or compacted.
    cleaning: Mutex<()>,
    /// Held while a sync is under way: what one takes on is synced before the next reports.
    syncing: Mutex<()>,
    log_start: AtomicI64,
    log_end: AtomicI64,
    high_watermark: watch::Sender<i64>,
    /// Locked after `writer`, where both are.
    transactions: Mutex<Transactions>,
    stopped: OnceLock<String>,
    cursors: Mutex<read::Cursors>,
}

/// What appending needs.
#[derive(Debug)]
struct Writer {
    producers: Producers,
    /// Segments completed since the last sync.
    unsynced: Vec<Arc<Segment>>,
    /// Whether files came since the folder's last sync.
    new_files: bool,
    /// Whether a failed append left a part of a batch.
    torn: bool,
}

#[derive(Debug)]
struct Checkpoints {
    file: CheckpointFile,
    last: Checkpoint,
    /// When the file itself was last synced.
    synced_at: Instant,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn config(&self) -> Arc<LogConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The segments as of now, without holding their lock.
    fn segments(&self) -> Segments {
        Arc::clone(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the segments that readers find from now on.
    fn change_segments<T>(&self, change: impl FnOnce(&mut Vec<Arc<Segment>>) -> T) -> T {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut segments))
    }

    fn high_watermark(&self) -> i64 {
        *self.high_watermark.borrow()
    }

    fn raise_high_watermark(&self, to: i64) {
        self.high_watermark.send_if_modified(|current| {
            let raise = to > *current;
            *current = to.max(*current);
            raise
        });
    }

    /// Takes no more records, because of a fault.
    fn stop(&self, reason: String) {
        if self.stopped.get().is_none() {
            tracing::error!(log = %self.dir.display(), reason, "the log takes no more records");
        }
        self.end(reason);
    }

    /// Takes no more records if that is damage. The segment's index goes, so that the next start
    /// reads the segment and comes to the same end.
    fn failed(&self, error: LogError) -> LogError {
        if let LogError::Damaged { file, .. } = &error {
            let _ = files::remove(&Path::new(file).with_extension("index"));
            self.stop(error.to_string());
        }
        error
    }

    /// Takes no more records. The first reason stays.
    fn end(&self, reason: impl Into<String>) {
        let _ = self.stopped.set(reason.into());
        // Wakes those who wait for a sync that will not come.
        self.high_watermark.send_modify(|_| ());
    }

    fn check_running(&self) -> Result<(), LogError> {
        match self.stopped.get() {
            None => Ok(()),
            Some(reason) => Err(LogError::Stopped { reason: reason.clone() }),
        }
    }
}

impl Log {
    /// Opens the log in a folder, or begins one there, and recovers it from a crash.
    ///
    /// # Errors
    /// If the folder cannot be read or written, or is of another version. Damaged records are no
    /// error: the log opens [stopped](Self::stopped).
    pub fn open(
        dir: impl Into<PathBuf>,
        config: LogConfig,
        syncer: &Syncer,
    ) -> Result<Self, LogError> {
        recovery::open(dir.into(), config, syncer)
    }

    /// What opening found.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<LogConfig> {
        self.shared.config()
    }

    /// Puts another configuration in force, for what is appended and cleaned from now on.
    pub fn set_config(&self, config: LogConfig) {
        *self.shared.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// The first offset there is.
    pub fn log_start(&self) -> i64 {
        self.shared.log_start.load(Ordering::Acquire)
    }

    /// The offset after the last record that consumers see.
    pub fn high_watermark(&self) -> i64 {
        self.shared.high_watermark()
    }

    /// The offset before which no transaction is open: where readers of committed records stop.
    pub fn last_stable(&self) -> i64 {
        // Read first: a transaction that begins meanwhile begins after it.
        let high_watermark = self.high_watermark();
        let first_open = lock(&self.shared.transactions).first_open().unwrap_or(i64::MAX);
        high_watermark.min(first_open.max(self.log_start()))
    }

    /// The producers that wrote lately, with their open transactions.
    pub fn producers(&self) -> Vec<ActiveProducer> {
        let mut producers = lock(&self.shared.writer).producers.active();
        let transactions = lock(&self.shared.transactions);
        for producer in &mut producers {
            producer.transaction_start = transactions.open_of(producer.producer_id);
        }
        producers
    }

    /// The offset the next record gets.
    pub fn log_end(&self) -> i64 {
        self.shared.log_end.load(Ordering::Acquire)
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.shared.segments().iter().map(|segment| segment.size()).sum()
    }

    /// The high watermark, as it grows. Also wakes when the log stops.
    pub fn watch(&self) -> watch::Receiver<i64> {
        self.shared.high_watermark.subscribe()
    }

    /// Why the log takes no more records; `None` while it does.
    pub fn stopped(&self) -> Option<&str> {
        self.shared.stopped.get().map(String::as_str)
    }

    /// Syncs everything and writes down what the next start needs to be quick; later appends are
    /// refused.
    ///
    /// # Errors
    /// If the disk fails. The log then recovers at the next start.
    pub fn close(&self) -> Result<(), LogError> {
        self.shared.close()
    }
}

#[cfg(test)]
mod tests;
