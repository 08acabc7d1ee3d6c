//! Processors read topics and write topics.

use crate::{Event, Fault, Value};

/// Turns one event into none, one or several. Pure and synchronous: what it needs from outside is
/// fetched before.
pub trait Processor: Send + Sync {
    /// Takes the event's decoded value (never a tombstone: those pass untouched) and emits what
    /// follows from it.
    ///
    /// # Errors
    /// A `Data` fault sends the event to the route's dead letters; nothing it emitted is written.
    fn process(&self, event: &Event, value: Value, out: &mut Emit) -> Result<(), Fault>;
}

/// What a processor emits for one event, in order.
#[derive(Debug, Default)]
pub struct Emit(Vec<Value>);

impl Emit {
    /// Emits a value under the event's own key.
    pub fn send(&mut self, value: Value) {
        self.0.push(value);
    }

    /// What was emitted since the last time, leaving it empty.
    pub fn take(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.0)
    }
}
