//! The connection itself: TCP, and TLS over it where the connection wants it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use engine::Fault;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls_platform_verifier::Verifier;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::Config;
use tokio_postgres::config::Host;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::connection::{Connection, Mistake, Tls};

/// How a client asks for TLS: a length and a number that no version has
/// (PostgreSQL's documentation, Message Formats, `SSLRequest`).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A connection, encrypted or not.
pub enum Stream {
    /// It is not.
    Plain(TcpStream),
    /// It is.
    Encrypted(Box<TlsStream<TcpStream>>),
}

/// The way to a server.
pub(crate) struct Way {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Way {
    pub fn new(connection: &Connection, config: &Config) -> Result<Self, Mistake> {
        let host = match config.get_hosts() {
            [Host::Tcp(host)] => host.clone(),
            _ => String::new(),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let tls = match connection.tls.is_required(&host) {
            true => Some((connection.tls.client()?, connection.tls.server_name(&host)?)),
            false => None,
        };
        Ok(Self { host, port, tls })
    }

    pub fn shown(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Opens it.
    pub async fn open(&self) -> Result<Stream, Fault> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await;
        let tcp = tcp.and_then(|tcp| {
            tcp.set_nodelay(true)?;
            // A peer that is gone without a word is noticed while we wait for its answer.
            let alive = TcpKeepalive::new()
                .with_time(Duration::from_secs(30))
                .with_interval(Duration::from_secs(10))
                .with_retries(3);
            SockRef::from(&tcp).set_tcp_keepalive(&alive)?;
            Ok(tcp)
        });
        let tcp = tcp.map_err(|error| {
            let message = format!("{} cannot be reached: {error}.", self.shown());
            Fault::remote("postgres_connect", message)
        })?;
        match &self.tls {
            None => Ok(Stream::Plain(tcp)),
            Some((connector, name)) => self.encrypt(tcp, connector, name).await,
        }
    }

    async fn encrypt(
        &self,
        mut tcp: TcpStream,
        connector: &TlsConnector,
        name: &ServerName<'static>,
    ) -> Result<Stream, Fault> {
        let failed = |error: io::Error| {
            let message = format!("The connection to {} failed: {error}.", self.shown());
            Fault::remote("postgres_connect", message)
        };
        tcp.write_all(&SSL_REQUEST).await.map_err(failed)?;
        if tcp.read_u8().await.map_err(failed)? != b'S' {
            let message = format!(
                "{} does not speak TLS. Set it up there (`ssl = on`), or write `tls: {{ mode: off }}` \
                 in the connection where nobody listens on the way.",
                self.shown()
            );
            return Err(Fault::refused("postgres_tls", message));
        }
        let encrypted = connector.connect(name.clone(), tcp).await.map_err(|error| {
            let message = format!(
                "The certificate of {} is not accepted: {error}. `tls.ca` names an authority to \
                 trust, `tls.server_name` the name it is for.",
                self.shown()
            );
            Fault::refused("postgres_tls", message)
        })?;
        Ok(Stream::Encrypted(Box::new(encrypted)))
    }
}

impl Tls {
    /// What rustls needs to know.
    pub(crate) fn client(&self) -> Result<TlsConnector, Mistake> {
        let wrong = |what: &str, error: &dyn std::fmt::Display| Mistake {
            pointer: "/tls",
            code: "tls_invalid",
            cause: format!("{what} cannot be used: {error}."),
            hint: "Write PEM, for example ${file:ca.pem}.",
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let ca = certificates(self.ca.as_deref()).map_err(|error| wrong("`ca`", &error))?;
        let verifier = Verifier::new_with_extra_roots(ca, Arc::clone(&provider))
            .map_err(|error| wrong("The trusted certificates", &error))?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong("TLS", &error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match (&self.certificate, &self.key) {
            (None, None) => config.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let chain = certificates(Some(certificate))
                    .map_err(|error| wrong("`certificate`", &error))?;
                // What is wrong with a key is not told: it could show the key.
                let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes())
                    .map_err(|_| wrong("`key`", &"it is no private key in PEM"))?;
                config
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| wrong("`certificate`", &error))?
            }
            _ => {
                return Err(wrong(
                    "`certificate`",
                    &"it needs its `key`, and a key its certificate",
                ));
            }
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }

    fn server_name(&self, host: &str) -> Result<ServerName<'static>, Mistake> {
        let name = self.server_name.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned()).map_err(|error| Mistake {
            pointer: "/tls",
            code: "tls_invalid",
            cause: format!("`{name}` is no name of a server: {error}."),
            hint: "Give the name in its certificate as `server_name`.",
        })
    }
}

/// The certificates in a text; there has to be one.
fn certificates(pem: Option<&str>) -> Result<Vec<CertificateDer<'static>>, String> {
    let Some(pem) = pem else { return Ok(Vec::new()) };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err("it holds no certificate".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Encrypted(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Encrypted(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Encrypted(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
