//! The coordinator of transactions (KIP-98): which producer holds a transactional id, what its
//! transaction has written to, and how it ends.
//!
//! The state of each id is kept in the compacted topic `__transaction_state` and, whole, in memory.
//! A decision to commit or abort is on disk before any partition is marked, so that whoever comes
//! after a crash ends it in the same way.

mod record;
mod state;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kafka_protocol::error::ResponseError;

pub(crate) use self::state::{Stage, Transaction};
use crate::{
    broker,
    groups::Place,
    log::{Appended, Ending, Log},
    node::{Node, now_ms},
    refusal::{Outcome, Refusal},
    topics::{Creation, OFFSETS_TOPIC, Partition, TRANSACTIONS_TOPIC, Topics, settings::Overrides},
};

/// The longest that a transaction may be open, in milliseconds (`transaction.max.timeout.ms`).
const MAX_TIMEOUT_MS: i32 = 15 * 60 * 1000;
/// After this many milliseconds a transactional id nobody uses is forgotten
/// (`transactional.id.expiration.ms`).
const EXPIRES_AFTER_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// How often what is overdue or left half done is looked for.
const SWEEP: Duration = Duration::from_millis(250);
/// Small, so that compaction keeps the topic small: it is read whole at every start.
const SEGMENT_BYTES: usize = 16 * 1024 * 1024;

/// The coordinator of all transactions.
#[derive(Debug)]
pub(crate) struct Transactions {
    entries: Mutex<BTreeMap<String, Slot>>,
    partition: Arc<Partition>,
}

/// A transactional id's place: held while its producer's records are appended.
type Slot = Arc<Mutex<Transaction>>;

/// A producer, as it names itself in a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    /// Its transactional id.
    pub id: &'a str,
    /// Its producer id.
    pub producer_id: i64,
    /// Its epoch.
    pub epoch: i16,
}

/// The place of the offsets that consumer groups commit.
pub(crate) fn offsets_place() -> Place {
    Place { topic: OFFSETS_TOPIC.to_owned(), partition: 0 }
}

fn hold(slot: &Slot) -> MutexGuard<'_, Transaction> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Transactions {
    /// Opens the coordinator: creates its topic if there is none yet, and reads it back.
    ///
    /// # Errors
    /// If the topic cannot be created or read.
    pub fn open(topics: &Topics) -> Outcome<Self> {
        let view = topics.view();
        let topic = match view.named(TRANSACTIONS_TOPIC) {
            Ok(topic) => Arc::clone(topic),
            Err(_) => topics.create(Creation {
                name: TRANSACTIONS_TOPIC.to_owned(),
                partitions: 1,
                overrides: Overrides::from([
                    ("cleanup.policy".to_owned(), "compact".to_owned()),
                    ("segment.bytes".to_owned(), SEGMENT_BYTES.to_string()),
                ]),
            })?,
        };
        let partition = Arc::clone(topic.partition(0)?);
        let entries = read_back(partition.log()?)?;
        Ok(Self { entries: Mutex::new(entries), partition })
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, id: &str) -> Outcome<Slot> {
        self.entries().get(id).cloned().ok_or_else(|| {
            let message =
                format!("transactional id {id} is not known: ask for a producer id first");
            Refusal::new(ResponseError::InvalidProducerIdMapping, message)
        })
    }

    /// Looks at each transactional id.
    pub fn list<T>(&self, mut look: impl FnMut(&str, &Transaction) -> T) -> Vec<T> {
        let entries: Vec<_> =
            self.entries().iter().map(|(id, slot)| (id.clone(), Arc::clone(slot))).collect();
        entries.iter().map(|(id, slot)| look(id, &hold(slot))).collect()
    }

    /// Looks at one transactional id, if it is known.
    pub fn look<T>(&self, id: &str, look: impl FnOnce(&Transaction) -> T) -> Option<T> {
        let slot = self.entries().get(id).cloned()?;
        let transaction = hold(&slot);
        Some(look(&transaction))
    }

    /// InitProducerId: a producer takes a transactional id. Whoever had it is fenced, and what it
    /// left open is aborted.
    ///
    /// # Errors
    /// `INVALID_TRANSACTION_TIMEOUT`, `PRODUCER_FENCED`, `CONCURRENT_TRANSACTIONS`, or if the disk
    /// fails.
    pub async fn init(
        &self,
        node: &Node,
        id: &str,
        timeout_ms: i32,
        claimed: Option<(i64, i16)>,
        fresh_id: i64,
    ) -> Outcome<(i64, i16)> {
        if !(1..=MAX_TIMEOUT_MS).contains(&timeout_ms) {
            let message =
                format!("a transaction timeout of {timeout_ms} ms is not 1 to {MAX_TIMEOUT_MS}");
            return Err(Refusal::new(ResponseError::InvalidTransactionTimeout, message));
        }
        let first = Transaction::new(fresh_id, timeout_ms, now_ms());
        let slot = match self.begin(id, &first) {
            Ok(slot) => {
                self.write(id, &slot, first).await?;
                return Ok((fresh_id, 0));
            }
            Err(slot) => slot,
        };
        if let Some((producer_id, epoch)) = claimed {
            let transaction = hold(&slot);
            if transaction.stage == Stage::Ongoing {
                transaction.check_owner(producer_id, epoch)?;
            }
        }
        self.fence(node, id, &slot).await?;
        let next = {
            let mut transaction = hold(&slot);
            let next = transaction.renewed(claimed, timeout_ms, fresh_id, now_ms())?;
            transaction.begin_change(&next);
            next
        };
        let identity = (next.producer_id, next.epoch);
        self.write(id, &slot, next).await?;
        Ok(identity)
    }

    /// Begins to write the first state of a transactional id.
    ///
    /// # Errors
    /// The slot it has, if the id is known.
    fn begin(&self, id: &str, first: &Transaction) -> Result<Slot, Slot> {
        let mut entries = self.entries();
        if let Some(slot) = entries.get(id) {
            return Err(Arc::clone(slot));
        }
        let mut transaction = first.clone();
        transaction.begin_change(first);
        let slot = Arc::new(Mutex::new(transaction));
        entries.insert(id.to_owned(), Arc::clone(&slot));
        Ok(slot)
    }

    /// Aborts what is open, with a new epoch.
    async fn fence(&self, node: &Node, id: &str, slot: &Slot) -> Outcome<()> {
        let next = {
            let mut transaction = hold(slot);
            let Some(next) = transaction.fenced(now_ms()) else { return Ok(()) };
            transaction.begin_change(&next);
            next
        };
        self.write(id, slot, next).await?;
        self.complete(node, id, slot).await
    }

    /// Writes a change that was begun, and makes it.
    async fn write(&self, id: &str, slot: &Slot, next: Transaction) -> Outcome<()> {
        let written = match self.append(id, Some(&next)) {
            Ok(appended) => self.durable(&appended).await,
            Err(refusal) => Err(refusal),
        };
        hold(slot).changed(written.is_ok().then_some(next));
        written.map_err(|refusal| {
            let message = format!("the transaction's state cannot be written: {refusal}");
            Refusal::new(ResponseError::CoordinatorNotAvailable, message)
        })
    }

    fn append(&self, id: &str, next: Option<&Transaction>) -> Outcome<Appended> {
        let record = (Some(record::encode_key(id)), next.map(record::encode_value));
        broker::append(self.partition.log()?, vec![record])
    }

    async fn durable(&self, appended: &Appended) -> Outcome<()> {
        Ok(self.partition.log()?.durable(appended).await?)
    }

    /// AddPartitionsToTxn, AddOffsetsToTxn: the producer is about to write to these.
    ///
    /// # Errors
    /// If the producer is not the one that has the id, or its last transaction is not at its end.
    pub async fn add(&self, claim: Claim<'_>, places: &[Place]) -> Outcome<()> {
        let slot = self.slot(claim.id)?;
        let next = {
            let mut transaction = hold(&slot);
            transaction.identify(claim.producer_id, claim.epoch)?;
            let Some(next) = transaction.with(places, now_ms())? else { return Ok(()) };
            transaction.begin_change(&next);
            next
        };
        self.write(claim.id, &slot, next).await
    }

    /// Appends to a partition within the producer's open transaction: no end of it comes between.
    ///
    /// # Errors
    /// `INVALID_TXN_STATE` if the partition is not in it, `INVALID_PRODUCER_EPOCH` if another
    /// producer has the id, or what `append` says.
    pub fn within<T>(
        &self,
        claim: Claim<'_>,
        place: &Place,
        append: impl FnOnce() -> Outcome<T>,
    ) -> Outcome<T> {
        let slot = self.slot(claim.id)?;
        let transaction = hold(&slot);
        let admitted = transaction.admit(claim.producer_id, claim.epoch, place);
        admitted.map_err(|refusal| match refusal.code {
            // What producers know this by where they write.
            ResponseError::ProducerFenced => {
                Refusal::new(ResponseError::InvalidProducerEpoch, refusal.message)
            }
            _ => refusal,
        })?;
        append()
    }

    /// EndTxn: returns once every partition is marked.
    ///
    /// # Errors
    /// If the producer is not the one that has the id, there is no transaction, or the disk fails.
    pub async fn end(&self, node: &Node, claim: Claim<'_>, ending: Ending) -> Outcome<()> {
        let slot = self.slot(claim.id)?;
        let next = {
            let mut transaction = hold(&slot);
            transaction.identify(claim.producer_id, claim.epoch)?;
            let Some(next) = transaction.ended(ending, now_ms())? else { return Ok(()) };
            transaction.begin_change(&next);
            next
        };
        self.write(claim.id, &slot, next).await?;
        self.complete(node, claim.id, &slot).await
    }

    /// Marks the partitions of a transaction whose end is decided. Done again after a crash or a
    /// fault, it changes nothing more.
    async fn complete(&self, node: &Node, id: &str, slot: &Slot) -> Outcome<()> {
        let (transaction, ending) = {
            let mut transaction = hold(slot);
            let Some(ending) = transaction.stage.prepared().filter(|_| !transaction.is_changing())
            else {
                return Ok(());
            };
            let next = transaction.clone();
            transaction.begin_change(&next);
            (next, ending)
        };
        let marked = mark(node, &transaction, ending).await.and_then(|()| {
            let next = transaction.completed(ending, now_ms());
            // Not waited for: should it be lost, the partitions are marked once more.
            self.append(id, Some(&next))?;
            Ok(next)
        });
        match marked {
            Ok(next) => {
                hold(slot).changed(Some(next));
                Ok(())
            }
            Err(refusal) => {
                hold(slot).changed(None);
                tracing::warn!(id, %refusal, "a transaction cannot be ended yet");
                Err(Refusal::new(ResponseError::CoordinatorNotAvailable, refusal.message))
            }
        }
    }

    /// Ends what a crash left half done, aborts what is open for too long, and forgets ids that
    /// nobody uses.
    pub async fn run(&self, node: &Node) {
        let mut ticks = tokio::time::interval(SWEEP);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let entries: Vec<_> =
                self.entries().iter().map(|(id, slot)| (id.clone(), Arc::clone(slot))).collect();
            for (id, slot) in entries {
                if let Err(refusal) = self.sweep(node, &id, &slot).await {
                    tracing::debug!(id, %refusal, "sweeping transactions");
                }
            }
        }
    }

    async fn sweep(&self, node: &Node, id: &str, slot: &Slot) -> Outcome<()> {
        self.complete(node, id, slot).await?;
        if hold(slot).is_overdue() {
            tracing::info!(id, "a transaction is open for too long, and aborted");
            self.fence(node, id, slot).await?;
        }
        let expired = now_ms().saturating_sub(EXPIRES_AFTER_MS);
        if hold(slot).is_unused_since(expired) {
            self.forget(id, slot, expired)?;
        }
        Ok(())
    }

    /// Forgets an id that nobody uses. Who holds its slot already is told to try again, and finds it
    /// unknown.
    fn forget(&self, id: &str, slot: &Slot, expired: i64) -> Outcome<()> {
        let mut entries = self.entries();
        let mut transaction = hold(slot);
        if transaction.is_unused_since(expired) {
            self.append(id, None)?;
            let same = transaction.clone();
            transaction.begin_change(&same);
            entries.remove(id);
        }
        Ok(())
    }
}

/// Marks every partition of a transaction, and waits for the disk.
async fn mark(node: &Node, transaction: &Transaction, ending: Ending) -> Outcome<()> {
    let (producer_id, epoch) = (transaction.producer_id, transaction.epoch);
    let view = node.topics.view();
    let mut marked = Vec::new();
    for Place { topic, partition } in &transaction.partitions {
        // Deleted meanwhile: there is nothing to mark.
        let Ok(found) = view.named(topic).and_then(|topic| topic.partition(*partition)) else {
            continue;
        };
        let appended = found.log()?.append_marker(producer_id, epoch, ending, now_ms())?;
        marked.push((Arc::clone(found), appended));
    }
    for (partition, appended) in &marked {
        partition.log()?.durable(appended).await?;
    }
    if transaction.partitions.contains(&offsets_place()) {
        node.groups.end_transaction(producer_id, ending);
    }
    Ok(())
}

fn read_back(log: &Log) -> Outcome<BTreeMap<String, Slot>> {
    let mut entries = BTreeMap::new();
    for record in log.records(0) {
        let record = record?;
        let damaged = |error: String| {
            Refusal::new(
                ResponseError::KafkaStorageError,
                format!("record {} of {TRANSACTIONS_TOPIC}: {error}", record.offset),
            )
        };
        let Some(key) = record.key else { continue };
        let key = record::decode_key(key).map_err(|error| damaged(error.to_string()))?;
        let Some(id) = key else { continue };
        match record.value {
            Some(value) => {
                let transaction = record::decode_value(value).map_err(damaged)?;
                entries.insert(id, Arc::new(Mutex::new(transaction)));
            }
            None => drop(entries.remove(&id)),
        }
    }
    Ok(entries)
}
