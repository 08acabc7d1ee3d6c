//! What librdkafka says, as faults and as our log.

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::Fault;

/// The cause of a fault: brokers take no record that large.
pub const TOO_LARGE: &str = "record_too_large";

/// A fault for an error of a Kafka client, met while `doing` something (`reading the offsets of
/// group x`).
pub fn fault(doing: &str, error: &KafkaError) -> Fault {
    match error.rdkafka_error_code() {
        Some(code) => code_fault(doing, code),
        None => Fault::config("kafka_client", format!("Cannot go on {doing}: {error}.")),
    }
}

/// A fault for an error code of Kafka or of librdkafka.
pub fn code_fault(doing: &str, code: Code) -> Fault {
    let say = |hint: &str| format!("Kafka failed {doing}: {code}{hint}.");
    match code {
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => {
            Fault::refused("kafka_unauthorized", say("; grant the ACL, it goes on by itself"))
        }
        Code::SaslAuthenticationFailed | Code::Authentication => Fault::refused(
            "kafka_authentication",
            say("; check the credentials in `kafka.security`"),
        ),
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => Fault::data(
            TOO_LARGE,
            say("; the record exceeds the topic's max.message.bytes: raise it"),
        ),
        Code::InvalidRecord => Fault::data("kafka_invalid_record", say("; the broker refuses it")),
        Code::MessageTimedOut | Code::RequestTimedOut | Code::OperationTimedOut => {
            Fault::remote("kafka_timeout", say("; no broker answered in time")).unknown()
        }
        Code::AllBrokersDown | Code::BrokerTransportFailure | Code::Resolve => {
            Fault::remote("kafka_unreachable", say("; check that the brokers run"))
        }
        _ => Fault::remote("kafka_error", say("")),
    }
}

/// librdkafka's own lines, in ours: it calls many things errors that it then mends by itself.
pub fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
            tracing::debug!(target: "librdkafka", facility, "{message}");
        }
        _ => tracing::trace!(target: "librdkafka", facility, "{message}"),
    }
}
