//! The journal of dead letters, followed and written.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::{Entry, JOURNAL_TOPIC, Letters, topic_of_route};
use crate::kafka::{Cluster, Follower, Producer};
use crate::metrics::RouteMetrics;
use crate::state::StateOf;
use crate::{Event, Fault};

/// How long one look for an entry lasts.
const LOOK: Duration = Duration::from_millis(50);
/// How long to wait before the topic is opened again.
const OPEN_AGAIN: Duration = Duration::from_secs(1);
/// How often the open dead letters are counted.
const COUNT: Duration = Duration::from_secs(2);
/// How long an assignment waits for the journal.
const CATCH_UP: Duration = Duration::from_secs(20);

/// The journal of a pipeline's dead letters. One thread follows it for all routes.
pub struct Journal {
    producer: Arc<Producer>,
    routes: HashMap<Arc<str>, Known>,
    progress: Mutex<Progress>,
    moved: Condvar,
}

struct Known {
    letters: Arc<Letters>,
    state: StateOf,
    metrics: RouteMetrics,
}

/// Who waits for everything that the topic holds now.
#[derive(Default)]
struct Progress {
    asked: u64,
    answered: u64,
    fault: Option<Fault>,
}

impl Journal {
    /// The journal of these routes; follows it until it is dropped.
    ///
    /// # Errors
    /// An `Internal` fault when there is no thread for it.
    pub fn follow(
        cluster: &Cluster,
        producer: &Arc<Producer>,
        routes: impl IntoIterator<Item = (StateOf, RouteMetrics)>,
    ) -> Result<Arc<Self>, Fault> {
        let known = |(state, metrics): (StateOf, RouteMetrics)| {
            let route = Arc::clone(state.route());
            (route, Known { letters: Arc::default(), state, metrics })
        };
        let journal = Arc::new(Self {
            producer: Arc::clone(producer),
            routes: routes.into_iter().map(known).collect(),
            progress: Mutex::default(),
            moved: Condvar::new(),
        });
        let (weak, cluster) = (Arc::downgrade(&journal), cluster.clone());
        let spawned = thread::Builder::new().name("letters".into()).spawn(move || {
            run(&weak, &cluster);
        });
        spawned.map_err(|error| {
            Fault::internal("thread", format!("No thread to follow {JOURNAL_TOPIC}: {error}."))
        })?;
        Ok(journal)
    }

    /// What it says of a route.
    pub fn letters(&self, route: &str) -> Arc<Letters> {
        self.routes.get(route).map(|known| Arc::clone(&known.letters)).unwrap_or_default()
    }

    /// Writes an entry; it holds once Kafka has acknowledged it.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub async fn write(&self, entry: Entry) -> Result<(), Fault> {
        let placed = self.producer.send(&entry.record()?).await?;
        if let Some(known) = self.routes.get(&*entry.route) {
            known.letters.written(placed.offset, entry);
            known.show();
        }
        Ok(())
    }

    /// Waits until everything is read that the topic holds now. Blocks.
    ///
    /// # Errors
    /// A `Remote` fault when it cannot be read.
    pub fn catch_up(&self) -> Result<(), Fault> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.asked += 1;
        let (mine, until) = (progress.asked, Instant::now() + CATCH_UP);
        while progress.answered < mine {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(progress.fault.clone().unwrap_or_else(|| {
                    let message = format!("Reading topic {JOURNAL_TOPIC} takes too long.");
                    Fault::remote("kafka_timeout", message)
                }));
            }
            let waited = self.moved.wait_timeout(progress, left);
            progress = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// An entry was read.
    fn take(&self, record: &Event) {
        let Some(entry) = Entry::read(record) else { return };
        if let Some(known) = self.routes.get(&*entry.route) {
            known.letters.read(record.offset, entry);
            known.show();
        }
    }

    fn progress<T>(&self, change: impl FnOnce(&mut Progress) -> T) -> T {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut progress);
        self.moved.notify_all();
        result
    }
}

impl Known {
    fn show(&self) {
        let parked = i64::try_from(self.letters.parked_keys()).unwrap_or(i64::MAX);
        self.state.set_parked(parked);
        self.metrics.parked_keys.set(parked);
    }

    /// Counts the letters that are not settled, among so many.
    fn count(&self, letters: i64) {
        let settled = i64::try_from(self.letters.settled()).unwrap_or(i64::MAX);
        let open = letters.saturating_sub(settled).max(0);
        self.state.set_open_letters(open);
        self.metrics.open_dead_letters.set(open);
    }
}

/// Follows the topic for as long as the journal is used.
fn run(journal: &Weak<Journal>, cluster: &Cluster) {
    let mut from = 0;
    loop {
        let followed = Follower::open(cluster, JOURNAL_TOPIC, 0, from)
            .and_then(|mut follower| look_on(journal, &mut follower, &mut from));
        let Err(fault) = followed else { return };
        let Some(journal) = journal.upgrade() else { return };
        tracing::debug!(%fault, "the journal of dead letters is opened again");
        journal.progress(|progress| progress.fault = Some(fault));
        drop(journal);
        thread::sleep(OPEN_AGAIN);
    }
}

/// Reads on until the journal is dropped.
fn look_on(journal: &Weak<Journal>, follower: &mut Follower, from: &mut i64) -> Result<(), Fault> {
    let (mut counted, mut awaited) = (None::<Instant>, None::<(u64, i64)>);
    loop {
        let Some(journal) = journal.upgrade() else { return Ok(()) };
        let (asked, answered) = journal.progress(|progress| (progress.asked, progress.answered));
        if awaited.is_none() && asked > answered {
            let end = follower.bounds()?.high;
            if follower.position() < end {
                follower.look_anew()?;
            }
            awaited = Some((asked, end));
        }
        if let Some((asked, end)) = awaited.filter(|(_, end)| follower.has_reached(*end)) {
            tracing::trace!(end, "the journal is read to its end");
            journal.progress(|progress| (progress.answered, progress.fault) = (asked, None));
            awaited = None;
        }
        if awaited.is_none() && counted.is_none_or(|last| last.elapsed() >= COUNT) {
            count(&journal, follower);
            counted = Some(Instant::now());
        }
        if let Some(record) = follower.next(LOOK)? {
            *from = follower.position();
            journal.take(&record);
        }
    }
}

/// Counts each route's open letters; those of a topic that cannot be seen now are counted later.
fn count(journal: &Journal, follower: &Follower) {
    let topics: Vec<_> = journal.routes.keys().map(|route| topic_of_route(route)).collect();
    match follower.bounds_of(&topics) {
        Ok(bounds) => {
            for (known, topic) in journal.routes.values().zip(&topics) {
                if let Some(bounds) = bounds.get(topic) {
                    known.count(bounds.high - bounds.low);
                }
            }
        }
        Err(fault) => tracing::debug!(%fault, "the dead letters are not counted"),
    }
}
