//! A segment's sparse index: where in the file an offset or a time is, every few kilobytes.
//!
//! ```text
//! header: magic u64, base offset i64, log size u64, next offset i64, max timestamp i64,
//!         its batch i64, first timestamp i64, entries u32, CRC of the entries u32, CRC u32
//! entry:  offset − base offset u32, position u32, max timestamp of all before i64
//! ```
//! The header is written when the segment is complete; without it, or if it does not fit the
//! segment, the index is made again from the segment. Nothing depends on an index being there:
//! one that cannot be written (the disk is full) has fewer entries, one that cannot be read none.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::{Buf, BufMut};

use super::{LogError, batch::NONE, files};

const MAGIC: u64 = u64::from_be_bytes(*b"PLINDEX\x01");
const HEADER_BYTES: usize = 68;
const ENTRY_BYTES: usize = 16;

/// What is known of a whole segment without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary {
    /// The offset after its last record.
    pub next_offset: i64,
    /// The largest timestamp in it, −1 if none.
    pub max_timestamp: i64,
    /// The base offset of the first batch with that timestamp.
    pub max_timestamp_batch: i64,
    /// The largest timestamp of its first batch, −1 if none.
    pub first_timestamp: i64,
}

impl Summary {
    pub fn empty(base: i64) -> Self {
        Self {
            next_offset: base,
            max_timestamp: NONE,
            max_timestamp_batch: NONE,
            first_timestamp: NONE,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    offset: i64,
    position: u64,
    max_timestamp_before: i64,
}

#[derive(Debug)]
pub(super) struct Index {
    path: PathBuf,
    base: i64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: Option<File>,
    entries: u32,
    crc: u32,
    last_position: u64,
    /// Whether the entries were written by this process or checked against the header.
    verified: bool,
}

impl Index {
    /// A new, empty index, in place of what may be there.
    pub fn create(path: PathBuf, base: i64) -> Result<Self, LogError> {
        files::remove(&path)?;
        let state = State { file: None, entries: 0, crc: 0, last_position: 0, verified: true };
        Ok(Self { path, base, state: Mutex::new(state) })
    }

    /// The index of a complete segment of `log_size` bytes; `None` if it does not fit.
    pub fn load(path: PathBuf, base: i64, log_size: u64) -> Option<(Self, Summary)> {
        let file = OpenOptions::new().read(true).write(true).open(&path).ok()?;
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0).ok()?;
        let (mut fields, crc) = header.split_last_chunk()?;
        if u32::from_be_bytes(*crc) != crc32c::crc32c(fields)
            || fields.get_u64() != MAGIC
            || fields.get_i64() != base
            || fields.get_u64() != log_size
        {
            return None;
        }
        let summary = Summary {
            next_offset: fields.get_i64(),
            max_timestamp: fields.get_i64(),
            max_timestamp_batch: fields.get_i64(),
            first_timestamp: fields.get_i64(),
        };
        let (entries, crc) = (fields.get_u32(), fields.get_u32());
        let state = State { file: None, entries, crc, last_position: log_size, verified: false };
        Some((Self { path, base, state: Mutex::new(state) }, summary))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes where a batch is, if it is far enough from the last one noted.
    pub fn note(&self, offset: i64, position: u64, max_timestamp_before: i64, interval: u64) {
        let mut state = self.state();
        if position < state.last_position.saturating_add(interval) {
            return;
        }
        let Ok(relative) = u32::try_from(offset - self.base) else { return };
        let Ok(position32) = u32::try_from(position) else { return };
        let mut entry = [0; ENTRY_BYTES];
        let mut to = &mut entry[..];
        to.put_u32(relative);
        to.put_u32(position32);
        to.put_i64(max_timestamp_before);
        let at = entry_position(state.entries);
        let written =
            self.file(&mut state, true).is_ok_and(|file| file.write_all_at(&entry, at).is_ok());
        if written {
            state.entries += 1;
            state.crc = crc32c::crc32c_append(state.crc, &entry);
            state.last_position = position;
        }
    }

    /// Writes the header: the segment is complete.
    pub fn seal(&self, summary: &Summary, log_size: u64) -> Result<(), LogError> {
        let mut state = self.state();
        let mut header = [0; HEADER_BYTES];
        let mut to = &mut header[..];
        to.put_u64(MAGIC);
        to.put_i64(self.base);
        to.put_u64(log_size);
        to.put_i64(summary.next_offset);
        to.put_i64(summary.max_timestamp);
        to.put_i64(summary.max_timestamp_batch);
        to.put_i64(summary.first_timestamp);
        to.put_u32(state.entries);
        to.put_u32(state.crc);
        let crc = crc32c::crc32c(&header[..HEADER_BYTES - 4]);
        header[HEADER_BYTES - 4..].copy_from_slice(&crc.to_be_bytes());
        self.file(&mut state, true)
            .and_then(|file| file.write_all_at(&header, 0))
            .map_err(LogError::io("write", &self.path))
    }

    /// Forgets the entries: the file's name will be another index's.
    pub fn retire(&self) {
        let mut state = self.state();
        state.entries = 0;
        state.file = None;
    }

    /// Where the index will be when next opened.
    pub fn rename(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Closes the file until it is needed again.
    pub fn close(&self) {
        self.state().file = None;
    }

    /// The position of the last entry at or before an offset, 0 without one; `None` if the index
    /// is damaged.
    pub fn of_offset(&self, offset: i64) -> Option<u64> {
        self.last_where(|entry| entry.offset <= offset)
    }

    /// The position before which every timestamp is less than this one; `None` if the index is
    /// damaged.
    pub fn of_time(&self, timestamp: i64) -> Option<u64> {
        self.last_where(|entry| entry.max_timestamp_before < timestamp)
    }

    fn last_where(&self, holds: impl Fn(&Entry) -> bool) -> Option<u64> {
        let mut state = self.state();
        if state.entries == 0 {
            return Some(0);
        }
        self.verify(&mut state)?;
        let (mut low, mut high) = (0, state.entries);
        let mut position = 0;
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.entry(&mut state, middle)?;
            if holds(&entry) {
                position = entry.position;
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Some(position)
    }

    fn entry(&self, state: &mut State, number: u32) -> Option<Entry> {
        let mut bytes = [0; ENTRY_BYTES];
        self.file(state, false).ok()?.read_exact_at(&mut bytes, entry_position(number)).ok()?;
        let mut bytes = &bytes[..];
        Some(Entry {
            offset: self.base + i64::from(bytes.get_u32()),
            position: bytes.get_u32().into(),
            max_timestamp_before: bytes.get_i64(),
        })
    }

    /// Checks the entries of an index found on disk, at its first use.
    fn verify(&self, state: &mut State) -> Option<()> {
        if state.verified {
            return Some(());
        }
        let mut entries = vec![0; state.entries as usize * ENTRY_BYTES];
        self.file(state, false).ok()?.read_exact_at(&mut entries, entry_position(0)).ok()?;
        state.verified = crc32c::crc32c(&entries) == state.crc;
        state.verified.then_some(())
    }

    fn file<'a>(&self, state: &'a mut State, create: bool) -> io::Result<&'a File> {
        if state.file.is_none() {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(create).truncate(false);
            state.file = Some(options.open(&self.path)?);
        }
        state.file.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn entry_position(number: u32) -> u64 {
    (HEADER_BYTES + number as usize * ENTRY_BYTES) as u64
}
