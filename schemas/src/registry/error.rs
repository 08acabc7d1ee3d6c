//! Why the registry did not do what was asked, and who has to act.

/// What went wrong with a call to the registry. Cloning is cheap enough to share one answer
/// among everybody who waited for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The registry cannot answer now: no connection, a timeout, 5xx, 429, or an answer that no
    /// registry gives. Try again later; it never says anything about the data.
    #[error("{doing}: the registry at {url} cannot answer now: {cause}")]
    Unreachable {
        /// What was being done, to what.
        doing: String,
        /// The registry that was asked last.
        url: String,
        /// What came back.
        cause: String,
    },
    /// The registry answers, and does not know the schema, the subject or the version.
    #[error("{doing}: {message}")]
    NotFound {
        /// What was being done, to what.
        doing: String,
        /// The registry's own words.
        message: String,
    },
    /// The schema breaks the subject's compatibility level (409).
    #[error(
        "the schema is not compatible with earlier versions of subject `{subject}`: {}",
        messages.join("; ")
    )]
    Incompatible {
        /// The subject that refused it.
        subject: String,
        /// Each reason, in words a person can act on.
        messages: Vec<String>,
        /// What changed since the latest version, a line a field: `+ .total: int`.
        diff: Vec<String>,
    },
    /// The request makes no sense to the registry, or its answer holds no usable schema.
    #[error("{doing}: {message}")]
    Invalid {
        /// What was being done, to what.
        doing: String,
        /// What is wrong.
        message: String,
    },
    /// The registry does not accept our credentials (401) or rights (403).
    #[error(
        "{doing}: the registry at {url} refused (HTTP {status}): {message}. Check its credentials and rights"
    )]
    Refused {
        /// What was being done, to what.
        doing: String,
        /// The registry that refused.
        url: String,
        /// 401 or 403.
        status: u16,
        /// The registry's own words.
        message: String,
    },
}

impl RegistryError {
    /// Whether the same call may succeed later with nothing changed on our side.
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    pub(super) fn invalid(doing: impl Into<String>, message: impl ToString) -> Self {
        Self::Invalid { doing: doing.into(), message: message.to_string() }
    }
}
