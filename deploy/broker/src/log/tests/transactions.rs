use std::collections::{BTreeMap, BTreeSet, HashMap};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::log::{
    Aborted, Cleanup, Ending,
    batch::{BatchHeader, HEADER_BYTES},
    transactions::ending_of,
};

fn end(log: &Log, producer: i64, ending: Ending) -> Appended {
    let marker = log.append_marker(producer, 0, ending, NOW).unwrap();
    wait(log, &marker).unwrap();
    marker
}

/// What a client sees that reads committed records, as Java's does (`CompletedFetch.java`).
fn committed(log: &Log) -> Vec<(i64, String, String)> {
    let mut seen = Vec::new();
    let mut from = log.log_start();
    loop {
        let read = log.read(from, 2000, Isolation::Committed).unwrap();
        let mut aborted = read.aborted.iter().peekable();
        let mut left_out = BTreeSet::new();
        let mut rest = read.batches;
        if rest.is_empty() {
            return seen;
        }
        while let Some(header) = BatchHeader::parse(&rest) {
            let batch = rest.split_to(header.size());
            while let Some(known) = aborted.next_if(|known| known.first <= header.last_offset()) {
                left_out.insert(known.producer_id);
            }
            let at = from;
            from = header.next_offset();
            if header.is_control() {
                if ending_of(&header, &batch[HEADER_BYTES..]) == Some(Ending::Abort) {
                    left_out.remove(&header.producer_id);
                }
            } else if !header.is_transactional() || !left_out.contains(&header.producer_id) {
                let records = crate::log::decode(&batch).unwrap();
                let text = |bytes: Option<Bytes>| String::from_utf8(bytes.unwrap().into()).unwrap();
                let of_reader = records.into_iter().filter(|record| record.offset >= at);
                seen.extend(
                    of_reader.map(|record| (record.offset, text(record.key), text(record.value))),
                );
            }
        }
    }
}

fn keyed(producer: i64, sequence: i32, key: &str, value: &str) -> Batch {
    let batch = Batch::new().record(key, Some(value), NOW);
    batch.by(producer, 0, sequence).in_transaction()
}

#[test]
fn readers_of_committed_records_stop_at_the_first_open_transaction_also_after_a_crash() {
    let bench = Bench::new();
    let log = bench.open();
    put(&log, &Batch::new().record("k", Some("before"), NOW));
    put(&log, &keyed(1, 0, "k", "open"));
    put(&log, &Batch::new().record("k", Some("behind"), NOW));
    let check = |log: &Log| {
        assert_eq!((log.last_stable(), log.high_watermark()), (1, 3));
        let seen: Vec<_> = committed(log).into_iter().map(|(.., value)| value).collect();
        assert_eq!(seen, ["before"]);
        let producer = log.producers()[0];
        assert_eq!((producer.producer_id, producer.transaction_start), (1, Some(1)));
    };
    check(&log);
    drop(log);
    let log = bench.open();
    check(&log);
    log.close().unwrap();
    let log = bench.open();
    check(&log);

    assert_eq!(end(&log, 1, Ending::Abort).base_offset, 3);
    let aborted = Aborted { producer_id: 1, first: 1, last: 3 };
    let check = |log: &Log| {
        assert_eq!(log.last_stable(), 4);
        let read = log.read(0, 1000, Isolation::Committed).unwrap();
        assert_eq!(read.aborted, [aborted]);
        let seen: Vec<_> = committed(log).into_iter().map(|(.., value)| value).collect();
        assert_eq!(seen, ["before", "behind"]);
        let whole = log.read(0, 1000, Isolation::Uncommitted).unwrap();
        assert!(whole.aborted.is_empty() && values(log).len() == 3, "others see all of it");
    };
    check(&log);
    drop(log);
    let log = bench.open();
    check(&log);
    log.close().unwrap();
    check(&bench.open());
}

#[test]
fn a_newer_epoch_of_a_marker_fences_the_older() {
    let log = Bench::new().open();
    put(&log, &keyed(1, 0, "k", "v"));
    log.append_marker(1, 1, Ending::Abort, NOW).unwrap();
    let late = log.append(keyed(1, 1, "k", "late").bytes(), NOW).unwrap_err();
    assert!(matches!(late, LogError::Fenced { epoch: 0, current: 1, .. }), "{late}");
}

/// A random course of transactions over a compacted log, with a model of what counts.
struct Course {
    random: StdRng,
    bench: Bench,
    log: Log,
    sequences: HashMap<i64, i32>,
    open: BTreeMap<i64, Vec<(i64, String, String)>>,
    counts: Vec<(i64, String, String)>,
    seed: u64,
}

impl Course {
    fn new(seed: u64) -> Self {
        let config = LogConfig {
            segment_bytes: 600,
            index_interval_bytes: 100,
            cleanup: Cleanup { delete: false, compact: true },
            min_cleanable_ratio: 0.0,
            ..LogConfig::default()
        };
        let bench = Bench::with(config);
        let log = bench.open();
        let random = StdRng::seed_from_u64(seed);
        let (sequences, open, counts) = (HashMap::new(), BTreeMap::new(), Vec::new());
        Self { random, bench, log, sequences, open, counts, seed }
    }

    fn write(&mut self) {
        let producer = self.random.random_range(0..4);
        let key = format!("k{}", self.random.random_range(0..6));
        let value = format!("v{}", self.log.log_end());
        if producer == 0 {
            let offset = put(&self.log, &Batch::new().record(&key, Some(&value), NOW)).base_offset;
            self.counts.push((offset, key, value));
            return;
        }
        let sequence = self.sequences.entry(producer).or_insert(0);
        let offset = put(&self.log, &keyed(producer, *sequence, &key, &value)).base_offset;
        *sequence += 1;
        self.open.entry(producer).or_default().push((offset, key, value));
    }

    fn end_one(&mut self) {
        let Some((producer, written)) = self.open.pop_first() else { return };
        let ending = [Ending::Commit, Ending::Abort][self.random.random_range(0..2)];
        end(&self.log, producer, ending);
        if ending == Ending::Commit {
            self.counts.extend(written);
        }
    }

    fn check(&self) {
        let last = |records: &[(i64, String, String)]| {
            let mut records = records.to_vec();
            records.retain(|(offset, ..)| *offset < self.log.last_stable());
            records.sort();
            let last = records.into_iter().map(|(_, key, value)| (key, value));
            last.collect::<BTreeMap<_, _>>()
        };
        let seen = committed(&self.log);
        assert!(seen.iter().all(|record| self.counts.contains(record)), "seed {}", self.seed);
        // What is behind an open transaction may have made older records of its key go.
        if self.open.is_empty() {
            assert_eq!(last(&seen), last(&self.counts), "seed {}", self.seed);
        }
    }
}

#[test]
fn of_each_key_the_last_committed_value_survives_compaction_and_restarts() {
    for _ in 0..20 {
        let mut course = Course::new(rand::random());
        for _ in 0..150 {
            match course.random.random_range(0..12) {
                0..=7 => course.write(),
                8 | 9 => course.end_one(),
                10 => {
                    course.log.clean(NOW).unwrap();
                }
                _ => {
                    if course.random.random_bool(0.5) {
                        course.log.close().unwrap();
                    }
                    course.log = course.bench.open();
                }
            }
            course.check();
        }
        while !course.open.is_empty() {
            course.end_one();
        }
        course.log.clean(NOW).unwrap();
        course.check();
    }
}
