//! The stream, published with the cursor, and confirmed to PostgreSQL once it lies in Kafka.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use database::Database;
use engine::clock::unix_millis;
use engine::publisher::Progress;
use engine::{Domain, Draft, Fault, Publisher, Shutdown, Source};
use tokio::time::{Instant, sleep_until};

use super::catalogue::{Catalogue, Table};
use super::cursor::{Cursor, Within};
use super::envelope::{Envelope, Happened, Op};
use super::lsn::Lsn;
use super::pgoutput::{Cell, Message, Relation, Tuple};
use super::replication::{EPOCH, Frame, Replication};
use super::row::Row;
use super::slot::Slot;
use super::snapshot::{Snapshot, Taken, Window};
use super::transaction::{Known, Open};
use super::visibility::Seen;
use crate::cursor::Versioned as _;

/// What goes into one transaction of Kafka at most.
const MOST_EVENTS: usize = 1_000;
const MOST_BYTES: usize = 1 << 20;
/// A server that is about to end hears what we have no more often than this.
const URGENT: Duration = Duration::from_secs(1);

/// A source, ready to run.
pub(super) struct PostgresSource {
    pub route: Arc<str>,
    pub database: Database,
    pub application: String,
    pub slot: Slot,
    pub tables: Vec<String>,
    pub snapshot: bool,
    pub chunk: u32,
    pub heartbeat: Duration,
    pub envelope: Envelope,
}

#[async_trait]
impl Source for PostgresSource {
    async fn run(self: Box<Self>, out: Publisher, stop: Shutdown) -> Result<(), Fault> {
        let mut run = tokio::select! {
            begun = Run::begin(*self, out) => begun?,
            () = stop.requested() => return Ok(()),
        };
        while !stop.is_requested() {
            tokio::select! {
                stepped = run.step() => stepped?,
                () = stop.requested() => break,
            }
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<String, Fault> {
        Catalogue::new(self.database.clone()).published(&self.slot.publication, &self.tables).await
    }
}

/// A source that runs.
struct Run {
    source: PostgresSource,
    out: Publisher,
    catalogue: Catalogue,
    replication: Replication,
    cursor: Cursor,
    /// The cursor that lies in Kafka, and since when.
    written: Cursor,
    written_at: Instant,
    tables: HashMap<String, Arc<Table>>,
    relations: HashMap<u32, Known>,
    open: Option<Open>,
    snapshot: Snapshot,
    batch: Vec<Draft>,
    bytes: usize,
}

impl Run {
    async fn begin(source: PostgresSource, out: Publisher) -> Result<Self, Fault> {
        let route = &*source.route;
        let mut catalogue = Catalogue::new(source.database.clone());
        let kept = out.cursor().map(|text| Cursor::read(&text)).transpose()?;
        let before = kept.as_ref().map(|cursor| cursor.slot.clone());
        let (mut cursor, new) = source.slot.settle(&mut catalogue, kept).await?;
        let mut tables = HashMap::new();
        for name in &source.tables {
            let table = catalogue.table(&source.slot.publication, name).await?;
            tables.insert(name.clone(), Arc::new(table));
        }
        if new {
            if let Some(before) = before {
                tracing::warn!(route, before, slot = cursor.slot, "begins anew with another slot");
            }
            if !source.snapshot {
                cursor.done.clone_from(&source.tables);
            }
            // From now on a slot that is missing is noticed.
            out.send_with_cursor(Vec::new(), cursor.text()?).await?;
        }
        // A table that is not read now is read anew when it comes back: its changes are not published.
        cursor.done.retain(|name| source.tables.contains(name));
        cursor.reading.take_if(|reading| !source.tables.contains(&reading.table));
        let unread = source.tables.iter().filter(|name| !cursor.done.contains(name));
        let mut unread: Vec<String> = unread.filter(|_| source.snapshot).cloned().collect();
        // The one under way goes on first.
        unread.sort_by_key(|name| cursor.reading.as_ref().is_none_or(|one| one.table != *name));
        if let Some(table) = unread.iter().find(|name| tables[*name].identity.is_empty()) {
            let message = format!(
                "{table} has no primary key, which a snapshot reads it by. Give it one, or write \
                 `snapshot: false` to publish its changes only."
            );
            return Err(Fault::refused("table_without_key", message));
        }
        let Slot { name, publication } = &source.slot;
        let replication = Replication::start(
            &source.database,
            &source.application,
            name,
            publication,
            cursor.lsn,
        );
        let replication = replication.await?;
        tracing::info!(route, slot = name, from = %cursor.lsn, "reads the log");
        out.ready();
        Ok(Self {
            written: cursor.clone(),
            written_at: Instant::now(),
            snapshot: Snapshot::begin(&mut catalogue, unread).await?,
            source,
            out,
            catalogue,
            replication,
            cursor,
            tables,
            relations: HashMap::new(),
            open: None,
            batch: Vec::new(),
            bytes: 0,
        })
    }

    /// Takes what has arrived; publishes when nothing more has, or enough.
    async fn step(&mut self) -> Result<(), Fault> {
        if self.open.is_none() && self.snapshot.due().is_some() {
            self.flush().await?;
            self.read_chunk().await?;
        }
        let frame = match self.replication.arrived()? {
            Some(frame) => frame,
            None => {
                self.flush().await?;
                self.beat(self.source.heartbeat).await?;
                match self.wait().await? {
                    Some(frame) => frame,
                    None => return Ok(()),
                }
            }
        };
        match frame {
            Frame::KeepAlive { end, urgent } => self.kept_alive(end, urgent).await?,
            Frame::Data { at, data } => self.take(at, data).await?,
        }
        if self.batch.len() >= MOST_EVENTS || self.bytes >= MOST_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// The next frame; nothing if something else is due first.
    async fn wait(&mut self) -> Result<Option<Frame>, Fault> {
        let heartbeat = self.written_at + self.source.heartbeat;
        let mut due = heartbeat.max(Instant::now() + URGENT);
        if self.open.is_none() {
            due = self.snapshot.next().map_or(due, |next| next.min(due));
        }
        tokio::select! {
            frame = self.replication.next() => frame.map(Some),
            () = sleep_until(due) => Ok(None),
        }
    }

    /// Everything that was committed before `end` was streamed.
    async fn kept_alive(&mut self, end: Lsn, urgent: bool) -> Result<(), Fault> {
        if self.open.is_some() {
            return Ok(());
        }
        self.check_passed(end)?;
        self.close_window(end).await?;
        self.cursor.lsn = self.cursor.lsn.max(end);
        if urgent {
            self.flush().await?;
            self.beat(URGENT).await?;
        }
        Ok(())
    }

    /// The stream has come to `lsn`: a transaction of which a part is published cannot lie before it.
    fn check_passed(&self, lsn: Lsn) -> Result<(), Fault> {
        let Some(within) = self.cursor.within.filter(|within| within.commit < lsn) else {
            return Ok(());
        };
        let what = format!(
            "its transaction at {}, of which a part is published, is not in the log any more",
            within.commit
        );
        let slot = &self.source.slot;
        Err(slot.lost("transaction_gone", &what, &self.cursor, &self.catalogue))
    }

    async fn take(&mut self, at: Lsn, data: Bytes) -> Result<(), Fault> {
        match Message::parse(data)? {
            Message::Begin { commit, time, xid } => self.begins(commit, time, xid).await,
            Message::Commit { end } => self.commits(end).await,
            Message::Relation(relation) => self.relation(relation).await,
            Message::Insert { table, new } => {
                self.changed(at, table, Op::Insert, None, Some(new)).await
            }
            Message::Update { table, old, new } => {
                self.changed(at, table, Op::Update, old, Some(new)).await
            }
            Message::Delete { table, old } => {
                self.changed(at, table, Op::Delete, Some(old), None).await
            }
            Message::Truncate { tables } => {
                self.truncated(at, &tables);
                Ok(())
            }
            Message::Other => Ok(()),
        }
    }

    async fn begins(&mut self, commit: Lsn, time: i64, xid: u32) -> Result<(), Fault> {
        self.close_window(commit).await?;
        self.check_passed(commit)?;
        let within = self.cursor.within.filter(|within| within.commit == commit);
        let published = within.map(|within| within.change);
        let time = time.div_euclid(1_000).saturating_add(EPOCH * 1_000);
        self.open = Some(Open { commit, xid, time, change: None, published });
        Ok(())
    }

    async fn commits(&mut self, end: Lsn) -> Result<(), Fault> {
        if let Some(open) = self.open.take() {
            self.snapshot.streamed(open.xid);
            self.cursor.within.take_if(|within| within.commit == open.commit);
        }
        self.cursor.lsn = end;
        self.close_window(end).await?;
        if self.batch.is_empty() {
            self.beat(self.source.heartbeat).await?;
        }
        Ok(())
    }

    async fn relation(&mut self, relation: Relation) -> Result<(), Fault> {
        let Relation { id, name, full, columns } = relation;
        let keys = columns.iter().filter(|column| column.key);
        let keys = keys.map(|column| column.name.clone()).collect();
        let mut table = None;
        if let Some(before) = self.tables.get(&name) {
            // Where the table has gone since, what was known of it holds for what was written then.
            let now = self.catalogue.table(&self.source.slot.publication, &name).await;
            table = Some(match now {
                Ok(now) => Arc::new(now),
                Err(fault)
                    if fault.domain == Domain::Remote && fault.cause.starts_with("table") =>
                {
                    before.clone()
                }
                Err(fault) => return Err(fault),
            });
        }
        let columns = match &table {
            Some(_) => self.catalogue.columns(&columns).await?,
            None => Arc::default(),
        };
        self.relations.insert(id, Known { name, full, columns, keys, table });
        Ok(())
    }

    /// A row is new, has changed, or is gone.
    async fn changed(
        &mut self,
        at: Lsn,
        id: u32,
        op: Op,
        old: Option<Tuple>,
        new: Option<Tuple>,
    ) -> Result<(), Fault> {
        let lacking = |what| Fault::internal("pgoutput", format!("A change comes without {what}."));
        let open = self.open.as_mut().ok_or_else(|| lacking("its transaction"))?;
        let Some(change) = open.advance(at) else { return Ok(()) };
        let time = open.time;
        let known = self.relations.get(&id).ok_or_else(|| lacking("its table"))?;
        let Some(table) = known.table.clone() else { return Ok(()) };
        let before = old.map(|cells| known.row(cells)).transpose()?;
        let before = before.map(|row| if known.full { row } else { row.only(&known.keys) });
        let mut after = new.map(|cells| known.row(cells)).transpose()?;
        if let Some(after) = &mut after {
            self.complete(&table, before.as_ref(), after).await?;
        }
        let identity = |row: &Option<Row>| row.as_ref().and_then(|row| table.identity_of(row));
        let (was, is) = (identity(&before), identity(&after));
        if let Some(window) = self.snapshot.window.as_mut() {
            // What happens to an outbox' row later does not undo its event.
            if op == Op::Insert || self.source.envelope.outbox.is_none() {
                let told = [&was, &is].into_iter().flatten();
                told.for_each(|identity| window.replace(&table.name, identity.clone()));
            }
        }
        let origin = self.cursor.origin();
        let happened = Happened {
            op,
            table: &table.name,
            identity: table.identity_names(),
            before,
            after,
            lsn: change.at,
            time: Some(time),
            id: format!("{origin}-{}-{}", change.at, change.index),
            received: unix_millis(),
        };
        let moved = op == Op::Update && was.is_some() && is.is_some() && was != is;
        if moved {
            // Under its old key the row is gone.
            let gone = Happened {
                op: Op::Delete,
                identity: table.identity_names(),
                before: happened.before.clone(),
                after: None,
                id: format!("{}-moved", happened.id),
                ..happened
            };
            self.publish(&gone).await?;
        }
        self.publish(&happened).await
    }

    /// Finds the long values that an update did not change and the log therefore lacks: in the old
    /// row, else in the row as it is now.
    async fn complete(
        &mut self,
        table: &Table,
        before: Option<&Row>,
        after: &mut Row,
    ) -> Result<(), Fault> {
        for name in after.unknown() {
            if let Some(cell) = before.and_then(|row| row.cell(&name)) {
                after.fill(&name, cell.clone());
            }
        }
        let unknown = after.unknown();
        let needed = unknown.iter().map(String::as_str);
        let needed: Vec<&str> = needed.filter(|name| self.source.envelope.needs(name)).collect();
        let identity = table.identity_of(after).filter(|_| !needed.is_empty());
        let Some(identity) = identity else { return Ok(()) };
        let found = self.catalogue.read_again(table, &identity, &needed).await?;
        for (name, cell) in needed.iter().zip(found.unwrap_or_default()) {
            // The value was not null when it did not change.
            if cell != Cell::Null {
                after.fill(name, cell);
            }
        }
        Ok(())
    }

    fn truncated(&mut self, at: Lsn, ids: &[u32]) {
        let Some(open) = self.open.as_mut() else { return };
        let new = open.advance(at).is_some();
        for known in ids.iter().filter_map(|id| self.relations.get(id)) {
            let Some(table) = known.table.as_ref().filter(|_| new) else { continue };
            if let Some(window) = self.snapshot.window.as_mut() {
                window.empty(&table.name);
            }
            let (route, table) = (&*self.source.route, &*table.name);
            tracing::warn!(route, table, lsn = %at, "a table was emptied by TRUNCATE, which makes no events");
        }
    }

    /// Puts a change's event into the batch; what makes none goes to the dead letters.
    async fn publish(&mut self, happened: &Happened<'_>) -> Result<(), Fault> {
        match self.source.envelope.draft(happened) {
            Ok(None) => Ok(()),
            Ok(Some(draft)) => {
                let row = happened.after.as_ref().or(happened.before.as_ref());
                self.bytes += row.map_or(64, Row::bytes);
                self.batch.push(draft);
                Ok(())
            }
            Err(fault) if fault.domain == Domain::Data => {
                let (route, id) = (&*self.source.route, &*happened.id);
                tracing::warn!(route, id, %fault, "a change is kept in the dead letters");
                self.out.reject(self.source.envelope.rejected(happened), &fault).await.map(drop)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Publishes the batch with the cursor, and confirms it.
    async fn flush(&mut self) -> Result<(), Fault> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        self.write(batch).await
    }

    /// Keeps the cursor and confirms it, if it is news and the last one is older than this.
    async fn beat(&mut self, every: Duration) -> Result<(), Fault> {
        let due = self.written_at.elapsed() >= every;
        match due && self.open.is_none() && self.cursor != self.written {
            true => self.write(Vec::new()).await,
            false => Ok(()),
        }
    }

    async fn write(&mut self, batch: Vec<Draft>) -> Result<(), Fault> {
        if let Some(open) = &self.open {
            let change = open.change.max(open.published);
            self.cursor.within = change.map(|change| Within { commit: open.commit, change });
        }
        self.out.send_with_cursor(batch, self.cursor.text()?).await?;
        self.replication.confirm(self.cursor.lsn);
        self.written = self.cursor.clone();
        self.written_at = Instant::now();
        Ok(())
    }

    /// Reads the next rows of the snapshot.
    async fn read_chunk(&mut self) -> Result<(), Fault> {
        let Some(name) = self.snapshot.due().cloned() else { return Ok(()) };
        let Some(table) = self.tables.get(&name).cloned() else { return Ok(()) };
        let reading = self.cursor.reading.as_ref().filter(|reading| reading.table == name);
        let last = reading.map(|reading| reading.last.clone()).unwrap_or_default();
        let rows = reading.map_or(0, |reading| reading.rows);
        let snapshot = &mut self.snapshot;
        let suffices = |seen: &Seen| snapshot.shows_all(seen);
        let chunk = self.catalogue.chunk(&table, &last, self.source.chunk, suffices).await?;
        self.snapshot.tell(&self.source.route, &table, rows, chunk.is_some());
        self.out.progress(Some(table.progress(rows)));
        if let Some(chunk) = chunk {
            self.snapshot.open(table, chunk);
        }
        Ok(())
    }

    /// Publishes the window's rows if its place has come.
    async fn close_window(&mut self, lsn: Lsn) -> Result<(), Fault> {
        let Some(mut window) = self.snapshot.close(lsn) else { return Ok(()) };
        let origin = self.cursor.origin();
        for (index, taken) in window.take().into_iter().enumerate() {
            let Taken { row, identity, replaced } = taken;
            if !replaced {
                let read = Happened {
                    op: Op::Read,
                    table: &window.table.name,
                    identity: window.table.identity_names(),
                    before: None,
                    after: Some(row),
                    lsn: window.high(),
                    time: None,
                    id: format!("{origin}-{}-row-{index}", window.high()),
                    received: unix_millis(),
                };
                self.publish(&read).await?;
            }
            self.cursor.read_row(&window.table.name, identity);
            if self.batch.len() >= MOST_EVENTS || self.bytes >= MOST_BYTES {
                self.flush().await?;
            }
        }
        self.finish(&window).await
    }

    async fn finish(&mut self, window: &Window) -> Result<(), Fault> {
        if window.last {
            let rows = self.cursor.reading.take().map_or(0, |reading| reading.rows);
            let (route, table) = (&*self.source.route, &*window.table.name);
            tracing::info!(route, table, rows, "the rows of a table are published");
            self.out.progress(Some(Progress { about: Some(rows), ..window.table.progress(rows) }));
            self.cursor.done.push(window.table.name.clone());
            self.snapshot.tables.retain(|name| *name != window.table.name);
            if self.snapshot.tables.is_empty() {
                self.out.progress(None);
            }
        }
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        self.write(batch).await
    }
}
