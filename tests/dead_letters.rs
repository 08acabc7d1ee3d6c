//! What could not pass: parked in order, listed, shown, tried again, discarded, over kills.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "endtoend/mod.rs"]
mod endtoend;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use endtoend::folder::{Folder, ORDERS_TO_SALES};
use endtoend::process::Answer;
use endtoend::shop::order;
use endtoend::target::Target;
use endtoend::{topic, until};
use serde_json::Value;

const ROUTE: &str = "orders/sales";

const TO_THE_TARGET: &str = r#"
connections:
  erp: { http: { url: "http://TARGET", allow_private: true, timeout: 5s } }
sinks:
  sales: { from: erp.sales, to: erp, path: /sales, concurrency: 4, on_error: ON_ERROR, backoff: { initial: 100ms, max: 500ms } }
"#;

/// A folder with the pipeline, its target, and whether the target refuses the order `bad`.
async fn world(
    on_error: &str,
    bad: &'static str,
    delay: Duration,
) -> (Folder, Target, Arc<AtomicBool>) {
    let target = Target::start(delay).await;
    let sink =
        TO_THE_TARGET.replace("TARGET", &target.address.to_string()).replace("ON_ERROR", on_error);
    let folder = Folder::with(&(ORDERS_TO_SALES.to_owned() + &sink));
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    target.answer(move |sale| match sale["web_id"] == bad && is_broken.load(Ordering::Relaxed) {
        true => 422,
        false => 201,
    });
    (folder, target, broken)
}

async fn sell(folder: &Folder, customer: &str, numbers: std::ops::Range<u32>) {
    let shop = folder.shop();
    for number in numbers {
        shop.tell(&order(&format!("{customer}/{number:03}"), customer)).await;
    }
}

/// Waits until nothing is left to deliver and this many dead letters are open.
async fn settled(folder: &Folder, open: u64) -> Value {
    folder.operators().caught_up().await;
    until(&format!("{open} dead letters are open"), async || {
        let route = folder.operators().routes().await.remove(ROUTE)?;
        (route["open_dead_letters"] == open).then_some(route)
    })
    .await
}

async fn dead_letters(folder: &Folder, arguments: &[&str]) -> Answer {
    folder.ask(&[&["dead-letters"], arguments].concat()).await
}

/// Does it, successfully.
async fn done(folder: &Folder, arguments: &[&str]) -> String {
    let answer = dead_letters(folder, arguments).await;
    assert_eq!(answer.code, 0, "{answer:?}");
    answer.stdout
}

/// The web ids that the target took, in order.
fn taken(target: &Target) -> Vec<String> {
    target.taken().iter().map(|request| request.text("web_id").to_owned()).collect()
}

fn of<'a>(taken: &'a [String], customer: &str) -> Vec<&'a str> {
    taken.iter().filter(|id| id.starts_with(customer)).map(String::as_str).collect()
}

#[tokio::test]
async fn a_parked_key_is_delivered_in_order_once_its_cause_is_mended() {
    let (folder, target, broken) = world("park_key", "A/001", Duration::ZERO).await;
    let mut process = folder.run().await;
    sell(&folder, "A", 0..4).await;
    sell(&folder, "B", 0..3).await;
    let route = settled(&folder, 3).await;
    assert_eq!(route["parked_keys"], 1);
    let ids = taken(&target);
    assert_eq!((of(&ids, "A"), of(&ids, "B").len()), (vec!["A/000"], 3), "others pass");
    let shown = folder.ask(&["status"]).await.stdout;
    assert!(shown.contains("3 dead letters open, 1 key parked"), "{shown}");
    let metric = r#"passerelle_parked_keys{pipeline="orders",route="sales"}"#;
    assert_eq!(folder.operators().metric(metric).await, 1.0);

    let list = done(&folder, &["list", ROUTE]).await;
    for part in ["3 dead letters open, 1 key parked", "http_422: 1", "behind: 2", "A/003, key A"] {
        assert!(list.contains(part), "{part} is not in\n{list}");
    }
    let one: Value =
        serde_json::from_str(&done(&folder, &["show", ROUTE, "--id", "A/001"]).await).unwrap();
    assert_eq!(one["value"]["web_id"], "A/001", "{one}");
    assert_eq!(
        (&one["cause"], &one["standing"], &one["key"]),
        (&"http_422".into(), &"parked".into(), &"A".into())
    );
    assert_eq!(one["headers"]["ce_id"], "A/001");

    // While the cause is not mended it comes back, and what is behind it was not tried.
    let answer = dead_letters(&folder, &["retry", ROUTE, "--cause", "http_422"]).await;
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.stdout.contains("A/001 came back"), "{answer:?}");
    assert_eq!(of(&taken(&target), "A"), ["A/000"]);
    sell(&folder, "A", 4..5).await;
    settled(&folder, 4).await;

    broken.store(false, Ordering::Relaxed);
    let told = done(&folder, &["retry", ROUTE, "--id", "A/001"]).await;
    assert!(told.contains("4 dead letters delivered"), "{told}");
    sell(&folder, "A", 5..6).await;
    let route = settled(&folder, 0).await;
    assert_eq!(route["parked_keys"], 0);
    let ids = taken(&target);
    assert_eq!(of(&ids, "A"), ["A/000", "A/001", "A/002", "A/003", "A/004", "A/005"]);
    let list = done(&folder, &["list", ROUTE]).await;
    assert!(list.contains("0 dead letters open") && !list.contains("http_422"), "{list}");
    assert_eq!(topic::read(folder.kafka(), "orders.sales.dead-letters").await.len(), 4, "all kept");

    // The target was asked anew for what it had refused, under the same key for what it had not.
    let keys = |id: &str| -> Vec<String> {
        let requests = target.requests().into_iter();
        requests.filter(|request| request.text("web_id") == id).map(|request| request.key).collect()
    };
    let refused = keys("A/001");
    assert_eq!(refused.len(), 3);
    assert_eq!(refused[1..], [format!("{}.1", refused[0]), format!("{}.2", refused[0])]);
    assert!(!keys("A/002")[0].contains('.'));
    process.assert_alive();
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_retry_loses_nothing_and_breaks_no_order() {
    const ORDERS: u32 = 30;
    let (folder, target, broken) = world("park_key", "A/001", Duration::from_millis(60)).await;
    let mut process = folder.run().await;
    sell(&folder, "A", 0..ORDERS).await;
    settled(&folder, u64::from(ORDERS) - 1).await;
    broken.store(false, Ordering::Relaxed);
    let asked = done(&folder, &["retry", ROUTE, "--all", "--no-wait"]).await;
    assert!(asked.contains("29 dead letters will be tried again"), "{asked}");
    for at_least in [5, 15] {
        until("some are delivered", async || (taken(&target).len() > at_least).then_some(())).await;
        process.kill();
        process = folder.run().await;
    }
    sell(&folder, "A", ORDERS..ORDERS + 2).await;
    settled(&folder, 0).await;
    let ids = taken(&target);
    let mut next = 0;
    for id in &ids {
        let number: u32 = id.strip_prefix("A/").unwrap().parse().unwrap();
        assert!(number <= next, "{number} before {next} in {ids:?}");
        next = next.max(number + 1);
    }
    assert_eq!(next, ORDERS + 2);
    println!("{} repeats over two kills", ids.len() as u32 - next);
    assert!(ids.len() as u32 - next <= 2, "only what was in flight repeats");
    assert_eq!(target.rows().len() as u32, ORDERS + 2, "under the same idempotency keys");
    process.assert_alive();
}

#[tokio::test]
async fn what_waits_to_be_tried_again_can_be_discarded() {
    let (folder, target, _) = world("dead_letter", "A/001", Duration::ZERO).await;
    let _process = folder.run().await;
    sell(&folder, "A", 0..2).await;
    settled(&folder, 1).await;
    target.answer(|_| 503);
    done(&folder, &["retry", ROUTE, "--all", "--no-wait"]).await;
    until("it is tried in vain", async || {
        target.requests().iter().any(|request| request.status == 503).then_some(())
    })
    .await;
    done(&folder, &["discard", ROUTE, "--all", "--reason", "it is needed no more"]).await;
    target.answer(|_| 201);
    sell(&folder, "B", 0..1).await;
    settled(&folder, 0).await;
    assert_eq!(taken(&target), ["A/000", "B/000"]);
}

#[tokio::test]
async fn what_comes_back_again_and_again_is_refused() {
    let (folder, target, broken) = world("dead_letter", "A/001", Duration::ZERO).await;
    let _process = folder.run().await;
    sell(&folder, "A", 0..2).await;
    settled(&folder, 1).await;
    let retry = ["retry", ROUTE, "--all"];
    for _ in 0..3 {
        let answer = dead_letters(&folder, &retry).await;
        assert!(answer.code == 1 && answer.stdout.contains("came back"), "{answer:?}");
    }
    let requests = target.requests().len();
    let answer = dead_letters(&folder, &retry).await;
    assert_eq!(answer.code, 1);
    assert!(
        answer.stderr.contains("come back 3 times") && answer.stderr.contains("--again"),
        "{answer:?}"
    );
    assert_eq!(target.requests().len(), requests, "the target is left alone");
    broken.store(false, Ordering::Relaxed);
    done(&folder, &[&retry[..], &["--again"]].concat()).await;
    settled(&folder, 0).await;
    assert_eq!(taken(&target), ["A/000", "A/001"]);
}

#[tokio::test]
async fn one_whose_key_has_gone_on_is_tried_again_only_if_the_order_does_not_matter() {
    let (folder, target, broken) = world("dead_letter", "A/001", Duration::ZERO).await;
    let _process = folder.run().await;
    sell(&folder, "A", 0..3).await;
    sell(&folder, "B", 0..1).await;
    settled(&folder, 1).await;
    broken.store(false, Ordering::Relaxed);
    let answer = dead_letters(&folder, &["retry", ROUTE, "--key", "A"]).await;
    assert_eq!(answer.code, 1);
    assert!(
        answer.stderr.contains("A/001 is refused") && answer.stderr.contains("--out-of-order"),
        "{answer:?}"
    );
    assert_eq!(of(&taken(&target), "A"), ["A/000", "A/002"]);
    done(&folder, &["retry", ROUTE, "--key", "A", "--out-of-order"]).await;
    settled(&folder, 0).await;
    assert_eq!(of(&taken(&target), "A"), ["A/000", "A/002", "A/001"]);
}

#[tokio::test]
async fn what_is_discarded_is_no_longer_listed_and_says_who_and_why() {
    let (folder, target, _) = world("park_key", "A/001", Duration::ZERO).await;
    let _process = folder.run().await;
    sell(&folder, "A", 0..3).await;
    settled(&folder, 2).await;
    let nobody = dead_letters(&folder, &["discard", ROUTE, "--id", "A/001"]).await;
    assert!(nobody.code != 0 && nobody.stderr.contains("--reason"), "{nobody:?}");
    let none = dead_letters(&folder, &["discard", ROUTE, "--reason", "all of it"]).await;
    assert!(none.code != 0 && none.stderr.contains("--all"), "{none:?}");
    let reason = "the customer cancelled";
    done(&folder, &["discard", ROUTE, "--id", "A/001", "--reason", reason]).await;
    settled(&folder, 1).await;
    let list = done(&folder, &["list", ROUTE]).await;
    assert!(!list.contains("http_422") && list.contains("behind: 1"), "{list}");
    let one: Value =
        serde_json::from_str(&done(&folder, &["show", ROUTE, "--id", "A/001"]).await).unwrap();
    assert_eq!(
        (&one["standing"], &one["decision"]["reason"]),
        (&"discarded".into(), &reason.into())
    );
    assert!(one["decision"]["by"].as_str().unwrap().contains('@'));
    let all = done(&folder, &["list", "pipeline.yaml", "--settled", "--json"]).await;
    let groups: Vec<Value> = serde_json::from_str(&all).unwrap();
    let causes: BTreeSet<_> = groups.iter().map(|group| group["cause"].as_str().unwrap()).collect();
    assert_eq!(causes, BTreeSet::from(["behind", "http_422"]), "{all}");
    done(&folder, &["retry", ROUTE, "--all"]).await;
    sell(&folder, "A", 3..4).await;
    settled(&folder, 0).await;
    assert_eq!(taken(&target), ["A/000", "A/002", "A/003"]);
}
