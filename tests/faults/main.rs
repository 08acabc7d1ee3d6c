//! What Passerelle survives, row by row of the README's table, held by ledgers.
//!
//! A shop (a process of its own, [`shop`]) sends signed webhooks and writes down what it sent and
//! what it was answered. An application (another process, [`target`]) writes down what it received,
//! in order, and misbehaves as it is told. In between runs the binary, as its users run it, on the
//! embedded broker or on Apache Kafka, and faults come from outside: SIGKILL, SIGSTOP, brokers that
//! die, a network that fails ([`proxy`]). The check ([`account`]) is
//! over both ledgers: what was acknowledged is at the application or in the dead letters, unchanged,
//! in each customer's order, and what is repeated is repeated under the same idempotency key.
//!
//! ```text
//! just faults                     all rows, 50 kills each, on both brokers; writes the README's table
//! cargo test --workspace --test faults             the embedded broker, a few kills
//! PASSERELLE_FAULT_KILLS=50 PASSERELLE_FAULT_SEED=7 cargo test --workspace --test faults -- t01
//! ```
//!
//! Ledgers stay in `faults/ROW-BROKER/*.jsonl` of the target directory, findings in `faults.json`.
//!
//! # A new row
//!
//! One function in a module of rows, whose name is its line in the table, and that name in [`ROWS`]:
//!
//! ```ignore
//! pub async fn t08_the_target_answers_503_for_a_while(run: &Run) {
//!     let mut world = World::around(run, ORDERS_TO_SALES).await;   // topics of its own; `@` in names
//!     let process = world.started().await;                         // `passerelle run pipeline.yaml`
//!     let shop = world.shop(8);                                    // 8 customers order all the time
//!     world.inflicted("503");                                      // into the ledger of faults
//!     world.target.behave(&[Manner { act: Act::Answer { status: 503, .. }, ..Manner::default() }]);
//!     run.moment(2000..4000).await;                                // drawn from the seed
//!     world.target.behave(&[]);
//!     world.healed("201");                                         // the recovery is measured from here
//!     world.settled([shop]).await;                                 // every order taken, no lag
//!     let account = world.held("/plain", &["plain"]).await;        // path, routes with dead letters;
//!                                                                  // nothing lost, in order, …
//!     assert_eq!(account.repeated, 0);                             // and what else the row promises
//! }
//! ```
//!
//! Report before asserting: a row that does not hold shows in the table. `run.times` says how often
//! to inflict what is inflicted at random moments. Durations of the table shrink (seconds for
//! minutes); no row asserts speed, a deadline is generous. A module of rows says in its `obstacle`
//! why it cannot run on this machine, if so. A stretch of network is [`proxy::Proxy`].
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod account;
mod brokers;
mod changes;
mod clocks;
mod disk;
mod disks;
#[path = "../endtoend/mod.rs"]
mod endtoend;
mod files;
mod full_disks;
#[path = "../poll/hubspot.rs"]
mod hubspot;
mod kills;
mod ledger;
mod letters;
mod members;
mod networks;
mod outages;
mod party;
mod polls;
mod positions;
mod proxy;
mod reloads;
mod replays;
mod report;
mod run;
mod schemas;
mod segment;
#[path = "../cdc/server.rs"]
mod server;
mod shop;
mod soak;
mod target;
mod targets;
mod webhooks;
mod world;

use std::process::ExitCode;

use run::{On, Row};
use tests::{cases, suite::Suite};

/// The rows, in the table's order.
const ROWS: &[Row] = rows![
    On::Kafka =>
        kills::t01_a_sink_is_killed_between_answer_and_commit,
        kills::t02_a_source_is_killed_between_acknowledgement_and_answer,
        kills::t03_a_processor_is_killed_in_the_middle_of_a_batch,
        kills::t07_a_sink_is_killed_between_dead_letter_and_commit,
        replays::t27_history_is_replayed_while_live_traffic_runs,
        letters::t05_poison_among_the_records,
        letters::t06_the_dead_letters_cannot_be_written,
        letters::t06_the_topic_of_dead_letters_is_gone,
        targets::t08_the_target_answers_5xx_for_a_while,
        targets::t09_the_target_answers_after_the_time_out,
        targets::t10_the_target_answers_429_with_retry_after,
        targets::t11_the_target_refuses_for_good,
        targets::t12_the_target_refuses_us,
        targets::t13_the_answer_has_no_end,
        schemas::t16_the_registry_is_away,
        schemas::t17_a_producer_gets_an_incompatible_schema,
        schemas::t18_a_schema_gets_a_field_with_a_default,
        webhooks::t19_a_webhook_is_called_again_and_again,
        webhooks::t20_liars_call_a_webhook,
        clocks::t21_the_clock_is_wrong_and_jumps,
        files::t24_files_grow_change_and_come_twice,
        changes::t23_changes_of_a_postgresql_are_read_while_everything_fails,
        polls::t25_a_list_changes_while_it_is_polled,
        reloads::t30_the_configuration_changes_while_it_runs,
        positions::t31_the_place_where_a_route_was_left_is_gone,
        targets::t33_one_record_never_passes,
        outages::t14_the_broker_is_restarted_and_killed,
        outages::t15_webhooks_arrive_while_no_broker_is_up,
        members::t04_members_join_leave_and_freeze,
        full_disks::t22_the_disk_is_full_then_read_only,
        networks::t28_the_network_fails;
    On::Nodes =>
        outages::t14_three_nodes_restart_one_after_the_other;
    On::Embedded =>
        soak::t29_a_random_nemesis_goes_on,
        outages::t32_the_embedded_broker_is_killed_at_any_moment,
        disks::t32_only_the_synced_bytes_are_kept,
        disks::t32_a_bit_flips_in_the_middle_of_a_segment;
];

/// What rows stand on.
const CHECKS: &[(&str, fn())] = &cases![
    account::checks::the_check_sees_what_is_lost_repeated_and_out_of_order,
    account::checks::the_check_sees_changed_bodies_and_keys,
    report::the_readme_shows_what_was_found,
];

/// Cases mostly wait: more than there are cores make the best of them.
const AT_ONCE: usize = 4;

fn main() -> ExitCode {
    party::play_if_asked();
    tests::broker_process::serve_if_asked();
    let mut suite = Suite::default();
    suite.at_once(AT_ONCE);
    for &(name, check) in CHECKS {
        suite.case(name.to_owned(), check);
    }
    run::add(&mut suite, ROWS);
    let conclusion = suite.run();
    report::write();
    conclusion
}
