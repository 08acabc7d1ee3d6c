//! The transactions of one partition (KIP-98): which are open, so that readers of committed records
//! stop before them, and which were aborted, so that they leave their records out.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut};

use super::batch::{BatchHeader, HEADER_BYTES, LENGTH_PREFIX, MAGIC, NONE};

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its records count.
    Commit,
    /// Its records are left out.
    Abort,
}

impl Ending {
    /// The type of a marker's record (`ControlRecordType`).
    fn number(self) -> i16 {
        match self {
            Ending::Abort => 0,
            Ending::Commit => 1,
        }
    }
}

/// A transaction that was aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aborted {
    /// Its producer.
    pub producer_id: i64,
    /// The offset of its first record.
    pub first: i64,
    /// The offset of its marker.
    pub last: i64,
}

/// The transactions of one partition.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Transactions {
    /// The first offset of each producer's open transaction.
    open: BTreeMap<i64, i64>,
    /// In the order of their markers.
    aborted: Vec<Aborted>,
}

impl Transactions {
    /// Notes a batch that was appended; `ending` is what it says if it is a marker.
    pub fn update(&mut self, batch: &BatchHeader, ending: Option<Ending>) {
        if !batch.is_transactional() {
            return;
        }
        if !batch.is_control() {
            self.open.entry(batch.producer_id).or_insert(batch.base_offset);
        } else if let (Some(first), Some(Ending::Abort)) =
            (self.open.remove(&batch.producer_id), ending)
        {
            let (producer_id, last) = (batch.producer_id, batch.base_offset);
            self.aborted.push(Aborted { producer_id, first, last });
        }
    }

    /// The first offset of all open transactions.
    pub fn first_open(&self) -> Option<i64> {
        self.open.values().min().copied()
    }

    /// The first offset of a producer's open transaction.
    pub fn open_of(&self, producer_id: i64) -> Option<i64> {
        self.open.get(&producer_id).copied()
    }

    /// The aborted ones that reach into a range of offsets, in the order of their first records.
    pub fn aborted_within(&self, from: i64, until: i64) -> Vec<Aborted> {
        let after = self.aborted.partition_point(|aborted| aborted.last < from);
        let within = self.aborted[after..].iter().filter(|aborted| aborted.first < until);
        let mut within: Vec<_> = within.copied().collect();
        within.sort_by_key(|aborted| aborted.first);
        within
    }

    /// Whether a batch is of an aborted transaction.
    pub fn is_aborted(&self, batch: &BatchHeader) -> bool {
        let of = |aborted: &Aborted| {
            aborted.producer_id == batch.producer_id
                && (aborted.first..aborted.last).contains(&batch.base_offset)
        };
        batch.is_transactional() && self.aborted.iter().any(of)
    }

    /// Forgets those that ended before the log begins.
    pub fn forget_before(&mut self, log_start: i64) {
        self.aborted.retain(|aborted| aborted.last >= log_start);
    }

    pub fn encode(&self, to: &mut Vec<u8>) {
        // Far fewer than 2³².
        to.put_u32(self.open.len() as u32);
        for (producer, first) in &self.open {
            to.put_i64(*producer);
            to.put_i64(*first);
        }
        to.put_u32(self.aborted.len() as u32);
        for aborted in &self.aborted {
            to.put_i64(aborted.producer_id);
            to.put_i64(aborted.first);
            to.put_i64(aborted.last);
        }
    }

    pub fn decode(from: &mut &[u8]) -> Option<Self> {
        let mut transactions = Self::default();
        for _ in 0..from.try_get_u32().ok()? {
            let (producer, first) = (from.try_get_i64().ok()?, from.try_get_i64().ok()?);
            transactions.open.insert(producer, first);
        }
        for _ in 0..from.try_get_u32().ok()? {
            transactions.aborted.push(Aborted {
                producer_id: from.try_get_i64().ok()?,
                first: from.try_get_i64().ok()?,
                last: from.try_get_i64().ok()?,
            });
        }
        Some(transactions)
    }
}

/// The records of a marker: one, whose key is a version and how the transaction ended, whose value a
/// version and the coordinator's epoch (`EndTxnMarker.json`). Lengths are zigzag varints.
fn marker_records(ending: Ending, coordinator_epoch: i32) -> Vec<u8> {
    let mut record = vec![32, 0, 0, 0, 8];
    record.put_i16(0);
    record.put_i16(ending.number());
    record.put_u8(12);
    record.put_i16(0);
    record.put_i32(coordinator_epoch);
    record.put_u8(0);
    record
}

/// The control batch that ends a producer's transaction, still without an offset.
pub(super) fn marker(
    producer_id: i64,
    producer_epoch: i16,
    ending: Ending,
    coordinator_epoch: i32,
    now_ms: i64,
) -> (BatchHeader, Vec<u8>) {
    let records = marker_records(ending, coordinator_epoch);
    let mut header = BatchHeader {
        base_offset: 0,
        // A few dozen bytes.
        length: (HEADER_BYTES - LENGTH_PREFIX + records.len()) as i32,
        leader_epoch: super::batch::LEADER_EPOCH,
        magic: MAGIC,
        crc: 0,
        attributes: BatchHeader::MARKER,
        last_offset_delta: 0,
        base_timestamp: now_ms,
        max_timestamp: now_ms,
        producer_id,
        producer_epoch,
        // NO_SEQUENCE.
        base_sequence: NONE as i32,
        record_count: 1,
    };
    header.crc = header.checksum(&records);
    (header, records)
}

/// What a batch says of the end of a transaction; `None` if it is no marker.
pub(super) fn ending_of(header: &BatchHeader, records: &[u8]) -> Option<Ending> {
    if !header.is_control() {
        return None;
    }
    let mut key = records.get(7..9)?;
    match key.get_i16() {
        0 => Some(Ending::Abort),
        1 => Some(Ending::Commit),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(producer_id: i64, base_offset: i64) -> BatchHeader {
        let (mut header, _) = marker(producer_id, 0, Ending::Commit, 0, 7);
        header.attributes = BatchHeader::MARKER & !0x20;
        header.base_offset = base_offset;
        header
    }

    fn end(transactions: &mut Transactions, producer_id: i64, offset: i64, ending: Ending) {
        let (mut header, records) = marker(producer_id, 0, ending, 0, 7);
        header.base_offset = offset;
        transactions.update(&header, ending_of(&header, &records));
    }

    #[test]
    fn what_is_open_holds_back_and_what_was_aborted_is_known_by_its_offsets() {
        let mut transactions = Transactions::default();
        transactions.update(&batch(1, 10), None);
        transactions.update(&batch(2, 11), None);
        transactions.update(&batch(1, 12), None);
        assert_eq!(transactions.first_open(), Some(10));
        end(&mut transactions, 1, 13, Ending::Abort);
        assert_eq!(transactions.first_open(), Some(11));
        end(&mut transactions, 2, 14, Ending::Commit);
        assert_eq!(transactions.first_open(), None);
        let aborted = Aborted { producer_id: 1, first: 10, last: 13 };
        assert_eq!(transactions.aborted_within(0, 100), [aborted]);
        assert_eq!(transactions.aborted_within(13, 14), [aborted]);
        assert!(transactions.aborted_within(14, 100).is_empty());
        assert!(transactions.aborted_within(0, 10).is_empty());
        assert!(transactions.is_aborted(&batch(1, 12)) && !transactions.is_aborted(&batch(2, 11)));

        let mut bytes = Vec::new();
        transactions.encode(&mut bytes);
        assert_eq!(Transactions::decode(&mut &bytes[..]), Some(transactions.clone()));
        for length in 0..bytes.len() {
            assert_eq!(Transactions::decode(&mut &bytes[..length]), None, "{length} bytes");
        }
        transactions.forget_before(14);
        assert_eq!(transactions, Transactions::default());
    }

    #[test]
    fn a_marker_is_read_as_the_field_writes_it() {
        use kafka_protocol::records::RecordBatchDecoder;
        for ending in [Ending::Commit, Ending::Abort] {
            let (header, records) = marker(7, 3, ending, 0, 1_000);
            let mut bytes = header.encode().to_vec();
            bytes.extend_from_slice(&records);
            assert!(super::super::batch::check(&bytes).is_ok());
            let mut bytes = bytes::Bytes::from(bytes);
            let decoded = RecordBatchDecoder::decode(&mut bytes).unwrap().records;
            assert_eq!(decoded.len(), 1);
            assert!(decoded[0].control && decoded[0].transactional);
            assert_eq!((decoded[0].producer_id, decoded[0].producer_epoch), (7, 3));
            let key = decoded[0].key.clone().unwrap();
            assert_eq!(&key[..], [0, 0, 0, ending.number() as u8]);
            assert_eq!(ending_of(&header, &records), Some(ending));
        }
    }
}
