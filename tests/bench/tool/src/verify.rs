//! Whether a topic holds what it must: each order once, those of one key in their order.

use std::{collections::HashMap, time::Duration};

use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};

use crate::{arguments::Arguments, target};

/// What was read.
struct Book {
    seen: Vec<bool>,
    /// The last order of each customer.
    last: HashMap<u64, u64>,
    keys: u64,
    records: u64,
    repeated: u64,
    late: u64,
    strange: u64,
}

impl Book {
    fn enter(&mut self, key: Option<&[u8]>, payload: &[u8]) {
        self.records += 1;
        let order = number(payload).filter(|order| *order < self.seen.len() as u64);
        let Some(order) = order else {
            self.strange += 1;
            return;
        };
        let customer = order % self.keys;
        self.strange += u64::from(key != Some(format!("C-{customer}").as_bytes()));
        let seen = &mut self.seen[order as usize];
        self.repeated += u64::from(*seen);
        *seen = true;
        let last = self.last.insert(customer, order);
        self.late += u64::from(last.is_some_and(|last| last > order));
    }
}

/// The number of an order or a sale: its first field is `O-` and the number. In JSON it stands there too.
fn number(payload: &[u8]) -> Option<u64> {
    if payload.first() == Some(&b'{') {
        return target::number(payload);
    }
    let (length, text) = payload.get(5..)?.split_first()?;
    let text = text.get(..usize::from(*length) / 2)?.strip_prefix(b"O-")?;
    str::from_utf8(text).ok()?.parse().ok()
}

/// Reads a topic to its end and tells what is wrong with it.
pub fn verify(arguments: &mut Arguments) {
    let (kafka, topic) = (arguments.word(), arguments.word());
    let (events, keys): (u64, u64) = (arguments.option("events"), arguments.option("keys"));
    let bad: u64 = arguments.option_or("bad", 0);
    let unordered: u8 = arguments.option_or("unordered", 0);
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("group.id", "verify")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(&topic), Duration::from_secs(10)).unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        partitions.add_partition_offset(&topic, partition.id(), Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let mut open = partitions.count();
    let mut book = Book {
        seen: vec![false; events as usize],
        last: HashMap::new(),
        keys,
        records: 0,
        repeated: 0,
        late: 0,
        strange: 0,
    };
    while open > 0 {
        match consumer.poll(Duration::from_secs(30)).expect("the topic's end") {
            Ok(message) => book.enter(message.key(), message.payload().unwrap_or_default()),
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => open -= 1,
            Err(error) => panic!("reading {topic}: {error}"),
        }
    }
    let wanted = (0..events).filter(|order| bad == 0 || order % bad != bad - 1);
    let missing = wanted.filter(|order| !book.seen[*order as usize]).count();
    let late = if unordered == 0 { book.late } else { 0 };
    println!(
        "{}",
        serde_json::json!({
            "records": book.records, "missing": missing, "repeated": book.repeated,
            "out of order": late, "that are no orders": book.strange
        })
    );
}
