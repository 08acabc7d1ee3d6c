//! A route's dead letters with what the journal says of each: for whoever decides about them.

use std::collections::BTreeMap;

use super::{Entry, JOURNAL_TOPIC, Letter, Origin, Standing, UNTOLD, topic_of_route};
use crate::Fault;
use crate::kafka::{Cluster, ReadFrom, Reader};

/// A dead letter, and where it stands.
#[derive(Debug, Clone)]
pub struct Filed {
    /// The letter: the last one, if a crash buried its event twice.
    pub letter: Letter,
    /// The journal's last entry; nothing was decided without one.
    pub entry: Option<Entry>,
}

/// All dead letters of a route.
#[derive(Debug, Clone)]
pub struct Archive {
    /// The route, `pipeline/route`.
    pub route: String,
    /// The letters, by origin.
    pub letters: BTreeMap<Origin, Filed>,
    /// The offset after the journal's last entry.
    pub journal_end: i64,
}

impl Filed {
    /// Whether something is left to be done with it.
    pub fn is_open(&self) -> bool {
        !self.entry.as_ref().is_some_and(Entry::is_settled)
    }

    /// Whether later events of its key go behind it.
    pub fn is_parked(&self) -> bool {
        self.is_open() && self.entry.as_ref().is_some_and(|entry| entry.parked)
    }

    /// Whether its target has it.
    pub fn is_delivered(&self) -> bool {
        let standing = self.entry.as_ref().map(|entry| &entry.standing);
        matches!(standing, Some(Standing::Delivered { .. }))
    }

    /// Whether it is being tried again.
    pub fn is_retried(&self) -> bool {
        let standing = self.entry.as_ref().map(|entry| &entry.standing);
        matches!(standing, Some(Standing::Retrying { .. }))
    }

    /// Why it is a dead letter: the short name of the cause and the sentence, of the last time that it was
    /// tried.
    pub fn cause(&self) -> (&str, &str) {
        match self.entry.as_ref().map(|entry| &entry.standing) {
            Some(Standing::Returned { cause, message }) if cause != UNTOLD => (cause, message),
            _ => (&self.letter.cause, &self.letter.message),
        }
    }

    /// The journal's next entry of it.
    pub fn next_entry(&self, route: &str) -> Entry {
        Entry::new(route, &self.letter, Standing::Parked).after(self.entry.as_ref())
    }
}

impl Archive {
    /// Reads the dead letters of a route, `pipeline/route`, and the journal. Blocks.
    ///
    /// # Errors
    /// A `Remote` fault when the brokers are away or refuse, or the route has never run.
    pub fn read(cluster: &Cluster, route: &str) -> Result<Self, Fault> {
        let mut letters: BTreeMap<Origin, Filed> = BTreeMap::new();
        Reader::open(cluster, &topic_of_route(route), ReadFrom::Beginning)?.read_to_end(
            |record| {
                let letter = Letter::read(record);
                letters.insert(letter.origin.clone(), Filed { letter, entry: None });
            },
        )?;
        let mut journal_end = 0;
        Reader::open(cluster, JOURNAL_TOPIC, ReadFrom::Beginning)?.read_to_end(|record| {
            journal_end = record.offset + 1;
            let Some(entry) = Entry::read(&record).filter(|entry| entry.route == route) else {
                return;
            };
            let Some(filed) = letters.get_mut(&entry.origin) else { return };
            filed.letter.rejected = filed.letter.rejected.max(entry.rejected);
            // One that was settled and is buried anew is another letter.
            filed.entry = (!entry.is_of_before(filed.letter.offset)).then_some(entry);
        })?;
        Ok(Self { route: route.to_owned(), letters, journal_end })
    }

    /// Those that are open.
    pub fn open(&self) -> impl Iterator<Item = &Filed> {
        self.letters.values().filter(|filed| filed.is_open())
    }
}
