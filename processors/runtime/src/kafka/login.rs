//! Brokers that do not take our log-in: librdkafka only says that none can be reached, and tells why
//! beside it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::cluster::Cluster;
use super::error::fault;
use super::reader;
use crate::Fault;

/// How many things librdkafka may have said before it says why.
const SAID: usize = 100;

/// How long one that hears why a log-in is refused tries.
const TRIED: Duration = Duration::from_secs(1);

/// Hears why a log-in is refused.
pub(super) struct Login {
    user: String,
    brokers: String,
    refused: Mutex<Option<String>>,
}

impl Login {
    pub fn of(cluster: &Cluster) -> Self {
        let user = cluster.properties.get("sasl.username").cloned().unwrap_or_default();
        Self { user, brokers: cluster.brokers.clone(), refused: Mutex::default() }
    }

    fn refusal(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Login {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::error::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "reader");
        if error.rdkafka_error_code() == Some(Code::Authentication) {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            *refused = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Login {}

/// A fault for an error that a client met while `doing` something: the refusal of its log-in, if that is
/// what is behind it. The client is of no more use.
pub(super) fn failure(client: &BaseConsumer<Login>, doing: &str, error: &KafkaError) -> Fault {
    // What is said is heard by polling only.
    let heard = (0..SAID).find_map(|_| {
        drop(client.poll(Duration::ZERO));
        client.context().refusal()
    });
    let Some(reason) = heard else { return fault(doing, error) };
    let Login { user, brokers, .. } = &**client.context();
    let message = format!(
        "The log-in of `{user}` at {brokers} was refused, {doing}: {}; check `username` and `password` \
         under `security.sasl`.",
        reason.trim_end_matches('.')
    );
    Fault::refused("kafka_authentication", message)
}

/// The same for a client that hears of no refusal: where there is a log-in, one that does tries as well.
/// Blocks.
pub(super) fn explained(cluster: &Cluster, doing: &str, error: &KafkaError) -> Fault {
    if !cluster.properties.contains_key("sasl.username") {
        return fault(doing, error);
    }
    match reader::client(cluster, doing) {
        Ok(client) => {
            drop(client.fetch_metadata(None, TRIED));
            failure(&client, doing, error)
        }
        Err(fault) => fault,
    }
}
