//! Where an order lands beside the ERP and the buyer's mailbox: the books of an accounting application,
//! a table, a sheet and a lake.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::orders::{self, Order};
use crate::postgres::Database;
use crate::quickbooks::QuickBooks;
use crate::simulator::Simulator;

/// Each order's total by its id, as a target tells it.
type Totals = BTreeMap<String, Vec<String>>;

/// The targets whose server is not the ERP's or the mail's.
pub struct Targets {
    /// QuickBooks, simulated: it keeps one invoice of a number, and its versions go stale.
    pub books: Simulator,
    /// A database of a real PostgreSQL.
    pub warehouse: Database,
}

impl Targets {
    pub async fn prepare(postgres: &str) -> Self {
        let books = Simulator::start(QuickBooks::default()).await;
        Self { books, warehouse: Database::on(postgres) }
    }

    /// Each has every order once, right to the cent.
    pub fn hold(&self, orders: &[Order], files: &Path, python: &Path) {
        let expected: Totals = orders
            .iter()
            .map(|order| (order.id.clone(), vec![orders::money(order.cents())]))
            .collect();
        let books = self.books.objects();
        assert_eq!(books.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        assert!(books.values().all(|invoices| *invoices == 1), "{books:?}");
        let rows = self.warehouse.sql("SELECT web_id || ' ' || total FROM sales");
        assert_eq!(totals(&rows), expected, "the table");
        let sheet = read(Path::new("python3"), READ_CSV, &found(files, "csv"));
        assert_eq!(totals(&sheet), expected, "the sheet");
        let lake = read(python, READ_PARQUET, &found(files, "parquet"));
        assert_eq!(totals(&lake), expected, "the lake");
    }
}

/// Lines of an id and a total.
fn totals(lines: &str) -> Totals {
    let mut totals = Totals::new();
    for line in lines.lines() {
        let (id, total) = line.split_once(' ').unwrap();
        totals.entry(id.to_owned()).or_default().push(total.to_owned());
    }
    totals
}

/// The files of a kind that readers see.
fn found(folder: &Path, kind: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder.join(kind)).unwrap().map(|file| file.unwrap().path());
    let hidden = |file: &PathBuf| file.file_name().unwrap().to_string_lossy().starts_with('.');
    files.filter(|file| !hidden(file)).collect()
}

/// What another program makes of files.
fn read(python: &Path, script: &str, files: &[PathBuf]) -> String {
    let output = Command::new(python).args(["-c", script]).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const READ_CSV: &str = "
import csv, sys
for name in sys.argv[1:]:
    with open(name, encoding='utf-8-sig', newline='') as file:
        for row in csv.DictReader(file, delimiter=';'):
            print(row['web_id'], row['total'].replace(',', '.'))
";

const READ_PARQUET: &str = "
import os, sys
import pyarrow.parquet
for name in sys.argv[1:]:
    for row in pyarrow.parquet.ParquetFile(name).read().to_pylist():
        print(row['web_id'], row['total'])
# (pyarrow's threads now and then abort a Python that ends in the usual way.)
sys.stdout.flush()
os._exit(0)
";
