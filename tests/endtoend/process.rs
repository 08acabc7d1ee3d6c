//! The binary as a child process.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// The binary under test; measurements name one built for release in `PASSERELLE_TEST_BINARY`.
pub const BINARY: &str = env!("CARGO_BIN_EXE_passerelle");

/// A process that is killed when it is dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// A signal that a process can be sent.
#[derive(Debug, Clone, Copy)]
pub enum Signal {
    Terminate,
    Stop,
    Continue,
    /// Read the files again.
    Hangup,
}

impl Process {
    /// Starts the binary in a folder; what it says is appended to `name.log` there.
    pub fn start(folder: &Path, name: &str, arguments: &[&str]) -> Self {
        Self::start_with(folder, name, arguments, &[])
    }

    /// Starts the binary in a folder with these variables in its environment.
    pub fn start_with(
        folder: &Path,
        name: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        let append =
            || -> File { OpenOptions::new().create(true).append(true).open(&log).unwrap() };
        let child = command(folder)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(append())
            .stderr(append())
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: nothing of it runs any more.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        let name = match signal {
            Signal::Terminate => "TERM",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
            Signal::Hangup => "HUP",
        };
        let line = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    }

    /// The most memory that it has ever held, in mebibytes (`VmHWM` of proc(5)).
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// SIGTERM, then its own end.
    pub async fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::Terminate);
        self.ended().await
    }

    /// Waits for its own end.
    pub async fn ended(&mut self) -> ExitStatus {
        self.ends_within(PATIENCE).await
    }

    /// Waits this long for its own end.
    pub async fn ends_within(&mut self, patience: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < patience, "it does not end:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Fails with its log if it has ended.
    pub fn assert_alive(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("it ended with {status}:\n{}", self.log());
        }
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Its folder may be gone already: a second panic would end all tests.
        if std::thread::panicking()
            && let Ok(log) = std::fs::read(&self.log)
        {
            eprintln!("--- {}\n{}", self.log.display(), String::from_utf8_lossy(&log));
        }
    }
}

/// What a command that came to its end has said.
#[derive(Debug)]
pub struct Answer {
    /// The exit code.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the binary in a folder until it ends.
pub async fn run(folder: &Path, arguments: &[&str]) -> Answer {
    run_with(folder, arguments, &[]).await
}

/// Runs the binary in a folder, with these variables in its environment, until it ends.
pub async fn run_with(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Answer {
    let mut command = tokio::process::Command::from(command(folder));
    command.envs(environment.iter().copied());
    let running = command.args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, running)
        .await
        .unwrap_or_else(|_| panic!("`passerelle {}` does not end", arguments.join(" ")))
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Answer {
        code: output.status.code().unwrap_or(-1),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// The binary, without anything of this environment that would change what it does.
fn command(folder: &Path) -> Command {
    let binary = std::env::var("PASSERELLE_TEST_BINARY");
    let mut command = Command::new(binary.as_deref().unwrap_or(BINARY));
    command.current_dir(folder);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PASSERELLE_")) {
        command.env_remove(name);
    }
    command
}
