//! Schemas by id on disk: ids never change their meaning, so a file, once written, is true.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::SchemaId;
use crate::Schema;

/// A directory of one registry's schemas, one file an id.
#[derive(Clone)]
pub(super) struct Disk {
    directory: PathBuf,
}

/// A schema's text and those of the named types it uses, innermost first.
#[derive(Serialize, Deserialize)]
struct Stored {
    schema: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    references: Vec<String>,
}

impl Disk {
    /// The part of `root` that belongs to the registry at `url`.
    pub(super) fn new(root: PathBuf, url: &str) -> Self {
        let host = url.split("://").nth(1).unwrap_or(url);
        let host: String = host
            .chars()
            .take(60)
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' })
            .collect();
        let digest = hex::encode(Sha256::digest(url.as_bytes()));
        Self { directory: root.join(format!("{host}-{}", digest.get(..12).unwrap_or_default())) }
    }

    /// The schema of an id, if it was kept; a file that cannot be used is as good as none.
    pub(super) async fn read(&self, id: SchemaId) -> Option<Schema> {
        let path = self.path(id);
        let bytes = tokio::fs::read(&path).await.ok()?;
        let found = serde_json::from_slice::<Stored>(&bytes)
            .map_err(|cause| cause.to_string())
            .and_then(|stored| stored.parse().map_err(|cause| cause.to_string()));
        found
            .inspect_err(|cause| {
                let path = path.display();
                tracing::warn!(%path, cause, "a kept schema is not readable; asking the registry");
            })
            .ok()
    }

    /// Keeps a schema. A full disk only costs the next start its independence: it is logged.
    pub(super) async fn write(&self, id: SchemaId, schema: &Schema, references: &[Schema]) {
        let stored = Stored {
            schema: schema.text().to_owned(),
            references: references.iter().map(|schema| schema.text().to_owned()).collect(),
        };
        self.keep(self.path(id), id, stored).await;
    }

    /// The id that a schema was given under a subject, if that was noted.
    pub(super) async fn registered(&self, subject: &str, schema: &Schema) -> Option<SchemaId> {
        let bytes = tokio::fs::read(self.registration(subject, schema)).await.ok()?;
        serde_json::from_slice::<Registration>(&bytes).ok().map(|registration| registration.id)
    }

    /// Notes the id of a schema under a subject.
    pub(super) async fn note_registered(&self, subject: &str, schema: &Schema, id: SchemaId) {
        if self.registered(subject, schema).await != Some(id) {
            let registration = Registration { subject: subject.to_owned(), id };
            self.keep(self.registration(subject, schema), id, registration).await;
        }
    }

    async fn keep(&self, path: PathBuf, id: SchemaId, what: impl Serialize + Send + 'static) {
        let written = tokio::task::spawn_blocking(move || write_whole(&path, &what)).await;
        if let Err(cause) | Ok(Err(cause)) = written.map_err(std::io::Error::other) {
            let directory = self.directory.display();
            tracing::warn!(id, %directory, %cause, "a schema could not be kept on disk");
        }
    }

    fn registration(&self, subject: &str, schema: &Schema) -> PathBuf {
        let name =
            Sha256::new().chain_update(subject).chain_update([0]).chain_update(schema.text());
        self.directory.join(format!("registered-{}.json", hex::encode(name.finalize())))
    }

    fn path(&self, id: SchemaId) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }
}

/// What a schema was registered as; the file's name tells subject and schema.
#[derive(Serialize, Deserialize)]
struct Registration {
    subject: String,
    id: SchemaId,
}

impl Stored {
    fn parse(&self) -> Result<Schema, crate::SchemaError> {
        let mut references: Vec<Schema> = Vec::new();
        for text in &self.references {
            references.push(Schema::parse_with(text, &references)?);
        }
        Schema::parse_with(&self.schema, &references)
    }
}

/// Writes beside, then renames: a reader sees the whole file or none, also after a crash.
fn write_whole(path: &Path, stored: &impl Serialize) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let beside = directory.join(format!(".{}.tmp", uuid::Uuid::new_v4()));
    let result = (|| {
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(&serde_json::to_vec(stored)?)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    })();
    if result.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    result
}
