//! `http`: sends each event to an address as one request.

mod request;
mod signature;

use std::collections::BTreeMap;

use async_trait::async_trait;
use engine::connector::{Findings, Setup, SinkConnector};
use engine::expression::{Expression, Template};
use engine::options::{Period, Secret};
use engine::sink::Once;
use engine::{Delivery, Event, Fault, Sink};
use reqwest::header::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::exchange::{DEFAULT_RETRY_AFTER_CAP, Exchange, Target};
use request::Request;

/// The `http` connector.
pub struct Http;

/// An application that takes requests over HTTP.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Connection {
    /// Where it is.
    #[serde(flatten)]
    pub target: Target,
    /// Headers of every request, such as `X-Api-Key: "${API_KEY}"`. They are never shown.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// Who we are.
    #[serde(default)]
    pub auth: Option<Auth>,
}

/// Who we are, as the `Authorization` header says it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// A token: `Authorization: Bearer …`.
    Bearer(Secret),
    /// A name and a password: `Authorization: Basic …`.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
}

/// What a route sends.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Options {
    /// The method.
    #[serde(default)]
    pub method: Method,
    /// The path after the connection's address, with a query if need be: `/orders/{{ .id }}`. What
    /// stands between the braces is percent-encoded, so that it stays one part of the path.
    #[serde(default = "Options::default_path")]
    pub path: Template,
    /// Headers: `X-Shop: "{{ .shop }}"`.
    #[serde(default)]
    pub headers: BTreeMap<String, Template>,
    /// What is sent: an object or an array as JSON, a text as it is. Without it, the event's value
    /// as JSON.
    #[serde(default)]
    pub body: Option<Expression>,
    /// How the decimals of the event's value are written in JSON, when there is no `body`.
    #[serde(default)]
    pub decimals: Decimals,
    /// Signs each request, so that the receiver knows that it comes from here.
    #[serde(default)]
    pub signature: Option<Signature>,
    /// The header that carries the idempotency key: the same over retries, restarts and replays.
    #[serde(default = "Options::default_idempotency_header")]
    pub idempotency_header: String,
    /// What a deletion (a tombstone: a key without a value) does.
    #[serde(default)]
    pub on_delete: OnDelete,
    /// How long the application remembers idempotency keys, and so does nothing at a repeat.
    #[serde(default)]
    pub once: Remembers,
    /// How long a `Retry-After` of 429 and 503 is honoured at most.
    #[serde(default = "Options::default_retry_after_cap")]
    pub retry_after_cap: Period,
}

/// A method of HTTP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "RFC 9110 and RFC 5789 say what each is")]
pub enum Method {
    #[default]
    Post,
    Put,
    Patch,
    Delete,
}

/// How decimals are written in JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decimals {
    /// As texts: `"10.00"`. No receiver turns them into floats by accident.
    #[default]
    Text,
    /// As numbers with all their digits: `10.00`. Needs a schema on the topic.
    Number,
}

/// How requests are signed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Signature {
    /// [Standard Webhooks](https://www.standardwebhooks.com) 1.0: headers `webhook-id`,
    /// `webhook-timestamp`, `webhook-signature`. A secret `whsec_…` signs by HMAC (`v1`), a key
    /// `whsk_…` by ed25519 (`v1a`); several sign side by side while they are rotated.
    StandardWebhooks(OneOrMore),
}

/// One secret, or a list.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMore {
    /// One.
    One(Secret),
    /// Several.
    More(Vec<Secret>),
}

/// What a deletion does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDelete {
    /// It goes to the dead letters.
    #[default]
    DeadLetter,
    /// `DELETE` is sent to `path`. There is no value then: the path can use `%key`.
    Delete,
    /// Nothing.
    Ignore,
}

/// How long an application remembers idempotency keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Remembers {
    /// Not at all, or nobody knows: a repeat may have a second effect.
    #[default]
    No,
    /// For this long.
    For(Period),
    /// For ever: it keeps them in a unique column.
    Forever,
}

impl Options {
    fn default_path() -> Template {
        Template(String::new())
    }

    fn default_idempotency_header() -> String {
        "Idempotency-Key".to_owned()
    }

    fn default_retry_after_cap() -> Period {
        Period(DEFAULT_RETRY_AFTER_CAP)
    }
}

impl Connection {
    /// The texts that no message may show.
    fn secrets(&self, options: &Options) -> Vec<Secret> {
        let headers = self.headers.values().cloned();
        let auth = self.auth.iter().flat_map(Auth::secrets);
        let signature = options.signature.iter().flat_map(Signature::secrets).cloned();
        headers.chain(auth).chain(signature).collect()
    }

    /// The headers of every request, ready to send.
    fn header_values(&self) -> Result<Vec<(HeaderName, HeaderValue)>, Mistake> {
        let mut values = Vec::new();
        for (name, value) in &self.headers {
            let pointer = format!("/headers/{}", escaped(name));
            values.push((header_name(name, &pointer)?, sensitive(value.reveal(), &pointer)?));
        }
        if let Some(auth) = &self.auth {
            let value = sensitive(auth.header().reveal(), "/auth")?;
            values.push((reqwest::header::AUTHORIZATION, value));
        }
        Ok(values)
    }
}

impl Signature {
    fn secrets(&self) -> &[Secret] {
        match self {
            Self::StandardWebhooks(OneOrMore::One(secret)) => std::slice::from_ref(secret),
            Self::StandardWebhooks(OneOrMore::More(secrets)) => secrets,
        }
    }
}

impl Auth {
    fn header(&self) -> Secret {
        use base64::Engine as _;
        match self {
            Auth::Bearer(token) => Secret::new(format!("Bearer {}", token.reveal())),
            Auth::Basic { user, password } => {
                let pair = format!("{user}:{}", password.reveal());
                let pair = base64::prelude::BASE64_STANDARD.encode(pair);
                Secret::new(format!("Basic {pair}"))
            }
        }
    }

    fn secrets(&self) -> [Secret; 2] {
        let (Auth::Bearer(secret) | Auth::Basic { password: secret, .. }) = self;
        let header = self.header();
        // Its second word alone, in case that is what comes back.
        [secret.clone(), Secret::new(header.reveal().split(' ').next_back().unwrap_or_default())]
    }
}

/// A mistake in a section, before it is known whether the file is being checked or run.
struct Mistake {
    pointer: String,
    code: &'static str,
    cause: String,
    hint: &'static str,
}

/// A header's name that a file may set. Those that frame the message are HTTP's own.
fn header_name(name: &str, pointer: &str) -> Result<HeaderName, Mistake> {
    const FRAMING: [&str; 7] =
        ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"];
    let mistake = |cause: String, hint| Mistake {
        pointer: pointer.to_owned(),
        code: "header_invalid",
        cause,
        hint,
    };
    let parsed: HeaderName = name.parse().map_err(|_| {
        mistake(format!("`{name}` is not a header's name."), "Write letters, digits and dashes.")
    })?;
    if FRAMING.contains(&parsed.as_str()) {
        return Err(mistake(format!("`{name}` is set by HTTP itself."), "Leave it out."));
    }
    Ok(parsed)
}

fn sensitive(value: &str, pointer: &str) -> Result<HeaderValue, Mistake> {
    let mut value = HeaderValue::from_str(value).map_err(|_| Mistake {
        pointer: pointer.to_owned(),
        code: "header_invalid",
        cause: "The header's value holds a line break or a character that headers cannot carry."
            .to_owned(),
        hint: "Look for a line break at the end of the secret's file.",
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// A name as one step of a JSON pointer (RFC 6901).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

impl From<Mistake> for Fault {
    fn from(mistake: Mistake) -> Self {
        let Mistake { pointer, code, cause, hint } = mistake;
        Fault::config(code, format!("At `{pointer}`: {cause} {hint}"))
    }
}

impl SinkConnector for Http {
    const NAME: &'static str = "http";
    const SUMMARY: &'static str = "Sends each event to an address as one HTTP request.";
    const EXAMPLE: &'static str = include_str!("example.yaml");
    type Connection = Connection;
    type Options = Options;

    fn once(options: &Options) -> Once {
        match options.once {
            Remembers::No => Once::No,
            Remembers::For(Period(time)) => Once::For(time),
            Remembers::Forever => Once::Forever,
        }
    }

    fn check(connection: &Connection, options: &Options, findings: &mut Findings) {
        connection.target.check(findings);
        if let Err(Mistake { pointer, code, cause, hint }) = connection.header_values() {
            findings.connection(&pointer, code, cause, hint);
        }
        for Mistake { pointer, code, cause, hint } in request::mistakes(options) {
            findings.route(&pointer, code, cause, hint);
        }
    }

    fn build(
        connection: Connection,
        options: Options,
        setup: &Setup,
    ) -> Result<Box<dyn Sink>, Fault> {
        let cap = options.retry_after_cap.0;
        let exchange = Exchange::new(&connection.target, &connection.secrets(&options), setup)?;
        Ok(Box::new(HttpSink {
            exchange: exchange.with_retry_after_cap(cap),
            request: Request::new(&connection, options, setup)?,
        }))
    }
}

struct HttpSink {
    exchange: Exchange,
    request: Request,
}

#[async_trait]
impl Sink for HttpSink {
    async fn deliver(&self, batch: &[Event], attempt: u32) -> Vec<Result<Delivery, Fault>> {
        let mut outcomes = Vec::with_capacity(batch.len());
        for event in batch {
            outcomes.push(self.deliver_one(event, attempt).await);
        }
        outcomes
    }
}

impl HttpSink {
    async fn deliver_one(&self, event: &Event, attempt: u32) -> Result<Delivery, Fault> {
        let Some(call) = self.request.call(event)? else {
            return Ok(Delivery { answer: "a deletion, ignored".to_owned(), already_there: false });
        };
        // A 2xx is the application's word that it has the event, whatever becomes of the body.
        let answer = self.exchange.send(call).await?;
        match self.exchange.verdict(&answer) {
            Ok(()) => {
                let answer = answer.status.as_u16().to_string();
                Ok(Delivery { answer, already_there: false })
            }
            // By the IETF's draft on idempotency keys, 409 to a repeat says that the first request
            // with this key is still being worked on.
            Err(fault) if attempt > 1 && fault.cause == "http_409" => {
                Err(Fault::remote(fault.cause, fault.message))
            }
            Err(fault) => Err(fault),
        }
    }
}

#[cfg(test)]
mod tests;
