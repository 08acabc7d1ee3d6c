//! History that is sent again: into a target that has a part of it, beside live traffic, over kills.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "../endtoend/mod.rs"]
mod endtoend;
mod million;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use endtoend::folder::{Folder, ORDERS_TO_SALES};
use endtoend::process::{Answer, Process, Signal};
use endtoend::shop::order;
use endtoend::target::{Request, Target};
use endtoend::{client, topic, until};

/// The pipeline that delivers to a target, with these words about what the target remembers.
fn pipeline(target: SocketAddr, once: &str) -> String {
    let sink = format!(
        r#"
connections:
  erp: {{ http: {{ url: "http://{target}", allow_private: true, timeout: 5s }} }}
sinks:
  sales: {{ from: erp.sales, to: erp, path: /sales, {once} backoff: {{ initial: 100ms, max: 500ms }} }}
"#
    );
    ORDERS_TO_SALES.to_owned() + &sink
}

const FOREVER: &str = "once: forever,";

/// A pipeline that has delivered so many orders of each of four customers, as it goes on running.
struct World {
    process: Process,
    folder: Folder,
    live: Target,
}

impl World {
    async fn with(orders: usize, once: &str) -> Self {
        let live = Target::start(Duration::from_millis(2)).await;
        let folder = Folder::with(&pipeline(live.address, once));
        let process = folder.run().await;
        let world = Self { folder, live, process };
        world.sell(0, orders).await;
        world.live.has_rows(4 * orders).await;
        world
    }

    /// Sells orders of four customers, with these numbers.
    async fn sell(&self, from: usize, to: usize) {
        let selling = (0..4).map(async |customer| {
            let shop = self.folder.shop();
            for number in from..to {
                let customer = format!("C-{customer}");
                shop.tell(&order(&format!("{customer}/{number:04}"), &customer)).await;
            }
        });
        futures::future::join_all(selling).await;
    }

    /// A new target, and a file that delivers to it under the name of the old one.
    async fn another_target(&self) -> Target {
        let other = Target::start(Duration::from_millis(5)).await;
        let file = self.folder.path().join("pipeline.yaml");
        let text = std::fs::read_to_string(file).unwrap();
        let (old, new) = (self.live.address.to_string(), other.address.to_string());
        self.folder.write("replay.yaml", &text.replace(&old, &new));
        other
    }

    async fn replay(&self, arguments: &[&str]) -> Answer {
        self.folder.passerelle(&[&["replay", "sales", "replay.yaml"], arguments].concat()).await
    }
}

/// Each order's idempotency key.
fn keys(target: &Target) -> BTreeMap<String, String> {
    target.taken().iter().map(|one| (one.text("web_id").to_owned(), one.key.clone())).collect()
}

/// Each customer's orders came one after the other; a repeat may go back.
fn assert_in_order(taken: &[Request], first: usize) {
    let mut next: BTreeMap<&str, usize> = BTreeMap::new();
    for request in taken {
        let (customer, number) = request.text("web_id").split_once('/').unwrap();
        let (next, number) = (next.entry(customer).or_insert(first), number.parse().unwrap());
        assert!(*next >= number, "{customer}: {number} came before {next}");
        *next = (*next).max(number + 1);
    }
}

#[tokio::test]
async fn a_replay_fills_up_a_target_with_the_same_ids_over_a_kill_while_live_events_flow() {
    const ORDERS: usize = 60;
    let mut world = World::with(ORDERS, FOREVER).await;
    let (all, known) = (4 * ORDERS, keys(&world.live));
    let other = world.another_target().await;
    for request in world.live.taken().iter().take(all / 2) {
        let call = client().post(format!("http://{}/sales", other.address));
        let call = call.header("idempotency-key", &request.key).body(request.body.to_string());
        assert!(call.send().await.unwrap().status().is_success());
    }
    let before = world.live.taken().len();
    let asked = ["replay", "sales", "replay.yaml", "--from", "beginning", "--rate", "20"];
    let mut replay = Process::start(world.folder.path(), "replay", &asked);
    other.has_rows(all / 2 + all / 8).await;
    let selling = world.sell(ORDERS, ORDERS + 20);
    let killing = async {
        replay.kill();
        let mut replay = Process::start(world.folder.path(), "replay", &asked);
        let taken = other.taken().len();
        until("the replay goes on", async || (other.taken().len() > taken + 20).then_some(()))
            .await;
        replay.signal(Signal::Terminate);
        assert_eq!(replay.ended().await.code(), Some(2), "stopped before its end");
        until("the replay that was killed has come to its end", async || {
            let answer = world.folder.passerelle(&asked).await;
            assert!(answer.stderr.contains("goes on"), "{answer:?}");
            (answer.code == 0).then_some(answer)
        })
        .await
    };
    let ((), answer) = futures::join!(selling, killing);
    world.live.has_rows(all + 80).await;

    assert_eq!(other.rows().len(), all, "what the target has in the end is the history, no more");
    assert_eq!(keys(&other), known, "under the keys that they had at first");
    let sent: Vec<Request> = other.taken().split_off(all / 2);
    println!("{} events sent again of {all}; {}", sent.len(), answer.stdout);
    assert!(sent.len() >= all && sent.len() <= all + 64, "{}: only what was in flight", sent.len());
    assert!(sent.iter().all(|request| request.replay.is_some()), "each is marked");
    assert_in_order(&sent, 0);
    let live = world.live.taken().split_off(before);
    assert_eq!(live.len(), 80, "the live route has sent nothing again");
    assert!(live.iter().all(|request| request.replay.is_none()));
    assert_in_order(&live, ORDERS);

    let once_more = world.folder.passerelle(&asked).await;
    assert!(once_more.code == 1 && once_more.stderr.contains("--again"), "{once_more:?}");
    let again = [&asked[..5], &["--rate", "unlimited", "--again"]].concat();
    let again = world.folder.passerelle(&again).await;
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(keys(&other).len(), all + 80, "captured anew, it holds what was sold meanwhile");
    world.process.assert_alive();
}

#[tokio::test]
async fn a_target_that_may_take_events_twice_gets_them_only_when_that_is_accepted() {
    let mut world = World::with(2, "").await;
    let other = world.another_target().await;
    let refused = world.replay(&["--from", "1h"]).await;
    assert!(refused.code == 1 && refused.stderr.contains("--accept-duplicates"), "{refused:?}");
    assert!(other.requests().is_empty());
    let accepted = world.replay(&["--from", "1h", "--accept-duplicates"]).await;
    assert_eq!((accepted.code, other.rows().len()), (0, 8), "{accepted:?}");

    let text = std::fs::read_to_string(world.folder.path().join("replay.yaml")).unwrap();
    world
        .folder
        .write("replay.yaml", &text.replace("path: /sales,", "path: /sales, once: { for: 1ms },"));
    let too_short = world.replay(&["--from", "2h"]).await;
    assert!(
        too_short.code == 1 && too_short.stderr.contains("remembers events for"),
        "{too_short:?}"
    );
    world.process.assert_alive();
}

#[tokio::test]
async fn only_what_is_asked_for_is_sent_and_a_dry_run_sends_nothing() {
    let mut world = World::with(5, FOREVER).await;
    let other = world.another_target().await;
    let asked = ["--from", "beginning", "--key", "C-1", "--filter", r#".web_id != "C-1/0002""#];
    let dry = world.replay(&[&asked[..], &["--dry-run"]].concat()).await;
    assert_eq!(dry.code, 0, "{dry:?}");
    assert!(dry.stdout.contains("Would send 4 of 20 events of erp.sales"), "{dry:?}");
    assert!(dry.stdout.contains(r#""web_id":"C-1/0000""#), "{dry:?}");
    assert!(other.requests().is_empty());
    let sent = world.replay(&asked).await;
    assert!(sent.code == 0 && sent.stdout.contains("4 matched, 4 delivered"), "{sent:?}");
    let ids: Vec<_> = other.taken().iter().map(|one| one.text("web_id").to_owned()).collect();
    assert_eq!(ids, ["C-1/0000", "C-1/0001", "C-1/0003", "C-1/0004"]);

    let wrong = world.replay(&["--from", "beginning", "--filter", ".web_id >"]).await;
    assert!(wrong.code == 1 && wrong.stderr.contains("The filter is wrong"), "{wrong:?}");
    let processor = ["replay", "to_sale", "replay.yaml", "--from", "beginning"];
    let processor = world.folder.passerelle(&processor).await;
    assert!(processor.code == 1 && processor.stderr.contains("is a processor"), "{processor:?}");
    world.process.assert_alive();
}

#[tokio::test]
async fn what_a_target_refuses_of_a_replay_is_a_dead_letter_and_marked() {
    let mut world = World::with(3, FOREVER).await;
    let other = world.another_target().await;
    other.answer(|sale| if sale["web_id"] == "C-2/0001" { 422 } else { 201 });
    let answer = world.replay(&["--from", "beginning"]).await;
    assert!(answer.code == 0 && answer.stdout.contains("11 delivered"), "{answer:?}");
    assert!(answer.stdout.contains("1 dead letters"), "{answer:?}");
    let letters = topic::read(world.folder.kafka(), "orders.sales.dead-letters").await;
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!(letter.header("ce_id"), "C-2/0001");
    assert!(!letter.header("passerelle_replay").is_empty());
    let traced = world.folder.ask(&["trace", "C-2", "--json"]).await;
    assert!(traced.stdout.contains("\"replay\""), "the trace tells the replay: {traced:?}");
    world.process.assert_alive();
}

#[tokio::test]
async fn what_was_a_dead_letter_is_not_delivered_under_two_keys_and_is_one_no_more() {
    let mut world = World::with(3, FOREVER).await;
    world.live.answer(|sale| match sale["web_id"].as_str() {
        Some("C-8/0000" | "C-9/0000") => 422,
        _ => 201,
    });
    for customer in ["C-8", "C-9"] {
        world.folder.shop().tell(&order(&format!("{customer}/0000"), customer)).await;
    }
    let open = async |count: usize| {
        let list = world.folder.ask(&["dead-letters", "list", "orders/sales"]).await;
        list.stdout.contains(&format!("{count} dead letters open")).then_some(())
    };
    until("two letters are open", async || open(2).await).await;

    // One is delivered by a retry and then sent again, the other by the replay alone.
    world.live.answer(|_| 201);
    let retry = ["dead-letters", "retry", "orders/sales", "--key", "C-8"];
    let retried = world.folder.ask(&retry).await;
    assert_eq!(retried.code, 0, "{retried:?}");
    let replay = ["replay", "sales", "pipeline.yaml", "--from", "beginning"];
    let replayed = world.folder.passerelle(&replay).await;
    assert!(replayed.code == 0 && replayed.stdout.contains("14 matched"), "{replayed:?}");
    assert_eq!(world.live.rows().len(), 14, "none of them under two keys");
    for id in ["C-8/0000", "C-9/0000"] {
        let asked = world.live.requests().into_iter().filter(|one| one.text("web_id") == id);
        let keys: Vec<String> = asked.map(|one| one.key).collect();
        assert!(keys[1..].iter().all(|key| *key == format!("{}.1", keys[0])), "{keys:?}");
    }
    until("no letter is open", async || open(0).await).await;
    let nothing = world.folder.ask(&[&retry[..3], &["--all"]].concat()).await;
    assert!(nothing.code == 1 && nothing.stderr.contains("No open dead letter"), "{nothing:?}");
    world.process.assert_alive();
}

#[tokio::test]
async fn several_processes_share_a_replay() {
    const ORDERS: usize = 100;
    let mut world = World::with(ORDERS, FOREVER).await;
    let other = world.another_target().await;
    let asked = ["replay", "sales", "replay.yaml", "--from", "beginning", "--rate", "20"];
    let mut first = Process::start(world.folder.path(), "first", &asked);
    other.has_rows(10).await;
    let mut second = Process::start(world.folder.path(), "second", &asked);
    for process in [&mut first, &mut second] {
        let status = process.ended().await;
        assert!(status.success(), "{}", process.log());
        let log = process.log();
        let summary = log.lines().find(|line| line.contains(" matched, ")).unwrap_or(&log);
        assert!(!summary.contains(" 0 delivered"), "both had a part:\n{log}");
    }
    assert_eq!(keys(&other), keys(&world.live));
    assert_in_order(&other.taken(), 0);
    println!("{} requests for {} orders", other.taken().len(), 4 * ORDERS);
    world.process.assert_alive();
}
