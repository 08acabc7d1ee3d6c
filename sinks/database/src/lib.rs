//! Connections to PostgreSQL, for the source and the sink of that name.
//!
//! Both are made here, so that both keep the same promises:
//! - TLS by rustls, with the server's certificate and name checked, unless the server is this machine
//!   or the connection says `tls: { mode: off }`; never a silent fall back to plain text;
//! - a deadline holds for the whole of connecting, from the name to the log-in;
//! - a failure says what to do, by the server's own code (SQLSTATE);
//! - no message holds the password.

mod connection;
mod failure;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use engine::Fault;
use tokio::time::timeout;
pub use tokio_postgres;
use tokio_postgres::{Client, Config, NoTls};

pub use connection::{Connection, Mode, Tls};
pub use failure::{Said, fault_of, login_failed};
pub use stream::Stream;
use stream::Way;

/// A way to one database. Cheap to clone.
#[derive(Clone)]
pub struct Database(Arc<Inner>);

struct Inner {
    config: Config,
    way: Way,
    timeout: Duration,
    /// `host:port/database`, all that messages show of the address.
    shown: String,
}

impl Database {
    /// A way to the database of a connection. Opens nothing. `application` is the name under which
    /// the server's own views show us.
    ///
    /// # Errors
    /// A `Config` fault when the connection cannot be used.
    pub fn new(connection: &Connection, application: &str) -> Result<Self, Fault> {
        let mut config = connection.config()?;
        config.application_name(application);
        let way = Way::new(connection, &config)?;
        let shown = format!("{}/{}", way.shown(), config.get_dbname().unwrap_or_default());
        Ok(Self(Arc::new(Inner { config, way, timeout: connection.timeout.0, shown })))
    }

    /// The database as messages name it: `host:port/database`.
    pub fn shown(&self) -> &str {
        &self.0.shown
    }

    /// The user that logs in.
    pub fn user(&self) -> &str {
        self.0.config.get_user().unwrap_or_default()
    }

    /// The password, if there is one: only for what logs in by itself.
    pub fn password(&self) -> Option<&[u8]> {
        self.0.config.get_password()
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        self.0.config.get_dbname().unwrap_or_default()
    }

    /// How long connecting may take, log-in included.
    pub fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// Connects and logs in. The connection ends when the client is dropped.
    ///
    /// # Errors
    /// A `Remote` fault: the server cannot be reached, or refuses us.
    pub async fn connect(&self) -> Result<Client, Fault> {
        let connecting = async {
            let stream = self.0.way.open().await?;
            // The stream is encrypted already where it has to be.
            let connected = self.0.config.connect_raw(stream, NoTls).await;
            connected.map_err(|error| login_failed(self.shown(), self.user(), &Said::of(&error)))
        };
        let Ok(connected) = timeout(self.0.timeout, connecting).await else {
            return Err(self.late());
        };
        let (client, connection) = connected?;
        let shown = self.0.shown.clone();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(database = shown, %error, "a connection ended");
            }
        });
        Ok(client)
    }

    /// A connection, encrypted where it has to be, on which nobody has logged in yet: for protocols
    /// that tokio-postgres does not speak, such as replication. The caller holds it to
    /// [`timeout`](Self::timeout).
    ///
    /// # Errors
    /// A `Remote` fault: the server cannot be reached, or its certificate is not trusted.
    pub async fn stream(&self) -> Result<Stream, Fault> {
        match timeout(self.0.timeout, self.0.way.open()).await {
            Ok(opened) => opened,
            Err(_) => Err(self.late()),
        }
    }

    /// What is said of a statement that failed. `doing` is what was being done: `Reading public.orders`.
    pub fn failed(&self, doing: &str, error: &tokio_postgres::Error) -> Fault {
        fault_of(&format!("{doing} in {}", self.0.shown), &Said::of(error))
    }

    fn late(&self) -> Fault {
        let (shown, within) = (&self.0.shown, self.0.timeout);
        let message = format!("Connecting to {shown} was not answered within {within:?}.");
        Fault::remote("postgres_timeout", message)
    }
}

#[cfg(test)]
mod tests;
