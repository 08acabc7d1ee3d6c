//! Rows in which members of a consumer group come, go and freeze.

use std::collections::BTreeMap;
use std::time::Duration;

use tests::cluster::Use;

use crate::endtoend::process::Signal;
use crate::ledger::{Receipt, now};
use crate::run::Run;
use crate::target::{Act, Manner};
use crate::world::{CONCURRENCY, PROCESSOR, SINKS, SOURCE, TOPICS, World};

/// Nothing is needed.
pub fn obstacle() -> Option<String> {
    None
}

/// How long a member may be silent before the group goes on without it, and two seconds more for
/// that, in milliseconds; five times that is a bound for slow machines.
const PAUSES_FOR: u64 = 5 * 8_000;

/// What is in flight in both sinks of a process.
const IN_FLIGHT: usize = 2 * CONCURRENCY;

/// Processes that each make sales of orders exactly once, and deliver them: a third one joins, one of the first two leaves, and another is frozen for longer than its
/// session and thawed again: a zombie. (The table's 60 s are ten here.)
pub async fn t04_members_join_leave_and_freeze(run: &Run) {
    let mut world = World::apart(run, &[TOPICS, SOURCE], Use::Shared).await;
    world.target.behave(&[Manner { work: 40, act: Act::Take, ..Manner::default() }]);
    let once =
        PROCESSOR.replace("start: beginning", "start: beginning\n    delivery: exactly_once");
    let folders = ["a", "b", "c"].map(|name| world.another(name, &[TOPICS, &once, SINKS]));
    let mut front = world.started().await;
    let shop = world.shop_that(|plan| (plan.customers, plan.pause) = (16, 200));
    let mut frozen = world.started_in(&folders[0], "a").await;
    let leaving = world.started_in(&folders[1], "b").await;
    world.receives("/plain", 60).await;

    world.inflicted("c joins");
    let mut joined = world.started_in(&folders[2], "c").await;
    world.healed("c has joined");
    world.receives("/plain", 60).await;
    world.inflicted("b leaves");
    assert!(leaving.terminate().await.success());
    world.healed("b has left");
    world.receives("/plain", 60).await;
    world.inflicted("SIGSTOP a");
    frozen.signal(Signal::Stop);
    let stopped = now();
    tokio::time::sleep(Duration::from_millis(run.draw(9_000..11_000))).await;
    let thawed = now();
    frozen.signal(Signal::Continue);
    world.healed("SIGCONT a");
    world.receives("/plain", 100).await;
    world.settled([shop]).await;

    let (plain, unique) =
        (world.account("/plain", &["plain"]).await, world.account("/unique", &["unique"]).await);
    let sales = world.account_of_topic("erp.sales").await;
    run.report(&plain);
    let receipts = ["/plain", "/unique"].map(|path| world.books.receipts(path));
    let started = receipts.iter().map(|all| by_a_zombie(all, thawed)).sum::<usize>();
    let paused = longest_pause(&receipts[0], stopped, thawed);
    run.note(|finding| {
        finding.note = format!(
            "frozen, its customers waited {:.1} s; thawed, it repeated {started} of others",
            paused as f64 / 1000.0
        );
    });
    plain.holds();
    unique.holds();
    assert_eq!(unique.effects_repeated, 0);
    assert!(sales.lost.is_empty() && sales.invented.is_empty(), "{sales:?}");
    assert_eq!(sales.repeated, 0, "exactly one sale an order in the topic");
    assert!(started <= IN_FLIGHT, "the zombie started {started} requests");
    assert!(paused < PAUSES_FOR, "{paused} ms");
    front.assert_alive();
    frozen.assert_alive();
    joined.assert_alive();
}

/// How many orders the thawed process sent that others had delivered while it was frozen.
fn by_a_zombie(receipts: &[Receipt], thawed: u64) -> usize {
    let of_others = |receipt: &&Receipt| receipt.instance != "a" && receipt.at < thawed;
    let theirs: Vec<_> = receipts.iter().filter(of_others).map(|r| &r.id).collect();
    let late = receipts.iter().filter(|r| r.instance == "a" && r.at >= thawed);
    late.filter(|receipt| theirs.contains(&&receipt.id)).count()
}

/// The longest time that a customer's orders did not arrive, of the pauses that began before the
/// thaw and ended after the stop.
fn longest_pause(receipts: &[Receipt], stopped: u64, thawed: u64) -> u64 {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let mut longest = 0;
    for receipt in receipts {
        let customer = receipt.id.split('/').next().unwrap_or_default();
        if let Some(before) = last.insert(customer, receipt.at)
            && receipt.at > stopped
            && before < thawed
        {
            longest = longest.max(receipt.at - before);
        }
    }
    longest
}
