//! A record on its way to a topic, and messages as events.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, OwnedHeaders};

use crate::{Event, Headers};

/// A record on its way to a topic.
#[derive(Debug, Clone)]
pub struct Record {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition; by the key when `None`.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub payload: Option<Bytes>,
    /// The headers.
    pub headers: Headers,
}

impl Record {
    /// What it weighs.
    pub fn bytes(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        length(&self.key) + length(&self.payload)
    }

    /// What it weighs with its headers.
    pub fn bytes_with_headers(&self) -> usize {
        let lengths = self.headers.iter();
        let lengths =
            lengths.map(|(name, value)| name.len() + value.map_or(0, |value| value.len()));
        self.bytes() + lengths.sum::<usize>()
    }
}

/// librdkafka's form of headers.
pub(super) fn to_native(headers: &Headers) -> OwnedHeaders {
    let native = OwnedHeaders::new_with_capacity(headers.len());
    headers.iter().fold(native, |native, (key, value)| {
        native.insert(Header { key, value: value.map(|bytes| &bytes[..]) })
    })
}

/// Copies a message out of librdkafka's memory, in one allocation for all its bytes.
pub(super) fn to_event(message: &BorrowedMessage<'_>, topic: &Arc<str>) -> Event {
    let headers = message.headers();
    let count = headers.map_or(0, |headers| headers.count());
    let values = (0..count).filter_map(|index| header(message, index));
    let size = message.key_len()
        + message.payload_len()
        + values.map(|(_, value)| value.map_or(0, <[u8]>::len)).sum::<usize>();
    let mut memory = BytesMut::with_capacity(size);
    let mut keep = |bytes: &[u8]| {
        memory.extend_from_slice(bytes);
        memory.split().freeze()
    };
    let key = message.key().map(&mut keep);
    let payload = message.payload().map(&mut keep);
    let headers = (0..count)
        .filter_map(|index| header(message, index))
        .map(|(name, value)| (Headers::name(name), value.map(&mut keep)))
        .collect();
    Event {
        topic: Arc::clone(topic),
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().unwrap_or_default(),
        key,
        payload,
        headers,
        value: None,
    }
}

/// A header of a message. rdkafka panics on a name that is not UTF-8: such a header, which nothing
/// here could name, is left out.
fn header<'a>(
    message: &'a BorrowedMessage<'_>,
    index: usize,
) -> Option<(&'a str, Option<&'a [u8]>)> {
    let headers = message.headers()?;
    let read = catch_unwind(AssertUnwindSafe(|| headers.try_get(index)));
    let header = read.ok()??;
    Some((header.key, header.value))
}
