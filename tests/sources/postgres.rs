//! A table of a real PostgreSQL, which asks for a password.

use crate::application::{Application, names};
use crate::server::{Database, Server};

/// How many rows a flood has: a hundred thousand of two kilobytes, in one transaction.
const FLOOD: usize = 100_000;
const BYTES: usize = 2_000;

pub struct Till {
    database: Database,
    changed: usize,
}

impl Till {
    async fn inserts(&mut self, count: usize, bytes: usize) -> Vec<String> {
        let (first, end) = (self.changed, self.changed + count);
        self.changed = end;
        // As names and bodies of the others are made.
        let insert = format!(
            "INSERT INTO events SELECT 'e-' || lpad(i::text, 6, '0'), repeat(lpad(i::text, 8, '0') || ' ', \
             {}) FROM generate_series({first}, {} - 1) i",
            bytes / 9,
            end
        );
        self.database.execute(&insert).await;
        names(first..end)
    }
}

impl Application for Till {
    const NAME: &'static str = "postgres";
    const SECRETS: [&'static str; 2] = ["password-before", "password-afterwards"];

    fn obstacle() -> Option<String> {
        let absent = "a real PostgreSQL is needed: `just sources` starts one and runs this";
        Server::of_environment().is_none().then(|| absent.to_owned())
    }

    async fn start() -> Self {
        let database = Server::of_environment().unwrap().database().await;
        let (name, password) = (&database.name, Self::SECRETS[0]);
        database
            .execute(&format!(
                "CREATE TABLE events (id text PRIMARY KEY, body text); ALTER TABLE events ALTER body SET \
                 STORAGE PLAIN; CREATE PUBLICATION passerelle FOR TABLE events; ALTER ROLE {name} PASSWORD \
                 '{password}'; {WITH_PASSWORD}; GRANT with_password TO {name}"
            ))
            .await;
        Self { database, changed: 0 }
    }

    fn sections(&self) -> String {
        let connection = self.database.connection();
        let secret = "\"${file:application.secret}\"";
        connection.replace("secret-of-the-role", secret)
            + &format!(
                "sources:\n  source:\n    from: db\n    postgres: {{ tables: [events], slot: {} }}\n    to: \
                 events\n    key: .id\n",
                self.database.slot()
            )
    }

    async fn change(&mut self, count: usize) -> Vec<String> {
        self.inserts(count, 100).await
    }

    async fn floods(&mut self, _kafka: &str) -> Vec<String> {
        self.inserts(FLOOD, BYTES).await
    }

    async fn lock(&mut self) {
        let asked =
            "SELECT count(*) > 0 FROM pg_hba_file_rules WHERE user_name = '{+with_password}'";
        let hint = "the server asks nobody for a password: `just stop`, and start it again";
        assert_eq!(self.database.ask(asked).await, "t", "{hint}");
        let (name, password) = (&self.database.name, Self::SECRETS[1]);
        self.database
            .execute(&format!(
                "ALTER ROLE {name} PASSWORD '{password}'; SELECT pg_terminate_backend(pid) FROM \
                 pg_stat_activity WHERE usename = '{name}'"
            ))
            .await;
    }

    fn expected_refusal(&self) -> Vec<String> {
        let (name, address) = (&self.database.name, self.database.address());
        [
            format!("The log-in of `{name}` at {address}"),
            "password authentication failed".to_owned(),
            "SQLSTATE 28P01".to_owned(),
            "check the connection's user and `password`".to_owned(),
        ]
        .to_vec()
    }

    async fn end(self) {
        self.database.end().await;
    }
}

/// Those in this group are asked for their password (`tests/postgres/postgres`).
const WITH_PASSWORD: &str = "DO $$ BEGIN CREATE ROLE with_password; EXCEPTION WHEN duplicate_object OR \
                             unique_violation THEN NULL; END $$";
