//! The embedded broker as others' tools see it: kcat, and the command-line tools of Apache Kafka.
//! kcat is used where it is installed; Kafka's tools need `PASSERELLE_TEST_KAFKA_TOOLS`, which
//! `just foreign-tools` sets.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod kafka;
mod kcat;
mod process;

use std::{env, process::ExitCode};

use tests::{broker_process, cases, cluster::Cluster, suite::Suite};

/// A case: it panics where a tool fails or says something else than it must.
type Case = (&'static str, fn(&Cluster));

const KCAT: &[Case] = &cases![
    kcat::lists_the_broker_and_its_topics,
    kcat::reads_what_it_wrote_with_keys_headers_and_offsets,
    kcat::finds_offsets_by_time,
    kcat::reads_as_a_group,
];

const KAFKA: &[Case] = &cases![
    kafka::topics_are_created_listed_described_grown_and_deleted,
    kafka::what_the_console_producer_writes_the_console_consumer_reads,
    kafka::groups_are_listed_described_reset_and_deleted,
    kafka::settings_are_set_described_and_taken_away,
    kafka::offsets_are_found_and_records_deleted,
    kafka::transactions_are_listed_described_and_aborted,
    kafka::what_a_java_producer_writes_in_transactions_is_read_whole,
    kafka::versions_of_the_protocol_are_told,
];

fn main() -> ExitCode {
    broker_process::serve_if_asked();
    let mut suite = Suite::default();
    add(&mut suite, KCAT, kcat::is_installed(), "kcat is needed: `apt-get install kcat`");
    let tools = env::var_os(kafka::TOOLS).is_some();
    let needed = "Apache Kafka's tools are needed: run `just foreign-tools`, which fetches them";
    add(&mut suite, KAFKA, tools, needed);
    suite.run()
}

fn add(suite: &mut Suite, cases: &[Case], possible: bool, needed: &str) {
    if !possible {
        suite.skip(cases.iter().map(|(name, _)| (*name).to_owned()), needed);
        return;
    }
    for &(name, case) in cases {
        suite.case(name.to_owned(), move || case(&Cluster::embedded()));
    }
}
