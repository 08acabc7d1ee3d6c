//! Opening a log: finding out what is there after a clean end or a crash.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, RwLock, atomic::AtomicI64},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::watch;

use super::{
    Checkpoints, Log, LogConfig, LogError, Shared, Syncer, Writer,
    batch::HEADER_BYTES,
    checkpoint::{Checkpoint, CheckpointFile},
    compaction, files,
    producer::Producers,
    scan::{self, Scan, ScanError},
    segment::{Damage, Segment},
    sync::Turn,
    transactions::{self, Transactions},
};

/// What opening a log found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes cut from the end, which were never synced.
    pub cut_bytes: u64,
    /// What was wrong at the place of the cut.
    pub cut_because: Option<String>,
    /// Segments that had to be read whole.
    pub segments_read: usize,
}

/// What is found on disk.
struct Found {
    segments: Vec<Arc<Segment>>,
    /// Damage to what had been synced.
    damage: Option<LogError>,
    recovery: Recovery,
}

impl Found {
    /// The damage, if the segments so far end before a segment that would follow without a gap.
    fn missing_before(&self, base: i64) -> Option<LogError> {
        let before = self.segments.last().filter(|before| !before.has_gaps)?;
        let is_missing = before.summary().next_offset != base && self.damage.is_none();
        is_missing.then(|| before.ends_before(base))
    }
}

pub(super) fn open(dir: PathBuf, config: LogConfig, syncer: &Syncer) -> Result<Log, LogError> {
    files::prepare(&dir)?;
    compaction::finish_or_undo(&dir)?;
    let (mut file, last) = CheckpointFile::open(&dir)?;
    let found = find(&dir, &config, last)?;
    let segments = found.segments;
    let active = segments
        .last()
        .ok_or_else(|| LogError::io("open", &dir)(std::io::ErrorKind::NotFound.into()))?;
    let log_end = active.summary().next_offset.max(last.map_or(0, |last| last.synced));
    let first = segments.first().map_or(0, |segment| segment.base);
    let checkpoint = Checkpoint {
        synced: log_end,
        segment: active.base,
        position: active.size(),
        log_start: last.map_or(first, |last| last.log_start.max(first)),
        cleaned: last.map_or(0, |last| last.cleaned),
        // Without a checkpoint, nobody knows where compaction was.
        gaps_before: last.map_or(active.base, |last| last.gaps_before),
    };
    let (producers, transactions) = if found.damage.is_none() {
        let producers = recover_producers(&dir, &segments, log_end)?;
        // What had been appended and not synced is there, and is kept.
        let unsynced = |base: i64| last.is_none_or(|last| base >= last.segment);
        segments.iter().filter(|s| unsynced(s.base)).try_for_each(|s| s.sync())?;
        files::sync_dir(&dir)?;
        file.write(&checkpoint, true)?;
        producers
    } else {
        Default::default()
    };
    let damaged_last = last.filter(|_| found.damage.is_some());
    let shared = Shared {
        config: RwLock::new(Arc::new(config)),
        syncer: syncer.clone(),
        turn: Turn::default(),
        segments: RwLock::new(Arc::new(segments)),
        writer: Mutex::new(Writer {
            producers,
            unsynced: Vec::new(),
            new_files: false,
            torn: false,
        }),
        // With damage, what had been synced before it stays on record.
        checkpoint: Mutex::new(Checkpoints {
            file,
            last: damaged_last.unwrap_or(checkpoint),
            synced_at: Instant::now(),
        }),
        cleaning: Mutex::default(),
        syncing: Mutex::default(),
        log_start: AtomicI64::new(checkpoint.log_start),
        log_end: AtomicI64::new(log_end),
        high_watermark: watch::Sender::new(log_end),
        transactions: Mutex::new(transactions),
        stopped: OnceLock::new(),
        cursors: Mutex::default(),
        dir,
    };
    if let Some(damage) = found.damage {
        shared.stop(damage.to_string());
    }
    if let Some(because) = &found.recovery.cut_because {
        let bytes = found.recovery.cut_bytes;
        tracing::warn!(log = %shared.dir.display(), bytes, because, "cut what was never synced");
    }
    Ok(Log { shared: Arc::new(shared), recovery: found.recovery })
}

/// Finds the segments, cuts the unsynced tail if it is damaged.
fn find(dir: &Path, config: &LogConfig, last: Option<Checkpoint>) -> Result<Found, LogError> {
    let mut bases = files::offsets(dir, "log")?;
    let mut found = Found { segments: Vec::new(), damage: None, recovery: Recovery::default() };
    drop_before_start(dir, &mut bases, last)?;
    for (number, &base) in bases.iter().enumerate() {
        if let Some(missing) = found.missing_before(base) {
            if last.is_some_and(|last| base > last.segment) {
                found.recovery.cut_because = Some(missing.to_string());
                remove_tail(dir, &bases[number..], &mut found.recovery)?;
                break;
            }
            found.damage = Some(missing);
        }
        let (segment, damage) = examine(dir, base, config, last, &mut found.recovery)?;
        if let Some(damage) = damage {
            if found.damage.is_none() && !is_synced(&segment, &damage, last)? {
                cut(&segment, damage, &mut found.recovery)?;
                remove_tail(dir, &bases[number + 1..], &mut found.recovery)?;
                found.segments.push(Arc::new(segment));
                break;
            }
            segment.include_damage()?;
            found.damage.get_or_insert(damage.of(&segment));
        }
        found.segments.push(Arc::new(segment));
    }
    if found.segments.is_empty() {
        let base = last.map_or(0, |last| last.synced);
        found.segments.push(Arc::new(Segment::create(dir, base)?));
    }
    if let Some(last) = last {
        check_synced_is_there(dir, &mut found, last);
    }
    Ok(found)
}

/// Removes segments that ended before the log's start: a crash came between the two.
fn drop_before_start(
    dir: &Path,
    bases: &mut Vec<i64>,
    last: Option<Checkpoint>,
) -> Result<(), LogError> {
    let Some(last) = last else { return Ok(()) };
    while let [base, next, ..] = bases[..]
        && next <= last.log_start.min(last.segment)
    {
        remove_segment(dir, base)?;
        bases.remove(0);
    }
    Ok(())
}

pub(super) fn remove_segment(dir: &Path, base: i64) -> Result<(), LogError> {
    files::remove(&files::log_path(dir, base))?;
    files::remove(&files::index_path(dir, base))
}

/// Opens one segment: by its index if all of it was synced and the index fits, else by reading it.
fn examine(
    dir: &Path,
    base: i64,
    config: &LogConfig,
    last: Option<Checkpoint>,
    recovery: &mut Recovery,
) -> Result<(Segment, Option<Damage>), LogError> {
    let has_gaps = last.is_none_or(|last| base < last.gaps_before);
    if let Some(last) = last
        && base <= last.segment
        && let Some(segment) = Segment::load(dir, base, has_gaps)?
        && (base < last.segment || segment.size() == last.position)
    {
        return Ok((segment, None));
    }
    recovery.segments_read += 1;
    let (segment, damage) = Segment::rebuild(dir, base, has_gaps, config.index_interval_bytes)?;
    // Spares the next start the same; one that cannot be written (the disk is full) does not.
    if damage.is_none()
        && let Err(error) = segment.seal()
    {
        tracing::warn!(log = %dir.display(), %error, "the next start reads this segment again");
    }
    Ok((segment, damage))
}

/// Whether the damage is to something that had been synced. Without a checkpoint nobody knows:
/// then it is taken as synced if anything whole comes after it.
fn is_synced(
    segment: &Segment,
    damage: &Damage,
    last: Option<Checkpoint>,
) -> Result<bool, LogError> {
    Ok(match last {
        Some(last) => {
            segment.base < last.segment
                || (segment.base == last.segment && damage.position < last.position)
        }
        None => scan::finds_whole_batch(&*segment.open()?, damage.position + 1)
            .map_err(LogError::io("read", &segment.path))?,
    })
}

fn length(path: &Path) -> Result<u64, LogError> {
    fs::metadata(path).map(|file| file.len()).map_err(LogError::io("read", path))
}

/// Cuts a segment where it is damaged.
fn cut(segment: &Segment, damage: Damage, recovery: &mut Recovery) -> Result<(), LogError> {
    recovery.cut_bytes += length(&segment.path)? - damage.position;
    recovery.cut_because = Some(damage.of(segment).to_string());
    segment.mend()
}

/// Removes segments after a cut.
fn remove_tail(dir: &Path, bases: &[i64], recovery: &mut Recovery) -> Result<(), LogError> {
    for &base in bases {
        recovery.cut_bytes += length(&files::log_path(dir, base))?;
        remove_segment(dir, base)?;
    }
    Ok(())
}

/// Notes as damage if bytes are missing that had been synced.
fn check_synced_is_there(dir: &Path, found: &mut Found, last: Checkpoint) {
    let size = found
        .segments
        .iter()
        .find(|segment| segment.base == last.segment)
        .map_or(0, |segment| segment.size());
    if size >= last.position || found.damage.is_some() {
        return;
    }
    let reached = found.segments.iter().map(|segment| segment.summary().next_offset).max();
    found.damage = Some(LogError::Damaged {
        offset: reached.unwrap_or(last.log_start),
        file: files::log_path(dir, last.segment).display().to_string(),
        position: size,
        reason: format!("{} bytes had been synced, {size} are there", last.position),
    });
}

/// What is known of producers and their transactions: the newest snapshot, and what came after it.
fn recover_producers(
    dir: &Path,
    segments: &[Arc<Segment>],
    log_end: i64,
) -> Result<(Producers, Transactions), LogError> {
    let mut snapshots = files::offsets(dir, "producers")?;
    // Those of records that were cut off would be taken for true once others are in their place.
    for offset in snapshots.extract_if(.., |offset| *offset > log_end) {
        files::remove(&files::producers_path(dir, offset))?;
    }
    let newest = snapshots.iter().rev().find_map(|&offset| {
        Some((offset, Producers::load(&files::producers_path(dir, offset), offset)?))
    });
    let (from, (mut producers, mut transactions)) = newest.unwrap_or_default();
    let now_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    for segment in segments.iter().filter(|segment| segment.summary().next_offset > from) {
        let file = segment.open()?;
        let mut scan = Scan::new(segment, &file, 0..segment.size());
        loop {
            match scan.next() {
                Ok(Some(batch)) if batch.header.base_offset >= from => {
                    producers.update(&batch.header, now_ms);
                    let ending =
                        transactions::ending_of(&batch.header, &batch.bytes[HEADER_BYTES..]);
                    transactions.update(&batch.header, ending);
                }
                Ok(Some(_)) => {}
                // What is damaged is met again by who reads it, and stops the log then.
                Ok(None) | Err(ScanError::Damaged { .. }) => break,
                Err(ScanError::Io(error)) => {
                    return Err(LogError::io("read", &segment.path)(error));
                }
            }
        }
    }
    Ok((producers, transactions))
}
