//! A bucket: files are sent as uploads that nobody sees, noted in the journal, completed.
//!
//! Objects cannot be renamed or locked, but an upload (S3's multipart upload) can be completed by
//! whoever knows it, and the journal of a partition is a row of numbered objects, each written only
//! where none is. Once an entry is there, its batch is written, in all its folders or none: who opens
//! the journal next completes the uploads of the last one. Of two processes that have sent files of the
//! same events (one of them lost the partition and does not know yet), one has the next number, and
//! what the other has sent never appears.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use engine::clock::{Moment, unix_millis};
use engine::{Event, Fault};
use exchange::bucket::{Bucket as Objects, Object, Upload};
use futures::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};

use super::held::{Held, Range};
use super::store::{JOURNALS, Planned, Session, Store};

/// Every so many entries, one says all that those before it do.
const WHOLE_EVERY: u64 = 100;
/// An entry that one after it stands for is kept so long. A number that is free again could be taken
/// by a process that read the journal before: none does that believes what it read for [`BELIEVED`].
const KEPT: chrono::TimeDelta = chrono::TimeDelta::days(1);
/// What was read is believed so long; then one looks whether somebody else has written.
const FRESH: Duration = Duration::from_secs(600);
/// With what was read longer ago than this, nothing is written.
const BELIEVED: Duration = Duration::from_secs(3_600);
/// Buckets forget uploads that are not completed, as their rules say: after a day at the earliest.
const UPLOADS_LIVE: i64 = 20 * 3_600 * 1_000;
/// So many requests are under way at once.
const AT_ONCE: usize = 8;

/// The bucket, as one route uses it.
pub(super) struct Bucket {
    objects: Objects,
    /// Where the route's journals are.
    journals: String,
    known: Known,
}

/// What was read of journals.
type Known = Arc<Mutex<HashMap<String, Journal>>>;

/// An entry of a journal.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// The files of a batch.
    files: Vec<Sent>,
    /// The rows in them.
    rows: Vec<Range>,
    /// The rows of all entries before it, in those that are to be read alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Vec<Range>>,
}

/// A file that has been sent.
#[derive(Debug, Serialize, Deserialize)]
struct Sent {
    key: String,
    upload: String,
    part: String,
}

/// The journal of one partition, as far as it was read.
struct Journal {
    folder: String,
    /// The number of the last entry.
    last: u64,
    held: Held,
    read: Moment,
}

/// A partition, for one batch.
struct InHand {
    objects: Objects,
    journal: Journal,
    known: Known,
}

impl Bucket {
    pub fn new(objects: Objects, route: &str) -> Self {
        let journals = format!("{JOURNALS}/{}", route.replace('/', "."));
        Self { objects, journals, known: Known::default() }
    }
}

#[async_trait]
impl Store for Bucket {
    async fn open(&self, topic: &str, partition: i32) -> Result<Box<dyn Session>, Fault> {
        let folder = format!("{}/{topic}-{partition}", self.journals);
        let objects = self.objects.clone();
        let mut known = locked(&self.known).remove(&folder);
        match &mut known {
            None => ensure_refuses(&objects, &folder).await?,
            Some(journal) => {
                if !journal.is_current(&objects).await? {
                    known = None;
                }
            }
        }
        let journal = match known {
            Some(journal) => journal,
            None => Journal::read(folder, &objects).await?,
        };
        Ok(Box::new(InHand { objects, journal, known: Arc::clone(&self.known) }))
    }
}

fn locked(known: &Known) -> MutexGuard<'_, HashMap<String, Journal>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A store that replaces an object although it was asked not to would let two processes write the same
/// events.
async fn ensure_refuses(objects: &Objects, folder: &str) -> Result<(), Fault> {
    let first = format!("{folder}/{:012}.json", 0);
    let head = || Bytes::from_static(b"{\"version\":1}");
    if objects.create(&first, head()).await? && objects.create(&first, head()).await? {
        let message = format!(
            "{} replaces an object although it is asked not to (`If-None-Match: *`), so two processes \
             could write the same events. Write `conditional_put: false` in the connection if only one \
             process ever runs this route.",
            objects.shown()
        );
        return Err(Fault::refused("condition_ignored", message));
    }
    Ok(())
}

impl Journal {
    fn key(folder: &str, number: u64) -> String {
        format!("{folder}/{number:012}.json")
    }

    /// Whether nobody has written since it was read.
    async fn is_current(&mut self, objects: &Objects) -> Result<bool, Fault> {
        let now = Moment::now();
        if now.since(self.read) < FRESH {
            return Ok(true);
        }
        let after = Self::key(&self.folder, self.last);
        self.read = now;
        Ok(objects.list(&self.folder, Some(&after)).await?.is_empty())
    }

    /// Reads it, and completes what its last entry says.
    async fn read(folder: String, objects: &Objects) -> Result<Self, Fault> {
        let read = Moment::now();
        let found = objects.list(&folder, None).await?;
        let mut numbered: Vec<(u64, Object)> =
            found.into_iter().filter_map(|object| Some((number(&object)?, object))).collect();
        let last = numbered.last().map_or(0, |(number, _)| *number);
        let first = (last / WHOLE_EVERY * WHOLE_EVERY).max(1);
        numbered.retain(|(number, _)| *number >= first);
        let mut journal = Self { folder, last, held: Held::default(), read };
        if numbered.iter().map(|(number, _)| *number).ne(first..=last) {
            return Err(journal.damaged(objects, first));
        }
        let entries: Vec<_> = numbered.iter().map(|(_, object)| entry(objects, object)).collect();
        let entries: Vec<_> = stream::iter(entries).buffered(AT_ONCE).collect().await;
        let mut unfinished = None;
        for (entry, (number, object)) in entries.into_iter().zip(&numbered) {
            let entry = entry?.filter(|entry| *number == 1 || *number > first || entry.is_whole());
            let Some(entry) = entry else { return Err(journal.damaged(objects, *number)) };
            let rows = entry.before.iter().flatten().chain(&entry.rows);
            rows.for_each(|range| journal.held.add(*range));
            unfinished = Some((entry, object));
        }
        if let Some((entry, object)) = unfinished {
            finish(objects, &entry, object).await?;
        }
        Ok(journal)
    }

    fn damaged(&self, objects: &Objects, number: u64) -> Fault {
        let message = format!(
            "`{}` in {} is missing or damaged, so it is not known which events are in files: restore \
             it, or remove its folder to write again what comes again.",
            Self::key(&self.folder, number),
            objects.shown()
        );
        Fault::refused("journal_damaged", message)
    }

    /// Adds an entry; false if another process was before us.
    async fn append(&mut self, objects: &Objects, mut entry: Entry) -> Result<bool, Fault> {
        if Moment::now().since(self.read) > BELIEVED {
            let message = "This process was stopped for long, and looks again what was written.";
            return Err(Fault::refused("journal_old", message));
        }
        let number = self.last + 1;
        entry.before = number.is_multiple_of(WHOLE_EVERY).then(|| self.held.ranges());
        let text = serde_json::to_vec(&entry)
            .map_err(|error| Fault::internal("journal", error.to_string()))?;
        let added = objects.create(&Self::key(&self.folder, number), text.into()).await?;
        if added {
            (self.last, self.read) = (number, Moment::now());
            entry.rows.iter().for_each(|range| self.held.add(*range));
        }
        Ok(added)
    }

    /// Removes old entries once one stands for them. What is left of them now is removed the next time.
    async fn shorten(&self, objects: &Objects) -> Result<(), Fault> {
        if !self.last.is_multiple_of(WHOLE_EVERY) {
            return Ok(());
        }
        let found = objects.list(&self.folder, None).await?;
        let Some(now) = found.last().map(|object| object.modified) else { return Ok(()) };
        let is_old = |object: &&Object| {
            now - object.modified > KEPT
                && number(object).is_some_and(|number| (1..self.last).contains(&number))
        };
        let old: Vec<_> = found.iter().filter(is_old).map(|one| objects.delete(&one.key)).collect();
        let removed: Vec<_> = stream::iter(old).buffered(AT_ONCE).collect().await;
        removed.into_iter().collect()
    }
}

/// The number of an entry; none for the head, and for what is not of a journal.
fn number(object: &Object) -> Option<u64> {
    let name = object.key.rsplit('/').next()?.strip_suffix(".json")?;
    name.parse().ok().filter(|number| *number > 0)
}

/// An entry; nothing if it is no more there, or cannot be read.
async fn entry(objects: &Objects, object: &Object) -> Result<Option<Entry>, Fault> {
    let text = objects.read(&object.key).await?;
    Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
}

impl Entry {
    fn is_whole(&self) -> bool {
        self.before.is_some()
    }
}

/// Completes the uploads of an entry that may not be.
async fn finish(objects: &Objects, entry: &Entry, written: &Object) -> Result<(), Fault> {
    for file in &entry.files {
        if objects.find(&file.key).await?.is_some() || objects.complete(&file.upload()).await? {
            continue;
        }
        // The upload was completed, and a program has taken the object away since; but not if it may
        // have been forgotten.
        if unix_millis() - written.modified.timestamp_millis() > UPLOADS_LIVE {
            let message = format!(
                "`{key}` in {} is not there, and its upload is gone: either a program has taken it away, \
                 or a rule of the bucket has removed the upload before it was completed. If it was taken \
                 away, put any object of this name there and remove it once the route goes on; if not, \
                 remove `{}`, and its events are written again.",
                objects.shown(),
                written.key,
                key = file.key
            );
            return Err(Fault::refused("upload_gone", message));
        }
    }
    Ok(())
}

impl Sent {
    fn upload(&self) -> Upload {
        let Self { key, upload, part } = self;
        Upload { key: key.clone(), id: upload.clone(), part: part.clone() }
    }
}

/// Sends a file, where nobody else's is.
async fn send(objects: &Objects, file: &Planned) -> Result<Upload, Fault> {
    let key = file.path();
    if objects.find(&key).await?.is_some() {
        let message = format!(
            "`{key}` is in {}, and the journal of this route does not know it (was the journal \
             removed, or does another route write here?): move it away, or give the route a folder of \
             its own.",
            objects.shown()
        );
        return Err(Fault::refused("file_there", message));
    }
    objects.send(&key, file.bytes.clone()).await
}

#[async_trait]
impl Session for InHand {
    fn holds(&self, event: &Event) -> Result<bool, Fault> {
        let journal = format!("`{}` in {}", self.journal.folder, self.objects.shown());
        self.journal.held.holds(event, &journal)
    }

    async fn write(self: Box<Self>, files: Vec<Planned>, rows: Vec<Range>) -> Result<(), Fault> {
        let Self { objects, mut journal, known } = *self;
        if !files.is_empty() {
            write_all(&objects, &mut journal, &files, rows).await?;
        }
        // What is not kept is read again.
        locked(&known).insert(journal.folder.clone(), journal);
        Ok(())
    }
}

async fn write_all(
    objects: &Objects,
    journal: &mut Journal,
    files: &[Planned],
    rows: Vec<Range>,
) -> Result<(), Fault> {
    let sending: Vec<_> = files.iter().map(|file| send(objects, file)).collect();
    let sent: Vec<_> = stream::iter(sending).buffered(AT_ONCE).collect().await;
    let (sent, failed): (Vec<_>, Vec<_>) = sent.into_iter().partition(Result::is_ok);
    let sent: Vec<Upload> = sent.into_iter().flatten().collect();
    if let Some(Err(fault)) = failed.into_iter().next() {
        abandon(objects, &sent).await;
        return Err(fault);
    }
    let named = |Upload { key, id, part }: &Upload| Sent {
        key: key.clone(),
        upload: id.clone(),
        part: part.clone(),
    };
    let entry = Entry { files: sent.iter().map(named).collect(), rows, before: None };
    // When no answer comes, the entry may be there all the same: then its uploads are needed.
    if !journal.append(objects, entry).await? {
        abandon(objects, &sent).await;
        let message = format!(
            "Another process has written files of this partition meanwhile (in {}): the route looks \
             what they hold, and goes on.",
            objects.shown()
        );
        return Err(Fault::refused("partition_in_use", message));
    }
    let completing: Vec<_> = sent.iter().map(|upload| objects.complete(upload)).collect();
    let completed: Vec<_> = stream::iter(completing).buffered(AT_ONCE).collect().await;
    for completed in completed {
        completed?;
    }
    if let Err(fault) = journal.shorten(objects).await {
        tracing::warn!(%fault, "old entries of a journal are left in the bucket");
    }
    Ok(())
}

async fn abandon(objects: &Objects, sent: &[Upload]) {
    for upload in sent {
        objects.abandon(upload).await;
    }
}
