//! Sessions with the server, used one after another, and what their failures mean.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use database::tokio_postgres::types::ToSql;
use database::tokio_postgres::{Client, Error, Row, Statement};
use database::{Database, Said, fault_of};
use engine::{Domain, Fault};
use tokio::time::timeout;

/// How much longer than the server's own limit an answer is waited for.
const GRACE: Duration = Duration::from_secs(5);
/// So many statements are kept prepared: a route has one for each set of columns.
const PREPARED: usize = 64;

/// The sessions of a route; at most as many as it has deliveries at once.
pub(super) struct Sessions {
    database: Database,
    timeout: Duration,
    idle: Mutex<Vec<Session>>,
}

/// A session. Dropped, it ends, and with it what it left open.
pub(super) struct Session {
    client: Client,
    /// Cheap: for messages.
    database: Database,
    timeout: Duration,
    prepared: Mutex<HashMap<String, Statement>>,
}

impl Sessions {
    /// Sessions whose statements may take this long.
    pub fn new(database: Database, timeout: Duration) -> Self {
        Self { database, timeout, idle: Mutex::default() }
    }

    /// A session that nobody uses, or a new one.
    ///
    /// # Errors
    /// A `Remote` fault when the server is away or refuses us.
    pub async fn take(&self) -> Result<Session, Fault> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                Some(session) if session.client.is_closed() => {}
                Some(session) => return Ok(session),
                None => return self.open().await,
            }
        }
    }

    /// Keeps a session for the next one.
    pub fn give_back(&self, session: Session) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }

    async fn open(&self) -> Result<Session, Fault> {
        let client = self.database.connect().await?;
        let session = Session {
            client,
            database: self.database.clone(),
            timeout: self.timeout,
            prepared: Mutex::default(),
        };
        session.execute("Preparing a session", &settings(self.timeout)).await?;
        Ok(session)
    }
}

/// What holds for a session. Texts are read as they are written, whatever the server's own settings;
/// nothing waits for ever, not for a lock and not with one for us; and a commit that is answered is
/// on the disk.
fn settings(timeout: Duration) -> String {
    // The server's limits are numbers of 32 bits.
    let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    format!(
        "SET statement_timeout = {milliseconds};
         SET lock_timeout = {milliseconds};
         SET idle_in_transaction_session_timeout = {milliseconds};
         SET DateStyle = 'ISO, YMD';
         SET IntervalStyle = 'postgres';
         SET TimeZone = 'UTC';
         SET standard_conforming_strings = on;
         SELECT set_config('synchronous_commit', 'on', false)
         WHERE current_setting('synchronous_commit') = 'off';"
    )
}

impl Session {
    /// The database as messages name it.
    pub fn shown(&self) -> &str {
        self.database.shown()
    }

    /// Who we are there.
    pub fn user(&self) -> &str {
        self.database.user()
    }

    /// Statements without parameters, whose answers are of no interest.
    ///
    /// # Errors
    /// A fault that is no event's.
    pub async fn execute(&self, doing: &str, sql: &str) -> Result<(), Fault> {
        self.answered(self.client.batch_execute(sql)).await.map_err(|said| self.own(doing, &said))
    }

    /// The rows that a statement gives.
    ///
    /// # Errors
    /// A fault that is no event's.
    pub async fn query(
        &self,
        doing: &str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Fault> {
        let statement = self.prepare(doing, sql).await?;
        let asked = self.answered(self.client.query(&statement, parameters)).await;
        asked.map_err(|said| self.own(doing, &said))
    }

    /// Prepares a statement, once.
    ///
    /// # Errors
    /// A fault that is no event's: the statement names what is not there.
    pub async fn prepare(&self, doing: &str, sql: &str) -> Result<Statement, Fault> {
        let lock = || self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(statement) = lock().get(sql) {
            return Ok(statement.clone());
        }
        let prepared = self.answered(self.client.prepare(sql)).await;
        let statement = prepared.map_err(|said| self.own(doing, &said))?;
        let mut all = lock();
        if all.len() >= PREPARED {
            all.clear();
        }
        all.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Writes rows; how many the statement touched. Within a transaction a refusal undoes this
    /// statement alone.
    ///
    /// # Errors
    /// What the server said.
    pub async fn write(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
        within: bool,
    ) -> Result<u64, Said> {
        if !within {
            return self.answered(self.client.execute(statement, parameters)).await;
        }
        // They leave together, in this order.
        let (saved, written) = tokio::join!(
            self.answered(self.client.batch_execute("SAVEPOINT passerelle")),
            self.answered(self.client.execute(statement, parameters)),
        );
        saved?;
        let then = match &written {
            Ok(_) => "RELEASE SAVEPOINT passerelle",
            Err(Said { code: None, .. }) => return written,
            Err(_) => "ROLLBACK TO SAVEPOINT passerelle; RELEASE SAVEPOINT passerelle",
        };
        self.answered(self.client.batch_execute(then)).await?;
        written
    }

    /// Waits for an answer, not for ever.
    async fn answered<T>(&self, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Said> {
        match timeout(self.timeout + GRACE, asked).await {
            Ok(answer) => answer.map_err(|error| Said::of(&error)),
            Err(_) => {
                let waited = (self.timeout + GRACE).as_secs_f32();
                Err(Said { code: None, message: format!("nothing came within {waited} s") })
            }
        }
    }

    /// The fault of what the server said to an event's row.
    pub fn row_fault(&self, doing: &str, said: &Said) -> Fault {
        // The row itself is in the event, and need not be in logs.
        let message = said.message.split(" Failing row contains").next().unwrap_or_default();
        let said = &Said { message: message.to_owned(), ..said.clone() };
        let fault = fault_of(&format!("{doing} in {}", self.shown()), said);
        let class = said.code.as_deref().and_then(|code| code.get(..2)).unwrap_or_default();
        match class {
            // A trigger's own refusal; a view's check; a value too large for an index; a row twice.
            "P0" | "44" | "54" | "21" => Fault::data("postgres_value", fault.message),
            _ => fault,
        }
    }

    /// The fault of what the server said to something of our own: no event is to blame.
    fn own(&self, doing: &str, said: &Said) -> Fault {
        let fault = fault_of(&format!("{doing} in {}", self.shown()), said);
        match fault.domain {
            Domain::Data => Fault::remote("postgres_busy", fault.message),
            _ => fault,
        }
    }

    /// The fault of an answer that is of another form than was asked for.
    pub fn fault(&self, doing: &str, error: &Error) -> Fault {
        self.own(doing, &Said::of(error))
    }
}
