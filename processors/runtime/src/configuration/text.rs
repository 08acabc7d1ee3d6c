//! Texts of a file: what they say, and where each byte of it stands in the file.
//!
//! A text's content differs from what is written: blocks lose their indentation, quoted texts their
//! escapes, `${VAR}` is replaced. An error at byte 37 of a map must still be drawn at its line and
//! column, so a text keeps runs: stretches of content and where they begin in the file.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use saphyr_parser::ScalarStyle;

/// A text of the file.
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    content: String,
    runs: Vec<Run>,
    /// The bytes of the file that it takes.
    span: Range<usize>,
    /// True when part of it came from a variable or a file: it is never printed.
    secret: bool,
    /// The file that all of it came from.
    file: Option<PathBuf>,
}

/// A stretch of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// The byte of the content at which it begins.
    content: usize,
    /// The byte of the file that it begins at.
    source: usize,
    /// Whether the following bytes of the content stand one by one in the file, too; a substituted
    /// value stands at one place.
    moves: bool,
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.secret { f.write_str("***") } else { self.content.fmt(f) }
    }
}

impl Text {
    /// A text as the parser read it. `span` and `written` are where it stands and how it is written.
    pub(super) fn read(
        content: String,
        style: ScalarStyle,
        span: Range<usize>,
        written: &str,
    ) -> Self {
        let runs = Aligning { written, at: 0, style }.runs(&content, span.start);
        Self { content, runs, span, secret: false, file: None }
    }

    /// What it says.
    pub fn as_str(&self) -> &str {
        &self.content
    }

    /// Whether part of it came from a variable or a file.
    pub fn is_secret(&self) -> bool {
        self.secret
    }

    /// The file that all of it came from, by `${file:…}`.
    pub fn file(&self) -> Option<&PathBuf> {
        self.file.as_ref()
    }

    /// The bytes of the file that it takes.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Whether all of these bytes of the content are written in the file itself.
    pub(super) fn is_written(&self, content: &Range<usize>) -> bool {
        let last = content.end.saturating_sub(1).max(content.start);
        let first = self.run(content.start);
        let runs = self.runs.get(first..=self.run(last)).unwrap_or_default();
        runs.iter().all(|run| run.moves)
    }

    /// Where these bytes of the content stand in the file.
    pub fn locate(&self, content: &Range<usize>) -> Range<usize> {
        let start = self.byte(content.start);
        if content.end <= content.start {
            return start..start + 1;
        }
        let last = self.floor(content.end - 1);
        let width = self.content[last..].chars().next().map_or(1, char::len_utf8);
        start..(self.byte(last) + width).max(start + 1)
    }

    /// The start of the character that holds this byte.
    fn floor(&self, byte: usize) -> usize {
        let byte = byte.min(self.content.len());
        (0..=byte).rev().find(|at| self.content.is_char_boundary(*at)).unwrap_or(0)
    }

    fn run(&self, byte: usize) -> usize {
        self.runs.partition_point(|run| run.content <= byte).saturating_sub(1)
    }

    fn byte(&self, byte: usize) -> usize {
        let byte = self.floor(byte);
        match self.runs.get(self.run(byte)) {
            Some(run) if run.moves => run.source + byte.saturating_sub(run.content),
            Some(run) => run.source,
            None => self.span.start,
        }
    }

    /// The same text with parts of its content replaced. A secret replacement makes the whole text
    /// one.
    pub(super) fn replace(&self, parts: Vec<Replacement>) -> Self {
        let mut new = Self {
            content: String::with_capacity(self.content.len()),
            runs: Vec::new(),
            span: self.span.clone(),
            secret: self.secret,
            file: None,
        };
        let mut done = 0;
        for part in parts {
            new.keep(self, done..part.content.start);
            let source = self.byte(part.content.start);
            new.runs.push(Run { content: new.content.len(), source, moves: false });
            new.content.push_str(&part.by);
            new.secret |= part.secret;
            if part.content == (0..self.content.len()) {
                new.file = part.file;
            }
            done = part.content.end;
        }
        new.keep(self, done..self.content.len());
        new
    }

    /// Adds a part of the old content with its runs.
    fn keep(&mut self, old: &Self, part: Range<usize>) {
        if part.is_empty() {
            return;
        }
        let start = self.content.len();
        self.runs.push(Run { content: start, source: old.byte(part.start), moves: true });
        let inside = |run: &&Run| run.content > part.start && run.content < part.end;
        let moved = |run: &Run| Run { content: run.content - part.start + start, ..*run };
        self.runs.extend(old.runs.iter().filter(inside).map(moved));
        self.content.push_str(&old.content[part]);
    }
}

/// A part of a text's content and what takes its place.
pub(super) struct Replacement {
    /// The part.
    pub content: Range<usize>,
    /// What takes its place.
    pub by: String,
    /// Whether that must not be printed.
    pub secret: bool,
    /// The file it came from.
    pub file: Option<PathBuf>,
}

/// Walks along the content and what is written, keeping them in step. Every character that is not
/// white space is found exactly; white space, which YAML folds, as near as it can be.
struct Aligning<'a> {
    written: &'a str,
    at: usize,
    style: ScalarStyle,
}

impl Aligning<'_> {
    fn runs(mut self, content: &str, start: usize) -> Vec<Run> {
        if matches!(self.style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted) {
            self.at += 1;
        }
        let mut runs: Vec<Run> = Vec::new();
        // Where the next byte stands if it follows the one before.
        let mut expected = None;
        for (at, wanted) in content.char_indices() {
            let Some((source, width)) = self.find(wanted) else { break };
            if expected != Some(source) {
                runs.push(Run { content: at, source: start + source, moves: true });
            }
            expected = (width == wanted.len_utf8()).then_some(source + width);
        }
        runs
    }

    /// Finds the next character of the content: where it is written, and in how many bytes.
    fn find(&mut self, wanted: char) -> Option<(usize, usize)> {
        loop {
            let (written, width) = self.next()?;
            if written == Some(wanted) {
                self.at += width;
                return Some((self.at - width, width));
            }
            let breaks = matches!(written, Some('\n' | '\r'));
            if wanted.is_whitespace() && !(wanted == '\n' && written == Some('\r')) {
                // A fold, or white space that the file does not have: it stands here.
                self.at += if breaks { width } else { 0 };
                return Some((self.at - if breaks { width } else { 0 }, 0));
            }
            if !written.is_none_or(char::is_whitespace) {
                return None;
            }
            self.at += width;
        }
    }

    /// What the next written bytes stand for, and how many they are; an escaped line break stands
    /// for nothing.
    fn next(&self) -> Option<(Option<char>, usize)> {
        let rest = self.written.get(self.at..)?;
        let first = rest.chars().next()?;
        match self.style {
            ScalarStyle::SingleQuoted if rest.starts_with("''") => Some((Some('\''), 2)),
            ScalarStyle::DoubleQuoted if first == '\\' => escape(rest),
            _ => Some((Some(first), first.len_utf8())),
        }
    }
}

/// Reads an escape of a double-quoted text (YAML 1.2.2, section 5.7).
fn escape(written: &str) -> Option<(Option<char>, usize)> {
    let letter = written[1..].chars().next()?;
    let coded = |digits: usize| {
        let code = u32::from_str_radix(written.get(2..2 + digits)?, 16).ok()?;
        Some((Some(char::from_u32(code)?), 2 + digits))
    };
    let stands_for = match letter {
        'x' => return coded(2),
        'u' => return coded(4),
        'U' => return coded(8),
        '\n' => return Some((None, 2)),
        '\r' => return Some((None, if written[2..].starts_with('\n') { 3 } else { 2 })),
        '0' => '\0',
        'a' => '\u{7}',
        'b' => '\u{8}',
        't' => '\t',
        'n' => '\n',
        'v' => '\u{b}',
        'f' => '\u{c}',
        'r' => '\r',
        'e' => '\u{1b}',
        'N' => '\u{85}',
        '_' => '\u{a0}',
        'L' => '\u{2028}',
        'P' => '\u{2029}',
        other => other,
    };
    Some((Some(stands_for), 1 + letter.len_utf8()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::document::{self, Content};
    use super::super::file::File;
    use super::*;

    /// Where `word` of the first value is drawn: line, column, and the text drawn there.
    fn drawn(yaml: &str, word: &str) -> (usize, usize, String) {
        let file = File::new(Path::new("a.yaml"), yaml.to_owned());
        let root = document::parse(&file).unwrap();
        let Content::Map(entries) = &root.content else { panic!("{root:?}") };
        let Content::Text(text) = &entries[0].value.content else { panic!("{root:?}") };
        let at = text.as_str().find(word).unwrap();
        let span = text.locate(&(at..at + word.len()));
        let place = file.position(span.start);
        (place.line, place.column, file.text()[span].to_owned())
    }

    #[test]
    fn a_word_of_any_style_is_found_where_it_is_written() {
        let there = |line, column, word: &str| (line, column, word.to_owned());
        assert_eq!(drawn("a: one two\n", "two"), there(1, 8, "two"));
        assert_eq!(drawn("a: one\n   two\n\n   three\n", "three"), there(4, 4, "three"));
        assert_eq!(drawn("a: 'it''s mine'\n", "mine"), there(1, 11, "mine"));
        assert_eq!(drawn(r#"a: "x\n\u00e9 \"y\" z""#, "z"), there(1, 21, "z"));
        assert_eq!(drawn("a: \"one \\\n  two\"\n", "two"), there(2, 3, "two"));
        assert_eq!(drawn("a: |\n  .x = 1\n    .y = 2\n\n  .z = é3\n", ".y"), there(3, 5, ".y"));
        assert_eq!(drawn("a: |\n  .x = 1\n    .y = 2\n\n  .z = é3\n", "é3"), there(5, 8, "é3"));
        assert_eq!(drawn("a: |2-\n\n    .x\r\n   .y\r\n", ".y"), there(4, 4, ".y"));
        assert_eq!(drawn("a: >\n  one\n  two\n\n    three\n", "three"), there(5, 5, "three"));
        assert_eq!(
            drawn("a: >\n  one\n  two\n\n    three\n", "one two"),
            there(2, 3, "one\n  two")
        );
    }

    #[test]
    fn what_follows_a_substituted_part_is_still_found() {
        let yaml = "a: 'x ${V} it''s'\n";
        let text =
            Text::read("x ${V} it's".to_owned(), ScalarStyle::SingleQuoted, 3..17, &yaml[3..17]);
        let by = "a long value".to_owned();
        let new = text.replace(vec![Replacement { content: 2..6, by, secret: true, file: None }]);
        assert_eq!(new.as_str(), "x a long value it's");
        assert_eq!(&yaml[new.locate(&(15..17))], "it");
        assert_eq!(&yaml[new.locate(&(18..19))], "s");
        assert_eq!(new.locate(&(4..8)).start, 6);
        assert!(!new.is_written(&(1..4)) && new.is_written(&(15..19)) && new.is_written(&(0..2)));
        assert_eq!(format!("{new:?}"), "***");
    }
}
