//! Reading a call: who sent it, which event it is.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use engine::expression::Program;
use engine::{Draft, Event, Fault, Headers, Value};

use super::body::Received;
use super::signature::{Refusal, Signed, Verifier};

/// Where an event's id comes from.
pub enum IdFrom {
    /// What the platform sends in its own header.
    Platform,
    /// What the platform has in this field of its bodies.
    PlatformsField(&'static str),
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
    /// The text to answer a call with that only wants to see that the address is ours.
    pub challenge: Option<Program>,
    /// The list of events in a body that brings several.
    pub items: Option<Program>,
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

/// A call that was verified.
pub struct Call<'c> {
    /// Its headers.
    pub headers: &'c HeaderMap,
    /// What it says of itself.
    pub signed: &'c Signed,
    /// When it came, in milliseconds since the Unix epoch.
    pub received: i64,
}

/// A body that is signed and no event of the topic.
pub struct Unread {
    /// Its id, or a hash of the body where the id could not be read.
    pub id: String,
    /// The field that does not fit (`.lines[0].quantity`).
    pub field: String,
    /// Why.
    pub fault: Fault,
}

impl Unread {
    /// A body of which nothing can be read.
    pub fn of_whole(body: &Received, fault: Fault) -> Self {
        Self { id: hash_of(&body.plain), field: String::new(), fault }
    }
}

impl Reader {
    /// The platform's id of the event in a call's own body, before anything is fetched in its place.
    pub fn platforms_id(&self, body: &Received) -> Option<String> {
        match &self.id {
            IdFrom::PlatformsField(name) => field(&body.plain, name),
            _ => None,
        }
    }

    /// The event that a body of a call is; `own` is the platform's id of it.
    ///
    /// # Errors
    /// Why it is none.
    pub fn read(
        &self,
        call: &Call<'_>,
        body: &Received,
        own: Option<String>,
    ) -> Result<Draft, Unread> {
        let Call { headers, signed, received } = *call;
        let invalid = |id: Option<String>, field: &str, fault: Fault| Unread {
            id: id.unwrap_or_else(|| hash_of(&body.plain)),
            field: field.to_owned(),
            fault,
        };
        let known = own.or_else(|| self.header_id(headers, signed));
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
        let event = self.event(headers, &body.plain, received);
        let text = |program: &Option<Program>| -> Result<Option<String>, Fault> {
            program.as_ref().map(|program| one_text(program, &event, &value)).transpose()
        };
        let id = match known {
            Some(id) => id,
            None => self.body_id(&event, &value).map_err(|fault| invalid(None, "id", fault))?,
        };
        let failed = |fault| invalid(Some(id.clone()), "key", fault);
        let key = text(&self.key).map_err(failed)?;
        let kind = text(&self.kind).map_err(failed)?.or_else(|| signed.kind.clone());
        let time = match &self.time {
            Some(program) => time_of(program, &event, &value).map_err(failed)?,
            None => signed.sent.map(|seconds| seconds.saturating_mul(1_000)),
        };
        let traceparent =
            headers.get("traceparent").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Draft { id, kind, time, traceparent, received, key, value: Some(value) })
    }

    /// Who calls; `now` is in seconds since the Unix epoch. The bytes on the wire are what is signed; a
    /// gateway that packs the body signs what it packed.
    ///
    /// # Errors
    /// The call is refused.
    pub fn verify(
        &self,
        headers: &HeaderMap,
        body: &Received,
        now: i64,
    ) -> Result<Signed, Refusal> {
        match self.verifier.verify(headers, &body.raw, now) {
            Err(_) if body.raw != body.plain => self.verifier.verify(headers, &body.plain, now),
            verified => verified,
        }
    }

    /// What the application asks for, if it only wants to see that the address is ours.
    pub fn challenge(&self, body: &Received) -> Option<String> {
        let program = self.challenge.as_ref()?;
        let whole = schemas::json::read_plain(&body.plain).ok()?;
        let given = program.run(&Event::of_value(Value::Null), &whole).ok()?;
        given.to_str_lossy().map(|text| text.into_owned())
    }

    /// The bodies of the events that a call brings, in order: itself, or those in its list.
    ///
    /// # Errors
    /// There is no list.
    pub fn bodies(&self, body: &Received) -> Result<Vec<Received>, Fault> {
        let Some(items) = &self.items else { return Ok(vec![body.clone()]) };
        Ok(list(items, &body.plain)?.iter().map(Received::of_value).collect())
    }

    fn header_id(&self, headers: &HeaderMap, signed: &Signed) -> Option<String> {
        match &self.id {
            IdFrom::Platform => signed.id.clone(),
            IdFrom::Header(name) => {
                headers.get(name)?.to_str().ok().filter(|id| !id.is_empty()).map(str::to_owned)
            }
            IdFrom::Fresh => Some(uuid::Uuid::now_v7().to_string()),
            IdFrom::PlatformsField(_) | IdFrom::Field(_) => None,
        }
    }

    fn body_id(&self, event: &Event, value: &Value) -> Result<String, Fault> {
        let missing =
            |what: &str| Fault::data("id_missing", format!("The call carries no id: {what}."));
        match &self.id {
            IdFrom::Field(program) => one_text(program, event, value),
            // The schema of the topic need not have it.
            IdFrom::PlatformsField(name) => {
                Err(missing(&format!("an event of this platform has it in `{name}`")))
            }
            IdFrom::Header(name) => Err(missing(&format!("the header `{name}` is missing"))),
            IdFrom::Platform | IdFrom::Fresh => Err(missing("the platform's id header is missing")),
        }
    }

    /// The call as expressions see it: `%headers` are the call's, where one of them reads these.
    fn event(&self, headers: &HeaderMap, body: &Bytes, now: i64) -> Event {
        let id = match &self.id {
            IdFrom::Field(program) => Some(&**program),
            _ => None,
        };
        let programs = [id, self.key.as_ref(), self.kind.as_ref(), self.time.as_ref()];
        let headers = match programs.iter().flatten().any(|program| program.reads_headers()) {
            true => copied(headers.iter()),
            false => Headers::default(),
        };
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

/// A text in a body.
fn field(body: &[u8], name: &str) -> Option<String> {
    let whole: serde_json::Value = serde_json::from_slice(body).ok()?;
    whole.get(name)?.as_str().map(str::to_owned)
}

fn list(items: &Program, body: &[u8]) -> Result<Vec<Value>, Fault> {
    let whole = schemas::json::read_plain(body)
        .map_err(|error| Fault::data("invalid_body", format!("The call is no JSON: {error}.")))?;
    match items.run(&Event::of_value(Value::Null), &whole)? {
        Value::Array(list) => Ok(list),
        other => Err(Fault::data(
            "no_list",
            format!("`items` gives {} where a list is needed.", other.kind_str()),
        )),
    }
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
pub fn kept_headers(headers: &HeaderMap) -> Headers {
    const SECRET: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "x-api-key"];
    copied(headers.iter().filter(|(name, _)| !SECRET.contains(&name.as_str())))
}

fn copied<'h>(headers: impl Iterator<Item = (&'h HeaderName, &'h HeaderValue)>) -> Headers {
    let copy = |value: &HeaderValue| Some(Bytes::copy_from_slice(value.as_bytes()));
    headers.map(|(name, value)| (name.as_str().to_owned(), copy(value))).collect()
}
