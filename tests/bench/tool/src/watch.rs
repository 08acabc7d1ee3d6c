//! How many records a topic holds.

use std::{
    io::Write as _,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
};

use crate::arguments::Arguments;

/// Prints it again and again, until it is ended.
pub fn watch(arguments: &mut Arguments) {
    let (kafka, topic) = (arguments.word(), arguments.word());
    let every = Duration::from_millis(arguments.option("every"));
    let client: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", kafka).create().unwrap();
    let wait = Duration::from_secs(10);
    let metadata = client.fetch_metadata(Some(&topic), wait).unwrap();
    let partitions: Vec<i32> =
        metadata.topics()[0].partitions().iter().map(|partition| partition.id()).collect();
    let size = |partition: &i32| {
        client.fetch_watermarks(&topic, *partition, wait).map(|(low, high)| high - low)
    };
    // The partitions of a new topic have no leader for a moment.
    while partitions.iter().any(|partition| size(partition).is_err()) {
        thread::sleep(every);
    }
    let started = Instant::now();
    loop {
        let count: i64 = partitions.iter().map(|partition| size(partition).unwrap()).sum();
        println!("{:.3} {count}", started.elapsed().as_secs_f64());
        std::io::stdout().flush().unwrap();
        thread::sleep(every);
    }
}
