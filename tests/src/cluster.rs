//! A cluster of one broker to test against: ours, or the one it must not differ from.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{apache_kafka::ApacheKafka, broker_process::BrokerProcess};

/// Held to write by who restarts the Apache Kafka that all tests of a process share.
static SHARED: RwLock<()> = RwLock::new(());

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    address: String,
    node: Node,
}

#[derive(Debug)]
enum Node {
    Embedded(BrokerProcess),
    Apache { kafka: ApacheKafka, _turn: Turn },
}

#[derive(Debug)]
#[expect(dead_code, reason = "a guard is only held")]
enum Turn {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

/// Whether other tests may use the cluster at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// They may.
    Shared,
    /// They may not: it is going to be restarted.
    Alone,
}

impl Cluster {
    /// An embedded broker with nothing in it yet.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn embedded() -> Self {
        let process = BrokerProcess::start();
        Self { address: process.address().to_string(), node: Node::Embedded(process) }
    }

    /// A running Apache Kafka, once those have finished that want it alone.
    #[must_use]
    pub fn apache_kafka(kafka: &ApacheKafka, usage: Use) -> Self {
        let turn = match usage {
            Use::Shared => Turn::Shared(SHARED.read().unwrap_or_else(PoisonError::into_inner)),
            Use::Alone => Turn::Alone(SHARED.write().unwrap_or_else(PoisonError::into_inner)),
        };
        let node = Node::Apache { kafka: kafka.clone(), _turn: turn };
        Self { address: kafka.address().to_owned(), node }
    }

    /// What clients are to connect to (`bootstrap.servers`).
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it is, for people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.node {
            Node::Embedded(_) => "embedded broker",
            Node::Apache { .. } => "Apache Kafka",
        }
    }

    /// Whether a transaction that is decided, but not marked in its partitions yet, may stay open for ever
    /// when the broker is killed then. Apache Kafka 4.3.1 drops the markers of a partition that has no
    /// leader at the moment when its coordinator takes transactions up again ("likely deleted already",
    /// says its log): `KRaftMetadataCache.getPartitionLeaderEndpoint` takes it for one that is not there.
    #[must_use]
    pub fn forgets_decided_transactions(&self) -> bool {
        matches!(self.node, Node::Apache { .. })
    }

    /// Stops it cleanly and starts it again.
    ///
    /// # Panics
    /// If it does not stop or start.
    pub fn restart(&mut self) {
        match &mut self.node {
            Node::Embedded(process) => {
                process.stop();
                process.start_again();
            }
            Node::Apache { kafka, .. } => {
                kafka.stop();
                kafka.start();
            }
        }
    }

    /// Kills it with SIGKILL and starts it again.
    ///
    /// # Panics
    /// If it cannot be killed or does not start.
    pub fn kill_and_restart(&mut self) {
        match &mut self.node {
            Node::Embedded(process) => {
                process.kill();
                process.start_again();
            }
            Node::Apache { kafka, .. } => {
                kafka.kill();
                kafka.start();
            }
        }
    }
}
