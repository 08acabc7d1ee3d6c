//! What a group's member hands over what it reads to.

use std::sync::Arc;

use super::ends::Measured;
use super::transactions::Transactions;
use crate::dispatch::{Commit, Flow};
use crate::{Event, Fault};

/// What takes in what a group's member reads. Called on the consumer's thread only, but for nothing
/// else: implementations lock.
pub trait Intake: Send + Sync {
    /// Partitions are about to be assigned: reads what has to be known before. Blocks.
    ///
    /// # Errors
    /// A `Remote` fault when it cannot be known now: the consumer ends.
    fn prepare(&self) -> Result<(), Fault> {
        Ok(())
    }

    /// What is written goes in these transactions, and the offsets with it.
    fn transactions(&self) -> Option<Arc<Transactions>> {
        None
    }

    /// The partition is ours from this offset on; `metadata` is the commit's. When `begun`, the
    /// offset is not committed yet. Called again when a transaction was undone: what was read of it
    /// before is as if it had never been.
    fn assigned(&self, partition: i32, offset: i64, metadata: &str, begun: bool);
    /// Nothing more of these partitions may be started.
    fn revoked(&self, partitions: &[i32]);
    /// Whether nothing of these partitions is in flight.
    fn is_drained(&self, partitions: &[i32]) -> bool;
    /// What to commit for a partition, changed or not.
    fn commit_of(&self, partition: i32) -> Option<Commit>;
    /// The partitions are another's; late results are to be dropped.
    fn forgotten(&self, partitions: &[i32]);
    /// Takes events in, in the order of their offsets.
    fn receive(&self, events: Vec<Event>);
    /// A partition has been read to the end that it has now.
    fn ended(&self, _partition: i32) {}
    /// How many events may be read now; 0 to read none for a moment.
    fn room(&self) -> usize;
    /// Partitions to pause and to resume.
    fn flow(&self) -> Flow;
    /// What has changed and may be committed.
    fn commits(&self) -> Vec<Commit>;
    /// A commit failed: what it held has to be committed again.
    fn recommit(&self);
    /// Whether something is in flight or waits to be committed.
    fn is_busy(&self) -> bool;
    /// Something keeps the member from reading; `None` once it is over.
    fn trouble(&self, fault: Option<&Fault>);
    /// Where the partitions that are ours end.
    fn measured(&self, measured: &Measured);
}
