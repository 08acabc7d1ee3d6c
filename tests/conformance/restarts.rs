//! What outlives the broker's process.

use std::{thread, time::Duration};

use rdkafka::{Offset, consumer::Consumer as _};
use tests::{
    admin::{Admin, unique},
    cluster::Cluster,
    consumer::{Member, commit, committed, consumer, read, read_all},
    deadline::eventually,
    producer::Producer,
    record::Record,
};

fn numbered(numbers: std::ops::Range<usize>) -> Vec<Record> {
    numbers.map(|number| Record::of(number.to_string()).keyed("key")).collect()
}

fn survives(cluster: &mut Cluster, restart: impl Fn(&mut Cluster)) {
    let admin = Admin::new(cluster.address());
    let topic = admin.topic("surviving", 2, &[("retention.ms", "86400000")]);
    let producer = Producer::new(cluster.address(), &[]);
    for round in 0..2 {
        producer.write(&topic, 1, &numbered(round * 100..(round + 1) * 100));
        let before = read_all(cluster.address(), &topic, 1);
        restart(cluster);
        assert_eq!(read_all(cluster.address(), &topic, 1), before);
        let values =
            before.iter().map(|seen| seen.record.text().unwrap().parse::<usize>().unwrap());
        assert!(values.eq(0..(round + 1) * 100));
    }
    assert_eq!(admin.partitions(&topic), 2);
    assert_eq!(admin.setting(&topic, "retention.ms").value.as_deref(), Some("86400000"));
}

pub fn what_was_acknowledged_survives_a_restart(cluster: &mut Cluster) {
    survives(cluster, Cluster::restart);
}

pub fn what_was_acknowledged_survives_a_kill(cluster: &mut Cluster) {
    survives(cluster, Cluster::kill_and_restart);
}

pub fn committed_offsets_survive_a_kill(cluster: &mut Cluster) {
    let topic = Admin::new(cluster.address()).topic("committed", 1, &[]);
    let group = unique("group");
    for (offset, metadata) in [(3, "three"), (8, "eight")] {
        commit(cluster.address(), &group, &topic, 0, (offset, metadata)).unwrap();
        cluster.kill_and_restart();
        let found = committed(cluster.address(), &group, &topic, 0);
        assert_eq!(found, (Offset::Offset(offset), metadata.to_owned()));
    }
}

pub fn a_consumer_resumes_in_the_middle_of_a_batch(cluster: &mut Cluster) {
    let topic = Admin::new(cluster.address()).topic("batched", 1, &[]);
    let group = unique("group");
    for codec in ["none", "zstd"] {
        let one_batch = [("linger.ms", "200"), ("compression.codec", codec)];
        let records = numbered(0..10);
        let placed = Producer::new(cluster.address(), &one_batch).write(&topic, 0, &records);
        let first = placed[0].offset;
        commit(cluster.address(), &group, &topic, 0, (first + 4, "")).unwrap();
        cluster.restart();

        let after = consumer(cluster.address(), &[("group.id", &group)]);
        after.subscribe(&[&topic]).unwrap();
        let seen = read(&after, 6);
        let offsets: Vec<_> = seen.iter().map(|seen| seen.offset - first).collect();
        let values: Vec<_> = seen.iter().map(|seen| seen.record.text().unwrap()).collect();
        assert_eq!(offsets, [4, 5, 6, 7, 8, 9]);
        assert_eq!(values, ["4", "5", "6", "7", "8", "9"]);
    }
}

pub fn an_idempotent_producer_goes_through_a_kill_without_loss_or_repeat(cluster: &mut Cluster) {
    const RECORDS: usize = 2000;
    let topic = Admin::new(cluster.address()).topic("produced", 1, &[]);
    let settings = [("enable.idempotence", "true"), ("retry.backoff.max.ms", "200")];
    let producer = Producer::new(cluster.address(), &settings);
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let receipts: Vec<_> = numbered(0..RECORDS)
                .iter()
                .map(|record| {
                    thread::sleep(Duration::from_millis(1));
                    producer.send(&topic, Some(0), record).unwrap()
                })
                .collect();
            receipts.into_iter().map(|receipt| receipt.wait().unwrap().offset).collect::<Vec<_>>()
        });
        for _ in 0..2 {
            thread::sleep(Duration::from_millis(500));
            cluster.kill_and_restart();
        }
        let offsets = writing.join().unwrap();
        assert!(offsets.iter().copied().eq(0..2000), "{offsets:?}");
    });
    let seen = read_all(cluster.address(), &topic, 0);
    let values = seen.iter().map(|seen| seen.record.text().unwrap().parse::<usize>().unwrap());
    assert!(values.eq(0..RECORDS), "records are lost, repeated or out of order");
}

pub fn a_group_goes_on_after_a_kill(cluster: &mut Cluster) {
    let topic = Admin::new(cluster.address()).topic("grouped", 2, &[]);
    let group = unique("group");
    let address = cluster.address().to_owned();
    let member = || Member::join(&address, &group, &topic, &[("session.timeout.ms", "6000")]);
    let members = [member(), member()];
    let producer = Producer::new(&address, &[]);
    for round in 1..=2 {
        producer.write(&topic, 0, &numbered(0..10));
        producer.write(&topic, 1, &numbered(0..10));
        eventually("the members have seen every record", || {
            let seen = members.iter().flat_map(Member::seen);
            let mut at: Vec<_> = seen.map(|seen| (seen.partition, seen.offset)).collect();
            at.sort_unstable();
            at.dedup();
            (at.len() == round * 20).then_some(())
        });
        cluster.kill_and_restart();
    }
}
