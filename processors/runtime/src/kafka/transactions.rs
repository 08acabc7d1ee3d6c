//! Transactions: what is written and how far was read become visible together, or not at all.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::producer::Producer as _;
use tokio::runtime::Handle;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use tokio::time::timeout;

use super::cluster::Cluster;
use super::error::{TOO_LARGE, fault};
use super::producer::{Acknowledge, Client, Producer};
use super::record::Record;
use crate::Fault;
use crate::publisher::Placed;

/// How long one call of librdkafka may take before the member shows that it lives.
const STEP: Duration = Duration::from_secs(1);
/// How soon it is looked again whether all is written.
const LOOK: Duration = Duration::from_micros(500);
/// How long a step of a transaction is tried in all.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long those who write may take to come to the end of their windows.
const SHUT: Duration = Duration::from_secs(2);

/// One transactional producer, and the gate through which all who write with it go: a transaction
/// ends only while nobody is inside, so that no window is cut in two.
///
/// A zombie is fenced by its group's generation, which goes with the offsets (KIP-447), so that the
/// id need not name partitions. One that is the same after a restart lets the new process end at
/// once what the old one left open; otherwise the brokers do after the transaction's time-out, and
/// forget the id itself after a week (`transactional.id.expiration.ms`).
pub struct Transactions {
    cluster: Cluster,
    id: String,
    /// How far apart transactions end.
    pub(super) every: Duration,
    runtime: Handle,
    gate: Arc<RwLock<()>>,
    producer: Mutex<Option<Arc<Producer>>>,
}

/// One of the calls that end a transaction and begin the next.
type Step<'a> = dyn Fn(&Client) -> KafkaResult<()> + 'a;

/// Where one record of a transaction landed.
#[derive(Default)]
struct Receipt(Mutex<Option<Result<Placed, Fault>>>);

impl Acknowledge for Receipt {
    fn acknowledged(&self, result: Result<Placed, Fault>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }
}

impl Receipt {
    /// Waits until all of these have been acknowledged, which they are about to be.
    fn are_in(all: &[Arc<Self>]) -> bool {
        let started = Instant::now();
        let is_open = |one: &Self| one.0.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        for receipt in all {
            while is_open(receipt) {
                if started.elapsed() > STEP {
                    return false;
                }
                thread::sleep(LOOK);
            }
        }
        true
    }

    /// Why the record was not written, if it was refused.
    fn refused(&self) -> Option<Fault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.as_ref().err().cloned()
    }

    fn placed(&self) -> Result<Placed, Fault> {
        let placed = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        placed.unwrap_or_else(|| {
            Err(Fault::internal("receipt", "A record of a committed transaction has no place."))
        })
    }
}

/// Why records were not written.
#[derive(Debug)]
pub struct Unwritten {
    /// The run of records that was too large, if one is the cause.
    pub too_large: Option<Range<usize>>,
    /// What Kafka said.
    pub fault: Fault,
}

impl From<Fault> for Unwritten {
    fn from(fault: Fault) -> Self {
        Self { too_large: None, fault }
    }
}

/// Nobody is inside.
pub(super) type Shut = OwnedRwLockWriteGuard<()>;

/// Why a transaction was not committed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It can be aborted, and the next one begun.
    Abort(Fault),
    /// Its outcome is not known, or the producer was fenced: another producer has to begin.
    Lost(Fault),
}

impl Transactions {
    /// Those of one route in this process. Call it within a tokio runtime; connects when opened.
    pub fn new(cluster: &Cluster, id: String, every: Duration) -> Self {
        Self {
            cluster: cluster.clone(),
            id,
            every,
            runtime: Handle::current(),
            gate: Arc::default(),
            producer: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Producer>>> {
        self.producer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn producer(&self) -> Result<Arc<Producer>, Fault> {
        let none = || Fault::remote("no_transaction", "The route's transactions have ended.");
        self.lock().clone().ok_or_else(none)
    }

    /// Goes inside; no transaction ends before the guard is dropped.
    pub async fn enter(&self) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.gate).read_owned().await
    }

    /// Puts a record in the open transaction, as [`Producer::put`] does. Only for those inside.
    ///
    /// # Errors
    /// As [`Producer::put`], and when no transaction is open.
    pub async fn put(&self, record: &Record, receiver: Arc<dyn Acknowledge>) -> Result<(), Fault> {
        self.producer()?.put(record, receiver).await
    }

    /// The same, and waits until it is written, as [`Producer::send`] does.
    ///
    /// # Errors
    /// As [`Producer::send`], and when no transaction is open.
    pub async fn send(&self, record: &Record) -> Result<Placed, Fault> {
        self.producer()?.send(record).await
    }

    /// Fences who wrote under the same id before, ends what that one left open, and begins. Blocks.
    ///
    /// # Errors
    /// A `Remote` fault when no broker answers or refuses, `Config` when librdkafka does.
    pub fn open(&self) -> Result<(), Fault> {
        if self.lock().is_some() {
            return Ok(());
        }
        let busy = || Fault::remote("transaction_busy", format!("Still writing as {}.", self.id));
        let shut = self.shut().ok_or_else(busy)?;
        self.begin(&shut)
    }

    fn begin(&self, _shut: &Shut) -> Result<(), Fault> {
        let doing = format!("beginning the transactions of {}", self.id);
        let failed = |error: KafkaError| transaction_fault(&doing, &error);
        let producer = Producer::transactional(&self.cluster, &self.id)?;
        let client = producer.client();
        client.init_transactions(PATIENCE / 2).map_err(failed)?;
        client.begin_transaction().map_err(failed)?;
        *self.lock() = Some(Arc::new(producer));
        Ok(())
    }

    /// Whether there is a producer to write with.
    pub(super) fn is_open(&self) -> bool {
        self.lock().is_some()
    }

    /// Waits until nobody is inside and lets nobody in; nothing if they do not come out. Blocks.
    pub(super) fn shut(&self) -> Option<Shut> {
        let gate = Arc::clone(&self.gate);
        self.runtime.block_on(async { timeout(SHUT, gate.write_owned()).await.ok() })
    }

    /// Waits until everything that was put has been acknowledged; false if it is not in time. Blocks.
    pub(super) fn flush(&self, _shut: &Shut, beat: impl Fn()) -> bool {
        let Ok(producer) = self.producer() else { return false };
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            beat();
            if is_empty(&producer.client()) {
                return true;
            }
        }
        false
    }

    /// Writes records in a transaction of their own: all are seen, or none. No two of these runs of
    /// records share a batch, which brokers take or refuse as a whole. Blocks.
    ///
    /// # Errors
    /// None of it is seen, unless the outcome is unknown. When another producer of the same id has
    /// begun since, or the outcome is unknown, nothing more is written: open another.
    pub fn write(
        &self,
        records: &[Record],
        runs: &[Range<usize>],
    ) -> Result<Vec<Placed>, Unwritten> {
        let busy = || Fault::remote("transaction_busy", format!("Still writing as {}.", self.id));
        let shut = self.shut().ok_or_else(busy)?;
        let receipts: Vec<_> = records.iter().map(|_| Arc::new(Receipt::default())).collect();
        for run in runs {
            let (records, receipts) = (records.get(run.clone()), receipts.get(run.clone()));
            let (Some(records), Some(receipts)) = (records, receipts) else { continue };
            let Err(fault) = self.write_run(&shut, records, receipts) else { continue };
            return Err(self.undo(&shut, run, fault));
        }
        match self.commit(&shut, None, || ()) {
            Ok(()) => {
                Ok(receipts.iter().map(|receipt| receipt.placed()).collect::<Result<_, _>>()?)
            }
            Err(Failure::Abort(fault)) => Err(self.undo(&shut, &(0..0), fault)),
            Err(Failure::Lost(fault)) => {
                self.close();
                Err(fault.into())
            }
        }
    }

    /// Undoes a transaction in which a run of records was refused, and begins the next.
    fn undo(&self, shut: &Shut, run: &Range<usize>, fault: Fault) -> Unwritten {
        if fault.cause != TOO_LARGE {
            if self.abort(shut, || ()).is_err() {
                self.close();
            }
            return fault.into();
        }
        // What was refused leaves a gap in the producer's sequence, which brokers refuse in turn: a new
        // producer begins.
        self.close();
        match self.begin(shut) {
            Ok(()) => Unwritten { too_large: Some(run.clone()), fault },
            Err(fault) => fault.into(),
        }
    }

    fn write_run(
        &self,
        shut: &Shut,
        records: &[Record],
        receipts: &[Arc<Receipt>],
    ) -> Result<(), Fault> {
        let producer = self.producer()?;
        self.runtime.block_on(async {
            for (record, receipt) in records.iter().zip(receipts) {
                producer.put(record, Arc::clone(receipt) as Arc<dyn Acknowledge>).await?;
            }
            Ok(())
        })?;
        if !self.flush(shut, || ()) || !Receipt::are_in(receipts) {
            return Err(Fault::remote("kafka_timeout", "Not written in time.").unknown());
        }
        // When one batch is refused, what waits behind it is given up: that is not the cause.
        let refused: Vec<_> = receipts.iter().filter_map(|receipt| receipt.refused()).collect();
        let cause = refused.iter().find(|fault| fault.cause == TOO_LARGE).or(refused.first());
        cause.map_or(Ok(()), |fault| Err(fault.clone()))
    }

    /// Ends the transaction, with these offsets of a group, and begins the next. Blocks.
    pub(super) fn commit(
        &self,
        _shut: &Shut,
        offsets: Option<(&TopicPartitionList, &ConsumerGroupMetadata)>,
        beat: impl Fn(),
    ) -> Result<(), Failure> {
        let client = self.producer().map_err(Failure::Lost)?.client();
        let doing = format!("committing a transaction of {}", self.id);
        let steps: [&Step<'_>; 3] = [
            &|client| match offsets {
                Some((list, group)) => client.send_offsets_to_transaction(list, group, STEP),
                None => Ok(()),
            },
            &|client| client.commit_transaction(STEP),
            &|client| client.begin_transaction(),
        ];
        for step in steps {
            retried(&beat, || step(&client)).map_err(|error| {
                let fault = transaction_fault(&doing, &error);
                match error {
                    KafkaError::Transaction(error) if error.txn_requires_abort() => {
                        Failure::Abort(fault)
                    }
                    _ => Failure::Lost(fault.unknown()),
                }
            })?;
        }
        Ok(())
    }

    /// Undoes what was written since the last commit, and begins the next transaction. Blocks.
    ///
    /// # Errors
    /// A `Remote` fault when it cannot be: another producer has to begin.
    pub(super) fn abort(&self, _shut: &Shut, beat: impl Fn()) -> Result<(), Fault> {
        let client = self.producer()?.client();
        let doing = format!("aborting a transaction of {}", self.id);
        let aborted = retried(&beat, || client.abort_transaction(STEP));
        let begun = aborted.and_then(|()| client.begin_transaction());
        begun.map_err(|error| transaction_fault(&doing, &error))
    }

    /// Gives up the producer; what it has not committed is undone by the next one of its id, or by
    /// the brokers in time. Blocks for a moment.
    pub(super) fn close(&self) {
        let producer = self.lock().take();
        drop(producer);
    }
}

/// Whether nothing of a producer is under way any more, or not for this while. (rdkafka's own `flush` lasts
/// a tenth of a second whatever comes meanwhile; what has become of records its thread says already.)
fn is_empty(client: &Client) -> bool {
    let started = Instant::now();
    while client.in_flight_count() > 0 {
        if started.elapsed() > STEP {
            return false;
        }
        thread::sleep(LOOK);
    }
    true
}

/// Tries a step again as long as librdkafka says that this helps.
fn retried(beat: impl Fn(), step: impl Fn() -> KafkaResult<()>) -> KafkaResult<()> {
    let started = Instant::now();
    loop {
        beat();
        match step() {
            Err(KafkaError::Transaction(error))
                if error.is_retriable() && started.elapsed() < PATIENCE =>
            {
                thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

fn transaction_fault(doing: &str, error: &KafkaError) -> Fault {
    let KafkaError::Transaction(cause) = error else { return fault(doing, error) };
    match cause.code() {
        Code::ProducerFenced | Code::InvalidProducerEpoch | Code::Fenced => Fault::remote(
            "fenced",
            format!(
                "Fenced while {doing}: another producer has taken over, or the transaction was open \
                 for too long; nothing of it can be seen."
            ),
        ),
        _ => fault(doing, error),
    }
}
