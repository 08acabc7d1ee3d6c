//! `smtp`: sends one mail for each event.
//!
//! SMTP knows no idempotency keys: a mail is sent again when its event is, and that happens when the
//! process dies after the server took the mail and before the offset was committed (some
//! milliseconds), or when the connection breaks before the server's answer to the mail's last line.
//! Such a repeat is the same mail byte for byte, under the same `Message-ID`: mailboxes that look at
//! it show one.

mod mail;
mod session;

use async_trait::async_trait;
use engine::connector::{Findings, Setup, SinkConnector};
use engine::expression::Template;
use engine::options::{Period, Secret};
use engine::sink::{Intent, Once};
use engine::{Delivery, Event, Fault, Sink};
use reqwest::Url;
use schemars::JsonSchema;
use serde::Deserialize;

use mail::Letter;
use session::{Encryption, Sessions};

/// The `smtp` connector.
pub struct Smtp;

/// A mail server that takes mail for others.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Connection {
    /// Where it is: `smtps://mail.example.com` speaks TLS from the first byte (port 465),
    /// `smtp://mail.example.com` by STARTTLS (port 587).
    pub url: String,
    /// Our name there. Without it, nobody logs in.
    #[serde(default)]
    pub user: Option<String>,
    /// Our password.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Whether `smtp://` needs TLS. `false` sends mail and password in the clear: for a server on
    /// this machine only.
    #[serde(default = "Connection::default_tls")]
    pub tls: bool,
    /// How long a mail may take, from the connection to the server's last answer.
    #[serde(default = "Connection::default_timeout")]
    pub timeout: Period,
    /// The name that we greet the server with (`EHLO`), where it looks at it: this machine's own.
    #[serde(default)]
    pub hello: Option<String>,
}

/// What a route sends. Addresses are written `anna@example.com` or `Anna <anna@example.com>`,
/// several with commas between them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Options {
    /// Who sends it.
    pub mail_from: Template,
    /// Who gets it.
    pub mail_to: Template,
    /// Who gets a copy.
    #[serde(default)]
    pub cc: Option<Template>,
    /// Who gets a copy that the others do not see.
    #[serde(default)]
    pub bcc: Option<Template>,
    /// Who gets the answers.
    #[serde(default)]
    pub reply_to: Option<Template>,
    /// The subject. Line breaks become spaces.
    pub subject: Template,
    /// The text. At least one of `text` and `html` is needed; with both, the reader's program chooses.
    #[serde(default)]
    pub text: Option<Template>,
    /// The text as HTML. What is put in is escaped.
    #[serde(default)]
    pub html: Option<Template>,
    /// What a deletion (a tombstone: a key without a value) does.
    #[serde(default)]
    pub on_delete: OnDelete,
}

/// What a deletion does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDelete {
    /// It goes to the dead letters.
    #[default]
    DeadLetter,
    /// Nothing.
    Ignore,
}

/// Where a mail server is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    host: String,
    port: u16,
    encryption: Encryption,
}

impl Connection {
    fn default_tls() -> bool {
        true
    }

    fn default_timeout() -> Period {
        Period(std::time::Duration::from_secs(30))
    }

    /// # Errors
    /// What is wrong with the `url`.
    fn place(&self) -> Result<Place, String> {
        let form = "write smtps://mail.example.com, or smtp://mail.example.com for STARTTLS";
        let url = Url::parse(&self.url)
            .map_err(|error| format!("`url` is no address ({error}): {form}"))?;
        let (encryption, port) = match (url.scheme(), self.tls) {
            ("smtps", true) => (Encryption::FromTheStart, 465),
            ("smtps", false) => return Err("`smtps` is TLS: leave `tls: false` out".to_owned()),
            ("smtp", true) => (Encryption::StartTls, 587),
            ("smtp", false) => (Encryption::None, 25),
            (other, _) => return Err(format!("`url` begins with `{other}`: {form}")),
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| format!("`url` names no host: {form}"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "`url` holds a name or a password: write them as `user` and `password`".to_owned()
            );
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() {
            return Err(format!("`url` holds more than a host and a port: {form}"));
        }
        Ok(Place { host: host.to_owned(), port: url.port().unwrap_or(port), encryption })
    }
}

impl SinkConnector for Smtp {
    const NAME: &'static str = "smtp";
    const SUMMARY: &'static str = "Sends one mail for each event.";
    const EXAMPLE: &'static str =
        include_str!("../../../docs/examples/order-confirmations/pipeline.yaml");
    type Connection = Connection;
    type Options = Options;

    fn once(_options: &Options) -> Once {
        Once::No
    }

    fn check(connection: &Connection, options: &Options, findings: &mut Findings) {
        if let Err(cause) = connection.place() {
            findings.connection("/url", "url_invalid", format!("The {cause}."), "");
        }
        if connection.user.is_some() != connection.password.is_some() {
            let cause = "`user` and `password` belong together.";
            findings.connection("", "credentials_incomplete", cause, "Write both, or neither.");
        }
        if options.text.is_none() && options.html.is_none() {
            findings.route(
                "",
                "text_missing",
                "The mail has no text.",
                "Write `text`, `html`, or both.",
            );
        }
    }

    fn build(
        connection: Connection,
        options: Options,
        setup: &Setup,
    ) -> Result<Box<dyn Sink>, Fault> {
        Ok(Box::new(SmtpSink {
            letter: Letter::compile(&options, setup)?,
            on_delete: options.on_delete,
            sessions: Sessions::new(connection)?,
        }))
    }
}

struct SmtpSink {
    letter: Letter,
    on_delete: OnDelete,
    sessions: Sessions,
}

#[async_trait]
impl Sink for SmtpSink {
    async fn connect(&self) -> Result<String, Fault> {
        self.sessions.greet().await
    }

    fn intent(&self, event: &Event) -> Result<Option<Intent>, Fault> {
        if event.value.is_none() {
            return self.deletion().map(|_| None);
        }
        let payload = self.letter.shown(event)?;
        Ok(Some(Intent { key: None, operation: "mail".to_owned(), payload }))
    }

    async fn deliver(&self, batch: &[Event], _attempt: u32) -> Vec<Result<Delivery, Fault>> {
        let mut outcomes = Vec::with_capacity(batch.len());
        for event in batch {
            outcomes.push(self.deliver_one(event).await);
        }
        outcomes
    }
}

impl SmtpSink {
    async fn deliver_one(&self, event: &Event) -> Result<Delivery, Fault> {
        let answer = match event.value {
            Some(_) => self.sessions.send(&self.letter.write(event)?).await?,
            None => self.deletion()?,
        };
        Ok(Delivery { answer, already_there: false })
    }

    /// What becomes of a deletion.
    fn deletion(&self) -> Result<String, Fault> {
        match self.on_delete {
            OnDelete::Ignore => Ok("a deletion, ignored".to_owned()),
            OnDelete::DeadLetter => {
                let message = "The event is a deletion, of which no mail can be made; \
                               `on_delete: ignore` passes over deletions.";
                Err(Fault::data("mail_of_deletion", message))
            }
        }
    }
}

#[cfg(test)]
mod tests;
