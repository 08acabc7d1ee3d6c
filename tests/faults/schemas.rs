//! Rows in which the registry is away, or schemas change.

use crate::proxy::{Proxy, Weather};
use crate::run::Run;
use crate::world::{ORDERS_TO_SALES, PROCESSOR, SINKS, SOURCE, TOPICS, World};
use tests::cluster::Use;

/// Nothing is needed.
pub fn obstacle() -> Option<String> {
    None
}

/// A field that events written before do not have.
fn with_a_field(default: bool) -> String {
    let mut schema: serde_json::Value = serde_json::from_str(::schemas::events::SALE).unwrap();
    let mut field = serde_json::json!({ "name": "channel", "type": "string" });
    if default {
        field["default"] = "web".into();
    }
    schema["fields"].as_array_mut().unwrap().push(field);
    schema.to_string()
}

/// The registry cannot be reached: what runs goes on by the schemas that it has, and what is
/// started then goes on by those on its disk.
pub async fn t16_the_registry_is_away(run: &Run) {
    let mut world = World::apart(run, ORDERS_TO_SALES, Use::Shared).await;
    let registry = world.brokers().registry.clone();
    let proxy = Proxy::start(registry.parse().unwrap()).await;
    let file = std::fs::read_to_string(world.folder.path().join("pipeline.yaml")).unwrap();
    world.folder.write("pipeline.yaml", &file.replace(&registry, &proxy.address.to_string()));
    let mut process = world.started().await;
    let shop = world.shop(8);
    world.receives("/plain", 20).await;
    world.inflicted("the registry is cut off");
    proxy.set(Weather::Cut);
    world.receives("/plain", 50).await;
    world.inflicted("SIGKILL");
    world.kill_and_start(&mut process);
    world.healed("start without a registry");
    world.receives("/plain", 50).await;
    proxy.set(Weather::Fair);
    world.settled([shop]).await;

    let account = world.held("/plain", &["plain"]).await;
    assert_eq!(account.dead_letters, 0, "an absent registry makes no dead letters");
    process.assert_alive();
}

/// A producer gets a schema that the subject refuses: it alone waits and says why; with its old
/// schema it goes on at the same record.
pub async fn t17_a_producer_gets_an_incompatible_schema(run: &Run) {
    let around = [TOPICS, SOURCE, SINKS];
    let mut world = World::apart(run, &around, Use::Shared).await;
    let processor = world.another("processor", &[TOPICS, PROCESSOR]);
    let mut rest = world.started().await;
    let mut process = world.started_in(&processor, "processor").await;
    let shop = world.shop(8);
    world.receives("/plain", 30).await;
    let map = PROCESSOR
        .replace("      .web_id = .id\n", "      .web_id = .id\n      .channel = \"web\"\n");
    world.inflicted("an incompatible schema");
    assert!(process.terminate().await.success());
    processor.write("sale.avsc", &with_a_field(false));
    world.write(&processor, "processor", &[TOPICS, &map]);
    process = world.start_in(&processor, "processor");
    let stopped = processor.operators();
    crate::world::until("the operators' address answers", async || stopped.get("/status").await)
        .await;
    stopped.waits(&world.route("to_sale"), &["channel"]).await;
    // The source and the sinks have nothing to do with it.
    for name in ["shop", "plain", "unique"] {
        let others = world.operators().routes().await;
        assert_eq!(others[&world.route(name)]["state"], "running", "{others:?}");
    }
    run.moment(500..1_000).await;
    process.kill();
    processor.write("sale.avsc", ::schemas::events::SALE);
    world.write(&processor, "processor", &[TOPICS, PROCESSOR]);
    process = world.started_in(&processor, "processor").await;
    world.healed("the old schema");
    world.receives("/plain", 30).await;
    world.settled([shop]).await;

    let account = world.held("/plain", &["plain"]).await;
    assert_eq!((account.repeated, account.dead_letters), (0, 0));
    assert_eq!(world.account_of_topic("erp.sales").await.repeated, 0);
    process.assert_alive();
    rest.assert_alive();
}

/// The producer gets a field with a default while consumers keep the old schema: both versions are
/// read.
pub async fn t18_a_schema_gets_a_field_with_a_default(run: &Run) {
    let around = [TOPICS, SOURCE, SINKS];
    let mut world = World::apart(run, &around, Use::Shared).await;
    let processor = world.another("processor", &[TOPICS, PROCESSOR]);
    let mut rest = world.started().await;
    let mut process = world.started_in(&processor, "processor").await;
    let shop = world.shop(8);
    world.receives("/plain", 30).await;
    world.inflicted("a field with a default");
    assert!(process.terminate().await.success());
    processor.write("sale.avsc", &with_a_field(true));
    let map = PROCESSOR
        .replace("      .web_id = .id\n", "      .web_id = .id\n      .channel = \"shop\"\n");
    world.write(&processor, "processor", &[TOPICS, &map]);
    process = world.started_in(&processor, "processor").await;
    world.healed("started");
    world.receives("/plain", 60).await;
    world.settled([shop]).await;

    let account = world.held("/plain", &["plain"]).await;
    assert_eq!((account.repeated, account.dead_letters), (0, 0));
    let mut ids = std::collections::BTreeSet::new();
    for record in crate::endtoend::topic::read(world.kafka(), &world.topic("erp.sales")).await {
        ids.insert(record.value.unwrap()[1..5].to_vec());
    }
    assert_eq!(ids.len(), 2, "both versions are in the topic");
    process.assert_alive();
    rest.assert_alive();
}
