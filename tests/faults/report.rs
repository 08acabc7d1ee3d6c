//! What the rows have found, in `tests/faults.json` and in the README's table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::account::Account;

/// What a row found on a broker.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Finding {
    /// The row's name.
    pub row: String,
    /// The broker.
    pub broker: String,
    /// Whether everything held that the row promises.
    pub held: bool,
    /// What the run can be repeated with (`PASSERELLE_FAULT_SEED`).
    pub seed: u64,
    /// How often the fault was inflicted.
    pub faults: usize,
    /// Orders that were sent.
    pub sent: usize,
    /// Orders that the shop was told are taken.
    pub acknowledged: usize,
    /// Requests that the application took, repeats included.
    pub received: usize,
    /// Requests that took an order once more, under the same idempotency key.
    pub repeated: usize,
    /// Acknowledged orders that are neither at the application nor in the dead letters.
    pub lost: usize,
    /// Orders in the dead letters.
    pub dead_letters: usize,
    /// Orders that arrived first after a later one of the same customer.
    pub order_violations: usize,
    /// The hash over all bodies that were to be received, and over those that were.
    pub hashes: [String; 2],
    /// The longest time from the end of a fault until an order arrived again, in milliseconds.
    pub recovery_ms: u64,
    /// How long the row took, in seconds.
    #[serde(default)]
    pub seconds: u64,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Finding {
    /// Adds an application's account: what there were several of is summed up.
    pub fn add(&mut self, account: &Account) {
        self.sent = self.sent.max(account.sent);
        self.acknowledged = self.acknowledged.max(account.acknowledged);
        self.received += account.received;
        self.repeated += account.repeated;
        self.lost += account.lost.len();
        self.dead_letters += account.dead_letters;
        self.order_violations += account.out_of_order.len() + account.stale.len();
        self.recovery_ms = self.recovery_ms.max(account.recovery());
        self.hashes = [account.hash_sent.clone(), account.hash_received.clone()];
    }

    fn key(&self) -> (String, String) {
        (self.row.clone(), self.broker.clone())
    }
}

/// What this process has found so far.
static FOUND: Mutex<Vec<Finding>> = Mutex::new(Vec::new());

/// Keeps what a row has found.
pub fn keep(finding: Finding) {
    FOUND.lock().unwrap().push(finding);
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The file that the README's table is made of.
fn kept_file() -> PathBuf {
    root().join("tests/faults.json")
}

/// Findings as they are written: sorted, those of rows that did not run now as they were.
fn merged(before: &str, found: &[Finding]) -> String {
    let before: Vec<Finding> = serde_json::from_str(before).unwrap_or_default();
    let all: BTreeMap<_, _> =
        before.iter().chain(found).map(|finding| (finding.key(), finding)).collect();
    serde_json::to_string_pretty(&all.into_values().collect::<Vec<_>>()).unwrap() + "\n"
}

/// Writes what was found into `faults.json` in the target directory, and, if `PASSERELLE_FAULT_TABLE`
/// is set, into `tests/faults.json` and the README.
pub fn write() {
    let found = FOUND.lock().unwrap();
    if found.is_empty() {
        return;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../faults.json");
    std::fs::write(&target, merged("", &found)).unwrap();
    if std::env::var_os("PASSERELLE_FAULT_TABLE").is_some() {
        let file = kept_file();
        let kept = merged(&std::fs::read_to_string(&file).unwrap_or_default(), &found);
        std::fs::write(file, &kept).unwrap();
        let readme = root().join("README.md");
        let text = std::fs::read_to_string(&readme).unwrap();
        std::fs::write(readme, with_table(&text, &table(&kept))).unwrap();
    }
}

const BEGIN: &str = "<!-- faults: written by `just faults` -->\n";
const END: &str = "<!-- end of faults -->\n";

/// The README with another table.
fn with_table(readme: &str, table: &str) -> String {
    let (before, rest) = readme.split_once(BEGIN).expect("the README marks the table's place");
    let (_, after) = rest.split_once(END).expect("the README marks the table's end");
    format!("{before}{BEGIN}{table}{END}{after}")
}

fn table(findings: &str) -> String {
    let findings: Vec<Finding> = serde_json::from_str(findings).unwrap();
    let mut table = "| T | fault | broker | faults | sent | repeated | lost | out of order | slowest recovery |\n\
         |---|---|---|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    for finding in &findings {
        let (number, name) = finding.row.split_once('_').unwrap_or(("", &finding.row));
        let number = number.trim_start_matches('t');
        let Finding { broker, faults, sent, repeated, lost, order_violations, .. } = finding;
        let recovery = match finding.recovery_ms {
            0 => String::new(),
            milliseconds => format!("{:.1} s", milliseconds as f64 / 1000.0),
        };
        let failed = if finding.held { "" } else { " **does not hold**" };
        let name = name.replace('_', " ");
        writeln!(
            table,
            "| {number} | {name}{failed} | {broker} | {faults} | {sent} | {repeated} | {lost} | {order_violations} | {recovery} |"
        )
        .unwrap();
    }
    table
}

/// The README says what was found.
pub fn the_readme_shows_what_was_found() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let found = std::fs::read_to_string(kept_file()).unwrap();
    assert_eq!(readme, with_table(&readme, &table(&found)), "`just faults` writes both");
}
