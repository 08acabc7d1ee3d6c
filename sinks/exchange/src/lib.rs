//! One exchange with an application over HTTP: a request out, an answer back, within one deadline.
//!
//! Every connector over HTTP sends through here, so that all of them keep the same promises:
//! - the deadline holds for the whole exchange, from connecting to the last byte of the answer;
//! - no more of an answer is read than was asked for;
//! - redirects are not followed, proxies are not taken from the environment;
//! - names resolve to public addresses only, unless the connection says `allow_private`;
//! - after `Retry-After` nothing more is sent to that host before its time, by any route;
//! - a failure says whether the application may have acted ([`Fault::unknown_outcome`]);
//! - no message holds a secret, nor more of an address than its host.

pub mod bucket;
mod connection;
mod guard;
mod limits;
mod oauth2;
mod reach;
mod target;
mod verdict;

use std::collections::HashMap;
use std::error::Error;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::Fault;
use engine::connector::Setup;
use engine::options::Secret;
use engine::share::{Share, Shares};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response, StatusCode, Url};
use tokio::time::{Instant, timeout_at};

pub use connection::{Auth, Connection, Mistake, escaped, header_name};
pub use engine::address::encoded;
pub use limits::Limits;
use limits::{Gate, Gates};
use oauth2::{AllTokens, Tokens};
pub use oauth2::{CredentialsIn, OAuth2};
pub use target::{Target, Tls};
pub use verdict::DEFAULT_RETRY_AFTER_CAP;

/// A way to one application.
pub struct Exchange {
    client: Client,
    base: Url,
    /// Scheme, host and port: all that messages show of the address.
    origin: String,
    timeout: Duration,
    /// Whether addresses may be reached that are not of the public internet.
    private: bool,
    retry_after_cap: Duration,
    pauses: Arc<Pauses>,
    /// Texts that never leave in a message, should the application send them back.
    secrets: Vec<String>,
    /// The headers of every request.
    fixed: Vec<(HeaderName, HeaderValue)>,
    /// Where the token comes from that every request carries.
    tokens: Option<Arc<Tokens>>,
    /// Where requests wait for their turn.
    gate: Option<Arc<Gate>>,
    /// Which part of its route is this instance's: what the gate lets through depends on it.
    share: Arc<Share>,
}

/// A request to send.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// What comes after the connection's address, percent-encoded: `/orders?dry=1`.
    pub path: String,
    /// Its own headers, beside those of the connection.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Vec<u8>,
    /// How many bytes of the answer are read at most.
    pub most: usize,
}

/// An answer, of any status.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as far as it was read.
    pub body: Vec<u8>,
    /// Why the body is not all there, if it is not.
    pub cut: Option<Fault>,
    /// What was asked, for messages.
    pub asked: String,
    /// How long the application asked to be left alone.
    pub retry_after: Option<Duration>,
}

impl Exchange {
    /// A way to `target`. Opens no connection. `secrets` are the texts that no message may show.
    ///
    /// # Errors
    /// A `Config` fault when the address or the certificates cannot be used.
    pub fn new(target: &Target, secrets: &[Secret], setup: &Setup) -> Result<Self, Fault> {
        let base = target.base().map_err(|cause| Fault::config("url", cause))?;
        Ok(Self {
            client: setup.shared.get::<target::Clients>().get(target, &base)?,
            origin: base.origin().ascii_serialization(),
            timeout: target.timeout.0,
            private: target.allow_private,
            retry_after_cap: DEFAULT_RETRY_AFTER_CAP,
            pauses: setup.shared.get(),
            secrets: verdict::texts_to_hide(&base, secrets),
            base,
            fixed: Vec::new(),
            tokens: None,
            gate: None,
            share: setup.shared.get::<Shares>().of(&setup.route),
        })
    }

    /// A way to the application of a connection, with who we are. `secrets` are further texts that no
    /// message may show.
    ///
    /// # Errors
    /// A `Config` fault when the connection cannot be used.
    pub fn with(connection: &Connection, secrets: &[Secret], setup: &Setup) -> Result<Self, Fault> {
        let secrets = [&connection.secrets()[..], secrets].concat();
        let tokens = match &connection.auth {
            Some(Auth::Oauth2(oauth2)) => {
                let all = setup.shared.get::<AllTokens>();
                Some(all.of(oauth2, &connection.target, setup)?)
            }
            _ => None,
        };
        let fixed = connection.header_values()?;
        let gate = connection.limits.map(|limits| {
            let mut hash = DefaultHasher::new();
            connection.target.url.hash(&mut hash);
            // (Not those of one route: it asks the same application, within the same limits.)
            connection.secrets().iter().for_each(|secret| secret.reveal().hash(&mut hash));
            setup.shared.get::<Gates>().of(hash.finish(), limits)
        });
        let bare = Self::new(&connection.target, &secrets, setup)?;
        gate.iter().for_each(|gate| gate.add(&bare.share));
        Ok(Self { fixed, tokens, gate, ..bare })
    }

    /// Scheme, host and port: all of the address that may be shown.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The same, honouring `Retry-After` up to `cap`.
    #[must_use]
    pub fn with_retry_after_cap(mut self, cap: Duration) -> Self {
        self.retry_after_cap = cap;
        self
    }

    /// Sends a request and reads the answer, of whatever status. Where a token of OAuth 2.0 is
    /// refused (401), it is renewed once and the request sent again: it was not acted upon.
    ///
    /// # Errors
    /// No answer came: the name, the connection, the deadline, a cut. The fault's outcome is
    /// unknown once the request may have reached the application. Or no token could be had.
    pub async fn send(&self, mut call: Call) -> Result<Answer, Fault> {
        let Some(tokens) = &self.tokens else { return self.send_once(call).await };
        let token = Box::pin(tokens.current()).await?;
        call.headers.insert(AUTHORIZATION, token.header.clone());
        let answer = self.send_once(call.clone()).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let token = Box::pin(tokens.after(&token)).await?;
        call.headers.insert(AUTHORIZATION, token.header);
        self.send_once(call).await
    }

    async fn send_once(&self, call: Call) -> Result<Answer, Fault> {
        let mut under_way = match &self.gate {
            Some(gate) => Some(gate.enter().await),
            None => None,
        };
        let deadline = Instant::now() + self.timeout;
        let asked = self.asked(&call);
        if let Some(left) = self.pauses.left(&self.origin) {
            let message = format!(
                "{asked} was not sent: the application asked to be left alone for another {} s.",
                left.as_secs().max(1)
            );
            return Err(Fault::remote("http_paused", message).after(left));
        }
        let most = call.most;
        let request = self.request(call, &asked)?;
        let mut response = match timeout_at(deadline, self.client.execute(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(failure(&asked, &error)),
            Err(_) => return Err(self.late(&asked)),
        };
        let status = response.status();
        if let Some(under_way) = &mut under_way {
            under_way.told(status.as_u16());
        }
        let retry_after =
            verdict::retry_after(status, response.headers()).map(|d| d.min(self.retry_after_cap));
        if let Some(wait) = retry_after {
            self.pauses.extend(&self.origin, Instant::now() + wait);
        }
        let headers = std::mem::take(response.headers_mut());
        let mut body = Vec::new();
        let cut = match timeout_at(deadline, fill(&mut response, &mut body, most)).await {
            Ok(Ok(true)) => None,
            Ok(Ok(false)) => Some(longer(&asked, most)),
            Ok(Err(error)) => Some(failure(&asked, &error)),
            Err(_) => Some(self.late(&asked)),
        };
        Ok(Answer { status, headers, body, cut, asked, retry_after })
    }

    fn request(&self, call: Call, asked: &str) -> Result<reqwest::Request, Fault> {
        let mut request = reqwest::Request::new(call.method, self.url(&call.path, asked)?);
        let headers = request.headers_mut();
        *headers = call.headers;
        for (name, value) in &self.fixed {
            if !headers.contains_key(name) {
                headers.insert(name, value.clone());
            }
        }
        if !call.body.is_empty() {
            *request.body_mut() = Some(call.body.into());
        }
        Ok(request)
    }

    /// The connection's address with `path` after it. Whatever `path` holds, the result stays at
    /// the connection's host and below its path.
    fn url(&self, path: &str, asked: &str) -> Result<Url, Fault> {
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        if path.split(['/', '\\']).any(is_dots) {
            let message =
                format!("{asked} was not sent: a part of its path is `.` or `..`, which moves it.");
            return Err(Fault::data("path_invalid", message));
        }
        let mut url = self.base.clone();
        if !path.is_empty() {
            let below = url.path().trim_end_matches('/').to_owned();
            url.set_path(&format!("{below}/{}", path.trim_start_matches('/')));
        }
        if let Some(query) = query {
            let both = url.query().map(|first| format!("{first}&{query}"));
            url.set_query(Some(both.as_deref().unwrap_or(query)));
        }
        Ok(url)
    }

    /// What to put after the connection's address to ask for what a link names, such as that to the
    /// next page: an address, or a reference to be resolved against the request with `path`. Only
    /// what lies below the connection's address is asked for: it is sent our credentials.
    ///
    /// # Errors
    /// A `Remote` fault: it leads elsewhere.
    pub fn path_of(&self, link: &str, path: &str) -> Result<String, Fault> {
        let elsewhere = |why: &str| {
            let (link, origin) = (self.shown(link.as_bytes()), &self.origin);
            let message = format!(
                "A link of {origin} (`{link}`) is not followed: {why}. Links lead below the \
                 connection's `url`: write that as their common beginning."
            );
            Fault::refused("link_elsewhere", message)
        };
        let from = self.url(path, "A link")?;
        let url = from.join(link).map_err(|error| elsewhere(&error.to_string()))?;
        if url.origin() != self.base.origin() {
            return Err(elsewhere("it leads to another host"));
        }
        let below = self.base.path().trim_end_matches('/');
        let rest = url.path().strip_prefix(below).filter(|rest| rest.starts_with(['/']));
        let Some(rest) = rest.or_else(|| (url.path() == below).then_some("")) else {
            return Err(elsewhere("it leads to another path"));
        };
        let query = url.query().unwrap_or_default();
        // The connection's own query is put before it again.
        let own = self.base.query().unwrap_or_default();
        let query = query.strip_prefix(own).unwrap_or(query).trim_start_matches('&');
        Ok(if query.is_empty() { rest.to_owned() } else { format!("{rest}?{query}") })
    }

    /// What is asked, as messages show it: without the connection's own path and without any query,
    /// which can hold a secret.
    fn asked(&self, call: &Call) -> String {
        let path = call.path.split('?').next().unwrap_or_default();
        let Self { origin, .. } = self;
        match path {
            "" => format!("{} {origin}", call.method),
            path => format!("{} {path} of {origin}", call.method),
        }
    }

    fn late(&self, asked: &str) -> Fault {
        let message = format!(
            "{asked} was not answered within {:?}; whether the application acted is unknown.",
            self.timeout
        );
        Fault::remote("http_timeout", message).unknown()
    }
}

/// Whether a part of a path means the folder itself or the one above, as URLs are read.
fn is_dots(part: &str) -> bool {
    matches!(part.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

/// Reads the body up to `most` bytes; false when there is more of it.
async fn fill(response: &mut Response, body: &mut Vec<u8>, most: usize) -> reqwest::Result<bool> {
    while let Some(chunk) = response.chunk().await? {
        let room = most - body.len();
        if chunk.len() > room {
            body.extend_from_slice(&chunk[..room]);
            return Ok(false);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(true)
}

fn longer(asked: &str, most: usize) -> Fault {
    let message =
        format!("The answer to {asked} is longer than {most} bytes; the rest is not read.");
    Fault::remote("answer_too_large", message)
}

/// An exchange that ended without its answer.
fn failure(asked: &str, error: &reqwest::Error) -> Fault {
    let cause = root_cause(error);
    if chain(error).any(|error| error.is::<guard::Refused>()) {
        let message = format!(
            "{asked} was not sent: {cause}. If it is yours, write `allow_private: true` in the \
             connection."
        );
        return Fault::refused("address_refused", message);
    }
    if error.is_builder() {
        return Fault::data("request_invalid", format!("{asked} cannot be sent: {cause}."));
    }
    if error.is_connect() {
        let name = match () {
            () if error.is_dns() => "http_dns",
            () if chain(error).any(|error| error.is::<rustls::Error>()) => "http_tls",
            () => "http_connect",
        };
        return Fault::remote(name, format!("{asked} was not sent: {cause}."));
    }
    let message =
        format!("{asked} got no whole answer: {cause}; whether the application acted is unknown.");
    Fault::remote("http_cut", message).unknown()
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // What an I/O error carries is the error itself; its `source` skips it.
        match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

/// The innermost cause of an error: the outer ones only say that something failed, and where they
/// say more it is the address, which can hold a secret.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

/// Until when each host asked to be left alone.
#[derive(Default)]
struct Pauses(Mutex<HashMap<String, Instant>>);

impl Pauses {
    fn left(&self, origin: &str) -> Option<Duration> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = all.get(origin)?.saturating_duration_since(Instant::now());
        if left.is_zero() {
            all.remove(origin);
            return None;
        }
        Some(left)
    }

    fn extend(&self, origin: &str, until: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(origin.to_owned()).or_insert(until);
        *known = until.max(*known);
    }
}

#[cfg(test)]
mod oauth2_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
