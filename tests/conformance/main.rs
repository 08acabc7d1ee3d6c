//! One suite, run against the embedded broker and against Apache Kafka: what clients of Kafka rely
//! on holds on both. On Apache Kafka it needs `PASSERELLE_TEST_KAFKA`; `just conformance` sets it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod cleaning;
mod groups;
mod idempotence;
mod offsets;
mod records;
mod restarts;
mod topics;
mod transactions;
mod wire;

use std::process::ExitCode;

use tests::{
    admin::Admin,
    apache_kafka::{self, ApacheKafka},
    broker_process, cases,
    cluster::{Cluster, Use},
    suite::Suite,
};

/// A case: it panics where a cluster does not do what is promised.
type Case = (&'static str, fn(&mut Cluster));

/// Cases that share a cluster with others.
const SHARED: &[Case] = &cases![
    records::every_codec_is_read_back_byte_identical,
    records::a_big_record_is_read_back,
    records::a_record_larger_than_the_topic_allows_is_refused_and_the_next_is_taken,
    records::a_topic_can_stamp_records_with_its_own_clock,
    records::a_timestamp_far_from_the_brokers_clock_is_refused,
    records::records_are_taken_with_any_kind_of_acknowledgement,
    records::a_topic_nobody_created_is_refused_and_not_created,
    records::an_append_is_seen_by_a_waiting_consumer,
    idempotence::a_batch_sent_twice_is_stored_once,
    idempotence::a_batch_sent_again_after_others_is_stored_once,
    idempotence::a_gap_between_batches_is_refused,
    idempotence::an_older_epoch_is_fenced,
    transactions::what_is_committed_is_read_and_what_is_aborted_is_not,
    transactions::readers_of_committed_records_stop_at_an_open_transaction,
    transactions::a_producer_that_comes_later_fences_the_one_before,
    transactions::offsets_sent_in_a_transaction_count_once_it_commits,
    transactions::who_is_no_member_any_more_sends_no_offsets,
    transactions::an_offset_about_to_change_is_waited_for,
    transactions::a_transaction_open_for_too_long_is_aborted,
    offsets::committed_offsets_are_read_back_with_their_metadata,
    offsets::metadata_of_more_than_4096_bytes_is_refused,
    offsets::an_offset_never_committed_is_none,
    offsets::a_time_finds_the_first_record_at_or_after_it,
    offsets::an_offset_out_of_range_is_an_error,
    groups::range_gives_every_partition_to_one_of_the_members,
    groups::cooperative_sticky_gives_every_partition_to_one_of_the_members,
    groups::a_static_member_comes_back_to_its_partitions_without_a_rebalance,
    groups::a_silent_members_partitions_go_to_another,
    groups::a_second_process_of_one_instance_fences_the_first,
    groups::only_members_commit_for_a_live_group,
    groups::a_group_is_described,
    groups::a_group_is_deleted_once_it_is_empty,
    topics::a_topic_is_created_described_and_deleted,
    topics::a_recreated_topic_is_empty,
    topics::partitions_are_added_and_never_taken_away,
    topics::settings_are_described_and_altered,
    topics::wrong_settings_are_refused,
    topics::the_volume_of_the_logs_is_described,
    topics::deleted_records_are_gone_and_the_rest_stays,
    cleaning::compaction_keeps_the_last_value_of_each_key_at_its_offset,
    cleaning::compaction_comes_in_time_however_little_is_new,
    cleaning::a_compacted_topic_refuses_records_without_a_key,
    cleaning::a_tombstone_takes_its_key_away_and_goes_after_its_time,
    cleaning::retention_by_time_drops_what_is_older,
    cleaning::retention_by_size_drops_the_oldest_segments,
];

/// Cases that restart the cluster.
const ALONE: &[Case] = &cases![
    restarts::what_was_acknowledged_survives_a_restart,
    restarts::what_was_acknowledged_survives_a_kill,
    restarts::committed_offsets_survive_a_kill,
    restarts::a_consumer_resumes_in_the_middle_of_a_batch,
    restarts::an_idempotent_producer_goes_through_a_kill_without_loss_or_repeat,
    restarts::a_group_goes_on_after_a_kill,
    transactions::a_transaction_goes_on_after_a_kill_of_the_broker,
];

fn main() -> ExitCode {
    broker_process::serve_if_asked();
    let mut suite = Suite::default();
    for &(name, case) in SHARED.iter().chain(ALONE) {
        suite.case(format!("embedded broker: {name}"), move || case(&mut Cluster::embedded()));
    }
    let kafka = ApacheKafka::from_environment();
    on_apache_kafka(&mut suite, SHARED, Use::Shared, kafka.as_ref(), apache_kafka::ADDRESS);
    let restartable = kafka.clone().filter(ApacheKafka::can_restart);
    on_apache_kafka(&mut suite, ALONE, Use::Alone, restartable.as_ref(), apache_kafka::DIRECTORY);
    let conclusion = suite.run();
    if let Some(kafka) = kafka {
        Admin::new(kafka.address()).delete_ours();
    }
    conclusion
}

fn on_apache_kafka(
    suite: &mut Suite,
    cases: &[Case],
    usage: Use,
    kafka: Option<&ApacheKafka>,
    needs: &str,
) {
    let named = |name: &str| format!("Apache Kafka: {name}");
    let Some(kafka) = kafka else {
        let reason = format!(
            "a real Apache Kafka is needed; run `just conformance`, which starts one and sets {needs}"
        );
        suite.skip(cases.iter().map(|(name, _)| named(name)), &reason);
        return;
    };
    for &(name, case) in cases {
        let kafka = kafka.clone();
        suite.case(named(name), move || case(&mut Cluster::apache_kafka(&kafka, usage)));
    }
}
