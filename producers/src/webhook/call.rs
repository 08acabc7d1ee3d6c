//! Reading a call: who sent it, which event it is.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use engine::expression::Program;
use engine::{Draft, Event, Fault, Headers, Value};

use super::answer::Answer;
use super::body::Received;
use super::signature::{Signed, Verifier};

/// Where an event's id comes from.
pub enum IdFrom {
    /// What the platform sends in its own header.
    Platform,
    /// Stripe's, in the body.
    Stripe,
    /// A header.
    Header(String),
    /// An expression on the body.
    Field(Box<Program>),
    /// A new one for each call.
    Fresh,
}

/// Reads calls as a source's options say.
pub struct Reader {
    /// Who may call.
    pub verifier: Verifier,
    /// The topic's schema: what a body must fit.
    pub schema: schemas::Schema,
    /// Where the id comes from.
    pub id: IdFrom,
    /// The event's key.
    pub key: Option<Program>,
    /// The event's type.
    pub kind: Option<Program>,
    /// The event's own time.
    pub time: Option<Program>,
}

/// A call that makes no event.
pub enum Unread {
    /// It is answered at once and leaves nothing.
    Refused(Answer),
    /// It is signed, and its body is not an event of this topic.
    Invalid {
        /// Its id, or a hash of its body where the id could not be read.
        id: String,
        /// The field that does not fit (`.lines[0].quantity`).
        field: String,
        /// Why.
        fault: Fault,
    },
}

impl Reader {
    /// The event of a call. `now` is in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// Why it makes none.
    pub fn read(&self, headers: &HeaderMap, body: &Received, now: i64) -> Result<Draft, Unread> {
        let signed = self.verify(headers, body, now / 1_000)?;
        let invalid = |id: Option<String>, field: &str, fault: Fault| Unread::Invalid {
            id: id.unwrap_or_else(|| hash_of(&body.plain)),
            field: field.to_owned(),
            fault,
        };
        let known = self.header_id(headers, &signed);
        let value = schemas::json::read(&self.schema, &body.plain)
            .map_err(|error| {
                let message = format!("The body does not fit the topic's schema: {error}.");
                invalid(
                    known.clone(),
                    &error.path.to_string(),
                    Fault::data("invalid_body", message),
                )
            })?
            .value;
        let event = self.event(headers, &body.plain, now);
        let text = |program: &Option<Program>| -> Result<Option<String>, Fault> {
            program.as_ref().map(|program| one_text(program, &event, &value)).transpose()
        };
        let id = match known {
            Some(id) => id,
            None => self
                .body_id(&event, &value, &body.plain)
                .map_err(|fault| invalid(None, "id", fault))?,
        };
        let failed = |fault| invalid(Some(id.clone()), "key", fault);
        let key = text(&self.key).map_err(failed)?;
        let kind = text(&self.kind).map_err(failed)?.or(signed.kind);
        let time = match &self.time {
            Some(program) => time_of(program, &event, &value).map_err(failed)?,
            None => signed.sent.map(|seconds| seconds.saturating_mul(1_000)),
        };
        let traceparent =
            headers.get("traceparent").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Draft { id, kind, time, traceparent, received: now, key, value: Some(value) })
    }

    /// The bytes on the wire are what is signed; a gateway that packs the body signs what it packed.
    fn verify(&self, headers: &HeaderMap, body: &Received, now: i64) -> Result<Signed, Unread> {
        let refused = |refusal: super::signature::Refusal| {
            Unread::Refused(Answer::error(StatusCode::UNAUTHORIZED, refusal.0))
        };
        match self.verifier.verify(headers, &body.raw, now) {
            Err(_) if body.raw != body.plain => {
                self.verifier.verify(headers, &body.plain, now).map_err(refused)
            }
            verified => verified.map_err(refused),
        }
    }

    fn header_id(&self, headers: &HeaderMap, signed: &Signed) -> Option<String> {
        match &self.id {
            IdFrom::Platform => signed.id.clone(),
            IdFrom::Header(name) => {
                headers.get(name)?.to_str().ok().filter(|id| !id.is_empty()).map(str::to_owned)
            }
            IdFrom::Fresh => Some(uuid::Uuid::now_v7().to_string()),
            IdFrom::Stripe | IdFrom::Field(_) => None,
        }
    }

    fn body_id(&self, event: &Event, value: &Value, body: &[u8]) -> Result<String, Fault> {
        let missing =
            |what: &str| Fault::data("id_missing", format!("The call carries no id: {what}."));
        match &self.id {
            IdFrom::Field(program) => one_text(program, event, value),
            // The schema of the topic need not have it.
            IdFrom::Stripe => serde_json::from_slice::<StripeEvent>(body)
                .map(|event| event.id)
                .map_err(|_| missing("a Stripe event has its id in `id`")),
            IdFrom::Header(name) => Err(missing(&format!("the header `{name}` is missing"))),
            IdFrom::Platform | IdFrom::Fresh => Err(missing("the platform's id header is missing")),
        }
    }

    /// The call as expressions see it: `%headers` are the call's.
    fn event(&self, headers: &HeaderMap, body: &Bytes, now: i64) -> Event {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (name.as_str().to_owned(), Some(Bytes::copy_from_slice(value.as_bytes())))
            })
            .collect::<Headers>();
        Event {
            topic: "".into(),
            partition: 0,
            offset: 0,
            timestamp: now,
            key: None,
            payload: Some(body.clone()),
            headers,
            value: None,
        }
    }
}

#[derive(serde::Deserialize)]
struct StripeEvent {
    id: String,
}

/// A hash names a body that brought no id: the same bytes again are the same rejected event.
fn hash_of(body: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    format!("sha256:{}", hex::encode(Sha256::digest(body)))
}

fn one_text(program: &Program, event: &Event, value: &Value) -> Result<String, Fault> {
    let given = program.run(event, value)?;
    match (given.as_integer(), given.to_str_lossy()) {
        (Some(number), _) => Ok(number.to_string()),
        (None, Some(text)) if !text.is_empty() => Ok(text.into_owned()),
        _ => Err(Fault::data(
            "not_text",
            format!("The expression gives {} where a text is needed.", given.kind_str()),
        )),
    }
}

fn time_of(program: &Program, event: &Event, value: &Value) -> Result<Option<i64>, Fault> {
    let given = program.run(event, value)?;
    let wrong = |what: String| {
        Fault::data("not_a_time", format!("The expression for `time` gives {what}."))
    };
    match &given {
        Value::Null => Ok(None),
        Value::Timestamp(time) => Ok(Some(time.timestamp_millis())),
        Value::Integer(milliseconds) => Ok(Some(*milliseconds)),
        other => {
            let text = other
                .to_str_lossy()
                .ok_or_else(|| wrong(format!("{}, not a time", other.kind_str())))?;
            chrono::DateTime::parse_from_rfc3339(&text)
                .map(|time| Some(time.timestamp_millis()))
                .map_err(|error| wrong(format!("no RFC 3339 time: {error}")))
        }
    }
}

/// What came with a call, without what could be a secret.
pub fn kept_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    const SECRET: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "x-api-key"];
    headers
        .iter()
        .filter(|(name, _)| !SECRET.contains(&name.as_str()))
        .filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect()
}
