//! Starting and stopping a broker, and its topics as seen from the same process.

use std::{
    fs::{self, File, TryLockError},
    net::SocketAddr,
    path::Path,
    sync::{Arc, atomic::AtomicI64},
};

use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE,
    Record as NewRecord, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    cleaning,
    config::Config,
    error::{BrokerError, doing},
    groups::{Groups, Rules},
    log::{Appended, Log, Record, Syncer},
    node::{Node, now_ms},
    refusal::{Outcome, Refusal},
    server,
    topics::{Creation, Partition, Topics},
    transactions::Transactions,
};

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    node: Arc<Node>,
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Broker {
    /// Starts a broker: opens its folder, recovers from a crash if there was one, and listens.
    ///
    /// # Errors
    /// If the folder is in use or damaged, or the address cannot be listened on.
    pub async fn start(mut config: Config) -> Result<Self, BrokerError> {
        let listen = config.listen;
        if !listen.ip().is_loopback() && !config.allow_remote {
            return Err(BrokerError::Remote { listen });
        }
        let limits = &mut config.limits;
        limits.request_bytes = limits.request_bytes.min(limits.requests_bytes);
        let opened = config.clone();
        let (lock, topics, groups, transactions) =
            tokio::task::spawn_blocking(move || open(&opened))
                .await
                .map_err(|error| doing("open", &config.directory)(error.into()))??;
        groups.forget_gone(&topics).await?;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|source| BrokerError::Listen { listen, source })?;
        let address =
            listener.local_addr().map_err(|source| BrokerError::Listen { listen, source })?;
        let closing = watch::Sender::new(false);
        let warned = AtomicI64::new(0);
        let node = Node { config, topics, groups, transactions, warned, lock, closing };
        let node = Arc::new(node);
        let server = tokio::spawn(run(Arc::clone(&node), listener));
        tracing::info!(%address, directory = %node.config.directory.display(), "the broker listens");
        Ok(Self { node, address, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers what was asked, closes connections, syncs everything and writes down what makes the
    /// next start quick.
    pub async fn shutdown(mut self) {
        self.node.closing.send_replace(true);
        if let Err(error) = (&mut self.server).await {
            tracing::error!(%error, "the server failed");
        }
        let closed = self.node.aside(|node| {
            node.topics.close();
            node.lock.unlock().map_err(doing("unlock", &node.config.directory))?;
            Ok(())
        });
        if let Err(error) = closed.await {
            tracing::error!(%error, "close the logs");
        }
    }

    /// Creates a topic with settings by the names of Apache Kafka (`cleanup.policy`).
    ///
    /// # Errors
    /// If it exists, the name, the number of partitions or a setting is invalid, or the disk fails.
    pub async fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Result<(), BrokerError> {
        let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let overrides = settings.iter().map(own).collect();
        let creation = Creation { name: name.to_owned(), partitions, overrides };
        self.node.aside(move |node| node.topics.create(creation)).await?;
        Ok(())
    }

    /// The first partition of a topic, for this process to write and read.
    ///
    /// # Errors
    /// If there is no such topic, or its log cannot be opened.
    pub fn topic(&self, name: &str) -> Result<TopicHandle, BrokerError> {
        let partition = Arc::clone(self.node.topics.view().named(name)?.partition(0)?);
        partition.log()?;
        Ok(TopicHandle { partition })
    }
}

/// Serves until the node closes, and does meanwhile what nobody asks for.
async fn run(node: Arc<Node>, listener: TcpListener) {
    let background = async {
        tokio::join!(node.groups.run(), node.transactions.run(&node), cleaning::run(&node));
    };
    tokio::select! {
        () = server::serve(Arc::clone(&node), listener) => {}
        () = background => {}
    }
}

impl Drop for Broker {
    /// Stops serving. What was acknowledged is on disk; the next start takes a little longer than
    /// after a shutdown.
    fn drop(&mut self) {
        self.node.closing.send_replace(true);
    }
}

fn open(config: &Config) -> Result<(File, Topics, Groups, Transactions), BrokerError> {
    let lock = lock(&config.directory)?;
    let syncer = Syncer::start(config.fsync).map_err(doing("start to sync", &config.directory))?;
    let topics =
        Topics::open(&config.directory, &config.topic_defaults, config.limits.partitions, syncer)?;
    let rules = Rules {
        initial_delay: config.initial_rebalance_delay,
        members: config.limits.group_members,
    };
    let groups = Groups::open(&topics, rules)?;
    let transactions = Transactions::open(&topics)?;
    Ok((lock, topics, groups, transactions))
}

fn lock(directory: &Path) -> Result<File, BrokerError> {
    fs::create_dir_all(directory).map_err(doing("create", directory))?;
    let path = directory.join("lock");
    let file = File::create(&path).map_err(doing("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(BrokerError::Locked { directory: directory.to_owned() })
        }
        Err(TryLockError::Error(error)) => Err(doing("lock", &path)(error)),
    }
}

/// The first partition of a topic, for the broker's own process to write and read.
#[derive(Debug, Clone)]
pub struct TopicHandle {
    partition: Arc<Partition>,
}

impl TopicHandle {
    /// Appends a record and returns its offset once it is on disk.
    ///
    /// # Errors
    /// If the log refuses it, or the disk is full or fails.
    pub async fn append(
        &self,
        key: Option<Bytes>,
        value: Option<Bytes>,
    ) -> Result<i64, BrokerError> {
        let log = self.partition.log()?;
        let appended = append(log, vec![(key, value)])?;
        log.durable(&appended).await?;
        Ok(appended.base_offset)
    }

    /// The records from an offset on, some of them at a time: none at the end of the topic.
    ///
    /// # Errors
    /// If the log is damaged there.
    pub async fn read(&self, from: i64) -> Result<Vec<Record>, BrokerError> {
        const AT_ONCE: usize = 10_000;
        let partition = Arc::clone(&self.partition);
        let read = move || {
            let records = partition.log()?.records(from).take(AT_ONCE);
            Ok::<_, Refusal>(records.collect::<Result<Vec<_>, _>>()?)
        };
        let read = tokio::task::spawn_blocking(read).await;
        Ok(read.map_err(|error| doing("read", "a topic")(error.into()))??)
    }

    /// The offset after the last record on disk.
    ///
    /// # Errors
    /// If the log could not be opened.
    pub fn end(&self) -> Result<i64, BrokerError> {
        Ok(self.partition.log()?.high_watermark())
    }
}

/// A record's key and value.
pub(crate) type KeyValue = (Option<Bytes>, Option<Bytes>);

/// Appends records of this process as one batch. They are to be waited for, as a producer's.
pub(crate) fn append(log: &Log, records: Vec<KeyValue>) -> Outcome<Appended> {
    let now = now_ms();
    Ok(log.append(encode(records, None, now)?, now)?)
}

/// Appends records of this process in the transaction of a producer, its id and epoch.
pub(crate) fn append_in_transaction(
    log: &Log,
    records: Vec<KeyValue>,
    producer: (i64, i16),
) -> Outcome<Appended> {
    let now = now_ms();
    Ok(log.append_own(&encode(records, Some(producer), now)?, now)?)
}

fn encode(records: Vec<KeyValue>, producer: Option<(i64, i16)>, now: i64) -> Outcome<Bytes> {
    let (producer_id, producer_epoch) = producer.unwrap_or((NO_PRODUCER_ID, NO_PRODUCER_EPOCH));
    let records: Vec<_> = (0_i32..)
        .zip(records)
        .map(|(offset, (key, value))| NewRecord {
            transactional: producer.is_some(),
            control: false,
            delete_horizon: false,
            partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
            producer_id,
            producer_epoch,
            timestamp_type: TimestampType::Creation,
            offset: offset.into(),
            // The encoder begins another batch where sequences do not follow offsets.
            sequence: NO_SEQUENCE + offset,
            timestamp: now,
            key,
            value,
            headers: Default::default(),
        })
        .collect();
    let mut batch = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut batch, &records, &options).map_err(|error| {
        Refusal::new(
            kafka_protocol::error::ResponseError::UnknownServerError,
            format!("encode a record batch: {error}"),
        )
    })?;
    Ok(batch.freeze())
}
