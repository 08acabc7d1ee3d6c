//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::dead_letters::DeadLetters;

/// Carries every change from one application to the others, through Apache Kafka, once.
#[derive(Debug, Parser)]
#[command(name = "passerelle", version, propagate_version = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How log lines are written.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, env = "PASSERELLE_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// Which lines are logged, for example `info` or `engine=debug`.
    #[arg(long, global = true, env = "PASSERELLE_LOG")]
    pub log: Option<String>,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Everything on one machine: a shop, a broker, a pipeline and a small ERP; watch orders land.
    Demo(Demo),
    /// Runs pipelines until SIGTERM or Ctrl-C; then drains, commits and exits 0.
    Run(Run),
    /// Shows every mistake of pipeline files at once. Needs no connection, unless it is to connect.
    Check(Check),
    /// Runs the examples that are written in pipeline files (`tests:`). Needs no connection.
    Test(Test),
    /// Shows the routes of the running process: their states and reasons, their lag and latency.
    Status(Status),
    /// Counts what each route has done since the process started: events, calls, calls saved by batches.
    Stats(Status),
    /// Lets a route that waits at a gap go on from another place.
    Accept(Accept),
    /// Lists the topics of the broker.
    Topics(Address),
    /// Follows a topic, decoded, as JSON.
    Tap(Tap),
    /// Shows a business key's way: received, mapped, delivered, each with its time and the answer.
    Trace(Trace),
    /// The events that could not pass: lists, shows, retries and discards them.
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Sends a sink's history again, marked, with the same ids, beside live traffic.
    Replay(Replay),
    /// Holds what a sink in shadow would have sent against the log of the flow that runs today.
    Shadow(Shadow),
    /// The schemas of the registry.
    #[command(subcommand)]
    Schemas(Schemas),
    /// Runs the embedded broker and registry alone.
    Broker(Broker),
    /// Studies applications: what they let us read, write and subscribe to, and the fallback that
    /// follows. Changes nothing there.
    Probe(Probe),
    /// The catalogue: every source, processor and sink, with its options and an example.
    Connectors(Connectors),
}

/// Options of `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Where its data stays; a second run goes on from there.
    #[arg(long, default_value = "passerelle-demo")]
    pub directory: PathBuf,
    /// Stops by itself once this many orders have landed.
    #[arg(long)]
    pub orders: Option<u64>,
}

/// Pipeline files.
#[derive(Debug, Args)]
pub struct Files {
    /// The pipeline files.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Options of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The pipeline files.
    #[command(flatten)]
    pub files: Files,
    /// Sends nothing by this sink: what it would send is written beside FILE, the log of the flow that
    /// runs today, and held against it (zap.jsonl: zap.passerelle.jsonl). May be repeated.
    #[arg(long, value_name = "SINK=FILE")]
    pub shadow: Vec<String>,
    /// How logs are held against each other.
    #[command(flatten)]
    pub terms: Terms,
}

/// How logs are held against each other.
#[derive(Debug, Args)]
pub struct Terms {
    /// The field of what is sent that names the object in both logs, such as `order.id`. Without it,
    /// each line's `key`.
    #[arg(long, value_name = "FIELD")]
    pub key: Option<String>,
    /// A field that is not compared, such as `sent_at` or `lines[].id`; may be repeated.
    #[arg(long, value_name = "FIELD")]
    pub ignore: Vec<String>,
}

/// Options of `shadow`.
#[derive(Debug, Args)]
pub struct Shadow {
    /// The log of the flow that runs today: JSON lines with `key`, `operation` and `payload`.
    pub file: PathBuf,
    /// What would have been sent, if it does not lie beside FILE.
    #[arg(long, value_name = "FILE")]
    pub ours: Option<PathBuf>,
    /// How logs are held against each other.
    #[command(flatten)]
    pub terms: Terms,
    /// How many samples of each difference are shown.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub samples: usize,
    /// Writes JSON.
    #[arg(long)]
    pub json: bool,
}

/// Options of `test`.
#[derive(Debug, Args)]
pub struct Test {
    /// The pipeline files.
    #[command(flatten)]
    pub files: Files,
    /// Writes what comes out into the files that the examples expect it in, instead of comparing. What
    /// stands in the pipeline file itself is shown, and left to you.
    #[arg(long)]
    pub update: bool,
}

/// Options of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The pipeline files.
    #[command(flatten)]
    pub files: Files,
    /// Writes the mistakes as JSON, for editors and CI.
    #[arg(long)]
    pub json: bool,
    /// Connects, too: to the brokers and the registry that the files name, and to the application of
    /// each source and sink, whose fields are held against what is written. Changes nothing there.
    #[arg(long)]
    pub connect: bool,
}

/// Where the brokers, the registry and the running process are. Without options: those of the
/// process that runs with the same data directory.
#[derive(Debug, Args, Clone)]
pub struct Address {
    /// The brokers, `host:port,…`.
    #[arg(long, env = "PASSERELLE_KAFKA")]
    pub kafka: Option<String>,
    /// The schema registry's URL.
    #[arg(long, env = "PASSERELLE_REGISTRY")]
    pub registry: Option<String>,
    /// The data directory of the running process.
    #[arg(long, env = "PASSERELLE_DATA")]
    pub data: Option<PathBuf>,
}

/// Options of `status` and `stats`.
#[derive(Debug, Args)]
pub struct Status {
    /// Writes JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the process is.
    #[command(flatten)]
    pub address: Address,
}

/// Options of `accept`.
#[derive(Debug, Args)]
pub struct Accept {
    /// The route, `pipeline/route`.
    pub route: String,
    /// Where it goes on: `beginning`, `now` or an RFC 3339 time.
    #[arg(long)]
    pub from: String,
    /// Where the process is.
    #[command(flatten)]
    pub address: Address,
}

/// Options of `tap`.
#[derive(Debug, Args)]
pub struct Tap {
    /// The topic.
    pub topic: String,
    /// Where to start: `beginning`, `now`, an RFC 3339 time, or a length of time back such as `15m`.
    #[arg(long, default_value = "now")]
    pub from: String,
    /// Stops after this many events.
    #[arg(long, short = 'n')]
    pub count: Option<u64>,
    /// Stops at the end of the topic instead of waiting for more.
    #[arg(long)]
    pub no_follow: bool,
    /// Shows only events with this key.
    #[arg(long)]
    pub key: Option<String>,
    /// Where the broker is.
    #[command(flatten)]
    pub address: Address,
}

/// Options of `trace`.
#[derive(Debug, Args)]
pub struct Trace {
    /// The business key: the key of the events in Kafka; for events without one, their id.
    pub key: String,
    /// The pipeline file: names the brokers, and what masked keys are hashed with. Without it, the
    /// brokers are those of the running process.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Leaves out what is older: a time such as 2026-01-31T08:00:00Z, or a length of time back such
    /// as `24h`. Shortens the search.
    #[arg(long)]
    pub since: Option<String>,
    /// Writes JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the brokers are.
    #[command(flatten)]
    pub address: Address,
}

/// Options of `replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// The sink whose history is sent again: its name, or `pipeline/route`.
    pub route: String,
    /// The pipeline files.
    #[command(flatten)]
    pub files: Files,
    /// From here on: `beginning`, a time such as 2026-01-31T08:00:00Z, or a length of time back
    /// such as `24h`.
    #[arg(long, value_name = "TIME", required_unless_present = "from_offset")]
    pub from: Option<String>,
    /// Up to here: a time, or `now` (what the topic holds when the replay begins).
    #[arg(long, value_name = "TIME", default_value = "now")]
    pub to: String,
    /// From this offset on, in every partition or in the one named; may be repeated.
    #[arg(long, value_name = "[PARTITION:]OFFSET", conflicts_with = "from")]
    pub from_offset: Vec<String>,
    /// Up to this offset, which is not sent any more; may be repeated.
    #[arg(long, value_name = "[PARTITION:]OFFSET", conflicts_with = "to")]
    pub to_offset: Vec<String>,
    /// Only events of this key.
    #[arg(long)]
    pub key: Option<String>,
    /// Only events for which this VRL expression is true: `.total > 100`.
    #[arg(long, value_name = "VRL")]
    pub filter: Option<String>,
    /// Delivers to this sink instead.
    #[arg(long, value_name = "SINK")]
    pub into: Option<String>,
    /// At most so many events a second, or `unlimited`, with all of the sink's concurrency. Without
    /// it 200, with half of it: live traffic needs room.
    #[arg(long, value_name = "N")]
    pub rate: Option<String>,
    /// Sends nothing: counts, and shows the first events.
    #[arg(long)]
    pub dry_run: bool,
    /// Sends also what the target may take as new, because it remembers events for a shorter time
    /// than the replay reaches back, or not at all.
    #[arg(long)]
    pub accept_duplicates: bool,
    /// Begins anew, although the same replay was begun or came to its end before.
    #[arg(long)]
    pub again: bool,
    /// Where the brokers and the registry are, if not where the file says.
    #[command(flatten)]
    pub address: Address,
}

/// The schemas of the registry.
#[derive(Debug, Subcommand)]
pub enum Schemas {
    /// Lists the subjects with their latest version and their compatibility.
    List(Address),
    /// Says whether a schema may become a subject's next version, and why not.
    Check(SchemaFile),
    /// Registers a schema as a subject's next version.
    Register(SchemaFile),
    /// Proposes a schema for a sample of JSON, JSON lines, CSV or XML; what it was unsure of goes to
    /// standard error.
    Infer(Sample),
}

/// A sample, and the schema's name.
#[derive(Debug, Args)]
pub struct Sample {
    /// The file.
    #[arg(long)]
    pub from: PathBuf,
    /// The record's name; the file's without it.
    #[arg(long)]
    pub name: Option<String>,
}

/// A schema and its subject.
#[derive(Debug, Args)]
pub struct SchemaFile {
    /// The subject, for example `shop.orders-value`.
    pub subject: String,
    /// The `.avsc` file.
    pub schema: PathBuf,
    /// Where the registry is.
    #[command(flatten)]
    pub address: Address,
}

/// Options of `broker`.
#[derive(Debug, Args)]
pub struct Broker {
    /// Where the broker keeps its topics.
    #[arg(long, default_value = "passerelle-data")]
    pub data: PathBuf,
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:9092")]
    pub listen: SocketAddr,
    /// Where the registry listens.
    #[arg(long, default_value = "127.0.0.1:8081")]
    pub registry: SocketAddr,
}

/// Options of `probe`.
#[derive(Debug, Args)]
pub struct Probe {
    /// The connection's name, or several: `erp,shop`.
    #[arg(value_name = "CONNECTION")]
    pub connections: String,
    /// The pipeline file that declares them under `connections`; it needs no routes.
    pub file: PathBuf,
    /// One object, whose fields are shown.
    pub object: Option<String>,
    /// For connections over HTTP: the OpenAPI description, JSON or YAML. A file here, or else the path
    /// after the connection's `url`. Without it, the usual paths are tried.
    #[arg(long, value_name = "PATH")]
    pub openapi: Option<String>,
    /// Writes JSON.
    #[arg(long)]
    pub json: bool,
}

/// Options of `connectors`.
#[derive(Debug, Args)]
pub struct Connectors {
    /// One connector's name; without it, all are listed.
    pub name: Option<String>,
    /// Writes the JSON Schema of pipeline files, for editors.
    #[arg(long, conflicts_with_all = ["name", "reference"])]
    pub json_schema: bool,
    /// Writes the JSON Schema of files that describe applications, for editors.
    #[arg(long, conflicts_with_all = ["name", "reference", "json_schema"])]
    pub description_schema: bool,
    /// Writes the list, or one connector, as JSON: of an application its objects, their operations,
    /// what each promises about repeats, and what is not covered.
    #[arg(long, conflicts_with_all = ["reference", "json_schema", "description_schema"])]
    pub json: bool,
    /// Writes the reference of pipeline files, or with a name that connector's page, as Markdown.
    #[arg(long)]
    pub reference: bool,
}
