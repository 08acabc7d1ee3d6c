//! Processors read topics and write topics.

use std::sync::Arc;

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
pub struct Emit {
    emitted: Vec<Emitted>,
    /// What is being processed, if it is a child of the event that was read.
    child: Option<Arc<Event>>,
}

/// Something that was emitted.
#[derive(Debug, Clone)]
pub struct Emitted {
    /// Its value.
    pub value: Value,
    /// The event around it, if that is not the one that was read but a child of it.
    pub child: Option<Arc<Event>>,
    /// Which of the route's topics it goes to.
    pub to: usize,
}

impl Emit {
    /// Emits a value under the event's own id and key.
    pub fn send(&mut self, value: Value) {
        self.send_to(value, 0);
    }

    /// Emits a value to one of the topics that the processor chooses from
    /// ([`targets`](crate::connector::ProcessorConnector::targets)), counted from 0.
    pub fn send_to(&mut self, value: Value, to: usize) {
        self.emitted.push(Emitted { value, child: self.child.clone(), to });
    }

    /// Emits a part of an event as an event of its own, whose id is the event's and `key`, after a
    /// slash: a key that stays the same when the event comes again.
    pub fn send_child(&mut self, event: &Event, key: &str, value: Value) {
        let child = Some(Arc::new(event.child(key)));
        self.emitted.push(Emitted { value, child, to: 0 });
    }

    /// What was emitted since the last time, leaving it empty.
    pub fn take(&mut self) -> Vec<Emitted> {
        std::mem::take(&mut self.emitted)
    }
}

impl Emitted {
    /// The event around the value, where `event` is the one that was read.
    pub(crate) fn event<'a>(&'a self, event: &'a Event) -> &'a Event {
        self.child.as_deref().unwrap_or(event)
    }
}

/// Processors, one after another: each gets what the one before emitted.
pub(crate) struct Chain(pub Vec<Box<dyn Processor>>);

impl Chain {
    /// What comes of an event, all of it or nothing.
    pub fn process(&self, event: &Event, value: Value) -> Result<Vec<Emitted>, Fault> {
        let mut emit = Emit::default();
        let mut values = vec![Emitted { value, child: None, to: 0 }];
        for step in &self.0 {
            for Emitted { value, child, .. } in values {
                emit.child.clone_from(&child);
                step.process(child.as_deref().unwrap_or(event), value, &mut emit)?;
            }
            values = emit.take();
        }
        Ok(values)
    }
}
