//! QuickBooks Online, as far as invoices are queried: its query language with an offset, tokens on a
//! refresh token that is taken once, and its limits.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

/// The running application.
#[derive(Clone)]
pub struct QuickBooks {
    pub url: String,
    state: Arc<Mutex<Books>>,
}

#[derive(Default)]
struct Books {
    /// By id: the minute of its last change, and its version.
    invoices: BTreeMap<u64, (u64, u64)>,
    calls: usize,
    tokens: usize,
    token_left: usize,
    /// Refresh tokens that were not taken: used before, or wrong.
    refused: usize,
}

impl QuickBooks {
    pub async fn start(invoices: u64) -> Self {
        let invoices = (0..invoices).map(|id| (id, (id / 7, 0))).collect();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let books = Books { invoices, ..Books::default() };
        let quickbooks = Self { url, state: Arc::new(Mutex::new(books)) };
        let router = Router::new()
            .route("/oauth2/v1/tokens/bearer", post(token))
            .route("/v3/company/1/query", get(query))
            .with_state(quickbooks.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        quickbooks
    }

    /// Changes an invoice at this minute.
    pub fn change(&self, id: u64, minute: u64) {
        let mut state = self.state.lock().unwrap();
        let (time, version) = state.invoices.entry(id).or_default();
        (*time, *version) = (minute, *version + 1);
    }

    /// Does this while no token is given and the newest is in the file that keeps it; nothing if it is not yet.
    /// (Who dies between the two has lost it for good.)
    pub fn while_kept(&self, file: &Path, act: impl FnOnce()) -> Option<()> {
        let state = self.state.lock().unwrap();
        // Nobody asks for one now: that is done once the last is used up.
        if state.token_left == 0 {
            return None;
        }
        let newest = format!("\"refresh-{}\"", state.tokens);
        std::fs::read_to_string(file).ok().filter(|kept| kept.contains(&newest))?;
        act();
        Some(())
    }

    /// How many tokens were given, and how many refresh tokens were refused.
    pub fn tokens(&self) -> (usize, usize) {
        let state = self.state.lock().unwrap();
        (state.tokens, state.refused)
    }
}

async fn token(State(quickbooks): State<QuickBooks>, headers: HeaderMap, form: String) -> Response {
    let mut state = quickbooks.state.lock().unwrap();
    let basic = headers.get("authorization").and_then(|value| value.to_str().ok());
    let expected = format!("refresh_token=refresh-{}", state.tokens);
    let fits = form.split('&').any(|field| field == expected);
    if !basic.is_some_and(|value| value.starts_with("Basic ")) || !fits {
        state.refused += 1;
        let body = json!({ "error": "invalid_grant", "error_description": "Incorrect or invalid refresh token" });
        return (StatusCode::BAD_REQUEST, Json(body)).into_response();
    }
    state.tokens += 1;
    state.token_left = 5;
    Json(json!({
        "token_type": "bearer", "access_token": format!("access-{}", state.tokens),
        "refresh_token": format!("refresh-{}", state.tokens), "expires_in": 3600,
    }))
    .into_response()
}

async fn query(
    State(quickbooks): State<QuickBooks>,
    headers: HeaderMap,
    Query(parameters): Query<BTreeMap<String, String>>,
) -> Response {
    let mut state = quickbooks.state.lock().unwrap();
    state.calls += 1;
    let expected = format!("Bearer access-{}", state.tokens);
    if state.token_left == 0 || headers.get("authorization").is_none_or(|given| *given != expected)
    {
        let body = json!({ "fault": { "error": [{ "message": "message=AuthenticationFailed", "code": "3200" }], "type": "AUTHENTICATION" } });
        return (StatusCode::UNAUTHORIZED, Json(body)).into_response();
    }
    state.token_left -= 1;
    if state.calls % 13 == 7 {
        let body =
            json!({ "Fault": { "Error": [{ "Message": "ThrottleExceeded", "code": "003001" }] } });
        return (StatusCode::TOO_MANY_REQUESTS, Json(body)).into_response();
    }
    let words: Vec<&str> = parameters["query"].split_whitespace().collect();
    let after = |word: &str| words[words.iter().position(|one| *one == word).unwrap() + 1];
    let since = after(">=").trim_matches('\'').to_owned();
    let (start, most): (usize, usize) =
        (after("startposition").parse().unwrap(), after("maxresults").parse().unwrap());
    let at = |minute: u64| {
        format!("2026-01-{:02}T{:02}:{:02}:00Z", 1 + minute / 1_440, minute / 60 % 24, minute % 60)
    };
    let mut found: Vec<_> =
        state.invoices.iter().filter(|(_, (minute, _))| at(*minute) >= since).collect();
    found.sort_by_key(|(id, (minute, _))| (*minute, **id));
    let page: Vec<_> = found
        .into_iter()
        .skip(start - 1)
        .take(most)
        .map(|(id, (minute, version))| {
            json!({ "Id": id.to_string(), "SyncToken": version.to_string(), "MetaData": { "LastUpdatedTime": at(*minute) } })
        })
        .collect();
    // An empty list is left out.
    let response = match page.is_empty() {
        true => json!({}),
        false => json!({ "Invoice": page, "startPosition": start, "maxResults": page.len() }),
    };
    Json(json!({ "QueryResponse": response, "time": "2026-02-01T00:00:00Z" })).into_response()
}

/// The sections of a pipeline that polls it.
pub fn sections(url: &str) -> String {
    SECTIONS.replace("QUICKBOOKS", url)
}

const SECTIONS: &str = r#"
connections:
  quickbooks:
    http:
      url: QUICKBOOKS/v3/company/1
      allow_private: true
      auth:
        oauth2:
          token_url: QUICKBOOKS/oauth2/v1/tokens/bearer
          client_id: passerelle
          client_secret: secret-of-the-client
          refresh_token: refresh-0
          store: tokens/quickbooks.json
topics:
  books.invoices: { partitions: 4, schema: contact.avsc }
sources:
  invoices:
    from: quickbooks
    poll:
      every: 200ms
      path: /query
      query:
        query: "select * from Invoice where MetaData.LastUpdatedTime >= '{{ .since }}' orderby MetaData.LastUpdatedTime startposition {{ .offset + 1 }} maxresults {{ .size }}"
        minorversion: "75"
      items: .QueryResponse.Invoice || []
      pages: { offset: { size: 20 } }
      id: .Id
      changed: .MetaData.LastUpdatedTime
      overlap: 10m
      event: '{ "id": .Id, "name": .SyncToken }'
    to: books.invoices
    key: .id
"#;
