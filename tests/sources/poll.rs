//! An application that is asked for what has changed, page by page, with a token.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::json;

use crate::application::{Application, body, names};

/// How many items a flood has, and how large they are: pages without end.
const FLOOD: usize = 25_000;
const BYTES: usize = 10_000;
/// How many items a page has.
const PAGE: usize = 200;
/// When the first item changed (seconds since the Unix epoch); each next one a second later.
const FIRST: i64 = 1_767_225_600;

pub struct Crm {
    url: String,
    state: Arc<Mutex<Items>>,
}

struct Items {
    token: &'static str,
    count: usize,
    /// From which item on they are large.
    large_from: usize,
}

fn changed_at(number: usize) -> DateTime<Utc> {
    DateTime::from_timestamp(FIRST, 0).unwrap() + TimeDelta::seconds(number as i64)
}

async fn items(
    State(state): State<Arc<Mutex<Items>>>,
    headers: HeaderMap,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let state = state.lock().unwrap();
    let token = format!("Bearer {}", state.token);
    if headers.get("authorization").is_none_or(|given| *given != token) {
        // Some applications send back what they were given.
        let given = headers.get("authorization").map(|given| given.to_str().unwrap().to_owned());
        let said = json!({ "error": "invalid_token", "given": given });
        return (StatusCode::UNAUTHORIZED, Json(said)).into_response();
    }
    let since: DateTime<Utc> = query["since"].parse().unwrap();
    let first = usize::try_from((since - changed_at(0)).num_seconds()).unwrap_or(0);
    let begin = query.get("cursor").map_or(first, |cursor| cursor.parse().unwrap());
    let end = state.count.min(begin + PAGE);
    let item = |(number, name): (usize, String)| {
        let bytes = if number < state.large_from { 100 } else { BYTES };
        let at = changed_at(number).to_rfc3339_opts(SecondsFormat::Secs, true);
        json!({ "id": name, "changed": at, "body": body(number, bytes) })
    };
    let results: Vec<_> = (begin..end).zip(names(begin..end)).map(item).collect();
    let next = (end < state.count).then(|| end.to_string());
    Json(json!({ "results": results, "next": next })).into_response()
}

impl Application for Crm {
    const NAME: &'static str = "poll";
    const SECRETS: [&'static str; 2] = ["token-before", "token-afterwards"];

    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let items_of = Items { token: Self::SECRETS[0], count: 0, large_from: usize::MAX };
        let state = Arc::new(Mutex::new(items_of));
        let router = Router::new().route("/items", get(items)).with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, state }
    }

    fn sections(&self) -> String {
        let connection = format!(
            "connections:\n  crm: {{ http: {{ url: \"{}\", allow_private: true, auth: {{ bearer: \
             \"${{file:application.secret}}\" }} }} }}",
            self.url
        );
        connection
            + r#"
sources:
  source:
    from: crm
    poll:
      every: 100ms
      path: /items
      query: { since: "{{ .since }}", cursor: "{{ .cursor }}" }
      items: .results
      pages: { cursor: .next }
      id: .id
      changed: .changed
    to: events
    key: .id
"#
    }

    async fn change(&mut self, count: usize) -> Vec<String> {
        let mut state = self.state.lock().unwrap();
        let first = state.count;
        state.count += count;
        names(first..state.count)
    }

    async fn floods(&mut self, _kafka: &str) -> Vec<String> {
        let large_from = self.state.lock().unwrap().count;
        self.state.lock().unwrap().large_from = large_from;
        self.change(FLOOD).await
    }

    async fn lock(&mut self) {
        self.state.lock().unwrap().token = Self::SECRETS[1];
    }

    fn expected_refusal(&self) -> Vec<String> {
        let asked = format!("GET /items of {}", self.url);
        [&asked, "answered 401 Unauthorized", "invalid_token", "check the connection's credentials"]
            .map(str::to_owned)
            .to_vec()
    }
}
