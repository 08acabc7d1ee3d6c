//! Sessions with the mail server (RFC 5321), one after another used again, and what its answers mean.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine::Fault;
use lettre::Message;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Response;
use tokio::time::timeout;

use super::{Connection, Place};

/// How long a session that nobody uses is worth asking whether it still stands.
const IDLE: Duration = Duration::from_secs(60);

/// When TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encryption {
    FromTheStart,
    StartTls,
    None,
}

/// The sessions with one server.
pub(super) struct Sessions {
    place: Place,
    tls: Option<TlsParameters>,
    credentials: Option<Credentials>,
    hello: ClientId,
    timeout: Duration,
    idle: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
}

type Error = lettre::transport::smtp::Error;

/// How far a mail came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    LoggingIn,
    Addressing,
    /// The mail's text is on its way: without an answer, nobody knows whether the server has it.
    Sending,
}

impl Stage {
    fn doing(self) -> &'static str {
        match self {
            Self::Connecting => "Connecting",
            Self::LoggingIn => "Logging in",
            Self::Addressing => "Giving the mail's addresses",
            Self::Sending => "Sending the mail",
        }
    }
}

impl Sessions {
    /// # Errors
    /// A `Config` fault when the connection's options cannot work.
    pub fn new(connection: Connection) -> Result<Self, Fault> {
        let place = connection
            .place()
            .map_err(|cause| Fault::config("url_invalid", format!("The {cause}.")))?;
        let tls = match place.encryption {
            Encryption::None => None,
            _ => Some(TlsParameters::new(place.host.clone()).map_err(|error| {
                Fault::config("tls", format!("TLS cannot be prepared: {error}."))
            })?),
        };
        let credentials = connection.user.zip(connection.password);
        let credentials = credentials
            .map(|(user, password)| Credentials::new(user, password.reveal().to_owned()));
        let hello = connection.hello.map_or_else(ClientId::default, ClientId::Domain);
        let (timeout, idle) = (connection.timeout.0, Mutex::default());
        Ok(Self { place, tls, credentials, hello, timeout, idle })
    }

    /// Sends a mail, and returns the server's answer.
    ///
    /// # Errors
    /// What the server said, as whose fault it is; `unknown` where it may have the mail.
    pub async fn send(&self, mail: &Message) -> Result<String, Fault> {
        let mut stage = Stage::Connecting;
        match timeout(self.timeout, self.attempt(mail, &mut stage)).await {
            Ok(Ok(answer)) => Ok(shown(&answer)),
            Ok(Err(error)) => Err(self.fault(stage, &error)),
            Err(_) => {
                let waited = self.timeout.as_secs_f32();
                let said = format!("{} did not answer within {waited} s", self.name());
                Err(self.unanswered(stage, &said))
            }
        }
    }

    /// Greets the server and logs in; sends nothing. Tells what that proves.
    ///
    /// # Errors
    /// As those of [`send`](Self::send).
    pub async fn greet(&self) -> Result<String, Fault> {
        let mut stage = Stage::Connecting;
        match timeout(self.timeout, self.open(&mut stage)).await {
            Ok(Ok(mut session)) => {
                // What it says to our farewell changes nothing.
                drop(timeout(IDLE, session.quit()).await);
                let who = if self.credentials.is_some() { " and lets us in" } else { "" };
                Ok(format!("{} answers{who}", self.name()))
            }
            Ok(Err(error)) => Err(self.fault(stage, &error)),
            Err(_) => {
                let said = format!("{} did not answer within {:?}", self.name(), self.timeout);
                Err(self.unanswered(stage, &said))
            }
        }
    }

    async fn attempt(&self, mail: &Message, stage: &mut Stage) -> Result<Response, Error> {
        let mut session = match self.take_idle().await {
            Some(session) => session,
            None => self.open(stage).await?,
        };
        *stage = Stage::Addressing;
        match converse(&mut session, mail, stage).await {
            Ok(answer) => {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                idle.push((session, Instant::now()));
                Ok(answer)
            }
            Err(error) => {
                // It must not wait for a server that is gone.
                tokio::spawn(async move { drop(timeout(IDLE, session.abort()).await) });
                Err(error)
            }
        }
    }

    /// A session that stands since an earlier mail.
    async fn take_idle(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let last = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let (mut session, since) = last?;
            if since.elapsed() < IDLE && session.test_connected().await {
                return Some(session);
            }
        }
    }

    async fn open(&self, stage: &mut Stage) -> Result<AsyncSmtpConnection, Error> {
        let Place { host, port, encryption } = &self.place;
        let from_the_start = self.tls.clone().filter(|_| *encryption == Encryption::FromTheStart);
        let (server, limit) = ((host.as_str(), *port), Some(self.timeout));
        let mut session =
            AsyncSmtpConnection::connect_tokio1(server, limit, &self.hello, from_the_start, None)
                .await?;
        if let (Encryption::StartTls, Some(tls)) = (encryption, &self.tls) {
            session.starttls(tls.clone(), &self.hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            *stage = Stage::LoggingIn;
            session.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(session)
    }

    fn name(&self) -> String {
        format!("{}:{}", self.place.host, self.place.port)
    }

    /// What an error means for the event.
    fn fault(&self, stage: Stage, error: &Error) -> Fault {
        let said = format!("{}: {}", self.name(), chain(error));
        let at_the_door = matches!(stage, Stage::Connecting | Stage::LoggingIn);
        match error.status().map(u16::from) {
            // RFC 4954: authentication is needed, or was refused.
            Some(530 | 534 | 535 | 538) => {
                let advice = "check the connection's `user` and `password`; the route waits";
                Fault::refused("smtp_auth", format!("{}: {said}; {advice}.", stage.doing()))
            }
            Some(code) if code >= 500 && at_the_door => {
                let advice = "the server refuses us; the route waits";
                Fault::refused("smtp_refused", format!("{}: {said}; {advice}.", stage.doing()))
            }
            Some(code) if code >= 500 => {
                let advice = "it would answer the same again";
                Fault::data("smtp_rejected", format!("{}: {said}; {advice}.", stage.doing()))
            }
            // The server's clear word that it does not have it.
            Some(_) => {
                let message = format!("{}: {said}; it is tried again.", stage.doing());
                Fault::remote("smtp_busy", message)
            }
            None if error.is_tls() => {
                let advice = "check the host's name and its certificate; the route waits";
                Fault::refused("smtp_tls", format!("{}: {said}; {advice}.", stage.doing()))
            }
            None if error.is_client() && at_the_door => {
                let advice = "check the connection's `url`, `tls` and credentials; the route waits";
                Fault::refused("smtp_unfit", format!("{}: {said}; {advice}.", stage.doing()))
            }
            None if error.is_client() => {
                Fault::data("smtp_unfit", format!("{}: {said}.", stage.doing()))
            }
            None => self.unanswered(stage, &said),
        }
    }

    fn unanswered(&self, stage: Stage, said: &str) -> Fault {
        let fault = |advice: &str| {
            let message = format!("{}: {said}; {advice}.", stage.doing());
            Fault::remote("smtp_unreachable", message)
        };
        match stage {
            Stage::Sending => fault("the server may have it; it is sent again").unknown(),
            _ => fault("it is tried again"),
        }
    }
}

/// The commands of one mail. (lettre's own `send` does not tell how far it came.)
async fn converse(
    session: &mut AsyncSmtpConnection,
    mail: &Message,
    stage: &mut Stage,
) -> Result<Response, Error> {
    let text = mail.formatted();
    let mut parameters = Vec::new();
    let knows = |extension| session.server_info().supports_feature(extension);
    let envelope = mail.envelope();
    let ascii = envelope
        .from()
        .into_iter()
        .chain(envelope.to())
        .all(|to| AsRef::<str>::as_ref(to).is_ascii());
    // What is missing here the server refuses itself, with its own words.
    if !ascii && knows(Extension::SmtpUtfEight) {
        parameters.push(MailParameter::SmtpUtfEight);
    }
    if !text.is_ascii() && knows(Extension::EightBitMime) {
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    session.command(Mail::new(envelope.from().cloned(), parameters)).await?;
    for to in envelope.to() {
        session.command(Rcpt::new(to.clone(), Vec::new())).await?;
    }
    session.command(Data).await?;
    *stage = Stage::Sending;
    session.message(&text).await
}

fn shown(answer: &Response) -> String {
    let code = answer.code();
    match answer.first_line() {
        Some(line) => format!("{code} {line}"),
        None => code.to_string(),
    }
}

/// An error and what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text.split(char::is_control).collect::<Vec<_>>().join(" ")
}
