//! A transactional id's state in `__transaction_state`: in Apache Kafka's own format
//! (`TransactionLogKey.json` and `TransactionLogValue.json`, version 0), so that its tools read it.

use std::collections::BTreeSet;

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};

use super::state::{Stage, Transaction};
use crate::groups::{Place, put_text, text};

const VERSION: i16 = 0;

pub(super) fn encode_key(id: &str) -> Bytes {
    let mut key = BytesMut::new();
    key.put_i16(VERSION);
    put_text(&mut key, id);
    key.freeze()
}

/// The id of a record's key; `None` if the record is of another kind.
pub(super) fn decode_key(mut key: Bytes) -> Result<Option<String>, TryGetError> {
    match key.try_get_i16()? {
        VERSION => text(&mut key).map(Some),
        _ => Ok(None),
    }
}

pub(super) fn encode_value(transaction: &Transaction) -> Bytes {
    let mut value = BytesMut::new();
    value.put_i16(VERSION);
    value.put_i64(transaction.producer_id);
    value.put_i16(transaction.epoch);
    value.put_i32(transaction.timeout_ms);
    value.put_i8(transaction.stage.number());
    let mut topics: Vec<(&str, Vec<i32>)> = Vec::new();
    for Place { topic, partition } in &transaction.partitions {
        match topics.last_mut().filter(|(last, _)| last == topic) {
            Some((_, partitions)) => partitions.push(*partition),
            None => topics.push((topic, vec![*partition])),
        }
    }
    // Bounded by the broker's limit of partitions.
    value.put_i32(topics.len() as i32);
    for (topic, partitions) in topics {
        put_text(&mut value, topic);
        value.put_i32(partitions.len() as i32);
        partitions.into_iter().for_each(|partition| value.put_i32(partition));
    }
    value.put_i64(transaction.updated_ms);
    value.put_i64(transaction.started_ms);
    value.freeze()
}

pub(super) fn decode_value(mut value: Bytes) -> Result<Transaction, String> {
    let short = |error: TryGetError| format!("it is cut short: {error}");
    let version = value.try_get_i16().map_err(short)?;
    if version != VERSION {
        return Err(format!("version {version}, expected {VERSION}"));
    }
    let producer_id = value.try_get_i64().map_err(short)?;
    let epoch = value.try_get_i16().map_err(short)?;
    let timeout_ms = value.try_get_i32().map_err(short)?;
    let number = value.try_get_i8().map_err(short)?;
    let stage = Stage::of(number).ok_or_else(|| format!("state {number} is not known"))?;
    let mut partitions = BTreeSet::new();
    for _ in 0..value.try_get_i32().map_err(short)? {
        let topic = text(&mut value).map_err(short)?;
        for _ in 0..value.try_get_i32().map_err(short)? {
            let partition = value.try_get_i32().map_err(short)?;
            partitions.insert(Place { topic: topic.clone(), partition });
        }
    }
    let updated_ms = value.try_get_i64().map_err(short)?;
    let started_ms = value.try_get_i64().map_err(short)?;
    let mut transaction = Transaction::new(producer_id, timeout_ms, updated_ms);
    transaction.epoch = epoch;
    transaction.stage = stage;
    transaction.partitions = partitions;
    transaction.started_ms = started_ms;
    Ok(transaction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_written_and_cut_anywhere_it_is_an_error() {
        let mut transaction = Transaction::new(42, 60_000, 1_700_000);
        transaction.epoch = 7;
        transaction.stage = Stage::PrepareCommit;
        transaction.started_ms = 1_600_000;
        for (topic, partition) in [("a", 0), ("a", 3), ("b", 1)] {
            transaction.partitions.insert(Place { topic: topic.to_owned(), partition });
        }
        let value = encode_value(&transaction);
        let read = decode_value(value.clone()).unwrap();
        assert_eq!(encode_value(&read), value);
        assert_eq!((read.stage, read.partitions), (transaction.stage, transaction.partitions));
        for length in 0..value.len() {
            assert!(decode_value(value.slice(..length)).is_err(), "{length} bytes");
        }
        let key = encode_key("orders");
        assert_eq!(decode_key(key), Ok(Some("orders".to_owned())));
    }
}
