//! How many calls at once a target bears, found by watching it. Pure: no clock of its own.
//!
//! As TCP Vegas does with packets: what one call takes while few are under way is what the target
//! needs; what it takes longer with more under way is time spent waiting there, and more calls would
//! only wait longer. So the limit grows while answers stay as quick, falls to what the target works on
//! at once when they become slow, and is halved when the target refuses (429, 503). It never exceeds
//! what is declared, and never falls below one.
//!
//! Answers are looked at in windows of some rounds, of calls that began since the limit last changed.
//! Latencies spread, and an unlucky window must cost nothing: means are of logarithms, where one slow
//! answer weighs little, a window that spreads much is a longer one, and only what lies outside of its
//! error counts.
//!
//! What a target needs for one call is known once fewer calls at once were not answered sooner: the
//! limit is halved for a window to see that, at first, and now and then where answers stay slower than
//! they were. Where they stay as quick it never is: on a target of constant latency the limit stands
//! still.

use std::time::Duration;

/// With how many calls at once it begins, if so many are declared.
const FIRST: f64 = 8.0;
/// A window has so many answers for each call allowed at once, and no fewer than the least.
const ROUNDS: f64 = 2.0;
const LEAST: f64 = 16.0;
/// It is so many times longer while its mean may be off by more than this.
const LONGER: f64 = 4.0;
const EXACT: f64 = 0.1;
/// By so many standard errors.
const SURE: f64 = 2.0;
/// What a call takes while few are under way is the mean of so many windows, once there are as many.
const POOLED: f64 = 16.0;
/// Answers quicker than this are all alike: a wait so short is no burden, and the spread of a busy
/// machine is no sign of one.
const QUICK: f64 = 0.010;
/// Answers are as quick as ever up to this factor, and slow above the other; in between nothing is
/// changed, so that the limit comes to rest.
const FLAT: f64 = 1.1;
const SLOW: f64 = 1.4;
/// While the limit has not been found it is multiplied by this for each window; later a part is added.
const SEARCH: f64 = 4.0;
const STEP: f64 = 0.125;
/// After so many windows at rest it is looked whether the target still needs as long as it did;
/// twice as many later each time that nothing has changed, up to the other number.
const REST: u32 = 16;
const LONGEST_REST: u32 = 1_024;

/// How many calls at once are allowed.
#[derive(Debug)]
pub struct Allowance {
    most: f64,
    limit: f64,
    /// Whether how long answers take is looked at.
    times: bool,
    /// The limit has met no resistance yet.
    searching: bool,
    /// What a call takes while few are under way.
    base: Option<Mean>,
    window: Window,
    /// What was before the limit was lowered: are fewer calls answered sooner?
    before: Option<Before>,
    under_way: usize,
    /// The number of the next call.
    next: u64,
    resting: u32,
    rest: u32,
}

/// The logarithm of latencies in seconds, and how far it may be off.
#[derive(Debug, Clone, Copy)]
struct Mean {
    of: f64,
    error: f64,
    /// Of how many windows.
    windows: f64,
}

#[derive(Debug, Clone, Copy)]
struct Before {
    limit: f64,
    mean: Mean,
    /// The limit was lowered for good.
    cut: bool,
}

#[derive(Debug, Default)]
struct Window {
    /// Earlier calls began under another limit.
    first: u64,
    count: f64,
    sum: f64,
    squares: f64,
    /// How often the limit was reached.
    reached: f64,
}

/// A call that was let through.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    number: u64,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The target answered after so long.
    After(Duration),
    /// The target refused it: too much at once.
    Refused,
    /// None that tells how the target bears it.
    None,
}

impl Allowance {
    /// At most so many calls at once.
    pub fn new(most: usize) -> Self {
        let most = bound(most);
        Self {
            most,
            limit: most.min(FIRST),
            times: true,
            searching: true,
            base: None,
            window: Window::default(),
            before: None,
            under_way: 0,
            next: 0,
            resting: 0,
            rest: REST,
        }
    }

    /// The same, of calls that are not alike, so that how long one takes says nothing: only refusals
    /// lower the limit.
    pub fn of_refusals(most: usize) -> Self {
        Self { times: false, limit: bound(most), ..Self::new(most) }
    }

    /// From now on at most so many.
    pub fn bound(&mut self, most: usize) {
        let most = bound(most);
        if most > self.most && self.limit >= self.most && !self.times {
            self.limit = most;
        }
        self.most = most;
        self.limit = self.limit.min(most);
    }

    /// How many calls at once are allowed now.
    pub fn limit(&self) -> usize {
        // Between 1 and a `usize`.
        self.limit as usize
    }

    /// Whether no more calls are allowed for now.
    pub fn is_full(&self) -> bool {
        self.under_way >= self.limit()
    }

    /// Lets a call through: ask [`is_full`](Self::is_full) before, and [`leave`](Self::leave) it.
    pub fn enter(&mut self) -> Call {
        self.under_way += 1;
        self.window.reached += f64::from(u8::from(self.is_full()));
        let number = self.next;
        self.next += 1;
        Call { number }
    }

    /// A call is over.
    pub fn leave(&mut self, call: Call, answer: Answer) {
        self.under_way = self.under_way.saturating_sub(1);
        // What began under another limit says nothing of this one, and is not refused twice.
        if call.number < self.window.first {
            return;
        }
        match answer {
            Answer::None => {}
            // Refused alone, it was not one too many: the target is away, or counts by the second.
            Answer::Refused if self.under_way == 0 => {}
            Answer::Refused => {
                (self.searching, self.before) = (false, None);
                self.limit_to(self.limit / 2.0);
            }
            Answer::After(took) => {
                self.window.take(took);
                if self.has_seen_enough() {
                    self.judge();
                }
            }
        }
    }

    fn has_seen_enough(&self) -> bool {
        let (count, rounds) = (self.window.count, ROUNDS * self.limit);
        if !self.times {
            return count >= rounds;
        }
        let enough = rounds.max(LEAST);
        count >= enough && (count >= enough * LONGER || self.window.mean().error <= EXACT)
    }

    fn limit_to(&mut self, limit: f64) {
        self.limit = limit.clamp(1.0, self.most);
        self.window = Window { first: self.next, ..Window::default() };
    }

    /// A window is full.
    fn judge(&mut self) {
        // At least in every second round.
        let is_used = self.window.reached * self.limit * 2.0 >= self.window.count;
        let now = self.window.mean();
        match (self.before.take(), self.base) {
            _ if !self.times => self.grow(is_used),
            (Some(before), _) if is_used => self.compare(before, now),
            (None, None) if is_used => self.look(now),
            (None, Some(base)) if is_used => self.hold(base.least(now), now),
            // The limit held nothing back: what was quicker than ever is the better measure.
            (before, base) => {
                self.base = base.map(|base| base.least(now));
                self.limit_to(before.map_or(self.limit, |before| before.limit));
            }
        }
    }

    /// Compares with what a call takes while few are under way.
    fn hold(&mut self, base: Mean, now: Mean) {
        self.base = Some(base);
        let longer = now.longer_than(base);
        if longer <= FLAT {
            self.resting = 0;
            self.base = Some(base.with(now));
            return self.grow(true);
        }
        self.searching = false;
        // What the target works on at once (Little's law), and some more to keep it busy.
        let borne = self.limit / longer;
        let borne = borne + (borne * STEP).max(1.0);
        if longer > SLOW && borne < self.limit - 0.5 {
            let is_much = borne < 0.8 * self.limit;
            self.before = is_much.then_some(Before { limit: self.limit, mean: now, cut: true });
            return self.limit_to(borne);
        }
        self.resting += 1;
        if self.resting < self.rest {
            return self.limit_to(self.limit);
        }
        self.rest = (self.rest * 2).min(LONGEST_REST);
        self.look(now);
    }

    fn grow(&mut self, is_used: bool) {
        let more = match self.searching {
            true => self.limit * SEARCH,
            false => self.limit + (self.limit * STEP).max(1.0),
        };
        self.limit_to(if is_used { more } else { self.limit });
    }

    /// Halves the limit, to see whether fewer calls are answered sooner.
    fn look(&mut self, now: Mean) {
        self.resting = 0;
        if self.limit < 2.0 {
            // Nothing of ours makes one call wait.
            self.base = Some(now);
            return self.limit_to(self.limit);
        }
        self.before = Some(Before { limit: self.limit, mean: now, cut: false });
        self.limit_to(self.limit / 2.0);
    }

    /// Whether fewer calls at once were answered sooner.
    fn compare(&mut self, before: Before, now: Mean) {
        // By half of what it would be had every call waited for the others.
        let sooner = f64::midpoint(1.0, self.limit / before.limit).ln();
        let is_sooner = now.of - before.mean.of < sooner;
        self.searching &= !is_sooner;
        match (is_sooner, before.cut, self.base) {
            // How many are still too many is not known.
            (true, false, None) => self.look(now),
            (true, true, Some(base)) => {
                self.base = Some(base.least(now));
                self.limit_to(self.limit);
            }
            // The target needs as long as this for one, whatever is under way.
            _ => {
                self.base = Some(now);
                self.limit_to(before.limit);
                if self.searching {
                    self.grow(true);
                }
            }
        }
    }
}

fn bound(most: usize) -> f64 {
    most.clamp(1, 1 << 32) as f64
}

impl Window {
    fn take(&mut self, took: Duration) {
        let of = took.as_secs_f64().max(QUICK).ln();
        self.count += 1.0;
        self.sum += of;
        self.squares += of * of;
    }

    fn mean(&self) -> Mean {
        let of = self.sum / self.count;
        let variance = (self.squares / self.count - of * of).max(0.0);
        Mean { of, error: SURE * (variance / self.count).sqrt(), windows: 1.0 }
    }
}

impl Mean {
    /// How many times longer this one is, beyond what may be chance; 1 where it is not.
    fn longer_than(self, other: Mean) -> f64 {
        (self.of - other.of - self.error - other.error).max(0.0).exp()
    }

    /// The other one, if it is surely less.
    fn least(self, other: Mean) -> Mean {
        if other.of + other.error < self.of - self.error { other } else { self }
    }

    /// Together with another window of the same.
    fn with(self, other: Mean) -> Mean {
        let windows = self.windows.min(POOLED - 1.0);
        let pooled = |one: f64, other: f64| (one * windows + other) / (windows + 1.0);
        let error = (self.error * windows).hypot(other.error) / (windows + 1.0);
        Mean { of: pooled(self.of, other.of), error, windows: windows + 1.0 }
    }
}

#[cfg(test)]
mod tests;
