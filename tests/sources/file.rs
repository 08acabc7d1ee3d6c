//! A folder that files are dropped into.

use std::fmt::Write as _;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::application::{Application, body, names};

/// How many rows the file of a flood has, and how large they are: 200 MB.
const FLOOD: usize = 25_000;
const BYTES: usize = 8_000;

pub struct Exports {
    folder: TempDir,
    /// The watched one, where it is now.
    dropped: PathBuf,
    files: usize,
    changed: usize,
}

impl Exports {
    /// Drops a file of so many rows; gives the names of its events.
    fn drop(&mut self, count: usize, bytes: usize) -> Vec<String> {
        let names = names(self.changed..self.changed + count);
        let mut text = "id,body\n".to_owned();
        for (number, name) in (self.changed..).zip(&names) {
            let _ = writeln!(text, "{name},\"{}\"", body(number, bytes));
        }
        self.changed += count;
        self.write(&text);
        names
    }

    fn write(&mut self, text: &str) {
        self.files += 1;
        let path = self.dropped.join(format!(".{}.csv", self.files));
        std::fs::write(&path, text).unwrap();
        std::fs::rename(path, self.dropped.join(format!("{}.csv", self.files))).unwrap();
    }

    fn moves(&mut self, to: &str) {
        let to = self.folder.path().join(to);
        std::fs::rename(&self.dropped, &to).unwrap();
        self.dropped = to;
    }
}

impl Application for Exports {
    const NAME: &'static str = "file";
    /// It has none: what is refused is the folder.
    const SECRETS: [&'static str; 2] = ["secret-before", "secret-afterwards"];

    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let dropped = folder.path().join("in");
        std::fs::create_dir(&dropped).unwrap();
        Self { folder, dropped, files: 0, changed: 0 }
    }

    fn sections(&self) -> String {
        format!(
            "sources:\n  source:\n    file: {{ folder: \"{}\", ready: rename, every: 100ms, format: {{ csv: \
             {{}} }} }}\n    to: events\n    key: .id\n",
            self.folder.path().join("in").display()
        )
    }

    async fn change(&mut self, count: usize) -> Vec<String> {
        self.drop(count, 100)
    }

    /// The same content again, under another name.
    async fn repeats(&mut self) {
        let text = std::fs::read_to_string(self.dropped.join("1.csv")).unwrap();
        self.write(&text);
    }

    async fn floods(&mut self, _kafka: &str) -> Vec<String> {
        self.drop(FLOOD, BYTES)
    }

    /// Whoever runs as root may read every folder: that it is not there is what is the same for all.
    async fn lock(&mut self) {
        self.moves("elsewhere");
    }

    fn expected_refusal(&self) -> Vec<String> {
        let folder = format!("The folder `{}`", self.folder.path().join("in").display());
        [&folder, "cannot be read: No such file or directory", "Is it there, and is it mounted?"]
            .map(str::to_owned)
            .to_vec()
    }

    async fn unlock(&mut self) {
        self.moves("in");
    }
}
