//! Keys that are parked, and dead letters that are tried again: in the partition's own line, between
//! its events.

use std::sync::Arc;
use std::time::Duration;

use super::ledger::Ledger;
use super::line::{Mill, topics};
use crate::clock::unix_millis;
use crate::codec::Decoding;
use crate::dead_letters::{Entry, Passage, Stage, Standing, behind};
use crate::kafka::Record;
use crate::outcomes::What;
use crate::runtime::Break;
use crate::state::StateOf;
use crate::{Domain, Event, Fault};

/// How soon an event is looked at again that waits for its parked key.
const HELD_WAIT: Duration = Duration::from_millis(50);

impl Mill {
    /// Whether an event may be processed. If its key is parked it goes behind; while the key is being
    /// tried again the partition waits.
    pub(super) async fn is_free(
        &self,
        event: &Event,
        ledger: &Arc<Ledger>,
        decoding: &mut Decoding,
        state: &StateOf,
    ) -> Result<bool, Break> {
        loop {
            match self.letters.passage(event.partition, event.key.as_ref(), event.offset) {
                Passage::Free => return Ok(true),
                Passage::Parked => return Ok(false),
                Passage::Behind(id) => {
                    let fault = behind(&id);
                    ledger.dead_letter(&fault);
                    self.park(event, &fault, Stage::Processing).await?;
                    let what = What::Parked { behind: id };
                    self.outcomes.note(event, unix_millis(), 1, what);
                    return Ok(false);
                }
                Passage::Held => {
                    self.try_again(event.partition, ledger, decoding, state).await?;
                    tokio::time::sleep(HELD_WAIT).await;
                }
            }
        }
    }

    /// Waits until no key of these events is being tried again. While nothing is parked, that is one
    /// look.
    pub(super) async fn await_keys(
        &self,
        events: &[Event],
        ledger: &Arc<Ledger>,
        decoding: &mut Decoding,
        state: &StateOf,
    ) -> Result<(), Break> {
        for event in events {
            let passage =
                || self.letters.passage(event.partition, event.key.as_ref(), event.offset);
            while !ledger.is_closed() && matches!(passage(), Passage::Held) {
                self.try_again(event.partition, ledger, decoding, state).await?;
                tokio::time::sleep(HELD_WAIT).await;
            }
        }
        Ok(())
    }

    /// The event goes to the dead letters, and until it is settled later ones of its key behind it.
    pub(super) async fn park(
        &self,
        event: &Event,
        fault: &Fault,
        stage: Stage,
    ) -> Result<(), Break> {
        let letter = self.dead_letters.record(event, fault, stage);
        let placed = self.producer.send(&letter).await.map_err(Break::Restart)?;
        let entry = Entry::parked(&self.route, event, placed.offset, false);
        self.journal.write(entry).await.map_err(Break::Restart)
    }

    /// Tries the partition's dead letters again that an operator chose.
    pub(super) async fn try_again(
        &self,
        partition: i32,
        ledger: &Arc<Ledger>,
        decoding: &mut Decoding,
        state: &StateOf,
    ) -> Result<(), Break> {
        for entry in self.letters.asked() {
            if entry.origin.partition != partition || ledger.is_closed() {
                continue;
            }
            let Some(event) = entry.event() else { continue };
            let started = unix_millis();
            let next = match self.try_once(&entry, &event, decoding, state).await {
                Ok(standing) => entry.becomes(standing),
                Err(fault) if fault.domain == Domain::Data => {
                    self.outcomes.note(&event, started, entry.retries, What::dead_letter(&fault));
                    let (cause, message) = (fault.cause.to_owned(), fault.message);
                    let next = entry.becomes(Standing::Returned { cause, message });
                    Entry { returned: entry.returned + 1, ..next }
                }
                Err(fault) if fault.domain == Domain::Remote => return Err(Break::Restart(fault)),
                Err(fault) => return Err(Break::Halt(fault.message)),
            };
            tracing::info!(route = &*self.route, event = entry.id, ?next.standing, "tried again");
            self.journal.write(next).await.map_err(Break::Restart)?;
        }
        Ok(())
    }

    /// What becomes of a dead letter.
    async fn try_once(
        &self,
        entry: &Entry,
        event: &Event,
        decoding: &mut Decoding,
        state: &StateOf,
    ) -> Result<Standing, Fault> {
        let in_order = !matches!(entry.standing, Standing::Retrying { out_of_order: true, .. });
        if in_order && entry.parked && self.letters.ahead_of(entry).is_some() {
            return Ok(Standing::Parked);
        }
        let started = unix_millis();
        let records: Vec<Record> = match &event.payload {
            None => self.tombstones(event),
            Some(payload) => {
                let value = self.decode(payload, decoding, state).await?;
                let value = self.enrich_one(event, value, state).await?;
                self.process(event, value)?
            }
        };
        for record in &records {
            self.producer.send(record).await?;
        }
        self.outcomes.note(event, started, entry.retries, self.what(event, &records));
        let answer = match records.len() {
            0 => "filtered".to_owned(),
            count => format!("{count} written to {}", topics(&records)),
        };
        Ok(Standing::Delivered { answer })
    }
}
