//! One partition's events, one after another.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use super::ledger::{Ledger, Window};
use super::seen::{Deduplication, Id, Seen};
use crate::clock::unix_millis;
use crate::codec::{Decoders, Decoding, Encoding};
use crate::dead_letters::{DeadLetters, Journal, Letters, Stage};
use crate::delivery::backoff_wait;
use crate::enrichment::Enrichment;
use crate::kafka::{Acknowledge, Producer, Record, Transactions};
use crate::outcomes::{RouteOutcomes, Subject, What, new_keys};
use crate::processor::Chain;
use crate::runtime::{Backoff, Break, KeyOf, OnError};
use crate::state::{State, StateOf};
use crate::{Domain, Emitted, Event, Fault, Headers, Retry, Value, event};

/// What events become, in bytes, ends a window early: one event may become thousands.
const MOST_MADE: usize = 1 << 20;
/// After so many the partition lets others have the processor.
const TURN: usize = 64;
/// Between tries of what the registry does not answer.
const BACKOFF: Backoff =
    Backoff { initial: Duration::from_millis(200), max: Duration::from_secs(10) };

/// What turns a route's events into others.
pub(crate) struct Mill {
    pub route: Arc<str>,
    /// The topics that it writes.
    pub outputs: Vec<Output>,
    /// What is dropped when it comes again, if anything is.
    pub deduplication: Option<Arc<Deduplication>>,
    /// What is looked up before the steps.
    pub enrichments: Vec<Enrichment>,
    pub steps: Chain,
    pub key: Option<KeyOf>,
    pub decoders: Arc<Decoders>,
    pub producer: Arc<Producer>,
    /// What is made of events goes in these, if there are any.
    pub transactions: Option<Arc<Transactions>>,
    pub dead_letters: DeadLetters,
    pub outcomes: RouteOutcomes,
    pub journal: Arc<Journal>,
    pub letters: Arc<Letters>,
    pub on_error: OnError,
}

/// A topic that a route writes.
pub(crate) struct Output {
    pub topic: Arc<str>,
    pub encoding: Encoding,
}

/// An event and what the steps made of it.
struct Made<'a> {
    begun: Begun<'a>,
    records: Result<Vec<Record>, (Fault, Stage)>,
}

/// An event that was begun with.
struct Begun<'a> {
    event: &'a Event,
    /// By which it is known when it comes again.
    id: Option<Id>,
    /// Its value, where its outcome has to know what not to tell.
    seen: Option<Value>,
    /// Since when, milliseconds since the Unix epoch.
    started: i64,
}

/// What a payload decodes to, and is enriched to; a tombstone to nothing.
pub(super) type Decoded = Result<Option<Value>, (Fault, Stage)>;

/// Processes a partition until its line is dropped.
pub(super) async fn run(
    mill: Arc<Mill>,
    ledger: Arc<Ledger>,
    state: StateOf,
    partition: i32,
    mut inlet: Inlet,
) {
    let mut decoding = mill.decoders.view();
    let mut seen = match &mill.deduplication {
        None => None,
        Some(deduplication) => match Seen::restore(deduplication, partition, &ledger, &state).await
        {
            None => return,
            restored => restored,
        },
    };
    loop {
        let passed = tokio::select! {
            events = inlet.events.recv() => match events {
                Some(events) => {
                    mill.pass_all(&events, &ledger, &mut decoding, &mut seen, &state).await
                }
                None => return,
            },
            Ok(()) = inlet.letters.changed() => {
                mill.try_again(partition, &ledger, &mut decoding, &state).await
            }
        };
        match passed {
            Ok(()) if ledger.is_closed() => return,
            Ok(()) => {}
            Err(reason) => return ledger.break_off(reason),
        }
    }
}

/// What a line is given.
pub(super) struct Inlet {
    pub events: UnboundedReceiver<Vec<Event>>,
    /// Says that dead letters may be there to be tried again.
    pub letters: watch::Receiver<()>,
}

impl Mill {
    async fn pass_all(
        &self,
        events: &[Event],
        ledger: &Arc<Ledger>,
        decoding: &mut Decoding,
        seen: &mut Option<Seen>,
        state: &StateOf,
    ) -> Result<(), Break> {
        for chunk in events.chunks(ledger.window()) {
            if ledger.is_closed() {
                break;
            }
            let mut values = self.decode_all(chunk, decoding, state).await;
            let ids = seen.as_ref().map_or_else(Vec::new, |seen| seen.ids(chunk, &mut values));
            let values = self.enrich(chunk, values, state).await;
            let ids = ids.into_iter().chain(std::iter::repeat(None));
            let mut values = values.into_iter().zip(ids);
            let mut rest = chunk;
            while !rest.is_empty() && !ledger.is_closed() {
                let made = self.make_some(rest, &mut values).await;
                let (window, after) = rest.split_at(made.len());
                self.pass_window(window, made, ledger, decoding, seen, state).await?;
                rest = after;
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Hands what events became to the producer; their offsets pass together.
    async fn pass_window(
        &self,
        events: &[Event],
        made: Vec<Made<'_>>,
        ledger: &Arc<Ledger>,
        decoding: &mut Decoding,
        seen: &mut Option<Seen>,
        state: &StateOf,
    ) -> Result<(), Break> {
        // Whoever waits for its key does so before a transaction is held up.
        self.await_keys(events, ledger, decoding, state).await?;
        let _inside = match &self.transactions {
            Some(transactions) => Some(transactions.enter().await),
            None => None,
        };
        // It may be another's, or undone, by now.
        if ledger.is_closed() {
            return Ok(());
        }
        let Some(window) = ledger.open(events) else { return Ok(()) };
        let alone = events.first().is_some_and(|first| ledger.oversize().suspects(first));
        for made in made {
            if let Some(seen) = seen
                && self.comes_again(&made.begun, seen, &window).await?
            {
                continue;
            }
            if self.is_free(made.begun.event, ledger, decoding, state).await? {
                match alone {
                    false => self.pass(made, &window).await?,
                    true => self.pass_alone(made, &window).await?,
                }
            }
        }
        window.close();
        Ok(())
    }

    /// The values of events; a tombstone has none.
    async fn decode_all(
        &self,
        events: &[Event],
        decoding: &mut Decoding,
        state: &StateOf,
    ) -> Vec<Decoded> {
        let mut values = Vec::with_capacity(events.len());
        for event in events {
            values.push(match &event.payload {
                Some(payload) => {
                    let decoded = self.decode(payload, decoding, state).await;
                    decoded.map(Some).map_err(|fault| (fault, Stage::Decoding))
                }
                None => Ok(None),
            });
        }
        values
    }

    /// What the steps make of the first events, as far as memory allows. It depends on nothing but
    /// them, so it is done before a transaction is held up.
    async fn make_some<'a>(
        &self,
        events: &'a [Event],
        values: &mut impl Iterator<Item = (Decoded, Option<Id>)>,
    ) -> Vec<Made<'a>> {
        let (mut all, mut bytes) = (Vec::with_capacity(events.len()), 0);
        for (event, (value, id)) in events.iter().zip(values) {
            let made = self.make(event, value, id);
            bytes += made.records.as_ref().map_or(0, |all| all.iter().map(Record::bytes).sum());
            all.push(made);
            if bytes > MOST_MADE {
                break;
            }
            if all.len() % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        all
    }

    fn make<'a>(&self, event: &'a Event, value: Decoded, id: Option<Id>) -> Made<'a> {
        let (mut seen, started) = (None, unix_millis());
        let records = value.and_then(|value| {
            let Some(value) = value else { return Ok(self.tombstones(event)) };
            seen = self.outcomes.reads_values().then(|| value.clone());
            self.process(event, value).map_err(|fault| (fault, Stage::Processing))
        });
        Made { begun: Begun { event, id, seen, started }, records }
    }

    /// Hands what an event became to the producer.
    async fn pass(&self, made: Made<'_>, window: &Arc<Window>) -> Result<(), Break> {
        let Made { begun, records } = made;
        let records = match records {
            Ok(records) => records,
            Err((fault, stage)) => return self.refuse(&begun, fault, stage, window).await,
        };
        let what = self.what(begun.event, &records);
        for record in records {
            self.put(record, window).await?;
        }
        self.note(&begun, what);
        Ok(())
    }

    /// The same one record at a time: one that is too large is known then, and is its event's own fault.
    async fn pass_alone(&self, made: Made<'_>, window: &Arc<Window>) -> Result<(), Break> {
        let Made { begun, records } = made;
        let records = match (window.oversize().refusal(begun.event), records) {
            (Some(fault), _) => return self.refuse(&begun, fault, Stage::Processing, window).await,
            (None, Err((fault, stage))) => return self.refuse(&begun, fault, stage, window).await,
            (None, Ok(records)) => records,
        };
        for record in &records {
            let written = match &self.transactions {
                Some(transactions) => transactions.send(record).await,
                None => self.producer.send(record).await,
            };
            match written {
                Ok(placed) => {
                    window.expect();
                    window.acknowledged(Ok(placed));
                }
                Err(fault) if fault.domain == Domain::Data => {
                    window.refused_alone(begun.event, &fault);
                    // A transaction with a write that failed has to be undone first.
                    return match &self.transactions {
                        Some(_) => Err(Break::Restart(fault)),
                        None => self.refuse(&begun, fault, Stage::Processing, window).await,
                    };
                }
                Err(fault) => return Err(Break::Restart(fault)),
            }
        }
        self.note(&begun, self.what(begun.event, &records));
        Ok(())
    }

    /// Whether an event comes again; what is to be remembered is handed to the producer.
    async fn comes_again(
        &self,
        begun: &Begun<'_>,
        seen: &mut Seen,
        window: &Arc<Window>,
    ) -> Result<bool, Break> {
        let mut records = Vec::new();
        let again = seen.comes_again(begun.event, begun.id, &mut records);
        let again = again.map_err(|fault| Break::Halt(fault.message))?;
        for record in records {
            self.put(record, window).await?;
        }
        if again {
            self.note(begun, What::Duplicate);
        }
        Ok(again)
    }

    /// What these records are, made of an event.
    pub(super) fn what(&self, event: &Event, records: &[Record]) -> What {
        match records.len() {
            0 => What::Filtered,
            count => {
                let keys = records.iter().map(|record| record.key.as_deref());
                let keys = new_keys(event.key.as_deref(), keys);
                What::Produced { to: topics(records), count, keys }
            }
        }
    }

    fn note(&self, begun: &Begun<'_>, what: What) {
        let subject = Subject::from(begun.event).with_value(begun.seen.as_ref());
        self.outcomes.note(subject, begun.started, 1, what);
    }

    /// Decodes; while the schema cannot be had, the partition waits.
    pub(super) async fn decode(
        &self,
        payload: &[u8],
        decoding: &mut Decoding,
        state: &StateOf,
    ) -> Result<Value, Fault> {
        let mut failures = 0;
        loop {
            match decoding.decode(payload).await {
                Err(fault) if fault.retry != Retry::Never => {
                    failures += 1;
                    let wait = backoff_wait(BACKOFF, failures);
                    state.set(State::waiting(fault.message, wait));
                    tokio::time::sleep(wait).await;
                }
                result => {
                    if failures > 0 {
                        state.set(State::Running);
                    }
                    return result;
                }
            }
        }
    }

    /// Runs the steps; what they emit is written only if all of them succeed.
    pub(super) fn process(&self, event: &Event, value: Value) -> Result<Vec<Record>, Fault> {
        let emitted = self.steps.process(event, value)?;
        emitted.iter().map(|one| self.record(one.event(event), one)).collect()
    }

    fn record(&self, event: &Event, emitted: &Emitted) -> Result<Record, Fault> {
        let missing = || Fault::internal("output", "A step chose a topic that is not the route's.");
        let output = self.outputs.get(emitted.to).ok_or_else(missing)?;
        let key = match &self.key {
            Some(key) => key(event, &emitted.value)?,
            None => event.key.clone(),
        };
        let payload = Some(output.encoding.encode(&emitted.value)?);
        let topic = Arc::clone(&output.topic);
        Ok(Record { topic, partition: None, key, payload, headers: carried(event) })
    }

    /// A tombstone has no value to choose a topic by: it may have been any of them.
    pub(super) fn tombstones(&self, event: &Event) -> Vec<Record> {
        let tombstone = |output: &Output| Record {
            topic: Arc::clone(&output.topic),
            partition: None,
            key: event.key.clone(),
            payload: None,
            headers: carried(event),
        };
        self.outputs.iter().map(tombstone).collect()
    }

    async fn refuse(
        &self,
        begun: &Begun<'_>,
        fault: Fault,
        stage: Stage,
        window: &Arc<Window>,
    ) -> Result<(), Break> {
        let (route, event) = (&*self.route, begun.event);
        match (fault.domain, self.on_error) {
            (Domain::Data, OnError::ParkKey) if event.key.is_some() => {
                tracing::warn!(route, event = event.id(), %fault, "its key is parked");
                window.dead_letter(&fault);
                self.park(event, &fault, stage).await?;
                self.note(begun, What::dead_letter(&fault));
                Ok(())
            }
            (Domain::Data, OnError::DeadLetter | OnError::ParkKey) => {
                tracing::warn!(route, event = event.id(), %fault, "goes to the dead letters");
                window.dead_letter(&fault);
                self.put(self.dead_letters.record(event, &fault, stage), window).await?;
                self.note(begun, What::dead_letter(&fault));
                Ok(())
            }
            (Domain::Remote, _) => Err(Break::Restart(fault)),
            _ => Err(Break::Halt(format!("In front of event {}: {}", event.id(), fault.message))),
        }
    }

    async fn put(&self, record: Record, window: &Arc<Window>) -> Result<(), Break> {
        window.expect();
        let receiver = Arc::clone(window) as Arc<dyn Acknowledge>;
        let put = match &self.transactions {
            Some(transactions) => transactions.put(&record, receiver).await,
            None => self.producer.put(&record, receiver).await,
        };
        put.map_err(Break::Restart)
    }
}

/// The topics of these records, each once, as one text.
pub(super) fn topics(records: &[Record]) -> Arc<str> {
    let Some(first) = records.first().map(|record| &record.topic) else { return "".into() };
    if records.iter().all(|record| Arc::ptr_eq(&record.topic, first)) {
        return Arc::clone(first);
    }
    let mut topics: Vec<&str> = Vec::new();
    for record in records {
        if !topics.contains(&&*record.topic) {
            topics.push(&record.topic);
        }
    }
    topics.join(", ").into()
}

/// The headers that travel on, completed so that the event keeps its identity under its new place.
fn carried(event: &Event) -> Headers {
    let mut headers = event.headers.kept();
    if headers.get(event::CE_ID).is_none() {
        headers.push(event::CE_ID, Some(Bytes::from(event.id())));
    }
    if headers.get(event::RECEIVED).is_none() {
        headers.push(event::RECEIVED, Some(Bytes::from(event.timestamp.to_string())));
    }
    headers
}
