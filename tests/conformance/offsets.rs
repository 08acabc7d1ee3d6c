//! Offsets: committed, looked up by time, and out of range.

use rdkafka::{
    Offset,
    consumer::Consumer as _,
    error::{KafkaError, RDKafkaErrorCode},
};
use tests::{
    admin::{Admin, unique},
    cluster::Cluster,
    consumer::{self, committed, consumer, next, position, read, reader},
    deadline::GENEROUS,
    producer::Producer,
    record::Record,
};

/// Commits an offset of the first partition.
fn commit(
    cluster: &Cluster,
    group: &str,
    topic: &str,
    committed: (i64, &str),
) -> Result<(), KafkaError> {
    consumer::commit(cluster.address(), group, topic, 0, committed)
}

pub fn committed_offsets_are_read_back_with_their_metadata(cluster: &mut Cluster) {
    let topic = Admin::new(cluster.address()).topic("committed", 1, &[]);
    let (group, other) = (unique("group"), unique("other"));
    let longest = "m".repeat(4096);
    for (offset, metadata) in [(3, "three"), (7, ""), (5, longest.as_str())] {
        commit(cluster, &group, &topic, (offset, metadata)).unwrap();
        commit(cluster, &other, &topic, (offset + 1, "of another group")).unwrap();
        let found = committed(cluster.address(), &group, &topic, 0);
        assert_eq!(found, (Offset::Offset(offset), metadata.to_owned()));
    }
}

pub fn metadata_of_more_than_4096_bytes_is_refused(cluster: &mut Cluster) {
    let topic = Admin::new(cluster.address()).topic("committed", 1, &[]);
    let group = unique("group");
    let refused = commit(cluster, &group, &topic, (1, &"m".repeat(4097))).unwrap_err();
    assert_eq!(refused.rdkafka_error_code(), Some(RDKafkaErrorCode::OffsetMetadataTooLarge));
    assert_eq!(committed(cluster.address(), &group, &topic, 0).0, Offset::Invalid);
}

pub fn an_offset_never_committed_is_none(cluster: &mut Cluster) {
    let topic = Admin::new(cluster.address()).topic("committed", 2, &[]);
    let group = unique("group");
    assert_eq!(committed(cluster.address(), &group, &topic, 0).0, Offset::Invalid);
    commit(cluster, &group, &topic, (1, "of the other partition")).unwrap();
    assert_eq!(committed(cluster.address(), &group, &topic, 1).0, Offset::Invalid);
}

/// What Kafka promises of `offsetsForTimes`, with timestamps in any order: the first record, in
/// the order of offsets, that is not older.
pub fn a_time_finds_the_first_record_at_or_after_it(cluster: &mut Cluster) {
    const THEN: i64 = 1_700_000_000_000;
    let topic = Admin::new(cluster.address()).topic("timed", 1, &[("retention.ms", "-1")]);
    let times = [10, 30, 20, 20, 50, 40, 60];
    // Some share a batch, some do not.
    let producer = Producer::new(cluster.address(), &[("linger.ms", "20")]);
    for some in times.chunks(3) {
        let at = |time: &i64| Record::of("timed").at(THEN + time);
        producer.write(&topic, 0, &some.iter().map(at).collect::<Vec<_>>());
    }
    let consumer = consumer(cluster.address(), &[]);
    let find = |time: i64| {
        let asked = position(&topic, 0, Offset::Offset(THEN + time));
        let found = consumer.offsets_for_times(asked, GENEROUS).unwrap();
        found.find_partition(&topic, 0).unwrap().offset()
    };
    for time in [0, 10, 11, 20, 25, 30, 31, 45, 50, 51, 60] {
        let first = (0..).zip(times).find(|(_, of_record)| *of_record >= time).unwrap();
        assert_eq!(find(time), Offset::Offset(first.0), "time {time} of {times:?}");
    }
    assert_eq!(find(61), Offset::End, "there is none after the newest");
}

pub fn an_offset_out_of_range_is_an_error(cluster: &mut Cluster) {
    let topic = Admin::new(cluster.address()).topic("short", 1, &[]);
    Producer::new(cluster.address(), &[]).write(&topic, 0, &vec![Record::of("x"); 3]);
    let beyond = next(&reader(cluster.address(), &topic, 0, Offset::Offset(1000))).unwrap_err();
    let reset = Some(RDKafkaErrorCode::AutoOffsetReset);
    assert_eq!(beyond.rdkafka_error_code(), reset, "beyond the end: {beyond}");

    Admin::new(cluster.address()).delete_records(&topic, 0, Offset::Offset(2)).unwrap();
    let deleted = next(&reader(cluster.address(), &topic, 0, Offset::Offset(1))).unwrap_err();
    assert_eq!(deleted.rdkafka_error_code(), reset, "before the start: {deleted}");

    let at_the_end = reader(cluster.address(), &topic, 0, Offset::Offset(3));
    Producer::new(cluster.address(), &[]).write(&topic, 0, &[Record::of("fourth")]);
    assert_eq!(read(&at_the_end, 1)[0].offset, 3, "the end itself is in range");
}
