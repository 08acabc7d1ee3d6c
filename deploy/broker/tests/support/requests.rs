//! A valid request of every API that is served, in every version.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        add_partitions_to_txn_request::*, alter_configs_request, create_partitions_request::*,
        create_topics_request::*, delete_records_request::*, delete_topics_request::*,
        describe_configs_request::*, describe_producers_request, describe_topic_partitions_request,
        fetch_request::*, incremental_alter_configs_request, join_group_request::*,
        leave_group_request::*, list_offsets_request::*, metadata_request::*,
        offset_commit_request::*, offset_delete_request::*, offset_fetch_request::*,
        offset_for_leader_epoch_request::*, produce_request::*, sync_group_request::*,
        txn_offset_commit_request::*, write_txn_markers_request::*, *,
    },
    protocol::{Encodable, Message, Request, StrBytes, VersionRange},
    records::{
        Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE,
        Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
    },
};
use uuid::Uuid;

/// A request's frame, without its length.
#[derive(Clone)]
pub struct Sample {
    pub key: i16,
    pub version: i16,
    pub frame: Bytes,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic() -> TopicName {
    TopicName(text("orders"))
}

fn group() -> GroupId {
    GroupId(text("billing"))
}

pub fn batch() -> Bytes {
    let record = Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence: NO_SEQUENCE,
        timestamp: 1_700_000_000_000,
        key: Some("key".into()),
        value: Some("value".into()),
        headers: Default::default(),
    };
    let mut batch = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut batch, [&record], &options).unwrap();
    batch.freeze()
}

/// Adds a request in every version from `oldest` to `newest`.
fn add<R: Request + Message>(
    samples: &mut Vec<Sample>,
    (oldest, newest): (i16, i16),
    request: impl Fn(i16) -> R,
) {
    for version in oldest..=newest {
        let mut frame = BytesMut::new();
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(7)
            .with_client_id(Some(text("sampler")));
        header.encode(&mut frame, R::header_version(version)).unwrap();
        let VersionRange { min, max } = R::VERSIONS;
        assert!((min..=max).contains(&version), "API {} version {version}", R::KEY);
        request(version)
            .encode(&mut frame, version)
            .map_err(|error| format!("API {} version {version}: {error}", R::KEY))
            .unwrap();
        samples.push(Sample { key: R::KEY, version, frame: frame.freeze() });
    }
}

/// All of them, for the topic `orders` with this id and the group `billing`.
pub fn all(id: Uuid) -> Vec<Sample> {
    let mut samples = Vec::new();
    records(&mut samples, id);
    topics(&mut samples);
    configs(&mut samples);
    groups(&mut samples);
    commits(&mut samples);
    transactions(&mut samples);
    transaction_tools(&mut samples);
    samples
}

fn records(samples: &mut Vec<Sample>, id: Uuid) {
    add(samples, (3, 13), |version| {
        let data = TopicProduceData::default().with_partition_data(vec![
            PartitionProduceData::default().with_index(0).with_records(Some(batch())),
        ]);
        let data = if version < 13 { data.with_name(topic()) } else { data.with_topic_id(id) };
        ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_topic_data(vec![data])
    });
    add(samples, (4, 17), |version| {
        let data = FetchTopic::default().with_partitions(vec![
            FetchPartition::default().with_partition(0).with_partition_max_bytes(1 << 20),
        ]);
        let data = if version < 13 { data.with_topic(topic()) } else { data.with_topic_id(id) };
        FetchRequest::default()
            .with_max_wait_ms(5)
            .with_min_bytes(1)
            .with_max_bytes(1 << 20)
            .with_topics(vec![data])
    });
    add(samples, (1, 10), |_| {
        ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![
            ListOffsetsTopic::default().with_name(topic()).with_partitions(vec![
                ListOffsetsPartition::default().with_timestamp(-1),
                ListOffsetsPartition::default().with_timestamp(-3),
                ListOffsetsPartition::default().with_timestamp(1),
            ]),
        ])
    });
    add(samples, (2, 4), |_| {
        OffsetForLeaderEpochRequest::default().with_topics(vec![
            OffsetForLeaderTopic::default()
                .with_topic(topic())
                .with_partitions(vec![OffsetForLeaderPartition::default()]),
        ])
    });
    add(samples, (0, 2), |_| {
        DeleteRecordsRequest::default().with_topics(vec![
            DeleteRecordsTopic::default()
                .with_name(topic())
                .with_partitions(vec![DeleteRecordsPartition::default().with_offset(1)]),
        ])
    });
}

fn topics(samples: &mut Vec<Sample>) {
    add(samples, (0, 4), |version| {
        let name = if version < 3 { "" } else { "sampler" };
        ApiVersionsRequest::default()
            .with_client_software_name(text(name))
            .with_client_software_version(text(if version < 3 { "" } else { "1" }))
    });
    add(samples, (0, 13), |_| {
        MetadataRequest::default()
            .with_topics(Some(vec![MetadataRequestTopic::default().with_name(Some(topic()))]))
            .with_allow_auto_topic_creation(true)
    });
    add(samples, (0, 2), |_| DescribeClusterRequest::default());
    add(samples, (0, 0), |_| {
        DescribeTopicPartitionsRequest::default()
            .with_topics(vec![
                describe_topic_partitions_request::TopicRequest::default().with_name(topic()),
            ])
            .with_response_partition_limit(10)
    });
    add(samples, (2, 7), |version| {
        CreateTopicsRequest::default().with_validate_only(true).with_topics(vec![
            CreatableTopic::default()
                .with_name(TopicName(text("created")))
                .with_num_partitions(if version < 4 { 2 } else { -1 })
                .with_replication_factor(1)
                .with_configs(vec![
                    CreatableTopicConfig::default()
                        .with_name(text("retention.ms"))
                        .with_value(Some(text("1000"))),
                ]),
        ])
    });
    add(samples, (0, 3), |_| {
        CreatePartitionsRequest::default().with_validate_only(true).with_topics(vec![
            CreatePartitionsTopic::default()
                .with_name(topic())
                .with_count(4)
                .with_assignments(None),
        ])
    });
    add(samples, (1, 6), |version| {
        let doomed = TopicName(text("doomed"));
        let request = DeleteTopicsRequest::default();
        if version < 6 {
            return request.with_topic_names(vec![doomed]);
        }
        request.with_topics(vec![DeleteTopicState::default().with_name(Some(doomed))])
    });
    add(samples, (1, 4), |_| DescribeLogDirsRequest::default().with_topics(None));
}

fn configs(samples: &mut Vec<Sample>) {
    add(samples, (1, 4), |_| {
        let resource = |kind, name: &str| {
            DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configuration_keys(None)
        };
        DescribeConfigsRequest::default()
            .with_include_synonyms(true)
            .with_resources(vec![resource(2, "orders"), resource(4, "1")])
    });
    add(samples, (0, 1), |_| {
        use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
        let config = AlterableConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text("86400000")));
        IncrementalAlterConfigsRequest::default().with_resources(vec![
            AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text("orders"))
                .with_configs(vec![config]),
        ])
    });
    add(samples, (0, 2), |_| {
        use alter_configs_request::{AlterConfigsResource, AlterableConfig};
        let config = AlterableConfig::default()
            .with_name(text("segment.ms"))
            .with_value(Some(text("86400000")));
        AlterConfigsRequest::default().with_resources(vec![
            AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text("orders"))
                .with_configs(vec![config]),
        ])
    });
}

fn groups(samples: &mut Vec<Sample>) {
    add(samples, (0, 6), |version| {
        let request = FindCoordinatorRequest::default();
        if version < 4 {
            return request.with_key(text("billing"));
        }
        request.with_coordinator_keys(vec![text("billing"), text("shipping")])
    });
    add(samples, (0, 9), |_| {
        JoinGroupRequest::default()
            .with_group_id(group())
            .with_session_timeout_ms(1000)
            .with_rebalance_timeout_ms(1000)
            // Unknown: it is answered at once.
            .with_member_id(text("stranger"))
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![
                JoinGroupRequestProtocol::default()
                    .with_name(text("range"))
                    .with_metadata(vec![0, 1, 0, 0, 0, 0].into()),
            ])
    });
    add(samples, (0, 5), |version| {
        let named = (version >= 5).then(|| text("range"));
        SyncGroupRequest::default()
            .with_group_id(group())
            .with_member_id(text("stranger"))
            .with_protocol_name(named)
            .with_assignments(vec![
                SyncGroupRequestAssignment::default()
                    .with_member_id(text("stranger"))
                    .with_assignment(vec![0; 20].into()),
            ])
    });
    add(samples, (0, 4), |_| {
        HeartbeatRequest::default().with_group_id(group()).with_member_id(text("stranger"))
    });
    add(samples, (0, 5), |version| {
        let request = LeaveGroupRequest::default().with_group_id(group());
        if version < 3 {
            return request.with_member_id(text("stranger"));
        }
        let member = MemberIdentity::default().with_member_id(text("stranger"));
        request.with_members(vec![member])
    });
    add(samples, (0, 6), |_| {
        DescribeGroupsRequest::default().with_groups(vec![group(), GroupId(text("nobody"))])
    });
    add(samples, (0, 5), |version| {
        let states = if version < 4 { Vec::new() } else { vec![text("Stable"), text("Empty")] };
        ListGroupsRequest::default().with_states_filter(states)
    });
    add(samples, (0, 2), |_| {
        DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text("doomed"))])
    });
}

fn commits(samples: &mut Vec<Sample>) {
    add(samples, (2, 9), |_| {
        OffsetCommitRequest::default().with_group_id(group()).with_topics(vec![
            OffsetCommitRequestTopic::default().with_name(topic()).with_partitions(vec![
                OffsetCommitRequestPartition::default()
                    .with_committed_offset(3)
                    .with_committed_metadata(Some(text("note"))),
            ]),
        ])
    });
    add(samples, (1, 9), |version| {
        let request = OffsetFetchRequest::default();
        if version < 8 {
            return request.with_group_id(group()).with_topics(Some(vec![
                OffsetFetchRequestTopic::default()
                    .with_name(topic())
                    .with_partition_indexes(vec![0, 1]),
            ]));
        }
        request.with_groups(vec![
            OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(None),
            OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(Some(vec![
                OffsetFetchRequestTopics::default()
                    .with_name(topic())
                    .with_partition_indexes(vec![0, 1]),
            ])),
        ])
    });
    add(samples, (0, 0), |_| {
        OffsetDeleteRequest::default().with_group_id(group()).with_topics(vec![
            OffsetDeleteRequestTopic::default()
                .with_name(topic())
                .with_partitions(vec![OffsetDeleteRequestPartition::default()]),
        ])
    });
}

/// The first producer's; what follows is of the transaction that it begins.
fn transactions(samples: &mut Vec<Sample>) {
    const PRODUCER: ProducerId = ProducerId(0);
    let id = || TransactionalId(text("mover"));
    add(samples, (0, 5), |_| InitProducerIdRequest::default().with_transactional_id(None));
    add(samples, (0, 5), |_| {
        InitProducerIdRequest::default()
            .with_transactional_id(Some(id()))
            .with_transaction_timeout_ms(1000)
    });
    add(samples, (0, 3), |_| {
        AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(id())
            .with_v3_and_below_producer_id(PRODUCER)
            .with_v3_and_below_topics(vec![
                AddPartitionsToTxnTopic::default().with_name(topic()).with_partitions(vec![0, 9]),
            ])
    });
    add(samples, (0, 3), |_| {
        AddOffsetsToTxnRequest::default()
            .with_transactional_id(id())
            .with_producer_id(PRODUCER)
            .with_group_id(group())
    });
    add(samples, (0, 3), |_| {
        TxnOffsetCommitRequest::default()
            .with_transactional_id(id())
            .with_producer_id(PRODUCER)
            .with_group_id(group())
            .with_topics(vec![
                TxnOffsetCommitRequestTopic::default().with_name(topic()).with_partitions(vec![
                    TxnOffsetCommitRequestPartition::default().with_committed_offset(3),
                ]),
            ])
    });
    add(samples, (0, 3), |_| {
        EndTxnRequest::default().with_transactional_id(id()).with_producer_id(PRODUCER)
    });
}

fn transaction_tools(samples: &mut Vec<Sample>) {
    add(samples, (1, 1), |_| {
        WriteTxnMarkersRequest::default().with_markers(vec![
            WritableTxnMarker::default().with_producer_id(ProducerId(7)).with_topics(vec![
                WritableTxnMarkerTopic::default()
                    .with_name(topic())
                    .with_partition_indexes(vec![0, 9]),
            ]),
        ])
    });
    add(samples, (0, 0), |_| {
        DescribeProducersRequest::default().with_topics(vec![
            describe_producers_request::TopicRequest::default()
                .with_name(topic())
                .with_partition_indexes(vec![0, 9]),
        ])
    });
    add(samples, (0, 0), |_| {
        let ids = ["mover", "nobody"].map(|id| TransactionalId(text(id)));
        DescribeTransactionsRequest::default().with_transactional_ids(ids.to_vec())
    });
    add(samples, (0, 1), |version| {
        ListTransactionsRequest::default()
            .with_state_filters(vec![text("Ongoing"), text("Nowhere")])
            .with_duration_filter(if version < 1 { -1 } else { 1000 })
    });
}

/// A frame with its length before it.
pub fn framed(frame: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(frame.len() + 4);
    framed.put_u32(frame.len() as u32);
    framed.put_slice(frame);
    framed.freeze()
}
