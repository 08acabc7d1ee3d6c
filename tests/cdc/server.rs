//! A real PostgreSQL: `just cdc` starts one.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpStream;
use tokio_postgres::{Client, Config, NoTls};

/// How to start one.
pub const ABSENT: &str =
    "a real PostgreSQL is needed: `just cdc` or `just probe` starts one and runs this";

/// A running server.
#[derive(Clone)]
pub struct Server {
    config: Config,
    directory: Option<PathBuf>,
}

/// A database of its own on a server, with a user who may only what the documentation says. It goes
/// with the test.
pub struct Database {
    server: Server,
    pub name: String,
    client: Client,
}

impl Server {
    /// The one that the environment names, if it names one.
    pub fn of_environment() -> Option<Self> {
        let url = std::env::var("PASSERELLE_TEST_POSTGRES").ok()?;
        let directory = std::env::var_os("PASSERELLE_TEST_POSTGRES_DIRECTORY").map(PathBuf::from);
        Some(Self { config: url.parse().unwrap(), directory })
    }

    /// The one at this URL.
    pub fn at(url: &str) -> Self {
        Self { config: url.parse().unwrap(), directory: None }
    }

    /// The one of the environment; without it the test says loudly that it did not run.
    pub fn find() -> Option<Self> {
        let found = Self::of_environment();
        if found.is_none() {
            eprintln!("SKIPPED: {ABSENT}.");
        }
        found
    }

    fn port(&self) -> u16 {
        self.config.get_ports()[0]
    }

    async fn connect(&self, database: &str) -> Client {
        let tcp = TcpStream::connect(("127.0.0.1", self.port())).await.unwrap();
        let mut config = self.config.clone();
        config.dbname(database);
        let (client, connection) = config.connect_raw(tcp, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// A database with a publication, without tables.
    pub async fn database(&self) -> Database {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("cdc_{}_{number}", std::process::id());
        let client = self.connect("postgres").await;
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let client = self.connect(&name).await;
        let role = format!(
            "CREATE ROLE {name} LOGIN REPLICATION PASSWORD 'secret-of-the-role'; ALTER DEFAULT \
             PRIVILEGES GRANT SELECT ON TABLES TO {name}"
        );
        client.batch_execute(&role).await.unwrap();
        Database { server: self.clone(), name, client }
    }

    /// Stops the server at once, or kills it, and starts it again; none of its databases may be in
    /// use by another test.
    pub fn restart(&self, how: &str) -> bool {
        let Some(directory) = &self.directory else { return false };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/postgres/postgres");
        let call = |arguments: &[&str]| {
            let mut command = Command::new(script);
            command.arg(arguments[0]).arg(directory).args(&arguments[1..]);
            assert!(command.status().unwrap().success(), "{arguments:?}");
        };
        call(&[how]);
        call(&["start", &self.port().to_string()]);
        true
    }
}

impl Database {
    /// Runs statements, each in a transaction of its own unless it says otherwise.
    pub async fn execute(&self, statements: &str) {
        self.client.batch_execute(statements).await.unwrap_or_else(|error| {
            panic!("{statements}: {error:?}");
        });
    }

    /// The text of the first column of the first row.
    pub async fn ask(&self, query: &str) -> String {
        let rows = self.client.simple_query(query).await.unwrap();
        let row = rows.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        row.unwrap_or_default()
    }

    /// Another connection to it, of the owner.
    pub async fn connect(&self) -> Client {
        self.server.connect(&self.name).await
    }

    /// Takes up the connection to it again, after a restart.
    pub async fn reconnect(&mut self) {
        self.client = self.connect().await;
    }

    /// The section of the connection, for the role that may only read and replicate.
    pub fn connection(&self) -> String {
        let Self { name, .. } = self;
        let port = self.server.port();
        format!(
            "connections:\n  db: {{ postgres: {{ url: \"postgres://{name}@127.0.0.1:{port}/{name}\", \
             password: secret-of-the-role }} }}\n"
        )
    }

    /// `127.0.0.1:25432/name`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}/{}", self.server.port(), self.name)
    }

    /// The name of a slot: they are the whole server's.
    pub fn slot(&self) -> String {
        format!("slot_{}", self.name)
    }

    /// Drops a slot once nobody reads from it.
    pub async fn drop_slot(&self, slot: &str) {
        let drop = format!(
            "DO $$ BEGIN PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE \
             slot_name = '{slot}' AND active; FOR i IN 1..200 LOOP IF NOT EXISTS (SELECT FROM \
             pg_replication_slots WHERE slot_name = '{slot}' AND active) THEN EXIT; END IF; PERFORM \
             pg_sleep(0.05); END LOOP; END $$; SELECT pg_drop_replication_slot('{slot}') FROM \
             pg_replication_slots WHERE slot_name = '{slot}'"
        );
        self.execute(&drop).await;
    }

    /// Drops it, with its slots.
    pub async fn end(self) {
        let Self { server, name, client } = self;
        let slots = format!("SELECT slot_name FROM pg_replication_slots WHERE database = '{name}'");
        let rows = client.simple_query(&slots).await.unwrap();
        drop(client);
        let database = Database { client: server.connect("postgres").await, server, name };
        for message in &rows {
            if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                database.drop_slot(row.get(0).unwrap()).await;
            }
        }
        let name = &database.name;
        database.execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
        database.execute(&format!("DROP ROLE {name}")).await;
    }
}
