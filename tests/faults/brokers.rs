//! Brokers and a registry in processes of their own, which can be stopped, killed and started again.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tests::apache_kafka::{self, ApacheKafka};
use tests::broker_process::BrokerProcess;
use tests::cluster::{Cluster, Use};

use crate::endtoend::folder::free_address;
use crate::endtoend::process::{Process, Signal};
use crate::proxy::Proxy;
use crate::run::{Broker, Run};
use crate::world::until;

/// What pipelines of several processes share.
pub struct Brokers {
    /// The broker's address.
    pub kafka: String,
    /// The registry's address.
    pub registry: String,
    /// The embedded broker with the registry, or, on Apache Kafka, the registry alone.
    embedded: Process,
    apache: Apache,
    /// The network between, and the embedded broker behind it.
    proxied: Option<(Proxy, Option<BrokerProcess>)>,
    folder: TempDir,
}

/// The Apache Kafka, if the row runs on one.
enum Apache {
    None,
    /// The one that all rows share, and the turn at using it.
    Shared(ApacheKafka, #[expect(dead_code, reason = "it is only held")] Cluster),
    /// Three nodes of this row's own, in a folder.
    Nodes(PathBuf),
}

/// How a broker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// SIGTERM, and its own end.
    Stopped,
    /// SIGKILL.
    Killed,
}

/// Starts the embedded broker and registry; its data is in `data` of the folder.
fn embedded(folder: &Path, kafka: &str, registry: &str) -> Process {
    let arguments = ["broker", "--data", "data", "--listen", kafka, "--registry", registry];
    Process::start(folder, "broker", &arguments)
}

impl Brokers {
    /// Starts what the row runs on; an Apache Kafka of one node runs already.
    pub async fn start(run: &Run, usage: Use) -> Self {
        let folder = TempDir::new().unwrap();
        let (listen, registry) = (free_address().to_string(), free_address().to_string());
        let (kafka, apache) = match &run.broker {
            Broker::Embedded => (listen.clone(), Apache::None),
            Broker::Kafka { address } => {
                let kafka = ApacheKafka::from_environment().expect("the row was added for it");
                let turn = Cluster::apache_kafka(&kafka, usage);
                (address.clone(), Apache::Shared(kafka, turn))
            }
            Broker::Nodes { ports } => {
                let nodes = folder.path().join("nodes");
                script(&["start3", nodes.to_str().unwrap(), &ports.to_string()]);
                let addresses = (0..3).map(|node| format!("127.0.0.1:{}", ports + node));
                (addresses.collect::<Vec<_>>().join(","), Apache::Nodes(nodes))
            }
        };
        let embedded = embedded(folder.path(), &listen, &registry);
        let brokers = Self { embedded, kafka, registry, apache, proxied: None, folder };
        brokers.registry_answers().await;
        brokers
    }

    /// The same, with a network that can fail between clients and the broker.
    pub async fn start_proxied(run: &Run, usage: Use) -> Self {
        let mut brokers = Self::start(run, usage).await;
        let nowhere = free_address();
        let (proxy, process) = match &brokers.apache {
            Apache::Shared(kafka, _) => {
                // `tests/kafka/kafka` starts it with a second listener for this.
                let (host, port) = kafka.address().rsplit_once(':').expect("an address");
                let port: u16 = port.parse().unwrap();
                let at = |port: u16| format!("{host}:{port}").parse().unwrap();
                (Proxy::listen(at(port + 3), at(port + 2)).await, None)
            }
            _ => {
                let proxy = Proxy::start(nowhere).await;
                let folder = brokers.folder.path().join("behind");
                std::fs::create_dir_all(&folder).unwrap();
                let process = BrokerProcess::behind(&folder, proxy.address);
                proxy.lead_to(process.address());
                (proxy, Some(process))
            }
        };
        brokers.kafka = proxy.address.to_string();
        brokers.proxied = Some((proxy, process));
        brokers
    }

    /// The network between clients and the broker.
    pub fn proxy(&self) -> &Proxy {
        &self.proxied.as_ref().expect("it was started with one").0
    }

    /// What a pipeline says of them.
    pub fn sections(&self) -> String {
        let Self { kafka, registry, .. } = self;
        format!("kafka: {{ brokers: \"{kafka}\" }}\nregistry: {{ url: \"http://{registry}\" }}\n")
    }

    /// Where the embedded broker's data is.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data/broker")
    }

    /// Ends the broker.
    pub async fn end(&mut self, how: End) {
        match (&self.apache, how) {
            (Apache::Nodes(_), _) => panic!("a node is ended by its number"),
            (Apache::Shared(kafka, _), End::Stopped) => kafka.stop(),
            (Apache::Shared(kafka, _), End::Killed) => kafka.kill(),
            (Apache::None, End::Killed) => self.embedded.kill(),
            (Apache::None, End::Stopped) => {
                self.embedded.signal(Signal::Terminate);
                assert!(self.embedded.ended().await.success(), "the broker stops");
            }
        }
    }

    /// Starts the broker again, where it was.
    pub async fn start_again(&mut self) {
        if let Apache::Shared(kafka, _) = &self.apache {
            kafka.start();
            return;
        }
        self.embedded = embedded(self.folder.path(), &self.kafka, &self.registry);
        self.registry_answers().await;
    }

    /// Ends one of three nodes.
    pub fn end_node(&self, node: u32, how: End) {
        let command = match how {
            End::Stopped => "stop",
            End::Killed => "kill",
        };
        script(&[command, &self.node(node)]);
    }

    /// Starts one of three nodes again.
    pub fn start_node(&self, node: u32) {
        script(&["start", &self.node(node)]);
    }

    fn node(&self, node: u32) -> String {
        let Apache::Nodes(folder) = &self.apache else { panic!("there is one node") };
        folder.join(node.to_string()).to_str().unwrap().to_owned()
    }

    /// The process of the embedded broker, or of the registry.
    pub fn process(&mut self) -> &mut Process {
        &mut self.embedded
    }

    async fn registry_answers(&self) {
        let client = crate::endtoend::client();
        let url = format!("http://{}/subjects", self.registry);
        until("the registry answers", async || client.get(&url).send().await.ok()).await;
    }
}

/// A row that failed leaves no nodes behind either.
impl Drop for Brokers {
    fn drop(&mut self) {
        if let Apache::Nodes(folder) = &self.apache {
            let _ = Command::new(apache_kafka::script()).arg("kill").arg(folder).status();
        }
    }
}

/// Runs `tests/kafka/kafka`.
fn script(arguments: &[&str]) {
    let status = Command::new(apache_kafka::script()).args(arguments).status().unwrap();
    assert!(status.success(), "kafka {}", arguments.join(" "));
}
