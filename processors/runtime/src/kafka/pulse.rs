//! Whether this process may still act for the partitions it holds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::cluster::SESSION_MILLIS;
use crate::clock::Moment;

/// The consumer thread's sign of life. A process that was stopped (SIGSTOP, a suspended machine) for
/// a session may have lost its partitions without knowing: it starts nothing until the group has
/// confirmed that they are still its own.
#[derive(Debug)]
pub struct Pulse {
    last: AtomicU64,
    confirmed: AtomicBool,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { last: AtomicU64::new(Moment::now().millis()), confirmed: AtomicBool::new(true) }
    }
}

impl Pulse {
    /// The consumer thread lives. Returns false when it was away for a session, or the group has
    /// not confirmed the assignment since: then [`confirm`](Self::confirm) it.
    pub fn beat(&self) -> bool {
        let now = Moment::now();
        let last = Moment::from_millis(self.last.load(Ordering::Acquire));
        if now.since(last) >= Duration::from_millis(SESSION_MILLIS) {
            // Before the new beat is seen, so that nobody acts in between.
            self.confirmed.store(false, Ordering::Release);
        }
        self.last.store(now.millis(), Ordering::Release);
        self.confirmed.load(Ordering::Acquire)
    }

    /// The group may have given the partitions to another: nothing is started before it confirms
    /// them.
    pub fn doubt(&self) {
        self.confirmed.store(false, Ordering::Release);
    }

    /// The group has confirmed the assignment.
    pub fn confirm(&self) {
        self.confirmed.store(true, Ordering::Release);
    }

    /// Whether a new call of the target may be started now.
    pub fn is_alive(&self) -> bool {
        let last = Moment::from_millis(self.last.load(Ordering::Acquire));
        let fresh = Moment::now().since(last) < Duration::from_millis(SESSION_MILLIS);
        fresh && self.confirmed.load(Ordering::Acquire)
    }

    #[cfg(test)]
    fn stop_for(&self, time: Duration) {
        let last = self.last.load(Ordering::Acquire);
        let before = last.saturating_sub(u64::try_from(time.as_millis()).unwrap_or(0));
        self.last.store(before, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_woken_after_a_session_starts_nothing_before_the_group_confirms_it() {
        let pulse = Pulse::default();
        assert!(pulse.beat() && pulse.is_alive());
        pulse.stop_for(Duration::from_secs(7));
        assert!(!pulse.is_alive());
        assert!(!pulse.beat());
        assert!(!pulse.is_alive(), "a beat alone confirms nothing");
        pulse.confirm();
        assert!(pulse.is_alive());
    }
}
