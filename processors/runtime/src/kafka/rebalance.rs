//! Partitions that come and go: runs on the consumer's thread, within its poll.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::consumer::{End, Group};
use super::error::fault;
use super::intake::Intake;
use super::offsets;
use super::pulse::Pulse;
use super::transacting::Held;
use super::transactions::Transactions;
use crate::Fault;
use crate::positions::Decision;

/// How long what is in flight may take to finish once its partition is taken away.
pub const DRAIN: Duration = Duration::from_secs(5);

pub(super) type Client = BaseConsumer<Context>;

/// What a consumer's callbacks work on.
pub(super) struct Context {
    pub group: Group,
    pub intake: Arc<dyn Intake>,
    pub pulse: Arc<Pulse>,
    /// Why the consumer has to end.
    pub end: Mutex<Option<End>>,
    pub committing: AtomicBool,
    pub commit_failed: AtomicBool,
    pub brokers_away: AtomicBool,
    /// Where writes and offsets go together.
    pub transactions: Option<Arc<Transactions>>,
    pub held: Mutex<Held>,
    /// A transaction was undone: what was read since the last commit is to be read again.
    pub rewind: AtomicBool,
}

impl Context {
    pub fn end(&self, end: End) {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(end);
    }

    pub fn take_end(&self) -> Option<End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn assign(&self, client: &Client, list: &mut TopicPartitionList) {
        let partitions = partitions_of(list, &self.group.topic);
        tracing::info!(route = &*self.group.route, ?partitions, "assigned");
        let held = match self.settle(client, list, &partitions) {
            Ok(()) => false,
            Err(end) => {
                self.end(end);
                true
            }
        };
        let assigned = match client.rebalance_protocol() {
            RebalanceProtocol::Cooperative => client.incremental_assign(list),
            _ => client.assign(list),
        };
        if let Err(error) = assigned {
            self.end(End::Failed(fault("taking the partitions assigned by the group", &error)));
        }
        if held {
            // The consumer ends; until then nothing of them is delivered.
            let paused = client.pause(list);
            tracing::debug!(?paused, "held");
        } else {
            // librdkafka keeps a partition paused over assignments; the route begins with it anew.
            if let Err(error) = client.resume(list) {
                self.end(End::Failed(fault(
                    "reading the partitions assigned by the group",
                    &error,
                )));
            }
            // A fresh assignment is the group's own word.
            self.pulse.confirm();
        }
    }

    /// Says for each partition where to read from, and tells the route.
    fn settle(
        &self,
        client: &Client,
        list: &mut TopicPartitionList,
        partitions: &[i32],
    ) -> Result<(), End> {
        self.divide(client, partitions)?;
        if partitions.is_empty() {
            return Ok(());
        }
        self.intake.prepare().map_err(End::Failed)?;
        let topic = &*self.group.topic;
        let failed = |error| {
            let doing = format!("reading the offsets of group {}", self.group.id);
            End::Failed(fault(&doing, &error))
        };
        let committed = offsets::committed(client, topic, partitions).map_err(failed)?;
        let bounds = offsets::bounds(client, topic, partitions).map_err(failed)?;
        for partition in partitions {
            let Some(bounds) = bounds.get(partition) else {
                let reason = format!("{topic}[{partition}] has no leader that tells its offsets");
                return Err(End::Unsettled(reason));
            };
            let decision = (self.group.decide)(*partition, committed.get(partition), *bounds);
            let (offset, metadata, begun) = match decision {
                Decision::Resume { offset, metadata } => (offset, metadata, false),
                Decision::Begin { offset } => (offset, String::new(), true),
                Decision::Hold { reason } => return Err(End::Unsettled(reason)),
            };
            list.set_partition_offset(topic, *partition, Offset::Offset(offset)).map_err(failed)?;
            self.intake.assigned(*partition, offset, &metadata, begun);
            self.held().insert(*partition, offset);
        }
        Ok(())
    }

    /// Where somebody asks for it, says which part of the route is ours. A rebalance may also bring
    /// nothing but another number of partitions.
    fn divide(&self, client: &Client, partitions: &[i32]) -> Result<(), End> {
        let topic = &*self.group.topic;
        let Some(share) = self.group.share.as_ref().filter(|share| share.counts()) else {
            return Ok(());
        };
        let failed =
            |error| End::Failed(fault(&format!("counting the partitions of {topic}"), &error));
        let Some(count) = offsets::partition_count(client, topic).map_err(failed)? else {
            return Err(End::Unsettled(format!("topic {topic} is gone")));
        };
        share.gain(partitions, count);
        Ok(())
    }

    fn revoke(&self, client: &Client, list: &TopicPartitionList) {
        let partitions = partitions_of(list, &self.group.topic);
        let lost = client.assignment_lost();
        tracing::info!(route = &*self.group.route, ?partitions, lost, "revoked");
        self.give_up(client, &partitions, lost);
        let result = match client.rebalance_protocol() {
            RebalanceProtocol::Cooperative => client.incremental_unassign(list),
            _ => client.unassign(),
        };
        if let Err(error) = result {
            self.end(End::Failed(fault("giving back partitions to the group", &error)));
        }
    }

    /// Starts nothing more of the partitions, lets what is in flight finish, commits, lets go. Those
    /// that are lost belong to another already: nothing is committed for them.
    fn give_up(&self, client: &Client, partitions: &[i32], lost: bool) {
        self.intake.revoked(partitions);
        let mut settled = false;
        if !lost {
            let started = Instant::now();
            while !self.intake.is_drained(partitions) && started.elapsed() < DRAIN {
                thread::sleep(Duration::from_millis(5));
                self.pulse.beat();
            }
            match self.commit_last(client, partitions) {
                Ok(()) => settled = true,
                Err(fault) => {
                    let route = &*self.group.route;
                    tracing::warn!(route, %fault, "the last commit failed; some events repeat");
                }
            }
        }
        if let (false, Some(transactions)) = (settled, &self.transactions) {
            self.undo_lost(transactions);
        }
        self.forget(partitions);
    }

    /// Partitions are no longer ours.
    pub fn forget(&self, partitions: &[i32]) {
        self.intake.forgotten(partitions);
        if let Some(share) = &self.group.share {
            share.lose(partitions);
        }
        self.held().retain(|held, _| !partitions.contains(held));
    }

    /// Commits what stands of these partitions, and waits for the group's answer.
    pub fn commit_last(&self, client: &Client, partitions: &[i32]) -> Result<(), Fault> {
        if let Some(transactions) = &self.transactions {
            return self.transact(client, transactions);
        }
        let commits = partitions.iter().filter_map(|id| self.intake.commit_of(*id));
        let commits: Vec<_> = commits.collect();
        offsets::commit(client, &self.group.topic, &commits)
            .map_err(|error| fault(&format!("committing for group {}", self.group.id), &error))
    }
}

fn partitions_of(list: &TopicPartitionList, topic: &str) -> Vec<i32> {
    list.elements_for_topic(topic).iter().map(|element| element.partition()).collect()
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::error::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(route = &*self.group.route, %error, reason, "consumer");
        if error.rdkafka_error_code() == Some(Code::AllBrokersDown) {
            // A group that is not heard of may go on without us, or forget us.
            self.pulse.doubt();
            self.brokers_away.store(true, Ordering::Relaxed);
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, client: &Client, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(client, list),
            _ => self.revoke(client, list),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        self.committing.store(false, Ordering::Release);
        if let Err(error) = result {
            tracing::debug!(route = &*self.group.route, %error, "a commit failed");
            self.commit_failed.store(true, Ordering::Release);
        }
    }
}
