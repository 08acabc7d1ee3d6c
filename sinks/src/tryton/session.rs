//! Being logged in at an ERP's JSON-RPC interface (trytond 8, `protocols/dispatcher.py`).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use engine::Fault;
use engine::options::Secret;
use exchange::{Call, Exchange};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value as Json, json};
use tokio::sync::Mutex;

use super::rest::{Id, read};

/// A user of the ERP, who logs in once and again when the session has ended.
pub(super) struct Login {
    user: String,
    password: Secret,
    /// Held while logging in: wrong passwords make the ERP slow for everyone.
    session: Mutex<Option<Session>>,
}

/// A session.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Session {
    /// What every call carries.
    pub(super) header: HeaderValue,
    /// The number of the user.
    pub(super) user: Id,
}

impl Login {
    pub(super) fn new(user: String, password: Secret) -> Self {
        Self { user, password, session: Mutex::default() }
    }

    /// The session; a new one, where there is none but the one that has `ended`.
    ///
    /// # Errors
    /// The route waits when the ERP does not let us in.
    pub(super) async fn session(
        &self,
        exchange: &Exchange,
        ended: Option<&Session>,
    ) -> Result<Session, Fault> {
        let mut session = self.session.lock().await;
        match &*session {
            Some(known) if ended != Some(known) => Ok(known.clone()),
            _ => {
                let new = self.log_in(exchange).await?;
                *session = Some(new.clone());
                Ok(new)
            }
        }
    }

    async fn log_in(&self, exchange: &Exchange) -> Result<Session, Fault> {
        let params = json!([self.user, { "password": self.password.reveal() }]);
        let body = json!({ "id": 0, "method": "common.db.login", "params": params });
        let json = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, json)]);
        let (path, body) = ("/rpc/".to_owned(), body.to_string().into_bytes());
        let call = Call { method: Method::POST, path, headers, body, most: 64 * 1024 };
        let answer = exchange.send(call).await?;
        match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.refused("")),
            StatusCode::NOT_FOUND => {
                let said = exchange.said(&answer);
                let message =
                    format!("{said}; does the connection's `url` end in the database's name?");
                return Err(Fault::refused("tryton_missing", message));
            }
            _ => exchange.verdict(&answer)?,
        }
        let answer = read(answer)?;
        // A second factor is asked for in a sentence: `["LoginException", [name, sentence, kind]]`.
        if let Some(sentence) = answer["error"][1][1].as_str() {
            return Err(self.refused(&format!(" It asks: {}", exchange.shown(sentence.as_bytes()))));
        }
        self.read(&answer["result"]).ok_or_else(|| {
            Fault::remote("tryton_answer", "The ERP's answer to the login holds no session.")
        })
    }

    fn read(&self, result: &Json) -> Option<Session> {
        let (user, token) = (result[0].as_i64()?, result[1].as_str()?);
        let text = BASE64_STANDARD.encode(format!("{}:{user}:{token}", self.user));
        let mut header = HeaderValue::from_str(&format!("Session {text}")).ok()?;
        header.set_sensitive(true);
        Some(Session { header, user })
    }

    fn refused(&self, asks: &str) -> Fault {
        let message = format!(
            "The ERP does not let the user `{}` in.{asks} The route waits; check the connection's \
             `user` and `password`.",
            self.user
        );
        Fault::refused("tryton_login", message)
    }
}
