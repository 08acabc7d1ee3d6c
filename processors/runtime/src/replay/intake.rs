//! What of a topic a replay takes in: its ranges, and nothing beyond them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::{Span, Tally};
use crate::delivery::Desk;
use crate::dispatch::{Commit, Flow};
use crate::kafka::{Intake, Measured};
use crate::{Event, Fault};

/// The delivery's own intake, narrowed.
pub(super) struct Stretch {
    pub desk: Arc<Desk>,
    pub spans: BTreeMap<i32, Span>,
    pub key: Option<Bytes>,
    pub tally: Arc<Tally>,
}

impl Stretch {
    /// The end of what is wanted of a partition.
    fn end(&self, partition: i32) -> Option<i64> {
        self.spans.get(&partition).map(|span| span.to)
    }
}

impl Intake for Stretch {
    fn receive(&self, events: Vec<Event>) {
        let (mut wanted, mut next) = (Vec::new(), BTreeMap::new());
        for event in events {
            let Some(end) = self.end(event.partition) else { continue };
            next.insert(event.partition, (event.offset + 1).min(end));
            if event.offset >= end {
                continue;
            }
            self.tally.read();
            if self.key.is_none() || self.key == event.key {
                wanted.push(event);
            }
        }
        if !wanted.is_empty() {
            self.desk.receive(wanted);
        }
        next.into_iter().for_each(|(partition, next)| self.desk.skip(partition, next));
    }

    /// What is captured lies before every end that is met later: there is nothing more of it, even
    /// if its last offsets hold no events (a transaction's marks, what compaction left empty).
    fn ended(&self, partition: i32) {
        if let Some(end) = self.end(partition) {
            self.desk.skip(partition, end);
        }
    }

    fn prepare(&self) -> Result<(), Fault> {
        self.desk.prepare()
    }

    fn assigned(&self, partition: i32, offset: i64, metadata: &str, begun: bool) {
        self.desk.assigned(partition, offset, metadata, begun);
    }

    fn revoked(&self, partitions: &[i32]) {
        self.desk.revoked(partitions);
    }

    fn is_drained(&self, partitions: &[i32]) -> bool {
        self.desk.is_drained(partitions)
    }

    fn commit_of(&self, partition: i32) -> Option<Commit> {
        self.desk.commit_of(partition)
    }

    fn forgotten(&self, partitions: &[i32]) {
        self.desk.forgotten(partitions);
    }

    fn room(&self) -> usize {
        self.desk.room()
    }

    fn flow(&self) -> Flow {
        self.desk.flow()
    }

    fn commits(&self) -> Vec<Commit> {
        self.desk.commits()
    }

    fn recommit(&self) {
        self.desk.recommit();
    }

    fn is_busy(&self) -> bool {
        self.desk.is_busy()
    }

    fn trouble(&self, fault: Option<&Fault>) {
        self.desk.trouble(fault);
    }

    fn measured(&self, measured: &Measured) {
        self.desk.measured(measured);
    }
}
