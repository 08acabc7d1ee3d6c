//! Databases of a real PostgreSQL, through its own client.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A database of its own.
pub struct Database {
    /// `postgres://postgres@127.0.0.1:25432/name`.
    pub url: String,
}

impl Database {
    /// A new one on a server, whose address is that of any of its databases.
    pub fn on(server: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sink_{}_{number}", std::process::id());
        psql(server, &format!("DROP DATABASE IF EXISTS {name}")).unwrap();
        psql(server, &format!("CREATE DATABASE {name}")).unwrap();
        let (server, _) = server.rsplit_once('/').unwrap();
        Self { url: format!("{server}/{name}") }
    }

    /// Statements, which succeed; what they give, a line a row.
    pub fn sql(&self, sql: &str) -> String {
        psql(&self.url, sql).unwrap()
    }
}

/// What statements give, or why they fail.
pub fn psql(url: &str, sql: &str) -> Result<String, String> {
    let arguments = [url, "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql];
    let output = Command::new("psql").args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}
