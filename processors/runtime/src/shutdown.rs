//! Asking everything to stop, once.

use tokio::sync::watch;

/// Asks everything that holds a [`Shutdown`] to stop.
#[derive(Debug)]
pub struct ShutdownTrigger(watch::Sender<bool>);

/// Tells a task when to stop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

impl ShutdownTrigger {
    /// A trigger and what it triggers.
    pub fn new() -> (ShutdownTrigger, Shutdown) {
        let (sender, receiver) = watch::channel(false);
        (ShutdownTrigger(sender), Shutdown(receiver))
    }

    /// Asks for the stop. Asking twice is the same as once.
    pub fn trigger(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Whether the stop has been asked for. A trigger that is gone counts as asked.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits until the stop is asked for.
    pub async fn requested(&self) {
        // An error means that the trigger is gone: nobody could ask any more.
        let _ = self.0.clone().wait_for(|stop| *stop).await;
    }
}
