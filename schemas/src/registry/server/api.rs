//! The routes, as Confluent's registry has them.

use std::collections::HashMap;

use axum::extract::{Path, Query, State as Of};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Payload, Refusal, finish};
use super::content::Content;
use super::registration::{Submission, check_subject, compatible, find, lookup, register};
use super::settings::Mode;
use super::state::State;
use super::{Server, deletion, settings};
use crate::registry::SchemaId;

type Answer = Result<Json<Value>, Refusal>;

pub(super) fn router(server: Server) -> Router {
    let config = || get(get_level).put(put_level).delete(delete_level);
    let mode = || get(get_mode).put(put_mode).delete(delete_mode);
    Router::new()
        .route("/", get(async || Json(json!({}))))
        .route("/subjects", get(get_subjects))
        .route("/subjects/", get(get_subjects))
        .route("/subjects/{subject}", post(post_lookup).delete(delete_subject))
        .route("/subjects/{subject}/versions", get(get_versions).post(post_version))
        .route("/subjects/{subject}/versions/{version}", get(get_version).delete(delete_version))
        .route("/subjects/{subject}/versions/{version}/schema", get(get_version_schema))
        .route("/subjects/{subject}/versions/{version}/referencedby", get(get_referenced_by))
        .route("/schemas/types", get(async || Json(json!(["AVRO"]))))
        .route("/schemas/ids/{id}", get(get_by_id))
        .route("/schemas/ids/{id}/schema", get(get_text_by_id))
        .route("/schemas/ids/{id}/subjects", get(get_subjects_of_id))
        .route("/schemas/ids/{id}/versions", get(get_versions_of_id))
        .route("/schemas/guids/{guid}", get(get_by_guid))
        .route("/compatibility/subjects/{subject}/versions", post(post_compatibility))
        .route("/compatibility/subjects/{subject}/versions/{version}", post(post_compatibility))
        .route("/config", config())
        .route("/config/", config())
        .route("/config/{subject}", config())
        .route("/mode", mode())
        .route("/mode/", mode())
        .route("/mode/{subject}", mode())
        .layer(middleware::from_fn(finish))
        .with_state(server)
}

/// The parameters after the `?`. Flags are set by `true` in any case, as in Java.
struct Parameters(HashMap<String, String>);

impl Parameters {
    fn of(uri: &Uri) -> Self {
        Self(Query::try_from_uri(uri).map(|Query(all)| all).unwrap_or_default())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// The part of a list that `offset` and `limit` name.
    fn page<T>(&self, list: impl Iterator<Item = T>) -> Vec<T> {
        let number = |name: &str| self.text(name).and_then(|value| value.parse::<usize>().ok());
        let limit = number("limit").unwrap_or(usize::MAX);
        list.skip(number("offset").unwrap_or(0)).take(limit).collect()
    }
}

/// A subject and, where the route has one, a version.
#[derive(Deserialize)]
struct Target {
    subject: String,
    version: Option<String>,
}

impl Target {
    fn version(&self) -> &str {
        self.version.as_deref().unwrap_or("latest")
    }
}

async fn get_subjects(Of(server): Of<Server>, uri: Uri) -> Json<Value> {
    let asked = Parameters::of(&uri);
    // Confluent's clients send `:*:` for every subject of every context.
    let prefix = asked.text("subjectPrefix").filter(|prefix| *prefix != ":*:").unwrap_or("");
    let (deleted, deleted_only) = (asked.flag("deleted"), asked.flag("deletedOnly"));
    Json(json!(server.read(|state| {
        let subjects = state.subjects().filter(|(subject, versions)| {
            let live = versions.values().any(|entry| !entry.deleted);
            let shown = if deleted_only { !live } else { live || deleted };
            shown && subject.starts_with(prefix)
        });
        asked.page(subjects.map(|(subject, _)| subject.to_owned()))
    })))
}

async fn get_versions(Of(server): Of<Server>, Path(at): Path<Target>, uri: Uri) -> Answer {
    let asked = Parameters::of(&uri);
    let (deleted, deleted_only) = (asked.flag("deleted"), asked.flag("deletedOnly"));
    server.read(|state| {
        let versions = state.versions(&at.subject, deleted || deleted_only);
        let shown = versions.filter(|(_, entry)| entry.deleted || !deleted_only);
        let shown: Vec<u32> = shown.map(|(version, _)| version).collect();
        match shown.is_empty() {
            true => Err(Refusal::no_subject(&at.subject)),
            false => Ok(Json(json!(asked.page(shown.into_iter())))),
        }
    })
}

async fn get_version(Of(server): Of<Server>, Path(at): Path<Target>, uri: Uri) -> Answer {
    let deleted = Parameters::of(&uri).flag("deleted");
    server.read(|state| {
        let (version, entry) = find(state, &at.subject, at.version(), deleted)?;
        described(state, &at.subject, version, entry.id)
    })
}

fn described(state: &State, subject: &str, version: u32, id: SchemaId) -> Answer {
    let content = content(state, id)?;
    let mut body = json!({
        "subject": subject, "version": version, "id": id, "guid": content.identity.guid(),
    });
    add_schema(&mut body, content);
    Ok(Json(body))
}

fn content(state: &State, id: SchemaId) -> Result<&Content, Refusal> {
    state.content(id).ok_or_else(|| Refusal::no_schema(id))
}

fn add_schema(body: &mut Value, content: &Content) {
    if let Some(kind) = &content.kind {
        body["schemaType"] = json!(kind);
    }
    if !content.references.is_empty() {
        body["references"] = json!(content.references);
    }
    body["schema"] = json!(content.text);
}

async fn get_version_schema(
    Of(server): Of<Server>,
    Path(at): Path<Target>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let deleted = Parameters::of(&uri).flag("deleted");
    server.read(|state| {
        let (_, entry) = find(state, &at.subject, at.version(), deleted)?;
        Ok(content(state, entry.id)?.text.clone().into_response())
    })
}

async fn get_referenced_by(Of(server): Of<Server>, Path(at): Path<Target>, uri: Uri) -> Answer {
    let deleted = Parameters::of(&uri).flag("deleted");
    server.read(|state| {
        let (version, _) = find(state, &at.subject, at.version(), true)?;
        let mut ids = state.referenced_by(&at.subject, version);
        ids.retain(|id| deleted || state.is_live(*id));
        Ok(Json(json!(ids)))
    })
}

async fn post_version(
    Of(server): Of<Server>,
    Path(at): Path<Target>,
    uri: Uri,
    Payload(submission): Payload<Submission>,
) -> Answer {
    let normalize = Parameters::of(&uri).flag("normalize");
    let plan = move |state: &State| register(state, &at.subject, &submission, normalize);
    let done = server.write(plan).await?;
    Ok(Json(json!({ "id": done.id, "guid": done.guid })))
}

async fn post_lookup(
    Of(server): Of<Server>,
    Path(at): Path<Target>,
    uri: Uri,
    Payload(submission): Payload<Submission>,
) -> Answer {
    let asked = Parameters::of(&uri);
    let (normalize, deleted) = (asked.flag("normalize"), asked.flag("deleted"));
    server.read(|state| {
        let (version, id) = lookup(state, &at.subject, &submission, normalize, deleted)?;
        described(state, &at.subject, version, id)
    })
}

async fn post_compatibility(
    Of(server): Of<Server>,
    Path(at): Path<Target>,
    uri: Uri,
    Payload(submission): Payload<Submission>,
) -> Answer {
    let asked = Parameters::of(&uri);
    let normalize = asked.flag("normalize");
    let version = at.version.as_deref();
    let reasons =
        server.read(|state| compatible(state, &at.subject, version, &submission, normalize))?;
    let mut body = json!({ "is_compatible": reasons.is_empty() });
    if asked.flag("verbose") {
        body["messages"] = json!(reasons);
    }
    Ok(Json(body))
}

/// The id of a path; what no id can be is not found.
fn id(text: &str) -> Result<SchemaId, Refusal> {
    text.parse().map_err(|_| Refusal::no_schema(text))
}

async fn get_by_id(Of(server): Of<Server>, Path(text): Path<String>) -> Answer {
    server.read(|state| {
        let mut body = json!({});
        add_schema(&mut body, content(state, id(&text)?)?);
        Ok(Json(body))
    })
}

async fn get_text_by_id(
    Of(server): Of<Server>,
    Path(text): Path<String>,
) -> Result<Response, Refusal> {
    server.read(|state| Ok(content(state, id(&text)?)?.text.clone().into_response()))
}

async fn get_by_guid(Of(server): Of<Server>, Path(guid): Path<String>) -> Answer {
    server.read(|state| {
        let mut all = state.contents().map(|(_, content)| content);
        let found = all.find(|content| content.identity.guid().to_string() == guid);
        let mut body = json!({ "guid": guid });
        add_schema(&mut body, found.ok_or_else(|| Refusal::no_schema(&guid))?);
        Ok(Json(body))
    })
}

/// The subjects and versions that hold an id.
fn holders(state: &State, id: SchemaId, deleted: bool) -> Vec<(String, u32)> {
    let all = state.subjects().flat_map(|(subject, versions)| {
        versions.iter().map(move |(version, entry)| (subject, *version, entry))
    });
    all.filter(|(_, _, entry)| entry.id == id && (deleted || !entry.deleted))
        .map(|(subject, version, _)| (subject.to_owned(), version))
        .collect()
}

async fn get_subjects_of_id(Of(server): Of<Server>, Path(text): Path<String>, uri: Uri) -> Answer {
    let deleted = Parameters::of(&uri).flag("deleted");
    server.read(|state| {
        content(state, id(&text)?)?;
        let mut subjects: Vec<_> =
            holders(state, id(&text)?, deleted).into_iter().map(|(subject, _)| subject).collect();
        subjects.dedup();
        Ok(Json(json!(subjects)))
    })
}

async fn get_versions_of_id(Of(server): Of<Server>, Path(text): Path<String>, uri: Uri) -> Answer {
    let deleted = Parameters::of(&uri).flag("deleted");
    server.read(|state| {
        content(state, id(&text)?)?;
        let holders = holders(state, id(&text)?, deleted).into_iter();
        Ok(Json(holders.map(|(s, v)| json!({ "subject": s, "version": v })).collect()))
    })
}

async fn delete_subject(Of(server): Of<Server>, Path(at): Path<Target>, uri: Uri) -> Answer {
    let permanent = Parameters::of(&uri).flag("permanent");
    let plan = move |state: &State| deletion::delete_subject(state, &at.subject, permanent);
    Ok(Json(json!(server.write(plan).await?)))
}

async fn delete_version(Of(server): Of<Server>, Path(at): Path<Target>, uri: Uri) -> Answer {
    let permanent = Parameters::of(&uri).flag("permanent");
    let plan =
        move |state: &State| deletion::delete_version(state, &at.subject, at.version(), permanent);
    Ok(Json(json!(server.write(plan).await?)))
}

/// The subject of a setting; none is the whole registry.
type Scope = Option<Path<String>>;

fn scope(scope: Scope) -> Result<Option<String>, Refusal> {
    let subject = scope.map(|Path(subject)| subject);
    subject.as_deref().map_or(Ok(()), check_subject)?;
    Ok(subject)
}

#[derive(Deserialize)]
struct LevelBody {
    compatibility: Option<String>,
}

async fn get_level(Of(server): Of<Server>, at: Scope, uri: Uri) -> Answer {
    let global = Parameters::of(&uri).flag("defaultToGlobal");
    let at = scope(at)?;
    let level = server.read(|state| settings::level(state, at.as_deref(), global))?;
    Ok(Json(json!({ "compatibilityLevel": level.name() })))
}

async fn put_level(Of(server): Of<Server>, at: Scope, Payload(body): Payload<LevelBody>) -> Answer {
    let name = body.compatibility.unwrap_or_default();
    let level: crate::registry::Level = name
        .parse()
        .map_err(|cause| Refusal::invalid_level(format!("Invalid compatibility level: {cause}")))?;
    let at = scope(at)?;
    server.write(move |state| settings::set_level(state, at.as_deref(), level)).await?;
    Ok(Json(json!({ "compatibility": level.name() })))
}

async fn delete_level(Of(server): Of<Server>, at: Scope) -> Answer {
    let at = scope(at)?;
    let before = server.write(move |state| settings::clear_level(state, at.as_deref())).await?;
    Ok(Json(json!({ "compatibilityLevel": before.name() })))
}

#[derive(Deserialize)]
struct ModeBody {
    mode: Option<String>,
}

async fn get_mode(Of(server): Of<Server>, at: Scope, uri: Uri) -> Answer {
    let global = Parameters::of(&uri).flag("defaultToGlobal");
    let at = scope(at)?;
    let mode = server.read(|state| settings::mode(state, at.as_deref(), global))?;
    Ok(Json(json!({ "mode": mode.name() })))
}

async fn put_mode(
    Of(server): Of<Server>,
    at: Scope,
    uri: Uri,
    Payload(body): Payload<ModeBody>,
) -> Answer {
    let force = Parameters::of(&uri).flag("force");
    let mode: Mode = body
        .mode
        .unwrap_or_default()
        .parse()
        .map_err(|cause| Refusal::invalid_mode(format!("Invalid mode: {cause}")))?;
    let at = scope(at)?;
    server.write(move |state| settings::set_mode(state, at.as_deref(), mode, force)).await?;
    Ok(Json(json!({ "mode": mode.name() })))
}

async fn delete_mode(Of(server): Of<Server>, at: Scope) -> Answer {
    let at = scope(at)?;
    let before = server.write(move |state| settings::clear_mode(state, at.as_deref())).await?;
    Ok(Json(json!({ "mode": before.name() })))
}
