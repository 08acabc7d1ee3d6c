//! Work that is done to its end, whether or not the caller waits for it.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// A future that goes on in a task of its own once it is dropped before its end. As long as somebody
/// waits for it, it costs no task.
pub struct Finish<F>(Option<Pin<Box<F>>>)
where
    F: Future<Output: Send> + Send + 'static;

impl<F: Future<Output: Send> + Send + 'static> Finish<F> {
    /// Does this to its end.
    pub fn of(future: F) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for Finish<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // (Once it has ended nobody asks again.)
        let Some(future) = &mut self.0 else { return Poll::Pending };
        let polled = future.as_mut().poll(context);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Finish<F> {
    fn drop(&mut self) {
        let Some(rest) = self.0.take() else { return };
        // A runtime that ends takes no more tasks; what panicked is over.
        if let Ok(runtime) = Handle::try_current()
            && !std::thread::panicking()
        {
            drop(runtime.spawn(rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_done_all_the_same() {
        let (go, gone) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let work = Finish::of(async move {
            gone.await.unwrap();
            tell.send(()).unwrap();
        });
        timeout(Duration::from_millis(10), work).await.unwrap_err();
        go.send(()).unwrap();
        timeout(Duration::from_secs(30), told).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_was_never_begun_is_done_too() {
        let (tell, told) = oneshot::channel();
        drop(Finish::of(async move { tell.send(()).unwrap() }));
        timeout(Duration::from_secs(30), told).await.unwrap().unwrap();
    }
}
