//! Gates whose instances share what an application allows. Rates are measured in simulated time.

use engine::share::Shares;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;

fn gate(per_second: u16, concurrent: u16) -> Arc<Gate> {
    Arc::new(Gate::new(Limits {
        per_second: NonZeroU16::new(per_second),
        concurrent: NonZeroU16::new(concurrent),
    }))
}

/// A gate with one route, which is wholly this instance's.
fn own(per_second: u16, concurrent: u16) -> (Arc<Gate>, Arc<Share>) {
    let (gate, route) = (gate(per_second, concurrent), Arc::default());
    gate.add(&route);
    (gate, route)
}

fn assign(route: &Share, partitions: &[i32], of: i32) {
    route.clear();
    route.gain(partitions, of);
}

async fn is_full(gate: &Arc<Gate>) -> bool {
    timeout(Duration::from_millis(350), gate.enter()).await.is_err()
}

/// An instance whose requests always wait, in simulated time.
struct Instance {
    gate: Arc<Gate>,
    route: Arc<Share>,
    pace: Pace,
    sent: usize,
}

impl Instance {
    fn of(per_second: u16) -> Self {
        let (gate, route) = own(per_second, 0);
        route.clear();
        Self { gate, route, pace: Pace::default(), sent: 0 }
    }

    /// A millisecond.
    fn tick(&mut self, now: Instant) {
        let rate = f64::from(self.gate.limits.per_second.unwrap().get()) * self.gate.part();
        while self.pace.wait(now, rate).is_none() {
            self.sent += 1;
        }
    }

    /// How many are sent within so many seconds.
    fn run(&mut self, start: Instant, seconds: u64) -> usize {
        let before = self.sent;
        (1..=seconds * 1_000).for_each(|tick| self.tick(start + Duration::from_millis(tick)));
        self.sent - before
    }
}

#[tokio::test]
async fn requests_are_spread_over_the_second() {
    let (gate, _route) = own(100, 0);
    let start = Instant::now();
    for _ in 0..21 {
        gate.enter().await;
    }
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[test]
fn what_was_not_used_is_not_made_up_for() {
    let start = Instant::now();
    let mut pace = Pace::default();
    assert!(pace.wait(start, 10.0).is_none());
    let later = start + Duration::from_secs(60);
    assert!(pace.wait(later, 10.0).is_none());
    // But for a timer's lateness.
    let next = pace.wait(later, 10.0).unwrap() - later;
    assert!(next >= Duration::from_millis(94) && next <= Duration::from_millis(100), "{next:?}");
}

#[test]
fn what_another_has_just_given_up_is_not_due_at_once() {
    let start = Instant::now();
    let mut pace = Pace::default();
    assert!(pace.wait(start, 1.0).is_none());
    // A second of which nothing was ours.
    assert!(pace.wait(start, 0.0).is_some());
    let later = start + Duration::from_secs(1);
    assert!(pace.wait(later, 10.0).is_some());
    assert!(pace.wait(later + Duration::from_millis(100), 10.0).is_none());
}

#[test]
fn an_instance_takes_its_part_of_the_rate_also_below_one_a_second() {
    let start = Instant::now();
    for (per_second, held, of, expected) in
        [(10, 10, 10, 600), (10, 5, 10, 300), (10, 1, 12, 50), (1, 1, 6, 10), (10, 0, 6, 0)]
    {
        let mut instance = Instance::of(per_second);
        let partitions: Vec<i32> = (0..held).collect();
        instance.route.gain(&partitions, of);
        let count = instance.run(start, 60);
        assert!((expected..=expected + 1).contains(&count), "{held} of {of}: {count}");
    }
}

#[tokio::test]
async fn a_request_that_waits_follows_a_rebalance() {
    for held in [&[][..], &[0]] {
        let (gate, route) = own(1, 0);
        drop(gate.enter().await);
        // The next one is due in 100 seconds, or never.
        assign(&route, held, 100);
        assert!(timeout(Duration::from_millis(1_200), gate.enter()).await.is_err());
        let waiting = tokio::spawn(async move { gate.enter().await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!waiting.is_finished());
        route.own();
        timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    }
}

/// Instances that come and go, over simulated minutes: what all send never exceeds the limit by more
/// than the one request that each may have at once.
#[test]
fn all_instances_together_stay_below_the_limit_while_partitions_wander() {
    for seed in 0..30 {
        let mut random = StdRng::seed_from_u64(seed);
        let (per_second, of) = (random.random_range(1..40), random.random_range(1..16));
        let start = Instant::now();
        let many = random.random_range(1..5);
        let mut instances: Vec<_> = (0..many).map(|_| Instance::of(per_second)).collect();
        let mut owners = Vec::new();
        for partition in 0..of {
            owners.push(random.random_range(0..many));
            instances[owners[partition as usize]].route.gain(&[partition], of);
        }
        let mut seconds = vec![0];
        for tick in 1..=60_000 {
            instances.iter_mut().for_each(|one| one.tick(start + Duration::from_millis(tick)));
            if random.random_bool(0.002) {
                let partition = random.random_range(0..of);
                let owner = &mut owners[partition as usize];
                instances[*owner].route.lose(&[partition]);
                *owner = random.random_range(0..many);
                instances[*owner].route.gain(&[partition], of);
            }
            if tick % 1_000 == 0 {
                seconds.push(instances.iter().map(|one| one.sent).sum());
            }
        }
        let shown = format!("seed {seed}: {per_second}/s, {many} instances: {seconds:?}");
        let limit = usize::from(per_second);
        for span in [1, 5, 60] {
            let most = |pair: &[usize]| pair[span] - pair[0] <= limit * span + many;
            assert!(seconds.windows(span + 1).all(most), "{shown}");
        }
        assert!(seconds[60] * 10 >= limit * 60 * 8, "{shown}");
    }
}

#[test]
fn routes_of_one_connection_share_it_and_use_what_others_leave() {
    let (gate, shares) = (gate(12, 0), Shares::default());
    let [orders, mails] = ["shop/orders", "shop/mails"].map(|name| shares.of(name));
    [&orders, &mails, &orders].into_iter().for_each(|route| gate.add(route));
    let is = |expected: f64| (gate.part() - expected).abs() < 1e-9;
    assert!(is(1.0), "both are wholly ours");
    assign(&orders, &[0, 1], 4);
    mails.clear();
    assert!(is(0.25), "half of one, nothing of the other");
    drop(mails);
    assert!(is(0.5), "its route is gone");
}

#[tokio::test]
async fn no_more_than_so_many_are_under_way() {
    let (gate, _route) = own(0, 2);
    let first = gate.enter().await;
    let _second = gate.enter().await;
    assert!(is_full(&gate).await, "the third waits");
    drop(first);
    assert!(!is_full(&gate).await);
}

#[tokio::test]
async fn what_is_allowed_at_once_is_shared_as_well_and_one_is_always_allowed() {
    let (gate, route) = own(0, 6);
    for (partitions, expected) in [(&[0, 1, 2][..], 3), (&[0, 1, 2, 3, 4], 5), (&[0], 1), (&[], 1)]
    {
        assign(&route, partitions, 6);
        let mut under_way = Vec::new();
        while let Ok(one) = timeout(Duration::from_millis(150), gate.enter()).await {
            under_way.push(one);
        }
        assert_eq!(under_way.len(), expected);
    }
}

#[tokio::test]
async fn refusals_hold_nothing_back_where_no_number_at_once_is_declared() {
    let (gate, _route) = own(0, 0);
    for _ in 0..50 {
        let _first = gate.enter().await;
        gate.enter().await.told(429);
    }
    let mut many = Vec::new();
    for _ in 0..100 {
        many.push(gate.enter().await);
    }
    assert!(!is_full(&gate).await);
}

#[tokio::test]
async fn less_is_under_way_while_the_application_refuses() {
    let (gate, _route) = own(0, 4);
    async fn told(gate: &Arc<Gate>, status: u16) {
        gate.enter().await.told(status);
    }
    let first = gate.enter().await;
    told(&gate, 429).await;
    let second = gate.enter().await;
    assert!(is_full(&gate).await, "half of four");
    drop(second);
    told(&gate, 503).await;
    assert!(is_full(&gate).await, "one, which is under way");
    drop(first);
    for _ in 0..40 {
        let mut calls = vec![gate.enter().await];
        while let Ok(call) = timeout(Duration::from_millis(1), gate.enter()).await {
            calls.push(call);
        }
        calls.iter_mut().for_each(|call| call.told(200));
    }
    let more: Vec<_> =
        [gate.enter().await, gate.enter().await, gate.enter().await, gate.enter().await].into();
    assert!(is_full(&gate).await, "never more than four");
    drop(more);
}
