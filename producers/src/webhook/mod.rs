//! The source `webhook`: an application calls us for each event.
//!
//! A call is answered 2xx only after Kafka has acknowledged its event.

mod answer;
mod body;
mod call;
mod listener;
mod signature;
mod source;
mod window;

use std::sync::Arc;
use std::time::Duration;

use engine::connector::{Findings, Setup, SourceConnector};
use engine::expression::{Expression, Program};
use engine::options::{Period, Size};
use engine::{Fault, Source};
use schemars::JsonSchema;
use serde::Deserialize;

use call::{IdFrom, Reader};
use signature::Verifier;
pub use signature::{Algorithm, Encoding, PlainHmac, Secrets, Signature};
use source::WebhookSource;

/// An application calls us for each event (HTTP POST with a JSON body).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct WebhookOptions {
    /// The path of the address to give to the application, for example `/shop`.
    pub path: String,
    /// How the application signs its calls. `none` must be asked for.
    pub signature: Signature,
    /// How far a signed timestamp may lie from this clock, in both directions.
    #[serde(default = "five_minutes")]
    pub tolerance: Period,
    /// The largest body, on the wire and unpacked.
    #[serde(default = "one_mebibyte")]
    pub body_limit: Size,
    /// Where the event's id is found; a second call with the same id makes no second event. Without
    /// this option the platform's own: `webhook-id`, Stripe's `.id`, `X-GitHub-Delivery`,
    /// `X-Shopify-Event-Id`.
    pub id: Option<Id>,
    /// What kind of event it is (`ce_type`), for example `.type`. Without this option the platform's
    /// own, where it sends one.
    #[serde(rename = "type")]
    pub kind: Option<Expression>,
    /// When it happened for the application (`ce_time`), for example `.placed_at`.
    pub time: Option<Expression>,
    /// For how long, and how many, ids are remembered.
    #[serde(default)]
    pub window: WindowOptions,
    /// What happens to a signed call whose body does not fit the topic's schema.
    #[serde(default)]
    pub on_invalid: OnInvalid,
}

/// Where the event's id is found.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Id {
    /// In a header of the call.
    Header(String),
    /// In the body.
    Field(Expression),
    /// Nowhere: each call is an event of its own, repeats included.
    Fresh,
}

/// How long ids are remembered.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default)]
pub struct WindowOptions {
    /// For how long.
    #[serde(rename = "for")]
    pub length: Period,
    /// How many.
    pub at_most: usize,
}

impl Default for WindowOptions {
    fn default() -> Self {
        Self { length: Period(Duration::from_secs(86_400)), at_most: 1_000_000 }
    }
}

/// What happens to a signed call whose body does not fit the schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnInvalid {
    /// It is kept, byte for byte, in the source's dead letters and answered 2xx: senders drop a
    /// subscription that answers 4xx.
    #[default]
    DeadLetter,
    /// It is answered 422, naming the field: for callers one owns.
    Refuse,
}

fn five_minutes() -> Period {
    Period(Duration::from_secs(300))
}

fn one_mebibyte() -> Size {
    Size(1 << 20)
}

/// The connector.
pub struct Webhook;

impl SourceConnector for Webhook {
    const NAME: &'static str = "webhook";
    const SUMMARY: &'static str =
        "An application calls a URL for each event, signed; answered once Kafka has it.";
    const EXAMPLE: &'static str = include_str!("example.yaml");
    type Options = WebhookOptions;

    fn check(options: &WebhookOptions, findings: &mut Findings) {
        if !options.path.starts_with('/') || options.path.contains(['?', '#', ' ']) {
            let cause = format!("`{}` is not a path.", options.path);
            findings.route(
                "/webhook/path",
                "path",
                cause,
                "Write a path that starts with `/`, for example `/shop`.",
            );
        }
        if options.id.is_none() && matches!(options.signature, Signature::None | Signature::Hmac(_))
        {
            findings.route(
                "/webhook",
                "id_missing",
                "The option `id` is missing: this kind of signature brings no id, so a repeated call would make a second event.",
                "Add `id: { field: .id }`, `id: { header: X-Request-Id }`, or `id: fresh` if repeats are events of their own.",
            );
        }
        if let Err(fault) = Verifier::new(&options.signature, options.tolerance) {
            findings.route("/webhook/signature", "secret", fault.message, "");
        }
    }

    fn build(
        options: WebhookOptions,
        key: Option<Expression>,
        setup: &Setup,
    ) -> Result<Box<dyn Source>, Fault> {
        let Some(schema) = setup.output_schema.clone() else {
            return Err(Fault::config(
                "schema",
                format!("The topic of {} declares no schema: add `schema:` to it.", setup.route),
            ));
        };
        let compile = |expression: &Expression| -> Result<Program, Fault> {
            expression
                .compile(&schema)
                .map_err(|all| Fault::config("expression", engine::expression::sentence(&all)))
        };
        let id = match &options.id {
            Some(Id::Header(name)) => IdFrom::Header(name.to_ascii_lowercase()),
            Some(Id::Field(expression)) => IdFrom::Field(Box::new(compile(expression)?)),
            Some(Id::Fresh) => IdFrom::Fresh,
            None if matches!(options.signature, Signature::Stripe(_)) => IdFrom::Stripe,
            None => IdFrom::Platform,
        };
        let (key, kind, time) = (
            key.as_ref().map(compile).transpose()?,
            options.kind.as_ref().map(compile).transpose()?,
            options.time.as_ref().map(compile).transpose()?,
        );
        let verifier = Verifier::new(&options.signature, options.tolerance)?;
        let reader = Reader { verifier, id, key, kind, time, schema };
        Ok(Box::new(WebhookSource {
            address: setup.listen,
            path: options.path,
            route: Arc::clone(&setup.route),
            body_limit: usize::try_from(options.body_limit.0).unwrap_or(usize::MAX),
            window: options.window,
            on_invalid: options.on_invalid,
            reader,
            listeners: setup.shared.get(),
        }))
    }
}
