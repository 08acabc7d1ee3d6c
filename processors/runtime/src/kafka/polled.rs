//! A producer and the thread that hands on what became of its records.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext, PurgeConfig};

use super::error::fault;
use crate::Fault;

/// How long a poll may last. At the end of each, rdkafka spins for up to a millisecond: polls of its
/// own `ThreadedProducer`, ten a second, cost a hundredth of a core for a producer that does nothing.
const POLL: Duration = Duration::from_secs(1);

/// A producer that a thread of its own polls.
pub(super) struct Polled<C: ProducerContext + 'static> {
    producer: Arc<BaseProducer<C>>,
    dropped: Arc<AtomicBool>,
}

impl<C: ProducerContext + 'static> Polled<C> {
    /// Connects in the background.
    ///
    /// # Errors
    /// A `Config` fault when librdkafka refuses a setting, an `Internal` one without a thread.
    pub fn new(config: &ClientConfig, context: C) -> Result<Self, Fault> {
        let producer = BaseProducer::from_config_and_context(config, context);
        let producer = Arc::new(producer.map_err(|error| fault("preparing a producer", &error))?);
        let dropped = Arc::new(AtomicBool::new(false));
        let polled = (Arc::clone(&producer), Arc::clone(&dropped));
        let thread = thread::Builder::new().name("producer".to_owned()).spawn(move || {
            let (producer, dropped) = polled;
            while !dropped.load(Ordering::Acquire) {
                producer.poll(POLL);
            }
        });
        thread.map_err(|error| {
            Fault::internal("thread", format!("No thread for a producer: {error}."))
        })?;
        Ok(Self { producer, dropped })
    }
}

impl<C: ProducerContext + 'static> Deref for Polled<C> {
    type Target = BaseProducer<C>;

    fn deref(&self) -> &Self::Target {
        &self.producer
    }
}

/// Nothing more is written; the thread ends with its poll, and the client with the thread.
impl<C: ProducerContext + 'static> Drop for Polled<C> {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Release);
        self.producer.purge(PurgeConfig::default().queue().inflight());
    }
}
