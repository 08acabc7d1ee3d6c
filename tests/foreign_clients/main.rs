//! Kafka's clients in other languages, on the embedded broker and on Apache Kafka: what each of
//! their calls is answered is the same from both, or the difference is in `FINDINGS.md`.
//!
//! A client is a program that runs cases by name: see [`program`]. It takes `just foreign-clients`
//! to run them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod findings;
mod program;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::{Arc, LazyLock},
};

use findings::Findings;
use program::Program;
use tests::{broker_process, broker_process::BrokerProcess, cases, suite::Suite};

/// A folder for the programs of the clients, once they are built.
const PROGRAMS: &str = "PASSERELLE_TEST_CLIENTS";
/// The address of a running Apache Kafka.
const KAFKA: &str = "PASSERELLE_TEST_KAFKA";

/// A client, and its cases.
struct Client {
    name: &'static str,
    /// What builds it, asked for its version.
    compiler: [&'static str; 2],
    /// Builds it into a folder; returns what runs it.
    build: fn(&Path) -> Command,
    cases: &'static [&'static str],
}

const CLIENTS: &[Client] = &[
    Client {
        name: "franz-go",
        compiler: ["go", "version"],
        build: franz,
        cases: &[
            "acknowledgements",
            "altered_settings",
            "append_time",
            "balancers",
            "cluster",
            "clustering",
            "codecs",
            "commit_and_abort",
            "commits",
            "cooperative_moves",
            "defaults",
            "deleted_records",
            "described_transactions",
            "group_offsets",
            "groups",
            "idempotence",
            "large_records",
            "listed_offsets",
            "newer_groups",
            "offsets_in_transactions",
            "partitions",
            "producers",
            "reading_by_offset",
            "record_shapes",
            "refused_records",
            "security",
            "settings",
            "silent_members",
            "static_members",
            "strangers_to_a_group",
            "topics",
            "transaction_timeouts",
            "zombies",
        ],
    },
    Client {
        name: "java",
        compiler: ["javac", "-version"],
        build: java,
        cases: &[
            "acknowledgements",
            "administered_groups",
            "administered_transactions",
            "cluster",
            "codecs",
            "commits",
            "cooperative",
            "idempotence",
            "newer_groups",
            "not_served",
            "offsets",
            "offsets_in_transactions",
            "range",
            "refused_records",
            "settings",
            "static_members",
            "topics",
            "transactions",
            "zombies",
        ],
    },
];

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign_clients")
}

/// Runs a command that must succeed; returns what it printed.
fn run(command: &mut Command) -> String {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn franz(folder: &Path) -> Command {
    let program = folder.join("franz");
    run(Command::new("go")
        .current_dir(sources().join("franz"))
        .arg("build")
        .arg("-o")
        .arg(&program));
    Command::new(program)
}

fn java(folder: &Path) -> Command {
    let sources = sources();
    let kafka = sources.with_file_name("kafka").join("kafka");
    let jars = format!("{}/*", run(Command::new(kafka).arg("jars")).trim());
    let classes = folder.join("java");
    let files = fs::read_dir(sources.join("java")).unwrap().map(|file| file.unwrap().path());
    let mut compile = Command::new("javac");
    run(compile.args(["-nowarn", "-cp", &jars, "-d"]).arg(&classes).args(files));
    let mut command = Command::new("java");
    command.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
    command.args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=off", "-cp"]);
    command.arg(format!("{}:{jars}", classes.display())).arg("Cases");
    command
}

/// A client at work on both brokers.
struct Both {
    apache_kafka: Program,
    embedded: Program,
    _broker: BrokerProcess,
}

impl Both {
    fn start(client: &Client) -> Self {
        let folder = PathBuf::from(env::var_os(PROGRAMS).unwrap());
        fs::create_dir_all(&folder).unwrap();
        let folder = folder.canonicalize().unwrap();
        let broker = BrokerProcess::start();
        let program = |address: &str| Program::start((client.build)(&folder).arg(address));
        Self {
            apache_kafka: program(&env::var(KAFKA).unwrap()),
            embedded: program(&broker.address().to_string()),
            _broker: broker,
        }
    }
}

/// What is missing to run a client, if anything is.
fn missing(client: &Client) -> Option<String> {
    let [compiler, version] = client.compiler;
    let there = Command::new(compiler).arg(version).output().is_ok_and(|it| it.status.success());
    if env::var_os(PROGRAMS).is_none() || env::var_os(KAFKA).is_none() {
        let name = client.name;
        Some(format!(
            "{name} is run on both brokers by `just foreign-clients`, which sets {PROGRAMS} and {KAFKA}"
        ))
    } else if !there {
        Some(format!("{} needs `{compiler}`, which is not installed", client.name))
    } else {
        None
    }
}

fn add(suite: &mut Suite, client: &'static Client, findings: &Arc<Findings>) {
    let named = |case: &&str| format!("{}::{case}", client.name);
    if let Some(missing) = missing(client) {
        suite.skip(client.cases.iter().map(named), &missing);
        return;
    }
    // The last case that has run ends the processes.
    let both = Arc::new(LazyLock::new(|| Both::start(client)));
    for case in client.cases {
        let (both, findings) = (Arc::clone(&both), Arc::clone(findings));
        suite.case(named(case), move || {
            let apache_kafka = both.apache_kafka.ask(case);
            let embedded = both.embedded.ask(case);
            let (apache_kafka, embedded) = (apache_kafka.wait(), embedded.wait());
            assert!(!apache_kafka.contains_key(program::FAILED), "Apache Kafka: {apache_kafka:?}");
            let wrong = findings.compare(client.name, case, &apache_kafka, &embedded);
            assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        });
    }
}

fn every_row_is_of_a_case_there_is() {
    let known = |client: &str, case: &str| {
        CLIENTS.iter().any(|known| known.name == client && known.cases.contains(&case))
    };
    for (client, case) in Findings::read(&sources()).subjects() {
        assert!(known(client, case), "no client {client} has a case {case}");
    }
}

fn main() -> ExitCode {
    broker_process::serve_if_asked();
    let mut suite = Suite::default();
    // Most of them wait.
    suite.at_once(8);
    let rules: &[(&str, fn())] = &cases![
        findings::answers_that_differ_must_be_listed,
        findings::a_row_that_is_outdated_fails,
        every_row_is_of_a_case_there_is,
    ];
    for &(name, rule) in rules {
        suite.case(name.to_owned(), rule);
    }
    let findings = Arc::new(Findings::read(&sources()));
    for client in CLIENTS {
        add(&mut suite, client, &findings);
    }
    suite.run()
}
