//! Rows in which brokers go away and come back.

use std::collections::HashSet;
use std::time::Duration;

use tests::cluster::Use;

use crate::brokers::End;
use crate::endtoend::process::Process;
use crate::ledger::now;
use crate::run::Run;
use crate::world::{ORDERS_TO_SALES, OpenShop, World, until};

/// Nothing is needed.
pub fn obstacle() -> Option<String> {
    None
}

/// How long a pipeline may take until the next order arrives once its broker is back, in
/// milliseconds: a bound on liveness, no measure of speed.
const RECOVERS_WITHIN: u64 = 100_000;

/// The shop closes; then nothing may be lost. How many events are in the source's topic twice, under
/// one id.
async fn holds(world: &World<'_>, shop: OpenShop, process: &mut Process) -> usize {
    world.settled([shop]).await;
    let (orders, plain) =
        (world.account_of_topic("shop.orders").await, world.account("/plain", &["plain"]).await);
    world.run.report(&plain);
    plain.holds();
    world.account("/unique", &["unique"]).await.holds();
    assert!(orders.lost.is_empty() && orders.invented.is_empty(), "{orders:?}");
    world.run.note(|finding| {
        finding.note = format!("repeats in the source's topic: {}", orders.repeated);
    });
    assert_eq!(plain.dead_letters, 0);
    assert!(plain.recovery() < RECOVERS_WITHIN, "{:?}", plain.recoveries);
    process.assert_alive();
    orders.repeated
}

/// A clean restart, then SIGKILL, while the pipeline's process lives on.
pub async fn t14_the_broker_is_restarted_and_killed(run: &Run) {
    let mut world = World::apart(run, ORDERS_TO_SALES, Use::Alone).await;
    let mut process = world.started().await;
    let shop = world.shop(8);
    for end in [End::Stopped, End::Killed] {
        world.receives("/plain", 20).await;
        world.inflicted(&format!("broker: {end:?}"));
        world.brokers().end(end).await;
        run.moment(300..1500).await;
        world.brokers().start_again().await;
        world.healed("broker");
    }
    world.receives("/plain", 20).await;
    assert_eq!(holds(&world, shop, &mut process).await, 0, "the producer is idempotent");
}

/// Each of three nodes is stopped and started in turn; then one of them is killed.
pub async fn t14_three_nodes_restart_one_after_the_other(run: &Run) {
    let mut world = World::apart(run, ORDERS_TO_SALES, Use::Shared).await;
    let mut process = world.started().await;
    let shop = world.shop(8);
    let killed = u32::try_from(run.draw(1..4)).unwrap();
    for (node, end) in
        [(1, End::Stopped), (2, End::Stopped), (3, End::Stopped), (killed, End::Killed)]
    {
        world.receives("/plain", 20).await;
        world.inflicted(&format!("node {node}: {end:?}"));
        world.brokers().end_node(node, end);
        run.moment(500..1500).await;
        world.brokers().start_node(node);
        world.healed("node");
    }
    world.receives("/plain", 20).await;
    assert_eq!(holds(&world, shop, &mut process).await, 0, "the producer is idempotent");
}

/// The embedded broker dies at any moment, and the pipeline in another process goes on.
pub async fn t32_the_embedded_broker_is_killed_at_any_moment(run: &Run) {
    let mut world = World::apart(run, ORDERS_TO_SALES, Use::Shared).await;
    let mut process = world.started().await;
    let shop = world.shop(8);
    for _ in 0..run.times {
        world.receives("/plain", 1).await;
        run.moment(0..200).await;
        world.inflicted("broker: SIGKILL");
        world.brokers().end(End::Killed).await;
        world.brokers().start_again().await;
        world.healed("broker");
    }
    world.receives("/plain", 10).await;
    holds(&world, shop, &mut process).await;
}

/// While there is no broker, a webhook is refused with 503 and `Retry-After`, and never taken.
pub async fn t15_webhooks_arrive_while_no_broker_is_up(run: &Run) {
    let mut world = World::apart(run, ORDERS_TO_SALES, Use::Alone).await;
    let mut process = world.started().await;
    let shop = world.shop(8);
    world.receives("/plain", 20).await;
    world.inflicted("broker: SIGKILL");
    world.brokers().end(End::Killed).await;
    let down = now();
    tokio::time::sleep(Duration::from_secs(8)).await;
    world.operators().waits(&world.route("shop"), &[&world.kafka()]).await;
    let up = now();
    world.brokers().start_again().await;
    world.healed("broker");
    until("orders are taken again", async || {
        let calls = world.books.calls();
        calls.iter().any(|call| call.at > up && call.is_acknowledged()).then_some(())
    })
    .await;
    // A call that was refused while its event was on its way comes again under its id: such a repeat
    // is for the sinks to remove.
    let repeated = holds(&world, shop, &mut process).await;

    let calls = world.books.calls();
    // A call that was under way when the broker died may have been taken; what was taken before stays
    // taken, and its repeats are told so.
    let (mut under_way, mut taken, mut answers) = (HashSet::new(), HashSet::new(), Vec::new());
    for call in &calls {
        if call.answer.is_none() {
            under_way.remove(&call.id);
            if call.at < down {
                under_way.insert(&call.id);
            }
        } else if (down..up).contains(&call.at)
            && !taken.contains(&call.id)
            && !under_way.contains(&call.id)
        {
            answers.push(call);
        } else if call.is_acknowledged() {
            taken.insert(&call.id);
        }
    }
    run.note(|finding| {
        finding.note = format!(
            "{} calls answered meanwhile; repeats in the source's topic: {repeated}",
            answers.len()
        );
    });
    assert!(answers.len() > 8, "calls are answered, not kept waiting: {}", answers.len());
    for call in answers {
        assert_eq!((call.answer, call.retry_after), (Some(503), true), "{call:?}");
    }
}
