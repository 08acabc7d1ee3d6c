//! What went wrong: whose fault it is, and whether to try again.

use std::fmt;
use std::time::Duration;

/// Whose fault it is. Decides where an event goes, never guessed from a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Domain {
    /// The pipeline file or the environment: only an operator can mend it.
    Config,
    /// This event: it follows the route's `on_error`.
    Data,
    /// The other side, or the way to it: the route tries again, or waits.
    Remote,
    /// Us: a bug. The route stops.
    Internal,
}

impl Domain {
    /// The word used in metrics and logs.
    pub fn word(self) -> &'static str {
        match self {
            Domain::Config => "config",
            Domain::Data => "data",
            Domain::Remote => "remote",
            Domain::Internal => "internal",
        }
    }
}

/// Whether the same call could succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It would fail the same way again.
    Never,
    /// Yes, after the route's own jittered backoff.
    Backoff,
    /// Yes, but not before this long from now, as the target asked (`Retry-After`).
    After(Duration),
    /// Not for this event alone: the target refuses us (401, 403, 410, an ACL). The whole route
    /// waits and probes; no event is given up.
    Route,
}

/// A failure with everything needed to act on it.
///
/// `cause` is a short stable name (`http_503`, `avro_truncated`) used in metrics and to group dead
/// letters; `message` is a sentence: what was being done, to what, what came back, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Whose fault it is.
    pub domain: Domain,
    /// Whether to try again.
    pub retry: Retry,
    /// A short stable name of the cause, in snake case; groups dead letters and labels metrics.
    pub cause: &'static str,
    /// The sentence for the operator. Holds no secret.
    pub message: String,
    /// True when the target may have acted although no answer came (a time-out, a cut connection):
    /// a sink looks before it creates again.
    pub unknown_outcome: bool,
}

impl Fault {
    fn new(domain: Domain, retry: Retry, cause: &'static str, message: impl Into<String>) -> Self {
        Self { domain, retry, cause, message: message.into(), unknown_outcome: false }
    }

    /// A mistake in the file or the environment.
    pub fn config(cause: &'static str, message: impl Into<String>) -> Self {
        Self::new(Domain::Config, Retry::Never, cause, message)
    }

    /// An event that can never pass as it is.
    pub fn data(cause: &'static str, message: impl Into<String>) -> Self {
        Self::new(Domain::Data, Retry::Never, cause, message)
    }

    /// A failure of the other side that may pass: tried again with backoff.
    pub fn remote(cause: &'static str, message: impl Into<String>) -> Self {
        Self::new(Domain::Remote, Retry::Backoff, cause, message)
    }

    /// The other side refuses the whole route: it waits and probes.
    pub fn refused(cause: &'static str, message: impl Into<String>) -> Self {
        Self::new(Domain::Remote, Retry::Route, cause, message)
    }

    /// A bug of ours.
    pub fn internal(cause: &'static str, message: impl Into<String>) -> Self {
        Self::new(Domain::Internal, Retry::Never, cause, message)
    }

    /// The same fault, to be tried again no sooner than `wait` from now.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry = Retry::After(wait);
        self
    }

    /// The same fault, marked as one whose outcome at the target is unknown.
    #[must_use]
    pub fn unknown(mut self) -> Self {
        self.unknown_outcome = true;
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.cause)
    }
}

impl std::error::Error for Fault {}
