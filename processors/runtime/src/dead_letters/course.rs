//! How far the keys of some dead letters have gone: one whose key has gone on would break its order.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Archive, Filed, Letter, Origin};
use crate::Fault;
use crate::dispatch::Completed;
use crate::kafka::{Cluster, Follower, GroupOffsets, GroupView, group_of};

/// How long one look for a record lasts.
const LOOK: Duration = Duration::from_millis(200);

/// What a route had committed of a partition when it was looked how far a key has gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// The committed offset: what lies before it was looked at.
    pub offset: i64,
    /// The commit's metadata: so was what is complete above it.
    pub above: String,
}

/// How far the keys of some dead letters have gone. Letters of parked keys, of none, and those that are
/// no events have no order to keep.
pub struct Course {
    route: String,
    partitions: BTreeMap<(String, i32), Partition>,
}

/// A partition of which letters are tried again.
struct Partition {
    /// The next offset to be read.
    next: i64,
    /// What came before is no longer in the topic.
    low: i64,
    /// The offset of the newest event of each key that the target has; -1 where there is none.
    newest: HashMap<Bytes, i64>,
    /// Events of these keys of which the target has not been told yet.
    pending: BTreeMap<i64, Bytes>,
    /// What the route had committed of it, if anything: it may be of another topic, that a replay sent.
    looked: Option<Looked>,
}

/// Whether a letter's order is to be kept among the events of its key.
fn is_ordered(filed: &Filed) -> bool {
    let Letter { is_event, event, .. } = &filed.letter;
    *is_event && !filed.is_parked() && event.key.is_some()
}

impl Course {
    /// The course of these letters' keys on a route, `pipeline/route`; not looked at yet.
    pub fn of(route: &str, letters: &[&Filed]) -> Self {
        let mut partitions: BTreeMap<(String, i32), Partition> = BTreeMap::new();
        for filed in letters.iter().filter(|filed| is_ordered(filed)) {
            let Origin { topic, partition, offset } = filed.letter.origin.clone();
            let next = offset.saturating_add(1);
            let known = partitions.entry((topic, partition)).or_insert_with(|| Partition {
                next,
                low: 0,
                newest: HashMap::new(),
                pending: BTreeMap::new(),
                looked: None,
            });
            known.next = known.next.min(next);
            known.newest.extend(filed.letter.event.key.clone().map(|key| (key, -1)));
        }
        Self { route: route.to_owned(), partitions }
    }

    /// Looks how far they are now. Blocks.
    ///
    /// # Errors
    /// A `Remote` fault when the brokers are away or refuse.
    pub fn look(&mut self, cluster: &Cluster) -> Result<(), Fault> {
        if self.partitions.is_empty() {
            return Ok(());
        }
        let offsets = GroupOffsets::open(cluster, &group_of(&self.route))?;
        let mut views: HashMap<&str, Option<GroupView>> = HashMap::new();
        for (topic, _) in self.partitions.keys() {
            if !views.contains_key(&**topic) {
                views.insert(topic, offsets.view(topic)?);
            }
        }
        let views: HashMap<String, Option<GroupView>> =
            views.into_iter().map(|(topic, view)| (topic.to_owned(), view)).collect();
        // After the offsets: what they passed over on its way to the dead letters is in there.
        let archive = Archive::read(cluster, &self.route)?;
        for ((topic, partition), known) in &mut self.partitions {
            let Some(view) = views.get(topic).and_then(Option::as_ref) else { continue };
            let went = |offset: i64| {
                let origin = Origin { topic: topic.clone(), partition: *partition, offset };
                archive.letters.get(&origin).is_none_or(Filed::is_delivered)
            };
            known.look(cluster, topic, *partition, view, went)?;
        }
        Ok(())
    }

    fn partition_of(&self, filed: &Filed) -> Option<&Partition> {
        let Origin { topic, partition, .. } = &filed.letter.origin;
        let known = self.partitions.get(&(topic.clone(), *partition));
        known.filter(|_| is_ordered(filed))
    }

    /// Whether a later event of its key has been delivered, or may have been: the topic no longer holds
    /// what came after it.
    pub fn has_passed(&self, filed: &Filed) -> bool {
        let Some(known) = self.partition_of(filed) else { return false };
        let offset = filed.letter.origin.offset;
        let newest = filed.letter.event.key.as_ref().and_then(|key| known.newest.get(key));
        newest.is_some_and(|newest| *newest > offset) || offset.saturating_add(1) < known.low
    }

    /// How far it was looked for a letter; nothing where there is no order to keep, and of a topic that
    /// the route does not read.
    pub fn looked(&self, filed: &Filed) -> Option<Looked> {
        self.partition_of(filed)?.looked.clone()
    }
}

impl Partition {
    /// Reads on, and takes what the route has completed; `went` tells whether the target has that.
    fn look(
        &mut self,
        cluster: &Cluster,
        topic: &str,
        partition: i32,
        view: &GroupView,
        went: impl Fn(i64) -> bool,
    ) -> Result<(), Fault> {
        if let Some(committed) = view.committed.get(&partition) {
            let (offset, above) = (committed.offset, committed.metadata.clone());
            self.looked = Some(Looked { offset, above });
        }
        let Some(bounds) = view.bounds.get(&partition) else { return Ok(()) };
        self.low = bounds.low;
        if bounds.high > self.next {
            let mut follower = Follower::open(cluster, topic, partition, self.next)?;
            while !follower.has_reached(bounds.high) {
                let Some(event) = follower.next(LOOK)? else { continue };
                if let Some(key) = event.key.filter(|key| self.newest.contains_key(key)) {
                    self.pending.insert(event.offset, key);
                }
            }
            self.next = follower.position().max(bounds.high);
        }
        self.pass(went);
        Ok(())
    }

    /// Takes what is complete and went to the target.
    fn pass(&mut self, went: impl Fn(i64) -> bool) {
        let Some(Looked { offset: watermark, above }) = &self.looked else { return };
        let (watermark, mut above) = (*watermark, Completed::decode(*watermark, above));
        let newest = &mut self.newest;
        self.pending.retain(|offset, key| {
            let passed = (*offset < watermark || above.contains(*offset)) && went(*offset);
            if let (true, Some(newest)) = (passed, newest.get_mut(key)) {
                *newest = (*newest).max(*offset);
            }
            !passed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_complete_has_passed_unless_it_is_a_dead_letter_itself() {
        let (key, other) = (Bytes::from_static(b"k"), Bytes::from_static(b"l"));
        let mut partition = Partition {
            next: 9,
            low: 0,
            newest: HashMap::from([(key.clone(), -1), (other.clone(), -1)]),
            pending: [(3, &key), (5, &other), (8, &key)]
                .into_iter()
                .map(|(offset, key)| (offset, key.clone()))
                .collect(),
            looked: Some(Looked { offset: 5, above: String::new() }),
        };
        partition.pass(|offset| offset != 3);
        assert_eq!((partition.newest[&key], partition.newest[&other]), (-1, -1));
        assert_eq!(partition.pending.len(), 3, "what waits is looked at again");
        let above: Completed = std::iter::once(8..9).collect();
        partition.looked = Some(Looked { offset: 5, above: above.encode(5).0 });
        partition.pass(|offset| offset != 3);
        assert_eq!((partition.newest[&key], partition.newest[&other]), (8, -1));
        partition.pass(|_| true);
        assert_eq!(partition.newest[&key], 8, "it never goes back");
        assert_eq!(partition.pending.into_keys().collect::<Vec<_>>(), [5]);
    }
}
