//! The `passerelle` command, as its user runs it.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::erp::Erp;
use crate::eventually;
use crate::mail::Mail;
use crate::targets::Targets;

/// What Stripe signs with.
pub const SECRET: &str = "whsec_test";

/// The routes that have dead letters.
const ROUTES: [&str; 8] =
    ["stripe", "to_sale", "sales", "confirmations", "invoices", "table", "sheet", "lake"];

/// A pipeline file with names of its own, so that what a Kafka has from other runs says nothing.
pub struct Pipeline {
    folder: TempDir,
    run: String,
    listen: String,
    environment: Vec<(&'static str, String)>,
}

/// An event that could not pass.
#[derive(Debug)]
pub struct DeadLetter {
    /// The topic that keeps it.
    pub topic: String,
    /// Why.
    pub cause: String,
}

impl Pipeline {
    /// Writes `orders.yaml` and its schemas into a new folder.
    pub fn write(kafka: &str, erp: &Erp, mail: &Mail, targets: &Targets) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/journey");
        for file in ["stripe_event.avsc", "sale.avsc", "payment.json", "customer.json", "sale.json"]
        {
            std::fs::copy(here.join(file), folder.path().join(file)).unwrap();
        }
        let run = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
        let yaml = std::fs::read_to_string(here.join("orders.yaml"))
            .unwrap()
            .replace("name: orders\n", &format!("name: orders-{run}\n"))
            .replace("stripe.events", &format!("stripe.events.{run}"))
            .replace("erp.sales", &format!("erp.sales.{run}"));
        std::fs::write(folder.path().join("orders.yaml"), yaml).unwrap();
        std::fs::create_dir(folder.path().join("files")).unwrap();
        let listen = format!("127.0.0.1:{}", free_port());
        let data = folder.path().join("data").display().to_string();
        let environment = vec![
            ("JOURNEY_KAFKA", kafka.to_owned()),
            ("JOURNEY_DATA", data),
            ("JOURNEY_LISTEN", listen.clone()),
            ("JOURNEY_ERP", erp.url.clone()),
            ("JOURNEY_ERP_KEY", erp.key.clone()),
            ("JOURNEY_MAIL", mail.url()),
            ("JOURNEY_BOOKS", targets.books.url.clone()),
            ("JOURNEY_WAREHOUSE", targets.warehouse.url.clone()),
            ("JOURNEY_SECRET", SECRET.to_owned()),
            ("PASSERELLE_INSTANCE", "journey".to_owned()),
        ];
        Self { folder, run, listen, environment }
    }

    /// What makes this run's names its own.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Where its sinks write files.
    pub fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    /// Where webhooks go.
    pub fn webhook_url(&self) -> String {
        format!("http://{}/stripe", self.listen)
    }

    /// `passerelle run`, once it is ready.
    pub async fn start(&self) -> Passerelle {
        // A killed process has left its addresses.
        let addresses = self.data().join("addresses.json");
        let _ = std::fs::remove_file(&addresses);
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let process = self
            .command(&["run", "orders.yaml"])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("passerelle starts");
        let mut running = Passerelle { process, admin: String::new() };
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        running.admin = eventually("passerelle is ready", async || {
            let exit = running.process.try_wait().unwrap();
            assert!(exit.is_none(), "passerelle has ended: {exit:?}");
            let addresses: Value = serde_json::from_slice(&std::fs::read(&addresses).ok()?).ok()?;
            let admin = format!("http://{}", addresses["admin"].as_str()?);
            let ready = client.get(format!("{admin}/ready")).send().await.ok()?;
            ready.status().is_success().then_some(admin)
        })
        .await;
        running
    }

    /// What `passerelle tap` shows of a topic.
    pub fn tap(&self, topic: &str) -> Vec<Value> {
        let topic = format!("{topic}.{}", self.run);
        self.tap_exactly(&topic)
    }

    /// The topic of a route's dead letters.
    pub fn dead_letters_of(&self, route: &str) -> String {
        format!("orders-{}.{route}.dead-letters", self.run)
    }

    /// The dead letters of all routes.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        let read = |route| {
            let topic = self.dead_letters_of(route);
            let events = self.tap_exactly(&topic).into_iter();
            events.map(move |event| DeadLetter {
                topic: topic.clone(),
                cause: event["headers"]["__connect.errors.exception.message"]
                    .as_str()
                    .expect("a dead letter names its cause")
                    .to_owned(),
            })
        };
        ROUTES.into_iter().flat_map(read).collect()
    }

    fn tap_exactly(&self, topic: &str) -> Vec<Value> {
        let data = self.data().display().to_string();
        let arguments = ["tap", topic, "--from", "beginning", "--no-follow", "--data", &data];
        let Output { status, stdout, stderr } = self.command(&arguments).output().unwrap();
        assert!(status.success(), "tap {topic}: {}", String::from_utf8_lossy(&stderr));
        let lines = String::from_utf8(stdout).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_passerelle"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("passerelle.log")
    }
}

/// A test that failed shows what the process said.
impl Drop for Pipeline {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.log()).unwrap_or_default();
            eprintln!("the log of passerelle:\n{log}");
        }
    }
}

/// A running `passerelle run`.
pub struct Passerelle {
    process: Child,
    admin: String,
}

impl Passerelle {
    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// SIGTERM, after which it exits 0.
    pub fn stop(mut self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().unwrap().success());
        let exit = self.process.wait().unwrap();
        assert!(exit.success(), "passerelle stops with {exit}");
    }

    /// How many events the routes have not handled yet, each as measured after `since` (milliseconds
    /// since the Unix epoch); none while that is unknown.
    pub async fn lag(&self, since: i64) -> Option<i64> {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("{}/status", self.admin)).send().await.ok()?;
        let routes: Value = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
        let reading = routes.as_array()?.iter().filter(|route| route["role"] != "source");
        let lags = reading.map(|route| {
            route["lag_at"].as_i64().filter(|at| *at >= since)?;
            route["lag_events"].as_i64()
        });
        lags.sum::<Option<i64>>()
    }
}

impl Drop for Passerelle {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that nobody uses now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
