//! Tokens of OAuth 2.0 ([RFC 6749](https://www.rfc-editor.org/rfc/rfc6749)): for the client itself
//! (client credentials), or on behalf of a user who has authorized it once (refresh token).
//!
//! All routes of a process that use one client share its token: however many are refused at once, it
//! is renewed once.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use engine::Fault;
use engine::address::encoded;
use engine::connector::{Findings, Setup};
use engine::options::Secret;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tokio::time::Instant;

use crate::connection::sensitive;
use crate::target::Target;
use crate::{Answer, Call, Exchange};

/// How much of an authorization server's answer is read.
const MOST_OF_AN_ANSWER: usize = 64 * 1024;
/// How long before its end a token is renewed; for short ones a tenth of their time.
const BEFORE_THE_END: Duration = Duration::from_secs(60);

/// A client of an authorization server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct OAuth2 {
    /// The address that gives tokens, for example `https://auth.example.com/oauth2/token`.
    pub token_url: String,
    /// The client's id.
    pub client_id: String,
    /// The client's secret.
    #[serde(default)]
    pub client_secret: Option<Secret>,
    /// The refresh token that a user's authorization gave. Without it the client asks for itself
    /// (client credentials).
    #[serde(default)]
    pub refresh_token: Option<Secret>,
    /// A file in which the newest refresh token is kept, from the pipeline file's folder: for servers
    /// that give a new one with each token, and take each only once (QuickBooks, HubSpot). The one
    /// in `refresh_token` is used until there is one.
    #[serde(default)]
    pub store: Option<PathBuf>,
    /// What is asked for, separated by spaces.
    #[serde(default)]
    pub scope: Option<String>,
    /// Further parameters of the request, such as `audience`.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    /// Where the client's id and secret stand in the request.
    #[serde(default)]
    pub credentials_in: CredentialsIn,
}

/// Where a client's id and secret stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialsIn {
    /// In the `Authorization` header, as RFC 6749 wants.
    #[default]
    Header,
    /// In the body.
    Body,
}

impl OAuth2 {
    pub(super) fn secrets(&self) -> Vec<Secret> {
        [&self.client_secret, &self.refresh_token].into_iter().flatten().cloned().collect()
    }

    /// The way to the server that gives tokens: as the application is reached, but for its address.
    fn target(&self, of: &Target) -> Target {
        Target { url: self.token_url.clone(), ..of.clone() }
    }

    /// What tells it from others: all that decides which tokens it gets. (How it asks does not: two
    /// connections of one client share its refresh token, which servers take only once.)
    fn name(&self) -> String {
        let Self { token_url, client_id, scope, parameters, .. } = self;
        let secrets = self.secrets();
        let secrets: Vec<_> = secrets.iter().map(Secret::reveal).collect();
        format!("{token_url} {client_id} {secrets:?} {scope:?} {parameters:?}")
    }

    pub(super) fn check(&self, of: &Target, findings: &mut Findings) {
        let mut wrong = |field: &str, cause: String, hint: &str| {
            findings.connection(&format!("/auth/oauth2/{field}"), "oauth2", cause, hint);
        };
        if let Err(cause) = self.target(of).base() {
            wrong("token_url", cause.replace("`url`", "`token_url`"), "Write https://host/path.");
        }
        if self.client_secret.is_none() && self.refresh_token.is_none() {
            let cause = "Neither `client_secret` nor `refresh_token` is given: nothing would prove \
                         who asks.";
            let hint = "Give the client's secret, and a refresh token if a user has authorized it.";
            wrong("client_id", cause.to_owned(), hint);
        }
        if self.store.is_some() && self.refresh_token.is_none() {
            let cause = "`store` keeps refresh tokens, and there is no `refresh_token`.";
            wrong("store", cause.to_owned(), "Leave it out, or give the first refresh token.");
        }
    }
}

/// The tokens of this process, by client.
#[derive(Default)]
pub(super) struct AllTokens(Mutex<HashMap<String, Arc<Tokens>>>);

impl AllTokens {
    /// The tokens of a client, shared by all routes that use it.
    pub(super) fn of(
        &self,
        oauth2: &OAuth2,
        target: &Target,
        setup: &Setup,
    ) -> Result<Arc<Tokens>, Fault> {
        let name = oauth2.name();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&name) {
            return Ok(Arc::clone(known));
        }
        let exchange = Exchange::new(&oauth2.target(target), &oauth2.secrets(), setup)?;
        let store = oauth2.store.as_ref().map(|file| setup.folder.join(file));
        let tokens = Arc::new(Tokens {
            exchange,
            oauth2: oauth2.clone(),
            store,
            held: tokio::sync::Mutex::default(),
            last: Mutex::default(),
        });
        all.insert(name, Arc::clone(&tokens));
        Ok(tokens)
    }
}

/// The tokens of one client.
pub(super) struct Tokens {
    exchange: Exchange,
    oauth2: OAuth2,
    store: Option<PathBuf>,
    /// Locked while a token is asked for: whoever comes meanwhile waits for that one.
    held: tokio::sync::Mutex<Held>,
    /// The last access token, to be hidden from messages.
    last: Mutex<Option<String>>,
}

#[derive(Default)]
struct Held {
    token: Option<Token>,
    /// The newest refresh token, if one was given after the file's.
    refresh: Option<String>,
}

/// An access token.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) header: HeaderValue,
    until: Option<Instant>,
}

/// What a server answers (RFC 6749, 5.1).
#[derive(Deserialize)]
struct Given {
    access_token: String,
    #[serde(default)]
    expires_in: Json,
    refresh_token: Option<String>,
}

/// What is kept of a refresh token.
#[derive(Serialize, Deserialize)]
struct Stored {
    refresh_token: String,
}

impl Tokens {
    /// The token to use; asked for if there is none, or its end is near.
    pub(super) async fn current(&self) -> Result<Token, Fault> {
        let mut held = self.held.lock().await;
        let good = |token: &&Token| token.until.is_none_or(|until| until > Instant::now());
        match held.token.as_ref().filter(good) {
            Some(token) => Ok(token.clone()),
            None => self.ask(&mut held).await,
        }
    }

    /// The token to use after the application refused this one. Of several that were refused with
    /// the same, one asks.
    pub(super) async fn after(&self, refused: &Token) -> Result<Token, Fault> {
        let mut held = self.held.lock().await;
        match held.token.as_ref().filter(|token| token.header != refused.header) {
            Some(newer) => Ok(newer.clone()),
            None => self.ask(&mut held).await,
        }
    }

    /// The text of the last token.
    pub(super) fn last(&self) -> Option<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn ask(&self, held: &mut Held) -> Result<Token, Fault> {
        held.token = None;
        let refresh = match (&held.refresh, &self.oauth2.refresh_token) {
            (Some(newest), _) => Some(newest.clone()),
            (None, Some(first)) => {
                Some(self.stored()?.unwrap_or_else(|| first.reveal().to_owned()))
            }
            (None, None) => None,
        };
        let answer = self.exchange.send(self.request(refresh.as_deref())?).await?;
        let given = self.read(&answer, refresh.is_some())?;
        if let Some(newest) = given.refresh_token.filter(|new| Some(new) != refresh.as_ref())
            && refresh.is_some()
        {
            self.keep(&newest)?;
            held.refresh = Some(newest);
        }
        let header = sensitive(&format!("Bearer {}", given.access_token), "/auth/oauth2")?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(given.access_token);
        let until = lifetime(&given.expires_in)
            .map(|time| Instant::now() + time.saturating_sub(BEFORE_THE_END.min(time / 10)));
        let token = Token { header, until };
        held.token = Some(token.clone());
        Ok(token)
    }

    fn request(&self, refresh: Option<&str>) -> Result<Call, Fault> {
        let OAuth2 { client_id, client_secret, scope, parameters, credentials_in, .. } =
            &self.oauth2;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, form);
        let mut fields = match refresh {
            Some(token) => vec![("grant_type", "refresh_token"), ("refresh_token", token)],
            None => vec![("grant_type", "client_credentials")],
        };
        fields.extend(scope.as_deref().map(|scope| ("scope", scope)));
        fields.extend(parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let secret = client_secret.as_ref().map(Secret::reveal);
        match (credentials_in, secret) {
            (CredentialsIn::Header, Some(secret)) => {
                let pair = format!("{}:{}", encoded(client_id), encoded(secret));
                let pair = base64::prelude::BASE64_STANDARD.encode(pair);
                headers.insert(AUTHORIZATION, sensitive(&format!("Basic {pair}"), "/auth/oauth2")?);
            }
            (_, secret) => {
                fields.push(("client_id", client_id));
                fields.extend(secret.map(|secret| ("client_secret", secret)));
            }
        }
        let pair = |(name, value): &(&str, &str)| format!("{}={}", encoded(name), encoded(value));
        let body = fields.iter().map(pair).collect::<Vec<_>>().join("&").into_bytes();
        let (method, path) = (Method::POST, String::new());
        Ok(Call { method, path, headers, body, most: MOST_OF_AN_ANSWER })
    }

    /// The token in an answer.
    fn read(&self, answer: &Answer, of_a_user: bool) -> Result<Given, Fault> {
        let said = self.exchange.said(answer);
        let client = &self.oauth2.client_id;
        // By RFC 6749, 5.2, a refusal is a 400, or a 401 where it is the client's.
        if matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED) {
            let cure = match of_a_user {
                true => {
                    "check `client_id` and `client_secret`; if they are right, the refresh token \
                         has ended or was withdrawn: authorize the application again and write the \
                         new `refresh_token` (and remove the file of `store`)"
                }
                false => "check `client_id`, `client_secret` and `scope`",
            };
            let message = format!("The client `{client}` was given no token: {said}; {cure}.");
            return Err(Fault::refused("oauth2_refused", message));
        }
        self.exchange.verdict(answer).map_err(|fault| match fault.domain {
            engine::Domain::Data => {
                let message = format!("{said}; check the connection's `token_url`.");
                Fault::refused("oauth2_refused", message)
            }
            _ => fault,
        })?;
        if let Some(cut) = &answer.cut {
            return Err(cut.clone());
        }
        serde_json::from_slice(&answer.body).map_err(|_| {
            // What it says may be a token.
            let message = format!(
                "{} gave no token (RFC 6749, 5.1: JSON with `access_token`); check the \
                 connection's `token_url`.",
                answer.asked
            );
            Fault::refused("oauth2_answer", message)
        })
    }

    /// The newest refresh token that was kept.
    fn stored(&self) -> Result<Option<String>, Fault> {
        let Some(file) = &self.store else { return Ok(None) };
        let text = match std::fs::read(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(store_fault("read", file, &error)),
        };
        let stored: Stored = serde_json::from_slice(&text)
            .map_err(|_| store_fault("read", file, &"it is not what was written there"))?;
        Ok(Some(stored.refresh_token))
    }

    /// Keeps a refresh token, before the access token that came with it is used: the one before it
    /// may be good for nothing now.
    fn keep(&self, token: &str) -> Result<(), Fault> {
        let Some(file) = &self.store else {
            let client = &*self.oauth2.client_id;
            let advice = "name a file in `store`, or the next start begins with the one in the \
                          pipeline file, which may no longer be taken";
            tracing::warn!(client, advice, "a new refresh token was given, and is kept nowhere");
            return Ok(());
        };
        let stored = Stored { refresh_token: token.to_owned() };
        let text = serde_json::to_vec(&stored)
            .map_err(|error| Fault::internal("oauth2_store", error.to_string()))?;
        write_private(file, &text).map_err(|error| store_fault("written", file, &error))
    }
}

fn store_fault(done: &str, file: &Path, error: &dyn std::fmt::Display) -> Fault {
    let file = file.display();
    let message = format!("The refresh token's file {file} cannot be {done}: {error}.");
    Fault::remote("oauth2_store", message)
}

/// Writes a file that only its owner reads, whole or not at all.
fn write_private(file: &Path, text: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = file.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut written = options.open(&beside)?;
    written.write_all(text)?;
    written.sync_all()?;
    std::fs::rename(&beside, file)
}

/// Seconds, as a number or, as some servers write them, a text.
fn lifetime(expires_in: &Json) -> Option<Duration> {
    let seconds = match expires_in {
        Json::Number(number) => number.to_string().parse::<f64>().ok()?,
        Json::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}
