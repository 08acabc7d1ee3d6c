//! A record of theirs as one of our events.

use std::path::Path;
use std::sync::Arc;

use engine::clock::unix_millis;
use engine::codec::{Decoders, Decoding};
use engine::expression::Program;
use engine::{Draft, Event, Fault, Value, event};
use schemas::Schema;
use schemas::registry::Registry;
use serde_json::json;
use tokio::sync::Mutex;

use super::protobuf::Messages;
use super::{Form, KafkaOptions};

/// How records are read.
pub(super) struct Reading {
    values: Values,
    schema: Schema,
    id_header: Option<String>,
    key: Option<Program>,
}

/// What their values are.
enum Values {
    Json,
    /// By the schemas of their registry.
    Avro(Mutex<Decoding>),
    Protobuf(Messages),
    Text,
}

impl Reading {
    /// # Errors
    /// A `Config` fault when the registry cannot be one, or the message is not declared.
    pub fn new(
        options: &KafkaOptions,
        folder: &Path,
        schema: Schema,
        key: Option<Program>,
    ) -> Result<Self, Fault> {
        let registry = || {
            let missing = || Fault::config("registry", "No `registry` is named.");
            let registry = options.registry.as_ref().ok_or_else(missing)?;
            Registry::new(registry.config())
                .map_err(|error| Fault::config("registry", format!("{error}.")))
        };
        let values = match (options.value, &options.proto) {
            (Form::Json, _) => Values::Json,
            (Form::Text, _) => Values::Text,
            (Form::Avro, _) => {
                let decoders = Arc::new(Decoders::new(&registry()?, Some(&schema)));
                Values::Avro(Mutex::new(decoders.view()))
            }
            (Form::Protobuf, Some(proto)) => Values::Protobuf(proto.read(folder)?),
            (Form::Protobuf, None) => Values::Protobuf(Messages::of(registry()?)),
        };
        Ok(Self { values, schema, id_header: options.id_header.clone(), key })
    }

    /// The event's id.
    pub fn id(&self, record: &Event) -> String {
        let named = self.id_header.as_deref().and_then(|name| record.headers.text(name));
        named.map_or_else(|| record.id(), str::to_owned)
    }

    /// # Errors
    /// A `Data` fault when it is not what it is to be; a `Remote` one when their registry is away.
    pub async fn draft(&self, record: &Event) -> Result<Draft, Fault> {
        if let Some(name) =
            self.id_header.as_ref().filter(|name| record.headers.get(name).is_none())
        {
            let message = format!("The record has no header `{name}`, which holds its id.");
            return Err(Fault::data("id_missing", message));
        }
        let value = self.value(record).await?;
        let text = |name: &str| record.headers.text(name).map(str::to_owned);
        let said = record.headers.text(event::CE_TIME);
        let time = said.and_then(|time| chrono::DateTime::parse_from_rfc3339(time).ok());
        Ok(Draft {
            id: self.id(record),
            kind: text(event::CE_TYPE),
            time: Some(time.map_or(record.timestamp, |time| time.timestamp_millis())),
            traceparent: text(event::TRACEPARENT),
            received: unix_millis(),
            key: self.key(record, value.as_ref())?,
            value,
        })
    }

    async fn value(&self, record: &Event) -> Result<Option<Value>, Fault> {
        let Some(payload) = &record.payload else { return Ok(None) };
        let json = match &self.values {
            Values::Avro(decoding) => {
                return decoding.lock().await.decode(payload).await.map(Some);
            }
            Values::Protobuf(messages) => {
                return messages.read(payload, &self.schema).await.map(Some);
            }
            Values::Text => {
                let text = std::str::from_utf8(payload).map_err(|error| {
                    Fault::data("text_invalid", format!("The value is no UTF-8: {error}."))
                })?;
                json!({ "text": text }).to_string().into_bytes()
            }
            Values::Json => payload.to_vec(),
        };
        let read = schemas::json::read(&self.schema, &json);
        let read = read.map_err(|error| Fault::data("json_invalid", format!("{error}.")))?;
        Ok(Some(read.value))
    }

    /// Our key; theirs when none is written, and for deletions, of which nothing else is known.
    fn key(&self, record: &Event, value: Option<&Value>) -> Result<Option<String>, Fault> {
        if let (Some(program), Some(value)) = (&self.key, value) {
            let given = program.run(record, value)?;
            return Ok((!given.is_null()).then(|| given.to_string_lossy().into_owned()));
        }
        let Some(key) = &record.key else { return Ok(None) };
        let text = std::str::from_utf8(key).map_err(|_| {
            Fault::data("key_invalid", "The key is no UTF-8: write one with `key:`.")
        })?;
        Ok(Some(text.to_owned()))
    }
}
