//! Values of events: decoded by the schema that their first bytes name, encoded by the topic's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use schemas::registry::{Registry, RegistryError};
use schemas::{Decoder, Encoder, Schema, wire};

use crate::clock::Moment;
use crate::{Fault, Value};

/// How long a schema that the registry does not know may still appear: registries replicate, and a
/// producer's registration may be on its way.
const PATIENCE: Duration = Duration::from_secs(30);

/// Decodes the values of one route's topic.
pub struct Decoders {
    registry: Registry,
    /// The schema that the topic declares: values take its form, whatever version wrote them.
    reader: Option<Schema>,
    known: RwLock<HashMap<u32, Arc<Decoder>>>,
    unknown: Unknown,
}

/// The schemas that events name and that their registry does not know, each since when.
#[derive(Default)]
pub struct Unknown(Mutex<HashMap<u32, Moment>>);

impl Unknown {
    /// Forgets an id that is known now.
    pub fn found(&self, id: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// What it means that an event's schema cannot be had: an unknown id is the event's fault only
    /// after a while.
    pub fn fault(&self, id: u32, error: &RegistryError) -> Fault {
        let fault = registry_fault(&format!("Reading schema {id}"), error);
        if fault.cause != "schema_unknown" {
            return fault;
        }
        let now = Moment::now();
        let mut unknown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *unknown.entry(id).or_insert(now);
        match now.since(since) < PATIENCE {
            true => Fault::remote("schema_unknown", fault.message),
            false => fault,
        }
    }
}

impl Decoders {
    /// Decoders by the schemas of a registry; values take the form of `reader`, if there is one.
    pub fn new(registry: &Registry, reader: Option<&Schema>) -> Self {
        Self {
            registry: registry.clone(),
            reader: reader.cloned(),
            known: RwLock::default(),
            unknown: Unknown::default(),
        }
    }

    /// A view for one task, which remembers the decoder that it used last.
    pub fn view(self: &Arc<Self>) -> Decoding {
        Decoding { decoders: Arc::clone(self), last: None }
    }

    fn cached(&self, id: u32) -> Option<Arc<Decoder>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    async fn fetch(&self, id: u32) -> Result<Arc<Decoder>, Fault> {
        let schema = match self.registry.schema(id).await {
            Ok(schema) => schema,
            Err(error) => return Err(self.unknown.fault(id, &error)),
        };
        self.unknown.found(id);
        let decoder = Decoder::new(&schema, self.reader.as_ref()).map_err(|error| {
            let message = format!(
                "The event was written with schema {id}, which cannot be read as the topic's \
                 declared schema: {error}."
            );
            Fault::data("schema_mismatch", message)
        })?;
        let decoder = Arc::new(decoder);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(id, Arc::clone(&decoder));
        Ok(decoder)
    }
}

/// One task's view of [`Decoders`].
pub struct Decoding {
    decoders: Arc<Decoders>,
    last: Option<(u32, Arc<Decoder>)>,
}

impl Decoding {
    /// Decodes a value in the wire format.
    ///
    /// # Errors
    /// A `Data` fault when it is not one; a `Remote` fault when its schema cannot be had now.
    pub async fn decode(&mut self, payload: &[u8]) -> Result<Value, Fault> {
        let (id, body) =
            wire::split(payload).map_err(|error| Fault::data("wire_format", error.to_string()))?;
        let decoder = match &self.last {
            Some((last, decoder)) if *last == id => decoder,
            _ => {
                let decoder = match self.decoders.cached(id) {
                    Some(decoder) => decoder,
                    None => self.decoders.fetch(id).await?,
                };
                &self.last.insert((id, decoder)).1
            }
        };
        decoder.decode(body).map_err(|error| Fault::data("avro_decode", error.to_string()))
    }
}

/// Encodes values by one schema, which the registry holds.
pub(crate) struct Encoding {
    header: [u8; wire::HEADER],
    encoder: Encoder,
}

impl Encoding {
    /// Registers the schema under the topic's subject; without a schema takes the subject's latest.
    ///
    /// # Errors
    /// A `Config` fault when the registry refuses the schema or there is none; a `Remote` fault when
    /// it does not answer.
    pub async fn settle(
        registry: &Registry,
        topic: &str,
        schema: Option<&Schema>,
    ) -> Result<Self, Fault> {
        let subject = format!("{topic}-value");
        let doing = format!("Registering the schema of topic `{topic}`");
        let (id, schema) = match schema {
            Some(schema) => {
                let id = registry.register(&subject, schema).await;
                (id.map_err(|error| registry_fault(&doing, &error))?, schema.clone())
            }
            None => match registry.latest(&subject).await {
                Ok(latest) => (latest.id, Schema::clone(&latest.schema)),
                Err(RegistryError::NotFound { .. }) => {
                    let message = format!(
                        "Topic `{topic}` has no schema: give it one under `topics`, or register \
                         subject `{subject}`."
                    );
                    return Err(Fault::config("schema_missing", message));
                }
                Err(error) => {
                    let doing = format!("Looking up the schema of topic `{topic}`");
                    return Err(registry_fault(&doing, &error));
                }
            },
        };
        let encoder = Encoder::new(&schema).map_err(|error| {
            Fault::config("schema_invalid", format!("The schema of topic `{topic}`: {error}."))
        })?;
        Ok(Self { header: wire::header(id), encoder })
    }

    /// Encodes a value in the wire format.
    ///
    /// # Errors
    /// A `Data` fault that names the fields that do not fit.
    pub fn encode(&self, value: &Value) -> Result<Bytes, Fault> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(&self.header);
        match self.encoder.encode(value, &mut out) {
            Ok(()) => Ok(Bytes::from(out)),
            Err(error) => Err(Fault::data("avro_encode", error.to_string())),
        }
    }
}

/// What the registry says, as a fault. Only its clear word about the schema is ours to mend; when
/// it cannot answer, that says nothing about the data.
fn registry_fault(doing: &str, error: &RegistryError) -> Fault {
    match error {
        RegistryError::Unreachable { .. } => {
            Fault::remote("registry_unreachable", format!("{doing}: {error}."))
        }
        RegistryError::NotFound { .. } => {
            Fault::data("schema_unknown", format!("{doing}: {error}."))
        }
        RegistryError::Incompatible { diff, .. } => {
            let changes =
                if diff.is_empty() { String::new() } else { format!(" ({})", diff.join(", ")) };
            // It waits: whoever mends the subject's versions or its compatibility needs no restart.
            Fault::refused("schema_incompatible", format!("{doing}: {error}{changes}."))
        }
        RegistryError::Invalid { .. } => {
            Fault::config("schema_invalid", format!("{doing}: {error}."))
        }
        RegistryError::Refused { .. } => {
            Fault::refused("registry_refused", format!("{doing}: {error}."))
        }
    }
}
