//! The language in which an application is described: what stands in a file of `applications/`.
//!
//! `docs/applications.md` explains it with an example. Every expression is VRL. What they read:
//!
//! | where | `.` is |
//! |---|---|
//! | `url`, `auth`, `headers`, `query` of the file | the connection's settings |
//! | requests of an object | `{ value, id, id_field, found, idempotency_key, cursor, settings }` |
//! | a batch's `request` | `{ items, id_field, settings }` |
//! | answers (`record`, `result`, `results`, `when`, …) | `{ status, body, value, id }` |

use std::collections::BTreeMap;

use engine::expression::{Expression, Own, Template};
use engine::options::Period;
use exchange::Limits;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A text with expressions in it that reads something else than the route's events.
pub(super) type Text = Own<Template>;
/// An expression that reads something else than the route's events.
pub(super) type Code = Own<Expression>;

/// An application, described.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Description {
    /// The word that names it in pipeline files: small letters, digits, `_` and `-`.
    pub name: String,
    /// One sentence for the catalogue.
    pub summary: String,
    /// The version of its API that is spoken, as the application names it.
    pub version: String,
    /// Its address, where it is the same for all customers or follows from settings:
    /// `https://api.example.com/v3/{{ .account }}`. A connection may give another as `url` (a
    /// sandbox); without this, it must.
    #[serde(default)]
    pub url: Option<Text>,
    /// What a connection says beside the address, by name.
    #[serde(default)]
    pub settings: BTreeMap<String, Setting>,
    /// How credentials go into requests. Of several ways the first is taken whose settings are given.
    #[serde(default)]
    pub auth: Vec<Auth>,
    /// Headers of every request; one that names a setting which is not given is left out.
    #[serde(default)]
    pub headers: BTreeMap<String, Text>,
    /// Parameters of every request's query, such as a pinned version.
    #[serde(default)]
    pub query: BTreeMap<String, Text>,
    /// How bodies are written.
    #[serde(default)]
    pub encoding: Encoding,
    /// How a write is given a key by which the application knows a repeat.
    #[serde(default)]
    pub idempotency: Option<Idempotency>,
    /// What the application allows, for all routes of a process together.
    #[serde(default)]
    pub limits: Option<Limits>,
    /// What answers mean, where HTTP's own meaning of the status is not the whole truth. The first
    /// that fits counts.
    #[serde(default)]
    pub errors: Vec<Rule>,
    /// How the application calls when something changes, if it does, and what a source `webhook` needs
    /// for it: `probe` shows it.
    #[serde(default)]
    pub webhooks: Option<String>,
    /// What can be written, by the name that routes use.
    pub objects: BTreeMap<String, Object>,
    /// What is not covered, and what is not proven.
    pub coverage: Coverage,
    /// A whole pipeline file that uses it.
    #[serde(default)]
    pub example: String,
}

/// What a connection says.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Setting {
    /// What it is, and where it is found.
    pub description: String,
    /// It is never shown, and only the address and the credentials may use it.
    #[serde(default)]
    pub secret: bool,
    /// A connection may leave it out.
    #[serde(default)]
    pub optional: bool,
    /// What it is when it is left out.
    #[serde(default)]
    pub default: Option<String>,
}

/// A way in which credentials go into requests.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Auth {
    /// `Authorization: Bearer …`.
    Bearer(Text),
    /// `Authorization: Basic …`.
    Basic {
        /// The name.
        user: Text,
        /// The password.
        password: Text,
    },
    /// Headers, such as `X-Api-Key: "{{ .key }}"`.
    Headers(BTreeMap<String, Text>),
    /// A token that an authorization server gives for a while (OAuth 2.0), renewed as it ends.
    Oauth2(OAuth2),
}

/// A client of an authorization server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct OAuth2 {
    /// The address that gives tokens.
    pub token_url: Text,
    /// The client's id.
    pub client_id: Text,
    /// The client's secret.
    pub client_secret: Text,
    /// The refresh token of a user's authorization; without it, the client asks for itself.
    #[serde(default)]
    pub refresh_token: Option<Text>,
    /// The file in which the newest refresh token is kept.
    #[serde(default)]
    pub store: Option<Text>,
    /// What is asked for.
    #[serde(default)]
    pub scope: Option<String>,
    /// Where the client's id and secret stand in the request.
    #[serde(default)]
    pub credentials_in: CredentialsIn,
}

/// Where a client's id and secret stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum CredentialsIn {
    /// In the `Authorization` header.
    #[default]
    Header,
    /// In the body.
    Body,
}

/// How bodies are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Encoding {
    /// As JSON.
    #[default]
    Json,
    /// As a form: `a=1&items[0][price]=p`, the way of Stripe.
    Form,
}

/// How a write is given a key: the same over retries, restarts and replays of one event.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Idempotency {
    /// The header that carries it.
    #[serde(default)]
    pub header: Option<String>,
    /// The parameter of the query that carries it.
    #[serde(default)]
    pub query: Option<String>,
    /// How long the application remembers it.
    pub remembered: Period,
}

/// What an answer means.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Rule {
    /// The statuses that it is about; none: all but 2xx.
    #[serde(default)]
    pub status: Vec<u16>,
    /// What must hold of the answer, or of one item's error in a batch.
    #[serde(default)]
    pub when: Option<Code>,
    /// What it means.
    pub is: Class,
}

/// What an answer means for the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Class {
    /// The event is refused itself: it follows the route's `on_error`.
    Data,
    /// The application fails, or is busy: it is tried again.
    Remote,
    /// The application refuses us: the whole route waits.
    Refused,
    /// An object of this id is there already: it is looked up.
    There,
    /// The object has changed since it was looked up: it is looked up again, and written again.
    Stale,
    /// There is no such object.
    Missing,
}

/// Something that can be written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Object {
    /// The field of what is written that names it (`email`, `properties.code`); a route may name
    /// another with `id`. None where the application gives ids itself and is never asked for one.
    #[serde(default)]
    pub id: Option<String>,
    /// How an object of this id is looked up.
    #[serde(default)]
    pub find: Option<Find>,
    /// How its fields are listed, so that one which went away is named before anything is written.
    #[serde(default)]
    pub contract: Option<Contract>,
    /// Creates one. With `find`, one that is there is left as it is.
    #[serde(default)]
    pub create: Option<Write>,
    /// Changes one that is there.
    #[serde(default)]
    pub update: Option<Write>,
    /// Creates one or changes it, where the application does that in one request. Without it, routes
    /// can upsert all the same where there are `find`, `create` and `update`.
    #[serde(default)]
    pub upsert: Option<Write>,
    /// Deletes one.
    #[serde(default)]
    pub delete: Option<Write>,
}

/// A request.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Request {
    /// The method.
    pub method: Method,
    /// The path after the address. What is put in is percent-encoded.
    #[serde(default)]
    pub path: Option<Text>,
    /// Parameters of the query; one whose expression gives null is left out.
    #[serde(default)]
    pub query: BTreeMap<String, Text>,
    /// The body.
    #[serde(default)]
    pub body: Option<Code>,
    /// Texts of the body that are written as numbers, digit for digit: `Line[].Amount`.
    #[serde(default)]
    pub numbers: Vec<String>,
}

/// A method of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// How an object is looked up.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Find {
    /// The request.
    #[serde(flatten)]
    pub request: Request,
    /// The object in the answer; null if it is not there.
    pub record: Code,
    /// Where a next page begins, read from the answer: it is given to the request as `cursor`. Null
    /// after the last.
    #[serde(default)]
    pub next: Option<Code>,
}

/// How an object is written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Write {
    /// The request.
    #[serde(flatten)]
    pub request: Request,
    /// When the object is looked up before.
    #[serde(default)]
    pub look: Look,
    /// What the key names that is sent for applications with `idempotency`.
    #[serde(default)]
    pub key: KeyOf,
    /// The id in the answer, for the operator.
    #[serde(default)]
    pub result: Option<Code>,
    /// How several are written in one request.
    #[serde(default)]
    pub batch: Option<Batch>,
    /// What is promised about repeats, where it does not follow from the rest.
    #[serde(default)]
    pub once: Option<Promise>,
}

/// What an idempotency key names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeyOf {
    /// The event.
    #[default]
    Event,
    /// The object, by its id: for a `create` in an application whose look-up does not see at once what
    /// was written. The second event of an object would make a second one of it.
    Object,
}

/// When an object is looked up before it is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Look {
    /// Always, if there is a `find`.
    #[default]
    Always,
    /// When the event was tried or sent before, or the application says that it is there: for
    /// applications that keep ids unique, or know a repeat by its key.
    OnRepeat,
    /// Never.
    Never,
}

/// What is promised about repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Promise {
    /// A repeat may have a second effect.
    No,
    /// A repeat has no second effect for so long.
    For(Period),
    /// A repeat has no second effect.
    Forever,
}

/// How several objects are written in one request, whose answer speaks of each.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Batch {
    /// How many at most.
    pub most: u16,
    /// One of them, in the request: reads what requests read, and `trace`, a text of its own.
    pub item: Code,
    /// What was written, as a list in the answer.
    pub results: Code,
    /// What was not, as a list in the answer. Each is held against the `errors` of the file as `body`.
    #[serde(default)]
    pub errors: Option<Code>,
    /// The `trace` of the item that one of these speaks of. Without it, results stand in the request's
    /// order.
    #[serde(default)]
    pub trace: Option<Code>,
}

/// How an object's fields are listed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Contract {
    /// The request.
    #[serde(flatten)]
    pub request: Request,
    /// Their names, as a list.
    pub fields: Code,
}

/// What a description does not say of the application.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub(super) struct Coverage {
    /// What of the application cannot be done with it.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// What was written from documentation and never held against the application itself.
    #[serde(default)]
    pub unsure: Vec<String>,
    /// Where its facts come from.
    #[serde(default)]
    pub sources: Vec<String>,
}
