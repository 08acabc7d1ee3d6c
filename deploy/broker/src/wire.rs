//! Reading requests without trusting a single length in them.
//!
//! The decoders of `kafka-protocol` reserve memory for as many elements as an array claims to hold,
//! before they read the first: four bytes can claim 2³¹. [`decode`] feeds them a buffer that
//! refuses such a claim, so that what a request makes us allocate is bounded by its size.

use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::{
    messages::{ApiKey, RequestHeader},
    protocol::{Decodable, buf::ByteBuf},
};

/// The elements that one array may claim. A request holds far fewer: topics, partitions, members.
const MAX_ELEMENTS: usize = 1 << 20;
/// The fields that one request may hold.
const MAX_READS: usize = 1 << 20;
/// How much a varint may exceed the bytes that follow it: tags are varints too, and no lengths.
const TAG_SLACK: usize = 1024;
/// Bytes of a varint of 32 bits.
const VARINT_BYTES: u32 = 5;

/// A buffer that the decoders read from, and that refuses lengths beyond its end.
///
/// A varint is either a length or a tag, so one that is too large is refused as it is read. A fixed
/// `i32` may as well be a time-out; it is shown as −2 on a first, trial pass, which only a length
/// cannot be. If the trial succeeds, no length is among the large numbers, and they can be read.
struct Guarded {
    rest: Bytes,
    reads: usize,
    trial: bool,
    /// Whether the trial hid a number.
    hidden: bool,
    /// The varint being read: its value and bytes so far.
    varint: u32,
    varint_bytes: u32,
}

impl Guarded {
    fn new(frame: Bytes, trial: bool) -> Self {
        Self { rest: frame, reads: 0, trial, hidden: false, varint: 0, varint_bytes: 0 }
    }

    fn refused(&self) -> TryGetError {
        TryGetError { requested: usize::MAX, available: self.rest.len() }
    }

    fn end_varint(&mut self) {
        self.varint = 0;
        self.varint_bytes = 0;
    }
}

impl Buf for Guarded {
    fn remaining(&self) -> usize {
        // Out of budget reads as out of bytes: every read then ends in an error.
        if self.reads > MAX_READS { 0 } else { self.rest.len() }
    }

    fn chunk(&self) -> &[u8] {
        if self.reads > MAX_READS { &[] } else { &self.rest }
    }

    fn advance(&mut self, bytes: usize) {
        self.end_varint();
        self.reads += 1;
        self.rest.advance(bytes);
    }

    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        let Some(&byte) = self.chunk().first() else { return Err(self.refused()) };
        self.rest.advance(1);
        self.reads += 1;
        if self.varint_bytes == VARINT_BYTES - 1 && byte > 0x0f {
            return Err(self.refused());
        }
        self.varint |= u32::from(byte & 0x7f) << (7 * self.varint_bytes);
        self.varint_bytes += 1;
        if byte < 0x80 {
            let value = self.varint as usize;
            self.end_varint();
            if value > self.rest.len() + TAG_SLACK || value > MAX_ELEMENTS {
                return Err(self.refused());
            }
        }
        Ok(byte)
    }

    fn try_get_i32(&mut self) -> Result<i32, TryGetError> {
        let value = self.try_get_u32()?.cast_signed();
        let too_long = usize::try_from(value)
            .is_ok_and(|length| length > self.rest.len() || length > MAX_ELEMENTS);
        if self.trial && too_long {
            self.hidden = true;
            return Ok(-2);
        }
        Ok(value)
    }
}

impl ByteBuf for Guarded {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        self.rest.slice(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.end_varint();
        self.reads += 1;
        self.rest.split_to(size)
    }
}

/// Decodes a message of a version; fails rather than allocate more than a small multiple of the
/// frame's size.
///
/// # Errors
/// Says what is wrong with the frame.
pub(crate) fn decode<M: Decodable>(frame: &Bytes, version: i16) -> Result<M, String> {
    let read = |trial| {
        let mut guarded = Guarded::new(frame.clone(), trial);
        let message = M::decode(&mut guarded, version).map_err(|error| error.to_string())?;
        Ok::<_, String>((message, guarded.hidden))
    };
    let (message, hidden) = read(true)?;
    Ok(if hidden { read(false)?.0 } else { message })
}

/// What a request's frame begins with.
#[derive(Debug)]
pub(crate) struct Head {
    /// The API's key, as sent: it may be unknown.
    pub key: i16,
    /// The version of the request.
    pub version: i16,
    /// Comes back in the response.
    pub correlation: i32,
    /// What the client calls itself.
    pub client: String,
}

/// Takes the header off a frame.
///
/// # Errors
/// Says what is wrong with the frame.
pub(crate) fn take_head(frame: &mut Bytes) -> Result<Head, String> {
    let short = |_| "a request shorter than its header".to_owned();
    let mut fixed = frame.clone();
    let key = fixed.try_get_i16().map_err(short)?;
    let version = fixed.try_get_i16().map_err(short)?;
    let correlation = fixed.try_get_i32().map_err(short)?;
    let Ok(api) = ApiKey::try_from(key) else {
        return Ok(Head { key, version, correlation, client: String::new() });
    };
    let mut guarded = Guarded::new(frame.clone(), false);
    let header = RequestHeader::decode(&mut guarded, api.request_header_version(version))
        .map_err(|error| error.to_string())?;
    *frame = guarded.rest;
    let client = header.client_id.map(|id| id.to_string()).unwrap_or_default();
    Ok(Head { key, version, correlation, client })
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};
    use kafka_protocol::{
        messages::{
            FetchRequest, JoinGroupRequest, MetadataRequest,
            fetch_request::{FetchPartition, FetchTopic},
            join_group_request::JoinGroupRequestProtocol,
        },
        protocol::{Encodable, StrBytes},
    };

    use super::*;

    fn encoded(message: &impl Encodable, version: i16) -> Bytes {
        let mut frame = BytesMut::new();
        message.encode(&mut frame, version).unwrap();
        frame.freeze()
    }

    #[test]
    fn a_request_with_large_numbers_is_read_in_every_version() {
        let fetch = FetchRequest::default()
            .with_max_wait_ms(i32::MAX)
            .with_max_bytes(i32::MAX)
            .with_topics(vec![FetchTopic::default().with_partitions(vec![
                FetchPartition::default().with_partition_max_bytes(50 << 20),
            ])]);
        for version in 4..=18 {
            let read: FetchRequest = decode(&encoded(&fetch, version), version).unwrap();
            assert_eq!(read.max_wait_ms, i32::MAX, "version {version}");
            assert_eq!(read.topics[0].partitions[0].partition_max_bytes, 50 << 20);
        }
    }

    #[test]
    fn large_bytes_are_read_in_every_version() {
        let join =
            JoinGroupRequest::default().with_session_timeout_ms(45_000).with_protocols(vec![
                JoinGroupRequestProtocol::default()
                    .with_name(StrBytes::from_static_str("range"))
                    .with_metadata(vec![7; 900_000].into()),
            ]);
        for version in 0..=9 {
            let read: JoinGroupRequest = decode(&encoded(&join, version), version).unwrap();
            assert_eq!(read.protocols[0].metadata.len(), 900_000, "version {version}");
            assert_eq!(read.session_timeout_ms, 45_000);
        }
    }

    #[test]
    fn an_array_that_claims_more_than_its_frame_holds_is_refused() {
        // Version 1 counts in an i32, version 9 in a varint.
        assert!(
            decode::<MetadataRequest>(&Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]), 1).is_err()
        );
        let claim = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x07, 1, 1, 1, 1]);
        assert!(decode::<MetadataRequest>(&claim, 9).is_err());
        // A boolean that looks like the first byte of the varint does not hide it.
        let claim = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 1]);
        assert!(decode::<MetadataRequest>(&claim, 9).is_err());
    }

    #[test]
    fn a_request_of_countless_fields_is_refused() {
        let mut frame = BytesMut::new();
        frame.put_i32(1 << 20);
        frame.put_bytes(0, 4 << 20);
        assert!(decode::<MetadataRequest>(&frame.freeze(), 1).is_err());
    }

    #[test]
    fn a_header_that_is_cut_short_is_refused() {
        for length in 0..10 {
            let mut frame = Bytes::from(vec![0; length]);
            assert!(take_head(&mut frame).is_err(), "{length} bytes");
        }
    }
}
