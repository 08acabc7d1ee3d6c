//! The embedded broker's files, as `deploy/broker/src/log` lays them out, and what a disk does to
//! them.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A partition's last segment.
pub struct Segment {
    path: PathBuf,
    folder: PathBuf,
}

/// A slot of the checkpoint: two of them, written in turn.
const SLOTS: [u64; 2] = [0, 512];

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[..8].try_into().unwrap())
}

impl Segment {
    /// The last segment of a partition, in the folder of a broker that does not run.
    pub fn of(broker: &Path, topic: &str, partition: i32) -> Self {
        let catalogue = std::fs::read(broker.join("catalogue.json")).unwrap();
        let catalogue: Value = serde_json::from_slice(&catalogue).unwrap();
        let entry = catalogue["topics"]
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["name"] == topic)
            .expect("the topic is in the catalogue");
        let id = entry["id"].as_str().unwrap();
        let folder = broker.join("topics").join(id).join(partition.to_string());
        let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let path = files.filter(|path| path.extension().is_some_and(|e| e == "log")).max().unwrap();
        Self { path, folder }
    }

    fn file(&self) -> File {
        OpenOptions::new().read(true).write(true).open(&self.path).unwrap()
    }

    pub fn length(&self) -> u64 {
        self.file().metadata().unwrap().len()
    }

    /// The offset after the last synced record, and the byte after it: what the newest slot of the
    /// checkpoint says. It is written after each sync, before what it covers is acknowledged.
    pub fn synced(&self) -> (u64, u64) {
        let bytes = std::fs::read(self.folder.join("checkpoint")).unwrap();
        let slots =
            SLOTS.iter().filter_map(|at| bytes.get(*at as usize..)).filter(|s| s.len() >= 68);
        let newest = slots.max_by_key(|slot| number(&slot[8..])).unwrap();
        (number(&newest[16..]), number(&newest[32..]))
    }

    /// The base offset of the batch that a byte belongs to.
    pub fn offset_at(&self, position: u64) -> u64 {
        let file = self.file();
        let mut start = 0;
        loop {
            let mut head = [0; 12];
            file.read_exact_at(&mut head, start).unwrap();
            let length = u32::from_be_bytes(head[8..].try_into().unwrap());
            let end = start + 12 + u64::from(length);
            if position < end {
                return number(&head);
            }
            start = end;
        }
    }

    /// Keeps the bytes before a position, as a file system that lost the rest.
    pub fn cut(&self, position: u64) {
        self.file().set_len(position).unwrap();
    }

    /// Puts other bytes in the place of what follows a position, as a file system that knew the
    /// file's length before it had its content.
    pub fn overwrite(&self, position: u64, bytes: &[u8]) {
        self.file().write_all_at(bytes, position).unwrap();
    }

    /// Turns one bit over.
    pub fn flip(&self, position: u64) {
        let (file, mut byte) = (self.file(), [0]);
        file.read_exact_at(&mut byte, position).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], position).unwrap();
    }
}
