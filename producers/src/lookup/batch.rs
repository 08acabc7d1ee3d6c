//! Several keys in one request: those that are asked for at about the same time go together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::connector::{Findings, Place};
use engine::expression::{Expression, Own, Program, sentence};
use engine::{Domain, Enrichment, Event, Fault, Value};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::oneshot;

use crate::poll::{Inputs, Mistake, expression};
use crate::webhook::Fetch;

/// How long a request waits for more keys.
const LINGER: Duration = Duration::from_millis(5);
/// The most keys of a request.
const MOST: usize = 1_000;

/// Several keys in one request. Its templates and expressions then read the list of keys as `.`, even of
/// one; `item` gives the list of what was found, in any order.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Batch {
    /// How many keys a request has at most.
    pub size: usize,
    /// The key of what was found, VRL that reads one of the list. Of two that have the same key the first
    /// counts; a key that none has finds nothing.
    pub key: Own<Expression>,
}

impl Batch {
    /// Looks for mistakes that the types do not exclude.
    pub fn check(&self, findings: &mut Findings) {
        if !(1..=MOST).contains(&self.size) {
            let cause = format!("`size` lies between 1 and {MOST}.");
            findings.route("/batch/size", "batch_size", cause, "Write 50.");
        }
        let mut mistakes = Vec::new();
        self.compile(&mut mistakes);
        let found = |Mistake { pointer, diagnostic }| diagnostic.finding(Place::Route, &pointer);
        findings.0.extend(mistakes.into_iter().map(found));
    }

    fn compile(&self, mistakes: &mut Vec<Mistake>) -> Option<Program> {
        expression(&self.key, &Inputs::new().answer, "/batch/key", mistakes)
    }
}

/// Keys on their way.
pub struct Batches {
    fetch: Fetch,
    size: usize,
    key: Program,
    waiting: Mutex<Vec<Asked>>,
}

type Answer = Result<Option<Value>, Fault>;
/// A key, and who waits for what belongs to it.
type Asked = (Value, oneshot::Sender<Answer>);

impl Batches {
    /// Asks by these requests.
    ///
    /// # Errors
    /// A `Config` fault: the options cannot work.
    pub fn new(fetch: Fetch, batch: &Batch) -> Result<Self, Fault> {
        let mut mistakes = Vec::new();
        let key = batch.compile(&mut mistakes).ok_or_else(|| {
            let all: Vec<_> = mistakes.into_iter().map(|mistake| mistake.diagnostic).collect();
            Fault::config("expression", sentence(&all))
        })?;
        Ok(Self { fetch, size: batch.size.clamp(1, MOST), key, waiting: Mutex::default() })
    }

    /// What asks.
    pub fn fetch(&self) -> &Fetch {
        &self.fetch
    }

    /// What belongs to a key, asked for with others.
    ///
    /// # Errors
    /// As [`Fetch::find`].
    pub async fn find(self: &Arc<Self>, key: &Value) -> Answer {
        let (sender, answer) = oneshot::channel();
        let there = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push((key.clone(), sender));
            waiting.len()
        };
        // Tasks of their own: who asks first may be gone before the others have their answer.
        let own = Arc::clone(self);
        if there >= self.size {
            tokio::spawn(async move { own.ask().await });
        } else if there == 1 {
            tokio::spawn(async move {
                tokio::time::sleep(LINGER).await;
                own.ask().await;
            });
        }
        let gone = |_| Err(Fault::remote("not_answered", "The look-up came to no answer."));
        answer.await.unwrap_or_else(gone)
    }

    async fn ask(&self) {
        let asked = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let some = waiting.len().min(self.size);
            waiting.drain(..some).collect::<Vec<_>>()
        };
        let (keys, senders): (Vec<Value>, Vec<_>) = asked.into_iter().unzip();
        for (sender, answer) in senders.into_iter().zip(self.answers(&keys).await) {
            // Nobody waits for it any more, if this fails.
            drop(sender.send(answer));
        }
    }

    async fn answers(&self, keys: &[Value]) -> Vec<Answer> {
        match self.found(keys).await {
            Ok(found) => {
                keys.iter().map(|key| Ok(found.get(&Enrichment::text(key)).cloned())).collect()
            }
            // Which of the keys it refuses, it does not say: each is asked for alone.
            Err(fault) if fault.domain == Domain::Data && keys.len() > 1 => {
                let mut answers = Vec::with_capacity(keys.len());
                for key in keys {
                    let found = self.found(std::slice::from_ref(key)).await;
                    answers.push(found.map(|mut found| found.remove(&Enrichment::text(key))));
                }
                answers
            }
            Err(fault) => keys.iter().map(|_| Err(fault.clone())).collect(),
        }
    }

    /// What was found for some keys, by its own.
    async fn found(&self, keys: &[Value]) -> Result<HashMap<String, Value>, Fault> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let items = match self.fetch.find(&Value::Array(keys.to_vec())).await? {
            None | Some(Value::Null) => return Ok(HashMap::new()),
            Some(Value::Array(items)) => items,
            Some(_) => {
                let message = "The answer to a batch of keys is no list: `item` says where it is.";
                return Err(Fault::refused("no_list", message));
            }
        };
        let mut found = HashMap::with_capacity(items.len());
        for item in items.into_iter().filter(|item| !item.is_null()) {
            let key = self.key.run(&Event::of_value(Value::Null), &item).map_err(|fault| {
                let message = format!("What was found has no key: {}", fault.message);
                Fault::refused("no_key", message)
            })?;
            found.entry(Enrichment::text(&key)).or_insert(item);
        }
        Ok(found)
    }
}
