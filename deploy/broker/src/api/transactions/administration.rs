//! What administrators ask of transactions (KIP-664), as `kafka-transactions.sh` does.

use std::sync::Arc;

use kafka_protocol::{
    error::ResponseError,
    messages::{
        DescribeProducersRequest, DescribeProducersResponse, DescribeTransactionsRequest,
        DescribeTransactionsResponse, ListTransactionsRequest, ListTransactionsResponse,
        ProducerId, TransactionalId, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
        describe_producers_response::{PartitionResponse, ProducerState, TopicResponse},
        describe_transactions_response::{TopicData, TransactionState},
        list_transactions_response::TransactionState as Listed,
        write_txn_markers_request::WritableTxnMarker,
        write_txn_markers_response::{
            WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
        },
    },
    protocol::StrBytes,
};

use super::super::once;
use crate::{
    api::metadata::name,
    groups::Place,
    log::{ActiveProducer, Ending},
    node::{Node, now_ms},
    refusal::{Outcome, Refusal, code_of, message_of},
    transactions::{Stage, Transaction, offsets_place},
};

/// WriteTxnMarkers: ends a transaction in some partitions, whatever its coordinator knows.
pub(super) async fn write_markers(
    node: &Arc<Node>,
    ask: WriteTxnMarkersRequest,
) -> WriteTxnMarkersResponse {
    let mut markers = Vec::with_capacity(ask.markers.len());
    for marker in ask.markers {
        let mut topics = Vec::with_capacity(marker.topics.len());
        for topic in &marker.topics {
            let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
            for &partition in &topic.partition_indexes {
                let place = Place { topic: topic.name.to_string(), partition };
                let marked = mark(node, &place, &marker).await;
                partitions.push(
                    WritableTxnMarkerPartitionResult::default()
                        .with_partition_index(partition)
                        .with_error_code(code_of(&marked)),
                );
            }
            let result = WritableTxnMarkerTopicResult::default().with_name(topic.name.clone());
            topics.push(result.with_partitions(partitions));
        }
        let result = WritableTxnMarkerResult::default().with_producer_id(marker.producer_id);
        markers.push(result.with_topics(topics));
    }
    WriteTxnMarkersResponse::default().with_markers(markers)
}

async fn mark(node: &Node, place: &Place, marker: &WritableTxnMarker) -> Outcome<()> {
    let partition = Arc::clone(node.topics.view().named(&place.topic)?.partition(place.partition)?);
    let log = partition.log()?;
    let (producer_id, epoch) = (marker.producer_id.0, marker.producer_epoch);
    let known = log.producers().into_iter().find(|known| known.producer_id == producer_id);
    if let Some(known) = known.filter(|known| known.epoch > epoch) {
        let message = format!("epoch {epoch}: the producer writes with epoch {}", known.epoch);
        return Err(Refusal::new(ResponseError::InvalidProducerEpoch, message));
    }
    let ending = if marker.transaction_result { Ending::Commit } else { Ending::Abort };
    let appended = log.append_marker(producer_id, epoch, ending, now_ms())?;
    log.durable(&appended).await?;
    if *place == offsets_place() {
        node.groups.end_transaction(producer_id, ending);
    }
    Ok(())
}

/// DescribeProducers.
pub(super) fn describe_producers(
    node: &Node,
    ask: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let view = node.topics.view();
    let topics = once(ask.topics, |topic| topic.name.clone()).into_iter().map(|topic| {
        let partition = |index: i32| {
            let found = view.named(&topic.name).and_then(|found| found.partition(index)?.log());
            let active = found.map(|log| log.producers().into_iter().map(producer).collect());
            PartitionResponse::default()
                .with_partition_index(index)
                .with_error_code(code_of(&active))
                .with_error_message(message_of(&active))
                .with_active_producers(active.unwrap_or_default())
        };
        let indexes = once(topic.partition_indexes, Clone::clone);
        let partitions = indexes.into_iter().map(partition).collect();
        TopicResponse::default().with_partitions(partitions).with_name(topic.name)
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

fn producer(active: ActiveProducer) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(active.producer_id))
        .with_producer_epoch(active.epoch.into())
        .with_last_sequence(active.last_sequence)
        .with_last_timestamp(active.last_timestamp)
        .with_coordinator_epoch(-1)
        .with_current_txn_start_offset(active.transaction_start.unwrap_or(-1))
}

/// DescribeTransactions.
pub(super) fn describe(
    node: &Node,
    ask: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let states = once(ask.transactional_ids, Clone::clone).into_iter().map(|id| {
        let unknown = || {
            let code = ResponseError::TransactionalIdNotFound.code();
            TransactionState::default().with_error_code(code)
        };
        node.transactions.look(&id, state).unwrap_or_else(unknown).with_transactional_id(id)
    });
    DescribeTransactionsResponse::default().with_transaction_states(states.collect())
}

fn state(transaction: &Transaction) -> TransactionState {
    let mut topics: Vec<TopicData> = Vec::new();
    // In order of topics.
    for Place { topic, partition } in &transaction.partitions {
        if topics.last().is_none_or(|last| **last.topic != **topic) {
            topics.push(TopicData::default().with_topic(name(topic)));
        }
        if let Some(last) = topics.last_mut() {
            last.partitions.push(*partition);
        }
    }
    TransactionState::default()
        .with_transaction_state(StrBytes::from_static_str(transaction.stage.word()))
        .with_transaction_timeout_ms(transaction.timeout_ms)
        .with_transaction_start_time_ms(transaction.started_ms)
        .with_producer_id(ProducerId(transaction.producer_id))
        .with_producer_epoch(transaction.epoch)
        .with_topics(topics)
}

/// ListTransactions.
pub(super) fn list(node: &Node, ask: &ListTransactionsRequest) -> ListTransactionsResponse {
    let now = now_ms();
    let is_asked_for = |transaction: &Transaction| {
        let states = &ask.state_filters;
        let producers = &ask.producer_id_filters;
        let age = now.saturating_sub(transaction.started_ms);
        let is_old = transaction.stage == Stage::Ongoing && age >= ask.duration_filter;
        (states.is_empty() || states.iter().any(|state| **state == *transaction.stage.word()))
            && (producers.is_empty() || producers.contains(&ProducerId(transaction.producer_id)))
            && (ask.duration_filter < 0 || is_old)
    };
    let listed = node.transactions.list(|id, transaction| {
        is_asked_for(transaction).then(|| {
            Listed::default()
                .with_transactional_id(TransactionalId(StrBytes::from_string(id.to_owned())))
                .with_producer_id(ProducerId(transaction.producer_id))
                .with_transaction_state(StrBytes::from_static_str(transaction.stage.word()))
        })
    });
    let unknown = ask.state_filters.iter().filter(|state| !Stage::is_word(state)).cloned();
    ListTransactionsResponse::default()
        .with_unknown_state_filters(unknown.collect())
        .with_transaction_states(listed.into_iter().flatten().collect())
}
