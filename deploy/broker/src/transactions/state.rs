//! What a transactional id is at, and what may follow (KIP-98). Pure: nothing is written here.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use kafka_protocol::error::ResponseError;

use crate::{
    groups::Place,
    log::Ending,
    refusal::{Outcome, Refusal},
};

/// Where a transaction is; the numbers are those of `TransactionState.java`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing was written since the producer came.
    Empty,
    /// Records may be written.
    Ongoing,
    /// It is decided: what is left is to mark the partitions.
    PrepareCommit,
    /// As before.
    PrepareAbort,
    /// Every partition is marked.
    CompleteCommit,
    /// As before.
    CompleteAbort,
}

impl Stage {
    const ALL: [(Stage, i8, &'static str); 6] = [
        (Stage::Empty, 0, "Empty"),
        (Stage::Ongoing, 1, "Ongoing"),
        (Stage::PrepareCommit, 2, "PrepareCommit"),
        (Stage::PrepareAbort, 3, "PrepareAbort"),
        (Stage::CompleteCommit, 4, "CompleteCommit"),
        (Stage::CompleteAbort, 5, "CompleteAbort"),
    ];

    /// Whether Kafka knows a state by this word.
    pub fn is_word(word: &str) -> bool {
        const OTHERS: [&str; 2] = ["Dead", "PrepareEpochFence"];
        OTHERS.contains(&word) || Self::ALL.iter().any(|(.., known)| *known == word)
    }

    pub fn number(self) -> i8 {
        Self::ALL.iter().find(|(stage, ..)| *stage == self).map_or(0, |(_, number, _)| *number)
    }

    pub fn of(number: i8) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| *known == number).map(|(stage, ..)| *stage)
    }

    /// Kafka's word for it.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(stage, ..)| *stage == self).map_or("", |(_, _, word)| word)
    }

    fn prepare(ending: Ending) -> Self {
        match ending {
            Ending::Commit => Self::PrepareCommit,
            Ending::Abort => Self::PrepareAbort,
        }
    }

    fn complete(ending: Ending) -> Self {
        match ending {
            Ending::Commit => Self::CompleteCommit,
            Ending::Abort => Self::CompleteAbort,
        }
    }

    /// How it is to end, once that is decided and not done.
    pub fn prepared(self) -> Option<Ending> {
        match self {
            Self::PrepareCommit => Some(Ending::Commit),
            Self::PrepareAbort => Some(Ending::Abort),
            _ => None,
        }
    }
}

/// The transaction of a transactional id, the present one or the last.
#[derive(Debug, Clone)]
pub(crate) struct Transaction {
    pub producer_id: i64,
    pub epoch: i16,
    /// The epoch from which its producer came to this one, −1 if another producer came: one that
    /// asks again, because it did not hear of the answer, still has it.
    last_epoch: i16,
    pub timeout_ms: i32,
    pub stage: Stage,
    pub partitions: BTreeSet<Place>,
    /// When it began, in milliseconds since 1970; −1 if none has.
    pub started_ms: i64,
    /// When it changed last, in milliseconds since 1970.
    pub updated_ms: i64,
    /// When it began, by a clock that nobody sets.
    began: Instant,
    /// A change is being written: no other may begin.
    changing: bool,
    /// Its end is being written: no record may come any more.
    ending: bool,
}

/// What an epoch may be at most: one more is for fencing.
const LAST_EPOCH: i16 = i16::MAX - 1;

fn concurrent() -> Refusal {
    let message = "another change of the transaction is under way: try again";
    Refusal::new(ResponseError::ConcurrentTransactions, message)
}

fn invalid_state(message: impl Into<String>) -> Refusal {
    Refusal::new(ResponseError::InvalidTxnState, message)
}

impl Transaction {
    pub fn new(producer_id: i64, timeout_ms: i32, now_ms: i64) -> Self {
        Self {
            producer_id,
            epoch: 0,
            last_epoch: -1,
            timeout_ms,
            stage: Stage::Empty,
            partitions: BTreeSet::new(),
            started_ms: -1,
            updated_ms: now_ms,
            began: Instant::now(),
            changing: false,
            ending: false,
        }
    }

    /// Whether a change is being written.
    pub fn is_changing(&self) -> bool {
        self.changing
    }

    /// No other change may begin until [`changed`](Self::changed).
    pub fn begin_change(&mut self, next: &Self) {
        self.changing = true;
        self.ending = next.stage != Stage::Ongoing;
    }

    /// The change is written; `None` if that failed.
    pub fn changed(&mut self, next: Option<Self>) {
        if let Some(next) = next {
            *self = next;
        }
        self.changing = false;
        self.ending = false;
    }

    /// Holds a request to the producer it comes from.
    ///
    /// # Errors
    /// `INVALID_PRODUCER_ID_MAPPING`, `PRODUCER_FENCED`.
    pub fn identify(&self, producer_id: i64, epoch: i16) -> Outcome<()> {
        if producer_id != self.producer_id {
            let message = format!("the producer's id is {}, not {producer_id}", self.producer_id);
            return Err(Refusal::new(ResponseError::InvalidProducerIdMapping, message));
        }
        self.check_owner(producer_id, epoch)
    }

    /// Holds what a producer says it was to what it is.
    ///
    /// # Errors
    /// `PRODUCER_FENCED`.
    pub fn check_owner(&self, producer_id: i64, epoch: i16) -> Outcome<()> {
        if (producer_id, epoch) != (self.producer_id, self.epoch) {
            let message = format!("epoch {epoch}: a newer producer has epoch {}", self.epoch);
            return Err(Refusal::new(ResponseError::ProducerFenced, message));
        }
        Ok(())
    }

    /// Whether the producer may write to a partition now.
    ///
    /// # Errors
    /// `INVALID_TXN_STATE` outside of a transaction that holds the partition.
    pub fn admit(&self, producer_id: i64, epoch: i16, place: &Place) -> Outcome<()> {
        self.identify(producer_id, epoch)?;
        if self.stage != Stage::Ongoing || self.ending || !self.partitions.contains(place) {
            let Place { topic, partition } = place;
            return Err(invalid_state(format!(
                "partition {partition} of {topic} is not in an open transaction of this producer"
            )));
        }
        Ok(())
    }

    /// The transaction with these partitions in it; `None` if they are already.
    ///
    /// # Errors
    /// `CONCURRENT_TRANSACTIONS` while the one before is not at its end.
    pub fn with(&self, partitions: &[Place], now_ms: i64) -> Outcome<Option<Self>> {
        if self.changing || self.stage.prepared().is_some() {
            return Err(concurrent());
        }
        let ongoing = self.stage == Stage::Ongoing;
        if ongoing && partitions.iter().all(|place| self.partitions.contains(place)) {
            return Ok(None);
        }
        let mut next = self.clone();
        if !ongoing {
            next.partitions.clear();
            next.started_ms = now_ms;
            next.began = Instant::now();
        }
        next.stage = Stage::Ongoing;
        next.partitions.extend(partitions.iter().cloned());
        next.updated_ms = now_ms;
        Ok(Some(next))
    }

    /// The transaction with its end decided; `None` if it has ended so before.
    ///
    /// # Errors
    /// `INVALID_TXN_STATE` if there is none, or it ended otherwise; `CONCURRENT_TRANSACTIONS`.
    pub fn ended(&self, ending: Ending, now_ms: i64) -> Outcome<Option<Self>> {
        if self.changing || self.stage == Stage::prepare(ending) {
            return Err(concurrent());
        }
        match self.stage {
            Stage::Ongoing => {
                let mut next = self.clone();
                next.stage = Stage::prepare(ending);
                next.updated_ms = now_ms;
                Ok(Some(next))
            }
            stage if stage == Stage::complete(ending) => Ok(None),
            stage => Err(invalid_state(format!(
                "a transaction in state {} cannot be ended by {ending:?}",
                stage.word()
            ))),
        }
    }

    /// The open transaction aborted on behalf of a producer that is not heard of, or that another
    /// takes the place of: whatever it still sends is fenced.
    pub fn fenced(&self, now_ms: i64) -> Option<Self> {
        if self.changing || self.stage != Stage::Ongoing {
            return None;
        }
        let mut next = self.clone();
        next.stage = Stage::PrepareAbort;
        next.updated_ms = now_ms;
        (next.epoch, next.last_epoch) = (self.epoch.saturating_add(1), -1);
        Some(next)
    }

    /// The transaction with all its partitions marked.
    pub fn completed(&self, ending: Ending, now_ms: i64) -> Self {
        let mut next = self.clone();
        next.stage = Stage::complete(ending);
        next.partitions.clear();
        next.updated_ms = now_ms;
        next
    }

    /// What a producer that comes (again) begins with; `claimed` is the id and epoch it had. The
    /// same as before if it only asks again.
    ///
    /// # Errors
    /// `PRODUCER_FENCED` if another has taken its place; `CONCURRENT_TRANSACTIONS`.
    pub fn renewed(
        &self,
        claimed: Option<(i64, i16)>,
        timeout_ms: i32,
        fresh_id: i64,
        now_ms: i64,
    ) -> Outcome<Self> {
        if self.changing || self.stage.prepared().is_some() {
            return Err(concurrent());
        }
        let asks_again = claimed == Some((self.producer_id, self.last_epoch));
        if let Some((id, epoch)) = claimed.filter(|_| !asks_again) {
            self.check_owner(id, epoch)?;
        }
        let mut next = self.clone();
        next.stage = Stage::Empty;
        next.partitions.clear();
        next.started_ms = -1;
        next.updated_ms = now_ms;
        next.timeout_ms = timeout_ms;
        if self.epoch >= LAST_EPOCH {
            (next.producer_id, next.epoch, next.last_epoch) = (fresh_id, 0, -1);
        } else if !asks_again {
            (next.epoch, next.last_epoch) = (self.epoch + 1, claimed.map_or(-1, |_| self.epoch));
        }
        Ok(next)
    }

    /// Whether it is open for longer than its producer allows.
    pub fn is_overdue(&self) -> bool {
        let timeout = Duration::from_millis(u64::try_from(self.timeout_ms).unwrap_or_default());
        self.stage == Stage::Ongoing && self.began.elapsed() > timeout
    }

    /// Whether nobody has used it since a time, in milliseconds since 1970.
    pub fn is_unused_since(&self, time: i64) -> bool {
        !self.changing
            && !matches!(self.stage, Stage::Ongoing | Stage::PrepareCommit | Stage::PrepareAbort)
            && self.updated_ms < time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(partition: i32) -> Place {
        Place { topic: "t".to_owned(), partition }
    }

    fn code<T: std::fmt::Debug>(outcome: Outcome<T>) -> ResponseError {
        outcome.unwrap_err().code
    }

    #[test]
    fn a_transaction_takes_records_of_its_partitions_until_its_end_is_decided() {
        let empty = Transaction::new(1, 1000, 0);
        assert_eq!(code(empty.admit(1, 0, &place(0))), ResponseError::InvalidTxnState);
        let mut ongoing = empty.with(&[place(0)], 1).unwrap().unwrap();
        assert!(ongoing.admit(1, 0, &place(0)).is_ok());
        assert_eq!(code(ongoing.admit(1, 0, &place(1))), ResponseError::InvalidTxnState);
        assert!(ongoing.with(&[place(0)], 2).unwrap().is_none());
        let prepared = ongoing.ended(Ending::Commit, 3).unwrap().unwrap();
        ongoing.begin_change(&prepared);
        assert_eq!(code(ongoing.admit(1, 0, &place(0))), ResponseError::InvalidTxnState);
        assert_eq!(code(ongoing.with(&[place(1)], 3)), ResponseError::ConcurrentTransactions);
        ongoing.changed(Some(prepared));
        assert_eq!(code(ongoing.with(&[place(1)], 3)), ResponseError::ConcurrentTransactions);
        let complete = ongoing.completed(Ending::Commit, 4);
        assert!(complete.ended(Ending::Commit, 5).unwrap().is_none(), "asked again");
        assert_eq!(code(complete.ended(Ending::Abort, 5)), ResponseError::InvalidTxnState);
    }

    #[test]
    fn a_producer_that_comes_again_fences_the_one_before() {
        const FRESH: i64 = 9;
        let first = Transaction::new(1, 1000, 0);
        let second = first.renewed(None, 1000, FRESH, 1).unwrap();
        assert_eq!((second.producer_id, second.epoch), (1, 1));
        assert_eq!(code(second.identify(1, 0)), ResponseError::ProducerFenced);
        assert_eq!(code(second.identify(2, 1)), ResponseError::InvalidProducerIdMapping);
        let zombie = second.renewed(Some((1, 0)), 1000, FRESH, 2);
        assert_eq!(code(zombie), ResponseError::ProducerFenced);
        let third = second.renewed(Some((1, 1)), 1000, FRESH, 3).unwrap();
        assert_eq!(third.epoch, 2);
        // The answer to that was lost: asked again, it is the same.
        let again = third.renewed(Some((1, 1)), 1000, FRESH, 4).unwrap();
        assert_eq!(again.epoch, 2);
        let zombie = again.renewed(Some((1, 0)), 1000, FRESH, 5);
        assert_eq!(code(zombie), ResponseError::ProducerFenced);
        let mut last = third;
        last.epoch = LAST_EPOCH;
        let fresh = last.renewed(None, 1000, FRESH, 6).unwrap();
        assert_eq!((fresh.producer_id, fresh.epoch), (FRESH, 0));
    }

    #[test]
    fn what_is_open_for_too_long_is_aborted_and_its_producer_fenced() {
        let ongoing = Transaction::new(1, 0, 0).with(&[place(0)], 1).unwrap().unwrap();
        std::thread::sleep(Duration::from_millis(2));
        assert!(ongoing.is_overdue());
        let fenced = ongoing.fenced(2).unwrap();
        assert_eq!((fenced.stage, fenced.epoch), (Stage::PrepareAbort, 1));
        assert_eq!(code(fenced.identify(1, 0)), ResponseError::ProducerFenced);
        let aborted = fenced.completed(Ending::Abort, 3);
        let back = aborted.renewed(Some((1, 0)), 1000, 9, 4);
        assert_eq!(code(back), ResponseError::ProducerFenced);
        assert!(fenced.fenced(3).is_none());
    }
}
