//! The source `poll`: an application that does not call us is asked again and again.
//!
//! A *sweep* asks for the pages of what has changed since the cursor, and publishes each page's events
//! with the cursor in one transaction. The cursor is a time of the application's own, moved back by an
//! overlap, and a bounded memory of what was published inside it: equal times at a page's edge, and
//! changes that show late, are neither lost nor published twice.

mod cursor;
mod item;
mod memory;
mod pages;
mod request;
mod source;

use std::collections::BTreeMap;
use std::time::Duration;

use engine::connector::{Findings, Options, Place, Setup, SourceConnector};
use engine::expression::{Diagnostic, Expression, Own, Template, sentence};
use engine::options::{Period, Size, Start};
use engine::{Fault, Source};
use exchange::{Connection, Exchange};
use schemars::JsonSchema;
use serde::Deserialize;

use item::Reading;
pub(crate) use item::{run, text, time};
use memory::MOST_REMEMBERED;
use pages::{Pages, Paging};
pub(crate) use request::{Inputs, Request, expression};
pub(crate) use source::{Asking, PollSource};

/// An application is asked again and again for what has changed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct PollOptions {
    /// How long from the begin of one sweep to that of the next.
    #[serde(default = "PollOptions::default_every")]
    pub every: Period,
    /// What is asked. Its templates and expressions read `.since` (the time to ask from), `.page`,
    /// `.offset`, `.size`, `.cursor` and `.last` (`.last.time` and `.last.id` of the page before),
    /// as `pages` gives them.
    #[serde(flatten)]
    pub request: RequestOptions,
    /// Where the list of items is in an answer, for example `.results`.
    #[serde(default = "PollOptions::default_items")]
    pub items: Own<Expression>,
    /// For applications that say in a successful answer what went wrong, as JSON-RPC does: what they
    /// say, or null; for example `.error`.
    #[serde(default)]
    pub failure: Option<Own<Expression>>,
    /// How the next page is asked for. Without it, one request gets everything.
    #[serde(default)]
    pub pages: Option<Pages>,
    /// An item's id, for example `.id`.
    pub id: Own<Expression>,
    /// When an item has changed last, for example `.updated_at`: a time, or a text in RFC 3339's form
    /// (without a zone it is UTC). Without it every sweep gets the whole list, and what differs from
    /// the last sweep is published.
    #[serde(default)]
    pub changed: Option<Own<Expression>>,
    /// How far before the latest change the next sweep begins: for changes that show late, and times
    /// that are equal. What was published already is not published again.
    #[serde(default = "PollOptions::default_overlap")]
    pub overlap: Period,
    /// Where to begin the first time: `beginning`, `now`, or a time such as `2026-01-31T00:00:00Z`.
    #[serde(default = "PollOptions::default_start")]
    #[schemars(extend("default" = "beginning"))]
    pub start: Start,
    /// How many items are remembered at most: those inside the overlap, or, without `changed`, the
    /// whole list.
    #[serde(default = "PollOptions::default_remember")]
    pub remember: usize,
    /// A request for each item that has changed, for what the list does not show. Its templates and
    /// expressions read the item.
    #[serde(default)]
    pub detail: Option<Detail>,
    /// What is published, made of the item (or its detail): it has to fit the topic's schema. Without
    /// it, the item as it is.
    #[serde(default)]
    pub event: Option<Own<Expression>>,
    /// The event's id (`ce_id`), made of the item. Without it the item's id with the time and a hash
    /// of the change.
    #[serde(default)]
    pub event_id: Option<Own<Expression>>,
    /// What kind of event it is (`ce_type`), made of the item, for example `"contact.changed"` in
    /// quotation marks.
    #[serde(default, rename = "type")]
    pub kind: Option<Own<Expression>>,
    /// Without `changed`: what an item that is no longer in the list becomes.
    #[serde(default)]
    pub on_absence: OnAbsence,
    /// The longest answer that is read.
    #[serde(default = "PollOptions::default_largest")]
    pub largest_answer: Size,
}

/// What is asked.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct RequestOptions {
    /// The method.
    #[serde(default)]
    pub method: Method,
    /// The path after the connection's address: `/items`. What stands between braces is
    /// percent-encoded.
    #[serde(default = "RequestOptions::default_path")]
    pub path: Own<Template>,
    /// Parameters of the query: `updated_since: "{{ .since }}"`. One whose template gives null is
    /// left out.
    #[serde(default)]
    pub query: BTreeMap<String, Own<Template>>,
    /// Headers. One whose template gives null is left out.
    #[serde(default)]
    pub headers: BTreeMap<String, Own<Template>>,
    /// What is sent: an object or an array as JSON, a text as it is.
    #[serde(default)]
    pub body: Option<Own<Expression>>,
}

/// A method of HTTP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "RFC 9110 says what each is")]
pub enum Method {
    #[default]
    Get,
    Post,
}

/// A request for each item that has changed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Detail {
    /// What is asked.
    #[serde(flatten)]
    pub request: RequestOptions,
    /// Where the item is in the answer. Without it, the answer is the item.
    #[serde(default)]
    pub item: Option<Own<Expression>>,
}

/// What an item that is no longer in the list becomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnAbsence {
    /// Nothing.
    #[default]
    Ignore,
    /// A tombstone (the item's id as the key, without a value), once two sweeps in a row lack it.
    Tombstone,
}

impl PollOptions {
    fn default_every() -> Period {
        Period(Duration::from_secs(60))
    }

    fn default_items() -> Own<Expression> {
        Own(Expression(".".to_owned()))
    }

    fn default_overlap() -> Period {
        Period(Duration::from_secs(300))
    }

    fn default_start() -> Start {
        Start::Beginning
    }

    fn default_remember() -> usize {
        5_000
    }

    fn default_largest() -> Size {
        Size(16 << 20)
    }

    /// Every expression and template that the connector compiles itself, with what each reads.
    fn compile(
        &self,
        section: &str,
    ) -> Result<(Request, Option<Request>, Paging, Reading), Vec<Mistake>> {
        let inputs = Inputs::new();
        let mut mistakes = Vec::new();
        let request = Request::compile(&self.request, &inputs.pages, section, &mut mistakes);
        let detail = self.detail.as_ref().and_then(|detail| {
            let section = format!("{section}/detail");
            Request::compile(&detail.request, &inputs.answer, &section, &mut mistakes)
        });
        let paging = Paging::compile(self.pages.as_ref(), &inputs, section, &mut mistakes);
        let reading = Reading::compile(self, &inputs, section, &mut mistakes);
        match (request, paging, reading) {
            (Some(request), Some(paging), Some(reading)) if mistakes.is_empty() => {
                Ok((request, detail, paging, reading))
            }
            _ => Err(mistakes),
        }
    }

    /// Looks for mistakes in the section that this is the JSON pointer of.
    pub(crate) fn check(&self, section: &str, findings: &mut Findings) {
        let mut wrong = |option: &str, code, cause: &str, hint: &str| {
            findings.route(&format!("{section}/{option}"), code, cause, hint);
        };
        if self.every.0.is_zero() {
            let cause = "A sweep would follow the other without a pause.";
            wrong("every", "every_zero", cause, "Write 30s.");
        }
        if !(1..=MOST_REMEMBERED).contains(&self.remember) {
            let cause = format!("`remember` lies between 1 and {MOST_REMEMBERED}.");
            let hint = "It is part of the cursor, which is one record in Kafka.";
            wrong("remember", "remember", &cause, hint);
        }
        if self.changed.is_some() && self.on_absence != OnAbsence::Ignore {
            let cause = "Only a sweep of the whole list shows what is absent.";
            let hint = "Leave `changed` out, or `on_absence`.";
            wrong("on_absence", "absence_unseen", cause, hint);
        }
        if self.changed.is_none() && matches!(self.pages, Some(Pages::Keyset { .. })) {
            let cause = "A page that follows a time and an id needs to know which time.";
            let hint = "Add `changed`, or page in another way.";
            wrong("pages", "keyset_without_time", cause, hint);
        }
        if let Err(mistakes) = self.compile(section) {
            let found =
                |Mistake { pointer, diagnostic }| diagnostic.finding(Place::Route, &pointer);
            findings.0.extend(mistakes.into_iter().map(found));
        }
    }
}

impl RequestOptions {
    fn default_path() -> Own<Template> {
        Own(Template(String::new()))
    }
}

/// A mistake in an expression, with the way to it.
pub(crate) struct Mistake {
    pub pointer: String,
    pub diagnostic: Diagnostic,
}

/// The connector.
pub struct Poll;

impl SourceConnector for Poll {
    const NAME: &'static str = "poll";
    const SUMMARY: &'static str =
        "Asks an application (REST or JSON-RPC) again and again for what has changed.";
    const EXAMPLE: &'static str =
        include_str!("../../../docs/examples/contacts-from-hubspot/pipeline.yaml");
    const ONCE: bool = true;
    const CONNECTION: Option<&'static str> = Some("http");
    type Options = PollOptions;

    fn check(options: &PollOptions, findings: &mut Findings) {
        options.check("/poll", findings);
    }

    fn check_connection(connection: Options, findings: &mut Findings) -> serde_json::Result<()> {
        serde_json::from_value::<Connection>(connection)?.check(findings);
        Ok(())
    }

    fn build(
        options: PollOptions,
        key: Option<Expression>,
        setup: &Setup,
    ) -> Result<Box<dyn Source>, Fault> {
        Ok(Box::new(open(options, key, setup)?))
    }
}

/// The source that these options describe.
pub(crate) fn open(
    options: PollOptions,
    key: Option<Expression>,
    setup: &Setup,
) -> Result<PollSource, Fault> {
    let Some(schema) = setup.output_schema.clone() else {
        return Err(Fault::config(
            "schema",
            format!("The topic of {} declares no schema: add `schema:` to it.", setup.route),
        ));
    };
    let (request, detail, paging, reading) = options.compile("/poll").map_err(|mistakes| {
        let all: Vec<_> = mistakes.into_iter().map(|mistake| mistake.diagnostic).collect();
        Fault::config("expression", sentence(&all))
    })?;
    let key = key.map(|key| key.compile(&schema)).transpose();
    let key = key.map_err(|all| Fault::config("expression", sentence(&all)))?;
    let connection: Connection = setup.connection()?;
    Ok(PollSource {
        route: setup.route.clone(),
        asking: Asking {
            exchange: Exchange::with(&connection, &[], setup)?,
            most: usize::try_from(options.largest_answer.0).unwrap_or(usize::MAX),
        },
        request,
        detail,
        paging,
        reading,
        key,
        schema,
        every: options.every.0,
        start: options.start,
        overlap: options.overlap.0,
        remember: options.remember,
        incremental: options.changed.is_some(),
        on_absence: options.on_absence,
        before_each_page: Box::new(|| ()),
    })
}

#[cfg(test)]
pub(crate) mod simulator;
#[cfg(test)]
mod tests;
