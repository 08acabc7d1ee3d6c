//! Where a connection leads, and the client that goes there.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::Fault;
use engine::connector::Findings;
use engine::options::{Period, Secret};
use reqwest::{Certificate, Client, Identity, Url, redirect};
use schemars::JsonSchema;
use serde::Deserialize;

use super::guard;

/// The options that every connection over HTTP has.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Target {
    /// The application's address, for example `https://api.example.com/v1`. The paths of its sinks
    /// are put after it. It is never shown beyond its host.
    pub url: String,
    /// Lets the connection reach private, loopback and other addresses that are not of the public
    /// internet. Without it a name that resolves to one is refused.
    #[serde(default)]
    pub allow_private: bool,
    /// How long one exchange may take, from connecting to the last byte of the answer.
    #[serde(default = "Target::default_timeout")]
    pub timeout: Period,
    /// TLS beyond the certificates that the system trusts.
    #[serde(default)]
    pub tls: Tls,
}

/// TLS beyond the certificates that the system trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Tls {
    /// Certificates of authorities to trust as well, in PEM: `${file:ca.pem}`.
    #[serde(default)]
    pub ca: Option<String>,
    /// The certificate that we show, in PEM: `${file:client.pem}`. Needs `key`.
    #[serde(default)]
    pub certificate: Option<String>,
    /// The certificate's private key, in PEM: `${file:client.key}`.
    #[serde(default)]
    pub key: Option<Secret>,
}

impl Target {
    fn default_timeout() -> Period {
        Period(Duration::from_secs(15))
    }

    /// Looks for mistakes in the connection's section.
    pub fn check(&self, findings: &mut Findings) {
        if let Err(cause) = self.base() {
            findings.connection("/url", "url_invalid", cause, "Write https://host/path.");
        }
        self.check_beyond_url(findings);
    }

    pub(super) fn check_beyond_url(&self, findings: &mut Findings) {
        if self.timeout.0.is_zero() {
            let cause = "A time-out of zero fails every exchange.";
            findings.connection("/timeout", "timeout_zero", cause, "Write 15s.");
        }
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            let cause = "A certificate needs its key, and a key its certificate.";
            findings.connection("/tls", "tls_incomplete", cause, "Give both, or none.");
        }
    }

    /// The address, read and held against what it may be.
    pub(super) fn base(&self) -> Result<Url, String> {
        let url = Url::parse(self.url.trim())
            .map_err(|error| format!("The `url` cannot be read: {error}."))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("The `url` is of `{}`, not of http or https.", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("The `url` holds a user or a password, which belong in `auth`.".to_owned());
        }
        if url.fragment().is_some() {
            return Err("The `url` has a `#` part, which is never sent.".to_owned());
        }
        match literal(&url).filter(|_| !self.allow_private) {
            Some(address) => match guard::reserved(address) {
                Some(kind) => Err(format!(
                    "The `url` leads to {address}, which is {kind}; `allow_private: true` lets it."
                )),
                None => Ok(url),
            },
            None => Ok(url),
        }
    }
}

/// The address of a URL that names none.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// The clients of this process: one for all targets that need the same, with one pool of
/// connections kept alive.
#[derive(Default)]
pub(super) struct Clients(Mutex<Vec<(Needs, Client)>>);

/// What makes two clients differ.
#[derive(PartialEq, Eq)]
struct Needs {
    allow_private: bool,
    secure: bool,
    connect: Duration,
    tls: Tls,
}

impl Clients {
    pub(super) fn get(&self, target: &Target, base: &Url) -> Result<Client, Fault> {
        let needs = Needs {
            allow_private: target.allow_private,
            secure: base.scheme() == "https",
            // The rest of the deadline is the answer's, and a connection that was never made is
            // told from one whose answer never came.
            connect: (target.timeout.0 / 2).min(Duration::from_secs(10)),
            tls: target.tls.clone(),
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = all.iter().find(|(known, _)| *known == needs) {
            return Ok(client.clone());
        }
        let client = needs.client().map_err(|error| {
            let error = super::root_cause(&error);
            Fault::config("client", format!("The HTTP client cannot be made: {error}."))
        })?;
        all.push((needs, client.clone()));
        Ok(client)
    }
}

impl Needs {
    fn client(&self) -> reqwest::Result<Client> {
        // reqwest panics where no provider is installed; a second installation changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder()
            .user_agent(concat!("passerelle/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(self.connect)
            .pool_idle_timeout(Duration::from_secs(30));
        if !self.allow_private {
            client = client.dns_resolver(Arc::new(guard::PublicOnly));
        }
        if !self.secure {
            // Not to depend on certificates that a small container does not have.
            return client.tls_certs_only([]).build();
        }
        if let Some(ca) = &self.tls.ca {
            client = client.tls_certs_merge(Certificate::from_pem_bundle(ca.as_bytes())?);
        }
        if let (Some(certificate), Some(key)) = (&self.tls.certificate, &self.tls.key) {
            let pem = [certificate.as_bytes(), b"\n", key.reveal().as_bytes()].concat();
            client = client.identity(Identity::from_pem(&pem)?);
        }
        client.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str, allow_private: bool) -> Target {
        let timeout = Target::default_timeout();
        Target { url: url.to_owned(), allow_private, timeout, tls: Tls::default() }
    }

    #[test]
    fn a_private_address_written_in_any_way_is_refused_when_the_file_is_checked() {
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::1]:8080/",
            "http://[::ffff:10.0.0.1]/",
            "http://127.0.0.1./",
            "http://169.254.169.254/latest",
        ] {
            assert!(target(url, false).base().is_err_and(|e| e.contains("allow_private")), "{url}");
            assert!(target(url, true).base().is_ok(), "{url}");
        }
    }

    #[test]
    fn an_address_that_holds_a_password_or_another_scheme_is_refused() {
        for url in ["https://me:secret@a.example/", "ftp://a.example/", "a.example", "file:///etc"]
        {
            let cause = target(url, true).base().unwrap_err();
            assert!(!cause.contains("secret"), "{cause}");
        }
    }

    #[test]
    fn clients_are_shared_by_targets_that_need_the_same() {
        let clients = Clients::default();
        let of = |target: Target| clients.get(&target, &target.base().unwrap()).unwrap();
        of(target("https://a.example/", false));
        of(target("https://b.example/x", false));
        assert_eq!(clients.0.lock().unwrap().len(), 1);
        of(target("http://a.example/", false));
        of(target("https://a.example/", true));
        assert_eq!(clients.0.lock().unwrap().len(), 3);
    }

    #[test]
    fn certificates_that_cannot_be_read_are_a_mistake_in_the_file() {
        let mut wrong = target("https://a.example/", false);
        wrong.tls.certificate = Some("nonsense".to_owned());
        wrong.tls.key = Some(Secret::new("top-secret"));
        let fault = Clients::default().get(&wrong, &wrong.base().unwrap()).unwrap_err();
        assert_eq!(fault.domain, engine::Domain::Config);
        assert!(!fault.message.contains("top-secret"));
    }
}
