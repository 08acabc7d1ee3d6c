//! The registry's client: schemas by id from memory, from disk, then over HTTP.

mod disk;
mod http;
mod schemas;

use std::fmt::{self, Debug, Formatter};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::disk::Disk;
use self::http::{Body, Http};
use self::schemas::Schemas;
use super::error::RegistryError;
use crate::Schema;
use crate::compatibility;

#[cfg(test)]
pub(super) use self::http::plain_tls;
pub use self::schemas::{Content, Protobuf};
pub use crate::compatibility::Level;
pub use crate::wire::SchemaId;

/// How the registry knows us.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Auth {
    /// It asks for nothing.
    #[default]
    None,
    /// HTTP basic; at Confluent Cloud the API key and its secret.
    Basic {
        /// The user, or the API key.
        user: String,
        /// The password, or the API secret.
        password: String,
    },
    /// A bearer token.
    Bearer(String),
}

impl Debug for Auth {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic(…)",
            Self::Bearer(_) => "Bearer(…)",
        })
    }
}

/// Where the registry is and how to speak to it.
#[derive(Clone)]
pub struct RegistryConfig {
    /// The addresses of one registry: `http://localhost:8081`. The next is asked when one cannot
    /// answer.
    pub urls: Vec<String>,
    /// How the registry knows us.
    pub auth: Auth,
    /// Where schemas are kept by id, so that a route starts while the registry is down. Two
    /// registries may share a directory. None for a registry that may be emptied: it would give
    /// an id a second meaning.
    pub cache_directory: Option<PathBuf>,
    /// How long one address may take to answer.
    pub timeout: Duration,
}

/// Addresses may hold credentials, which are not shown.
impl Debug for RegistryConfig {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let urls = self.urls.iter().map(|url| http::without_credentials(url));
        f.debug_struct("RegistryConfig")
            .field("urls", &urls.collect::<Vec<_>>())
            .field("auth", &self.auth)
            .field("cache_directory", &self.cache_directory)
            .field("timeout", &self.timeout)
            .finish()
    }
}

impl RegistryConfig {
    /// One address, no credentials, no disk cache, ten seconds.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            auth: Auth::None,
            cache_directory: None,
            timeout: Duration::from_secs(10),
        }
    }
}

/// A version of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The subject: `shop.orders-value`.
    pub subject: String,
    /// Its version, from 1.
    pub version: u32,
    /// The schema's id.
    pub id: SchemaId,
    /// The schema.
    pub schema: Arc<Schema>,
}

/// Whether a subject would take a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It would.
    Compatible,
    /// It would not, for these reasons.
    Incompatible(Vec<String>),
}

/// A client of one registry. Clones share its memory and its connections.
///
/// No call repeats itself after a failure: whoever asks knows how long to wait (see
/// [`RegistryError::is_temporary`]).
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    http: Arc<Http>,
    disk: Option<Disk>,
    schemas: Schemas,
}

impl Registry {
    /// Prepares a client; nothing is asked yet.
    ///
    /// # Errors
    /// [`RegistryError::Invalid`]: an address is not an http or https URL, or there is none.
    pub fn new(config: RegistryConfig) -> Result<Self, RegistryError> {
        let http = Arc::new(Http::new(&config)?);
        let disk = config.cache_directory.map(|root| Disk::new(root, http.name()));
        let schemas = Schemas::new(Arc::clone(&http), disk.clone());
        Ok(Self(Arc::new(Inner { http, disk, schemas })))
    }

    /// The schema of an id: from memory, from disk, then from the registry. Concurrent askers
    /// share one request; an unknown id is not asked again for a second.
    ///
    /// # Errors
    /// Any but [`RegistryError::Incompatible`].
    pub async fn schema(&self, id: SchemaId) -> Result<Arc<Schema>, RegistryError> {
        match self.0.schemas.get(id).await? {
            Content::Avro(schema) => Ok(schema),
            other => Err(schemas::not_avro(format!("reading schema {id}"), other.kind())),
        }
    }

    /// The schema of an id, of whatever format, as [`schema`](Self::schema) has those of Avro. Those
    /// of other formats are not kept on disk.
    ///
    /// # Errors
    /// Any but [`RegistryError::Incompatible`].
    pub async fn content(&self, id: SchemaId) -> Result<Content, RegistryError> {
        self.0.schemas.get(id).await
    }

    /// Registers a schema under a subject; the id of one already there is simply returned. While the
    /// registry cannot answer, one that was registered from here before has the id that is kept on
    /// disk: that never changes.
    ///
    /// # Errors
    /// [`RegistryError::Incompatible`], with reasons and what changed, if the subject's level
    /// forbids it; the others as they come.
    pub async fn register(
        &self,
        subject: &str,
        schema: &Schema,
    ) -> Result<SchemaId, RegistryError> {
        match (self.0.http.register(subject, schema.text()).await, &self.0.disk) {
            (Ok(id), Some(disk)) => {
                disk.note_registered(subject, schema, id).await;
                Ok(id)
            }
            (Err(error), Some(disk)) if error.is_temporary() => {
                let id = disk.registered(subject, schema).await.ok_or(error)?;
                tracing::info!(subject, id, "the registry is away; the schema's id is known");
                Ok(id)
            }
            (Err(RegistryError::Incompatible { messages, .. }), _) => {
                Err(self.explain(subject, schema, messages).await)
            }
            (answer, _) => answer,
        }
    }

    /// Puts what the rules say, and what changed, in place of the registry's message; if the
    /// latest version cannot be had, the registry's message is what there is.
    async fn explain(&self, subject: &str, schema: &Schema, said: Vec<String>) -> RegistryError {
        let subject = subject.to_owned();
        let Ok(latest) = self.latest(&subject).await else {
            return RegistryError::Incompatible { subject, messages: said, diff: Vec::new() };
        };
        let level = self.compatibility_level(&subject).await.unwrap_or_default();
        let found = compatibility::check(level, schema, std::slice::from_ref(&*latest.schema));
        let messages = match found.is_empty() {
            true => said,
            false => found.iter().map(ToString::to_string).collect(),
        };
        let diff = compatibility::changes(&latest.schema, schema);
        RegistryError::Incompatible { subject, messages, diff }
    }

    /// The version under which a subject holds a schema.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] if it does not hold it; the others as they come.
    pub async fn lookup(
        &self,
        subject: &str,
        schema: &Schema,
    ) -> Result<Registered, RegistryError> {
        let found = self.0.http.lookup(subject, schema.text()).await?;
        self.registered(subject, found).await
    }

    /// The latest version of a subject.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] if there is no such subject; the others as they come.
    pub async fn latest(&self, subject: &str) -> Result<Registered, RegistryError> {
        let found = self.0.http.latest(subject).await?;
        self.registered(subject, found).await
    }

    async fn registered(&self, subject: &str, found: Body) -> Result<Registered, RegistryError> {
        let doing = || format!("reading a version of subject `{subject}`");
        let (Some(id), Some(version)) = (found.id, found.version) else {
            return Err(RegistryError::invalid(doing(), "the answer has no id or no version"));
        };
        let schema = Arc::new(schemas::parse(&self.0.http, doing(), found).await?);
        Ok(Registered { subject: subject.to_owned(), version, id, schema })
    }

    /// The versions of a subject, oldest first.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] if there is no such subject; the others as they come.
    pub async fn versions(&self, subject: &str) -> Result<Vec<u32>, RegistryError> {
        self.0.http.versions(subject).await
    }

    /// Every subject.
    ///
    /// # Errors
    /// As they come.
    pub async fn subjects(&self) -> Result<Vec<String>, RegistryError> {
        self.0.http.subjects().await
    }

    /// Whether a subject would take a schema; a subject that does not exist takes any.
    ///
    /// # Errors
    /// As they come; an incompatible schema is a verdict, not an error.
    pub async fn check(&self, subject: &str, schema: &Schema) -> Result<Verdict, RegistryError> {
        self.0.http.check(subject, schema.text()).await
    }

    /// The level that holds for a subject: its own, or the registry's.
    ///
    /// # Errors
    /// As they come.
    pub async fn compatibility_level(&self, subject: &str) -> Result<Level, RegistryError> {
        self.0.http.level(subject).await
    }

    /// Sets a subject's own level.
    ///
    /// # Errors
    /// As they come.
    pub async fn set_compatibility_level(
        &self,
        subject: &str,
        level: Level,
    ) -> Result<(), RegistryError> {
        self.0.http.set_level(subject, level).await
    }
}

impl Debug for Registry {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registry").field(&self.0.http.name()).finish()
    }
}

#[cfg(test)]
mod tests;
