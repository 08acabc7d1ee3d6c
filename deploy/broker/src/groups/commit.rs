//! Committed offsets, and their records in `__consumer_offsets`: in Apache Kafka's own format
//! (`OffsetCommitKey.json` version 1, `OffsetCommitValue.json` version 3), so that its tools read
//! them.

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};

/// What an offset is committed for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub topic: String,
    pub partition: i32,
}

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub offset: i64,
    /// −1 if the client did not say.
    pub leader_epoch: i32,
    /// What the client noted beside it.
    pub metadata: String,
    /// Milliseconds since 1970.
    pub at: i64,
}

const KEY_VERSION: i16 = 1;
const VALUE_VERSION: i16 = 3;

pub(crate) fn put_text(to: &mut BytesMut, text: &str) {
    // Every text comes from a request, where its length had to fit as well, or is checked.
    to.put_i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
    to.put_slice(&text.as_bytes()[..text.len().min(i16::MAX as usize)]);
}

pub(crate) fn text(from: &mut Bytes) -> Result<String, TryGetError> {
    let length = usize::try_from(from.try_get_i16()?).unwrap_or_default();
    if length > from.len() {
        return Err(TryGetError { requested: length, available: from.len() });
    }
    Ok(String::from_utf8_lossy(&from.split_to(length)).into_owned())
}

/// The key of a commit's record.
pub(crate) fn encode_key(group: &str, place: &Place) -> Bytes {
    let mut key = BytesMut::new();
    key.put_i16(KEY_VERSION);
    put_text(&mut key, group);
    put_text(&mut key, &place.topic);
    key.put_i32(place.partition);
    key.freeze()
}

/// The group and place of a record's key; `None` if the record is not a commit's.
pub(crate) fn decode_key(mut key: Bytes) -> Result<Option<(String, Place)>, TryGetError> {
    if key.try_get_i16()? > KEY_VERSION {
        return Ok(None);
    }
    let group = text(&mut key)?;
    let topic = text(&mut key)?;
    Ok(Some((group, Place { topic, partition: key.try_get_i32()? })))
}

/// The value of a commit's record.
pub(crate) fn encode_value(committed: &Committed) -> Bytes {
    let mut value = BytesMut::new();
    value.put_i16(VALUE_VERSION);
    value.put_i64(committed.offset);
    value.put_i32(committed.leader_epoch);
    put_text(&mut value, &committed.metadata);
    value.put_i64(committed.at);
    value.freeze()
}

/// The offset of a commit's value.
pub(crate) fn decode_value(mut value: Bytes) -> Result<Committed, TryGetError> {
    let version = value.try_get_i16()?;
    let offset = value.try_get_i64()?;
    let leader_epoch = if version >= 3 { value.try_get_i32()? } else { -1 };
    let metadata = text(&mut value)?;
    Ok(Committed { offset, leader_epoch, metadata, at: value.try_get_i64()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_read_as_it_was_written() {
        let place = Place { topic: "orders".into(), partition: 7 };
        let key = encode_key("billing", &place);
        assert_eq!(decode_key(key.clone()), Ok(Some(("billing".into(), place))));
        let committed =
            Committed { offset: 42, leader_epoch: 0, metadata: "x".repeat(4096), at: 1_700_000 };
        let value = encode_value(&committed);
        assert_eq!(decode_value(value.clone()), Ok(committed));
        for length in 0..key.len() {
            assert!(decode_key(key.slice(..length)).is_err(), "{length} bytes of a key");
        }
        for length in 0..value.len() {
            assert!(decode_value(value.slice(..length)).is_err(), "{length} bytes of a value");
        }
    }

    #[test]
    fn a_record_of_another_kind_is_passed_over() {
        assert_eq!(decode_key(Bytes::from_static(&[0, 2, 0, 1, b'g'])), Ok(None));
    }
}
