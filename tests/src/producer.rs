//! A producer whose caller learns what became of each record.

use std::{sync::mpsc, time::Duration};

use rdkafka::{
    ClientConfig, ClientContext, Message as _,
    error::RDKafkaErrorCode,
    message::DeliveryResult,
    producer::{BaseRecord, ProducerContext, ThreadedProducer},
};

use crate::{deadline::GENEROUS, record::Record};

/// Where a record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

/// What became of a record.
pub type Delivered = Result<Placed, RDKafkaErrorCode>;

/// What will become of a record.
#[derive(Debug)]
pub struct Receipt(mpsc::Receiver<Delivered>);

impl Receipt {
    /// Waits for the acknowledgement.
    ///
    /// # Errors
    /// If the record was refused.
    ///
    /// # Panics
    /// If nothing is known in time.
    pub fn wait(self) -> Delivered {
        self.0.recv_timeout(GENEROUS).expect("an acknowledgement in time")
    }

    /// Waits for the acknowledgement for as long as this; none if nothing is known then.
    #[must_use]
    pub fn wait_for(&self, patience: Duration) -> Option<Delivered> {
        self.0.recv_timeout(patience).ok()
    }
}

/// librdkafka's producer.
pub type Native = ThreadedProducer<Receipts>;

/// Hands each acknowledgement to who waits for it.
pub struct Receipts;

impl ClientContext for Receipts {}

impl ProducerContext for Receipts {
    type DeliveryOpaque = Box<mpsc::Sender<Delivered>>;

    fn delivery(&self, result: &DeliveryResult<'_>, receipt: Self::DeliveryOpaque) {
        let delivered = match result {
            Ok(message) => Ok(Placed { partition: message.partition(), offset: message.offset() }),
            Err((error, _)) => Err(error.rdkafka_error_code().expect("a code of librdkafka")),
        };
        // Nobody need wait.
        let _ = receipt.send(delivered);
    }
}

/// A producer.
pub struct Producer {
    native: Native,
}

impl Producer {
    /// A producer of a cluster, with settings of librdkafka besides the address.
    ///
    /// # Panics
    /// If a setting is wrong.
    #[must_use]
    pub fn new(address: &str, settings: &[(&str, &str)]) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", address).set("broker.address.family", "v4");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        Self { native: config.create_with_context(Receipts).unwrap() }
    }

    /// librdkafka's producer.
    pub fn native(&self) -> &Native {
        &self.native
    }

    /// Sends a record, to the given partition or to one chosen by its key.
    ///
    /// # Errors
    /// If it is refused at once.
    pub fn send(
        &self,
        topic: &str,
        partition: Option<i32>,
        record: &Record,
    ) -> Result<Receipt, RDKafkaErrorCode> {
        let (sender, receiver) = mpsc::channel();
        let mut native = BaseRecord::<[u8], [u8], _>::with_opaque_to(topic, Box::new(sender));
        (native.key, native.payload) = (record.key.as_deref(), record.value.as_deref());
        (native.partition, native.timestamp) = (partition, record.timestamp);
        native.headers = record.native_headers();
        match self.native.send(native) {
            Ok(()) => Ok(Receipt(receiver)),
            Err((error, _)) => Err(error.rdkafka_error_code().expect("a code of librdkafka")),
        }
    }

    /// Writes records to a partition and waits until all are acknowledged.
    ///
    /// # Panics
    /// If one is not.
    pub fn write<'r>(
        &self,
        topic: &str,
        partition: i32,
        records: impl IntoIterator<Item = &'r Record>,
    ) -> Vec<Placed> {
        let send = |record| self.send(topic, Some(partition), record).unwrap();
        let receipts: Vec<_> = records.into_iter().map(send).collect();
        receipts.into_iter().map(|receipt| receipt.wait().unwrap()).collect()
    }
}
