//! Compaction: of the records of each key the last one stays, with its offset, as in Kafka's
//! `LogCleaner`. Only complete, synced segments are compacted, never the one that is appended to.
//!
//! A pass reads what is new since the last one and notes the last offset of each key, then writes
//! all segments up to there anew, several small ones into one. A new segment is written and synced
//! as `.cleaned`, renamed to `.swap`, and from then on takes the place of the old ones: a start
//! after a crash drops the first and finishes the second.

use std::{
    collections::{HashMap, hash_map::RandomState},
    fs::{self, File, OpenOptions},
    hash::BuildHasher,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    LogConfig, LogError, Shared, files,
    filter::{Filter, Filtered},
    lock, recovery,
    retention::{Cleaned, newest_record},
    scan::Scan,
    segment::{Damage, Segment},
    transactions::Transactions,
};

/// Keys noted in one pass; more are left to the next pass. Each takes about 32 bytes.
pub(super) const MAX_KEYS: usize = 500_000;

/// The last offset of each key, by a hash that no producer can predict.
#[derive(Debug, Default)]
pub(super) struct LastOffsets {
    hashers: [RandomState; 2],
    offsets: HashMap<[u64; 2], i64>,
    /// The offset up to which keys are noted.
    pub end: i64,
}

impl LastOffsets {
    fn hash(&self, key: &[u8]) -> [u64; 2] {
        self.hashers.each_ref().map(|hasher| hasher.hash_one(key))
    }

    fn note(&mut self, key: &[u8], offset: i64) {
        self.offsets.insert(self.hash(key), offset);
    }

    /// The last offset of a key, if it occurs in what was read.
    pub fn of(&self, key: &[u8]) -> Option<i64> {
        self.offsets.get(&self.hash(key)).copied()
    }
}

impl Shared {
    /// Compacts, if enough is new; notes at most `max_keys` in a pass.
    pub(super) fn compact(
        &self,
        config: &LogConfig,
        now_ms: i64,
        max_keys: usize,
        cleaned: &mut Cleaned,
    ) -> Result<(), LogError> {
        self.sync_now()?;
        let eligible = self.eligible(config, now_ms);
        let goal = eligible.last().map_or(0, |segment| segment.summary().next_offset);
        let mut from = self.compacted_to();
        let due = now_ms.saturating_sub(config.max_compaction_lag_ms);
        if !is_worthwhile(&eligible, from, config.min_cleanable_ratio)
            && !is_due(&eligible, from, due)
        {
            return Ok(());
        }
        while from < goal {
            self.compact_from(from, config, now_ms, max_keys, cleaned)?;
            let reached = self.compacted_to();
            // What may be compacted has become less meanwhile: the next time.
            if reached <= from {
                break;
            }
            from = reached;
        }
        Ok(())
    }

    fn compacted_to(&self) -> i64 {
        let checkpoint = lock(&self.checkpoint).last;
        checkpoint.cleaned.max(checkpoint.log_start)
    }

    /// The segments that may be compacted: complete, synced, old enough, and of no open transaction.
    fn eligible(&self, config: &LogConfig, now_ms: i64) -> Vec<Arc<Segment>> {
        let synced_in = lock(&self.checkpoint).last.segment;
        let newest = now_ms.saturating_sub(config.min_compaction_lag_ms);
        let is_old = |segment: &Segment| {
            config.min_compaction_lag_ms <= 0 || newest_record(segment) < newest
        };
        let segments = self.segments();
        let first_open = lock(&self.transactions).first_open().unwrap_or(i64::MAX);
        let complete = segments.iter().take_while(|segment| {
            segment.base < synced_in && segment.summary().next_offset <= first_open
        });
        complete.take_while(|segment| is_old(segment)).cloned().collect()
    }

    /// One pass over the records from an offset on, as far as keys can be noted.
    fn compact_from(
        &self,
        from: i64,
        config: &LogConfig,
        now_ms: i64,
        max_keys: usize,
        cleaned: &mut Cleaned,
    ) -> Result<(), LogError> {
        let eligible = self.eligible(config, now_ms);
        // All that is eligible has ended. (And one lock after the other: who appends holds the second
        // when it asks for the first.)
        let transactions = lock(&self.transactions).clone();
        let last_offsets = self.note_keys(&eligible, &transactions, from, max_keys)?;
        let end = last_offsets.end;
        let last_of_producers = lock(&self.writer).producers.last_offsets();
        let filter = Filter {
            transactions,
            last_offsets,
            last_of_producers,
            now_ms,
            delete_horizon: now_ms.saturating_add(config.delete_retention_ms),
        };
        // What is written anew has gaps, also if a crash comes before the last of it.
        self.write_checkpoint(true, |checkpoint| {
            checkpoint.gaps_before = end.max(checkpoint.gaps_before);
        })?;
        let segments = self.segments();
        let within = eligible.iter().take_while(|segment| segment.base < end).count();
        for group in groups(&segments[..=within], config.segment_bytes) {
            self.rewrite(group, &filter, config, cleaned)?;
        }
        self.write_checkpoint(false, |checkpoint| checkpoint.cleaned = end)
    }

    /// Notes the last offset of each key of the records from an offset on, as many as fit.
    fn note_keys(
        &self,
        segments: &[Arc<Segment>],
        transactions: &Transactions,
        from: i64,
        max_keys: usize,
    ) -> Result<LastOffsets, LogError> {
        let mut last = LastOffsets { end: from, ..LastOffsets::default() };
        for segment in segments.iter().filter(|segment| segment.summary().next_offset > from) {
            let file = segment.open()?;
            let mut scan = Scan::new(segment, &file, 0..segment.size());
            loop {
                let next = scan.next();
                let next = next.map_err(|error| self.failed(segment.scan_failed(error, last.end)));
                let Some(batch) = next? else { break };
                if batch.header.last_offset() < from {
                    continue;
                }
                if last.offsets.len() >= max_keys {
                    return Ok(last);
                }
                let note = |key: &[u8], offset| last.note(key, offset);
                let keys = super::filter::for_each_key(&batch, transactions, note);
                keys.map_err(|reason| {
                    let (offset, position) = (batch.header.base_offset, batch.position);
                    self.failed(Damage { offset, position, reason }.of(segment))
                })?;
                last.end = batch.header.next_offset();
            }
        }
        Ok(last)
    }

    /// Writes a group of segments anew, as one; `next` is the base of the segment after them.
    fn rewrite(
        &self,
        Group { segments, next }: Group<'_>,
        filter: &Filter,
        config: &LogConfig,
        cleaned: &mut Cleaned,
    ) -> Result<(), LogError> {
        let [first, ..] = segments else { return Ok(()) };
        let names = Names::new(&self.dir, first.base, next);
        let written = self.write_filtered(segments, filter, &names, cleaned).and_then(|file| {
            let interval = config.index_interval_bytes;
            Segment::compacted(&self.dir, first.base, file, &names.index, interval)
        });
        let compacted = written.inspect_err(|_| {
            // The next start tries again if this fails.
            let _ = files::remove(&names.cleaned).and_then(|()| files::remove(&names.index));
        })?;
        fs::rename(&names.cleaned, &names.swap).map_err(LogError::io("rename", &names.cleaned))?;
        files::sync_dir(&self.dir)?;
        let before: u64 = segments.iter().map(|segment| segment.size()).sum();
        cleaned.bytes_freed += before.saturating_sub(compacted.size());
        self.put_in_place(segments, compacted);
        let finished = names.finish(&self.dir, true);
        finished.inspect_err(|error| self.stop(format!("{error}; start again")))
    }

    fn write_filtered(
        &self,
        segments: &[Arc<Segment>],
        filter: &Filter,
        names: &Names,
        cleaned: &mut Cleaned,
    ) -> Result<File, LogError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(&names.cleaned).map_err(LogError::io("create", &names.cleaned))?;
        let mut to = BufWriter::with_capacity(256 * 1024, file);
        for segment in segments {
            let file = segment.open()?;
            let mut scan = Scan::new(segment, &file, 0..segment.size());
            let mut offset = segment.base;
            loop {
                let next = scan.next();
                let next = next.map_err(|error| self.failed(segment.scan_failed(error, offset)));
                let Some(batch) = next? else { break };
                offset = batch.header.next_offset();
                let filtered = filter.apply(&batch, &mut cleaned.records_compacted);
                let filtered = filtered.map_err(|reason| {
                    let (offset, position) = (batch.header.base_offset, batch.position);
                    self.failed(Damage { offset, position, reason }.of(segment))
                })?;
                match filtered {
                    Filtered::Kept => to.write_all(batch.bytes),
                    Filtered::Rewritten(bytes) => to.write_all(&bytes),
                    Filtered::Dropped => Ok(()),
                }
                .map_err(LogError::io("write", &names.cleaned))?;
            }
        }
        let file = to.into_inner().map_err(std::io::IntoInnerError::into_error);
        let file = file.map_err(LogError::io("write", &names.cleaned))?;
        file.sync_data().map_err(LogError::io("sync", &names.cleaned))?;
        Ok(file)
    }

    /// Readers find the compacted segment from now on.
    fn put_in_place(&self, old: &[Arc<Segment>], compacted: Segment) {
        self.change_segments(|segments| {
            let at = segments.partition_point(|segment| segment.base < compacted.base);
            segments.splice(at..at + old.len(), [Arc::new(compacted)]);
        });
        for segment in old {
            segment.replaced();
        }
        lock(&self.cursors).clear();
    }
}

/// Whether enough bytes are new.
fn is_worthwhile(segments: &[Arc<Segment>], from: i64, least_ratio: f64) -> bool {
    let sum = |dirty: bool| {
        let is_dirty = |segment: &&Arc<Segment>| (segment.summary().next_offset > from) == dirty;
        segments.iter().filter(is_dirty).map(|segment| segment.size()).sum::<u64>()
    };
    let (clean, dirty) = (sum(false), sum(true));
    // Sizes of files are far below 2⁵².
    dirty > 0 && dirty as f64 / (clean + dirty) as f64 >= least_ratio
}

/// Whether something new is so old that it may not wait any longer.
fn is_due(segments: &[Arc<Segment>], from: i64, due: i64) -> bool {
    segments.iter().any(|segment| {
        let summary = segment.summary();
        summary.next_offset > from && (0..due).contains(&summary.first_timestamp)
    })
}

/// Segments to be written into one.
struct Group<'a> {
    segments: &'a [Arc<Segment>],
    /// The base of the segment after them.
    next: i64,
}

/// Groups all but the last segment so that each group fits into one.
fn groups(segments: &[Arc<Segment>], segment_bytes: u64) -> Vec<Group<'_>> {
    let mut groups = Vec::new();
    let mut start = 0;
    let mut size = 0;
    for (number, segment) in segments.iter().enumerate().skip(1) {
        size += segments[number - 1].size();
        let is_last = number == segments.len() - 1;
        let is_full = size + segment.size() > segment_bytes
            || segment.summary().next_offset - segments[start].base > i64::from(i32::MAX);
        if is_last || is_full {
            groups.push(Group { segments: &segments[start..number], next: segment.base });
            (start, size) = (number, 0);
        }
    }
    groups
}

/// The files of a segment on its way into the log.
struct Names {
    base: i64,
    next: i64,
    cleaned: PathBuf,
    swap: PathBuf,
    index: PathBuf,
}

impl Names {
    fn new(dir: &Path, base: i64, next: i64) -> Self {
        let stem = format!("{base:020}-{next:020}");
        Self {
            base,
            next,
            cleaned: dir.join(format!("{stem}.cleaned")),
            swap: dir.join(format!("{stem}.swap")),
            index: dir.join(format!("{stem}.index.cleaned")),
        }
    }

    fn of_swap(dir: &Path, name: &str) -> Option<Self> {
        let (base, next) = name.strip_suffix(".swap")?.split_once('-')?;
        Some(Self::new(dir, base.parse().ok()?, next.parse().ok()?))
    }

    /// Removes the old files and gives the new ones their names.
    fn finish(&self, dir: &Path, with_index: bool) -> Result<(), LogError> {
        for base in files::offsets(dir, "log")? {
            if (self.base..self.next).contains(&base) {
                recovery::remove_segment(dir, base)?;
            }
        }
        if with_index {
            let index = files::index_path(dir, self.base);
            fs::rename(&self.index, index).map_err(LogError::io("rename", &self.index))?;
        }
        let log = files::log_path(dir, self.base);
        fs::rename(&self.swap, log).map_err(LogError::io("rename", &self.swap))?;
        files::sync_dir(dir)
    }
}

/// Puts right what a crash left of a compaction, or of any file that was being replaced.
pub(super) fn finish_or_undo(dir: &Path) -> Result<(), LogError> {
    for name in files::names(dir)? {
        if name.ends_with(".cleaned") || name.ends_with(".tmp") {
            files::remove(&dir.join(&name))?;
        } else if let Some(names) = Names::of_swap(dir, &name) {
            names.finish(dir, false)?;
        }
    }
    Ok(())
}
