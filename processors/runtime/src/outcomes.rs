//! What came of each event on each route, for `trace` and the console: `passerelle.outcomes`.
//!
//! A record for each terminal outcome, keyed by the event's business key. They are gathered and
//! written behind the work's back: no event waits for its outcome, and no offset either. What a
//! crash loses of them is what was noted in the last [`GATHER`](writer::GATHER) before it; where
//! the offset had not been committed yet, the event comes again, and so does its outcome.

mod mask;
mod note;
mod trail;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::options::Secret;
use crate::runtime::Topic;
use crate::{Delivery, Fault};

pub use mask::{MaskPath, hashed_key, key_text};
pub use trail::{Journey, Query, trace};

pub(crate) use note::{RouteOutcomes, Subject, new_keys};
pub(crate) use writer::Writer;

/// The topic of the outcomes of all pipelines of a cluster.
pub const TOPIC: &str = "passerelle.outcomes";
/// The form of the records.
const VERSION: u32 = 1;
/// A trace reads one of them.
const PARTITIONS: i32 = 12;

/// What a pipeline says of its outcomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How long they are kept, for the topic when it is made; `None` for ever.
    pub retention: Option<Duration>,
    /// What is never written.
    pub mask: Vec<MaskPath>,
    /// What masked keys are hashed with; without it, with nothing.
    pub hash_key: Option<Secret>,
}

impl Default for Policy {
    fn default() -> Self {
        let week = Duration::from_secs(7 * 24 * 60 * 60);
        Self { retention: Some(week), mask: Vec::new(), hash_key: None }
    }
}

/// The topic as it is made when it is missing.
pub(crate) fn topic(policy: &Policy) -> Topic {
    let forever = || ("retention.ms".to_owned(), "-1".to_owned());
    Topic {
        name: TOPIC.to_owned(),
        partitions: Some(PARTITIONS),
        retention: policy.retention,
        compaction: Some(false),
        properties: if policy.retention.is_none() { vec![forever()] } else { Vec::new() },
        ..Topic::default()
    }
}

/// What came of one event on one route. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The form of this record.
    #[serde(rename = "v")]
    pub version: u32,
    /// The route, `pipeline/route`.
    pub route: Arc<str>,
    /// The event's id (`ce_id`, or its place when it has none).
    pub id: String,
    /// The topic in which the event lies: the route read it there, or a source wrote it there.
    pub topic: Arc<str>,
    /// Its partition; -1 where it has no place.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// When Passerelle received it.
    pub received: i64,
    /// When the route began with it; where it took several attempts, with the last one.
    pub started: i64,
    /// When the outcome was known.
    pub finished: i64,
    /// How many attempts it took.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub attempts: u32,
    /// The replay that sent it again, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<String>,
    /// The key that the event had, where this record is kept under the new key that it got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_key: Option<String>,
    /// What came of it.
    #[serde(flatten)]
    pub what: What,
}

/// What came of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum What {
    /// A source wrote it to its topic.
    Published,
    /// A processor made others of it.
    Produced {
        /// Their topic.
        to: Arc<str>,
        /// How many.
        count: usize,
        /// The keys among theirs that are not the event's own.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<String>,
    },
    /// A processor let it end here.
    Filtered,
    /// A processor had seen its id lately.
    Duplicate,
    /// The target took it.
    Delivered {
        /// Its answer, in a few words.
        answer: String,
    },
    /// The target had it already.
    AlreadyThere {
        /// Its answer, in a few words.
        answer: String,
    },
    /// It went to the dead letters.
    DeadLetter {
        /// A short stable name of the cause.
        cause: String,
        /// The sentence for the operator.
        message: String,
    },
    /// It went to the dead letters because an earlier event of its key waits there.
    Parked {
        /// That event's id.
        behind: String,
    },
}

impl What {
    /// The word that names it in records, on the terminal and in metrics.
    pub fn word(&self) -> &'static str {
        match self {
            What::Published => "published",
            What::Produced { .. } => "produced",
            What::Filtered => "filtered",
            What::Duplicate => "duplicate",
            What::Delivered { .. } => "delivered",
            What::AlreadyThere { .. } => "already_there",
            What::DeadLetter { .. } => "dead_letter",
            What::Parked { .. } => "parked",
        }
    }

    /// A dead letter of this cause.
    pub(crate) fn dead_letter(fault: &Fault) -> Self {
        What::DeadLetter { cause: fault.cause.to_owned(), message: fault.message.clone() }
    }

    /// The texts in it that may hold data of the event.
    fn texts(&mut self) -> Vec<&mut String> {
        match self {
            What::Delivered { answer } | What::AlreadyThere { answer } => vec![answer],
            What::DeadLetter { message, .. } => vec![message],
            What::Published
            | What::Produced { .. }
            | What::Filtered
            | What::Duplicate
            | What::Parked { .. } => Vec::new(),
        }
    }
}

impl From<Delivery> for What {
    fn from(Delivery { answer, already_there }: Delivery) -> Self {
        match already_there {
            true => What::AlreadyThere { answer },
            false => What::Delivered { answer },
        }
    }
}

fn once() -> u32 {
    1
}

fn is_once(attempts: &u32) -> bool {
    *attempts == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_flat_object_of_json_and_reads_back() {
        let outcome = Outcome {
            version: VERSION,
            route: "orders/sales".into(),
            id: "evt_1".into(),
            topic: "erp.sales".into(),
            partition: 3,
            offset: 42,
            received: 1_000,
            started: 1_010,
            finished: 1_020,
            attempts: 1,
            replay: None,
            from_key: None,
            what: What::Delivered { answer: "201".into() },
        };
        let json = serde_json::to_string(&outcome).unwrap();
        assert_eq!(
            json,
            r#"{"v":1,"route":"orders/sales","id":"evt_1","topic":"erp.sales","partition":3,"offset":42,"received":1000,"started":1010,"finished":1020,"outcome":"delivered","answer":"201"}"#
        );
        assert_eq!(serde_json::from_str::<Outcome>(&json).unwrap(), outcome);
        for what in [
            What::Published,
            What::Produced { to: "t".into(), count: 2, keys: vec!["k".into()] },
            What::Filtered,
            What::DeadLetter { cause: "http_422".into(), message: "no".into() },
            What::Parked { behind: "evt_0".into() },
        ] {
            let outcome = Outcome { what, attempts: 3, ..outcome.clone() };
            let json = serde_json::to_value(&outcome).unwrap();
            assert_eq!(json["outcome"], outcome.what.word());
            assert_eq!(serde_json::from_value::<Outcome>(json).unwrap(), outcome);
        }
    }
}
