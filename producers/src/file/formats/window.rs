//! A file, and the stretch of it that is in memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use engine::Fault;

use super::Position;

/// How many bytes are read at once.
const CHUNK: usize = 64 << 10;

/// An open file, up to the end that it had when it was picked up.
#[derive(Debug)]
pub(in crate::file) struct Input {
    pub file: File,
    pub size: u64,
}

impl Input {
    /// Fills the buffer from an offset on; how many bytes there are before the file's end.
    ///
    /// # Errors
    /// A `Remote` fault: the file cannot be read, or has become shorter.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Fault> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let mut filled = 0;
        while filled < wanted {
            match self.file.read_at(&mut buffer[filled..wanted], offset + filled as u64) {
                Ok(0) => return Err(changed("became shorter while it was read")),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let message = format!("The file cannot be read: {error}.");
                    return Err(Fault::remote("file_unreadable", message));
                }
            }
        }
        Ok(wanted)
    }

    /// The bytes of a range, at most the first `most`.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub fn bytes(&self, range: &std::ops::Range<u64>, most: usize) -> Result<Vec<u8>, Fault> {
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let mut buffer = vec![0; length.min(most)];
        let read = self.read_at(&mut buffer, range.start)?;
        buffer.truncate(read);
        Ok(buffer)
    }
}

/// The file is not what it was when it was picked up.
pub(in crate::file) fn changed(how: &str) -> Fault {
    Fault::remote("file_changed", format!("The file {how}."))
}

/// How far a stretch goes.
pub(super) enum Extent {
    /// It has so many bytes.
    Whole(usize),
    /// The file ends before it does: so many bytes are left.
    Unended(usize),
    /// It has as many bytes as a record may have, or more.
    TooLong,
}

/// The stretch of a file that is in memory.
pub(super) struct Window {
    input: Arc<Input>,
    buffer: Vec<u8>,
    /// Where what was not taken yet begins in the buffer.
    start: usize,
    /// Where that is in the file.
    at: Position,
}

impl Window {
    pub fn at(input: &Arc<Input>, at: Position) -> Self {
        Self { input: Arc::clone(input), buffer: Vec::new(), start: 0, at }
    }

    pub fn position(&self) -> Position {
        self.at
    }

    /// What is in memory and was not taken yet.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Reads on; false at the file's end.
    pub fn more(&mut self) -> Result<bool, Fault> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let there = self.buffer.len();
        self.buffer.resize(there + CHUNK, 0);
        let read = self.input.read_at(&mut self.buffer[there..], self.at.offset + there as u64);
        self.buffer.truncate(there + *read.as_ref().unwrap_or(&0));
        read.map(|read| read > 0)
    }

    /// Reads until there are so many bytes, or the file ends.
    pub fn at_least(&mut self, count: usize) -> Result<(), Fault> {
        while self.bytes().len() < count && self.more()? {}
        Ok(())
    }

    /// Takes bytes.
    pub fn take(&mut self, count: usize) {
        let lines = memchr::memchr_iter(b'\n', &self.bytes()[..count]).count();
        self.start += count;
        self.at.offset += count as u64;
        self.at.line += lines as u64;
    }

    /// How far the stretch goes whose end `end` finds: it is shown each part once, in order, and gives
    /// how many bytes of the part still belong to the stretch once it ends there.
    pub fn extent(
        &mut self,
        most: usize,
        mut end: impl FnMut(&[u8]) -> Option<usize>,
    ) -> Result<Extent, Fault> {
        let mut seen = 0;
        loop {
            // Not a byte more, whatever is in memory: a second reading has to decide alike.
            let limit = self.bytes().len().min(most);
            if let Some(length) = end(&self.bytes()[seen..limit]) {
                return Ok(Extent::Whole(seen + length));
            }
            seen = limit;
            if seen == most {
                return Ok(Extent::TooLong);
            }
            if !self.more()? {
                return Ok(Extent::Unended(seen));
            }
        }
    }

    /// How far the line goes, its break included.
    pub fn line(&mut self, most: usize) -> Result<Extent, Fault> {
        self.extent(most, |part| memchr::memchr(b'\n', part).map(|at| at + 1))
    }

    /// Takes all up to a byte and that one, however much it is.
    pub fn pass(&mut self, byte: u8) -> Result<(), Fault> {
        loop {
            if let Some(at) = memchr::memchr(byte, self.bytes()) {
                self.take(at + 1);
                return Ok(());
            }
            self.take(self.bytes().len());
            if !self.more()? {
                return Ok(());
            }
        }
    }

    /// Takes a byte order mark, and so many lines.
    ///
    /// # Errors
    /// A `Data` fault: the mark is that of UTF-16.
    pub fn pass_head(&mut self, lines: u32) -> Result<(), Fault> {
        self.at_least(3)?;
        if self.bytes().starts_with(b"\xef\xbb\xbf") {
            self.take(3);
        }
        if self.bytes().starts_with(b"\xff\xfe") || self.bytes().starts_with(b"\xfe\xff") {
            let message =
                "The file is UTF-16, which is not read: convert it, for example with iconv.";
            return Err(Fault::data("utf_16", message));
        }
        for _ in 0..lines {
            self.pass(b'\n')?;
        }
        Ok(())
    }
}
