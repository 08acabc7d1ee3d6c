//! Shops and applications as processes of their own: this binary, started again.
//!
//! A party is told what it is by a variable of its environment, says where it listens in its first
//! line of output, takes a command a line on its input, and ends with it.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{self, Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{shop, target};

const ROLE: &str = "PASSERELLE_FAULT_PARTY";
const PATIENCE: Duration = Duration::from_secs(120);

/// What a party is.
#[derive(Debug, Serialize, Deserialize)]
pub enum Role {
    Shop(shop::Plan),
    Target(target::Plan),
}

/// A running party; it ends with this value, or with this process.
pub struct Party {
    process: Child,
    input: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    /// The first line that it said.
    pub greeting: String,
}

impl Party {
    pub fn start(role: &Role) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .env(ROLE, serde_json::to_string(role).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let input = process.stdin.take();
        let mut party = Self { process, input, lines, greeting: String::new() };
        party.greeting = party.hear();
        party
    }

    fn hear(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("the party says something")
    }

    /// Gives a command, and waits until it is followed.
    pub fn tell(&mut self, command: &impl Serialize) -> String {
        let line = serde_json::to_string(command).unwrap() + "\n";
        self.input.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        self.hear()
    }

    /// Waits for its own end.
    pub async fn ended(&mut self) {
        let started = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                assert!(status.success(), "the party ended with {status}");
                return;
            }
            assert!(started.elapsed() < PATIENCE, "the party does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In a process that is to be a party, is one until it ends, and exits. In any other, returns at
/// once.
pub fn play_if_asked() {
    let Some(role) = env::var_os(ROLE) else { return };
    let role = serde_json::from_str(role.to_str().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match role {
            Role::Shop(plan) => shop::run(plan, commands()).await,
            Role::Target(plan) => target::run(plan, commands()).await,
        }
    });
    process::exit(0);
}

/// What the harness says, a line each; ended when the harness has gone.
pub type Commands = tokio::sync::mpsc::UnboundedReceiver<String>;

fn commands() -> Commands {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Says a line to the harness.
pub fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().unwrap();
}
