//! Writing records.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};
use tokio::sync::{Notify, oneshot};

use super::cluster::Cluster;
use super::error::{code_fault, fault};
use super::polled::Polled;
use super::record::{Record, to_native};
use crate::Fault;
use crate::publisher::Placed;

/// How long a record may wait for its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Someone waits for the answer (a command): a few seconds, then it has failed.
    Prompt,
    /// At once, and for as long as it takes: a source tells its caller in time that it is not written
    /// yet, and knows the event when it comes again.
    Eager,
    /// For as long as it takes: the brokers may be away.
    Patient,
}

/// How long someone who waits for the answer waits.
const PROMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait before a full queue is tried again.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(5);

/// Learns what became of a record.
pub trait Acknowledge: Send + Sync {
    /// The record was written, or it never will be.
    fn acknowledged(&self, result: Result<Placed, Fault>);
}

/// Writes records: idempotent, acknowledged by all replicas. Shared by all routes of a cluster.
pub struct Producer {
    config: ClientConfig,
    brokers: String,
    urgency: Urgency,
    /// Whether a new client takes over from one that has met a fatal error.
    replaced: bool,
    client: RwLock<Arc<Client>>,
    health: Arc<Health>,
}

pub(super) type Client = Polled<Context>;

/// Whether brokers were reachable when last heard of.
#[derive(Default)]
struct Health {
    away: AtomicBool,
    suspected: Notify,
}

pub(super) enum Receipt {
    One(oneshot::Sender<Result<Placed, Fault>>),
    Shared(Arc<dyn Acknowledge>),
}

pub(super) struct Context(Arc<Health>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::error::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "producer");
        if error.rdkafka_error_code() == Some(Code::AllBrokersDown) {
            self.0.suspected.notify_one();
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Receipt>;

    fn delivery(&self, result: &DeliveryResult<'_>, receipt: Box<Receipt>) {
        let result = match result {
            Ok(message) => {
                self.0.away.store(false, Ordering::Relaxed);
                Ok(Placed { partition: message.partition(), offset: message.offset() })
            }
            Err((error, message)) => {
                self.0.suspected.notify_one();
                Err(fault(&format!("writing to topic `{}`", message.topic()), error))
            }
        };
        match *receipt {
            // Nobody waits any more: the caller went away.
            Receipt::One(sender) => drop(sender.send(result)),
            Receipt::Shared(receiver) => receiver.acknowledged(result),
        }
    }
}

impl Producer {
    /// A producer for a cluster; connects in the background.
    ///
    /// # Errors
    /// A `Config` fault when librdkafka refuses a setting.
    pub fn new(cluster: &Cluster, urgency: Urgency) -> Result<Self, Fault> {
        let (timeout, linger) = match urgency {
            Urgency::Prompt => (PROMPT_TIMEOUT.as_millis() as u64, "0.5"),
            Urgency::Eager => (0, "0.5"),
            Urgency::Patient => (0, "2"),
        };
        Self::of(cluster, cluster.producer(timeout, linger), urgency, true)
    }

    /// A producer whose writes go in transactions: what a fatal error ends, its owner begins anew.
    pub(super) fn transactional(cluster: &Cluster, id: &str) -> Result<Self, Fault> {
        Self::of(cluster, cluster.transactional(id, "2"), Urgency::Patient, false)
    }

    fn of(
        cluster: &Cluster,
        config: ClientConfig,
        urgency: Urgency,
        replaced: bool,
    ) -> Result<Self, Fault> {
        let health = Arc::new(Health::default());
        let client = RwLock::new(Arc::new(connect(&config, &health)?));
        Ok(Self { config, brokers: cluster.brokers.clone(), urgency, replaced, client, health })
    }

    pub(super) fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes a record; resolves once all replicas have it. When the queue is full it waits.
    ///
    /// # Errors
    /// A `Remote` fault when no broker took it in time (its outcome unknown) or writing is refused,
    /// a `Data` fault when it is too large.
    pub async fn send(&self, record: &Record) -> Result<Placed, Fault> {
        let (sender, receiver) = oneshot::channel();
        let mut receipt = Box::new(Receipt::One(sender));
        let started = tokio::time::Instant::now();
        while let Some(back) = self.enqueue(record, receipt)? {
            receipt = back;
            if self.urgency == Urgency::Prompt && started.elapsed() > PROMPT_TIMEOUT {
                let doing = format!("writing to topic `{}`", record.topic);
                return Err(code_fault(&doing, Code::QueueFull));
            }
            tokio::time::sleep(QUEUE_FULL_WAIT).await;
        }
        receiver.await.unwrap_or_else(|_| {
            Err(Fault::remote("kafka_closed", "The producer was closed before the answer.")
                .unknown())
        })
    }

    /// Puts a record in the queue; `receiver` learns what becomes of it. When the queue is full it
    /// waits. Records of one partition are written in the order of these calls.
    ///
    /// # Errors
    /// As [`send`](Self::send), when the record cannot even be put in the queue.
    pub async fn put(&self, record: &Record, receiver: Arc<dyn Acknowledge>) -> Result<(), Fault> {
        let mut receipt = Box::new(Receipt::Shared(receiver));
        while let Some(back) = self.enqueue(record, receipt)? {
            receipt = back;
            tokio::time::sleep(QUEUE_FULL_WAIT).await;
        }
        Ok(())
    }

    /// Puts a record in the queue, without waiting; `receiver` learns what becomes of it. False, and
    /// nothing learnt, when the queue is full.
    ///
    /// # Errors
    /// As [`send`](Self::send), when the record cannot even be put in the queue.
    pub fn offer(&self, record: &Record, receiver: Arc<dyn Acknowledge>) -> Result<bool, Fault> {
        Ok(self.enqueue(record, Box::new(Receipt::Shared(receiver)))?.is_none())
    }

    /// Gives the receipt back when the queue is full.
    fn enqueue(
        &self,
        record: &Record,
        receipt: Box<Receipt>,
    ) -> Result<Option<Box<Receipt>>, Fault> {
        let client = self.client();
        let mut base = BaseRecord::with_opaque_to(&record.topic, receipt);
        (base.key, base.payload) = (record.key.as_deref(), record.payload.as_deref());
        base.partition = record.partition;
        if !record.headers.is_empty() {
            base.headers = Some(to_native(&record.headers));
        }
        let Err((error, base)) = client.send::<[u8], [u8]>(base) else { return Ok(None) };
        match error.rdkafka_error_code() {
            Some(Code::QueueFull) => Ok(Some(base.delivery_opaque)),
            Some(Code::Fatal) if self.replaced => {
                self.replace(&client);
                Ok(Some(base.delivery_opaque))
            }
            _ => Err(fault(&format!("writing to topic `{}`", record.topic), &error)),
        }
    }

    /// An idempotent producer that has met a fatal error writes nothing more: a new one takes over.
    fn replace(&self, broken: &Arc<Client>) {
        let mut client = self.client.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&client, broken) {
            return;
        }
        tracing::warn!("the producer met a fatal error and is replaced");
        match connect(&self.config, &self.health) {
            Ok(new) => *client = Arc::new(new),
            Err(error) => tracing::error!(%error, "the producer cannot be replaced"),
        }
    }

    /// Whether brokers can be reached, as far as is known now.
    ///
    /// # Errors
    /// A `Remote` fault when none could be reached when last tried.
    pub fn available(&self) -> Result<(), Fault> {
        match self.health.away.load(Ordering::Relaxed) {
            false => Ok(()),
            true => Err(Fault::remote(
                "kafka_unreachable",
                format!("No broker of {} can be reached.", self.brokers),
            )),
        }
    }

    /// Watches over [`available`](Self::available): asks the brokers when they are suspected to be
    /// away, and again until they answer. Runs for as long as the producer is used.
    pub fn watch(self: &Arc<Self>) -> impl Future<Output = ()> + Send + 'static {
        let (health, producer) = (Arc::clone(&self.health), Arc::downgrade(self));
        async move {
            loop {
                if !health.away.load(Ordering::Relaxed) {
                    health.suspected.notified().await;
                }
                let Some(producer) = producer.upgrade() else { return };
                let asked = tokio::task::spawn_blocking(move || producer.ask()).await;
                let answered = matches!(asked, Ok(true));
                if health.away.swap(!answered, Ordering::Relaxed) == answered {
                    tracing::info!(away = !answered, "brokers");
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }

    fn ask(&self) -> bool {
        self.client().client().fetch_metadata(None, Duration::from_secs(1)).is_ok()
    }

    /// Waits until everything in the queue has been acknowledged, at most this long. Blocks.
    pub fn flush(&self, timeout: Duration) {
        if let Err(error) = self.client().flush(timeout) {
            tracing::warn!(%error, "some records were not acknowledged before the end");
        }
    }
}

fn connect(config: &ClientConfig, health: &Arc<Health>) -> Result<Client, Fault> {
    Polled::new(config, Context(Arc::clone(health)))
}
