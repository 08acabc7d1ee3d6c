//! How far a log is synced.
//!
//! The checkpoint is written after each sync of the log and before what it covers is
//! acknowledged, but is itself synced only now and then: after a crash of the process it is
//! exact, after one of the machine it may lag, and a log is then cut at most after what it says.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use bytes::{Buf, BufMut};

use super::LogError;

/// Two slots, in different sectors, written in turn: a torn write leaves the other.
const SLOT_STRIDE: u64 = 512;
const SLOT_BYTES: usize = 68;
const MAGIC: u64 = u64::from_be_bytes(*b"PLCHECK\x01");

/// What the checkpoint says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// The offset after the last synced record.
    pub synced: i64,
    /// The segment it is in, by its base offset.
    pub segment: i64,
    /// The byte after it in that segment.
    pub position: u64,
    /// The first offset of the log.
    pub log_start: i64,
    /// The offset up to which the log is compacted.
    pub cleaned: i64,
    /// The offset up to which compaction may have left gaps; at least `cleaned`.
    pub gaps_before: i64,
}

/// The checkpoint's file.
#[derive(Debug)]
pub(super) struct CheckpointFile {
    path: PathBuf,
    sequence: u64,
}

impl CheckpointFile {
    /// Reads the newest intact slot.
    pub fn open(dir: &Path) -> Result<(Self, Option<Checkpoint>), LogError> {
        let path = dir.join("checkpoint");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(LogError::io("read", &path)(error)),
        };
        let second = bytes.get(SLOT_STRIDE as usize..).unwrap_or_default();
        let newest = [bytes.as_slice(), second]
            .into_iter()
            .filter_map(decode)
            .max_by_key(|(sequence, _)| *sequence);
        let sequence = newest.map_or(0, |(sequence, _)| sequence);
        Ok((Self { path, sequence }, newest.map(|(_, checkpoint)| checkpoint)))
    }

    /// Writes the checkpoint; `durably` waits for the disk.
    pub fn write(&mut self, checkpoint: &Checkpoint, durably: bool) -> Result<(), LogError> {
        let sequence = self.sequence + 1;
        let slot = encode(sequence, checkpoint);
        let write = || {
            let file: File =
                OpenOptions::new().write(true).create(true).truncate(false).open(&self.path)?;
            file.write_all_at(&slot, sequence % 2 * SLOT_STRIDE)?;
            if durably { file.sync_data() } else { Ok(()) }
        };
        write().map_err(LogError::io("write", &self.path))?;
        self.sequence = sequence;
        Ok(())
    }
}

fn encode(sequence: u64, checkpoint: &Checkpoint) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    let mut to = &mut slot[..];
    to.put_u64(MAGIC);
    to.put_u64(sequence);
    to.put_i64(checkpoint.synced);
    to.put_i64(checkpoint.segment);
    to.put_u64(checkpoint.position);
    to.put_i64(checkpoint.log_start);
    to.put_i64(checkpoint.cleaned);
    to.put_i64(checkpoint.gaps_before);
    let crc = crc32c::crc32c(&slot[..SLOT_BYTES - 4]);
    slot[SLOT_BYTES - 4..].copy_from_slice(&crc.to_be_bytes());
    slot
}

fn decode(bytes: &[u8]) -> Option<(u64, Checkpoint)> {
    let (mut content, crc) = bytes.get(..SLOT_BYTES)?.split_last_chunk()?;
    if u32::from_be_bytes(*crc) != crc32c::crc32c(content) || content.get_u64() != MAGIC {
        return None;
    }
    let sequence = content.get_u64();
    Some((
        sequence,
        Checkpoint {
            synced: content.get_i64(),
            segment: content.get_i64(),
            position: content.get_u64(),
            log_start: content.get_i64(),
            cleaned: content.get_i64(),
            gaps_before: content.get_i64(),
        },
    ))
}
