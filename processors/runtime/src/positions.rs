//! Where a route reads from: decided once, remembered, and never moved silently.

mod settle;

use serde::{Deserialize, Serialize};

use crate::kafka::{Bounds, Committed};

pub(crate) use settle::{ROUTES_TOPIC, Reading, Settled, Settler};

/// Where a route's first start begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest event that the topic holds.
    Beginning,
    /// With the next event that comes.
    Now,
    /// With the first event that Kafka received at this time or later, milliseconds since the Unix
    /// epoch.
    Time(i64),
}

/// What an operator decides for a route that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accept {
    /// From the oldest event on that the topic still holds.
    Beginning,
    /// From the next event that comes.
    Now,
    /// From the first event received at this time or later, milliseconds since the Unix epoch.
    Time(i64),
    /// From this offset on, in each partition that waits.
    Offset(i64),
    /// From where this route, which the file no longer has, was left: it was renamed.
    Renamed(String),
}

/// What is remembered of a route that has started, in `passerelle.routes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// The form of this record.
    pub version: u32,
    /// The consumer group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// How many of its partitions have started.
    pub partitions: i32,
    /// The topic's own id then, if the brokers told it: one created anew has another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
}

impl Remembered {
    /// Whether the topic is known to be another one than then.
    pub fn is_recreated(&self, topic_id: Option<&str>) -> bool {
        self.topic_id.as_deref().zip(topic_id).is_some_and(|(then, now)| then != now)
    }
}

/// Where a partition is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Where it was left.
    Resume {
        /// The committed offset.
        offset: i64,
        /// The commit's metadata.
        metadata: String,
    },
    /// From here on, for the first time: commit it at once.
    Begin {
        /// The offset.
        offset: i64,
    },
    /// Nobody has decided: the route waits for an operator.
    Hold {
        /// Why, naming the topic, the partition and what is missing.
        reason: String,
    },
}

/// What is known of a partition when it is decided where to read it from.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// What the group has committed.
    pub committed: Option<&'a Committed>,
    /// What the partition holds.
    pub bounds: Bounds,
    /// The first offset at or after the time of `start: TIME`, if there is one.
    pub at_time: Option<i64>,
}

/// Decides where a partition is read from.
pub fn decide(facts: Facts<'_>, start: Option<Start>, remembered: Option<&Remembered>) -> Decision {
    match (facts.committed, remembered) {
        (Some(committed), _) => resume(facts, committed),
        (None, Some(known)) if facts.partition < known.partitions => expired(facts),
        // Added to a topic that the route reads already: all of it is new.
        (None, Some(_)) => Decision::Begin { offset: facts.bounds.low },
        (None, None) => first(facts, start),
    }
}

fn resume(facts: Facts<'_>, committed: &Committed) -> Decision {
    let Facts { topic, partition, bounds: Bounds { low, high }, .. } = facts;
    let offset = committed.offset;
    if offset < low {
        let last = low - 1;
        return Decision::Hold {
            reason: format!(
                "{topic}[{partition}]: offsets {offset} to {last} were removed by retention before \
                 they were delivered; accept the gap to go on from {low}"
            ),
        };
    }
    if offset > high {
        return Decision::Hold {
            reason: format!(
                "{topic}[{partition}]: offset {offset} is committed, but the partition ends at \
                 {high}: the topic was created anew or lost offsets {high} to {}; accept to go on",
                offset - 1
            ),
        };
    }
    Decision::Resume { offset, metadata: committed.metadata.clone() }
}

fn expired(facts: Facts<'_>) -> Decision {
    let Facts { topic, partition, bounds: Bounds { low, high }, .. } = facts;
    Decision::Hold {
        reason: format!(
            "{topic}[{partition}]: the route has run before, but its group's committed offset is \
             gone (expired or deleted); the partition holds offsets {low} to {high}: accept where to \
             go on"
        ),
    }
}

fn first(facts: Facts<'_>, start: Option<Start>) -> Decision {
    let Facts { topic, partition, bounds: Bounds { low, high }, .. } = facts;
    match start {
        Some(Start::Beginning) => Decision::Begin { offset: low },
        Some(Start::Now) => Decision::Begin { offset: high },
        Some(Start::Time(_)) => Decision::Begin { offset: facts.at_time.unwrap_or(high) },
        None if low == high => Decision::Begin { offset: low },
        None => Decision::Hold {
            reason: format!(
                "{topic}[{partition}] already holds events (offsets {low} to {high}) and the route \
                 has never run: say `start: beginning`, `start: now` or a time"
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { low: 10, high: 50 };

    fn facts(committed: Option<&Committed>, bounds: Bounds) -> Facts<'_> {
        Facts { topic: "shop.orders", partition: 2, committed, bounds, at_time: Some(30) }
    }

    fn committed(offset: i64) -> Committed {
        Committed { offset, metadata: "1:AQE".into() }
    }

    fn remembered(partitions: i32) -> Remembered {
        let (group, topic) = ("passerelle.orders.sales".into(), "shop.orders".into());
        Remembered { version: 1, group, topic, partitions, topic_id: None }
    }

    fn reason(decision: Decision) -> String {
        match decision {
            Decision::Hold { reason } => reason,
            other => panic!("expected a hold, not {other:?}"),
        }
    }

    #[test]
    fn a_committed_offset_within_the_partition_is_resumed_whatever_start_says() {
        let at = committed(42);
        let decision = decide(facts(Some(&at), BOUNDS), Some(Start::Beginning), None);
        assert_eq!(decision, Decision::Resume { offset: 42, metadata: "1:AQE".into() });
        for edge in [10, 50] {
            let at = committed(edge);
            let decision = decide(facts(Some(&at), BOUNDS), None, None);
            assert!(matches!(decision, Decision::Resume { offset, .. } if offset == edge));
        }
    }

    #[test]
    fn events_removed_unread_are_named() {
        let at = committed(4);
        let reason = reason(decide(facts(Some(&at), BOUNDS), Some(Start::Beginning), None));
        assert!(reason.contains("shop.orders[2]") && reason.contains("4 to 9"), "{reason}");
    }

    #[test]
    fn a_topic_created_anew_is_noticed_by_an_offset_beyond_its_end() {
        let at = committed(60);
        let reason = reason(decide(facts(Some(&at), BOUNDS), None, None));
        assert!(reason.contains("50 to 59"), "{reason}");
    }

    #[test]
    fn a_topic_is_known_to_be_another_only_if_both_ids_are_known() {
        let known = Remembered { topic_id: Some("a".into()), ..remembered(1) };
        assert!(known.is_recreated(Some("b")));
        assert!(!known.is_recreated(Some("a")) && !known.is_recreated(None));
        assert!(!remembered(1).is_recreated(Some("b")));
    }

    #[test]
    fn an_expired_group_waits_and_an_added_partition_starts_at_its_beginning() {
        let reason = reason(decide(facts(None, BOUNDS), Some(Start::Now), Some(&remembered(3))));
        assert!(reason.contains("gone"), "{reason}");
        let added = decide(facts(None, BOUNDS), Some(Start::Now), Some(&remembered(2)));
        assert_eq!(added, Decision::Begin { offset: 10 });
    }

    #[test]
    fn a_first_start_follows_start_and_needs_it_when_the_topic_holds_events() {
        let first = |start| decide(facts(None, BOUNDS), start, None);
        assert_eq!(first(Some(Start::Beginning)), Decision::Begin { offset: 10 });
        assert_eq!(first(Some(Start::Now)), Decision::Begin { offset: 50 });
        assert_eq!(first(Some(Start::Time(1))), Decision::Begin { offset: 30 });
        assert!(reason(first(None)).contains("start: beginning"));
        let empty = Bounds { low: 7, high: 7 };
        assert_eq!(decide(facts(None, empty), None, None), Decision::Begin { offset: 7 });
    }
}
