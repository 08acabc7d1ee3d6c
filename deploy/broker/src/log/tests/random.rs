//! Random histories against a model, and random damage to what arrives.

use std::{fs::OpenOptions, time::Duration};

use kafka_protocol::records::Compression;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::log::{Cleanup, decode, files};

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// What the log has to hold.
#[derive(Default)]
struct Model {
    records: Vec<(i64, String, String)>,
    start: i64,
    end: i64,
    synced: i64,
}

struct History {
    random: StdRng,
    bench: Bench,
    log: Log,
    model: Model,
    seed: u64,
    compact: bool,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let compact = random.random_bool(0.5);
        let config = LogConfig {
            segment_bytes: random.random_range(300..3000),
            index_interval_bytes: random.random_range(50..500),
            cleanup: Cleanup { delete: false, compact },
            min_cleanable_ratio: 0.0,
            ..LogConfig::default()
        };
        // Syncs only when told to, so that the model knows what a crash may take.
        let syncer = Syncer::start(Fsync::Interval(Duration::from_secs(3600))).unwrap();
        let bench = Bench { syncer, ..Bench::with(config) };
        let log = bench.open();
        Self { random, bench, log, model: Model::default(), seed, compact }
    }

    fn append(&mut self) {
        let count = self.random.random_range(1..6);
        let mut batch = Batch::new().compressed(CODECS[self.random.random_range(0..5)]);
        for i in 0..count {
            let key = format!("k{}", self.random.random_range(0..12));
            let value = "v".repeat(self.random.random_range(0..80)) + &self.model.end.to_string();
            batch = batch.record(&key, Some(&value), NOW);
            self.model.records.push((self.model.end + i, key, value));
        }
        let appended = self.log.append(batch.bytes(), NOW).unwrap();
        assert_eq!(appended.base_offset, self.model.end, "seed {}", self.seed);
        self.model.end += count;
    }

    fn sync(&mut self) {
        self.log.shared.sync_now().unwrap();
        self.model.synced = self.model.end;
    }

    fn delete(&mut self) {
        let offset = self.random.random_range(self.model.start..=self.model.end);
        self.log.delete_before(offset).unwrap();
        self.model.synced = self.model.end;
        self.model.start = offset;
        self.model.records.retain(|(at, ..)| *at >= offset);
    }

    fn clean(&mut self) {
        self.log.clean(NOW).unwrap();
        if !self.compact {
            return;
        }
        self.model.synced = self.model.end;
        let end = self.log.shared.active().unwrap().base;
        let records = std::mem::take(&mut self.model.records);
        let superseded = |(at, key, _): &(i64, String, String)| {
            records.iter().any(|(later, k, _)| later > at && *later < end && k == key)
        };
        let (gone, kept) = records.iter().cloned().partition::<Vec<_>, _>(superseded);
        drop(gone);
        self.model.records = kept;
    }

    /// Opens a copy in which the last segments end somewhere after what was synced.
    fn crash(&mut self) {
        let crashed = Bench::with(self.bench.config.clone());
        copy(&self.bench.path(), &crashed.path());
        let checkpoint = crate::log::lock(&self.log.shared.checkpoint).last;
        for segment in self.log.shared.segments().iter() {
            let least = match segment.base.cmp(&checkpoint.segment) {
                std::cmp::Ordering::Less => continue,
                std::cmp::Ordering::Equal => checkpoint.position,
                std::cmp::Ordering::Greater => 0,
            };
            if self.random.random_bool(0.5) {
                let file = files::log_path(&crashed.path(), segment.base);
                let length = self.random.random_range(least..=segment.size());
                OpenOptions::new().write(true).open(file).unwrap().set_len(length).unwrap();
            }
        }
        self.bench = Bench { syncer: self.bench.syncer.clone(), ..crashed };
        self.log = self.bench.open();
        assert_eq!(self.log.stopped(), None, "seed {}", self.seed);
        let end = self.log.log_end();
        assert!(end >= self.model.synced, "seed {}: synced records are gone", self.seed);
        self.model.records.retain(|(at, ..)| *at < end);
        self.model.end = end;
        self.model.synced = end;
    }

    fn restart(&mut self) {
        self.log.close().unwrap();
        self.log = self.bench.open();
        assert_eq!(self.log.recovery().segments_read, 0, "seed {}", self.seed);
        self.model.synced = self.model.end;
    }

    fn check(&self) {
        let found: Vec<_> = self
            .log
            .records(0)
            .map(|record| record.unwrap())
            .map(|record| {
                let text = |bytes: Option<Bytes>| String::from_utf8(bytes.unwrap().into()).unwrap();
                (record.offset, text(record.key), text(record.value))
            })
            .collect();
        assert!(
            found == self.model.records,
            "seed {}: {:?}",
            self.seed,
            self.model.records.iter().filter(|r| !found.contains(r)).collect::<Vec<_>>()
        );
        assert_eq!((self.log.log_start(), self.log.log_end()), (self.model.start, self.model.end));
    }
}

#[test]
fn any_history_of_appends_syncs_crashes_deletes_and_compactions_is_as_the_model_says() {
    for seed in 0..30 {
        let mut history = History::new(seed);
        for _ in 0..80 {
            match history.random.random_range(0..20) {
                0..12 => history.append(),
                12..15 => history.sync(),
                15 => history.crash(),
                16 => history.restart(),
                17 => history.delete(),
                _ => history.clean(),
            }
            if history.random.random_bool(0.2) {
                history.check();
            }
        }
        history.check();
    }
}

/// Puts a right CRC and length on a batch, so that the damage gets further.
fn resigned(mut batch: Vec<u8>) -> Vec<u8> {
    if batch.len() >= 61 {
        let length = (batch.len() as i32 - 12).to_be_bytes();
        batch[8..12].copy_from_slice(&length);
        let crc = crc32c::crc32c(&batch[21..]).to_be_bytes();
        batch[17..21].copy_from_slice(&crc);
    }
    batch
}

#[test]
fn ten_thousand_damaged_batches_are_refused_or_stored_whole() {
    let bench = Bench::with(LogConfig { max_message_bytes: 4000, ..LogConfig::default() });
    let log = bench.open();
    let mut random = StdRng::seed_from_u64(7);
    let (mut stored, mut refused) = (0, 0);
    for round in 0..10_000 {
        let batch = (0..random.random_range(1..5))
            .fold(Batch::new(), |batch, i| batch.record("key", Some(&"value ".repeat(i * 3)), NOW));
        let mut sent = batch.compressed(CODECS[round % 5]).bytes().to_vec();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..sent.len());
            match random.random_range(0..4) {
                0 => sent[at] = random.random(),
                1 => sent[at] ^= 1 << random.random_range(0..8),
                2 => drop(sent.remove(at)),
                _ => sent.insert(at, random.random()),
            }
        }
        if random.random_bool(0.7) {
            sent = resigned(sent);
        }
        let Ok(appended) = log.append(sent.into(), NOW) else {
            refused += 1;
            continue;
        };
        wait(&log, &appended).unwrap();
        let read = log.read(appended.base_offset, 1, Isolation::Uncommitted).unwrap();
        let records = decode(&read.batches).unwrap();
        let offsets: Vec<i64> = records.iter().map(|record| record.offset).collect();
        let expected: Vec<i64> = (appended.base_offset..=appended.last_offset).collect();
        assert_eq!(offsets, expected);
        stored += 1;
    }
    assert!(stored > 500 && refused > 5000, "{stored} stored, {refused} refused");
    assert_eq!(log.stopped(), None);
    let end = log.log_end();
    drop(log);
    let log = bench.open();
    assert_eq!((log.stopped(), log.log_end()), (None, end));
}
