//! Reading goes on where it was left, on whichever instance.

use crate::application::Application;
use crate::world::World;

const CHANGES: usize = 30;

/// It stops; things change and old ones are shown again while nothing runs; another instance, which has
/// no files yet, goes on. That one is killed, and the first one goes on.
pub async fn tell<A: Application>(world: &mut World<A>) {
    world.started("one").await;
    world.change(CHANGES).await;
    world.arrived().await;
    world.stop().await;

    world.change(CHANGES).await;
    world.application.repeats().await;
    world.started("another").await;
    world.arrived().await;
    world.process().kill();

    world.change(CHANGES).await;
    world.started("one").await;
    world.holds().await;
}
