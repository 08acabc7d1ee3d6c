//! `kafka`: writes events to a topic of another cluster, or of the same.
//!
//! The producer is idempotent, so what it sends once is there once; what is sent again because the
//! process died, or because no answer came in time, is there twice under the same `ce_id`.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use engine::connector::{Findings, Setup, SinkConnector};
use engine::kafka::{Admin, Cluster, Producer, Record, Urgency};
use engine::sink::Once;
use engine::{Delivery, Event, Fault, Headers, Sink, event};
use futures::future::join_all;
use schemars::JsonSchema;
use serde::Deserialize;

/// The `kafka` connector.
pub struct Kafka;

/// A cluster.
pub type Connection = engine::configuration::sections::Kafka;

/// What a route writes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Options {
    /// The topic there, which must exist.
    pub topic: String,
    /// What the values are.
    #[serde(default)]
    pub value: Form,
}

/// What the values are. Keys, headers and deletions are written as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// The bytes as they lie in our topic. Avro among them names its schema by our registry's id:
    /// those who read there need that registry.
    #[default]
    Bytes,
    /// JSON, decimals as texts.
    Json,
}

impl SinkConnector for Kafka {
    const NAME: &'static str = "kafka";
    const SUMMARY: &'static str = "Writes events to a topic of another Kafka cluster.";
    const EXAMPLE: &'static str =
        include_str!("../../../docs/examples/orders-to-another-cluster/pipeline.yaml");
    type Connection = Connection;
    type Options = Options;

    fn once(_options: &Options) -> Once {
        Once::No
    }

    fn check(connection: &Connection, _options: &Options, findings: &mut Findings) {
        for name in connection.cluster(".".as_ref()).refused_properties() {
            findings.connection(
                &format!("/properties/{name}"),
                "property_refused",
                format!("`{name}` is set by Passerelle: what it promises rests on it."),
                "Leave it out.",
            );
        }
    }

    fn build(
        connection: Connection,
        options: Options,
        setup: &Setup,
    ) -> Result<Box<dyn Sink>, Fault> {
        let cluster = connection.cluster(&setup.folder);
        Ok(Box::new(KafkaSink {
            producer: Producer::new(&cluster, Urgency::Prompt)?,
            cluster,
            topic: options.topic.into(),
            form: options.value,
        }))
    }
}

struct KafkaSink {
    cluster: Cluster,
    producer: Producer,
    topic: Arc<str>,
    form: Form,
}

/// A batch holds each key once, so that a record that fails is overtaken by none of its key.
const BATCH: usize = 200;

#[async_trait]
impl Sink for KafkaSink {
    fn batch(&self) -> usize {
        BATCH
    }

    fn reads_values(&self) -> bool {
        self.form == Form::Json
    }

    async fn connect(&self) -> Result<String, Fault> {
        let topics = Admin::new(&self.cluster)?.partitions().await?;
        let (brokers, topic) = (&self.cluster.brokers, &self.topic);
        Ok(match topics.get(&**topic) {
            Some(count) => format!("{brokers} answer; topic `{topic}` has {count} partitions"),
            None => format!("{brokers} answer; topic `{topic}` is not there yet"),
        })
    }

    async fn deliver(&self, batch: &[Event], _attempt: u32) -> Vec<Result<Delivery, Fault>> {
        join_all(batch.iter().map(|event| self.send(event))).await
    }
}

impl KafkaSink {
    async fn send(&self, event: &Event) -> Result<Delivery, Fault> {
        let placed = self.producer.send(&self.record(event)).await?;
        let answer = format!("{}/{}/{}", self.topic, placed.partition, placed.offset);
        Ok(Delivery { answer, already_there: false })
    }

    fn record(&self, event: &Event) -> Record {
        let payload = match (self.form, &event.value) {
            (Form::Json, Some(value)) => Some(Bytes::from(schemas::json::write(value))),
            _ => event.payload.clone(),
        };
        Record {
            topic: Arc::clone(&self.topic),
            partition: None,
            key: event.key.clone(),
            payload,
            headers: named(event),
        }
    }
}

/// The headers as they are; an event without an id is named by its place, so that a repeat is known.
fn named(event: &Event) -> Headers {
    let mut headers = event.headers.clone();
    if headers.text(event::CE_ID).is_none() {
        headers.set(event::CE_ID, event.id());
    }
    headers
}
