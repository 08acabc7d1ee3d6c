//! What librdkafka can do and the rdkafka crate does not wrap: a commit whose answer arrives by the
//! consumer's poll, whether a consumer is a member of its group, and a topic's own id.

#![expect(unsafe_code, reason = "librdkafka's own functions have no safe wrapper here")]

use std::ffi::{CString, c_int};
use std::ptr;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{IsError as _, KafkaError, KafkaResult};
use rdkafka::{TopicPartitionList, bindings as native};

/// Sends a commit; its answer comes to the context's `commit_callback` in a later poll. The crate's
/// own asynchronous commit never answers: librdkafka tells a manual commit's result only to a queue
/// that was given with it, or to a callback that the crate does not set.
pub fn commit<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    offsets: &TopicPartitionList,
) -> KafkaResult<()> {
    let client = client.client().native_ptr();
    // SAFETY: client and list are alive; the list is copied; the queue is the consumer's own, of
    // which this takes and gives back one reference.
    let error = unsafe {
        let queue = native::rd_kafka_queue_get_consumer(client);
        if queue.is_null() {
            return Err(KafkaError::Canceled);
        }
        let error =
            native::rd_kafka_commit_queue(client, offsets.ptr(), queue, None, ptr::null_mut());
        native::rd_kafka_queue_destroy(queue);
        error
    };
    match error.is_error() {
        true => Err(KafkaError::ConsumerCommit(error.into())),
        false => Ok(()),
    }
}

/// The end of a partition as the last answer to a fetch told it.
pub fn end_seen<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (client, mut low, mut high) = (client.client().native_ptr(), -1, -1);
    // SAFETY: client and name are alive; both numbers outlive the call.
    let error = unsafe {
        native::rd_kafka_get_watermark_offsets(
            client,
            topic.as_ptr(),
            partition,
            &mut low,
            &mut high,
        )
    };
    (!error.is_error() && high >= 0).then_some(high)
}

/// Whether the group has taken this consumer in and not thrown it out since.
pub fn is_member<C: ConsumerContext>(client: &BaseConsumer<C>) -> bool {
    // SAFETY: the client is alive; what is given is checked, read and destroyed once.
    unsafe {
        let metadata = native::rd_kafka_consumer_group_metadata(client.client().native_ptr());
        if metadata.is_null() {
            return false;
        }
        let generation = native::rd_kafka_consumer_group_metadata_generation_id(metadata);
        native::rd_kafka_consumer_group_metadata_destroy(metadata);
        generation >= 0
    }
}

/// A topic's own id (KIP-516), in hexadecimal: one created anew under the same name has another; nothing when the brokers do not tell it (before Kafka 2.8, or
/// without the right to describe the topic) or do not answer in time. Blocks.
pub fn topic_id<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    timeout: Duration,
) -> Option<String> {
    let name = CString::new(topic).ok()?;
    let timeout = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
    let (most, least) = ask(client.client().native_ptr(), &name, timeout)?;
    (most != 0 || least != 0).then(|| format!("{most:016x}{least:016x}"))
}

fn ask(client: *mut native::rd_kafka_t, name: &CString, timeout: c_int) -> Option<(i64, i64)> {
    let mut names = [name.as_ptr()];
    // SAFETY: `client` outlives this call, which owns the queue, the collection, the options and
    // the event and destroys each exactly once; what is read of the event is read before that.
    unsafe {
        let queue = native::rd_kafka_queue_new(client);
        let topics = native::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1);
        let operation = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = native::rd_kafka_AdminOptions_new(client, operation);
        native::rd_kafka_AdminOptions_set_request_timeout(options, timeout, ptr::null_mut(), 0);
        native::rd_kafka_DescribeTopics(client, topics, options, queue);
        let event = native::rd_kafka_queue_poll(queue, timeout.saturating_add(500));
        let found = if event.is_null() { None } else { read(event) };
        if !event.is_null() {
            native::rd_kafka_event_destroy(event);
        }
        native::rd_kafka_AdminOptions_destroy(options);
        native::rd_kafka_TopicCollection_destroy(topics);
        native::rd_kafka_queue_destroy(queue);
        found
    }
}

/// # Safety
/// `event` is a live event of librdkafka.
unsafe fn read(event: *mut native::rd_kafka_event_t) -> Option<(i64, i64)> {
    // SAFETY: every pointer comes from the live event and is checked before it is followed.
    unsafe {
        let result = native::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return None;
        }
        let mut count = 0;
        let topics = native::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if topics.is_null() || count == 0 || (*topics).is_null() {
            return None;
        }
        let id = native::rd_kafka_TopicDescription_topic_id(*topics);
        if id.is_null() {
            return None;
        }
        let most = native::rd_kafka_Uuid_most_significant_bits(id);
        Some((most, native::rd_kafka_Uuid_least_significant_bits(id)))
    }
}
