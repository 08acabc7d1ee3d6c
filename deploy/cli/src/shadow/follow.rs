//! Two logs read as they grow.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::comparison::{Comparison, Side};
use super::entry::{Entry, Terms};
use super::report::Report;

/// A line above this size is no request.
const LONGEST: u64 = 16 << 20;

/// Two logs, as far as they were read.
#[derive(Debug)]
pub struct Followed {
    ours: Log,
    theirs: Log,
    terms: Terms,
    comparison: Comparison,
}

#[derive(Debug)]
struct Log {
    file: PathBuf,
    /// Where the next line begins.
    offset: u64,
    /// The lines before.
    lines: u64,
    /// Whether the last of them had no end yet.
    is_open: bool,
}

/// What keeps logs from being compared: a sentence.
type Cause = String;

impl Followed {
    /// Two logs, read from their beginnings.
    pub fn new(ours: &Path, theirs: &Path, terms: Terms) -> Self {
        let log = |file: &Path| Log { file: file.to_owned(), offset: 0, lines: 0, is_open: false };
        Self { ours: log(ours), theirs: log(theirs), terms, comparison: Comparison::default() }
    }

    /// Reads what is new. A last line without an end is one that is being written.
    ///
    /// # Errors
    /// A log cannot be read.
    pub fn catch_up(&mut self) -> Result<(), Cause> {
        if self.ours.has_shrunk()? || self.theirs.has_shrunk()? {
            // It is another one of the same name.
            *self = Self::new(&self.ours.file, &self.theirs.file, self.terms.clone());
        }
        for (log, side) in [(&mut self.ours, Side::Ours), (&mut self.theirs, Side::Theirs)] {
            let (terms, comparison) = (&self.terms, &mut self.comparison);
            log.read(|number, line| {
                let read = match line {
                    Some(line) => Entry::read(line, terms),
                    None => Err(format!("it has more than {LONGEST} bytes")),
                };
                comparison.take(side, number, read);
            })?;
        }
        Ok(())
    }

    /// What they come to, with at most so many samples of each kind.
    pub fn report(&self, samples: usize) -> Report {
        let mut report = self.comparison.report(samples);
        report.ours.file.clone_from(&self.ours.file);
        report.theirs.file.clone_from(&self.theirs.file);
        report
    }
}

impl Log {
    fn unreadable(&self, error: &io::Error) -> Cause {
        format!("{} cannot be read: {error}.", self.file.display())
    }

    /// A log that is not there yet is empty.
    fn open(&self) -> Result<Option<File>, Cause> {
        match File::open(&self.file) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unreadable(&error)),
        }
    }

    fn has_shrunk(&self) -> Result<bool, Cause> {
        let Some(file) = self.open()? else { return Ok(self.offset > 0) };
        let size = file.metadata().map_err(|error| self.unreadable(&error))?.len();
        Ok(size < self.offset)
    }

    /// Gives each whole line that is new to `take`, with its number; nothing for one that is too long.
    fn read(&mut self, take: impl FnMut(u64, Option<&[u8]>)) -> Result<(), Cause> {
        let Some(file) = self.open()? else { return Ok(()) };
        self.read_lines(file, take).map_err(|error| self.unreadable(&error))
    }

    fn read_lines(
        &mut self,
        mut file: File,
        mut take: impl FnMut(u64, Option<&[u8]>),
    ) -> io::Result<()> {
        file.seek(SeekFrom::Start(self.offset))?;
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut length = (&mut reader).take(LONGEST).read_until(b'\n', &mut line)? as u64;
            let (ends, long) = (line.last() == Some(&b'\n'), length == LONGEST);
            if long && !ends {
                length += reader.skip_until(b'\n')? as u64;
            } else if !ends && serde_json::from_slice::<serde::de::IgnoredAny>(&line).is_err() {
                // A line that somebody wrote by hand may have no end: it is read once it is whole.
                return Ok(());
            }
            self.offset += length;
            if std::mem::replace(&mut self.is_open, !ends) && line.trim_ascii().is_empty() {
                continue;
            }
            self.lines += 1;
            let content = line.trim_ascii();
            if long && !ends {
                take(self.lines, None);
            } else if !content.is_empty() {
                take(self.lines, Some(content));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn append(file: &Path, text: &str) {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn logs_are_read_as_they_grow_whole_lines_only() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
        let mut logs = Followed::new(&ours, &theirs, Terms::default());
        logs.catch_up().unwrap();
        assert!(logs.report(1).is_clean(), "neither is there yet");
        append(
            &ours,
            "{\"id\":\"1\",\"key\":\"a\",\"payload\":1}\n{\"id\":\"2\",\"key\":\"b\",\"pay",
        );
        append(&theirs, "\n{\"key\":\"a\",\"payload\":1}");
        logs.catch_up().unwrap();
        let report = logs.report(1);
        assert_eq!((report.same, report.ours.lines, report.ours.unreadable), (1, 1, 0));
        append(&ours, "load\":2}\n");
        append(&theirs, "\nnonsense\n");
        logs.catch_up().unwrap();
        let report = logs.report(1);
        assert_eq!((report.same, report.only_ours.count, report.theirs.unreadable), (1, 1, 1));
        assert!(report.theirs.first_unreadable.unwrap().starts_with("line 3"), "its own number");
        std::fs::write(&theirs, "").unwrap();
        logs.catch_up().unwrap();
        assert_eq!(logs.report(1).only_ours.count, 2, "a log that is another one is read anew");
    }
}
