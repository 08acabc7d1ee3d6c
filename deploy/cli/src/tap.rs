//! `passerelle tap`: follows a topic, decoded, as JSON.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use engine::kafka::{Cluster, ReadFrom, Reader};
use engine::{Event, Value};
use schemas::registry::{Registry, RegistryConfig};
use schemas::{Decoder, wire};
use serde_json::{Map, Value as Json, json};

use crate::addresses::Addresses;
use crate::arguments::Tap;
use crate::failure::{Failure, Outcome};
use crate::place::Place;

/// How long one look for an event lasts: Ctrl-C ends the process in between.
const LOOK: Duration = Duration::from_millis(200);

/// Follows a topic until it is told to stop, or has shown as many events as were asked for.
pub async fn run(options: Tap) -> Outcome {
    let addresses = Addresses::resolve(&options.address)?;
    let cluster = Cluster::new(addresses.kafka()?);
    let from = match Place::read(&options.from)? {
        Place::Beginning => ReadFrom::Beginning,
        Place::Now => ReadFrom::Now,
        Place::Time(time) => ReadFrom::Time(time.timestamp_millis()),
    };
    let mut payloads = Payloads::of(addresses.registry().ok());
    // The reader blocks, so it has a thread of its own; a full channel holds it back.
    let (sender, mut events) = tokio::sync::mpsc::channel(100);
    let Tap { topic, no_follow, .. } = options;
    let reading =
        tokio::task::spawn_blocking(move || read(&cluster, &topic, from, no_follow, &sender));
    let mut left = options.count.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(event) = events.recv().await else { break };
        if options.key.is_some() && event.key_text() != options.key {
            continue;
        }
        let line = payloads.show(&event).await;
        if writeln!(std::io::stdout(), "{line}").is_err() {
            // Whoever read the output has gone, as `head` does.
            break;
        }
        left -= 1;
    }
    drop(events);
    reading.await.map_err(|error| Failure::new(format!("Reading ended: {error}.")))??;
    Ok(ExitCode::SUCCESS)
}

fn read(
    cluster: &Cluster,
    topic: &str,
    from: ReadFrom,
    no_follow: bool,
    events: &tokio::sync::mpsc::Sender<Event>,
) -> Result<(), Failure> {
    let mut reader = Reader::open(cluster, topic, from)?;
    while !events.is_closed() {
        let ended = match reader.next(LOOK)? {
            Some(event) => events.blocking_send(event).is_err(),
            None => no_follow && reader.is_at_end(),
        };
        if ended {
            break;
        }
    }
    Ok(())
}

/// Decodes payloads, with one decoder for each schema that was met.
pub struct Payloads {
    registry: Option<Registry>,
    decoders: std::collections::HashMap<u32, Decoder>,
}

impl Payloads {
    /// Decodes with the schemas of the registry at this URL.
    pub fn of(registry: Option<&str>) -> Self {
        let registry = registry.and_then(|url| Registry::new(RegistryConfig::new(url)).ok());
        Self { registry, decoders: Default::default() }
    }

    /// The event as one line of JSON.
    pub async fn show(&mut self, event: &Event) -> Json {
        let mut headers = Map::new();
        for (name, value) in event.headers.iter() {
            headers.insert(
                name.to_owned(),
                value.map_or(Json::Null, |value| String::from_utf8_lossy(value).into()),
            );
        }
        json!({
            "topic": &*event.topic,
            "partition": event.partition,
            "offset": event.offset,
            "time": chrono::DateTime::from_timestamp_millis(event.timestamp).map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)),
            "key": event.key_text(),
            "headers": headers,
            "value": self.value(event).await,
        })
    }

    /// The decoded value; text where it is no Avro, base64 where it is no text either.
    async fn value(&mut self, event: &Event) -> Json {
        let Some(payload) = &event.payload else { return Json::Null };
        match self.decode(payload).await {
            Ok(value) => value,
            Err(problem) => match std::str::from_utf8(payload) {
                Ok(text) => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
                Err(_) => {
                    use base64::Engine as _;
                    json!({ "undecoded": problem, "base64": base64::engine::general_purpose::STANDARD.encode(payload) })
                }
            },
        }
    }

    async fn decode(&mut self, payload: &[u8]) -> Result<Json, String> {
        let (id, body) = wire::split(payload).map_err(|error| error.to_string())?;
        if !self.decoders.contains_key(&id) {
            let registry = self.registry.as_ref().ok_or("no registry is known: give --registry")?;
            let schema = registry.schema(id).await.map_err(|error| error.to_string())?;
            self.decoders
                .insert(id, Decoder::new(&schema, None).map_err(|error| error.to_string())?);
        }
        let decoder = self.decoders.get(&id).ok_or("no decoder")?;
        let value: Value = decoder.decode(body).map_err(|error| error.to_string())?;
        serde_json::from_str(&schemas::json::write(&value)).map_err(|error| error.to_string())
    }
}
