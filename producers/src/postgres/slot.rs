//! The slot: whether it can go on where the cursor is, and what to do where it cannot.
//!
//! A slot that is missing, moved, invalidated, or on another server than the cursor's means that
//! changes may be missing. That is never passed over: the route waits, and says what an operator can
//! do.

use database::tokio_postgres::Row;
use engine::Fault;

use super::catalogue::Catalogue;
use super::cursor::Cursor;
use super::lsn::Lsn;

/// `messages` of pgoutput, which carry the marks of a snapshot, came with this version.
const OLDEST: i32 = 140_000;
/// How long a new slot waits for the transactions that are open.
const PATIENCE: &str = "SET statement_timeout = '60s'";

/// A slot to read from, by its name and that of its publication.
pub(super) struct Slot {
    pub name: String,
    pub publication: String,
}

/// The server that we speak to.
struct Server {
    version: i32,
    wal_level: String,
    is_standby: bool,
    system: String,
}

/// What the server tells of a slot.
struct Found {
    plugin: Option<String>,
    here: bool,
    wal_status: Option<String>,
    confirmed: Option<Lsn>,
}

fn lsn(row: &Row, place: usize) -> Option<Lsn> {
    row.get::<_, Option<String>>(place).and_then(|text| text.parse().ok())
}

impl Slot {
    /// Where to go on: the cursor, held against the server and the slot. Without one, or where it is
    /// of another slot, the slot is created if it is not there, and a new cursor begins at it.
    ///
    /// # Errors
    /// A `Remote` fault: the server cannot be read from, or changes may be missing.
    pub async fn settle(
        &self,
        catalogue: &mut Catalogue,
        cursor: Option<Cursor>,
    ) -> Result<(Cursor, bool), Fault> {
        let server = self.server(catalogue).await?;
        self.check_publication(catalogue).await?;
        let (timeline, written) = position(catalogue).await?;
        let found = self.find(catalogue).await?;
        match cursor.filter(|cursor| cursor.slot == self.name) {
            Some(cursor) => {
                let gap = self.gap(&cursor, &server, timeline, written, found.as_ref());
                match gap {
                    Some((cause, what)) => Err(self.lost(cause, &what, &cursor, catalogue)),
                    None => Ok((cursor, false)),
                }
            }
            None => {
                let from = match found {
                    Some(found) => self.adopt(&found, catalogue)?,
                    None => self.create(catalogue).await?,
                };
                Ok((Cursor::new(&self.name, &server.system, timeline, from), true))
            }
        }
    }

    async fn server(&self, catalogue: &mut Catalogue) -> Result<Server, Fault> {
        const SERVER: &str = "SELECT current_setting('server_version_num')::int, \
             current_setting('wal_level'), pg_is_in_recovery(), (SELECT system_identifier::text FROM \
             pg_control_system())";
        let shown = catalogue.shown().to_owned();
        let rows = catalogue.query("Asking for the server's version", SERVER, &[]).await?;
        let row = rows.first().ok_or_else(|| Fault::internal("postgres_server", "No answer."))?;
        let server = Server {
            version: row.get(0),
            wal_level: row.get(1),
            is_standby: row.get(2),
            system: row.get(3),
        };
        let wrong = |cause, message: String| Err(Fault::refused(cause, message));
        if server.version < OLDEST {
            return wrong("postgres_version", format!("{shown} is older than PostgreSQL 14."));
        }
        if server.is_standby {
            let message = format!(
                "{shown} is a standby, which logs no marks: give the connection the primary's address."
            );
            return wrong("postgres_standby", message);
        }
        if server.wal_level != "logical" {
            let message = format!(
                "{shown} logs too little (`wal_level` is {}). Set `wal_level = logical` there, and \
                 restart it.",
                server.wal_level
            );
            return wrong("postgres_wal_level", message);
        }
        Ok(server)
    }

    async fn check_publication(&self, catalogue: &mut Catalogue) -> Result<(), Fault> {
        let name = &self.publication;
        let find = "SELECT 1 FROM pg_publication WHERE pubname = $1";
        if !catalogue.query("Looking up the publication", find, &[name]).await?.is_empty() {
            return Ok(());
        }
        let message = format!(
            "{} has no publication `{name}`. The tables' owner says: CREATE PUBLICATION \"{name}\" FOR \
             TABLE …;",
            catalogue.shown()
        );
        Err(Fault::refused("publication_missing", message))
    }

    async fn find(&self, catalogue: &mut Catalogue) -> Result<Option<Found>, Fault> {
        const FIND: &str = "SELECT plugin::text, database = current_database(), wal_status, \
             confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1";
        let rows = catalogue.query("Looking up the slot", FIND, &[&self.name]).await?;
        Ok(rows.first().map(|row| Found {
            plugin: row.get(0),
            here: row.get::<_, Option<bool>>(1).unwrap_or_default(),
            wal_status: row.get(2),
            confirmed: lsn(row, 3),
        }))
    }

    /// What may be missing between the cursor and the slot, if anything.
    fn gap(
        &self,
        cursor: &Cursor,
        server: &Server,
        timeline: u32,
        written: Lsn,
        found: Option<&Found>,
    ) -> Option<(&'static str, String)> {
        if server.system != cursor.system {
            let what = format!(
                "this is another server (system identifier {}, not {})",
                server.system, cursor.system
            );
            return Some(("server_other", what));
        }
        if timeline != cursor.timeline {
            let what = format!(
                "the server is on timeline {timeline}, not {}: it was failed over, or restored",
                cursor.timeline
            );
            return Some(("server_failed_over", what));
        }
        if written < cursor.seen() {
            let what = format!("the server's log ends before that, at {written}: it was restored");
            return Some(("server_restored", what));
        }
        let Some(found) = found else {
            return Some(("slot_missing", "the slot is not there any more".to_owned()));
        };
        if let Some(wrong) = found.wrong() {
            return Some(("slot_lost", wrong));
        }
        match found.confirmed {
            Some(confirmed) if confirmed <= cursor.lsn => None,
            confirmed => {
                let now = confirmed.map_or_else(|| "nowhere".to_owned(), |lsn| lsn.to_string());
                let what = format!(
                    "the slot begins at {now} now: it was created anew, or something else moved it"
                );
                Some(("slot_moved", what))
            }
        }
    }

    /// The fault of a gap, with its cure.
    pub fn lost(
        &self,
        cause: &'static str,
        what: &str,
        cursor: &Cursor,
        catalogue: &Catalogue,
    ) -> Fault {
        let Self { name, .. } = self;
        let message = format!(
            "The source has published what was committed up to {} in {}, with the slot `{name}`, and \
             {what}. Changes since then may be missing, and none are passed over. To begin anew with a \
             snapshot of the tables, give the source another slot (`slot: {name}_2`); then drop the old \
             one, if it is there: SELECT pg_drop_replication_slot('{name}');",
            cursor.lsn,
            catalogue.shown()
        );
        Fault::refused(cause, message)
    }

    /// Takes a slot that is there although nothing was ever read from it.
    fn adopt(&self, found: &Found, catalogue: &Catalogue) -> Result<Lsn, Fault> {
        let wrong = found
            .wrong()
            .or_else(|| found.confirmed.is_none().then(|| "the slot is not ready yet".to_owned()));
        match (wrong, found.confirmed) {
            (None, Some(confirmed)) => {
                tracing::info!(slot = self.name, at = %confirmed, "begins with a slot that is there");
                Ok(confirmed)
            }
            (wrong, _) => {
                let message = format!(
                    "The slot `{}` of {} cannot be used: {}. Drop it (SELECT \
                     pg_drop_replication_slot('{}');) or give the source another one.",
                    self.name,
                    catalogue.shown(),
                    wrong.unwrap_or_default(),
                    self.name
                );
                Err(Fault::refused("slot_unusable", message))
            }
        }
    }

    async fn create(&self, catalogue: &mut Catalogue) -> Result<Lsn, Fault> {
        const CREATE: &str =
            "SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'pgoutput')";
        let doing = format!("Creating the slot `{}`", self.name);
        catalogue.execute(&doing, PATIENCE).await?;
        let created = catalogue.query(&doing, CREATE, &[&self.name]).await;
        catalogue.execute(&doing, "SET statement_timeout = 0").await?;
        let created = created.map_err(|fault| match fault.cause {
            "postgres_busy" => {
                let message = format!(
                    "{} A new slot waits until the transactions that are open have ended: SELECT pid, \
                     xact_start, query FROM pg_stat_activity ORDER BY xact_start;",
                    fault.message
                );
                Fault { message, ..fault }
            }
            _ => fault,
        })?;
        let at = created.first().and_then(|row| lsn(row, 0));
        let at = at.ok_or_else(|| Fault::internal("postgres_slot", "It has no position."))?;
        tracing::info!(slot = self.name, %at, "the slot is created");
        Ok(at)
    }
}

/// The server's timeline, and where its log ends.
async fn position(catalogue: &mut Catalogue) -> Result<(u32, Lsn), Fault> {
    const POSITION: &str = "SELECT left(pg_walfile_name(pg_current_wal_insert_lsn()), 8), \
         pg_current_wal_insert_lsn()::text";
    let rows = catalogue.query("Asking for the server's position", POSITION, &[]).await?;
    let read = rows.first().and_then(|row| {
        let timeline = u32::from_str_radix(row.get(0), 16).ok()?;
        Some((timeline, lsn(row, 1)?))
    });
    read.ok_or_else(|| Fault::internal("postgres_position", "The server's position is unreadable."))
}

impl Found {
    /// Why it cannot be read from, whatever the cursor.
    fn wrong(&self) -> Option<String> {
        match (self.plugin.as_deref(), self.wal_status.as_deref()) {
            (Some("pgoutput"), _) if !self.here => {
                Some("the slot is another database's".to_owned())
            }
            (Some("pgoutput"), Some("lost")) => Some(
                "the slot was invalidated: its log grew beyond `max_slot_wal_keep_size` of the server"
                    .to_owned(),
            ),
            (Some("pgoutput"), _) => None,
            (plugin, _) => {
                let plugin = plugin.unwrap_or("none");
                Some(format!("the slot is of the plugin `{plugin}`, not `pgoutput`"))
            }
        }
    }
}
