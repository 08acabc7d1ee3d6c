//! What a topic's configuration says about the log of one of its partitions.

/// Which clock a record's timestamp comes from (`message.timestamp.type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's, stored as received.
    CreateTime,
    /// The broker's, at the moment of the append.
    LogAppendTime,
}

/// What [`Log::clean`](super::Log::clean) does with old records (`cleanup.policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleanup {
    /// Whole segments go once they are past the retention time or size.
    pub delete: bool,
    /// The last record of each key stays; every record must have a key.
    pub compact: bool,
}

/// The configuration of a partition's log. Fields and defaults are those of Apache Kafka's topic
/// configuration of the same name (<https://kafka.apache.org/documentation/#topicconfigs>), except
/// for the segment size: 128 MiB, so that a start after a crash, which reads the last segment,
/// stays short.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// Bytes after which a new segment begins (`segment.bytes`); at most 2³¹ − 1 are used.
    pub segment_bytes: u64,
    /// Milliseconds between the first record of a segment and the first of the next
    /// (`segment.ms`).
    pub segment_ms: i64,
    /// Milliseconds a record is kept at least; `None` is for ever (`retention.ms`).
    pub retention_ms: Option<i64>,
    /// Bytes kept at least; `None` is all of them (`retention.bytes`).
    pub retention_bytes: Option<u64>,
    /// What cleaning does (`cleanup.policy`).
    pub cleanup: Cleanup,
    /// Milliseconds a tombstone stays after the compaction that first met it
    /// (`delete.retention.ms`).
    pub delete_retention_ms: i64,
    /// Milliseconds a record stays uncompacted at least (`min.compaction.lag.ms`).
    pub min_compaction_lag_ms: i64,
    /// Milliseconds after which a record of a compacted log is compacted, however little else is new
    /// (`max.compaction.lag.ms`).
    pub max_compaction_lag_ms: i64,
    /// The part of the log that must be new since the last compaction for the next one to run, 0
    /// to 1 (`min.cleanable.dirty.ratio`).
    pub min_cleanable_ratio: f64,
    /// The largest record batch accepted, in bytes as sent (`max.message.bytes`).
    pub max_message_bytes: usize,
    /// Whose clock (`message.timestamp.type`).
    pub timestamp_type: TimestampType,
    /// Milliseconds that a producer's timestamp may lie before the broker's clock
    /// (`message.timestamp.before.max.ms`).
    pub timestamp_before_max_ms: i64,
    /// Milliseconds that a producer's timestamp may lie after the broker's clock
    /// (`message.timestamp.after.max.ms`).
    pub timestamp_after_max_ms: i64,
    /// Bytes of log between two entries of a segment's index (`index.interval.bytes`).
    pub index_interval_bytes: u64,
}

impl LogConfig {
    /// How long records go to one segment: in a compacted log not so long that they could not be
    /// compacted in time, as the last segment never is.
    pub(super) fn roll_ms(&self) -> i64 {
        match self.cleanup.compact {
            true => self.segment_ms.min(self.max_compaction_lag_ms),
            false => self.segment_ms,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        const DAY: i64 = 24 * 60 * 60 * 1000;
        Self {
            segment_bytes: 128 * 1024 * 1024,
            segment_ms: 7 * DAY,
            retention_ms: Some(7 * DAY),
            retention_bytes: None,
            cleanup: Cleanup { delete: true, compact: false },
            delete_retention_ms: DAY,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_ratio: 0.5,
            max_message_bytes: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 60 * 60 * 1000,
            index_interval_bytes: 4096,
        }
    }
}
