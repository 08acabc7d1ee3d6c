//! The signals that ask for a clean stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for Ctrl-C or SIGTERM, and says which came.
pub async fn stop() -> &'static str {
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    tokio::select! {
        () = received(interrupt) => "Ctrl-C",
        () = received(terminate) => "SIGTERM",
    }
}

/// A signal that cannot be listened for never comes; its default action still ends the process.
async fn received(signal: std::io::Result<Signal>) {
    match signal {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(error) => {
            tracing::warn!(%error, "a signal cannot be listened for");
            std::future::pending().await
        }
    }
}
