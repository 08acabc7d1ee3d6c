//! The source `webhook`: an application calls us for each event.
//!
//! A call is answered 2xx only after Kafka has acknowledged its event.

mod answer;
mod body;
mod call;
mod finish;
mod listener;
mod server;
mod signature;
mod source;
mod thin;
mod turns;
mod window;

use std::sync::Arc;
use std::time::Duration;

use engine::connector::{Findings, Options, Place, Setup, SourceConnector};
use engine::expression::{Expression, Own, Program, sentence};
use engine::options::{Period, Size};
use engine::{Fault, Source};
use exchange::Connection;
use schemars::JsonSchema;
use serde::Deserialize;

use call::{IdFrom, Reader};
pub use listener::{Held, Listeners};
pub use signature::Signature;
use signature::{OwnId, Verifier};
use source::WebhookSource;
pub(crate) use thin::Fetch;
use thin::Repair;

use crate::poll::{Detail, Inputs, Mistake, PollOptions, expression};

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
    /// `X-Shopify-Topic` with `X-Shopify-Event-Id`.
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
    /// For calls that bring several events: where their list is in the body, for example `.events`, or
    /// `.` where the body is the list. Each is an event: `id`, `type`, `time`, the key and `fetch` read
    /// it alone. The call is answered 2xx once all of them are stored.
    #[serde(default)]
    pub items: Option<Own<Expression>>,
    /// For applications that first ask for a text of their own, to see that the address is ours: that
    /// text in the body, for example `.challenge`, or null if the call is an event. Slack's is known.
    #[serde(default)]
    pub challenge: Option<Own<Expression>>,
    /// For calls that only name an object: the request that gets it, from the connection in `from`.
    /// Its templates and expressions read the call's body; what it gets is the event, and what `id`,
    /// `type`, `time` and the key are made of. An object that is gone (404, 410) makes no event.
    #[serde(default)]
    pub fetch: Option<Detail>,
    /// A poll of the connection in `from`, beside the calls: what a lost call would have brought is
    /// found by it. Its options are those of the source `poll`; `event_id` has to give the id that a
    /// call gives, so that nothing is published twice. At a start it looks as far back as ids are
    /// remembered (`window`).
    #[serde(default)]
    pub repair: Option<PollOptions>,
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

impl WebhookOptions {
    /// Why an id has to be said, if it has to.
    fn id_missing(&self) -> Option<&'static str> {
        match (&self.id, self.signature.own_id(), &self.items) {
            (None, None, _) => Some(
                "The option `id` is missing: this kind of signature brings no id, so a repeated call would make a second event.",
            ),
            (None | Some(Id::Header(_)), _, Some(_)) => Some(
                "A call's own id cannot tell its events apart: `id` has to be a field of each of them.",
            ),
            _ => None,
        }
    }

    /// What reads a challenge, and what the list of events, out of a body.
    fn readers(&self, mistakes: &mut Vec<Mistake>) -> (Option<Program>, Option<Program>) {
        const SLACK: &str = r#"if .type == "url_verification" { .challenge }"#;
        let input = Inputs::new().answer;
        let slack = matches!(self.signature, Signature::Slack(_));
        let known = slack.then(|| Own(Expression(SLACK.to_owned())));
        let challenge = self.challenge.as_ref().or(known.as_ref());
        let mut read = |text: Option<&Own<Expression>>, pointer| {
            text.and_then(|text| expression(text, &input, pointer, mistakes))
        };
        (read(challenge, "/webhook/challenge"), read(self.items.as_ref(), "/webhook/items"))
    }
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
    const EXAMPLE: &'static str =
        include_str!("../../../docs/examples/orders-to-erp/pipeline.yaml");
    const CONNECTION: Option<&'static str> = Some("http");
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
        if let Some(cause) = options.id_missing() {
            findings.route(
                "/webhook",
                "id_missing",
                cause,
                "Add `id: { field: .id }`, `id: { header: X-Request-Id }`, or `id: fresh` if repeats are events of their own.",
            );
        }
        let mut mistakes = Vec::new();
        options.readers(&mut mistakes);
        let found = |Mistake { pointer, diagnostic }| diagnostic.finding(Place::Route, &pointer);
        findings.0.extend(mistakes.into_iter().map(found));
        if let Err(fault) = Verifier::new(&options.signature, options.tolerance) {
            findings.route("/webhook/signature", "secret", fault.message, "");
        }
        if let Some(fetch) = &options.fetch {
            Fetch::check(fetch, "/webhook/fetch", findings);
        }
        if let Some(repair) = &options.repair {
            Repair::check(repair, findings);
        }
    }

    fn reads(options: &WebhookOptions) -> bool {
        options.fetch.is_some() || options.repair.is_some()
    }

    fn check_connection(connection: Options, findings: &mut Findings) -> serde_json::Result<()> {
        serde_json::from_value::<Connection>(connection)?.check(findings);
        Ok(())
    }

    fn path(options: &WebhookOptions) -> Option<String> {
        Some(options.path.clone())
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
        let fetch = options.fetch.as_ref().map(|fetch| Fetch::open(fetch, setup)).transpose()?;
        let window = options.window.length.0;
        let repair = options.repair.clone();
        let repair = repair.map(|repair| Repair::new(repair, key.clone(), setup, window));
        let repair = repair.transpose()?;
        let id = match &options.id {
            Some(Id::Header(name)) => IdFrom::Header(name.to_ascii_lowercase()),
            Some(Id::Field(expression)) => IdFrom::Field(Box::new(compile(expression)?)),
            Some(Id::Fresh) => IdFrom::Fresh,
            None => match options.signature.own_id() {
                Some(OwnId::Body(field)) => IdFrom::PlatformsField(field),
                _ => IdFrom::Platform,
            },
        };
        let mut mistakes = Vec::new();
        let (challenge, items) = options.readers(&mut mistakes);
        if !mistakes.is_empty() {
            let all: Vec<_> = mistakes.into_iter().map(|mistake| mistake.diagnostic).collect();
            return Err(Fault::config("expression", sentence(&all)));
        }
        let (key, kind, time) = (
            key.as_ref().map(compile).transpose()?,
            options.kind.as_ref().map(compile).transpose()?,
            options.time.as_ref().map(compile).transpose()?,
        );
        let verifier = Verifier::new(&options.signature, options.tolerance)?;
        let reader = Reader { verifier, challenge, items, id, key, kind, time, schema };
        Ok(Box::new(WebhookSource {
            address: setup.listen,
            path: options.path,
            route: Arc::clone(&setup.route),
            body_limit: usize::try_from(options.body_limit.0).unwrap_or(usize::MAX),
            window: options.window,
            on_invalid: options.on_invalid,
            reader,
            fetch,
            repair,
            listeners: setup.shared.get(),
        }))
    }
}
