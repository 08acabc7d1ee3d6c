//! The registry that all cases share.

use std::net::SocketAddr;

use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::endtoend::folder::free_address;
use crate::endtoend::process::Process;
use crate::endtoend::{client, until};

static RUNNING: Mutex<Option<Registry>> = Mutex::const_new(None);

struct Registry {
    address: SocketAddr,
    // The process ends before its folder goes.
    _process: Process,
    _folder: TempDir,
}

/// Its address; the first one who asks starts it.
pub async fn address() -> SocketAddr {
    let mut running = RUNNING.lock().await;
    if let Some(registry) = &*running {
        return registry.address;
    }
    let (folder, address) = (TempDir::new().unwrap(), free_address());
    let (kafka, registry) = (free_address().to_string(), address.to_string());
    let arguments = ["broker", "--data", "data", "--listen", &kafka, "--registry", &registry];
    let process = Process::start(folder.path(), "registry", &arguments);
    let (client, subjects) = (client(), format!("http://{address}/subjects"));
    until("the registry answers", async || client.get(&subjects).send().await.ok()).await;
    *running = Some(Registry { address, _process: process, _folder: folder });
    address
}

/// Ends it, if it runs.
pub fn end() {
    drop(RUNNING.blocking_lock().take());
}
