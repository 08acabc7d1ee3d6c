//! Waiting for something to happen, for a bounded time.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long anything that must happen may take on a slow, busy machine: a bound on liveness, no
/// measure of speed.
pub const GENEROUS: Duration = Duration::from_secs(180);

const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Looks again and again until there is something to see.
///
/// # Panics
/// If there is nothing [`GENEROUS`] later: `what` says what was waited for.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + GENEROUS;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited {GENEROUS:?} in vain: {what}");
        thread::sleep(BETWEEN_LOOKS);
    }
}
