use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
    time::Duration,
};

use super::*;
use crate::log::files;

/// A log that syncs only when told to.
fn unsynced(config: LogConfig) -> Bench {
    let syncer = Syncer::start(Fsync::Interval(Duration::from_secs(3600))).unwrap();
    Bench { syncer, ..Bench::with(config) }
}

/// Appends without syncing.
fn append(log: &Log, values: std::ops::Range<i32>) {
    for i in values {
        log.append(Batch::of(&format!("value {i}")).bytes(), NOW).unwrap();
    }
}

fn reopened(dir: &Path) -> Log {
    let syncer = Syncer::start(Fsync::EveryAcknowledgement).unwrap();
    Log::open(dir, LogConfig::default(), &syncer).unwrap()
}

fn flip(file: &Path, position: u64) {
    let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], position).unwrap();
}

#[test]
fn a_crash_that_keeps_any_part_of_what_was_not_synced_loses_nothing_that_was() {
    let bench = unsynced(LogConfig::default());
    let log = bench.open();
    append(&log, 0..3);
    log.shared.sync_now().unwrap();
    let synced = log.size_bytes();
    append(&log, 3..6);
    let all = values(&log);
    let end = log.size_bytes();
    for length in synced..=end {
        let crashed = Bench::new();
        copy(&bench.path(), &crashed.path());
        let file = files::log_path(&crashed.path(), 0);
        OpenOptions::new().write(true).open(file).unwrap().set_len(length).unwrap();
        let log = crashed.open();
        assert_eq!(log.stopped(), None);
        let batch = (end - synced) / 3;
        let kept = 3 + ((length - synced) / batch) as usize;
        assert_eq!(values(&log), all[..kept], "{length} bytes");
        assert_eq!(log.recovery().cut_bytes, (length - synced) % batch);
        assert_eq!(put(&log, &Batch::of("next")).base_offset, kept as i64);
    }
}

#[test]
fn garbage_after_the_last_sync_is_cut_with_all_after_it() {
    let bench = unsynced(LogConfig { segment_bytes: 500, ..LogConfig::default() });
    let log = bench.open();
    append(&log, 0..3);
    log.shared.sync_now().unwrap();
    append(&log, 3..20);
    let all = values(&log);
    assert!(segment_files(&log).len() > 2);
    let second = files::offsets(log.dir(), "log").unwrap()[1];
    flip(&segment_files(&log)[1], 5);
    let log = reopened(&bench.path());
    assert_eq!(log.stopped(), None);
    assert_eq!(values(&log), all[..second as usize]);
    assert_eq!(put(&log, &Batch::of("next")).base_offset, second);
    assert!(log.recovery().cut_because.as_ref().unwrap().contains("expected"));
}

/// What is known of producers from records that were lost must not be taken for true later.
#[test]
fn what_was_lost_is_not_known_as_written_once_others_are_in_its_place() {
    let mut bench = unsynced(LogConfig { segment_bytes: 500, ..LogConfig::default() });
    let log = bench.open();
    let by = |sequence: i32| Batch::of(&format!("value {sequence}")).by(1, 0, sequence);
    log.append(by(0).bytes(), NOW).unwrap();
    log.shared.sync_now().unwrap();
    for sequence in 1..20 {
        log.append(by(sequence).bytes(), NOW).unwrap();
    }
    assert!(segment_files(&log).len() > 2);
    // The power fails: only what was synced is there.
    let crashed = Bench::new();
    copy(&bench.path(), &crashed.path());
    let length = by(0).bytes().len() as u64;
    let first = files::log_path(&crashed.path(), 0);
    OpenOptions::new().write(true).open(first).unwrap().set_len(length).unwrap();
    bench = Bench { config: LogConfig::default(), ..crashed };
    let log = bench.open();
    assert_eq!(values(&log).len(), 1);
    put_all(&log, 100..130);
    drop(log);
    let log = bench.open();
    let again = put(&log, &by(1));
    assert_eq!((again.duplicate, again.base_offset), (false, 31));
}

#[test]
fn records_missing_between_two_segments_end_the_log_or_stop_it() {
    for synced in [false, true] {
        let bench = unsynced(LogConfig { segment_bytes: 500, ..LogConfig::default() });
        let log = bench.open();
        append(&log, 10..13);
        log.shared.sync_now().unwrap();
        append(&log, 13..40);
        if synced {
            log.shared.sync_now().unwrap();
        }
        let third = files::offsets(log.dir(), "log").unwrap()[2];
        let second = segment_files(&log).remove(1);
        // Without its last batch, which leaves no half one.
        let length = fs::metadata(&second).unwrap().len();
        let batch = Batch::of("value 10").bytes().len() as u64;
        assert_eq!(length % batch, 0);
        OpenOptions::new().write(true).open(second).unwrap().set_len(length - batch).unwrap();
        let log = reopened(&bench.path());
        assert_eq!(log.stopped().is_some(), synced);
        let served: Vec<_> = log.records(0).map_while(Result::ok).map(|r| r.offset).collect();
        assert_eq!(served, (0..third - 1).collect::<Vec<_>>());
        if !synced {
            assert_eq!(put(&log, &Batch::of("next")).base_offset, served.len() as i64);
        }
    }
}

#[test]
fn a_bit_flipped_in_what_was_synced_stops_this_log_at_its_offset() {
    let bench = Bench::new();
    let log = bench.open();
    let sizes: Vec<u64> = (0..5)
        .map(|i| {
            put(&log, &Batch::of(&format!("value {i}")));
            log.size_bytes()
        })
        .collect();
    let all = values(&log);
    drop(log);
    // Any byte of the third batch.
    for position in sizes[1]..sizes[2] {
        let crashed = Bench::new();
        copy(&bench.path(), &crashed.path());
        flip(&files::log_path(&crashed.path(), 0), position);
        // A second start finds the same.
        for _ in 0..2 {
            let log = crashed.open();
            let reason = log.stopped().unwrap().to_owned();
            assert!(reason.contains("offset 2") && reason.contains(".log"), "{reason}");
            let served: Vec<_> = log.records(0).map_while(Result::ok).map(|r| r.offset).collect();
            assert_eq!(served, [0, 1]);
            let error = log.read(2, 1000, Isolation::Uncommitted).unwrap_err();
            assert!(matches!(error, LogError::Damaged { offset: 2, .. }), "{error}");
            // Nobody who was further is told that the offset is out of range.
            assert!(log.read(5, 1000, Isolation::Uncommitted).unwrap().batches.is_empty());
            let error = log.append(Batch::of("x").bytes(), NOW).unwrap_err();
            assert!(matches!(error, LogError::Stopped { .. }), "{error}");
        }
        assert_eq!(fs::metadata(files::log_path(&crashed.path(), 0)).unwrap().len(), sizes[4]);
    }
    assert_eq!(values(&bench.open()), all);
}

#[test]
fn damage_to_an_older_segment_stops_the_log_when_it_is_read_and_at_each_start_after() {
    let bench = Bench::with(LogConfig { segment_bytes: 500, ..LogConfig::default() });
    let log = bench.open();
    put_all(&log, 0..20);
    let second = files::offsets(log.dir(), "log").unwrap()[1];
    log.close().unwrap();
    flip(&segment_files(&log)[1], 80);
    let log = bench.open();
    assert_eq!(log.stopped(), None);
    put(&log, &Batch::of("goes on"));
    let error = log.records(0).find_map(Result::err).unwrap();
    assert!(matches!(error, LogError::Damaged { offset, .. } if offset == second), "{error}");
    assert!(log.stopped().unwrap().contains(&format!("offset {second}")));
    let log = bench.open();
    assert!(log.stopped().unwrap().contains(&format!("offset {second}")));
    assert_eq!(log.high_watermark(), 21);
    // What comes after the damaged segment is still served.
    assert_eq!(log.records(20).count(), 1);
}

#[test]
fn synced_bytes_that_are_missing_stop_the_log() {
    for all in [true, false] {
        let bench = Bench::new();
        let log = bench.open();
        put_all(&log, 0..5);
        let file = segment_files(&log).remove(0);
        if all {
            fs::remove_file(&file).unwrap();
        } else {
            let length = fs::metadata(&file).unwrap().len();
            OpenOptions::new().write(true).open(&file).unwrap().set_len(length / 5 * 4).unwrap();
        }
        let log = bench.open();
        let reason = log.stopped().unwrap();
        assert!(reason.contains("had been synced"), "{reason}");
        assert_eq!(log.high_watermark(), 5);
        assert!(log.read(4, 1000, Isolation::Uncommitted).is_err());
        assert!(log.read(5, 1000, Isolation::Uncommitted).unwrap().batches.is_empty());
        assert!(bench.open().stopped().is_some());
    }
}

#[test]
fn without_a_checkpoint_only_an_end_that_nothing_whole_follows_is_cut() {
    let bench = Bench::new();
    let log = bench.open();
    put_all(&log, 0..5);
    let size = log.size_bytes();
    fs::remove_file(bench.path().join("checkpoint")).unwrap();
    for (position, stops) in [(size - 3, false), (size / 2, true)] {
        let crashed = Bench::new();
        copy(&bench.path(), &crashed.path());
        flip(&files::log_path(&crashed.path(), 0), position);
        let log = crashed.open();
        assert_eq!(log.stopped().is_some(), stops, "{:?}", log.stopped());
        assert_eq!(log.high_watermark(), if stops { 2 } else { 4 });
    }
}

#[test]
fn a_torn_checkpoint_falls_back_to_the_one_before() {
    let bench = Bench::new();
    let log = bench.open();
    put_all(&log, 0..4);
    for slot in [0, 512] {
        let crashed = Bench::new();
        copy(&bench.path(), &crashed.path());
        flip(&crashed.path().join("checkpoint"), slot + 20);
        let log = crashed.open();
        assert_eq!((log.stopped(), log.high_watermark()), (None, 4));
    }
}

#[test]
fn an_index_that_is_damaged_misleads_nobody() {
    let config =
        LogConfig { segment_bytes: 3000, index_interval_bytes: 200, ..LogConfig::default() };
    let bench = Bench::with(config);
    let log = bench.open();
    put_all(&log, 0..100);
    let all = values(&log);
    log.close().unwrap();
    for base in files::offsets(&bench.path(), "log").unwrap() {
        flip(&files::index_path(&bench.path(), base), 70);
    }
    let log = bench.open();
    for offset in 0..100 {
        let record = log.records(offset).next().unwrap().unwrap();
        assert_eq!((record.offset, record.offset), (all[offset as usize].0, offset));
    }
    assert_eq!(log.stopped(), None);
}

#[test]
fn another_version_of_the_files_is_left_alone() {
    let bench = Bench::new();
    drop(bench.open());
    fs::write(bench.path().join("format"), "passerelle log 9\n").unwrap();
    let error = Log::open(bench.path(), LogConfig::default(), &bench.syncer).unwrap_err();
    assert!(error.to_string().contains("passerelle log 9"), "{error}");
}

#[test]
fn a_full_disk_refuses_records_and_takes_them_once_there_is_room() {
    let bench = Bench::new();
    let log = bench.open();
    put(&log, &Batch::of("before"));
    let active = log.shared.active().unwrap();
    active.exchange_file(OpenOptions::new().append(true).open("/dev/full").unwrap());
    for _ in 0..3 {
        let error = log.append(Batch::of("lost").by(3, 0, 0).bytes(), NOW).unwrap_err();
        assert!(error.is_retriable() && error.to_string().contains(".log"), "{error}");
    }
    assert_eq!((log.stopped(), log.log_end()), (None, 1));
    let room = OpenOptions::new().read(true).append(true).open(&active.path).unwrap();
    active.exchange_file(room);
    // The producer sends again: it was not stored before.
    let appended = put(&log, &Batch::of("after").by(3, 0, 0));
    assert_eq!((appended.base_offset, appended.duplicate), (1, false));
    assert_eq!(values(&log), [(0, "before".to_owned()), (1, "after".to_owned())]);
}

#[test]
fn a_part_of_a_batch_that_was_written_is_removed_before_the_next() {
    let bench = Bench::new();
    let log = bench.open();
    put(&log, &Batch::of("before"));
    // As a write that ran out of space in the middle leaves it.
    let file = segment_files(&log).remove(0);
    let half = Batch::of("torn").bytes();
    let file = OpenOptions::new().read(true).append(true).open(file).unwrap();
    std::io::Write::write_all(&mut &file, &half[..40]).unwrap();
    crate::log::lock(&log.shared.writer).torn = true;
    put(&log, &Batch::of("after"));
    drop(log);
    assert_eq!(values(&bench.open()), [(0, "before".to_owned()), (1, "after".to_owned())]);
}

#[test]
fn a_disk_that_cannot_sync_acknowledges_nothing() {
    let bench = Bench::new();
    let log = bench.open();
    put(&log, &Batch::of("before"));
    let active = log.shared.active().unwrap();
    active.exchange_file(OpenOptions::new().append(true).open("/dev/null").unwrap());
    let appended = log.append(Batch::of("lost").bytes(), NOW).unwrap();
    let error = wait(&log, &appended).unwrap_err();
    assert!(matches!(error, LogError::Stopped { .. }), "{error}");
    assert_eq!(log.high_watermark(), 1);
    assert!(log.append(Batch::of("x").bytes(), NOW).is_err());
    drop(log);
    assert_eq!(put(&bench.open(), &Batch::of("after")).base_offset, 1);
}
