//! What the consumer hands to the desk, and asks of it.

use super::desk::{Desk, arrival};
use crate::clock::Moment;
use crate::dispatch::{Commit, Flow};
use crate::kafka::{Intake, Measured};
use crate::{Event, Fault};

impl Intake for Desk {
    fn prepare(&self) -> Result<(), Fault> {
        self.journal.catch_up()
    }

    fn assigned(&self, partition: i32, offset: i64, metadata: &str, begun: bool) {
        let mut inner = self.lock();
        inner.dispatcher.assign(partition, offset, metadata);
        inner.history.assigned(partition, offset, metadata);
        if begun {
            inner.dispatcher.mark_changed(partition);
        }
        drop(inner);
        self.admit();
    }

    fn revoked(&self, partitions: &[i32]) {
        let mut inner = self.lock();
        partitions.iter().for_each(|partition| inner.dispatcher.revoke(*partition));
    }

    fn is_drained(&self, partitions: &[i32]) -> bool {
        let inner = self.lock();
        partitions.iter().all(|partition| inner.dispatcher.is_drained(*partition))
    }

    fn commit_of(&self, partition: i32) -> Option<Commit> {
        self.lock().dispatcher.commit_of(partition)
    }

    fn forgotten(&self, partitions: &[i32]) {
        let mut inner = self.lock();
        partitions.iter().for_each(|partition| inner.dispatcher.forget(*partition));
        inner.history.forgotten(partitions);
        inner.retried.retain(|(partition, _), _| !partitions.contains(partition));
        inner.waiting.retain(|(partition, _), _| !partitions.contains(partition));
        inner.breaker.unprobe();
        if inner.late.take_if(|late| late.is_of(partitions)).is_some() {
            self.show(&inner, Moment::now());
        }
        drop(inner);
        self.losses.send_modify(|losses| *losses += 1);
    }

    fn receive(&self, events: Vec<Event>) {
        let count = events.len();
        let mut bytes = 0;
        let mut inner = self.lock();
        for event in events {
            bytes += event.bytes();
            inner.dispatcher.arrive(arrival(event));
        }
        drop(inner);
        self.metrics.records_in.inc_by(count as u64);
        self.metrics.bytes_in.inc_by(bytes as u64);
        (0..count.min(self.options.concurrency)).for_each(|_| self.wake.notify_one());
    }

    fn room(&self) -> usize {
        self.lock().dispatcher.room()
    }

    fn flow(&self) -> Flow {
        self.lock().dispatcher.flow(Moment::now())
    }

    fn commits(&self) -> Vec<Commit> {
        self.lock().dispatcher.commits()
    }

    fn recommit(&self) {
        let mut inner = self.lock();
        let assigned: Vec<i32> = inner.dispatcher.assigned().collect();
        assigned.into_iter().for_each(|partition| inner.dispatcher.mark_changed(partition));
    }

    fn is_busy(&self) -> bool {
        let inner = self.lock();
        inner.dispatcher.in_flight() > 0 || inner.dispatcher.has_commits()
    }

    fn trouble(&self, fault: Option<&Fault>) {
        let mut inner = self.lock();
        inner.trouble = fault.map(|fault| fault.message.clone());
        self.show(&inner, Moment::now());
    }

    fn measured(&self, measured: &Measured) {
        let (oldest, watermarks) = self.lock().dispatcher.progress();
        crate::runtime::report_lag(&self.state, &self.metrics, oldest, &watermarks, measured);
    }
}
