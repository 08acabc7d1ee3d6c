//! Topics are created, changed and deleted, and groups with them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::time::Duration;

use rdkafka::{
    Offset, TopicPartitionList,
    admin::{
        AdminClient, AdminOptions, AlterConfig, ConfigSource, NewPartitions, NewTopic,
        ResourceSpecifier, TopicReplication,
    },
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{FutureProducer, FutureRecord},
};
use support::{Running, read, send};

type Admin = AdminClient<DefaultClientContext>;

const PATIENCE: Duration = Duration::from_secs(20);

fn one_copy(name: &str, partitions: i32) -> NewTopic<'_> {
    NewTopic::new(name, partitions, TopicReplication::Fixed(1))
}

async fn create(admin: &Admin, topic: &NewTopic<'_>) -> Result<String, RDKafkaErrorCode> {
    let mut created = admin.create_topics([topic], &AdminOptions::new()).await.unwrap();
    created.remove(0).map_err(|(_, code)| code)
}

fn partitions(running: &Running, topic: &str) -> usize {
    let consumer: BaseConsumer = running.client().create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    metadata.topics()[0].partitions().len()
}

/// A setting's value, and whether the topic sets it itself.
async fn setting(admin: &Admin, topic: &str, name: &str) -> (String, bool) {
    let resource = ResourceSpecifier::Topic(topic);
    let described = admin.describe_configs([&resource], &AdminOptions::new()).await.unwrap();
    let described = described[0].as_ref().unwrap();
    let entry = described.entries.iter().find(|entry| entry.name == name).unwrap();
    let own = matches!(entry.source, ConfigSource::DynamicTopic);
    (entry.value.clone().unwrap(), own)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_lives_its_life() {
    let running = Running::start().await;
    let admin: Admin = running.client().create().unwrap();
    let topic = one_copy("orders", 2).set("retention.ms", "1000000");
    create(&admin, &topic).await.unwrap();
    assert_eq!(partitions(&running, "orders"), 2);
    assert_eq!(create(&admin, &topic).await, Err(RDKafkaErrorCode::TopicAlreadyExists));

    let grown = NewPartitions::new("orders", 5);
    let grown = admin.create_partitions([&grown], &AdminOptions::new()).await.unwrap();
    assert!(grown[0].is_ok(), "{grown:?}");
    assert_eq!(partitions(&running, "orders"), 5);
    let shrunk = NewPartitions::new("orders", 3);
    let shrunk = admin.create_partitions([&shrunk], &AdminOptions::new()).await.unwrap();
    assert!(matches!(shrunk[0], Err((_, RDKafkaErrorCode::InvalidPartitions))), "{shrunk:?}");

    let running = running.restart().await;
    let admin: Admin = running.client().create().unwrap();
    assert_eq!(partitions(&running, "orders"), 5);
    let expected = ("1000000".to_owned(), true);
    assert_eq!(setting(&admin, "orders", "retention.ms").await, expected);

    let deleted = admin.delete_topics(&["orders"], &AdminOptions::new()).await.unwrap();
    assert!(deleted[0].is_ok(), "{deleted:?}");
    let again = admin.delete_topics(&["orders"], &AdminOptions::new()).await.unwrap();
    assert!(matches!(again[0], Err((_, RDKafkaErrorCode::UnknownTopicOrPartition))), "{again:?}");
    assert_eq!(partitions(&running, "orders"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_cannot_be_is_refused() {
    let running = Running::start().await;
    let admin: Admin = running.client().create().unwrap();
    let copies = NewTopic::new("orders", 1, TopicReplication::Fixed(3));
    let refused = create(&admin, &copies).await;
    assert_eq!(refused, Err(RDKafkaErrorCode::InvalidReplicationFactor));
    for (name, value) in
        [("retention.ms", "soon"), ("retention", "1"), ("min.insync.replicas", "0")]
    {
        let refused = create(&admin, &one_copy("orders", 1).set(name, value)).await;
        assert_eq!(refused, Err(RDKafkaErrorCode::InvalidConfig), "{name}={value}");
    }
    assert_eq!(create(&admin, &one_copy("a/b", 1)).await, Err(RDKafkaErrorCode::InvalidTopic));
    let many = create(&admin, &one_copy("orders", 100_000)).await;
    assert_eq!(many, Err(RDKafkaErrorCode::InvalidPartitions));
    let internal = admin.delete_topics(&["__consumer_offsets"], &AdminOptions::new()).await;
    let internal = internal.unwrap();
    assert!(matches!(internal[0], Err((_, RDKafkaErrorCode::InvalidTopic))), "{internal:?}");
    let validated = admin
        .create_topics([&one_copy("orders", 1)], &AdminOptions::new().validate_only(true))
        .await
        .unwrap();
    assert!(validated[0].is_ok());
    assert_eq!(partitions(&running, "orders"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_takes_effect_at_once_and_stays() {
    let running = Running::start().await;
    running.topic("orders", 1).await;
    let admin: Admin = running.client().create().unwrap();
    let small =
        AlterConfig::new(ResourceSpecifier::Topic("orders")).set("max.message.bytes", "200");
    let altered = admin.alter_configs([&small], &AdminOptions::new()).await.unwrap();
    assert!(altered[0].is_ok(), "{altered:?}");
    let producer: FutureProducer = running.client().create().unwrap();
    let large = "x".repeat(1000);
    let record = FutureRecord::to("orders").key("k").payload(&large);
    let (error, _) = producer.send(record, PATIENCE).await.unwrap_err();
    assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge));
    let running = running.restart().await;
    let admin: Admin = running.client().create().unwrap();
    let expected = ("200".to_owned(), true);
    assert_eq!(setting(&admin, "orders", "max.message.bytes").await, expected);
}

fn commit(consumer: &BaseConsumer, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("orders", 0, Offset::Offset(offset)).unwrap();
    consumer.commit(&list, CommitMode::Sync).unwrap();
}

fn committed(consumer: &BaseConsumer) -> Offset {
    let mut asked = TopicPartitionList::new();
    asked.add_partition("orders", 0);
    consumer.committed_offsets(asked, PATIENCE).unwrap().elements()[0].offset()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_topic_begins_anew() {
    let running = Running::start().await;
    running.topic("orders", 1).await;
    let producer = running.producer();
    for _ in 0..3 {
        send(&producer, "orders", 0, "old").await;
    }
    let group = |running: &Running| -> BaseConsumer {
        running.client().set("group.id", "billing").create().unwrap()
    };
    let consumer = group(&running);
    commit(&consumer, 2);
    let admin: Admin = running.client().create().unwrap();
    admin.delete_topics(&["orders"], &AdminOptions::new()).await.unwrap();
    running.topic("orders", 1).await;
    let offset = send(&running.producer(), "orders", 0, "new").await;
    assert_eq!(offset, 0);
    assert_eq!(committed(&group(&running)), Offset::Invalid);
    let running = running.restart().await;
    assert_eq!(committed(&group(&running)), Offset::Invalid);
    assert_eq!(read(running.client(), "orders", 0, Offset::Beginning, 1).await, ["new"]);
}

/// What a broker leaves that is killed between a topic's end and that of its groups' offsets.
#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_topic_begins_anew_also_after_a_kill_in_the_middle() {
    let running = Running::start().await;
    running.topic("orders", 1).await;
    send(&running.producer(), "orders", 0, "old").await;
    let group = |running: &Running| -> BaseConsumer {
        running.client().set("group.id", "billing").create().unwrap()
    };
    commit(&group(&running), 1);
    let Running { broker, directory } = running;
    broker.shutdown().await;
    let file = directory.path().join("data/catalogue.json");
    let mut catalogue: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    catalogue["topics"].as_array_mut().unwrap().retain(|topic| topic["name"] != "orders");
    std::fs::write(&file, catalogue.to_string()).unwrap();
    let running = Running::on(directory).await;
    running.topic("orders", 1).await;
    assert_eq!(committed(&group(&running)), Offset::Invalid);
    let running = running.restart().await;
    assert_eq!(committed(&group(&running)), Offset::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_deleted_with_its_offsets() {
    let running = Running::start().await;
    running.topic("orders", 1).await;
    let admin: Admin = running.client().create().unwrap();
    let consumer: BaseConsumer = running.client().set("group.id", "billing").create().unwrap();
    commit(&consumer, 0);
    let list = || consumer.fetch_group_list(None, PATIENCE).unwrap().groups().len();
    assert_eq!(list(), 1);
    let deleted = admin.delete_groups(&["billing", "nobody"], &AdminOptions::new()).await.unwrap();
    assert!(deleted[0].is_ok(), "{deleted:?}");
    assert!(matches!(deleted[1], Err((_, RDKafkaErrorCode::GroupIdNotFound))), "{deleted:?}");
    assert_eq!(list(), 0);
    assert_eq!(committed(&consumer), Offset::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_deleted_up_to_an_offset() {
    let running = Running::start().await;
    running.topic("orders", 1).await;
    let producer = running.producer();
    for i in 0..10 {
        send(&producer, "orders", 0, &i.to_string()).await;
    }
    let admin: Admin = running.client().create().unwrap();
    let mut before = TopicPartitionList::new();
    before.add_partition_offset("orders", 0, Offset::Offset(7)).unwrap();
    admin.delete_records(&before, &AdminOptions::new()).await.unwrap();
    let consumer: BaseConsumer = running.client().create().unwrap();
    assert_eq!(consumer.fetch_watermarks("orders", 0, PATIENCE).unwrap(), (7, 10));
    let left = read(running.client(), "orders", 0, Offset::Beginning, 3).await;
    assert_eq!(left, ["7", "8", "9"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_records_and_unused_offsets_go() {
    let directory = tempfile::TempDir::new().unwrap();
    let running = Running::configured(directory, |config| {
        config.cleaning_interval = Duration::from_millis(100);
        config.offsets_retention = Duration::from_secs(1);
    })
    .await;
    let settings = [("retention.ms", "500"), ("segment.bytes", "1000")];
    running.broker.create_topic("orders", 1, &settings).await.unwrap();
    let consumer: BaseConsumer = running.client().set("group.id", "billing").create().unwrap();
    commit(&consumer, 1);
    let producer = running.producer();
    for _ in 0..50 {
        send(&producer, "orders", 0, &"x".repeat(100)).await;
    }
    for _ in 0..200 {
        let (first, _) = consumer.fetch_watermarks("orders", 0, PATIENCE).unwrap();
        if first > 0 && committed(&consumer) == Offset::Invalid {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("they stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_made_when_asked_for_if_so_configured() {
    let directory = tempfile::TempDir::new().unwrap();
    let running = Running::configured(directory, |config| {
        config.auto_create = true;
        config.default_partitions = 3;
    })
    .await;
    let producer = running.producer();
    let record = FutureRecord::to("orders").key("k").payload("v");
    producer.send(record, PATIENCE).await.unwrap();
    assert_eq!(partitions(&running, "orders"), 3);
}
