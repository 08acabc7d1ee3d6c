//! Speaking to the registry: schema_registry_converter where it has the call, reqwest for the
//! rest, and one reading of what came back.

use std::error::Error as _;
use std::net::IpAddr;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, ClientBuilder, Method, StatusCode, Url};
use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_all_subjects, get_all_versions, perform_sr_call,
};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{
    RawError, RawRegisteredSchema, RegisteredReference, SrCall,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Auth, Level, RegistryConfig, SchemaId, Verdict};
use crate::registry::error::RegistryError;

/// A schema as the registry's answers hold it.
pub(super) type Body = RawRegisteredSchema;
/// A named type that lives in another subject.
pub(super) type Reference = RegisteredReference;

const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// What may stand in a subject's name within a path: RFC 3986's unreserved characters.
const SUBJECT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One registry, at one or more addresses.
pub(super) struct Http {
    endpoints: Vec<Endpoint>,
    client: Client,
}

struct Endpoint {
    /// Without credentials and without a slash at the end.
    url: String,
    auth: Auth,
    settings: SrSettings,
}

/// What a call gave instead of its answer.
struct Failure {
    status: Option<u16>,
    /// The registry's own code; 0 where it gave none.
    code: u32,
    message: String,
}

impl Http {
    pub(super) fn new(config: &RegistryConfig) -> Result<Self, RegistryError> {
        let urls = config
            .urls
            .iter()
            .map(|url| address(url, &config.auth))
            .collect::<Result<Vec<_>, RegistryError>>()?;
        if urls.is_empty() {
            return Err(RegistryError::invalid(PREPARING, "no address is given"));
        }
        let is_secure = urls.iter().any(|(url, _)| url.scheme() == "https");
        let tls = if is_secure { system_tls()? } else { plain_tls()? };
        let is_local = urls.iter().all(|(url, _)| is_loopback(url));
        let builder = || {
            let builder = Client::builder().tls_backend_preconfigured(tls.clone());
            if is_local { builder.no_proxy() } else { builder }
        };
        let endpoints = urls
            .into_iter()
            .map(|(url, auth)| Endpoint::new(url, auth, config, builder()))
            .collect::<Result<Vec<_>, RegistryError>>()?;
        let client = builder()
            .timeout(config.timeout)
            .build()
            .map_err(|cause| RegistryError::invalid(PREPARING, cause))?;
        Ok(Self { endpoints, client })
    }

    /// The registry's first address: what tells it from other registries.
    pub(super) fn name(&self) -> &str {
        self.endpoints.first().map_or("", |endpoint| &endpoint.url)
    }

    pub(super) async fn schema(&self, id: SchemaId) -> Result<Body, RegistryError> {
        let doing = format!("reading schema {id}");
        self.ask(&doing, |endpoint| endpoint.convert(SrCall::GetById(id)).boxed()).await
    }

    pub(super) async fn latest(&self, subject: &str) -> Result<Body, RegistryError> {
        let doing = format!("reading the latest version of subject `{subject}`");
        let subject = encoded(subject);
        self.ask(&doing, |endpoint| endpoint.convert(SrCall::GetLatest(&subject)).boxed()).await
    }

    pub(super) async fn referenced(&self, reference: &Reference) -> Result<Body, RegistryError> {
        let Reference { name, subject, version, .. } = reference;
        let doing = format!("reading type `{name}`, version {version} of subject `{subject}`");
        let subject = encoded(subject);
        let call = SrCall::GetBySubjectAndVersion(&subject, *version);
        self.ask(&doing, |endpoint| endpoint.convert(call).boxed()).await
    }

    pub(super) async fn lookup(&self, subject: &str, text: &str) -> Result<Body, RegistryError> {
        let doing = format!("looking a schema up under subject `{subject}`");
        let (subject, body) = (encoded(subject), request(text).to_string());
        let call = SrCall::PostForVersion(&subject, &body);
        self.ask(&doing, |endpoint| endpoint.convert(call).boxed()).await
    }

    pub(super) async fn register(
        &self,
        subject: &str,
        text: &str,
    ) -> Result<SchemaId, RegistryError> {
        let doing = format!("registering a schema under subject `{subject}`");
        let (path, body) = (encoded(subject), request(text).to_string());
        let call = SrCall::PostNew(&path, &body);
        let answer = self.ask(&doing, |endpoint| endpoint.convert(call).boxed()).await;
        match answer {
            Ok(body) => body.id.ok_or_else(|| RegistryError::invalid(doing, "no id came back")),
            Err(RegistryError::Incompatible { messages, diff, .. }) => {
                Err(RegistryError::Incompatible { subject: subject.to_owned(), messages, diff })
            }
            Err(other) => Err(other),
        }
    }

    pub(super) async fn subjects(&self) -> Result<Vec<String>, RegistryError> {
        self.ask("listing the subjects", |endpoint| endpoint.subjects().boxed()).await
    }

    pub(super) async fn versions(&self, subject: &str) -> Result<Vec<u32>, RegistryError> {
        let doing = format!("listing the versions of subject `{subject}`");
        let subject = encoded(subject);
        self.ask(&doing, |endpoint| endpoint.versions(&subject).boxed()).await
    }

    /// Asks about every version that the subject's level names; registries that lack that route
    /// (Karapace) are asked about the latest.
    pub(super) async fn check(&self, subject: &str, text: &str) -> Result<Verdict, RegistryError> {
        let doing = format!("checking a schema against subject `{subject}`");
        let subject = encoded(subject);
        let body = request(text);
        let path = |versions| format!("/compatibility/subjects/{subject}/{versions}?verbose=true");
        let (all, latest) = (path("versions"), path("versions/latest"));
        let answer = match self.json(&doing, Method::POST, &all, Some(&body)).await {
            Err(RegistryError::NotFound { .. }) => {
                self.json(&doing, Method::POST, &latest, Some(&body)).await
            }
            answer => answer,
        };
        match answer {
            Ok(CompatibilityBody { is_compatible: true, .. }) => Ok(Verdict::Compatible),
            Ok(body) => Ok(Verdict::Incompatible(body.messages)),
            Err(RegistryError::NotFound { .. }) => Ok(Verdict::Compatible),
            Err(other) => Err(other),
        }
    }

    pub(super) async fn level(&self, subject: &str) -> Result<Level, RegistryError> {
        let doing = format!("reading the compatibility level of subject `{subject}`");
        let path = format!("/config/{}?defaultToGlobal=true", encoded(subject));
        let body = match self.json::<LevelBody>(&doing, Method::GET, &path, None).await {
            Err(RegistryError::NotFound { .. }) => {
                self.json(&doing, Method::GET, "/config", None).await?
            }
            answer => answer?,
        };
        body.level.parse().map_err(|cause| RegistryError::invalid(doing, cause))
    }

    pub(super) async fn set_level(&self, subject: &str, level: Level) -> Result<(), RegistryError> {
        let doing = format!("setting the compatibility level of subject `{subject}`");
        let path = format!("/config/{}", encoded(subject));
        let body = json!({ "compatibility": level.name() });
        self.json::<Value>(&doing, Method::PUT, &path, Some(&body)).await.map(drop)
    }

    async fn json<T: DeserializeOwned>(
        &self,
        doing: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, RegistryError> {
        self.ask(doing, |endpoint| endpoint.json(&self.client, &method, path, body).boxed()).await
    }

    /// Asks each address in turn until one can answer.
    async fn ask<'a, T>(
        &'a self,
        doing: &str,
        call: impl Fn(&'a Endpoint) -> BoxFuture<'a, Result<T, Failure>>,
    ) -> Result<T, RegistryError> {
        let mut last = RegistryError::invalid(doing, "no address is given");
        for endpoint in &self.endpoints {
            let failure = match call(endpoint).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let believed = !failure.is_bare_404() || endpoint.is_registry(&self.client).await;
            last = failure.explain(doing, &endpoint.url, believed);
            if !last.is_temporary() {
                break;
            }
        }
        Err(last)
    }
}

const PREPARING: &str = "preparing the registry's client";

impl Endpoint {
    fn new(
        url: Url,
        auth: Auth,
        config: &RegistryConfig,
        client: ClientBuilder,
    ) -> Result<Self, RegistryError> {
        let url = url.as_str().trim_end_matches('/').to_owned();
        let mut settings = SrSettings::new_builder(url.clone());
        settings.set_timeout(config.timeout);
        match &auth {
            Auth::None => {}
            Auth::Basic { user, password } => {
                settings.set_basic_authorization(user, Some(password));
            }
            Auth::Bearer(token) => {
                settings.set_token_authorization(token);
            }
        }
        let settings = settings
            .build_with(client)
            .map_err(|cause| RegistryError::invalid(PREPARING, cause))?;
        Ok(Self { url, auth, settings })
    }

    async fn convert(&self, call: SrCall<'_>) -> Result<Body, Failure> {
        perform_sr_call(&self.settings, call).await.map_err(Failure::from)
    }

    async fn subjects(&self) -> Result<Vec<String>, Failure> {
        get_all_subjects(&self.settings).await.map_err(Failure::from)
    }

    async fn versions(&self, subject: &str) -> Result<Vec<u32>, Failure> {
        get_all_versions(&self.settings, subject.to_owned()).await.map_err(Failure::from)
    }

    async fn json<T: DeserializeOwned>(
        &self,
        client: &Client,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Failure> {
        let text = self.send(client, method, path, body).await?;
        serde_json::from_str(&text).map_err(|cause| Failure {
            status: None,
            code: 0,
            message: format!("its answer is not what a registry answers: {cause}"),
        })
    }

    async fn send(
        &self,
        client: &Client,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<String, Failure> {
        let mut request = client
            .request(method.clone(), format!("{}{path}", self.url))
            .header(ACCEPT, MEDIA_TYPE)
            .header(CONTENT_TYPE, MEDIA_TYPE);
        request = match &self.auth {
            Auth::None => request,
            Auth::Basic { user, password } => request.basic_auth(user, Some(password)),
            Auth::Bearer(token) => request.bearer_auth(token),
        };
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if status.is_success() {
            return Ok(text);
        }
        let said = serde_json::from_str::<RawError>(&text).ok();
        Err(Failure {
            status: Some(status.as_u16()),
            code: said.as_ref().map_or(0, |said| said.error_code),
            message: said.map_or_else(|| format!("HTTP {status}"), |said| said.message),
        })
    }

    /// Whether a registry, rather than something else at its address, is answering.
    async fn is_registry(&self, client: &Client) -> bool {
        self.json::<LevelBody>(client, &Method::GET, "/config", None).await.is_ok()
    }
}

impl Failure {
    /// A 404 without the registry's own code: perhaps a wrong address, which would make every
    /// schema look unknown.
    fn is_bare_404(&self) -> bool {
        self.status == Some(404) && !(40400..40500).contains(&self.code)
    }

    fn explain(self, doing: &str, url: &str, believed: bool) -> RegistryError {
        let Self { status, code, message } = self;
        let doing = doing.to_owned();
        let url = url.to_owned();
        match status {
            Some(409) => RegistryError::Incompatible {
                subject: String::new(),
                messages: vec![message],
                diff: Vec::new(),
            },
            Some(status @ (401 | 403)) => RegistryError::Refused { doing, url, status, message },
            Some(404 | 405) if believed => RegistryError::NotFound { doing, message },
            Some(404) => {
                let cause = "HTTP 404, and not from a registry. Check the address".to_owned();
                RegistryError::Unreachable { doing, url, cause }
            }
            Some(status @ 400..500) if !matches!(status, 408 | 429) => {
                RegistryError::Invalid { doing, message: format!("{message} (HTTP {status})") }
            }
            Some(status) => {
                let cause = format!("HTTP {status}, code {code}: {message}");
                RegistryError::Unreachable { doing, url, cause }
            }
            None => RegistryError::Unreachable { doing, url, cause: message },
        }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        Self { status: None, code: 0, message: chain(&error.without_url()) }
    }
}

/// The converter keeps the registry's answer as its error's source, and the status only in words.
impl From<SRCError> for Failure {
    fn from(error: SRCError) -> Self {
        let status = error.error.rsplit_once("failed with status ").and_then(|(_, status)| {
            status.split(' ').next()?.parse().ok().and_then(|code| StatusCode::from_u16(code).ok())
        });
        match error.source().and_then(|source| source.downcast_ref::<RawError>()) {
            Some(said) => Self {
                status: status.map(|status| status.as_u16()),
                code: said.error_code,
                message: said.message.clone(),
            },
            None => Self { status: None, code: 0, message: chain(&error) },
        }
    }
}

/// An error and its causes in one line; the converter's own `Display` repeats its cause.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut causes = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        causes.push(match error.downcast_ref::<SRCError>() {
            Some(error) => error.error.clone(),
            None => error.to_string(),
        });
        next = error.source();
    }
    causes.dedup();
    causes.join(": ")
}

#[derive(Deserialize)]
struct CompatibilityBody {
    is_compatible: bool,
    #[serde(default)]
    messages: Vec<String>,
}

#[derive(Deserialize)]
struct LevelBody {
    #[serde(rename = "compatibilityLevel")]
    level: String,
}

fn request(text: &str) -> Value {
    json!({ "schema": text })
}

fn encoded(subject: &str) -> String {
    utf8_percent_encode(subject, SUBJECT).to_string()
}

/// An address without its credentials, which become basic authentication if there is no other.
fn address(text: &str, auth: &Auth) -> Result<(Url, Auth), RegistryError> {
    let invalid = |cause: &str| {
        RegistryError::invalid(PREPARING, format!("`{}`: {cause}", without_credentials(text)))
    };
    let mut url = Url::parse(text).map_err(|cause| invalid(&cause.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid("an http:// or https:// address is needed"));
    }
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let auth = match (auth, url.username(), url.password()) {
        (Auth::None, user, password) if !user.is_empty() || password.is_some() => {
            Auth::Basic { user: plain(user), password: plain(password.unwrap_or_default()) }
        }
        _ => auth.clone(),
    };
    // These fail only for addresses without a host, which http ones always have.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Ok((url, auth))
}

/// An address as it may be shown.
pub(super) fn without_credentials(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => url.to_owned(),
    }
}

/// A proxy of the environment is not meant for this machine.
fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

type TlsBuilder = rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>;

/// Our own TLS configuration: reqwest panics where the process has installed no provider.
fn tls_builder() -> Result<TlsBuilder, RegistryError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| RegistryError::invalid(PREPARING, cause))
}

/// Trusts the certificates that the system trusts.
fn system_tls() -> Result<rustls::ClientConfig, RegistryError> {
    let builder = tls_builder()?;
    let verifier = rustls_platform_verifier::Verifier::new(Arc::clone(builder.crypto_provider()))
        .map_err(|cause| RegistryError::invalid(PREPARING, cause))?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    Ok(builder.with_no_client_auth())
}

/// For http:// only: trusts nobody, and needs none of the system's certificates, which a bare
/// container may lack.
pub(in crate::registry) fn plain_tls() -> Result<rustls::ClientConfig, RegistryError> {
    let nobody = rustls::RootCertStore::empty();
    Ok(tls_builder()?.with_root_certificates(nobody).with_no_client_auth())
}
