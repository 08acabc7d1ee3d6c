//! The running source: sweep after sweep.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::clock::unix_millis;
use engine::expression::Program;
use engine::options::Start;
use engine::{Domain, Draft, Fault, Publisher, Shutdown, Source, Value};
use exchange::{Answer, Call, Exchange};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use schemas::Schema;
use tokio::time::{Instant, sleep_until};

use super::OnAbsence;
use super::cursor::Cursor;
use super::item::{Item, Mark, Reading};
use super::pages::{Page, Paging, Position};
use super::request::Request;
use crate::cursor::Versioned as _;

/// How many details are asked for at once.
const DETAILS_AT_ONCE: usize = 4;

/// Asks an application, and reads its answers as JSON.
pub(crate) struct Asking {
    pub exchange: Exchange,
    /// How many bytes of an answer are read.
    pub most: usize,
}

/// A poll source before it runs.
pub(crate) struct PollSource {
    pub(super) route: Arc<str>,
    pub(super) asking: Asking,
    pub(super) request: Request,
    pub(super) detail: Option<Request>,
    pub(super) paging: Paging,
    pub(super) reading: Reading,
    pub(super) key: Option<Program>,
    pub(super) schema: Schema,
    pub(super) every: Duration,
    pub(super) start: Start,
    pub(super) overlap: Duration,
    pub(super) remember: usize,
    /// Whether items tell when they have changed.
    pub(super) incremental: bool,
    pub(super) on_absence: OnAbsence,
    /// Called before the application is asked for a page.
    pub before_each_page: Box<dyn Fn() + Send + Sync>,
}

/// A page that was got: its items, and where the next one is.
struct Got {
    items: Vec<Item>,
    next: Option<Position>,
    asked: String,
}

impl Asking {
    /// Sends a request, and reads its answer as JSON.
    ///
    /// # Errors
    /// No answer came, or it is not one of success, or not JSON.
    pub async fn ask(&self, call: Call) -> Result<(Answer, Value), Fault> {
        let answer = self.exchange.send(call).await?;
        self.exchange.verdict(&answer)?;
        if let Some(cut) = &answer.cut {
            return Err(match cut.cause {
                "answer_too_large" => Fault::refused(
                    cut.cause,
                    format!("{} Ask for smaller pages, or raise `largest_answer`.", cut.message),
                ),
                _ => cut.clone(),
            });
        }
        let body = schemas::json::read_plain(&answer.body).map_err(|error| {
            let said = self.exchange.said(&answer);
            let message = format!("{said}, which is not JSON ({error}); check the `path`.");
            Fault::refused("not_json", message)
        })?;
        Ok((answer, body))
    }
}

#[async_trait]
impl Source for PollSource {
    async fn run(self: Box<Self>, out: Publisher, stop: Shutdown) -> Result<(), Fault> {
        let mut run = Run::new(*self, out, stop)?;
        while !run.stop.is_requested() {
            let next = Instant::now() + run.source.every;
            let again = run.sweep().await?;
            if !again {
                tokio::select! {
                    () = sleep_until(next) => {}
                    () = run.stop.requested() => {}
                }
            }
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<String, Fault> {
        let page = self.page(&Position::First, self.first_time());
        let Got { items, asked, .. } = page.await.map_err(|fault| self.refused(fault))?;
        let count = items.len();
        let mut faults = Vec::new();
        for item in items {
            let Some(item) = self.detailed(item).await? else { continue };
            match self.reading.draft(&item, self.key.as_ref(), &self.schema, unix_millis()) {
                // One that makes an event shows that the list is what it was taken for.
                Ok(_) => {
                    let told = format!("{asked} lists {count} items on its first page");
                    return Ok(format!("{told}, which make events of the topic's schema"));
                }
                Err(fault) => faults.push(fault),
            }
        }
        match faults.into_iter().next() {
            None => Ok(format!("{asked} lists nothing on its first page")),
            Some(fault) => {
                let message =
                    format!("None of the items of {asked} makes an event: {}", fault.message);
                Err(Fault::refused(fault.cause, message))
            }
        }
    }
}

impl PollSource {
    /// Where the first sweep begins, microseconds since the Unix epoch.
    fn first_time(&self) -> i64 {
        match self.start {
            Start::Beginning => 0,
            Start::Now => unix_millis().saturating_mul(1_000),
            Start::At(time) => time.timestamp_micros(),
        }
    }

    fn first_cursor(&self, out: &Publisher) -> Result<Cursor, Fault> {
        match out.cursor() {
            Some(text) => Cursor::read(&text),
            None => Ok(Cursor::new(self.first_time())),
        }
    }

    fn overlap(&self) -> i64 {
        i64::try_from(self.overlap.as_micros()).unwrap_or(i64::MAX)
    }

    /// Asks for a page.
    async fn page(&self, position: &Position, since: i64) -> Result<Got, Fault> {
        let mut call =
            self.request.call(&self.paging.variables(position, since), self.asking.most)?;
        if let Position::Path(path) = position {
            call.path.clone_from(path);
        }
        let path = call.path.clone();
        (self.before_each_page)();
        let (answer, body) = self.asking.ask(call).await?;
        let wrong = |fault: Fault| {
            let said = self.asking.exchange.said(&answer);
            Fault::refused(fault.cause, format!("{said}. {}", fault.message))
        };
        if let Some(failure) = self.reading.failure(&body).map_err(wrong)? {
            let shown = self.asking.exchange.shown(failure.as_bytes());
            let message = format!("{} was answered with a failure: {shown}.", answer.asked);
            return Err(Fault::refused("application_failure", message));
        }
        let items = self.reading.items(&body).map_err(wrong)?;
        let sound = items.iter().rev().find(|item| item.fault.is_none());
        let last = sound.map(|item| item.mark.clone());
        let page = Page { path: &path, answer: &answer, body: &body, count: items.len(), last };
        let next = self.paging.next(position, &page, &self.asking.exchange)?;
        Ok(Got { items, next, asked: answer.asked })
    }

    /// The item in detail; nothing if it has gone meanwhile.
    async fn detailed(&self, mut item: Item) -> Result<Option<Item>, Fault> {
        let Some(request) = self.detail.as_ref().filter(|_| item.fault.is_none()) else {
            return Ok(Some(item));
        };
        let shown = async {
            let (_, body) = self.asking.ask(request.call(&item.value, self.asking.most)?).await?;
            self.reading.detail(body)
        };
        match shown.await {
            Ok(value) => item.value = value,
            Err(fault) if matches!(fault.cause, "http_404" | "http_410") => return Ok(None),
            Err(fault) if fault.domain == Domain::Data => item.fault = Some(fault),
            Err(fault) => return Err(fault),
        }
        Ok(Some(item))
    }

    /// A 4xx to a request for a page is not an event's fault: the source waits, and tries again.
    fn refused(&self, fault: Fault) -> Fault {
        match fault.domain {
            Domain::Data => {
                let advice = "Check what `poll` asks for.";
                Fault::refused(fault.cause, format!("{} {advice}", fault.message))
            }
            _ => fault,
        }
    }
}

/// A source that runs.
pub(super) struct Run {
    source: PollSource,
    out: Publisher,
    stop: Shutdown,
    cursor: Cursor,
    /// The cursor that lies in Kafka.
    written: Option<String>,
}

impl Run {
    /// A source that goes on where its cursor is.
    ///
    /// # Errors
    /// A `Config` fault: the cursor is not its own.
    pub fn new(source: PollSource, out: Publisher, stop: Shutdown) -> Result<Self, Fault> {
        let mut cursor = source.first_cursor(&out)?;
        // A list without times is swept from its first page: nothing tells where it went on.
        if !source.incremental {
            cursor.sweep = None;
        }
        Ok(Self { cursor, written: out.cursor(), out, stop, source })
    }

    /// Asks for all pages of what has changed, and publishes it. True if another sweep has to follow
    /// at once.
    pub async fn sweep(&mut self) -> Result<bool, Fault> {
        let (overlap, drifts) = (self.source.overlap(), self.source.paging.drifts());
        let mut present = BTreeSet::new();
        let mut restarted = false;
        loop {
            let sweep = self.cursor.begin(overlap, drifts);
            let (position, since) = (sweep.position.clone(), sweep.since);
            let got = tokio::select! {
                got = self.source.page(&position, since) => got,
                () = self.stop.requested() => return Ok(false),
            };
            let got = match got {
                // A token or a link to a page does not hold for ever.
                Err(fault) if is_outdated(&fault, &position) && !restarted => {
                    tracing::info!(route = &*self.source.route, %fault, "begins again with the first page");
                    restarted = true;
                    self.cursor.begin(overlap, drifts).restart();
                    continue;
                }
                got => got.map_err(|fault| self.source.refused(fault))?,
            };
            self.out.ready();
            if !self.source.incremental {
                present.extend(got.items.iter().map(|item| item.mark.1.clone()));
            }
            if let Some(again) = self.take(got).await? {
                if self.source.on_absence == OnAbsence::Tombstone {
                    self.bury(&present).await?;
                }
                return Ok(again);
            }
        }
    }

    /// Publishes what is new on a page, with the place of the next one or, on the last page, with the
    /// end of the sweep: then it tells whether another one has to follow at once.
    async fn take(&mut self, got: Got) -> Result<Option<bool>, Fault> {
        let (overlap, drifts) = (self.source.overlap(), self.source.paging.drifts());
        let Got { items, next, asked } = got;
        let number = self.cursor.begin(overlap, drifts).pages + 1;
        if !items.is_empty() && !self.cursor.begin(overlap, drifts).visit(&items) {
            return Err(loops(&asked, number, "holds the same items as an earlier page"));
        }
        let drafts = self.publishable(items).await?;
        let sweep = self.cursor.begin(overlap, drifts);
        sweep.pages = number;
        sweep.found += drafts.len() as u64;
        let ended = match next {
            None => Some(self.cursor.end(drifts)),
            Some(next) if sweep.move_to(&next) => None,
            Some(_) => return Err(loops(&asked, number, "leads back to an earlier page")),
        };
        if self.source.incremental {
            self.cursor.shrink(self.source.remember, overlap, drifts);
        } else if self.cursor.seen.len() > self.source.remember {
            let most = self.source.remember;
            let message = format!(
                "The list has more than {most} items. Give `changed`, so that only changes are asked \
                 for, or raise `remember`."
            );
            return Err(Fault::config("too_many_items", message));
        }
        if ended.is_some() || !drafts.is_empty() {
            self.write(drafts).await?;
        }
        Ok(ended)
    }

    /// The events of the items that were not published before; what makes none goes to the dead
    /// letters.
    async fn publishable(&mut self, items: Vec<Item>) -> Result<Vec<Draft>, Fault> {
        let (source, cursor) = (&self.source, &mut self.cursor);
        let now = unix_millis().saturating_mul(1_000);
        let items = items.into_iter();
        let new: Vec<Item> =
            items.filter(|item| cursor.take(item, source.incremental, now)).collect();
        let details = stream::iter(new).map(|item| source.detailed(item)).buffered(DETAILS_AT_ONCE);
        let new: Vec<Option<Item>> = details.try_collect().await?;
        let received = unix_millis();
        let mut drafts = Vec::new();
        for item in new.into_iter().flatten() {
            match source.reading.draft(&item, source.key.as_ref(), &source.schema, received) {
                Ok(draft) => drafts.push(draft),
                Err(fault) => {
                    let (route, id) = (&*source.route, &*item.mark.1);
                    tracing::warn!(route, id, %fault, "an item is kept in the dead letters");
                    self.out.reject(Reading::rejected(&item, received), &fault).await?;
                }
            }
        }
        Ok(drafts)
    }

    /// Publishes a tombstone for each item that this sweep and the last one lacked.
    async fn bury(&mut self, present: &BTreeSet<String>) -> Result<(), Fault> {
        let absent = self.cursor.seen.marks().filter(|mark| !present.contains(&mark.1));
        let absent: Vec<Mark> = absent.cloned().collect();
        let twice = |mark: &&Mark| self.cursor.absent.contains(&mark.1);
        let gone: Vec<Mark> = absent.iter().filter(twice).cloned().collect();
        let received = unix_millis();
        let tombstone = |Mark(_, id): &Mark| Draft {
            id: format!("{id}@absent.{received}"),
            kind: None,
            time: None,
            traceparent: None,
            received,
            key: Some(id.clone()),
            value: None,
        };
        let drafts = gone.iter().map(tombstone).collect();
        for mark in &gone {
            self.cursor.seen.remove(mark);
        }
        let once = absent.into_iter().filter(|mark| !gone.contains(mark));
        self.cursor.absent = once.map(|Mark(_, id)| id).collect();
        self.write(drafts).await
    }

    /// Writes events with the cursor behind them; nothing if neither is new.
    async fn write(&mut self, drafts: Vec<Draft>) -> Result<(), Fault> {
        let text = self.cursor.text()?;
        if drafts.is_empty() && self.written.as_ref() == Some(&text) {
            return Ok(());
        }
        self.out.send_with_cursor(drafts, text.clone()).await?;
        self.written = Some(text);
        Ok(())
    }
}

/// Whether a request for a page that is not the first was refused for itself.
fn is_outdated(fault: &Fault, position: &Position) -> bool {
    let refused = fault.domain == Domain::Data || fault.cause == "http_410";
    refused && matches!(position, Position::Cursor(_) | Position::Path(_))
}

fn loops(asked: &str, number: u64, what: &str) -> Fault {
    let message = format!(
        "Page {number} of {asked} {what}: the pages would never end. Check `pages`: does the request \
         use what it gives, and does the application sort as it has to? A page of items that all have \
         the same time has to be larger."
    );
    Fault::refused("page_loop", message)
}
