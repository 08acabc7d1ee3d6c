//! Everything that speaks to Kafka; the only module that imports rdkafka.

mod admin;
mod cluster;
mod consumer;
mod error;
mod group;
mod native;
mod offsets;
mod producer;
mod pulse;
mod reader;
mod rebalance;
mod record;
mod topics;

pub(crate) use admin::blocking;
pub use admin::{Admin, TopicListing};
pub use cluster::Cluster;
pub use consumer::{Consumer, Decide, End, Group, Intake};
pub use group::{GroupOffsets, GroupView};
pub use offsets::{Bounds, Committed};
pub use producer::{Acknowledge, Producer, Urgency};
pub use pulse::Pulse;
pub use reader::{ReadFrom, Reader};
pub use record::Record;
pub use topics::drift;
