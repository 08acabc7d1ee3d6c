//! The signals that ask for a clean stop, and for the files to be read again.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for Ctrl-C or SIGTERM, and says which came.
pub async fn stop() -> &'static str {
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    tokio::select! {
        () = received(interrupt) => "Ctrl-C",
        () = received(terminate) => "SIGTERM",
    }
}

/// SIGHUP, again and again: files are to be read again.
pub struct Hangups(std::io::Result<Signal>);

impl Hangups {
    /// Listens from now on: the signal ends the process no more.
    pub fn listen() -> Self {
        Self(signal(SignalKind::hangup()))
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        match &mut self.0 {
            Ok(signal) => {
                signal.recv().await;
            }
            Err(error) => {
                tracing::warn!(%error, "SIGHUP cannot be listened for");
                std::future::pending().await
            }
        }
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
