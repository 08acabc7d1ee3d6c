//! Memory is bounded while Kafka takes nothing.

use tests::gate::Answer;

use crate::application::Application;
use crate::endtoend::until;
use crate::world::{Found, World};

/// How many events prove that it goes on.
const ENOUGH: usize = 200;

/// Kafka answers nothing any more when the source has written its first events of many.
pub async fn tell<A: Application>(world: &mut World<A>) {
    world.started("one").await;
    world.change(5).await;
    world.arrived().await;
    let before = world.process().peak_memory();
    world.stop().await;
    let few = Found::of::<A>(&world.events().await).ids;

    let flood = world.application.floods(&world.gate.address.to_string()).await;
    world.gate.hold(Answer::Written(A::TOPIC));
    world.start("one");
    world.held().await;
    // One that starts reads what is in Kafka.
    world.all_started().await;
    world.gate.shut(true);
    world.application.goes_on().await;
    world.process().assert_alive();
    let held = world.process().peak_memory();
    eprintln!("{}: {before} MiB, {held} MiB with all that Kafka does not take", A::NAME);
    world.gate.shut(false);
    assert!(held < before + A::GROWTH, "{}: {before} MiB became {held} MiB", A::NAME);

    world.application.is_told().await;
    until(&format!("{ENOUGH} of the events are in the topic"), async || {
        let found = Found::of::<A>(&world.events().await);
        flood[..ENOUGH].iter().all(|name| found.ids.contains_key(name)).then_some(())
    })
    .await;
    let after = world.process().peak_memory();
    assert!(after < before + A::GROWTH, "{}: {before} MiB became {after} MiB", A::NAME);
    world.stop().await;
    let found = Found::of::<A>(&world.events().await);
    found.holds::<A>();
    // What is there of the flood is its begin.
    let there = |name: &&String| found.ids.contains_key(*name) && !few.contains_key(*name);
    let begin = flood.iter().take_while(|name| there(name)).count();
    let beyond = flood[begin..].iter().filter(|name| there(name)).count();
    assert!(!A::ONCE || beyond == 0, "after {begin} events one is missing, and {beyond} follow");
    world.no_dead_letters().await;
}
