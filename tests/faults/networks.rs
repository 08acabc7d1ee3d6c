//! The row in which the network between the process and its broker, or the application, fails.

use std::time::{Duration, Instant};

use tests::cluster::Use;

use crate::proxy::{Proxy, Weather};
use crate::run::Run;
use crate::target::{Act, Manner};
use crate::world::{CONCURRENCY, ORDERS_TO_SALES, World};

/// Nothing is needed.
pub fn obstacle() -> Option<String> {
    None
}

/// What the network does, and for how many milliseconds. A silent one lasts longer than a session of
/// the group and than a call of the application may take.
const WEATHERS: [(Weather, std::ops::Range<u64>); 5] = [
    (Weather::Cut, 1_000..3_000),
    (Weather::Silent, 7_000..9_000),
    (Weather::Lossy(5), 3_000..5_000),
    (Weather::Slow(Duration::from_millis(50)), 2_000..3_000),
    (Weather::Trickle(20_000), 2_000..3_000),
];

/// How many requests may be at the application at once: both routes', and, for each time-out of a call that has
/// gone by, those that were given up and that the application has not noticed yet.
fn at_once(time: Duration) -> usize {
    let given_up = usize::try_from(time.as_secs() / TIMEOUT).unwrap().max(1);
    2 * CONCURRENCY * (1 + given_up)
}

/// The time-out of a call, in seconds.
const TIMEOUT: u64 = 5;

/// Between the process and its broker, then between the process and the application: cut, silent,
/// lossy, slow and thin; at last the application is at another address.
pub async fn t28_the_network_fails(run: &Run) {
    let mut world = World::proxied(run, ORDERS_TO_SALES, Use::Shared).await;
    world.target.behave(&[Manner { work: 20, act: Act::Take, ..Manner::default() }]);
    let to_target = Proxy::start(world.target.address).await;
    world.target.address = to_target.address;
    world.write(&world.folder, "one", ORDERS_TO_SALES);
    let mut process = world.started().await;
    let shop = world.shop(8);
    let mut peaks = Vec::new();
    for link in ["broker", "application"] {
        for (weather, time) in WEATHERS {
            world.receives("/plain", 10).await;
            world.inflicted(&format!("{link}: {weather:?}"));
            let proxy = if link == "broker" { world.brokers().proxy() } else { &to_target };
            let began = Instant::now();
            proxy.set(weather);
            run.moment(time).await;
            world.target.peak();
            let proxy = if link == "broker" { world.brokers().proxy() } else { &to_target };
            proxy.set(Weather::Fair);
            let lasted = began.elapsed();
            world.healed("fair");
            world.receives("/plain", 10).await;
            peaks.push((world.target.peak(), at_once(lasted)));
        }
    }
    world.inflicted("another address");
    let elsewhere = Proxy::start(world.target.listens).await;
    to_target.lead_to(elsewhere.address);
    world.healed("another address");
    world.receives("/plain", 20).await;
    world.settled([shop]).await;

    let (plain, unique) =
        (world.account("/plain", &["plain"]).await, world.account("/unique", &["unique"]).await);
    run.report(&plain);
    run.note(|finding| {
        finding.note = format!("requests at once after each, and at most: {peaks:?}")
    });
    plain.holds();
    unique.holds();
    assert_eq!((unique.effects_repeated, plain.dead_letters), (0, 0));
    assert!(peaks.iter().all(|(peak, most)| peak <= most), "{peaks:?}");
    process.assert_alive();
}
