//! The demo's folder: its pipeline, its schemas, its secret, all of its data.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use super::shop::new_secret;
use crate::failure::Failure;

const PIPELINE: &str = include_str!("orders.yaml");
const ORDER: &str = include_str!("order.json");

/// The ports that the pipeline is written with, and what they are for.
const WEBHOOKS: u16 = 8080;
const ERP: u16 = 8070;
const ADMIN: u16 = 9464;

/// The demo's folder.
pub struct Folder {
    path: PathBuf,
    /// The shop's secret.
    pub secret: String,
    /// Where webhooks arrive.
    pub webhooks: SocketAddr,
    /// Where the ERP answers.
    pub erp: SocketAddr,
}

impl Folder {
    /// Opens the folder; what is missing is written, what is there is kept.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        Self::prepare(path).map_err(|error| {
            Failure::new(format!("The demo cannot use the folder {}: {error}.", path.display()))
        })
    }

    fn prepare(path: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let pipeline = keep(&path.join("orders.yaml"), || {
            [WEBHOOKS, ERP, ADMIN].iter().fold(PIPELINE.to_owned(), |text, port| {
                text.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{}", free(*port)))
            })
        })?;
        keep(&path.join("order.avsc"), || schemas::events::ORDER.to_owned())?;
        keep(&path.join("sale.avsc"), || schemas::events::SALE.to_owned())?;
        keep(&path.join("order.json"), || ORDER.to_owned())?;
        let secret = keep(&path.join("shop.secret"), new_secret)?;
        Ok(Self {
            path: path.to_owned(),
            secret: secret.trim().to_owned(),
            webhooks: address_after(&pipeline, "http: { listen: \"", WEBHOOKS),
            erp: address_after(&pipeline, "http: { url: \"http://", ERP),
        })
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The text of a file, written first when it is not there.
fn keep(file: &Path, text: impl FnOnce() -> String) -> std::io::Result<String> {
    if !file.exists() {
        std::fs::write(file, text())?;
    }
    std::fs::read_to_string(file)
}

/// The port, or another one if it is taken.
fn free(port: u16) -> u16 {
    let bind = |port| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr())
    };
    bind(port).or_else(|_| bind(0)).map_or(port, |address| address.port())
}

/// The address that follows `before` in the pipeline.
fn address_after(pipeline: &str, before: &str, default: u16) -> SocketAddr {
    pipeline
        .split_once(before)
        .and_then(|(_, rest)| rest.split('"').next()?.parse().ok())
        .unwrap_or_else(|| (Ipv4Addr::LOCALHOST, default).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_folder_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let first = Folder::open(folder.path()).unwrap();
        std::fs::write(folder.path().join("order.json"), "mine").unwrap();
        let second = Folder::open(folder.path()).unwrap();
        assert_eq!(first.secret, second.secret);
        assert_eq!(first.webhooks, second.webhooks);
        assert_eq!(std::fs::read_to_string(folder.path().join("order.json")).unwrap(), "mine");
    }

    #[test]
    fn a_taken_port_is_replaced_in_the_pipeline() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_ne!(free(port), port);
    }
}
