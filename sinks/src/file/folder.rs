//! A folder of this machine: files are written under temporary names, noted in the journal, renamed.

use std::collections::{BTreeSet, HashMap};
use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use engine::{Event, Fault};

use super::faults::fault;
use super::held::Range;
use super::journal::{Journal, Line, remove_if_there, sync_folder};
use super::store::{JOURNALS, Planned, Session, Store};

/// The connection's folder, as one route uses it.
pub(super) struct Folder {
    root: PathBuf,
    /// Where the route's journals are.
    journals: PathBuf,
    known: Known,
}

/// What was read of journals.
type Known = Arc<Mutex<HashMap<PathBuf, Journal>>>;

/// A partition's journal in our hands alone: no other process, and no late delivery of this one,
/// writes files of the partition meanwhile.
struct InHand {
    root: PathBuf,
    path: PathBuf,
    journal: Journal,
    lock: File,
    known: Known,
}

impl Folder {
    pub fn new(root: PathBuf, route: &str) -> Self {
        let journals = root.join(JOURNALS).join(route.replace('/', "."));
        Self { root, journals, known: Known::default() }
    }
}

#[async_trait]
impl Store for Folder {
    async fn open(&self, topic: &str, partition: i32) -> Result<Box<dyn Session>, Fault> {
        let path = self.journals.join(format!("{topic}-{partition}.journal"));
        let (root, journals) = (self.root.clone(), self.journals.clone());
        let (known, all) = (locked(&self.known).remove(&path), Arc::clone(&self.known));
        blocking(move || {
            if !root.is_dir() {
                let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
                return Err(fault("Writing into", &root, &missing));
            }
            make_folders(&root, &journals)?;
            let lock = lock(&path.with_extension("lock"))?;
            let journal = known.unwrap_or_else(|| Journal::at(path.clone()));
            let mut session = InHand { root, path, journal, lock, known: all };
            session.complete()?;
            Ok(Box::new(session) as Box<dyn Session>)
        })
        .await
    }
}

fn locked(known: &Known) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Journal>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fails at once when another holds it: the route says so, and tries again.
fn lock(path: &Path) -> Result<File, Fault> {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(|error| fault("Opening", path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = format!(
                "Another process is writing files of this partition (it holds `{}`): it was the \
                 partition's owner before. The route goes on when it is done.",
                path.display()
            );
            Err(Fault::refused("partition_in_use", message))
        }
        Err(TryLockError::Error(error)) => Err(fault("Locking", path, &error)),
    }
}

impl InHand {
    fn complete(&mut self) -> Result<(), Fault> {
        match self.journal.refresh()? {
            None => {}
            Some(Line::Writing(temporaries)) => {
                for temporary in &temporaries {
                    let path = self.root.join(temporary);
                    remove_if_there(&path).map_err(|error| fault("Removing", &path, &error))?;
                }
            }
            Some(Line::Written { files, .. }) => rename_all(&self.root, &files)?,
        }
        self.journal.shorten()
    }
}

#[async_trait]
impl Session for InHand {
    fn holds(&self, event: &Event) -> Result<bool, Fault> {
        self.journal.holds(event)
    }

    async fn write(self: Box<Self>, files: Vec<Planned>, rows: Vec<Range>) -> Result<(), Fault> {
        let Self { root, path, mut journal, lock, known } = *self;
        if !files.is_empty() {
            // It runs to its end even if nobody waits for it any more, and is locked until then.
            journal = blocking(move || {
                let outcome = write_all(&root, &mut journal, &files, rows);
                drop(lock);
                outcome.map(|()| journal)
            })
            .await?;
        }
        // What is not kept is read again.
        locked(&known).insert(path, journal);
        Ok(())
    }
}

fn write_all(
    root: &Path,
    journal: &mut Journal,
    planned: &[Planned],
    rows: Vec<Range>,
) -> Result<(), Fault> {
    for file in planned {
        refuse_to_replace(&root.join(file.path()))?;
    }
    let start = journal.length();
    let temporaries = planned.iter().map(Planned::temporary).collect();
    journal.append(&Line::Writing(temporaries), false)?;
    let begun = journal.length();
    let renames: Vec<_> = planned.iter().map(|file| (file.temporary(), file.path())).collect();
    let written = write_temporaries(root, planned)
        .and_then(|()| journal.append(&Line::Written { files: renames.clone(), rows }, true));
    if let Err(fault) = written {
        // First it is certain that no line says they are whole. What cannot be taken back or removed
        // now is left to whoever opens the journal next.
        let _ = journal
            .cut(begun)
            .and_then(|()| {
                planned.iter().try_for_each(|file| remove_if_there(&root.join(file.temporary())))
            })
            .and_then(|()| journal.cut(start));
        return Err(fault);
    }
    rename_all(root, &renames)
}

/// A file that the journal does not know is somebody else's.
fn refuse_to_replace(path: &Path) -> Result<(), Fault> {
    match path.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => {
            let message = format!(
                "`{}` is there, and the journal of this route does not know it (was the journal \
                 removed, or does another route write here?): move it away, or give the route a \
                 folder of its own.",
                path.display()
            );
            Err(Fault::refused("file_there", message))
        }
        Err(error) => Err(fault("Looking for", path, &error)),
    }
}

/// All files under their temporary names, on the disk.
fn write_temporaries(root: &Path, planned: &[Planned]) -> Result<(), Fault> {
    let mut folders = BTreeSet::new();
    for file in planned {
        let path = root.join(file.temporary());
        if let Some(folder) = path.parent() {
            make_folders(root, folder)?;
            folders.insert(folder.to_owned());
        }
        let written = File::create(&path).and_then(|mut open| {
            open.write_all(&file.bytes)?;
            open.sync_all()
        });
        written.map_err(|error| fault("Writing", &path, &error))?;
    }
    folders.iter().try_for_each(|folder| sync_folder(folder))
}

/// Gives files their names; those that have them already are left alone.
fn rename_all(root: &Path, files: &[(String, String)]) -> Result<(), Fault> {
    let mut folders = BTreeSet::new();
    for (temporary, name) in files {
        let (from, to) = (root.join(temporary), root.join(name));
        match std::fs::rename(&from, &to) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(fault("Renaming", &from, &error)),
            Ok(()) => folders.extend(to.parent().map(Path::to_owned)),
        }
    }
    folders.iter().try_for_each(|folder| sync_folder(folder))
}

/// Makes the folders between the connection's and this one, on the disk.
fn make_folders(root: &Path, folder: &Path) -> Result<(), Fault> {
    let between = folder.strip_prefix(root).unwrap_or(Path::new(""));
    let mut made = root.to_owned();
    for part in between.components() {
        let above = made.clone();
        made.push(part);
        match std::fs::create_dir(&made) {
            Ok(()) => sync_folder(&above)?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(fault("Creating", &made, &error)),
        }
    }
    Ok(())
}

/// Where files may be waited for.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Fault::internal("file_task", error.to_string()))?
}
