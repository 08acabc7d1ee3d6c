//! aiosmtpd: a mail server on loopback that keeps what it takes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::{eventually, passerelle};

/// A mail server, running or not.
pub struct Mail {
    python: PathBuf,
    folder: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Mail {
    /// One that does not run yet.
    pub fn new(python: &Path) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), passerelle::free_port());
        Self { python: python.to_owned(), folder, port, process: None }
    }

    /// Starts it; it then takes every mail.
    pub async fn start(&mut self) {
        let process = Command::new(&self.python)
            .args(["-m", "aiosmtpd", "--nosetuid", "--listen", &format!("127.0.0.1:{}", self.port)])
            .args(["--class", "aiosmtpd.handlers.Mailbox"])
            .arg(self.maildir())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("PASSERELLE_PYTHON starts");
        self.process = Some(process);
        eventually("the mail server answers", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.ok().map(drop)
        })
        .await;
    }

    /// Where it listens, or will.
    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// What it has taken, each mail as its text.
    pub fn taken(&self) -> Vec<String> {
        let Ok(files) = std::fs::read_dir(self.maildir().join("new")) else { return Vec::new() };
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    }

    /// Its folder, in the form of maildir.
    fn maildir(&self) -> PathBuf {
        self.folder.path().join("mails")
    }
}

impl Drop for Mail {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A header of a mail.
pub fn header<'m>(mail: &'m str, name: &str) -> &'m str {
    let line = mail.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_default()
}
