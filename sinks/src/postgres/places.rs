//! How far a partition has been written, in a table beside what was written and in the same
//! transaction.
//!
//! | event | what is done |
//! |---|---|
//! | at or above `next_offset` | it is written, and `next_offset` moves behind it |
//! | below it | it is there: nothing |
//! | below it, in `refused` | the table refused it, and nobody knows whether it is in the dead letters yet: again |
//! | a dead letter that is tried again | its offset is long below: a row in the table of retries says whether it is there |
//! | of a replay | each replay has a row of its own, and so is written once as well |
//! | below `first_offset`, or received later than all that was written | it was never written: the route waits for a person, see [`Visit::admit`] |
//!
//! The row is locked while its partition is written: of two instances that both think the partition
//! is theirs, the second finds what the first has left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::event::{REPLAY, REPLAY_BEGUN, RETRIED};
use engine::{Delivery, Event, Fault};

use super::identifier::{TableName, literal};
use super::session::Session;
use super::writing::Verdict;

/// The offsets of a route.
pub(super) struct Places {
    table: TableName,
    retries: TableName,
    route: Arc<str>,
    is_there: AtomicBool,
}

/// A stream of events whose offsets grow: a partition of a topic, or what a replay sends of it.
#[derive(Debug, PartialEq, Eq)]
struct Stream {
    topic: Arc<str>,
    partition: i32,
    replay: String,
}

/// How far a stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    first: i64,
    next: i64,
    /// Offsets below `next` that the table has refused.
    refused: Vec<i64>,
    /// The latest receipt of all that lies below `next`, milliseconds since the Unix epoch.
    latest: i64,
}

/// A stream's row, locked until the transaction ends.
pub(super) struct Visit<'p> {
    places: &'p Places,
    stream: Option<(Stream, Place)>,
    /// Of the batch, the dead letters that are not yet there.
    retried: Vec<usize>,
}

fn is_retried(event: &Event) -> bool {
    event.headers.get(RETRIED).is_some()
}

impl Stream {
    fn of(event: &Event) -> Self {
        let part = |name| event.headers.text(name).unwrap_or_default();
        let replay = match part(REPLAY) {
            "" => String::new(),
            // The same replay may be sent once more.
            id => format!("{id} {}", part(REPLAY_BEGUN)).trim_end().to_owned(),
        };
        Self { topic: Arc::clone(&event.topic), partition: event.partition, replay }
    }
}

impl Place {
    fn at(event: &Event) -> Self {
        Self { first: event.offset, next: event.offset, refused: Vec::new(), latest: i64::MIN }
    }

    /// Whether an event is still to be written.
    ///
    /// # Errors
    /// Why it cannot be told.
    fn lacks(&self, event: &Event) -> Result<bool, String> {
        let Self { first, next, refused, latest } = self;
        if event.offset >= *next || refused.contains(&event.offset) {
            return Ok(true);
        }
        if event.offset < *first {
            return Err(format!("it lies before offset {first}, where the route began"));
        }
        if event.timestamp > *latest {
            return Err(format!(
                "it came later than what was written up to offset {next}: the topic was created \
                 anew, or lost its end"
            ));
        }
        Ok(false)
    }

    /// Moves behind what was written, in order: `refused` are those of its offsets that were not.
    fn moved(&self, events: &[&Event], refused: Vec<i64>) -> Self {
        let Some(last) = events.last() else { return self.clone() };
        let later = self.refused.iter().copied().filter(|offset| *offset > last.offset);
        let latest = events.iter().map(|event| event.timestamp).max();
        Self {
            first: self.first,
            next: self.next.max(last.offset + 1),
            refused: refused.into_iter().chain(later).collect(),
            latest: self.latest.max(latest.unwrap_or(i64::MIN)),
        }
    }
}

impl Places {
    pub fn new(table: TableName, route: Arc<str>) -> Self {
        let retries = table.beside("_retried");
        Self { table, retries, route, is_there: AtomicBool::new(false) }
    }

    /// What failed may have failed because the tables are gone.
    pub fn doubt(&self) {
        self.is_there.store(false, Ordering::Relaxed);
    }

    /// Creates the tables, if they are not there. (`IF NOT EXISTS` alone would need the right to
    /// create even where they are.)
    ///
    /// # Errors
    /// The route waits where that is refused.
    pub async fn prepare(&self, session: &Session) -> Result<(), Fault> {
        if self.is_there.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (table, retries) = (self.table.sql(), self.retries.sql());
        let doing = format!("Looking for the table {} of offsets", self.table);
        let asked = "SELECT pg_catalog.to_regclass($1) IS NOT NULL \
                     AND pg_catalog.to_regclass($2) IS NOT NULL";
        let found = session.query(&doing, asked, &[&table, &retries]).await?;
        if !found.first().is_some_and(|row| row.try_get(0).unwrap_or(false)) {
            let doing = format!("Creating the table {} of offsets", self.table);
            session.execute(&doing, &creation(&table, &retries)).await?;
        }
        self.is_there.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Begins a transaction, and locks the row of the batch's stream.
    ///
    /// # Errors
    /// A fault of the server.
    pub async fn visit<'p>(
        &'p self,
        session: &Session,
        batch: &[Event],
    ) -> Result<Visit<'p>, Fault> {
        // What a deferred constraint refuses has to be told from what the commit does.
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED; SET CONSTRAINTS ALL IMMEDIATE";
        session.execute("Beginning a transaction", begin).await?;
        let live = batch.iter().find(|event| !is_retried(event));
        let stream = match live {
            None => None,
            Some(first) => Some(self.lock(session, first).await?),
        };
        let retried = self.note_retried(session, batch).await?;
        Ok(Visit { places: self, stream, retried })
    }

    fn doing(&self, verb: &str) -> String {
        format!("{verb} the offsets in {}", self.table)
    }

    async fn lock(&self, session: &Session, first: &Event) -> Result<(Stream, Place), Fault> {
        let stream = Stream::of(first);
        if let Some(place) = self.read(session, &stream).await? {
            return Ok((stream, place));
        }
        let place = Place::at(first);
        let insert = format!(
            "INSERT INTO {} (route, topic, partition, replay, first_offset, next_offset, latest) \
             VALUES ($1, $2, $3, $4, $5, $5, $6) ON CONFLICT DO NOTHING",
            self.table.sql()
        );
        let (route, topic) = (&*self.route, &*stream.topic);
        let (partition, replay) = (&stream.partition, &stream.replay);
        let doing = self.doing("Beginning");
        session
            .query(
                &doing,
                &insert,
                &[&route, &topic, partition, replay, &place.first, &place.latest],
            )
            .await?;
        let place = self.read(session, &stream).await?;
        place.map(|place| (stream, place)).ok_or_else(|| {
            Fault::remote("postgres_offsets", format!("{doing}: the row is gone again."))
        })
    }

    async fn read(&self, session: &Session, stream: &Stream) -> Result<Option<Place>, Fault> {
        let sql = format!(
            "SELECT first_offset, next_offset, refused, latest FROM {} \
             WHERE route = $1 AND topic = $2 AND partition = $3 AND replay = $4 FOR UPDATE",
            self.table.sql()
        );
        let (route, topic, doing) = (&*self.route, &*stream.topic, self.doing("Reading"));
        let parameters: [&(dyn database::tokio_postgres::types::ToSql + Sync); 4] =
            [&route, &topic, &stream.partition, &stream.replay];
        let rows = session.query(&doing, &sql, &parameters).await?;
        let place = |row: &database::tokio_postgres::Row| {
            Ok(Place {
                first: row.try_get(0)?,
                next: row.try_get(1)?,
                refused: row.try_get(2)?,
                latest: row.try_get(3)?,
            })
        };
        let read: Result<Option<Place>, database::tokio_postgres::Error> =
            rows.first().map(place).transpose();
        read.map_err(|error| session.fault(&doing, &error))
    }

    /// Notes the dead letters of a batch that are tried again; those that were not there yet.
    async fn note_retried(&self, session: &Session, batch: &[Event]) -> Result<Vec<usize>, Fault> {
        let mut new = Vec::new();
        for (index, event) in batch.iter().enumerate().filter(|(_, event)| is_retried(event)) {
            let sql = format!(
                "INSERT INTO {} (route, topic, partition, replay, \"offset\") \
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING true",
                self.retries.sql()
            );
            let (doing, stream) = (self.doing("Noting"), Stream::of(event));
            let (route, topic) = (&*self.route, &*stream.topic);
            let parameters: [&(dyn database::tokio_postgres::types::ToSql + Sync); 5] =
                [&route, &topic, &stream.partition, &stream.replay, &event.offset];
            if !session.query(&doing, &sql, &parameters).await?.is_empty() {
                new.push(index);
            }
        }
        Ok(new)
    }
}

impl Visit<'_> {
    /// Which events of the batch are to be written; the others are there.
    ///
    /// # Errors
    /// The route waits: an offset that was passed holds another event than then. Nothing is left
    /// out in silence; a person decides, by moving or deleting the row.
    pub fn admit(
        &self,
        batch: &[Event],
        verdicts: &mut [Option<Verdict>],
    ) -> Result<Vec<usize>, Fault> {
        let mut admitted = Vec::with_capacity(batch.len());
        for (index, event) in batch.iter().enumerate() {
            let lacks = match &self.stream {
                _ if is_retried(event) => self.retried.contains(&index),
                Some((_, place)) => {
                    place.lacks(event).map_err(|cause| self.unsure(event, &cause))?
                }
                None => true,
            };
            match lacks {
                true => admitted.push(index),
                false => {
                    let answer = "was written before".to_owned();
                    verdicts[index] = Some(Ok(Delivery { answer, already_there: true }));
                }
            }
        }
        Ok(admitted)
    }

    fn unsure(&self, event: &Event, cause: &str) -> Fault {
        let Event { topic, partition, offset, .. } = event;
        let (table, route) = (self.places.table.sql(), literal(&self.places.route));
        let message = format!(
            "The event {topic}[{partition}]@{offset} is below the offsets that {table} says are \
             written, but cannot have been: {cause}. If it is to be written, let the partition \
             begin anew: DELETE FROM {table} WHERE route = {route} AND topic = {} AND partition = \
             {partition} AND replay = {}.",
            literal(topic),
            literal(&Stream::of(event).replay),
        );
        Fault::refused("postgres_offsets", message)
    }

    /// Leaves the row as it is after this batch, and ends the transaction.
    ///
    /// # Errors
    /// A fault of the server.
    pub async fn leave(
        self,
        session: &Session,
        batch: &[Event],
        verdicts: &[Option<Verdict>],
    ) -> Result<(), Fault> {
        let is_refused = |index: usize| matches!(verdicts.get(index), Some(Some(Err(_))));
        for index in self.retried.iter().copied().filter(|index| is_refused(*index)) {
            self.forget_retried(session, &batch[index]).await?;
        }
        if let Some((stream, place)) = &self.stream {
            let live = batch.iter().enumerate().filter(|(_, event)| !is_retried(event));
            let refused = live.clone().filter(|(index, _)| is_refused(*index));
            let refused = refused.map(|(_, event)| event.offset).collect();
            let events: Vec<&Event> = live.map(|(_, event)| event).collect();
            let moved = place.moved(&events, refused);
            if moved != *place {
                self.places.write(session, stream, &moved).await?;
            }
        }
        session.execute("Committing", "COMMIT").await
    }

    async fn forget_retried(&self, session: &Session, event: &Event) -> Result<(), Fault> {
        let sql = format!(
            "DELETE FROM {} WHERE route = $1 AND topic = $2 AND partition = $3 AND replay = $4 \
             AND \"offset\" = $5",
            self.places.retries.sql()
        );
        let stream = Stream::of(event);
        let (route, topic) = (&*self.places.route, &*stream.topic);
        let parameters: [&(dyn database::tokio_postgres::types::ToSql + Sync); 5] =
            [&route, &topic, &stream.partition, &stream.replay, &event.offset];
        session.query(&self.places.doing("Forgetting"), &sql, &parameters).await.map(drop)
    }
}

impl Places {
    async fn write(&self, session: &Session, stream: &Stream, place: &Place) -> Result<(), Fault> {
        let sql = format!(
            "UPDATE {} SET next_offset = $5, refused = $6, latest = $7, written_at = now() \
             WHERE route = $1 AND topic = $2 AND partition = $3 AND replay = $4",
            self.table.sql()
        );
        let (route, topic) = (&*self.route, &*stream.topic);
        let parameters: [&(dyn database::tokio_postgres::types::ToSql + Sync); 7] = [
            &route,
            &topic,
            &stream.partition,
            &stream.replay,
            &place.next,
            &place.refused,
            &place.latest,
        ];
        session.query(&self.doing("Writing"), &sql, &parameters).await.map(drop)
    }
}

/// The tables: offsets by route and stream, and the dead letters that were written when they were
/// tried again.
fn creation(table: &str, retries: &str) -> String {
    let stream = "route text, topic text, partition integer, replay text";
    format!(
        "CREATE TABLE IF NOT EXISTS {table} ({stream}, first_offset bigint NOT NULL, next_offset \
         bigint NOT NULL, refused bigint[] NOT NULL DEFAULT '{{}}', latest bigint NOT NULL, \
         written_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (route, topic, partition, replay)); \
         CREATE TABLE IF NOT EXISTS {retries} ({stream}, \"offset\" bigint, written_at timestamptz \
         NOT NULL DEFAULT now(), PRIMARY KEY (route, topic, partition, replay, \"offset\"))"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(offset: i64, timestamp: i64) -> Event {
        let mut event = Event::of_value(engine::Value::Null);
        (event.topic, event.offset, event.timestamp) = ("t".into(), offset, timestamp);
        event
    }

    fn place() -> Place {
        Place { first: 10, next: 20, refused: vec![15], latest: 1_000 }
    }

    #[test]
    fn what_lies_below_is_there_unless_it_was_refused() {
        let lacks = |offset| place().lacks(&event(offset, 900));
        assert_eq!((lacks(20), lacks(19), lacks(15)), (Ok(true), Ok(false), Ok(true)));
    }

    #[test]
    fn an_offset_that_holds_another_event_than_then_is_not_left_out_in_silence() {
        let before = place().lacks(&event(9, 900)).unwrap_err();
        assert!(before.contains("before offset 10"), "{before}");
        let recreated = place().lacks(&event(12, 1_001)).unwrap_err();
        assert!(recreated.contains("created anew"), "{recreated}");
    }

    #[test]
    fn a_place_moves_behind_its_batch_and_forgets_what_lies_before_it() {
        let events = [event(20, 1_100), event(22, 1_050)];
        let events: Vec<&Event> = events.iter().collect();
        let moved = place().moved(&events, vec![22]);
        assert_eq!(moved, Place { first: 10, next: 23, refused: vec![22], latest: 1_100 });
        let again = [event(12, 500), event(15, 500)];
        let again: Vec<&Event> = again.iter().collect();
        assert_eq!(moved.moved(&again, vec![15]).refused, [15, 22]);
        assert_eq!(moved.moved(&again, vec![]).next, 23, "never back");
    }

    #[test]
    fn a_replay_has_a_place_of_its_own_each_time() {
        let mut replayed = event(12, 1);
        replayed.headers.set(REPLAY, "r1");
        replayed.headers.set(REPLAY_BEGUN, "77");
        assert_eq!(Stream::of(&replayed).replay, "r1 77");
        assert_eq!(Stream::of(&event(12, 1)).replay, "");
    }
}
