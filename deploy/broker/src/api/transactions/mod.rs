//! Producers' ids, and transactions as producers ask for them (KIP-98).
//!
//! Served is the protocol before KIP-890's second part: a producer says which partitions it is about
//! to write to, and keeps its epoch from one transaction to the next.

mod administration;

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::{
    error::ResponseError,
    messages::{
        AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest,
        AddPartitionsToTxnResponse, ApiKey, DescribeProducersRequest, DescribeTransactionsRequest,
        EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse,
        ListTransactionsRequest, ProducerId, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
        WriteTxnMarkersRequest,
        add_partitions_to_txn_request::AddPartitionsToTxnTopic,
        add_partitions_to_txn_response::{
            AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
        },
        offset_commit_request::OffsetCommitRequestPartition,
        txn_offset_commit_request::TxnOffsetCommitRequestPartition,
        txn_offset_commit_response::{
            TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
        },
    },
};

use super::{Call, Unreadable, commits, respond};
use crate::{
    groups::{Asker, Place},
    log::Ending,
    node::Node,
    refusal::{Outcome, Refusal, code_of},
    topics::View,
    transactions::{Claim, offsets_place},
};

/// Answers a request of this family.
pub(super) async fn route(
    node: &Arc<Node>,
    call: &Call,
    api: ApiKey,
    body: Bytes,
) -> Result<Bytes, Unreadable> {
    let head = &call.head;
    match api {
        ApiKey::InitProducerId => {
            respond(head, body, |ask: InitProducerIdRequest| init(node, call, ask)).await
        }
        ApiKey::AddPartitionsToTxn => {
            respond(head, body, |ask: AddPartitionsToTxnRequest| add_partitions(node, call, ask))
                .await
        }
        ApiKey::AddOffsetsToTxn => {
            respond(head, body, |ask: AddOffsetsToTxnRequest| add_offsets(node, call, ask)).await
        }
        ApiKey::TxnOffsetCommit => {
            respond(head, body, |ask: TxnOffsetCommitRequest| commit(node, ask)).await
        }
        ApiKey::EndTxn => respond(head, body, |ask: EndTxnRequest| end(node, call, ask)).await,
        ApiKey::WriteTxnMarkers => {
            respond(head, body, |ask: WriteTxnMarkersRequest| {
                administration::write_markers(node, ask)
            })
            .await
        }
        ApiKey::DescribeProducers => {
            respond(head, body, async |ask: DescribeProducersRequest| {
                administration::describe_producers(node, ask)
            })
            .await
        }
        ApiKey::DescribeTransactions => {
            respond(head, body, async |ask: DescribeTransactionsRequest| {
                administration::describe(node, ask)
            })
            .await
        }
        ApiKey::ListTransactions => {
            respond(head, body, async |ask: ListTransactionsRequest| {
                administration::list(node, &ask)
            })
            .await
        }
        other => Err(Unreadable(format!("{other:?} is not served"))),
    }
}

/// The code of an outcome. Clients that use a version older than `since` know of no
/// `PRODUCER_FENCED` (KIP-588), only of the epoch that is no longer valid.
fn code_since<T>(since: i16, call: &Call, outcome: &Outcome<T>) -> i16 {
    match code_of(outcome) {
        code if code == ResponseError::ProducerFenced.code() && call.head.version < since => {
            ResponseError::InvalidProducerEpoch.code()
        }
        code => code,
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(ResponseError::InvalidRequest, message)
}

/// InitProducerId: an id for an idempotent producer, or the id and a new epoch of a transactional one.
async fn init(node: &Arc<Node>, call: &Call, ask: InitProducerIdRequest) -> InitProducerIdResponse {
    const KNOWS_FENCED: i16 = 4;
    let given = identity(node, &ask).await;
    if let Err(refusal) = &given {
        tracing::debug!(id = ?ask.transactional_id, %refusal, "no producer id was given");
    }
    let code = code_since(KNOWS_FENCED, call, &given);
    let (id, epoch) = given.unwrap_or((-1, -1));
    InitProducerIdResponse::default()
        .with_error_code(code)
        .with_producer_id(ProducerId(id))
        .with_producer_epoch(epoch)
}

async fn identity(node: &Arc<Node>, ask: &InitProducerIdRequest) -> Outcome<(i64, i16)> {
    let fresh_id = node.aside(|node| node.topics.producer_id()).await?;
    let Some(id) = ask.transactional_id.as_deref() else { return Ok((fresh_id, 0)) };
    if id.is_empty() || i16::try_from(id.len()).is_err() {
        return Err(invalid("a transactional.id has 1 to 32767 bytes"));
    }
    let claimed = match (ask.producer_id.0, ask.producer_epoch) {
        (-1, -1) => None,
        (-1, _) | (_, -1) => return Err(invalid("a producer id and an epoch come together")),
        claimed => Some(claimed),
    };
    node.transactions.init(node, id, ask.transaction_timeout_ms, claimed, fresh_id).await
}

/// AddPartitionsToTxn: all partitions asked for, or none.
async fn add_partitions(
    node: &Arc<Node>,
    call: &Call,
    ask: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    const KNOWS_FENCED: i16 = 2;
    let view = node.topics.view();
    let topics = ask.v3_and_below_topics;
    let places: Vec<_> = topics.iter().flat_map(places_of).collect();
    let exist = places.iter().all(|place| check(&view, place).is_ok());
    let claim = Claim {
        id: &ask.v3_and_below_transactional_id,
        producer_id: ask.v3_and_below_producer_id.0,
        epoch: ask.v3_and_below_producer_epoch,
    };
    let added = match exist {
        true => node.transactions.add(claim, &places).await,
        false => Err(Refusal::new(
            ResponseError::OperationNotAttempted,
            "other partitions of the request do not exist",
        )),
    };
    let result = |place: &Place| {
        let outcome = check(&view, place).and_then(|()| added.clone());
        AddPartitionsToTxnPartitionResult::default()
            .with_partition_index(place.partition)
            .with_partition_error_code(code_since(KNOWS_FENCED, call, &outcome))
    };
    let results = topics.iter().map(|topic| {
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(places_of(topic).map(|place| result(&place)).collect())
    });
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results.collect())
}

fn places_of(topic: &AddPartitionsToTxnTopic) -> impl Iterator<Item = Place> + '_ {
    let place = |&partition: &i32| Place { topic: topic.name.to_string(), partition };
    topic.partitions.iter().map(place)
}

/// Whether a producer may write there at all.
fn check(view: &View, place: &Place) -> Outcome<()> {
    let topic = view.named(&place.topic)?;
    topic.refuse_internal()?;
    topic.partition(place.partition).map(|_| ())
}

/// AddOffsetsToTxn: the producer is about to commit offsets, of whichever group.
async fn add_offsets(
    node: &Arc<Node>,
    call: &Call,
    ask: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    const KNOWS_FENCED: i16 = 2;
    let claim = Claim {
        id: &ask.transactional_id,
        producer_id: ask.producer_id.0,
        epoch: ask.producer_epoch,
    };
    let added = node.transactions.add(claim, &[offsets_place()]).await;
    AddOffsetsToTxnResponse::default().with_error_code(code_since(KNOWS_FENCED, call, &added))
}

/// EndTxn.
async fn end(node: &Arc<Node>, call: &Call, ask: EndTxnRequest) -> EndTxnResponse {
    const KNOWS_FENCED: i16 = 2;
    let claim = Claim {
        id: &ask.transactional_id,
        producer_id: ask.producer_id.0,
        epoch: ask.producer_epoch,
    };
    let ending = if ask.committed { Ending::Commit } else { Ending::Abort };
    let ended = node.transactions.end(node, claim, ending).await;
    EndTxnResponse::default().with_error_code(code_since(KNOWS_FENCED, call, &ended))
}

/// TxnOffsetCommit: offsets that count once the transaction commits.
async fn commit(node: &Arc<Node>, ask: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let topics = ask.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(as_outside).collect();
        (topic.name, partitions)
    });
    let (allowed, checked) = commits::sort_out(node, topics);
    let asker = Asker {
        member: &ask.member_id,
        instance: ask.group_instance_id.as_deref(),
        generation: ask.generation_id,
    };
    let claim = Claim {
        id: &ask.transactional_id,
        producer_id: ask.producer_id.0,
        epoch: ask.producer_epoch,
    };
    let appended = node.transactions.within(claim, &offsets_place(), || {
        let producer = (claim.producer_id, claim.epoch);
        node.groups.commit_in_transaction(&ask.group_id, asker, producer, allowed)
    });
    let committed = match appended {
        Ok(appended) => node.groups.durable(&appended).await,
        Err(refusal) => Err(refusal),
    };
    let partition = |(index, outcome): (i32, Outcome<()>)| {
        TxnOffsetCommitResponsePartition::default()
            .with_partition_index(index)
            .with_error_code(code_of(&committed.clone().and(outcome)))
    };
    let topics = checked.into_iter().map(|(name, outcomes)| {
        TxnOffsetCommitResponseTopic::default()
            .with_name(name)
            .with_partitions(outcomes.into_iter().map(partition).collect())
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

/// The same, as it is committed outside of a transaction.
fn as_outside(partition: &TxnOffsetCommitRequestPartition) -> OffsetCommitRequestPartition {
    OffsetCommitRequestPartition::default()
        .with_partition_index(partition.partition_index)
        .with_committed_offset(partition.committed_offset)
        .with_committed_leader_epoch(partition.committed_leader_epoch)
        .with_committed_metadata(partition.committed_metadata.clone())
}
