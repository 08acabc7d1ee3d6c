//! A route's dead letters with what the journal says of each: for whoever decides about them.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;

use super::{Entry, JOURNAL_TOPIC, Letter, Origin, Standing, topic_of_route};
use crate::Fault;
use crate::dispatch::Completed;
use crate::kafka::{Cluster, Follower, GroupOffsets, ReadFrom, Reader, group_of};

/// How long one look for a record lasts.
const LOOK: std::time::Duration = std::time::Duration::from_millis(200);

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

    /// Whether it is being tried again.
    pub fn is_retried(&self) -> bool {
        let standing = self.entry.as_ref().map(|entry| &entry.standing);
        matches!(standing, Some(Standing::Retrying { .. }))
    }

    /// Why it is a dead letter: the short name of the cause and the sentence, of its last try.
    pub fn cause(&self) -> (&str, &str) {
        match self.entry.as_ref().map(|entry| &entry.standing) {
            Some(Standing::Returned { cause, message }) => (cause, message),
            _ => (&self.letter.cause, &self.letter.message),
        }
    }

    /// The journal's next entry of it.
    pub fn next_entry(&self, route: &str) -> Entry {
        let first = || Entry::new(route, &self.letter, Standing::Parked);
        self.entry.clone().unwrap_or_else(first)
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
            // One that was settled and is buried anew is another letter.
            let is_of_before = entry.is_settled() && entry.letter < filed.letter.offset;
            filed.entry = (!is_of_before).then_some(entry);
        })?;
        Ok(Self { route: route.to_owned(), letters, journal_end })
    }

    /// Those that are open.
    pub fn open(&self) -> impl Iterator<Item = &Filed> {
        self.letters.values().filter(|filed| filed.is_open())
    }

    /// Which of these letters have a key of which a later event has been delivered since, or may
    /// have been: the topic no longer holds what came after them. Those of parked keys have not.
    /// Blocks.
    ///
    /// # Errors
    /// A `Remote` fault when the brokers are away or refuse.
    pub fn overtaken(
        &self,
        cluster: &Cluster,
        chosen: &[&Filed],
    ) -> Result<HashSet<Origin>, Fault> {
        let ordered = chosen.iter().filter(|filed| {
            filed.letter.is_event && !filed.is_parked() && filed.letter.event.key.is_some()
        });
        let mut by_partition: BTreeMap<(&str, i32), Vec<&Letter>> = BTreeMap::new();
        for filed in ordered {
            let Origin { topic, partition, .. } = &filed.letter.origin;
            by_partition.entry((topic, *partition)).or_default().push(&filed.letter);
        }
        let mut overtaken = HashSet::new();
        for ((topic, partition), letters) in by_partition {
            let delivered = self.delivered(cluster, topic, partition, &letters)?;
            for letter in letters {
                let key = letter.event.key.as_ref();
                let newest = key.and_then(|key| delivered.newest.get(key));
                let is_past = newest.is_some_and(|newest| *newest > letter.origin.offset);
                if is_past || letter.origin.offset + 1 < delivered.from {
                    overtaken.insert(letter.origin.clone());
                }
            }
        }
        Ok(overtaken)
    }

    /// The newest delivered event of each key of these letters, all of one partition.
    fn delivered(
        &self,
        cluster: &Cluster,
        topic: &str,
        partition: i32,
        letters: &[&Letter],
    ) -> Result<Delivered, Fault> {
        let view = GroupOffsets::open(cluster, &group_of(&self.route))?.view(topic)?;
        let committed = view.as_ref().and_then(|view| view.committed.get(&partition));
        let (watermark, mut above) = match committed {
            Some(committed) => {
                let offset = committed.offset;
                (offset, Completed::decode(offset, &committed.metadata))
            }
            None => (0, Completed::default()),
        };
        let first = letters.iter().map(|letter| letter.origin.offset + 1).min().unwrap_or(0);
        let mut newest: HashMap<Bytes, i64> = letters
            .iter()
            .filter_map(|letter| letter.event.key.clone())
            .map(|key| (key, -1))
            .collect();
        let bounds = view.as_ref().and_then(|view| view.bounds.get(&partition));
        let Some(bounds) = bounds.filter(|bounds| bounds.high > first) else {
            return Ok(Delivered { from: first, newest });
        };
        let mut follower = Follower::open(cluster, topic, partition, first)?;
        while !follower.has_reached(bounds.high) {
            let Some(event) = follower.next(LOOK)? else { continue };
            let passed = event.offset < watermark || above.contains(event.offset);
            let origin = Origin { topic: topic.to_owned(), partition, offset: event.offset };
            let went_to_the_target = match self.letters.get(&origin) {
                None => true,
                Some(filed) => matches!(
                    filed.entry.as_ref().map(|entry| &entry.standing),
                    Some(Standing::Delivered { .. })
                ),
            };
            let newest = event.key.as_ref().and_then(|key| newest.get_mut(key));
            if let (Some(newest), true, true) = (newest, passed, went_to_the_target) {
                *newest = event.offset;
            }
        }
        Ok(Delivered { from: bounds.low, newest })
    }
}

/// What has been delivered of some keys.
struct Delivered {
    /// What came before this offset is no longer known.
    from: i64,
    /// The offset of the newest event of each key; -1 where there is none.
    newest: HashMap<Bytes, i64>,
}
