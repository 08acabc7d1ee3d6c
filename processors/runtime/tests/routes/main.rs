//! Routes against brokers: the embedded one, or those of `PASSERELLE_TEST_BROKERS`.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod awaiting;
mod deduplicating;
mod delivery;
mod enriching;
mod exactly_once;
mod lookups;
mod outages;
mod oversize;
mod owners;
mod parking;
mod positions;
mod processing;
mod survey;
mod world;
mod zombie;
