//! Everything that speaks to Kafka; the only module that imports rdkafka.

mod absence;
mod admin;
mod cluster;
mod consumer;
mod ends;
mod error;
mod follower;
mod group;
mod limits;
mod login;
mod native;
mod offsets;
mod ownership;
mod partitioner;
mod polled;
mod producer;
mod pulse;
mod reader;
mod rebalance;
mod record;
mod resuming;
mod topics;
mod transacting;
mod transactions;
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
mod waits;

pub(crate) use admin::blocking;
pub use admin::{Admin, TopicListing};
pub use cluster::Cluster;
pub use consumer::{Consumer, Decide, End, Group, Intake};
pub use ends::Measured;
pub(crate) use error::TOO_LARGE;
pub use follower::Follower;
pub use group::{GroupOffsets, GroupView, group_of};
pub(crate) use limits::{Limits, Refused};
pub use offsets::{Bounds, Committed};
pub use ownership::{OWNERS_TOPIC, Owner, Ownership};
pub(crate) use partitioner::partition_of;
pub use producer::{Acknowledge, Producer, Urgency};
pub use pulse::Pulse;
pub use reader::{ReadFrom, Reader, open_end, stable_end};
pub use record::Record;
pub use resuming::Positions;
pub use topics::drift;
pub use transactions::{Transactions, Unwritten};
