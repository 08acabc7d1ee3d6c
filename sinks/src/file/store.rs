//! Where files are kept: a folder of this machine, or a bucket.

use async_trait::async_trait;
use bytes::Bytes;
use engine::{Event, Fault};

use super::held::Range;
use super::rows::Content;

/// The folder of journals in the connection's folder. Those who read the others pass over it: its
/// name begins with a dot.
pub(super) const JOURNALS: &str = ".passerelle";

/// Where one route's files are kept.
#[async_trait]
pub(super) trait Store: Send + Sync {
    /// Opens what is known of a partition, and completes what was left unfinished.
    ///
    /// # Errors
    /// A `Remote` fault: it cannot be reached, or another process has it.
    async fn open(&self, topic: &str, partition: i32) -> Result<Box<dyn Session>, Fault>;
}

/// A partition in our hands, for one batch.
#[async_trait]
pub(super) trait Session: Send + Sync {
    /// Whether the event is in a file.
    ///
    /// # Errors
    /// A `Remote` fault: another event of this offset is, of a topic that is gone.
    fn holds(&self, event: &Event) -> Result<bool, Fault>;

    /// Writes files, which hold these rows, all or none; what was learnt is kept for the next batch.
    ///
    /// # Errors
    /// A `Remote` fault. Nothing is left of them, or the next to open the partition completes them.
    async fn write(self: Box<Self>, files: Vec<Planned>, rows: Vec<Range>) -> Result<(), Fault>;
}

/// A file that is to be.
pub(super) struct Planned {
    /// Its folder, from the connection's; empty for that itself.
    folder: String,
    name: String,
    /// Its bytes.
    pub bytes: Bytes,
}

impl Planned {
    /// The file of this content, named by the offsets of its first and last row.
    pub fn of(file: &Content, topic: &str, partition: i32, batch: &[Event]) -> Self {
        let offset = |index: Option<&usize>| index.map_or(0, |index| batch[*index].offset);
        let (first, last) = (offset(file.rows.first()), offset(file.rows.last()));
        let name = format!("{topic}-{partition}-{first:012}-{last:012}.{}", file.extension);
        Self { folder: file.folder.clone(), name, bytes: file.bytes.clone() }
    }

    /// Its way from the connection's folder.
    pub fn path(&self) -> String {
        self.within(&self.name)
    }

    /// That of a name beside it.
    pub fn within(&self, name: &str) -> String {
        match self.folder.as_str() {
            "" => name.to_owned(),
            folder => format!("{folder}/{name}"),
        }
    }

    /// The name under which it is written before it appears.
    pub fn temporary(&self) -> String {
        self.within(&format!(".{}.part", self.name))
    }
}
