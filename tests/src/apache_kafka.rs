//! The real Apache Kafka, started by `tests/kafka/kafka`.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::deadline::eventually;

/// The variable with the address of a running Apache Kafka.
pub const ADDRESS: &str = "PASSERELLE_TEST_KAFKA";
/// The variable with the folder that `tests/kafka/kafka start` was given, for tests that restart it.
pub const DIRECTORY: &str = "PASSERELLE_TEST_KAFKA_DIRECTORY";

/// A running Apache Kafka of one node.
#[derive(Debug, Clone)]
pub struct ApacheKafka {
    address: String,
    directory: Option<PathBuf>,
}

impl ApacheKafka {
    /// The one that the environment names, if it does.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let address = env::var(ADDRESS).ok().filter(|address| !address.is_empty())?;
        Some(Self { address, directory: env::var_os(DIRECTORY).map(PathBuf::from) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether [`stop`](Self::stop), [`kill`](Self::kill) and [`start`](Self::start) can be used.
    #[must_use]
    pub fn can_restart(&self) -> bool {
        self.directory.is_some()
    }

    /// Stops it cleanly.
    ///
    /// # Panics
    /// If it cannot be stopped.
    pub fn stop(&self) {
        assert!(self.script(&["stop"]), "stop Apache Kafka");
    }

    /// Ends it at once.
    ///
    /// # Panics
    /// If it cannot be ended.
    pub fn kill(&self) {
        assert!(self.script(&["kill"]), "kill Apache Kafka");
        eventually("Apache Kafka has ended", || (!self.script(&["running"])).then_some(()));
    }

    /// Starts it again.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(&self) {
        let (_, port) = self.address.rsplit_once(':').expect("an address with a port");
        assert!(self.script(&["start", port]), "start Apache Kafka");
    }

    /// Runs `kafka COMMAND DIRECTORY ARGUMENT…`.
    fn script(&self, command: &[&str]) -> bool {
        let directory = self.directory.as_ref().expect("PASSERELLE_TEST_KAFKA_DIRECTORY");
        Command::new(script())
            .arg(command[0])
            .arg(directory)
            .args(&command[1..])
            .status()
            .unwrap()
            .success()
    }
}

/// The script that starts Apache Kafka and its tools.
#[must_use]
pub fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/kafka")
}
