//! Confluent's wire format: what stands before the Avro bytes in a Kafka record.
//!
//! A zero byte, the schema's id as four bytes, big-endian, then the payload
//! (<https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format>).

/// The registry's number of a schema: the same content has the same id, for ever.
pub type SchemaId = u32;

/// Bytes that stand before every payload.
pub const HEADER: usize = 5;

const MAGIC: u8 = 0;
/// The newer form: a GUID of 16 bytes, in a header or before the payload.
const MAGIC_GUID: u8 = 1;

/// Why a record's value is not in the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Fewer than five bytes.
    #[error(
        "the value has {0} bytes, less than the 5 of a schema id: it was not written with a schema registry"
    )]
    TooShort(usize),
    /// The first byte is 1: the schema is named by a GUID.
    #[error(
        "the value names its schema by a GUID (first byte 0x01), which is not supported: \
         have the producer write the schema's id before the payload"
    )]
    Guid,
    /// The first byte is neither 0 nor 1.
    #[error(
        "the value starts with 0x{0:02x}, not with the 0x00 of a schema id: it was not written with a schema registry"
    )]
    Magic(u8),
}

/// Splits a record's value into its schema's id and its Avro payload.
///
/// # Errors
/// The value is not in the wire format.
pub fn split(value: &[u8]) -> Result<(SchemaId, &[u8]), WireError> {
    match value {
        [MAGIC, a, b, c, d, payload @ ..] => {
            Ok((SchemaId::from_be_bytes([*a, *b, *c, *d]), payload))
        }
        [MAGIC_GUID, ..] => Err(WireError::Guid),
        [MAGIC, ..] | [] => Err(WireError::TooShort(value.len())),
        [other, ..] => Err(WireError::Magic(*other)),
    }
}

/// Puts the header before a payload.
pub fn frame(id: SchemaId, payload: &[u8]) -> Vec<u8> {
    let mut value = header(id).to_vec();
    value.extend_from_slice(payload);
    value
}

/// The five bytes to write before a payload, for a caller that encodes behind them.
pub fn header(id: SchemaId) -> [u8; HEADER] {
    let [a, b, c, d] = id.to_be_bytes();
    [MAGIC, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_framed_payload_is_split_again() {
        let value = frame(0x0102_0304, b"avro");
        assert_eq!(value, b"\x00\x01\x02\x03\x04avro");
        assert_eq!(split(&value), Ok((0x0102_0304, &b"avro"[..])));
        assert_eq!(split(&[0, 0, 0, 0, 7]), Ok((7, &[][..])));
    }

    #[test]
    fn other_bytes_are_refused_with_the_reason() {
        assert_eq!(split(&[]), Err(WireError::TooShort(0)));
        assert_eq!(split(&[0, 0, 0, 1]), Err(WireError::TooShort(4)));
        assert_eq!(split(&[1; 20]), Err(WireError::Guid));
        assert_eq!(split(b"{\"id\":1}"), Err(WireError::Magic(b'{')));
    }
}
