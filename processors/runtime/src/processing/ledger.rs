//! What came of each window of a partition, and how far its offset may pass.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::oversize::Oversize;
use crate::kafka::Acknowledge;
use crate::metrics::RouteMetrics;
use crate::publisher::Placed;
use crate::runtime::Break;
use crate::{Domain, Event, Fault};

/// Events of a partition whose offsets pass together, at most: as many as are read at once. What they become
/// is handed to the producer together, so that it goes to the brokers in few batches where much waits.
const WINDOW: usize = 512;
/// Those of all partitions together, about: decoded, an event takes several times the room that it had.
const WINDOWS: usize = 8 * WINDOW;
/// Those of one of very many partitions.
const LEAST_WINDOW: usize = 32;

/// What a route has read and not had acknowledged.
#[derive(Debug, Default)]
pub(super) struct Load {
    events: AtomicUsize,
    bytes: AtomicUsize,
    /// The ledgers that share it.
    ledgers: AtomicUsize,
}

impl Load {
    pub fn events(&self) -> usize {
        self.events.load(Ordering::Relaxed)
    }

    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn window(&self) -> usize {
        let ledgers = self.ledgers.load(Ordering::Relaxed).max(1);
        (WINDOWS / ledgers).clamp(LEAST_WINDOW, WINDOW)
    }

    fn add(&self, events: usize, bytes: usize) {
        self.events.fetch_add(events, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn take(&self, events: usize, bytes: usize) {
        self.events.fetch_sub(events, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What the ledgers of a route share.
#[derive(Clone)]
pub(super) struct Books {
    pub load: Arc<Load>,
    /// Why the route cannot go on.
    pub broken: Arc<watch::Sender<Option<Break>>>,
    pub metrics: RouteMetrics,
    pub oversize: Arc<Oversize>,
}

impl Books {
    pub fn new(metrics: RouteMetrics) -> Self {
        let broken = Arc::new(watch::channel(None).0);
        Self { load: Arc::default(), broken, metrics, oversize: Arc::default() }
    }
}

/// A partition's windows, in order.
pub(super) struct Ledger {
    partition: i32,
    books: Books,
    inner: Mutex<Inner>,
    /// True once nothing more is to be started.
    closed: AtomicBool,
}

struct Inner {
    /// The next offset to commit.
    watermark: i64,
    changed: bool,
    /// Windows not yet passed, the oldest first.
    windows: VecDeque<Entry>,
    /// The number of the oldest window.
    first: u64,
    /// What was received and is not passed.
    events: usize,
    bytes: usize,
}

struct Entry {
    end: i64,
    events: usize,
    bytes: usize,
    timestamp: i64,
    done: bool,
}

impl Ledger {
    pub fn new(partition: i32, watermark: i64, changed: bool, books: &Books) -> Self {
        let windows = VecDeque::new();
        books.load.ledgers.fetch_add(1, Ordering::Relaxed);
        Self {
            partition,
            books: books.clone(),
            inner: Mutex::new(Inner { watermark, changed, windows, first: 0, events: 0, bytes: 0 }),
            closed: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of its events may be worked on at once: fewer where many partitions are ours, so that memory
    /// does not grow with them.
    pub fn window(&self) -> usize {
        self.books.load.window()
    }

    /// Notes events that were read.
    pub fn received(&self, events: &[Event]) {
        let bytes = events.iter().map(Event::bytes).sum();
        let mut inner = self.lock();
        inner.events += events.len();
        inner.bytes += bytes;
        self.books.load.add(events.len(), bytes);
    }

    /// Opens the window of these events, which were received before.
    pub fn open(self: &Arc<Self>, events: &[Event]) -> Option<Arc<Window>> {
        let last = events.last()?;
        let entry = Entry {
            end: last.offset + 1,
            events: events.len(),
            bytes: events.iter().map(Event::bytes).sum(),
            timestamp: events.first().map_or(0, |event| event.timestamp),
            done: false,
        };
        let mut inner = self.lock();
        let number = inner.first + inner.windows.len() as u64;
        inner.windows.push_back(entry);
        Some(Arc::new(Window { number, pending: AtomicUsize::new(1), ledger: Arc::clone(self) }))
    }

    fn done(&self, number: u64) {
        let mut inner = self.lock();
        let Some(place) = number.checked_sub(inner.first) else { return };
        if let Some(entry) = inner.windows.get_mut(place as usize) {
            entry.done = true;
        }
        while let Some(entry) = inner.windows.pop_front_if(|entry| entry.done) {
            inner.first += 1;
            inner.watermark = entry.end;
            inner.changed = true;
            inner.events = inner.events.saturating_sub(entry.events);
            inner.bytes = inner.bytes.saturating_sub(entry.bytes);
            self.books.load.take(entry.events, entry.bytes);
        }
    }

    /// Nothing of what is not open yet is started any more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether every window that was opened has passed.
    pub fn is_drained(&self) -> bool {
        self.lock().windows.is_empty()
    }

    pub fn is_changed(&self) -> bool {
        self.lock().changed
    }

    pub fn mark_changed(&self) {
        self.lock().changed = true;
    }

    /// The offset to commit now.
    pub fn commit(&self) -> i64 {
        let mut inner = self.lock();
        inner.changed = false;
        inner.watermark
    }

    pub fn watermark(&self) -> i64 {
        self.lock().watermark
    }

    /// The timestamp of the oldest window that has not passed.
    pub fn oldest(&self) -> Option<i64> {
        self.lock().windows.front().map(|entry| entry.timestamp)
    }

    /// What is known of events that cannot be written for their size.
    pub fn oversize(&self) -> &Oversize {
        &self.books.oversize
    }

    /// What came of a window, or of others beside it, is not taken as it is.
    fn suspect(&self, number: u64) {
        let inner = self.lock();
        let place = number.checked_sub(inner.first).map(|place| place as usize);
        if let Some(entry) = place.and_then(|place| inner.windows.get(place)) {
            self.books.oversize.suspect(self.partition, entry.end);
        }
    }

    /// One of its events goes to the dead letters.
    pub fn dead_letter(&self, fault: &Fault) {
        self.books.metrics.failed(fault);
        self.books.metrics.dead_letters.inc();
    }

    /// The route cannot go on.
    pub fn break_off(&self, reason: Break) {
        self.books.broken.send_if_modified(|broken| {
            let first = broken.is_none();
            if first {
                *broken = Some(reason);
            }
            first
        });
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.books.load.take(inner.events, inner.bytes);
        self.books.load.ledgers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Events that pass together.
pub(super) struct Window {
    number: u64,
    /// Writes not yet acknowledged, and one for the window being open.
    pending: AtomicUsize,
    ledger: Arc<Ledger>,
}

impl Window {
    /// A write is about to be made for it.
    pub fn expect(&self) {
        self.pending.fetch_add(1, Ordering::AcqRel);
    }

    /// Everything that comes of it has been handed to the producer.
    pub fn close(&self) {
        self.settle();
    }

    /// What is known of events that cannot be written for their size.
    pub fn oversize(&self) -> &Oversize {
        self.ledger.oversize()
    }

    /// What came of an event was refused although it was alone.
    pub fn refused_alone(&self, event: &Event, fault: &Fault) {
        self.oversize().refuse(event, fault, self.ledger.watermark());
    }

    /// One of its events goes to the dead letters.
    pub fn dead_letter(&self, fault: &Fault) {
        self.ledger.dead_letter(fault);
    }

    fn settle(&self) {
        if self.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.ledger.done(self.number);
        }
    }
}

impl Acknowledge for Window {
    fn acknowledged(&self, result: Result<Placed, Fault>) {
        match result {
            Ok(_) => {
                self.ledger.books.metrics.records_out.inc();
                self.settle();
            }
            // The window stays open: its offset does not pass.
            Err(fault) => {
                self.ledger.books.metrics.failed(&fault);
                if fault.domain == Domain::Data {
                    self.ledger.suspect(self.number);
                }
                self.ledger.break_off(Break::Restart(fault));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Headers;
    use crate::metrics::Metrics;

    fn events(offsets: std::ops::Range<i64>) -> Vec<Event> {
        let event = |offset| Event {
            topic: "t".into(),
            partition: 0,
            offset,
            timestamp: offset,
            key: None,
            payload: None,
            headers: Headers::default(),
            value: None,
        };
        offsets.map(event).collect()
    }

    fn ledger() -> (Arc<Ledger>, Arc<Load>, watch::Receiver<Option<Break>>) {
        let books = Books::new(Metrics::new().unwrap().route("p/r"));
        let ledger = Arc::new(Ledger::new(0, 10, false, &books));
        (ledger, books.load, books.broken.subscribe())
    }

    fn placed() -> Result<Placed, Fault> {
        Ok(Placed { partition: 0, offset: 0 })
    }

    #[test]
    fn an_offset_passes_once_its_window_and_all_before_it_are_acknowledged() {
        let (ledger, load, _broken) = ledger();
        let windows: Vec<_> = [10..13, 13..15]
            .into_iter()
            .map(|offsets| {
                let events = events(offsets);
                ledger.received(&events);
                ledger.open(&events).unwrap()
            })
            .collect();
        windows[0].expect();
        windows.iter().for_each(|window| window.close());
        assert_eq!((ledger.watermark(), load.events()), (10, 5));
        windows[0].acknowledged(placed());
        assert_eq!((ledger.commit(), load.events(), ledger.is_drained()), (15, 0, true));
    }

    #[test]
    fn many_partitions_hold_no_more_decoded_than_a_few() {
        let books = Books::new(Metrics::new().unwrap().route("p/r"));
        let ledgers = |count| (0..count).map(|partition| Ledger::new(partition, 0, false, &books));
        for (count, window) in [(1, 512), (8, 512), (16, 256), (128, 32), (1_000, 32)] {
            let all: Vec<_> = ledgers(count).collect();
            assert_eq!(all[0].window(), window, "of {count}");
        }
        assert_eq!(books.load.window(), 512, "those that are gone count no more");
    }

    #[test]
    fn a_write_that_fails_lets_no_offset_pass_and_breaks_off_the_run() {
        let (ledger, load, broken) = ledger();
        let events = events(10..12);
        ledger.received(&events);
        let window = ledger.open(&events).unwrap();
        window.expect();
        window.close();
        window.acknowledged(Err(Fault::remote("kafka_error", "…")));
        assert_eq!(ledger.commit(), 10);
        assert!(matches!(&*broken.borrow(), Some(Break::Restart(_))));
        drop((window, ledger));
        assert_eq!(load.events(), 0, "what was not processed weighs nothing any more");
    }
}
