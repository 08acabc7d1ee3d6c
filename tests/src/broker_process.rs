//! The embedded broker in a process of its own, so that it can be killed.
//!
//! The process is the test binary itself, started again: its `main` calls [`serve_if_asked`]
//! first, or, under the standard test harness, it has the test that [`broker_process!`] writes.

use std::{
    env,
    io::{self, BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::deadline::GENEROUS;

const DIRECTORY: &str = "PASSERELLE_TEST_BROKER_DIRECTORY";
const PORT: &str = "PASSERELLE_TEST_BROKER_PORT";
const ADVERTISED: &str = "PASSERELLE_TEST_BROKER_ADVERTISED";
const LISTENS: &str = "the broker listens on ";

/// Compaction and retention look for work this often, where a user's broker takes its time.
const CLEANING_INTERVAL: Duration = Duration::from_millis(200);

/// An embedded broker in a process of its own; it ends with this value, or with this process.
#[derive(Debug)]
pub struct BrokerProcess {
    directory: PathBuf,
    address: SocketAddr,
    advertised: Option<SocketAddr>,
    process: Child,
    temporary: Option<TempDir>,
}

impl BrokerProcess {
    /// Starts a broker on a new folder, which goes with this value.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start() -> Self {
        let temporary = TempDir::new().unwrap();
        let mut started = Self::start_in(temporary.path());
        started.temporary = Some(temporary);
        started
    }

    /// Starts a broker on a folder.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_in(directory: &Path) -> Self {
        Self::advertised_in(directory, None)
    }

    /// Starts a broker on a folder that sends its clients to this address: a proxy's.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn behind(directory: &Path, proxy: SocketAddr) -> Self {
        Self::advertised_in(directory, Some(proxy))
    }

    fn advertised_in(directory: &Path, advertised: Option<SocketAddr>) -> Self {
        let (process, address) =
            spawn(directory, 0, advertised).expect("start the embedded broker");
        Self { directory: directory.to_owned(), address, advertised, process, temporary: None }
    }

    /// Where it listens, also after a restart.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The folder of its files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Stops it cleanly.
    ///
    /// # Panics
    /// If it fails.
    pub fn stop(&mut self) {
        drop(self.process.stdin.take());
        let status = self.process.wait().unwrap();
        assert!(status.success(), "the embedded broker stopped with {status}");
    }

    /// Ends it at once, as `kill -9` does.
    ///
    /// # Panics
    /// If the operating system refuses.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again, once it has ended, on the same folder and port.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&mut self) {
        // Another process may have the port for a moment, as its end of a connection.
        let started = (0..20).find_map(|_| {
            spawn(&self.directory, self.address.port(), self.advertised).or_else(|| {
                thread::sleep(Duration::from_millis(250));
                None
            })
        });
        (self.process, self.address) = started.expect("start the embedded broker again");
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts the process and waits until it listens; none if it ends before.
fn spawn(
    directory: &Path,
    port: u16,
    advertised: Option<SocketAddr>,
) -> Option<(Child, SocketAddr)> {
    let mut process = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "embedded_broker_process", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(PORT, port.to_string())
        .envs(advertised.map(|address| (ADVERTISED, address.to_string())))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap());
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        while output.read_line(&mut line).is_ok_and(|read| read > 0) {
            if let Some((_, address)) = line.trim_end().split_once(LISTENS) {
                let _ = sender.send(address.parse().unwrap());
            }
            line.clear();
        }
    });
    match receiver.recv_timeout(GENEROUS) {
        Ok(address) => Some((process, address)),
        Err(_) => {
            let _ = process.kill();
            let _ = process.wait();
            None
        }
    }
}

/// In a process that is to be a broker, is one until its input ends, and exits. In any other,
/// returns at once.
///
/// # Panics
/// If the broker does not start.
pub fn serve_if_asked() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let port: u16 = env::var(PORT).unwrap().parse().unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(serve(directory.into(), port));
    process::exit(0);
}

async fn serve(directory: PathBuf, port: u16) {
    let advertised = env::var(ADVERTISED).ok().map(|text| text.parse::<SocketAddr>().unwrap());
    let config = broker::Config {
        advertised: advertised.map(|address| (address.ip().to_string(), address.port())),
        listen: (Ipv4Addr::LOCALHOST, port).into(),
        cleaning_interval: CLEANING_INTERVAL,
        ..broker::Config::new(directory)
    };
    let broker = broker::Broker::start(config).await.unwrap();
    println!("{LISTENS}{}", broker.address());
    let input_ends = || io::copy(&mut io::stdin(), &mut io::sink());
    tokio::task::spawn_blocking(input_ends).await.unwrap().unwrap();
    broker.shutdown().await;
}

/// What a test binary under the standard harness needs, at its root, to start a
/// [`BrokerProcess`](crate::broker_process::BrokerProcess).
#[macro_export]
macro_rules! broker_process {
    () => {
        #[test]
        #[ignore = "no test: the process of an embedded broker, started by tests"]
        fn embedded_broker_process() {
            $crate::broker_process::serve_if_asked();
        }
    };
}
