//! Something that a look-up holds in memory, and that may not be there yet.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::Fault;

/// How long is waited for it before its lack is told.
const PATIENCE: Duration = Duration::from_secs(1);
/// How soon after that it is asked for again: whoever waits is let go as soon as it is there.
const AGAIN: Duration = Duration::from_millis(10);

/// Something held in memory, or why it is not there.
pub struct Held<T>(watch::Sender<Result<Arc<T>, Fault>>);

impl<T> Held<T> {
    /// It is not there yet, for this reason: a `Remote` fault, so that the route waits.
    pub fn awaited(why: Fault) -> Self {
        Self(watch::channel(Err(why)).0)
    }

    /// It is there from now on.
    pub fn set(&self, it: Arc<T>) {
        drop(self.0.send_replace(Ok(it)));
    }

    /// It is not there any more, for this reason: a `Remote` fault.
    pub fn refuse(&self, why: Fault) {
        drop(self.0.send_replace(Err(why)));
    }

    /// Whether it is there.
    pub fn is_there(&self) -> bool {
        self.0.borrow().is_ok()
    }

    /// It, once it is there.
    ///
    /// # Errors
    /// Why it is still not there after a second.
    pub async fn get(&self) -> Result<Arc<T>, Fault> {
        let mut now = self.0.subscribe();
        let there = now.wait_for(Result::is_ok);
        drop(tokio::time::timeout(PATIENCE, there).await.map(drop));
        self.0.borrow().clone().map_err(|fault| fault.after(AGAIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_asks_waits_until_it_is_there_or_hears_why_it_is_not() {
        let held = Arc::new(Held::awaited(Fault::remote("awaited", "It is read.")));
        let asking = tokio::spawn({
            let held = Arc::clone(&held);
            async move { held.get().await }
        });
        tokio::task::yield_now().await;
        held.set(Arc::new(7));
        assert_eq!(*asking.await.unwrap().unwrap(), 7);
        held.refuse(Fault::remote("gone", "It is gone."));
        assert!(!held.is_there());
        let fault = held.get().await.unwrap_err();
        assert_eq!((fault.cause, fault.retry), ("gone", crate::Retry::After(AGAIN)));
    }
}
