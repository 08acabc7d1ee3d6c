//! The running source: file after file.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use engine::clock::unix_millis;
use engine::publisher::Rejected;
use engine::{Domain, Draft, Fault, Publisher, Shutdown, Source};
use tokio::time::sleep;

use super::bucket::Watched;
use super::cursor::{Begun, Cursor};
use super::folder::{Folder, Listing};
use super::formats::{Found, Position, Reading, Records, changed};
use super::making::Making;
use super::options::{MOST_REMEMBERED, Then};
use super::snapshot::{Snapshot, Stamp};
use crate::cursor::Versioned as _;

/// How many records go into one transaction at most.
const RECORDS_AT_ONCE: usize = 1_000;
/// How many bytes of a file go into one transaction, roughly.
const BYTES_AT_ONCE: u64 = 1 << 20;

/// A file source before it runs.
pub(super) struct FileSource {
    pub route: Arc<str>,
    /// What is known of the files that lie there.
    pub folder: Arc<Mutex<Folder>>,
    /// The bucket that the files are in, if they are not in a folder of this machine.
    pub bucket: Option<Watched>,
    pub making: Arc<Making>,
    pub reading: Reading,
    pub every: Duration,
    pub then: Then,
    pub remember: usize,
}

#[async_trait]
impl Source for FileSource {
    async fn run(self: Box<Self>, out: Publisher, stop: Shutdown) -> Result<(), Fault> {
        let mut run = Run::new(*self, out, stop)?;
        while !run.stop.is_requested() {
            run.round().await?;
            tokio::select! {
                () = sleep(run.source.every) => {}
                () = run.stop.requested() => {}
            }
        }
        Ok(())
    }
}

/// A record that was read, and the event that was made of it.
struct Piece {
    row: u64,
    line: u64,
    bytes: std::ops::Range<u64>,
    after: Position,
    draft: Result<Draft, Fault>,
}

/// What was read at once.
struct Batch {
    pieces: Vec<Piece>,
    /// Whether the file has ended with it.
    ended: bool,
}

/// A source that runs.
pub(super) struct Run {
    source: FileSource,
    out: Publisher,
    stop: Shutdown,
    cursor: Cursor,
    /// Whether it was told that the folder can be read.
    told: bool,
}

impl Run {
    /// A source that goes on where its cursor is.
    ///
    /// # Errors
    /// A `Config` fault: the cursor is not its own.
    pub fn new(source: FileSource, out: Publisher, stop: Shutdown) -> Result<Self, Fault> {
        let cursor = out.cursor().map_or_else(|| Ok(Cursor::new()), |text| Cursor::read(&text))?;
        Ok(Self { source, out, stop, cursor, told: false })
    }

    /// Looks into the folder, and reads what is complete.
    ///
    /// # Errors
    /// The folder, or a file in it, cannot be read or put away, once all others were; or nothing can be
    /// written.
    pub async fn round(&mut self) -> Result<(), Fault> {
        let listing = self.list().await?;
        if !std::mem::replace(&mut self.told, true) {
            self.out.ready();
        }
        let (mut failed, mut unsettled) = (None, listing.unsettled);
        for (path, stamp) in listing.ready {
            if self.stop.is_requested() {
                return Ok(());
            }
            match self.file(&path, stamp).await {
                Ok(()) => {}
                Err(fault) if fault.cause == "file_changed" => {
                    let (route, file) = (&*self.source.route, path.display());
                    tracing::warn!(route, %file, %fault, "a file is left until it is complete");
                    unsettled = true;
                }
                Err(fault) if matches!(fault.cause, "file_unreadable" | "file_not_put_away") => {
                    failed.get_or_insert(fault);
                }
                Err(fault) => return Err(fault),
            }
        }
        if let Some(fault) = failed {
            return Err(fault);
        }
        if !unsettled {
            self.name_interrupted().await?;
        }
        Ok(())
    }

    async fn list(&self) -> Result<Listing, Fault> {
        let Some(bucket) = &self.source.bucket else { return self.folder(Folder::list).await? };
        let there = bucket.list().await?;
        self.folder(move |folder| {
            folder.listed(there.into_iter().filter(|(path, _)| folder.is_wanted(path)).collect())
        })
        .await
    }

    /// Opens a complete file; nothing if it has gone meanwhile: another name, or the next round, tells
    /// more.
    async fn take(
        &self,
        path: &Path,
        stamp: Stamp,
        known: Option<u64>,
    ) -> Result<Option<(Snapshot, Option<String>)>, Fault> {
        if let Some(bucket) = &self.source.bucket {
            return bucket.take(path, stamp, known).await;
        }
        let owned = path.to_owned();
        match blocking(move || Snapshot::take(&owned, known)).await? {
            Err(_) if !path.exists() => Ok(None),
            taken => taken.map(Some),
        }
    }

    /// Does something with the folder, on a thread that may wait for a disk.
    async fn folder<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Folder) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let folder = Arc::clone(&self.source.folder);
        blocking(move || work(&mut folder.lock().unwrap_or_else(PoisonError::into_inner))).await
    }

    /// Reads a file that is complete, unless its content was read before; then puts it away.
    async fn file(&mut self, path: &Path, stamp: Stamp) -> Result<(), Fault> {
        let (owned, name) = (path.to_owned(), file_name(path));
        let known = self.folder(move |folder| folder.content(&owned, stamp).map(str::to_owned));
        if let Some(content) = known.await?.filter(|content| self.cursor.is_done(content)) {
            return self.put_away(path.to_owned(), stamp, content).await;
        }
        let begun = self.cursor.begun_as(&name).cloned();
        let size = begun.as_ref().map(|begun| begun.size);
        let Some((snapshot, head)) = self.take(path, stamp, size).await? else {
            let gone = path.to_owned();
            return self.folder(move |folder| folder.forget(&gone)).await;
        };
        if snapshot.stamp != stamp {
            return Err(changed("was written to since it was seen to be complete"));
        }
        let remembered = snapshot.clone();
        self.folder(move |folder| folder.remember(&remembered)).await?;
        if self.cursor.is_done(&snapshot.id) {
            tracing::info!(
                route = &*self.source.route,
                file = name,
                "was read before: nothing is new"
            );
        } else {
            let grown = begun.filter(|begun| head.as_ref() == Some(&begun.content));
            let begun = match self.cursor.begun(&snapshot.id).cloned().or(grown) {
                Some(begun) => Begun {
                    content: snapshot.id.clone(),
                    size: snapshot.stamp.size,
                    name,
                    named: false,
                    ..begun
                },
                None => first(&snapshot),
            };
            self.make_room().await?;
            if !self.read(&snapshot, begun).await? {
                return Ok(());
            }
        }
        self.put_away(path.to_owned(), snapshot.stamp, snapshot.id).await
    }

    /// Reads a file from where it was left; false if it was not read to its end.
    async fn read(&mut self, snapshot: &Snapshot, mut begun: Begun) -> Result<bool, Fault> {
        let (reading, input, at) = (self.source.reading.clone(), snapshot.input.clone(), begun.at);
        let mut records = match blocking(move || reading.open(&input, at)).await? {
            Err(fault) if fault.domain == Domain::Data => {
                let refused = Piece {
                    row: at.row + 1,
                    line: at.line + 1,
                    bytes: at.offset..snapshot.stamp.size,
                    after: Position { row: at.row + 1, offset: snapshot.stamp.size, ..at },
                    draft: Err(fault),
                };
                let batch = Batch { pieces: vec![refused], ended: true };
                self.publish(snapshot, &mut begun, batch).await?;
                return Ok(true);
            }
            opened => opened?,
        };
        loop {
            let (making, id) = (Arc::clone(&self.source.making), begun.id.clone());
            let size = snapshot.stamp.size;
            let (gathered, back) = blocking(move || {
                let batch = gather(records.as_mut(), &making, &id, size);
                (batch, records)
            })
            .await?;
            records = back;
            let batch = gathered?;
            let ended = batch.ended;
            self.publish(snapshot, &mut begun, batch).await?;
            if ended {
                let (route, rows) = (&*self.source.route, begun.at.row);
                tracing::info!(route, file = begun.name, id = begun.id, rows, "a file was read");
                return Ok(true);
            }
            if self.stop.is_requested() {
                return Ok(false);
            }
        }
    }

    /// Writes what was read, with the place behind it. What makes no event is in the dead letters
    /// before: after a kill in between it is there again, the same under the same id.
    async fn publish(
        &mut self,
        snapshot: &Snapshot,
        begun: &mut Begun,
        batch: Batch,
    ) -> Result<(), Fault> {
        // What was read is what was hashed: else nothing of it is published.
        if !snapshot.is_unchanged()? {
            return Err(changed("was written to while it was read"));
        }
        let mut drafts = Vec::new();
        for piece in &batch.pieces {
            match &piece.draft {
                Ok(draft) => drafts.push(draft.clone()),
                Err(fault) => self.reject(snapshot, begun, piece, fault).await?,
            }
        }
        let mut after = begun.clone();
        if let Some(last) = batch.pieces.last() {
            after.at = last.after;
        }
        let sent = match self.write(drafts, &after, batch.ended).await {
            // The broker refuses one of them, for its size: each goes alone.
            Err(fault) if fault.domain == Domain::Data => {
                self.one_by_one(snapshot, begun, &batch.pieces).await?;
                after.cut = begun.cut;
                self.write(Vec::new(), &after, batch.ended).await
            }
            sent => sent,
        };
        *begun = after;
        sent
    }

    async fn one_by_one(
        &mut self,
        snapshot: &Snapshot,
        begun: &mut Begun,
        pieces: &[Piece],
    ) -> Result<(), Fault> {
        for piece in pieces {
            let Ok(draft) = &piece.draft else { continue };
            begun.at = piece.after;
            match self.write(vec![draft.clone()], begun, false).await {
                Err(fault) if fault.domain == Domain::Data => {
                    self.reject(snapshot, begun, piece, &fault).await?;
                }
                sent => sent?,
            }
        }
        Ok(())
    }

    /// Writes events and the cursor behind them.
    async fn write(&mut self, drafts: Vec<Draft>, begun: &Begun, ended: bool) -> Result<(), Fault> {
        let mut cursor = self.cursor.clone();
        if ended {
            cursor.end(begun);
        } else if let Some(forgotten) = cursor.note(begun.clone()) {
            let (route, file) = (&*self.source.route, forgotten.name);
            tracing::warn!(
                route,
                file,
                "it was read in part and is forgotten: too many others were"
            );
        }
        self.out.send_with_cursor(drafts, cursor.text()?).await?;
        self.cursor = cursor;
        Ok(())
    }

    /// Keeps what makes no event: its bytes, at most as many as a record may have.
    async fn reject(
        &self,
        snapshot: &Snapshot,
        begun: &mut Begun,
        piece: &Piece,
        fault: &Fault,
    ) -> Result<(), Fault> {
        let (input, range) = (snapshot.input.clone(), piece.bytes.clone());
        let most = self.source.reading.largest;
        let body = blocking(move || input.bytes(&range, most)).await??;
        begun.cut |= piece.bytes.end - piece.bytes.start > body.len() as u64;
        let Piece { row, line, bytes, .. } = piece;
        let place = format!("{}, line {line}, record {row}", begun.name);
        let fault = Fault::data(fault.cause, format!("{place}: {}", fault.message));
        let headers = [
            ("content-type", "application/octet-stream".to_owned()),
            ("passerelle_file", begun.name.clone()),
            ("passerelle_line", line.to_string()),
            ("passerelle_bytes", format!("{}-{}", bytes.start, bytes.end)),
        ];
        let id = format!("{}:{row}", begun.id);
        let rejected = Rejected::of(id, body, headers, unix_millis());
        let route = &*self.source.route;
        tracing::warn!(route, %fault, "a record is kept in the dead letters");
        self.out.reject(rejected, &fault).await?;
        Ok(())
    }

    /// Forgets the oldest contents, but none whose file lies in the folder: it would be read again.
    async fn make_room(&mut self) -> Result<(), Fault> {
        if self.cursor.remembered() > self.source.remember && self.source.bucket.is_none() {
            self.folder(know_all).await?;
        }
        let look = |folder: &mut Folder| {
            let contents: Vec<String> = folder.contents().map(str::to_owned).collect();
            folder.unknown().is_empty().then_some(contents)
        };
        let (left, at_most) = match self.folder(look).await? {
            Some(contents) => {
                let present: HashSet<&str> = contents.iter().map(String::as_str).collect();
                let at_most = self.source.remember;
                (self.cursor.shrink(at_most, &present), at_most)
            }
            None => (self.cursor.remembered(), MOST_REMEMBERED),
        };
        if left > at_most {
            let message = format!(
                "The folder holds more than {at_most} files that were read: with `then: archive: …` \
                 they go elsewhere; or clear the folder, or raise `remember`."
            );
            return Err(Fault::refused("too_many_files", message));
        }
        Ok(())
    }

    /// Does with a file what is to be done once it was read, unless somebody has written to it since.
    async fn put_away(&self, path: PathBuf, stamp: Stamp, content: String) -> Result<(), Fault> {
        let then = match &self.source.then {
            Then::Leave => return Ok(()),
            Then::Delete if self.cursor.is_kept(&content) => return Ok(()),
            then => then.clone(),
        };
        if let Some(bucket) = &self.source.bucket {
            return bucket.put_away(&path, stamp, &content, &then).await;
        }
        self.folder(move |folder| match std::fs::metadata(&path) {
            Ok(there) if Stamp::of(&there) == stamp => folder.put_away(&path, &content, &then),
            _ => Ok(()),
        })
        .await?
    }

    /// Tells, once, of each file that was read in part and is no more in the folder.
    async fn name_interrupted(&mut self) -> Result<(), Fault> {
        let contents = self.folder(|folder| folder.contents().map(str::to_owned).collect());
        let present: HashSet<String> = contents.await?;
        let gone = |begun: &&Begun| !begun.named && !present.contains(&begun.content);
        let gone: Vec<Begun> = self.cursor.all_begun().filter(gone).cloned().collect();
        for begun in gone {
            let message = format!(
                "{} has gone, or was changed, after {} records of it were read; it had {} bytes and its \
                 content's hash was {}. Put it back as it was, and it goes on there.",
                begun.name, begun.at.row, begun.size, begun.content
            );
            let fault = Fault::data("file_interrupted", message);
            let id = format!("{}:interrupted:{}", begun.id, begun.at.row);
            let headers = [("passerelle_file", begun.name.clone())];
            let rejected = Rejected::of(id, begun.name.clone(), headers, unix_millis());
            tracing::warn!(route = &*self.source.route, %fault, "a file was read in part");
            self.out.reject(rejected, &fault).await?;
            self.write(Vec::new(), &Begun { named: true, ..begun }, false).await?;
        }
        Ok(())
    }
}

/// Learns the contents of all files that lay in the folder at the first look: some may never be complete.
fn know_all(folder: &mut Folder) {
    for path in folder.unknown() {
        match Snapshot::take(&path, None) {
            Ok((snapshot, _)) => folder.remember(&snapshot),
            Err(_) if !path.exists() => folder.forget(&path),
            // It is written to: known another time.
            Err(_) => {}
        }
    }
}

/// Reads a batch, and makes events of it.
fn gather(records: &mut dyn Records, making: &Making, id: &str, size: u64) -> Result<Batch, Fault> {
    let received = unix_millis();
    let mut pieces: Vec<Piece> = Vec::new();
    let mut first = None;
    while let Some(found) = records.next()? {
        let Found { row, line, bytes, after, record, last } = found;
        let first = *first.get_or_insert(bytes.start);
        let draft =
            record.and_then(|record| making.draft(&record, &format!("{id}:{row}"), received));
        pieces.push(Piece { row, line, bytes, after, draft });
        if last {
            break;
        }
        let is_full =
            pieces.len() >= RECORDS_AT_ONCE || after.offset.saturating_sub(first) >= BYTES_AT_ONCE;
        // With its last byte a file has ended: what is appended later begins no half of a record.
        if is_full && after.offset < size {
            return Ok(Batch { pieces, ended: false });
        }
    }
    Ok(Batch { pieces, ended: true })
}

fn first(snapshot: &Snapshot) -> Begun {
    Begun {
        id: snapshot.id.clone(),
        content: snapshot.id.clone(),
        size: snapshot.stamp.size,
        name: snapshot.name.clone(),
        at: Position::default(),
        cut: false,
        named: false,
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Does what may wait for a disk.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Fault::internal("file_thread", error.to_string()))
}
