//! The embedded registry: Confluent's HTTP API over a log of records in Confluent's own format.
//!
//! The log is the truth; memory is what reading it from the start gives. One write at a time: it
//! is planned against memory, appended to the log, applied to memory, then answered.

mod answer;
mod api;
mod content;
mod deletion;
mod record;
mod registration;
mod settings;
mod state;

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use async_trait::async_trait;
use axum::Router;
use bytes::Bytes;

use self::answer::Refusal;
use self::record::Record;
use self::state::State;

/// An ordered, durable log of keyed records: the `_schemas` topic, one partition, compacted.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Appends a record (no value: the key's end) and returns its offset once it is durable.
    async fn append(&self, key: Bytes, value: Option<Bytes>) -> Result<u64, LogError>;

    /// Every record, oldest first.
    async fn read_all(&self) -> Result<Vec<(Bytes, Option<Bytes>)>, LogError>;
}

/// Why the log could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LogError(pub String);

/// A log that lives and dies with the process, for tests.
#[derive(Debug, Default)]
pub struct MemoryLog(Mutex<Vec<(Bytes, Option<Bytes>)>>);

#[async_trait]
impl Log for MemoryLog {
    async fn append(&self, key: Bytes, value: Option<Bytes>) -> Result<u64, LogError> {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.push((key, value));
        Ok(records.len() as u64 - 1)
    }

    async fn read_all(&self) -> Result<Vec<(Bytes, Option<Bytes>)>, LogError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

#[async_trait]
impl<L: Log> Log for Arc<L> {
    async fn append(&self, key: Bytes, value: Option<Bytes>) -> Result<u64, LogError> {
        L::append(self, key, value).await
    }

    async fn read_all(&self) -> Result<Vec<(Bytes, Option<Bytes>)>, LogError> {
        L::read_all(self).await
    }
}

/// The embedded registry. Clones are the same registry; its log has no other writer.
///
/// It asks for no credentials: bind it to loopback.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    log: Box<dyn Log>,
    state: RwLock<State>,
    /// Held by the one write under way; whether memory may lack a record of the log.
    writer: tokio::sync::Mutex<Stale>,
}

/// Set by an append that failed: it may have been written all the same.
#[derive(Default)]
struct Stale(bool);

/// What a write appends, in order, and what it answers once that is durable.
struct Plan<T> {
    records: Vec<Record>,
    answer: T,
}

impl<T> Plan<T> {
    const fn nothing(answer: T) -> Self {
        Self { records: Vec::new(), answer }
    }
}

impl Server {
    /// Reads the log and is ready to serve.
    ///
    /// # Errors
    /// The log cannot be read, or holds a record that is not a registry's.
    pub async fn open(log: impl Log) -> Result<Self, LogError> {
        let log: Box<dyn Log> = Box::new(log);
        let state = RwLock::new(load(&*log).await?);
        Ok(Self(Arc::new(Inner { log, state, writer: tokio::sync::Mutex::default() })))
    }

    /// The HTTP API, to be served at the root of an address of its own.
    pub fn router(&self) -> Router {
        api::router(self.clone())
    }

    /// Answers from memory.
    fn read<T>(&self, question: impl FnOnce(&State) -> T) -> T {
        question(&self.0.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Plans against memory, appends, applies, answers. It goes on when whoever asked goes away:
    /// memory and log must not part.
    async fn write<T: Send + 'static>(
        &self,
        plan: impl Fn(&State) -> Result<Plan<T>, Refusal> + Send + Sync + 'static,
    ) -> Result<T, Refusal> {
        // Most registrations are of schemas already there; they need not wait for the log.
        let first = self.read(&plan)?;
        if first.records.is_empty() {
            return Ok(first.answer);
        }
        let inner = Arc::clone(&self.0);
        let written = tokio::spawn(async move { inner.carry_out(plan).await }).await;
        written.unwrap_or_else(|cause| Err(Refusal::log(&format!("the write was lost: {cause}"))))
    }
}

impl Inner {
    async fn carry_out<T>(
        &self,
        plan: impl Fn(&State) -> Result<Plan<T>, Refusal>,
    ) -> Result<T, Refusal> {
        let mut stale = self.writer.lock().await;
        if stale.0 {
            let state = load(&*self.log).await.map_err(|cause| Refusal::log(&cause.0))?;
            *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
            stale.0 = false;
        }
        let Plan { records, answer } =
            plan(&self.state.read().unwrap_or_else(PoisonError::into_inner))?;
        for record in records {
            let (key, value) = record.encode();
            stale.0 = true;
            self.log.append(key, value).await.map_err(|cause| Refusal::log(&cause.0))?;
            self.state.write().unwrap_or_else(PoisonError::into_inner).apply(record);
            stale.0 = false;
        }
        Ok(answer)
    }
}

async fn load(log: &dyn Log) -> Result<State, LogError> {
    let mut state = State::default();
    for (position, (key, value)) in log.read_all().await?.into_iter().enumerate() {
        let record = Record::decode(&key, value.as_deref()).map_err(|cause| {
            LogError(format!("record {position} of the registry's log cannot be read: {cause}"))
        })?;
        if let Some(record) = record {
            state.apply(record);
        }
    }
    Ok(state)
}

#[cfg(test)]
mod tests;
