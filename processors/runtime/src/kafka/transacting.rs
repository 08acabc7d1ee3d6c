//! A member whose offsets are committed by transactions only: commits, and goes back when one is
//! undone. Runs on the consumer's thread.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::Consumer as _;

use super::consumer::End;
use super::error::fault;
use super::offsets;
use super::rebalance::{Client, Context};
use super::transactions::{Failure, Shut, Transactions};
use crate::Fault;

/// How long a seek may take.
const SEEK: Duration = Duration::from_secs(5);
/// How long the last acknowledgement may take to be noted.
const NOTE: Duration = Duration::from_millis(100);

/// The partitions that are ours, and the offsets last committed for them.
pub(super) type Held = std::collections::BTreeMap<i32, i64>;

impl Context {
    pub(super) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the transaction with the offsets of all partitions; when it fails, everything since the
    /// last one is undone.
    pub(super) fn transact(
        &self,
        client: &Client,
        transactions: &Transactions,
    ) -> Result<(), Fault> {
        if !transactions.is_open() {
            return match self.held().is_empty() {
                true => Ok(()),
                false => Err(Fault::remote("no_transaction", "The transactions have ended.")),
            };
        }
        let Some(shut) = transactions.shut() else {
            self.intake.recommit();
            return Err(Fault::remote("transaction_busy", "A window is still being processed."));
        };
        let ended = self.end_transaction(client, transactions, &shut);
        if let Err(failure) = &ended {
            self.undo(transactions, &shut, failure);
        }
        ended.map_err(|failure| match failure {
            Failure::Abort(fault) | Failure::Lost(fault) => fault,
        })
    }

    fn end_transaction(
        &self,
        client: &Client,
        transactions: &Transactions,
        shut: &Shut,
    ) -> Result<(), Failure> {
        let abort = |cause, message: &str| Failure::Abort(Fault::remote(cause, message));
        let beat = || {
            self.pulse.beat();
        };
        let partitions: Vec<i32> = self.held().keys().copied().collect();
        if !transactions.flush(shut, beat) || !self.is_noted(&partitions) {
            return Err(abort("not_written", "Not everything was written in time."));
        }
        let commits = partitions.iter().filter_map(|id| self.intake.commit_of(*id));
        let commits: Vec<_> = commits.collect();
        if commits.is_empty() {
            return Ok(());
        }
        let list = offsets::commit_list(&self.group.topic, &commits)
            .map_err(|error| Failure::Abort(fault("committing offsets", &error)))?;
        // The generation of now: what another generation has read, this one does not commit.
        let Some(group) = client.group_metadata() else {
            return Err(abort("no_group", "The group's member has no generation."));
        };
        transactions.commit(shut, Some((&list, &group)), beat)?;
        let mut held = self.held();
        held.extend(commits.iter().map(|commit| (commit.partition, commit.offset)));
        Ok(())
    }

    /// Whether all that was acknowledged has been taken note of.
    fn is_noted(&self, partitions: &[i32]) -> bool {
        let started = Instant::now();
        while !self.intake.is_drained(partitions) {
            if started.elapsed() > NOTE {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Aborts, and lets every partition go on where it was last committed. What is still on its way
    /// belongs to lines that are no more.
    fn undo(&self, transactions: &Transactions, shut: &Shut, failure: &Failure) {
        let route = &*self.group.route;
        tracing::warn!(route, ?failure, "a transaction is undone");
        let aborted = match failure {
            Failure::Abort(_) => transactions.abort(shut, || {
                self.pulse.beat();
            }),
            Failure::Lost(fault) => Err(fault.clone()),
        };
        if let Err(fault) = aborted {
            transactions.close();
            return self.end(End::Failed(fault));
        }
        for (partition, offset) in &*self.held() {
            self.intake.assigned(*partition, *offset, "", true);
        }
        self.rewind.store(true, Ordering::Release);
    }

    /// Undoes what was written for partitions that are another's now, or cannot be finished.
    pub(super) fn undo_lost(&self, transactions: &Transactions) {
        if !transactions.is_open() {
            return;
        }
        let fault = Fault::remote("partitions_lost", "Partitions went to another instance.");
        match transactions.shut() {
            Some(shut) => self.undo(transactions, &shut, &Failure::Abort(fault)),
            None => {
                transactions.close();
                self.end(End::Failed(fault));
            }
        }
    }

    /// Goes back to the last committed offsets after a transaction was undone; true if it did.
    pub(super) fn go_back(&self, client: &Client) -> bool {
        if !self.rewind.swap(false, Ordering::AcqRel) {
            return false;
        }
        let topic = &*self.group.topic;
        let seek = || {
            let mut list = rdkafka::TopicPartitionList::new();
            for (partition, offset) in &*self.held() {
                list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
            }
            if list.count() > 0 {
                let sought = client.seek_partitions(list, SEEK)?;
                sought.elements().iter().try_for_each(|element| element.error())?;
            }
            Ok(())
        };
        if let Err(error) = seek() {
            self.end(End::Failed(fault(&format!("going back in topic {topic}"), &error)));
        }
        true
    }
}
