//! What a store says, as faults: the route waits, says so, and gives up no event for it.

use engine::{Fault, Retry};
use object_store::Error;
use reqwest::StatusCode;

use super::Bucket;
use super::client::Refusal;
use crate::verdict::one_line;
use crate::{chain, failure, root_cause};

/// A request that was refused, or not answered.
pub(super) struct Refused {
    pub kind: Kind,
    pub fault: Fault,
}

/// What those who asked may have reckoned with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is no such object, or no such upload.
    Missing,
    /// What was asked to hold (that no object is there) does not.
    Condition,
    Other,
}

impl Bucket {
    pub(super) fn refused(&self, doing: &str, key: &str, error: &Error) -> Refused {
        let asked = self.asked(doing, key);
        if let Some(refusal) = find::<Refusal>(error) {
            let said = one_line(&format!("{refusal}: {}", refusal.message), self.secrets.iter());
            let said = said.trim_end_matches([':', ' ', '.']);
            let (cause, cure) = cure(refusal);
            let fault = Fault::refused(cause, format!("{asked} was refused ({said}): {cure}."));
            return Refused { kind: kind(refusal), fault };
        }
        if let Some(error) = find::<reqwest::Error>(error) {
            let fault = Fault { retry: Retry::Route, ..failure(&asked, error) };
            return Refused { kind: Kind::Other, fault };
        }
        let kind = match error {
            Error::NotFound { .. } => Kind::Missing,
            Error::AlreadyExists { .. } | Error::Precondition { .. } => Kind::Condition,
            _ => Kind::Other,
        };
        let said = one_line(&root_cause(error), self.secrets.iter());
        let message = format!("{asked} failed ({said}): it is tried again.");
        Refused { kind, fault: Fault::refused("store_failed", message) }
    }

    pub(super) fn late(&self, doing: &str, key: &str) -> Refused {
        let message = format!(
            "{} was not answered within {:?}: it is tried again; `timeout` of the connection gives it \
             longer.",
            self.asked(doing, key),
            self.timeout
        );
        Refused { kind: Kind::Other, fault: Fault::refused("http_timeout", message).unknown() }
    }

    fn asked(&self, doing: &str, key: &str) -> String {
        format!("{doing} `{key}` in {}", self.shown)
    }
}

fn find<E: std::error::Error + 'static>(error: &Error) -> Option<&E> {
    chain(error).find_map(|error| error.downcast_ref())
}

fn kind(refusal: &Refusal) -> Kind {
    match (refusal.status, refusal.code.as_str()) {
        (StatusCode::NOT_FOUND, "" | "NoSuchKey" | "NoSuchUpload") => Kind::Missing,
        (StatusCode::PRECONDITION_FAILED, _) => Kind::Condition,
        _ => Kind::Other,
    }
}

/// A short stable name of a refusal, and what to do, by what S3 calls it:
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
fn cure(refusal: &Refusal) -> (&'static str, &'static str) {
    match (refusal.code.as_str(), refusal.status.as_u16()) {
        ("NoSuchBucket", _) => {
            ("bucket_missing", "create the bucket, or correct `bucket` in the connection")
        }
        ("InvalidAccessKeyId", _) => (
            "credentials_refused",
            "the store does not know the connection's `access_key`; with another one it goes on",
        ),
        ("SignatureDoesNotMatch", _) => (
            "credentials_refused",
            "the connection's `secret_key` is not the one of its `access_key`",
        ),
        ("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired", _) => {
            ("credentials_refused", "the connection's `session_token` has ended: give it a new one")
        }
        ("RequestTimeTooSkewed", _) => {
            ("clock_wrong", "this machine's clock and the store's differ: set it right")
        }
        (
            "PermanentRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException",
            _,
        )
        | (_, 300..=399) => (
            "region_wrong",
            "the bucket is elsewhere: correct `region`, or `endpoint`, in the connection",
        ),
        ("QuotaExceeded" | "XMinioStorageFull" | "InsufficientCapacity", _) | (_, 507) => {
            ("store_full", "it goes on once there is room")
        }
        (_, 401 | 403) => (
            "access_denied",
            "give the connection's access key the right to list the bucket, and to read, write and \
             delete its objects",
        ),
        (_, 429 | 503) => ("store_busy", "the store asks for fewer requests; it is tried again"),
        (_, 501) => ("store_lacks", "the store does not have what is asked of it"),
        (_, 500..=599) => ("store_failed", "it is tried again"),
        _ => ("store_refused", "it is tried again, in case it is mended"),
    }
}
