use super::*;

fn batch(id: i64, epoch: i16, sequence: i32, records: usize) -> Batch {
    (0..records)
        .fold(Batch::new(), |batch, _| batch.record("k", Some("v"), NOW))
        .by(id, epoch, sequence)
}

#[test]
fn a_batch_sent_again_is_stored_once_and_answers_its_first_offset() {
    let bench = Bench::new();
    let log = bench.open();
    for i in 0..5 {
        put(&log, &batch(1, 0, i * 2, 2));
    }
    let check = |log: &Log| {
        for i in 0..5 {
            let appended = put(log, &batch(1, 0, i * 2, 2));
            assert!(appended.duplicate);
            let (first, last) = (i64::from(i) * 2, i64::from(i) * 2 + 1);
            assert_eq!((appended.base_offset, appended.last_offset), (first, last));
        }
        assert_eq!(log.log_end(), 10);
    };
    check(&log);
    drop(log);
    // Known from the records after a crash, and from the snapshot after a clean end.
    let log = bench.open();
    check(&log);
    log.close().unwrap();
    drop(log);
    let log = bench.open();
    assert_eq!(log.recovery().segments_read, 0);
    check(&log);
}

#[test]
fn producers_are_known_across_segments_after_a_crash() {
    let bench = Bench::with(LogConfig { segment_bytes: 500, ..LogConfig::default() });
    let log = bench.open();
    for i in 0..30 {
        put(&log, &batch(i % 3, 0, i as i32 / 3, 1));
    }
    drop(log);
    let log = bench.open();
    for i in 15..30 {
        assert!(put(&log, &batch(i % 3, 0, i as i32 / 3, 1)).duplicate, "{i}");
    }
    assert!(!put(&log, &batch(0, 0, 10, 1)).duplicate);
}

#[test]
fn a_missing_batch_and_a_stale_epoch_are_refused() {
    let bench = Bench::new();
    let log = bench.open();
    put(&log, &batch(1, 3, 0, 2));
    let refused = |batch: Batch| log.append(batch.bytes(), NOW).unwrap_err();
    for (epoch, sequence) in [(3, 3), (3, 1), (4, 1)] {
        let error = refused(batch(1, epoch, sequence, 1));
        assert!(matches!(error, LogError::OutOfOrderSequence { .. }), "{error}");
    }
    let error = refused(batch(1, 2, 2, 1));
    assert!(matches!(error, LogError::Fenced { current: 3, .. }), "{error}");
    assert_eq!(log.log_end(), 2);
    put(&log, &batch(1, 3, 2, 1));
    put(&log, &batch(1, 4, 0, 1));
    let error = refused(batch(1, 3, 3, 1));
    assert!(matches!(error, LogError::Fenced { current: 4, .. }), "{error}");
    // One not known may begin anywhere, as its records may have expired.
    assert_eq!(put(&log, &batch(2, 0, 77, 1)).base_offset, 4);
}

#[test]
fn sequence_numbers_wrap() {
    let bench = Bench::new();
    let log = bench.open();
    put(&log, &batch(1, 0, i32::MAX - 1, 3));
    let again = put(&log, &batch(1, 0, i32::MAX - 1, 3));
    assert!(again.duplicate);
    assert_eq!(put(&log, &batch(1, 0, 1, 1)).base_offset, 3);
}

#[test]
fn producers_take_bounded_memory_and_expire() {
    use crate::log::{batch::BatchHeader, producer::Producers, transactions::Transactions};
    let mut producers = Producers::default();
    let mut header = BatchHeader::parse(&batch(1, 0, 0, 1).bytes()).unwrap();
    for id in 0..30_000 {
        header.producer_id = id;
        producers.update(&header, NOW + id);
    }
    assert!((9000..=10_000).contains(&producers.last_offsets().len()));
    // The last ones are those that stay.
    assert!(producers.last_offsets().contains_key(&29_999));
    assert!(producers.last_offsets().contains_key(&21_000));
    producers.expire(&Transactions::default(), NOW + 24 * 3_600_000 + 29_990);
    assert_eq!(producers.last_offsets().len(), 9);
}
