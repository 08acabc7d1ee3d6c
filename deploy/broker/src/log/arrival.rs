//! What a producer's batch must be to enter the log, as Kafka's `LogValidator` has it.

use bytes::Bytes;

use super::{
    LogError,
    batch::{BatchHeader, CRC_FROM, HEADER_BYTES, LEADER_EPOCH, MAGIC},
    codec::Codec,
    config::{LogConfig, TimestampType},
    record::{self, Records},
};

/// Who writes a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A producer.
    Producer,
    /// The broker itself, on behalf of a producer: in its transaction, without a sequence number.
    Broker,
}

/// The timestamps that a log takes at a moment, both ends included.
type Timestamps = std::ops::RangeInclusive<i64>;

/// Which of a producer's timestamps a log takes now. The broker's own are its clock's, and a log that
/// stamps its records takes any.
fn accepted(config: &LogConfig, origin: Origin, now_ms: i64) -> Timestamps {
    if origin == Origin::Broker || config.timestamp_type == TimestampType::LogAppendTime {
        return i64::MIN..=i64::MAX;
    }
    now_ms.saturating_sub(config.timestamp_before_max_ms)
        ..=now_ms.saturating_add(config.timestamp_after_max_ms)
}

/// A batch that may enter: its header, to be given an offset, and its records as received.
pub(super) struct Arrival {
    pub header: BatchHeader,
    pub records: Bytes,
}

impl Arrival {
    /// Checks what a producer sent: exactly one batch (as Kafka asks of produce requests since
    /// version 3), undamaged, its records in order.
    pub fn check(
        received: &Bytes,
        config: &LogConfig,
        origin: Origin,
        now_ms: i64,
    ) -> Result<Self, LogError> {
        let mut header = framed(received, config)?;
        let covered = &received[CRC_FROM..];
        let crc = crc32c::crc32c(covered);
        if crc != header.crc {
            return Err(corrupt(format!(
                "its CRC is {crc:08x}, the header says {:08x}",
                header.crc
            )));
        }
        check_fields(&header, origin)?;
        let max_timestamp =
            check_records(&header, received, config, &accepted(config, origin, now_ms))?;
        header.leader_epoch = LEADER_EPOCH;
        let as_sent = header;
        header.set_timestamp_type(config.timestamp_type);
        header.max_timestamp = match config.timestamp_type {
            TimestampType::CreateTime => max_timestamp,
            TimestampType::LogAppendTime => now_ms,
        };
        let records = received.slice(HEADER_BYTES..);
        if header != as_sent {
            header.crc = header.checksum(&records);
        }
        Ok(Self { header, records })
    }
}

fn corrupt(reason: String) -> LogError {
    LogError::Corrupt { reason }
}

/// The header, once the bytes are one batch of format 2 and of an accepted size.
fn framed(received: &Bytes, config: &LogConfig) -> Result<BatchHeader, LogError> {
    if let Some(&magic) = received.get(16) {
        let magic = magic.cast_signed();
        if (0..MAGIC).contains(&magic) {
            return Err(LogError::OldFormat { magic });
        }
    }
    let mut header = BatchHeader::parse(received)
        .ok_or_else(|| corrupt(format!("{} bytes are no record batch", received.len())))?;
    // Whatever the producer wrote there, the log assigns the offset.
    header.base_offset = 0;
    if let Some(defect) = header.defect() {
        return Err(corrupt(defect));
    }
    if header.size() > config.max_message_bytes {
        return Err(LogError::TooLarge { size: header.size(), limit: config.max_message_bytes });
    }
    if header.size() > received.len() {
        let (expected, found) = (header.size(), received.len());
        return Err(corrupt(format!("{found} bytes came of a batch of {expected}")));
    }
    if header.size() < received.len() {
        return Err(LogError::invalid("a produce request holds exactly one batch per partition"));
    }
    Ok(header)
}

fn check_fields(header: &BatchHeader, origin: Origin) -> Result<(), LogError> {
    let invalid = |reason: &str| Err(LogError::invalid(reason));
    if header.codec().is_none() {
        return Err(LogError::UnknownCodec { codec: header.codec_number() });
    }
    if header.record_count == 0 {
        return invalid("it holds no records");
    }
    if i64::from(header.record_count) != i64::from(header.last_offset_delta) + 1 {
        return Err(LogError::invalid(format!(
            "it says {} records, and a last offset delta of {}",
            header.record_count, header.last_offset_delta
        )));
    }
    if header.is_control() {
        return invalid("producers do not write control batches");
    }
    if header.delete_horizon().is_some() {
        return invalid("producers do not set a delete horizon");
    }
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return invalid("producers do not set the timestamp type LogAppendTime");
    }
    let is_numbered = header.base_sequence >= 0 || origin == Origin::Broker;
    if header.has_producer() && (header.producer_epoch < 0 || !is_numbered) {
        return invalid("an idempotent producer's batch needs an epoch and a sequence number");
    }
    if header.is_transactional() && !header.has_producer() {
        return invalid("a transactional batch needs a producer's id");
    }
    Ok(())
}

/// Walks the records; the largest timestamp.
fn check_records(
    header: &BatchHeader,
    batch: &[u8],
    config: &LogConfig,
    accepted: &Timestamps,
) -> Result<i64, LogError> {
    /// A producer's word for none (`RecordBatch.NO_TIMESTAMP`).
    const NO_TIMESTAMP: i64 = -1;
    let records = record::decompressed(header, batch).map_err(LogError::invalid)?;
    if header.codec() != Some(Codec::None) && records.is_empty() {
        return Err(LogError::invalid("its records are empty"));
    }
    let mut max_timestamp = i64::MIN;
    for (expected, record) in Records::new(header, &records).enumerate() {
        let record = record.map_err(LogError::invalid)?;
        if i64::try_from(expected).ok() != Some(record.offset_delta.into()) {
            return Err(LogError::invalid(format!(
                "record {expected} has offset delta {}",
                record.offset_delta
            )));
        }
        if config.cleanup.compact && record.key.is_none() {
            return Err(LogError::invalid(format!(
                "record {expected} has no key, which a compacted topic needs"
            )));
        }
        let timestamp = record.timestamp(header);
        if timestamp != NO_TIMESTAMP && !accepted.contains(&timestamp) {
            let (earliest, latest) = (*accepted.start(), *accepted.end());
            return Err(LogError::InvalidTimestamp {
                record: expected,
                timestamp,
                earliest,
                latest,
            });
        }
        max_timestamp = max_timestamp.max(timestamp);
    }
    Ok(max_timestamp)
}
