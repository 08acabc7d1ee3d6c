//! Processor routes: from a topic to a topic, in the order of each partition.
//!
//! A partition's events are processed one after another by one task, and written without waiting:
//! a window's offsets pass once Kafka has acknowledged everything that came of it, and of those
//! before it. When a write fails for good, the route starts again from its last commit.
//!
//! With `delivery: exactly_once` what is written and the offsets go in one transaction. It ends only
//! between windows (`kafka::Transactions`), and what may take long, decoding with a schema that the
//! registry has yet to tell, is done before a window begins.

mod enriching;
mod ledger;
mod line;
mod oversize;
mod parking;
mod seen;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::clock::Moment;
use crate::dispatch::{Commit, Flow};
use crate::kafka::{Consumer, Intake, Measured, Transactions};
use crate::metrics::RouteMetrics;
use crate::runtime::{Break, Work};
use crate::state::{State, StateOf};
use crate::{Event, Fault};

use ledger::{Books, Ledger};
use line::Inlet;
pub(crate) use line::{Mill, Output};
pub(crate) use seen::{Deduplication, seen_topic};

/// How much may be read and not yet acknowledged, over all partitions.
const MOST_EVENTS: usize = 20_000;
const MOST_BYTES: usize = 16 << 20;
/// How long the route must be full before its partitions are paused.
const FULL_BEFORE_PAUSE: Duration = Duration::from_millis(200);

/// A processor route at work.
pub(crate) struct Processing {
    hall: Arc<Hall>,
}

/// The route's partitions, each with its line.
struct Hall {
    mill: Arc<Mill>,
    state: StateOf,
    runtime: tokio::runtime::Handle,
    lines: Mutex<Lines>,
    books: Books,
    /// Says that dead letters may be there to be tried again.
    letters: watch::Sender<()>,
}

#[derive(Default)]
struct Lines {
    lines: BTreeMap<i32, Line>,
    full_since: Option<Moment>,
    paused: Vec<i32>,
    trouble: bool,
}

impl Lines {
    /// The partitions that are read: those that are not paused.
    fn read(&self) -> impl Iterator<Item = i32> {
        self.lines.keys().copied().filter(|partition| !self.paused.contains(partition))
    }

    /// Which partitions are to be paused or resumed now.
    fn flow(&mut self, is_full: bool, is_half_empty: bool, now: Moment) -> Flow {
        let mut flow = Flow::default();
        if is_half_empty {
            flow.resume = std::mem::take(&mut self.paused);
        }
        // Those that came while the others were paused are read, too.
        let read: Vec<i32> = self.read().collect();
        if !is_full || read.is_empty() {
            self.full_since = None;
        } else if now.since(*self.full_since.get_or_insert(now)) >= FULL_BEFORE_PAUSE {
            self.paused.extend(&read);
            self.full_since = None;
            flow.pause = read;
        }
        flow
    }
}

/// A partition being processed.
struct Line {
    ledger: Arc<Ledger>,
    sender: mpsc::UnboundedSender<Vec<Event>>,
    task: JoinHandle<()>,
    revoked: bool,
}

impl Drop for Line {
    fn drop(&mut self) {
        // Its task may be running: it starts no window any more.
        self.ledger.close();
        self.task.abort();
    }
}

impl Processing {
    /// Prepares the route; call it within the runtime that is to run it.
    pub fn new(mill: Mill, state: &StateOf, metrics: &RouteMetrics) -> Self {
        let hall = Hall {
            mill: Arc::new(mill),
            state: state.clone(),
            runtime: tokio::runtime::Handle::current(),
            lines: Mutex::default(),
            books: Books::new(metrics.clone()),
            letters: watch::channel(()).0,
        };
        let hall = Arc::new(hall);
        let weak = Arc::downgrade(&hall);
        hall.mill.letters.on_change(Arc::new(move || {
            if let Some(hall) = weak.upgrade() {
                hall.letters.send_replace(());
            }
        }));
        Self { hall }
    }
}

#[async_trait]
impl Work for Processing {
    fn intake(&self) -> Arc<dyn Intake> {
        Arc::clone(&self.hall) as Arc<dyn Intake>
    }

    fn begin(&mut self, _consumer: &Consumer) {
        self.hall.books.broken.send_replace(None);
        self.hall.state.set(State::Running);
    }

    async fn broken(&mut self) -> Break {
        let mut broken = self.hall.books.broken.subscribe();
        let gone = || Break::Halt("The route's own tasks are gone.".to_owned());
        match broken.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_else(gone),
            Err(_) => gone(),
        }
    }

    fn end(&mut self) {
        *self.hall.lock() = Lines::default();
    }
}

impl Hall {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_full(&self) -> bool {
        self.books.load.events() >= MOST_EVENTS || self.books.load.bytes() >= MOST_BYTES
    }

    fn is_half_empty(&self) -> bool {
        self.books.load.events() <= MOST_EVENTS / 2 && self.books.load.bytes() <= MOST_BYTES / 2
    }
}

impl Intake for Hall {
    fn prepare(&self) -> Result<(), Fault> {
        self.mill.journal.catch_up()?;
        self.mill.transactions.as_ref().map_or(Ok(()), |transactions| transactions.open())
    }

    fn transactions(&self) -> Option<Arc<Transactions>> {
        self.mill.transactions.clone()
    }

    fn assigned(&self, partition: i32, offset: i64, _metadata: &str, begun: bool) {
        let ledger = Arc::new(Ledger::new(partition, offset, begun, &self.books));
        let (sender, events) = mpsc::unbounded_channel();
        let mut letters = self.letters.subscribe();
        // What was asked for before the partition was ours.
        letters.mark_changed();
        let inlet = Inlet { events, letters };
        let (mill, own) = (Arc::clone(&self.mill), Arc::clone(&ledger));
        let state = self.state.clone();
        let task = self.runtime.spawn(line::run(mill, own, state, partition, inlet));
        let line = Line { ledger, sender, task, revoked: false };
        self.lock().lines.insert(partition, line);
    }

    fn revoked(&self, partitions: &[i32]) {
        let mut all = self.lock();
        for partition in partitions {
            if let Some(line) = all.lines.get_mut(partition) {
                line.revoked = true;
                line.ledger.close();
            }
        }
    }

    fn is_drained(&self, partitions: &[i32]) -> bool {
        let all = self.lock();
        let mut lines = partitions.iter().filter_map(|partition| all.lines.get(partition));
        lines.all(|line| line.ledger.is_drained())
    }

    fn commit_of(&self, partition: i32) -> Option<Commit> {
        let all = self.lock();
        let offset = all.lines.get(&partition)?.ledger.commit();
        Some(Commit { partition, offset, metadata: String::new() })
    }

    fn forgotten(&self, partitions: &[i32]) {
        let mut all = self.lock();
        for partition in partitions {
            all.lines.remove(partition);
            all.paused.retain(|paused| paused != partition);
        }
    }

    fn receive(&self, events: Vec<Event>) {
        let bytes: usize = events.iter().map(Event::bytes).sum();
        self.books.metrics.records_in.inc_by(events.len() as u64);
        self.books.metrics.bytes_in.inc_by(bytes as u64);
        let all = self.lock();
        let mut batch = events.into_iter().peekable();
        while let Some(first) = batch.next() {
            let partition = first.partition;
            let mut window = vec![first];
            while let Some(next) = batch.next_if(|next| next.partition == partition) {
                window.push(next);
            }
            let Some(line) = all.lines.get(&partition).filter(|line| !line.revoked) else {
                continue;
            };
            line.ledger.received(&window);
            // The task ends only with its line.
            drop(line.sender.send(window));
        }
    }

    fn room(&self) -> usize {
        match self.is_full() && self.lock().read().next().is_some() {
            true => 0,
            false => MOST_EVENTS,
        }
    }

    fn flow(&self) -> Flow {
        let (is_full, is_half_empty) = (self.is_full(), self.is_half_empty());
        self.lock().flow(is_full, is_half_empty, Moment::now())
    }

    fn commits(&self) -> Vec<Commit> {
        let all = self.lock();
        let changed =
            all.lines.iter().filter(|(_, line)| !line.revoked && line.ledger.is_changed());
        changed
            .map(|(partition, line)| {
                let offset = line.ledger.commit();
                Commit { partition: *partition, offset, metadata: String::new() }
            })
            .collect()
    }

    fn recommit(&self) {
        self.lock().lines.values().for_each(|line| line.ledger.mark_changed());
    }

    fn is_busy(&self) -> bool {
        self.books.load.events() > 0
            || self.lock().lines.values().any(|line| line.ledger.is_changed())
    }

    fn trouble(&self, fault: Option<&Fault>) {
        self.lock().trouble = fault.is_some();
        match fault {
            Some(fault) => self.state.set(State::held(fault.message.clone())),
            None => self.state.set(State::Running),
        }
    }

    fn measured(&self, measured: &Measured) {
        let all = self.lock();
        let oldest = all.lines.values().filter_map(|line| line.ledger.oldest()).min();
        let watermarks: Vec<(i32, i64)> = all
            .lines
            .iter()
            .map(|(partition, line)| (*partition, line.ledger.watermark()))
            .collect();
        self.books
            .metrics
            .in_flight
            .set(i64::try_from(self.books.load.events()).unwrap_or(i64::MAX));
        crate::runtime::report_lag(&self.state, &self.books.metrics, oldest, &watermarks, measured);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn line(partition: i32) -> Line {
        let books = Books::new(Metrics::new().unwrap().route("p/r"));
        let ledger = Arc::new(Ledger::new(partition, 0, false, &books));
        let task = tokio::spawn(async {});
        Line { ledger, sender: mpsc::unbounded_channel().0, task, revoked: false }
    }

    #[tokio::test]
    async fn partitions_that_come_while_the_others_are_paused_are_paused_too() {
        let mut all = Lines::default();
        all.lines.extend([(0, line(0)), (1, line(1))]);
        let flow = |all: &mut Lines, is_full: bool, millis: u64| {
            let flow = all.flow(is_full, !is_full, Moment::from_millis(millis));
            (flow.pause, flow.resume)
        };
        assert_eq!(flow(&mut all, true, 1_000), (vec![], vec![]));
        assert_eq!(flow(&mut all, true, 1_200), (vec![0, 1], vec![]));
        all.lines.insert(2, line(2));
        assert!(all.read().eq([2]), "as long as it is read, nothing is");
        assert_eq!(flow(&mut all, true, 1_300), (vec![], vec![]));
        assert_eq!(flow(&mut all, true, 1_500), (vec![2], vec![]));
        assert_eq!(flow(&mut all, true, 9_000), (vec![], vec![]));
        assert_eq!(flow(&mut all, false, 9_100), (vec![], vec![0, 1, 2]));
    }
}
