//! Records as tests write and see them.

use rdkafka::{
    Message,
    message::{Header, Headers as _, OwnedHeaders},
};

/// A record to write, or as read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The key; none is null, which is not the same as empty.
    pub key: Option<Vec<u8>>,
    /// The value; none is null, a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers, in order; names may repeat.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Milliseconds since 1970; the time of writing if none is given.
    pub timestamp: Option<i64>,
}

impl Record {
    /// A record without a key.
    #[must_use]
    pub fn of(value: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    /// The same record with a key.
    #[must_use]
    pub fn keyed(self, key: impl Into<Vec<u8>>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// The same record with a timestamp, in milliseconds since 1970.
    #[must_use]
    pub fn at(self, timestamp: i64) -> Self {
        Self { timestamp: Some(timestamp), ..self }
    }

    /// The value, if it is text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.value.as_deref()?).ok()
    }

    pub(crate) fn native_headers(&self) -> Option<OwnedHeaders> {
        let add = |headers: OwnedHeaders, (key, value): &(String, Option<Vec<u8>>)| {
            headers.insert(Header { key, value: value.as_ref() })
        };
        (!self.headers.is_empty()).then(|| self.headers.iter().fold(OwnedHeaders::new(), add))
    }
}

/// A record where it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The record.
    pub record: Record,
}

impl Seen {
    /// A message as librdkafka has read it.
    #[must_use]
    pub fn of(message: &impl Message) -> Self {
        let own =
            |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.map(<[u8]>::to_owned));
        let headers = message.headers().map(|headers| headers.iter().map(own).collect());
        let record = Record {
            key: message.key().map(<[u8]>::to_owned),
            value: message.payload().map(<[u8]>::to_owned),
            headers: headers.unwrap_or_default(),
            timestamp: message.timestamp().to_millis(),
        };
        Self { partition: message.partition(), offset: message.offset(), record }
    }
}
