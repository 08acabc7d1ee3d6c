//! Orders as `schemas/events/order.avsc` says: the same ones at each run, in Avro and in JSON.

use std::{fmt::Write as _, time::Duration};

use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer as _},
};

use crate::arguments::Arguments;

/// What makes the orders of a run.
pub struct Orders {
    /// About how large one is in Avro, in bytes.
    bytes: usize,
    /// How many customers there are: the key is the customer.
    keys: u64,
}

/// Orders without note and with one line take about this many bytes in Avro, each line more this many.
const BARE: usize = 130;
const LINE: usize = 25;
/// The first order was placed then, milliseconds since the Unix epoch.
const FIRST: i64 = 1_767_225_600_000;

impl Orders {
    /// Orders of about so many bytes, of so many customers.
    pub fn new(bytes: usize, keys: u64) -> Self {
        Self { bytes, keys }
    }

    fn lines(&self) -> usize {
        // A quarter of a large order is its customer's note.
        (self.bytes * 3 / 4).saturating_sub(BARE) / LINE + 1
    }

    fn note(&self) -> String {
        let rest = self.bytes.saturating_sub(BARE + (self.lines() - 1) * LINE + 2);
        "Leave it with the neighbour, please. ".chars().cycle().take(rest).collect()
    }

    /// The key of an order.
    pub fn key(&self, number: u64) -> String {
        format!("C-{}", number % self.keys)
    }

    /// The order in Avro, in Confluent's wire format.
    pub fn avro(&self, number: u64, schema: u32) -> Vec<u8> {
        let mut out = vec![0];
        out.extend(schema.to_be_bytes());
        text(&mut out, &format!("O-{number}"));
        long(&mut out, FIRST + number as i64);
        text(&mut out, "EUR");
        let customer = number % self.keys;
        text(&mut out, &format!("C-{customer}"));
        for part in customer_of(customer) {
            text(&mut out, &part);
        }
        let lines = self.lines();
        long(&mut out, lines as i64);
        let mut total = 0;
        for line in 0..lines as u64 {
            let (quantity, price) = amounts(number, line);
            total += quantity * price;
            text(&mut out, &format!("SKU-{:06}", line));
            long(&mut out, 1);
            text(&mut out, DESCRIPTION);
            decimal(&mut out, quantity * 10_000);
            decimal(&mut out, price);
        }
        long(&mut out, 0);
        decimal(&mut out, total);
        let note = self.note();
        long(&mut out, i64::from(!note.is_empty()));
        if !note.is_empty() {
            text(&mut out, &note);
        }
        out
    }

    /// The order as a shop's JSON.
    pub fn json(&self, number: u64) -> String {
        let customer = number % self.keys;
        let [name, email, street, city, postal_code, country] = customer_of(customer);
        let mut lines = String::new();
        let mut total = 0;
        for line in 0..self.lines() as u64 {
            let (quantity, price) = amounts(number, line);
            total += quantity * price;
            let comma = if line == 0 { "" } else { "," };
            write!(
                lines,
                r#"{comma}{{"sku":"SKU-{line:06}","description":"{DESCRIPTION}","quantity":"{quantity}","unit_price":"{}"}}"#,
                cents(price)
            )
            .unwrap();
        }
        let note = self.note();
        let note = if note.is_empty() { "null".to_owned() } else { format!("\"{note}\"") };
        format!(
            r#"{{"id":"O-{number}","placed_at":"2026-01-01T00:00:00Z","currency":"EUR","customer":{{"id":"C-{customer}","name":"{name}","email":"{email}","address":{{"street":"{street}","city":"{city}","postal_code":"{postal_code}","country":"{country}"}}}},"lines":[{lines}],"total":"{}","note":{note}}}"#,
            cents(total)
        )
    }
}

const DESCRIPTION: &str = "A box";

/// A customer's name, address for mail, street, town, postal code and country.
fn customer_of(customer: u64) -> [String; 6] {
    [
        format!("Ada Lovelace {}", customer % 1000),
        format!("ada{}@example.com", customer % 1000),
        format!("{} St James's Square", customer % 100),
        "London".into(),
        "SW1Y 4JH".into(),
        "GB".into(),
    ]
}

/// A line's quantity and price in cents.
fn amounts(number: u64, line: u64) -> (i64, i64) {
    ((number + line) as i64 % 9 + 1, (number * 7 + line * 13) as i64 % 9_000 + 999)
}

fn cents(amount: i64) -> String {
    format!("{}.{:02}", amount / 100, amount % 100)
}

fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn text(out: &mut Vec<u8>, value: &str) {
    long(out, value.len() as i64);
    out.extend(value.as_bytes());
}

/// A positive amount's unscaled value, two's complement in as few bytes as hold it.
fn decimal(out: &mut Vec<u8>, unscaled: i64) {
    let bytes = unscaled.to_be_bytes();
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(7);
    // A leading bit would make it negative.
    let first = if bytes[first] & 0x80 == 0 { first } else { first - 1 };
    long(out, (8 - first) as i64);
    out.extend(&bytes[first..]);
}

/// Fills a topic.
pub fn fill(arguments: &mut Arguments) {
    let (kafka, topic) = (arguments.word(), arguments.word());
    let (events, schema): (u64, u32) = (arguments.option("events"), arguments.option("schema"));
    // Each of so many is none: a wrong first byte, which no one can decode.
    let bad: u64 = arguments.option_or("bad", 0);
    let json: u8 = arguments.option_or("json", 0);
    let orders = Orders::new(arguments.option("bytes"), arguments.option("keys"));
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "20")
        .create()
        .unwrap();
    let mut bytes = 0;
    for number in 0..events {
        let mut value =
            if json > 0 { orders.json(number).into_bytes() } else { orders.avro(number, schema) };
        if bad > 0 && number % bad == bad - 1 {
            value[0] = 0xff;
        }
        bytes += value.len();
        let key = orders.key(number);
        let mut record = BaseRecord::to(&topic).key(&key).payload(&value);
        while let Err((error, back)) = producer.send(record) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            assert_eq!(error, full, "writing order {number}");
            producer.poll(Duration::from_millis(5));
            record = back;
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(Duration::from_secs(120)).unwrap();
    println!(
        "{}",
        serde_json::json!({ "events": events, "bytes_each": bytes / events.max(1) as usize })
    );
}
