//! Rows in which a disk keeps less than was written, changes it, or is full.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::Offset;
use tests::admin::Admin;
use tests::cluster::Use;
use tests::consumer::{read_all, reader};
use tests::producer::{Producer, Receipt as Acknowledgement};
use tests::record::{Record, Seen};

use crate::account::Account;
use crate::brokers::{Brokers, End};
use crate::ledger::{Call, Ledger, Receipt, now};
use crate::run::Run;
use crate::segment::Segment;

/// Nothing is needed.
pub fn obstacle() -> Option<String> {
    None
}

const TOPIC: &str = "kept";

fn call(id: &str, answer: Option<u16>) -> Call {
    Call { at: now(), id: id.to_owned(), hash: id.to_owned(), answer, retry_after: false }
}

fn receipt(seen: &Seen) -> Receipt {
    let id = seen.record.text().unwrap().to_owned();
    Receipt {
        at: now(),
        path: String::new(),
        instance: String::new(),
        key: id.clone(),
        hash: id.clone(),
        id,
        taken: true,
        effect: true,
        answer: 0,
    }
}

/// Waits for an acknowledgement until the broker has died.
fn acknowledged(receipt: &Acknowledgement, dead: &AtomicBool) -> bool {
    loop {
        match receipt.wait_for(Duration::from_millis(50)) {
            Some(delivered) => return delivered.is_ok(),
            None if dead.load(Ordering::Relaxed) => return false,
            None => {}
        }
    }
}

/// A producer that writes down what it sends and what is acknowledged; the ids of a round's
/// partition and their order are those of a customer's orders. Says when it has begun.
fn write(
    kafka: &str,
    ledger: &Ledger,
    (round, count): (usize, usize),
    dead: &AtomicBool,
    begun: impl FnOnce(),
) {
    let producer = Producer::new(kafka, &[("linger.ms", "1"), ("enable.idempotence", "true")]);
    let send = |number: usize| {
        let (partition, id) = (number as i32 % 2, format!("R{round}-{}/{number:06}", number % 2));
        ledger.append(&call(&id, None));
        let receipt = producer.send(TOPIC, Some(partition), &Record::of(id.clone())).unwrap();
        (id, receipt)
    };
    let mut begun = Some(begun);
    // In groups: the later ones are on their way when the broker dies.
    for group in (0..count).collect::<Vec<_>>().chunks(8) {
        let sent: Vec<_> = group.iter().map(|number| send(*number)).collect();
        for (id, receipt) in sent {
            if !acknowledged(&receipt, dead) {
                return;
            }
            ledger.append(&call(&id, Some(200)));
        }
        if let Some(begun) = begun.take() {
            begun();
        }
    }
}

/// The broker is killed while producers write; of what was not synced, the disk keeps a part, zeros
/// or garbage. Everything that was acknowledged is read back, in order, once.
pub async fn t32_only_the_synced_bytes_are_kept(run: &Run) {
    let mut brokers = Brokers::start(run, Use::Shared).await;
    let books = run.books();
    Admin::new(&brokers.kafka).create_topic(TOPIC, 2, 1, &[]).unwrap();
    let mut left = 0;
    for round in 0..run.times {
        let (kafka, file) = (brokers.kafka.clone(), books.file("shop"));
        let dead = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&dead);
        let (begun, begins) = std::sync::mpsc::channel();
        let writing = std::thread::spawn(move || {
            write(&kafka, &Ledger::open(&file), (round, 4000), &told, || begun.send(()).unwrap());
        });
        begins.recv().unwrap();
        run.moment(50..400).await;
        run.note(|finding| finding.faults += 1);
        brokers.end(End::Killed).await;
        dead.store(true, Ordering::Relaxed);
        writing.join().unwrap();
        for partition in 0..2 {
            left += lose(run, &Segment::of(&brokers.data(), TOPIC, partition));
        }
        brokers.start_again().await;
    }
    let seen = (0..2).flat_map(|partition| read_all(&brokers.kafka, TOPIC, partition));
    let receipts: Vec<_> = seen.map(|seen| receipt(&seen)).collect();
    let account = Account::of(&books.calls(), &receipts, &BTreeSet::new(), &[]);
    run.report(&account);
    run.note(|finding| finding.note = format!("{left} bytes were not synced"));
    // What was never acknowledged may be there or not, so the hashes may differ.
    assert!(account.lost.is_empty() && account.invented.is_empty(), "{account:?}");
    assert!(account.out_of_order.is_empty() && account.changed.is_empty(), "{account:?}");
    assert_eq!(account.repeated, 0);
    assert!(account.acknowledged > 0);
}

/// Loses some of what a segment has beyond its synced part; how many bytes that was.
fn lose(run: &Run, segment: &Segment) -> u64 {
    let ((_, synced), length) = (segment.synced(), segment.length());
    assert!(synced <= length, "synced {synced} of {length} bytes");
    let from = run.draw(synced..length + 1);
    let rest = usize::try_from(length - from).unwrap();
    match run.draw(0..4) {
        0 => segment.cut(from),
        1 => segment.overwrite(from, &vec![0; rest]),
        2 => {
            segment.overwrite(from, &(0..rest).map(|_| run.draw(0..256) as u8).collect::<Vec<_>>())
        }
        // A torn write of what was next.
        _ => segment.overwrite(length, &vec![0xa5; run.draw(1..200) as usize]),
    }
    length - synced
}

/// A bit turns over in the middle of what was synced: that partition stops there and says where, and
/// the others go on.
pub async fn t32_a_bit_flips_in_the_middle_of_a_segment(run: &Run) {
    let mut brokers = Brokers::start(run, Use::Shared).await;
    Admin::new(&brokers.kafka).create_topic(TOPIC, 2, 1, &[]).unwrap();
    let books = run.books();
    write(
        &brokers.kafka,
        &Ledger::open(&books.file("shop")),
        (0, 400),
        &AtomicBool::new(false),
        || {},
    );
    let mut before = [0, 1].map(|partition| read_all(&brokers.kafka, TOPIC, partition));
    for end in [End::Stopped, End::Killed] {
        brokers.end(end).await;
        let segment = Segment::of(&brokers.data(), TOPIC, 0);
        let position = run.draw(segment.length() / 4..segment.length() * 3 / 4);
        let offset = segment.offset_at(position);
        run.note(|finding| finding.faults += 1);
        segment.flip(position);
        brokers.start_again().await;

        let served = serves(&brokers, offset as usize);
        run.note(|finding| {
            finding.sent = before[0].len();
            finding.acknowledged = before[0].len();
            finding.received = served.len();
            finding.note = format!("stops at offset {offset} of {}", before[0].len());
        });
        assert_eq!(served.len() as u64, offset, "all before the damage is served, nothing of it");
        assert_eq!(served, before[0][..served.len()]);
        assert_eq!(read_all(&brokers.kafka, TOPIC, 1), before[1], "the other partition is whole");
        let log = brokers.process().log();
        let named = log.lines().any(|line| line.contains(&format!("damaged at offset {offset}")));
        assert!(named, "the log names offset {offset} (byte {position}) after {end:?}:\n{log}");
        let producer = Producer::new(&brokers.kafka, &[("message.timeout.ms", "5000")]);
        let next = Record::of("next");
        assert!(producer.send(TOPIC, Some(0), &next).unwrap().wait().is_err(), "it has stopped");
        // Its records are on the disk: restoring the file brings them back.
        brokers.end(End::Stopped).await;
        segment.flip(position);
        brokers.start_again().await;
        assert_eq!(read_all(&brokers.kafka, TOPIC, 0), before[0], "restored");
        assert!(
            Producer::new(&brokers.kafka, &[]).send(TOPIC, Some(1), &next).unwrap().wait().is_ok()
        );
        before[1] = read_all(&brokers.kafka, TOPIC, 1);
    }
}

/// What the first partition serves, at least so many records. A client asks again for ever where a
/// partition has stopped.
fn serves(brokers: &Brokers, at_least: usize) -> Vec<Seen> {
    let damaged = reader(&brokers.kafka, TOPIC, 0, Offset::Beginning);
    let mut seen = Vec::new();
    loop {
        let patience = if seen.len() < at_least { 30 } else { 3 };
        match damaged.poll(Duration::from_secs(patience)) {
            Some(Ok(record)) => seen.push(Seen::of(&record)),
            _ => return seen,
        }
    }
}
