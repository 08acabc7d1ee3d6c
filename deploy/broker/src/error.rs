//! Why a broker does not start, or an in-process call fails.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::{log::LogError, refusal::Refusal};

/// Why a broker does not start, or an in-process call fails.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Another broker runs on the folder.
    #[error(
        "{} is in use by another broker: stop that one, or give this one another folder",
        directory.display()
    )]
    Locked {
        /// The folder.
        directory: PathBuf,
    },
    /// The address is reachable from other machines.
    #[error(
        "{listen} can be reached from other machines, and this broker has no authentication: \
         listen on 127.0.0.1, or allow remote access explicitly"
    )]
    Remote {
        /// The address asked for.
        listen: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("listen on {listen}: {source}; give another port, or stop what listens there")]
    Listen {
        /// The address asked for.
        listen: SocketAddr,
        /// What the operating system answered.
        source: io::Error,
    },
    /// The list of topics is damaged, missing or of another version.
    #[error("the catalogue of topics {} cannot be used: {reason}", path.display())]
    Catalogue {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A full or failing disk.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done: "read", "write".
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
    /// A partition's log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A call that the broker refused.
    #[error("{message}")]
    Refused {
        /// Kafka's error code (<https://kafka.apache.org/protocol#protocol_error_codes>).
        code: i16,
        /// Why, and what to do.
        message: String,
    },
}

impl From<Refusal> for BrokerError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { code: refusal.number(), message: refusal.message }
    }
}

/// Says of an input or output error what was being done, and to what.
pub(crate) fn doing(
    doing: &'static str,
    path: impl AsRef<Path>,
) -> impl FnOnce(io::Error) -> BrokerError {
    move |source| BrokerError::Io { doing, path: path.as_ref().to_owned(), source }
}
