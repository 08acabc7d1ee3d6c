//! Sinks deliver a topic to one application.

use async_trait::async_trait;

use crate::{Event, Fault};

/// What is added to the name of a route whose sink is in shadow: its place, its dead letters and its
/// outcomes are its own. No route of a file has such a name.
pub const SHADOW: &str = ".shadow";

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

/// What a sink would send for an event, as far as that is known without asking the target.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// What names the object at the target, where the sink knows it; else the event's key does.
    pub key: Option<String>,
    /// What is done: a word (`upsert`), or a request's method and path (`POST /orders`).
    pub operation: String,
    /// What is given, without credentials.
    pub payload: serde_json::Value,
}

impl Intent {
    /// The event as it is: its value is written, or what has its key is deleted.
    ///
    /// # Errors
    /// An `Internal` fault: our own JSON cannot be read back.
    pub fn of(event: &Event) -> Result<Self, Fault> {
        let (operation, payload) = match (&event.value, &event.payload) {
            (Some(value), _) => ("write", payload(value)?),
            // A topic whose values are not decoded: its bytes are all there is.
            (None, Some(bytes)) => ("write", payload(&crate::Value::Bytes(bytes.clone()))?),
            (None, None) => ("delete", serde_json::Value::Null),
        };
        Ok(Self { key: None, operation: operation.to_owned(), payload })
    }
}

/// A value as the payload of an [`Intent`].
///
/// # Errors
/// An `Internal` fault: our own JSON cannot be read back.
pub fn payload(value: &crate::Value) -> Result<serde_json::Value, Fault> {
    serde_json::from_str(&schemas::json::write(value)).map_err(|error| {
        Fault::internal("json", format!("Our own JSON cannot be read back: {error}."))
    })
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

    /// Holds what it is known to write against what the target has now, before it writes anything. It
    /// is asked at each start of the route, and again until it holds. Reads only.
    ///
    /// # Errors
    /// The route waits: a field is gone, say, and the message names it. A `Config` fault stops it.
    async fn contract(&self) -> Result<(), Fault> {
        Ok(())
    }

    /// Connects to the target for `check --connect`, and tells in a few words what was found beside
    /// that the [`contract`](Self::contract) holds. Reads only: what only a write would tell stays
    /// unknown, and is said to be.
    ///
    /// # Errors
    /// What keeps the sink from delivering.
    async fn connect(&self) -> Result<String, Fault> {
        self.contract().await?;
        Ok("nothing can be asked of it without writing".to_owned())
    }

    /// What it would send for an event; nothing for a deletion that it passes over. Asks nobody.
    ///
    /// # Errors
    /// A `Data` fault when the event gives nothing to send.
    fn intent(&self, event: &Event) -> Result<Option<Intent>, Fault> {
        Intent::of(event).map(Some)
    }

    /// Delivers a batch and answers for each event, in the batch's order. A keyed batch never holds
    /// two events of one key. `attempt` is 1 the first time; it is higher when any event of the batch
    /// was tried before, also when the last try's outcome is unknown.
    async fn deliver(&self, batch: &[Event], attempt: u32) -> Vec<Result<Delivery, Fault>>;
}
