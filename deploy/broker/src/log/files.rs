//! The files of a partition's folder, and how they come and go so that a crash leaves either the
//! old or the new.
//!
//! | file | what |
//! |---|---|
//! | `format` | the version of all of it |
//! | `checkpoint` | how far the log is synced, where it begins, how far it is compacted |
//! | `<base offset>.log` | a segment: record batches one after the other |
//! | `<base offset>.index` | its sparse index, rebuilt if missing or damaged |
//! | `<offset>.producers` | what was known of producers at that offset |
//! | `<base>-<end>.cleaned` | a segment that compaction is writing |
//! | `<base>-<end>.swap` | one written and synced, about to replace the segments from base to end |

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use super::LogError;

const FORMAT: &str = "passerelle log 1\n";

pub(super) fn log_path(dir: &Path, base: i64) -> PathBuf {
    dir.join(format!("{base:020}.log"))
}

pub(super) fn index_path(dir: &Path, base: i64) -> PathBuf {
    dir.join(format!("{base:020}.index"))
}

pub(super) fn producers_path(dir: &Path, offset: i64) -> PathBuf {
    dir.join(format!("{offset:020}.producers"))
}

/// The offsets in the names of the files with this extension, in order.
pub(super) fn offsets(dir: &Path, extension: &str) -> Result<Vec<i64>, LogError> {
    let mut offsets: Vec<i64> = names(dir)?
        .iter()
        .filter_map(|name| name.strip_suffix(extension)?.strip_suffix('.'))
        .filter_map(|stem| if stem.len() == 20 { stem.parse().ok() } else { None })
        .collect();
    offsets.sort_unstable();
    Ok(offsets)
}

/// The names in a folder.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, LogError> {
    fs::read_dir(dir)
        .and_then(|entries| {
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        })
        .map_err(LogError::io("list", dir))
}

/// Makes creations, renames and removals in a folder durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), LogError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(LogError::io("sync folder", dir))
}

/// Replaces a file at once. If `synced`, a crash of the machine leaves the old or the new, which
/// is durable after the folder's next sync.
pub(super) fn replace(path: &Path, content: &[u8], synced: bool) -> Result<(), LogError> {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        if synced {
            file.sync_data()?;
        }
        fs::rename(&temporary, path)
    };
    write().map_err(|error| {
        // Nothing else of it is of use, and the disk may be full.
        let _ = fs::remove_file(&temporary);
        LogError::io("write", path)(error)
    })
}

/// Removes a file that may be gone already.
pub(super) fn remove(path: &Path) -> Result<(), LogError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LogError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Creates the folder if need be and checks the version of what is in it.
pub(super) fn prepare(dir: &Path) -> Result<(), LogError> {
    fs::create_dir_all(dir).map_err(LogError::io("create folder", dir))?;
    let path = dir.join("format");
    match fs::read_to_string(&path) {
        Ok(found) if found == FORMAT => Ok(()),
        Ok(found) => Err(LogError::Format { path, found, expected: FORMAT.to_owned() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            replace(&path, FORMAT.as_bytes(), true)?;
            sync_dir(dir)?;
            dir.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_dir)
        }
        Err(error) => Err(LogError::io("read", &path)(error)),
    }
}
