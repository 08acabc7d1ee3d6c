//! How to reach a cluster, and the settings of the clients.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// Session of a consumer group member: after this long without a sign of life its partitions go to
/// others. The broker's `group.min.session.timeout.ms` is 6 s by default.
pub(super) const SESSION_MILLIS: u64 = 6_000;
/// A transaction that is open this long is aborted by the brokers: so long may one that died hold up
/// those who read what it wrote.
const TRANSACTION_MILLIS: &str = "10000";

/// How to reach a cluster of brokers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// `host:port` of some brokers, with commas between.
    pub brokers: String,
    /// librdkafka's own settings, those of security included, as they are. They win over ours, but
    /// not where delivery rests on ours (see `FIXED`).
    pub properties: BTreeMap<String, String>,
}

/// Settings that no file may change: what is promised rests on them.
const FIXED: [&str; 9] = [
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "enable.idempotence",
    "acks",
    "partition.assignment.strategy",
    "isolation.level",
    "transactional.id",
    "transaction.timeout.ms",
];

impl Cluster {
    /// A cluster without security.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self { brokers: brokers.into(), properties: BTreeMap::new() }
    }

    /// The settings of `properties` that are refused, in order.
    pub fn refused_properties(&self) -> Vec<&str> {
        let all = self.properties.keys().map(String::as_str);
        all.filter(|name| FIXED.contains(name)).collect()
    }

    fn client(&self, own: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "passerelle")
            .set("socket.nagle.disable", "true")
            .set("socket.keepalive.enable", "true")
            .set("socket.timeout.ms", "30000")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("topic.metadata.refresh.interval.ms", "10000")
            .set_log_level(RDKafkaLogLevel::Info);
        for (name, value) in own {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            if !FIXED.contains(&name.as_str()) {
                config.set(name, value);
            }
        }
        config
    }

    /// A producer that loses and doubles nothing; `timeout` is how long it tries, 0 for ever.
    pub(super) fn producer(&self, timeout_millis: u64, linger_millis: &str) -> ClientConfig {
        self.client(&[
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("compression.type", "lz4"),
            ("partitioner", "murmur2_random"),
            ("message.timeout.ms", &timeout_millis.to_string()),
            ("linger.ms", linger_millis),
            // The topic's own limit decides; librdkafka's would refuse before asking.
            ("message.max.bytes", "104857600"),
            ("queue.buffering.max.kbytes", "65536"),
        ])
    }

    /// A producer whose writes go in transactions. No record and no request may wait longer
    /// than its transaction.
    pub(super) fn transactional(&self, id: &str, linger_millis: &str) -> ClientConfig {
        let mut config = self.producer(0, linger_millis);
        config
            .set("transactional.id", id)
            .set("transaction.timeout.ms", TRANSACTION_MILLIS)
            .set("message.timeout.ms", TRANSACTION_MILLIS)
            .set("socket.timeout.ms", TRANSACTION_MILLIS);
        config
    }

    /// A member of a consumer group. Whoever polls decides what is committed and where to start.
    pub(super) fn member(&self, group: &str, instance: Option<&str>) -> ClientConfig {
        let mut config = self.client(&[
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            ("isolation.level", "read_committed"),
            ("enable.partition.eof", "true"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("session.timeout.ms", &SESSION_MILLIS.to_string()),
            ("heartbeat.interval.ms", "2000"),
            ("max.poll.interval.ms", "60000"),
            ("queued.max.messages.kbytes", "4096"),
            // Beyond the queue's limit librdkafka waits this long before it fetches again; its
            // default of a second starves a queue of 4 MiB.
            ("fetch.queue.backoff.ms", "10"),
            ("fetch.max.bytes", "4194304"),
            ("fetch.error.backoff.ms", "200"),
        ]);
        if let Some(instance) = instance {
            config.set("group.instance.id", instance);
        }
        config
    }

    /// A client for metadata, offsets and reading from anywhere, in no group. `group` names the one
    /// whose offsets are read and written.
    pub(super) fn reader(&self, group: &str) -> ClientConfig {
        self.client(&[
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            ("isolation.level", "read_committed"),
            ("enable.partition.eof", "true"),
            ("queued.max.messages.kbytes", "4096"),
            ("fetch.queue.backoff.ms", "10"),
            ("fetch.wait.max.ms", "100"),
        ])
    }

    /// A client for the cluster's administration.
    pub(super) fn admin(&self) -> ClientConfig {
        self.client(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_tune_a_client_but_not_what_delivery_rests_on() {
        let mut cluster = Cluster::new("localhost:9092");
        cluster.properties.insert("linger.ms".into(), "7".into());
        cluster.properties.insert("acks".into(), "1".into());
        cluster.properties.insert("security.protocol".into(), "SASL_SSL".into());
        let producer = cluster.producer(0, "1");
        assert_eq!(producer.get("linger.ms"), Some("7"));
        assert_eq!(producer.get("acks"), Some("all"));
        assert_eq!(producer.get("security.protocol"), Some("SASL_SSL"));
        assert_eq!(cluster.refused_properties(), ["acks"]);
    }
}
