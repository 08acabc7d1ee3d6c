//! Writing outcomes behind the work's back.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use prometheus::IntCounter;
use tokio::sync::Notify;

use super::mask::Mask;
use super::{Policy, TOPIC};
use crate::Fault;
use crate::clock::Moment;
use crate::kafka::{Acknowledge, Producer, Record};
use crate::publisher::Placed;

/// How long outcomes are gathered: they are written together, so that at a low rate they cost the
/// brokers a few writes a second and not one for each event.
pub(super) const GATHER: Duration = Duration::from_millis(100);
/// So many are written at once, sooner.
const BATCH: usize = 2_000;
/// Beyond so many not yet acknowledged, further ones are lost: events must not wait for them.
const MOST: usize = 20_000;
/// After the brokers refused one, how long none is written: a refusal would cost the producer,
/// which writes more important things, each time.
const PAUSE: Duration = Duration::from_secs(30);

/// Writes the outcomes of a pipeline.
pub(crate) struct Writer {
    pub(super) topic: Arc<str>,
    pub(super) mask: Mask,
    producer: Arc<Producer>,
    gathered: Mutex<Vec<(Record, Arc<Account>)>>,
    some: Notify,
    many: Notify,
    /// Handed to the producer and not acknowledged.
    pending: AtomicUsize,
    refused: Mutex<Option<Moment>>,
    losing: AtomicBool,
}

impl Writer {
    pub fn new(policy: &Policy, producer: Arc<Producer>) -> Self {
        Self {
            topic: TOPIC.into(),
            mask: Mask::new(policy),
            producer,
            gathered: Mutex::default(),
            some: Notify::new(),
            many: Notify::new(),
            pending: AtomicUsize::new(0),
            refused: Mutex::default(),
            losing: AtomicBool::new(false),
        }
    }

    /// Hands what is gathered to the producer.
    pub fn flush(&self) {
        let gathered =
            std::mem::take(&mut *self.gathered.lock().unwrap_or_else(PoisonError::into_inner));
        for (record, account) in gathered {
            if self.is_paused() {
                account.lose("the brokers refuse them");
                continue;
            }
            self.pending.fetch_add(1, Ordering::Relaxed);
            match self.producer.offer(&record, Arc::clone(&account) as Arc<dyn Acknowledge>) {
                Ok(true) => {}
                Ok(false) => {
                    self.pending.fetch_sub(1, Ordering::Relaxed);
                    account.lose("the producer's queue is full");
                }
                Err(fault) => account.acknowledged(Err(fault)),
            }
        }
    }

    fn is_paused(&self) -> bool {
        let refused = *self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.is_some_and(|refused| Moment::now().since(refused) < PAUSE)
    }

    /// Writes what is gathered, again and again, for as long as the writer is used.
    pub fn run(self: &Arc<Self>) -> impl Future<Output = ()> + Send + 'static {
        let writer: Weak<Self> = Arc::downgrade(self);
        async move {
            loop {
                // Held only while it waits for work: the engine drops its own after a last flush.
                let Some(own) = writer.upgrade() else { return };
                // Whether work came or not: whoever is gone is noticed.
                drop(tokio::time::timeout(Duration::from_secs(1), own.some.notified()).await);
                drop(tokio::time::timeout(GATHER, own.many.notified()).await);
                own.flush();
            }
        }
    }
}

/// Hands in the outcomes of one route, and learns what became of them.
pub(crate) struct Account {
    pub(super) writer: Arc<Writer>,
    /// Counts those that could not be written.
    lost: IntCounter,
}

impl Account {
    pub fn new(writer: Arc<Writer>, lost: IntCounter) -> Self {
        Self { writer, lost }
    }

    /// Takes a record to be written soon.
    pub(super) fn hand_in(self: &Arc<Self>, record: Record) {
        let writer = &self.writer;
        let mut gathered = writer.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        if gathered.len() + writer.pending.load(Ordering::Relaxed) >= MOST {
            drop(gathered);
            return self.lose("they are not acknowledged fast enough");
        }
        gathered.push((record, Arc::clone(self)));
        let count = gathered.len();
        drop(gathered);
        match count {
            1 => writer.some.notify_one(),
            BATCH => writer.many.notify_one(),
            _ => {}
        }
    }

    fn lose(&self, reason: &str) {
        self.lost.inc();
        if !self.writer.losing.swap(true, Ordering::Relaxed) {
            tracing::warn!(reason, "outcomes are lost: traces will have gaps");
        }
    }
}

impl Acknowledge for Account {
    fn acknowledged(&self, result: Result<Placed, Fault>) {
        let writer = &self.writer;
        writer.pending.fetch_sub(1, Ordering::Relaxed);
        match result {
            Ok(_) => writer.losing.store(false, Ordering::Relaxed),
            Err(fault) => {
                let now = Some(Moment::now());
                *writer.refused.lock().unwrap_or_else(PoisonError::into_inner) = now;
                self.lose(&fault.message);
            }
        }
    }
}
