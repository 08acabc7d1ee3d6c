//! Avro's binary encoding of what everything else is built of.

/// Writes an int or a long: zigzag, then seven bits a byte.
pub(crate) fn long(number: i64, out: &mut Vec<u8>) {
    let mut zigzag = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while zigzag >= 0x80 {
        out.push((zigzag & 0x7f) as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

/// Writes a length or a count.
pub(crate) fn count(count: usize, out: &mut Vec<u8>) {
    // Nothing in memory is longer than an i64 counts.
    long(i64::try_from(count).unwrap_or(i64::MAX), out);
}

/// Writes a length and the bytes: `bytes` and `string`.
pub(crate) fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    count(bytes.len(), out);
    out.extend_from_slice(bytes);
}
