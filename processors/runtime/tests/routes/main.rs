//! Routes against brokers: the embedded one, or those of `PASSERELLE_TEST_BROKERS`.

mod delivery;
mod outages;
mod positions;
mod processing;
mod world;
mod zombie;
