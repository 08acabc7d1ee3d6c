//! Topics: created, changed, emptied and deleted.

use rdkafka::{
    Offset,
    admin::ConfigSource,
    error::{KafkaError, RDKafkaErrorCode as Code},
};
use tests::{
    admin::{Admin, unique},
    cluster::Cluster,
    consumer::{read_all, watermarks},
    deadline::eventually,
    producer::Producer,
    record::Record,
};

use crate::wire::Connection;

const INVALID_CONFIG: i16 = 40;

pub fn a_topic_is_created_described_and_deleted(cluster: &mut Cluster) {
    let admin = Admin::new(cluster.address());
    let topic = admin.topic("created", 3, &[]);
    assert!(admin.topics().contains(&topic));
    assert_eq!(admin.create_topic(&topic, 1, 1, &[]), Err(Code::TopicAlreadyExists));
    assert_eq!(admin.create_topic(&unique("none"), 0, 1, &[]), Err(Code::InvalidPartitions));
    let replicated = admin.create_topic(&unique("replicated"), 1, 3, &[]);
    assert_eq!(replicated, Err(Code::InvalidReplicationFactor), "there is one node");
    assert_eq!(admin.create_topic("no/name", 1, 1, &[]), Err(Code::InvalidTopic));

    assert_eq!(admin.delete_topic(&topic), Ok(()));
    eventually("a deleted topic is gone", || (admin.partitions(&topic) == 0).then_some(()));
    assert!(!admin.topics().contains(&topic));
    assert_eq!(admin.delete_topic(&topic), Err(Code::UnknownTopicOrPartition));
}

pub fn a_recreated_topic_is_empty(cluster: &mut Cluster) {
    let admin = Admin::new(cluster.address());
    let topic = admin.topic("recreated", 1, &[]);
    Producer::new(cluster.address(), &[]).write(&topic, 0, &vec![Record::of("old"); 3]);
    admin.delete_topic(&topic).unwrap();
    eventually("the topic is gone", || (admin.partitions(&topic) == 0).then_some(()));
    eventually("the name is free again", || admin.create_topic(&topic, 1, 1, &[]).ok());
    eventually("the topic is known again", || (admin.partitions(&topic) == 1).then_some(()));
    Producer::new(cluster.address(), &[]).write(&topic, 0, &[Record::of("new")]);
    let seen = read_all(cluster.address(), &topic, 0);
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].offset, seen[0].record.text()), (0, Some("new")));
}

pub fn partitions_are_added_and_never_taken_away(cluster: &mut Cluster) {
    let admin = Admin::new(cluster.address());
    let topic = admin.topic("grown", 1, &[]);
    let producer = Producer::new(cluster.address(), &[]);
    producer.write(&topic, 0, &[Record::of("before")]);
    assert_eq!(admin.grow_topic(&topic, 3), Ok(()));
    eventually("the partitions are known", || (admin.partitions(&topic) == 3).then_some(()));
    assert_eq!(admin.grow_topic(&topic, 2), Err(Code::InvalidPartitions));
    assert_eq!(admin.grow_topic(&topic, 3), Err(Code::InvalidPartitions));
    let unknown = admin.grow_topic(&unique("unknown"), 3);
    assert_eq!(unknown, Err(Code::UnknownTopicOrPartition));
    let producer = Producer::new(cluster.address(), &[]);
    producer.write(&topic, 2, &[Record::of("after")]);
    assert_eq!(read_all(cluster.address(), &topic, 0)[0].record.text(), Some("before"));
    assert_eq!(read_all(cluster.address(), &topic, 2)[0].record.text(), Some("after"));
}

pub fn settings_are_described_and_altered(cluster: &mut Cluster) {
    let admin = Admin::new(cluster.address());
    let topic = admin.topic("set", 1, &[("retention.ms", "86400000")]);
    let described = |name| {
        let entry = admin.setting(&topic, name);
        (entry.value.unwrap(), entry.source == ConfigSource::DynamicTopic)
    };
    assert_eq!(described("retention.ms"), ("86400000".to_owned(), true));
    assert_eq!(described("cleanup.policy"), ("delete".to_owned(), false));
    assert_eq!(described("max.message.bytes"), ("1048588".to_owned(), false));

    admin.configure(&topic, &[("cleanup.policy", "compact"), ("segment.ms", "1000")]);
    eventually("the change is described", || {
        (described("cleanup.policy") == ("compact".to_owned(), true)).then_some(())
    });
    assert_eq!(described("segment.ms"), ("1000".to_owned(), true));
    let default = ("604800000".to_owned(), false);
    assert_eq!(described("retention.ms"), default, "what is not set again is the default again");
}

pub fn wrong_settings_are_refused(cluster: &mut Cluster) {
    let admin = Admin::new(cluster.address());
    let topic = admin.topic("set", 1, &[]);
    let mut connection = Connection::open(cluster.address());
    for (name, value) in [
        ("retention.ms", "tomorrow"),
        ("cleanup.policy", "burn"),
        ("no.such.setting", "1"),
        ("min.cleanable.dirty.ratio", "2"),
        ("segment.bytes", "0"),
        ("max.compaction.lag.ms", "0"),
        ("message.timestamp.before.max.ms", "-1"),
        ("message.timestamp.after.max.ms", "-1"),
    ] {
        let created = admin.create_topic(&unique("wrong"), 1, 1, &[(name, value)]);
        assert_eq!(created, Err(Code::InvalidConfig), "created with {name}={value}");
        let altered = connection.alter(&topic, name, value);
        assert_eq!(altered, INVALID_CONFIG, "altered to {name}={value}");
    }
    assert_eq!(connection.alter(&topic, "retention.ms", "1000"), 0);
    eventually("the change is described", || {
        let described = admin.setting(&topic, "retention.ms").value;
        (described.as_deref() == Some("1000")).then_some(())
    });
}

pub fn the_volume_of_the_logs_is_described(cluster: &mut Cluster) {
    let (total, usable) = Connection::open(cluster.address()).volume();
    assert!(0 < usable && usable <= total, "{usable} of {total} bytes are left");
}

pub fn deleted_records_are_gone_and_the_rest_stays(cluster: &mut Cluster) {
    let admin = Admin::new(cluster.address());
    let topic = admin.topic("emptied", 1, &[]);
    let records: Vec<_> = (0..10).map(|number| Record::of(number.to_string())).collect();
    // All in one batch, so that what is deleted ends within it.
    Producer::new(cluster.address(), &[("linger.ms", "100")]).write(&topic, 0, &records);

    assert_eq!(admin.delete_records(&topic, 0, Offset::Offset(4)), Ok(Offset::Offset(4)));
    assert_eq!(watermarks(cluster.address(), &topic, 0), (4, 10));
    let seen = read_all(cluster.address(), &topic, 0);
    let offsets: Vec<_> = seen.iter().map(|seen| seen.offset).collect();
    assert_eq!(offsets, [4, 5, 6, 7, 8, 9]);
    assert_eq!(seen[0].record.text(), Some("4"));

    let again = admin.delete_records(&topic, 0, Offset::Offset(2));
    assert_eq!(again, Ok(Offset::Offset(4)), "what is deleted already");
    let beyond = admin.delete_records(&topic, 0, Offset::Offset(11));
    assert_eq!(beyond, Err(KafkaError::OffsetFetch(Code::OffsetOutOfRange)));
    assert_eq!(admin.delete_records(&topic, 0, Offset::End), Ok(Offset::Offset(10)));
    assert_eq!(watermarks(cluster.address(), &topic, 0), (10, 10));
}
