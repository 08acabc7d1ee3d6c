//! Kafka and an application, as the tests of polling need them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use engine::publisher::{Outlet, Placed, Rejected};
use engine::{Draft, Fault};
use serde_json::json;

/// What lies in Kafka.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) events: Vec<Draft>,
    pub(crate) cursor: Option<String>,
    pub(crate) rejected: Vec<(Rejected, Fault)>,
    /// After so many writes the process is killed.
    pub(crate) writes_left: Option<usize>,
}

#[derive(Clone, Default)]
pub(crate) struct Desk(pub(crate) Arc<Mutex<Kept>>);

#[async_trait]
impl Outlet for Desk {
    async fn send(&self, _: Draft) -> Result<Placed, Fault> {
        Err(Fault::internal("unused", "a poll writes with its cursor"))
    }

    async fn reject(&self, rejected: Rejected, cause: &Fault) -> Result<Placed, Fault> {
        self.0.lock().unwrap().rejected.push((rejected, cause.clone()));
        Ok(Placed { partition: 0, offset: 0 })
    }

    async fn recent_ids(&self, _: i64, _: usize) -> Result<VecDeque<(String, i64)>, Fault> {
        Ok(VecDeque::new())
    }

    async fn send_with_cursor(&self, all: Vec<Draft>, to: String) -> Result<Vec<Placed>, Fault> {
        let mut kept = self.0.lock().unwrap();
        if let Some(left) = &mut kept.writes_left {
            if *left == 0 {
                return Err(Fault::remote("killed", "The process is killed."));
            }
            *left -= 1;
        }
        let placed = vec![Placed { partition: 0, offset: 0 }; all.len()];
        kept.events.extend(all);
        kept.cursor = Some(to);
        Ok(placed)
    }

    fn cursor(&self) -> Option<String> {
        self.0.lock().unwrap().cursor.clone()
    }

    fn available(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn ready(&self) {}
}

impl Desk {
    /// The names published, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let name = |draft: &Draft| match &draft.value {
            Some(value) => value.as_object().unwrap()["name"].to_string_lossy().into_owned(),
            None => format!("-{}", draft.key.as_deref().unwrap()),
        };
        self.0.lock().unwrap().events.iter().map(name).collect()
    }

    pub(crate) fn sorted(&self) -> Vec<String> {
        let mut names = self.names();
        names.sort();
        names
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.0.lock().unwrap().events.iter().map(|draft| draft.id.clone()).collect()
    }
}

/// An application's row: when it has changed (seconds), its id, its name.
pub(crate) type Row = (i64, String, String);
pub(crate) type Trick = Box<dyn FnMut(usize, &mut Vec<Row>) -> Option<Response> + Send>;

pub(crate) struct Rows {
    pub(crate) all: Vec<Row>,
    pub(crate) calls: Vec<String>,
    /// What happens before the n-th call (from 0) is answered; its answer, if not the list.
    pub(crate) trick: Trick,
}

/// An application with a list, paged in every way.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) rows: Arc<Mutex<Rows>>,
    pub(crate) url: String,
}

impl App {
    pub(crate) async fn start(rows: &[(i64, &str, &str)]) -> Self {
        Self::with(rows, Box::new(|_, _| None)).await
    }

    pub(crate) async fn with(rows: &[(i64, &str, &str)], trick: Trick) -> Self {
        let all = rows.iter().map(|(time, id, name)| (*time, (*id).into(), (*name).into()));
        let rows = Rows { all: all.collect(), calls: Vec::new(), trick };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Self { rows: Arc::new(Mutex::new(rows)), url };
        let router = Router::new().fallback(answer).with_state(app.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        app
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.rows.lock().unwrap().calls.clone()
    }

    pub(crate) fn set(&self, time: i64, id: &str, name: &str) {
        set(&mut self.rows.lock().unwrap().all, time, id, name);
    }
}

pub(crate) fn set(rows: &mut Vec<Row>, time: i64, id: &str, name: &str) {
    rows.retain(|row| row.1 != id);
    rows.push((time, id.into(), name.into()));
}

pub(crate) fn instant(seconds: i64) -> String {
    chrono::DateTime::from_timestamp(seconds, 0).unwrap().to_rfc3339()
}

async fn answer(
    State(app): State<App>,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let mut rows = app.rows.lock().unwrap();
    let number = rows.calls.len();
    rows.calls.push(uri.to_string());
    let Rows { all, trick, .. } = &mut *rows;
    if let Some(answer) = trick(number, all) {
        return answer;
    }
    if let Some(id) = uri.path().strip_prefix("/detail/") {
        let found = all.iter().find(|row| row.1 == id && id != "gone");
        let shown = found.map(|row| json!({ "items": [{ "id": id, "name": row.2 }] }).to_string());
        return shown.map_or(StatusCode::NOT_FOUND.into_response(), IntoResponse::into_response);
    }
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
    let seconds = |name: &str| {
        let time = chrono::DateTime::parse_from_rfc3339(query.get(name)?).unwrap();
        Some(time.timestamp())
    };
    let mut all = all.clone();
    all.sort();
    if let Some(since) = seconds("since") {
        all.retain(|row| row.0 >= since);
    }
    if let (Some(time), Some(id)) = (seconds("time"), query.get("id")) {
        all.retain(|row| (row.0, &row.1) > (time, id));
    }
    let size = number("size").unwrap_or(2);
    let start = match uri.path() {
        "/number" => (number("page").unwrap() - 1) * size,
        "/offset" => number("offset").unwrap(),
        _ => number("cursor").unwrap_or(0),
    };
    let page: Vec<_> = all.iter().skip(start).take(size).collect();
    let more = start + size < all.len();
    let items: Vec<_> = page
        .iter()
        .map(|(time, id, name)| json!({ "id": id, "at": instant(*time), "name": name }))
        .collect();
    let next = format!(
        "{}?since={}&size={size}&cursor={}",
        uri.path(),
        query.get("since").cloned().unwrap_or_default(),
        start + size
    );
    let mut body = json!({ "items": items });
    let mut headers = HeaderMap::new();
    if more {
        body["next"] = (start + size).to_string().into();
        body["address"] = format!("{}{}", app.url, next.replace('+', "%2B")).into();
        let link = format!(
            "<{}>; rel=\"first\", <{}>; rel=\"next\"",
            uri.path(),
            next.replace('+', "%2B")
        );
        headers.insert("link", link.parse().unwrap());
    }
    (headers, body.to_string()).into_response()
}
