//! Rows in which callers of a webhook repeat themselves or lie.

use std::io::Write as _;
use std::time::Duration;

use tokio::time::sleep;

use crate::endtoend::shop::{Call, SECRET, now, order, signed, signed_with};
use crate::endtoend::topic;
use crate::run::Run;
use crate::world::{ORDERS_TO_SALES, PROCESSOR, SINKS, SOURCE, TOPICS, World, until};

/// Nothing is needed.
pub fn obstacle() -> Option<String> {
    None
}

/// How long ids are remembered in the row on repeats: seconds for a day.
const WINDOW: Duration = Duration::from_secs(6);

/// The same call five times one after the other, fifty times at once, and after the window.
pub async fn t19_a_webhook_is_called_again_and_again(run: &Run) {
    let source = SOURCE.replace("path: /shop,", "path: /shop, window: { for: 6s, at_most: 1000 },");
    let mut world = World::around(run, &[TOPICS, &source, PROCESSOR, SINKS]).await;
    let mut process = world.started().await;
    // Others order meanwhile, and repeat themselves.
    let shop = world.shop_that(|plan| plan.again = 50);
    world.receives("/plain", 20).await;
    let caller = world.folder.shop();
    let call = |id: &str| signed(id, order(id, "S9-0").to_string());
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(caller.send(call("S9-0/000000")).await.status);
        world.inflicted("again");
    }
    let together = (0..50).map(|_| caller.send(call("S9-0/000001")));
    let together = futures::future::join_all(together).await;
    statuses.extend(together.iter().map(|answer| answer.status));
    world.inflicted("fifty at once");
    let count = async || {
        let events = topic::read(world.kafka(), &world.topic("shop.orders")).await;
        events.iter().filter(|event| event.header("ce_id").starts_with("S9-0/")).count()
    };
    let within = count().await;
    sleep(WINDOW + Duration::from_secs(2)).await;
    let answer = caller.send(call("S9-0/000001")).await;
    statuses.push(answer.status);
    assert_eq!(answer.body["duplicate"], false, "the window is over: {}", answer.body);
    let after = count().await;
    world.settled([shop]).await;

    let orders = world.account_of_topic("shop.orders").await;
    run.report(&world.account("/plain", &["plain"]).await);
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!((within, after), (2, 3), "one event an id within the window, a new one after it");
    assert!(orders.lost.is_empty(), "{:?}", orders.lost);
    assert_eq!(orders.repeated, 1, "only what came again after the window");
    process.assert_alive();
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// Calls that are not the shop's, each with the answer that it gets.
fn attacks() -> Vec<(&'static str, u16, Call)> {
    let body = order("S9-0/000000", "S9-0").to_string();
    let good = || signed("attack", body.clone());
    let header = |call: &Call| call.headers.last().unwrap().1.clone();
    let signature = header(&good());
    let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let spaced = body.replace(':', ": ");
    let large = vec![b' '; 2 << 20];
    let bomb = gzip(&vec![b' '; 200 << 20]);
    vec![
        ("another secret", 401, signed_with(other, now(), "attack", body.clone())),
        ("no signature", 401, good().with("webhook-signature", "")),
        ("an empty signature", 401, good().with("webhook-signature", "v1,")),
        ("a cut signature", 401, good().with("webhook-signature", &signature[..20])),
        ("an old time", 401, signed_with(SECRET, now() - 301, "attack", body.clone())),
        ("a time to come", 401, signed_with(SECRET, now() + 330, "attack", body.clone())),
        ("a body written anew", 401, Call { body: spaced.into_bytes(), ..good() }),
        ("another id", 401, good().with("webhook-id", "other")),
        ("a large body", 413, signed("attack", large)),
        ("a gzip bomb", 413, signed("attack", bomb).with("content-encoding", "gzip")),
        ("no gzip at all", 400, signed("attack", body.clone()).with("content-encoding", "gzip")),
    ]
}

/// Liars call while the shop orders: nothing of theirs is kept, nobody else is held up.
pub async fn t20_liars_call_a_webhook(run: &Run) {
    let mut world = World::around(run, ORDERS_TO_SALES).await;
    let mut process = world.started().await;
    let shop = world.shop(8);
    world.receives("/plain", 20).await;
    let before = process.peak_memory();
    let caller = world.folder.shop();
    let mut answers = Vec::new();
    for (what, expected, call) in attacks() {
        world.inflicted(what);
        // Who is refused before all is sent may find the connection closed, and calls again.
        let answer = until(what, async || caller.try_send(call.clone()).await).await;
        answers.push((what, expected, answer.status));
    }
    world.healed("none");
    world.receives("/plain", 20).await;
    world.settled([shop]).await;

    world.held("/plain", &["plain"]).await;
    for (what, expected, status) in answers {
        assert_eq!(status, expected, "{what}");
    }
    let orders = world.account_of_topic("shop.orders").await;
    assert!(orders.invented.is_empty(), "{:?}", orders.invented);
    assert!(world.dead_letters("shop").await.is_empty());
    let grown = process.peak_memory() - before;
    assert!(grown < 100, "the process grew by {grown} MiB");
    process.assert_alive();
}
