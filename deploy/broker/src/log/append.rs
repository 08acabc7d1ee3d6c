//! Appending and syncing.

use std::{
    sync::{Arc, MutexGuard, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    Fsync, Log, LogConfig, LogError, Shared, TimestampType, Writer,
    arrival::{Arrival, Origin},
    batch::{BatchHeader, NONE},
    checkpoint::Checkpoint,
    files, lock,
    segment::Segment,
    sync::{Syncable, Turn},
    transactions::{self, Ending},
};

/// How long the checkpoint may lag behind on disk, should the machine crash.
const CHECKPOINT_LAG: Duration = Duration::from_secs(5);
/// The largest segment, whose positions an index entry holds in 32 bits.
const MAX_SEGMENT_BYTES: u64 = i32::MAX as u64;

/// Where a batch is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The first record's offset.
    pub base_offset: i64,
    /// The last record's offset.
    pub last_offset: i64,
    /// The timestamp given to the records in milliseconds since 1970, −1 if they keep their own.
    pub append_time: i64,
    /// Whether an idempotent producer had sent the batch before; it is stored once.
    pub duplicate: bool,
}

impl Log {
    /// Appends one record batch as a producer sent it. It is in the page cache then; wait for
    /// [`durable`](Self::durable) before acknowledging it.
    ///
    /// # Errors
    /// If the batch is not acceptable, the log stopped, or the disk full: nothing is stored then.
    pub fn append(&self, batches: Bytes, now_ms: i64) -> Result<Appended, LogError> {
        self.append_from(Origin::Producer, &batches, now_ms)
    }

    /// Appends a record batch of the broker's own, which may be part of a producer's transaction.
    ///
    /// # Errors
    /// As of [`append`](Self::append).
    pub fn append_own(&self, batch: &Bytes, now_ms: i64) -> Result<Appended, LogError> {
        self.append_from(Origin::Broker, batch, now_ms)
    }

    /// Ends a producer's transaction with a marker; there need not be one.
    ///
    /// # Errors
    /// If the log stopped, or the disk is full.
    pub fn append_marker(
        &self,
        producer_id: i64,
        producer_epoch: i16,
        ending: Ending,
        now_ms: i64,
    ) -> Result<Appended, LogError> {
        const COORDINATOR_EPOCH: i32 = 0;
        let (header, records) =
            transactions::marker(producer_id, producer_epoch, ending, COORDINATOR_EPOCH, now_ms);
        self.enter(Arrival { header, records: records.into() }, now_ms)
    }

    fn append_from(
        &self,
        origin: Origin,
        batch: &Bytes,
        now_ms: i64,
    ) -> Result<Appended, LogError> {
        self.enter(Arrival::check(batch, &self.shared.config(), origin, now_ms)?, now_ms)
    }

    fn enter(&self, arrival: Arrival, now_ms: i64) -> Result<Appended, LogError> {
        let appended = self.shared.append(arrival, &self.shared.config(), now_ms)?;
        self.shared.syncer.request(&self.shared);
        Ok(appended)
    }

    /// Returns once the batch survives a crash of the machine; at once with [`Fsync::Interval`].
    ///
    /// # Errors
    /// If the disk failed to sync, and the log stopped.
    pub async fn durable(&self, appended: &Appended) -> Result<(), LogError> {
        let mut high_watermark = self.watch();
        loop {
            if *high_watermark.borrow_and_update() > appended.last_offset {
                return Ok(());
            }
            self.shared.check_running()?;
            if high_watermark.changed().await.is_err() {
                // The sender is ours: it lives as long as this borrow.
                return Err(LogError::Stopped { reason: "it was closed".to_owned() });
            }
        }
    }
}

impl Shared {
    fn append(
        &self,
        mut arrival: Arrival,
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<Appended, LogError> {
        let header = &mut arrival.header;
        let mut writer = self.writer()?;
        if let Some(earlier) = writer.producers.check(header)? {
            return Ok(Appended {
                base_offset: earlier.base_offset,
                last_offset: earlier.last_offset,
                append_time: append_time(config, earlier.timestamp),
                duplicate: true,
            });
        }
        let segment = self.segment_for(&mut writer, header, config)?;
        header.base_offset = self.log_end.load(Ordering::Acquire);
        if let Some(defect) = header.defect() {
            return Err(LogError::invalid(defect));
        }
        segment.append(header, &arrival.records, config.index_interval_bytes).inspect_err(
            |_| {
                writer.torn = segment.mend().is_err();
            },
        )?;
        writer.producers.update(header, now_ms);
        let ending = transactions::ending_of(header, &arrival.records);
        lock(&self.transactions).update(header, ending);
        self.log_end.store(header.next_offset(), Ordering::Release);
        drop(writer);
        if self.syncer.fsync() != Fsync::EveryAcknowledgement {
            self.raise_high_watermark(header.next_offset());
        }
        Ok(Appended {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            append_time: append_time(config, header.max_timestamp),
            duplicate: false,
        })
    }

    /// The right to append, with the last segment whole.
    fn writer(&self) -> Result<MutexGuard<'_, Writer>, LogError> {
        let mut writer = lock(&self.writer);
        self.check_running()?;
        if writer.torn {
            self.active()?.mend()?;
            writer.torn = false;
        }
        Ok(writer)
    }

    /// The segment that is appended to.
    pub(super) fn active(&self) -> Result<Arc<Segment>, LogError> {
        self.segments().last().cloned().ok_or_else(|| LogError::Stopped {
            reason: format!("no segment is left in {}", self.dir.display()),
        })
    }

    /// The segment for a batch: the last one, or a new one if that is full or old.
    fn segment_for(
        &self,
        writer: &mut Writer,
        batch: &BatchHeader,
        config: &LogConfig,
    ) -> Result<Arc<Segment>, LogError> {
        let active = self.active()?;
        let summary = active.summary();
        let full = active.size() + batch.size() as u64
            > config.segment_bytes.min(MAX_SEGMENT_BYTES)
            || summary.next_offset - active.base >= i64::from(i32::MAX - batch.last_offset_delta);
        let age = batch.max_timestamp.saturating_sub(summary.first_timestamp);
        let old = summary.first_timestamp > NONE && age > config.roll_ms();
        if active.size() > 0 && (full || old) { self.roll(writer, &active) } else { Ok(active) }
    }

    /// Completes the last segment and begins the next.
    pub(super) fn roll(
        &self,
        writer: &mut Writer,
        active: &Arc<Segment>,
    ) -> Result<Arc<Segment>, LogError> {
        let base = self.log_end.load(Ordering::Acquire);
        let next = Arc::new(Segment::create(&self.dir, base)?);
        // Both only make the next start quicker, as long as nothing of what it would read is cleaned away.
        for done in [active.seal(), self.save_producers(writer, base)] {
            if let Err(error) = done {
                tracing::warn!(log = %self.dir.display(), %error, "a start will have to read more");
            }
        }
        self.change_segments(|segments| segments.push(Arc::clone(&next)));
        writer.unsynced.push(Arc::clone(active));
        writer.new_files = true;
        Ok(next)
    }

    pub(super) fn save_producers(&self, writer: &Writer, offset: i64) -> Result<(), LogError> {
        let mut transactions = lock(&self.transactions);
        transactions.forget_before(self.log_start.load(Ordering::Acquire));
        let path = files::producers_path(&self.dir, offset);
        writer.producers.save(&transactions, &path, offset)
    }

    /// Syncs what was appended so far and tells everyone.
    pub(super) fn sync_now(&self) -> Result<(), LogError> {
        let _one_at_a_time = lock(&self.syncing);
        self.check_running()?;
        let (mut segments, new_files, end, position) = {
            let mut writer = lock(&self.writer);
            let active = self.active()?;
            let position = active.size();
            let mut segments = std::mem::take(&mut writer.unsynced);
            segments.push(active);
            let new_files = std::mem::take(&mut writer.new_files);
            (segments, new_files, self.log_end.load(Ordering::Acquire), position)
        };
        let last = segments.last().map_or(0, |segment| segment.base);
        if lock(&self.checkpoint).last.synced == end && !new_files && segments.len() == 1 {
            segments.clear();
        }
        self.sync_files(&segments, new_files).inspect_err(|error| {
            // What the page cache holds after a failed sync is anyone's guess: go on from the
            // disk (https://lwn.net/Articles/752063/).
            self.stop(format!("{error}; free or repair the disk and start again"));
        })?;
        if let Err(error) = self.reached(end, last, position) {
            // The records are on disk; only the next start knows less of it.
            tracing::warn!(log = %self.dir.display(), %error, "the checkpoint lags behind");
        }
        self.raise_high_watermark(end);
        Ok(())
    }

    fn sync_files(&self, segments: &[Arc<Segment>], new_files: bool) -> Result<(), LogError> {
        for segment in segments {
            segment.sync()?;
            self.syncer.count_fsync();
        }
        if new_files { files::sync_dir(&self.dir) } else { Ok(()) }
    }

    /// Writes down how far the log is synced.
    fn reached(&self, synced: i64, segment: i64, position: u64) -> Result<(), LogError> {
        self.write_checkpoint(false, |checkpoint| {
            *checkpoint = Checkpoint { synced, segment, position, ..*checkpoint };
        })
    }

    /// Changes the checkpoint.
    pub(super) fn write_checkpoint(
        &self,
        durably: bool,
        change: impl FnOnce(&mut Checkpoint),
    ) -> Result<(), LogError> {
        let mut checkpoints = lock(&self.checkpoint);
        let mut checkpoint = checkpoints.last;
        change(&mut checkpoint);
        let durably = durably || checkpoints.synced_at.elapsed() >= CHECKPOINT_LAG;
        checkpoints.file.write(&checkpoint, durably)?;
        checkpoints.last = checkpoint;
        if durably {
            checkpoints.synced_at = Instant::now();
        }
        Ok(())
    }

    pub(super) fn close(&self) -> Result<(), LogError> {
        // Whoever cleans is done first: the folder may be another broker's after this.
        let _nobody_cleans = lock(&self.cleaning);
        self.sync_now()?;
        let writer = lock(&self.writer);
        let active = self.active()?;
        active.seal()?;
        self.save_producers(&writer, self.log_end.load(Ordering::Acquire))?;
        self.write_checkpoint(true, |_| ())?;
        files::sync_dir(&self.dir)?;
        self.end("it was closed");
        Ok(())
    }
}

fn append_time(config: &LogConfig, timestamp: i64) -> i64 {
    match config.timestamp_type {
        TimestampType::CreateTime => NONE,
        TimestampType::LogAppendTime => timestamp,
    }
}

impl Syncable for Shared {
    fn sync(&self) {
        // What failed is in `stopped`, and those who wait have been told.
        let _ = self.sync_now();
    }

    fn turn(&self) -> &Turn {
        &self.turn
    }
}
