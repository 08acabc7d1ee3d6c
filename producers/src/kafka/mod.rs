//! The source `kafka`: what others write to a topic, of another cluster or of the same, as events.

mod protobuf;
mod record;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use engine::clock::{Moment, unix_millis};
use engine::configuration::sections::{Kafka as Connection, Registry};
use engine::connector::{Findings, Setup, SourceConnector};
use engine::expression::{Expression, sentence};
use engine::kafka::{Admin, Cluster, Positions, Reader};
use engine::options::Start;
use engine::publisher::Rejected;
use engine::{Event, Fault, Publisher, Shutdown, Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cursor::{text, unreadable};
use protobuf::Proto;
use record::Reading;

/// So many records go into one transaction, at most.
const AT_ONCE: usize = 500;
/// And about so many bytes.
const BYTES_AT_ONCE: usize = 1 << 20;
/// How long to wait for the first of them.
const WAIT: Duration = Duration::from_millis(500);
/// How long to wait for one more.
const LINGER: Duration = Duration::from_millis(5);
/// How often to look for partitions that were added.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// What others write to a topic.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct KafkaOptions {
    /// The topic there.
    pub topic: String,
    /// What its values are.
    pub value: Form,
    /// The registry that knows the schemas of `value: avro`, and of `value: protobuf` where Confluent's
    /// serializers write it.
    #[serde(default)]
    pub registry: Option<Registry>,
    /// The message that each value of `value: protobuf` is, where no registry is named.
    #[serde(default)]
    pub proto: Option<Proto>,
    /// Where to begin the first time: `beginning`, `now`, or a time such as `2026-01-31T00:00:00Z`.
    /// Partitions that are added later are read from their beginning.
    #[schemars(with = "Start")]
    pub start: Start,
    /// The header that holds an event's id. Without it, the id is `ce_id`, or else the record's place,
    /// `TOPIC/PARTITION/OFFSET`.
    #[serde(default)]
    pub id_header: Option<String>,
    /// What follows when events are gone that were not read: retention was shorter than the time for
    /// which nothing ran.
    #[serde(default)]
    pub on_gap: OnGap,
}

/// What the values are. What cannot be read as that goes to the source's dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// JSON, read as our topic's schema.
    Json,
    /// Avro, its schema named by the registry's id.
    Avro,
    /// Protobuf: the message that `proto` declares, or that the registry's id and the places behind it
    /// name. Read by the names of fields.
    Protobuf,
    /// UTF-8: the field `text` of our topic's schema.
    Text,
}

/// What follows when events are gone that were not read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnGap {
    /// The source waits, and says which are gone.
    #[default]
    Wait,
    /// It goes on with the oldest that is there: for an operator who has seen what is gone.
    Skip,
}

/// The connector.
pub struct Kafka;

impl SourceConnector for Kafka {
    const NAME: &'static str = "kafka";
    const SUMMARY: &'static str = "What others write to a topic of another Kafka cluster.";
    const EXAMPLE: &'static str =
        include_str!("../../../docs/examples/orders-from-another-cluster/pipeline.yaml");
    const ONCE: bool = true;
    const CONNECTION: Option<&'static str> = Some("kafka");
    type Options = KafkaOptions;

    fn check(options: &KafkaOptions, findings: &mut Findings) {
        let mut wrong = |code, cause, hint| findings.route("/kafka", code, cause, hint);
        match (options.value, &options.registry, &options.proto) {
            (Form::Avro, None, _) => wrong(
                "registry_missing",
                "`value: avro` needs the registry that knows the schemas.",
                "Write `registry: { url: … }`.",
            ),
            (Form::Protobuf, None, None) => wrong(
                "proto_missing",
                "`value: protobuf` needs to know what message each value is.",
                "Write `proto: { file: order.proto, message: shop.Order }`, or `registry: { url: … }` \
                 where Confluent's serializers write the values.",
            ),
            (Form::Protobuf, Some(_), Some(_)) => wrong(
                "proto_unused",
                "With `registry`, each value names its message itself.",
                "Leave `proto` out, or `registry` where the values are bare messages.",
            ),
            (Form::Json | Form::Avro | Form::Text, _, Some(_)) => wrong(
                "proto_unused",
                "`proto` is for `value: protobuf` alone.",
                "Leave it out, or write `value: protobuf`.",
            ),
            _ => {}
        }
    }

    fn check_files(options: &KafkaOptions, folder: &Path, findings: &mut Findings) {
        if let Some(proto) = &options.proto {
            proto.check(folder, findings);
        }
    }

    fn build(
        options: KafkaOptions,
        key: Option<Expression>,
        setup: &Setup,
    ) -> Result<Box<dyn Source>, Fault> {
        let Some(schema) = setup.output_schema.clone() else {
            let message =
                format!("The topic of {} declares no schema: add `schema:` to it.", setup.route);
            return Err(Fault::config("schema", message));
        };
        let key = key.map(|key| key.compile(&schema)).transpose();
        let key = key.map_err(|all| Fault::config("expression", sentence(&all)))?;
        let cluster = setup.connection::<Connection>()?.cluster(&setup.folder);
        let reading = Reading::new(&options, &setup.folder, schema, key)?;
        Ok(Box::new(KafkaSource { cluster, options, reading }))
    }
}

struct KafkaSource {
    cluster: Cluster,
    options: KafkaOptions,
    reading: Reading,
}

/// Where reading goes on: the cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    topic: String,
    /// The next offset of each partition.
    next: BTreeMap<i32, i64>,
}

#[async_trait]
impl Source for KafkaSource {
    async fn run(self: Box<Self>, out: Publisher, stop: Shutdown) -> Result<(), Fault> {
        let mut place = self.place(out.cursor())?;
        while !stop.is_requested() {
            let (mut reader, next) = self.open(place.clone()).await?;
            if place.as_ref().is_none_or(|place| place.next != next) {
                // A kill before the first event must not move where it began.
                place = Some(self.written(&out, Vec::new(), next.clone()).await?);
            }
            out.ready();
            let opened = Moment::now();
            while !stop.is_requested() && Moment::now().since(opened) < LOOK_EVERY {
                let (back, records) = read(reader).await?;
                reader = back;
                if let Some(found) = place.take_if(|_| !records.is_empty()) {
                    place = Some(self.publish(&out, found, records).await?);
                }
            }
            // It waits for its threads.
            blocking(move || {
                drop(reader);
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<String, Fault> {
        let topic = &self.options.topic;
        match Admin::new(&self.cluster)?.partitions().await?.get(topic) {
            Some(count) => Ok(format!("topic `{topic}` has {count} partitions")),
            None => {
                let message = format!(
                    "{} has no topic `{topic}`, or we may not see it.",
                    self.cluster.brokers
                );
                Err(Fault::refused("topic_missing", message))
            }
        }
    }
}

impl KafkaSource {
    fn place(&self, cursor: Option<String>) -> Result<Option<Place>, Fault> {
        let Some(text) = cursor else { return Ok(None) };
        let place: Place = serde_json::from_str(&text).map_err(unreadable)?;
        if place.topic == self.options.topic {
            return Ok(Some(place));
        }
        let message = format!(
            "The source has read topic `{}`, and is to read `{}`: give it another name, so that it \
             begins there as `start` says.",
            place.topic, self.options.topic
        );
        Err(Fault::config("topic_changed", message))
    }

    /// A reader, and where it stands.
    async fn open(&self, place: Option<Place>) -> Result<(Reader, BTreeMap<i32, i64>), Fault> {
        let (cluster, topic) = (self.cluster.clone(), self.options.topic.clone());
        let positions = Positions {
            known: place.map(|place| place.next),
            start: self.options.start,
            skip_gaps: self.options.on_gap == OnGap::Skip,
        };
        blocking(move || Reader::resume(&cluster, &topic, positions)).await
    }

    /// Publishes records and the place behind them.
    async fn publish(
        &self,
        out: &Publisher,
        place: Place,
        records: Vec<Event>,
    ) -> Result<Place, Fault> {
        let mut next = place.next;
        let mut drafts = Vec::with_capacity(records.len());
        for record in records {
            next.insert(record.partition, record.offset + 1);
            match self.reading.draft(&record).await {
                Ok(draft) => drafts.push(draft),
                Err(fault) if fault.domain == engine::Domain::Data => {
                    out.reject(rejected(&record, self.reading.id(&record)), &fault).await?;
                }
                Err(fault) => return Err(fault),
            }
        }
        self.written(out, drafts, next).await
    }

    async fn written(
        &self,
        out: &Publisher,
        drafts: Vec<engine::Draft>,
        next: BTreeMap<i32, i64>,
    ) -> Result<Place, Fault> {
        let place = Place { topic: self.options.topic.clone(), next };
        out.send_with_cursor(drafts, text(&place)?).await?;
        Ok(place)
    }
}

/// The next records, if any come.
async fn read(mut reader: Reader) -> Result<(Reader, Vec<Event>), Fault> {
    blocking(move || {
        let mut records = Vec::new();
        let (mut wait, mut bytes) = (WAIT, 0);
        while records.len() < AT_ONCE && bytes < BYTES_AT_ONCE {
            match reader.next(wait)? {
                Some(record) => {
                    bytes += record.payload.as_ref().map_or(0, bytes::Bytes::len);
                    records.push(record);
                }
                None => break,
            }
            wait = LINGER;
        }
        Ok((reader, records))
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Fault::internal("kafka_task", error.to_string()))?
}

/// A record that cannot be one of ours, as it came.
fn rejected(record: &Event, id: String) -> Rejected {
    Rejected {
        id,
        key: record.key.clone(),
        body: record.payload.clone(),
        headers: record.headers.clone(),
        received: unix_millis(),
    }
}

#[cfg(test)]
mod tests;
