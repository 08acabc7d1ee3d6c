//! The broker's configuration.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use crate::log::{Fsync, LogConfig};

/// What a broker is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder of its files; created if it is missing, locked while the broker runs.
    pub directory: PathBuf,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether `listen` may be another address than loopback. There is no authentication: who
    /// reaches the port reads and writes everything.
    pub allow_remote: bool,
    /// The host and port that clients are told to connect to, if other than where it listens.
    pub advertised: Option<(String, u16)>,
    /// When records are synced to disk.
    pub fsync: Fsync,
    /// The partitions of a topic created without a number of them (`num.partitions`).
    pub default_partitions: i32,
    /// What topics do not set themselves.
    pub topic_defaults: LogConfig,
    /// Whether asking for a topic that is missing creates it (`auto.create.topics.enable`).
    pub auto_create: bool,
    /// How long the offsets of a group without members are kept (`offsets.retention.minutes`).
    pub offsets_retention: Duration,
    /// How often retention and compaction look for work (`log.retention.check.interval.ms`).
    pub cleaning_interval: Duration,
    /// How long the first rebalance of a group waits for more members
    /// (`group.initial.rebalance.delay.ms`).
    pub initial_rebalance_delay: Duration,
    /// What bounds its use of memory and files.
    pub limits: Limits,
}

/// What bounds a broker's use of memory and files.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a produce request; other requests are held to 8 MiB (`socket.request.max.bytes`).
    pub request_bytes: usize,
    /// Bytes of all the requests being read or answered (`queued.max.request.bytes`).
    pub requests_bytes: usize,
    /// Bytes of a fetch response, but for its first batch (`fetch.max.bytes`).
    pub fetch_bytes: usize,
    /// Connections at a time (`max.connections`).
    pub connections: usize,
    /// Produce requests of one connection that wait for the disk together.
    pub pipelined: usize,
    /// Partitions of all topics: each keeps a few files open.
    pub partitions: usize,
    /// Members of one consumer group (`group.max.size`).
    pub group_members: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            request_bytes: 100 * MIB,
            requests_bytes: 256 * MIB,
            fetch_bytes: 50 * MIB,
            connections: 1000,
            pipelined: 16,
            partitions: 4000,
            group_members: 1000,
        }
    }
}

impl Config {
    /// A broker on a free port of loopback that syncs what it acknowledges, with the defaults of
    /// Apache Kafka otherwise.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            directory: directory.into(),
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            allow_remote: false,
            advertised: None,
            fsync: Fsync::EveryAcknowledgement,
            default_partitions: 1,
            topic_defaults: LogConfig::default(),
            auto_create: false,
            offsets_retention: 7 * DAY,
            cleaning_interval: Duration::from_secs(15),
            initial_rebalance_delay: Duration::ZERO,
            limits: Limits::default(),
        }
    }
}
