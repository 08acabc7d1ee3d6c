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
}

impl Answer {
    /// The event is in Kafka, now or since an earlier call.
    pub fn taken(id: &str, duplicate: bool) -> Self {
        Self { status: StatusCode::OK, body: json!({ "id": id, "duplicate": duplicate }) }
    }

    /// The call is refused, and why.
    pub fn error(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, body: json!({ "error": message.into() }) }
    }

    /// The event does not fit its schema, at this field.
    pub fn unfit(field: &str, message: &str) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            body: json!({ "error": message, "field": field }),
        }
    }

    /// It cannot be taken now; the caller keeps it and tries again.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::error(StatusCode::SERVICE_UNAVAILABLE, message)
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
