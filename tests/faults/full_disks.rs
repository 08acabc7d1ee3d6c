//! The row in which the process's disk is full, or cannot be written.

use crate::disk::{self, Disk};
use crate::endtoend::process::{Process, Signal};
use crate::run::{Broker, Run};
use crate::world::{ORDERS_TO_SALES, World, until};

/// A small disk is needed.
pub fn obstacle() -> Option<String> {
    disk::obstacle()
}

/// Room for a broker with a few thousand orders.
const MEBIBYTES: u32 = 64;

/// The disk with the process's data and its log is full for a while. With the broker on it, calls are
/// refused with 503; with the broker elsewhere, orders go on. Then a start on a disk that cannot be
/// written says so.
pub async fn t22_the_disk_is_full_then_read_only(run: &Run) {
    let mut world = World::around(run, ORDERS_TO_SALES).await;
    let disk = Disk::mount(&world.folder.path().join("data"), MEBIBYTES).expect("it was possible");
    let inside = run.broker == Broker::Embedded;
    let start = |world: &World<'_>| {
        Process::start_with(
            world.folder.path(),
            "data/log",
            &["run", "pipeline.yaml"],
            &[("PASSERELLE_INSTANCE", "one")],
        )
    };
    let mut process = start(&world);
    world.operators().ready(&mut process).await;
    let shop = world.shop(8);
    world.receives("/plain", 20).await;
    world.inflicted("disk full");
    disk.fill();
    if inside {
        until("calls are refused with 503 and Retry-After", async || {
            let calls = world.books.calls();
            let refused = calls.iter().filter(|c| c.answer == Some(503) && c.retry_after).count();
            (refused >= 8).then_some(())
        })
        .await;
    } else {
        world.receives("/plain", 40).await;
    }
    process.assert_alive();
    disk.free();
    world.healed("disk");
    world.receives("/plain", 20).await;
    world.settled([shop]).await;

    let (plain, unique) =
        (world.account("/plain", &["plain"]).await, world.account("/unique", &["unique"]).await);
    run.report(&plain);
    plain.holds();
    unique.holds();
    assert_eq!((unique.effects_repeated, plain.dead_letters), (0, 0));
    process.signal(Signal::Terminate);
    assert!(process.ended().await.success());

    disk.read_only(true);
    let mut refused = world.start();
    let status = refused.ended().await;
    let log = refused.log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("Read-only file system") && !log.contains("panicked"), "{log}");
    disk.read_only(false);
    let process = world.started().await;
    assert!(process.terminate().await.success());
}
