//! A folder of its own for each test: the pipeline, its schemas, its secret, its data.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;

use super::operators::Operators;
use super::process::{self, Answer, Process};
use super::shop::{SECRET, Shop};

/// The part of a pipeline that takes a shop's orders and makes sales of them.
pub const ORDERS_TO_SALES: &str = r#"
topics:
  shop.orders: { partitions: 4, schema: order.avsc }
  erp.sales: { partitions: 4, schema: sale.avsc }
sources:
  shop:
    webhook: { path: /shop, signature: { standard_webhooks: "${file:shop.secret}" } }
    to: shop.orders
    key: .customer.id
processors:
  to_sale:
    from: shop.orders
    to: erp.sales
    map: |
      .web_id = .id
      .date = format_timestamp!(.placed_at, "%Y-%m-%d")
      .party = { "code": .customer.id, "name": .customer.name, "email": .customer.email, "address": .customer.address }
      .lines = map_values(.lines) -> |line| {
        { "product": line.sku, "quantity": line.quantity, "unit_price": line.unit_price }
      }
"#;

/// A folder with a pipeline, and free addresses for what it runs.
pub struct Folder {
    directory: TempDir,
    /// Where webhooks arrive.
    pub webhooks: SocketAddr,
    /// Where operators ask.
    pub admin: SocketAddr,
}

impl Folder {
    /// A folder whose `pipeline.yaml` is these sections, with addresses and a data directory.
    pub fn with(sections: &str) -> Self {
        let folder = Self {
            directory: TempDir::new().unwrap(),
            webhooks: free_address(),
            admin: free_address(),
        };
        folder.write("order.avsc", schemas::events::ORDER);
        folder.write("sale.avsc", schemas::events::SALE);
        folder.write("shop.secret", SECRET);
        folder.set_pipeline(sections);
        folder
    }

    /// Writes `pipeline.yaml` anew.
    pub fn set_pipeline(&self, sections: &str) {
        self.set_pipeline_of("orders", sections);
    }

    /// Writes `pipeline.yaml` anew, for a pipeline of this name.
    pub fn set_pipeline_of(&self, name: &str, sections: &str) {
        let Self { webhooks, admin, .. } = self;
        self.write(
            "pipeline.yaml",
            &format!(
                "name: {name}\ndata: data\nhttp: {{ listen: \"{webhooks}\" }}\nadmin: {{ listen: \"{admin}\" }}\n{sections}"
            ),
        );
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Starts `passerelle run pipeline.yaml`, and waits until it is ready.
    pub async fn run(&self) -> Process {
        let mut process = self.start();
        self.operators().ready(&mut process).await;
        process
    }

    /// Starts `passerelle run pipeline.yaml`.
    pub fn start(&self) -> Process {
        Process::start(self.path(), "run", &["run", "pipeline.yaml"])
    }

    /// Runs a command of the binary here until it ends.
    pub async fn passerelle(&self, arguments: &[&str]) -> Answer {
        process::run(self.path(), arguments).await
    }

    /// Runs a command that asks the running process.
    pub async fn ask(&self, arguments: &[&str]) -> Answer {
        self.passerelle(&[arguments, &["--data", "data"]].concat()).await
    }

    /// The events of a topic, as `tap` shows them, up to its end now.
    pub async fn tap(&self, topic: &str) -> Vec<serde_json::Value> {
        let answer = self.ask(&["tap", topic, "--from", "beginning", "--no-follow"]).await;
        assert_eq!(answer.code, 0, "{answer:?}");
        answer.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The address of the broker that the running process uses.
    pub fn kafka(&self) -> String {
        let text = std::fs::read(self.path().join("data/addresses.json")).unwrap();
        let addresses: serde_json::Value = serde_json::from_slice(&text).unwrap();
        addresses["kafka"].as_str().unwrap().to_owned()
    }

    /// A shop that calls the path `/shop`.
    pub fn shop(&self) -> Shop {
        Shop::new(&format!("http://{}/shop", self.webhooks))
    }

    /// The operators' address.
    pub fn operators(&self) -> Operators {
        Operators::at(self.admin)
    }
}

/// Where the real servers listen, which are not up all the time: see the justfile.
const SERVERS: [u16; 4] = [18_070, 18_345, 25_432, 29_092];

/// An address that nobody listens on, outside the range that outgoing connections take theirs from.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + u16::try_from(std::process::id() % 500).unwrap() * 40;
    (0..)
        .map(|_| first + NEXT.fetch_add(1, Ordering::Relaxed))
        // (A server's other nodes, and what is put before it, are a few ports further.)
        .filter(|port| !SERVERS.iter().any(|server| (*server..*server + 20).contains(port)))
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .unwrap()
}
