//! `passerelle demo`: a shop, the pipeline, a small ERP, all on this machine.

mod erp;
mod folder;
mod journey;
mod shop;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use engine::ShutdownTrigger;
use tokio::net::TcpListener;

use crate::arguments::Demo;
use crate::failure::{Failure, Outcome};
use crate::run::Running;
use crate::{files, signals};
use erp::Erp;
use folder::Folder;
use journey::Journey;
use shop::Shop;

/// How often the demo looks whether enough orders have landed.
const LOOK: Duration = Duration::from_millis(100);

/// Runs the demo until Ctrl-C, or until `--orders` have landed.
pub async fn run(options: Demo) -> Outcome {
    let folder = Folder::open(&options.directory)?;
    let journey = Journey::default();
    let (trigger, stop) = ShutdownTrigger::new();
    let erp = Erp::open(&folder.path().join("erp.jsonl"), journey.clone()).map_err(|error| {
        Failure::new(format!(
            "The ERP's books in {} cannot be opened: {error}.",
            folder.path().display()
        ))
    })?;
    let before = erp.count();
    let listener = listen(folder.erp).await?;
    let serving = tokio::spawn(erp.clone().serve(listener, stop.clone()));
    let paths = [folder.path().join("orders.yaml")];
    let pipelines = files::read(&paths)?.pipelines;
    let running = Running::start(&paths, pipelines, Arc::default()).await?;
    running.started().await?;

    introduce(&folder, &running, before);
    let shop = Shop {
        url: format!("http://{}/shop", folder.webhooks),
        secret: folder.secret.clone(),
        folder: folder.path().to_owned(),
    };
    let selling = tokio::spawn(shop.run(journey, options.orders, stop.clone()));
    let enough = async {
        match options.orders {
            Some(orders) => {
                while ((erp.count() - before) as u64) < orders {
                    tokio::time::sleep(LOOK).await
                }
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        signal = signals::stop() => say!("\n{signal}: stopping."),
        () = enough => {}
    }
    trigger.trigger();
    let sold = selling.await;
    running.shutdown().await;
    let _ = serving.await;
    say!(
        "Orders in the ERP: {}. All data stays in {}; start the demo again to go on from there.",
        erp.count(),
        folder.path().display()
    );
    match sold {
        Ok(Err(sentence)) => Err(Failure::new(sentence)),
        _ => Ok(ExitCode::SUCCESS),
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::new(format!("The demo's ERP cannot listen on {address}: {error}. Another demo may be running; else change the port in orders.yaml."))
    })
}

fn introduce(folder: &Folder, running: &Running, before: usize) {
    let Folder { webhooks, erp, .. } = folder;
    let addresses = running.addresses();
    let admin = addresses.admin.as_deref().unwrap_or_default();
    say!("Passerelle: a shop's orders travel to an ERP through Kafka, each once.\n");
    say!("  shop ─▶ webhook ─▶ shop.orders ─▶ map ─▶ erp.sales ─▶ ERP\n");
    say!("  pipeline   {}", folder.path().join("orders.yaml").display());
    say!("  broker     {}        (kcat -b {0} -L)", addresses.kafka);
    say!("  registry   {}", addresses.registry);
    say!("  operators  http://{admin}/metrics  /status  /health  /ready");
    say!("  ERP        http://{erp}/sales  ({before} orders so far)");
    say!("\nSend an order by hand:\n");
    say!("  curl http://{webhooks}/by-hand -d @{}", folder.path().join("order.json").display());
    // As it was typed, so that the line can be typed again.
    let command = std::env::args().next().unwrap_or_else(|| "passerelle".into());
    say!("\nFollow a topic:\n\n  {command} tap erp.sales --data {}", folder.path().display());
    say!(
        "\nOrders as they land in the ERP, with the time since the shop sent them (Ctrl-C stops):\n"
    );
}
