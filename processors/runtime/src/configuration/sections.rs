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
use crate::outcomes::MaskPath;

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

/// What came of each event on each route, kept for `passerelle trace`: one small record for each
/// event and route in the topic `passerelle.outcomes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Outcomes {
    /// Whether they are kept.
    pub keep: bool,
    /// How long, for the topic when it is made: it is one for all pipelines.
    pub retention: Retention,
    /// Personal data that is not to be kept: the values at these VRL paths (`.customer.email`) are
    /// replaced where they appear in answers and causes, and keys that hold them are hashed. `%key`
    /// hashes every key.
    #[serde(skip_serializing)]
    pub mask: Vec<MaskPath>,
    /// A secret to hash keys with, so that nobody without it can try out which key a hash is of;
    /// `passerelle trace` then needs the file.
    #[serde(skip_serializing)]
    pub hash_key: Option<Secret>,
}

impl Default for Outcomes {
    fn default() -> Self {
        let week = Duration::from_secs(7 * 24 * 60 * 60);
        let retention = Retention::For(Period(week));
        Self { keep: true, retention, mask: Vec::new(), hash_key: None }
    }
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
    /// The connection that it reads from, for those that have one.
    pub from: Option<String>,
    /// The topic that it writes.
    pub to: String,
    /// The key of each event, in VRL; events of one key keep their order.
    pub key: Option<Expression>,
}

/// What all processors have, beside their steps, which apply in the order in which they stand.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct ProcessorCommon {
    /// The topic that it reads.
    pub from: String,
    /// The topic that it writes; left out where `branch` names topics.
    pub to: Option<String>,
    /// Drops events that come again, before anything is made of them.
    pub deduplicate: Option<Deduplicate>,
    /// What events are enriched with before the steps: for each field that they get, what is looked
    /// up for it.
    #[serde(default)]
    pub enrich: BTreeMap<String, serde_json::Value>,
    /// The key of each event that it writes, in VRL, taken from what is written; without it, the
    /// key stays.
    pub key: Option<Expression>,
    /// Where to begin the first time: `beginning`, `now`, or a time such as `2026-01-31T00:00:00Z`.
    pub start: Option<Start>,
    /// What becomes of an event that cannot pass.
    #[serde(default)]
    pub on_error: OnError,
    /// How often what it makes of an event is written.
    #[serde(default)]
    pub delivery: Promise,
    /// With `delivery: exactly_once`, how far apart its transactions end: about how much later those
    /// who read what it writes see it.
    #[serde(default = "ProcessorCommon::default_commit_every")]
    pub commit_every: Period,
}

impl ProcessorCommon {
    fn default_commit_every() -> Period {
        Period(Duration::from_millis(100))
    }
}

/// Which events come again. They are told apart within a partition: events of one id must have one key.
/// What is tried again from the dead letters, and what a replay sends again, always passes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Deduplicate {
    /// How long an id is remembered, from the first event that has it. Each id takes about 150 bytes of
    /// memory.
    pub r#for: Period,
    /// The id, in VRL; without it, the event's own (`ce_id`). An event whose id is null passes.
    pub by: Option<Expression>,
}

/// What is looked up for each event, before the steps. The event gets it as a field of its value, which
/// is left out of what is written unless the output's schema has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct EnrichCommon {
    /// The connection that is asked, for `http`.
    pub lookup: Option<String>,
    /// The key of what is looked up, VRL that reads the event: `.customer.email`. Nothing is looked up
    /// for null.
    pub by: Expression,
    /// The form of what is found, an Avro schema in a file: the steps are checked against it, and its
    /// decimals stay exact. Without it, anything (with `csv`, texts). With `topic`, it is the topic's.
    pub schema: Option<PathBuf>,
    /// What becomes of an event for which nothing is found; without it, the field is null.
    pub on_miss: Option<OnMiss>,
    /// With `http`, how long what was found is used again, without it 5 minutes. That nothing was found
    /// is remembered for ten seconds at most, and not where events wait for it.
    pub keep: Option<Period>,
    /// With `http`, how many keys are remembered at most, with what was found; without it 10000.
    pub at_most: Option<NonZeroU32>,
}

impl EnrichCommon {
    /// What becomes of an event for which nothing is found. YAML reads the word `null` as nothing.
    pub fn on_miss(&self) -> OnMiss {
        self.on_miss.unwrap_or_default()
    }

    /// How long what was found is used again.
    pub fn keep(&self) -> Duration {
        self.keep.map_or(Duration::from_secs(5 * 60), |Period(keep)| keep)
    }

    /// How many keys are remembered.
    pub fn at_most(&self) -> usize {
        self.at_most.map_or(10_000, |most| usize::try_from(most.get()).unwrap_or(usize::MAX))
    }
}

/// What becomes of an event for which nothing is found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnMiss {
    /// The field is null.
    #[default]
    Null,
    /// The event follows `on_error`.
    DeadLetter,
    /// The route waits until it is found; an application is asked again and again, every half minute at most.
    Wait,
}

/// How often what a processor makes of an event is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    /// At least once: after a crash what was in flight is written again, with the same ids.
    #[default]
    AtLeastOnce,
    /// Exactly once, for those who read committed records only: what it writes, its dead letters and
    /// the offsets of what it read become visible together, or not at all. Those who read see it
    /// later by about `commit_every`.
    ExactlyOnce,
}

/// What all sinks have, beside the options of their connector.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct SinkCommon {
    /// The topic that it reads.
    pub from: String,
    /// The connection that it delivers to.
    pub to: String,
    /// How many events may be on their way at once, each of another key; fewer while the target bears
    /// less.
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
    /// What has to be there before an event is delivered, such as a payment's order: each under a name
    /// of yours, looked up as with `enrich`, which has the options. Until it is found, the event waits,
    /// and what comes after it of its key.
    #[serde(default)]
    pub wait_for: BTreeMap<String, serde_json::Value>,
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
    /// It goes to the dead letters, and the later events of its key go behind it, in order, until
    /// `passerelle dead-letters` retries or discards it. Other keys go on.
    ParkKey,
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
    /// What look-ups find, since an example asks nobody: for each field of `enrich`, the keys and what
    /// is found by them; `*` stands for every other key. A key that is left out finds nothing.
    #[serde(default)]
    pub lookups: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
}
