//! What the log promises.

mod basics;
mod cleaning;
mod concurrency;
mod crashes;
mod group_commit;
mod producers;
mod random;
mod transactions;

use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, Record, RecordBatchEncoder, RecordEncodeOptions,
    TimestampType,
};
use tempfile::TempDir;

use super::{Appended, Fsync, Isolation, Log, LogConfig, LogError, Syncer};

/// A time, in milliseconds since 1970.
const NOW: i64 = 1_760_000_000_000;

/// A batch as a producer sends it.
#[derive(Clone)]
struct Batch {
    records: Vec<(Option<String>, Option<String>, i64)>,
    compression: Compression,
    producer: (i64, i16, i32),
    transactional: bool,
}

impl Batch {
    fn new() -> Self {
        Self {
            records: Vec::new(),
            compression: Compression::None,
            producer: (-1, -1, -1),
            transactional: false,
        }
    }

    /// One record without a key.
    fn of(value: &str) -> Self {
        let mut batch = Self::new();
        batch.records.push((None, Some(value.to_owned()), NOW));
        batch
    }

    fn record(mut self, key: &str, value: Option<&str>, timestamp: i64) -> Self {
        self.records.push((Some(key.to_owned()), value.map(str::to_owned), timestamp));
        self
    }

    fn compressed(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    fn in_transaction(mut self) -> Self {
        self.transactional = true;
        self
    }

    fn by(mut self, id: i64, epoch: i16, sequence: i32) -> Self {
        self.producer = (id, epoch, sequence);
        self
    }

    fn bytes(&self) -> Bytes {
        let (producer_id, producer_epoch, sequence) = self.producer;
        let encoded =
            |(i, (key, value, timestamp)): (usize, &(Option<String>, Option<String>, i64))| {
                Record {
                    transactional: self.transactional,
                    control: false,
                    delete_horizon: false,
                    partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
                    producer_id,
                    producer_epoch,
                    timestamp_type: TimestampType::Creation,
                    offset: i as i64,
                    sequence: sequence.wrapping_add(i as i32),
                    timestamp: *timestamp,
                    key: key.clone().map(Bytes::from),
                    value: value.clone().map(Bytes::from),
                    headers: [("trace".into(), Some(Bytes::from_static(b"1")))].into(),
                }
            };
        let records: Vec<Record> = self.records.iter().enumerate().map(encoded).collect();
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: self.compression };
        RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
        bytes.freeze()
    }
}

/// A log in a folder of its own.
struct Bench {
    dir: TempDir,
    syncer: Syncer,
    config: LogConfig,
}

impl Bench {
    fn new() -> Self {
        let syncer = Syncer::start(Fsync::EveryAcknowledgement).unwrap();
        Self { dir: TempDir::new().unwrap(), syncer, config: LogConfig::default() }
    }

    fn with(config: LogConfig) -> Self {
        Self { config, ..Self::new() }
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("orders-0")
    }

    fn open(&self) -> Log {
        Log::open(self.path(), self.config.clone(), &self.syncer).unwrap()
    }
}

/// Appends and waits for the disk.
fn put(log: &Log, batch: &Batch) -> Appended {
    let appended = log.append(batch.bytes(), NOW).unwrap();
    wait(log, &appended).unwrap();
    appended
}

/// Appends and waits for the disk, one by one.
fn put_all(log: &Log, values: std::ops::Range<i32>) {
    for i in values {
        put(log, &Batch::of(&format!("value {i}")));
    }
}

fn wait(log: &Log, appended: &Appended) -> Result<(), LogError> {
    futures::executor::block_on(log.durable(appended))
}

/// The values of all records that consumers see, with their offsets.
fn values(log: &Log) -> Vec<(i64, String)> {
    log.records(0)
        .map(|record| record.unwrap())
        .map(|record| {
            let value = record.value.unwrap_or_default();
            (record.offset, String::from_utf8(value.to_vec()).unwrap())
        })
        .collect()
}

/// The files that hold records, oldest first.
fn segment_files(log: &Log) -> Vec<std::path::PathBuf> {
    let offsets = super::files::offsets(log.dir(), "log").unwrap();
    offsets.into_iter().map(|base| super::files::log_path(log.dir(), base)).collect()
}

/// Copies a folder's files.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for name in super::files::names(from).unwrap() {
        std::fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}
