//! The records within a batch (<https://kafka.apache.org/documentation/#record>).
//!
//! ```text
//! length varint, attributes i8, timestamp delta varlong, offset delta varint,
//! key length varint, key, value length varint, value, header count varint, headers
//! ```
//! A length of −1 is null; varints are zigzag.

use std::borrow::Cow;

use bytes::{BufMut, Bytes};

use super::{
    batch::{self, BatchHeader, HEADER_BYTES},
    config::TimestampType,
};

/// One record, owned, as a coordinator reads it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// One record within the decompressed bytes of its batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordView<'a> {
    pub offset_delta: i32,
    pub timestamp_delta: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// Header count and headers.
    headers: &'a [u8],
    attributes: u8,
    /// The whole record, length included.
    pub raw: &'a [u8],
}

const CUT_SHORT: &str = "a record is cut short";

fn varlong(from: &mut &[u8]) -> Result<i64, &'static str> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = from.split_first().ok_or(CUT_SHORT)?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    Err("a number of more than ten bytes")
}

fn varint(from: &mut &[u8]) -> Result<i32, &'static str> {
    i32::try_from(varlong(from)?).map_err(|_| "a number beyond 32 bits")
}

fn put_varlong(to: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while zigzag >= 0x80 {
        to.push((zigzag as u8) | 0x80);
        zigzag >>= 7;
    }
    to.push(zigzag as u8);
}

fn take<'a>(from: &mut &'a [u8], length: usize) -> Result<&'a [u8], &'static str> {
    let (taken, rest) = from.split_at_checked(length).ok_or(CUT_SHORT)?;
    *from = rest;
    Ok(taken)
}

fn nullable<'a>(from: &mut &'a [u8]) -> Result<Option<&'a [u8]>, &'static str> {
    match varint(from)? {
        -1 => Ok(None),
        length => usize::try_from(length)
            .map_err(|_| "a negative length")
            .and_then(|length| take(from, length))
            .map(Some),
    }
}

impl<'a> RecordView<'a> {
    fn parse(from: &mut &'a [u8]) -> Result<Self, &'static str> {
        let start = *from;
        let length = usize::try_from(varint(from)?).map_err(|_| "a record of negative length")?;
        let mut body = take(from, length)?;
        let raw = &start[..start.len() - from.len()];
        let attributes = take(&mut body, 1)?[0];
        let timestamp_delta = varlong(&mut body)?;
        let offset_delta = varint(&mut body)?;
        let key = nullable(&mut body)?;
        let value = nullable(&mut body)?;
        let view =
            Self { offset_delta, timestamp_delta, key, value, headers: body, attributes, raw };
        view.for_each_header(|_, _| ())?;
        Ok(view)
    }

    fn for_each_header(
        &self,
        mut each: impl FnMut(&'a [u8], Option<&'a [u8]>),
    ) -> Result<(), &'static str> {
        let mut rest = self.headers;
        let count = u32::try_from(varint(&mut rest)?).map_err(|_| "a negative header count")?;
        for _ in 0..count {
            let key = nullable(&mut rest)?.ok_or("a header without a key")?;
            each(key, nullable(&mut rest)?);
        }
        if rest.is_empty() { Ok(()) } else { Err("bytes after a record's headers") }
    }

    /// The record's timestamp in milliseconds since 1970.
    pub fn timestamp(&self, header: &BatchHeader) -> i64 {
        match header.timestamp_type() {
            TimestampType::LogAppendTime => header.max_timestamp,
            TimestampType::CreateTime => header.base_timestamp.saturating_add(self.timestamp_delta),
        }
    }

    /// Writes the record with another timestamp delta.
    pub fn encode(&self, timestamp_delta: i64, to: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(self.raw.len() + 10);
        body.push(self.attributes);
        put_varlong(&mut body, timestamp_delta);
        put_varlong(&mut body, self.offset_delta.into());
        for field in [self.key, self.value] {
            put_varlong(&mut body, field.map_or(-1, |bytes| bytes.len() as i64));
            body.put_slice(field.unwrap_or_default());
        }
        body.put_slice(self.headers);
        put_varlong(to, body.len() as i64);
        to.put_slice(&body);
    }
}

/// The records of a batch, one after the other; ends after the first damaged one.
pub(super) struct Records<'a> {
    rest: &'a [u8],
    left: i32,
}

impl<'a> Records<'a> {
    pub fn new(header: &BatchHeader, decompressed: &'a [u8]) -> Self {
        Self { rest: decompressed, left: header.record_count }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            let unread = std::mem::take(&mut self.rest);
            return (!unread.is_empty()).then_some(Err("bytes after the last record"));
        }
        let record = RecordView::parse(&mut self.rest);
        self.left = if record.is_ok() { self.left - 1 } else { 0 };
        if record.is_err() {
            self.rest = &[];
        }
        Some(record)
    }
}

/// The decompressed records of a checked batch.
pub(super) fn decompressed<'a>(
    header: &BatchHeader,
    batch: &'a [u8],
) -> Result<Cow<'a, [u8]>, String> {
    let codec = header
        .codec()
        .ok_or_else(|| format!("compression codec {} is not known", header.codec_number()))?;
    let records = batch.get(HEADER_BYTES..header.size()).ok_or(CUT_SHORT)?;
    if records.is_empty() {
        // A batch emptied by compaction keeps its header only, whatever its codec.
        return Ok(Cow::Borrowed(records));
    }
    codec.decompress(records).map_err(|error| format!("{codec:?} cannot decompress it: {error}"))
}

/// The records of one stored batch.
///
/// # Errors
/// Says what is wrong with the batch.
pub fn decode(batch: &Bytes) -> Result<Vec<Record>, String> {
    let header = batch::check(batch)?;
    let records = match decompressed(&header, batch)? {
        Cow::Borrowed(records) => batch.slice_ref(records),
        Cow::Owned(records) => records.into(),
    };
    let slice = |part: &[u8]| records.slice_ref(part);
    Records::new(&header, &records)
        .map(|view| {
            let view = view?;
            let mut headers = Vec::new();
            view.for_each_header(|key, value| headers.push((slice(key), value.map(slice))))?;
            Ok(Record {
                offset: header.base_offset.saturating_add(view.offset_delta.into()),
                timestamp: view.timestamp(&header),
                key: view.key.map(slice),
                value: view.value.map(slice),
                headers,
            })
        })
        .collect()
}
