//! What a caller is answered.

use axum::Json;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// After how many seconds a caller should try again when Kafka is away.
const RETRY_AFTER: &str = "5";

/// An answer that several callers can share.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    body: serde_json::Value,
    overtaken: bool,
}

impl Answer {
    fn new(status: StatusCode, body: serde_json::Value) -> Self {
        Self { status, body, overtaken: false }
    }

    /// The event is in Kafka, now or since an earlier call.
    pub fn taken(id: &str, duplicate: bool) -> Self {
        Self::new(StatusCode::OK, json!({ "id": id, "duplicate": duplicate }))
    }

    /// The call brought no event: it only tried the address.
    pub fn heard() -> Self {
        Self::new(StatusCode::OK, json!({ "heard": true }))
    }

    /// What the application asked for, to see that the address is ours.
    pub fn challenge(text: &str) -> Self {
        Self::new(StatusCode::OK, json!({ "challenge": text }))
    }

    /// One answer for all the events of a call: the call is taken when all are. If not, the caller
    /// calls again; those that are taken are known by their ids then.
    pub fn of_all(mut answers: Vec<Self>) -> Self {
        if answers.len() == 1 {
            return answers.remove(0);
        }
        let failed = |answer: &Self| !answer.status.is_success();
        let later = |answer: &Self| answer.status == StatusCode::SERVICE_UNAVAILABLE;
        let worst = answers.iter().position(later).or_else(|| answers.iter().position(failed));
        match worst {
            Some(at) => answers.remove(at),
            None => {
                let events: Vec<_> = answers.into_iter().map(|answer| answer.body).collect();
                Self::new(StatusCode::OK, json!({ "events": events }))
            }
        }
    }

    /// What the call names is no longer there: there is nothing to store.
    pub fn gone() -> Self {
        Self::new(StatusCode::OK, json!({ "gone": true }))
    }

    /// The call is refused, and why.
    pub fn error(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, json!({ "error": message.into() }))
    }

    /// The event does not fit its schema, at this field.
    pub fn unfit(field: &str, message: &str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, json!({ "error": message, "field": field }))
    }

    /// It cannot be taken now; the caller keeps it and tries again.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::error(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// What was read may be older than what was published meanwhile: it is to be read again.
    pub fn overtaken() -> Self {
        let message = "What the call names is being changed: send it again.";
        Self { overtaken: true, ..Self::unavailable(message) }
    }

    /// Whether it has to be read again.
    pub fn is_overtaken(&self) -> bool {
        self.overtaken
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let wait: Option<[(HeaderName, &str); 1]> = (self.status
            == StatusCode::SERVICE_UNAVAILABLE)
            .then_some([(header::RETRY_AFTER, RETRY_AFTER)]);
        match wait {
            Some(headers) => (self.status, headers, Json(self.body)).into_response(),
            None => (self.status, Json(self.body)).into_response(),
        }
    }
}
