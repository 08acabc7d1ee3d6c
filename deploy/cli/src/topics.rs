//! `passerelle topics`: what the broker holds.

use std::process::ExitCode;

use engine::kafka::{Admin, Cluster};

use crate::addresses::Addresses;
use crate::arguments::Address;
use crate::failure::Outcome;

/// Lists the topics.
pub async fn run(address: Address) -> Outcome {
    let addresses = Addresses::resolve(&address)?;
    let topics = Admin::new(&Cluster::new(addresses.kafka()?))?.list().await?;
    let width =
        topics.iter().map(|topic| topic.name.len()).max().unwrap_or_default().max("TOPIC".len());
    say!("{:width$}  PARTITIONS      EVENTS", "TOPIC");
    for topic in topics {
        say!("{:width$}  {:>10}  {:>10}", topic.name, topic.partitions, topic.events);
    }
    Ok(ExitCode::SUCCESS)
}
