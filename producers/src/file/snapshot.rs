//! A file as it was picked up: open, with the identity of its content.

use std::fs::{File, Metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::Fault;
use exchange::bucket::Object;
use sha2::{Digest as _, Sha256};

use super::formats::Input;

/// How many bytes of a hash name a content.
const NAME_BYTES: usize = 16;
/// How many bytes are read at once.
const CHUNK: usize = 256 << 10;

/// What shows that a file was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub size: u64,
    /// Seconds and nanoseconds.
    pub modified: (i64, i64),
    inode: u64,
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            inode: metadata.ino(),
        }
    }

    /// That of an object. Not all answers of a store tell more of its time than the second.
    pub fn of_object(object: &Object) -> Self {
        let mut hash = DefaultHasher::new();
        object.tag.hash(&mut hash);
        let modified = (object.modified.timestamp(), 0);
        Self { size: object.size, modified, inode: hash.finish() }
    }
}

/// A file as it was picked up. It stays open: what becomes of its name does not matter then.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub path: PathBuf,
    /// Its name, for people.
    pub name: String,
    /// The first sixteen bytes of its content's SHA-256, in hexadecimal.
    pub id: String,
    pub stamp: Stamp,
    pub input: Arc<Input>,
    /// Whether it is a copy that nobody else writes to.
    is_copy: bool,
}

impl Snapshot {
    /// Opens a file and hashes it. With the hash of its first `known` bytes, if it has more.
    ///
    /// # Errors
    /// A `Remote` fault: it cannot be read, or is written to meanwhile.
    pub fn take(path: &Path, known: Option<u64>) -> Result<(Self, Option<String>), Fault> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let unreadable = |error: io::Error| unreadable(path, &error);
        let file = File::open(path).map_err(unreadable)?;
        let stamp = Stamp::of(&file.metadata().map_err(unreadable)?);
        let input = Arc::new(Input { file, size: stamp.size });
        let (id, head) = hash(&input, known)?;
        let snapshot = Self { path: path.to_owned(), name, id, stamp, input, is_copy: false };
        if !snapshot.is_unchanged()? {
            return Err(super::formats::changed("is written to while it is read"));
        }
        Ok((snapshot, head))
    }

    /// Hashes a copy of what has this name and this stamp elsewhere.
    ///
    /// # Errors
    /// A `Remote` fault: it cannot be read, or is shorter.
    pub fn copied(
        path: &Path,
        file: File,
        stamp: Stamp,
        known: Option<u64>,
    ) -> Result<(Self, Option<String>), Fault> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let input = Arc::new(Input { file, size: stamp.size });
        let (id, head) = hash(&input, known)?;
        Ok((Self { path: path.to_owned(), name, id, stamp, input, is_copy: true }, head))
    }

    /// Whether nobody has written to it since.
    ///
    /// # Errors
    /// A `Remote` fault: it cannot be told.
    pub fn is_unchanged(&self) -> Result<bool, Fault> {
        if self.is_copy {
            return Ok(true);
        }
        let metadata = self.input.file.metadata();
        Ok(Stamp::of(&metadata.map_err(|error| unreadable(&self.path, &error))?) == self.stamp)
    }
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> Fault {
    Fault::remote("file_unreadable", format!("`{}` cannot be read: {error}.", path.display()))
}

/// The hash of a file's content, and of its first `known` bytes.
fn hash(input: &Input, known: Option<u64>) -> Result<(String, Option<String>), Fault> {
    let name = |hash: Sha256| hex::encode(&hash.finalize()[..NAME_BYTES]);
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let (mut offset, mut head) = (0, None);
    while offset < input.size {
        let stop = known.filter(|known| offset < *known && *known <= input.size);
        let wanted = stop.map_or(CHUNK as u64, |stop| (stop - offset).min(CHUNK as u64));
        let wanted = usize::try_from(wanted).unwrap_or(CHUNK);
        let read = input.read_at(&mut buffer[..wanted], offset)?;
        hash.update(&buffer[..read]);
        offset += read as u64;
        if Some(offset) == known {
            head = Some(name(hash.clone()));
        }
    }
    Ok((name(hash), head))
}
