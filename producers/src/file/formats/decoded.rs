//! A file's text as the reader of XML takes it: in UTF-8, with the place in the file that it has come to.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8};
use engine::Fault;

use super::window::Input;
use super::{Position, too_large};

/// How many bytes are read at once.
const CHUNK: usize = 32 << 10;

/// A file's text in UTF-8, with the place in the file of what was read of it.
pub(super) struct Decoded {
    pub input: Arc<Input>,
    encoding: &'static Encoding,
    decoder: Decoder,
    /// Where the next bytes are read.
    offset: u64,
    raw: Vec<u8>,
    text: Vec<u8>,
    start: usize,
    /// Where in the file the reader is.
    pub at: Position,
    /// How many bytes may still be read before something has to end.
    pub left: usize,
    largest: usize,
    /// What was wrong, as the reader of XML only passes on errors of its own.
    pub fault: Option<Fault>,
}

impl Decoded {
    pub fn open(
        encoding: Option<&'static Encoding>,
        input: &Arc<Input>,
        largest: usize,
    ) -> Result<Self, Fault> {
        let mut head = [0; 256];
        let read = input.read_at(&mut head, 0)?;
        let head = &head[..read];
        let mark = if head.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let encoding = encoding_of(encoding, head)?;
        Ok(Self {
            input: Arc::clone(input),
            encoding,
            decoder: encoding.new_decoder_without_bom_handling(),
            offset: mark,
            raw: vec![0; CHUNK],
            text: Vec::new(),
            start: 0,
            at: Position { offset: mark, ..Position::default() },
            left: largest,
            largest,
            fault: None,
        })
    }

    fn fill(&mut self) -> Result<(), Fault> {
        let read = self.input.read_at(&mut self.raw, self.offset)?;
        let last = self.offset + read as u64 >= self.input.size;
        let mut text = vec![0; CHUNK * 3 + 16];
        let (result, used, written) =
            self.decoder.decode_to_utf8_without_replacement(&self.raw[..read], &mut text, last);
        if let DecoderResult::Malformed(..) = result {
            let message = format!(
                "At byte {} or just before it there is something that is not {}: is the encoding right?",
                self.offset + used as u64,
                self.encoding.name()
            );
            return Err(Fault::data("not_in_encoding", message));
        }
        text.truncate(written);
        (self.text, self.start) = (text, 0);
        self.offset += read as u64;
        Ok(())
    }
}

/// The encoding that the options give, or the file's first line. Where a character's bytes can be more
/// than one, only UTF-8's places in the file are known.
fn encoding_of(given: Option<&'static Encoding>, head: &[u8]) -> Result<&'static Encoding, Fault> {
    let unread = |name: &str| {
        let message = format!(
            "XML in {name} is not read: have it written in UTF-8 (or in ISO-8859-x or Windows-125x)."
        );
        Fault::data("xml_encoding", message)
    };
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") || head.contains(&0) {
        return Err(unread("UTF-16"));
    }
    let encoding = match (given, declared(head)) {
        (Some(given), _) => given,
        (None, Some(label)) => {
            Encoding::for_label(label).ok_or_else(|| unread(&String::from_utf8_lossy(label)))?
        }
        (None, None) => UTF_8,
    };
    if encoding != UTF_8 && !encoding.is_single_byte() {
        return Err(unread(encoding.name()));
    }
    Ok(encoding)
}

/// What `<?xml … encoding="…"?>` says.
fn declared(head: &[u8]) -> Option<&[u8]> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let declaration = head.strip_prefix(b"<?xml")?;
    let end = memchr::memmem::find(declaration, b"?>")?;
    let declaration = &declaration[..end];
    let at = memchr::memmem::find(declaration, b"encoding")?;
    let value = declaration[at + b"encoding".len()..].trim_ascii_start().strip_prefix(b"=")?;
    let (quote, value) = value.trim_ascii_start().split_first()?;
    let end = memchr::memchr(*quote, value)?;
    Some(&value[..end])
}

impl Read for Decoded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Decoded {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            self.fault = Some(too_large(self.largest));
            return Err(io::Error::other("larger than a record may be"));
        }
        while self.start == self.text.len() && self.offset < self.input.size {
            if let Err(fault) = self.fill() {
                let error = io::Error::other(fault.message.clone());
                self.fault = Some(fault);
                return Err(error);
            }
        }
        let end = self.text.len().min(self.start.saturating_add(self.left));
        Ok(&self.text[self.start..end])
    }

    fn consume(&mut self, count: usize) {
        let taken = &self.text[self.start..self.start + count];
        self.at.line += memchr::memchr_iter(b'\n', taken).count() as u64;
        // A character of a single-byte encoding is one byte there, and one to three here.
        let bytes = match self.encoding == UTF_8 {
            true => count,
            false => taken.iter().filter(|byte| (**byte & 0xc0) != 0x80).count(),
        };
        self.at.offset += bytes as u64;
        self.start += count;
        self.left = self.left.saturating_sub(count);
    }
}
