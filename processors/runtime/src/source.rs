//! Sources turn what an application says into events on one topic.

use async_trait::async_trait;

pub use crate::publisher::Publisher;
use crate::{Fault, Shutdown, Value};

/// An event that a source is about to publish.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The application's own id of the event: becomes `ce_id`.
    pub id: String,
    /// What kind of event it is: becomes `ce_type`.
    pub kind: Option<String>,
    /// The application's own time, milliseconds since the Unix epoch: becomes `ce_time`.
    pub time: Option<i64>,
    /// The W3C trace context that came with it.
    pub traceparent: Option<String>,
    /// When it was received, milliseconds since the Unix epoch.
    pub received: i64,
    /// Its key; `None` for no order.
    pub key: Option<String>,
    /// Its value, to be encoded with the topic's schema; `None` is a tombstone.
    pub value: Option<Value>,
}

/// Turns what an application says into events.
#[async_trait]
pub trait Source: Send {
    /// Runs until `stop` is asked for. Says `out.ready()` once it can receive.
    ///
    /// # Errors
    /// A fault stops the route (`Config`, `Internal`) or makes it wait and start again (`Remote`).
    async fn run(self: Box<Self>, out: Publisher, stop: Shutdown) -> Result<(), Fault>;

    /// Connects to what it reads for `check --connect`, and tells in a few words what was found.
    /// Publishes nothing, and changes nothing there.
    ///
    /// # Errors
    /// What keeps the source from reading.
    async fn connect(&mut self) -> Result<String, Fault> {
        Ok("there is nothing to connect to".to_owned())
    }
}
