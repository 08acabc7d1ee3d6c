//! Which ids were taken lately: concurrent calls with one id wait for the first one's answer, later
//! ones are told that it is there already.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::watch;

/// The hash of an id: the window keeps 16 bytes whatever an application uses as an id.
type Hashed = u128;

/// The ids of a source that were acknowledged lately, and those on their way.
///
/// It is rebuilt from the source's topic at the start: what Kafka has acknowledged is what the window
/// holds, so no crash can part them.
pub struct Window<A> {
    length: i64,
    at_most: usize,
    inner: Arc<Mutex<Inner<A>>>,
}

struct Inner<A> {
    taken: HashMap<Hashed, i64>,
    /// The taken ids with the time they were taken at, the oldest first.
    order: VecDeque<(Hashed, i64)>,
    on_their_way: HashMap<Hashed, watch::Receiver<Option<A>>>,
}

/// What to do with a call.
pub enum Entry<A> {
    /// It is the first with this id: publish the event, then settle.
    First(First<A>),
    /// Another call with this id is on its way: answer what it is answered.
    Wait(Waiting<A>),
    /// An event of this id was acknowledged before.
    Taken,
}

/// The right, and the duty, to publish an event.
pub struct First<A> {
    id: Hashed,
    inner: Arc<Mutex<Inner<A>>>,
    answer: watch::Sender<Option<A>>,
}

/// A place in the queue behind the first call.
pub struct Waiting<A>(watch::Receiver<Option<A>>);

impl<A: Clone> Window<A> {
    /// An empty window that keeps ids for `length`, and `at_most` of them.
    pub fn new(length: Duration, at_most: usize) -> Self {
        let inner =
            Inner { taken: HashMap::new(), order: VecDeque::new(), on_their_way: HashMap::new() };
        let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        Self { length, at_most, inner: Arc::new(Mutex::new(inner)) }
    }

    /// Puts back an id that was taken at `at` (milliseconds since the Unix epoch).
    pub fn restore(&self, id: &str, at: i64) {
        let mut inner = lock(&self.inner);
        inner.take(hash(id), at);
        inner.forget(at.saturating_sub(self.length), self.at_most);
    }

    /// Asks what to do with a call that carries `id`, at `now` (milliseconds since the Unix epoch).
    pub fn enter(&self, id: &str, now: i64) -> Entry<A> {
        let id = hash(id);
        let mut inner = lock(&self.inner);
        inner.forget(now.saturating_sub(self.length), self.at_most);
        if inner.taken.contains_key(&id) {
            return Entry::Taken;
        }
        if let Some(answer) = inner.on_their_way.get(&id) {
            return Entry::Wait(Waiting(answer.clone()));
        }
        let (answer, receiver) = watch::channel(None);
        inner.on_their_way.insert(id, receiver);
        Entry::First(First { id, inner: Arc::clone(&self.inner), answer })
    }
}

impl<A> Inner<A> {
    fn take(&mut self, id: Hashed, at: i64) {
        self.taken.insert(id, at);
        self.order.push_back((id, at));
    }

    /// Forgets what is older than `before`, then the oldest beyond `at_most`.
    fn forget(&mut self, before: i64, at_most: usize) {
        while let Some((id, at)) = self.order.front().copied() {
            if at >= before && self.order.len() <= at_most {
                break;
            }
            self.order.pop_front();
            // An id taken again after it was forgotten has a younger entry behind.
            if self.taken.get(&id) == Some(&at) {
                self.taken.remove(&id);
            }
        }
    }
}

impl<A> First<A> {
    /// Kafka has acknowledged the event: the id is taken from now on, and everyone is answered.
    pub fn acknowledged(self, answer: A, now: i64) {
        lock(&self.inner).take(self.id, now);
        self.answer.send_replace(Some(answer));
    }

    /// It was not acknowledged: those who wait are answered the same, and the next call is the first
    /// again.
    pub fn failed(self, answer: A) {
        self.answer.send_replace(Some(answer));
    }
}

impl<A> Drop for First<A> {
    fn drop(&mut self) {
        lock(&self.inner).on_their_way.remove(&self.id);
    }
}

impl<A: Clone> Waiting<A> {
    /// The first call's answer; `None` when it went away without one.
    pub async fn answer(mut self) -> Option<A> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone())
    }
}

fn hash(id: &str) -> Hashed {
    let digest = Sha256::digest(id.as_bytes());
    let mut first = [0; 16];
    first.copy_from_slice(&digest[..16]);
    u128::from_be_bytes(first)
}

fn lock<A>(inner: &Mutex<Inner<A>>) -> MutexGuard<'_, Inner<A>> {
    // A panic elsewhere leaves the maps whole: every change is one insertion or removal.
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn window(at_most: usize) -> Window<u16> {
        Window::new(Duration::from_secs(86_400), at_most)
    }

    fn first(window: &Window<u16>, id: &str, now: i64) -> First<u16> {
        match window.enter(id, now) {
            Entry::First(first) => first,
            _ => panic!("{id} should be the first"),
        }
    }

    #[tokio::test]
    async fn concurrent_calls_share_the_first_ones_answer() {
        let window = window(10);
        let leader = first(&window, "a", 0);
        let Entry::Wait(one) = window.enter("a", 1) else { panic!() };
        let Entry::Wait(two) = window.enter("a", 2) else { panic!() };
        leader.acknowledged(200, 3);
        assert_eq!((one.answer().await, two.answer().await), (Some(200), Some(200)));
        assert!(matches!(window.enter("a", 4), Entry::Taken));
    }

    #[tokio::test]
    async fn an_id_enters_only_after_the_acknowledgement() {
        let window = window(10);
        let leader = first(&window, "a", 0);
        let Entry::Wait(waiting) = window.enter("a", 1) else { panic!() };
        leader.failed(503);
        assert_eq!(waiting.answer().await, Some(503));
        drop(first(&window, "a", 2));
        let Entry::First(_) = window.enter("a", 3) else {
            panic!("a call that went away blocks nobody")
        };
    }

    #[test]
    fn ids_are_forgotten_by_age_and_by_number() {
        let window = window(2);
        for (id, now) in [("a", 0), ("b", 1), ("c", 2)] {
            first(&window, id, now).acknowledged(200, now);
        }
        assert!(matches!(window.enter("c", 3), Entry::Taken));
        drop(first(&window, "a", 3));
        drop(first(&window, "c", DAY + 3));
    }
}
