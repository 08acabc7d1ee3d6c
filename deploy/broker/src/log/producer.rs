//! What the log remembers of idempotent producers (KIP-98), so that a batch sent again is stored
//! once and one that is missing is noticed.

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
};

use bytes::{Buf, BufMut};

use super::{LogError, batch::BatchHeader, files, transactions::Transactions};

/// Batches remembered of each producer: as many as a producer may have in flight.
const REMEMBERED: usize = 5;
/// Producers remembered of each partition; beyond, the longest silent ones are forgotten.
const MAX_PRODUCERS: usize = 10_000;
/// Milliseconds after which a silent producer is forgotten (`producer.id.expiration.ms`).
const EXPIRES_AFTER_MS: i64 = 24 * 60 * 60 * 1000;

/// One stored batch of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Remembered {
    first_sequence: i32,
    last_sequence: i32,
    pub base_offset: i64,
    pub last_offset: i64,
    pub timestamp: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    /// The last batches of this epoch, oldest first; empty once a marker brought a new epoch.
    batches: VecDeque<Remembered>,
    /// When it last wrote, in milliseconds since 1970, by the broker's clock.
    last_seen: i64,
}

/// A producer that wrote to a partition lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub producer_id: i64,
    /// The newest epoch it wrote with.
    pub epoch: i16,
    /// The last sequence number of that epoch, −1 if there is none yet.
    pub last_sequence: i32,
    /// When it last wrote, in milliseconds since 1970.
    pub last_timestamp: i64,
    /// The first offset of its open transaction.
    pub transaction_start: Option<i64>,
}

/// The producers of one partition.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Producers {
    by_id: HashMap<i64, Producer>,
}

impl Producers {
    /// Whether a batch may be appended: `Some` is the earlier batch it repeats.
    ///
    /// A producer not known (any more) may begin with any sequence, as in Kafka since 2.5: its
    /// records may have expired.
    pub fn check(&self, batch: &BatchHeader) -> Result<Option<Remembered>, LogError> {
        let Some(producer) = self.by_id.get(&batch.producer_id) else { return Ok(None) };
        if batch.base_sequence < 0 {
            // A marker, or the broker's own: not numbered.
            return Ok(None);
        }
        if batch.producer_epoch < producer.epoch {
            return Err(LogError::Fenced {
                producer_id: batch.producer_id,
                epoch: batch.producer_epoch,
                current: producer.epoch,
            });
        }
        let same_epoch = batch.producer_epoch == producer.epoch;
        if same_epoch && let Some(earlier) = producer.repeats(batch) {
            return Ok(Some(earlier));
        }
        let last = producer.batches.back().filter(|_| same_epoch);
        let expected = last.map_or(0, |last| last.last_sequence.wrapping_add(1) & i32::MAX);
        if batch.base_sequence == expected {
            return Ok(None);
        }
        Err(LogError::OutOfOrderSequence {
            producer_id: batch.producer_id,
            epoch: batch.producer_epoch,
            sequence: batch.base_sequence,
            last: last.map_or(-1, |last| last.last_sequence),
        })
    }

    /// Remembers an appended batch.
    pub fn update(&mut self, batch: &BatchHeader, now_ms: i64) {
        if !batch.has_producer() {
            return;
        }
        if batch.is_control() && !self.by_id.contains_key(&batch.producer_id) {
            return;
        }
        let producer = self.by_id.entry(batch.producer_id).or_insert_with(|| Producer {
            epoch: batch.producer_epoch,
            batches: VecDeque::with_capacity(REMEMBERED),
            last_seen: now_ms,
        });
        producer.last_seen = now_ms;
        if batch.base_sequence < 0 {
            return producer.raise(batch.producer_epoch);
        }
        producer.raise(batch.producer_epoch);
        if producer.batches.len() == REMEMBERED {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Remembered {
            first_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence(),
            base_offset: batch.base_offset,
            last_offset: batch.last_offset(),
            timestamp: batch.max_timestamp,
        });
        if self.by_id.len() > MAX_PRODUCERS {
            self.forget_longest_silent();
        }
    }

    /// A tenth at once, so that a flood of new producers does not scan for each.
    fn forget_longest_silent(&mut self) {
        let mut seen: Vec<i64> = self.by_id.values().map(|producer| producer.last_seen).collect();
        let nth = MAX_PRODUCERS / 10;
        let (_, &mut threshold, _) = seen.select_nth_unstable(nth);
        let mut left = nth;
        self.by_id.retain(|_, producer| {
            let forget = left > 0 && producer.last_seen <= threshold;
            left -= usize::from(forget);
            !forget
        });
    }

    /// Forgets producers silent for a day, unless their transaction is open.
    pub fn expire(&mut self, transactions: &Transactions, now_ms: i64) {
        self.by_id.retain(|&id, producer| {
            transactions.open_of(id).is_some()
                || now_ms.saturating_sub(producer.last_seen) < EXPIRES_AFTER_MS
        });
    }

    /// All that are remembered; nothing is said of transactions.
    pub fn active(&self) -> Vec<ActiveProducer> {
        let active = |(&producer_id, producer): (&i64, &Producer)| ActiveProducer {
            producer_id,
            epoch: producer.epoch,
            last_sequence: producer.batches.back().map_or(-1, |batch| batch.last_sequence),
            last_timestamp: producer.last_seen,
            transaction_start: None,
        };
        self.by_id.iter().map(active).collect()
    }

    /// The last offset of each producer's last batch.
    pub fn last_offsets(&self) -> HashMap<i64, i64> {
        self.by_id
            .iter()
            .filter_map(|(&id, producer)| Some((id, producer.batches.back()?.last_offset)))
            .collect()
    }
}

impl Producer {
    /// A newer epoch has come, with a batch or a marker: who writes with an older one is fenced.
    fn raise(&mut self, epoch: i16) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
    }

    fn repeats(&self, batch: &BatchHeader) -> Option<Remembered> {
        self.batches
            .iter()
            .find(|earlier| {
                earlier.first_sequence == batch.base_sequence
                    && earlier.last_sequence == batch.last_sequence()
            })
            .copied()
    }
}

const SNAPSHOT_MAGIC: &[u8; 8] = b"PLPROD\0\x02";
const REMEMBERED_BYTES: usize = 4 + 4 + 8 + 8 + 8;

impl Producers {
    /// Writes what is known at `offset`, of transactions too, for the next start.
    pub fn save(
        &self,
        transactions: &Transactions,
        path: &Path,
        offset: i64,
    ) -> Result<(), LogError> {
        let mut bytes = Vec::with_capacity(32 + self.by_id.len() * (19 + 2 * REMEMBERED_BYTES));
        bytes.put_slice(SNAPSHOT_MAGIC);
        bytes.put_i64(offset);
        transactions.encode(&mut bytes);
        for (id, producer) in &self.by_id {
            bytes.put_i64(*id);
            bytes.put_i16(producer.epoch);
            bytes.put_i64(producer.last_seen);
            // At most `REMEMBERED`.
            bytes.put_u8(producer.batches.len() as u8);
            for batch in &producer.batches {
                bytes.put_i32(batch.first_sequence);
                bytes.put_i32(batch.last_sequence);
                bytes.put_i64(batch.base_offset);
                bytes.put_i64(batch.last_offset);
                bytes.put_i64(batch.timestamp);
            }
        }
        bytes.put_u32(crc32c::crc32c(&bytes));
        // It has to be there once what it is made of is cleaned away.
        files::replace(path, &bytes, true)
    }

    /// Reads a snapshot; `None` if it is missing or damaged.
    pub fn load(path: &Path, offset: i64) -> Option<(Self, Transactions)> {
        let bytes = std::fs::read(path).ok()?;
        let (content, crc) = bytes.split_last_chunk()?;
        if u32::from_be_bytes(*crc) != crc32c::crc32c(content) {
            return None;
        }
        let mut content = content.strip_prefix(SNAPSHOT_MAGIC)?;
        if content.try_get_i64().ok()? != offset {
            return None;
        }
        let transactions = Transactions::decode(&mut content)?;
        let mut producers = Self::default();
        while content.has_remaining() {
            let id = content.try_get_i64().ok()?;
            let epoch = content.try_get_i16().ok()?;
            let last_seen = content.try_get_i64().ok()?;
            let mut batches = VecDeque::with_capacity(REMEMBERED);
            for _ in 0..content.try_get_u8().ok()? {
                batches.push_back(Remembered {
                    first_sequence: content.try_get_i32().ok()?,
                    last_sequence: content.try_get_i32().ok()?,
                    base_offset: content.try_get_i64().ok()?,
                    last_offset: content.try_get_i64().ok()?,
                    timestamp: content.try_get_i64().ok()?,
                });
            }
            producers.by_id.insert(id, Producer { epoch, batches, last_seen });
        }
        Some((producers, transactions))
    }
}
