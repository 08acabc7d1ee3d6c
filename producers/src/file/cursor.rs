//! How far a source has come: what lies in Kafka beside its events.

use std::collections::{HashSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::formats::Position;
use crate::cursor::Versioned;

/// The most files that are remembered as begun and not ended: each is a file that changed or went
/// away while it was read.
const MOST_BEGUN: usize = 100;

/// Marks the content of a file that holds more than its dead letters do.
const KEEP: &str = "!";

/// A source's cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    version: u32,
    /// The contents that were read, the oldest first; with [`KEEP`] those of files that stay whatever
    /// is to become of them.
    done: VecDeque<String>,
    /// The files that were begun; the last is the one under way.
    begun: VecDeque<Begun>,
}

/// A file that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// What its events are named by.
    pub id: String,
    /// The hash of its content: it differs from `id` if the file has grown meanwhile.
    pub content: String,
    /// How many bytes that has.
    pub size: u64,
    /// Its name, for people.
    pub name: String,
    /// Where the next record begins.
    pub at: Position,
    /// Whether a record was too large to keep whole.
    pub cut: bool,
    /// Whether the dead letters tell that it went away.
    pub named: bool,
}

impl Versioned for Cursor {
    const VERSION: u32 = 1;

    fn version(&self) -> u32 {
        self.version
    }
}

impl Cursor {
    /// The cursor of a source that has never run.
    pub fn new() -> Self {
        Self { version: Self::VERSION, done: VecDeque::new(), begun: VecDeque::new() }
    }

    /// How many contents are remembered.
    pub fn remembered(&self) -> usize {
        self.done.len()
    }

    /// Whether a content was read.
    pub fn is_done(&self, content: &str) -> bool {
        self.done.iter().any(|done| done.trim_end_matches(KEEP) == content)
    }

    /// Whether its file holds records that the dead letters do not have whole.
    pub fn is_kept(&self, content: &str) -> bool {
        self.done.iter().any(|done| done.strip_suffix(KEEP) == Some(content))
    }

    /// The file of this content that was begun.
    pub fn begun(&self, content: &str) -> Option<&Begun> {
        self.begun.iter().find(|begun| begun.content == content)
    }

    /// The file of this name that was begun last.
    pub fn begun_as(&self, name: &str) -> Option<&Begun> {
        self.begun.iter().rev().find(|begun| begun.name == name)
    }

    /// The files that were begun and not ended.
    pub fn all_begun(&self) -> impl Iterator<Item = &Begun> {
        self.begun.iter()
    }

    /// Notes how far a file was read; gives the oldest if there are too many now.
    pub fn note(&mut self, begun: Begun) -> Option<Begun> {
        self.begun.retain(|other| other.id != begun.id);
        self.begun.push_back(begun);
        if self.begun.len() > MOST_BEGUN { self.begun.pop_front() } else { None }
    }

    /// Notes that a file was read to its end.
    pub fn end(&mut self, begun: &Begun) {
        self.begun.retain(|other| other.id != begun.id);
        for content in [&begun.id, &begun.content] {
            if !self.is_done(content) {
                let mark = if begun.cut { KEEP } else { "" };
                self.done.push_back(format!("{content}{mark}"));
            }
        }
    }

    /// Forgets the oldest contents beyond `at_most` that lie nowhere in the folder; how many are left.
    pub fn shrink(&mut self, at_most: usize, present: &HashSet<&str>) -> usize {
        let mut beyond = self.done.len().saturating_sub(at_most);
        self.done.retain(|content| {
            let forgets = beyond > 0 && !present.contains(content.trim_end_matches(KEEP));
            beyond -= usize::from(forgets);
            !forgets
        });
        self.done.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(id: &str) -> Begun {
        Begun {
            id: id.to_owned(),
            content: id.to_owned(),
            size: 1,
            name: format!("{id}.csv"),
            at: Position::default(),
            cut: false,
            named: false,
        }
    }

    #[test]
    fn the_oldest_contents_are_forgotten_unless_their_files_lie_there() {
        let mut cursor = Cursor::new();
        for id in ["a", "b", "c", "d"] {
            cursor.note(begun(id));
            cursor.end(&begun(id));
        }
        assert_eq!(cursor.shrink(2, &HashSet::from(["a"])), 2);
        assert!(cursor.is_done("a") && cursor.is_done("d") && !cursor.is_done("b"));
        assert_eq!(cursor.shrink(1, &HashSet::from(["a", "d"])), 2, "they would be read again");
        assert_eq!(Cursor::read(&cursor.text().unwrap()).unwrap(), cursor);
    }

    #[test]
    fn the_cursor_is_bounded_whatever_goes_away() {
        let mut cursor = Cursor::new();
        let forgotten = (0..150).filter_map(|id| cursor.note(begun(&id.to_string()))).count();
        assert_eq!((forgotten, cursor.all_begun().count()), (50, 100));
        assert!(Cursor::read("2026-01-01T00:00:00Z").is_err());
    }
}
