//! The sections that every pipeline file can have, whatever its connectors. The doc comments here
//! are the user's documentation: the reference and the JSON Schema are made from them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::expression::Expression;
use crate::options::{Period, Property, Retention, Secret, Size, Start};

/// The brokers that hold the topics. Without this section, an embedded broker runs in the process.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Kafka {
    /// Some of the brokers, `host:port`, separated by commas; the others are found through them.
    pub brokers: String,
    /// How the brokers are spoken to.
    #[serde(default)]
    pub security: Security,
    /// Further settings of librdkafka, by its names, for example `socket.keepalive.enable: true`.
    #[serde(default)]
    pub properties: BTreeMap<String, Property>,
}

/// Encryption and authentication of a Kafka cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Security {
    /// Encrypts connections with TLS: `{}` trusts the system's certificate authorities.
    pub tls: Option<Tls>,
    /// Authenticates with a name and a password.
    pub sasl: Option<Sasl>,
}

/// Encryption with TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Tls {
    /// A PEM file with the certificate authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// A PEM file with our own certificate, for brokers that ask for one.
    pub certificate: Option<PathBuf>,
    /// A PEM file with that certificate's private key.
    pub key: Option<PathBuf>,
    /// The password of the private key.
    pub key_password: Option<Secret>,
}

/// Authentication with SASL.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Sasl {
    /// The mechanism that the brokers accept.
    #[serde(default)]
    pub mechanism: Mechanism,
    /// The user's name.
    pub username: String,
    /// The user's password.
    pub password: Secret,
}

/// A mechanism of SASL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mechanism {
    /// The password as it is: only over TLS.
    #[serde(rename = "PLAIN")]
    Plain,
    /// A challenge with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// A challenge with SHA-512.
    #[default]
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// The schema registry, any server of Confluent's API. Without this section, an embedded registry
/// runs in the process.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Registry {
    /// Its address, for example `https://registry.example.com`.
    pub url: String,
    /// The user's name, for basic authentication.
    pub username: Option<String>,
    /// The user's password, for basic authentication.
    pub password: Option<Secret>,
    /// A bearer token, instead of a name and a password.
    pub bearer: Option<Secret>,
}

/// Where sources listen for HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Http {
    /// Address and port.
    #[schemars(with = "crate::options::Listen")]
    pub listen: SocketAddr,
}

/// Where metrics, health and states are served.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Admin {
    /// Address and port of `/metrics`, `/health`, `/ready` and `/status`.
    #[schemars(with = "crate::options::Listen")]
    pub listen: SocketAddr,
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8080)) }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9464)) }
    }
}

/// A topic that the pipeline reads or writes. `run` creates it if it is missing, and refuses one
/// that differs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Topic {
    /// How many partitions it has; without it, as many as the brokers give. A route works on
    /// several at once, and adding some later breaks the order per key: 12 is a good number.
    pub partitions: Option<NonZeroU16>,
    /// How many brokers keep a copy; without it, as many as the brokers say.
    pub replication: Option<NonZeroU16>,
    /// How long events are kept: a period such as `1y`, or `forever`; without it, as long as the
    /// brokers keep them, which is often a week.
    pub retention: Option<Retention>,
    /// Keeps only the last event of each key.
    pub compaction: Option<bool>,
    /// The Avro schema of its events, a file.
    pub schema: Option<PathBuf>,
    /// What the keys of its events are.
    #[serde(default)]
    pub key_format: KeyFormat,
    /// Further settings of the topic, by Kafka's names, for example `max.message.bytes: 2097152`.
    #[serde(default)]
    pub properties: BTreeMap<String, Property>,
}

/// What the keys of a topic's events are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyFormat {
    /// UTF-8 text.
    #[default]
    Text,
    /// Avro, in Confluent's wire format.
    Avro,
    /// A 64-bit integer, big-endian.
    Long,
    /// Bytes that mean nothing to Passerelle.
    Bytes,
}

/// What all sources have, beside their connector.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct SourceCommon {
    /// The topic that it writes.
    pub to: String,
    /// The key of each event, in VRL; events of one key keep their order.
    pub key: Option<Expression>,
}

/// What all processors have, beside their steps.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct ProcessorCommon {
    /// The topic that it reads.
    pub from: String,
    /// The topic that it writes.
    pub to: String,
    /// The key of each event that it writes, in VRL, taken from what is written; without it, the
    /// key stays.
    pub key: Option<Expression>,
    /// Where to begin the first time: `beginning`, `now`, or a time such as `2026-01-31T00:00:00Z`.
    pub start: Option<Start>,
    /// What becomes of an event that cannot pass.
    #[serde(default)]
    pub on_error: OnError,
}

/// What all sinks have, beside the options of their connector.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct SinkCommon {
    /// The topic that it reads.
    pub from: String,
    /// The connection that it delivers to.
    pub to: String,
    /// How many events may be on their way at once, each of another key.
    #[serde(default = "SinkCommon::default_concurrency")]
    pub concurrency: NonZeroU16,
    /// How far it reads ahead of the oldest event that is not yet delivered.
    #[serde(default)]
    pub max_ahead: MaxAhead,
    /// Where to begin the first time: `beginning`, `now`, or a time such as `2026-01-31T00:00:00Z`.
    pub start: Option<Start>,
    /// What becomes of an event that cannot pass.
    #[serde(default)]
    pub on_error: OnError,
    /// How long one event is tried while others pass, before it follows `on_error`.
    #[serde(default = "SinkCommon::default_give_up_after")]
    pub give_up_after: Period,
    /// How long it waits between two tries.
    #[serde(default)]
    pub backoff: Backoff,
}

impl SinkCommon {
    fn default_concurrency() -> NonZeroU16 {
        NonZeroU16::MIN.saturating_add(7)
    }

    fn default_give_up_after() -> Period {
        Period(Duration::from_secs(15 * 60))
    }
}

/// How far a route reads ahead of the oldest event that is not yet delivered, over all partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MaxAhead {
    /// At most this many events.
    pub events: NonZeroU32,
    /// At most this many bytes.
    pub bytes: Size,
}

impl Default for MaxAhead {
    fn default() -> Self {
        Self { events: NonZeroU32::MIN.saturating_add(999), bytes: Size(4 << 20) }
    }
}

/// How long a route waits between two tries: the wait doubles from `initial` to `max`, and is drawn
/// at random near that, so that routes do not knock together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Backoff {
    /// The first wait.
    pub initial: Period,
    /// The longest wait.
    pub max: Period,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Period(Duration::from_millis(500)), max: Period(Duration::from_secs(60)) }
    }
}

/// What becomes of an event that cannot pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// It goes to the route's dead letters with its cause, and the route goes on.
    #[default]
    DeadLetter,
    /// The route stops at it.
    Stop,
}

/// An example of the pipeline: events that come in, and what is expected to come out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Test {
    /// What it shows.
    pub name: Option<String>,
    /// For each topic that events come in on: a JSON file, or the value itself; a list for several.
    pub input: BTreeMap<String, serde_json::Value>,
    /// For each topic that is looked at: what is expected there, in the same form; `[]` for nothing.
    pub expect: BTreeMap<String, serde_json::Value>,
}
