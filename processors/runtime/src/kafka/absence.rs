//! A member that its group does not take back.

use std::time::Duration;

use crate::Fault;
use crate::clock::Moment;

/// How often it is looked whether this is a member of its group.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// A rebalance may last as long as the slowest member may take to poll (`max.poll.interval.ms`): one
/// that is no member for longer, while the brokers answer, has lost its way and begins anew.
const TOO_LONG: Duration = Duration::from_secs(90);

/// Since when this is no member of its group although the brokers answer.
#[derive(Debug, Default)]
pub(super) struct Absence {
    looked: Option<Moment>,
    since: Option<Moment>,
}

impl Absence {
    /// Looks now and then. `is_member` asks, at some cost, and gives nothing while the brokers do not
    /// answer.
    ///
    /// # Errors
    /// A `Remote` fault once it has lasted too long.
    pub fn look(
        &mut self,
        now: Moment,
        is_member: impl FnOnce() -> Option<bool>,
    ) -> Result<(), Fault> {
        if self.looked.is_some_and(|last| now.since(last) < LOOK_INTERVAL) {
            return Ok(());
        }
        self.looked = Some(now);
        if is_member() != Some(false) {
            self.since = None;
            return Ok(());
        }
        self.since.get_or_insert(now);
        match self.is_over() {
            false => Ok(()),
            true => Err(Fault::remote(
                "no_member",
                format!(
                    "The group has not taken this member back for {} s although brokers answer; it joins anew.",
                    self.lasted().as_secs()
                ),
            )),
        }
    }

    /// How long it had lasted when it was last looked.
    fn lasted(&self) -> Duration {
        self.since.zip(self.looked).map_or(Duration::ZERO, |(since, looked)| looked.since(since))
    }

    /// Whether it has lasted too long.
    pub fn is_over(&self) -> bool {
        self.lasted() >= TOO_LONG
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1_000)
    }

    #[test]
    fn who_is_not_taken_back_for_long_begins_anew() {
        let mut absence = Absence::default();
        for second in (1..=90).step_by(5) {
            assert_eq!(absence.look(at(second), || Some(false)), Ok(()), "{second}");
        }
        let fault = absence.look(at(91), || Some(false)).unwrap_err();
        assert_eq!(fault.cause, "no_member");
        assert!(absence.is_over());
    }

    #[test]
    fn time_without_brokers_and_time_as_a_member_do_not_count() {
        for interruption in [None, Some(true)] {
            let mut absence = Absence::default();
            absence.look(at(1), || Some(false)).unwrap();
            absence.look(at(60), || interruption).unwrap();
            absence.look(at(100), || Some(false)).unwrap();
            absence.look(at(184), || Some(false)).unwrap();
            absence.look(at(190), || Some(false)).unwrap_err();
        }
    }

    #[test]
    fn it_does_not_ask_all_the_time() {
        let mut absence = Absence::default();
        absence.look(at(1), || Some(true)).unwrap();
        absence.look(at(5), || unreachable!("asked again after 4 s")).unwrap();
    }
}
