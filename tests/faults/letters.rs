//! Rows about events that cannot pass, and about dead letters that cannot be written.

use tests::admin::Admin;
use tests::producer::Producer;
use tests::record::Record;

use crate::endtoend::topic;
use crate::run::Run;
use crate::target::{Act, Manner};
use crate::world::{ORDERS_TO_SALES, World, until};

/// Nothing is needed.
pub fn obstacle() -> Option<String> {
    None
}

/// What cannot be read, made of a record that can.
fn pills(good: &[u8]) -> Vec<Vec<u8>> {
    let with = |at: usize, byte: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = byte;
        bytes
    };
    let accent = good.windows(2).position(|pair| pair == "É".as_bytes()).unwrap();
    let mut unknown = good.to_vec();
    unknown[1..5].copy_from_slice(&7_654_321_u32.to_be_bytes());
    vec![
        with(0, 7),
        unknown,
        good[..good.len() / 2].to_vec(),
        with(accent, 0xff),
        Vec::new(),
        b"{}".to_vec(),
    ]
}

/// Records that nothing can read lie among the sales.
pub async fn t05_poison_among_the_records(run: &Run) {
    let mut world = World::around(run, ORDERS_TO_SALES).await;
    let mut process = world.started().await;
    let shop = world.shop(8);
    world.receives("/plain", 50).await;
    let (kafka, topic) = (world.kafka(), world.topic("erp.sales"));
    let records = topic::read(kafka.clone(), &topic).await;
    let pills = pills(records[0].value.as_deref().unwrap());
    let poison: Vec<_> =
        pills.iter().map(|pill| Record::of(pill.clone()).keyed("poison")).collect();
    world.inflicted("poison");
    let written = poison.clone();
    tokio::task::spawn_blocking(move || Producer::new(&kafka, &[]).write(&topic, 1, &written))
        .await
        .unwrap();
    until("all of it is in the dead letters", async || {
        (world.dead_letters("plain").await.len() >= poison.len()).then_some(())
    })
    .await;
    world.healed("all in the dead letters");
    world.receives("/plain", 20).await;
    world.settled([shop]).await;
    world.operators().caught_up().await;

    let account = world.held("/plain", &["plain"]).await;
    assert_eq!(account.repeated, 0);
    for route in ["plain", "unique"] {
        let letters = world.dead_letters(route).await;
        let mut values: Vec<_> =
            letters.iter().map(|l| l.value.clone().unwrap_or_default()).collect();
        let mut expected = pills.clone();
        values.sort();
        expected.sort();
        assert_eq!(values, expected, "byte for byte, once each");
        for letter in &letters {
            let added =
                letter.headers.iter().filter(|(name, _)| name.starts_with("__connect.errors."));
            assert_eq!((added.count(), letter.key.as_deref()), (10, Some(b"poison".as_slice())));
        }
    }
    process.assert_alive();
}

/// Does something to a topic.
async fn administer(
    world: &World<'_>,
    topic: &str,
    act: impl FnOnce(&Admin, &str) + Send + 'static,
) {
    let (kafka, topic) = (world.kafka(), topic.to_owned());
    tokio::task::spawn_blocking(move || act(&Admin::new(&kafka), &topic)).await.unwrap();
}

/// Sets the largest batch that a topic takes, in bytes.
async fn configure(world: &World<'_>, topic: &str, bytes: &'static str) {
    administer(world, topic, move |admin, topic| {
        admin.configure(topic, &[("max.message.bytes", bytes)]);
    })
    .await;
}

/// The application takes nothing of the first customer, ever.
fn refuse_one_customer(world: &mut World<'_>) {
    let act = Act::Answer { status: 422, headers: Vec::new() };
    let manner =
        Manner { path: "/plain".to_owned(), id: "S1-0/".to_owned(), act, ..Manner::default() };
    world.target.behave(&[manner]);
}

/// Where a route's dead letters go.
fn grave(route: &str) -> String {
    format!("{}.dead-letters", route.replace('/', "."))
}

/// The topic of the dead letters takes nothing that large: the route waits and says so, its offset
/// stays, and once the topic takes it everything goes on.
pub async fn t06_the_dead_letters_cannot_be_written(run: &Run) {
    let mut world = World::around(run, ORDERS_TO_SALES).await;
    let mut process = world.started().await;
    let shop = world.shop(8);
    world.receives("/plain", 20).await;
    let route = world.route("plain");
    let topic = grave(&route);
    configure(&world, &topic, "200").await;
    world.inflicted("too large for the dead letters");
    refuse_one_customer(&mut world);
    world.operators().waits(&route, &[&topic]).await;
    run.moment(1_000..2_000).await;
    assert!(world.dead_letters("plain").await.is_empty());
    // A restart does not pass it either.
    process.kill();
    process = world.started().await;
    world.operators().state(&route, "waiting").await;
    configure(&world, &topic, "2097152").await;
    world.healed("it fits");
    until("the dead letters are written", async || {
        (!world.dead_letters("plain").await.is_empty()).then_some(())
    })
    .await;
    world.target.behave(&[]);
    world.settled([shop]).await;

    let account = world.held("/plain", &["plain"]).await;
    assert!(account.dead_letters > 0);
    let letters = world.dead_letters("plain").await;
    assert!(letters.iter().all(|letter| letter.header("ce_id").starts_with("S1-0/")));
    process.assert_alive();
}

/// Somebody deletes the topic of the dead letters: the route waits and says so, and once the topic is
/// there again everything goes on.
pub async fn t06_the_topic_of_dead_letters_is_gone(run: &Run) {
    let mut world = World::around(run, ORDERS_TO_SALES).await;
    let mut process = world.started().await;
    let shop = world.shop(8);
    world.receives("/plain", 20).await;
    let route = world.route("plain");
    let topic = grave(&route);
    administer(&world, &topic, |admin, topic| admin.delete_topic(topic).unwrap()).await;
    world.inflicted("no topic for the dead letters");
    refuse_one_customer(&mut world);
    world.operators().waits(&route, &[&topic]).await;
    run.moment(1_000..2_000).await;
    administer(&world, &topic, |admin, topic| {
        admin.create_topic(topic, 1, 1, &[]).unwrap();
    })
    .await;
    world.healed("it is there again");
    until("the dead letters are written", async || {
        (!world.dead_letters("plain").await.is_empty()).then_some(())
    })
    .await;
    world.target.behave(&[]);
    world.settled([shop]).await;
    assert!(world.held("/plain", &["plain"]).await.dead_letters > 0);
    process.assert_alive();
}
