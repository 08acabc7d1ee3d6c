//! From an event to the request that carries it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use engine::connector::Setup;
use engine::expression::{CompiledTemplate, Diagnostic, Program};
use engine::{Event, Fault, Value, event};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use schemas::{Path, Segment};
use serde_json::{Number, Value as Json};

use super::signature::{self, Signer};
use super::{Decimals, Method, OnDelete, Options, Remembers};
use exchange::{Call, Mistake, encoded, escaped, header_name};

/// How much of an answer is read: enough to see why it failed, and for its connection to be used
/// again.
const MOST_OF_AN_ANSWER: usize = 64 * 1024;

/// Names the replay that sends an event again.
const REPLAY: HeaderName = HeaderName::from_static("passerelle-replay");

const JSON: &str = "application/json";

const SIGNED: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];

/// What turns an event into a request.
pub(super) struct Request {
    route: Arc<str>,
    method: Method,
    path: CompiledTemplate,
    headers: Vec<(HeaderName, CompiledTemplate)>,
    body: Option<Program>,
    /// The decimals to write as numbers.
    numbers: Vec<Path>,
    signers: Vec<Signer>,
    idempotency: HeaderName,
    on_delete: OnDelete,
}

/// What the types of the options do not exclude.
pub(super) fn mistakes(options: &Options) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    mistakes.extend(idempotency(options).err());
    mistakes.extend(signers(options).err());
    mistakes.extend(options.headers.keys().filter_map(|name| own_header(name, options).err()));
    mistakes.extend(of_batch(options));
    if options.batch.is_some() && options.once != Remembers::No {
        mistakes.push(Mistake {
            pointer: "/once".to_owned(),
            code: "once_with_batch",
            cause: "A batch's key is that of the events that happen to be together: a repeat can have another.".to_owned(),
            hint: "Leave `batch` or `once` out.",
        });
    }
    if options.body.is_some() && options.decimals == Decimals::Number {
        mistakes.push(Mistake {
            pointer: "/decimals".to_owned(),
            code: "decimals_unused",
            cause: "`decimals` speaks of the event's own value, and there is a `body`.".to_owned(),
            hint: "Leave one of them out.",
        });
    }
    mistakes
}

/// One request for several events has one path and one set of headers.
fn of_batch(options: &Options) -> Option<Mistake> {
    options.batch?;
    let headers = options.headers.iter();
    let headers = headers.map(|(name, text)| (format!("/headers/{}", escaped(name)), text));
    let mut all = std::iter::once(("/path".to_owned(), &options.path)).chain(headers);
    let (pointer, _) = all.find(|(_, text)| text.0.contains("{{"))?;
    Some(Mistake {
        pointer,
        code: "batch_differs",
        cause: "With `batch`, one request is for several events, and this differs between them."
            .to_owned(),
        hint: "Leave `batch` out, or write a fixed text.",
    })
}

fn idempotency(options: &Options) -> Result<HeaderName, Mistake> {
    header_name(&options.idempotency_header, "/idempotency_header")
}

/// A header of the route, which must not be one that the sink writes itself.
fn own_header(name: &str, options: &Options) -> Result<HeaderName, Mistake> {
    let pointer = format!("/headers/{}", escaped(name));
    let parsed = header_name(name, &pointer)?;
    let signed = options.signature.is_some() && SIGNED.contains(&parsed.as_str());
    if signed || name.eq_ignore_ascii_case(&options.idempotency_header) {
        return Err(Mistake {
            pointer,
            code: "header_taken",
            cause: format!("`{name}` is written by the sink itself."),
            hint: "Leave it out.",
        });
    }
    Ok(parsed)
}

fn signers(options: &Options) -> Result<Vec<Signer>, Mistake> {
    let Some(signature) = &options.signature else { return Ok(Vec::new()) };
    let secrets = signature.secrets();
    let mistake = |cause: String| Mistake {
        pointer: "/signature/standard_webhooks".to_owned(),
        code: "secret_invalid",
        cause,
        hint: "Write `whsec_` and base64 of 24 to 64 random bytes.",
    };
    if secrets.is_empty() {
        return Err(mistake("The list of secrets is empty: nothing would sign.".to_owned()));
    }
    let read = |secret| {
        let wrong = |cause| mistake(format!("A secret cannot sign: {cause}"));
        Signer::read(secret).map_err(wrong)
    };
    secrets.iter().map(read).collect()
}

/// The checker of files shows such mistakes with their place; here one is enough.
fn not_compiled(option: &str) -> impl Fn(Vec<Diagnostic>) -> Fault {
    move |found| {
        let cause = found.first().map(|first| first.cause.clone()).unwrap_or_default();
        Fault::config("expression", format!("The option `{option}` cannot be compiled: {cause}"))
    }
}

impl Request {
    /// Compiles what the route says.
    ///
    /// # Errors
    /// A `Config` fault when an option cannot work.
    pub(super) fn new(options: Options, setup: &Setup) -> Result<Self, Fault> {
        if let Some(mistake) = mistakes(&options).pop() {
            return Err(mistake.into());
        }
        let mut headers = Vec::new();
        for (name, template) in &options.headers {
            let compiled = template.compile(setup).map_err(not_compiled("headers"))?;
            headers.push((own_header(name, &options)?, compiled));
        }
        let body = options.body.as_ref().map(|body| body.compile(setup)).transpose();
        Ok(Self {
            route: Arc::clone(&setup.route),
            method: options.method,
            path: options.path.compile(setup).map_err(not_compiled("path"))?,
            headers,
            body: body.map_err(not_compiled("body"))?,
            numbers: numbers(options.decimals, setup)?,
            signers: signers(&options)?,
            idempotency: idempotency(&options)?,
            on_delete: options.on_delete,
        })
    }

    /// The request for an event; none for a deletion that is ignored.
    ///
    /// # Errors
    /// A `Data` fault when the event does not give one.
    pub(super) fn call(&self, event: &Event) -> Result<Option<Call>, Fault> {
        let deletion = event.payload.is_none() && event.value.is_none();
        let method = match (deletion, self.on_delete) {
            (false, _) => self.method.into(),
            (true, OnDelete::Delete) => reqwest::Method::DELETE,
            (true, OnDelete::Ignore) => return Ok(None),
            (true, OnDelete::DeadLetter) => {
                let message = "The event is a deletion (a key without a value), and the sink's \
                               `on_delete` does not say what to send for one.";
                return Err(Fault::data("tombstone", message));
            }
        };
        let body = if deletion { None } else { Some(self.body(event)?) };
        let id = event.idempotency_key(&self.route);
        self.filled(method, event, &id, body).map(Some)
    }

    /// One request for several events, none of them a deletion: an array of what each would be alone.
    ///
    /// # Errors
    /// A `Data` fault when one of them does not give JSON.
    pub(super) fn together(&self, events: &[&Event]) -> Result<Option<Call>, Fault> {
        let Some(first) = events.first() else { return Ok(None) };
        let mut whole = Vec::new();
        for event in events {
            let (kind, body) = self.body(event)?;
            if kind != JSON {
                let message = "The event gives no JSON, and a batch is an array of it.";
                return Err(Fault::data("batch_invalid", message));
            }
            whole.push(if whole.is_empty() { b'[' } else { b',' });
            whole.extend(body);
        }
        whole.push(b']');
        let keys: Vec<_> = events.iter().map(|event| event.idempotency_key(&self.route)).collect();
        let id = match keys.as_slice() {
            [one] => one.clone(),
            keys => {
                use sha2::{Digest as _, Sha256};
                let hash = Sha256::digest(keys.join(" "));
                hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
            }
        };
        self.filled(self.method.into(), first, &id, Some((JSON, whole))).map(Some)
    }

    /// The request with what an event says of its path and headers.
    fn filled(
        &self,
        method: reqwest::Method,
        event: &Event,
        id: &str,
        body: Option<(&'static str, Vec<u8>)>,
    ) -> Result<Call, Fault> {
        let path = self.path.render_with(event, encoded)?;
        let mut headers = HeaderMap::new();
        if let Some((kind, _)) = &body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        let body = body.map(|(_, body)| body).unwrap_or_default();
        self.add_headers(event, &mut headers)?;
        self.add_identity(event, id, &body, &mut headers)?;
        Ok(Call { method, path, headers, body, most: MOST_OF_AN_ANSWER })
    }

    /// What is sent, and the type of it.
    fn body(&self, event: &Event) -> Result<(&'static str, Vec<u8>), Fault> {
        if let Some(program) = &self.body {
            let value = event.value.as_ref().unwrap_or(&Value::Null);
            let given = program.run(event, value)?;
            return Ok(match given.as_bytes() {
                Some(text) => ("text/plain; charset=utf-8", text.to_vec()),
                None => (JSON, schemas::json::write(&given).into_bytes()),
            });
        }
        match (&event.value, &event.payload) {
            (Some(value), _) if self.numbers.is_empty() => {
                Ok((JSON, schemas::json::write(value).into_bytes()))
            }
            (Some(value), _) => {
                let text = schemas::json::write(value);
                let json = with_numbers(&text, &self.numbers).map_err(|error| {
                    Fault::internal("json", format!("Our own JSON cannot be read back: {error}."))
                })?;
                Ok((JSON, json.into_bytes()))
            }
            // A topic whose values are not decoded: its bytes are all there is.
            (None, Some(payload)) => Ok(("application/octet-stream", payload.to_vec())),
            (None, None) => Ok((JSON, Vec::new())),
        }
    }

    fn add_headers(&self, event: &Event, headers: &mut HeaderMap) -> Result<(), Fault> {
        for (name, template) in &self.headers {
            let text = template.render(event)?;
            // This is where a line break in the data would become a header of its own.
            let value = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
                let message = format!(
                    "The header `{name}` cannot carry what the event gives: it holds a line break \
                     or another control character."
                );
                Fault::data("header_invalid", message)
            })?;
            headers.insert(name, value);
        }
        Ok(())
    }

    /// The idempotency key and, where asked for, the signature over what is sent.
    fn add_identity(
        &self,
        event: &Event,
        id: &str,
        body: &[u8],
        headers: &mut HeaderMap,
    ) -> Result<(), Fault> {
        let mut add = |name: HeaderName, text: &str| {
            let value = HeaderValue::from_str(text).map_err(|_| {
                Fault::internal("header", format!("The header `{name}` cannot be made."))
            })?;
            headers.insert(name, value);
            Ok(())
        };
        add(self.idempotency.clone(), id)?;
        if let Some(replay) = event.headers.text(event::REPLAY) {
            add(REPLAY, replay)?;
        }
        if self.signers.is_empty() {
            return Ok(());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let timestamp = now.as_secs().to_string();
        let signature = signature::header(&self.signers, id, &timestamp, body);
        let values = [id, &timestamp, &signature];
        SIGNED
            .into_iter()
            .zip(values)
            .try_for_each(|(name, value)| add(HeaderName::from_static(name), value))
    }
}

impl From<Method> for reqwest::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Post => Self::POST,
            Method::Put => Self::PUT,
            Method::Patch => Self::PATCH,
            Method::Delete => Self::DELETE,
        }
    }
}

/// The decimals that are written as numbers.
fn numbers(decimals: Decimals, setup: &Setup) -> Result<Vec<Path>, Fault> {
    match (decimals, &setup.input_schema) {
        (Decimals::Text, _) => Ok(Vec::new()),
        (Decimals::Number, Some(schema)) => Ok(schemas::decimal_paths(schema)),
        (Decimals::Number, None) => Err(Fault::config(
            "schema_missing",
            "`decimals: number` needs to know which texts are decimals: declare the topic's schema.",
        )),
    }
}

/// The same JSON with the decimals at these paths as numbers, digit for digit.
pub(crate) fn with_numbers(json: &str, paths: &[Path]) -> serde_json::Result<String> {
    let mut json: Json = serde_json::from_str(json)?;
    for path in paths {
        number_at(&mut json, path.segments());
    }
    serde_json::to_string(&json)
}

fn number_at(json: &mut Json, path: &[Segment]) {
    let Some((first, rest)) = path.split_first() else {
        if let Json::String(text) = json
            && let Ok(number) = serde_json::from_str::<Number>(text)
        {
            *json = Json::Number(number);
        }
        return;
    };
    match (first, json) {
        (Segment::Field(name), Json::Object(fields)) => {
            fields.get_mut(name).into_iter().for_each(|value| number_at(value, rest));
        }
        (Segment::Values, Json::Object(fields)) => {
            fields.values_mut().for_each(|value| number_at(value, rest));
        }
        (Segment::Items, Json::Array(items)) => {
            items.iter_mut().for_each(|item| number_at(item, rest));
        }
        (Segment::Index(index), Json::Array(items)) => {
            items.get_mut(*index).into_iter().for_each(|item| number_at(item, rest));
        }
        _ => {}
    }
}
