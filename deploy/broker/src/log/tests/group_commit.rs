use std::time::Duration;

use futures::FutureExt;

use super::*;

#[test]
fn a_hundred_that_wait_share_a_few_syncs() {
    let bench = Bench::new();
    let log = bench.open();
    let before = bench.syncer.fsyncs();
    // While one sync is under way, all the others append.
    let syncing = log.shared.syncing.lock().unwrap();
    let appended: Vec<_> =
        (0..100).map(|i| log.append(Batch::of(&i.to_string()).bytes(), NOW).unwrap()).collect();
    let all = futures::future::join_all(appended.iter().map(|appended| log.durable(appended)));
    let mut all = std::pin::pin!(all);
    std::thread::sleep(Duration::from_millis(20));
    assert!((&mut all).now_or_never().is_none(), "acknowledged before it was synced");
    assert!(
        log.read(0, 1000, Isolation::Uncommitted).unwrap().batches.is_empty(),
        "seen before it was synced"
    );
    drop(syncing);
    for durable in futures::executor::block_on(all) {
        durable.unwrap();
    }
    let fsyncs = bench.syncer.fsyncs() - before;
    assert!((1..=3).contains(&fsyncs), "{fsyncs} fsyncs");
    assert_eq!(log.high_watermark(), 100);
}

#[test]
fn one_record_costs_one_sync() {
    let bench = Bench::new();
    let log = bench.open();
    put(&log, &Batch::of("first"));
    let before = bench.syncer.fsyncs();
    put_all(&log, 0..10);
    assert_eq!(bench.syncer.fsyncs() - before, 10);
}

#[tokio::test]
async fn consumers_that_wait_see_records_without_anyone_waiting_for_the_disk() {
    let bench = Bench::new();
    let log = bench.open();
    let mut high_watermark = log.watch();
    log.append(Batch::of("x").bytes(), NOW).unwrap();
    let seen = high_watermark.wait_for(|offset| *offset == 1);
    tokio::time::timeout(Duration::from_secs(10), seen).await.unwrap().unwrap();
}

#[test]
fn with_an_interval_records_are_acknowledged_at_once_and_synced_later() {
    let syncer = Syncer::start(Fsync::Interval(Duration::from_millis(50))).unwrap();
    let bench = Bench { syncer, ..Bench::new() };
    let (log, started) = (bench.open(), std::time::Instant::now());
    for i in 0..20 {
        put(&log, &Batch::of(&i.to_string()));
    }
    assert_eq!(values(&log).len(), 20);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while crate::log::lock(&log.shared.checkpoint).last.synced < 20 {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    let intervals = started.elapsed().as_millis() as u64 / 50;
    assert!(bench.syncer.fsyncs() <= intervals + 2, "{} in {intervals}", bench.syncer.fsyncs());
}
