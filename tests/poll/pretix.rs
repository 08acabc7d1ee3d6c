//! A real ticket shop whose calls are unsigned and only name an order: pretix, as docs/examples/pretix has it.
//! `just poll` starts one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use rand::Rng as _;
use serde_json::{Value, json};
use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::endtoend::folder::Folder;
use super::endtoend::process::Process;
use super::endtoend::target::Target;
use super::endtoend::{self, until};

/// What pretix's calls carry.
const PASSWORD: &str = "of-the-calls";
/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:9";

/// A shop for one event of a running pretix.
struct Shop {
    /// The REST interface of the organizer.
    url: String,
    /// The token of a user who may do everything.
    admin: String,
    /// The token of one who reads orders.
    reader: String,
    /// The port of pretix's database.
    postgres: u16,
    client: reqwest::Client,
    /// The event's name in addresses.
    event: String,
    /// What is sold.
    item: i64,
    /// The webhook.
    hook: i64,
}

/// An order as pretix has it: its status, its address and its total.
type Order = [String; 3];

impl Shop {
    /// A new event in the pretix that the environment names, whose calls go nowhere yet; without one the test says
    /// loudly that it did not run.
    async fn open() -> Option<Self> {
        static NUMBER: AtomicU16 = AtomicU16::new(0);
        let Some(folder) = std::env::var_os("PASSERELLE_TEST_PRETIX").map(PathBuf::from) else {
            eprintln!("SKIPPED: a real pretix is needed: `just poll` starts one and runs this.");
            return None;
        };
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let configuration = read("pretix.cfg");
        let set =
            |name: &str| configuration.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut shop = Self {
            url: format!("{}/api/v1/organizers/acme", set("url = ")),
            admin: read("admin"),
            reader: read("token"),
            postgres: set("port = ").parse().unwrap(),
            client: client(),
            event: format!("test-{}-{number}", std::process::id()),
            item: 0,
            hook: 0,
        };
        let event = json!({ "name": { "en": "Test" }, "slug": shop.event, "date_from": "2030-01-01T20:00:00Z", "live": false });
        shop.write("POST", "/events/concert/clone/", &event).await;
        let items = shop.read(&format!("/events/{}/items/", shop.event)).await;
        shop.item = items["results"][0]["id"].as_i64().unwrap();
        let action = |name: &&str| format!("pretix.event.order.{name}");
        let actions = ["placed", "paid", "canceled", "contact.changed"];
        let hook = json!({
            "target_url": address(NOWHERE), "enabled": true, "all_events": false, "limit_events": [shop.event],
            "action_types": actions.iter().map(action).collect::<Vec<_>>(),
        });
        shop.hook = shop.write("POST", "/webhooks/", &hook).await["id"].as_i64().unwrap();
        Some(shop)
    }

    async fn write(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.url));
        self.send(request.header("content-type", "application/json").body(body.to_string())).await
    }

    async fn read(&self, path: &str) -> Value {
        self.send(self.client.get(format!("{}{path}", self.url))).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Value {
        let authorized = request.header("authorization", format!("Token {}", self.admin));
        let answer = authorized.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Has the calls go there.
    async fn calls_go_to(&self, address_of: &str) {
        let path = format!("/webhooks/{}/", self.hook);
        self.write("PATCH", &path, &json!({ "target_url": address(address_of) })).await;
    }

    /// A customer orders seats at these prices; gives the order's code.
    async fn order(&self, prices: &[&str]) -> String {
        let positions: Vec<_> = prices
            .iter()
            .map(|price| json!({ "item": self.item, "variation": null, "price": price }))
            .collect();
        let order = json!({
            "email": "ada@example.com", "locale": "en", "sales_channel": "web", "status": "n",
            "payment_provider": "manual", "positions": positions,
        });
        let placed = self.write("POST", &format!("/events/{}/orders/", self.event), &order).await;
        placed["code"].as_str().unwrap().to_owned()
    }

    async fn pay(&self, code: &str) {
        self.act(code, "mark_paid").await;
    }

    async fn cancel(&self, code: &str) {
        self.act(code, "mark_canceled").await;
    }

    async fn act(&self, code: &str, what: &str) {
        let path = format!("/events/{}/orders/{code}/{what}/", self.event);
        self.write("POST", &path, &json!({ "send_email": false })).await;
    }

    async fn write_to(&self, code: &str, email: &str) {
        let path = format!("/events/{}/orders/{code}/", self.event);
        self.write("PATCH", &path, &json!({ "email": email })).await;
    }

    /// Every order as it is now.
    async fn orders(&self) -> BTreeMap<String, Order> {
        let mut all = BTreeMap::new();
        for page in 1.. {
            let read = self.read(&format!("/events/{}/orders/?page={page}", self.event)).await;
            all.extend(read["results"].as_array().unwrap().iter().map(order_of));
            if read["next"].is_null() {
                break;
            }
        }
        all
    }

    /// What pretix has written down of its calls: the order, the status that came back (0: nobody answered), what
    /// came back.
    async fn calls(&self) -> Vec<(String, u16, String)> {
        let tcp = tokio::net::TcpStream::connect(("127.0.0.1", self.postgres)).await.unwrap();
        let mut config = tokio_postgres::Config::new();
        config.user("postgres").dbname("pretix");
        let (client, connection) = config.connect_raw(tcp, NoTls).await.unwrap();
        tokio::spawn(connection);
        let query = format!(
            "select payload::json->>'code', return_code, response_body from pretixapi_webhookcall where webhook_id = {} order by id",
            self.hook
        );
        let messages = client.simple_query(&query).await.unwrap();
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        rows.map(|row| {
            let text = |column: usize| row.get(column).unwrap().to_owned();
            (text(0), text(1).parse().unwrap(), text(2))
        })
        .collect()
    }
}

/// A client that opens a connection for each request: its server ends idle ones after two seconds, maybe just when the
/// next request is on its way.
fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().timeout(endtoend::PATIENCE);
    client.pool_max_idle_per_host(0).build().unwrap()
}

/// The address to call, as a user of pretix writes it.
fn address(host: &str) -> String {
    format!("http://pretix:{PASSWORD}@{host}/pretix")
}

fn order_of(order: &Value) -> (String, Order) {
    let text = |name: &str| order[name].as_str().unwrap().to_owned();
    (text("code"), [text("status"), text("email"), text("total")])
}

/// A pipeline that a user copies, on a shop of this test.
struct Pipeline {
    folder: Folder,
    reader: String,
    event: String,
}

impl Pipeline {
    /// The pipeline of docs/examples/pretix; its poll asks every `every`. It delivers to the target, if there is one.
    fn of(shop: &Shop, every: &str, target: Option<&Target>) -> Self {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/pretix");
        let read = |name: &str| std::fs::read_to_string(example.join(name)).unwrap();
        let mut pipeline = read("pipeline.yaml");
        for (from, to) in [
            ("name: tickets\n", ""),
            (
                "url: \"https://pretix.eu/api/v1/organizers/acme\"",
                &format!("url: {}\n      allow_private: true", shop.url),
            ),
            ("every: 5m", &format!("every: {every}")),
            // What earlier runs of the tests have left is not looked for.
            ("for: 7d", "for: 10m"),
        ] {
            assert!(pipeline.contains(from), "the example has `{from}`");
            pipeline = pipeline.replace(from, to);
        }
        if let Some(target) = target {
            let office = format!(
                "office: {{ http: {{ url: \"http://{}\", allow_private: true }} }}",
                target.address
            );
            pipeline = pipeline.replace("connections:\n", &format!("connections:\n  {office}\n"));
            pipeline += "sinks:\n  office: { from: tickets.orders, to: office, path: /orders }\n";
        }
        let folder = Folder::with("");
        folder.set_pipeline_of("tickets", &pipeline);
        folder.write("order.avsc", &read("order.avsc"));
        Self { folder, reader: shop.reader.clone(), event: shop.event.clone() }
    }

    fn host(&self) -> String {
        self.folder.webhooks.to_string()
    }

    async fn run(&self) -> Process {
        let environment = [("PRETIX_TOKEN", &*self.reader), ("PRETIX_HOOK_PASSWORD", PASSWORD)];
        let arguments = ["run", "pipeline.yaml"];
        let mut process = Process::start_with(self.folder.path(), "run", &arguments, &environment);
        self.folder.operators().ready(&mut process).await;
        process
    }

    /// The events of this test's orders (the poll finds those of others, too); none is there twice.
    async fn events(&self) -> Vec<Value> {
        let mut events = self.folder.tap("tickets.orders").await;
        events.retain(|event| event["value"]["event"] == *self.event);
        let ids: BTreeSet<_> = events.iter().map(id).collect();
        assert_eq!(ids.len(), events.len(), "an event lies there twice");
        events
    }

    /// What the last event of each order says.
    async fn orders(&self) -> BTreeMap<String, Order> {
        self.events().await.iter().map(|event| order_of(&event["value"])).collect()
    }

    /// Waits until the last event of each order says what the shop says.
    async fn agrees_with(&self, shop: &Shop) {
        let expected = shop.orders().await;
        let agrees = async || (self.orders().await == expected).then_some(());
        until("each order is there as it is", agrees).await;
    }
}

fn id(event: &Value) -> String {
    event["headers"]["ce_id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_a_real_pretix_and_its_changes_arrive_once_by_its_calls_with_exact_money() {
    let Some(shop) = Shop::open().await else { return };
    let pipeline = Pipeline::of(&shop, "1h", None);
    let _process = pipeline.run().await;
    shop.calls_go_to(&pipeline.host()).await;
    let code = shop.order(&["19.90", "0.10", "1234567.89"]).await;
    pipeline.agrees_with(&shop).await;
    let events = pipeline.events().await;
    assert_eq!(events.len(), 1);
    let (key, order) = (&events[0]["key"], &events[0]["value"]);
    assert_eq!((key, &order["total"]), (&json!(code), &json!("1234587.89")));
    let of = |name: &str| -> Vec<_> {
        order["positions"].as_array().unwrap().iter().map(|one| one[name].clone()).collect()
    };
    assert_eq!(of("price"), ["19.90", "0.10", "1234567.89"]);
    assert_eq!(of("tax_value"), ["1.04", "0.01", "64361.36"]);
    shop.pay(&code).await;
    pipeline.agrees_with(&shop).await;
    shop.cancel(&code).await;
    pipeline.agrees_with(&shop).await;
    assert_eq!(pipeline.orders().await[&code][0], "c");
    let unsigned = endtoend::client().post(format!("http://{}/pretix", pipeline.host()));
    let answer = unsigned.body(json!({ "code": code }).to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 401, "not anybody may call");
    let letters = pipeline.folder.ask(&["dead-letters", "list"]).await;
    assert!(letters.stdout.contains("tickets/orders: 0 dead letters open"), "{letters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_a_real_pretix_that_was_lost_is_found_by_the_poll_without_a_second_event() {
    let Some(shop) = Shop::open().await else { return };
    let pipeline = Pipeline::of(&shop, "1s", None);
    let mut process = pipeline.run().await;
    let (kept, changed) = (shop.order(&["10.00"]).await, shop.order(&["20.00"]).await);
    pipeline.agrees_with(&shop).await;
    assert!(shop.calls().await.iter().all(|(_, status, _)| *status == 0), "no call has come");
    process.kill();
    shop.cancel(&changed).await;
    let _process = pipeline.run().await;
    pipeline.agrees_with(&shop).await;
    assert_eq!(pipeline.orders().await[&changed][0], "c");
    let found = pipeline.events().await.len();
    // pretix calls again 5, 30 and 60 seconds after a call that failed: it is late.
    shop.calls_go_to(&pipeline.host()).await;
    let came = async {
        loop {
            let calls = shop.calls().await;
            let came = |code: &str| calls.iter().any(|call| call.0 == code && call.1 == 200);
            if came(&kept) && came(&changed) {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), came).await.expect("pretix calls again");
    assert_eq!(
        pipeline.events().await.len(),
        found,
        "what the poll has found makes no second event"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_of_a_real_pretix_are_there_once_and_as_they_are_over_kills_at_random_moments() {
    let Some(shop) = Shop::open().await.map(Arc::new) else { return };
    let target = Target::start(Duration::ZERO).await;
    let pipeline = Pipeline::of(&shop, "2s", Some(&target));
    let mut process = pipeline.run().await;
    shop.calls_go_to(&pipeline.host()).await;
    let closed = Arc::new(AtomicBool::new(false));
    let customers: Vec<_> = (0..3)
        .map(|_| {
            let (shop, closed) = (Arc::clone(&shop), Arc::clone(&closed));
            tokio::spawn(async move {
                while !closed.load(Ordering::Relaxed) {
                    let code = shop.order(&["19.90", "0.10"]).await;
                    shop.pay(&code).await;
                    if rand::rng().random_bool(0.5) {
                        shop.write_to(&code, "grace@example.com").await;
                        shop.cancel(&code).await;
                    }
                }
            })
        })
        .collect();
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(200..2_500))).await;
        process.kill();
        process = pipeline.run().await;
    }
    closed.store(true, Ordering::Relaxed);
    for customer in customers {
        customer.await.unwrap();
    }
    pipeline.agrees_with(&shop).await;
    let ids: BTreeSet<_> = pipeline.events().await.iter().map(id).collect();
    let calls = shop.calls().await;
    assert!(calls.iter().any(|(_, status, _)| *status == 0), "no kill has met a call");
    for (code, _, answer) in calls.iter().filter(|(_, status, _)| *status == 200) {
        let answer: Value = serde_json::from_str(answer).unwrap();
        let known = ids.contains(answer["id"].as_str().unwrap());
        assert!(known, "pretix was answered 200 for {code}, and there is no event: {answer}");
    }
    let ours = || target.rows().values().filter(|row| row.text("event") == shop.event).count();
    let delivered = async || (ours() >= ids.len()).then_some(());
    until("each event is delivered", delivered).await;
    assert_eq!(ours(), ids.len(), "each has one effect at the target");
    eprintln!("{} orders, {} events, {} calls", shop.orders().await.len(), ids.len(), calls.len());
}
