//! A server of the test's own: its slot is invalidated, it is restored from an older copy, a standby
//! of it takes over, or another takes its place.

use std::path::Path;
use std::process::Command;

use crate::endtoend::folder::{Folder, free_address};
use crate::endtoend::until;
use crate::faults::waits;
use crate::server::{Database, Server};
use crate::{events, folder, items, settled, streaming};

/// A server that ends with the test.
struct Own {
    directory: tempfile::TempDir,
    port: u16,
}

impl Own {
    fn start() -> Self {
        let port = free_address().port();
        let own = Self { directory: tempfile::tempdir().unwrap(), port };
        own.call("start");
        own
    }

    fn call(&self, how: &str) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/postgres/postgres");
        let mut command = Command::new(script);
        command.arg(how).arg(self.directory.path());
        if how == "start" {
            command.arg(self.port.to_string());
        }
        assert!(command.status().unwrap().success(), "{how}");
    }

    fn server(&self) -> Server {
        Server::at(&format!("postgres://postgres@127.0.0.1:{}/postgres", self.port))
    }

    fn data(&self) -> std::path::PathBuf {
        self.directory.path().join("data").canonicalize().unwrap()
    }

    /// Takes what lies in its folder for its data; it is stopped.
    fn restore(&self, copy: &Path) {
        let data = self.data();
        std::fs::remove_dir_all(&data).unwrap();
        copied(copy, &data);
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let data = self.data();
        self.call("stop");
        let _ = std::fs::remove_dir_all(data);
    }
}

/// A copy with owners and rights.
fn copied(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// Starts again, and finds the route waiting, with nothing passed over.
async fn refused(folder: &Folder, told: usize, why: &[&str]) {
    let mut process = folder.start();
    waits(folder, why).await;
    assert_eq!(events(folder, "items").await.len(), told, "nothing is passed over");
    process.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_lost_and_a_server_that_is_restored_failed_over_or_another_make_the_route_wait()
 {
    let Some(other) = Server::find() else { return };
    let own = Own::start();
    let mut database = items(&own.server()).await;
    let folder = folder(&database, "");
    let mut process = streaming(&folder).await;
    database.execute("INSERT INTO items VALUES (1, 'a', 1)").await;
    settled(&folder, &database).await;
    process.kill();
    own.call("stop");
    let (copies, data) = (tempfile::tempdir().unwrap(), own.data());
    let older = copies.path().join("older");
    copied(&data, &older);
    own.call("start");
    database.reconnect().await;
    let mut process = streaming(&folder).await;
    database.execute("INSERT INTO items VALUES (2, 'b', 1)").await;
    settled(&folder, &database).await;
    process.kill();

    own.call("stop");
    let newer = copies.path().join("newer");
    copied(&data, &newer);
    own.restore(&older);
    own.call("start");
    refused(&folder, 2, &["the server's log ends before that", "it was restored"]).await;

    own.call("stop");
    own.restore(&newer);
    std::fs::write(data.join("standby.signal"), "").unwrap();
    own.call("start");
    database.reconnect().await;
    refused(&folder, 2, &["is a standby"]).await;
    database.execute("SELECT pg_promote()").await;
    refused(&folder, 2, &["the server is on timeline 2, not 1: it was failed over"]).await;

    own.call("stop");
    own.restore(&newer);
    own.call("start");
    database.reconnect().await;
    lose_slot(&database).await;
    refused(&folder, 2, &["the slot was invalidated", "max_slot_wal_keep_size"]).await;

    let replacement = items(&other).await;
    let pipeline = std::fs::read_to_string(folder.path().join("pipeline.yaml")).unwrap();
    let elsewhere = pipeline.replace(&database.connection(), &replacement.connection());
    folder.write("pipeline.yaml", &elsewhere);
    refused(&folder, 2, &["this is another server", "system identifier"]).await;
    replacement.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_a_snapshot_is_can_be_seen() {
    let Some(_) = Server::find() else { return };
    // Where others write, a transaction that began late has soon ended before the one that is open.
    let own = Own::start();
    let database = items(&own.server()).await;
    let slot = database.slot();
    database
        .execute(
            "INSERT INTO items SELECT i, 'x', 1 FROM generate_series(1, 2500) i; ANALYZE items",
        )
        .await;
    let create = format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')");
    database.execute(&create).await;
    // Rows are read once the transactions that were open have ended, the newest of all among them.
    let writer = database.connect().await;
    writer.batch_execute("BEGIN; INSERT INTO items VALUES (2501, 'late', 1)").await.unwrap();
    let folder = folder(&database, "");
    let process = folder.run().await;
    waits(&folder, &["reads the rows of public.items: 0 of about 2500"]).await;
    writer.batch_execute("COMMIT").await.unwrap();
    settled(&folder, &database).await;
    let line = "passerelle_snapshot_rows_expected{";
    let read = async || (folder.operators().metric(line).await == 2501.0).then_some(());
    until("all rows are read", read).await;
    assert!(!folder.ask(&["status"]).await.stdout.contains("reads the rows"));
    drop(process);
    database.end().await;
}

/// Writes more log than the server keeps for a slot that nobody reads.
async fn lose_slot(database: &Database) {
    database.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'").await;
    database.execute("SELECT pg_reload_conf()").await;
    for _ in 0..4 {
        database.execute("CREATE TABLE IF NOT EXISTS noise (t text)").await;
        database
            .execute("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 2000)")
            .await;
        database.execute("SELECT pg_switch_wal()").await;
        database.execute("CHECKPOINT").await;
    }
    let status = format!(
        "SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{}'",
        database.slot()
    );
    assert_eq!(database.ask(&status).await, "lost");
}
