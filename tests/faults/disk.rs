//! A small disk: a tmpfs, which needs the right to mount one.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A small disk at a folder, gone with this value.
pub struct Disk {
    at: PathBuf,
}

fn run(arguments: &[&str]) -> bool {
    let mut command = Command::new(arguments[0]);
    let quiet = command.args(&arguments[1..]).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

impl Disk {
    /// Mounts a disk of so many mebibytes at a folder, if this process may.
    pub fn mount(at: &Path, mebibytes: u32) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={mebibytes}m");
        let path = at.to_str().unwrap();
        run(&["mount", "-t", "tmpfs", "-o", &size, "tmpfs", path])
            .then(|| Self { at: at.to_owned() })
    }

    /// Leaves no byte free.
    pub fn fill(&self) {
        let mut filler = File::create(self.at.join("filler")).unwrap();
        for size in [1 << 16, 1 << 10, 1] {
            let piece = vec![0; size];
            while filler.write_all(&piece).is_ok() {}
        }
    }

    /// Gives back what [`fill`](Self::fill) took.
    pub fn free(&self) {
        std::fs::remove_file(self.at.join("filler")).unwrap();
    }

    /// Lets nobody write, or lets them again. No file may be open for writing.
    pub fn read_only(&self, only: bool) {
        let mode = if only { "remount,ro" } else { "remount,rw" };
        assert!(run(&["mount", "-o", mode, self.at.to_str().unwrap()]), "{mode}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever still has files open there keeps them until it ends.
        run(&["umount", "-l", self.at.to_str().unwrap()]);
    }
}

/// Why there can be no small disk here, if so.
pub fn obstacle() -> Option<String> {
    let at = tempfile::tempdir().unwrap();
    let mounted = Disk::mount(at.path(), 1).is_some();
    (!mounted).then(|| "a small disk is a tmpfs, which only root may mount; run as root".to_owned())
}
