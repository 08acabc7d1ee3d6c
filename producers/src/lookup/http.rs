//! The look-up `http`: asks an application, by one request, for what an event is enriched with.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use engine::connector::{Findings, Options, Setup};
use engine::lookup::LookupConnector;
use engine::{Fault, Lookup, Value};
use exchange::Connection;
use schemars::JsonSchema;
use serde::Deserialize;

use super::batch::{Batch, Batches};
use crate::poll::Detail;
use crate::webhook::Fetch;

/// How many requests of a partition may be open at once.
const OPEN: usize = 16;
/// How many keys of a partition may be on their way, where several go together.
const GATHERED: usize = 64;

/// Asks an application by HTTP.
pub enum Http {
    /// A request for each key.
    Each(Box<Fetch>),
    /// A request for several keys.
    Batches(Arc<Batches>),
}

/// A request for what belongs to a key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct HttpOptions {
    /// The request.
    #[serde(flatten)]
    pub detail: Detail,
    /// Several keys in one request, for applications that answer so: `{ size: 50, key: .email }`.
    #[serde(default)]
    pub batch: Option<Batch>,
}

impl LookupConnector for Http {
    const NAME: &'static str = "http";
    const SUMMARY: &'static str = "Asks an application by one HTTP request, whose templates and expressions read the key as `.`. \
         An answer of 404 or 410, and an `item` that gives null, find nothing.";
    const EXAMPLE: &'static str =
        include_str!("../../../docs/examples/sales-with-codes/pipeline.yaml");
    type Options = HttpOptions;

    fn check(options: &HttpOptions, _: &Path, findings: &mut Findings) {
        Fetch::check(&options.detail, "", findings);
        if let Some(batch) = &options.batch {
            batch.check(findings);
        }
    }

    fn check_connection(connection: Options, findings: &mut Findings) -> serde_json::Result<()> {
        serde_json::from_value::<Connection>(connection)?.check(findings);
        Ok(())
    }

    fn build(options: HttpOptions, setup: &Setup) -> Result<Box<dyn Lookup>, Fault> {
        let fetch = Fetch::open(&options.detail, setup)?;
        Ok(Box::new(match &options.batch {
            None => Self::Each(Box::new(fetch)),
            Some(batch) => Self::Batches(Arc::new(Batches::new(fetch, batch)?)),
        }))
    }
}

#[async_trait]
impl Lookup for Http {
    fn at_once(&self) -> usize {
        match self {
            Self::Each(_) => OPEN,
            Self::Batches(_) => GATHERED,
        }
    }

    async fn find(&self, key: &Value) -> Result<Option<Value>, Fault> {
        match self {
            Self::Each(fetch) => Ok(fetch.find(key).await?.filter(|found| !found.is_null())),
            Self::Batches(batches) => batches.find(key).await,
        }
    }

    async fn connect(&self) -> Result<Option<String>, Fault> {
        let fetch = match self {
            Self::Each(fetch) => fetch,
            Self::Batches(batches) => batches.fetch(),
        };
        fetch.reach().await.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use axum::extract::{Query, State};
    use axum::http::StatusCode;
    use axum::routing::get;
    use axum::{Json, Router};
    use engine::connector::Shared;
    use engine::{Domain, Retry};
    use serde_json::json;
    use vrl::value::Kind;

    use super::*;

    /// A CRM that knows Ada.
    async fn contacts(
        Query(query): Query<HashMap<String, String>>,
    ) -> Result<Json<serde_json::Value>, StatusCode> {
        match query.get("email").map_or("", String::as_str) {
            "ada+1@example.com" => Ok(Json(json!([{ "code": "C-1", "credit": 100.10 }]))),
            "nobody" => Ok(Json(json!([]))),
            "gone" => Err(StatusCode::NOT_FOUND),
            "odd" => Err(StatusCode::UNPROCESSABLE_ENTITY),
            "" => Err(StatusCode::UNAUTHORIZED),
            _ => Err(StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    /// The same CRM, asked for several at once; how often is counted.
    async fn several(
        State(asked): State<Arc<AtomicUsize>>,
        Query(query): Query<HashMap<String, String>>,
    ) -> Result<Json<serde_json::Value>, StatusCode> {
        asked.fetch_add(1, Ordering::Relaxed);
        let keys: Vec<&str> = query["emails"].split(',').collect();
        if keys.contains(&"odd") {
            return Err(StatusCode::UNPROCESSABLE_ENTITY);
        }
        if keys.contains(&"away") {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        let known = keys.iter().rev().filter(|key| !key.starts_with("nobody"));
        let known: Vec<_> =
            known.map(|key| json!({ "email": key, "code": format!("C-{key}") })).collect();
        Ok(Json(json!({ "contacts": known })))
    }

    async fn lookup() -> Box<dyn Lookup> {
        let one = json!({ "path": "/contacts", "query": { "email": "{{ . }}" }, "item": ".[0]" });
        lookup_of(one).await.0
    }

    /// A look-up by requests for several keys, and how many there were.
    async fn batched(size: usize) -> (Box<dyn Lookup>, Arc<AtomicUsize>) {
        let query = json!({ "emails": "{{ join!(., \",\") }}" });
        let batch = json!({ "size": size, "key": ".email" });
        lookup_of(
            json!({ "path": "/several", "query": query, "item": ".contacts", "batch": batch }),
        )
        .await
    }

    async fn lookup_of(options: serde_json::Value) -> (Box<dyn Lookup>, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new()
            .route("/contacts", get(contacts))
            .route("/several", get(several))
            .with_state(Arc::clone(&asked));
        tokio::spawn(async move { axum::serve(listener, app).await });
        let setup = Setup {
            route: "tests/lookup".into(),
            input: Kind::any(),
            input_schema: None,
            output_schema: None,
            connection: Some(json!({ "url": url, "allow_private": true })),
            listen: ([127, 0, 0, 1], 0).into(),
            folder: ".".into(),
            shared: Shared::default(),
        };
        let options: HttpOptions = serde_json::from_value(options).unwrap();
        let mut findings = Findings::default();
        Http::check(&options, Path::new("."), &mut findings);
        assert!(findings.0.is_empty(), "{findings:?}");
        (Http::build(options, &setup).unwrap(), asked)
    }

    #[tokio::test]
    async fn an_application_is_asked_by_the_key_and_a_miss_is_nothing() {
        let lookup = lookup().await;
        let found = lookup.find(&"ada+1@example.com".into()).await.unwrap().unwrap();
        assert_eq!(found.as_object().unwrap()["code"].to_string(), "\"C-1\"");
        for key in ["nobody", "gone"] {
            assert_eq!(lookup.find(&key.into()).await.unwrap(), None, "{key}");
        }
    }

    #[tokio::test]
    async fn only_an_answer_about_the_key_itself_is_its_fault() {
        let lookup = lookup().await;
        let fault = async |key: &str| lookup.find(&key.into()).await.unwrap_err();
        assert_eq!(fault("odd").await.domain, Domain::Data);
        let away = fault("x").await;
        assert_eq!((away.domain, away.retry), (Domain::Remote, Retry::Backoff));
        let refused = fault("").await;
        assert_eq!((refused.domain, refused.retry), (Domain::Remote, Retry::Route));
    }
    #[tokio::test]
    async fn keys_that_are_asked_for_together_go_in_few_requests_and_each_gets_its_own() {
        let (lookup, asked) = batched(20).await;
        let find = |number: usize| {
            let key = if number % 10 == 7 { "nobody" } else { "key" };
            let key = format!("{key}{number}");
            let lookup = &lookup;
            async move { (lookup.find(&key.as_str().into()).await.unwrap(), key) }
        };
        for (found, key) in futures::future::join_all((0..90).map(find)).await {
            let code = found
                .map(|found| found.as_object().unwrap()["code"].to_string_lossy().into_owned());
            assert_eq!(code, (!key.starts_with("nobody")).then(|| format!("C-{key}")));
        }
        let asked = asked.load(Ordering::Relaxed);
        assert!((5..=10).contains(&asked), "{asked} requests for 90 keys, 20 each");
    }

    #[tokio::test]
    async fn a_key_that_is_refused_takes_no_other_with_it() {
        let (lookup, _) = batched(10).await;
        let keys = ["a", "odd", "b"].map(Value::from);
        let found = futures::future::join_all(keys.iter().map(|key| lookup.find(key))).await;
        assert!(matches!(&found[0], Ok(Some(_))) && matches!(&found[2], Ok(Some(_))), "{found:?}");
        assert_eq!(found[1].as_ref().unwrap_err().domain, Domain::Data);
        let keys = ["a", "away"].map(Value::from);
        let found = futures::future::join_all(keys.iter().map(|key| lookup.find(key))).await;
        assert!(found.iter().all(|found| found.as_ref().unwrap_err().domain == Domain::Remote));
        // Who asked first is gone: the other has its answer all the same.
        let (first, second) = (Value::from("first"), Value::from("second"));
        let gone = tokio::time::timeout(Duration::from_millis(1), lookup.find(&first));
        let (gone, found) = futures::join!(gone, lookup.find(&second));
        assert!(gone.is_err() && found.unwrap().is_some());
    }
}
