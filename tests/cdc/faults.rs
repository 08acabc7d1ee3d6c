//! What goes wrong with the server, the slot, the log-in: the route waits and says what to do.

use crate::endtoend::folder::Folder;
use crate::endtoend::until;
use crate::server::Server;
use crate::{events, folder, items, settled, streaming};

pub async fn waits(folder: &Folder, expected: &[&str]) {
    let says = async || {
        let status = folder.ask(&["status"]).await.stdout;
        expected.iter().all(|expected| status.contains(expected)).then_some(())
    };
    until(&format!("the status says {expected:?}"), says).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_gone_makes_the_route_wait_until_it_begins_anew() {
    let Some(server) = Server::find() else { return };
    let database = items(&server).await;
    let slot = database.slot();
    let folder = folder(&database, "");
    let mut process = streaming(&folder).await;
    database.execute("INSERT INTO items VALUES (1, 'a', 1)").await;
    settled(&folder, &database).await;
    process.kill();
    database.drop_slot(&slot).await;
    database.execute("INSERT INTO items VALUES (2, 'missed', 1)").await;
    let mut process = folder.start();
    waits(&folder, &["the slot is not there any more", &format!("slot: {slot}_2")]).await;
    process.kill();
    let create = format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')");
    database.execute(&create).await;
    database.execute("INSERT INTO items VALUES (3, 'seen', 1)").await;
    let mut process = folder.start();
    waits(&folder, &["it was created anew"]).await;
    assert_eq!(events(&folder, "items").await.len(), 1, "nothing is passed over");
    process.kill();
    let pipeline = std::fs::read_to_string(folder.path().join("pipeline.yaml")).unwrap();
    folder.write("pipeline.yaml", &pipeline.replace(&slot, &format!("{slot}_2")));
    let process = folder.run().await;
    settled(&folder, &database).await;
    drop(process);
    database.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_makes_the_route_wait() {
    let Some(server) = Server::find() else { return };
    let database = items(&server).await;
    let folder = folder(&database, "");
    let mut process = streaming(&folder).await;
    database.execute("INSERT INTO items VALUES (1, 'a', 1)").await;
    settled(&folder, &database).await;
    process.kill();
    let other = server.database().await;
    other.execute("CREATE TABLE items (id bigint PRIMARY KEY, name text, price numeric)").await;
    other.execute("CREATE PUBLICATION passerelle FOR TABLE items").await;
    let pipeline = std::fs::read_to_string(folder.path().join("pipeline.yaml")).unwrap();
    folder.write("pipeline.yaml", &pipeline.replace(&database.connection(), &other.connection()));
    let mut process = folder.start();
    waits(&folder, &["the slot is another database's"]).await;
    process.kill();
    drop(process);
    database.end().await;
    other.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_or_a_right_or_a_table_that_is_missing_is_named() {
    let Some(server) = Server::find() else { return };
    let database = items(&server).await;
    let folder = folder(&database, "");
    let pipeline = std::fs::read_to_string(folder.path().join("pipeline.yaml")).unwrap();
    let name = &database.name;
    let attempt = async |change: (&str, &str), expected: &str| {
        folder.write("pipeline.yaml", &pipeline.replace(change.0, change.1));
        let mut process = folder.start();
        waits(&folder, &[expected]).await;
        process.kill();
    };
    attempt(("public.items", "public.itens"), "has no table public.itens").await;
    attempt(("tables:", "publication: other, tables:"), "CREATE PUBLICATION").await;
    database.execute(&format!("ALTER ROLE {name} NOREPLICATION")).await;
    attempt(("", ""), "superuser or replication role").await;
    database
        .execute(&format!("ALTER ROLE {name} REPLICATION; REVOKE SELECT ON items FROM {name}"))
        .await;
    database.execute("INSERT INTO items VALUES (1, 'a', 1)").await;
    attempt(("", ""), "permission denied for table items").await;
    attempt((&format!("/{name}\""), "/nowhere\""), "nowhere").await;
    database.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_database_with_a_busy_neighbour_keeps_no_log() {
    let Some(server) = Server::find() else { return };
    let database = items(&server).await;
    let neighbour = server.database().await;
    let slot = database.slot();
    let folder = folder(&database, ", heartbeat: 1s");
    let process = folder.run().await;
    database.execute("INSERT INTO items VALUES (1, 'a', 1)").await;
    settled(&folder, &database).await;
    neighbour.execute("CREATE TABLE noise (t text)").await;
    let before = database.ask("SELECT pg_current_wal_lsn()").await;
    let noise = "INSERT INTO noise SELECT repeat('x', 500) FROM generate_series(1, 20000)";
    for _ in 0..3 {
        neighbour.execute(noise).await;
    }
    let passed = format!(
        "SELECT confirmed_flush_lsn > '{before}'::pg_lsn + 30000000 FROM pg_replication_slots WHERE \
         slot_name = '{slot}'"
    );
    until("the slot follows", async || (database.ask(&passed).await == "t").then_some(())).await;
    // The server moves what it keeps when it notes what runs, at least with each checkpoint.
    let retained = format!(
        "SELECT pg_current_wal_lsn() - restart_lsn < 20000000 FROM pg_replication_slots WHERE slot_name \
         = '{slot}'"
    );
    until("the log goes", async || {
        database.execute("CHECKPOINT").await;
        (database.ask(&retained).await == "t").then_some(())
    })
    .await;
    assert_eq!(events(&folder, "items").await.len(), 1);
    drop(process);
    database.end().await;
    neighbour.end().await;
}

/// In the name's order it is run alone: `restart` ends the server for all.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "ends the server under the other tests; `just cdc` runs it alone"]
async fn the_server_is_restarted_and_killed() {
    let Some(server) = Server::find() else { return };
    let mut database = items(&server).await;
    let folder = folder(&database, "");
    let mut process = streaming(&folder).await;
    for (number, how) in ["stop", "kill"].into_iter().enumerate() {
        let id = number * 10;
        database.execute(&format!("INSERT INTO items VALUES ({id}, 'before', 1)")).await;
        if !server.restart(how) {
            eprintln!("SKIPPED: PASSERELLE_TEST_POSTGRES_DIRECTORY is needed.");
            break;
        }
        database.reconnect().await;
        database.execute(&format!("INSERT INTO items VALUES ({}, 'after', 1)", id + 1)).await;
        settled(&folder, &database).await;
    }
    process.assert_alive();
    drop(process);
    database.end().await;
}
