//! A connection's options.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use engine::Fault;
use engine::connector::Findings;
use engine::options::{Period, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// A database of PostgreSQL.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Connection {
    /// Where it is, who logs in, and the database: `postgres://user@host:5432/database`.
    pub url: String,
    /// The user's password.
    #[serde(default)]
    pub password: Option<Secret>,
    /// How the connection is encrypted.
    #[serde(default)]
    pub tls: Tls,
    /// How long connecting may take, from the name to the log-in.
    #[serde(default = "Connection::default_timeout")]
    pub timeout: Period,
}

/// How a connection is encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Tls {
    /// Whether it is. Without it `off` where the host is this machine (`localhost`, `127.0.0.1`,
    /// `::1`), `required` elsewhere.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// Certificates of authorities to trust as well, in PEM: `${file:ca.pem}`.
    #[serde(default)]
    pub ca: Option<String>,
    /// The name that the server's certificate has to be for, if it is not the host's.
    #[serde(default)]
    pub server_name: Option<String>,
    /// The certificate that we show, in PEM: `${file:client.pem}`. Needs `key`.
    #[serde(default)]
    pub certificate: Option<String>,
    /// The certificate's private key, in PEM: `${file:client.key}`.
    #[serde(default)]
    pub key: Option<Secret>,
}

/// Whether a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It is, and the server's certificate and name are checked.
    Required,
    /// It is not: whoever listens on the way reads along.
    Off,
}

/// A mistake in the section, before it is known whether the file is being checked or run.
#[derive(Debug)]
pub(crate) struct Mistake {
    pub pointer: &'static str,
    pub code: &'static str,
    pub cause: String,
    pub hint: &'static str,
}

impl From<Mistake> for Fault {
    fn from(Mistake { pointer, code, cause, hint }: Mistake) -> Self {
        Fault::config(code, format!("At `{pointer}` of the connection: {cause} {hint}"))
    }
}

impl Connection {
    fn default_timeout() -> Period {
        Period(Duration::from_secs(15))
    }

    /// Looks for mistakes in the connection's section.
    pub fn check(&self, findings: &mut Findings) {
        let found = self.config().map(drop).and_then(|()| self.tls.client().map(drop));
        if let Err(Mistake { pointer, code, cause, hint }) = found {
            findings.connection(pointer, code, cause, hint);
        }
        if self.timeout.0.is_zero() {
            let cause = "A time-out of zero fails every connection.";
            findings.connection("/timeout", "timeout_zero", cause, "Write 15s.");
        }
    }

    /// What tokio-postgres needs to know.
    pub(crate) fn config(&self) -> Result<Config, Mistake> {
        let wrong = |cause: &str, hint| Mistake {
            pointer: "/url",
            code: "url_invalid",
            cause: cause.to_owned(),
            hint,
        };
        const FORM: &str = "Write postgres://user@host:5432/database.";
        let url = self.url.trim();
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(wrong("The `url` is not of `postgres`.", FORM));
        }
        if url.contains(['?', '#']) {
            let hint = "TLS and time-outs are options of the connection: `tls`, `timeout`.";
            return Err(wrong("The `url` holds parameters.", hint));
        }
        // What the parser says could show a password.
        let mut config =
            Config::from_str(url).map_err(|_| wrong("The `url` cannot be read.", FORM))?;
        if config.get_password().is_some() {
            let hint = "Write it under `password`, as `${…}`.";
            return Err(wrong("The `url` holds a password.", hint));
        }
        if !matches!(config.get_hosts(), [Host::Tcp(host)] if !host.is_empty()) {
            return Err(wrong("The `url` names no host, or more than one.", FORM));
        }
        if config.get_user().is_none_or(str::is_empty) {
            return Err(wrong("The `url` names no user.", FORM));
        }
        if config.get_dbname().is_none_or(str::is_empty) {
            return Err(wrong("The `url` names no database.", FORM));
        }
        config.ssl_mode(SslMode::Disable);
        if let Some(password) = &self.password {
            config.password(password.reveal());
        }
        Ok(config)
    }
}

impl Tls {
    /// Whether a connection to this host is encrypted.
    pub(crate) fn is_required(&self, host: &str) -> bool {
        match self.mode {
            Some(mode) => mode == Mode::Required,
            None => {
                let loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
                !(loopback || host.eq_ignore_ascii_case("localhost"))
            }
        }
    }
}
