//! `passerelle broker`: the embedded broker and registry alone.

use std::process::ExitCode;

use engine::ShutdownTrigger;

use crate::addresses::Addresses;
use crate::arguments::Broker;
use crate::embedded::{Embedded, Listen};
use crate::failure::Outcome;
use crate::signals;

/// Runs both until SIGTERM or Ctrl-C.
pub async fn run(options: &Broker) -> Outcome {
    let (stop, stopping) = ShutdownTrigger::new();
    let listen = Listen::At { kafka: options.listen, registry: options.registry };
    let embedded = Embedded::start(&options.data, listen, stopping).await?;
    let addresses = Addresses {
        kafka: embedded.kafka.to_string(),
        registry: format!("http://{}", embedded.registry),
        admin: None,
    };
    addresses.write(&options.data)?;
    say!(
        "broker    {}\nregistry  {}\ndata      {}",
        addresses.kafka,
        addresses.registry,
        options.data.display()
    );
    signals::stop().await;
    Addresses::remove(&options.data);
    stop.trigger();
    embedded.shutdown().await;
    Ok(ExitCode::SUCCESS)
}
