//! The two clocks: one for lengths of time, one for dates.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point on the boot clock. It goes on while the machine sleeps and while this process is stopped
/// (SIGSTOP), and no administrator can set it back: what retries, sessions and time-outs need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(u64);

impl Moment {
    /// The moment that it is.
    pub fn now() -> Self {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let millis = time.tv_sec.unsigned_abs() * 1_000 + time.tv_nsec.unsigned_abs() / 1_000_000;
        Self(millis)
    }

    /// The moment this many milliseconds after the clock's zero.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the clock's zero.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// The time since an earlier moment; nothing if it is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The moment this much later.
    #[must_use]
    pub fn plus(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// The date, in milliseconds since the Unix epoch.
pub fn unix_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_goes_forward() {
        let before = Moment::now();
        std::thread::sleep(Duration::from_millis(5));
        assert!(Moment::now().since(before) >= Duration::from_millis(4));
        assert_eq!(before.since(before.plus(Duration::from_secs(1))), Duration::ZERO);
    }
}
