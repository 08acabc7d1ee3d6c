//! The HTTP client that `object_store` speaks through: ours, with its guard against private addresses,
//! its certificates and its one pool of connections. (Its own would turn HTTP/2 on for every connection.)

use std::fmt;

use async_trait::async_trait;
use http_body_util::BodyExt as _;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use reqwest::{Body, Client, Request, StatusCode};

/// How much of a refusal is read.
const MOST: usize = 16 << 10;

#[derive(Debug)]
pub(super) struct Connector(pub Client);

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Service(self.0.clone())))
    }
}

#[derive(Debug)]
struct Service(Client);

/// An answer that is no success. `object_store` keeps its own such error to itself, so it is told as one
/// of the exchange, which keeps its cause.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: StatusCode,
    /// S3's name of it, such as `NoSuchBucket`; empty where the answer had none.
    pub code: String,
    /// What the store says of it.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.code)
    }
}

impl std::error::Error for Refusal {}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string().parse();
        let url = url.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let mut request = Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        *request.body_mut() = Some(Body::wrap(body));
        let mut response = self.0.execute(request).await.map_err(failed)?;
        let status = response.status();
        if !status.is_success() {
            let mut body = Vec::new();
            crate::fill(&mut response, &mut body, MOST).await.map_err(failed)?;
            let refusal = Refusal::of(status, &String::from_utf8_lossy(&body));
            return Err(HttpError::new(HttpErrorKind::Unknown, refusal));
        }
        let headers = std::mem::take(response.headers_mut());
        let body = HttpResponseBody::new(Body::from(response).map_err(failed));
        let mut answer = HttpResponse::new(body);
        (*answer.status_mut(), *answer.headers_mut()) = (status, headers);
        Ok(answer)
    }
}

fn failed(error: reqwest::Error) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, error.without_url())
}

impl Refusal {
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
    fn of(status: StatusCode, body: &str) -> Self {
        let element = |name: &str| {
            let (_, rest) = body.split_once(&format!("<{name}>"))?;
            rest.split_once(&format!("</{name}>")).map(|(text, _)| text.to_owned())
        };
        let (code, message) = (element("Code"), element("Message"));
        Self { status, code: code.unwrap_or_default(), message: message.unwrap_or_default() }
    }
}
