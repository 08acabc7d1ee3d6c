//! The events of a batch on their way into the ERP, each to its own end.

use engine::{Delivery, Event, Fault};

use super::told::{Told, value};

/// What became of an event.
pub(super) type Outcome = Result<Delivery, Fault>;

/// An event on its way.
pub(super) struct Task<'e, T, B> {
    pub(super) event: &'e Event,
    /// What it tells.
    pub(super) told: T,
    /// What the ERP has of it.
    pub(super) there: Option<B>,
    /// What became of it.
    pub(super) end: Option<Outcome>,
}

impl<T, B> Task<'_, T, B> {
    pub(super) fn is_open(&self) -> bool {
        self.end.is_none()
    }
}

/// The events of a batch: those that could be read, in their order, and the faults of the others at
/// their places.
pub(super) struct Tasks<'e, T, B> {
    pub(super) all: Vec<Task<'e, T, B>>,
    faults: Vec<Option<Fault>>,
}

impl<'e, T: Told, B> Tasks<'e, T, B> {
    pub(super) fn of(batch: &'e [Event]) -> Self {
        let (mut all, mut faults) = (Vec::new(), Vec::new());
        for event in batch {
            match value(event).and_then(T::read) {
                Ok(told) => {
                    all.push(Task { event, told, there: None, end: None });
                    faults.push(None);
                }
                Err(fault) => faults.push(Some(fault)),
            }
        }
        Self { all, faults }
    }

    /// What became of each event of the batch, those that are still open having come to this end.
    pub(super) fn ended(self, end: Result<(), Fault>) -> Vec<Outcome> {
        let lost = || Fault::internal("tryton_lost", "An event was left without an outcome.");
        let rest = end.err().unwrap_or_else(lost);
        let mut done =
            self.all.into_iter().map(|task| task.end.unwrap_or_else(|| Err(rest.clone())));
        let end = |fault: Option<Fault>| match fault {
            Some(fault) => Err(fault),
            None => done.next().unwrap_or_else(|| Err(lost())),
        };
        self.faults.into_iter().map(end).collect()
    }
}
