//! Thin calls, which only name an object: it is fetched, and then published. And the poll beside them,
//! which finds what a lost call would have named.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use engine::connector::{Findings, Place, Setup};
use engine::expression::{Expression, Program, sentence};
use engine::options::Start;
use engine::publisher::{Outlet, Placed, Rejected};
use engine::{Draft, Event, Fault, Publisher, Retry, Shutdown, Source as _, Value};
use exchange::{Connection, Exchange};
use tokio::time::sleep;
use tracing::warn;

use super::source::{Endpoint, Entrance};
use super::turns::Reading;
use crate::poll::{
    self, Asking, Detail, Inputs, Mistake, OnAbsence, PollOptions, Request, expression,
};

/// The largest object that is read, in bytes.
const LARGEST: usize = 16 << 20;
/// How long the poll waits after a failure: for each one in a row, up to so many of them.
const WAIT: Duration = Duration::from_secs(5);
const MOST_WAITS: u32 = 60;

/// Fetches the objects that calls name.
pub struct Fetch {
    asking: Asking,
    request: Request,
    object: Option<Program>,
}

impl Fetch {
    /// What fetches as these options say. Opens no connection.
    ///
    /// # Errors
    /// A `Config` fault when the options or the connection cannot work.
    pub fn open(options: &Detail, setup: &Setup) -> Result<Self, Fault> {
        let mut mistakes = Vec::new();
        let compiled = Self::compile(options, "", &mut mistakes);
        let Some((request, object)) = compiled else {
            let all: Vec<_> = mistakes.into_iter().map(|mistake| mistake.diagnostic).collect();
            return Err(Fault::config("expression", sentence(&all)));
        };
        let connection: Connection = setup.connection()?;
        let exchange = Exchange::with(&connection, &[], setup)?;
        Ok(Self { asking: Asking { exchange, most: LARGEST }, request, object })
    }

    /// Looks for mistakes in the options, which stand at `section`.
    pub fn check(options: &Detail, section: &str, findings: &mut Findings) {
        let mut mistakes = Vec::new();
        Self::compile(options, section, &mut mistakes);
        let found = |Mistake { pointer, diagnostic }| diagnostic.finding(Place::Route, &pointer);
        findings.0.extend(mistakes.into_iter().map(found));
    }

    fn compile(
        options: &Detail,
        section: &str,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<(Request, Option<Program>)> {
        let inputs = Inputs::new();
        let request = Request::compile(&options.request, &inputs.answer, section, mistakes);
        let object = match &options.item {
            None => Some(None),
            Some(text) => {
                expression(text, &inputs.answer, &format!("{section}/item"), mistakes).map(Some)
            }
        };
        Some((request?, object?))
    }

    /// Connects to the application, and asks for nothing; tells what that proves.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn reach(&self) -> Result<String, Fault> {
        self.asking.exchange.reach().await
    }

    /// The object that a call names, in JSON; nothing if there is none any more.
    ///
    /// # Errors
    /// A `Data` fault: the call names none. Any other: the application did not give it.
    pub async fn object(&self, call: &[u8]) -> Result<Option<Bytes>, Fault> {
        let call = schemas::json::read_plain(call).map_err(|error| {
            Fault::data("invalid_body", format!("The call is no JSON: {error}."))
        })?;
        let object = self.find(&call).await?;
        Ok(object.map(|object| schemas::json::write(&object).into_bytes().into()))
    }

    /// The object that a value names; nothing if there is none.
    ///
    /// # Errors
    /// A `Data` fault: the value names none. Any other: the application did not give it.
    pub async fn find(&self, value: &Value) -> Result<Option<Value>, Fault> {
        let request = self.request.call(value, self.asking.most)?;
        let answer = match self.asking.ask(request).await {
            Ok((_, answer)) => answer,
            Err(fault) if matches!(fault.cause, "http_404" | "http_410") => return Ok(None),
            Err(fault) => return Err(fault),
        };
        Ok(Some(match &self.object {
            None => answer,
            Some(program) => program.run(&Event::of_value(Value::Null), &answer)?,
        }))
    }
}

/// The poll beside the calls.
pub struct Repair {
    options: PollOptions,
    key: Option<Expression>,
    setup: Setup,
    /// How long ids are remembered: so far back the first sweep looks.
    window: Duration,
}

impl Repair {
    /// The poll of these options. Opens nothing.
    ///
    /// # Errors
    /// A `Config` fault when the options or the connection cannot work.
    pub fn new(
        options: PollOptions,
        key: Option<Expression>,
        setup: &Setup,
        window: Duration,
    ) -> Result<Self, Fault> {
        let repair = Self { options, key, setup: setup.clone(), window };
        repair.open().map(|_| repair)
    }

    /// Looks for mistakes in the options.
    pub fn check(options: &PollOptions, findings: &mut Findings) {
        const SECTION: &str = "/webhook/repair";
        options.check(SECTION, findings);
        if options.event_id.is_none() {
            let cause = "`event_id` is missing: what a call has brought would be published again.";
            let hint = "Give the id that `id: { field: … }` gives for the same object.";
            findings.route(SECTION, "event_id_missing", cause, hint);
        }
        if options.on_absence != OnAbsence::Ignore {
            let cause = "A poll beside calls looks for what has changed, not for what is absent.";
            let pointer = format!("{SECTION}/on_absence");
            findings.route(&pointer, "absence_unseen", cause, "Leave it out.");
        }
    }

    fn open(&self) -> Result<poll::PollSource, Fault> {
        let back = chrono::TimeDelta::from_std(self.window).unwrap_or(chrono::TimeDelta::MAX);
        let start = chrono::Utc::now().checked_sub_signed(back).unwrap_or_default();
        let options = PollOptions { start: Start::At(start), ..self.options.clone() };
        poll::open(options, self.key.clone(), &self.setup)
    }

    /// Polls until the stop; a failure is told in the log, and tried again.
    pub(super) async fn run(&self, endpoint: Arc<Endpoint>, stop: &Shutdown) {
        let route = &*self.setup.route;
        let schema = self.setup.output_schema.clone();
        let beside = Arc::new(Beside { endpoint, reading: Mutex::default() });
        let outlet: Arc<Beside> = Arc::clone(&beside);
        let out = Publisher::new(outlet, schema);
        let mut failures = 0;
        while !stop.is_requested() {
            let ended = match self.open() {
                Ok(mut source) => {
                    let beside = Arc::clone(&beside);
                    source.before_each_page = Box::new(move || beside.asks());
                    Box::new(source).run(out.clone(), stop.clone()).await
                }
                Err(fault) => Err(fault),
            };
            let Err(fault) = ended else { continue };
            failures = (failures + 1).min(MOST_WAITS);
            let wait = match fault.retry {
                Retry::After(asked) => asked.max(WAIT),
                _ => WAIT * failures,
            };
            warn!(route, %fault, ?wait, "the poll beside the calls begins again");
            tokio::select! {
                () = sleep(wait) => {}
                () = stop.requested() => {}
            }
        }
    }
}

/// Puts what the poll finds where calls put theirs: an id that a call has brought is no second event.
struct Beside {
    endpoint: Arc<Endpoint>,
    /// That of the page whose items are published.
    reading: Mutex<Option<Arc<Reading>>>,
}

impl Beside {
    fn asks(&self) {
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Arc::new(self.endpoint.read()));
    }

    async fn take(&self, entrance: Entrance) -> Result<(), Fault> {
        let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = Arc::clone(&self.endpoint).take(entrance, reading).await;
        if answer.is_overtaken() {
            let message = "What was found may be older than what a call has brought meanwhile.";
            return Err(Fault::remote("overtaken", message));
        }
        match answer.status.is_success() {
            true => Ok(()),
            false => Err(Fault::remote("not_stored", "What was found is not stored yet.")),
        }
    }
}

#[async_trait]
impl Outlet for Beside {
    async fn send(&self, draft: Draft) -> Result<Placed, Fault> {
        self.take(Entrance::Event(draft)).await?;
        Ok(Placed { partition: 0, offset: 0 })
    }

    async fn reject(&self, rejected: Rejected, cause: &Fault) -> Result<Placed, Fault> {
        self.take(Entrance::Rejected(rejected, cause.clone())).await?;
        Ok(Placed { partition: 0, offset: 0 })
    }

    async fn recent_ids(
        &self,
        _since: i64,
        _at_most: usize,
    ) -> Result<std::collections::VecDeque<(String, i64)>, Fault> {
        Ok(std::collections::VecDeque::new())
    }

    /// The window is the cursor: it is rebuilt from the topic.
    async fn send_with_cursor(
        &self,
        drafts: Vec<Draft>,
        _cursor: String,
    ) -> Result<Vec<Placed>, Fault> {
        let mut placed = Vec::new();
        for draft in drafts {
            placed.push(self.send(draft).await?);
        }
        Ok(placed)
    }

    fn available(&self) -> Result<(), Fault> {
        self.endpoint.available()
    }

    fn ready(&self) {}
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn mistakes_in_what_is_fetched_and_polled_beside_are_found_with_their_place() {
        let fetch = json!({ "path": "/orders/{{ .code }", "item": ".a ==" });
        let repair = json!({
            "path": "/orders", "id": ".id", "query": { "page": "{{ .paeg }}" },
            "on_absence": "tombstone",
        });
        let mut findings = Findings::default();
        Fetch::check(&serde_json::from_value(fetch).unwrap(), "/webhook/fetch", &mut findings);
        Repair::check(&serde_json::from_value(repair).unwrap(), &mut findings);
        let mut found: Vec<_> = findings.0.iter().map(|one| one.pointer.as_str()).collect();
        found.sort_unstable();
        let expected = [
            "/webhook/fetch/item",
            "/webhook/fetch/path",
            "/webhook/repair",
            "/webhook/repair/on_absence",
            "/webhook/repair/query/page",
        ];
        assert_eq!(found, expected);
    }
}
