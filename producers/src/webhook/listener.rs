//! One HTTP listener for all the webhook sources of an address.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use engine::{Fault, Shutdown};
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::answer::Answer;
use super::server;

/// Calls served at once, at most; each may hold a body.
const AT_ONCE: usize = 1_024;

/// How long calls under way may take once their source stops.
pub const DRAIN: Duration = Duration::from_secs(5);

/// What a source does with a call to its path.
pub type Handler = Arc<dyn Fn(Request) -> BoxFuture<'static, Answer> + Send + Sync>;

type Paths = Arc<RwLock<HashMap<String, Handler>>>;

/// The listeners of this process, by address.
#[derive(Default)]
pub struct Listeners {
    all: Mutex<HashMap<SocketAddr, Arc<Listener>>>,
    /// How many hold them open.
    holders: Arc<AtomicUsize>,
}

/// Keeps listeners open while their sources are replaced: a call that no source listens for
/// meanwhile is answered 503 with `Retry-After`, not 404. Those that have no source when this is
/// dropped are closed then.
pub struct Held(Arc<Listeners>);

impl Drop for Held {
    fn drop(&mut self) {
        if self.0.holders.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let all = self.0.all.lock().unwrap_or_else(PoisonError::into_inner);
        for listener in all.values() {
            let listener = Arc::clone(listener);
            tokio::spawn(async move { listener.close_unless_used().await });
        }
    }
}

/// The sources that listen on one address.
struct Listener {
    paths: Paths,
    holders: Arc<AtomicUsize>,
    /// The socket is bound by whichever source comes first, and only once.
    bound: tokio::sync::Mutex<Option<watch::Sender<()>>>,
}

impl Listeners {
    /// Serves `path` on `address` until `stop`; calls `ready` once calls can arrive.
    ///
    /// # Errors
    /// A `Config` fault when the path is taken or the address cannot be bound.
    pub async fn serve(
        &self,
        address: SocketAddr,
        path: &str,
        handler: Handler,
        ready: impl FnOnce(),
        stop: &Shutdown,
    ) -> Result<(), Fault> {
        let listener = self.listener(address);
        listener.add(path, handler)?;
        let opened = listener.open(address).await;
        if opened.is_ok() {
            ready();
            stop.requested().await;
        }
        listener.remove(path).await;
        opened
    }

    /// Holds all listeners open until the value is dropped, within a tokio runtime.
    pub fn hold(self: Arc<Self>) -> Held {
        self.holders.fetch_add(1, Ordering::AcqRel);
        Held(self)
    }

    fn listener(&self, address: SocketAddr) -> Arc<Listener> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(Listener {
                paths: Paths::default(),
                holders: Arc::clone(&self.holders),
                bound: tokio::sync::Mutex::default(),
            })
        };
        Arc::clone(all.entry(address).or_insert_with(new))
    }
}

impl Listener {
    fn add(&self, path: &str, handler: Handler) -> Result<(), Fault> {
        let mut paths = self.paths.write().unwrap_or_else(PoisonError::into_inner);
        if paths.contains_key(path) {
            return Err(Fault::config(
                "path_taken",
                format!("Two sources listen on the path {path}: give one of them another."),
            ));
        }
        paths.insert(path.to_owned(), handler);
        Ok(())
    }

    /// Takes the path away; the last one closes the listener.
    async fn remove(&self, path: &str) {
        self.paths.write().unwrap_or_else(PoisonError::into_inner).remove(path);
        self.close_unless_used().await;
    }

    /// Closes the listener if no source is left on it and nobody holds it open.
    async fn close_unless_used(&self) {
        // A source that comes meanwhile has added its path before, or opens the listener anew.
        let mut bound = self.bound.lock().await;
        let used = !self.paths.read().unwrap_or_else(PoisonError::into_inner).is_empty();
        if used || self.holders.load(Ordering::Acquire) > 0 {
            return;
        }
        if let Some(close) = bound.take() {
            close.send_replace(());
            // The server's task holds the receiver until its last call is answered.
            let _ = tokio::time::timeout(DRAIN, close.closed()).await;
        }
    }

    async fn open(&self, address: SocketAddr) -> Result<(), Fault> {
        let mut bound = self.bound.lock().await;
        if bound.is_some() {
            return Ok(());
        }
        let socket = TcpListener::bind(address).await.map_err(|error| {
            Fault::remote("listen", format!("Cannot listen on {address} for webhooks: {error}. Is another process listening there?"))
        })?;
        let (close, closing) = watch::channel(());
        let service = Service {
            paths: Arc::clone(&self.paths),
            holders: Arc::clone(&self.holders),
            slots: Arc::new(Semaphore::new(AT_ONCE)),
        };
        let router = Router::new().fallback(call).with_state(service);
        tokio::spawn(server::serve(socket, router, closing));
        *bound = Some(close);
        Ok(())
    }
}

#[derive(Clone)]
struct Service {
    paths: Paths,
    holders: Arc<AtomicUsize>,
    slots: Arc<Semaphore>,
}

async fn call(State(service): State<Service>, request: Request) -> Response {
    let found = {
        let paths = service.paths.read().unwrap_or_else(PoisonError::into_inner);
        paths.get(request.uri().path()).cloned()
    };
    let Some(handler) = found else {
        if service.holders.load(Ordering::Acquire) > 0 {
            return Answer::unavailable("The pipelines are being replaced: send this one again.")
                .into_response();
        }
        return Answer::error(StatusCode::NOT_FOUND, "No source listens on this path.")
            .into_response();
    };
    if request.method() != Method::POST {
        return Answer::error(StatusCode::METHOD_NOT_ALLOWED, "Webhooks are sent with POST.")
            .into_response();
    }
    let Ok(_slot) = service.slots.try_acquire() else {
        return Answer::unavailable("Too many calls at once: send this one again.").into_response();
    };
    handler(request).await.into_response()
}
