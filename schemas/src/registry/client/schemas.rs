//! Schemas by id: memory, disk, then one shared request to the registry.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};

use super::SchemaId;
use super::disk::Disk;
use super::http::{Body, Http, Reference};
use crate::Schema;
use crate::registry::error::RegistryError;

/// How long an unknown id is not asked again: short, since a schema may be registered after its
/// first event is seen.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);
/// How deep references may go; a cycle ends here.
const DEPTH: usize = 32;
const NO_SCHEMA: &str = "the answer holds no schema";
const ENDLESS: &str = "its references never end";

/// What an id stands for: a schema of one of the formats that a registry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A schema of Avro.
    Avro(Arc<Schema>),
    /// A `.proto` file.
    Protobuf(Arc<Protobuf>),
    /// One that is not read here, such as `JSON`.
    Other(String),
}

/// A `.proto` file as the registry has it: its text, or its descriptor in base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protobuf {
    /// The file.
    pub text: String,
    /// Those that it and they import, by the names by which they are imported.
    pub imports: BTreeMap<String, String>,
}

impl Content {
    /// Its format, by the registry's word.
    pub fn kind(&self) -> &str {
        match self {
            Self::Avro(_) => "AVRO",
            Self::Protobuf(_) => "PROTOBUF",
            Self::Other(kind) => kind,
        }
    }
}

type Answer = Result<Content, RegistryError>;
type Asking = Shared<BoxFuture<'static, Answer>>;

pub(super) struct Schemas {
    http: Arc<Http>,
    disk: Option<Disk>,
    known: Mutex<HashMap<SchemaId, State>>,
}

enum State {
    Known(Content),
    Unknown(Instant, RegistryError),
    Asking(Asking),
}

impl Schemas {
    pub(super) fn new(http: Arc<Http>, disk: Option<Disk>) -> Self {
        Self { http, disk, known: Mutex::default() }
    }

    pub(super) async fn get(&self, id: SchemaId) -> Answer {
        let asking = match self.state(id) {
            Ok(answer) => return answer,
            Err(asking) => asking,
        };
        let answer = asking.clone().await;
        self.settle(id, &asking, &answer);
        answer
    }

    /// What is known of an id, or the request that is under way for it.
    fn state(&self, id: SchemaId) -> Result<Answer, Asking> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(&id) {
            Some(State::Known(content)) => return Ok(Ok(content.clone())),
            Some(State::Unknown(since, error)) if since.elapsed() < UNKNOWN_FOR => {
                return Ok(Err(error.clone()));
            }
            Some(State::Asking(asking)) => return Err(asking.clone()),
            _ => {}
        }
        // Unknown ids come from damaged events too, each with another id: forget the old ones.
        known.retain(|_, state| match state {
            State::Unknown(since, _) => since.elapsed() < UNKNOWN_FOR,
            _ => true,
        });
        let asking = ask(Arc::clone(&self.http), self.disk.clone(), id).boxed().shared();
        known.insert(id, State::Asking(asking.clone()));
        Err(asking)
    }

    /// Remembers an answer, once: whoever of the askers comes first.
    fn settle(&self, id: SchemaId, asking: &Asking, answer: &Answer) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(known.get(&id), Some(State::Asking(current)) if current.ptr_eq(asking)) {
            return;
        }
        match answer {
            Ok(content) => known.insert(id, State::Known(content.clone())),
            Err(error @ RegistryError::NotFound { .. }) => {
                known.insert(id, State::Unknown(Instant::now(), error.clone()))
            }
            Err(_) => known.remove(&id),
        };
    }
}

async fn ask(http: Arc<Http>, disk: Option<Disk>, id: SchemaId) -> Answer {
    let doing = format!("reading schema {id}");
    if i32::try_from(id).is_err() {
        let message = "registries' ids are positive 32-bit integers".to_owned();
        return Err(RegistryError::NotFound { doing, message });
    }
    if let Some(disk) = &disk
        && let Some(schema) = disk.read(id).await
    {
        return Ok(Content::Avro(Arc::new(schema)));
    }
    let body = http.schema(id).await?;
    match body.schema_type.as_deref() {
        None | Some("AVRO") => {}
        Some("PROTOBUF") => return protobuf(&http, doing, body).await,
        Some(other) => return Ok(Content::Other(other.to_owned())),
    }
    let (schema, references) = resolve(&http, doing, body).await?;
    if let Some(disk) = &disk {
        disk.write(id, &schema, &references).await;
    }
    Ok(Content::Avro(Arc::new(schema)))
}

/// Why a schema of another format than Avro is none for whoever needs one of Avro.
pub(super) fn not_avro(doing: String, kind: &str) -> RegistryError {
    RegistryError::invalid(doing, format!("it is a {kind} schema; only AVRO can be read"))
}

/// Parses an answer of the registry, with the types that it references.
pub(super) async fn parse(http: &Http, doing: String, body: Body) -> Result<Schema, RegistryError> {
    resolve(http, doing, body).await.map(|(schema, _)| schema)
}

async fn resolve(
    http: &Http,
    doing: String,
    body: Body,
) -> Result<(Schema, Vec<Schema>), RegistryError> {
    let invalid = |message: String| RegistryError::Invalid { doing: doing.clone(), message };
    if let Some(other) = body.schema_type.as_deref().filter(|kind| *kind != "AVRO") {
        return Err(not_avro(doing, other));
    }
    let text = body.schema.ok_or_else(|| invalid(NO_SCHEMA.to_owned()))?;
    let mut references = Vec::new();
    gather(http, body.references.unwrap_or_default(), &mut references, DEPTH).await?;
    let schema =
        Schema::parse_with(&text, &references).map_err(|cause| invalid(cause.to_string()))?;
    Ok((schema, references))
}

/// Reads referenced schemas, those that others use first.
fn gather<'a>(
    http: &'a Http,
    references: Vec<Reference>,
    found: &'a mut Vec<Schema>,
    depth: usize,
) -> BoxFuture<'a, Result<(), RegistryError>> {
    async move {
        for reference in references {
            let doing = format!("reading type `{}`", reference.name);
            if depth == 0 {
                return Err(RegistryError::invalid(doing, ENDLESS));
            }
            let body = http.referenced(&reference).await?;
            gather(http, body.references.unwrap_or_default(), found, depth - 1).await?;
            let text = body.schema.unwrap_or_default();
            let schema = Schema::parse_with(&text, found)
                .map_err(|cause| RegistryError::invalid(doing, cause))?;
            if !found.contains(&schema) {
                found.push(schema);
            }
        }
        Ok(())
    }
    .boxed()
}

/// Reads a file of Protobuf with all that it imports; what is known everywhere (`google/protobuf/…`)
/// is no reference.
async fn protobuf(http: &Http, doing: String, body: Body) -> Answer {
    let text = body.schema.ok_or_else(|| RegistryError::invalid(doing, NO_SCHEMA))?;
    let mut imports = BTreeMap::new();
    imported(http, body.references.unwrap_or_default(), &mut imports, DEPTH).await?;
    Ok(Content::Protobuf(Arc::new(Protobuf { text, imports })))
}

fn imported<'a>(
    http: &'a Http,
    references: Vec<Reference>,
    found: &'a mut BTreeMap<String, String>,
    depth: usize,
) -> BoxFuture<'a, Result<(), RegistryError>> {
    async move {
        for reference in references {
            if found.contains_key(&reference.name) {
                continue;
            }
            let doing = format!("reading file `{}`", reference.name);
            if depth == 0 {
                return Err(RegistryError::invalid(doing, ENDLESS));
            }
            let body = http.referenced(&reference).await?;
            let text = body.schema.ok_or_else(|| RegistryError::invalid(doing, NO_SCHEMA))?;
            found.insert(reference.name, text);
            imported(http, body.references.unwrap_or_default(), found, depth - 1).await?;
        }
        Ok(())
    }
    .boxed()
}
