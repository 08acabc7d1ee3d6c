//! Routes against brokers: the embedded one, or those of `PASSERELLE_TEST_BROKERS`.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod delivery;
mod outages;
mod positions;
mod processing;
mod world;
mod zombie;
