//! Nothing is lost at a kill between publish and acknowledge.

use std::time::Duration;

use rand::Rng as _;
use tests::gate::Answer;
use tokio::time::sleep;

use crate::application::Application;
use crate::world::World;

/// How often it is killed while things change.
const KILLS: usize = 3;
/// How many things change between two kills, and in how many steps.
const CHANGES: usize = 40;
const STEPS: usize = 4;

/// How long a source has to take up a change that does not reach Kafka.
const ON_THE_WAY: Duration = Duration::from_millis(500);

/// SIGKILL at random moments while things change; then while events do not reach Kafka, once Kafka has
/// written events and has not said so, and once it has committed their transaction and has not said so.
pub async fn tell<A: Application>(world: &mut World<A>) {
    world.started("one").await;
    for _ in 0..KILLS {
        let mut names = Vec::new();
        let moment = Duration::from_millis(rand::rng().random_range(0..400));
        let killed = tokio::time::Instant::now() + moment;
        for _ in 0..STEPS {
            names.extend(world.application.change(CHANGES / STEPS).await);
            sleep(Duration::from_millis(rand::rng().random_range(0..60))).await;
        }
        world.notes(names);
        tokio::time::sleep_until(killed).await;
        world.kill_and_start();
    }
    world.arrived().await;

    world.gate.shut(true);
    world.change(CHANGES).await;
    sleep(ON_THE_WAY).await;
    world.process().kill();
    world.gate.shut(false);
    world.started("one").await;
    world.arrived().await;

    let mut answers = vec![Answer::Written(A::TOPIC)];
    if A::ONCE {
        answers.push(Answer::Committed(A::TOPIC));
    }
    for answer in answers {
        world.gate.hold(answer);
        world.change(CHANGES).await;
        world.held().await;
        world.kill_and_start();
        world.runs().await;
        world.arrived().await;
    }
    world.holds().await;
}
