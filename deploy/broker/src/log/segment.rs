//! One segment of a log: a file of record batches and its index.

use std::{
    fs::{File, OpenOptions},
    io::{self, IoSlice, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{
    LogError,
    batch::{BatchHeader, HEADER_BYTES},
    files,
    index::{Index, Summary},
    scan::{Scan, ScanError},
    window::{Batches, Peek, Window},
};

/// Bytes a read holds at most, whatever the consumer asks for, unless one batch is larger.
const MAX_READ: usize = 16 * 1024 * 1024;
/// Bytes read beyond those asked for when the place is known to the nearest index entry only.
const INDEX_SLACK: usize = 8 * 1024;

/// One segment. The last of a log is appended to, by one thread at a time; the others only read.
#[derive(Debug)]
pub(super) struct Segment {
    pub base: i64,
    pub path: PathBuf,
    /// Whether compaction may have removed offsets; if not, each batch follows the one before.
    pub has_gaps: bool,
    /// Bytes of whole batches; the file can have more while one is being written.
    size: AtomicU64,
    file: Mutex<Handle>,
    used: AtomicBool,
    summary: Mutex<Summary>,
    index: Index,
}

/// The file of a segment, opened when needed.
#[derive(Debug)]
enum Handle {
    Closed,
    Open(Arc<File>),
    /// Another segment has taken this one's place, and perhaps its file's name.
    Replaced,
}

/// Why a segment could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// Look again: the log has another segment for this place.
    Replaced,
    Failed(LogError),
}

impl Segment {
    /// A new, empty segment.
    pub fn create(dir: &Path, base: i64) -> Result<Self, LogError> {
        let path = files::log_path(dir, base);
        let index = Index::create(files::index_path(dir, base), base)?;
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .open(&path)
            .map_err(LogError::io("create", &path))?;
        let handle = Handle::Open(Arc::new(file));
        Ok(Self::new(path, base, false, 0, handle, Summary::empty(base), index))
    }

    /// The segment in an existing file whose every batch is to be trusted if its index fits;
    /// `None` if there is no such index.
    pub fn load(dir: &Path, base: i64, has_gaps: bool) -> Result<Option<Self>, LogError> {
        let path = files::log_path(dir, base);
        let size = path.metadata().map_err(LogError::io("read", &path))?.len();
        Ok(Index::load(files::index_path(dir, base), base, size).map(|(index, summary)| {
            Self::new(path, base, has_gaps, size, Handle::Closed, summary, index)
        }))
    }

    /// The segment in an existing file, with a new index, and where it is damaged: it ends there.
    pub fn rebuild(
        dir: &Path,
        base: i64,
        has_gaps: bool,
        index_interval: u64,
    ) -> Result<(Self, Option<Damage>), LogError> {
        let path = files::log_path(dir, base);
        let index = Index::create(files::index_path(dir, base), base)?;
        let handle = Handle::Closed;
        let segment = Self::new(path, base, has_gaps, 0, handle, Summary::empty(base), index);
        let damage = segment.examine(index_interval)?;
        Ok((segment, damage))
    }

    /// The segment that compaction wrote into `file`, before both file and index get their names.
    pub fn compacted(
        dir: &Path,
        base: i64,
        file: File,
        index_path: &Path,
        index_interval: u64,
    ) -> Result<Self, LogError> {
        let index = Index::create(index_path.to_owned(), base)?;
        let handle = Handle::Open(Arc::new(file));
        let path = files::log_path(dir, base);
        let mut segment = Self::new(path, base, true, 0, handle, Summary::empty(base), index);
        if let Some(damage) = segment.examine(index_interval)? {
            return Err(damage.of(&segment));
        }
        segment.seal()?;
        segment.index.rename(files::index_path(dir, base));
        Ok(segment)
    }

    /// Reads the whole file, up to where it is damaged.
    fn examine(&self, index_interval: u64) -> Result<Option<Damage>, LogError> {
        let file = self.open()?;
        let size = file.metadata().map_err(LogError::io("read", &self.path))?.len();
        let mut scan = Scan::new(self, &file, 0..size);
        loop {
            match scan.next() {
                Ok(Some(found)) => self.took(&found.header, index_interval),
                Ok(None) => return Ok(None),
                Err(ScanError::Io(error)) => return Err(LogError::io("read", &self.path)(error)),
                Err(ScanError::Damaged { position, reason }) => {
                    let offset = self.summary().next_offset;
                    return Ok(Some(Damage { offset, position, reason }));
                }
            }
        }
    }

    fn new(
        path: PathBuf,
        base: i64,
        has_gaps: bool,
        size: u64,
        handle: Handle,
        summary: Summary,
        index: Index,
    ) -> Self {
        Self {
            base,
            path,
            has_gaps,
            size: AtomicU64::new(size),
            file: Mutex::new(handle),
            used: AtomicBool::new(true),
            summary: Mutex::new(summary),
            index,
        }
    }

    /// Bytes of whole batches.
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// What is known without reading.
    pub fn summary(&self) -> Summary {
        *self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self) -> MutexGuard<'_, Handle> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file, opened if need be.
    pub fn file(&self) -> Result<Arc<File>, ReadError> {
        self.used.store(true, Ordering::Relaxed);
        let mut handle = self.handle();
        match &*handle {
            Handle::Open(file) => Ok(Arc::clone(file)),
            Handle::Replaced => Err(ReadError::Replaced),
            Handle::Closed => {
                let file = OpenOptions::new().read(true).append(true).open(&self.path);
                let file = Arc::new(file.map_err(LogError::io("open", &self.path))?);
                *handle = Handle::Open(Arc::clone(&file));
                Ok(file)
            }
        }
    }

    /// The file of a segment that nobody replaces meanwhile.
    pub fn open(&self) -> Result<Arc<File>, LogError> {
        self.file().map_err(|error| match error {
            ReadError::Failed(error) => error,
            ReadError::Replaced => LogError::io("open", &self.path)(io::ErrorKind::NotFound.into()),
        })
    }

    /// Appends a batch. After an error the file may hold a part of it, which [`Self::mend`]
    /// removes.
    pub fn append(
        &self,
        header: &BatchHeader,
        records: &[u8],
        index_interval: u64,
    ) -> Result<(), LogError> {
        let file = self.open()?;
        write_all(&file, &header.encode(), records)
            .map_err(LogError::io("append to", &self.path))?;
        self.took(header, index_interval);
        Ok(())
    }

    /// Notes a batch that is now in the file.
    fn took(&self, header: &BatchHeader, index_interval: u64) {
        let position = self.size();
        let mut summary = self.summary.lock().unwrap_or_else(PoisonError::into_inner);
        let max_before = summary.max_timestamp;
        self.index.note(header.base_offset, position, max_before, index_interval);
        if position == 0 {
            summary.first_timestamp = header.max_timestamp;
        }
        if header.max_timestamp > max_before {
            summary.max_timestamp = header.max_timestamp;
            summary.max_timestamp_batch = header.base_offset;
        }
        summary.next_offset = header.next_offset();
        self.size.store(position + header.size() as u64, Ordering::Release);
    }

    /// Lets readers come to the damage and say so, rather than end before it.
    pub fn include_damage(&self) -> Result<(), LogError> {
        let length = self.open()?.metadata().map_err(LogError::io("read", &self.path))?.len();
        self.size.store(length, Ordering::Release);
        Ok(())
    }

    /// Cuts the file to its whole batches.
    pub fn mend(&self) -> Result<(), LogError> {
        let file = self.open()?;
        file.set_len(self.size()).map_err(LogError::io("truncate", &self.path))
    }

    /// Puts another file in this one's place, as a disk that fails.
    #[cfg(test)]
    pub fn exchange_file(&self, file: File) {
        *self.handle() = Handle::Open(Arc::new(file));
    }

    /// Writes the index's header: nothing will be appended.
    pub fn seal(&self) -> Result<(), LogError> {
        self.index.seal(&self.summary(), self.size())
    }

    /// Syncs the batches to disk. One that was replaced meanwhile had been synced, or is deleted.
    pub fn sync(&self) -> Result<(), LogError> {
        match self.file() {
            Ok(file) => file.sync_data().map_err(LogError::io("sync", &self.path)),
            Err(ReadError::Replaced) => Ok(()),
            Err(ReadError::Failed(error)) => Err(error),
        }
    }

    /// Closes files not used since the last call.
    pub fn close_if_unused(&self) {
        if self.used.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut handle = self.handle();
        if matches!(*handle, Handle::Open(_)) {
            *handle = Handle::Closed;
        }
        self.index.close();
    }

    /// Readers shall look for the segment that takes this one's place.
    pub fn replaced(&self) {
        let mut handle = self.handle();
        *handle = Handle::Replaced;
        self.index.retire();
    }

    /// Where the batch with this offset, or the first after it, is at or after.
    pub fn position_of(&self, offset: i64) -> u64 {
        self.index.of_offset(offset).unwrap_or(0)
    }

    /// The position before which every timestamp is less than this one.
    pub fn position_of_time(&self, timestamp: i64) -> u64 {
        self.index.of_time(timestamp).unwrap_or(0)
    }

    /// Whole batches from the one with `from` on, all before `until`, at most `max_bytes` but at
    /// least one batch; `None` if there is none. `known` is where that batch is, if known.
    pub fn read(
        &self,
        from: i64,
        until: i64,
        max_bytes: usize,
        known: Option<u64>,
    ) -> Result<Option<Batches>, ReadError> {
        let file = self.file()?;
        let max_bytes = max_bytes.clamp(HEADER_BYTES, MAX_READ);
        let position = known.unwrap_or_else(|| self.position_of(from));
        let slack = if known.is_some() { 0 } else { INDEX_SLACK };
        let mut window = self.window(&file, position, max_bytes + slack)?;
        let mut start = 0;
        let mut expected = from.max(self.base);
        loop {
            let size = match window.peek(start, expected)? {
                Peek::End => return Ok(None),
                Peek::Short => HEADER_BYTES,
                Peek::Batch(batch) if batch.base_offset >= until => return Ok(None),
                Peek::Batch(batch) if batch.last_offset() < from => {
                    start += batch.size();
                    expected = batch.next_offset();
                    continue;
                }
                Peek::Batch(batch) if window.holds(start, &batch) => break,
                Peek::Batch(batch) => batch.size(),
            };
            window = self.window(&file, window.position + start as u64, size.max(max_bytes))?;
            start = 0;
        }
        window.take(start, from.max(self.base), until, max_bytes).map(Some)
    }

    fn window(&self, file: &File, position: u64, length: usize) -> Result<Window<'_>, ReadError> {
        let segment_end = self.size();
        let left = usize::try_from(segment_end.saturating_sub(position)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(left)];
        file.read_exact_at(&mut bytes, position).map_err(LogError::io("read", &self.path))?;
        Ok(Window { segment: self, position, bytes, segment_end })
    }
}

/// Where a segment is damaged.
#[derive(Debug, Clone)]
pub(super) struct Damage {
    /// The first offset that cannot be read.
    pub offset: i64,
    pub position: u64,
    pub reason: String,
}

impl Segment {
    /// The damage that the records are missing between this segment and the next one's base.
    pub fn ends_before(&self, base: i64) -> LogError {
        let (offset, position) = (self.summary().next_offset, self.size());
        let reason = format!("the records up to offset {base} are missing");
        Damage { offset, position, reason }.of(self)
    }
}

impl Damage {
    pub fn of(self, segment: &Segment) -> LogError {
        LogError::Damaged {
            offset: self.offset,
            file: segment.path.display().to_string(),
            position: self.position,
            reason: self.reason,
        }
    }
}

impl From<LogError> for ReadError {
    fn from(error: LogError) -> Self {
        Self::Failed(error)
    }
}

/// Writes header and records with one call to the system, if it takes all at once.
fn write_all(mut file: &File, header: &[u8], records: &[u8]) -> io::Result<()> {
    let mut slices = [IoSlice::new(header), IoSlice::new(records)];
    let mut slices = &mut slices[..];
    while slices.iter().any(|slice| !slice.is_empty()) {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
