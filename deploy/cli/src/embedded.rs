//! The embedded broker and registry, in this process.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use async_trait::async_trait;
use broker::{Broker, BrokerError, TopicHandle};
use bytes::Bytes;
use engine::Shutdown;
use schemas::registry::server::{Log, LogError, Server};
use tokio::net::TcpListener;

use crate::failure::Failure;

/// The topic of the registry's schemas, as in every registry of Confluent's API.
const SCHEMAS: &str = "_schemas";

/// Where the broker listens if nobody says otherwise: Kafka's own port.
const KAFKA: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9092);

/// Where the registry listens if nobody says otherwise: the Confluent registry's own port.
const REGISTRY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);

/// Where the broker and the registry listen.
pub enum Listen {
    /// At their usual ports, or at free ones where those are taken.
    Usual,
    /// Exactly there.
    At {
        /// The broker.
        kafka: SocketAddr,
        /// The registry.
        registry: SocketAddr,
    },
}

/// The embedded broker and registry while they run.
pub struct Embedded {
    broker: Broker,
    /// Where the broker listens.
    pub kafka: SocketAddr,
    /// Where the registry listens.
    pub registry: SocketAddr,
}

impl Embedded {
    /// Starts both over the files in `data`; the registry serves until `stop`.
    ///
    /// # Errors
    /// An address is taken, or another process uses the directory.
    pub async fn start(data: &Path, listen: Listen, stop: Shutdown) -> Result<Self, Failure> {
        let (registry, broker) = match listen {
            Listen::Usual => (bind_usual().await, start_usual(data).await),
            Listen::At { kafka, registry } => {
                (bind(registry).await, start_broker(data, kafka).await)
            }
        };
        let registry = registry
            .map_err(|error| Failure::new(format!("The registry cannot listen: {error}.")))?;
        let broker = broker.map_err(|error| Failure::new(error.to_string()))?;
        let topic = schemas_topic(&broker).await?;
        let server = Server::open(TopicLog(topic))
            .await
            .map_err(|error| Failure::new(format!("The registry cannot start: {error}.")))?;
        let embedded = Self {
            kafka: broker.address(),
            registry: registry.local_addr().map_err(|error| {
                Failure::new(format!("The registry's address is unknown: {error}."))
            })?,
            broker,
        };
        tokio::spawn(async move {
            let served = axum::serve(registry, server.router())
                .with_graceful_shutdown(async move { stop.requested().await });
            if let Err(error) = served.await {
                tracing::error!(%error, "the registry ended");
            }
        });
        Ok(embedded)
    }

    /// Stops the broker: what it has is synced.
    pub async fn shutdown(self) {
        self.broker.shutdown().await;
    }
}

fn any() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))
}

async fn bind_usual() -> Result<TcpListener, String> {
    match bind(REGISTRY).await {
        Ok(listener) => Ok(listener),
        Err(_) => bind(any()).await,
    }
}

async fn start_broker(data: &Path, listen: SocketAddr) -> Result<Broker, BrokerError> {
    let mut config = broker::Config::new(data.join("broker"));
    config.listen = listen;
    Broker::start(config).await
}

async fn start_usual(data: &Path) -> Result<Broker, BrokerError> {
    match start_broker(data, KAFKA).await {
        Err(BrokerError::Listen { .. }) => start_broker(data, any()).await,
        started => started,
    }
}

async fn schemas_topic(broker: &Broker) -> Result<TopicHandle, Failure> {
    let failed = |error: BrokerError| {
        Failure::new(format!("The topic {SCHEMAS} cannot be opened: {error}."))
    };
    match broker.topic(SCHEMAS) {
        Ok(topic) => Ok(topic),
        Err(_) => {
            broker
                .create_topic(SCHEMAS, 1, &[("cleanup.policy", "compact")])
                .await
                .map_err(failed)?;
            broker.topic(SCHEMAS).map_err(failed)
        }
    }
}

/// The registry's records in the broker's topic.
struct TopicLog(TopicHandle);

#[async_trait]
impl Log for TopicLog {
    async fn append(&self, key: Bytes, value: Option<Bytes>) -> Result<u64, LogError> {
        let offset =
            self.0.append(Some(key), value).await.map_err(|error| LogError(error.to_string()))?;
        u64::try_from(offset).map_err(|_| LogError(format!("The broker gave the offset {offset}.")))
    }

    async fn read_all(&self) -> Result<Vec<(Bytes, Option<Bytes>)>, LogError> {
        let failed = |error: BrokerError| LogError(error.to_string());
        let (mut all, mut from) = (Vec::new(), 0);
        loop {
            let records = self.0.read(from).await.map_err(failed)?;
            let Some(last) = records.last() else { return Ok(all) };
            from = last.offset + 1;
            all.extend(records.into_iter().filter_map(|record| Some((record.key?, record.value))));
        }
    }
}
