//! How long to wait between tries.

use std::time::Duration;

use rand::Rng as _;

use crate::runtime::Backoff;

/// The wait after `failures` failures in a row (1 or more): doubled each time, then anywhere
/// between half of it and all of it, so that what failed together does not return together.
pub fn wait(backoff: Backoff, failures: u32) -> Duration {
    jittered(backoff, failures, rand::rng().random())
}

fn jittered(backoff: Backoff, failures: u32, random: f64) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(20));
    let full = backoff.initial.saturating_mul(doubled).min(backoff.max);
    full.mul_f64(0.5 + random / 2.0)
}

/// A wait that someone asked for, never shortened: up to a tenth is added.
pub fn at_least(wait: Duration) -> Duration {
    wait.saturating_add((wait / 10).mul_f64(rand::rng().random()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff =
        Backoff { initial: Duration::from_millis(500), max: Duration::from_secs(60) };

    #[test]
    fn the_wait_doubles_up_to_its_limit_and_keeps_half_of_itself() {
        for (failures, full) in [(1, 500), (2, 1_000), (4, 4_000), (8, 60_000), (1_000, 60_000)] {
            let full = Duration::from_millis(full);
            assert_eq!(jittered(BACKOFF, failures, 1.0), full);
            assert_eq!(jittered(BACKOFF, failures, 0.0), full / 2);
        }
    }

    #[test]
    fn what_the_target_asked_for_is_never_shortened() {
        for _ in 0..100 {
            let wait = at_least(Duration::from_secs(10));
            assert!(wait >= Duration::from_secs(10) && wait <= Duration::from_secs(11));
        }
        assert!(at_least(Duration::MAX) == Duration::MAX);
    }
}
