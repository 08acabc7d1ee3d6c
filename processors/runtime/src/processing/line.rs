//! One partition's events, one after another.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;

use super::ledger::{Ledger, Window};
use crate::codec::{Decoders, Decoding, Encoding};
use crate::dead_letters::{DeadLetters, Stage};
use crate::delivery::backoff_wait;
use crate::kafka::{Producer, Record};
use crate::runtime::{Backoff, Break, KeyOf, OnError};
use crate::state::{State, StateOf};
use crate::{Domain, Emit, Event, Fault, Headers, Processor, Retry, Value, event};

/// Events whose offsets pass together, at most.
const WINDOW: usize = 64;
/// Between tries of what the registry does not answer.
const BACKOFF: Backoff =
    Backoff { initial: Duration::from_millis(200), max: Duration::from_secs(10) };

/// What turns a route's events into others.
pub(crate) struct Mill {
    pub route: Arc<str>,
    pub to: Arc<str>,
    pub steps: Vec<Box<dyn Processor>>,
    pub key: Option<KeyOf>,
    pub decoders: Arc<Decoders>,
    pub encoding: Encoding,
    pub producer: Arc<Producer>,
    pub dead_letters: DeadLetters,
    pub on_error: OnError,
}

/// Processes a partition until its line is dropped.
pub(super) async fn run(
    mill: Arc<Mill>,
    ledger: Arc<Ledger>,
    state: StateOf,
    mut receiver: UnboundedReceiver<Vec<Event>>,
) {
    let mut decoding = mill.decoders.view();
    while let Some(events) = receiver.recv().await {
        for chunk in events.chunks(WINDOW) {
            if ledger.is_closed() {
                return;
            }
            let Some(window) = ledger.open(chunk) else { continue };
            for event in chunk {
                if let Err(reason) = mill.pass(event, &window, &mut decoding, &state).await {
                    return ledger.break_off(reason);
                }
            }
            window.close();
            tokio::task::yield_now().await;
        }
    }
}

impl Mill {
    /// Processes an event and hands what comes of it to the producer.
    async fn pass(
        &self,
        event: &Event,
        window: &Arc<Window>,
        decoding: &mut Decoding,
        state: &StateOf,
    ) -> Result<(), Break> {
        let value = match &event.payload {
            None => return self.put(self.tombstone(event), window).await,
            Some(payload) => self.decode(payload, decoding, state).await,
        };
        let value = match value {
            Ok(value) => value,
            Err(fault) => return self.refuse(event, fault, Stage::Decoding, window).await,
        };
        match self.process(event, value) {
            Ok(records) => {
                for record in records {
                    self.put(record, window).await?;
                }
                Ok(())
            }
            Err(fault) => self.refuse(event, fault, Stage::Processing, window).await,
        }
    }

    /// Decodes; while the schema cannot be had, the partition waits.
    async fn decode(
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
    fn process(&self, event: &Event, value: Value) -> Result<Vec<Record>, Fault> {
        let mut emit = Emit::default();
        let mut values = vec![value];
        for step in &self.steps {
            for value in values {
                step.process(event, value, &mut emit)?;
            }
            values = emit.take();
        }
        values.iter().map(|value| self.record(event, value)).collect()
    }

    fn record(&self, event: &Event, value: &Value) -> Result<Record, Fault> {
        let key = match &self.key {
            Some(key) => key(event, value)?,
            None => event.key.clone(),
        };
        let payload = Some(self.encoding.encode(value)?);
        Ok(Record {
            topic: Arc::clone(&self.to),
            partition: None,
            key,
            payload,
            headers: carried(event),
        })
    }

    fn tombstone(&self, event: &Event) -> Record {
        Record {
            topic: Arc::clone(&self.to),
            partition: None,
            key: event.key.clone(),
            payload: None,
            headers: carried(event),
        }
    }

    async fn refuse(
        &self,
        event: &Event,
        fault: Fault,
        stage: Stage,
        window: &Arc<Window>,
    ) -> Result<(), Break> {
        let route = &*self.route;
        match (fault.domain, self.on_error) {
            (Domain::Data, OnError::DeadLetter) => {
                tracing::warn!(route, event = event.id(), %fault, "goes to the dead letters");
                window.dead_letter(&fault);
                self.put(self.dead_letters.record(event, &fault, stage), window).await
            }
            (Domain::Remote, _) => Err(Break::Restart(fault)),
            _ => Err(Break::Halt(format!("In front of event {}: {}", event.id(), fault.message))),
        }
    }

    async fn put(&self, record: Record, window: &Arc<Window>) -> Result<(), Break> {
        window.expect();
        let receiver = Arc::clone(window) as Arc<dyn crate::kafka::Acknowledge>;
        self.producer.put(&record, receiver).await.map_err(Break::Restart)
    }
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
