//! What events are enriched with: asked of an application, in a file, in a compacted topic.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "endtoend/mod.rs"]
mod endtoend;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use endtoend::folder::{Folder, ORDERS_TO_SALES};
use endtoend::process::Answer;
use endtoend::shop::{Shop, order, signed};
use endtoend::until;
use rand::Rng as _;
use serde_json::{Value, json};

const CONTACT: &str = r#"contact: { topic: crm.contacts, by: .customer.id, on_miss: wait }"#;
const REGION: &str =
    r#"region: { csv: { file: regions.csv, key: customer, delimiter: ";" }, by: .customer.id }"#;
const REGIONS: &str = "customer;region\nC-1;North\nC-2;East\n";

/// The pipeline whose sales have the CRM's name of the customer, and the region as their reference.
fn held() -> String {
    let sections = ORDERS_TO_SALES
        .replace(
            "topics:\n",
            "topics:\n  crm.contacts: { partitions: 3, compaction: true, schema: contact.avsc }\n",
        )
        .replace(
            "sources:\n",
            "sources:\n  crm:\n    webhook: { path: /crm, signature: { standard_webhooks: \"${file:shop.secret}\" } }\n    to: crm.contacts\n    key: .id\n",
        )
        .replace(
            "    map: |\n",
            &format!("    enrich:\n      {CONTACT}\n      {REGION}\n    map: |\n      .reference = .region.region\n"),
        );
    sections.replace(r#""name": .customer.name"#, r#""name": .contact.name || "nobody""#)
}

fn folder() -> Folder {
    let folder = Folder::with(&held());
    folder.write("contact.avsc", schemas::events::CONTACT);
    folder.write("regions.csv", REGIONS);
    folder
}

/// The exit code, and that each of these is said.
#[track_caller]
fn says(answer: &Answer, code: i32, parts: &[&str]) {
    let said = format!("{}{}", answer.stdout, answer.stderr);
    let missing: Vec<_> = parts.iter().filter(|part| !said.contains(**part)).collect();
    assert!(answer.code == code && missing.is_empty(), "{missing:?} in {said}");
}

#[tokio::test]
async fn the_check_says_what_is_wrong_with_a_look_up() {
    let folder = folder();
    let right = held();
    says(&folder.passerelle(&["check", "pipeline.yaml"]).await, 0, &["no problems"]);
    let by = "by: .customer.id";
    for (old, new, code, parts) in [
        ("topic: crm.contacts", "topic: crm.contact", 1, &["unknown_topic", "`crm.contacts`"][..]),
        ("topic: crm.contacts", "topic: { name: crm.contacts, at_most: 0 }", 1, &["at_most"]),
        (".contact.name", ".contact.nam", 1, &["unknown_field"]),
        ("compaction: true, ", "", 0, &["not_compacted", "compaction: true"]),
        ("compaction: true, ", "compaction: true, key_format: long, ", 1, &["key_format"]),
        ("on_miss: wait", "on_miss: wait, schema: contact.avsc", 1, &["unused_field", "schema"]),
        ("on_miss: wait", "on_miss: wait, keep: 1m", 1, &["unused_field", "`keep`"]),
        ("on_miss: wait", "on_miss: wait, lookup: crm", 1, &["unused_field", "`lookup`"]),
        ("file: regions.csv", "file: region.csv", 0, &["file_missing", "region.csv"]),
        ("key: customer", "key: client", 0, &["key_missing", "`customer`"]),
        ("delimiter: \";\"", "delimitr: \";\"", 1, &["delimitr", "delimiter"]),
        (".region.region", ".region.region + 1", 1, &["region"]),
    ] {
        let changed = right.replace(old, new);
        assert_ne!(changed, right, "{old}");
        folder.set_pipeline(&changed);
        says(&folder.passerelle(&["check", "pipeline.yaml"]).await, code, parts);
    }
    let asked = right.replace(REGION, &format!("region: {{ http: {{ path: /x }}, {by} }}"));
    folder.set_pipeline(&asked);
    let answer = folder.passerelle(&["check", "pipeline.yaml"]).await;
    says(&answer, 1, &["missing_field", "`lookup`"]);
}

#[tokio::test]
async fn examples_look_up_in_the_file_itself_unless_they_say_otherwise() {
    let folder = folder();
    let sale = |region: &str| {
        json!({
            "web_id": "1", "date": "2026-01-31", "currency": "EUR", "total": "99.90", "reference": region,
            "party": {
                "code": "C-1", "name": "Augusta", "email": "ada@example.com",
                "address": order("1", "C-1")["customer"]["address"],
            },
            "lines": [{ "product": "SKU-1", "quantity": "3", "unit_price": "33.30" }],
        })
    };
    let example = |stubs: Value, region: &str| {
        let (order, sale) = (order("1", "C-1"), sale(region));
        let tests = json!([{ "in": { "shop.orders": order }, "lookups": stubs, "expect": { "erp.sales": sale } }]);
        let tests = tests.to_string().replace("\"in\":", "\"input\":");
        folder.set_pipeline(&format!("{}tests: {tests}\n", held()));
    };
    let contact = json!({ "C-1": { "id": "C-1", "name": "Augusta" } });
    example(json!({ "contact": contact }), "North");
    says(&folder.passerelle(&["test", "pipeline.yaml"]).await, 0, &[]);
    example(json!({ "contact": contact }), "South");
    says(&folder.passerelle(&["test", "pipeline.yaml"]).await, 1, &["North", "South"]);
    example(json!({ "contact": contact, "region": { "C-1": { "region": "South" } } }), "South");
    says(&folder.passerelle(&["test", "pipeline.yaml"]).await, 0, &[]);
    let any = json!({ "C-2": { "region": "East" }, "*": { "region": "South" } });
    example(json!({ "contact": contact, "region": any }), "South");
    says(&folder.passerelle(&["test", "pipeline.yaml"]).await, 0, &[]);
    example(json!({}), "North");
    says(&folder.passerelle(&["test", "pipeline.yaml"]).await, 1, &["lookups: { contact: … }"]);
}

/// What the sales say of orders: their customer's name and region, by their ids.
async fn sales(folder: &Folder) -> BTreeMap<String, (String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    let sale = |event: Value| {
        let value = &event["value"];
        (text(&value["web_id"]), (text(&value["party"]["name"]), text(&value["reference"])))
    };
    folder.tap("erp.sales").await.into_iter().map(sale).collect()
}

async fn sale(folder: &Folder, id: &str) -> (String, String) {
    until(&format!("{id} is sold"), async || sales(folder).await.remove(id)).await
}

#[tokio::test]
async fn orders_get_what_a_topic_and_a_file_say_of_their_customers() {
    let folder = folder();
    let mut process = folder.run().await;
    let (shop, crm) = (folder.shop(), Shop::new(&format!("http://{}/crm", folder.webhooks)));
    let contact = async |event: &str, id: &str, name: &str| {
        let body = json!({ "id": id, "email": null, "name": name }).to_string();
        assert_eq!(crm.send(signed(event, body)).await.status, 200);
    };
    shop.tell(&order("1", "C-1")).await;
    folder.operators().waits("orders/to_sale", &["`contact` by `C-1`"]).await;
    contact("e1", "C-1", "Augusta").await;
    assert_eq!(sale(&folder, "1").await, ("Augusta".into(), "North".into()));
    contact("e2", "C-2", "Charles").await;
    shop.tell(&order("2", "C-2")).await;
    assert_eq!(sale(&folder, "2").await, ("Charles".into(), "East".into()));
    // The file is replaced, then replaced by a bad one, which changes nothing.
    folder.write(".new", &REGIONS.replace("North", "South"));
    std::fs::rename(folder.path().join(".new"), folder.path().join("regions.csv")).unwrap();
    let mut number = 2;
    until("the region is another", async || {
        number += 1;
        shop.tell(&order(&number.to_string(), "C-1")).await;
        let (_, region) = sale(&folder, &number.to_string()).await;
        (region == "South").then_some(())
    })
    .await;
    folder.write("regions.csv", "customer;region\nC-1;A\nC-1;B\n");
    until("the log names the key", async || {
        let log = process.log();
        (log.contains("`C-1` (rows 1 and 2)") && log.contains("stays in use")).then_some(())
    })
    .await;
    shop.tell(&order("bad", "C-1")).await;
    assert_eq!(sale(&folder, "bad").await, ("Augusta".into(), "South".into()));
    // After a kill all is read again; without a good file, the route waits for one.
    process.kill();
    let process = folder.run().await;
    shop.tell(&order("after", "C-2")).await;
    folder.operators().waits("orders/to_sale", &["regions.csv"]).await;
    folder.write("regions.csv", REGIONS);
    assert_eq!(sale(&folder, "after").await, ("Charles".into(), "East".into()));
    assert!(process.terminate().await.success());
}

/// A CRM that knows everybody, is slow, and now and then answers 503.
#[derive(Clone, Default)]
struct Crm {
    asked: Arc<Mutex<HashMap<String, usize>>>,
}

async fn code(
    State(crm): State<Crm>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<axum::Json<Value>, StatusCode> {
    let id = query.get("id").cloned().unwrap_or_default();
    let times = {
        let mut asked = crm.asked.lock().unwrap();
        *asked.entry(id.clone()).and_modify(|times| *times += 1).or_insert(1)
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    match times % 5 {
        0 => Err(StatusCode::SERVICE_UNAVAILABLE),
        _ => Ok(axum::Json(json!({ "code": format!("code of {id}") }))),
    }
}

impl Crm {
    async fn start() -> (Self, SocketAddr) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (crm, address) = (Self::default(), listener.local_addr().unwrap());
        let router = Router::new().route("/codes", get(code)).with_state(crm.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (crm, address)
    }
}

#[tokio::test]
async fn what_is_asked_of_an_application_is_in_each_sale_once_over_kills_at_random_moments() {
    const CUSTOMERS: usize = 8;
    const ORDERS: usize = 30;
    const KILLS: usize = 5;
    let mut random = endtoend::chance();
    let (crm, address) = Crm::start().await;
    let enrich = r#"    delivery: exactly_once
    enrich:
      crm: { lookup: crm, by: .customer.id, keep: 1h, http: { path: /codes, query: { id: "{{ . }}" } } }
    map: |
      .reference = string!(.crm.code)
"#;
    let connection = format!(
        "connections:\n  crm: {{ http: {{ url: \"http://{address}\", allow_private: true }} }}\n"
    );
    let folder = Folder::with(&(ORDERS_TO_SALES.replace("    map: |\n", enrich) + &connection));
    let selling = (0..CUSTOMERS).map(async |customer| {
        let shop = folder.shop();
        for number in 0..ORDERS {
            let id = format!("C-{customer}/{number:04}");
            shop.tell(&order(&id, &format!("C-{customer}"))).await;
            // The kills have to meet it.
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    });
    let killing = async {
        let mut process = folder.run().await;
        for _ in 0..KILLS {
            tokio::time::sleep(Duration::from_millis(random.random_range(300..1_500))).await;
            process.kill();
            process = folder.run().await;
        }
        process
    };
    let (_, process) = futures::join!(futures::future::join_all(selling), killing);
    let all = CUSTOMERS * ORDERS;
    until("every order is a sale", async || (sales(&folder).await.len() == all).then_some(()))
        .await;
    folder.operators().caught_up().await;
    let written = folder.tap("erp.sales").await;
    let asked: usize = crm.asked.lock().unwrap().values().sum();
    println!("{all} orders, {} sales in the topic, asked {asked} times", written.len());
    assert_eq!(written.len(), all, "each order is one sale");
    for event in &written {
        let sale = &event["value"];
        let customer = sale["web_id"].as_str().unwrap().split('/').next().unwrap();
        assert_eq!(sale["reference"], format!("code of {customer}"));
    }
    assert!(asked > CUSTOMERS, "nothing that was found outlives the process");
    let letters = endtoend::topic::read(folder.kafka(), "orders.to_sale.dead-letters").await;
    assert!(letters.is_empty(), "{}", letters.len());
    assert!(process.terminate().await.success());
}
