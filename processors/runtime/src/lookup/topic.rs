//! The look-up `topic`: a compacted topic, held in memory by its keys.
//!
//! A thread reads the topic from its beginning to its end, and follows it from then on; nothing is
//! found before. Values stay as they lie in the topic, and are decoded when they are found: a value that
//! cannot be decoded is a mistake of those events only that need it. When the topic cannot be read on,
//! or holds more than it may, everything is let go and it is read again from its beginning; the route
//! waits meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Around, Held, Lookup, LookupConnector};
use crate::codec::Decoders;
use crate::connector::{Findings, Setup};
use crate::kafka::{Cluster, ReadFrom, Reader};
use crate::options::Size;
use crate::{Enrichment, Event, Fault, Retry, Value};

/// How long is waited for a record before looking whether the topic is still wanted.
const LOOK: Duration = Duration::from_millis(200);
/// Between tries of what no broker answers.
const OPEN_AGAIN: Duration = Duration::from_secs(1);
/// Before a topic is read again that held more than it may.
const TOO_LARGE: Duration = Duration::from_secs(30);
/// How often it is told how far reading has come.
const TELL: Duration = Duration::from_secs(1);
/// How often is asked whether the topic has more partitions than before.
const COUNT: Duration = Duration::from_secs(10);
/// What an entry takes beside its key and its value, in bytes: two buffers and its place in the table.
const OVERHEAD: usize = 160;

/// A compacted topic in memory.
pub struct Topic {
    bounds: Bounds,
    followed: OnceLock<Followed>,
}

/// The topic that is held: its name (`topic: crm.customers`), or its name and its bounds.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TopicOptions {
    /// Its name.
    Name(String),
    /// Its name, and how much of it is held.
    Bounded(Bounds),
}

/// How much of a topic is held. More than that is not held in part: the route waits, says so, and reads
/// the topic again every 30 seconds.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Bounds {
    /// The topic.
    pub name: String,
    /// How many entries it may have.
    #[serde(default = "Bounds::default_at_most")]
    pub at_most: usize,
    /// How much memory it may take, in which an entry counts 160 bytes beside its key and its value.
    #[serde(default = "Bounds::default_largest")]
    pub largest: Size,
}

impl Bounds {
    fn of(name: &str) -> Self {
        let (at_most, largest) = (Self::default_at_most(), Self::default_largest());
        Self { name: name.to_owned(), at_most, largest }
    }

    fn default_at_most() -> usize {
        1_000_000
    }

    fn default_largest() -> Size {
        Size(256 << 20)
    }
}

impl TopicOptions {
    fn bounds(&self) -> Bounds {
        match self {
            Self::Name(name) => Bounds::of(name),
            Self::Bounded(bounds) => bounds.clone(),
        }
    }
}

impl LookupConnector for Topic {
    const NAME: &'static str = "topic";
    const SUMMARY: &'static str = "A compacted topic of this pipeline, held in memory: the last value of each key, a text. \
         Its name is enough: `topic: crm.contacts`.";
    const EXAMPLE: &'static str =
        include_str!("../../../../docs/examples/sales-with-contacts/pipeline.yaml");
    const CONNECTION: bool = false;
    type Options = TopicOptions;

    fn check(options: &TopicOptions, _: &std::path::Path, findings: &mut Findings) {
        if let TopicOptions::Bounded(bounds) = options
            && bounds.at_most == 0
        {
            let cause = "Nothing of the topic would be held.";
            findings.route("/at_most", "at_most", cause, "Leave it out, or write 1000000.");
        }
    }

    fn topic(options: &TopicOptions) -> Option<String> {
        Some(options.bounds().name)
    }

    fn build(options: TopicOptions, _: &Setup) -> Result<Box<dyn Lookup>, Fault> {
        Ok(Box::new(Self { bounds: options.bounds(), followed: OnceLock::new() }))
    }
}

/// A topic that a thread follows, for as long as this lives.
struct Followed {
    entries: Arc<Entries>,
    decoders: Arc<Decoders>,
}

struct Entries {
    bounds: Bounds,
    held: Held<RwLock<Table>>,
}

/// The last value of each key, as it lies in the topic.
#[derive(Default)]
struct Table {
    values: HashMap<Bytes, Bytes>,
    /// What it takes.
    bytes: u64,
}

#[async_trait]
impl Lookup for Topic {
    fn begin(&self, around: &Around<'_>) -> Result<(), Fault> {
        let name = &self.bounds.name;
        let declared = around.topics.iter().find(|topic| topic.name == *name);
        let schema = declared.and_then(|topic| topic.schema.as_ref());
        let decoders = Arc::new(Decoders::new(around.registry, schema));
        let held = Held::awaited(being_read(name, 0));
        let entries = Arc::new(Entries { bounds: self.bounds.clone(), held });
        let (weak, cluster) = (Arc::downgrade(&entries), around.cluster.clone());
        if self.followed.set(Followed { entries, decoders }).is_err() {
            return Ok(());
        }
        let thread = thread::Builder::new().name("lookup".to_owned());
        let thread = thread.spawn(move || run(&weak, &cluster));
        thread.map(drop).map_err(|error| {
            Fault::internal("thread", format!("No thread to read topic `{name}`: {error}."))
        })
    }

    fn holds(&self) -> bool {
        true
    }

    async fn find(&self, key: &Value) -> Result<Option<Value>, Fault> {
        let Some(Followed { entries, decoders }) = self.followed.get() else {
            let message = format!("Topic `{}` is looked up before it is read.", self.bounds.name);
            return Err(Fault::internal("lookup", message));
        };
        let table = entries.held.get().await?;
        let text = Enrichment::text(key);
        let found = {
            let table = table.read().unwrap_or_else(PoisonError::into_inner);
            table.values.get(text.as_bytes()).cloned()
        };
        let Some(payload) = found else { return Ok(None) };
        let decoded = decoders.view().decode(&payload).await;
        decoded.map(Some).map_err(|fault| {
            let name = &self.bounds.name;
            let message =
                format!("What topic `{name}` has for `{text}` cannot be used: {}", fault.message);
            Fault { message, ..fault }
        })
    }
}

/// Follows the topic until nobody wants it any more.
fn run(entries: &Weak<Entries>, cluster: &Cluster) {
    let mut said = None;
    while let Err(fault) = follow(entries, cluster, said.is_none()) {
        let Some(entries) = entries.upgrade() else { return };
        let wait = match fault.retry {
            Retry::After(wait) => wait,
            _ => OPEN_AGAIN,
        };
        if said.as_ref() != Some(&fault) {
            tracing::warn!(topic = entries.bounds.name, %fault, "a topic is not held in memory");
        }
        said = Some(fault.clone());
        entries.held.refuse(fault);
        drop(entries);
        thread::sleep(wait);
    }
}

/// Reads the topic from its beginning, and on. How far it has come is told the first time; later, what
/// went wrong says more.
fn follow(entries: &Weak<Entries>, cluster: &Cluster, first: bool) -> Result<(), Fault> {
    let Some(bounds) = entries.upgrade().map(|entries| entries.bounds.clone()) else {
        return Ok(());
    };
    let mut reader = Reader::open(cluster, &bounds.name, ReadFrom::Beginning)?;
    let partitions = reader.partition_count()?;
    let mut table = Table::default();
    let mut told = Instant::now();
    while !reader.is_at_end() {
        let Some(entries) = entries.upgrade() else { return Ok(()) };
        if let Some(event) = reader.next(LOOK)? {
            table.take(event, &bounds)?;
        }
        if first && told.elapsed() >= TELL {
            entries.held.refuse(being_read(&bounds.name, table.values.len()));
            told = Instant::now();
        }
    }
    tracing::info!(topic = bounds.name, entries = table.values.len(), "a topic is held in memory");
    let table = Arc::new(RwLock::new(table));
    match entries.upgrade() {
        Some(entries) => entries.held.set(Arc::clone(&table)),
        None => return Ok(()),
    }
    let mut counted = Instant::now();
    while entries.strong_count() > 0 {
        if let Some(event) = reader.next(LOOK)? {
            table.write().unwrap_or_else(PoisonError::into_inner).take(event, &bounds)?;
        }
        if counted.elapsed() >= COUNT {
            if reader.partition_count()? != partitions {
                let message = format!("Topic `{}` has more partitions than before.", bounds.name);
                return Err(Fault::remote("partitions_changed", message));
            }
            counted = Instant::now();
        }
    }
    Ok(())
}

impl Table {
    /// Takes in a record: the last one of a key counts, and one without a value removes it.
    ///
    /// # Errors
    /// It would be more than may be held.
    fn take(&mut self, event: Event, bounds: &Bounds) -> Result<(), Fault> {
        // Without a key nobody could look it up.
        let Some(key) = event.key else { return Ok(()) };
        let length = key.len();
        let bytes = |value: &Bytes| (OVERHEAD + length + value.len()) as u64;
        let before = match event.payload {
            Some(value) => {
                self.bytes += bytes(&value);
                self.values.insert(key, value)
            }
            None => self.values.remove(&key),
        };
        self.bytes -= before.as_ref().map_or(0, bytes);
        let (name, at_most) = (&bounds.name, bounds.at_most);
        let what = if self.values.len() > at_most {
            format!("`at_most` ({at_most}) entries")
        } else if self.bytes > bounds.largest.0 {
            format!("`largest` ({} bytes) allows", bounds.largest.0)
        } else {
            return Ok(());
        };
        let message = format!(
            "Topic `{name}` is too large to be held in memory: it has more than {what}. Raise the \
             bound in `enrich`, or let the topic hold less."
        );
        Err(Fault::remote("topic_too_large", message).after(TOO_LARGE))
    }
}

fn being_read(topic: &str, entries: usize) -> Fault {
    let message = format!("Topic `{topic}` is being read into memory: {entries} entries so far.");
    Fault::remote("topic_being_read", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(key: &str, value: Option<&str>) -> Event {
        let payload = value.map(|value| Bytes::copy_from_slice(value.as_bytes()));
        let key = Some(Bytes::copy_from_slice(key.as_bytes()));
        Event { key, payload, ..Event::of_value(Value::Null) }
    }

    #[test]
    fn the_last_value_of_a_key_counts_and_a_tombstone_removes_it() {
        let bounds = Bounds::of("customers");
        let mut table = Table::default();
        for (key, value) in [("a", Some("1")), ("b", Some("22")), ("a", Some("333"))] {
            table.take(event(key, value), &bounds).unwrap();
        }
        assert_eq!(table.values.get(&b"a"[..]).unwrap(), "333");
        assert_eq!(table.bytes, 2 * OVERHEAD as u64 + 2 + 5);
        table.take(event("a", None), &bounds).unwrap();
        table.take(event("never", None), &bounds).unwrap();
        table.take(Event { key: None, ..event("", Some("x")) }, &bounds).unwrap();
        assert_eq!((table.values.len(), table.bytes), (1, OVERHEAD as u64 + 3));
        table.take(event("b", None), &bounds).unwrap();
        assert_eq!(table.bytes, 0, "nothing is counted that is not there");
    }

    #[test]
    fn what_is_more_than_may_be_held_is_told_with_its_bound() {
        let few = Bounds { at_most: 1, ..Bounds::of("customers") };
        let mut table = Table::default();
        table.take(event("a", Some("1")), &few).unwrap();
        table.take(event("a", Some("2")), &few).unwrap();
        let fault = table.take(event("b", Some("1")), &few).unwrap_err();
        assert_eq!((fault.domain, fault.cause), (crate::Domain::Remote, "topic_too_large"));
        assert!(fault.message.contains("`at_most` (1)"), "{fault}");
        let small = Bounds { largest: Size(200), ..Bounds::of("customers") };
        let fault = Table::default().take(event("a", Some(&"x".repeat(50))), &small).unwrap_err();
        assert!(fault.message.contains("`largest` (200 bytes)"), "{fault}");
    }

    #[test]
    fn options_are_a_name_or_a_name_with_bounds() {
        let read = |json| serde_json::from_value::<TopicOptions>(json).unwrap().bounds();
        assert_eq!(read(serde_json::json!("crm.customers")).at_most, 1_000_000);
        let bounds = read(serde_json::json!({ "name": "crm.customers", "largest": "1MiB" }));
        assert_eq!((&*bounds.name, bounds.largest.0), ("crm.customers", 1 << 20));
    }
}
