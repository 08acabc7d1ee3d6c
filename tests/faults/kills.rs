//! Rows in which the process is killed with SIGKILL, again and again.

use tests::cluster::Use;

use crate::run::Run;
use crate::target::{Act, Manner};
use crate::world::{CONCURRENCY, ORDERS_TO_SALES, PROCESSOR, SINKS, SOURCE, TOPICS, World};

/// Nothing is needed.
pub fn obstacle() -> Option<String> {
    None
}

/// How long a restarted pipeline may take until the next order arrives, in milliseconds: five times
/// the ten seconds that are promised, for slow machines that do a lot besides.
const RECOVERS_WITHIN: u64 = 50_000;

/// After a kill, what was in flight is repeated, and what was answered since the last commit, which
/// takes as long as a loaded disk takes.
const REPEATED_BY_A_KILL: usize = 16 * CONCURRENCY;

/// Kills the process a moment after the application has answered something: before the commit that
/// follows, or just after it.
pub async fn t01_a_sink_is_killed_between_answer_and_commit(run: &Run) {
    let mut world = World::around(run, ORDERS_TO_SALES).await;
    let mut process = world.started().await;
    let shop = world.shop(8);
    for _ in 0..run.times {
        world.receives("/plain", run.draw(1..30) as usize).await;
        run.moment(0..15).await;
        world.kill_and_start(&mut process);
    }
    world.receives("/plain", 10).await;
    world.settled([shop]).await;

    let (plain, unique) =
        (world.account("/plain", &["plain"]).await, world.account("/unique", &["unique"]).await);
    run.report(&plain);
    plain.holds();
    unique.holds();
    assert_eq!(unique.effects_repeated, 0);
    assert_eq!(unique.received - unique.repeated, plain.sent, "exactly one row an order");
    assert_eq!((plain.dead_letters, unique.dead_letters), (0, 0));
    assert!(plain.repeated <= run.times * REPEATED_BY_A_KILL, "{} repeated", plain.repeated);
    assert!(plain.recovery() < RECOVERS_WITHIN, "{:?}", plain.recoveries);
    process.assert_alive();
}

/// Kills the process while calls of the shop are on their way: before their events are acknowledged,
/// or after, before the shop is answered. The shop calls again under the same id.
pub async fn t02_a_source_is_killed_between_acknowledgement_and_answer(run: &Run) {
    let mut world = World::around(run, ORDERS_TO_SALES).await;
    let mut process = world.started().await;
    let mut shop = world.shop_that(|plan| plan.again = 10);
    for _ in 0..run.times {
        world.receives("/plain", 1).await;
        shop.calls(run.draw(1..20)).await;
        run.moment(0..12).await;
        world.kill_and_start(&mut process);
    }
    world.receives("/plain", 10).await;
    world.settled([shop]).await;

    let (orders, plain) =
        (world.account_of_topic("shop.orders").await, world.account("/plain", &["plain"]).await);
    run.report(&plain);
    run.note(|finding| {
        finding.note = format!("repeats in the source's topic: {}", orders.repeated)
    });
    plain.holds();
    assert!(orders.lost.is_empty() && orders.invented.is_empty(), "{orders:?}");
    assert_eq!(orders.repeated, 0, "a call sent again is no second event");
    assert!(plain.recovery() < RECOVERS_WITHIN, "{:?}", plain.recoveries);
    process.assert_alive();
}

/// Kills a process that only makes sales of orders, each exactly once, in the middle of what has
/// piled up meanwhile.
pub async fn t03_a_processor_is_killed_in_the_middle_of_a_batch(run: &Run) {
    let around = [TOPICS, SOURCE, SINKS];
    let mut world = World::apart(run, &around, Use::Shared).await;
    let once =
        PROCESSOR.replace("start: beginning", "start: beginning\n    delivery: exactly_once");
    let processor = world.another("processor", &[TOPICS, &once]);
    let mut rest = world.started().await;
    let mut process = world.started_in(&processor, "processor").await;
    let shop = world.shop_that(|plan| (plan.customers, plan.pause) = (12, 30));
    for _ in 0..run.times {
        world.receives("/plain", 1).await;
        run.moment(0..100).await;
        world.kill_and_start_in(&processor, "processor", &mut process);
    }
    world.receives("/plain", 10).await;
    world.settled([shop]).await;

    let (sales, unique) =
        (world.account_of_topic("erp.sales").await, world.account("/unique", &["unique"]).await);
    run.report(&unique);
    run.note(|finding| {
        finding.note = format!("repeats in the processor's topic: {}", sales.repeated)
    });
    unique.holds();
    assert_eq!(unique.effects_repeated, 0);
    assert_eq!(unique.received - unique.repeated, unique.sent, "exactly one row an order");
    assert!(sales.lost.is_empty() && sales.invented.is_empty(), "{sales:?}");
    assert_eq!(sales.repeated, 0, "exactly one sale an order in the topic");
    assert!(unique.recovery() < RECOVERS_WITHIN, "{:?}", unique.recoveries);
    process.assert_alive();
    rest.assert_alive();
}

/// Kills the process a moment after the application has refused something for good: before its dead
/// letter is acknowledged, or just after it.
pub async fn t07_a_sink_is_killed_between_dead_letter_and_commit(run: &Run) {
    let mut world = World::around(run, ORDERS_TO_SALES).await;
    let refuse = Act::Answer { status: 422, headers: Vec::new() };
    let of_a_customer =
        |id: &str| Manner { id: id.to_owned(), act: refuse.clone(), ..Manner::default() };
    world.target.behave(&["S1-0/", "S1-1/", "S1-2/"].map(of_a_customer));
    let mut process = world.started().await;
    let shop = world.shop(8);
    for _ in 0..run.times {
        world.receives("/plain", run.draw(1..30) as usize).await;
        run.moment(0..15).await;
        world.kill_and_start(&mut process);
    }
    world.receives("/plain", 10).await;
    world.settled([shop]).await;

    let account = world.account("/plain", &["plain"]).await;
    let letters = world.dead_letters("plain").await;
    run.report(&account);
    let repeated = letters.len() - account.dead_letters;
    run.note(|finding| {
        finding.note = format!("{} dead letters, {repeated} repeated", account.dead_letters);
    });
    account.holds();
    assert!(account.dead_letters > 0);
    assert!(repeated <= run.times * REPEATED_BY_A_KILL, "{repeated}");
    assert!(letters.iter().all(|letter| letter.header("ce_id").starts_with("S1-")));
    assert!(account.recovery() < RECOVERS_WITHIN, "{:?}", account.recoveries);
    process.assert_alive();
}
