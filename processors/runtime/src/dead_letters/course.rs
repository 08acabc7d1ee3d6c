//! How far the keys of some dead letters have gone: one whose key has gone on would break its order.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Archive, Filed, Letter, Origin};
use crate::Fault;
use crate::dispatch::Completed;
use crate::kafka::{Cluster, Committed, GroupOffsets, GroupView, Reader, group_of};

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
    /// What of it was complete above the commit's offset.
    above: Completed,
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
                above: Completed::default(),
            });
            known.next = known.next.min(next);
            // (A copy: a key read from Kafka keeps all of its record.)
            let key = filed.letter.event.key.as_deref().map(Bytes::copy_from_slice);
            known.newest.extend(key.map(|key| (key, -1)));
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
        let topics: BTreeSet<&String> = self.partitions.keys().map(|(topic, _)| topic).collect();
        let views = topics.into_iter().map(|topic| Ok((topic.clone(), offsets.view(topic)?)));
        let views: Vec<(String, Option<GroupView>)> = views.collect::<Result<_, Fault>>()?;
        // After the offsets: what they passed over on its way to the dead letters is in there.
        let archive = Archive::read(cluster, &self.route)?;
        for (topic, view) in views {
            let Some(view) = view else { continue };
            let known = self.partitions.iter_mut().filter(|((of, _), _)| *of == topic);
            let mut known: BTreeMap<i32, &mut Partition> =
                known.map(|((_, partition), known)| (*partition, known)).collect();
            look(cluster, &topic, &view, &archive, &mut known)?;
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

/// Reads on in partitions of a topic, and takes what the route has completed of them.
fn look(
    cluster: &Cluster,
    topic: &str,
    view: &GroupView,
    archive: &Archive,
    partitions: &mut BTreeMap<i32, &mut Partition>,
) -> Result<(), Fault> {
    let went = |partition: i32, offset: i64| {
        let origin = Origin { topic: topic.to_owned(), partition, offset };
        archive.letters.get(&origin).is_none_or(Filed::is_delivered)
    };
    let mut begins = BTreeMap::new();
    for (partition, known) in &mut *partitions {
        known.commits(view.committed.get(partition));
        known.pass(|offset| went(*partition, offset));
        let Some(bounds) = view.bounds.get(partition) else { continue };
        known.low = bounds.low;
        if bounds.high > known.next {
            begins.insert(*partition, known.next.max(bounds.low));
        }
    }
    if begins.is_empty() {
        return Ok(());
    }
    Reader::open_at(cluster, topic, &begins)?.read_to_end(|event| {
        let Some(known) = partitions.get_mut(&event.partition) else { return };
        known.next = event.offset + 1;
        if let Some(key) = event.key {
            known.take(event.offset, &key, |offset| went(event.partition, offset));
        }
    })
}

impl Partition {
    /// What the route has committed of it.
    fn commits(&mut self, committed: Option<&Committed>) {
        if let Some(Committed { offset, metadata, .. }) = committed {
            self.above = Completed::decode(*offset, metadata);
            self.looked = Some(Looked { offset: *offset, above: metadata.clone() });
        }
    }

    /// Whether the route has completed an event. (Asked in the order of the offsets.)
    fn has_completed(&mut self, offset: i64) -> bool {
        let watermark = self.looked.as_ref().map_or(0, |looked| looked.offset);
        offset < watermark || self.above.contains(offset)
    }

    /// An event that was read; `went` tells whether the target has it, once it is complete.
    fn take(&mut self, offset: i64, key: &Bytes, went: impl Fn(i64) -> bool) {
        // (The letter's own key: that of the event keeps all of its record.)
        let Some((key, _)) = self.newest.get_key_value(key) else { return };
        let key = key.clone();
        if !(self.has_completed(offset) && went(offset)) {
            self.pending.insert(offset, key);
        } else if let Some(newest) = self.newest.get_mut(&key) {
            *newest = offset.max(*newest);
        }
    }

    /// Takes again what was read before.
    fn pass(&mut self, went: impl Fn(i64) -> bool) {
        for (offset, key) in std::mem::take(&mut self.pending) {
            self.take(offset, &key, &went);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_complete_has_passed_unless_it_is_a_dead_letter_itself() {
        let (key, other) = (Bytes::from_static(b"k"), Bytes::from_static(b"l"));
        let mut partition = Partition {
            next: 0,
            low: 0,
            newest: HashMap::from([(key.clone(), -1), (other.clone(), -1)]),
            pending: BTreeMap::new(),
            looked: None,
            above: Completed::default(),
        };
        let committed = |offset: i64, above: std::ops::Range<i64>| {
            let above: Completed = std::iter::once(above).collect();
            Committed { offset, metadata: above.encode(offset).0 }
        };
        let is_no_letter = |offset| offset != 3;
        partition.commits(Some(&committed(5, 0..0)));
        for (offset, key) in [(3, &key), (5, &other), (8, &key)] {
            partition.take(offset, key, is_no_letter);
        }
        partition.take(9, &Bytes::from_static(b"of no letter"), is_no_letter);
        assert_eq!((partition.newest[&key], partition.newest[&other]), (-1, -1));
        assert_eq!(partition.pending.len(), 3, "what waits is looked at again");
        partition.commits(Some(&committed(5, 8..9)));
        partition.pass(is_no_letter);
        assert_eq!((partition.newest[&key], partition.newest[&other]), (8, -1));
        partition.pass(|_| true);
        assert_eq!(partition.newest[&key], 8, "it never goes back");
        assert_eq!(partition.pending.into_keys().collect::<Vec<_>>(), [5]);
    }
}
