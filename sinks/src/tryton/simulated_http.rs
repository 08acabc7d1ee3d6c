//! For tests: the two interfaces of the simulated ERP over HTTP.

use std::collections::HashMap;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use serde_json::{Map, Value as Json, json};

use super::cutter::is_request;
use super::simulator::{Inside, KEY, Outcome, PASSWORD, Simulator, Thrown, USER};

pub(super) fn routes(simulator: &Simulator) -> Router {
    let model = "/erp/rest/model/{model}";
    Router::new()
        .route(model, get(search).post(create))
        .route(&format!("{model}/fields_get"), post(fields_of))
        .route(&format!("{model}/{{id}}/{{button}}"), post(press))
        .layer(axum::middleware::from_fn_with_state(simulator.clone(), gate))
        .route("/erp/rpc/", post(rpc))
        .with_state(simulator.clone())
}

async fn gate(
    State(erp): State<Simulator>,
    request: Request,
    next: axum::middleware::Next,
) -> Response {
    let path = request.uri().path().to_owned();
    let key = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes().to_vec());
    {
        let mut inside = erp.0.lock().unwrap();
        let model = path.trim_start_matches("/erp/rest/model/");
        inside.asked.push(format!("{} {model}", request.method()));
        let asked = format!("{} {path}", request.method());
        let rest = |one: &str| !one.starts_with("RPC") && is_request(&asked, one);
        if let Some((_, status, body)) = inside.ordered(rest) {
            return (StatusCode::from_u16(status).unwrap(), body).into_response();
        }
    }
    if key.as_deref() != Some(format!("Bearer {KEY}").as_bytes()) {
        return unauthorized();
    }
    next.run(request).await
}

fn unauthorized() -> Response {
    html(StatusCode::UNAUTHORIZED, "The server could not verify that you are authorized")
}

fn html(status: StatusCode, text: &str) -> Response {
    let text = format!("<!doctype html>\n<html lang=en>\n<title>{status}</title>\n<p>{text}</p>\n");
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response()
}

/// An outcome, as the REST interface tells it.
fn told(outcome: Outcome) -> Response {
    match outcome {
        Ok(json) => axum::Json(json).into_response(),
        Err(Thrown::User(message)) => {
            let body = json!({ "status": 400, "message": message, "description": "" });
            (StatusCode::BAD_REQUEST, body.to_string()).into_response()
        }
        Err(Thrown::Key(name)) => {
            html(StatusCode::INTERNAL_SERVER_ERROR, &format!("&#39;{name}&#39;"))
        }
        Err(Thrown::Stale) => html(StatusCode::LOCKED, "Records were modified in the meanwhile"),
        Err(Thrown::Missing) => html(StatusCode::NOT_FOUND, "The requested URL was not found."),
        Err(Thrown::Forbidden) => html(StatusCode::FORBIDDEN, "You don&#39;t have the permission"),
    }
}

async fn search(
    State(erp): State<Simulator>,
    Path(model): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let parts: HashMap<&str, &str> = query.split('&').filter_map(|p| p.split_once('=')).collect();
    let domain = percent_encoding::percent_decode_str(parts["d"]).decode_utf8().unwrap();
    let domain: Json = serde_json::from_slice(&BASE64_URL_SAFE.decode(&*domain).unwrap()).unwrap();
    let most = parts["s"].parse().unwrap();
    told(erp.0.lock().unwrap().search(&model, &domain, most))
}

async fn fields_of(State(erp): State<Simulator>, Path(model): Path<String>) -> Response {
    told(erp.0.lock().unwrap().fields_of(&model))
}

async fn create(
    State(erp): State<Simulator>,
    Path(model): Path<String>,
    axum::Json(record): axum::Json<Json>,
) -> Response {
    work(erp, move |inside| {
        told(inside.create(&model, &[record]).map(|mut created| created.remove(0)))
    })
    .await
}

async fn press(
    State(erp): State<Simulator>,
    Path((model, id, button)): Path<(String, i64, String)>,
) -> Response {
    work(erp, move |inside| told(inside.press(&model, &[id], &button))).await
}

/// Works for a while, also when the client has gone.
async fn work(
    erp: Simulator,
    work: impl FnOnce(&mut Inside) -> Response + Send + 'static,
) -> Response {
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(40)).await;
        work(&mut erp.0.lock().unwrap())
    })
    .await
    .unwrap()
}

async fn rpc(
    State(erp): State<Simulator>,
    headers: HeaderMap,
    axum::Json(call): axum::Json<Json>,
) -> Response {
    let (method, params) = (call["method"].as_str().unwrap().to_owned(), call["params"].clone());
    if method == "common.db.login" {
        return log_in(&erp, &params);
    }
    let name = method.trim_start_matches("model.").to_owned();
    {
        let mut inside = erp.0.lock().unwrap();
        inside.asked.push(format!("RPC {name}"));
        if let Some((_, status, body)) = inside.ordered(|one| one == format!("RPC {name}")) {
            return (StatusCode::from_u16(status).unwrap(), body).into_response();
        }
        let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let session = header.and_then(|header| header.strip_prefix("Session "));
        let session =
            session.and_then(|text| BASE64_STANDARD.decode(text).ok()).unwrap_or_default();
        let text = String::from_utf8(session).unwrap();
        let number =
            text.strip_prefix(&format!("admin:{USER}:")).and_then(|text| text.parse().ok());
        if number.is_none_or(|number: u32| number <= inside.sessions.1) {
            return StatusCode::UNAUTHORIZED.into_response();
        }
    }
    let (model, method) = name.rsplit_once('.').unwrap();
    let (model, method) = (model.to_owned(), method.to_owned());
    work(erp, move |inside| answered(call_of(inside, &model, &method, &params))).await
}

fn log_in(erp: &Simulator, params: &Json) -> Response {
    if params[0] != "admin" || params[1]["password"] != PASSWORD {
        return unauthorized();
    }
    let mut inside = erp.0.lock().unwrap();
    inside.sessions.0 += 1;
    answered(Ok(json!([USER, inside.sessions.0.to_string(), null])))
}

fn call_of(inside: &mut Inside, model: &str, method: &str, params: &Json) -> Outcome {
    let ids = || -> Vec<i64> { serde_json::from_value(params[0].clone()).unwrap() };
    match method {
        "search_read" => {
            let most = params[2].as_u64().unwrap();
            inside.search(model, &params[0], usize::try_from(most).unwrap()).map(dotted)
        }
        "read" => inside.read(model, &params[0]).map(dotted),
        "fields_get" => inside.fields_of(model),
        "create" => {
            let created = inside.create(model, params[0].as_array().unwrap())?;
            Ok(created.iter().map(|record| record["id"].clone()).collect())
        }
        "write" => {
            let params = params.as_array().unwrap();
            let versions = &params.last().unwrap()["_timestamp"];
            let changes =
                || params.chunks_exact(2).map(|pair| (pair[0][0].as_i64().unwrap(), &pair[1]));
            let fits = |id: i64| inside.is_of(model, id, &versions[format!("{model},{id}")]);
            if !changes().all(|(id, _)| fits(id)) {
                return Err(Thrown::Stale);
            }
            changes().try_for_each(|(id, values)| inside.write(model, id, values).map(drop))?;
            Ok(Json::Null)
        }
        "get_preferences" => Ok(json!({ "company": 1 })),
        button => inside.press(model, &ids(), button).map(|_| Json::Null),
    }
}

/// An outcome, as JSON-RPC tells it.
fn answered(outcome: Outcome) -> Response {
    let body = match outcome {
        Ok(result) => json!({ "id": 0, "result": result }),
        Err(Thrown::User(said)) => json!({ "id": 0, "error": ["UserError", [said, "", null]] }),
        Err(Thrown::Key(name)) => json!({ "id": 0, "error": [format!("'{name}'"), "Traceback…"] }),
        Err(Thrown::Stale) => {
            let said = "Records were modified in the meanwhile";
            json!({ "id": 0, "error": ["ConcurrencyException", said] })
        }
        Err(Thrown::Missing) => return StatusCode::NOT_FOUND.into_response(),
        Err(Thrown::Forbidden) => return html(StatusCode::FORBIDDEN, "no permission"),
    };
    axum::Json(body).into_response()
}

/// Other records stand under a name with a dot, beside their numbers.
fn dotted(found: Json) -> Json {
    let number = |record: &Json| record["id"].clone();
    let records = found.as_array().unwrap().iter().map(|record| {
        let mut all = Map::new();
        for (name, value) in record.as_object().unwrap() {
            let others =
                value.as_array().filter(|all| all.iter().all(|one| one.get("id").is_some()));
            match (others, value.get("id")) {
                (Some(others), _) => {
                    all.insert(name.clone(), others.iter().map(number).collect());
                    all.insert(format!("{name}."), value.clone());
                }
                (None, Some(id)) => {
                    all.insert(name.clone(), id.clone());
                    all.insert(format!("{name}."), value.clone());
                }
                (None, None) => drop(all.insert(name.clone(), value.clone())),
            }
        }
        Json::Object(all)
    });
    records.collect()
}
