//! What an expression cannot say is said by a program beside Passerelle: `docs/examples/own-code`.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "endtoend/mod.rs"]
mod endtoend;

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use endtoend::folder::{Folder, free_address};
use endtoend::process::Process;
use endtoend::shop::{SECRET, order};
use endtoend::target::Target;
use serde_json::{Value, json};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/own-code");

/// The example's program. It ends with the test.
struct Rules {
    process: Child,
    port: u16,
}

impl Rules {
    fn start(port: u16) -> Self {
        let mut command = Command::new("python3");
        command.arg("-B").arg(Path::new(EXAMPLE).join("rules.py")).arg(port.to_string());
        Self { process: command.spawn().expect("Python 3 runs"), port }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn start_again(&mut self) {
        *self = Self::start(self.port);
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The example in a folder of its own, and what its variables are.
fn folder(rules: &Rules, erp: &Target) -> (Folder, [(&'static str, String); 3]) {
    let pipeline = std::fs::read_to_string(Path::new(EXAMPLE).join("pipeline.yaml")).unwrap();
    let (_, sections) = pipeline.split_once("name: bundles\n").expect("it has a name");
    let folder = Folder::with("");
    folder.set_pipeline_of("bundles", sections);
    for file in ["sold.avsc", "order.json", "sale.json"] {
        std::fs::copy(Path::new(EXAMPLE).join(file), folder.path().join(file)).unwrap();
    }
    let variables = [
        ("RULES_URL", format!("http://127.0.0.1:{}", rules.port)),
        ("ERP_URL", format!("http://{}", erp.address)),
        ("SHOP_SECRET", SECRET.to_owned()),
    ];
    (folder, variables)
}

async fn run(folder: &Folder, variables: &[(&'static str, String)]) -> Process {
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, &**value)).collect();
    let mut process =
        Process::start_with(folder.path(), "run", &["run", "pipeline.yaml"], &variables);
    folder.operators().ready(&mut process).await;
    process
}

/// An order of a starter bundle at this price.
fn bundle(id: &str, sku: &str, price: &str) -> Value {
    let mut order = order(id, "C-1");
    order["lines"] = json!([{ "sku": sku, "quantity": 2, "unit_price": price }]);
    order
}

#[tokio::test]
async fn a_rule_in_python_makes_lines_of_bundles_once_over_kills_of_it_and_of_the_process() {
    if !Command::new("python3").arg("--version").output().is_ok_and(|told| told.status.success()) {
        eprintln!(
            "SKIPPED: the rule is a program in Python 3: install it, so that `python3` is on the path"
        );
        return;
    }
    let mut rules = Rules::start(free_address().port());
    let erp = Target::start(Duration::ZERO).await;
    let (folder, variables) = folder(&rules, &erp);
    let mut process = run(&folder, &variables).await;
    let shop = folder.shop();
    shop.tell(&bundle("B-0", "BUNDLE-STARTER", "9.99")).await;
    erp.has_rows(1).await;
    let sale = erp.taken().remove(0).body;
    assert_eq!(
        sale["lines"],
        json!([
            { "product": "SKU-1", "quantity": "2.0000", "unit_price": "6.01" },
            { "product": "SKU-2", "quantity": "4.0000", "unit_price": "1.99" },
        ]),
        "exact, and together what the bundle costs"
    );

    // What the rule refuses is kept with its reason; the orders behind it go on.
    shop.tell(&bundle("B-1", "BUNDLE-NONE", "9.99")).await;
    shop.tell(&bundle("B-2", "BUNDLE-GIFT", "5.00")).await;
    erp.has_rows(2).await;
    let letters = folder.ask(&["dead-letters", "list", "bundles/to_sale"]).await;
    assert!(letters.stdout.contains("there is no bundle NONE"), "{letters:?}");

    // While it is away the route waits and says so, and the process may die meanwhile.
    rules.kill();
    for number in 3..8 {
        shop.tell(&bundle(&format!("B-{number}"), "BUNDLE-STARTER", "9.99")).await;
    }
    folder.operators().waits("bundles/to_sale", &["127.0.0.1"]).await;
    process.kill();
    let _process = run(&folder, &variables).await;
    rules.start_again();
    erp.has_rows(7).await;
    folder.operators().caught_up().await;
    let mut ids: Vec<_> = erp.rows().values().map(|row| row.text("web_id").to_owned()).collect();
    ids.sort();
    assert_eq!(ids, ["B-0", "B-2", "B-3", "B-4", "B-5", "B-6", "B-7"]);
}
