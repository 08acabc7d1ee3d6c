//! Ledgers: what a shop called and was answered, what an application received, what was done to the
//! processes in between. One JSON object a line, appended as it happens, by the process it happens to.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A file that entries are appended to.
pub struct Ledger(Mutex<File>);

impl Ledger {
    pub fn open(path: &Path) -> Self {
        Self(Mutex::new(OpenOptions::new().create(true).append(true).open(path).unwrap()))
    }

    /// The entry is in the file when this returns: a SIGKILL of this process loses none.
    pub fn append(&self, entry: &impl Serialize) {
        let line = serde_json::to_string(entry).unwrap() + "\n";
        self.0.lock().unwrap().write_all(line.as_bytes()).unwrap();
    }
}

/// All entries of a ledger so far; none if nobody has written any.
pub fn read<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // The last line may be on its way.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A call of the shop: once when it is sent, and once more when it is answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Call {
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// The order's id: `CUSTOMER/NUMBER`, both in the order they were made in.
    pub id: String,
    /// The hash of what an application is to receive of it.
    pub hash: String,
    /// The answer's status; 0 if the connection broke; none when it is sent.
    pub answer: Option<u16>,
    /// Whether the answer says when to call again (`Retry-After`).
    #[serde(default)]
    pub retry_after: bool,
}

impl Call {
    /// Whether the shop was told that it is taken.
    pub fn is_acknowledged(&self) -> bool {
        self.answer.is_some_and(|status| (200..300).contains(&status))
    }
}

/// A request that an application received.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Receipt {
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// Where it was sent: `/unique` de-duplicates by idempotency key, any other path nothing.
    pub path: String,
    /// The process that sent it.
    #[serde(default)]
    pub instance: String,
    /// The order's id.
    pub id: String,
    /// Its idempotency key.
    pub key: String,
    /// The hash of its body.
    pub hash: String,
    /// Whether the application has taken it: a refusal takes nothing.
    pub taken: bool,
    /// Whether that had an effect: none where it is known that it was taken before.
    pub effect: bool,
    /// The status that it was answered, 0 for none.
    pub answer: u16,
}

/// What was done to a process, a broker or the network.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fault {
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// What was done.
    pub what: String,
    /// Whether this undid it: from here on everything has to recover by itself.
    pub healed: bool,
}

/// Milliseconds since the Unix epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

/// The hash of a value, whatever the order of its fields.
pub fn hash(value: &Value) -> String {
    short(&Sha256::digest(canonical(value).to_string()))
}

/// The start of a digest, which is enough to tell two apart.
pub fn short(digest: &[u8]) -> String {
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            fields.into_iter().map(|(name, value)| (name.clone(), canonical(value))).collect()
        }
        Value::Array(items) => items.iter().map(canonical).collect(),
        scalar => scalar.clone(),
    }
}

/// The ledgers of a case, which stay when it has ended.
#[derive(Debug, Clone)]
pub struct Books {
    folder: PathBuf,
}

impl Books {
    /// Empty ledgers in a folder.
    pub fn new(folder: PathBuf) -> Self {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self { folder }
    }

    /// A ledger's file.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.jsonl"))
    }

    /// What the shops sent and were answered.
    pub fn calls(&self) -> Vec<Call> {
        read(&self.file("shop"))
    }

    /// The paths at which applications received something.
    pub fn paths(&self) -> BTreeSet<String> {
        let all: Vec<Receipt> = read(&self.file("target"));
        all.into_iter().map(|receipt| receipt.path).collect()
    }

    /// What the application at a path received.
    pub fn receipts(&self, path: &str) -> Vec<Receipt> {
        let all: Vec<Receipt> = read(&self.file("target"));
        all.into_iter().filter(|receipt| receipt.path == path).collect()
    }

    /// What was done from outside.
    pub fn faults(&self) -> Vec<Fault> {
        read(&self.file("faults"))
    }
}
