//! What a log refuses, and why.

use std::{io, path::PathBuf};

/// Why a log refused what it was asked. The comments name the error code of Kafka's protocol that
/// says the same.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `OFFSET_OUT_OF_RANGE`.
    #[error("offset {offset} is not in the log, which holds {log_start} to {log_end}")]
    OffsetOutOfRange {
        /// The offset asked for.
        offset: i64,
        /// The first offset there is.
        log_start: i64,
        /// The offset the next record gets.
        log_end: i64,
    },
    /// `CORRUPT_MESSAGE`: the batch was damaged between the producer and here; send it again.
    #[error("the record batch arrived damaged: {reason}; send it again")]
    Corrupt {
        /// What is wrong with the batch.
        reason: String,
    },
    /// `INVALID_RECORD`: sent again, it is refused again.
    #[error("the record batch is not valid: {reason}")]
    Invalid {
        /// What is wrong with the batch.
        reason: String,
    },
    /// `INVALID_TIMESTAMP`: the clocks of producer and broker differ, or the record is older than the
    /// topic takes.
    #[error(
        "record {record} of the batch has the timestamp {timestamp}, the topic takes {earliest} to \
         {latest} now (message.timestamp.before.max.ms, message.timestamp.after.max.ms): check the \
         producer's clock and the broker's"
    )]
    InvalidTimestamp {
        /// Which record of the batch, from 0.
        record: usize,
        /// Its timestamp.
        timestamp: i64,
        /// The first timestamp taken now.
        earliest: i64,
        /// The last timestamp taken now.
        latest: i64,
    },
    /// `UNSUPPORTED_FOR_MESSAGE_FORMAT`.
    #[error(
        "the records are in message format {magic}, only format 2 is stored: use a client of \
         Kafka 0.11 or newer"
    )]
    OldFormat {
        /// The magic byte received.
        magic: i8,
    },
    /// `UNSUPPORTED_COMPRESSION_TYPE`.
    #[error(
        "compression codec {codec} is not known: use none, gzip (1), snappy (2), lz4 (3) or \
         zstd (4)"
    )]
    UnknownCodec {
        /// The codec's number in the batch's attributes.
        codec: u8,
    },
    /// `MESSAGE_TOO_LARGE`.
    #[error("the record batch takes {size} bytes, the limit is {limit} (max.message.bytes)")]
    TooLarge {
        /// The batch's size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// `OUT_OF_ORDER_SEQUENCE_NUMBER`.
    #[error(
        "producer {producer_id} (epoch {epoch}) sent sequence {sequence} after {last}: a batch \
         before it is missing"
    )]
    OutOfOrderSequence {
        /// The producer's id.
        producer_id: i64,
        /// The producer's epoch.
        epoch: i16,
        /// The first sequence number of the batch.
        sequence: i32,
        /// The last sequence number stored, −1 if none of this epoch.
        last: i32,
    },
    /// `INVALID_PRODUCER_EPOCH`.
    #[error(
        "producer {producer_id} sent with epoch {epoch}, a newer one writes with epoch {current}"
    )]
    Fenced {
        /// The producer's id.
        producer_id: i64,
        /// The epoch it sent.
        epoch: i16,
        /// The newest epoch seen.
        current: i16,
    },
    /// `KAFKA_STORAGE_ERROR`: the log takes no more records until someone repairs it.
    #[error("the log takes no records: {reason}")]
    Stopped {
        /// What happened, where, and what to do.
        reason: String,
    },
    /// `KAFKA_STORAGE_ERROR`: what is stored at this place is damaged.
    #[error(
        "the log is damaged at offset {offset}: {file}, byte {position}: {reason}; restore the \
         file from a copy and start again, or delete the topic"
    )]
    Damaged {
        /// The first offset that cannot be read.
        offset: i64,
        /// The segment file.
        file: String,
        /// Where in the file.
        position: u64,
        /// What is wrong there.
        reason: String,
    },
    /// `KAFKA_STORAGE_ERROR`: a full or failing disk; the same call can succeed later.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done: "append to", "read".
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
    /// The folder was written by another version.
    #[error("{} has format {found:?}, this version reads {expected:?}", path.display())]
    Format {
        /// The format file.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What it should say.
        expected: String,
    },
}

impl LogError {
    pub(super) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }

    pub(super) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid { reason: reason.into() }
    }

    /// Whether the same call can succeed later without anyone changing the request.
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Corrupt { .. })
    }
}
