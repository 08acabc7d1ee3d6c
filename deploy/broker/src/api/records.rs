//! Deleting records, and how much disk there is in use.

use std::{path::Path, sync::Arc};

use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, DescribeLogDirsRequest, DescribeLogDirsResponse,
    delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
    describe_log_dirs_response::{
        DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
    },
};

use super::metadata::name;
use crate::{
    node::Node,
    refusal::{Outcome, code_of},
};

/// DeleteRecords: those before an offset.
pub(super) async fn delete(node: &Arc<Node>, ask: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut topics = Vec::new();
    for topic in ask.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let (name, index) = (topic.name.to_string(), asked.partition_index);
            let deleted = node.aside(move |node| delete_before(node, &name, index, asked.offset));
            let deleted = deleted.await;
            partitions.push(
                DeleteRecordsPartitionResult::default()
                    .with_partition_index(index)
                    .with_error_code(code_of(&deleted))
                    .with_low_watermark(deleted.unwrap_or(-1)),
            );
        }
        let result = DeleteRecordsTopicResult::default().with_name(topic.name);
        topics.push(result.with_partitions(partitions));
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

/// Deletes records; the first offset left.
fn delete_before(node: &Node, topic: &str, index: i32, offset: i64) -> Outcome<i64> {
    /// All there are.
    const HIGH_WATERMARK: i64 = -1;
    let view = node.topics.view();
    let topic = view.named(topic)?;
    topic.refuse_internal()?;
    let log = topic.partition(index)?.log()?;
    let offset = if offset == HIGH_WATERMARK { log.high_watermark() } else { offset };
    Ok(log.delete_before(offset)?)
}

/// The bytes of the volume that a folder is on, and those of them that this process may still write
/// (KIP-827); -1 where it does not say.
fn volume(folder: &Path) -> (i64, i64) {
    const UNKNOWN: i64 = -1;
    let Ok(volume) = rustix::fs::statvfs(folder) else { return (UNKNOWN, UNKNOWN) };
    let bytes =
        |blocks: u64| i64::try_from(blocks.saturating_mul(volume.f_frsize)).unwrap_or(i64::MAX);
    (bytes(volume.f_blocks), bytes(volume.f_bavail))
}

/// DescribeLogDirs: the one folder there is.
pub(super) fn log_dirs(node: &Node, ask: &DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let wanted = |topic: &str, index: i32| {
        ask.topics.as_ref().is_none_or(|topics| {
            topics.iter().any(|of| **of.topic == *topic && of.partitions.contains(&index))
        })
    };
    let view = node.topics.view();
    let topics = view.by_name.values().filter_map(|topic| {
        let partitions: Vec<_> = topic
            .partitions
            .iter()
            .filter(|partition| wanted(&topic.name, partition.index))
            .filter_map(|partition| {
                let size = partition.log().ok()?.size_bytes();
                let described = DescribeLogDirsPartition::default();
                Some(
                    described
                        .with_partition_index(partition.index)
                        .with_partition_size(i64::try_from(size).unwrap_or(i64::MAX)),
                )
            })
            .collect();
        let described = DescribeLogDirsTopic::default().with_name(name(&topic.name));
        (!partitions.is_empty()).then(|| described.with_partitions(partitions))
    });
    let (total, usable) = volume(&node.config.directory);
    DescribeLogDirsResponse::default().with_results(vec![
        DescribeLogDirsResult::default()
            .with_log_dir(node.config.directory.display().to_string().into())
            .with_topics(topics.collect())
            .with_total_bytes(total)
            .with_usable_bytes(usable),
    ])
}
