//! The catalogue: one file that names the topics there are, written whole and synced.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::settings::Overrides;
use crate::error::{BrokerError, doing};

const FILE: &str = "catalogue.json";
const FORMAT: u32 = 1;

/// What the file holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Catalogue {
    format: u32,
    /// Names this broker to its clients, for ever.
    pub cluster: String,
    /// The first producer id that was never reserved.
    pub next_producer: i64,
    /// By name.
    pub topics: Vec<Entry>,
}

/// A topic.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub name: String,
    /// The topic's id in the protocol, and its folder.
    pub id: String,
    pub partitions: i32,
    pub settings: Overrides,
}

impl Catalogue {
    /// A catalogue of topics.
    pub fn new(cluster: String, next_producer: i64, topics: Vec<Entry>) -> Self {
        Self { format: FORMAT, cluster, next_producer, topics }
    }

    /// The catalogue of a folder, a new one if the folder holds no topics either.
    ///
    /// # Errors
    /// If it cannot be read, is of another format, or is missing from a folder that holds topics.
    pub fn load(directory: &Path) -> Result<Self, BrokerError> {
        let path = directory.join(FILE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::begin(directory),
            text => text.map_err(doing("read", &path))?,
        };
        let wrong = |reason: String| BrokerError::Catalogue { path: path.clone(), reason };
        let catalogue: Self =
            serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        if catalogue.format != FORMAT {
            return Err(wrong(format!(
                "it has format {}, this version reads {FORMAT}",
                catalogue.format
            )));
        }
        Ok(catalogue)
    }

    fn begin(directory: &Path) -> Result<Self, BrokerError> {
        let topics = super::folder(directory);
        let orphans = match fs::read_dir(&topics) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            entries => entries.map_err(doing("list", &topics))?.count(),
        };
        if orphans > 0 {
            return Err(BrokerError::Catalogue {
                path: directory.join(FILE),
                reason: format!(
                    "it is missing, yet {} holds {orphans} topics; restore it",
                    topics.display()
                ),
            });
        }
        let cluster = Uuid::new_v4().simple().to_string();
        Ok(Self::new(cluster, 0, Vec::new()))
    }

    /// Replaces the file; when this returns, a crash finds the new one.
    ///
    /// # Errors
    /// If the disk is full or fails: the old one stays.
    pub fn save(&self, directory: &Path) -> Result<(), BrokerError> {
        let path = directory.join(FILE);
        let fresh = directory.join("catalogue.json.new");
        let text =
            serde_json::to_vec_pretty(self).map_err(|error| doing("write", &path)(error.into()))?;
        let write = || {
            let mut file = File::create(&fresh)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            File::open(directory)?.sync_all()
        };
        write().map_err(doing("write", &path))
    }
}
