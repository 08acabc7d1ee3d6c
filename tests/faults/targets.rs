//! Rows in which the application misbehaves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::sleep;

use crate::ledger::{Receipt, now};
use crate::run::Run;
use crate::target::{Act, Manner, Plan, Target};
use crate::world::{CONCURRENCY, ORDERS_TO_SALES, PROCESSOR, SINKS, SOURCE, TOPICS, World, until};

/// Nothing is needed.
pub fn obstacle() -> Option<String> {
    None
}

/// Every request is answered so.
fn answer(status: u16) -> Manner {
    Manner { act: Act::Answer { status, headers: Vec::new() }, ..Manner::default() }
}

/// Each of the four answers in turn, for a few seconds in all.
pub async fn t08_the_target_answers_5xx_for_a_while(run: &Run) {
    let mut world = World::around(run, ORDERS_TO_SALES).await;
    let mut process = world.started().await;
    let shop = world.shop(8);
    world.receives("/plain", 20).await;
    for status in [500, 502, 503, 504] {
        world.inflicted(&status.to_string());
        world.target.behave(&[answer(status)]);
        run.moment(500..1500).await;
    }
    world.target.behave(&[]);
    world.healed("201");
    world.settled([shop]).await;

    let account = world.held("/plain", &["plain"]).await;
    assert_eq!((account.repeated, account.dead_letters), (0, 0));
    process.assert_alive();
}

/// It does its work and answers after the time-out of a second. While it does, no more requests
/// begin within that second than the route has slots.
pub async fn t09_the_target_answers_after_the_time_out(run: &Run) {
    let sinks = SINKS.replace("timeout: 5s", "timeout: 1s");
    let mut world = World::around(run, &[TOPICS, SOURCE, PROCESSOR, &sinks]).await;
    let mut process = world.started().await;
    let shop = world.shop(8);
    world.receives("/plain", 20).await;
    let before = process.peak_memory();
    world.inflicted("answers after 3 s");
    world.target.behave(&[Manner { work: 3_000, ..Manner::default() }]);
    let begun = now();
    sleep(Duration::from_secs(6)).await;
    let ended = now();
    world.target.behave(&[]);
    world.healed("201");
    world.settled([shop]).await;

    let account = world.account("/plain", &["plain"]).await;
    let unique = world.account("/unique", &["unique"]).await;
    run.report(&account);
    let grown = process.peak_memory() - before;
    run.note(|finding| finding.note = format!("the process grew by {grown} MiB"));
    account.holds();
    unique.holds();
    assert!(account.repeated > 0, "what was answered too late is sent again");
    assert_eq!((account.dead_letters, unique.effects_repeated), (0, 0));
    // What began before the fault may still be answered within its first instants.
    let receipts = world.books.receipts("/plain");
    let late: Vec<u64> = receipts.iter().map(|r| r.at).filter(|at| *at > begun + 200).collect();
    // A quarter of the time-out: the application may note late what was sent a time-out before.
    let at_once = |at: &u64| late.iter().filter(|other| (*at..*at + 250).contains(*other)).count();
    let most = late.iter().filter(|at| **at + 250 < ended).map(at_once).max();
    assert!(most.is_some_and(|most| (1..=CONCURRENCY).contains(&most)), "{most:?} at once");
    assert!(grown < 100, "the process grew by {grown} MiB");
    process.assert_alive();
}

/// So long after the first 429, requests may still arrive that were under way.
const UNDER_WAY: u64 = 4_000;

/// How long the application asks to be left alone.
const LEFT_ALONE: u64 = 8;

/// It asks to be left alone, in seconds and as a date: no route of any kind sends to that host
/// before; a route to another host goes on.
pub async fn t10_the_target_answers_429_with_retry_after(run: &Run) {
    let mut world = World::around(run, ORDERS_TO_SALES).await;
    let other = Target::start(Plan { ledger: world.books.file("other"), seed: run.seed });
    let connection = format!(
        "connections:\n  other: {{ http: {{ url: \"http://{}\", allow_private: true }} }}\n",
        other.address
    );
    let sink = "  other: { from: @erp.sales, to: other, path: /other, start: beginning }\n";
    let sinks = SINKS.replace("connections:\n", &connection) + sink;
    world.write(&world.folder, "one", &[TOPICS, SOURCE, PROCESSOR, &sinks]);
    let mut process = world.started().await;
    let shop = world.shop(8);
    let mut asked = Vec::new();
    for form in ["seconds", "date"] {
        world.receives("/plain", 20).await;
        // A date is a whole second.
        let date: DateTime<Utc> =
            DateTime::from_timestamp(Utc::now().timestamp() + LEFT_ALONE as i64 + 1, 0).unwrap();
        let wait = match form {
            "seconds" => LEFT_ALONE.to_string(),
            _ => date.format("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        };
        let headers = vec![("Retry-After".to_owned(), wait)];
        let act = Act::Answer { status: 429, headers };
        world.inflicted(form);
        let begun = now();
        world.target.behave(&[Manner { path: "/plain".to_owned(), act, ..Manner::default() }]);
        // From the books: a lone request may be refused before anybody begins to count.
        let first = until("a request is refused", async || {
            let refused = |r: &Receipt| !r.taken && r.at >= begun;
            world.books.receipts("/plain").into_iter().find(refused).map(|r| r.at)
        })
        .await;
        world.target.behave(&[]);
        let end = match form {
            "seconds" => first - 50 + LEFT_ALONE * 1_000,
            _ => date.timestamp_millis() as u64,
        };
        asked.push((first + UNDER_WAY, end));
        sleep(Duration::from_millis(end.saturating_sub(now()))).await;
        world.healed("the time");
    }
    world.settled([shop]).await;
    until("the other application has every order", async || {
        let of_other: Vec<Receipt> = crate::ledger::read(&world.books.file("other"));
        let ids = |all: &[Receipt]| all.iter().map(|r| r.id.clone()).collect::<BTreeSet<_>>();
        (ids(&of_other) == ids(&world.books.receipts("/unique"))).then_some(())
    })
    .await;

    let account = world.held("/plain", &["plain"]).await;
    assert_eq!((account.repeated, account.dead_letters), (0, 0));
    let others: Vec<Receipt> = crate::ledger::read(&world.books.file("other"));
    for (from, end) in asked {
        let within = |all: &[Receipt]| all.iter().filter(|r| (from..end).contains(&r.at)).count();
        for path in ["/plain", "/unique"] {
            assert_eq!(within(&world.books.receipts(path)), 0, "{path} before the time");
        }
        assert!(within(&others) > 0, "the other host was left alone, too");
    }
    process.assert_alive();
}

/// It refuses all orders of a customer for good: each goes to the dead letters after one try, the
/// others are not held up. A route that parks keys tries the first one only; once it is retried, all
/// arrive in order.
pub async fn t11_the_target_refuses_for_good(run: &Run) {
    let parking = "  parked: { from: @erp.sales, to: erp, path: /parked, start: beginning, on_error: park_key }\n";
    let sinks = SINKS.to_owned() + parking;
    let mut world = World::around(run, &[TOPICS, SOURCE, PROCESSOR, &sinks]).await;
    let of = |customer: &str, status| Manner { id: format!("{customer}/"), ..answer(status) };
    world.target.behave(&[of("S1-0", 400), of("S1-1", 422)]);
    world.inflicted("400");
    world.inflicted("422");
    let mut process = world.started().await;
    let shop = world.shop(8);
    world.receives("/plain", 100).await;
    world.settled([shop]).await;
    let (plain, parked) =
        (world.account("/plain", &["plain"]).await, world.account("/parked", &["parked"]).await);
    let refused = |path| {
        let mut tries: BTreeMap<String, usize> = BTreeMap::new();
        for receipt in world.books.receipts(path).into_iter().filter(|r| !r.taken) {
            *tries.entry(receipt.id).or_default() += 1;
        }
        tries
    };
    let (tries, tries_parked) = (refused("/plain"), refused("/parked"));

    world.target.behave(&[]);
    world.healed("201");
    let route = world.route("parked");
    let retried = world.folder.ask(&["dead-letters", "retry", &route, "--all"]).await;
    assert_eq!(retried.code, 0, "{retried:?}");
    until("every parked order has arrived", async || {
        world.account("/parked", &[]).await.lost.is_empty().then_some(())
    })
    .await;
    let mut retried = world.account("/parked", &[]).await;
    // What was refused for good is sent under a new key: its application may have kept the answer.
    let renewed = std::mem::take(&mut retried.keys_changed);

    run.report(&plain);
    plain.holds();
    parked.holds();
    retried.holds();
    assert_eq!(plain.repeated + retried.repeated, 0);
    assert_eq!(renewed, ["S1-0/000000", "S1-1/000000"]);
    assert!(tries.values().all(|tries| *tries == 1), "{tries:?}");
    assert_eq!(tries.len(), plain.dead_letters);
    let first = ["S1-0/000000", "S1-1/000000"].map(|id| (id.to_owned(), 1));
    assert_eq!(tries_parked, BTreeMap::from(first));
    assert_eq!(parked.dead_letters, plain.dead_letters, "those behind are parked, too");
    process.assert_alive();
}

/// It refuses whoever calls: the routes wait, say so, and go on by themselves.
pub async fn t12_the_target_refuses_us(run: &Run) {
    let mut world = World::around(run, ORDERS_TO_SALES).await;
    let mut process = world.started().await;
    let shop = world.shop(8);
    for status in [410, 401, 403] {
        world.receives("/plain", 10).await;
        world.inflicted(&status.to_string());
        world.target.behave(&[answer(status)]);
        world.operators().waits(&world.route("plain"), &[&status.to_string()]).await;
        run.moment(1_000..3_000).await;
        world.target.behave(&[]);
        world.healed("201");
    }
    world.settled([shop]).await;

    let account = world.held("/plain", &["plain"]).await;
    assert_eq!((account.repeated, account.dead_letters), (0, 0));
    process.assert_alive();
}

/// It takes each order, and its answer is cut, comes byte by byte, or never ends. A slot is free
/// again by the time-out at the latest, and no more is read than is needed.
pub async fn t13_the_answer_has_no_end(run: &Run) {
    let sinks = SINKS.replace("timeout: 5s", "timeout: 1s");
    let mut world = World::around(run, &[TOPICS, SOURCE, PROCESSOR, &sinks]).await;
    let mut process = world.started().await;
    let shop = world.shop(8);
    world.receives("/plain", 20).await;
    let before = process.peak_memory();
    let acts = [
        Act::TakeAndCut,
        Act::TakeAndTrickle { every: 300 },
        Act::TakeAndFlood { bytes: 10_000_000_000 },
    ];
    for act in acts {
        world.inflicted(&format!("{act:?}"));
        world.target.behave(&[Manner { act, ..Manner::default() }]);
        // More than there are slots: they are free again.
        world.receives("/plain", 3 * CONCURRENCY).await;
        world.target.behave(&[]);
        world.healed("201");
    }
    world.settled([shop]).await;

    let account = world.account("/plain", &["plain"]).await;
    run.report(&account);
    let grown = process.peak_memory() - before;
    run.note(|finding| finding.note = format!("the process grew by {grown} MiB"));
    account.holds();
    assert_eq!(account.dead_letters, 0);
    assert!(grown < 100, "the process grew by {grown} MiB");
    process.assert_alive();
}

/// It never takes one order, and takes all others. The order is given up after ten seconds; only
/// its customer waits for it.
pub async fn t33_one_record_never_passes(run: &Run) {
    const NEVER: &str = "S1-0/000003";
    let sinks = SINKS.replace("path: /plain,", "path: /plain, give_up_after: 10s,");
    let mut world = World::around(run, &[TOPICS, SOURCE, PROCESSOR, &sinks]).await;
    let path = "/plain".to_owned();
    world.target.behave(&[Manner { id: NEVER.to_owned(), path, ..answer(500) }]);
    world.inflicted("500");
    let mut process = world.started().await;
    let shop = world.shop(8);
    until("the order is given up", async || {
        (!world.dead_letters("plain").await.is_empty()).then_some(())
    })
    .await;
    world.healed("given up");
    world.receives("/plain", 30).await;
    world.settled([shop]).await;

    world.held("/plain", &["plain"]).await;
    let letters = world.dead_letters("plain").await;
    let dead: Vec<_> = letters.iter().map(|letter| letter.header("ce_id")).collect();
    assert_eq!(dead, [NEVER]);
    let receipts = world.books.receipts("/plain");
    let tries: Vec<u64> = receipts.iter().filter(|r| r.id == NEVER).map(|r| r.at).collect();
    let (first, last) = (tries[0], tries[tries.len() - 1]);
    assert!(last - first > 8_000 && tries.len() > 3, "{tries:?}");
    let meanwhile = |customer: usize| {
        let of = format!("S1-{customer}/");
        let taken = receipts.iter().filter(|r| r.taken && r.id.starts_with(&of));
        taken.filter(|r| (first..last).contains(&r.at)).count()
    };
    assert_eq!(meanwhile(0), 0, "the customer's later orders wait");
    for customer in 1..8 {
        assert!(meanwhile(customer) > 1, "customer {customer} waited: {}", meanwhile(customer));
    }
    process.assert_alive();
}
