//! The embedded broker: one node that speaks Apache Kafka's protocol.
//!
//! It is for one machine. Clients of Kafka (librdkafka, kcat, Java's, the command-line tools) see
//! a cluster of one broker: topics with partitions, consumer groups, idempotent producers,
//! transactions, retention and compaction. What it acknowledges is on disk. Not served:
//! authentication, replication.
//!
//! ```no_run
//! # async fn example() -> Result<(), broker::BrokerError> {
//! let broker = broker::Broker::start(broker::Config::new("./data")).await?;
//! broker.create_topic("orders", 12, &[("retention.ms", "-1")]).await?;
//! println!("bootstrap.servers={}", broker.address());
//! broker.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod api;
mod broker;
mod cleaning;
mod config;
mod error;
mod groups;
pub mod log;
mod node;
mod refusal;
mod server;
mod topics;
mod transactions;
mod wire;

pub use self::{
    broker::{Broker, TopicHandle},
    config::{Config, Limits},
    error::BrokerError,
};
