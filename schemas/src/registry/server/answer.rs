//! Answers: the registry's error codes, its media types, and bodies of requests.

use axum::Json;
use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::json;

/// The largest body a request may have, in bytes.
const BODY_LIMIT: usize = 4 * 1024 * 1024;

const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// What answers are given as.
const ANSWERED: [&str; 3] = [MEDIA_TYPE, "application/vnd.schemaregistry+json", "application/json"];
/// What requests may be sent as.
const TAKEN: [&str; 4] = [ANSWERED[0], ANSWERED[1], ANSWERED[2], "application/octet-stream"];

/// A request that is not carried out: status, the registry's error code, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    code: u32,
    message: String,
}

impl Refusal {
    fn new(code: u32, message: impl Into<String>) -> Self {
        let status = u16::try_from(if code < 1000 { code } else { code / 100 }).unwrap_or(500);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code, message: message.into() }
    }

    pub(super) fn no_subject(subject: &str) -> Self {
        Self::new(40401, format!("Subject '{subject}' not found."))
    }

    pub(super) fn no_version(version: impl std::fmt::Display) -> Self {
        Self::new(40402, format!("Version {version} not found."))
    }

    pub(super) fn no_schema(which: impl std::fmt::Display) -> Self {
        Self::new(40403, format!("Schema {which} not found"))
    }

    pub(super) fn schema_not_in(subject: &str) -> Self {
        Self::new(40403, format!("Schema not found under subject '{subject}'"))
    }

    pub(super) fn subject_deleted(subject: &str) -> Self {
        let hint = "Set permanent=true to delete permanently";
        Self::new(40404, format!("Subject '{subject}' was soft deleted. {hint}"))
    }

    pub(super) fn subject_not_deleted(subject: &str) -> Self {
        let cause = "was not deleted first before being permanently deleted";
        Self::new(40405, format!("Subject '{subject}' {cause}"))
    }

    pub(super) fn version_deleted(subject: &str, version: u32) -> Self {
        let hint = "Set permanent=true to delete permanently";
        Self::new(40406, format!("Subject '{subject}' Version {version} was soft deleted. {hint}"))
    }

    pub(super) fn version_not_deleted(subject: &str, version: u32) -> Self {
        let cause = "was not deleted first before being permanently deleted";
        Self::new(40407, format!("Subject '{subject}' Version {version} {cause}"))
    }

    pub(super) fn no_level(subject: &str) -> Self {
        let cause = "does not have subject-level compatibility configured";
        Self::new(40408, format!("Subject '{subject}' {cause}"))
    }

    pub(super) fn no_mode(subject: &str) -> Self {
        let cause = "does not have subject-level mode configured";
        Self::new(40409, format!("Subject '{subject}' {cause}"))
    }

    pub(super) fn incompatible(message: impl Into<String>) -> Self {
        Self::new(40901, message)
    }

    pub(super) fn invalid_schema(message: impl Into<String>) -> Self {
        Self::new(42201, message)
    }

    pub(super) fn invalid_version(version: &str) -> Self {
        let expected = "Allowed values are between [1, 2^31-1] and the string \"latest\"";
        Self::new(42202, format!("The specified version '{version}' is not a version. {expected}"))
    }

    pub(super) fn invalid_level(message: impl Into<String>) -> Self {
        Self::new(42203, message)
    }

    pub(super) fn invalid_mode(message: impl Into<String>) -> Self {
        Self::new(42204, message)
    }

    pub(super) fn not_permitted(message: impl Into<String>) -> Self {
        Self::new(42205, message)
    }

    pub(super) fn referenced(subject: &str, version: u32, by: &[u32]) -> Self {
        let by = by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let place = format!("version {version} of subject '{subject}'");
        Self::new(42206, format!("The schemas of these ids reference {place}: {by}"))
    }

    pub(super) fn invalid_subject(subject: &str) -> Self {
        let expected = "it must have a name without control characters";
        Self::new(42208, format!("The specified subject '{subject}' is not valid: {expected}"))
    }

    pub(super) fn too_large(bytes: usize, limit: usize) -> Self {
        let message = format!("The schema takes {bytes} bytes in the log, and {limit} are allowed");
        Self::new(42209, message)
    }

    /// The log cannot be written or read; the same request may succeed later.
    pub(super) fn log(cause: &str) -> Self {
        Self::new(50001, format!("The registry's log cannot be used now: {cause}"))
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "error_code": self.code, "message": self.message });
        (self.status, Json(body)).into_response()
    }
}

/// A JSON body of one of the registry's media types. Others are refused, so that no web page can
/// make a browser send one without asking.
pub(super) struct Payload<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Payload<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Refusal> {
        let sent = header(request.headers(), &CONTENT_TYPE).unwrap_or_default();
        if !TAKEN.iter().any(|known| is_media_type(sent, known)) {
            let known = TAKEN.join(", ");
            return Err(Refusal::new(415, format!("Content-Type '{sent}' is none of {known}")));
        }
        let bytes = to_bytes(request.into_body(), BODY_LIMIT).await.map_err(|_| {
            Refusal::new(413, format!("The body is longer than {BODY_LIMIT} bytes, or broke off"))
        })?;
        let body = serde_json::from_slice(&bytes)
            .map_err(|cause| Refusal::new(400, format!("The body cannot be read: {cause}")))?;
        Ok(Self(body))
    }
}

/// Gives every answer the first of our media types that was asked for, and every error the registry's form,
/// also those of routing.
pub(super) async fn finish(request: Request, next: Next) -> Response {
    let accepted = header(request.headers(), &ACCEPT).unwrap_or_default();
    let wanted = accepted
        .split(',')
        .find_map(|range| ANSWERED.into_iter().find(|known| is_media_type(range, known)));
    let response = next.run(request).await;
    let is_ours = header(response.headers(), &CONTENT_TYPE) == Some("application/json");
    let mut response = match response.status() {
        status if is_ours || status.is_success() => response,
        status => Refusal::new(status.as_u16().into(), format!("HTTP {status}")).into_response(),
    };
    let media_type = HeaderValue::from_static(wanted.unwrap_or(MEDIA_TYPE));
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

fn header<'a>(headers: &'a HeaderMap, name: &axum::http::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Compares media types without their parameters.
fn is_media_type(text: &str, known: &str) -> bool {
    text.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(known)
}
