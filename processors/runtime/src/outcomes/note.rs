//! Noting what came of a route's events.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use prometheus::IntCounter;

use super::mask::{Hidden, key_text};
use super::writer::{Account, Writer};
use super::{Outcome, TOPIC, VERSION, What};
use crate::clock::unix_millis;
use crate::kafka::Record;
use crate::publisher::{Placed, Rejected};
use crate::replay::Tally;
use crate::{Draft, Event, Headers, Value, event};

/// An answer longer than this is cut.
const ANSWER_LIMIT: usize = 240;

/// Notes what came of one route's events. Cheap to clone.
#[derive(Clone)]
pub(crate) struct RouteOutcomes {
    route: Arc<str>,
    /// Nothing where the pipeline keeps no outcomes.
    account: Option<Arc<Account>>,
    /// Counts for a replay's summary.
    tally: Option<Arc<Tally>>,
}

/// The event that an outcome is of.
pub(crate) struct Subject<'a> {
    id: Cow<'a, str>,
    key: Option<&'a [u8]>,
    /// Its value, if somebody has read it.
    value: Option<&'a Value>,
    topic: &'a Arc<str>,
    place: Placed,
    received: i64,
    replay: Option<&'a str>,
}

impl<'a> From<&'a Event> for Subject<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            id: event.headers.text(event::CE_ID).map_or_else(|| event.id().into(), Cow::Borrowed),
            key: event.key.as_deref(),
            value: event.value.as_ref(),
            topic: &event.topic,
            place: Placed { partition: event.partition, offset: event.offset },
            received: event.received(),
            replay: event.headers.text(event::REPLAY),
        }
    }
}

impl<'a> Subject<'a> {
    /// An event that a source has written.
    pub fn published(draft: &'a Draft, topic: &'a Arc<str>, place: Placed) -> Self {
        Self {
            id: Cow::Borrowed(&draft.id),
            key: draft.key.as_deref().map(str::as_bytes),
            value: draft.value.as_ref(),
            topic,
            place,
            received: draft.received,
            replay: None,
        }
    }

    /// What a source could not publish, in its dead letters.
    pub fn rejected(rejected: &'a Rejected, topic: &'a Arc<str>, place: Placed) -> Self {
        Self {
            id: Cow::Borrowed(&rejected.id),
            key: None,
            value: None,
            topic,
            place,
            received: rejected.received,
            replay: None,
        }
    }

    /// The same event, whose value somebody has read elsewhere.
    pub fn with_value(self, value: Option<&'a Value>) -> Self {
        Self { value, ..self }
    }
}

impl RouteOutcomes {
    /// Those of a route, `pipeline/route`; `lost` counts what cannot be written.
    pub fn new(route: &Arc<str>, writer: Option<&Arc<Writer>>, lost: &IntCounter) -> Self {
        let account = writer.map(|writer| Arc::new(Account::new(Arc::clone(writer), lost.clone())));
        Self { route: Arc::clone(route), account, tally: None }
    }

    /// The same, counted for a replay.
    pub fn counting(self, tally: &Arc<Tally>) -> Self {
        Self { tally: Some(Arc::clone(tally)), ..self }
    }

    /// Whether an event's value has to be kept until its outcome is noted.
    pub fn reads_values(&self) -> bool {
        self.account.as_ref().is_some_and(|account| account.writer.mask.reads_values())
    }

    /// Notes what came of an event, begun at `started` (milliseconds since the Unix epoch). Returns
    /// at once.
    pub fn note<'a>(
        &self,
        subject: impl Into<Subject<'a>>,
        started: i64,
        attempts: u32,
        what: What,
    ) {
        if let Some(tally) = &self.tally {
            tally.count(&what);
        }
        let Some(account) = &self.account else { return };
        let subject = subject.into();
        let hidden = account.writer.mask.of(subject.value);
        let outcome = self.outcome(&subject, started, attempts, what, &hidden);
        let key = match subject.key {
            Some(key) => hidden.key(key),
            None => subject.id.into_owned(),
        };
        write(account, &key, &outcome);
        // Who asks for a new key finds the way back to the old one.
        if let What::Produced { keys, .. } = &outcome.what {
            for new in keys {
                let copy = Outcome { from_key: Some(key.clone()), ..outcome.clone() };
                write(account, new, &copy);
            }
        }
    }

    fn outcome(
        &self,
        subject: &Subject<'_>,
        started: i64,
        attempts: u32,
        mut what: What,
        hidden: &Hidden<'_>,
    ) -> Outcome {
        for text in what.texts() {
            hidden.hide(text);
            cut(text);
        }
        if let What::Produced { keys, .. } = &mut what {
            keys.iter_mut().for_each(|key| *key = hidden.key(key.as_bytes()));
        }
        Outcome {
            version: VERSION,
            route: Arc::clone(&self.route),
            id: subject.id.clone().into_owned(),
            topic: Arc::clone(subject.topic),
            partition: subject.place.partition,
            offset: subject.place.offset,
            received: subject.received,
            started,
            finished: unix_millis(),
            attempts,
            replay: subject.replay.map(str::to_owned),
            from_key: None,
            what,
        }
    }
}

/// The keys among those of what was made of an event that are not its own.
pub(crate) fn new_keys<'a>(
    own: Option<&[u8]>,
    keys: impl Iterator<Item = Option<&'a [u8]>>,
) -> Vec<String> {
    let mut new: Vec<String> = Vec::new();
    for key in keys.flatten().filter(|key| Some(*key) != own) {
        let text = key_text(key);
        if !new.contains(&text) {
            new.push(text);
        }
    }
    new
}

fn write(account: &Arc<Account>, key: &str, outcome: &Outcome) {
    let record = serde_json::to_vec(outcome).map(|json| Record {
        topic: Arc::clone(&account.writer.topic),
        partition: None,
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        payload: Some(Bytes::from(json)),
        headers: Headers::default(),
    });
    match record {
        Ok(record) => account.hand_in(record),
        Err(error) => tracing::error!(%error, TOPIC, "an outcome cannot be written as JSON"),
    }
}

/// Cuts a text at the limit, between two characters.
fn cut(text: &mut String) {
    if text.len() > ANSWER_LIMIT {
        let mut end = ANSWER_LIMIT;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
}
