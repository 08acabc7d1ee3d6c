//! A broker that is killed loses nothing that it acknowledged, and tears no transaction apart.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use broker::{Broker, Config};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rdkafka::{
    ClientConfig, ClientContext, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::KafkaError,
    producer::{
        BaseRecord, DefaultProducerContext, DeliveryResult, Producer, ProducerContext,
        ThreadedProducer,
    },
};
use support::client;
use tempfile::TempDir;

const KILLS: usize = 50;
const KILLS_IN_TRANSACTIONS: usize = 25;
const PATIENCE: Duration = Duration::from_secs(60);
const DIRECTORY: &str = "BROKER_OF_THE_CRASH_TEST";
const PORT: &str = "PORT_OF_THE_CRASH_TEST";

/// Not a test: the broker that the test kills, in a process of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_broker_that_is_killed() {
    let (Ok(directory), Ok(port)) = (env::var(DIRECTORY), env::var(PORT)) else { return };
    let mut config = Config::new(directory);
    config.listen = format!("127.0.0.1:{port}").parse().unwrap();
    config.topic_defaults.segment_bytes = 256 * 1024;
    config.cleaning_interval = Duration::from_millis(100);
    let broker = Broker::start(config).await.unwrap();
    println!("listening on {}", broker.address());
    std::future::pending::<()>().await;
}

/// Starts the broker; its port.
fn spawn(directory: &TempDir, port: u16) -> (Child, u16) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "the_broker_that_is_killed", "--nocapture"])
        .env(DIRECTORY, directory.path().join("data"))
        .env(PORT, port.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines
        .map_while(Result::ok)
        .find_map(|line| line.split("127.0.0.1:").nth(1).map(str::to_owned))
        .unwrap();
    (child, address.trim().parse().unwrap())
}

/// What everything left to chance begins with: printed, and taken from `SEED` to see a run again.
fn seed() -> u64 {
    let given = env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("SEED={seed}");
    seed
}

/// A client that connects again soon.
fn impatient_client(port: u16) -> ClientConfig {
    let mut config = client(&format!("127.0.0.1:{port}"));
    config.set("reconnect.backoff.ms", "10").set("reconnect.backoff.max.ms", "50");
    config
}

/// What was acknowledged: offsets and values.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Vec<(i64, u64)>>>);

impl ClientContext for Ledger {}

impl ProducerContext for Ledger {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, value: Box<u64>) {
        if let Ok(message) = result {
            self.0.lock().unwrap().push((message.offset(), *value));
        }
    }
}

fn create_topic(config: &ClientConfig, name: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let created = runtime.block_on(admin.create_topics([&topic], &AdminOptions::new())).unwrap();
    assert!(created[0].is_ok(), "{created:?}");
}

fn produce(config: &ClientConfig, ledger: &Ledger, stop: &AtomicBool) -> u64 {
    let mut config = config.clone();
    config
        .set("enable.idempotence", "true")
        .set("linger.ms", "1")
        .set("message.timeout.ms", "60000");
    let producer: ThreadedProducer<Ledger> = config.create_with_context(ledger.clone()).unwrap();
    let mut value = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let payload = value.to_be_bytes();
        let record =
            BaseRecord::with_opaque_to("orders", Box::new(value)).payload(&payload).key("k");
        if producer.send(record).is_ok() {
            value += 1;
        }
        if value.is_multiple_of(8) {
            thread::sleep(Duration::from_millis(1));
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
    value
}

/// Commits ever greater offsets; the last one acknowledged.
fn commit(config: &ClientConfig, committed: &AtomicI64, stop: &AtomicBool) {
    let consumer: BaseConsumer = config.clone().set("group.id", "committer").create().unwrap();
    for offset in 1.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("orders", 0, Offset::Offset(offset)).unwrap();
        if consumer.commit(&list, CommitMode::Sync).is_ok() {
            committed.store(offset, Ordering::SeqCst);
        }
    }
}

fn read_all(config: &ClientConfig, count: usize) -> Vec<u64> {
    let consumer: BaseConsumer = config.clone().set("group.id", "reader").create().unwrap();
    let mut assigned = TopicPartitionList::new();
    assigned.add_partition_offset("orders", 0, Offset::Beginning).unwrap();
    consumer.assign(&assigned).unwrap();
    let mut values = Vec::with_capacity(count);
    while values.len() < count {
        let message = consumer.poll(Duration::from_secs(20)).unwrap().unwrap();
        assert_eq!(message.offset(), values.len() as i64);
        values.push(u64::from_be_bytes(message.payload().unwrap().try_into().unwrap()));
    }
    values
}

#[test]
fn nothing_acknowledged_is_gone_after_fifty_kills() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let directory = TempDir::new().unwrap();
    let (mut child, port) = spawn(&directory, 0);
    let config = impatient_client(port);
    create_topic(&config, "orders", 1);
    let (ledger, stop) = (Ledger::default(), Arc::new(AtomicBool::new(false)));
    let committed = Arc::new(AtomicI64::new(-1));
    let producing = thread::spawn({
        let (config, ledger, stop) = (config.clone(), ledger.clone(), stop.clone());
        move || produce(&config, &ledger, &stop)
    });
    let committing = thread::spawn({
        let (config, committed, stop) = (config.clone(), committed.clone(), stop.clone());
        move || commit(&config, &committed, &stop)
    });
    let begun = Instant::now();
    for _ in 0..KILLS {
        thread::sleep(Duration::from_millis(random.random_range(20..600)));
        child.kill().unwrap();
        child.wait().unwrap();
        child = spawn(&directory, port).0;
    }
    println!("{KILLS} kills in {:?}", begun.elapsed());
    stop.store(true, Ordering::Relaxed);
    let sent = producing.join().unwrap();
    committing.join().unwrap();
    let acknowledged = ledger.0.lock().unwrap().clone();
    println!("{sent} sent, {} acknowledged", acknowledged.len());
    assert_eq!(acknowledged.len() as u64, sent, "the producer got through in the end");
    let values = read_all(&config, acknowledged.len());
    for (offset, value) in acknowledged {
        assert_eq!(values[offset as usize], value, "at offset {offset}");
    }
    let mut once = values.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), values.len(), "an idempotent producer's records are stored once");

    let consumer: BaseConsumer = config.clone().set("group.id", "committer").create().unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition("orders", 0);
    let found = consumer.committed_offsets(asked, Duration::from_secs(20)).unwrap();
    let found = found.elements()[0].offset().to_raw().unwrap();
    let committed = committed.load(Ordering::SeqCst);
    assert!(committed > 0 && found >= committed, "{found} found, {committed} acknowledged");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Where the group that moves numbers is: what it has moved ends there.
fn position(consumer: &BaseConsumer) -> Result<i64, KafkaError> {
    let mut asked = TopicPartitionList::new();
    asked.add_partition("input", 0);
    let found = consumer.committed_offsets(asked, PATIENCE)?;
    Ok(found.elements()[0].offset().to_raw().unwrap().max(0))
}

/// Moves numbers to two partitions, a few at a time, with the position after them in the same
/// transaction. Some transactions it gives up, some it leaves open; ends at the first error.
fn move_numbers(
    config: &ClientConfig,
    random: &mut StdRng,
    stop: &AtomicBool,
) -> Result<i64, KafkaError> {
    let mut config = config.clone();
    let producer: ThreadedProducer<DefaultProducerContext> =
        config.set("transactional.id", "mover").set("retry.backoff.ms", "10").create()?;
    producer.init_transactions(PATIENCE)?;
    let consumer: BaseConsumer = config.set("group.id", "movers").create()?;
    let group = consumer.group_metadata().unwrap();
    let mut from = position(&consumer)?;
    while !stop.load(Ordering::Relaxed) {
        let until = from + random.random_range(1..8);
        producer.begin_transaction()?;
        for number in from..until {
            let (partition, payload) = ((number % 2) as i32, number.to_be_bytes());
            let record = BaseRecord::to("orders").partition(partition).payload(&payload).key("k");
            producer.send(record).map_err(|(error, _)| error)?;
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("input", 0, Offset::Offset(until))?;
        producer.send_offsets_to_transaction(&list, &group, PATIENCE)?;
        match random.random_range(0..20) {
            0 => return Ok(from),
            1..=4 => producer.abort_transaction(PATIENCE)?,
            _ => {
                producer.commit_transaction(PATIENCE)?;
                from = until;
            }
        }
    }
    Ok(from)
}

fn committed_numbers(config: &ClientConfig, partition: i32) -> Vec<i64> {
    let mut config = config.clone();
    config.set("group.id", "reader").set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut assigned = TopicPartitionList::new();
    assigned.add_partition_offset("orders", partition, Offset::Beginning).unwrap();
    consumer.assign(&assigned).unwrap();
    let mut numbers = Vec::new();
    loop {
        match consumer.poll(PATIENCE).unwrap() {
            Ok(message) => {
                numbers.push(i64::from_be_bytes(message.payload().unwrap().try_into().unwrap()));
            }
            Err(KafkaError::PartitionEOF(_)) => return numbers,
            Err(error) => assert!(error.rdkafka_error_code().is_some(), "{error}"),
        }
    }
}

#[test]
fn a_transaction_is_whole_or_nothing_whenever_the_broker_is_killed() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let directory = TempDir::new().unwrap();
    let (mut child, port) = spawn(&directory, 0);
    let config = impatient_client(port);
    create_topic(&config, "orders", 2);
    create_topic(&config, "input", 1);
    let stop = Arc::new(AtomicBool::new(false));
    let moving = thread::spawn({
        let (config, stop) = (config.clone(), stop.clone());
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(1));
        move || {
            while !stop.load(Ordering::Relaxed) {
                let _ = move_numbers(&config, &mut random, &stop);
            }
        }
    });
    for _ in 0..KILLS_IN_TRANSACTIONS {
        thread::sleep(Duration::from_millis(random.random_range(50..900)));
        child.kill().unwrap();
        child.wait().unwrap();
        child = spawn(&directory, port).0;
    }
    stop.store(true, Ordering::Relaxed);
    moving.join().unwrap();
    // One more producer ends what the last one left.
    let moved = move_numbers(&config, &mut random, &stop).unwrap();
    println!("{KILLS_IN_TRANSACTIONS} kills, {moved} numbers moved");
    assert!(moved > 0);
    for partition in 0..2 {
        let numbers = committed_numbers(&config, partition);
        let expected: Vec<_> = (i64::from(partition)..moved).step_by(2).collect();
        assert_eq!(numbers, expected, "each once, in order, up to the position, seed {seed}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
