//! Values in Protobuf: messages by a `.proto` file, or as Confluent's serializers write them.

mod files;
mod message;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use engine::codec::Unknown;
use engine::connector::Findings;
use engine::{Fault, Value};
use protox::prost_reflect::{DynamicMessage, FileDescriptor, MessageDescriptor};
use schemars::JsonSchema;
use schemas::registry::{Content, Registry};
use schemas::{Schema, wire};
use serde::Deserialize;
use tokio::sync::Mutex;

/// A message that a `.proto` file declares. Its imports of `google/protobuf`, `google/type` and
/// `confluent` need no files.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Proto {
    /// The file, from the pipeline file's folder.
    pub file: PathBuf,
    /// The message, with its package: `shop.Order`.
    pub message: String,
    /// The folder where the paths of its imports start, from the pipeline file's folder; without it,
    /// the folder of the file.
    #[serde(default)]
    pub imports: Option<PathBuf>,
}

/// How messages are read.
pub(super) enum Messages {
    /// Each is one of these.
    Declared(MessageDescriptor),
    /// Each names its own.
    Registered(Box<Registered>),
}

/// The schemas of a registry that were needed so far.
pub(super) struct Registered {
    registry: Registry,
    unknown: Unknown,
    known: Mutex<HashMap<u32, Result<FileDescriptor, Fault>>>,
}

impl Proto {
    /// Looks for mistakes.
    pub(super) fn check(&self, folder: &Path, findings: &mut Findings) {
        let Err(mistake) = self.find(folder) else { return };
        match mistake {
            Mistake::File(cause) => findings.route(
                "/kafka/proto/file",
                "proto_invalid",
                format!("The file cannot be compiled: {cause}."),
                "Paths start at the folder of the pipeline file; those of its imports at `imports`.",
            ),
            Mistake::Message(cause, hint) => {
                findings.route("/kafka/proto/message", "unknown_message", cause, &hint);
            }
        }
    }

    /// The message.
    ///
    /// # Errors
    /// A `Config` fault: the file does not declare it.
    pub(super) fn read(&self, folder: &Path) -> Result<Messages, Fault> {
        let found = self.find(folder).map_err(|mistake| match mistake {
            Mistake::File(cause) => {
                Fault::config("proto_invalid", format!("The file of `proto`: {cause}."))
            }
            Mistake::Message(cause, hint) => {
                Fault::config("unknown_message", format!("{cause} {hint}"))
            }
        });
        found.map(Messages::Declared)
    }

    fn find(&self, folder: &Path) -> Result<MessageDescriptor, Mistake> {
        let file = folder.join(&self.file);
        let imports = match &self.imports {
            Some(imports) => folder.join(imports),
            None => file.parent().unwrap_or(folder).to_owned(),
        };
        let compiled = files::from_disk(&file, &imports).map_err(Mistake::File)?;
        let pool = compiled.parent_pool();
        pool.get_message_by_name(&self.message).ok_or_else(|| {
            let (file, message) = (self.file.display(), &self.message);
            let cause = format!("Neither {file} nor what it imports declares `{message}`.");
            let names: Vec<_> =
                compiled.messages().map(|one| format!("`{}`", one.full_name())).collect();
            Mistake::Message(cause, format!("{file} declares {}.", names.join(", ")))
        })
    }
}

/// What is wrong with a [`Proto`].
enum Mistake {
    File(String),
    /// And what to write.
    Message(String, String),
}

impl Messages {
    /// Those whose schemas a registry has.
    pub fn of(registry: Registry) -> Self {
        let (unknown, known) = (Unknown::default(), Mutex::default());
        Self::Registered(Box::new(Registered { registry, unknown, known }))
    }

    /// The event of a message.
    ///
    /// # Errors
    /// A `Data` fault when it is none; a `Remote` one when the registry is away.
    pub async fn read(&self, payload: &[u8], schema: &Schema) -> Result<Value, Fault> {
        let (descriptor, body) = match self {
            Self::Declared(descriptor) => (descriptor.clone(), payload),
            Self::Registered(registered) => registered.message_of(payload).await?,
        };
        let name = descriptor.full_name().to_owned();
        let message = DynamicMessage::decode(descriptor, body).map_err(|error| {
            let message = format!("The value is no message `{name}`: {error}.");
            Fault::data("protobuf_invalid", message)
        })?;
        schemas::json::shape(schema, message::node(&message)).map_err(|error| {
            let message = format!("The message `{name}` does not fit the topic's schema: {error}.");
            Fault::data("message_mismatch", message)
        })
    }
}

impl Registered {
    /// The message that a value names, and its bytes.
    async fn message_of<'p>(
        &self,
        payload: &'p [u8],
    ) -> Result<(MessageDescriptor, &'p [u8]), Fault> {
        let framed = |cause: String| Fault::data("wire_format", cause);
        let (id, rest) = wire::split(payload).map_err(|error| framed(error.to_string()))?;
        let (places, body) = places(rest).ok_or_else(|| {
            framed("The places of the message in its schema cannot be read.".to_owned())
        })?;
        let file = self.file(id).await?;
        let descriptor = message_at(&file, &places).ok_or_else(|| {
            framed(format!(
                "The value is the message {places:?} of schema {id}, which has none there."
            ))
        })?;
        Ok((descriptor, body))
    }

    /// The file of a schema's id, compiled once.
    async fn file(&self, id: u32) -> Result<FileDescriptor, Fault> {
        let mut known = self.known.lock().await;
        if let Some(file) = known.get(&id) {
            return file.clone();
        }
        let content = self.registry.content(id).await;
        let content = content.map_err(|error| self.unknown.fault(id, &error))?;
        self.unknown.found(id);
        let file = match content {
            Content::Protobuf(schema) => files::from_registry(id, &schema).map_err(|cause| {
                Fault::data("schema_invalid", format!("The registry's file is not valid: {cause}."))
            }),
            other => Err(Fault::data(
                "schema_mismatch",
                format!("Schema {id} is one of {}, not of PROTOBUF.", other.kind()),
            )),
        };
        known.insert(id, file.clone());
        file
    }
}

/// Where a message stands among those of its file: its place, and in it the place of the one within,
/// from 0. They come as a count and so many numbers, or as a 0 for the first of the file, all as
/// zigzag varints
/// (<https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format>).
fn places(bytes: &[u8]) -> Option<(Vec<usize>, &[u8])> {
    /// More than `.proto` files can nest.
    const DEEPEST: usize = 64;
    let (count, mut rest) = place(bytes)?;
    if count == 0 {
        return Some((vec![0], rest));
    }
    let mut places = Vec::new();
    for _ in 0..Some(count).filter(|count| *count <= DEEPEST)? {
        let (next, behind) = place(rest)?;
        places.push(next);
        rest = behind;
    }
    Some((places, rest))
}

/// A zigzag varint of at most 32 bits that is not negative.
fn place(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let length = bytes.iter().take(5).position(|byte| byte & 0x80 == 0)? + 1;
    let (varint, rest) = bytes.split_at(length);
    let joined = varint.iter().rev().fold(0_u64, |all, byte| all << 7 | u64::from(byte & 0x7f));
    let place = joined.is_multiple_of(2).then_some(joined / 2)?;
    Some((usize::try_from(place).ok()?, rest))
}

/// As Java's serializer counts: what `map<…>` fields declare is no message.
fn message_at(file: &FileDescriptor, places: &[usize]) -> Option<MessageDescriptor> {
    let (first, within) = places.split_first()?;
    let outermost = file.messages().nth(*first)?;
    within.iter().try_fold(outermost, |message, place| {
        message.child_messages().filter(|child| !child.is_map_entry()).nth(*place)
    })
}

#[cfg(test)]
mod tests;
