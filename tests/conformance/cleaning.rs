//! What goes with time: values replaced by newer ones, and more bytes than a topic keeps.

use std::{collections::BTreeMap, thread, time::Duration};

use rand::RngCore as _;
use rdkafka::error::RDKafkaErrorCode;
use tests::{
    admin::Admin,
    cluster::Cluster,
    consumer::{read_all, watermarks},
    deadline::eventually,
    producer::Producer,
    record::Record,
};

pub fn compaction_keeps_the_last_value_of_each_key_at_its_offset(cluster: &mut Cluster) {
    const SEGMENT: Duration = Duration::from_millis(100);
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    let topic = Admin::new(cluster.address()).topic("compacted", 1, &settings);
    let producer = Producer::new(cluster.address(), &[]);
    let mut last = BTreeMap::new();
    for round in 0..5 {
        let record = |key| Record::of(format!("{key} in round {round}")).keyed(format!("{key}"));
        let records: Vec<_> = (0..10 - round).map(record).collect();
        for (placed, record) in producer.write(&topic, 0, &records).iter().zip(records) {
            last.insert(record.key.unwrap(), (placed.offset, record.value.unwrap()));
        }
        thread::sleep(SEGMENT * 2);
    }
    // The segment that is written to is never compacted: this one begins another.
    producer.write(&topic, 0, &[Record::of("the end").keyed("the end")]);

    let end = watermarks(cluster.address(), &topic, 0).1;
    let left = eventually("all but the last values are gone", || {
        let mut seen = read_all(cluster.address(), &topic, 0);
        assert_eq!(seen.pop().unwrap().record.text(), Some("the end"));
        (seen.len() == last.len()).then_some(seen)
    });
    for seen in left {
        let expected = &last[seen.record.key.as_ref().unwrap()];
        assert_eq!((seen.offset, seen.record.value.unwrap()), *expected);
    }
    assert_eq!(watermarks(cluster.address(), &topic, 0).1, end);
}

/// A ratio of 1 is hardly ever reached, and a segment would last a week.
pub fn compaction_comes_in_time_however_little_is_new(cluster: &mut Cluster) {
    const LAG: Duration = Duration::from_millis(500);
    let settings = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "1"),
        ("max.compaction.lag.ms", "500"),
    ];
    let topic = Admin::new(cluster.address()).topic("compacted", 1, &settings);
    let producer = Producer::new(cluster.address(), &[]);
    for round in ["first", "second", "third"] {
        let write = |text: &str| {
            producer.write(&topic, 0, &[Record::of(text).keyed("key")]);
        };
        write(&format!("{round}, replaced"));
        write(round);
        thread::sleep(LAG * 2);
        // It begins another segment: the last one is never compacted.
        producer.write(&topic, 0, &[Record::of("the end").keyed("the end")]);
        eventually("only the last value is left", || {
            let seen = read_all(cluster.address(), &topic, 0);
            let of_key = |seen: &&tests::record::Seen| seen.record.key.as_deref() == Some(b"key");
            let left: Vec<_> =
                seen.iter().filter(of_key).filter_map(|seen| seen.record.text()).collect();
            (left == [round]).then_some(())
        });
    }
}

pub fn a_compacted_topic_refuses_records_without_a_key(cluster: &mut Cluster) {
    let settings = [("cleanup.policy", "compact")];
    let topic = Admin::new(cluster.address()).topic("compacted", 1, &settings);
    let producer = Producer::new(cluster.address(), &[]);
    let refused = producer.send(&topic, Some(0), &Record::of("no key")).unwrap().wait();
    assert_eq!(refused, Err(RDKafkaErrorCode::InvalidRecord));
    producer.write(&topic, 0, &[Record::of("value").keyed("key")]);
    assert_eq!(watermarks(cluster.address(), &topic, 0).1, 1);
}

pub fn a_tombstone_takes_its_key_away_and_goes_after_its_time(cluster: &mut Cluster) {
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("delete.retention.ms", "500"),
    ];
    let topic = Admin::new(cluster.address()).topic("compacted", 1, &settings);
    let producer = Producer::new(cluster.address(), &[]);
    producer.write(&topic, 0, &[Record::of("kept").keyed("kept"), Record::of("x").keyed("gone")]);
    producer.write(&topic, 0, &[Record { key: Some(b"gone".to_vec()), ..Record::default() }]);
    eventually("nothing of the deleted key is left", || {
        // Compaction looks only at a log that grows.
        producer.write(&topic, 0, &[Record::of("grows").keyed("other")]);
        thread::sleep(Duration::from_millis(300));
        let seen = read_all(cluster.address(), &topic, 0);
        assert_eq!(seen[0].record.text(), Some("kept"));
        let left = seen.iter().any(|seen| seen.record.key.as_deref() == Some(b"gone"));
        (!left).then_some(())
    });
}

pub fn retention_by_time_drops_what_is_older(cluster: &mut Cluster) {
    const THEN: i64 = 1_700_000_000_000;
    let settings = [("retention.ms", "3600000")];
    let topic = Admin::new(cluster.address()).topic("aged", 1, &settings);
    let producer = Producer::new(cluster.address(), &[]);
    producer.write(&topic, 0, &vec![Record::of("old").at(THEN); 3]);
    eventually("what is too old is gone", || {
        (watermarks(cluster.address(), &topic, 0) == (3, 3)).then_some(())
    });
    producer.write(&topic, 0, &[Record::of("new")]);
    let seen = read_all(cluster.address(), &topic, 0);
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].offset, seen[0].record.text()), (3, Some("new")));
}

pub fn retention_by_size_drops_the_oldest_segments(cluster: &mut Cluster) {
    const SEGMENT: i64 = 1024 * 1024;
    const RECORD: i64 = 64 * 1024;
    const RECORDS: i64 = 8 * SEGMENT / RECORD;
    let (segment, kept) = (SEGMENT.to_string(), (2 * SEGMENT).to_string());
    let settings = [("segment.bytes", segment.as_str()), ("retention.bytes", kept.as_str())];
    let topic = Admin::new(cluster.address()).topic("bounded", 1, &settings);
    let mut noise = vec![0; usize::try_from(RECORD).unwrap()];
    rand::rng().fill_bytes(&mut noise);
    let producer = Producer::new(cluster.address(), &[]);
    for _ in 0..RECORDS {
        producer.write(&topic, 0, &[Record::of(noise.as_slice())]);
    }
    let start = eventually("more than half of the records is gone", || {
        let (start, _) = watermarks(cluster.address(), &topic, 0);
        (start > RECORDS / 2).then_some(start)
    });
    assert!((RECORDS - start) * RECORD > SEGMENT, "too much is gone: the first left is {start}");
    let offsets: Vec<_> =
        read_all(cluster.address(), &topic, 0).into_iter().map(|seen| seen.offset).collect();
    let (start, end) = (offsets[0], offsets[offsets.len() - 1]);
    assert!(offsets.iter().copied().eq(start..=end), "records are missing in between");
    assert_eq!(end, RECORDS - 1);
}
