//! Small connectors of the kinds that files name.

use std::collections::BTreeMap;

use async_trait::async_trait;
use schemars::JsonSchema;
use schemas::Path;
use serde::Deserialize;
use vrl::value::Kind;

use crate::connector::{
    Catalogue, Findings, Origin, Place, ProcessorConnector, ProcessorDeclaration, Setup,
    SinkConnector, SinkDeclaration, SourceConnector, SourceDeclaration,
};
use crate::expression::{self, Expression, Mapping, Program, Template};
use crate::options::{Period, Secret, Size};
use crate::sink::Once;
use crate::{Delivery, Emit, Event, Fault, Processor, Publisher, Shutdown, Sink, Source, Value};

pub fn catalogue() -> Catalogue {
    Catalogue {
        sources: vec![SourceDeclaration::of::<Webhook>(), SourceDeclaration::of::<Poll>()],
        processors: vec![ProcessorDeclaration::of::<Filter>(), ProcessorDeclaration::of::<Map>()],
        lookups: Vec::new(),
        sinks: vec![SinkDeclaration::of::<Http>(), SinkDeclaration::of::<Tryton>()],
        descriptions: None,
    }
}

struct Nothing;

#[async_trait]
impl Source for Nothing {
    async fn run(self: Box<Self>, _: Publisher, stop: Shutdown) -> Result<(), Fault> {
        stop.requested().await;
        Ok(())
    }
}

#[async_trait]
impl Sink for Nothing {
    async fn deliver(&self, batch: &[Event], _: u32) -> Vec<Result<Delivery, Fault>> {
        batch.iter().map(|_| Ok(Delivery::default())).collect()
    }
}

struct Webhook;

/// Receives calls.
#[derive(Deserialize, JsonSchema)]
struct WebhookOptions {
    /// The path that it listens at. It begins with a slash.
    path: String,
    /// How a call proves where it comes from.
    #[expect(dead_code, reason = "only its shape is looked at")]
    signature: Signature,
    /// How long ids are remembered.
    #[expect(dead_code, reason = "only its shape is looked at")]
    deduplicate: Option<Window>,
}

/// How a call proves where it comes from.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its shape is looked at")]
enum Signature {
    /// As Standard Webhooks say.
    StandardWebhooks(Secret),
    /// A plain HMAC in a header.
    Hmac {
        /// The header's name.
        header: String,
        /// The shared secret.
        secret: Secret,
    },
    /// Not at all.
    None,
}

/// How long ids are remembered.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its shape is looked at")]
struct Window {
    /// This long.
    r#for: Period,
    /// At most this many.
    #[serde(default)]
    at_most: u32,
}

impl SourceConnector for Webhook {
    const NAME: &'static str = "webhook";
    const SUMMARY: &'static str = "Receives the webhooks of an application.";
    const EXAMPLE: &'static str = "name: hooks\n";
    type Options = WebhookOptions;

    fn check(options: &WebhookOptions, findings: &mut Findings) {
        if !options.path.starts_with('/') {
            let cause = "A path begins with a slash.";
            findings.route("/webhook/path", "bad_path", cause, "Write `/shop`.");
        }
    }

    fn path(options: &WebhookOptions) -> Option<String> {
        Some(options.path.clone())
    }

    fn build(
        _: WebhookOptions,
        _: Option<Expression>,
        _: &Setup,
    ) -> Result<Box<dyn Source>, Fault> {
        Ok(Box::new(Nothing))
    }
}

struct Poll;

/// Asks an application again and again.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its shape is looked at")]
struct PollOptions {
    /// The address to ask.
    url: String,
    /// How often.
    every: Period,
    /// The id of an item.
    id: Expression,
    /// The largest answer that is read.
    largest: Option<Size>,
    /// Where the next page is.
    pages: Option<Pages>,
}

/// Where the next page is.
#[derive(Deserialize, JsonSchema)]
#[serde(tag = "by", rename_all = "snake_case")]
#[expect(dead_code, reason = "only its shape is looked at")]
enum Pages {
    /// In the `Link` header.
    Link,
    /// At a number.
    Number {
        /// The parameter's name.
        parameter: String,
    },
}

impl SourceConnector for Poll {
    const NAME: &'static str = "poll";
    const SUMMARY: &'static str = "Asks an application for what is new.";
    const EXAMPLE: &'static str = "name: polls\n";
    type Options = PollOptions;

    fn build(_: PollOptions, _: Option<Expression>, _: &Setup) -> Result<Box<dyn Source>, Fault> {
        Ok(Box::new(Nothing))
    }
}

struct Http;

/// An HTTP service.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its shape is looked at")]
struct HttpConnection {
    /// Its address.
    url: String,
    /// How long one call may take.
    #[serde(default = "ten_seconds")]
    timeout: Period,
    /// Further headers.
    #[serde(default)]
    headers: BTreeMap<String, Secret>,
}

fn ten_seconds() -> Period {
    Period(std::time::Duration::from_secs(10))
}

/// Calls an HTTP service.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its shape is looked at")]
struct HttpOptions {
    /// The path of the call.
    path: Template,
    /// Its method.
    #[serde(default)]
    method: Method,
    /// Its body; the event as JSON without it.
    body: Option<Expression>,
    /// Statuses that count as delivered.
    #[serde(default)]
    accept: Vec<u16>,
}

/// An HTTP method.
#[derive(Default, serde::Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Method {
    /// Creates.
    #[default]
    Post,
    /// Creates or replaces.
    Put,
}

impl SinkConnector for Http {
    const NAME: &'static str = "http";
    const SUMMARY: &'static str = "Calls an HTTP service.";
    const EXAMPLE: &'static str = "name: calls\n";
    type Connection = HttpConnection;
    type Options = HttpOptions;

    fn once(_: &HttpOptions) -> Once {
        Once::No
    }

    fn check(connection: &HttpConnection, _: &HttpOptions, findings: &mut Findings) {
        if !connection.url.starts_with("http") {
            let cause = "An address begins with http:// or https://.";
            findings.connection("/url", "bad_url", cause, "");
        }
    }

    fn build(_: HttpConnection, _: HttpOptions, _: &Setup) -> Result<Box<dyn Sink>, Fault> {
        Ok(Box::new(Nothing))
    }
}

struct Tryton;

/// A Tryton server.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its shape is looked at")]
struct TrytonConnection {
    /// The address of its database.
    url: String,
    /// The key of a user application.
    key: Secret,
}

/// Creates records.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its shape is looked at")]
struct TrytonOptions {
    /// What is created, for example `sale.sale`.
    object: Object,
    /// The field that holds the id.
    id: String,
}

/// A name with a point, which no schema says.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Object;

impl TryFrom<String> for Object {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.contains('.').then_some(Object).ok_or_else(|| format!("no module in `{name}`"))
    }
}

impl JsonSchema for Object {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Object".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

impl SinkConnector for Tryton {
    const NAME: &'static str = "tryton";
    const SUMMARY: &'static str = "Creates records in Tryton.";
    const EXAMPLE: &'static str = "name: sales\n";
    type Connection = TrytonConnection;
    type Options = TrytonOptions;

    fn once(_: &TrytonOptions) -> Once {
        Once::Forever
    }

    fn build(_: TrytonConnection, _: TrytonOptions, _: &Setup) -> Result<Box<dyn Sink>, Fault> {
        Ok(Box::new(Nothing))
    }
}

struct Filter(Program);

impl ProcessorConnector for Filter {
    const NAME: &'static str = "filter";
    const SUMMARY: &'static str = "Lets an event pass when its condition is true.";
    const EXAMPLE: &'static str = "name: filters\n";
    type Options = Expression;

    fn build(condition: Expression, setup: &Setup) -> Result<Box<dyn Processor>, Fault> {
        let program = condition.compile(setup);
        let program = program.map_err(|all| Fault::config("filter", expression::sentence(&all)))?;
        Ok(Box::new(Self(program)))
    }
}

impl Processor for Filter {
    fn process(&self, event: &Event, value: Value, out: &mut Emit) -> Result<(), Fault> {
        if self.0.run(event, &value)? == Value::Boolean(true) {
            out.send(value);
        }
        Ok(())
    }
}

struct Map(Mapping);

impl ProcessorConnector for Map {
    const NAME: &'static str = "map";
    const SUMMARY: &'static str = "Changes the value of each event.";
    const EXAMPLE: &'static str = "name: maps\n";
    type Options = expression::Map;

    fn check(map: &expression::Map, setup: &Setup, findings: &mut Findings) {
        if let Err(all) = map.compile(setup) {
            findings.0.extend(all.into_iter().map(|one| one.finding(Place::Route, "")));
        }
    }

    fn emits(map: &expression::Map, setup: &Setup) -> Option<Kind> {
        map.compile(setup).ok().map(|mapping| mapping.kind().clone())
    }

    fn origin(map: &expression::Map, setup: &Setup, path: &Path) -> Option<Origin> {
        let span = map.compile(setup).ok()?.assignment(path)?;
        Some(Origin { pointer: String::new(), span: Some(span) })
    }

    fn build(map: expression::Map, setup: &Setup) -> Result<Box<dyn Processor>, Fault> {
        let mapping = map.compile(setup);
        let mapping = mapping.map_err(|all| Fault::config("map", expression::sentence(&all)))?;
        Ok(Box::new(Self(mapping)))
    }
}

impl Processor for Map {
    fn process(&self, event: &Event, value: Value, out: &mut Emit) -> Result<(), Fault> {
        out.send(self.0.run(event, value)?);
        Ok(())
    }
}
