//! What the suites of this workspace share: brokers to test against, clients of them, and waiting
//! with a deadline.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "it is part of tests: what goes wrong here fails the test that asked for it"
)]

pub mod admin;
pub mod apache_kafka;
pub mod bad_server;
pub mod broker_process;
pub mod cluster;
pub mod consumer;
pub mod deadline;
pub mod gate;
pub mod producer;
pub mod record;
pub mod suite;
