//! What a route has written of one partition: the file that makes "once" true.
//!
//! Its lines are JSON. `writing` names the temporary files that are about to be made. `written` says
//! that they are whole and on the disk, what their names are to be, and which offsets they hold: once
//! this line is on the disk, the batch is written, in all its folders or none. Only then are files
//! renamed, and only then is an event acknowledged. Whoever opens the journal completes what its last
//! line says: removes the temporaries of `writing`, renames those of `written`.
//!
//! So an event is in a file exactly when its offset is in the journal, whatever the bounds of the
//! batch that it comes in again, whichever folder its file is in, and wherever a reader has put the
//! file since. Offsets that are missing between two rows (compaction, marks of transactions, dead
//! letters) are in no line: one that comes later, a dead letter that is tried again, is written.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use engine::{Event, Fault};
use serde::{Deserialize, Serialize};

use super::faults::fault;
use super::held::{Held, Range};

/// A line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// Temporary files, from the connection's folder.
    Writing(Vec<String>),
    /// A batch.
    Written {
        /// Its files, from the connection's folder: the temporary one, and what it is to be.
        files: Vec<(String, String)>,
        /// The rows in them.
        rows: Vec<Range>,
    },
}

/// With more lines than this, they are written anew as one.
const MOST_LINES: usize = 10_000;

/// The journal of one partition, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Journal {
    path: PathBuf,
    length: u64,
    lines: usize,
    held: Held,
}

impl Journal {
    pub fn at(path: PathBuf) -> Self {
        Self { path, ..Self::default() }
    }

    /// Reads what others have written since. Gives the last line, if it may be unfinished.
    ///
    /// # Errors
    /// A `Remote` fault when it cannot be read, or is damaged.
    pub fn refresh(&mut self) -> Result<Option<Line>, Fault> {
        let length = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
            Err(error) => return Err(fault("Reading", &self.path, &error)),
        };
        if length == self.length {
            return Ok(None);
        }
        *self = Self::at(std::mem::take(&mut self.path));
        if length == 0 {
            return Ok(None);
        }
        self.read().map_err(|error| fault("Reading", &self.path, &error))?
    }

    fn read(&mut self) -> std::io::Result<Result<Option<Line>, Fault>> {
        let mut text = Vec::new();
        let mut file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        file.read_to_end(&mut text)?;
        let mut last = None;
        let mut rest = text.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let Ok(line) = serde_json::from_slice(&rest[..end]) else {
                if end + 1 == rest.len() {
                    break;
                }
                return Ok(Err(self.damaged()));
            };
            self.note(&line);
            self.length += end as u64 + 1;
            last = Some(line);
            rest = &rest[end + 1..];
        }
        if !rest.is_empty() {
            // Its writing was cut short: whatever it was to say had not happened.
            file.set_len(self.length)?;
        }
        Ok(Ok(last))
    }

    fn damaged(&self) -> Fault {
        let message = format!(
            "Line {} of `{}` is damaged, so it is not known which events are in files: restore it, \
             or remove it to write again what comes again.",
            self.lines + 1,
            self.path.display()
        );
        Fault::refused("journal_damaged", message)
    }

    fn note(&mut self, line: &Line) {
        self.lines += 1;
        if let Line::Written { rows, .. } = line {
            rows.iter().for_each(|range| self.held.add(*range));
        }
    }

    /// Whether the event is in a file.
    ///
    /// # Errors
    /// A `Remote` fault: another event of this offset is, of a topic that is gone.
    pub fn holds(&self, event: &Event) -> Result<bool, Fault> {
        self.held.holds(event, &format!("`{}`", self.path.display()))
    }

    /// Adds a line; on the disk when it returns if `sync`. When it fails there is no such line.
    ///
    /// # Errors
    /// A `Remote` fault.
    pub fn append(&mut self, line: &Line, sync: bool) -> Result<(), Fault> {
        let mut text = serde_json::to_vec(line)
            .map_err(|error| Fault::internal("journal", error.to_string()))?;
        text.push(b'\n');
        let length = self.length;
        let appended = self.open().and_then(|mut file| {
            let written = write_at(&mut file, length, &text, sync);
            if written.is_err() {
                file.set_len(length)?;
            }
            written
        });
        appended.map_err(|error| fault("Writing", &self.path, &error))?;
        self.length += text.len() as u64;
        self.note(line);
        Ok(())
    }

    /// Cuts off what was written behind this length, on the disk.
    pub fn cut(&mut self, length: u64) -> std::io::Result<()> {
        let file = self.open()?;
        file.set_len(length)?;
        file.sync_all()?;
        self.length = length;
        Ok(())
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    /// Writes many lines anew as one.
    ///
    /// # Errors
    /// A `Remote` fault; the journal is as it was.
    pub fn shorten(&mut self) -> Result<(), Fault> {
        if self.lines <= MOST_LINES {
            return Ok(());
        }
        let rows = self.held.ranges();
        let new = self.path.with_extension("new");
        let mut shorter = Self::at(new.clone());
        let replaced = remove_if_there(&new)
            .map_err(|error| fault("Removing", &new, &error))
            .and_then(|()| shorter.append(&Line::Written { files: Vec::new(), rows }, true))
            .and_then(|()| {
                std::fs::rename(&new, &self.path).map_err(|error| fault("Renaming", &new, &error))
            });
        replaced?;
        (self.length, self.lines) = (shorter.length, shorter.lines);
        sync_folder(self.path.parent().unwrap_or(Path::new(".")))
    }

    fn open(&self) -> std::io::Result<File> {
        OpenOptions::new().create(true).truncate(false).write(true).open(&self.path)
    }
}

fn write_at(file: &mut File, at: u64, text: &[u8], sync: bool) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(at))?;
    file.write_all(text)?;
    if sync { file.sync_data() } else { Ok(()) }
}

pub(super) fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What was made or renamed in a folder stays after a power cut.
///
/// # Errors
/// A `Remote` fault.
pub(super) fn sync_folder(folder: &Path) -> Result<(), Fault> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| fault("Writing", folder, &error))
}
