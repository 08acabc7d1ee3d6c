//! The address for operators: metrics, health, readiness, the routes' states.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use engine::state::RouteStatus;
use engine::{Engine, Metrics, Shutdown};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;

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

    /// Stops the pipelines, all at once: each drains and commits.
    pub async fn shutdown(&self) {
        let engines =
            std::mem::take(&mut *self.engines.write().unwrap_or_else(PoisonError::into_inner));
        futures::future::join_all(engines.into_values().map(Engine::shutdown)).await;
    }

    fn engines(&self) -> RwLockReadGuard<'_, BTreeMap<String, Engine>> {
        self.engines.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn routes(&self) -> Vec<RouteStatus> {
        self.engines().values().flat_map(Engine::statuses).collect()
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

/// Ready once every route has left its start: those that wait are for the operator, not for the
/// load balancer to restart.
async fn ready(State(running): State<Shared>) -> Response {
    let starting = running.routes().into_iter().filter(|status| status.state.word() == "starting");
    let names = starting.map(|status| status.route.to_string()).collect::<Vec<_>>();
    match names.is_empty() {
        true => "ready".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, format!("starting: {}", names.join(", ")))
            .into_response(),
    }
}

async fn status(State(running): State<Shared>) -> Json<Vec<RouteStatus>> {
    Json(running.routes())
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
    let engines = running.engines();
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
