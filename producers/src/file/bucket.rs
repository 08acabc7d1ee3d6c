//! The source `s3`: a folder of a bucket that is watched as one of this machine is.
//!
//! An object is there whole or not at all, so it is complete when it is seen. What is read is a copy,
//! in a file of this machine that has no name: whatever becomes of the object meanwhile, its rows are
//! those of the content that was hashed.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::connector::{self, Findings, Setup, SourceConnector};
use engine::expression::Expression;
use engine::{Fault, Source};
use exchange::bucket::{Bucket, Connection, Object};
use schemars::JsonSchema;
use serde::Deserialize;

use super::folder::Folder;
use super::options::{ReadingOptions, Ready, Then};
use super::snapshot::{Snapshot, Stamp};
use super::source::blocking;
use super::{Watching, check_expressions, refuse, source};

/// The connector.
pub struct S3;

/// Files that are put into a bucket become events.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct S3Options {
    /// The folder that is watched, from the connection's folder: `exports/orders`. Folders within it are
    /// not. Without it, that of the connection itself.
    #[serde(default)]
    pub folder: String,
    /// What becomes of an object that was read: it stays (`leave`), moves (`archive: done`, a folder from
    /// the connection's, by a copy), or goes (`delete`; one with records that were too large to keep whole
    /// stays).
    #[serde(default)]
    pub then: Then,
    /// What is read, and what becomes of it.
    #[serde(flatten)]
    pub reading: ReadingOptions,
}

impl S3Options {
    fn check(&self, findings: &mut Findings) {
        let mut folder = |option: &str, folder: &str| {
            let odd = |part: &str| part.is_empty() || part == "." || part == "..";
            if !folder.is_empty() && folder.trim_end_matches('/').split('/').any(odd) {
                let cause = format!("`{folder}` is no folder of a bucket.");
                findings.route(
                    &format!("/s3/{option}"),
                    "folder",
                    cause,
                    "Write `exports/orders`.",
                );
            }
        };
        folder("folder", &self.folder);
        if let Then::Archive(archive) = &self.then {
            let archive = archive.to_string_lossy();
            folder("then", &archive);
            if archive.trim_end_matches('/') == self.folder.trim_end_matches('/') {
                let cause = "What was read is archived where it is read.";
                findings.route("/s3/then", "archive", cause, "Name another folder.");
            }
        }
        self.reading.check(S3::NAME, findings);
    }
}

impl SourceConnector for S3 {
    const NAME: &'static str = "s3";
    const SUMMARY: &'static str = "Files put into a bucket (Amazon S3, MinIO…): CSV, JSON lines, XML, fixed width, EDIFACT, X12.";
    const EXAMPLE: &'static str =
        include_str!("../../../docs/examples/orders-from-a-bucket/pipeline.yaml");
    const ONCE: bool = true;
    const CONNECTION: Option<&'static str> = Some("s3");
    type Options = S3Options;

    fn check(options: &S3Options, findings: &mut Findings) {
        options.check(findings);
        check_expressions(Self::NAME, &options.reading, findings);
    }

    fn check_connection(
        connection: connector::Options,
        findings: &mut Findings,
    ) -> serde_json::Result<()> {
        serde_json::from_value::<Connection>(connection)?.check(findings);
        Ok(())
    }

    fn build(
        options: S3Options,
        key: Option<Expression>,
        setup: &Setup,
    ) -> Result<Box<dyn Source>, Fault> {
        let bucket = setup.connection::<Connection>()?.open(setup)?;
        Ok(Box::new(open(bucket, &options, key, setup)?))
    }
}

/// The source of these options, over this bucket.
pub(super) fn open(
    bucket: Bucket,
    options: &S3Options,
    key: Option<Expression>,
    setup: &Setup,
) -> Result<super::source::FileSource, Fault> {
    let mut findings = Findings::default();
    options.check(&mut findings);
    refuse(findings)?;
    let complete = (Ready::Rename, Duration::ZERO, "");
    let folder = options.folder.trim_end_matches('/').to_owned();
    let place = Watching {
        folder: Folder::new(PathBuf::new(), &options.reading.pattern, complete)?,
        bucket: Some(Watched { bucket, folder }),
        then: options.then.clone(),
    };
    source(S3::NAME, &options.reading, place, key, setup)
}

/// A folder of a bucket.
pub(super) struct Watched {
    bucket: Bucket,
    folder: String,
}

impl Watched {
    /// What lies there, by its keys.
    ///
    /// # Errors
    /// A `Remote` fault.
    pub async fn list(&self) -> Result<HashMap<PathBuf, Stamp>, Fault> {
        let objects = self.bucket.here(&self.folder).await?;
        let stamped = |object: Object| (PathBuf::from(&object.key), Stamp::of_object(&object));
        Ok(objects.into_iter().map(stamped).collect())
    }

    /// A copy of an object that has this stamp; nothing if it has not.
    ///
    /// # Errors
    /// A `Remote` fault: it cannot be read, or there is no room for the copy.
    pub async fn take(
        &self,
        path: &Path,
        stamp: Stamp,
        known: Option<u64>,
    ) -> Result<Option<(Snapshot, Option<String>)>, Fault> {
        let Some(object) = self.bucket.find(&key(path)).await? else { return Ok(None) };
        if Stamp::of_object(&object) != stamp {
            return Ok(None);
        }
        let copy = blocking(tempfile::tempfile).await?.map_err(|error| no_room(path, &error))?;
        let mut file: File = copy.try_clone().map_err(|error| no_room(path, &error))?;
        let mut write = |piece: &[u8]| std::io::Write::write_all(&mut file, piece);
        match self.bucket.download(&object, &mut write).await? {
            None => return Ok(None),
            Some(written) => written.map_err(|error| no_room(path, &error))?,
        }
        let path = path.to_owned();
        blocking(move || Snapshot::copied(&path, copy, stamp, known)).await?.map(Some)
    }

    /// Does with an object that was read what is to be done with it, unless somebody has written another.
    ///
    /// # Errors
    /// A `Remote` fault.
    pub async fn put_away(
        &self,
        path: &Path,
        stamp: Stamp,
        content: &str,
        then: &Then,
    ) -> Result<(), Fault> {
        let key = key(path);
        let found = self.bucket.find(&key).await?;
        let Some(object) = found.filter(|object| Stamp::of_object(object) == stamp) else {
            return Ok(());
        };
        if let Then::Archive(folder) = then {
            let name = key.rsplit('/').next().unwrap_or(&key);
            let folder = folder.to_string_lossy();
            let mut target = format!("{}/{name}", folder.trim_end_matches('/'));
            // A kill between the copy and the removal leaves both; of another object's name, the
            // content's is added.
            let there = self.bucket.find(&target).await?;
            if there.is_some_and(|there| (there.size, &there.tag) != (object.size, &object.tag)) {
                target = format!("{target}.{}", content.get(..12).unwrap_or(content));
            }
            self.bucket.copy(&key, &target).await?;
        }
        self.bucket.delete(&key).await
    }
}

fn key(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn no_room(path: &Path, error: &std::io::Error) -> Fault {
    let message = format!(
        "`{}` is copied into the folder for temporary files (`{}`) while it is read, which failed: \
         {error}. It goes on once that can be written; `TMPDIR` names another.",
        path.display(),
        std::env::temp_dir().display()
    );
    Fault::remote("copy_failed", message)
}
