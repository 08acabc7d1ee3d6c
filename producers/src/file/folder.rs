//! The watched folder: which files are complete, and what becomes of them.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use engine::Fault;
use glob::{MatchOptions, Pattern};

use super::options::{Ready, Then};
use super::snapshot::{Snapshot, Stamp, unreadable};

/// Names of files that are being written, as tools choose them.
const TEMPORARY: [&str; 7] = [".tmp", ".part", ".partial", ".filepart", ".crdownload", ".swp", "~"];

/// The watched folder.
pub(super) struct Folder {
    path: PathBuf,
    pattern: Pattern,
    ready: Ready,
    settle: Duration,
    marker: String,
    /// Since when each file has been as it is.
    seen: HashMap<PathBuf, (Stamp, Instant)>,
    /// The contents of files that were hashed.
    contents: HashMap<PathBuf, (Stamp, String)>,
    /// The files that lay there at the first look, as long as they do.
    first: Option<HashSet<PathBuf>>,
}

/// What lies in the folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Files that are complete, the oldest first.
    pub ready: Vec<(PathBuf, Stamp)>,
    /// Whether there are files that are not.
    pub unsettled: bool,
}

impl Folder {
    /// A folder whose files, of names like this, show so that they are complete.
    ///
    /// # Errors
    /// A `Config` fault: it is no pattern.
    pub fn new(
        path: PathBuf,
        pattern: &str,
        (ready, settle, marker): (Ready, Duration, &str),
    ) -> Result<Self, Fault> {
        let pattern =
            Pattern::new(pattern).map_err(|error| Fault::config("pattern", error.to_string()))?;
        Ok(Self {
            path,
            pattern,
            ready,
            settle,
            marker: marker.to_owned(),
            seen: HashMap::new(),
            contents: HashMap::new(),
            first: None,
        })
    }

    /// Looks what lies there.
    ///
    /// # Errors
    /// A `Remote` fault: the folder cannot be read.
    pub fn list(&mut self) -> Result<Listing, Fault> {
        let failed = |error: io::Error| {
            let message = format!(
                "The folder `{}` cannot be read: {error}. Is it there, and is it mounted?",
                self.path.display()
            );
            Fault::remote("folder_unreadable", message)
        };
        let mut there = HashMap::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if !self.is_wanted(&path) {
                continue;
            }
            // Whoever may drop files may not have others read: links are not followed.
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_file() => {
                    there.insert(path, Stamp::of(&metadata));
                }
                Ok(_) => {}
                // It has gone meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(&path, &error)),
            }
        }
        Ok(self.listed(there))
    }

    /// Which of the files that lie there are complete.
    pub fn listed(&mut self, there: HashMap<PathBuf, Stamp>) -> Listing {
        let now = Instant::now();
        self.seen.retain(|path, (stamp, _)| there.get(path) == Some(stamp));
        self.contents.retain(|path, (stamp, _)| there.get(path) == Some(stamp));
        let first = self.first.get_or_insert_with(|| there.keys().cloned().collect());
        first.retain(|path| there.contains_key(path));
        let mut listing = Listing::default();
        for (path, stamp) in there {
            let (_, since) = *self.seen.entry(path.clone()).or_insert((stamp, now));
            let complete = match self.ready {
                Ready::Settle => now.duration_since(since) >= self.settle,
                Ready::Rename => true,
                Ready::Marker => self.is_marked(&path, stamp),
            };
            match complete {
                true => listing.ready.push((path, stamp)),
                false => listing.unsettled = true,
            }
        }
        listing.ready.sort_by(|(a, one), (b, other)| (one.modified, a).cmp(&(other.modified, b)));
        listing
    }

    /// Whether a file of this name is to be read.
    pub fn is_wanted(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = name.starts_with(['.', '~'])
            || TEMPORARY.iter().any(|ending| name.ends_with(ending))
            || (self.ready == Ready::Marker && name.ends_with(&self.marker));
        let exact = MatchOptions { case_sensitive: true, ..MatchOptions::default() };
        !temporary && self.pattern.matches_with(&name, exact)
    }

    /// Whether the marker was written after the file: one that another file of this name has left behind
    /// says nothing of this one.
    fn is_marked(&self, path: &Path, stamp: Stamp) -> bool {
        fs::metadata(self.marker_of(path))
            .is_ok_and(|marker| Stamp::of(&marker).modified >= stamp.modified)
    }

    fn marker_of(&self, path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(&self.marker);
        PathBuf::from(name)
    }

    /// The content of a file that was hashed before and has not changed.
    pub fn content(&self, path: &Path, stamp: Stamp) -> Option<&str> {
        let known = self.contents.get(path).filter(|(known, _)| *known == stamp);
        known.map(|(_, content)| content.as_str())
    }

    /// Remembers a file's content.
    pub fn remember(&mut self, snapshot: &Snapshot) {
        let known = (snapshot.stamp, snapshot.id.clone());
        self.contents.insert(snapshot.path.clone(), known);
    }

    /// A file has gone.
    pub fn forget(&mut self, path: &Path) {
        if let Some(first) = &mut self.first {
            first.remove(path);
        }
    }

    /// The files that lay there at the first look and whose content is not known: until then one that
    /// was read before may lie there unseen.
    pub fn unknown(&self) -> Vec<PathBuf> {
        let first = self.first.iter().flatten();
        first.filter(|path| !self.contents.contains_key(*path)).cloned().collect()
    }

    /// The contents of the files that lie there, where they are known.
    pub fn contents(&self) -> impl Iterator<Item = &str> {
        self.contents.values().map(|(_, content)| content.as_str())
    }

    /// Does with a file that was read what is to be done with it.
    ///
    /// # Errors
    /// A `Remote` fault: it cannot be moved or deleted.
    pub fn put_away(&self, path: &Path, content: &str, then: &Then) -> Result<(), Fault> {
        // The marker goes last: a file without it would lie there for ever.
        let marker = (self.ready == Ready::Marker).then(|| self.marker_of(path));
        let marker = marker.filter(|marker| marker.exists());
        let mut all = std::iter::once(path).chain(marker.as_deref());
        let done = all.try_for_each(|path| match then {
            Then::Leave => Ok(()),
            Then::Delete => remove(path),
            Then::Archive(folder) => archive(path, folder, content),
        });
        done.map_err(|error| {
            let message = format!(
                "`{}` was read and cannot be put away: {error}. It is not read again.",
                path.display()
            );
            Fault::remote("file_not_put_away", message)
        })
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Moves a file into a folder, under a name of its own: of another file's name, its content's is added.
fn archive(path: &Path, folder: &Path, content: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default();
    let mut target = folder.join(name);
    if target.exists() {
        let mut longer = name.to_owned();
        longer.push(format!(".{}", content.get(..12).unwrap_or(content)));
        target = folder.join(longer);
    }
    match fs::rename(path, &target) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            // Another file system: a copy under another name, then its right name, then the original goes.
            let mut copy = target.as_os_str().to_owned();
            copy.push(".part");
            let copy = PathBuf::from(copy);
            fs::copy(path, &copy)?;
            File::open(&copy)?.sync_all()?;
            fs::rename(&copy, &target)?;
            remove(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => Ok(()),
        other => other,
    }
}
