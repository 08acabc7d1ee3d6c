//! Files with mistakes, and what is said of them.

mod connectors;
mod files;
mod mistakes;
mod running;

use std::path::{Path, PathBuf};

use super::{Grammar, Loaded, Problem, draw_all, load};
use connectors::catalogue;

/// A pipeline as a user would write it.
const ORDERS: &str = include_str!("orders.yaml");

/// A folder with pipeline files, schemas and examples.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(folder.path("examples")).unwrap();
        folder.write("order.avsc", schemas::events::ORDER);
        folder.write("sale.avsc", schemas::events::SALE);
        folder.write("examples/order.json", include_str!("order.json"));
        folder.write("examples/sale.json", include_str!("sale.json"));
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn load(&self, names: &[&str]) -> Result<Loaded, Vec<Problem>> {
        let paths: Vec<_> = names.iter().map(|name| self.path(name)).collect();
        load(&paths, &catalogue(), &|name| match name {
            "ERP_KEY" => Some("erp-key-7f3a".to_owned()),
            "SHOP_SECRET" => Some("whsec_c2VjcmV0".to_owned()),
            "PARTITIONS" => Some("12".to_owned()),
            "HOOK" => Some(".customer.identity".to_owned()),
            _ => None,
        })
    }

    /// What is said of files, with the folder left out of paths.
    fn said(&self, names: &[&str]) -> String {
        let problems = match self.load(names) {
            Ok(loaded) => loaded.warnings,
            Err(problems) => problems,
        };
        let folder = format!("{}/", self.0.path().display());
        draw_all(&problems, false).replace(&folder, "")
    }
}

/// What is said of the file of orders after these replacements.
fn said(changes: &[(&str, &str)]) -> String {
    let mut text = ORDERS.to_owned();
    for (old, new) in changes {
        assert!(text.contains(old), "the file of orders has no {old:?}");
        text = text.replace(old, new);
    }
    let folder = Folder::new();
    folder.write("orders.yaml", &text);
    folder.said(&["orders.yaml"])
}

fn relative(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
