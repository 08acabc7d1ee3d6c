//! Group commit: the threads that sync logs. What was appended to a log while it was being synced
//! shares the next sync, so a hundred producers that wait cost a few `fdatasync`s, not a hundred.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// When records are synced to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Before they are acknowledged, and before consumers see them.
    EveryAcknowledgement,
    /// This often: a crash of the machine, not of the process, loses up to as much of what was
    /// acknowledged.
    Interval(Duration),
}

/// Threads of one [`Syncer`]. The file system groups the commits of syncs that wait together, so
/// several partitions' syncs cost little more than one's.
const THREADS: usize = 4;

/// Syncs logs. One for all the logs of a disk; clones are the same one, and its threads end with
/// the last clone.
#[derive(Debug, Clone)]
pub struct Syncer {
    owner: Arc<Owner>,
}

#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    fsync: Fsync,
    queue: Mutex<Queue>,
    wake: Condvar,
    fsyncs: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    /// With the time each is due, which only grows.
    waiting: VecDeque<(Instant, Arc<dyn Syncable>)>,
    ended: bool,
}

/// A log, as the sync threads see it.
pub(super) trait Syncable: std::fmt::Debug + Send + Sync {
    /// Syncs what was appended so far; what fails is the log's to remember.
    fn sync(&self);
    /// Whether it waits for a sync or is being synced.
    fn turn(&self) -> &Turn;
}

/// Whose turn it is: keeps a log in the queue once, and in one thread at a time.
#[derive(Debug, Default)]
pub(super) struct Turn(AtomicU8);

const IDLE: u8 = 0;
const WAITING: u8 = 1;
const SYNCING: u8 = 2;
const SYNCING_AND_WAITING: u8 = 3;

impl Turn {
    /// Asks for a turn; whether the log has to be queued for it.
    fn ask(&self) -> bool {
        let asked = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |turn| match turn {
            IDLE => Some(WAITING),
            SYNCING => Some(SYNCING_AND_WAITING),
            _ => None,
        });
        asked == Ok(IDLE)
    }

    fn begin(&self) {
        self.0.store(SYNCING, Ordering::Release);
    }

    /// Ends a turn; whether the log has to be queued for another.
    fn end(&self) -> bool {
        let done =
            self.0.compare_exchange(SYNCING, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if !done {
            self.0.store(WAITING, Ordering::Release);
        }
        !done
    }
}

impl Syncer {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system starts no more threads.
    pub fn start(fsync: Fsync) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            fsync,
            queue: Mutex::default(),
            wake: Condvar::new(),
            fsyncs: AtomicU64::new(0),
        });
        let owner = Arc::new(Owner { shared: Arc::clone(&shared) });
        for _ in 0..THREADS {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name("log-sync".to_owned()).spawn(move || shared.work())?;
        }
        Ok(Self { owner })
    }

    /// When records are synced.
    pub fn fsync(&self) -> Fsync {
        self.owner.shared.fsync
    }

    /// How many times a file was synced so far.
    pub fn fsyncs(&self) -> u64 {
        self.owner.shared.fsyncs.load(Ordering::Relaxed)
    }

    pub(super) fn count_fsync(&self) {
        self.owner.shared.fsyncs.fetch_add(1, Ordering::Relaxed);
    }

    /// Has a log synced soon.
    pub(super) fn request(&self, log: &Arc<impl Syncable + 'static>) {
        if log.turn().ask() {
            self.owner.shared.push(Arc::clone(log) as Arc<dyn Syncable>);
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.queue().ended = true;
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, log: Arc<dyn Syncable>) {
        let delay = match self.fsync {
            Fsync::EveryAcknowledgement => Duration::ZERO,
            Fsync::Interval(interval) => interval,
        };
        self.queue().waiting.push_back((Instant::now() + delay, log));
        self.wake.notify_one();
    }

    fn work(&self) {
        while let Some(log) = self.next() {
            log.turn().begin();
            log.sync();
            if log.turn().end() {
                self.push(log);
            }
        }
    }

    /// The next log whose time has come; `None` once the owner is gone and none waits.
    fn next(&self) -> Option<Arc<dyn Syncable>> {
        let mut queue = self.queue();
        loop {
            let Some((due, _)) = queue.waiting.front() else {
                if queue.ended {
                    return None;
                }
                queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let wait = due.saturating_duration_since(Instant::now());
            if wait.is_zero() || queue.ended {
                return queue.waiting.pop_front().map(|(_, log)| log);
            }
            let waited = self.wake.wait_timeout(queue, wait);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
