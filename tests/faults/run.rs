//! A row that runs: on which broker, how often its fault is inflicted, with which seed.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tests::apache_kafka::{self, ApacheKafka};
use tests::suite::Suite;

use crate::account::Account;
use crate::ledger::Books;
use crate::report::{self, Finding};

/// What a row needs of its brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// The embedded broker only.
    Embedded,
    /// Apache Kafka as well.
    Kafka,
    /// Apache Kafka of several nodes only, which the row starts itself.
    Nodes,
}

/// A row of the table of faults.
#[derive(Clone, Copy)]
pub struct Row {
    /// `tNN_what_happens`.
    pub name: &'static str,
    pub on: On,
    /// Why it cannot run on this machine, if it cannot.
    pub obstacle: fn() -> Option<String>,
    pub run: fn(&Run) -> Pin<Box<dyn Future<Output = ()> + '_>>,
}

/// Rows by the paths of their functions, with what they need:
/// `rows![On::Kafka: kills::t01_a, kills::t02_b; On::Embedded: disks::t32_c]`.
#[macro_export]
macro_rules! rows {
    ($($on:expr => $($module:ident :: $name:ident),+ $(,)?);+ $(;)?) => {
        &[$($($crate::run::Row {
            name: stringify!($name),
            on: $on,
            obstacle: $crate::$module::obstacle,
            run: |run| Box::pin($crate::$module::$name(run)),
        }),+),+]
    };
}

/// Which broker a row runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broker {
    Embedded,
    Kafka {
        address: String,
    },
    /// Three nodes, at these ports and the five after it.
    Nodes {
        ports: u16,
    },
}

impl Broker {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Kafka { .. } => "Apache Kafka",
            Self::Nodes { .. } => "Apache Kafka, 3 nodes",
        }
    }
}

/// A row on a broker.
pub struct Run {
    pub row: &'static str,
    pub broker: Broker,
    /// How often rows inflict their fault that do so at random moments.
    pub times: usize,
    /// The same for rows that take long each time.
    pub rounds: usize,
    /// What every chance comes from, and the run can be repeated with.
    pub seed: u64,
    rng: Mutex<StdRng>,
    finding: Mutex<Finding>,
    started: Instant,
}

/// How often faults are inflicted if nobody says so: enough to notice what is broken.
const A_FEW_TIMES: usize = 3;

/// How often faults are inflicted on the embedded broker and on Apache Kafka, and whether somebody
/// said so.
fn times() -> (usize, usize, bool) {
    let read = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let asked = read("PASSERELLE_FAULT_KILLS");
    let embedded = asked.unwrap_or(A_FEW_TIMES);
    (embedded, read("PASSERELLE_FAULT_KILLS_KAFKA").unwrap_or(embedded), asked.is_some())
}

/// How often rows inflict theirs that take long each time: as often as the others, if nobody says
/// otherwise.
fn rounds(times: usize) -> usize {
    let asked = std::env::var("PASSERELLE_FAULT_ROUNDS").ok().and_then(|text| text.parse().ok());
    asked.map_or(times, |rounds: usize| rounds.min(times))
}

fn seed() -> u64 {
    let asked = std::env::var("PASSERELLE_FAULT_SEED").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or_else(|| rand::rng().random_range(0..1_000_000_000))
}

/// Adds rows to a suite, on each broker that they can run on here.
pub fn add(suite: &mut Suite, rows: &'static [Row]) {
    let (seed, (embedded, kafka_times, asked)) = (seed(), times());
    println!(
        "PASSERELLE_FAULT_SEED={seed} PASSERELLE_FAULT_KILLS={embedded} PASSERELLE_FAULT_KILLS_KAFKA={kafka_times}"
    );
    if !asked {
        suite.remark(format!(
            "ONLY A FEW FAULTS: each was inflicted {embedded} times where it can be many times; `just faults` does it 50 times, and on Apache Kafka too"
        ));
    }
    let kafka = ApacheKafka::from_environment();
    let mut absent = Vec::new();
    for row in rows {
        let mut case = |broker: Broker, times| {
            let name = format!("{}: {}", broker.name(), row.name);
            match (row.obstacle)() {
                Some(obstacle) => suite.skip([name], &obstacle),
                None => suite.case(name, move || run(row, broker, times, seed)),
            }
        };
        if row.on != On::Nodes {
            case(Broker::Embedded, embedded);
        }
        match (&kafka, row.on) {
            (_, On::Embedded) => {}
            (Some(kafka), On::Nodes) => {
                let port = kafka.address().rsplit(':').next().and_then(|port| port.parse().ok());
                let ports = port.map_or(29_102, |port: u16| port + 10);
                case(Broker::Nodes { ports }, kafka_times);
            }
            (Some(kafka), _) => {
                case(Broker::Kafka { address: kafka.address().to_owned() }, kafka_times);
            }
            (None, _) => absent.push(format!("Apache Kafka: {}", row.name)),
        }
    }
    let reason = format!(
        "a real Apache Kafka is needed; run `just faults`, which starts one and sets {}",
        apache_kafka::ADDRESS
    );
    suite.skip(absent, &reason);
}

fn run(row: &Row, broker: Broker, times: usize, seed: u64) {
    // Each row has a chance of its own, whatever others run beside it.
    let own = row.name.bytes().fold(seed, |all, byte| all.wrapping_mul(31) ^ u64::from(byte));
    let finding = Finding {
        row: row.name.to_owned(),
        broker: broker.name().to_owned(),
        seed,
        ..Finding::default()
    };
    let run = Run {
        row: row.name,
        broker,
        times,
        rounds: rounds(times),
        seed: own,
        rng: Mutex::new(StdRng::seed_from_u64(own)),
        finding: Mutex::new(finding),
        started: Instant::now(),
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let ended = std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on((row.run)(&run))));
    runtime.shutdown_background();
    run.conclude(ended);
}

impl Run {
    fn conclude(self, ended: Result<(), Box<dyn Any + Send>>) {
        let mut finding = self.finding.into_inner().unwrap();
        finding.held = ended.is_ok();
        finding.seconds = self.started.elapsed().as_secs();
        println!("{}", serde_json::to_string(&finding).unwrap());
        report::keep(finding);
        if let Err(panic) = ended {
            println!("PASSERELLE_FAULT_SEED={} for {}", self.seed, self.row);
            std::panic::resume_unwind(panic);
        }
    }

    /// What may be used of the finding: a note, how often the fault was inflicted.
    pub fn note(&self, note: impl FnOnce(&mut Finding)) {
        note(&mut self.finding.lock().unwrap());
    }

    /// Adds an account to the finding.
    pub fn report(&self, account: &Account) {
        self.note(|finding| finding.add(account));
    }

    /// A number drawn at random.
    pub fn draw(&self, range: std::ops::Range<u64>) -> u64 {
        self.rng.lock().unwrap().random_range(range)
    }

    /// Whether something of this chance happens.
    pub fn happens(&self, chance: f64) -> bool {
        self.rng.lock().unwrap().random_bool(chance)
    }

    /// A moment of up to so many milliseconds.
    pub async fn moment(&self, milliseconds: std::ops::Range<u64>) {
        let drawn = self.draw(milliseconds);
        tokio::time::sleep(std::time::Duration::from_millis(drawn)).await;
    }

    /// The row's number: `t01`.
    pub fn number(&self) -> &'static str {
        self.row.split_once('_').map_or(self.row, |(number, _)| number)
    }

    /// Empty ledgers, in the target directory, where they stay.
    pub fn books(&self) -> Books {
        let broker = self.broker.name().replace([' ', ','], "-");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../faults");
        Books::new(folder.join(format!("{}-{broker}", self.row)))
    }
}
