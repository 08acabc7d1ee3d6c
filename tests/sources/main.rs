//! What every source promises about its application, whatever fails: nothing is lost at a kill between
//! publish and acknowledge, reading goes on at the cursor, memory is bounded while Kafka takes nothing,
//! and credentials that are refused are named.
//!
//! An application is what is different about a source: how things change in it, what its credentials
//! are, how it comes to hold more than fits ([`application::Application`], in a file of its own). The
//! promises are told once, for all of them. Each case has a broker of its own behind a
//! [gate](tests::gate::Gate), which holds back the very answer that a kill is to come before.
//!
//! ```text
//! cargo test --workspace --test sources                  all but PostgreSQL's
//! just sources                                           all
//! cargo test --workspace --test sources -- kafka::       one source
//! cargo test --workspace --test sources -- credentials   one promise
//! ```
//!
//! # A new source
//!
//! A file with its application, and a line in [`main`].
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod application;
mod backpressure;
mod credentials;
#[path = "../endtoend/mod.rs"]
mod endtoend;
mod file;
mod kafka;
mod kills;
mod poll;
mod postgres;
mod registry;
mod resuming;
mod schedule;
#[path = "../cdc/server.rs"]
mod server;
mod webhook;
mod world;

use std::process::ExitCode;

use application::Application;
use tests::suite::Suite;
use world::World;

/// Cases mostly wait: more than there are cores make the best of them.
const AT_ONCE: usize = 4;

fn main() -> ExitCode {
    tests::broker_process::serve_if_asked();
    let mut suite = Suite::default();
    suite.at_once(AT_ONCE);
    promises::<webhook::Shop>(&mut suite);
    promises::<poll::Crm>(&mut suite);
    promises::<file::Exports>(&mut suite);
    promises::<schedule::Clock>(&mut suite);
    promises::<kafka::Warehouse>(&mut suite);
    promises::<postgres::Till>(&mut suite);
    let conclusion = suite.run();
    registry::end();
    conclusion
}

/// What every source promises.
const PROMISES: [&str; 4] = [
    "nothing_is_lost_at_a_kill_between_publish_and_acknowledge",
    "it_resumes_from_the_cursor_wherever_it_starts",
    "memory_is_bounded_while_kafka_takes_nothing",
    "credentials_that_are_refused_are_named",
];

/// The promises of a source.
fn promises<A: Application>(suite: &mut Suite) {
    let named = |promise: &str| format!("{}::{promise}", A::NAME);
    if let Some(why) = A::obstacle() {
        return suite.skip(PROMISES.map(named), &format!("{}: {why}", A::NAME));
    }
    let [kills, resuming, backpressure, credentials] = PROMISES.map(named);
    add::<A>(suite, kills, kills::tell);
    add::<A>(suite, resuming, resuming::tell);
    add::<A>(suite, backpressure, backpressure::tell);
    match A::WITHOUT_CREDENTIALS {
        Some(why) => suite.skip([credentials], &format!("{}: {why}", A::NAME)),
        None => add::<A>(suite, credentials, credentials::tell),
    }
}

fn add<A: Application>(
    suite: &mut Suite,
    name: String,
    tell: impl AsyncFnOnce(&mut World<A>) + Send + 'static,
) {
    suite.case(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut world = World::<A>::new().await;
            tell(&mut world).await;
            world.end().await;
        });
        runtime.shutdown_background();
    });
}
