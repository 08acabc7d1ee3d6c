//! Everything around a running pipeline: its folder, brokers, shop and application, their ledgers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tests::admin::unique;
use tests::apache_kafka::ApacheKafka;
use tests::cluster::{Cluster, Use};

use crate::account::Account;
use crate::brokers::Brokers;
use crate::endtoend::folder::Folder;
use crate::endtoend::operators::Operators;
use crate::endtoend::process::Process;
use crate::endtoend::topic;
use crate::ledger::{self, Books, Fault, Ledger, Receipt};
use crate::party::{Party, Role};
use crate::run::{Broker, Run};
use crate::shop::{self, Becomes, Plan};
use crate::target::{self, Target};

/// How long anything may take before it counts as never: other cases run at the same time.
pub const PATIENCE: Duration = Duration::from_secs(150);

/// How many events a route of [`ORDERS_TO_SALES`] delivers at once.
pub const CONCURRENCY: usize = 4;

/// The topics of orders and of sales. A `@` before a name stands for what makes the case's names its
/// own.
pub const TOPICS: &str = r#"
topics:
  @shop.orders: { partitions: 4, schema: order.avsc }
  @erp.sales: { partitions: 4, schema: sale.avsc }
"#;

/// The shop calls.
pub const SOURCE: &str = r#"
sources:
  shop:
    webhook: { path: /shop, signature: { standard_webhooks: "${file:shop.secret}" } }
    to: @shop.orders
    key: .customer.id
"#;

/// Orders become sales.
pub const PROCESSOR: &str = r#"
processors:
  to_sale:
    from: @shop.orders
    to: @erp.sales
    start: beginning
    map: |
      .web_id = .id
      .date = format_timestamp!(.placed_at, "%Y-%m-%d")
      .party = { "code": .customer.id, "name": .customer.name, "email": .customer.email, "address": .customer.address }
      .lines = map_values(.lines) -> |line| {
        { "product": line.sku, "quantity": line.quantity, "unit_price": line.unit_price }
      }
"#;

/// Sales go to an application that takes each idempotency key once, and to one that takes whatever
/// comes.
pub const SINKS: &str = r#"
connections:
  erp: { http: { url: "http://TARGET", allow_private: true, timeout: 5s, headers: { X-Instance: "INSTANCE" } } }
sinks:
  unique: { from: @erp.sales, to: erp, path: /unique, start: beginning, concurrency: 4, backoff: { initial: 100ms, max: 500ms } }
  plain: { from: @erp.sales, to: erp, path: /plain, start: beginning, concurrency: 4, backoff: { initial: 100ms, max: 500ms } }
"#;

/// All of it.
pub const ORDERS_TO_SALES: &[&str] = &[TOPICS, SOURCE, PROCESSOR, SINKS];

/// Looks again and again until there is something.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "in {PATIENCE:?} it did not happen that {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// The brokers that pipelines are told of.
#[expect(clippy::large_enum_variant, reason = "there is one a row")]
pub enum Around {
    /// Brokers of their own.
    Apart(Brokers),
    /// An Apache Kafka; the registry is in the pipeline's process.
    Kafka(Cluster),
    /// Broker and registry are in the pipeline's process.
    Inside,
}

/// A pipeline with what it needs. Nothing runs yet but the application.
pub struct World<'r> {
    pub run: &'r Run,
    pub folder: Folder,
    pub target: Target,
    pub books: Books,
    faults: Ledger,
    /// What the names of topics begin with.
    prefix: String,
    /// The pipeline's name.
    name: String,
    around: Around,
    shops: usize,
    /// What else is in the environment of the pipeline's processes.
    pub environment: Vec<(&'static str, String)>,
}

impl<'r> World<'r> {
    /// A world around a pipeline whose broker is embedded in its process, or an Apache Kafka that
    /// others use at the same time. In its sections, `@name` is a topic of this case, `TARGET` the
    /// application's address and `INSTANCE` the process's name.
    pub async fn around(run: &'r Run, sections: &[&str]) -> Self {
        let around = match run.broker {
            Broker::Kafka { .. } => {
                let kafka = ApacheKafka::from_environment().expect("the row was added for it");
                Around::Kafka(Cluster::apache_kafka(&kafka, Use::Shared))
            }
            _ => Around::Inside,
        };
        Self::with(run, sections, around)
    }

    /// A world around a pipeline whose brokers are processes of their own: they can be ended, or
    /// several processes can share them. A row that ends them uses an Apache Kafka alone.
    pub async fn apart(run: &'r Run, sections: &[&str], usage: Use) -> Self {
        Self::with(run, sections, Around::Apart(Brokers::start(run, usage).await))
    }

    /// A world around a pipeline that reaches its broker through a proxy.
    pub async fn proxied(run: &'r Run, sections: &[&str], usage: Use) -> Self {
        Self::with(run, sections, Around::Apart(Brokers::start_proxied(run, usage).await))
    }

    fn with(run: &'r Run, sections: &[&str], around: Around) -> Self {
        let books = run.books();
        let plan = target::Plan { ledger: books.file("target"), seed: run.seed };
        let name = unique(run.number());
        let world = Self {
            run,
            folder: Folder::with(""),
            target: Target::start(plan),
            faults: Ledger::open(&books.file("faults")),
            books,
            prefix: format!("{name}."),
            name,
            around,
            shops: 0,
            environment: Vec::new(),
        };
        world.write(&world.folder, "one", sections);
        world
    }

    /// The folder of another process of the pipeline, with these sections; it has to be
    /// [started](Self::start_in).
    pub fn another(&self, instance: &str, sections: &[&str]) -> Folder {
        let folder = Folder::with("");
        self.write(&folder, instance, sections);
        folder
    }

    /// Writes the pipeline's file into a folder.
    pub fn write(&self, folder: &Folder, instance: &str, sections: &[&str]) {
        let surroundings = match &self.around {
            Around::Apart(brokers) => brokers.sections(),
            Around::Kafka(kafka) => format!("kafka: {{ brokers: \"{}\" }}\n", kafka.address()),
            Around::Inside => String::new(),
        };
        let sections = (surroundings + &sections.concat())
            .replace(" @", &format!(" {}", self.prefix))
            .replace("TARGET", &self.target.address.to_string())
            .replace("INSTANCE", instance);
        folder.set_pipeline_of(&self.name, &sections);
    }

    /// The brokers, where they are processes of their own.
    pub fn brokers(&mut self) -> &mut Brokers {
        let Around::Apart(brokers) = &mut self.around else { panic!("they are not apart") };
        brokers
    }

    /// The full name of a topic of the pipeline (`erp.sales`).
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The full name of a route: as `/status` has it.
    pub fn route(&self, name: &str) -> String {
        format!("{}/{name}", self.name)
    }

    /// Starts the pipeline, without waiting for it. The same name over restarts keeps the partitions.
    pub fn start(&self) -> Process {
        self.start_in(&self.folder, "one")
    }

    /// Starts the pipeline of a folder as an instance of this name, without waiting for it.
    pub fn start_in(&self, folder: &Folder, instance: &str) -> Process {
        let wish = std::env::var("PASSERELLE_FAULT_LOG").unwrap_or_else(|_| "info".to_owned());
        let own = [("PASSERELLE_INSTANCE", instance), ("PASSERELLE_LOG", &wish)];
        let others = self.environment.iter().map(|(name, value)| (*name, value.as_str()));
        let environment: Vec<_> = own.into_iter().chain(others).collect();
        Process::start_with(folder.path(), instance, &["run", "pipeline.yaml"], &environment)
    }

    /// Starts the pipeline of a folder as an instance of this name, and waits until it is ready.
    pub async fn started_in(&self, folder: &Folder, instance: &str) -> Process {
        let mut process = self.start_in(folder, instance);
        folder.operators().ready(&mut process).await;
        process
    }

    /// Starts the pipeline and waits until it is ready.
    pub async fn started(&self) -> Process {
        self.started_in(&self.folder, "one").await
    }

    pub fn operators(&self) -> Operators {
        self.folder.operators()
    }

    /// Opens a shop of so many customers, which sells until it is closed; what an application gets of
    /// its orders are sales.
    pub fn shop(&mut self, customers: usize) -> OpenShop {
        self.shop_that(|plan| plan.customers = customers)
    }

    /// Opens a shop that differs in its plan.
    pub fn shop_that(&mut self, differs: impl FnOnce(&mut Plan)) -> OpenShop {
        self.shops += 1;
        let mut plan = Plan {
            url: format!("http://{}/shop", self.folder.webhooks),
            ledger: self.books.file("shop"),
            customers: 8,
            prefix: format!("S{}", self.shops),
            orders: None,
            pause: 80,
            again: 0,
            becomes: Becomes::Sale,
            seed: self.run.seed.wrapping_add(self.shops as u64),
        };
        differs(&mut plan);
        OpenShop(Party::start(&Role::Shop(plan)))
    }

    /// Writes down that something was done to a process, a broker or the network.
    pub fn inflicted(&self, what: &str) {
        self.run.note(|finding| finding.faults += 1);
        self.faults.append(&Fault { at: ledger::now(), what: what.to_owned(), healed: false });
    }

    /// Writes down that it is over: from now on everything has to recover by itself.
    pub fn healed(&self, what: &str) {
        self.faults.append(&Fault { at: ledger::now(), what: what.to_owned(), healed: true });
    }

    /// SIGKILL, and a new start at once; returns without waiting for it.
    pub fn kill_and_start(&self, process: &mut Process) {
        self.kill_and_start_in(&self.folder, "one", process);
    }

    /// The same with the pipeline of another folder.
    pub fn kill_and_start_in(&self, folder: &Folder, instance: &str, process: &mut Process) {
        self.inflicted("SIGKILL");
        process.kill();
        *process = self.start_in(folder, instance);
        self.healed("start");
    }

    /// Waits until the application at a path has received so many requests more.
    pub async fn receives(&mut self, path: &str, more: usize) {
        let wanted = self.target.count(path) + more;
        let started = Instant::now();
        while self.target.count(path) < wanted {
            assert!(started.elapsed() < PATIENCE, "{path} never receives {more} more");
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }

    /// Waits until the shops' orders are all taken, and delivered.
    pub async fn settled(&self, shops: impl IntoIterator<Item = OpenShop>) {
        for shop in shops {
            shop.closed().await;
        }
        self.delivered().await;
    }

    /// Waits until every application has every acknowledged order, or the dead letters of the route
    /// that is called like its path have it. Orders that never arrive are for the account to name.
    pub async fn delivered(&self) {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if self.has_arrived().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let status = self.operators().get("/status").await;
        eprintln!("{}: not everything arrives; the routes: {status:?}", self.run.row);
    }

    async fn has_arrived(&self) -> bool {
        let paths = self.books.paths();
        for path in &paths {
            if !self.account(path, &[]).await.lost.is_empty() {
                let route = path.trim_start_matches('/');
                if !self.account(path, &[route]).await.lost.is_empty() {
                    return false;
                }
            }
        }
        !paths.is_empty()
    }

    /// The account between the shops and the application at a path; `routes` are those whose dead
    /// letters count.
    pub async fn account(&self, path: &str, routes: &[&str]) -> Account {
        let mut dead = BTreeSet::new();
        for route in routes {
            dead.extend(
                self.dead_letters(route).await.iter().map(|r| r.header("ce_id").to_owned()),
            );
        }
        Account::of(&self.books.calls(), &self.books.receipts(path), &dead, &self.books.faults())
    }

    /// The same, reported and then held: a row that does not hold shows in the table.
    pub async fn held(&self, path: &str, routes: &[&str]) -> Account {
        let account = self.account(path, routes).await;
        self.run.report(&account);
        account.holds();
        account
    }

    /// The account between the shops and a topic: an event is a receipt under its `ce_id`.
    pub async fn account_of_topic(&self, name: &str) -> Account {
        let receipt = |event: &serde_json::Value| {
            let id = event["headers"]["ce_id"].as_str().unwrap().to_owned();
            Receipt {
                at: 0,
                path: name.to_owned(),
                instance: String::new(),
                key: id.clone(),
                id,
                hash: ledger::hash(&event["value"]),
                taken: true,
                effect: true,
                answer: 0,
            }
        };
        let events = self.folder.tap(&self.topic(name)).await;
        let receipts: Vec<_> = events.iter().map(receipt).collect();
        Account::of(&self.books.calls(), &receipts, &BTreeSet::new(), &[])
    }

    /// The dead letters of a route.
    pub async fn dead_letters(&self, route: &str) -> Vec<topic::Record> {
        topic::read(self.kafka(), &format!("{}.{route}.dead-letters", self.name)).await
    }

    /// The broker's address.
    pub fn kafka(&self) -> String {
        match &self.around {
            Around::Apart(brokers) => brokers.kafka.clone(),
            _ => self.folder.kafka(),
        }
    }
}

/// A shop that sells.
pub struct OpenShop(Party);

impl OpenShop {
    /// Waits until it has made so many calls more.
    pub async fn calls(&mut self, more: u64) {
        let mut count = || self.0.tell(&shop::Command::Count).parse::<u64>().unwrap();
        let (wanted, started) = (count() + more, Instant::now());
        while count() < wanted {
            assert!(started.elapsed() < PATIENCE, "the shop never makes {more} more calls");
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }

    /// Sells no more orders, and waits until those that it has sent are all taken.
    pub async fn closed(mut self) {
        self.0.tell(&shop::Command::Close);
        self.sold_out().await;
    }

    /// Waits until a shop with a given number of orders has sold them all.
    pub async fn sold_out(mut self) {
        self.0.ended().await;
    }
}
