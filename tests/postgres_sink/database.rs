//! Where the tables are: databases of a server that all tests share, and servers that may be killed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::endtoend::folder::free_address;
pub use super::postgres::Database;
use super::postgres::psql;
use super::until;

impl Database {
    /// One on the server that the environment names; without it the test says loudly that it did
    /// not run.
    pub fn new() -> Option<Self> {
        let Ok(server) = std::env::var("PASSERELLE_TEST_POSTGRES") else {
            eprintln!(
                "SKIPPED: a real PostgreSQL is needed: `just postgres-sink` starts one and runs this."
            );
            return None;
        };
        Some(Self::on(&server))
    }

    /// A number; none while there is no answer, or no table yet.
    pub fn number(&self, sql: &str) -> Option<i64> {
        psql(&self.url, sql).ok()?.parse().ok()
    }

    pub async fn has(&self, sql: &str, expected: i64) {
        until(&format!("{sql} gives {expected}"), async || self.number(sql) == Some(expected))
            .await;
    }

    pub fn address(&self) -> SocketAddr {
        let (_, rest) = self.url.split_once('@').unwrap();
        rest.split_once('/').unwrap().0.parse().unwrap()
    }
}

/// A server of its own, ended with the test.
pub struct Server {
    folder: tempfile::TempDir,
    pub port: u16,
}

impl Server {
    pub fn start() -> Self {
        let server = Self { folder: tempfile::tempdir().unwrap(), port: free_address().port() };
        server.run("start");
        server
    }

    pub fn run(&self, verb: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/postgres/postgres");
        let mut command = Command::new(script);
        command.arg(verb).arg(self.folder.path());
        if verb == "start" {
            command.arg(self.port.to_string());
        }
        assert!(command.status().unwrap().success(), "postgres {verb}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = std::fs::read_link(self.folder.path().join("data"));
        self.run("kill");
        if let Ok(data) = data {
            let _ = std::fs::remove_dir_all(data);
        }
    }
}
