//! A bucket of a store of S3's protocol: objects by their keys, each there whole or not at all.

mod client;
mod connection;
mod faults;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use engine::Fault;
use futures::TryStreamExt as _;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode};
use tokio::time::timeout;

pub use connection::Connection;
use faults::{Kind, Refused};

/// A store: S3's, or one in memory for tests.
pub trait Objects: ObjectStore + MultipartStore {}
impl<S: ObjectStore + MultipartStore> Objects for S {}

/// A bucket, or a folder in one: keys are from there.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<dyn Objects>,
    root: Option<Path>,
    /// The bucket and its store, as messages show them.
    shown: String,
    /// Texts that never leave in a message, should the store send them back.
    secrets: Vec<String>,
    /// How long one request may take.
    timeout: Duration,
    /// Whether the store refuses to replace an object when it is asked to.
    conditional: bool,
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key, from the connection's folder.
    pub key: String,
    /// How many bytes it has.
    pub size: u64,
    /// When it was written, by the store's clock.
    pub modified: DateTime<Utc>,
    /// Differs from that of any other content that it has had.
    pub tag: String,
}

/// An object that has been sent and is not there yet: nobody sees it before it is completed, and
/// whoever knows it can complete it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The key that the object is to have.
    pub key: String,
    /// The store's name of the upload.
    pub id: String,
    /// The store's name of its bytes.
    pub part: String,
}

impl Bucket {
    /// A bucket of this store, with how messages show it.
    pub fn new(store: Arc<dyn Objects>, shown: &str) -> Self {
        let timeout = Duration::from_secs(60);
        let shown = shown.to_owned();
        Self { store, root: None, shown, secrets: Vec::new(), timeout, conditional: true }
    }

    /// The bucket and its store, for messages.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The objects below a folder, by their keys; with `after`, those whose keys come after it.
    ///
    /// # Errors
    /// A `Remote` fault.
    pub async fn list(&self, folder: &str, after: Option<&str>) -> Result<Vec<Object>, Fault> {
        let prefix = self.path(folder)?;
        let found = match after {
            Some(after) => self.store.list_with_offset(Some(&prefix), &self.path(after)?),
            None => self.store.list(Some(&prefix)),
        };
        let listed = self.ask("Listing", folder, found.try_collect::<Vec<_>>()).await;
        let objects = unless(listed, Kind::Missing)?.unwrap_or_default();
        let mut objects: Vec<_> = objects.into_iter().map(|meta| self.object(meta)).collect();
        objects.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(objects)
    }

    /// The objects in a folder itself, not those in folders within it.
    ///
    /// # Errors
    /// A `Remote` fault.
    pub async fn here(&self, folder: &str) -> Result<Vec<Object>, Fault> {
        let prefix = self.path(folder)?;
        let listed = self.store.list_with_delimiter(Some(&prefix));
        let listed = unless(self.ask("Listing", folder, listed).await, Kind::Missing)?;
        let objects = listed.into_iter().flat_map(|listed| listed.objects);
        Ok(objects.map(|meta| self.object(meta)).collect())
    }

    /// What is known of an object; nothing if there is none.
    ///
    /// # Errors
    /// A `Remote` fault.
    pub async fn find(&self, key: &str) -> Result<Option<Object>, Fault> {
        let path = self.path(key)?;
        let found = self.ask("Looking for", key, self.store.head(&path)).await;
        Ok(unless(found, Kind::Missing)?.map(|meta| self.object(meta)))
    }

    /// A small object's bytes; nothing if there is none.
    ///
    /// # Errors
    /// A `Remote` fault.
    pub async fn read(&self, key: &str) -> Result<Option<Bytes>, Fault> {
        let path = self.path(key)?;
        let read = async { self.store.get(&path).await?.bytes().await };
        unless(self.ask("Reading", key, read).await, Kind::Missing)
    }

    /// Gives `write` an object's bytes, piece by piece, and what came of writing them; nothing if it is
    /// no more there as it was.
    ///
    /// # Errors
    /// A `Remote` fault.
    pub async fn download<E>(
        &self,
        object: &Object,
        write: &mut (dyn FnMut(&[u8]) -> Result<(), E> + Send),
    ) -> Result<Option<Result<(), E>>, Fault> {
        let path = self.path(&object.key)?;
        let only = GetOptions { if_match: Some(object.tag.clone()), ..GetOptions::default() };
        let got = self.ask("Reading", &object.key, self.store.get_opts(&path, only)).await;
        let mut pieces = match got {
            Ok(got) => got.into_stream(),
            Err(Refused { kind: Kind::Missing | Kind::Condition, .. }) => return Ok(None),
            Err(refused) => return Err(refused.fault),
        };
        loop {
            let piece = self.ask("Reading", &object.key, pieces.try_next()).await;
            let Some(piece) = piece.map_err(|refused| refused.fault)? else { break };
            if let Err(error) = write(&piece) {
                return Ok(Some(Err(error)));
            }
        }
        Ok(Some(Ok(())))
    }

    /// Copies an object, within the store.
    ///
    /// # Errors
    /// A `Remote` fault.
    pub async fn copy(&self, from: &str, to: &str) -> Result<(), Fault> {
        let (source, target) = (self.path(from)?, self.path(to)?);
        let copied = self.ask("Copying", from, self.store.copy(&source, &target)).await;
        copied.map_err(|refused| refused.fault)
    }

    /// Writes an object where there is none; false if there is one.
    ///
    /// # Errors
    /// A `Remote` fault; the object may be there, or come to be there within its time.
    pub async fn create(&self, key: &str, bytes: Bytes) -> Result<bool, Fault> {
        let path = self.path(key)?;
        if !self.conditional && self.find(key).await?.is_some() {
            return Ok(false);
        }
        let mode = if self.conditional { PutMode::Create } else { PutMode::Overwrite };
        let put = self.store.put_opts(&path, bytes.into(), mode.into());
        Ok(unless(self.ask("Writing", key, put).await, Kind::Condition)?.is_some())
    }

    /// Removes an object, if it is there.
    ///
    /// # Errors
    /// A `Remote` fault.
    pub async fn delete(&self, key: &str) -> Result<(), Fault> {
        let path = self.path(key)?;
        let deleted = self.ask("Removing", key, self.store.delete(&path)).await;
        unless(deleted, Kind::Missing).map(drop)
    }

    /// Sends an object that nobody sees before it is completed.
    ///
    /// # Errors
    /// A `Remote` fault.
    pub async fn send(&self, key: &str, bytes: Bytes) -> Result<Upload, Fault> {
        let path = self.path(key)?;
        let begun = self.ask("Writing", key, self.store.create_multipart(&path)).await;
        let id = begun.map_err(|refused| refused.fault)?;
        let sent = self.store.put_part(&path, &id, 0, bytes.into());
        match self.ask("Writing", key, sent).await {
            Ok(part) => Ok(Upload { key: key.to_owned(), id, part: part.content_id }),
            Err(refused) => {
                self.abandon(&Upload { key: key.to_owned(), id, part: String::new() }).await;
                Err(refused.fault)
            }
        }
    }

    /// Makes a sent object appear; false if the store knows no such upload (any more).
    ///
    /// # Errors
    /// A `Remote` fault.
    pub async fn complete(&self, upload: &Upload) -> Result<bool, Fault> {
        let path = self.path(&upload.key)?;
        let parts = vec![PartId { content_id: upload.part.clone() }];
        let completed = self.store.complete_multipart(&path, &upload.id, parts);
        let completed = self.ask("Completing", &upload.key, completed).await;
        Ok(unless(completed, Kind::Missing)?.is_some())
    }

    /// Gives up a sent object. One that cannot be given up now costs its room until the bucket's own
    /// rule removes it.
    pub async fn abandon(&self, upload: &Upload) {
        let Ok(path) = self.path(&upload.key) else { return };
        let aborted = self.store.abort_multipart(&path, &upload.id);
        if let Err(Refused { fault, .. }) = self.ask("Giving up", &upload.key, aborted).await {
            tracing::warn!(%fault, "an upload that was begun is left in the bucket, unseen");
        }
    }

    fn path(&self, key: &str) -> Result<Path, Fault> {
        let wrong = |_| Fault::data("key_invalid", format!("`{key}` is no key of an object."));
        let path = Path::parse(key).map_err(wrong)?;
        Ok(match &self.root {
            Some(root) => root.parts().chain(path.parts()).collect(),
            None => path,
        })
    }

    fn object(&self, meta: ObjectMeta) -> Object {
        let ObjectMeta { location, last_modified, size, e_tag, .. } = meta;
        let root = self.root.as_ref().map_or("", |root| root.as_ref());
        let key = location.as_ref().strip_prefix(root).unwrap_or(location.as_ref());
        let key = key.trim_start_matches('/').to_owned();
        Object { key, size, modified: last_modified, tag: e_tag.unwrap_or_default() }
    }

    /// One request, within its time.
    async fn ask<T>(
        &self,
        doing: &str,
        key: &str,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Refused> {
        match timeout(self.timeout, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.refused(doing, key, &error)),
            Err(_) => Err(self.late(doing, key)),
        }
    }
}

/// Nothing where the refusal is of this kind.
fn unless<T>(asked: Result<T, Refused>, kind: Kind) -> Result<Option<T>, Fault> {
    match asked {
        Ok(answer) => Ok(Some(answer)),
        Err(refused) if refused.kind == kind => Ok(None),
        Err(refused) => Err(refused.fault),
    }
}

#[cfg(test)]
mod tests;
