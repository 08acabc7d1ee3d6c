//! Orders on their way into a bucket: each is in one of its objects, once, however the process fails
//! meanwhile. The store is moto's server, which checks every signature; boto3 and pyarrow read what is
//! written.
//!
//! ```text
//! python3 -m venv VENV && VENV/bin/pip install 'moto[s3]' flask flask-cors pyarrow
//! PASSERELLE_PYTHON=VENV/bin/python cargo test --workspace --test s3
//! ```
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "endtoend/mod.rs"]
mod endtoend;
#[path = "faults/proxy.rs"]
#[expect(dead_code, reason = "the network is cut or silent here")]
mod proxy;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use endtoend::folder::{Folder, ORDERS_TO_SALES, free_address};
use endtoend::process::Process;
use endtoend::shop::order;
use endtoend::until;
use proxy::{Proxy, Weather};
use rand::Rng as _;
use serde_json::Value as Json;

const CUSTOMERS: usize = 8;

/// What makes a bucket, and the keys of a user who may use it and nothing else; then keys are checked.
const PREPARE: &str = r#"
import json, sys, urllib.request, boto3
endpoint = sys.argv[1]
as_root = dict(endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="root", aws_secret_access_key="root")
boto3.client("s3", **as_root).create_bucket(Bucket="lake")
iam = boto3.client("iam", **as_root)
iam.create_user(UserName="passerelle")
rights = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
iam.put_user_policy(UserName="passerelle", PolicyName="lake", PolicyDocument=json.dumps(rights))
keys = iam.create_access_key(UserName="passerelle")["AccessKey"]
urllib.request.urlopen(urllib.request.Request(endpoint + "/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"}))
print(json.dumps([keys["AccessKeyId"], keys["SecretAccessKey"]]))
"#;

/// Puts an object there.
const PUT: &str = r#"
import sys, boto3
endpoint, access_key, secret_key, key = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=access_key, aws_secret_access_key=secret_key)
s3.put_object(Bucket="lake", Key=key, Body=sys.stdin.buffer.read())
"#;

/// The keys of all objects below a folder.
const LIST: &str = r#"
import sys, boto3
endpoint, access_key, secret_key, folder = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=access_key, aws_secret_access_key=secret_key)
for page in s3.get_paginator("list_objects_v2").paginate(Bucket="lake", Prefix=folder):
    for found in page.get("Contents", []):
        print(found["Key"])
"#;

/// A line of JSON for each object below a folder: its key, and its rows in their order.
const READ: &str = r#"
import io, json, os, sys, boto3
endpoint, access_key, secret_key, folder = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=access_key, aws_secret_access_key=secret_key)
for page in s3.get_paginator("list_objects_v2").paginate(Bucket="lake", Prefix=folder):
    for found in page.get("Contents", []):
        key = found["Key"]
        body = s3.get_object(Bucket="lake", Key=key)["Body"].read()
        if key.endswith(".parquet"):
            import pyarrow.parquet
            rows = pyarrow.parquet.ParquetFile(io.BytesIO(body)).read().to_pylist()
        else:
            assert body.endswith(b"\n"), key
            rows = [json.loads(line) for line in body.decode().splitlines()]
        print(json.dumps([key, rows], default=str))
# (pyarrow's threads now and then abort a Python that ends in the usual way.)
sys.stdout.flush()
os._exit(0)
"#;

/// moto's server with a bucket `lake`, and a network between us and it.
struct Store {
    server: Child,
    python: String,
    address: SocketAddr,
    proxy: Proxy,
    access_key: String,
    secret_key: String,
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A Python with moto's server and pyarrow; tells how to have one if there is none.
fn python() -> Option<String> {
    let python = std::env::var("PASSERELLE_PYTHON").ok().filter(|python| !python.is_empty());
    let imports = "import os, moto.server, boto3, pyarrow.parquet; os._exit(0)";
    let has = |python: &String| {
        let imported = Command::new(python).args(["-c", imports]).output();
        imported.is_ok_and(|output| output.status.success())
    };
    let found = python.filter(has);
    if found.is_none() {
        eprintln!(
            "SKIPPED: the store is moto's server: `pip install 'moto[s3]' flask flask-cors pyarrow` and \
             name that Python in PASSERELLE_PYTHON."
        );
    }
    found
}

impl Store {
    async fn start(python: String) -> Self {
        let address = free_address();
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let server = Command::new(&python)
            .args(["-m", "moto.server", "-H", &host, "-p", &port])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("the store listens", async || {
            tokio::net::TcpStream::connect(address).await.ok().map(drop)
        })
        .await;
        let proxy = Proxy::start(address).await;
        let (access_key, secret_key) = (String::new(), String::new());
        let mut store = Self { server, python, address, proxy, access_key, secret_key };
        let keys: [String; 2] = serde_json::from_str(&store.run(PREPARE, &[], b"")).unwrap();
        [store.access_key, store.secret_key] = keys;
        store
    }

    /// What a Python script says, given the store's address and more.
    fn run(&self, script: &str, arguments: &[&str], input: &[u8]) -> String {
        let mut child = Command::new(&self.python)
            .args(["-c", script, &format!("http://{}", self.address)])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The rows of all objects below a folder, in the order of their names: of one partition, in that
    /// of the offsets.
    fn rows(&self, folder: &str) -> Vec<Json> {
        let said = self.run(READ, &[&self.access_key, &self.secret_key, folder], b"");
        let objects = said.lines().map(|line| serde_json::from_str(line).unwrap());
        let mut objects: Vec<(String, Vec<Json>)> = objects.collect();
        objects.sort_by_key(|(key, _)| key.rsplit('/').next().unwrap().to_owned());
        objects.into_iter().flat_map(|(_, rows)| rows).collect()
    }

    /// Puts an object into the bucket.
    fn put(&self, key: &str, text: &str) {
        self.run(PUT, &[&self.access_key, &self.secret_key, key], text.as_bytes());
    }

    /// The keys of all objects below a folder.
    fn keys(&self, folder: &str) -> Vec<String> {
        let said = self.run(LIST, &[&self.access_key, &self.secret_key, folder], b"");
        said.lines().map(str::to_owned).collect()
    }

    /// A pipeline that writes orders and sales into the bucket.
    fn folder(&self) -> Folder {
        let sections = ORDERS_TO_SALES
            .replace("to: erp.sales\n", "to: erp.sales\n    delivery: exactly_once\n");
        self.folder_with(&(sections + TO_BUCKET))
    }

    fn folder_with(&self, sections: &str) -> Folder {
        let folder = Folder::with(sections);
        folder.write("row.avsc", ROW);
        folder.write("endpoint", &format!("http://{}", self.proxy.address));
        folder.write("access.key", &self.access_key);
        folder.write("secret.key", &self.secret_key);
        folder
    }
}

const TO_BUCKET: &str = r#"
connections:
  lake:
    s3:
      bucket: lake
      folder: acme
      endpoint: "${file:endpoint}"
      access_key: "${file:access.key}"
      secret_key: "${file:secret.key}"
      allow_private: true
      timeout: 10s
sinks:
  columns:
    from: shop.orders
    to: lake
    format: parquet
    path: 'columns/customer={{ .customer.id }}'
    roll: { events: 40, every: 700ms }
    backoff: { initial: 100ms, max: 500ms }
  lines:
    from: erp.sales
    to: lake
    format: json_lines
    path: 'lines'
    roll: { every: 300ms }
    backoff: { initial: 100ms, max: 500ms }
"#;

/// Rows that a source reads from the bucket.
const FROM_BUCKET: &str = r#"
topics:
  rows: { partitions: 2, schema: row.avsc }
connections:
  lake:
    s3:
      bucket: lake
      folder: acme
      endpoint: "${file:endpoint}"
      access_key: "${file:access.key}"
      secret_key: "${file:secret.key}"
      allow_private: true
      timeout: 10s
sources:
  cells:
    s3: { folder: in/cells, pattern: "*.csv", every: 100ms, format: { csv: { delimiter: ";" } }, then: { archive: done } }
    from: lake
    to: rows
    key: .code
  lines:
    s3: { folder: in/lines, every: 100ms, format: json_lines }
    from: lake
    to: rows
    key: .code
"#;

const ROW: &str = r#"{"type":"record","name":"Row","fields":[
  {"name":"code","type":"string"},
  {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":20,"scale":2}}]}"#;

/// The codes of all rows that were published, in their order.
async fn codes(folder: &Folder) -> Vec<String> {
    let rows = folder.tap("rows").await;
    let mut codes: Vec<String> =
        rows.iter().map(|row| row["value"]["code"].as_str().unwrap().to_owned()).collect();
    codes.sort();
    codes
}

/// Sells so many more orders to each customer, one after the other, all customers at once.
async fn sell(folder: &Folder, orders: std::ops::Range<usize>) {
    let selling = (0..CUSTOMERS).map(async |customer| {
        let shop = folder.shop();
        for number in orders.clone() {
            shop.tell(&order(&format!("C-{customer}/{number:04}"), &format!("C-{customer}"))).await;
        }
    });
    futures::future::join_all(selling).await;
}

/// Waits until so many orders of each customer are in the bucket, and nothing more is to come; then each
/// is there once, in order.
async fn assert_landed(store: &Store, folder: &Folder, orders: usize) {
    until("every order is in the lines", async || {
        (store.rows("acme/lines/").len() >= CUSTOMERS * orders).then_some(())
    })
    .await;
    folder.operators().caught_up().await;
    for (below, id) in [("acme/lines/", "web_id"), ("acme/columns/", "id")] {
        let mut by_customer: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for row in store.rows(below) {
            let (customer, number) = row[id].as_str().unwrap().split_once('/').unwrap();
            by_customer.entry(customer.to_owned()).or_default().push(number.parse().unwrap());
        }
        assert_eq!(by_customer.len(), CUSTOMERS, "{below}");
        for (customer, numbers) in by_customer {
            assert_eq!(numbers, (0..orders).collect::<Vec<_>>(), "{below}: {customer}");
        }
    }
}

/// Waits until a route waits for a reason with these words.
async fn waits_for(folder: &Folder, route: &str, words: &[&str]) -> String {
    until(&format!("{route} waits: {words:?}"), async || {
        let waiting = folder.operators().state(route, "waiting").await;
        let reason = waiting["reason"].as_str()?;
        words.iter().all(|word| reason.contains(word)).then(|| reason.to_owned())
    })
    .await
}

/// The process under a name of its own: what died is known again at once, and the next kill meets it
/// at work.
async fn run(folder: &Folder) -> Process {
    let named = [("PASSERELLE_INSTANCE", "one")];
    let mut process = Process::start_with(folder.path(), "run", &["run", "pipeline.yaml"], &named);
    folder.operators().ready(&mut process).await;
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_is_in_the_bucket_once_over_kills_at_random_moments() {
    let Some(python) = python() else { return };
    const ORDERS: usize = 50;
    const KILLS: usize = 8;
    let mut random = endtoend::chance();
    let store = Store::start(python).await;
    let folder = store.folder();
    let killing = async {
        let mut process = run(&folder).await;
        for _ in 0..KILLS {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..2_000))).await;
            process.kill();
            process = run(&folder).await;
        }
        process
    };
    let ((), process) = futures::join!(sell(&folder, 0..ORDERS), killing);
    assert_landed(&store, &folder, ORDERS).await;
    assert!(process.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_for_a_while_is_waited_for() {
    let Some(python) = python() else { return };
    let store = Store::start(python).await;
    let folder = store.folder();
    let process = run(&folder).await;
    sell(&folder, 0..2).await;
    assert_landed(&store, &folder, 2).await;
    for (weather, numbers) in [(Weather::Cut, 2..5), (Weather::Silent, 5..8)] {
        store.proxy.set(weather);
        let orders = numbers.end;
        sell(&folder, numbers).await;
        for route in ["orders/columns", "orders/lines"] {
            waits_for(&folder, route, &["the bucket `lake` of http://127.0.0.1:"]).await;
        }
        store.proxy.set(Weather::Fair);
        assert_landed(&store, &folder, orders).await;
    }
    assert!(process.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_and_a_missing_bucket_are_named_and_nothing_tells_a_secret() {
    let Some(python) = python() else { return };
    let store = Store::start(python).await;
    let folder = store.folder();
    let right = std::fs::read_to_string(folder.path().join("pipeline.yaml")).unwrap();
    for (name, text, words) in [
        (
            "access.key",
            "AKIANOBODY",
            ["InvalidAccessKeyId", "does not know the connection's `access_key`"],
        ),
        (
            "secret.key",
            "not-the-secret-that-it-is",
            ["SignatureDoesNotMatch", "the connection's `secret_key` is not the one"],
        ),
        (
            "pipeline.yaml",
            &right.replace("bucket: lake", "bucket: laek"),
            ["NoSuchBucket", "correct `bucket`"],
        ),
    ] {
        let kept = std::fs::read_to_string(folder.path().join(name)).unwrap();
        folder.write(name, text);
        let process = run(&folder).await;
        sell(&folder, 0..1).await;
        let reason = waits_for(&folder, "orders/lines", &words).await;
        assert!(reason.contains("the bucket `la"), "{reason}");
        let log = process.log();
        for secret in [&*store.secret_key, "not-the-secret-that-it-is"] {
            assert!(!reason.contains(secret) && !log.contains(secret));
        }
        assert!(process.terminate().await.success());
        folder.write(name, &kept);
    }
    let process = run(&folder).await;
    assert_landed(&store, &folder, 1).await;
    assert!(process.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_objects_become_events_once_over_kills_and_what_was_read_is_put_away() {
    let Some(python) = python() else { return };
    const ROWS: usize = 20_000;
    let store = Store::start(python).await;
    let folder = store.folder_with(FROM_BUCKET);
    let code = |row: usize| format!("{row:05}");
    let rows = (0..ROWS).map(|row| format!("{};{row}.50\n", code(row)));
    store.put("acme/in/cells/a.csv", &(String::from("code;price\n") + &rows.collect::<String>()));
    store.put("acme/in/cells/deeper/b.csv", "code;price\nno;1.00\n");
    store.put(
        "acme/in/lines/a.jsonl",
        "{\"code\":\"x1\",\"price\":12345678901234567.89}\n{\"code\":\n",
    );
    let mut process = run(&folder).await;
    for share in [20, 3] {
        until("a part is read", async || (codes(&folder).await.len() > ROWS / share).then_some(()))
            .await;
        process.kill();
        process = run(&folder).await;
    }
    // The same content under another name brings nothing new.
    store.put("acme/in/lines/again.jsonl", "{\"code\":\"x2\",\"price\":1}\n");
    store.put("acme/in/lines/again-2.jsonl", "{\"code\":\"x2\",\"price\":1}\n");
    let expected: Vec<String> =
        (0..ROWS).map(code).chain(["x1".to_owned(), "x2".to_owned()]).collect();
    until("every row is there", async || {
        (codes(&folder).await.len() >= expected.len()).then_some(())
    })
    .await;
    until("what was read is archived", async || {
        (store.keys("acme/done/") == ["acme/done/a.csv"]).then_some(())
    })
    .await;
    assert_eq!(store.keys("acme/in/cells/"), ["acme/in/cells/deeper/b.csv"]);
    assert_eq!(store.keys("acme/in/lines/").len(), 3);
    assert_eq!(codes(&folder).await, expected);
    process.assert_alive();
    assert!(process.terminate().await.success());
}
