//! kcat.

use std::process::{Command, Stdio};

use tests::{admin::Admin, cluster::Cluster, producer::Producer, record::Record};

use crate::process::run;

pub fn is_installed() -> bool {
    let mut version = Command::new("kcat");
    version.arg("-V").stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok()
}

/// Runs kcat with some input, and returns what it printed.
fn kcat(cluster: &Cluster, arguments: &[&str], input: &str) -> String {
    run(Command::new("kcat").args(["-b", cluster.address()]).args(arguments), input)
}

pub fn lists_the_broker_and_its_topics(cluster: &Cluster) {
    let topic = Admin::new(cluster.address()).topic("listed", 3, &[]);
    let listed = kcat(cluster, &["-L"], "");
    let broker = format!("broker 1 at {} (controller)", cluster.address());
    let topic = format!("topic \"{topic}\" with 3 partitions:");
    for expected in ["1 brokers:", &broker, &topic, "partition 2, leader 1, replicas: 1, isrs: 1"] {
        assert!(listed.contains(expected), "no {expected:?} in:\n{listed}");
    }
}

pub fn reads_what_it_wrote_with_keys_headers_and_offsets(cluster: &Cluster) {
    let topic = Admin::new(cluster.address()).topic("written", 1, &[]);
    let write = ["-P", "-t", &topic, "-K:", "-Z", "-H", "source=shop", "-H", "empty="];
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        kcat(cluster, &[&write[..], &["-z", codec]].concat(), &format!("{codec}:value\ngone:\n"));
    }
    let format = "%p %o %k=%s (%S) %h\n";
    let read = kcat(cluster, &["-C", "-t", &topic, "-o", "beginning", "-e", "-f", format], "");
    let expected: String = (0..)
        .step_by(2)
        .zip(["none", "gzip", "snappy", "lz4", "zstd"])
        .map(|(offset, codec)| {
            let headers = "source=shop,empty=";
            let tombstone = offset + 1;
            format!("0 {offset} {codec}=value (5) {headers}\n0 {tombstone} gone= (-1) {headers}\n")
        })
        .collect();
    assert_eq!(read, expected);

    let last = kcat(cluster, &["-C", "-t", &topic, "-o", "-2", "-e", "-f", "%o "], "");
    assert_eq!(last, "8 9 ");
}

pub fn finds_offsets_by_time(cluster: &Cluster) {
    const THEN: i64 = 1_700_000_000_000;
    let topic = Admin::new(cluster.address()).topic("timed", 1, &[("retention.ms", "-1")]);
    let records = [0, 10, 20].map(|time| Record::of("timed").at(THEN + time));
    Producer::new(cluster.address(), &[]).write(&topic, 0, &records);
    for (time, offset) in [(THEN + 5, 1), (-2, 0), (-1, 3), (THEN + 21, -1)] {
        let found = kcat(cluster, &["-Q", "-t", &format!("{topic}:0:{time}")], "");
        assert_eq!(found.trim(), format!("{topic} [0] offset {offset}"), "time {time}");
    }
}

pub fn reads_as_a_group(cluster: &Cluster) {
    let topic = Admin::new(cluster.address()).topic("grouped", 2, &[]);
    let read = || {
        let earliest = ["-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=6000"];
        let group = ["-G", "readers", "-e", "-f", "%p/%o/%s ", &topic];
        kcat(cluster, &[&earliest[..], &group[..]].concat(), "")
    };
    let producer = Producer::new(cluster.address(), &[]);
    producer.write(&topic, 1, &[Record::of("a"), Record::of("b")]);
    assert_eq!(read(), "1/0/a 1/1/b ");
    producer.write(&topic, 1, &[Record::of("c")]);
    assert_eq!(read(), "1/2/c ", "it goes on from what it committed");
}
