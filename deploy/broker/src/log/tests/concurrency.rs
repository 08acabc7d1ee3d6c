use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::log::Cleanup;

const KEYS: i64 = 20;

#[test]
fn readers_miss_nothing_while_others_append_compact_and_delete() {
    let config = LogConfig {
        segment_bytes: 4000,
        index_interval_bytes: 300,
        cleanup: Cleanup { delete: false, compact: true },
        min_cleanable_ratio: 0.0,
        ..LogConfig::default()
    };
    let bench = Bench::with(config);
    let log = bench.open();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let append = || {
            let began = Instant::now();
            for i in 0.. {
                let key = (i % KEYS).to_string();
                let batch = Batch::new().record(&key, Some(&i.to_string()), NOW);
                let appended = log.append(batch.bytes(), NOW).unwrap();
                if i % 50 == 0 {
                    wait(&log, &appended).unwrap();
                }
                if i > 500 && began.elapsed() > Duration::from_millis(1500) {
                    break;
                }
            }
            done.store(true, Ordering::Release);
        };
        let clean = || {
            while !done.load(Ordering::Acquire) {
                log.clean(NOW).unwrap();
                log.delete_before((log.high_watermark() - 3000).max(0)).unwrap();
            }
        };
        // Every record but those that a later one of their key, or a deletion, has taken.
        let read = || {
            let mut next = 0;
            while !(done.load(Ordering::Acquire) && next == log.high_watermark()) {
                next = next.max(log.log_start());
                let found: Vec<_> = log.records(next).map_while(Result::ok).take(100).collect();
                let end = log.high_watermark();
                for record in &found {
                    let value = String::from_utf8(record.value.clone().unwrap().into()).unwrap();
                    assert_eq!(value, record.offset.to_string());
                    let missed = next..record.offset;
                    let superseded = missed.end.saturating_sub(1) < end - KEYS;
                    let deleted = missed.start < log.log_start();
                    assert!(missed.is_empty() || superseded || deleted, "{missed:?} of {end}");
                    next = record.offset + 1;
                }
            }
        };
        scope.spawn(append);
        scope.spawn(clean);
        scope.spawn(read);
        scope.spawn(read);
    });
    assert_eq!(log.stopped(), None);
    let end = log.log_end();
    assert!(end > 500, "{end}");
    drop(log);
    let log = bench.open();
    assert_eq!((log.stopped(), log.log_end()), (None, end));
}
