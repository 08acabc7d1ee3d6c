//! A registry of others that takes Protobuf, which the embedded one does not: it keeps what it is sent,
//! one version of each subject.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

type Answer = (StatusCode, Json<Value>);
/// Each subject's one version.
type Subjects = Arc<Mutex<BTreeMap<String, Value>>>;

/// Serves a registry that has these subjects at first; its address.
pub async fn serve(subjects: &str) -> String {
    let first: BTreeMap<String, Value> = serde_json::from_str(subjects).unwrap();
    let router = Router::new()
        .route("/schemas/ids/{id}", get(by_id))
        .route("/subjects/{subject}", post(found))
        .route("/subjects/{subject}/versions", post(registered))
        .route("/subjects/{subject}/versions/{version}", get(version))
        .with_state(Arc::new(Mutex::new(first)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

fn answer(found: Option<Value>) -> Answer {
    let none = json!({ "error_code": 40403, "message": "Schema not found" });
    found.map_or((StatusCode::NOT_FOUND, Json(none)), |found| (StatusCode::OK, Json(found)))
}

async fn by_id(State(all): State<Subjects>, Path(id): Path<u32>) -> Answer {
    let all = all.lock().unwrap();
    answer(all.values().find(|one| one["id"] == id).cloned())
}

async fn version(State(all): State<Subjects>, Path((name, _)): Path<(String, String)>) -> Answer {
    found(State(all), Path(name)).await
}

async fn found(State(all): State<Subjects>, Path(subject): Path<String>) -> Answer {
    let found = all.lock().unwrap().get(&subject).cloned();
    answer(found.map(|mut one| {
        (one["subject"], one["version"]) = (json!(subject), json!(1));
        one
    }))
}

async fn registered(
    State(all): State<Subjects>,
    Path(subject): Path<String>,
    Json(mut schema): Json<Value>,
) -> Answer {
    let mut all = all.lock().unwrap();
    let id = all.get(&subject).map_or_else(|| json!(all.len() + 1), |known| known["id"].clone());
    schema["id"] = id.clone();
    all.insert(subject, schema);
    answer(Some(json!({ "id": id })))
}
