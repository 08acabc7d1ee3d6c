//! The APIs: one file a family, one function a request.

mod commits;
mod configs;
mod fetch;
mod groups;
mod metadata;
mod offsets;
mod produce;
mod records;
mod topics;
mod transactions;
mod versions;

use std::{collections::HashSet, future::Future, hash::Hash, net::IpAddr, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        AlterConfigsRequest, ApiKey, ApiVersionsRequest, CreatePartitionsRequest,
        CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, DescribeClusterRequest,
        DescribeConfigsRequest, DescribeLogDirsRequest, DescribeTopicPartitionsRequest,
        FetchRequest, IncrementalAlterConfigsRequest, ListOffsetsRequest, MetadataRequest,
        OffsetForLeaderEpochRequest, ResponseHeader,
    },
    protocol::{Encodable, HeaderVersion, Request},
};

pub(crate) use self::produce::Produced;
use self::versions::served;
use crate::{
    node::Node,
    wire::{self, Head},
};

/// Who sends a request, and how.
#[derive(Debug)]
pub(crate) struct Call {
    /// The request's header.
    pub head: Head,
    /// The client's address.
    pub client_host: IpAddr,
    /// The host and port that this client reaches the broker by.
    pub advertised: (String, u16),
}

/// What a request comes to.
pub(crate) enum Answer {
    /// The frame of its response.
    Ready(Bytes),
    /// A produce request, appended: its response comes once the disk has it.
    Produced(Produced),
}

/// Why a connection is closed without an answer.
#[derive(Debug)]
pub(crate) struct Unreadable(pub String);

impl From<String> for Unreadable {
    fn from(reason: String) -> Self {
        Self(reason)
    }
}

/// Whether a request may wait long for something to happen, and so may be given up when its client
/// has gone.
pub(crate) fn waits(key: i16) -> bool {
    [ApiKey::Fetch, ApiKey::JoinGroup, ApiKey::SyncGroup].iter().any(|api| *api as i16 == key)
}

/// Answers a request.
///
/// # Errors
/// If there is no way to answer: the connection is to be closed then, as Kafka does.
pub(crate) async fn answer(
    node: &Arc<Node>,
    call: &Call,
    body: Bytes,
) -> Result<Answer, Unreadable> {
    let Head { key, version, .. } = call.head;
    let Some((api, oldest, newest)) = served(key) else {
        return Err(Unreadable(format!("API {key} is not served")));
    };
    if version < oldest || version > newest {
        return match api {
            ApiKey::ApiVersions => Ok(Answer::Ready(metadata::unsupported_version(&call.head)?)),
            _ => Err(Unreadable(format!(
                "{api:?} version {version} is not served, {oldest} to {newest} are"
            ))),
        };
    }
    if api == ApiKey::Produce {
        return Ok(Answer::Produced(produce::produce(node, call, body)?));
    }
    route(node, call, api, body).await.map(Answer::Ready)
}

async fn route(
    node: &Arc<Node>,
    call: &Call,
    api: ApiKey,
    body: Bytes,
) -> Result<Bytes, Unreadable> {
    let head = &call.head;
    match api {
        ApiKey::ApiVersions => {
            respond(head, body, async |_: ApiVersionsRequest| metadata::api_versions()).await
        }
        ApiKey::Metadata => {
            respond(head, body, |ask: MetadataRequest| metadata::metadata(node, call, ask)).await
        }
        ApiKey::DescribeCluster => {
            respond(head, body, async |ask: DescribeClusterRequest| {
                metadata::describe_cluster(node, call, &ask)
            })
            .await
        }
        ApiKey::DescribeTopicPartitions => {
            respond(head, body, async |ask: DescribeTopicPartitionsRequest| {
                metadata::describe_topic_partitions(node, &ask)
            })
            .await
        }
        ApiKey::Fetch => {
            respond(head, body, |ask: FetchRequest| fetch::fetch(node, call, ask)).await
        }
        ApiKey::ListOffsets => {
            respond(head, body, |ask: ListOffsetsRequest| offsets::list_offsets(node, call, ask))
                .await
        }
        ApiKey::OffsetForLeaderEpoch => {
            respond(head, body, async |ask: OffsetForLeaderEpochRequest| {
                offsets::offset_for_leader_epoch(node, ask)
            })
            .await
        }
        ApiKey::CreateTopics => {
            respond(head, body, |ask: CreateTopicsRequest| topics::create(node, ask)).await
        }
        ApiKey::DeleteTopics => {
            respond(head, body, |ask: DeleteTopicsRequest| topics::delete(node, call, ask)).await
        }
        ApiKey::CreatePartitions => {
            respond(head, body, |ask: CreatePartitionsRequest| topics::add_partitions(node, ask))
                .await
        }
        ApiKey::DeleteRecords => {
            respond(head, body, |ask: DeleteRecordsRequest| records::delete(node, ask)).await
        }
        ApiKey::DescribeLogDirs => {
            respond(head, body, async |ask: DescribeLogDirsRequest| records::log_dirs(node, &ask))
                .await
        }
        ApiKey::DescribeConfigs => {
            respond(head, body, async |ask: DescribeConfigsRequest| configs::describe(node, ask))
                .await
        }
        ApiKey::IncrementalAlterConfigs => {
            respond(head, body, |ask: IncrementalAlterConfigsRequest| configs::alter(node, ask))
                .await
        }
        ApiKey::AlterConfigs => {
            respond(head, body, |ask: AlterConfigsRequest| configs::replace(node, ask)).await
        }
        ApiKey::InitProducerId
        | ApiKey::AddPartitionsToTxn
        | ApiKey::AddOffsetsToTxn
        | ApiKey::EndTxn
        | ApiKey::TxnOffsetCommit
        | ApiKey::WriteTxnMarkers
        | ApiKey::DescribeProducers
        | ApiKey::DescribeTransactions
        | ApiKey::ListTransactions => transactions::route(node, call, api, body).await,
        other => groups::route(node, call, other, body).await,
    }
}

/// Decodes a request, has it answered, and encodes the response.
async fn respond<R, F>(
    head: &Head,
    body: Bytes,
    handle: impl FnOnce(R) -> F,
) -> Result<Bytes, Unreadable>
where
    R: Request,
    F: Future<Output = R::Response>,
{
    let request = wire::decode(&body, head.version)?;
    drop(body);
    let response = handle(request).await;
    frame(head, head.version, &response)
}

/// The largest response, in bytes: no client asks for as much.
const MAX_RESPONSE: usize = 512 << 20;

/// What is asked for twice is answered once: a small request must not ask for an answer without bound.
fn once<T, K: Eq + Hash>(mut asked: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut seen = HashSet::new();
    asked.retain(|one| seen.insert(key(one)));
    asked
}

/// The frame of a response.
fn frame<R: Encodable + HeaderVersion>(
    head: &Head,
    version: i16,
    response: &R,
) -> Result<Bytes, Unreadable> {
    let failed = |error: String| Unreadable(format!("encode the response: {error}"));
    let size = response.compute_size(version).map_err(|error| failed(error.to_string()))?;
    if size > MAX_RESPONSE {
        return Err(failed(format!("it has {size} bytes")));
    }
    let mut frame = BytesMut::with_capacity(size + 16);
    frame.put_i32(0);
    ResponseHeader::default()
        .with_correlation_id(head.correlation)
        .encode(&mut frame, R::header_version(version))
        .and_then(|()| response.encode(&mut frame, version))
        .map_err(|error| failed(error.to_string()))?;
    let length = i32::try_from(frame.len() - 4).map_err(|error| failed(error.to_string()))?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame.freeze())
}
