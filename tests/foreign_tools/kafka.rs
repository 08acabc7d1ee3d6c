//! Apache Kafka's own command-line tools.

use std::{
    env,
    process::{Command, Output},
};

use rdkafka::producer::Producer as _;
use tempfile::TempDir;
use tests::{
    admin::Admin,
    cluster::Cluster,
    consumer::{read_all, watermarks},
    deadline::GENEROUS,
    producer::Producer,
    record::Record,
};

use crate::process::{self, rows, run};

/// The variable with the script that runs the tools, `tests/kafka/kafka`.
pub const TOOLS: &str = "PASSERELLE_TEST_KAFKA_TOOLS";

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
const DELETE_RECORDS: &str = "org.apache.kafka.tools.DeleteRecordsCommand";
const TRANSACTIONS: &str = "org.apache.kafka.tools.TransactionsCommand";
const PERFORMANCE: &str = "org.apache.kafka.tools.ProducerPerformance";
const API_VERSIONS: &str = "org.apache.kafka.tools.BrokerApiVersionsCommand";

fn tool(cluster: &Cluster, class: &str, arguments: &str) -> Command {
    let mut command = Command::new(env::var_os(TOOLS).unwrap());
    command.args(["tool", class, "--bootstrap-server", cluster.address()]);
    command.args(arguments.split_whitespace());
    command
}

/// Runs a tool that must succeed; returns what it printed.
fn ask(cluster: &Cluster, class: &str, arguments: &str) -> String {
    run(&mut tool(cluster, class, arguments), "")
}

/// Runs a tool that must fail; returns all it said.
fn refused(cluster: &Cluster, class: &str, arguments: &str) -> String {
    let mut command = tool(cluster, class, arguments);
    let Output { status, stdout, stderr } = process::output(&mut command, "");
    let said = process::text(&stdout) + &process::text(&stderr);
    assert!(!status.success(), "{command:?} succeeded:\n{said}");
    said
}

pub fn topics_are_created_listed_described_grown_and_deleted(cluster: &Cluster) {
    let created = "--create --topic orders --partitions 2 --config retention.ms=86400000";
    assert_eq!(ask(cluster, TOPICS, created), "Created topic orders.\n");
    assert!(refused(cluster, TOPICS, created).contains("TopicExistsException"));
    assert!(ask(cluster, TOPICS, "--list").lines().any(|topic| topic == "orders"));

    let described = ask(cluster, TOPICS, "--describe --topic orders");
    let lines: Vec<_> = described.lines().collect();
    assert_eq!(lines.len(), 3, "{described}");
    let (head, partition) = (lines[0], rows(lines[2]).concat().join(" "));
    assert!(
        head.contains("PartitionCount: 2\tReplicationFactor: 1\tConfigs: retention.ms=86400000")
    );
    assert!(partition.starts_with("Topic: orders Partition: 1 Leader: 1 Replicas: 1 Isr: 1"));

    ask(cluster, TOPICS, "--alter --topic orders --partitions 3");
    assert_eq!(Admin::new(cluster.address()).partitions("orders"), 3);
    ask(cluster, TOPICS, "--delete --topic orders");
    assert!(!ask(cluster, TOPICS, "--list").lines().any(|topic| topic == "orders"));
    assert!(refused(cluster, TOPICS, "--delete --topic orders").contains("does not exist"));
}

/// Writes three records with the console's producer.
fn write(cluster: &Cluster, topic: &str) {
    let arguments = format!(
        "--topic {topic} --reader-property parse.key=true --reader-property key.separator=:"
    );
    run(&mut tool(cluster, PRODUCER, &arguments), "one:1\ntwo:2\none:3\n");
}

/// Reads three records with the console's consumer, as a group.
fn read(cluster: &Cluster, topic: &str, group: &str) -> String {
    let arguments = format!(
        "--topic {topic} --group {group} --from-beginning --max-messages 3 --timeout-ms 60000 \
         --formatter-property print.key=true --formatter-property key.separator=: \
         --formatter-property print.offset=true"
    );
    ask(cluster, CONSUMER, &arguments)
}

pub fn what_the_console_producer_writes_the_console_consumer_reads(cluster: &Cluster) {
    let topic = Admin::new(cluster.address()).topic("console", 1, &[]);
    write(cluster, &topic);
    assert_eq!(
        read(cluster, &topic, "readers"),
        "Offset:0:one:1\nOffset:1:two:2\nOffset:2:one:3\n"
    );
    write(cluster, &topic);
    assert_eq!(
        read(cluster, &topic, "readers"),
        "Offset:3:one:1\nOffset:4:two:2\nOffset:5:one:3\n"
    );
}

pub fn groups_are_listed_described_reset_and_deleted(cluster: &Cluster) {
    let topic = &Admin::new(cluster.address()).topic("grouped", 1, &[]);
    write(cluster, topic);
    read(cluster, topic, "readers");
    assert_eq!(ask(cluster, GROUPS, "--list"), "readers\n");
    write(cluster, topic);
    let described = ask(cluster, GROUPS, "--describe --group readers");
    let expected = ["readers", topic, "0", "3", "6", "3", "-", "-", "-"];
    assert_eq!(rows(&described)[1], expected, "{described}");
    let state = ask(cluster, GROUPS, "--describe --group readers --state");
    assert!(rows(&state)[1].ends_with(&["Empty", "0"]), "{state}");

    let reset = format!("--reset-offsets --group readers --topic {topic} --to-offset 1 --execute");
    let reset = ask(cluster, GROUPS, &reset);
    assert_eq!(rows(&reset)[1], ["readers", topic, "0", "1"], "{reset}");
    assert!(read(cluster, topic, "readers").starts_with("Offset:1:"));

    let deleted = ask(cluster, GROUPS, "--delete --group readers");
    assert!(deleted.contains("was successful"), "{deleted}");
    assert_eq!(ask(cluster, GROUPS, "--list").trim(), "");
}

pub fn settings_are_set_described_and_taken_away(cluster: &Cluster) {
    let topic = Admin::new(cluster.address()).topic("set", 1, &[]);
    let of = |what: &str| format!("--entity-type topics --entity-name {topic} {what}");
    let set = of("--alter --add-config retention.ms=1000,cleanup.policy=[compact,delete]");
    ask(cluster, CONFIGS, &set);
    let described = ask(cluster, CONFIGS, &of("--describe"));
    let (retention, cleanup) =
        ("retention.ms=1000 sensitive=false", "cleanup.policy=compact,delete");
    assert!(described.contains(retention) && described.contains(cleanup), "{described}");
    assert!(described.contains("DEFAULT_CONFIG:retention.ms=604800000"), "{described}");

    ask(cluster, CONFIGS, &of("--alter --delete-config retention.ms"));
    let described = ask(cluster, CONFIGS, &of("--describe"));
    assert!(!described.contains("retention.ms") && described.contains(cleanup), "{described}");

    let wrong = refused(cluster, CONFIGS, &of("--alter --add-config retention.ms=tomorrow"));
    assert!(wrong.contains("InvalidConfigurationException"), "{wrong}");
}

pub fn offsets_are_found_and_records_deleted(cluster: &Cluster) {
    let topic = Admin::new(cluster.address()).topic("emptied", 2, &[]);
    Producer::new(cluster.address(), &[]).write(&topic, 1, &vec![Record::of("x"); 5]);
    let latest = ask(cluster, OFFSETS, &format!("--topic {topic}"));
    assert_eq!(latest, format!("{topic}:0:0\n{topic}:1:5\n"));

    let directory = TempDir::new().unwrap();
    let file = directory.path().join("delete.json");
    let partition = format!(r#"{{"topic":"{topic}","partition":1,"offset":2}}"#);
    std::fs::write(&file, format!(r#"{{"version":1,"partitions":[{partition}]}}"#)).unwrap();
    let deleted = format!("--offset-json-file {}", file.display());
    let deleted = ask(cluster, DELETE_RECORDS, &deleted);
    assert!(deleted.contains(&format!("partition: {topic}-1\tlow_watermark: 2")), "{deleted}");
    let earliest = ask(cluster, OFFSETS, &format!("--topic {topic} --time earliest"));
    assert_eq!(earliest, format!("{topic}:0:0\n{topic}:1:2\n"));
}

/// A hanging transaction is found, and ended from outside.
pub fn transactions_are_listed_described_and_aborted(cluster: &Cluster) {
    let topic = &Admin::new(cluster.address()).topic("transactional", 1, &[]);
    let producer = Producer::new(cluster.address(), &[("transactional.id", "mover")]);
    producer.native().init_transactions(GENEROUS).unwrap();
    producer.native().begin_transaction().unwrap();
    producer.write(topic, 0, &[Record::of("open")]);
    Producer::new(cluster.address(), &[]).write(topic, 0, &[Record::of("behind")]);

    let listed = ask(cluster, TRANSACTIONS, "list");
    assert_eq!(rows(&listed)[1][..2], ["mover", "1"], "{listed}");
    assert_eq!(rows(&listed)[1][3], "Ongoing", "{listed}");
    let described = ask(cluster, TRANSACTIONS, "describe --transactional-id mover");
    let row = &rows(&described)[1];
    assert_eq!(
        (row[1], row[4], row[8]),
        ("mover", "Ongoing", &*format!("{topic}-0")),
        "{described}"
    );
    let of_partition = format!("--topic {topic} --partition 0");
    let producers = ask(cluster, TRANSACTIONS, &format!("describe-producers {of_partition}"));
    assert_eq!(rows(&producers)[1].last(), Some(&"0"), "it begins at 0: {producers}");
    let hanging = ask(cluster, TRANSACTIONS, &format!("find-hanging {of_partition}"));
    assert_eq!(rows(&hanging).len(), 1, "it is young: {hanging}");

    assert!(read_all(cluster.address(), topic, 0).is_empty());
    ask(cluster, TRANSACTIONS, &format!("abort {of_partition} --start-offset 0"));
    let seen = read_all(cluster.address(), topic, 0);
    assert_eq!(seen.iter().map(|seen| seen.offset).collect::<Vec<_>>(), [1]);
}

/// Java's producer, many transactions one after the other, and its consumer of committed records.
pub fn what_a_java_producer_writes_in_transactions_is_read_whole(cluster: &Cluster) {
    let topic = &Admin::new(cluster.address()).topic("measured", 1, &[]);
    let records = "--num-records 3000 --record-size 10 --throughput 1500";
    let transactions = "--transactional-id java --transaction-duration-ms 50";
    ask(cluster, PERFORMANCE, &format!("--topic {topic} {records} {transactions}"));
    assert_eq!(read_all(cluster.address(), topic, 0).len(), 3000);
    let committed = "--isolation-level read_committed --from-beginning --max-messages 3000";
    let read = ask(cluster, CONSUMER, &format!("--topic {topic} {committed} --timeout-ms 60000"));
    assert_eq!(read.lines().count(), 3000);
    let described = ask(cluster, TRANSACTIONS, "describe --transactional-id java");
    assert_eq!(rows(&described)[1][4], "CompleteCommit", "{described}");
    let end = watermarks(cluster.address(), topic, 0).1;
    assert!(end > 3005, "every marker takes an offset, and there are some: {end}");
}

pub fn versions_of_the_protocol_are_told(cluster: &Cluster) {
    let told = ask(cluster, API_VERSIONS, "");
    let broker = format!("{} (id: 1 rack: null isFenced: false) -> (", cluster.address());
    assert!(told.starts_with(&broker), "{told}");
    for api in ["Produce(0): ", "Fetch(1): ", "JoinGroup(11): ", "CreateTopics(19): "] {
        let usable = told.lines().any(|line| line.contains(api) && line.contains("[usable: "));
        assert!(usable, "no {api:?} in:\n{told}");
    }
}
