//! Fetch.

use std::{sync::Arc, time::Duration};

use futures::future::select_all;
use kafka_protocol::{
    error::ResponseError,
    messages::{
        FetchRequest, FetchResponse, ProducerId,
        fetch_request::FetchPartition,
        fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData},
    },
};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::Call;
use crate::{
    log::{Isolation, Read},
    node::Node,
    refusal::{Outcome, Refusal},
};

/// Fetch. Incremental sessions (KIP-227) are declined, as a broker may: every request names all
/// that it fetches.
pub(super) async fn fetch(node: &Arc<Node>, call: &Call, ask: FetchRequest) -> FetchResponse {
    if ask.session_id != 0 {
        let code = ResponseError::FetchSessionIdNotFound.code();
        return FetchResponse::default().with_error_code(code);
    }
    let deadline = Instant::now() + millis(ask.max_wait_ms);
    let enough = usize::try_from(ask.min_bytes).unwrap_or_default();
    // Watched before it is read: nothing appended in between is missed.
    let mut watched = watch(node, &ask);
    loop {
        let fetched = Fetched::read(node, call, &ask);
        if fetched.bytes >= enough || fetched.failed || watched.is_empty() {
            return fetched.response();
        }
        let appended = select_all(watched.iter_mut().map(|log| Box::pin(log.changed())));
        let waited = tokio::select! {
            waited = timeout_at(deadline, appended) => waited.is_ok(),
            () = node.closed() => false,
        };
        if !waited {
            return fetched.response();
        }
    }
}

fn millis(count: i32) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or_default())
}

fn watch(node: &Node, ask: &FetchRequest) -> Vec<watch::Receiver<i64>> {
    let view = node.topics.view();
    let mut watched = Vec::new();
    for topic in &ask.topics {
        let Ok(found) = view.find(&topic.topic, topic.topic_id) else { continue };
        for asked in &topic.partitions {
            let log = found.partition(asked.partition).and_then(|partition| partition.log());
            watched.extend(log.map(crate::log::Log::watch));
        }
    }
    watched
}

/// What was found in one pass over the partitions.
struct Fetched {
    topics: Vec<FetchableTopicResponse>,
    bytes: usize,
    /// Whether a partition failed: the client is to know at once.
    failed: bool,
}

impl Fetched {
    fn read(node: &Node, call: &Call, ask: &FetchRequest) -> Self {
        let view = node.topics.view();
        let most = usize::try_from(ask.max_bytes).unwrap_or_default();
        let most = most.min(node.config.limits.fetch_bytes);
        let isolation = isolation_of(ask.isolation_level);
        let mut fetched = Self { topics: Vec::new(), bytes: 0, failed: false };
        for topic in &ask.topics {
            let found = view.find(&topic.topic, topic.topic_id);
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for asked in &topic.partitions {
                let read = found.clone().and_then(|topic| {
                    let log = topic.partition(asked.partition)?.log()?;
                    check_epoch(asked.current_leader_epoch)?;
                    let left = most.saturating_sub(fetched.bytes);
                    read(log, asked, isolation, left, fetched.bytes == 0)
                });
                partitions.push(fetched.count(asked, read));
            }
            fetched.topics.push(
                FetchableTopicResponse::default()
                    .with_topic(if call.head.version < 13 {
                        topic.topic.clone()
                    } else {
                        kafka_protocol::messages::TopicName::default()
                    })
                    .with_topic_id(topic.topic_id)
                    .with_partitions(partitions),
            );
        }
        fetched
    }

    fn count(&mut self, asked: &FetchPartition, read: Outcome<Read>) -> PartitionData {
        let data = PartitionData::default().with_partition_index(asked.partition);
        match read {
            Ok(read) => {
                self.bytes += read.batches.len();
                data.with_high_watermark(read.high_watermark)
                    .with_last_stable_offset(read.last_stable)
                    .with_log_start_offset(read.log_start)
                    .with_aborted_transactions(aborted(&read))
                    .with_records(Some(read.batches))
            }
            Err(refusal) => {
                self.failed = true;
                tracing::debug!(partition = asked.partition, %refusal, "fetch");
                data.with_error_code(refusal.number())
                    .with_high_watermark(-1)
                    .with_last_stable_offset(-1)
                    .with_log_start_offset(-1)
                    .with_records(Some(bytes::Bytes::new()))
            }
        }
    }

    fn response(self) -> FetchResponse {
        FetchResponse::default().with_responses(self.topics)
    }
}

fn aborted(read: &Read) -> Option<Vec<AbortedTransaction>> {
    let aborted = read.aborted.iter().map(|aborted| {
        AbortedTransaction::default()
            .with_producer_id(ProducerId(aborted.producer_id))
            .with_first_offset(aborted.first)
    });
    (!read.aborted.is_empty()).then(|| aborted.collect())
}

/// Refuses what a client knows of a leader there never was: the epoch of the only one is 0.
pub(super) fn check_epoch(current: i32) -> Outcome<()> {
    if current > 0 {
        let message = format!("leader epoch {current} is not known here, the only one is 0");
        return Err(Refusal::new(ResponseError::UnknownLeaderEpoch, message));
    }
    Ok(())
}

/// Reads batches of a partition: within the bytes left, but the first batch of a response always
/// (KIP-74).
fn read(
    log: &crate::log::Log,
    asked: &FetchPartition,
    isolation: Isolation,
    left: usize,
    first: bool,
) -> Outcome<Read> {
    let most = usize::try_from(asked.partition_max_bytes).unwrap_or_default().min(left);
    let mut read = log.read(asked.fetch_offset, most, isolation)?;
    if !first && read.batches.len() > left {
        read.batches = bytes::Bytes::new();
        read.aborted.clear();
    }
    Ok(read)
}

/// What a request's isolation level stands for (`IsolationLevel.java`).
pub(super) fn isolation_of(level: i8) -> Isolation {
    if level == 0 { Isolation::Uncommitted } else { Isolation::Committed }
}
