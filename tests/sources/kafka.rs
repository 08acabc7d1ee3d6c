//! A topic of another cluster, which asks for a password.

use serde_json::json;
use tempfile::TempDir;
use tests::admin::Admin;
use tests::broker_process::BrokerProcess;
use tests::gate::{Gate, Login};
use tests::producer::Producer;
use tests::record::Record;
use tokio::task::block_in_place;

use crate::application::{Application, body, names};

const THEIRS: &str = "their-events";
const USER: &str = "passerelle";
const PARTITIONS: i32 = 3;
/// How many records a flood has, and how large they are: 200 MB.
const FLOOD: usize = 25_000;
const BYTES: usize = 8_000;
/// How many records are written at once.
const AT_ONCE: usize = 1_000;

pub struct Warehouse {
    gate: Gate,
    password: &'static str,
    changed: usize,
    // The process ends before its folder goes.
    _broker: BrokerProcess,
    _files: TempDir,
}

impl Warehouse {
    /// Writes so many records, each some of them to one of so many partitions.
    fn writes(&mut self, count: usize, bytes: usize, partitions: i32) -> Vec<String> {
        let first = self.changed;
        self.changed += count;
        let security = [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", USER),
            ("sasl.password", self.password),
        ];
        let names = names(first..self.changed);
        let producer = Producer::new(&self.gate.address.to_string(), &security);
        let mut partition = 0;
        for (at, names) in names.chunks(AT_ONCE).enumerate() {
            let record = |(number, name): (usize, &String)| {
                let value = json!({ "id": name, "body": body(number, bytes) }).to_string();
                Record::of(value).keyed(name.as_bytes())
            };
            let records: Vec<_> = (first + at * AT_ONCE..).zip(names).map(record).collect();
            block_in_place(|| producer.write(THEIRS, partition, &records));
            partition = (partition + 1) % partitions;
        }
        names
    }
}

impl Application for Warehouse {
    const NAME: &'static str = "kafka";
    const SECRETS: [&'static str; 2] = ["password-before", "password-afterwards"];

    async fn start() -> Self {
        let (gate, files) = (Gate::start().await, TempDir::new().unwrap());
        let broker = BrokerProcess::behind(files.path(), gate.address);
        gate.lead_to(broker.address());
        let address = gate.address.to_string();
        let create = || Admin::new(&address).create_topic(THEIRS, PARTITIONS, 1, &[]).unwrap();
        block_in_place(create);
        let password = Self::SECRETS[0];
        gate.ask_for(Login { user: USER, password });
        Self { gate, password, changed: 0, _broker: broker, _files: files }
    }

    fn sections(&self) -> String {
        let connection = format!(
            "connections:\n  warehouse:\n    kafka:\n      brokers: \"{}\"",
            self.gate.address
        );
        connection
            + r#"
      security: { sasl: { mechanism: PLAIN, username: passerelle, password: "${file:application.secret}" } }
sources:
  source:
    from: warehouse
    kafka: { topic: their-events, value: json, start: beginning }
    to: events
    key: .id
"#
    }

    async fn change(&mut self, count: usize) -> Vec<String> {
        self.writes(count, 100, PARTITIONS)
    }

    /// In one partition: between them there is no order.
    async fn floods(&mut self, _kafka: &str) -> Vec<String> {
        self.writes(FLOOD, BYTES, 1)
    }

    async fn lock(&mut self) {
        self.password = Self::SECRETS[1];
        self.gate.ask_for(Login { user: USER, password: self.password });
    }

    fn expected_refusal(&self) -> Vec<String> {
        let log_in = format!("The log-in of `{USER}` at {} was refused", self.gate.address);
        let cure = "check `username` and `password` under `security.sasl`";
        [&log_in, "Invalid username or password", cure].map(str::to_owned).to_vec()
    }
}
