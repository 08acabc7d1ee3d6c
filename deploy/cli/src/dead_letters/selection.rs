//! Which dead letters a command is about.

use engine::dead_letters::{Archive, Filed};

use super::arguments::Selection;
use crate::failure::Failure;
use crate::place::Place;

/// A selection, read.
pub struct Chosen<'a> {
    selection: &'a Selection,
    from: i64,
    to: i64,
}

impl<'a> Chosen<'a> {
    /// Reads the times.
    ///
    /// # Errors
    /// One of them is none.
    pub fn read(selection: &'a Selection) -> Result<Self, Failure> {
        let time = |text: &Option<String>, otherwise: i64| match text {
            None => Ok(otherwise),
            Some(text) => Place::read(text).map(|place| match place {
                Place::Beginning => i64::MIN,
                Place::Now => engine::clock::unix_millis(),
                Place::Time(time) => time.timestamp_millis(),
            }),
        };
        let (from, to) = (time(&selection.from, i64::MIN)?, time(&selection.to, i64::MAX)?);
        Ok(Self { selection, from, to })
    }

    /// Those of the open dead letters, by origin.
    pub fn among<'b>(&self, archive: &'b Archive) -> Vec<&'b Filed> {
        archive.open().filter(|filed| self.holds(filed)).collect()
    }

    fn holds(&self, filed: &Filed) -> bool {
        let Selection { cause, key, id, .. } = self.selection;
        let letter = &filed.letter;
        cause.as_ref().is_none_or(|cause| cause == filed.cause().0)
            && key.as_ref().is_none_or(|key| letter.event.key_text().as_ref() == Some(key))
            && (id.is_empty() || id.iter().any(|id| is_named(filed, id)))
            && (self.from..self.to).contains(&letter.at)
    }
}

/// Whether this is the letter's name: its event's id, or its place.
pub fn is_named(filed: &Filed, name: &str) -> bool {
    filed.letter.event.id() == name || filed.letter.origin.to_string() == name
}
