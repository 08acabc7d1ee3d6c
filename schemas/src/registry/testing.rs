//! A served router and a plain HTTP caller, for the tests of client and server.

use axum::Router;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::server::Server;

/// Serves a registry on a free port of loopback; returns its address.
pub(super) async fn serve(server: &Server) -> String {
    serve_router(server.router(), "127.0.0.1:0").await.0
}

/// Serves anything; aborting the task stops it.
pub(super) async fn serve_router(router: Router, address: &str) -> (String, JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    (address, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
}

/// Calls an API as a foreign client would.
#[derive(Clone)]
pub(super) struct Caller {
    url: String,
    client: reqwest::Client,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) media_type: String,
    pub(super) body: Value,
}

impl Answer {
    /// The body of a success.
    pub(super) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body
    }
}

impl Caller {
    pub(super) fn new(url: String) -> Self {
        let tls = super::client::plain_tls().unwrap();
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).build().unwrap();
        Self { url, client }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, Some(body)).await
    }

    pub(super) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.request(method, path, "application/json", "*/*", body).await
    }

    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        sent: &str,
        accepted: &str,
        body: &Value,
    ) -> Answer {
        self.request(method, path, sent, accepted, body.to_string()).await
    }

    async fn request(
        &self,
        method: &str,
        path: &str,
        sent: &str,
        accepted: &str,
        body: String,
    ) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.client.request(method, format!("{}{path}", self.url)).body(body);
        let answer =
            request.header(CONTENT_TYPE, sent).header(ACCEPT, accepted).send().await.unwrap();
        let status = answer.status().as_u16();
        let media_type = answer.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        let text = answer.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { status, media_type, body }
    }
}
