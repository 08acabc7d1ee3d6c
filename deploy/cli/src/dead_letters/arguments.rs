//! The command line of `dead-letters`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::arguments::Address;

/// The events that could not pass.
#[derive(Debug, Subcommand)]
pub enum DeadLetters {
    /// Groups the open dead letters by their cause.
    List(List),
    /// Shows one dead letter: its cause, its key, its value, its headers, what was decided.
    Show(Show),
    /// Has the running route try dead letters again, each key in order.
    Retry(Retry),
    /// Decides that dead letters are not needed. They stay in their topic.
    Discard(Discard),
}

/// Options of `dead-letters list`.
#[derive(Debug, Args)]
pub struct List {
    /// Routes (`pipeline/route`) or pipeline files; without any, all routes that have dead letters.
    #[arg(value_name = "ROUTE|FILE")]
    pub of: Vec<String>,
    /// Shows those that are delivered or discarded too.
    #[arg(long)]
    pub settled: bool,
    /// Writes JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the brokers are.
    #[command(flatten)]
    pub address: Address,
}

/// One route, and where its brokers are.
#[derive(Debug, Args)]
pub struct OfRoute {
    /// The route, `pipeline/route`; with --file, its name alone suffices.
    pub route: String,
    /// The pipeline file: names the brokers. Without it, they are those of the running process.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Where the brokers are.
    #[command(flatten)]
    pub address: Address,
}

/// Options of `dead-letters show`.
#[derive(Debug, Args)]
pub struct Show {
    /// The route.
    #[command(flatten)]
    pub of: OfRoute,
    /// The event's id, or its place, `TOPIC/PARTITION/OFFSET`.
    #[arg(long)]
    pub id: String,
}

/// Which of the open dead letters. Several conditions must hold together.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Selection {
    /// Those of this cause, for example `http_422`.
    #[arg(long)]
    pub cause: Option<String>,
    /// Those of this key.
    #[arg(long)]
    pub key: Option<String>,
    /// Those with this event's id, or its place, `TOPIC/PARTITION/OFFSET`. May be repeated.
    #[arg(long)]
    pub id: Vec<String>,
    /// Those that became dead letters then or later: a time, or a length of time back such as `2h`.
    #[arg(long)]
    pub from: Option<String>,
    /// Those that became dead letters before then.
    #[arg(long)]
    pub to: Option<String>,
    /// All of them.
    #[arg(long)]
    pub all: bool,
}

/// Options of `dead-letters retry`.
#[derive(Debug, Args)]
pub struct Retry {
    /// The route.
    #[command(flatten)]
    pub of: OfRoute,
    /// Which of them.
    #[command(flatten)]
    pub selection: Selection,
    /// Why: kept with the decision.
    #[arg(long)]
    pub reason: Option<String>,
    /// Also those that have come back three times already.
    #[arg(long)]
    pub again: bool,
    /// Also those of keys of which later events have been delivered since.
    #[arg(long)]
    pub out_of_order: bool,
    /// Says what would be tried again, and does nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Returns at once instead of waiting for what becomes of them.
    #[arg(long)]
    pub no_wait: bool,
    /// How long to wait without anything happening.
    #[arg(long, default_value = "2m")]
    pub timeout: String,
}

/// Options of `dead-letters discard`.
#[derive(Debug, Args)]
pub struct Discard {
    /// The route.
    #[command(flatten)]
    pub of: OfRoute,
    /// Which of them.
    #[command(flatten)]
    pub selection: Selection,
    /// Why: kept with the decision.
    #[arg(long)]
    pub reason: String,
    /// Says what would be discarded, and does nothing.
    #[arg(long)]
    pub dry_run: bool,
}
