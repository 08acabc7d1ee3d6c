//! Removing old records: on request, and past the retention time or size.

use std::{
    fs,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::UNIX_EPOCH,
};

use super::{
    Log, LogConfig, LogError, Shared, compaction::MAX_KEYS, files, lock, recovery, segment::Segment,
};

/// How the folders of removed logs end, until their files are gone.
pub const REMOVED_SUFFIX: &str = ".removed";

/// What cleaning did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Segments removed by retention.
    pub segments_deleted: usize,
    /// Bytes of log that retention and compaction freed.
    pub bytes_freed: u64,
    /// Records that compaction removed.
    pub records_compacted: u64,
}

impl Log {
    /// Makes `offset` the first offset of the log, unless it begins later already, and removes the
    /// segments before it; the log's start then. It survives a crash.
    ///
    /// # Errors
    /// If the offset is negative or after the high watermark, or the disk fails.
    pub fn delete_before(&self, offset: i64) -> Result<i64, LogError> {
        let _one_at_a_time = lock(&self.shared.cleaning);
        self.shared.check_running()?;
        let (log_start, log_end) = (self.log_start(), self.high_watermark());
        if !(0..=log_end).contains(&offset) {
            return Err(LogError::OffsetOutOfRange { offset, log_start, log_end });
        }
        self.shared.begin_at(offset)?;
        Ok(self.log_start())
    }

    /// Applies the cleanup policy: removes what is past its retention, compacts. For a thread
    /// that may take its time, every few minutes.
    ///
    /// # Errors
    /// If the disk fails or the log is damaged. What was begun is finished or undone by the next
    /// call or start.
    pub fn clean(&self, now_ms: i64) -> Result<Cleaned, LogError> {
        let _one_at_a_time = lock(&self.shared.cleaning);
        self.shared.check_running()?;
        let config = self.config();
        self.shared.tidy(now_ms);
        let mut cleaned = Cleaned::default();
        if config.cleanup.delete {
            self.shared.expire(&config, now_ms, &mut cleaned)?;
        }
        if config.cleanup.compact {
            self.shared.compact(&config, now_ms, MAX_KEYS, &mut cleaned)?;
        }
        Ok(cleaned)
    }

    /// Removes the log and its files; later calls fail. After a crash half way,
    /// [`sweep_removed`] removes the rest.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn remove(&self) -> Result<(), LogError> {
        let _no_cleaning = lock(&self.shared.cleaning);
        self.shared.end("it was removed");
        let _no_syncing = lock(&self.shared.syncing);
        let dir = &self.shared.dir;
        let mut name = dir.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}{REMOVED_SUFFIX}", uuid::Uuid::new_v4().simple()));
        let removed = dir.with_file_name(name);
        fs::rename(dir, &removed).map_err(LogError::io("remove", dir))?;
        if let Some(parent) = removed.parent() {
            files::sync_dir(parent)?;
        }
        fs::remove_dir_all(&removed).map_err(LogError::io("remove", removed))
    }
}

/// Removes what is left in a folder of logs of those whose removal a crash interrupted.
///
/// # Errors
/// If the disk fails.
pub fn sweep_removed(dir: &Path) -> Result<(), LogError> {
    for name in files::names(dir)?.iter().filter(|name| name.ends_with(REMOVED_SUFFIX)) {
        let path = dir.join(name);
        fs::remove_dir_all(&path).map_err(LogError::io("remove", path))?;
    }
    Ok(())
}

impl Shared {
    /// Moves the log's start and removes the segments before it.
    fn begin_at(&self, offset: i64) -> Result<Vec<Arc<Segment>>, LogError> {
        // The checkpoint must not be in a segment that goes.
        self.sync_now()?;
        if offset > self.log_start.load(Ordering::Acquire) {
            self.write_checkpoint(true, |checkpoint| checkpoint.log_start = offset)?;
            self.log_start.store(offset, Ordering::Release);
        }
        let synced_in = lock(&self.checkpoint).last.segment;
        let removed: Vec<_> = self.change_segments(|segments| {
            // A segment goes if the next one begins at or before the start.
            let later = segments.iter().skip(1);
            let gone = later.take_while(|next| next.base <= offset.min(synced_in)).count();
            segments.drain(..gone).collect()
        });
        for segment in &removed {
            segment.replaced();
            recovery::remove_segment(&self.dir, segment.base)?;
        }
        lock(&self.cursors).clear();
        Ok(removed)
    }

    /// Forgets silent producers, closes unused files, removes old snapshots.
    fn tidy(&self, now_ms: i64) {
        {
            let mut writer = lock(&self.writer);
            writer.producers.expire(&lock(&self.transactions), now_ms);
        }
        let segments = self.segments();
        for segment in segments.iter().rev().skip(1) {
            segment.close_if_unused();
        }
        let snapshots = files::offsets(&self.dir, "producers").unwrap_or_default();
        // The newest can be damaged: the one before it is kept too.
        for &offset in snapshots.iter().rev().skip(2) {
            if let Err(error) = files::remove(&files::producers_path(&self.dir, offset)) {
                tracing::warn!(log = %self.dir.display(), %error, "an old snapshot stays");
            }
        }
    }

    fn expire(
        &self,
        config: &LogConfig,
        now_ms: i64,
        cleaned: &mut Cleaned,
    ) -> Result<(), LogError> {
        let oldest = config.retention_ms.map(|retention| now_ms.saturating_sub(retention));
        let mut excess = config.retention_bytes.map_or(0, |retention| {
            let size: u64 = self.segments().iter().map(|segment| segment.size()).sum();
            size.saturating_sub(retention)
        });
        let mut is_past = |segment: &Segment| {
            let too_old = oldest.is_some_and(|oldest| newest_record(segment) < oldest);
            let too_much = segment.size() > 0 && segment.size() <= excess;
            if too_old || too_much {
                excess = excess.saturating_sub(segment.size());
            }
            too_old || too_much
        };
        let segments = self.segments();
        let mut past = segments.iter().take_while(|segment| is_past(segment)).count();
        if past == segments.len() && !self.roll_if_unchanged(&segments)? {
            past -= 1;
        }
        if past > 0
            && let Some(first) = self.segments().get(past)
        {
            let removed = self.begin_at(first.base)?;
            cleaned.segments_deleted += removed.len();
            cleaned.bytes_freed += removed.iter().map(|segment| segment.size()).sum::<u64>();
        }
        Ok(())
    }

    /// Completes the last of these segments, so that it can go; unless it is empty or no longer
    /// the last.
    fn roll_if_unchanged(&self, segments: &[Arc<Segment>]) -> Result<bool, LogError> {
        let Some(last) = segments.last() else { return Ok(false) };
        let next_offset = last.summary().next_offset;
        let mut writer = lock(&self.writer);
        let active = self.active()?;
        let unchanged = Arc::ptr_eq(last, &active)
            && active.size() > 0
            && active.summary().next_offset == next_offset;
        if unchanged {
            self.roll(&mut writer, &active)?;
        }
        Ok(unchanged)
    }
}

/// The time of a segment's newest record: what it says, or else when the file was last written. One that holds
/// none is as old as can be.
pub(super) fn newest_record(segment: &Segment) -> i64 {
    if segment.size() == 0 {
        return i64::MIN;
    }
    let said = segment.summary().max_timestamp;
    if said >= 0 {
        return said;
    }
    let written = fs::metadata(&segment.path).and_then(|file| file.modified()).ok();
    written
        .and_then(|written| written.duration_since(UNIX_EPOCH).ok())
        .and_then(|written| i64::try_from(written.as_millis()).ok())
        .unwrap_or(i64::MAX)
}
