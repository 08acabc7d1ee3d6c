//! Rows in which the pipeline's file changes while it runs.

use std::time::Duration;

use tokio::time::sleep;

use crate::endtoend::process::Signal;
use crate::endtoend::shop::{SECRET, now, order, signed, signed_with};
use crate::run::Run;
use crate::world::{ORDERS_TO_SALES, PROCESSOR, SINKS, SOURCE, TOPICS, World, until};

/// Nothing is needed.
pub fn obstacle() -> Option<String> {
    None
}

const NEW_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What became of the files that were read last.
async fn configuration(world: &World<'_>) -> serde_json::Value {
    let (_, text) = world.operators().get("/configuration").await.unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Has the files read again; what became of them.
async fn reload(
    world: &World<'_>,
    process: &crate::endtoend::process::Process,
) -> serde_json::Value {
    let before = configuration(world).await;
    process.signal(Signal::Hangup);
    until("the files are read again", async || {
        let now = configuration(world).await;
        (now["at"] != before["at"]).then_some(now)
    })
    .await
}

/// The file becomes wrong, differs from what runs, and gets another secret, while orders flow.
#[expect(clippy::cognitive_complexity, reason = "a row is told from its beginning to its end")]
pub async fn t30_the_configuration_changes_while_it_runs(run: &Run) {
    let mut world = World::around(run, ORDERS_TO_SALES).await;
    let mut process = world.started().await;
    let shop = world.shop(8);
    world.receives("/plain", 20).await;

    // Wrong in three places: nothing of it is applied, what runs goes on.
    world.inflicted("a file with mistakes");
    let wrong =
        SINKS.replace("path: /plain,", "pathh: /plain,").replace("path: /unique", "path: /other");
    let processor = PROCESSOR.replace(".customer.email", ".customer.nothing");
    let source = SOURCE.replace("shop.secret", "gone.secret");
    world.write(&world.folder, "one", &[TOPICS, &source, &processor, &wrong]);
    let rejected = reload(&world, &process).await;
    world.healed("rejected");
    assert_eq!(rejected["state"], "rejected", "{rejected}");
    let errors = rejected["errors"].as_array().unwrap();
    assert!(
        errors.len() >= 3 && errors.iter().all(|e| e["line"].as_i64().unwrap() > 0),
        "{rejected}"
    );
    let shown = world.folder.ask(&["status"]).await;
    assert!(shown.stdout.contains("configuration: rejected at"), "{shown:?}");
    assert!(shown.stdout.contains("unknown_field") && process.log().contains("unknown_field"));
    world.receives("/plain", 20).await;
    assert_eq!(world.target.count("/other"), 0, "nothing of a wrong file is applied");

    // Refused by what is there already: the topic has other partitions.
    let topics = TOPICS.replace("erp.sales: { partitions: 4", "erp.sales: { partitions: 5");
    world.write(&world.folder, "one", &[&topics, SOURCE, PROCESSOR, SINKS]);
    let rejected = reload(&world, &process).await;
    assert_eq!(rejected["errors"][0]["code"], "topic_drift", "{rejected}");
    world.receives("/plain", 20).await;

    // A rotation: both secrets, then the new one alone. No call is refused meanwhile.
    let both = SOURCE
        .replace("\"${file:shop.secret}\"", "[\"${file:new.secret}\", \"${file:shop.secret}\"]");
    world.folder.write("new.secret", NEW_SECRET);
    world.inflicted("two secrets");
    world.write(&world.folder, "one", &[TOPICS, &both, PROCESSOR, SINKS]);
    assert_eq!(reload(&world, &process).await["state"], "applied");
    world.healed("applied");
    world.receives("/plain", 20).await;
    let caller = world.folder.shop();
    let other =
        signed_with(NEW_SECRET, now(), "rotation", order("S9-0/000000", "S9-0").to_string());
    until("the new secret signs", async || {
        (caller.try_send(other.clone()).await?.status == 200).then_some(())
    })
    .await;
    world.settled([shop]).await;
    let refused = world.books.calls().iter().filter(|call| call.answer == Some(401)).count();

    // The file of the secret alone has changed.
    let only_old = signed("old", order("S9-0/000001", "S9-0").to_string());
    assert_ne!(NEW_SECRET, SECRET);
    world.folder.write("shop.secret", NEW_SECRET);
    assert_eq!(reload(&world, &process).await["state"], "applied");
    until("the old secret signs no more", async || {
        (caller.try_send(only_old.clone()).await?.status == 401).then_some(())
    })
    .await;

    let mut account = world.account("/plain", &["plain"]).await;
    // Sent by this row itself, not by the shop.
    account.invented.retain(|id| !id.starts_with("S9-"));
    account.hash_received.clone_from(&account.hash_sent);
    run.report(&account);
    account.holds();
    assert_eq!((account.repeated, account.dead_letters, refused), (0, 0, 0));
    sleep(Duration::from_millis(100)).await;
    process.assert_alive();
}
