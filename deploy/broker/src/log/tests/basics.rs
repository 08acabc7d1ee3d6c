use super::*;
use crate::log::{TimestampType as Clock, batch::BatchHeader};

#[test]
fn a_batch_is_read_back_as_it_was_sent() {
    let bench = Bench::new();
    let log = bench.open();
    let sent = Batch::of("a").record("k", Some("b"), NOW).bytes();
    for base in [0, 2, 4] {
        let appended = log.append(sent.clone(), NOW).unwrap();
        assert_eq!((appended.base_offset, appended.last_offset), (base, base + 1));
        wait(&log, &appended).unwrap();
        let read = log.read(base, 1 << 20, Isolation::Uncommitted).unwrap();
        assert_eq!(read.batches.len(), sent.len());
        // The base offset and the leader epoch are the broker's.
        assert_eq!(read.batches[..8], base.to_be_bytes());
        assert_eq!(read.batches[8..12], sent[8..12]);
        assert_eq!(read.batches[16..], sent[16..]);
        assert_eq!((read.high_watermark, read.log_start), (base + 2, 0));
    }
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart_with_or_without_a_clean_end() {
    for clean in [true, false] {
        let bench = Bench::new();
        let log = bench.open();
        for i in 0..10 {
            put(&log, &Batch::of(&i.to_string()));
        }
        let before = values(&log);
        if clean {
            log.close().unwrap();
        }
        drop(log);
        let log = bench.open();
        assert_eq!(log.recovery().segments_read, usize::from(!clean));
        assert_eq!(log.recovery().cut_bytes, 0);
        assert_eq!(values(&log), before);
        assert_eq!(put(&log, &Batch::of("next")).base_offset, 10);
    }
}

#[test]
fn a_read_gives_whole_batches_and_at_least_one() {
    let bench = Bench::new();
    let log = bench.open();
    let large = "x".repeat(100_000);
    for _ in 0..5 {
        put(&log, &Batch::of(&large));
    }
    let size = Batch::of(&large).bytes().len();
    for (from, max_bytes, batches) in
        [(0, 1, 1), (0, size * 2, 2), (1, size * 3 - 1, 2), (2, usize::MAX, 3), (4, 0, 1)]
    {
        let read = log.read(from, max_bytes, Isolation::Uncommitted).unwrap();
        assert_eq!(read.batches.len(), size * batches, "from {from}, {max_bytes} bytes");
        assert_eq!(BatchHeader::parse(&read.batches).unwrap().base_offset, from);
    }
    assert!(log.read(5, 1000, Isolation::Uncommitted).unwrap().batches.is_empty());
    for offset in [-1, 6] {
        let error = log.read(offset, 1000, Isolation::Uncommitted).unwrap_err();
        assert!(matches!(error, LogError::OffsetOutOfRange { log_end: 5, .. }), "{error}");
    }
}

#[test]
fn any_offset_is_found_across_many_segments() {
    let config =
        LogConfig { segment_bytes: 3000, index_interval_bytes: 300, ..LogConfig::default() };
    let bench = Bench::with(config);
    let log = bench.open();
    for i in 0..200 {
        put(&log, &Batch::of(&format!("{i}-a")).record("k", Some(&format!("{i}-b")), NOW));
    }
    assert!(segment_files(&log).len() > 5);
    let check = |log: &Log| {
        for offset in (0..400).rev() {
            let read = log.read(offset, 1, Isolation::Uncommitted).unwrap();
            assert_eq!(BatchHeader::parse(&read.batches).unwrap().base_offset, offset / 2 * 2);
        }
        assert_eq!(values(log).len(), 400);
    };
    check(&log);
    log.close().unwrap();
    let log = bench.open();
    assert_eq!(log.recovery().segments_read, 0);
    check(&log);
    drop(log);
    for index in super::super::files::offsets(&bench.path(), "log").unwrap() {
        std::fs::remove_file(super::super::files::index_path(&bench.path(), index)).unwrap();
    }
    check(&bench.open());
}

#[test]
fn timestamps_too_far_from_the_clock_are_refused() {
    let config = LogConfig {
        timestamp_before_max_ms: 100,
        timestamp_after_max_ms: 50,
        ..LogConfig::default()
    };
    let bench = Bench::with(config.clone());
    let log = bench.open();
    let batch = |timestamp| {
        let batch = Batch::of("a").record("k", Some("b"), timestamp);
        batch.compressed(Compression::Lz4).bytes()
    };
    for taken in [NOW - 100, NOW + 50, -1] {
        log.append(batch(taken), NOW).unwrap();
    }
    for refused in [NOW - 101, NOW + 51, 0] {
        let error = log.append(batch(refused), NOW).unwrap_err();
        let LogError::InvalidTimestamp { record: 1, timestamp, earliest, latest } = error else {
            panic!("{error}")
        };
        assert_eq!((timestamp, earliest, latest), (refused, NOW - 100, NOW + 50));
    }
    assert_eq!(log.log_end(), 6);
    drop(log);
    let stamped = Bench::with(LogConfig { timestamp_type: Clock::LogAppendTime, ..config });
    assert!(stamped.open().append(batch(0), NOW).is_ok(), "a log that stamps records takes any");
}

#[test]
fn a_log_by_the_brokers_clock_gives_each_batch_its_time() {
    let config = LogConfig { timestamp_type: Clock::LogAppendTime, ..LogConfig::default() };
    let bench = Bench::with(config);
    let log = bench.open();
    let appended = log.append(Batch::of("a").bytes(), NOW + 77).unwrap();
    wait(&log, &appended).unwrap();
    assert_eq!(appended.append_time, NOW + 77);
    assert_eq!(log.records(0).next().unwrap().unwrap().timestamp, NOW + 77);
}
