//! The HTTP server of webhooks: axum's, but that each connection is read in small pieces.

use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// How much of a connection is read ahead, the head of a call included. hyper's own limit is 400 KiB, which
/// a thousand large calls at once would fill.
const READ_AHEAD: usize = 16 << 10;
/// How long to wait when no connection can be taken: there are too many files open.
const FULL: Duration = Duration::from_secs(1);

/// Serves until `closing` changes; each connection holds a copy of it until its last call is answered.
pub async fn serve(socket: TcpListener, router: Router, mut closing: watch::Receiver<()>) {
    let held = closing.clone();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = closing.changed() => return,
        };
        match accepted {
            Ok((stream, _)) => drop(tokio::spawn(connection(stream, router.clone(), held.clone()))),
            Err(error) if is_of_one(&error) => {}
            Err(error) => {
                tracing::debug!(%error, "a connection was not taken");
                sleep(FULL).await;
            }
        }
    }
}

/// Whether the caller has gone: the next one can be taken.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection(stream: TcpStream, router: Router, mut closing: watch::Receiver<()>) {
    let service = TowerToHyperService::new(router);
    let mut builder = http1::Builder::new();
    builder.max_buf_size(READ_AHEAD);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        _ = closing.changed() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}
