//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Shows every mistake of pipeline files at once. Needs no connection.
    Check(Check),
    /// Runs the examples that are written in pipeline files (`tests:`). Needs no connection.
    Test(Files),
    /// Shows the routes of the running process: their states and reasons, their lag and latency.
    Status(Address),
    /// Lets a route that waits at a gap go on from another place.
    Accept(Accept),
    /// Lists the topics of the broker.
    Topics(Address),
    /// Follows a topic, decoded, as JSON.
    Tap(Tap),
    /// The schemas of the registry.
    #[command(subcommand)]
    Schemas(Schemas),
    /// Runs the embedded broker and registry alone.
    Broker(Broker),
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

/// The schemas of the registry.
#[derive(Debug, Subcommand)]
pub enum Schemas {
    /// Lists the subjects with their latest version and their compatibility.
    List(Address),
    /// Says whether a schema may become a subject's next version, and why not.
    Check(SchemaFile),
    /// Registers a schema as a subject's next version.
    Register(SchemaFile),
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

/// Options of `connectors`.
#[derive(Debug, Args)]
pub struct Connectors {
    /// One connector's name; without it, all are listed.
    pub name: Option<String>,
    /// Writes the JSON Schema of pipeline files, for editors.
    #[arg(long, conflicts_with_all = ["name", "reference"])]
    pub json_schema: bool,
    /// Writes the reference of pipeline files, as Markdown.
    #[arg(long, conflicts_with = "name")]
    pub reference: bool,
}
