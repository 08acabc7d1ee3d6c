//! What stands behind a source's publisher: its topic in Kafka.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};

use crate::codec::Encoding;
use crate::cursor::Cursor;
use crate::dead_letters::DeadLetters;
use crate::kafka::{
    Cluster, Limits, Producer, ReadFrom, Reader, Record, Refused, TOO_LARGE, Unwritten, blocking,
};
use crate::metrics::RouteMetrics;
use crate::outcomes::{RouteOutcomes, Subject, What};
use crate::publisher::{Outlet, Placed, Progress, Rejected};
use crate::state::{State, StateOf};
use crate::{Draft, Event, Fault, Headers, event};

/// A record's timestamp in Kafka may be this much before the receipt that its header tells: clocks
/// differ.
const CLOCK_SKEW_MILLIS: i64 = 10 * 60 * 1_000;

/// A source's topic.
pub(crate) struct TopicOutlet {
    pub route: Arc<str>,
    pub topic: Arc<str>,
    pub encoding: Encoding,
    pub producer: Arc<Producer>,
    pub cluster: Cluster,
    pub limits: Limits,
    pub dead_letters: DeadLetters,
    pub state: StateOf,
    pub metrics: RouteMetrics,
    pub outcomes: RouteOutcomes,
    /// Of a source that must run once.
    pub cursor: Option<Cursor>,
}

impl TopicOutlet {
    fn headers(&self, draft: &Draft) -> Headers {
        let mut headers = Headers::default();
        let mut add = |name: &'static str, value: String| {
            headers.push(name, Some(Bytes::from(value)));
        };
        add(event::CE_ID, draft.id.clone());
        add(event::CE_SOURCE, self.route.to_string());
        if let Some(kind) = &draft.kind {
            add(event::CE_TYPE, kind.clone());
        }
        if let Some(time) = draft.time.and_then(DateTime::from_timestamp_millis) {
            add(event::CE_TIME, time.to_rfc3339_opts(SecondsFormat::Millis, true));
        }
        if let Some(traceparent) = &draft.traceparent {
            add(event::TRACEPARENT, traceparent.clone());
        }
        add(event::RECEIVED, draft.received.to_string());
        headers
    }

    fn record(&self, draft: &Draft) -> Result<Record, Fault> {
        let payload = draft.value.as_ref().map(|value| self.encoding.encode(value)).transpose();
        Ok(Record {
            topic: Arc::clone(&self.topic),
            partition: None,
            payload: payload.inspect_err(|fault| self.metrics.failed(fault))?,
            headers: self.headers(draft),
            key: draft.key.clone().map(Bytes::from),
        })
    }

    async fn write(&self, id: &str, record: &Record) -> Result<Placed, Fault> {
        let mut written = self.producer.send(record).await;
        if written.as_ref().is_err_and(|fault| fault.cause == TOO_LARGE) {
            written = Err(self.limits.refused(record).await.fault());
        }
        match &written {
            Ok(placed) => {
                self.metrics.records_out.inc();
                self.metrics.bytes_out.inc_by(record.bytes() as u64);
                let (topic, Placed { partition, offset }) = (&*record.topic, placed);
                tracing::debug!(
                    route = &*self.route,
                    event = id,
                    topic,
                    partition,
                    offset,
                    "written"
                );
            }
            Err(fault) => {
                self.metrics.failed(fault);
                tracing::warn!(route = &*self.route, event = id, %fault, "not written");
            }
        }
        written
    }
}

/// Where records landed that were written in one transaction.
struct Written {
    placed: Vec<Placed>,
    /// Which of them are dead letters, and why.
    buried: BTreeMap<usize, Refused>,
}

impl TopicOutlet {
    /// Writes records, the last of them a cursor, in one transaction. What is too large for the topic
    /// is a dead letter in it; what is too large for that too makes the source wait: nothing is cut.
    async fn write_whole(&self, own: &Cursor, records: Vec<Record>) -> Result<Written, Fault> {
        let (whole, mut buried) = (0..records.len(), BTreeMap::new());
        let (mut records, mut runs) = (Arc::new(records), vec![whole.clone()]);
        let mut cut = false;
        loop {
            let Unwritten { too_large, fault } =
                match own.write(Arc::clone(&records), runs.clone()).await {
                    Ok(mut placed) => {
                        placed.pop();
                        return Ok(Written { placed, buried });
                    }
                    Err(unwritten) => unwritten,
                };
            let Some(run) = too_large else { return Err(fault) };
            if run.len() > 1 {
                runs = match cut {
                    false => self.limits.runs(&records).await,
                    true => whole.clone().map(|index| index..index + 1).collect(),
                };
                cut = true;
                continue;
            }
            let index = run.start;
            let Some(record) = records.get(index) else { return Err(fault) };
            let said = self.limits.refused(record).await;
            let fault = said.fault();
            match buried.get(&index) {
                _ if said.fits() => return Err(fault),
                Some(first) => return Err(Refused::nowhere(first, &said)),
                None if record.topic != self.topic => return Err(fault),
                None => {}
            }
            tracing::warn!(route = &*self.route, %fault, "an event is kept in the dead letters");
            let letter = self.dead_letters.unwritten(record, &fault);
            if let Some(record) = Arc::make_mut(&mut records).get_mut(index) {
                *record = letter;
            }
            buried.insert(index, said);
            letters_last(&mut runs, &buried);
        }
    }
}

/// Puts dead letters behind the events, so that none is written before all of these are, the largest
/// first: one that is refused comes before the others. (What is undone still counts in its topic.) The
/// cursor stays the last.
fn letters_last(runs: &mut Vec<Range<usize>>, buried: &BTreeMap<usize, Refused>) {
    let cursor = runs.pop();
    runs.retain(|run| !buried.contains_key(&run.start));
    let mut letters: Vec<_> = buried.iter().collect();
    letters.sort_by_key(|(_, said)| std::cmp::Reverse(said.size()));
    runs.extend(letters.into_iter().map(|(index, _)| *index..index + 1));
    runs.extend(cursor);
}

#[async_trait]
impl Outlet for TopicOutlet {
    async fn send(&self, draft: Draft) -> Result<Placed, Fault> {
        self.metrics.records_in.inc();
        let record = self.record(&draft)?;
        let placed = self.write(&draft.id, &record).await?;
        let subject = Subject::published(&draft, &self.topic, placed);
        self.outcomes.note(subject, draft.received, 1, What::Published);
        Ok(placed)
    }

    async fn reject(&self, rejected: Rejected, cause: &Fault) -> Result<Placed, Fault> {
        self.metrics.records_in.inc();
        self.metrics.failed(cause);
        let record = self.dead_letters.rejected(&rejected, cause, &self.topic);
        let placed = self.write(&rejected.id, &record).await?;
        self.metrics.dead_letters.inc();
        let subject = Subject::rejected(&rejected, &record.topic, placed);
        self.outcomes.note(subject, rejected.received, 1, What::dead_letter(cause));
        Ok(placed)
    }

    async fn send_with_cursor(
        &self,
        drafts: Vec<Draft>,
        cursor: String,
    ) -> Result<Vec<Placed>, Fault> {
        let Some(own) = &self.cursor else {
            return Err(Fault::internal("not_owned", "The source is not declared to run once."));
        };
        let count = drafts.len() as u64;
        self.metrics.records_in.inc_by(count);
        let records = drafts.iter().map(|draft| self.record(draft));
        let records = records.chain([own.record(cursor)]).collect::<Result<Vec<_>, _>>()?;
        let bytes: usize = records.iter().take(drafts.len()).map(Record::bytes).sum();
        let written = self.write_whole(own, records).await.inspect_err(|fault| {
            self.metrics.failed(fault);
            tracing::warn!(route = &*self.route, events = count, %fault, "not written");
        })?;
        self.metrics.records_out.inc_by(count);
        self.metrics.bytes_out.inc_by(bytes as u64);
        let Written { placed, buried } = written;
        for (index, (draft, placed)) in drafts.iter().zip(&placed).enumerate() {
            let (topic, what) = match buried.get(&index) {
                None => (&self.topic, What::Published),
                Some(said) => (self.dead_letters.topic(), What::dead_letter(&said.fault())),
            };
            self.outcomes.note(Subject::published(draft, topic, *placed), draft.received, 1, what);
        }
        self.metrics.dead_letters.inc_by(buried.len() as u64);
        Ok(placed)
    }

    fn cursor(&self) -> Option<String> {
        self.cursor.as_ref().and_then(Cursor::last)
    }

    async fn recent_ids(
        &self,
        since: i64,
        at_most: usize,
    ) -> Result<VecDeque<(String, i64)>, Fault> {
        let topics = [Arc::clone(&self.topic), Arc::clone(self.dead_letters.topic())];
        let (cluster, route) = (self.cluster.clone(), Arc::clone(&self.route));
        blocking(move || {
            let mut newest = BTreeSet::new();
            let from = ReadFrom::Time(since.saturating_sub(CLOCK_SKEW_MILLIS));
            for topic in topics {
                Reader::open(&cluster, &topic, from)?.read_to_end(|event| {
                    if let Some(found) = identity(&event, &route, since) {
                        newest.insert(found);
                        if newest.len() > at_most {
                            newest.pop_first();
                        }
                    }
                })?;
            }
            Ok(newest.into_iter().map(|(received, id)| (id, received)).collect())
        })
        .await
    }

    fn available(&self) -> Result<(), Fault> {
        self.producer.available()
    }

    fn ready(&self) {
        self.state.set(State::Running);
    }

    fn progress(&self, progress: Option<Progress>) {
        if let Some(progress) = &progress {
            self.metrics.progressed(progress);
        }
        self.state.set_progress(progress);
    }
}

/// When an event of this source was received, if it was since then, and its id.
fn identity(event: &Event, route: &str, since: i64) -> Option<(i64, String)> {
    let ours = event.headers.text(event::CE_SOURCE) == Some(route);
    let received = event.received();
    let id = event.headers.text(event::CE_ID)?;
    (ours && received >= since).then(|| (received, id.to_owned()))
}
