//! The address for operators: metrics, health, readiness, the routes' states.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use engine::state::RouteStatus;
use engine::{Engine, Shutdown};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;

use crate::failure::Failure;
use crate::place::Place;

/// The pipelines of this process, in the order of their files.
pub type Engines = Arc<Vec<Engine>>;

/// Serves the operators' address until `stop`; returns the address that was bound.
///
/// # Errors
/// The address cannot be bound.
pub async fn serve(address: SocketAddr, engines: Engines, stop: Shutdown) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Failure::new(format!("Cannot listen on {address} for operators (`admin: {{ listen: … }}`): {error}."))
    })?;
    let bound = listener.local_addr().map_err(|error| Failure::new(format!("The operators' address is unknown: {error}.")))?;
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(|| async { "alive" }))
        .route("/ready", get(ready))
        .route("/status", get(status))
        .route("/routes/{pipeline}/{route}/accept", post(accept))
        .with_state(engines);
    tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(async move { stop.requested().await });
        if let Err(error) = served.await {
            tracing::error!(%error, "the operators' address ended");
        }
    });
    Ok(bound)
}

fn routes(engines: &Engines) -> Vec<RouteStatus> {
    engines.iter().flat_map(Engine::status).collect()
}

async fn metrics() -> Response {
    match engine::metrics::text() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(fault) => (StatusCode::INTERNAL_SERVER_ERROR, fault.message).into_response(),
    }
}

/// Ready once every route has left its start: those that wait are for the operator, not for the
/// load balancer to restart.
async fn ready(State(engines): State<Engines>) -> Response {
    let starting = routes(&engines).into_iter().filter(|status| status.state.word() == "starting");
    let names = starting.map(|status| status.route.to_string()).collect::<Vec<_>>();
    match names.is_empty() {
        true => "ready".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, format!("starting: {}", names.join(", "))).into_response(),
    }
}

async fn status(State(engines): State<Engines>) -> Json<Vec<RouteStatus>> {
    Json(routes(&engines))
}

#[derive(Deserialize)]
struct From {
    from: String,
}

async fn accept(
    State(engines): State<Engines>,
    Path((pipeline, route)): Path<(String, String)>,
    Query(From { from }): Query<From>,
) -> Response {
    let name = format!("{pipeline}/{route}");
    let refused = |status: StatusCode, message: String| (status, Json(json!({ "error": message }))).into_response();
    let place = match Place::read(&from) {
        Ok(place) => place,
        Err(failure) => return refused(StatusCode::UNPROCESSABLE_ENTITY, failure.0),
    };
    let Some(engine) = engines.iter().find(|engine| engine.pipeline() == pipeline) else {
        return refused(StatusCode::NOT_FOUND, format!("This process runs no pipeline `{pipeline}`."));
    };
    match engine.accept(&route, place.into()).await {
        Ok(()) => {
            tracing::info!(route = name, from, "an operator accepted a gap");
            Json(json!({ "route": name, "from": from })).into_response()
        }
        Err(fault) => refused(StatusCode::CONFLICT, fault.message),
    }
}
