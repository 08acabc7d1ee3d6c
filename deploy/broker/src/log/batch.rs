//! The header of a record batch, format 2
//! (<https://kafka.apache.org/documentation/#recordbatch>).
//!
//! ```text
//! base offset i64, length i32 (of what follows), partition leader epoch i32, magic i8, crc u32
//! | attributes i16, last offset delta i32, base timestamp i64, max timestamp i64,
//! | producer id i64, producer epoch i16, base sequence i32, record count i32, records
//! ```
//! The CRC-32C covers what is right of the bar: the fields before it are the broker's to set.

use super::{codec::Codec, config::TimestampType};

/// Bytes of a batch's header.
pub const HEADER_BYTES: usize = 61;
/// Bytes before the ones that the length field counts.
pub(super) const LENGTH_PREFIX: usize = 12;
/// Where the bytes begin that the CRC covers.
pub(super) const CRC_FROM: usize = 21;
/// The only record format stored.
pub(super) const MAGIC: i8 = 2;
/// The epoch of the only leader there ever is.
pub(super) const LEADER_EPOCH: i32 = 0;
/// No producer id, epoch, sequence or timestamp.
pub const NONE: i64 = -1;

const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;

/// The fields of a batch's header, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record.
    pub base_offset: i64,
    /// Bytes that follow the length field.
    pub length: i32,
    /// The epoch of the leader that took the batch.
    pub leader_epoch: i32,
    /// The record format.
    pub magic: i8,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec, timestamp type, transactional, control, delete horizon.
    pub attributes: i16,
    /// The last record's offset, less the base offset.
    pub last_offset_delta: i32,
    /// What the records' timestamps are relative to, in milliseconds since 1970; or the delete
    /// horizon, if the attributes say so.
    pub base_timestamp: i64,
    /// The largest timestamp of the records.
    pub max_timestamp: i64,
    /// The idempotent producer's id, −1 without.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// The first record's sequence number.
    pub base_sequence: i32,
    /// How many records there are; fewer than offsets once compacted.
    pub record_count: i32,
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

impl BatchHeader {
    /// Reads a header; `None` if there are fewer bytes than one takes.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            base_offset: i64::from_be_bytes(field(bytes, 0)?),
            length: i32::from_be_bytes(field(bytes, 8)?),
            leader_epoch: i32::from_be_bytes(field(bytes, 12)?),
            magic: i8::from_be_bytes(field(bytes, 16)?),
            crc: u32::from_be_bytes(field(bytes, 17)?),
            attributes: i16::from_be_bytes(field(bytes, 21)?),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)?),
            base_timestamp: i64::from_be_bytes(field(bytes, 27)?),
            max_timestamp: i64::from_be_bytes(field(bytes, 35)?),
            producer_id: i64::from_be_bytes(field(bytes, 43)?),
            producer_epoch: i16::from_be_bytes(field(bytes, 51)?),
            base_sequence: i32::from_be_bytes(field(bytes, 53)?),
            record_count: i32::from_be_bytes(field(bytes, 57)?),
        })
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut rest = &mut bytes[..];
        let mut put = |value: &[u8]| {
            let (field, after) = std::mem::take(&mut rest).split_at_mut(value.len());
            field.copy_from_slice(value);
            rest = after;
        };
        put(&self.base_offset.to_be_bytes());
        put(&self.length.to_be_bytes());
        put(&self.leader_epoch.to_be_bytes());
        put(&self.magic.to_be_bytes());
        put(&self.crc.to_be_bytes());
        put(&self.attributes.to_be_bytes());
        put(&self.last_offset_delta.to_be_bytes());
        put(&self.base_timestamp.to_be_bytes());
        put(&self.max_timestamp.to_be_bytes());
        put(&self.producer_id.to_be_bytes());
        put(&self.producer_epoch.to_be_bytes());
        put(&self.base_sequence.to_be_bytes());
        put(&self.record_count.to_be_bytes());
        bytes
    }

    /// The CRC-32C of this header followed by `records`.
    pub(super) fn checksum(&self, records: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.encode()[CRC_FROM..]), records)
    }

    /// Bytes of the whole batch; 0 if the length field is negative.
    pub fn size(&self) -> usize {
        usize::try_from(self.length).map_or(0, |length| length + LENGTH_PREFIX)
    }

    /// The last record's offset.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(self.last_offset_delta.into())
    }

    /// The offset after the last record's.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// The number of the codec its records are compressed with.
    pub fn codec_number(&self) -> u8 {
        // Three bits always fit.
        (self.attributes & CODEC_MASK) as u8
    }

    /// The codec its records are compressed with; `None` if it is not known.
    pub fn codec(&self) -> Option<Codec> {
        Codec::from_number(self.codec_number())
    }

    pub(super) fn set_codec(&mut self, codec: Codec) {
        self.attributes = (self.attributes & !CODEC_MASK) | codec as i16;
    }

    /// Whose clock the timestamps are from.
    pub fn timestamp_type(&self) -> TimestampType {
        match self.attributes & LOG_APPEND_TIME {
            0 => TimestampType::CreateTime,
            _ => TimestampType::LogAppendTime,
        }
    }

    pub(super) fn set_timestamp_type(&mut self, of: TimestampType) {
        match of {
            TimestampType::CreateTime => self.attributes &= !LOG_APPEND_TIME,
            TimestampType::LogAppendTime => self.attributes |= LOG_APPEND_TIME,
        }
    }

    /// The attributes of a marker: control, and part of a transaction.
    pub(super) const MARKER: i16 = TRANSACTIONAL | CONTROL;

    /// Makes the batch one of no transaction: its transaction was committed.
    pub(super) fn set_settled(&mut self) {
        self.attributes &= !TRANSACTIONAL;
    }

    /// Whether the batch is part of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether the batch is a marker of the end of a transaction, not records.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// When the tombstones of this batch may go, in milliseconds since 1970: set by the first
    /// compaction that met them (KIP-534).
    pub fn delete_horizon(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    pub(super) fn set_delete_horizon(&mut self, horizon: i64) {
        self.attributes |= DELETE_HORIZON;
        self.base_timestamp = horizon;
    }

    /// Whether an idempotent producer sent it.
    pub fn has_producer(&self) -> bool {
        self.producer_id > NONE
    }

    /// The last record's sequence number; sequences wrap from 2³¹ − 1 to 0 (KIP-98).
    pub fn last_sequence(&self) -> i32 {
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }

    /// What is wrong with the fields of a batch of format 2, that no CRC is needed to see.
    pub(super) fn defect(&self) -> Option<String> {
        if self.magic != MAGIC {
            return Some(format!("record format {}, expected {MAGIC}", self.magic));
        }
        if self.size() < HEADER_BYTES {
            return Some(format!("length {} is less than a header", self.length));
        }
        if self.base_offset < 0 || self.last_offset_delta < 0 || self.record_count < 0 {
            return Some("a negative offset or record count".to_owned());
        }
        if self.base_offset.checked_add(i64::from(self.last_offset_delta) + 1).is_none() {
            return Some("an offset beyond 2⁶³".to_owned());
        }
        None
    }
}

/// Checks a whole stored batch: structure and CRC. Says what is wrong.
pub(super) fn check(bytes: &[u8]) -> Result<BatchHeader, String> {
    let header =
        BatchHeader::parse(bytes).ok_or_else(|| format!("{} bytes are no batch", bytes.len()))?;
    if let Some(defect) = header.defect() {
        return Err(defect);
    }
    if header.leader_epoch != LEADER_EPOCH {
        return Err(format!("leader epoch {}, expected {LEADER_EPOCH}", header.leader_epoch));
    }
    let Some(covered) = bytes.get(CRC_FROM..header.size()) else {
        return Err(format!("a batch of {} bytes in {} bytes", header.size(), bytes.len()));
    };
    let crc = crc32c::crc32c(covered);
    if crc == header.crc {
        Ok(header)
    } else {
        Err(format!("its CRC is {crc:08x}, the header says {:08x}", header.crc))
    }
}
