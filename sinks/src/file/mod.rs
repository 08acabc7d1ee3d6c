//! `file` and `s3`: write events into files of a folder, or of a bucket, for spreadsheets, for other
//! programs, for analytics.
//!
//! A file appears whole or not at all, and holds each event once, whatever is killed when:
//! [`journal`] and [`bucket`] say how. Its name says where its rows come from, `orders-3-000000001000-000000001999.csv`:
//! topic, partition, first and last offset.

mod bucket;
mod csv;
mod faults;
mod folder;
mod held;
mod journal;
mod json_lines;
mod parquet;
mod rows;
mod store;

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use engine::connector::{Findings, Setup, SinkConnector};
use engine::expression::Template;
use engine::options::{Period, Size};
use engine::sink::{Fill, Intent, Once};
use engine::{Delivery, Event, Fault, Order, Sink};
use schemars::JsonSchema;
use serde::Deserialize;

use bucket::Bucket;
use folder::Folder;
use rows::Folders;
use store::{Planned, Store};

pub use csv::Csv;

/// The `file` connector.
pub struct File;

/// A folder of this machine.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Connection {
    /// The folder, which must be there: one that is missing may be a disk that is not mounted. A
    /// relative path starts at the pipeline file. What was written is noted in `.passerelle` in it.
    pub folder: PathBuf,
}

/// What a route writes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Options {
    /// What the files are.
    pub format: Format,
    /// The folder of an event's file, within the connection's folder or bucket:
    /// `year={{ format_timestamp!(%timestamp, "%Y") }}/country={{ .country }}`. `/` in a value becomes
    /// `_`. Without it, all files lie side by side.
    #[serde(default)]
    pub path: Option<Template>,
    /// When a file is written.
    #[serde(default)]
    pub roll: Roll,
    /// How CSV is written.
    #[serde(default)]
    pub csv: Csv,
    /// What a deletion (a tombstone: a key without a value) does.
    #[serde(default)]
    pub on_delete: OnDelete,
}

/// What the files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A line for each event, a column for each field of the topic's schema. Records are columns of
    /// their own (`customer.email`), lists and maps are JSON.
    Csv,
    /// A line of JSON for each event, decimals as texts.
    JsonLines,
    /// Apache Parquet, with the types of the topic's schema.
    Parquet,
}

/// When a file is written: at whichever comes first. Less goes into a file where many partitions
/// share the memory: `roll.bytes`, or half of `max_ahead.bytes` if that is more, is for all of them.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Roll {
    /// With so many events.
    pub events: std::num::NonZeroU32,
    /// With so many bytes, as they lie in the topic. Memory holds about ten times as much.
    pub bytes: Size,
    /// Once its first event has waited so long.
    pub every: Period,
}

impl Default for Roll {
    fn default() -> Self {
        Self {
            events: std::num::NonZeroU32::MIN.saturating_add(9_999),
            bytes: Size(8 << 20),
            every: Period(Duration::from_secs(60)),
        }
    }
}

/// What a deletion does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDelete {
    /// It goes to the dead letters.
    #[default]
    DeadLetter,
    /// Nothing.
    Ignore,
}

impl SinkConnector for File {
    const NAME: &'static str = "file";
    const SUMMARY: &'static str =
        "Writes events into files of a folder: CSV, JSON lines or Parquet.";
    const EXAMPLE: &'static str =
        include_str!("../../../docs/examples/orders-to-files/pipeline.yaml");
    type Connection = Connection;
    type Options = Options;

    fn once(_options: &Options) -> Once {
        Once::Forever
    }

    fn check(_connection: &Connection, options: &Options, findings: &mut Findings) {
        options.check(findings);
    }

    fn build(
        connection: Connection,
        options: Options,
        setup: &Setup,
    ) -> Result<Box<dyn Sink>, Fault> {
        let folder = Folder::new(setup.folder.join(connection.folder), &setup.route);
        sink(Box::new(folder), options, setup)
    }
}

/// The `s3` connector: the same files in a bucket.
pub struct S3;

impl SinkConnector for S3 {
    const NAME: &'static str = "s3";
    const SUMMARY: &'static str =
        "Writes events into files of a bucket (Amazon S3, MinIO…): CSV, JSON lines or Parquet.";
    const EXAMPLE: &'static str =
        include_str!("../../../docs/examples/orders-to-a-bucket/pipeline.yaml");
    type Connection = exchange::bucket::Connection;
    type Options = Options;

    fn once(_options: &Options) -> Once {
        Once::Forever
    }

    fn check(connection: &Self::Connection, options: &Options, findings: &mut Findings) {
        connection.check(findings);
        options.check(findings);
    }

    fn build(
        connection: Self::Connection,
        options: Options,
        setup: &Setup,
    ) -> Result<Box<dyn Sink>, Fault> {
        sink(Box::new(Bucket::new(connection.open(setup)?, &setup.route)), options, setup)
    }
}

impl Options {
    fn check(&self, findings: &mut Findings) {
        if let Some(Template(path)) = &self.path {
            let odd = |part| !matches!(part, Component::Normal(_));
            if Path::new(path).components().any(odd) {
                findings.route(
                    "/path",
                    "path_outside",
                    format!("`{path}` does not stay within the connection's folder."),
                    "Write a path without `/` at its beginning and without `..`.",
                );
            }
        }
        if let Err(cause) = self.csv.check() {
            findings.route(
                "/csv/delimiter",
                "delimiter_invalid",
                cause,
                "Write `,`, `;` or a tab.",
            );
        }
    }
}

/// The sink of these options, whose files are kept there.
fn sink(store: Box<dyn Store>, options: Options, setup: &Setup) -> Result<Box<dyn Sink>, Fault> {
    let columns = || columns(options.format, setup);
    let format: Box<dyn rows::Format> = match options.format {
        Format::Csv => Box::new(csv::Table::new(options.csv.clone(), &columns()?)),
        Format::JsonLines => Box::new(json_lines::JsonLines),
        Format::Parquet => Box::new(parquet::Table::new(&columns()?)?),
    };
    Ok(Box::new(FileSink {
        folders: Folders::compile(options.path.as_ref(), setup)?,
        store,
        format,
        roll: options.roll,
        on_delete: options.on_delete,
    }))
}

/// The columns of the topic's schema.
fn columns(format: Format, setup: &Setup) -> Result<Vec<schemas::columns::Column>, Fault> {
    let columns = setup.input_schema.as_ref().and_then(schemas::columns::columns);
    columns.filter(|columns| !columns.is_empty()).ok_or_else(|| {
        let name = if format == Format::Csv { "csv" } else { "parquet" };
        let message = format!(
            "`format: {name}` has a column for each field of the topic's schema: give the topic a \
             `schema` that is a record with fields, or write `format: json_lines`."
        );
        Fault::config("schema_missing", message)
    })
}

struct FileSink {
    folders: Folders,
    store: Box<dyn Store>,
    format: Box<dyn rows::Format>,
    roll: Roll,
    on_delete: OnDelete,
}

#[async_trait]
impl Sink for FileSink {
    fn order(&self) -> Order {
        Order::Partition
    }

    fn batch(&self) -> usize {
        usize::try_from(self.roll.events.get()).unwrap_or(usize::MAX)
    }

    fn fill(&self) -> Option<Fill> {
        let bytes = usize::try_from(self.roll.bytes.0).unwrap_or(usize::MAX);
        Some(Fill { events: self.batch(), bytes, within: self.roll.every.0 })
    }

    fn intent(&self, event: &Event) -> Result<Option<Intent>, Fault> {
        match event.value {
            Some(_) => Intent::of(event).map(Some),
            None => self.deletion().map(|_| None),
        }
    }

    async fn deliver(&self, batch: &[Event], _attempt: u32) -> Vec<Result<Delivery, Fault>> {
        let mut outcomes: Vec<Option<Result<Delivery, Fault>>> = vec![None; batch.len()];
        if let Err(fault) = self.write(batch, &mut outcomes).await {
            outcomes.iter_mut().filter(|outcome| outcome.is_none()).for_each(|outcome| {
                *outcome = Some(Err(fault.clone()));
            });
        }
        let missing = || Err(Fault::internal("file_unanswered", "An event is in no file: a bug."));
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
    }
}

impl FileSink {
    /// Writes what is not yet there; all events of a batch are of one partition. What is left
    /// without an outcome when it fails has that fault.
    async fn write(
        &self,
        batch: &[Event],
        outcomes: &mut [Option<Result<Delivery, Fault>>],
    ) -> Result<(), Fault> {
        let Some(Event { topic, partition, .. }) = batch.first() else { return Ok(()) };
        let session = self.store.open(topic, *partition).await?;
        let mut files = rows::Files::new(&*self.format, &self.folders);
        // A dead letter that is tried again may come beside its event: a kill came before its commit.
        let mut twins: Vec<(usize, usize)> = Vec::new();
        let mut last: Option<usize> = None;
        for index in by_offset(batch) {
            let event = &batch[index];
            if let Some(first) = last.filter(|first| batch[*first].offset == event.offset) {
                twins.push((index, first));
                continue;
            }
            last = Some(index);
            outcomes[index] = match session.holds(event) {
                Err(fault) => return Err(fault),
                Ok(true) => Some(Ok(already_there())),
                Ok(false) if event.value.is_none() => Some(self.deletion()),
                Ok(false) => files.add(index, event).err().map(Err),
            };
            files.pause().await;
        }
        let files = files.finish()?;
        let planned: Vec<Planned> =
            files.iter().map(|file| Planned::of(file, topic, *partition, batch)).collect();
        let names: Vec<String> = planned.iter().map(Planned::path).collect();
        let mut rows: Vec<&Event> =
            files.iter().flat_map(|file| &file.rows).map(|index| &batch[*index]).collect();
        rows.sort_by_key(|event| event.offset);
        session.write(planned, held::ranges(rows.into_iter())).await?;
        for (file, name) in files.iter().zip(names) {
            for index in &file.rows {
                let answer = name.clone();
                outcomes[*index] = Some(Ok(Delivery { answer, already_there: false }));
            }
        }
        for (index, first) in twins {
            let of_first = outcomes[first].clone();
            outcomes[index] = of_first.map(|outcome| outcome.map(|_| already_there()));
        }
        Ok(())
    }

    fn deletion(&self) -> Result<Delivery, Fault> {
        match self.on_delete {
            OnDelete::Ignore => {
                Ok(Delivery { answer: "a deletion, ignored".to_owned(), already_there: false })
            }
            OnDelete::DeadLetter => Err(Fault::data(
                "row_of_deletion",
                "The event is a deletion, of which no row can be made; `on_delete: ignore` passes \
                 over deletions.",
            )),
        }
    }
}

fn already_there() -> Delivery {
    Delivery { answer: "already in a file".to_owned(), already_there: true }
}

/// Dead letters that are tried again come before what arrives, among themselves as they were asked
/// for: rows lie in the topic's order.
fn by_offset(batch: &[Event]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..batch.len()).collect();
    order.sort_by_key(|index| batch[*index].offset);
    order
}

#[cfg(test)]
mod tests;
