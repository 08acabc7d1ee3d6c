//! A broker alone, for trying clients on it and for killing it: `broker DIRECTORY PORT`.
//!
//! Prints the address it listens on, and runs until its input ends.

use std::{error::Error, io, net::Ipv4Addr};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("usage: broker DIRECTORY PORT")?;
    let port: u16 = arguments.next().ok_or("usage: broker DIRECTORY PORT")?.parse()?;
    let config = broker::Config {
        listen: (Ipv4Addr::LOCALHOST, port).into(),
        ..broker::Config::new(directory)
    };
    let broker = broker::Broker::start(config).await?;
    println!("{}", broker.address());
    tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
    broker.shutdown().await;
    Ok(())
}
