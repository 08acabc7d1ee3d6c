//! The breaker: when nothing succeeds, the route waits and probes with one event.
//!
//! It opens when several events fail and none succeeds between them, when the target refuses the
//! whole route (401, 403, 410), or when it asks for a pause (`Retry-After`). A few events that fail
//! for themselves open nothing: the others are not to wait for them. Pure: times are given.

use std::collections::HashSet;
use std::time::Duration;

use super::backoff;
use crate::clock::Moment;
use crate::runtime::Backoff;
use crate::{Fault, Retry};

/// So many events that fail, and nothing that succeeds between them, and the route waits.
const EVENTS: usize = 5;
/// Less than this many failures in a row are not worth an operator's attention.
const NOTABLE: u32 = 3;

#[derive(Debug)]
pub struct Breaker {
    backoff: Backoff,
    /// Failures since something last succeeded.
    failures: u32,
    /// The events that failed since then, no more of them than it takes.
    events: HashSet<(i32, i64)>,
    reason: String,
    open: Option<Open>,
    /// Nothing is sent before, whatever succeeds: the target asked for it.
    not_before: Moment,
}

#[derive(Debug)]
struct Open {
    since: Moment,
    probes: u32,
    until: Moment,
    probing: bool,
}

/// Whether events may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// All of them.
    All,
    /// One, to see whether the target is back.
    Probe,
    /// None before this moment.
    Until(Moment),
    /// None until the probe is answered.
    Probing,
}

impl Breaker {
    pub fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            failures: 0,
            events: HashSet::new(),
            reason: String::new(),
            open: None,
            not_before: Moment::default(),
        }
    }

    pub fn gate(&self, now: Moment) -> Gate {
        match &self.open {
            None => Gate::All,
            Some(open) if open.probing => Gate::Probing,
            Some(open) if now < open.until.max(self.not_before) => {
                Gate::Until(open.until.max(self.not_before))
            }
            Some(_) => Gate::Probe,
        }
    }

    /// A probe is on its way.
    pub fn probe(&mut self) {
        if let Some(open) = &mut self.open {
            open.probing = true;
        }
    }

    /// The probe was not sent after all.
    pub fn unprobe(&mut self) {
        if let Some(open) = &mut self.open {
            open.probing = false;
        }
    }

    /// An event was taken by the target, or refused for its own sake: the target works. Tells how
    /// long the route has waited, if it waited until now.
    pub fn succeeded(&mut self, now: Moment) -> Option<Duration> {
        if self.open.is_some() && now < self.not_before {
            self.unprobe();
            return None;
        }
        self.failures = 0;
        self.events.clear();
        self.open.take().map(|open| now.since(open.since))
    }

    /// An event failed through no fault of its own.
    pub fn failed(&mut self, now: Moment, event: (i32, i64), fault: &Fault) {
        self.failures = self.failures.saturating_add(1);
        if self.events.len() < EVENTS {
            self.events.insert(event);
        }
        self.reason.clone_from(&fault.message);
        if let Retry::After(wait) = fault.retry {
            self.not_before = self.not_before.max(now.plus(backoff::at_least(wait)));
        }
        let whole_route = matches!(fault.retry, Retry::Route | Retry::After(_));
        match &mut self.open {
            Some(open) if open.probing => {
                (open.probing, open.probes) = (false, open.probes.saturating_add(1));
                open.until = now.plus(backoff::wait(self.backoff, open.probes));
            }
            Some(_) => {}
            None if whole_route || self.events.len() >= EVENTS => {
                let until = now.plus(backoff::wait(self.backoff, 1));
                self.open = Some(Open { since: now, probes: 1, until, probing: false });
            }
            None => {}
        }
    }

    /// Whether the route waits as a whole.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Why the route gets nowhere, and how long until it tries again if it waits as a whole.
    pub fn waiting(&self, now: Moment) -> Option<(String, Option<Duration>)> {
        match &self.open {
            Some(open) => {
                let until = open.until.max(self.not_before);
                Some((self.reason.clone(), Some(until.since(now))))
            }
            None if self.failures >= NOTABLE => Some((self.reason.clone(), None)),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff =
        Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(8) };
    const START: Moment = Moment::from_millis(1_000_000);

    fn after(seconds: u64) -> Moment {
        START.plus(Duration::from_secs(seconds))
    }

    fn down() -> Fault {
        Fault::remote("http_503", "the target answers 503")
    }

    #[test]
    fn it_opens_when_several_events_fail_and_closes_when_the_probe_succeeds() {
        let mut breaker = Breaker::new(BACKOFF);
        (0..4).for_each(|offset| breaker.failed(START, (0, offset), &down()));
        assert_eq!(breaker.gate(START), Gate::All);
        breaker.failed(START, (0, 4), &down());
        assert!(matches!(breaker.gate(START), Gate::Until(_)));
        assert_eq!(breaker.gate(after(1)), Gate::Probe);
        breaker.probe();
        assert_eq!(breaker.gate(after(1)), Gate::Probing);
        breaker.failed(after(1), (0, 4), &down());
        assert!(matches!(breaker.gate(after(1)), Gate::Until(until) if until > after(1)));
        assert_eq!(breaker.gate(after(3)), Gate::Probe);
        breaker.probe();
        assert_eq!(breaker.succeeded(after(3)), Some(Duration::from_secs(3)));
        assert_eq!((breaker.gate(after(3)), breaker.waiting(after(3))), (Gate::All, None));
    }

    #[test]
    fn a_few_events_that_fail_for_themselves_hold_up_nobody() {
        let mut breaker = Breaker::new(BACKOFF);
        (0..100).for_each(|time| breaker.failed(START, (0, time % 4), &down()));
        assert_eq!(breaker.gate(START), Gate::All);
        assert!(breaker.waiting(START).is_some(), "but the operator sees it");
    }

    #[test]
    fn a_refusal_of_the_route_opens_it_at_once() {
        let mut breaker = Breaker::new(BACKOFF);
        breaker.failed(START, (0, 7), &Fault::refused("http_401", "the key is refused"));
        assert!(matches!(breaker.gate(START), Gate::Until(_)));
        assert_eq!(breaker.waiting(START).unwrap().0, "the key is refused");
    }

    #[test]
    fn nothing_is_sent_before_the_time_the_target_asked_for_whatever_else_succeeds() {
        let mut breaker = Breaker::new(BACKOFF);
        breaker.failed(START, (0, 7), &down().after(Duration::from_secs(30)));
        assert_eq!(breaker.succeeded(after(1)), None, "one that was already on its way");
        assert!(matches!(breaker.gate(after(29)), Gate::Until(until) if until >= after(30)));
        assert_eq!(breaker.gate(after(33)), Gate::Probe);
        breaker.probe();
        assert!(breaker.succeeded(after(33)).is_some());
    }
}
