//! A connection over HTTP: where the application is, and who we are to it.

use std::collections::BTreeMap;

use engine::Fault;
use engine::connector::Findings;
use engine::options::Secret;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::limits::Limits;
use crate::oauth2::OAuth2;
use crate::target::Target;

/// An application that is spoken to over HTTP.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Connection {
    /// Where it is.
    #[serde(flatten)]
    pub target: Target,
    /// Headers of every request, such as `X-Api-Key: "${API_KEY}"`. They are never shown.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// Who we are.
    #[serde(default)]
    pub auth: Option<Auth>,
    /// What it allows. Routes and instances share it, each instance by its part of the routes'
    /// partitions.
    #[serde(default)]
    pub limits: Option<Limits>,
}

/// Who we are, as the `Authorization` header says it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// A token: `Authorization: Bearer …`.
    Bearer(Secret),
    /// A name and a password: `Authorization: Basic …`.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token that an authorization server gives for a while (OAuth 2.0, RFC 6749). It is asked for
    /// when it is first needed, again shortly before it ends, and once more when the application
    /// answers 401.
    Oauth2(OAuth2),
}

impl Connection {
    /// The texts that no message may show.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        let auth = self.auth.iter().flat_map(Auth::secrets);
        self.headers.values().cloned().chain(auth).collect()
    }

    /// The headers of every request, ready to send.
    pub(super) fn header_values(&self) -> Result<Vec<(HeaderName, HeaderValue)>, Mistake> {
        let mut values = Vec::new();
        for (name, value) in &self.headers {
            let pointer = format!("/headers/{}", escaped(name));
            values.push((header_name(name, &pointer)?, sensitive(value.reveal(), &pointer)?));
        }
        if let Some(header) = self.auth.as_ref().and_then(Auth::header) {
            values.push((AUTHORIZATION, sensitive(header.reveal(), "/auth")?));
        }
        Ok(values)
    }

    /// Looks for mistakes in the connection's section.
    pub fn check(&self, findings: &mut Findings) {
        self.target.check(findings);
        if let Err(Mistake { pointer, code, cause, hint }) = self.header_values() {
            findings.connection(&pointer, code, cause, hint);
        }
        if let Some(Auth::Oauth2(oauth2)) = &self.auth {
            oauth2.check(&self.target, findings);
        }
    }
}

impl Auth {
    /// The header that says it, if that is known beforehand.
    fn header(&self) -> Option<Secret> {
        use base64::Engine as _;
        match self {
            Auth::Bearer(token) => Some(Secret::new(format!("Bearer {}", token.reveal()))),
            Auth::Basic { user, password } => {
                let pair = format!("{user}:{}", password.reveal());
                let pair = base64::prelude::BASE64_STANDARD.encode(pair);
                Some(Secret::new(format!("Basic {pair}")))
            }
            Auth::Oauth2(_) => None,
        }
    }

    fn secrets(&self) -> Vec<Secret> {
        let mut secrets = match self {
            Auth::Bearer(secret) | Auth::Basic { password: secret, .. } => vec![secret.clone()],
            Auth::Oauth2(oauth2) => oauth2.secrets(),
        };
        // The header's second word alone, in case that is what comes back.
        let header = self.header();
        let word = header.as_ref().and_then(|header| header.reveal().split(' ').next_back());
        secrets.extend(word.map(Secret::new));
        secrets
    }
}

/// A mistake in a section, before it is known whether the file is being checked or run.
#[derive(Debug)]
pub struct Mistake {
    /// The way to the value from the section, as a JSON pointer.
    pub pointer: String,
    /// A short stable name.
    pub code: &'static str,
    /// What is wrong.
    pub cause: String,
    /// What to do.
    pub hint: &'static str,
}

impl From<Mistake> for Fault {
    fn from(mistake: Mistake) -> Self {
        let Mistake { pointer, code, cause, hint } = mistake;
        Fault::config(code, format!("At `{pointer}`: {cause} {hint}"))
    }
}

/// A header's name that a file may set. Those that frame the message are HTTP's own.
///
/// # Errors
/// It is none.
pub fn header_name(name: &str, pointer: &str) -> Result<HeaderName, Mistake> {
    const FRAMING: [&str; 7] =
        ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"];
    let mistake = |cause: String, hint| Mistake {
        pointer: pointer.to_owned(),
        code: "header_invalid",
        cause,
        hint,
    };
    let parsed: HeaderName = name.parse().map_err(|_| {
        mistake(format!("`{name}` is not a header's name."), "Write letters, digits and dashes.")
    })?;
    if FRAMING.contains(&parsed.as_str()) {
        return Err(mistake(format!("`{name}` is set by HTTP itself."), "Leave it out."));
    }
    Ok(parsed)
}

/// A secret as a header's value.
pub(super) fn sensitive(value: &str, pointer: &str) -> Result<HeaderValue, Mistake> {
    let mut value = HeaderValue::from_str(value).map_err(|_| Mistake {
        pointer: pointer.to_owned(),
        code: "header_invalid",
        cause: "The header's value holds a line break or a character that headers cannot carry."
            .to_owned(),
        hint: "Look for a line break at the end of the secret's file.",
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// A name as one step of a JSON pointer (RFC 6901).
pub fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
