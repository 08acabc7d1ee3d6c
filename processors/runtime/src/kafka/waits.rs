//! librdkafka's timed waits, on a clock that nobody sets.
//!
//! Built with C11's threads, librdkafka waits until a date: `cnd_timedwait` knows no other clock. When
//! the machine's clock is set back by minutes in the middle, a wait of milliseconds takes those minutes
//! more, and a client that is being closed hangs for as long. Here the time that is left until the date
//! is waited for on the monotonic clock. What is linked statically finds this definition before the C
//! library's; glibc's C11 objects are its POSIX ones under other names, and its answers are these.

#![expect(unsafe_code, reason = "it stands in for a function of the C library")]

use std::ffi::{c_int, c_long, c_void};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

const SUCCESS: c_int = 0;
const ERROR: c_int = 2;
const TIMED_OUT: c_int = 4;
/// Linux's `ETIMEDOUT` and `CLOCK_MONOTONIC`.
const TIMEDOUT: c_int = 110;
const MONOTONIC: c_int = 1;

/// `struct timespec`.
#[repr(C)]
struct Time {
    seconds: i64,
    nanoseconds: c_long,
}

unsafe extern "C" {
    /// glibc 2.30 and later.
    fn pthread_cond_clockwait(
        condition: *mut c_void,
        mutex: *mut c_void,
        clock: c_int,
        until: *const Time,
    ) -> c_int;
}

/// The time from now until a date; none if it is past.
fn left(date: &Time) -> Duration {
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    let date =
        Duration::from_secs(part(date.seconds)) + Duration::from_nanos(part(date.nanoseconds));
    date.saturating_sub(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// C11's `cnd_timedwait`.
///
/// # Safety
/// As C11 has it: an initialised condition, its mutex, locked by this thread, and a time.
#[unsafe(no_mangle)]
unsafe extern "C" fn cnd_timedwait(
    condition: *mut c_void,
    mutex: *mut c_void,
    date: *const Time,
) -> c_int {
    let now = clock_gettime(ClockId::Monotonic);
    // SAFETY: the caller gives a time.
    let left = left(unsafe { &*date });
    let (seconds, nanoseconds) = (left.as_secs().cast_signed(), i64::from(left.subsec_nanos()));
    let nanoseconds = now.tv_nsec.saturating_add(nanoseconds);
    let until = Time {
        seconds: now.tv_sec.saturating_add(seconds).saturating_add(nanoseconds / 1_000_000_000),
        nanoseconds: nanoseconds % 1_000_000_000,
    };
    // SAFETY: the caller's condition and mutex, which are the POSIX ones; the time outlives the call.
    match unsafe { pthread_cond_clockwait(condition, mutex, MONOTONIC, &until) } {
        0 => SUCCESS,
        TIMEDOUT => TIMED_OUT,
        _ => ERROR,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    unsafe extern "C" {
        fn mtx_init(mutex: *mut c_void, kind: c_int) -> c_int;
        fn mtx_lock(mutex: *mut c_void) -> c_int;
        fn cnd_init(condition: *mut c_void) -> c_int;
    }

    #[test]
    fn a_wait_takes_the_time_that_is_left_until_its_date() {
        let (mut condition, mut mutex) = ([0_u64; 16], [0_u64; 16]);
        let (condition, mutex) = (condition.as_mut_ptr().cast(), mutex.as_mut_ptr().cast());
        // SAFETY: both objects are larger than C's, aligned as they are, and initialised first.
        let wait = |length: Duration| unsafe {
            let date = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + length;
            let seconds = i64::try_from(date.as_secs()).unwrap();
            let date = Time { seconds, nanoseconds: date.subsec_nanos().into() };
            let started = Instant::now();
            (cnd_timedwait(condition, mutex, &date), started.elapsed())
        };
        // SAFETY: as above.
        unsafe {
            assert_eq!((mtx_init(mutex, 0), cnd_init(condition), mtx_lock(mutex)), (0, 0, 0));
        }
        let (answer, took) = wait(Duration::from_millis(120));
        assert_eq!(answer, TIMED_OUT);
        assert!((Duration::from_millis(115)..Duration::from_secs(30)).contains(&took), "{took:?}");
        assert_eq!(wait(Duration::ZERO).0, TIMED_OUT);
    }
}
