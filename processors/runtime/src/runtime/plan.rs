//! What an engine runs: a pipeline, built.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use schemas::Schema;
use schemas::registry::Registry;

use crate::enrichment::Enrichment;
use crate::kafka::Cluster;
use crate::positions::Start;
use crate::share::Shares;
use crate::{Event, Fault, Processor, Sink, Source, Value};

/// A pipeline, built: everything that [`Engine::start`](crate::Engine::start) needs.
pub struct Plan {
    /// The pipeline's name.
    pub pipeline: String,
    /// The brokers.
    pub cluster: Cluster,
    /// The schema registry's client.
    pub registry: Registry,
    /// A name of this instance that survives a restart (a StatefulSet's pod), if it has one: becomes
    /// `group.instance.id`, so that a restart within the session moves no partition.
    pub instance: Option<String>,
    /// Which parts of its routes are this instance's: those that its connectors were built with.
    pub shares: Arc<Shares>,
    /// The topics that the file declares.
    pub topics: Vec<Topic>,
    /// How its outcomes are kept; nothing if they are not.
    pub outcomes: Option<crate::outcomes::Policy>,
    /// The sources.
    pub sources: Vec<SourceRoute>,
    /// The processor routes.
    pub processors: Vec<ProcessorRoute>,
    /// The sinks.
    pub sinks: Vec<SinkRoute>,
}

/// A topic as the file declares it. What is `None` is left to the brokers and never drifts.
#[derive(Debug, Clone, Default)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: Option<i32>,
    /// How many replicas.
    pub replication: Option<i32>,
    /// How long events stay.
    pub retention: Option<Duration>,
    /// Whether only the last event of each key stays.
    pub compaction: Option<bool>,
    /// The broker's own topic settings (`max.message.bytes`), as they are.
    pub properties: Vec<(String, String)>,
    /// The schema of its values, registered as `<name>-value` before anything runs.
    pub schema: Option<Schema>,
}

/// Builds a source, anew for each time that it is started.
pub type SourceFactory = Box<dyn Fn() -> Result<Box<dyn Source>, Fault> + Send + Sync>;

/// A source and its topic.
pub struct SourceRoute {
    /// Its name in the file.
    pub name: String,
    /// Builds it.
    pub build: SourceFactory,
    /// The topic it writes.
    pub to: String,
    /// Whether it must run on one instance at a time.
    pub once: bool,
}

/// Computes a new key from the event that was read and the value about to be written.
pub type KeyOf = Box<dyn Fn(&Event, &Value) -> Result<Option<Bytes>, Fault> + Send + Sync>;

/// A chain of processors between two topics.
pub struct ProcessorRoute {
    /// Its name in the file.
    pub name: String,
    /// The topic it reads.
    pub from: String,
    /// The topics it writes: one, or those that its last step chooses from.
    pub to: Vec<String>,
    /// What is dropped when it comes again, if anything is.
    pub deduplicate: Option<Deduplicate>,
    /// What events are enriched with before the steps.
    pub enrichments: Vec<Enrichment>,
    /// The processors, in the order in which they apply; each gets what the one before emitted.
    pub steps: Vec<Box<dyn Processor>>,
    /// The new key; without it events keep theirs.
    pub key: Option<KeyOf>,
    /// Where a first start begins.
    pub start: Option<Start>,
    /// What becomes of an event that cannot pass.
    pub on_error: OnError,
    /// How often what it makes of an event is written.
    pub promise: Promise,
}

/// What a processor drops: events whose id it has seen lately.
pub struct Deduplicate {
    /// How long an id is remembered.
    pub length: Duration,
    /// The id; without it, the event's own. What has none passes.
    pub by: Option<KeyOf>,
}

/// How often what a processor makes of an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Promise {
    /// Once, and again what was in flight when an instance died.
    #[default]
    AtLeastOnce,
    /// Once: in transactions with the offsets, which end this far apart.
    ExactlyOnce(Duration),
}

/// A sink and its topic.
pub struct SinkRoute {
    /// Its name in the file.
    pub name: String,
    /// The topic it reads.
    pub from: String,
    /// What has to be there before an event is delivered.
    pub awaited: Vec<Enrichment>,
    /// The sink.
    pub sink: Box<dyn Sink>,
    /// What all sinks share.
    pub options: SinkOptions,
}

/// What becomes of an event that cannot pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// It goes to the route's dead letters, with its cause; the next one proceeds.
    #[default]
    DeadLetter,
    /// It goes to the dead letters, and every later event of its key behind it, in order, until it is
    /// settled there. Events without a key are in no order: the later ones proceed.
    ParkKey,
    /// The route stops in front of it.
    Stop,
}

/// The options that all sinks share.
#[derive(Debug, Clone)]
pub struct SinkOptions {
    /// How many calls of the target may be open at once.
    pub concurrency: usize,
    /// How much may be read and not yet delivered.
    pub max_ahead: MaxAhead,
    /// Where a first start begins.
    pub start: Option<Start>,
    /// What becomes of an event that cannot pass.
    pub on_error: OnError,
    /// How long one event may keep failing while others pass.
    pub give_up_after: Duration,
    /// How long to wait between tries.
    pub backoff: Backoff,
}

/// How much may lie between the oldest event not delivered and the newest one read, over all
/// partitions of the route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxAhead {
    /// Events.
    pub events: usize,
    /// Bytes of their keys, values and headers.
    pub bytes: usize,
}

/// How long to wait between tries: twice as long each time, with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub initial: Duration,
    /// At most.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_millis(500), max: Duration::from_secs(60) }
    }
}

impl Default for MaxAhead {
    fn default() -> Self {
        Self { events: 1_000, bytes: 4 << 20 }
    }
}

impl Default for SinkOptions {
    fn default() -> Self {
        Self {
            concurrency: 8,
            max_ahead: MaxAhead::default(),
            start: None,
            on_error: OnError::default(),
            give_up_after: Duration::from_secs(15 * 60),
            backoff: Backoff::default(),
        }
    }
}

impl Plan {
    /// The full name of a route, `pipeline/route`.
    pub(crate) fn full_name(&self, route: &str) -> Arc<str> {
        format!("{}/{route}", self.pipeline).into()
    }
}
