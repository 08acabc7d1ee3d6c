//! Why a request, or a part of one, was refused: an error code of the protocol and a sentence.

use std::fmt;

use kafka_protocol::{error::ResponseError, protocol::StrBytes};

use crate::{error::BrokerError, log::LogError};

/// An error of Kafka's protocol (<https://kafka.apache.org/protocol#protocol_error_codes>), with
/// what the client's user can do about it.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub code: ResponseError,
    pub message: String,
}

/// An outcome, as most responses carry it.
pub(crate) type Outcome<T> = Result<T, Refusal>;

impl Refusal {
    pub fn new(code: ResponseError, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub fn invalid_config(message: impl Into<String>) -> Self {
        Self::new(ResponseError::InvalidConfig, message)
    }

    pub fn unknown_topic(topic: impl fmt::Display) -> Self {
        Self::new(
            ResponseError::UnknownTopicOrPartition,
            format!("topic {topic} does not exist on this broker"),
        )
    }

    pub fn unknown_partition(topic: &str, partition: i32) -> Self {
        Self::new(
            ResponseError::UnknownTopicOrPartition,
            format!("topic {topic} has no partition {partition}"),
        )
    }

    /// The error code.
    pub fn number(&self) -> i16 {
        self.code.code()
    }

    /// The message, as the codecs take it.
    pub fn text(&self) -> Option<StrBytes> {
        Some(StrBytes::from_string(self.message.clone()))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} ({:?})", self.message, self.code)
    }
}

/// The code of an outcome: 0 if all went well.
pub(crate) fn code_of<T>(outcome: &Outcome<T>) -> i16 {
    outcome.as_ref().map_or_else(Refusal::number, |_| 0)
}

/// The message of an outcome: none if all went well.
pub(crate) fn message_of<T>(outcome: &Outcome<T>) -> Option<StrBytes> {
    outcome.as_ref().err().and_then(Refusal::text)
}

impl From<LogError> for Refusal {
    fn from(error: LogError) -> Self {
        let code = match &error {
            LogError::OffsetOutOfRange { .. } => ResponseError::OffsetOutOfRange,
            LogError::Corrupt { .. } => ResponseError::CorruptMessage,
            LogError::Invalid { .. } => ResponseError::InvalidRecord,
            LogError::InvalidTimestamp { .. } => ResponseError::InvalidTimestamp,
            LogError::OldFormat { .. } => ResponseError::UnsupportedForMessageFormat,
            LogError::UnknownCodec { .. } => ResponseError::UnsupportedCompressionType,
            LogError::TooLarge { .. } => ResponseError::MessageTooLarge,
            LogError::OutOfOrderSequence { .. } => ResponseError::OutOfOrderSequenceNumber,
            LogError::Fenced { .. } => ResponseError::InvalidProducerEpoch,
            LogError::Stopped { .. }
            | LogError::Damaged { .. }
            | LogError::Io { .. }
            | LogError::Format { .. } => ResponseError::KafkaStorageError,
        };
        Self::new(code, error.to_string())
    }
}

impl From<BrokerError> for Refusal {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Refused { code, message } => Self {
                code: ResponseError::try_from_code(code)
                    .unwrap_or(ResponseError::UnknownServerError),
                message,
            },
            BrokerError::Log(error) => error.into(),
            error => Self::new(ResponseError::KafkaStorageError, error.to_string()),
        }
    }
}
