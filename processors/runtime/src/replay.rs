//! Sending history again: a stretch of a sink route's topic, through the same delivery, marked.
//!
//! A replay has a consumer group of its own, so the live route's place is not touched. The ranges of
//! offsets are captured once, when it begins, and kept in `passerelle.replays`; its progress is the
//! group's commits. The same replay, started again, goes on where it was left; started in several
//! processes at once, they share it. Events have the same ids and idempotency keys as ever, and the
//! header `passerelle_replay`.

mod capture;
mod intake;
mod letters;
mod run;
mod sample;
mod selection;
mod tally;

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::expression::Program;
use crate::kafka::Cluster;
use crate::outcomes::Policy;
use crate::runtime::Topic;

pub use capture::{Captured, Plan, Span, Standing, TOPIC, plan};
pub use run::{Progress, Summary, run};
pub use sample::{Sample, sample};
pub use tally::Counts;

pub(crate) use letters::Letters;
pub(crate) use selection::Selection;
pub(crate) use tally::Tally;

/// What is to be sent again, and where to.
pub struct Request {
    /// Names this replay among those of its route: the same for the same question.
    pub id: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The name in the file of the route whose topic is read.
    pub route: String,
    /// The brokers.
    pub cluster: Cluster,
    /// The schema registry's client.
    pub registry: schemas::registry::Registry,
    /// The topic that is read, as the file declares it.
    pub topic: Topic,
    /// The pipeline's topics.
    pub topics: Vec<Topic>,
    /// The name in the file of the sink that delivers.
    pub into: String,
    /// Whether that sink reads the same topic itself: then what is parked of it concerns the replay.
    pub own_topic: bool,
    /// Where the stretch begins.
    pub from: Edge,
    /// Where it ends: this is not sent any more.
    pub to: Edge,
    /// Only events of this key.
    pub key: Option<Bytes>,
    /// Only events for which this is true.
    pub filter: Option<Program>,
    /// At most so many events a second.
    pub rate: Option<f64>,
    /// How outcomes are kept; nothing if they are not.
    pub outcomes: Option<Policy>,
}

/// An edge of the stretch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edge {
    /// The oldest event that the topic holds.
    Oldest,
    /// Behind the newest event that it holds when the replay begins.
    Newest,
    /// The first event that Kafka received then or later, milliseconds since the Unix epoch.
    Time(i64),
    /// An offset of each partition named; of every other one, if there is one for `None`.
    Offsets(BTreeMap<Option<i32>, i64>),
}

impl Request {
    /// The replay's consumer group.
    pub fn group(&self) -> String {
        format!("passerelle.{}.{}.replay.{}", self.pipeline, self.route, self.id)
    }
}
