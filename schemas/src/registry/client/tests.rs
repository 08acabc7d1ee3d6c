//! The client against the embedded server, and against registries that misbehave.

use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::any;
use axum::{Json, Router};
use serde_json::json;

use super::*;
use crate::registry::server::{MemoryLog, Server};
use crate::registry::testing::{Caller, serve, serve_router};

const INT: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#;
const LONG: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"long"}]}"#;
const BREAKING: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"a","type":"int"},{"name":"total","type":"int"}]}"#;

fn schema(text: &str) -> Schema {
    Schema::parse(text).unwrap()
}

fn client(url: &str) -> Registry {
    Registry::new(RegistryConfig::new(url)).unwrap()
}

async fn embedded() -> Server {
    Server::open(MemoryLog::default()).await.unwrap()
}

/// A registry that answers everything with one status, and counts.
struct Fake {
    status: AtomicU16,
    calls: AtomicUsize,
}

impl Fake {
    async fn serve(status: u16, body: serde_json::Value) -> (Arc<Self>, String) {
        let fake = Arc::new(Self { status: status.into(), calls: AtomicUsize::new(0) });
        let shared = Arc::clone(&fake);
        let router = Router::new().fallback(any(move || {
            let (fake, body) = (Arc::clone(&shared), body.clone());
            async move {
                fake.calls.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(100)).await;
                let status = StatusCode::from_u16(fake.status.load(Ordering::SeqCst)).unwrap();
                (status, Json(body)).into_response()
            }
        }));
        (fake, serve_router(router, "127.0.0.1:0").await.0)
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_schema_is_registered_looked_up_listed_and_read() {
    let registry = client(&serve(&embedded().await).await);
    let id = registry.register("a/b-value", &schema(INT)).await.unwrap();
    assert_eq!(registry.register("a/b-value", &schema(INT)).await, Ok(id));
    let second = registry.register("a/b-value", &schema(LONG)).await.unwrap();
    assert_eq!(registry.subjects().await.unwrap(), ["a/b-value"]);
    assert_eq!(registry.versions("a/b-value").await.unwrap(), [1, 2]);
    let latest = registry.latest("a/b-value").await.unwrap();
    assert_eq!((latest.version, latest.id), (2, second));
    let found = registry.lookup("a/b-value", &schema(INT)).await.unwrap();
    assert_eq!((found.version, found.id), (1, id));
    assert_eq!(*registry.schema(id).await.unwrap(), schema(INT));
    for missing in [
        registry.latest("none").await.err(),
        registry.versions("none").await.err(),
        registry.lookup("a/b-value", &schema(BREAKING)).await.err(),
        registry.schema(99).await.err(),
        registry.schema(u32::MAX).await.err(),
    ] {
        assert!(matches!(missing, Some(RegistryError::NotFound { .. })), "{missing:?}");
    }
}

#[tokio::test]
async fn an_incompatible_schema_is_refused_with_reasons_and_what_changed() {
    let registry = client(&serve(&embedded().await).await);
    registry.register("s", &schema(INT)).await.unwrap();
    let refused = registry.register("s", &schema(BREAKING)).await.unwrap_err();
    let RegistryError::Incompatible { subject, messages, diff } = &refused else {
        panic!("{refused}");
    };
    assert_eq!(subject, "s");
    assert_eq!(messages.len(), 1);
    assert!(messages[0].contains("field `total` was added without a default"), "{messages:?}");
    assert_eq!(diff, &["+ .total: int"]);
    assert!(!refused.is_temporary());
    let Verdict::Incompatible(reasons) = registry.check("s", &schema(BREAKING)).await.unwrap()
    else {
        panic!("it is incompatible");
    };
    assert!(reasons[0].contains("`total`"));
    assert_eq!(registry.check("s", &schema(LONG)).await, Ok(Verdict::Compatible));
    assert_eq!(registry.check("none", &schema(BREAKING)).await, Ok(Verdict::Compatible));
    assert_eq!(registry.compatibility_level("s").await, Ok(Level::Backward));
    registry.set_compatibility_level("s", Level::None).await.unwrap();
    assert_eq!(registry.compatibility_level("s").await, Ok(Level::None));
    registry.register("s", &schema(BREAKING)).await.unwrap();
}

#[tokio::test]
async fn an_older_registrys_409_is_known_by_its_status() {
    let body = json!({ "error_code": 409, "message": "Incompatible Avro schema" });
    let (_, url) = Fake::serve(409, body).await;
    let refused = client(&url).register("s", &schema(INT)).await.unwrap_err();
    let RegistryError::Incompatible { messages, .. } = refused else { panic!("{refused}") };
    assert_eq!(messages, ["Incompatible Avro schema"]);
}

#[tokio::test]
async fn referenced_types_are_read_along_and_kept_on_disk() {
    let server = embedded().await;
    let (url, serving) = serve_router(server.router(), "127.0.0.1:0").await;
    let api = Caller::new(url.clone());
    let money = r#"{"type":"record","name":"n.Money","fields":[{"name":"cents","type":"long"}]}"#;
    let line = r#"{"type":"record","name":"n.Line","fields":[{"name":"price","type":"n.Money"}]}"#;
    let order = r#"{"type":"record","name":"n.Order","fields":[{"name":"line","type":"n.Line"}]}"#;
    let uses = |text: &str, name: &str, subject: &str| json!({ "schema": text, "references": [{"name": name, "subject": subject, "version": 1}] });
    api.post("/subjects/money/versions", json!({ "schema": money })).await.ok();
    api.post("/subjects/line/versions", uses(line, "n.Money", "money")).await.ok();
    api.post("/subjects/order/versions", uses(order, "n.Line", "line")).await.ok();
    let directory = tempfile::tempdir().unwrap();
    let config = RegistryConfig {
        cache_directory: Some(directory.path().to_owned()),
        ..RegistryConfig::new(url)
    };
    let fields = |schema: &Schema| -> Vec<String> {
        schema.fields().iter().map(|field| field.path.to_string()).collect()
    };
    let expected = [".line", ".line.price", ".line.price.cents"];
    let read = Registry::new(config.clone()).unwrap().schema(3).await.unwrap();
    assert_eq!(fields(&read), expected);
    serving.abort();
    let read = Registry::new(config).unwrap().schema(3).await.unwrap();
    assert_eq!(fields(&read), expected);
}

#[tokio::test]
async fn a_route_starts_while_the_registry_is_down_and_two_registries_never_mix() {
    let directory = tempfile::tempdir().unwrap();
    let config = |url: &str| RegistryConfig {
        cache_directory: Some(directory.path().to_owned()),
        ..RegistryConfig::new(url)
    };
    let (first, serving) = serve_router(embedded().await.router(), "127.0.0.1:0").await;
    let second = serve(&embedded().await).await;
    client(&first).register("s", &schema(INT)).await.unwrap();
    client(&second).register("s", &schema(LONG)).await.unwrap();
    assert_eq!(*Registry::new(config(&first)).unwrap().schema(1).await.unwrap(), schema(INT));
    assert_eq!(*Registry::new(config(&second)).unwrap().schema(1).await.unwrap(), schema(LONG));
    serving.abort();
    let _ = serving.await;
    let down = Registry::new(config(&first)).unwrap();
    assert_eq!(*down.schema(1).await.unwrap(), schema(INT));
    let unknown = down.schema(2).await.unwrap_err();
    assert!(unknown.is_temporary(), "{unknown}");
}

#[tokio::test]
async fn what_was_registered_before_has_its_id_while_the_registry_is_down() {
    let directory = tempfile::tempdir().unwrap();
    let (url, serving) = serve_router(embedded().await.router(), "127.0.0.1:0").await;
    let config = RegistryConfig {
        cache_directory: Some(directory.path().to_owned()),
        ..RegistryConfig::new(&url)
    };
    let id = Registry::new(config.clone()).unwrap().register("s", &schema(INT)).await.unwrap();
    serving.abort();
    let _ = serving.await;
    let down = Registry::new(config).unwrap();
    assert_eq!(down.register("s", &schema(INT)).await.unwrap(), id);
    for (subject, other) in [("s", LONG), ("t", INT)] {
        let error = down.register(subject, &schema(other)).await.unwrap_err();
        assert!(error.is_temporary(), "{error}");
    }
}

#[tokio::test]
async fn a_damaged_file_is_read_again_from_the_registry() {
    let directory = tempfile::tempdir().unwrap();
    let url = serve(&embedded().await).await;
    let config = RegistryConfig {
        cache_directory: Some(directory.path().to_owned()),
        ..RegistryConfig::new(&url)
    };
    client(&url).register("s", &schema(INT)).await.unwrap();
    Registry::new(config.clone()).unwrap().schema(1).await.unwrap();
    let registry = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    std::fs::write(registry.join("1.json"), "{\"schema\":").unwrap();
    assert_eq!(*Registry::new(config).unwrap().schema(1).await.unwrap(), schema(INT));
    let names = std::fs::read_dir(&registry).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["1.json"]);
}

#[tokio::test]
async fn concurrent_askers_share_one_request() {
    let (fake, url) = Fake::serve(200, json!({ "schema": INT })).await;
    let registry = client(&url);
    let askers = (0..50).map(|_| {
        let registry = registry.clone();
        tokio::spawn(async move { registry.schema(1).await })
    });
    for answer in futures::future::join_all(askers).await {
        assert_eq!(*answer.unwrap().unwrap(), schema(INT));
    }
    registry.schema(1).await.unwrap();
    assert_eq!(fake.calls(), 1);
}

#[tokio::test]
async fn an_asker_who_gives_up_leaves_the_others_their_answer() {
    let (fake, url) = Fake::serve(200, json!({ "schema": INT })).await;
    let registry = client(&url);
    let short = tokio::time::timeout(Duration::from_millis(20), registry.schema(1));
    let (gave_up, answer) = tokio::join!(short, registry.schema(1));
    assert!(gave_up.is_err());
    assert_eq!(*answer.unwrap(), schema(INT));
    assert_eq!(fake.calls(), 1);
}

#[tokio::test]
async fn what_the_registry_cannot_answer_now_is_never_said_of_the_data() {
    let said = json!({ "error_code": 50001, "message": "store" });
    for status in [500, 502, 503, 504, 429, 408] {
        let (fake, url) = Fake::serve(status, said.clone()).await;
        let registry = client(&url);
        for _ in 0..2 {
            let failed = registry.schema(1).await.unwrap_err();
            assert!(failed.is_temporary(), "{status}: {failed}");
            assert!(failed.to_string().contains(&url), "{failed}");
        }
        assert_eq!(fake.calls(), 2, "a failure is not remembered");
    }
    for strange in [json!([]), json!("<html>")] {
        let (_, url) = Fake::serve(200, strange).await;
        assert!(client(&url).schema(1).await.unwrap_err().is_temporary());
    }
    let (_, url) = Fake::serve(200, json!({ "schema": INT })).await;
    let hasty = RegistryConfig { timeout: Duration::from_millis(10), ..RegistryConfig::new(url) };
    assert!(Registry::new(hasty).unwrap().schema(1).await.unwrap_err().is_temporary());
    let nobody = client("http://127.0.0.1:1");
    assert!(nobody.schema(1).await.unwrap_err().is_temporary());
    assert!(nobody.subjects().await.unwrap_err().is_temporary());
    assert!(nobody.check("s", &schema(INT)).await.unwrap_err().is_temporary());
}

#[tokio::test]
async fn a_404_of_something_that_is_no_registry_is_not_believed() {
    let (_, url) = Fake::serve(404, json!({ "detail": "no such page" })).await;
    let failed = client(&url).schema(1).await.unwrap_err();
    assert!(failed.is_temporary(), "{failed}");
    assert!(failed.to_string().contains("Check the address"), "{failed}");
}

#[tokio::test]
async fn an_unknown_id_is_not_asked_for_at_once_again_and_then_appears() {
    let (fake, url) = Fake::serve(404, json!({ "error_code": 40403, "message": "no" })).await;
    let registry = client(&url);
    for _ in 0..3 {
        let missing = registry.schema(1).await.unwrap_err();
        assert!(matches!(missing, RegistryError::NotFound { .. }), "{missing}");
    }
    assert_eq!(fake.calls(), 1);

    let server = embedded().await;
    let registry = client(&serve(&server).await);
    assert!(registry.schema(1).await.is_err());
    registry.register("s", &schema(INT)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(*registry.schema(1).await.unwrap(), schema(INT));
}

#[tokio::test]
async fn refused_credentials_are_told_apart_and_never_shown() {
    for status in [401, 403] {
        let (_, url) = Fake::serve(status, json!({ "error_code": 40101, "message": "no" })).await;
        let config = RegistryConfig {
            auth: Auth::Basic { user: "me".to_owned(), password: "secret".to_owned() },
            ..RegistryConfig::new(url.replace("http://", "http://me:secret@"))
        };
        assert!(!format!("{config:?}").contains("secret"));
        for refused in [
            Registry::new(config.clone()).unwrap().schema(1).await.unwrap_err(),
            Registry::new(config.clone()).unwrap().compatibility_level("s").await.unwrap_err(),
        ] {
            assert!(matches!(refused, RegistryError::Refused { .. }), "{refused}");
            assert!(!refused.to_string().contains("secret"), "{refused}");
        }
    }
    assert!(Registry::new(RegistryConfig::new("localhost:8081")).is_err());
    assert!(Registry::new(RegistryConfig { urls: vec![], ..RegistryConfig::new("") }).is_err());
}

#[tokio::test]
async fn the_next_address_is_asked_when_one_cannot_answer() {
    let (fake, broken) = Fake::serve(503, json!({})).await;
    let good = serve(&embedded().await).await;
    let config = |urls: &[&str]| RegistryConfig {
        urls: urls.iter().map(ToString::to_string).collect(),
        ..RegistryConfig::new("")
    };
    let registry = Registry::new(config(&[&broken, &good])).unwrap();
    assert_eq!(registry.register("s", &schema(INT)).await, Ok(1));
    assert_eq!(registry.subjects().await.unwrap(), ["s"]);
    let calls = fake.calls();
    let registry = Registry::new(config(&[&good, &broken])).unwrap();
    assert!(registry.register("s", &schema(BREAKING)).await.is_err());
    assert_eq!(fake.calls(), calls, "an answer is an answer");
}
