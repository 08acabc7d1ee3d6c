use kafka_protocol::records::Compression;

use super::*;
use crate::log::{Cleaned, Cleanup, batch::BatchHeader, files};

const HOUR: i64 = 3_600_000;

fn small_segments() -> LogConfig {
    LogConfig { segment_bytes: 1000, index_interval_bytes: 200, ..LogConfig::default() }
}

fn compacted() -> LogConfig {
    LogConfig {
        cleanup: Cleanup { delete: false, compact: true },
        min_cleanable_ratio: 0.0,
        delete_retention_ms: HOUR,
        ..small_segments()
    }
}

fn fill(log: &Log, records: i64, timestamp: impl Fn(i64) -> i64) {
    for i in 0..records {
        put(log, &Batch::new().record("k", Some(&i.to_string()), timestamp(i)));
    }
}

#[test]
fn records_past_the_retention_time_go_by_whole_segments() {
    let config = LogConfig { retention_ms: Some(50), ..small_segments() };
    let bench = Bench::with(config);
    let log = bench.open();
    fill(&log, 100, |i| NOW + i);
    assert_eq!(log.clean(NOW + 50).unwrap().segments_deleted, 0);
    let cleaned = log.clean(NOW + 100).unwrap();
    assert!(cleaned.segments_deleted > 2 && cleaned.bytes_freed > 2000, "{cleaned:?}");
    // 49 and all after it are not yet past; whole segments before may stay.
    assert!((30..=50).contains(&log.log_start()), "{}", log.log_start());
    assert_eq!(values(&log).first().unwrap().0, log.log_start());
    assert_eq!(values(&log).last().unwrap().0, 99);
    log.clean(NOW + 1000).unwrap();
    assert_eq!((log.log_start(), log.log_end(), log.size_bytes()), (100, 100, 0));
    drop(log);
    let log = bench.open();
    assert_eq!((log.log_start(), log.high_watermark()), (100, 100));
    assert_eq!(put(&log, &Batch::of("x")).base_offset, 100);
}

#[test]
fn the_oldest_segments_go_beyond_the_retention_size() {
    let config = LogConfig { retention_bytes: Some(3000), ..small_segments() };
    let bench = Bench::with(config);
    let log = bench.open();
    fill(&log, 100, |_| NOW);
    let cleaned = log.clean(NOW).unwrap();
    assert!(cleaned.segments_deleted > 2, "{cleaned:?}");
    assert!((3000..4000).contains(&log.size_bytes()), "{}", log.size_bytes());
    assert_eq!(log.clean(NOW).unwrap().segments_deleted, 0);
    assert_eq!(values(&log).len() as i64, 100 - log.log_start());
}

#[test]
fn what_goes_for_its_age_counts_for_the_size_too() {
    let bench = Bench::with(LogConfig { segment_bytes: 1000, ..LogConfig::default() });
    let log = bench.open();
    for (size, timestamp) in [(700, 0), (500, NOW), (700, NOW), (700, NOW)] {
        put(&log, &Batch::new().record("k", Some(&"x".repeat(size)), timestamp));
    }
    assert_eq!(segment_files(&log).len(), 4);
    let size = log.size_bytes();
    drop(log);
    let (retention_bytes, retention_ms) = (Some(size - 650), Some(HOUR));
    let config = LogConfig { retention_bytes, retention_ms, ..bench.config.clone() };
    let bench = Bench { config, ..bench };
    let log = bench.open();
    log.clean(NOW).unwrap();
    assert_eq!(log.log_start(), 1, "the second is new, and there is room for it");
}

#[test]
fn compaction_ends_although_what_may_be_compacted_has_become_less() {
    let config = LogConfig { min_compaction_lag_ms: HOUR, ..compacted() };
    let bench = Bench::with(config.clone());
    let log = bench.open();
    fill(&log, 30, |_| NOW);
    for key in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
        put(&log, &Batch::new().record(key, Some(&"x".repeat(300)), NOW));
    }
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut cleaned = Cleaned::default();
        log.shared.compact(&config, NOW + 2 * HOUR, 4, &mut cleaned).unwrap();
        ended.send(()).unwrap();
    });
    end.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
}

#[test]
fn records_deleted_on_request_stay_deleted_after_a_crash() {
    let bench = Bench::with(small_segments());
    let log = bench.open();
    fill(&log, 100, |_| NOW);
    let files = segment_files(&log).len();
    assert_eq!(log.delete_before(55).unwrap(), 55);
    assert_eq!(log.delete_before(20).unwrap(), 55);
    assert!(segment_files(&log).len() < files);
    assert!(matches!(log.delete_before(-2), Err(LogError::OffsetOutOfRange { .. })));
    assert!(matches!(log.delete_before(101), Err(LogError::OffsetOutOfRange { .. })));
    drop(log);
    let log = bench.open();
    assert_eq!(log.log_start(), 55);
    assert!(matches!(
        log.read(54, 1, Isolation::Uncommitted),
        Err(LogError::OffsetOutOfRange { log_start: 55, .. })
    ));
    assert_eq!(values(&log).len(), 45);
}

#[test]
fn a_removed_log_leaves_nothing_and_answers_no_one() {
    let bench = Bench::new();
    let log = bench.open();
    put(&log, &Batch::of("x"));
    log.remove().unwrap();
    assert_eq!(std::fs::read_dir(bench.dir.path()).unwrap().count(), 0);
    let error = log.append(Batch::of("x").bytes(), NOW).unwrap_err();
    assert!(matches!(error, LogError::Stopped { .. }), "{error}");
    std::fs::create_dir(bench.dir.path().join("orders-0.1.removed")).unwrap();
    crate::log::sweep_removed(bench.dir.path()).unwrap();
    assert_eq!(std::fs::read_dir(bench.dir.path()).unwrap().count(), 0);
}

#[test]
fn an_offset_is_found_by_time_though_timestamps_are_out_of_order() {
    let bench = Bench::with(small_segments());
    let log = bench.open();
    let mut times = Vec::new();
    for i in 0..150_i64 {
        let batch = (0..2).fold(Batch::new(), |batch, j| {
            let time = NOW + (i * 7919 + j * 31) % 1000 + i;
            times.push(time);
            batch.record("k", Some("v"), time)
        });
        put(&log, &batch.compressed([Compression::None, Compression::Lz4][i as usize % 2]));
    }
    let expected = |ts: i64| {
        times.iter().position(|&time| time >= ts).map(|offset| (offset as i64, times[offset]))
    };
    let check = |log: &Log| {
        for ts in (NOW - 5..NOW + 1200).step_by(3) {
            assert_eq!(log.offset_for_time(ts).unwrap(), expected(ts), "{}", ts - NOW);
        }
        let max = *times.iter().max().unwrap();
        assert_eq!(log.max_timestamp().unwrap(), expected(max));
    };
    check(&log);
    log.close().unwrap();
    let log = bench.open();
    check(&log);
    log.delete_before(101).unwrap();
    times.iter_mut().take(101).for_each(|time| *time = 0);
    for ts in (NOW..NOW + 1200).step_by(50) {
        let found = times.iter().position(|&time| time >= ts);
        assert_eq!(log.offset_for_time(ts).unwrap().map(|(offset, _)| offset as usize), found);
    }
    assert_eq!(Bench::new().open().max_timestamp().unwrap(), None);
}

/// What compaction has to leave: of each key the last record, and all of the last segment.
fn last_of_each(all: &[(i64, String)], active_base: i64) -> Vec<(i64, String)> {
    let key = |value: &str| value.split_once('=').unwrap().0.to_owned();
    let is_last = |offset: i64, value: &str| {
        !all.iter().any(|(o, v)| *o > offset && *o < active_base && key(v) == key(value))
    };
    all.iter().filter(|(o, v)| *o >= active_base || is_last(*o, v)).cloned().collect()
}

fn fill_keys(log: &Log) {
    let codecs = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    for i in 0..100 {
        let batch = (0..3).fold(Batch::new(), |batch, j| {
            let key = format!("k{}", (i * 7 + j * 5) % 23);
            let value = format!("{key}={i}.{j} {}", "padding ".repeat(10));
            batch.record(&key, Some(&value), NOW + i)
        });
        put(log, &batch.compressed(codecs[i as usize % 5]));
    }
}

#[test]
fn the_last_value_of_each_key_stays_with_its_offset_whatever_the_codec() {
    let bench = Bench::with(compacted());
    let log = bench.open();
    fill_keys(&log);
    let all = values(&log);
    let active = *files::offsets(log.dir(), "log").unwrap().last().unwrap();
    let cleaned = log.clean(NOW).unwrap();
    let expected = last_of_each(&all, active);
    assert_eq!(values(&log), expected);
    assert_eq!(cleaned.records_compacted as usize, all.len() - expected.len());
    assert_eq!(log.read(0, 1, Isolation::Uncommitted).unwrap().log_start, 0);
    // Every offset can still be asked for.
    for offset in 0..log.log_end() {
        let found = log.records(offset).next().unwrap().unwrap().offset;
        assert_eq!(found, expected.iter().find(|(o, _)| *o >= offset).unwrap().0);
    }
    drop(log);
    let log = bench.open();
    assert_eq!(values(&log), expected);
    // A second pass over new records.
    fill_keys(&log);
    let all = values(&log);
    let active = *files::offsets(log.dir(), "log").unwrap().last().unwrap();
    log.clean(NOW).unwrap();
    assert_eq!(values(&log), last_of_each(&all, active));
}

#[test]
fn more_keys_than_fit_are_compacted_in_several_passes() {
    let bench = Bench::with(compacted());
    let log = bench.open();
    fill_keys(&log);
    let all = values(&log);
    let active = *files::offsets(log.dir(), "log").unwrap().last().unwrap();
    let mut cleaned = Cleaned::default();
    log.shared.compact(&log.config(), NOW, 4, &mut cleaned).unwrap();
    assert_eq!(values(&log), last_of_each(&all, active));
}

#[test]
fn nothing_is_compacted_before_enough_is_new_and_old_enough() {
    let config = LogConfig { min_compaction_lag_ms: HOUR, ..compacted() };
    let bench = Bench::with(config);
    let log = bench.open();
    fill_keys(&log);
    assert_eq!(log.clean(NOW).unwrap().records_compacted, 0);
    log.set_config(LogConfig { min_cleanable_ratio: 1.1, ..compacted() });
    assert_eq!(log.clean(NOW).unwrap().records_compacted, 0);
    log.set_config(compacted());
    assert!(log.clean(NOW).unwrap().records_compacted > 0);
}

#[test]
fn a_tombstone_stays_for_its_time_and_then_goes() {
    let bench = Bench::with(compacted());
    let log = bench.open();
    put(&log, &Batch::new().record("a", Some("1"), NOW).record("b", Some("1"), NOW + 1));
    put(&log, &Batch::new().record("a", None, NOW + 2));
    let more = || fill(&log, 20, |_| NOW);
    more();
    log.clean(NOW).unwrap();
    let of_a = || {
        let records = log.records(0).map(|record| record.unwrap());
        records
            .filter(|record| record.key.as_deref() == Some(b"a"))
            .map(|record| (record.offset, record.timestamp, record.value))
            .collect::<Vec<_>>()
    };
    // With its offset and time, though the batch now holds the delete horizon.
    assert_eq!(of_a(), [(2, NOW + 2, None)]);
    more();
    log.clean(NOW + HOUR - 1).unwrap();
    assert_eq!(of_a(), [(2, NOW + 2, None)]);
    more();
    log.clean(NOW + HOUR).unwrap();
    assert_eq!(of_a(), []);
    assert_eq!(log.records(0).next().unwrap().unwrap().key.as_deref(), Some(&b"b"[..]));
}

#[test]
fn a_compacted_log_refuses_records_without_a_key() {
    let bench = Bench::with(compacted());
    let error = bench.open().append(Batch::of("x").bytes(), NOW).unwrap_err();
    assert!(matches!(error, LogError::Invalid { .. }), "{error}");
}

#[test]
fn a_producer_whose_records_were_compacted_away_is_still_known() {
    let bench = Bench::with(compacted());
    let log = bench.open();
    let sent = Batch::new().record("a", Some("1"), NOW).by(7, 0, 0);
    put(&log, &sent);
    fill(&log, 30, |_| NOW);
    put(&log, &Batch::new().record("a", Some("2"), NOW));
    fill(&log, 30, |_| NOW);
    log.clean(NOW).unwrap();
    drop(log);
    for offset in files::offsets(&bench.path(), "producers").unwrap() {
        std::fs::remove_file(files::producers_path(&bench.path(), offset)).unwrap();
    }
    let log = bench.open();
    let header =
        BatchHeader::parse(&log.read(0, 1, Isolation::Uncommitted).unwrap().batches).unwrap();
    assert_eq!((header.base_offset, header.record_count), (0, 0));
    assert!(put(&log, &sent).duplicate);
    assert_eq!(put(&log, &sent.clone().by(7, 0, 1)).base_offset, log.log_end() - 1);
}

#[test]
fn a_compaction_cut_off_anywhere_is_undone_or_finished() {
    let bench = Bench::with(compacted());
    let log = bench.open();
    fill_keys(&log);
    let before = values(&log);
    let old = Bench::new();
    // Compaction begins with this note.
    let end = log.log_end();
    log.shared.write_checkpoint(true, |checkpoint| checkpoint.gaps_before = end).unwrap();
    copy(&bench.path(), &old.path());
    log.clean(NOW).unwrap();
    let after = values(&log);
    drop(log);
    let names = |dir: &std::path::Path| files::offsets(dir, "log").unwrap();
    let bases = names(&bench.path());
    let next = |base: i64| bases.iter().find(|b| **b > base).copied();
    for stage in ["cleaned", "swap, all old", "swap, some old", "swap, none old"] {
        let crashed = Bench::with(compacted());
        copy(&old.path(), &crashed.path());
        for &base in &bases[..bases.len() - 1] {
            let stem = format!("{base:020}-{:020}", next(base).unwrap());
            let extension = if stage == "cleaned" { "cleaned" } else { "swap" };
            let compacted = files::log_path(&bench.path(), base);
            std::fs::copy(compacted, crashed.path().join(format!("{stem}.{extension}"))).unwrap();
        }
        for (number, base) in names(&old.path()).into_iter().enumerate() {
            let gone = match stage {
                "swap, some old" => number % 2 == 0,
                "swap, none old" => true,
                _ => false,
            };
            if gone && base < *bases.last().unwrap() {
                std::fs::remove_file(files::log_path(&crashed.path(), base)).unwrap();
            }
        }
        let log = crashed.open();
        assert_eq!(log.stopped(), None, "{stage}");
        assert_eq!(values(&log), if stage == "cleaned" { &before } else { &after }[..], "{stage}");
        log.clean(NOW).unwrap();
        assert_eq!(values(&log), after, "{stage}");
    }
}

#[test]
fn a_record_is_compacted_once_it_has_waited_long_enough() {
    let lag = LogConfig { min_cleanable_ratio: 0.9, max_compaction_lag_ms: HOUR, ..compacted() };
    let bench = Bench::with(LogConfig {
        segment_bytes: 1_000_000,
        timestamp_after_max_ms: i64::MAX,
        ..lag
    });
    let log = bench.open();
    let at = |value: &str, timestamp| put(&log, &Batch::new().record("k", Some(value), timestamp));
    // Most of the log is clean: what is new is too little to compact it for.
    for i in 0..50 {
        put(&log, &Batch::new().record(&format!("clean {i}"), Some("x"), NOW));
    }
    at("rolls", NOW + HOUR + 1);
    log.clean(NOW + HOUR + 1).unwrap();
    at("old", NOW + HOUR + 2);
    at("new, and rolls", NOW + 2 * HOUR + 3);
    assert_eq!(segment_files(&log).len(), 3, "a segment lasts no longer than a record may wait");
    assert_eq!(log.clean(NOW + 2 * HOUR + 1).unwrap().records_compacted, 0, "it may wait");
    assert_eq!(log.clean(NOW + 2 * HOUR + 2).unwrap().records_compacted, 1, "it may not");
    assert_eq!(values(&log).len(), 52);
}
