//! Kafka's protocol spoken by hand, for what librdkafka never does by itself.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        DescribeLogDirsRequest, GroupId, IncrementalAlterConfigsRequest, InitProducerIdRequest,
        OffsetCommitRequest, ProduceRequest, RequestHeader, ResponseHeader, TopicName,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::{Decodable as _, Encodable as _, HeaderVersion as _, Request, StrBytes},
    records::{
        Compression, NO_PARTITION_LEADER_EPOCH, Record, RecordBatchEncoder, RecordEncodeOptions,
        TimestampType,
    },
};
use rdkafka::Timestamp;
use tests::deadline::{GENEROUS, eventually};

/// A connection to a broker.
pub struct Connection(TcpStream);

/// What a broker answers to a batch: Kafka's error code, and where the batch begins.
#[derive(Debug, PartialEq, Eq)]
pub struct Appended {
    pub code: i16,
    pub offset: i64,
}

/// An idempotent producer's batch, of records that hold their sequence numbers.
#[derive(Clone, Copy)]
pub struct Batch {
    pub producer: i64,
    pub epoch: i16,
    pub sequence: i32,
    pub records: i32,
}

fn own(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

impl Connection {
    pub fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(GENEROUS)).unwrap();
        Self(stream)
    }

    /// Sends a request and reads its response.
    fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let mut frame = BytesMut::zeroed(4);
        RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_client_id(Some(StrBytes::from_static_str("conformance")))
            .encode(&mut frame, R::header_version(version))
            .unwrap();
        request.encode(&mut frame, version).unwrap();
        let length = u32::try_from(frame.len() - 4).unwrap();
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.0.write_all(&frame).unwrap();

        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame).unwrap();
        let mut frame = Bytes::from(frame);
        ResponseHeader::decode(&mut frame, R::Response::header_version(version)).unwrap();
        R::Response::decode(&mut frame, version).unwrap()
    }

    /// An id for an idempotent producer.
    pub fn producer_id(&mut self) -> i64 {
        const VERSION: i16 = 4;
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(-1);
        eventually("a producer id is given", || {
            let response = self.ask(VERSION, &request);
            (response.error_code == 0).then_some(response.producer_id.0)
        })
    }

    /// Appends a batch to the first partition of a topic.
    pub fn append(&mut self, topic: &str, batch: Batch) -> Appended {
        const VERSION: i16 = 9;
        let partition =
            PartitionProduceData::default().with_index(0).with_records(Some(batch.encode()));
        let data = TopicProduceData::default()
            .with_name(TopicName(own(topic)))
            .with_partition_data(vec![partition]);
        let request = ProduceRequest::default()
            .with_transactional_id(None)
            .with_acks(-1)
            .with_timeout_ms(30_000)
            .with_topic_data(vec![data]);
        let response = self.ask(VERSION, &request);
        let partition = &response.responses[0].partition_responses[0];
        Appended { code: partition.error_code, offset: partition.base_offset }
    }

    /// Commits an offset of a topic's first partition as a member of a group, and returns Kafka's
    /// error code.
    pub fn commit(
        &mut self,
        group: &str,
        member: &str,
        generation: i32,
        topic: &str,
        offset: i64,
    ) -> i16 {
        const VERSION: i16 = 8;
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(0)
            .with_committed_offset(offset);
        let of_topic = OffsetCommitRequestTopic::default()
            .with_name(TopicName(own(topic)))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(own(group)))
            .with_member_id(own(member))
            .with_generation_id_or_member_epoch(generation)
            .with_topics(vec![of_topic]);
        self.ask(VERSION, &request).topics[0].partitions[0].error_code
    }

    /// The bytes of the volume that the broker's first folder is on, and those left.
    pub fn volume(&mut self) -> (i64, i64) {
        const VERSION: i16 = 4;
        let request = DescribeLogDirsRequest::default().with_topics(None);
        let folder = self.ask(VERSION, &request).results.remove(0);
        (folder.total_bytes, folder.usable_bytes)
    }

    /// Sets one setting of a topic, and returns Kafka's error code.
    pub fn alter(&mut self, topic: &str, name: &str, value: &str) -> i16 {
        const VERSION: i16 = 1;
        const TOPIC: i8 = 2;
        let change = AlterableConfig::default().with_name(own(name)).with_value(Some(own(value)));
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(own(topic))
            .with_configs(vec![change]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        self.ask(VERSION, &request).responses[0].error_code
    }
}

impl Batch {
    /// The batch that follows this one.
    pub fn next(self) -> Self {
        Self { sequence: self.sequence + self.records, ..self }
    }

    fn encode(self) -> Bytes {
        let now = Timestamp::now().to_millis().unwrap();
        let records: Vec<_> = (0..self.records)
            .map(|at| Record {
                transactional: false,
                control: false,
                delete_horizon: false,
                partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
                producer_id: self.producer,
                producer_epoch: self.epoch,
                timestamp_type: TimestampType::Creation,
                offset: at.into(),
                sequence: self.sequence + at,
                timestamp: now,
                key: None,
                value: Some((self.sequence + at).to_string().into()),
                headers: Default::default(),
            })
            .collect();
        let mut batch = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        RecordBatchEncoder::encode(&mut batch, &records, &options).unwrap();
        batch.freeze()
    }
}
