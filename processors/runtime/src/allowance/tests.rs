//! Targets that are simulated: what they bear is known, and whether it is found is seen.

use std::collections::BinaryHeap;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;

/// A target that works on so many calls at once and lets others wait, or refuses them.
#[derive(Clone, Copy)]
struct Target {
    at_once: usize,
    /// Seconds that a call takes.
    takes: f64,
    /// By which factor that varies, up or down.
    spread: f64,
    refuses: bool,
}

/// What a run of some seconds came to.
struct Run {
    /// Answers a second in the second half.
    rate: f64,
    /// The limits that were in force in the second half, each once in a row.
    limits: Vec<usize>,
    refused: usize,
    most_under_way: usize,
}

#[derive(PartialEq)]
struct Ending {
    at: f64,
    began: f64,
    number: u64,
    refused: bool,
}

impl Eq for Ending {}
impl PartialOrd for Ending {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Ending {
    /// The earliest is the greatest.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.at.total_cmp(&self.at).then(other.number.cmp(&self.number))
    }
}

/// Calls without end, as many at once as are allowed; `change` is the target from the middle on.
fn run(allowance: &mut Allowance, target: Target, change: Target, seconds: f64) -> Run {
    let mut random = StdRng::seed_from_u64(7);
    let mut calls = std::collections::HashMap::new();
    let mut endings = BinaryHeap::new();
    let mut free: Vec<f64> = Vec::new();
    let mut now = 0.0;
    let mut run = Run { rate: 0.0, limits: Vec::new(), refused: 0, most_under_way: 0 };
    let mut working = 0;
    while now < seconds {
        let target = if now < seconds / 4.0 { target } else { change };
        // Where nothing waits, whoever works on it needs no keeping.
        free.resize(if target.at_once == ENDLESS { 0 } else { target.at_once }, now);
        while !allowance.is_full() {
            let call = allowance.enter();
            let refused = target.refuses && working >= target.at_once;
            let spread = target.spread.ln();
            let took = target.takes * (random.random_range(-1.0..=1.0) * spread).exp();
            let slot = free.iter_mut().min_by(|a, b| a.total_cmp(b));
            let at = match slot {
                _ if refused => now + 0.001,
                Some(slot) => {
                    *slot = slot.max(now) + took;
                    *slot
                }
                None => now + took,
            };
            working += usize::from(!refused);
            endings.push(Ending { at, began: now, number: call.number, refused });
            calls.insert(call.number, call);
        }
        run.most_under_way = run.most_under_way.max(calls.len());
        let ending = endings.pop().unwrap();
        now = ending.at;
        let call = calls.remove(&ending.number).unwrap();
        let took = Duration::from_secs_f64(now - ending.began);
        allowance.leave(call, if ending.refused { Answer::Refused } else { Answer::After(took) });
        run.refused += usize::from(ending.refused);
        working -= usize::from(!ending.refused);
        if now > seconds / 2.0 {
            run.rate += f64::from(u8::from(!ending.refused)) / (seconds / 2.0);
            if run.limits.last() != Some(&allowance.limit()) {
                run.limits.push(allowance.limit());
            }
        }
    }
    run
}

/// Answers a second with so many calls at once, none of which waits.
fn borne(at_once: usize, Target { takes, spread, .. }: Target) -> f64 {
    // The mean of a factor whose logarithm lies anywhere between those of 1 / spread and spread.
    let mean = if spread > 1.0 { (spread - 1.0 / spread) / (2.0 * spread.ln()) } else { 1.0 };
    at_once as f64 / (takes * mean)
}

fn enter(allowance: &mut Allowance) -> Option<Call> {
    (!allowance.is_full()).then(|| allowance.enter())
}

fn steady(most: usize, target: Target) -> Run {
    run(&mut Allowance::new(most), target, target, 200.0)
}

/// Of a target where nothing ever waits.
const ENDLESS: usize = usize::MAX;

const QUEUE: Target = Target { at_once: 10, takes: 0.1, spread: 1.0, refuses: false };

#[test]
fn what_a_target_works_on_at_once_is_found() {
    for at_once in [1, 2, 3, 10, 30] {
        // The more the answers spread, the more it takes to tell.
        for (spread, factor) in [(1.0, 1.5), (1.3, 1.5), (2.0, 3.0)] {
            let run = steady(200, Target { at_once, spread, ..QUEUE });
            let shown = format!("{at_once}, spread {spread}: {:?}, {:.1}/s", run.limits, run.rate);
            let most = *run.limits.iter().max().unwrap();
            let allowed = at_once as f64 * factor + 2.0;
            assert!(most as f64 <= allowed, "{shown}");
            let whole = borne(at_once, Target { spread, ..QUEUE });
            assert!(run.rate >= 0.95 * whole, "{shown} of {whole}/s");
        }
    }
}

#[test]
fn on_a_target_of_constant_latency_the_limit_is_what_is_declared_and_stands_still() {
    for (most, spread) in [(1, 1.0), (8, 1.0), (8, 1.5), (64, 1.0), (64, 2.0), (200, 1.3)] {
        let run = steady(most, Target { at_once: ENDLESS, spread, ..QUEUE });
        assert_eq!(run.limits, [most], "spread {spread}");
    }
}

#[test]
fn answers_that_spread_much_cost_next_to_nothing() {
    for most in [2, 8, 64] {
        let target = Target { at_once: ENDLESS, spread: 5.0, ..QUEUE };
        let rate = steady(most, target).rate;
        let whole = borne(most, target);
        assert!(rate >= 0.95 * whole, "{most}: {rate} of {whole}");
    }
}

#[test]
fn the_limit_is_reached_within_a_few_rounds() {
    let mut allowance = Allowance::new(64);
    let target = Target { at_once: ENDLESS, takes: 0.05, ..QUEUE };
    run(&mut allowance, target, target, 0.6);
    assert_eq!(allowance.limit(), 64);
}

#[test]
fn a_target_that_slows_down_whatever_is_under_way_keeps_its_calls() {
    let slower = Target { at_once: ENDLESS, takes: 0.4, ..QUEUE };
    let quicker = Target { at_once: ENDLESS, takes: 0.1, ..QUEUE };
    for (before, after) in [(quicker, slower), (slower, quicker)] {
        let run = run(&mut Allowance::new(32), before, after, 300.0);
        assert_eq!(run.limits, [32]);
    }
}

#[test]
fn a_target_that_bears_more_or_less_than_before_is_followed() {
    let (few, many) = (Target { at_once: 5, ..QUEUE }, Target { at_once: 40, ..QUEUE });
    let more = run(&mut Allowance::new(100), few, many, 600.0);
    assert!(more.limits.iter().all(|limit| (20..=60).contains(limit)), "{:?}", more.limits);
    let fewer = run(&mut Allowance::new(100), many, few, 600.0);
    assert!(fewer.limits.iter().all(|limit| (2..=8).contains(limit)), "{:?}", fewer.limits);
}

#[test]
fn a_target_that_refuses_is_asked_less() {
    let run = steady(100, Target { refuses: true, ..QUEUE });
    let shown = format!("{:?}, {:.1}/s, {} refused", run.limits, run.rate, run.refused);
    assert!(run.limits.iter().all(|limit| (4..=12).contains(limit)), "{shown}");
    // 100/s are borne.
    assert!(run.rate > 65.0 && run.refused < 700, "{shown}");
}

#[test]
fn quick_answers_are_all_alike() {
    // A busy machine: ten times slower, and nobody waits.
    let run = steady(32, Target { at_once: 3, takes: 0.000_5, ..QUEUE });
    assert_eq!(run.limits, [32]);
}

#[test]
fn no_more_are_under_way_than_are_allowed_and_one_always_is() {
    for seed in 0..100 {
        let mut random = StdRng::seed_from_u64(seed);
        let most = random.random_range(1..40);
        let mut allowance = Allowance::new(most);
        let mut under_way = Vec::new();
        for _ in 0..3_000 {
            if random.random_bool(0.6) {
                under_way.extend(enter(&mut allowance));
            } else if !under_way.is_empty() {
                let call = under_way.swap_remove(random.random_range(0..under_way.len()));
                let took = Duration::from_millis(random.random_range(0..2_000));
                let answers =
                    [Answer::After(took), Answer::After(took), Answer::Refused, Answer::None];
                allowance.leave(call, answers[random.random_range(0..4)]);
            }
            assert!(under_way.len() <= most, "seed {seed}");
            assert!((1..=most).contains(&allowance.limit()), "seed {seed}");
        }
        under_way.into_iter().for_each(|call| allowance.leave(call, Answer::None));
        assert!(!allowance.is_full(), "seed {seed}");
    }
}

#[test]
fn a_refusal_of_what_was_under_way_together_counts_once() {
    let mut allowance = Allowance::of_refusals(16);
    let calls: Vec<_> = std::iter::from_fn(|| enter(&mut allowance)).collect();
    assert_eq!(calls.len(), 16);
    calls.into_iter().for_each(|call| allowance.leave(call, Answer::Refused));
    assert_eq!(allowance.limit(), 8);
    for _ in 0..60 {
        let calls: Vec<_> = std::iter::from_fn(|| enter(&mut allowance)).collect();
        let soon = Answer::After(Duration::from_millis(1));
        calls.into_iter().for_each(|call| allowance.leave(call, soon));
    }
    assert_eq!(allowance.limit(), 16, "and it grows again");
}

#[test]
fn a_call_that_is_refused_alone_was_not_one_too_many() {
    let mut allowance = Allowance::new(8);
    for _ in 0..10 {
        let probe = allowance.enter();
        allowance.leave(probe, Answer::Refused);
    }
    assert_eq!(allowance.limit(), 8);
}

#[test]
fn what_is_declared_may_change() {
    let mut allowance = Allowance::of_refusals(6);
    allowance.bound(2);
    assert_eq!(allowance.limit(), 2);
    allowance.bound(5);
    assert_eq!(allowance.limit(), 5);
}
