//! A sink in shadow, beside a flow that writes to the same target: nothing is sent, what would be is
//! written down, and the differences are told.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "endtoend/mod.rs"]
mod endtoend;

use std::io::Write as _;
use std::time::Duration;

use endtoend::folder::{Folder, ORDERS_TO_SALES};
use endtoend::process::{Process, Signal};
use endtoend::shop::order;
use endtoend::target::Target;
use endtoend::until;
use serde_json::{Value, json};

const TO_TWO_TARGETS: &str = r#"
connections:
  erp: { http: { url: "http://TARGET", allow_private: true, timeout: 5s } }
  audit: { http: { url: "http://AUDIT", allow_private: true, timeout: 5s } }
sinks:
  sales:
    from: erp.sales
    to: erp
    path: /sales
    headers: { X-Customer: "{{ .party.name }}" }
    body: '{ "id": .web_id, "customer": .party.code, "total": .total }'
    backoff: { initial: 100ms, max: 500ms }
  audit: { from: erp.sales, to: audit }
"#;

const OURS: &str = "zap.passerelle.jsonl";

struct World {
    folder: Folder,
    /// What the existing flow writes to, and the sink in shadow must not.
    target: Target,
    /// What a sink beside it writes to.
    audit: Target,
}

impl World {
    async fn new() -> Self {
        let target = Target::start(Duration::ZERO).await;
        let audit = Target::start(Duration::ZERO).await;
        let sinks = TO_TWO_TARGETS
            .replace("TARGET", &target.address.to_string())
            .replace("AUDIT", &audit.address.to_string());
        let folder = Folder::with(&(ORDERS_TO_SALES.to_owned() + &sinks));
        Self { folder, target, audit }
    }

    async fn run(&self, arguments: &[&str]) -> Process {
        let all = [&["run", "pipeline.yaml"], arguments].concat();
        let mut process = Process::start(self.folder.path(), "run", &all);
        self.folder.operators().ready(&mut process).await;
        process
    }

    /// What the existing flow logs.
    fn zap(&self, lines: &[Value]) {
        let file = self.folder.path().join("zap.jsonl");
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
        lines.iter().for_each(|line| writeln!(file, "{line}").unwrap());
    }

    fn ours(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join(OURS)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until so many events are written down.
    async fn wrote(&self, count: usize) {
        until(&format!("{count} events are written down"), async || {
            let mut ids: Vec<String> =
                self.ours().iter().map(|line| line["event"].to_string()).collect();
            ids.sort();
            ids.dedup();
            (ids.len() >= count).then_some(())
        })
        .await;
    }

    async fn summary(&self) -> String {
        let (_, text) = self.folder.operators().get("/shadows").await.unwrap();
        let shadows: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(shadows[0]["route"], "orders/sales");
        shadows[0]["summary"].as_str().unwrap().to_owned()
    }

    async fn sell(&self, id: &str) {
        self.folder.shop().tell(&order(id, "C-1")).await;
    }
}

fn zapped(id: &str, total: &str) -> Value {
    json!({ "operation": "POST", "payload": { "total": total, "id": id, "customer": "C-1" } })
}

const SHADOW: [&str; 4] = ["--shadow", "sales=zap.jsonl", "--key", "id"];

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_in_shadow_sends_nothing_and_tells_how_it_differs_and_then_sends_what_it_wrote_down()
{
    let world = World::new().await;
    let World { folder, target, audit } = &world;
    let mut process = world.run(&SHADOW).await;
    world.zap(&[zapped("O-1", "99.90"), zapped("O-2", "99.00"), zapped("O-0", "1.00")]);
    for id in ["O-1", "O-2", "O-3"] {
        world.sell(id).await;
    }
    world.wrote(3).await;
    audit.has_rows(3).await;
    assert_eq!(world.summary().await, "1 the same, 1 differ, 1 only ours, 1 only theirs");
    folder.operators().state("orders/sales.shadow", "running").await;
    let status = folder.ask(&["status"]).await;
    assert!(status.stdout.contains("orders/sales is in shadow: nothing is sent"), "{status:?}");

    // A process that dies writes some again: they count once.
    process.kill();
    process = world.run(&SHADOW).await;
    world.sell("O-4").await;
    world.wrote(4).await;
    world.zap(&[zapped("O-3", "99.90"), zapped("O-4", "99.90")]);
    assert_eq!(world.summary().await, "3 the same, 1 differ, 0 only ours, 1 only theirs");

    let compared = folder.passerelle(&["shadow", "zap.jsonl", "--key", "id"]).await;
    assert_eq!(compared.code, 2, "{compared:?}");
    for part in
        ["total differs: 1", r#"O-2  ours "99.90"  theirs "99.00""#, "Only theirs: 1", "O-0  POST"]
    {
        assert!(compared.stdout.contains(part), "{part} is not in\n{}", compared.stdout);
    }
    let ignoring = ["shadow", "zap.jsonl", "--key", "id", "--ignore", "total", "--json"];
    let ignoring = folder.passerelle(&ignoring).await;
    let report: Value = serde_json::from_str(&ignoring.stdout).unwrap();
    assert_eq!((&report["same"], &report["differ"]), (&4.into(), &0.into()), "{report:#}");

    process.signal(Signal::Terminate);
    assert!(process.ended().await.success());
    let log = process.log();
    assert!(log.contains("Shadow of orders/sales") && log.contains("total differs: 1"), "{log}");
    assert_eq!(target.requests().len(), 0, "nothing was sent");

    // Live, the sink has a place of its own, which an operator decides. It sends what was written down.
    let process = world.run(&[]).await;
    let waiting = folder.operators().state("orders/sales", "waiting").await;
    assert!(waiting["reason"].as_str().unwrap().contains("already holds events"), "{waiting}");
    let accepted = folder.ask(&["accept", "orders/sales", "--from", "beginning"]).await;
    assert_eq!(accepted.code, 0, "{accepted:?}");
    target.has_rows(4).await;
    let rows = target.rows();
    for line in world.ours() {
        let sent = &rows[line["id"].as_str().unwrap()];
        assert_eq!((&sent.body, &line["operation"]), (&line["payload"], &"POST /sales".into()));
    }
    assert!(process.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_gives_no_request_is_told_and_no_other_sink_takes_the_place_of_one_in_shadow()
{
    let world = World::new().await;
    let World { folder, target, .. } = &world;
    for (asked, said) in [
        ("sales", "--shadow SINK=FILE"),
        ("sale=zap.jsonl", "orders/sales, orders/audit"),
        (
            "sales=no/such/folder/zap.jsonl",
            "cannot be written to no/such/folder/zap.passerelle.jsonl",
        ),
    ] {
        let answer = folder.passerelle(&["run", "pipeline.yaml", "--shadow", asked]).await;
        assert!(answer.code == 1 && answer.stderr.contains(said), "{asked}: {answer:?}");
    }
    let process = world.run(&SHADOW).await;
    let mut broken = order("O-1", "C-1");
    broken["customer"]["name"] = "Ada\nLovelace".into();
    folder.shop().tell(&broken).await;
    world.wrote(1).await;
    let [line] = world.ours().try_into().unwrap();
    assert!(line["refused"].as_str().unwrap().contains("`x-customer`"), "{line}");
    assert!(world.summary().await.ends_with("1 refused here"), "{}", world.summary().await);
    let routes = folder.operators().routes().await;
    let letters = routes["orders/sales.shadow"]["open_dead_letters"].as_i64();
    assert_eq!(letters.unwrap_or(0), 0, "{routes:?}");

    // Under another name it would send: such files are rejected.
    let text = std::fs::read_to_string(folder.path().join("pipeline.yaml")).unwrap();
    folder.write("pipeline.yaml", &text.replace("  sales:\n    from", "  sold:\n    from"));
    process.signal(Signal::Hangup);
    until("the files are rejected", async || {
        let (_, text) = folder.operators().get("/configuration").await?;
        text.contains("shadow_missing").then_some(())
    })
    .await;
    world.sell("O-2").await;
    world.wrote(2).await;
    assert_eq!(target.requests().len(), 0);
    assert!(process.terminate().await.success());
}
