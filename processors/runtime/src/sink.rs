//! Sinks deliver a topic to one application.

use async_trait::async_trait;

use crate::{Event, Fault};

/// How much of the topic's order a sink keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Events of one key reach the target in order; different keys run side by side.
    Keyed,
    /// A partition's events reach the target in order, one batch at a time.
    Partition,
}

/// When a batch is worth a call of the target: with so many events or bytes, or once its first event
/// has waited so long. Where memory does not allow as much
/// ([`MaxAhead`](crate::configuration), shared by the partitions), it goes with less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Events.
    pub events: usize,
    /// Bytes of keys, values and headers, as they lie in the topic.
    pub bytes: usize,
    /// The longest wait.
    pub within: std::time::Duration,
}

/// What a sink promises about an event that is sent to its target again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Once {
    /// The target keeps a unique id: a repeat has no second effect, ever.
    Forever,
    /// The target remembers idempotency keys for this long.
    For(std::time::Duration),
    /// A repeat has a second effect, unless the target itself knows better.
    No,
}

/// What the target answered to an event that it took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delivery {
    /// The target's answer in a few words (`201`, `sale 17 processing`), shown to the operator.
    pub answer: String,
    /// True when the target already had it.
    pub already_there: bool,
}

/// Delivers events to one application.
///
/// The runtime keeps the order, tries again, gives up and commits; a sink says what happened.
#[async_trait]
pub trait Sink: Send + Sync {
    /// The order it keeps.
    fn order(&self) -> Order {
        Order::Keyed
    }

    /// How many events it takes at once, at most.
    fn batch(&self) -> usize {
        1
    }

    /// How full a batch is to be before it is delivered, for a sink that keeps the partition's order;
    /// without a wish, what is there goes at once.
    fn fill(&self) -> Option<Fill> {
        None
    }

    /// Whether it reads the decoded values. One that only moves bytes says no: nothing is decoded,
    /// and a value that no schema fits is none of its concern.
    fn reads_values(&self) -> bool {
        true
    }

    /// Delivers a batch and answers for each event, in the batch's order. A keyed batch never holds
    /// two events of one key. `attempt` is 1 the first time; it is higher when any event of the batch
    /// was tried before, also when the last try's outcome is unknown.
    async fn deliver(&self, batch: &[Event], attempt: u32) -> Vec<Result<Delivery, Fault>>;
}
