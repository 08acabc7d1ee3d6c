//! The coordinator of consumer groups: their members, and their offsets.
//!
//! Offsets are kept in the compacted topic `__consumer_offsets` and, whole, in memory. Membership
//! is not kept: after a restart members are unknown, and join again with what they had committed.

mod commit;
mod group;
mod member;
mod pending;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kafka_protocol::error::ResponseError;
use tokio::sync::{Notify, oneshot};

use self::pending::{Pending, PendingCommit, count};
pub(crate) use self::{
    commit::{Committed, Place, put_text, text},
    group::{Group, Rules},
    member::{JoinAsk, Joined, Member, SyncAsk, Synced},
};
use crate::{
    broker::{self, KeyValue},
    log::{self, Appended, Ending, Log},
    node::now_ms,
    refusal::{Outcome, Refusal},
    topics::{Creation, OFFSETS_TOPIC, Partition, Topics, settings::Overrides},
};

/// The longest text committed beside an offset, in bytes (`offset.metadata.max.bytes`).
pub(crate) const MAX_METADATA: usize = 4096;
/// Commits per record batch: what is deleted together can be much.
const BATCH: usize = 1000;
/// More than a batch of that many takes, each with the longest names and metadata.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Small, so that compaction keeps the topic small: it is read whole at every start.
const SEGMENT_BYTES: usize = 16 * 1024 * 1024;

/// The coordinator of all groups.
#[derive(Debug)]
pub(crate) struct Groups {
    rules: Rules,
    entries: Mutex<HashMap<String, Entry>>,
    /// What is committed in transactions that are still open, by producer. Locked after `entries`.
    pending: Mutex<Pending>,
    /// Wakes the clock when a deadline may have come nearer.
    changed: Notify,
    partition: Arc<Partition>,
}

/// A group and its offsets.
#[derive(Debug)]
pub(crate) struct Entry {
    pub group: Group,
    offsets: BTreeMap<Place, Kept>,
    /// When it last had members, in milliseconds since 1970.
    used: i64,
}

/// An offset, and where its record is: of two commits under way, the later record wins.
#[derive(Debug)]
struct Kept {
    committed: Committed,
    record: i64,
}

impl Entry {
    fn new(rules: Rules) -> Self {
        Self { group: Group::new(rules), offsets: BTreeMap::new(), used: now_ms() }
    }

    /// What is committed.
    pub fn offsets(&self) -> impl Iterator<Item = (&Place, &Committed)> {
        self.offsets.iter().map(|(place, kept)| (place, &kept.committed))
    }

    /// What is committed for one partition.
    pub fn offset(&self, place: &Place) -> Option<&Committed> {
        self.offsets.get(place).map(|kept| &kept.committed)
    }

    fn keep(&mut self, place: Place, committed: Option<Committed>, record: i64) {
        if self.offsets.get(&place).is_some_and(|kept| kept.record > record) {
            return;
        }
        match committed {
            Some(committed) => self.offsets.insert(place, Kept { committed, record }),
            None => self.offsets.remove(&place),
        };
    }
}

/// Who asks something of a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub member: &'a str,
    pub instance: Option<&'a str>,
    pub generation: i32,
}

impl Groups {
    /// Opens the coordinator: creates its topic if there is none yet, and reads it back.
    ///
    /// # Errors
    /// If the topic cannot be created or read.
    pub fn open(topics: &Topics, rules: Rules) -> Outcome<Self> {
        let view = topics.view();
        let topic = match view.named(OFFSETS_TOPIC) {
            Ok(topic) => Arc::clone(topic),
            Err(_) => topics.create(Creation {
                name: OFFSETS_TOPIC.to_owned(),
                partitions: 1,
                overrides: Overrides::from([
                    ("cleanup.policy".to_owned(), "compact".to_owned()),
                    ("segment.bytes".to_owned(), SEGMENT_BYTES.to_string()),
                    ("max.message.bytes".to_owned(), BATCH_BYTES.to_string()),
                ]),
            })?,
        };
        let partition = Arc::clone(topic.partition(0)?);
        let (entries, pending) = read_back(partition.log()?, rules)?;
        let (entries, pending) = (Mutex::new(entries), Mutex::new(pending));
        Ok(Self { rules, entries, pending, changed: Notify::new(), partition })
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at a group, if there is one.
    pub fn look<T>(&self, group: &str, look: impl FnOnce(&Entry) -> T) -> Option<T> {
        self.entries().get(group).map(look)
    }

    /// Looks at every group.
    pub fn list<T>(&self, mut look: impl FnMut(&str, &Entry) -> T) -> Vec<T> {
        self.entries().iter().map(|(group, entry)| look(group, entry)).collect()
    }

    /// Changes a group, and has the clock look at its deadlines.
    fn change<T>(&self, group: &str, change: impl FnOnce(&mut Group) -> T) -> Option<T> {
        let mut entries = self.entries();
        let entry = entries.get_mut(group)?;
        let changed = change(&mut entry.group);
        entry.used = now_ms();
        drop(entries);
        self.changed.notify_one();
        Some(changed)
    }

    /// JoinGroup: waits for the members of the next generation.
    ///
    /// # Errors
    /// If the member may not join; with the id it is to join with, if that is all it lacks.
    pub async fn join(&self, group: &str, ask: JoinAsk) -> Result<Joined, (ResponseError, String)> {
        let member = ask.member.clone();
        let gone = (ResponseError::UnknownMemberId, member.clone());
        if !member.is_empty() && !self.entries().contains_key(group) {
            return Err(gone);
        }
        self.entries().entry(group.to_owned()).or_insert_with(|| Entry::new(self.rules));
        let (reply, joined) = oneshot::channel();
        self.change(group, |group| group.join(Instant::now(), ask, reply))
            .unwrap_or_else(|| Err(gone.clone()))
            .inspect_err(|_| self.forget_unused(group))?;
        joined.await.map_err(|_| gone)?.map_err(|code| (code, member))
    }

    /// SyncGroup: waits for the leader's assignment.
    ///
    /// # Errors
    /// If the member is not of this generation.
    pub async fn sync(&self, group: &str, ask: SyncAsk) -> Result<Synced, ResponseError> {
        let gone = ResponseError::UnknownMemberId;
        let (reply, synced) = oneshot::channel();
        self.change(group, |group| group.sync(Instant::now(), ask, reply)).ok_or(gone)??;
        synced.await.map_err(|_| gone)?
    }

    /// Heartbeat.
    ///
    /// # Errors
    /// If the member is unknown, of another generation, or is to join again.
    pub fn heartbeat(&self, group: &str, asker: Asker<'_>) -> Result<(), ResponseError> {
        let Asker { member, instance, generation } = asker;
        let now = Instant::now();
        self.change(group, |group| group.heartbeat(now, member, instance, generation))
            .unwrap_or(Err(ResponseError::UnknownMemberId))
    }

    /// LeaveGroup, of one member.
    ///
    /// # Errors
    /// If the member is unknown.
    pub fn leave(
        &self,
        group: &str,
        member: &str,
        instance: Option<&str>,
    ) -> Result<(), ResponseError> {
        self.change(group, |group| group.leave(Instant::now(), member, instance))
            .unwrap_or(Err(ResponseError::UnknownMemberId))
    }

    /// OffsetCommit: returns once the offsets are on disk.
    ///
    /// # Errors
    /// If the member may not commit, or the disk fails.
    pub async fn commit(
        &self,
        group: &str,
        asker: Asker<'_>,
        commits: Vec<(Place, Committed)>,
    ) -> Outcome<()> {
        let appended = {
            let mut entries = self.entries();
            let now = Instant::now();
            let Asker { member, instance, generation } = asker;
            let known = entries.get_mut(group);
            let allowed = match known {
                Some(entry) => entry.group.check_commit(now, member, instance, generation),
                None if generation < 0 => Ok(()),
                None => Err(ResponseError::UnknownMemberId),
            };
            allowed.map_err(|code| {
                Refusal::new(code, format!("group {group}: {member:?} may not commit"))
            })?;
            // Under the lock: the log has commits in the order they were allowed in.
            self.append(
                commits
                    .iter()
                    .map(|(place, committed)| {
                        (commit::encode_key(group, place), Some(commit::encode_value(committed)))
                    })
                    .collect(),
            )?
        };
        self.durable(&appended).await?;
        let mut entries = self.entries();
        let entry = entries.entry(group.to_owned()).or_insert_with(|| Entry::new(self.rules));
        for (record, (place, committed)) in (appended_from(&appended)..).zip(commits) {
            entry.keep(place, Some(committed), record);
        }
        Ok(())
    }

    fn append(&self, records: Vec<(bytes::Bytes, Option<bytes::Bytes>)>) -> Outcome<Vec<Appended>> {
        let log = self.partition.log()?;
        let records: Vec<KeyValue> =
            records.into_iter().map(|(key, value)| (Some(key), value)).collect();
        records.chunks(BATCH).map(|batch| broker::append(log, batch.to_vec())).collect()
    }

    /// Returns once the batches are on disk.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn durable(&self, appended: &[Appended]) -> Outcome<()> {
        let log = self.partition.log()?;
        for batch in appended {
            log.durable(batch).await?;
        }
        Ok(())
    }

    /// Deletes offsets of a group: those that `which` says.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn delete_offsets(
        &self,
        group: &str,
        which: impl Fn(&Place, &Committed) -> bool,
    ) -> Outcome<()> {
        let doomed: Vec<Place> = self
            .look(group, |entry| {
                let offsets = entry.offsets().filter(|(place, committed)| which(place, committed));
                offsets.map(|(place, _)| place.clone()).collect()
            })
            .unwrap_or_default();
        if doomed.is_empty() {
            return Ok(());
        }
        let keys = doomed.iter().map(|place| (commit::encode_key(group, place), None));
        let appended = self.append(keys.collect())?;
        self.durable(&appended).await?;
        if let Some(entry) = self.entries().get_mut(group) {
            for (record, place) in (appended_from(&appended)..).zip(doomed) {
                entry.keep(place, None, record);
            }
        }
        Ok(())
    }

    /// Deletes a group: it must have no members.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`, `NON_EMPTY_GROUP`, or if the disk fails.
    pub async fn delete(&self, group: &str) -> Outcome<()> {
        let idle = self.look(group, |entry| entry.group.is_idle());
        match idle {
            None => {
                return Err(Refusal::new(
                    ResponseError::GroupIdNotFound,
                    format!("there is no group {group}"),
                ));
            }
            Some(false) => {
                let message = format!("group {group} has members: stop them first");
                return Err(Refusal::new(ResponseError::NonEmptyGroup, message));
            }
            Some(true) => {}
        }
        self.delete_offsets(group, |_, _| true).await?;
        self.forget_unused(group);
        Ok(())
    }

    fn forget_unused(&self, group: &str) {
        let mut entries = self.entries();
        let unused = |entry: &Entry| entry.group.is_idle() && entry.offsets.is_empty();
        if entries.get(group).is_some_and(unused) {
            entries.remove(group);
        }
    }

    /// Deletes what groups have committed for a topic that was deleted: another of its name begins
    /// with other records.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn forget_topic(&self, topic: &str) -> Outcome<()> {
        for group in self.list(|group, _| group.to_owned()) {
            self.delete_offsets(&group, |place, _| place.topic == topic).await?;
        }
        Ok(())
    }

    /// Does the same for topics that are gone already: a crash, or a disk that failed, came before.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn forget_gone(&self, topics: &Topics) -> Outcome<()> {
        let there = topics.view();
        for group in self.list(|group, _| group.to_owned()) {
            let gone = |place: &Place, _: &Committed| there.named(&place.topic).is_err();
            self.delete_offsets(&group, gone).await?;
        }
        Ok(())
    }

    /// Deletes the offsets of groups that have had no members for so long.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn expire(&self, retention: Duration) -> Outcome<()> {
        let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let before = now_ms().saturating_sub(retention);
        let unused = |entry: &Entry| entry.group.is_idle() && entry.used < before;
        let groups = self.list(|group, entry| unused(entry).then(|| group.to_owned()));
        for group in groups.into_iter().flatten() {
            self.delete_offsets(&group, |_, committed| committed.at < before).await?;
            self.forget_unused(&group);
        }
        Ok(())
    }

    /// Runs the groups' clock: gives up members that are not heard of.
    pub async fn run(&self) {
        loop {
            let next =
                self.entries().values().filter_map(|entry| entry.group.next_deadline()).min();
            let due = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => self.tick(),
                () = self.changed.notified() => {}
            }
        }
    }

    fn tick(&self) {
        let now = Instant::now();
        self.entries().retain(|_, entry| {
            if entry.group.next_deadline().is_some_and(|deadline| deadline <= now) {
                entry.group.tick(now);
            }
            !(entry.group.is_idle() && entry.offsets.is_empty())
        });
    }
}

fn appended_from(appended: &[Appended]) -> i64 {
    appended.first().map_or(0, |batch| batch.base_offset)
}

fn read_back(log: &Log, rules: Rules) -> Outcome<(HashMap<String, Entry>, Pending)> {
    let mut entries: HashMap<String, Entry> = HashMap::new();
    let mut pending = Pending::new();
    for entry in log.entries(0) {
        let (record, transaction_of) = match entry? {
            log::Entry::Record { record, transaction_of } => (record, transaction_of),
            log::Entry::End { producer_id, ending } => {
                let ended = pending.remove(&producer_id).unwrap_or_default();
                if ending == Ending::Commit {
                    count(&mut entries, ended, rules);
                }
                continue;
            }
        };
        let damaged = |error| {
            Refusal::new(
                ResponseError::KafkaStorageError,
                format!("record {} of {OFFSETS_TOPIC}: {error}", record.offset),
            )
        };
        let Some(key) = record.key else { continue };
        let Some((group, place)) = commit::decode_key(key).map_err(damaged)? else { continue };
        let committed = record.value.map(commit::decode_value).transpose().map_err(damaged)?;
        let record = record.offset;
        match (transaction_of, committed) {
            (Some(producer_id), Some(committed)) => {
                let commit = PendingCommit { group, place, committed, record };
                pending.entry(producer_id).or_default().push(commit);
            }
            (_, committed) => {
                let entry = entries.entry(group).or_insert_with(|| Entry::new(rules));
                entry.keep(place, committed, record);
            }
        }
    }
    entries.retain(|_, entry| !entry.offsets.is_empty());
    Ok((entries, pending))
}
