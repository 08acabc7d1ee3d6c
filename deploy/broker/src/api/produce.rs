//! Produce: the one request that carries much, and so is read by hand, without copying records.

use std::sync::Arc;

use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::{
    error::ResponseError,
    messages::{
        ProduceResponse, TopicName,
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
    protocol::StrBytes,
};
use uuid::Uuid;

use super::{Call, Unreadable, frame};
use crate::{
    groups::Place,
    log::{Appended, batch::BatchHeader},
    node::{Node, now_ms},
    refusal::{Outcome, Refusal},
    topics::Partition,
    transactions::Claim,
    wire::Head,
};

/// The partitions that one request may hold.
const MOST_PARTITIONS: usize = 100_000;
/// Since this version, lengths are varints and structures have tagged fields.
const FLEXIBLE: i16 = 9;
/// Since this version, topics go by their ids.
const BY_ID: i16 = 13;

/// Reads the fields of a produce request; allocates for what there is, never for what is claimed.
struct Fields {
    rest: Bytes,
    flexible: bool,
}

type Field<T> = Result<T, TryGetError>;

impl Fields {
    /// A length, −1 for null; `wide` says how wide it is unless flexible.
    fn length(&mut self, wide: bool) -> Field<Option<usize>> {
        let length = if self.flexible {
            i64::from(self.varint()?) - 1
        } else if wide {
            self.rest.try_get_i32()?.into()
        } else {
            self.rest.try_get_i16()?.into()
        };
        Ok(usize::try_from(length).ok())
    }

    fn varint(&mut self) -> Field<u32> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.rest.try_get_u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        Ok(u32::try_from(value).unwrap_or(u32::MAX))
    }

    fn bytes(&mut self, wide: bool) -> Field<Option<Bytes>> {
        let Some(length) = self.length(wide)? else { return Ok(None) };
        let available = self.rest.len();
        if length > available {
            return Err(TryGetError { requested: length, available });
        }
        Ok(Some(self.rest.split_to(length)))
    }

    fn skip_tags(&mut self) -> Field<()> {
        if self.flexible {
            for _ in 0..self.varint()? {
                self.varint()?;
                self.bytes_of_tag()?;
            }
        }
        Ok(())
    }

    fn bytes_of_tag(&mut self) -> Field<()> {
        let (requested, available) = (self.varint()? as usize, self.rest.len());
        if requested > available {
            return Err(TryGetError { requested, available });
        }
        self.rest.advance(requested);
        Ok(())
    }
}

struct Request {
    transactional_id: Option<Bytes>,
    acks: i16,
    topics: Vec<TopicBatches>,
}

struct TopicBatches {
    name: StrBytes,
    id: Uuid,
    partitions: Vec<(i32, Bytes)>,
}

fn read(body: Bytes, version: i16) -> Result<Request, String> {
    let mut fields = Fields { rest: body, flexible: version >= FLEXIBLE };
    let short = |error: TryGetError| format!("a produce request is cut short: {error}");
    let transactional_id = fields.bytes(false).map_err(short)?;
    let acks = fields.rest.try_get_i16().map_err(short)?;
    let _timeout = fields.rest.try_get_i32().map_err(short)?;
    let mut topics = Vec::new();
    let mut room = MOST_PARTITIONS;
    for _ in 0..fields.length(true).map_err(short)?.unwrap_or_default() {
        topics.push(read_topic(&mut fields, version, &mut room)?);
    }
    Ok(Request { transactional_id, acks, topics })
}

fn read_topic(fields: &mut Fields, version: i16, room: &mut usize) -> Result<TopicBatches, String> {
    let short = |error: TryGetError| format!("a produce request is cut short: {error}");
    let (mut name, mut id) = (StrBytes::default(), Uuid::nil());
    if version >= BY_ID {
        id = Uuid::from_u128(fields.rest.try_get_u128().map_err(short)?);
    } else {
        let bytes = fields.bytes(false).map_err(short)?.unwrap_or_default();
        name = StrBytes::from_utf8(bytes).map_err(|error| format!("a topic's name: {error}"))?;
    }
    let mut partitions = Vec::new();
    for _ in 0..fields.length(true).map_err(short)?.unwrap_or_default() {
        *room = room.checked_sub(1).ok_or_else(|| {
            format!("a produce request of more than {MOST_PARTITIONS} partitions")
        })?;
        let index = fields.rest.try_get_i32().map_err(short)?;
        let batch = fields.bytes(true).map_err(short)?.unwrap_or_default();
        fields.skip_tags().map_err(short)?;
        partitions.push((index, batch));
    }
    fields.skip_tags().map_err(short)?;
    Ok(TopicBatches { name, id, partitions })
}

/// A produce request whose batches are appended, and may not be on disk yet.
pub(crate) struct Produced {
    topics: Vec<(StrBytes, Uuid, Vec<Append>)>,
    acknowledged: bool,
}

struct Append {
    index: i32,
    outcome: Outcome<(Arc<Partition>, Appended)>,
}

/// Appends the batches of a produce request.
///
/// # Errors
/// If the request cannot be read.
pub(super) fn produce(node: &Node, call: &Call, body: Bytes) -> Result<Produced, Unreadable> {
    let request = read(body, call.head.version)?;
    let allowed = check(&request);
    let view = node.topics.view();
    let transactional_id = request.transactional_id.clone();
    let topics = request
        .topics
        .into_iter()
        .map(|TopicBatches { name, id, partitions }| {
            let topic = allowed.clone().and_then(|()| view.find(&name, id));
            let append = |(index, batch)| {
                let outcome = topic.clone().and_then(|topic| {
                    topic.refuse_internal()?;
                    let partition = topic.partition(index)?;
                    let place = Place { topic: topic.name.clone(), partition: index };
                    let appended =
                        append_to(node, transactional_id.as_deref(), partition, &place, batch);
                    let appended = appended
                        .inspect_err(|why| node.warn_of_storage(&topic.name, index, why))?;
                    Ok((Arc::clone(partition), appended))
                });
                Append { index, outcome }
            };
            (name, id, partitions.into_iter().map(append).collect())
        })
        .collect();
    Ok(Produced { topics, acknowledged: request.acks != 0 })
}

/// Appends a batch; one of a transaction only while that is open.
fn append_to(
    node: &Node,
    id: Option<&[u8]>,
    partition: &Partition,
    place: &Place,
    batch: Bytes,
) -> Outcome<Appended> {
    let log = partition.log()?;
    let header = BatchHeader::parse(&batch).filter(BatchHeader::is_transactional);
    let Some(header) = header else { return Ok(log.append(batch, now_ms())?) };
    let id = id.and_then(|id| std::str::from_utf8(id).ok()).ok_or_else(|| {
        let message = "a transactional batch needs a transactional.id in its request";
        Refusal::new(ResponseError::InvalidTxnState, message)
    })?;
    let claim = Claim { id, producer_id: header.producer_id, epoch: header.producer_epoch };
    node.transactions.within(claim, place, || Ok(log.append(batch, now_ms())?))
}

fn check(request: &Request) -> Outcome<()> {
    if !(-1..=1).contains(&request.acks) {
        let message = format!("acks={} is none of -1 (all), 0, 1", request.acks);
        return Err(Refusal::new(ResponseError::InvalidRequiredAcks, message));
    }
    Ok(())
}

impl Produced {
    /// Waits until the disk has every batch; the frame of the response, none if the producer asked
    /// for no acknowledgement.
    ///
    /// # Errors
    /// If the response cannot be encoded.
    pub async fn response(self, head: &Head) -> Result<Option<Bytes>, Unreadable> {
        if !self.acknowledged {
            return Ok(None);
        }
        let mut responses = Vec::with_capacity(self.topics.len());
        for (name, id, appends) in self.topics {
            let mut partitions = Vec::with_capacity(appends.len());
            for append in appends {
                partitions.push(append.response().await);
            }
            responses.push(
                TopicProduceResponse::default()
                    .with_name(TopicName(name))
                    .with_topic_id(id)
                    .with_partition_responses(partitions),
            );
        }
        let response = ProduceResponse::default().with_responses(responses);
        frame(head, head.version, &response).map(Some)
    }
}

impl Append {
    async fn response(self) -> PartitionProduceResponse {
        let response = PartitionProduceResponse::default().with_index(self.index);
        match self.durable().await {
            Ok((appended, log_start)) => response
                .with_base_offset(appended.base_offset)
                .with_log_append_time_ms(appended.append_time)
                .with_log_start_offset(log_start),
            Err(refusal) => response
                .with_error_code(refusal.number())
                .with_error_message(refusal.text())
                .with_base_offset(-1)
                .with_log_start_offset(-1),
        }
    }

    async fn durable(self) -> Outcome<(Appended, i64)> {
        let (partition, appended) = self.outcome?;
        let log = partition.log()?;
        log.durable(&appended).await?;
        Ok((appended, log.log_start()))
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::{
        messages::{
            ProduceRequest,
            produce_request::{PartitionProduceData, TopicProduceData},
        },
        protocol::Encodable,
    };

    use super::*;

    fn request(version: i16) -> Bytes {
        let mut topic = TopicProduceData::default().with_partition_data(vec![
            PartitionProduceData::default().with_index(3).with_records(Some(vec![7; 300].into())),
            PartitionProduceData::default().with_index(4).with_records(None),
        ]);
        if version >= BY_ID {
            topic = topic.with_topic_id(Uuid::from_u128(42));
        } else {
            topic = topic.with_name(TopicName("orders".into()));
        }
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(30_000)
            .with_topic_data(vec![topic.clone(), topic]);
        let mut body = BytesMut::new();
        request.encode(&mut body, version).unwrap();
        body.freeze()
    }

    #[test]
    fn every_version_is_read_as_the_codecs_write_it() {
        for version in 3..=13 {
            let read = read(request(version), version).unwrap();
            assert_eq!((read.acks, read.transactional_id), (-1, None), "version {version}");
            assert_eq!(read.topics.len(), 2);
            for topic in read.topics {
                let expected = if version >= BY_ID { ("", 42) } else { ("orders", 0) };
                assert_eq!((&*topic.name, topic.id.as_u128()), expected);
                assert_eq!(topic.partitions, [(3, vec![7; 300].into()), (4, Bytes::new())]);
            }
        }
    }

    #[test]
    fn a_request_cut_anywhere_is_an_error() {
        for version in [3, 9, 13] {
            let whole = request(version);
            // The last byte of a flexible request is its own, empty tagged fields.
            for length in 0..whole.len() - 1 {
                assert!(read(whole.slice(..length), version).is_err(), "{length} bytes");
            }
        }
    }
}
