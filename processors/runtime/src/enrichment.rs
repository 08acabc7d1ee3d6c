//! What events are enriched with: found by a key, kept for a while, asked for once at a time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use schemas::Schema;
use tokio::sync::OnceCell;

use crate::clock::Moment;
use crate::expression::Program;
use crate::lookup::Lookup;
use crate::{Event, Fault, Value};

/// How long it is remembered at most that nothing was found: it may be about to appear.
const MISS: Duration = Duration::from_secs(10);

/// How often is looked for what is not there yet, where looking costs nothing.
const HELD: Duration = Duration::from_millis(200);

/// What becomes of an event for which nothing is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMiss {
    /// The field is null.
    Null,
    /// The event cannot pass: it follows the route's `on_error`.
    DeadLetter,
    /// The route waits until it is found.
    Wait,
}

/// A field that events get before the steps of their route.
pub struct Enrichment {
    /// The field.
    pub field: String,
    /// The key of what is looked up, of an event.
    pub by: Program,
    /// The form of what is found, if it is known.
    pub schema: Option<Schema>,
    /// What becomes of an event for which nothing is found.
    pub on_miss: OnMiss,
    /// Finds it.
    pub lookup: Box<dyn Lookup>,
    /// What was found.
    pub found: Found,
}

/// What was found lately.
pub struct Found {
    /// How long it is used again.
    keep: Duration,
    at_most: usize,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    cells: HashMap<String, Cell>,
    /// The keys, the first asked for at the front.
    order: VecDeque<String>,
}

/// What one key leads to. While it is asked for, everybody else waits for the answer.
type Cell = Arc<OnceCell<(Moment, Option<Value>)>>;

impl Found {
    /// Nothing yet. What is found is used again for `keep`; at most so many keys are remembered.
    pub fn new(keep: Duration, at_most: usize) -> Self {
        Self { keep, at_most: at_most.max(1), known: Mutex::default() }
    }

    /// What a key leads to, forgotten if it is too old: that nothing was found, after so long.
    fn cell(&self, key: &str, misses: Duration) -> Cell {
        let now = Moment::now();
        let fresh = |(at, value): &(Moment, Option<Value>)| {
            let keep = if value.is_some() { self.keep } else { self.keep.min(misses) };
            now.since(*at) < keep
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = known.cells.get_mut(key) {
            if cell.get().is_some_and(|found| !fresh(found)) {
                *cell = Cell::default();
            }
            return Arc::clone(cell);
        }
        while known.cells.len() >= self.at_most {
            let Some(oldest) = known.order.pop_front() else { break };
            known.cells.remove(&oldest);
        }
        let cell = Cell::default();
        known.order.push_back(key.to_owned());
        known.cells.insert(key.to_owned(), Arc::clone(&cell));
        cell
    }
}

impl Enrichment {
    /// The key of what belongs to an event; nothing for null.
    ///
    /// # Errors
    /// A `Data` fault: the expression fails.
    pub fn key(&self, event: &Event, value: &Value) -> Result<Option<Value>, Fault> {
        Ok(Some(self.by.run(event, value)?).filter(|key| !key.is_null()))
    }

    /// A key as a text.
    pub fn text(key: &Value) -> String {
        match key.to_str_lossy() {
            Some(text) => text.into_owned(),
            None => schemas::json::write(key),
        }
    }

    /// What belongs to a key, held, remembered or asked for.
    ///
    /// # Errors
    /// As [`Lookup::find`], and a `Data` fault when what was found does not have the form declared.
    pub async fn find(&self, key: &Value) -> Result<Option<Value>, Fault> {
        if self.lookup.holds() {
            return self.lookup.find(key).await;
        }
        // Whoever waits for it asks again when it is time.
        let misses = if self.on_miss == OnMiss::Wait { Duration::ZERO } else { MISS };
        let cell = self.found.cell(&Self::text(key), misses);
        cell.get_or_try_init(|| self.ask(key)).await.map(|(_, value)| value.clone())
    }

    async fn ask(&self, key: &Value) -> Result<(Moment, Option<Value>), Fault> {
        let found = self.lookup.find(key).await?;
        Ok((Moment::now(), found.map(|value| self.formed(value)).transpose()?))
    }

    /// What was found in its declared form: decimals exact, fields that are not declared left out.
    ///
    /// # Errors
    /// A `Data` fault: it does not fit.
    pub fn formed(&self, value: Value) -> Result<Value, Fault> {
        let Some(schema) = &self.schema else { return Ok(value) };
        let text = schemas::json::write(&value);
        let read = schemas::json::read(schema, text.as_bytes());
        read.map(|read| read.value).map_err(|error| {
            let message = format!("What was found for `{}` does not fit: {error}.", self.field);
            Fault::data("found_invalid", message)
        })
    }

    /// Says that nothing was found.
    pub(crate) fn lack(&self, key: Option<&Value>) -> String {
        let shown = key.map_or_else(|| "null".to_owned(), Self::text);
        format!("Nothing was found for `{}` by `{shown}`.", self.field)
    }

    /// Puts what was found into an event's value.
    ///
    /// # Errors
    /// Nothing was found, and the event cannot go on without: a `Data` fault, or a `Remote` one where
    /// the route waits.
    pub fn put(
        &self,
        value: &mut Value,
        key: Option<&Value>,
        found: Option<Value>,
    ) -> Result<(), Fault> {
        let found = match (found, self.on_miss) {
            (Some(found), _) => found,
            (None, OnMiss::Null) => Value::Null,
            (None, OnMiss::Wait) if key.is_some() => {
                let fault = Fault::remote("not_found_yet", self.lack(key));
                return Err(if self.lookup.holds() { fault.after(HELD) } else { fault });
            }
            // Waiting for what nobody can ask for would have no end.
            (None, _) => return Err(Fault::data("not_found", self.lack(key))),
        };
        if let Some(fields) = value.as_object_mut() {
            fields.insert(self.field.as_str().into(), found);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use vrl::value::Kind;

    use super::*;
    use crate::expression::Expression;

    /// Finds everything but `nobody`, slowly, and fails as often as it is told to.
    struct Slow {
        asked: Arc<AtomicUsize>,
        failures: AtomicUsize,
    }

    #[async_trait]
    impl Lookup for Slow {
        async fn find(&self, key: &Value) -> Result<Option<Value>, Fault> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
            let left = self.failures.load(Ordering::Relaxed);
            if left > 0 {
                self.failures.store(left - 1, Ordering::Relaxed);
                return Err(Fault::remote("away", "It is away."));
            }
            Ok((key.to_str_lossy().as_deref() != Some("nobody")).then(|| key.clone()))
        }
    }

    fn enrichment(
        keep: Duration,
        at_most: usize,
        failures: usize,
    ) -> (Enrichment, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let lookup = Slow { asked: Arc::clone(&asked), failures: AtomicUsize::new(failures) };
        let by = Expression(".customer".into()).compile(&Kind::any_object()).unwrap();
        let enrichment = Enrichment {
            field: "party".into(),
            by,
            schema: None,
            on_miss: OnMiss::Null,
            lookup: Box::new(lookup),
            found: Found::new(keep, at_most),
        };
        (enrichment, asked)
    }

    const LONG: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn what_many_ask_for_at_once_is_asked_for_once_and_remembered() {
        let (enrichment, asked) = enrichment(LONG, 10, 0);
        let key = Value::from("ada");
        let all = futures::future::join_all((0..20).map(|_| enrichment.find(&key))).await;
        assert!(all.iter().all(|found| found.as_ref().unwrap().as_ref() == Some(&key)));
        assert_eq!(enrichment.find(&key).await.unwrap(), Some(key));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert_eq!(enrichment.find(&"nobody".into()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_old_or_too_much_is_asked_for_again() {
        let (enrichment, asked) = enrichment(Duration::ZERO, 10, 0);
        for _ in 0..3 {
            enrichment.find(&"ada".into()).await.unwrap();
        }
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        let (enrichment, asked) = self::enrichment(LONG, 2, 0);
        for key in ["a", "b", "c", "b", "c", "a"] {
            enrichment.find(&key.into()).await.unwrap();
        }
        assert_eq!(asked.load(Ordering::Relaxed), 4, "only `a` was forgotten");
        assert_eq!(enrichment.found.known.lock().unwrap().cells.len(), 2);
    }

    #[tokio::test]
    async fn a_failure_is_not_remembered() {
        let (enrichment, asked) = enrichment(LONG, 10, 1);
        assert_eq!(enrichment.find(&"ada".into()).await.unwrap_err().cause, "away");
        assert!(enrichment.find(&"ada".into()).await.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_miss_is_null_or_a_fault_as_declared() {
        let (mut enrichment, _) = enrichment(LONG, 10, 0);
        let mut value = vrl::value!({ customer: "nobody" });
        let key = Value::from("nobody");
        enrichment.put(&mut value, Some(&key), None).unwrap();
        assert_eq!(value, vrl::value!({ customer: "nobody", party: null }));
        enrichment.on_miss = OnMiss::DeadLetter;
        let fault = enrichment.put(&mut value, Some(&key), None).unwrap_err();
        assert_eq!((fault.domain, fault.cause), (crate::Domain::Data, "not_found"));
        enrichment.on_miss = OnMiss::Wait;
        let fault = enrichment.put(&mut value, Some(&key), None).unwrap_err();
        assert_eq!((fault.domain, fault.cause), (crate::Domain::Remote, "not_found_yet"));
        let fault = enrichment.put(&mut value, None, None).unwrap_err();
        assert_eq!(fault.domain, crate::Domain::Data, "nothing to wait for");
    }
}
