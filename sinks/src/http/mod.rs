//! `http`: sends each event to an address as one request.

mod probe;
pub(crate) mod request;
mod signature;

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use async_trait::async_trait;
use engine::connector::{Findings, Probe, Setup, SinkConnector};
use engine::expression::{Expression, Template};
use engine::options::{Period, Secret};
use engine::sink::{Intent, Once};
use engine::{Delivery, Event, Fault, Sink};
use schemars::JsonSchema;
use serde::Deserialize;

use exchange::{Call, Connection, DEFAULT_RETRY_AFTER_CAP, Exchange, Mistake};
use request::Request;

/// The `http` connector.
pub struct Http;

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
    /// Sends up to so many events in one request, as a JSON array of what each would be alone; the
    /// answer counts for all. If they are refused together, each is sent again alone, as an array of
    /// one. The idempotency key is then that of the array; a repeat can be part of another array, with
    /// another key.
    #[serde(default)]
    pub batch: Option<NonZeroU16>,
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
    /// `DELETE` is sent to `path`, or what an application has for it. There is no value then: only the
    /// event's key, in a path `%key`.
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

impl Signature {
    fn secrets(&self) -> &[Secret] {
        match self {
            Self::StandardWebhooks(OneOrMore::One(secret)) => std::slice::from_ref(secret),
            Self::StandardWebhooks(OneOrMore::More(secrets)) => secrets,
        }
    }
}

impl SinkConnector for Http {
    const NAME: &'static str = "http";
    const SUMMARY: &'static str = "Sends each event to an address as one HTTP request.";
    const EXAMPLE: &'static str =
        include_str!("../../../docs/examples/orders-to-crm/pipeline.yaml");
    type Connection = Connection;
    type Options = Options;

    const PROBE: Option<Probe<Connection>> = Some(probe::probe);

    fn once(options: &Options) -> Once {
        match options.once {
            // A batch comes together anew at each try, and its key with it.
            _ if options.batch.is_some() => Once::No,
            Remembers::No => Once::No,
            Remembers::For(Period(time)) => Once::For(time),
            Remembers::Forever => Once::Forever,
        }
    }

    fn overwrites(options: &Options) -> bool {
        matches!(options.method, Method::Put | Method::Patch)
    }

    fn check(connection: &Connection, options: &Options, findings: &mut Findings) {
        connection.check(findings);
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
        let signature = options.signature.as_ref().map(Signature::secrets).unwrap_or_default();
        let exchange = Exchange::with(&connection, signature, setup)?;
        Ok(Box::new(HttpSink {
            exchange: exchange.with_retry_after_cap(cap),
            batch: options.batch,
            request: Request::new(options, setup)?,
        }))
    }
}

/// A path without its query, which can hold a secret.
fn shown_path(path: &str) -> &str {
    match path.split('?').next() {
        None | Some("") => "/",
        Some(path) => path,
    }
}

struct HttpSink {
    exchange: Exchange,
    batch: Option<NonZeroU16>,
    request: Request,
}

#[async_trait]
impl Sink for HttpSink {
    fn batch(&self) -> usize {
        self.batch.map_or(1, |most| most.get().into())
    }

    async fn connect(&self) -> Result<String, Fault> {
        self.exchange.reach().await
    }

    fn intent(&self, event: &Event) -> Result<Option<Intent>, Fault> {
        Ok(self.request.call(event)?.map(|call| Intent {
            key: None,
            operation: format!("{} {}", call.method, shown_path(&call.path)),
            payload: serde_json::from_slice(&call.body).unwrap_or_else(|_| {
                match call.body.is_empty() {
                    true => serde_json::Value::Null,
                    false => String::from_utf8_lossy(&call.body).into(),
                }
            }),
        }))
    }

    async fn deliver(&self, batch: &[Event], attempt: u32) -> Vec<Result<Delivery, Fault>> {
        if self.batch.is_some() {
            return self.deliver_together(batch, attempt).await;
        }
        let mut outcomes = Vec::with_capacity(batch.len());
        for event in batch {
            outcomes.push(self.deliver_one(event, attempt).await);
        }
        outcomes
    }
}

impl HttpSink {
    /// One request for all but the deletions.
    async fn deliver_together(
        &self,
        batch: &[Event],
        attempt: u32,
    ) -> Vec<Result<Delivery, Fault>> {
        let is_deletion = |event: &&Event| event.payload.is_none() && event.value.is_none();
        let written: Vec<&Event> = batch.iter().filter(|event| !is_deletion(event)).collect();
        let outcome = self.send(self.request.together(&written), attempt).await;
        let refused = |fault: &Fault| fault.domain == engine::Domain::Data;
        let alone = written.len() > 1 && outcome.as_ref().is_err_and(refused);
        let mut outcomes = Vec::with_capacity(batch.len());
        for event in batch {
            outcomes.push(match (is_deletion(&event), alone) {
                (true, _) => self.deliver_one(event, attempt).await,
                (false, true) => self.send(self.request.together(&[event]), attempt).await,
                (false, false) => outcome.clone(),
            });
        }
        outcomes
    }

    async fn deliver_one(&self, event: &Event, attempt: u32) -> Result<Delivery, Fault> {
        self.send(self.request.call(event), attempt).await
    }

    async fn send(
        &self,
        call: Result<Option<Call>, Fault>,
        attempt: u32,
    ) -> Result<Delivery, Fault> {
        let Some(call) = call? else {
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
