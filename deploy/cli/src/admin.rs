//! The address for operators: metrics, health, readiness, the routes' states.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use engine::state::RouteStatus;
use engine::{Engine, Metrics, Shutdown};
use futures::FutureExt as _;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::RwLock;

use crate::failure::Failure;
use crate::place::Place;

/// What this process runs.
pub struct Running {
    /// The pipelines, by name; none once they were stopped.
    engines: RwLock<BTreeMap<String, Engine>>,
    /// Their metrics.
    metrics: Metrics,
}

impl Running {
    /// Pipelines that run, and their metrics.
    pub fn new(engines: BTreeMap<String, Engine>, metrics: Metrics) -> Self {
        Self { engines: RwLock::new(engines), metrics }
    }

    /// Waits until every pipeline has started.
    ///
    /// # Errors
    /// One is refused: a topic is not as declared.
    pub async fn started(&self) -> Result<(), Failure> {
        for engine in self.engines.read().await.values() {
            engine.started().await?;
        }
        Ok(())
    }

    /// Stops the pipelines, all at once: each drains and commits.
    pub async fn shutdown(&self) {
        let engines = std::mem::take(&mut *self.engines.write().await);
        futures::future::join_all(engines.into_values().map(Engine::shutdown)).await;
    }
}

type Shared = Arc<Running>;

/// Serves the operators' address until `stop`; returns the address that was bound.
///
/// # Errors
/// The address cannot be bound.
pub async fn serve(
    address: SocketAddr,
    running: Arc<Running>,
    stop: Shutdown,
) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Failure::new(format!(
            "Cannot listen on {address} for operators (`admin: {{ listen: … }}`): {error}."
        ))
    })?;
    let bound = listener
        .local_addr()
        .map_err(|error| Failure::new(format!("The operators' address is unknown: {error}.")))?;
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(|| async { "alive" }))
        .route("/ready", get(ready))
        .route("/status", get(status))
        .route("/routes/{pipeline}/{route}/accept", post(accept))
        .with_state(running);
    tokio::spawn(async move {
        let served = axum::serve(listener, router)
            .with_graceful_shutdown(async move { stop.requested().await });
        if let Err(error) = served.await {
            tracing::error!(%error, "the operators' address ended");
        }
    });
    Ok(bound)
}

async fn metrics(State(running): State<Shared>) -> Response {
    match running.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(fault) => (StatusCode::INTERNAL_SERVER_ERROR, fault.message).into_response(),
    }
}

/// Ready once every pipeline has started: routes that wait afterwards are for the operator, not for
/// the load balancer.
async fn ready(State(running): State<Shared>) -> Response {
    let engines = running.engines.read().await;
    let starting = engines
        .iter()
        .filter(|(_, engine)| !matches!(engine.started().now_or_never(), Some(Ok(()))));
    let names = starting.map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    match names.is_empty() {
        true => "ready".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, format!("starting: {}", names.join(", ")))
            .into_response(),
    }
}

async fn status(State(running): State<Shared>) -> Json<Vec<RouteStatus>> {
    Json(running.engines.read().await.values().flat_map(Engine::statuses).collect())
}

#[derive(Deserialize)]
struct From {
    from: String,
}

async fn accept(
    State(running): State<Shared>,
    Path((pipeline, route)): Path<(String, String)>,
    Query(From { from }): Query<From>,
) -> Response {
    let name = format!("{pipeline}/{route}");
    let refused = |status: StatusCode, message: String| {
        (status, Json(json!({ "error": message }))).into_response()
    };
    let place = match Place::read(&from) {
        Ok(place) => place,
        Err(failure) => return refused(StatusCode::UNPROCESSABLE_ENTITY, failure.0),
    };
    let engines = running.engines.read().await;
    let Some(engine) = engines.get(&pipeline) else {
        return refused(
            StatusCode::NOT_FOUND,
            format!("This process runs no pipeline `{pipeline}`."),
        );
    };
    match engine.accept(&name, place.into()) {
        Ok(()) => {
            tracing::info!(route = name, from, "an operator accepted a gap");
            Json(json!({ "route": name, "from": from })).into_response()
        }
        Err(fault) => refused(StatusCode::CONFLICT, fault.message),
    }
}
