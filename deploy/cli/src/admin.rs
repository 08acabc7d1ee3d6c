//! The address for operators: metrics, health, readiness, the routes' states.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use engine::Shutdown;
use engine::state::RouteStatus;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;

use crate::failure::Failure;
use crate::pipelines::{Configuration, Pipelines};
use crate::place::Place;

type Shared = Arc<Pipelines>;

/// Serves the operators' address until `stop`; returns the address that was bound.
///
/// # Errors
/// The address cannot be bound.
pub async fn serve(
    address: SocketAddr,
    pipelines: Shared,
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
        .route("/configuration", get(configuration))
        .route("/shadows", get(shadows))
        .route("/routes/{pipeline}/{route}/accept", post(accept))
        .with_state(pipelines);
    tokio::spawn(async move {
        let served = axum::serve(listener, router)
            .with_graceful_shutdown(async move { stop.requested().await });
        if let Err(error) = served.await {
            tracing::error!(%error, "the operators' address ended");
        }
    });
    Ok(bound)
}

async fn metrics(State(pipelines): State<Shared>) -> Response {
    match pipelines.metrics().text() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(fault) => (StatusCode::INTERNAL_SERVER_ERROR, fault.message).into_response(),
    }
}

/// Ready once every pipeline has started: routes that wait afterwards are for the operator, not for
/// the load balancer.
async fn ready(State(pipelines): State<Shared>) -> Response {
    let starting = pipelines.starting().await;
    match starting.is_empty() {
        true => "ready".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, format!("starting: {}", starting.join(", ")))
            .into_response(),
    }
}

async fn status(State(pipelines): State<Shared>) -> Json<Vec<RouteStatus>> {
    Json(pipelines.statuses().await)
}

/// What became of the files when they were last read.
async fn configuration(State(pipelines): State<Shared>) -> Json<Configuration> {
    Json(pipelines.configuration())
}

/// How far the sinks in shadow are.
async fn shadows(State(pipelines): State<Shared>) -> Response {
    let shadows = Arc::clone(pipelines.shadows());
    match tokio::task::spawn_blocking(move || shadows.standings()).await {
        Ok(standings) => Json(standings).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[derive(Deserialize)]
struct From {
    from: String,
}

async fn accept(
    State(pipelines): State<Shared>,
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
    let Some(accepted) = pipelines.accept(&pipeline, &name, place).await else {
        return refused(
            StatusCode::NOT_FOUND,
            format!("This process runs no pipeline `{pipeline}`."),
        );
    };
    match accepted {
        Ok(()) => {
            tracing::info!(route = name, from, "an operator accepted a gap");
            Json(json!({ "route": name, "from": from })).into_response()
        }
        Err(fault) => refused(StatusCode::CONFLICT, fault.message),
    }
}
