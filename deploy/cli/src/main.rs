//! The `passerelle` command.

#[macro_use]
mod output;

mod addresses;
mod admin;
mod arguments;
mod catalogue;
mod connect;
mod connectors;
mod dead_letters;
mod demo;
mod embedded;
mod examples;
mod failure;
mod files;
mod logging;
mod pipelines;
mod place;
mod probe;
mod replay;
mod run;
mod schemas;
mod shadow;
mod signals;
mod standalone;
mod stats;
mod status;
mod tap;
mod topics;
mod trace;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};
use failure::Outcome;

/// Values of events are many small pieces of memory: glibc's allocator took a quarter of a map's time.
/// (Without huge pages: 20 MB less at rest, for a map that is slower by a fiftieth.)
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match execute(arguments) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn execute(arguments: Arguments) -> Outcome {
    // Commands that answer on the terminal log only what went wrong.
    let quiet = !matches!(arguments.command, Command::Run(_) | Command::Broker(_));
    logging::start(arguments.log_format, arguments.log.as_deref(), quiet)?;
    // Whoever opens a TLS connection finds its cryptography; a second install would be the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
            failure::Failure::new(format!("The process cannot start its threads: {error}."))
        })?;
    runtime.block_on(run_command(arguments.command))
}

async fn run_command(command: Command) -> Outcome {
    match command {
        Command::Demo(options) => demo::run(options).await,
        Command::Run(options) => run::run(&options).await,
        Command::Status(address) => status::run(address).await,
        Command::Stats(options) => stats::run(options).await,
        Command::Accept(options) => status::accept(options).await,
        Command::Topics(address) => topics::run(address).await,
        Command::Tap(options) => tap::run(options).await,
        Command::Replay(options) => replay::run(options).await,
        Command::Trace(options) => trace::run(options).await,
        Command::DeadLetters(command) => dead_letters::run(command).await,
        Command::Schemas(command) => schemas::run(command).await,
        Command::Broker(options) => standalone::run(&options).await,
        Command::Check(options) if options.connect => connect::run(&options).await,
        Command::Check(options) => files::check(&options),
        Command::Shadow(options) => shadow::run(&options),
        Command::Test(options) => examples::run(&options),
        Command::Probe(options) => probe::run(options).await,
        Command::Connectors(options) => connectors::run(&options),
    }
}
