//! Where a partition begins, ends, or was at a time.

use std::sync::Arc;

use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    list_offsets_request::ListOffsetsPartition,
    list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
    offset_for_leader_epoch_request::OffsetForLeaderPartition,
    offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
};

use super::{
    Call,
    fetch::{check_epoch, isolation_of},
};
use crate::{
    log::{Isolation, Log},
    node::Node,
    refusal::{Outcome, code_of},
    topics::View,
};

/// What a timestamp of ListOffsets stands for, if it is none (`ListOffsetsRequest.java`).
mod special {
    pub const LATEST: i64 = -1;
    pub const EARLIEST: i64 = -2;
    pub const MAX_TIMESTAMP: i64 = -3;
    /// The first offset on this machine's disk, which holds all there is.
    pub const EARLIEST_LOCAL: i64 = -4;
}

/// An offset and the timestamp of its record; −1 for what there is not.
struct Position {
    offset: i64,
    timestamp: i64,
}

const NOWHERE: Position = Position { offset: -1, timestamp: -1 };

/// ListOffsets.
pub(super) async fn list_offsets(
    node: &Arc<Node>,
    call: &Call,
    ask: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let version = call.head.version;
    let isolation = isolation_of(ask.isolation_level);
    // A search by time reads indices and batches.
    let listed = node.aside(move |node| {
        let view = node.topics.view();
        let topics = ask.topics.into_iter().map(|topic| {
            let partitions =
                topic.partitions.iter().map(|at| list(&view, version, isolation, &topic.name, at));
            ListOffsetsTopicResponse::default()
                .with_partitions(partitions.collect())
                .with_name(topic.name)
        });
        Ok(topics.collect())
    });
    ListOffsetsResponse::default().with_topics(listed.await.unwrap_or_default())
}

fn list(
    view: &View,
    version: i16,
    isolation: Isolation,
    topic: &str,
    asked: &ListOffsetsPartition,
) -> ListOffsetsPartitionResponse {
    let found = on(view, topic, asked.partition_index, |log| {
        check_epoch(asked.current_leader_epoch)?;
        find(log, isolation, asked.timestamp)
    });
    let response = ListOffsetsPartitionResponse::default()
        .with_partition_index(asked.partition_index)
        .with_error_code(code_of(&found));
    let Position { offset, timestamp } = found.unwrap_or(NOWHERE);
    response
        .with_offset(offset)
        .with_timestamp(timestamp)
        .with_leader_epoch(if offset < 0 || version < 4 { -1 } else { 0 })
}

fn on<T>(
    view: &View,
    topic: &str,
    partition: i32,
    act: impl FnOnce(&Log) -> Outcome<T>,
) -> Outcome<T> {
    view.named(topic)?.partition(partition)?.log().and_then(act)
}

fn find(log: &Log, isolation: Isolation, timestamp: i64) -> Outcome<Position> {
    let at = |offset| Position { offset, timestamp: -1 };
    let end = match isolation {
        Isolation::Uncommitted => log.high_watermark(),
        Isolation::Committed => log.last_stable(),
    };
    let before_end = |found: Option<(i64, i64)>| found.filter(|(offset, _)| *offset < end);
    match timestamp {
        special::LATEST => Ok(at(end)),
        special::EARLIEST | special::EARLIEST_LOCAL => Ok(at(log.log_start())),
        special::MAX_TIMESTAMP => Ok(position(before_end(log.max_timestamp()?))),
        // The rest of the special ones speak of tiered storage, of which there is none.
        time if time >= 0 => Ok(position(before_end(log.offset_for_time(time)?))),
        _ => Ok(NOWHERE),
    }
}

fn position(found: Option<(i64, i64)>) -> Position {
    found.map_or(NOWHERE, |(offset, timestamp)| Position { offset, timestamp })
}

/// OffsetForLeaderEpoch: the only epoch ends where the log does.
pub(super) fn offset_for_leader_epoch(
    node: &Node,
    ask: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let view = node.topics.view();
    let partition = |topic: &str, asked: &OffsetForLeaderPartition| {
        let end = on(&view, topic, asked.partition, |log| {
            check_epoch(asked.current_leader_epoch)?;
            Ok(log.high_watermark())
        });
        let known = asked.leader_epoch == 0;
        EpochEndOffset::default()
            .with_partition(asked.partition)
            .with_error_code(code_of(&end))
            .with_leader_epoch(if known { 0 } else { -1 })
            .with_end_offset(end.ok().filter(|_| known).unwrap_or(-1))
    };
    let topics = ask.topics.into_iter().map(|topic| {
        OffsetForLeaderTopicResult::default()
            .with_partitions(
                topic.partitions.iter().map(|at| partition(&topic.topic, at)).collect(),
            )
            .with_topic(topic.topic)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}
