//! Commits in transactions (KIP-447): they count once their transaction commits, in the order of their
//! records among the others.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{MutexGuard, PoisonError},
    time::Instant,
};

use kafka_protocol::error::ResponseError;

use super::{Asker, BATCH, Committed, Entry, Groups, Place, Rules, commit};
use crate::{
    broker,
    log::{Appended, Ending},
    refusal::{Outcome, Refusal},
};

/// Commits of open transactions, by producer.
pub(super) type Pending = HashMap<i64, Vec<PendingCommit>>;

/// A commit in an open transaction.
#[derive(Debug)]
pub(super) struct PendingCommit {
    pub group: String,
    pub place: Place,
    pub committed: Committed,
    /// Where its record is.
    pub record: i64,
}

impl Groups {
    /// TxnOffsetCommit: appends commits in a producer's transaction; they count once it commits. Wait
    /// for [`durable`](Self::durable) before acknowledging them.
    ///
    /// # Errors
    /// If the member may not commit, or the disk is full.
    pub fn commit_in_transaction(
        &self,
        group: &str,
        asker: Asker<'_>,
        producer: (i64, i16),
        commits: Vec<(Place, Committed)>,
    ) -> Outcome<Vec<Appended>> {
        let mut entries = self.entries();
        let Asker { member, instance, generation } = asker;
        // A client that does not say who it is commits for whoever it is (KIP-447).
        let is_member = generation >= 0 || !member.is_empty();
        let allowed = match entries.get_mut(group).filter(|_| is_member) {
            Some(entry) => entry.group.check_commit(Instant::now(), member, instance, generation),
            None if !is_member => Ok(()),
            None => Err(ResponseError::UnknownMemberId),
        };
        allowed.map_err(|code| {
            Refusal::new(code, format!("group {group}: {member:?} may not commit"))
        })?;
        let log = self.partition.log()?;
        let mut appended = Vec::new();
        let mut pending = self.pending();
        let pending = pending.entry(producer.0).or_default();
        for batch in commits.chunks(BATCH) {
            let records = batch.iter().map(|(place, committed)| {
                (Some(commit::encode_key(group, place)), Some(commit::encode_value(committed)))
            });
            let stored = broker::append_in_transaction(log, records.collect(), producer)?;
            for (record, (place, committed)) in (stored.base_offset..).zip(batch) {
                let (group, place) = (group.to_owned(), place.clone());
                let committed = committed.clone();
                pending.push(PendingCommit { group, place, committed, record });
            }
            appended.push(stored);
        }
        Ok(appended)
    }

    /// A producer's transaction has ended, and its end is on disk: what it committed counts, or goes.
    pub fn end_transaction(&self, producer_id: i64, ending: Ending) {
        let mut entries = self.entries();
        let ended = self.pending().remove(&producer_id).unwrap_or_default();
        if ending == Ending::Commit {
            count(&mut entries, ended, self.rules);
        }
    }

    /// The places for which open transactions hold commits of a group.
    pub fn pending_places(&self, group: &str) -> BTreeSet<Place> {
        let pending = self.pending();
        let ours = pending.values().flatten().filter(|commit| commit.group == group);
        ours.map(|commit| commit.place.clone()).collect()
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes what was committed in a transaction count.
pub(super) fn count(entries: &mut HashMap<String, Entry>, ended: Vec<PendingCommit>, rules: Rules) {
    for PendingCommit { group, place, committed, record } in ended {
        let entry = entries.entry(group).or_insert_with(|| Entry::new(rules));
        entry.keep(place, Some(committed), record);
    }
}
