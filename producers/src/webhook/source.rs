//! The running source: from a call to Kafka's acknowledgement.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use axum::extract::Request;
use axum::http::StatusCode;
use engine::publisher::Rejected;
use engine::{Domain, Draft, Fault, Publisher, Shutdown, Source};
use futures::future::join_all;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use super::answer::Answer;
use super::body::{self, Received, Room, Taken};
use super::call::{Call, Reader, Unread, kept_headers};
use super::finish::Finish;
use super::listener::{DRAIN, Handler, Listeners};
use super::signature::Refusal;
use super::thin::{Fetch, Repair};
use super::turns::{Reading, Turns};
use super::window::{Entry, First, Window};
use super::{OnInvalid, WindowOptions};

/// How long a caller waits for Kafka's acknowledgement; then it is told to call again. The event is
/// written all the same, and the next call with its id is told so.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How often an object is fetched for a call, if events of it are published meanwhile.
const READINGS: usize = 4;
/// How many of a call's objects are fetched at once.
const FETCHED_AT_ONCE: usize = 8;
/// How soon to look again whether the brokers are there, for those who wait.
const LOOK: Duration = Duration::from_millis(100);
/// How soon to look again whether all calls are answered.
const DRAIN_STEP: Duration = Duration::from_millis(10);

/// A webhook source before it runs.
pub struct WebhookSource {
    /// Where it listens.
    pub address: SocketAddr,
    /// On which path.
    pub path: String,
    /// The route's name, for logs.
    pub route: Arc<str>,
    /// The largest body, in bytes.
    pub body_limit: usize,
    /// How long ids are remembered.
    pub window: WindowOptions,
    /// What happens to a body that does not fit.
    pub on_invalid: OnInvalid,
    /// Reads calls.
    pub reader: Reader,
    /// Gets what calls name.
    pub fetch: Option<Fetch>,
    /// Finds what lost calls would have brought.
    pub repair: Option<Repair>,
    /// The listeners of this process.
    pub listeners: Arc<Listeners>,
}

/// What all calls share.
pub(super) struct Endpoint {
    route: Arc<str>,
    body_limit: usize,
    room: Room,
    on_invalid: OnInvalid,
    reader: Reader,
    fetch: Option<Fetch>,
    window: Window<Answer>,
    turns: Arc<Turns>,
    /// Whether the events of a key are published one after the other: see [`Turns`].
    takes_turns: bool,
    out: Publisher,
}

/// What a call puts into Kafka.
pub(super) enum Entrance {
    Event(Draft),
    Rejected(Rejected, Fault),
}

/// Why there is no object in the place of a call.
enum Unfetched {
    /// It is no longer there.
    Gone,
    /// The call is answered at once.
    Answered(Answer),
    /// The call names none.
    Invalid(Fault),
}

#[async_trait]
impl Source for WebhookSource {
    async fn run(self: Box<Self>, out: Publisher, stop: Shutdown) -> Result<(), Fault> {
        let window = Window::new(self.window.length.0, self.window.at_most);
        let length = i64::try_from(self.window.length.0.as_millis()).unwrap_or(i64::MAX);
        // Before the first 2xx, so that a repeat of what was acknowledged before a crash is known.
        for (id, at) in out.recent_ids(now().saturating_sub(length), self.window.at_most).await? {
            window.restore(&id, at);
        }
        let takes_turns = self.fetch.is_some() || self.repair.is_some();
        let endpoint = Arc::new(Endpoint {
            route: Arc::clone(&self.route),
            body_limit: self.body_limit,
            room: Room::new(self.body_limit),
            on_invalid: self.on_invalid,
            reader: self.reader,
            fetch: self.fetch,
            window,
            turns: Arc::default(),
            takes_turns,
            out: out.clone(),
        });
        let calls = Arc::downgrade(&endpoint);
        let beside = self.repair.as_ref().map(|repair| repair.run(Arc::clone(&endpoint), &stop));
        let handler: Handler =
            Arc::new(move |request| Box::pin(Arc::clone(&endpoint).answer(request)));
        let served = self.listeners.serve(self.address, &self.path, handler, || out.ready(), &stop);
        let repaired = async {
            if let Some(beside) = beside {
                beside.await;
            }
            std::future::pending::<()>().await;
        };
        let ended = tokio::select! {
            ended = served => ended,
            () = repaired => Ok(()),
        };
        // Whoever comes after this source rebuilds the window from the topic: what is under way has
        // to be there by then.
        let drained = async {
            while calls.strong_count() > 0 {
                sleep(DRAIN_STEP).await;
            }
        };
        if timeout(DRAIN, drained).await.is_err() {
            warn!(route = %self.route, "calls were still under way when the source stopped");
        }
        ended
    }

    async fn connect(&mut self) -> Result<String, Fault> {
        match &self.fetch {
            Some(fetch) => fetch.reach().await,
            None => Ok(format!("is called at {}{}", self.address, self.path)),
        }
    }
}

impl Endpoint {
    async fn answer(self: Arc<Self>, request: Request) -> Answer {
        let (parts, body) = request.into_parts();
        let received = body::receive(&parts.headers, body, self.body_limit, &self.room).await;
        let (body, taken) = match received {
            Ok((body, taken)) => (body, Arc::new(taken)),
            Err(answer) => return answer,
        };
        if self.reader.verifier.is_trial(&body.plain) {
            return Answer::heard();
        }
        let received = now();
        let signed = match self.reader.verify(&parts.headers, &body, received / 1_000) {
            Ok(signed) => signed,
            Err(Refusal(message)) => {
                warn!(route = %self.route, status = 401, reason = message, "a call was refused: its signature is not good");
                return Answer::error(StatusCode::UNAUTHORIZED, message);
            }
        };
        if let Some(text) = self.reader.challenge(&body) {
            return Answer::challenge(&text);
        }
        let call = Call { headers: &parts.headers, signed: &signed, received };
        let mut answer = self.take_call(&call, &body, &taken).await;
        for _ in 1..READINGS {
            if !answer.is_overtaken() {
                break;
            }
            answer = self.take_call(&call, &body, &taken).await;
        }
        answer
    }

    /// Puts what a verified call brings, or names, into Kafka.
    async fn take_call(
        self: &Arc<Self>,
        call: &Call<'_>,
        body: &Received,
        taken: &Arc<Taken>,
    ) -> Answer {
        let reading = self.fetch.is_some().then(|| Arc::new(self.read()));
        let entrances = match self.reader.bodies(body) {
            // (Most bring one: nothing has to be put in order.)
            Ok(mut bodies) if bodies.len() == 1 => {
                self.entrance(call, bodies.remove(0)).await.map(|entrance| vec![entrance])
            }
            Ok(bodies) => {
                let found = bodies.into_iter().map(|body| self.entrance(call, body));
                futures::stream::iter(found).buffered(FETCHED_AT_ONCE).try_collect::<Vec<_>>().await
            }
            Err(fault) => {
                let unread = Unread::of_whole(body, fault);
                self.unfit(call, body.clone(), unread).map(|entrance| vec![Some(entrance)])
            }
        };
        match entrances {
            Err(answer) => answer,
            Ok(all) if !all.is_empty() && all.iter().all(Option::is_none) => Answer::gone(),
            Ok(entrances) => {
                let entrances = entrances.into_iter().flatten();
                Arc::clone(self).take_all(entrances, Some(Arc::clone(taken)), reading).await
            }
        }
    }

    /// The application is asked now.
    pub(super) fn read(&self) -> Reading {
        self.turns.read()
    }

    /// What a body becomes; nothing if what it names is gone.
    async fn entrance(
        &self,
        call: &Call<'_>,
        mut body: Received,
    ) -> Result<Option<Entrance>, Answer> {
        let own = self.reader.platforms_id(&body);
        let read = match self.fetched(&mut body).await {
            Ok(()) => self.reader.read(call, &body, own),
            Err(Unfetched::Gone) => return Ok(None),
            Err(Unfetched::Answered(answer)) => return Err(answer),
            Err(Unfetched::Invalid(fault)) => Err(Unread::of_whole(&body, fault)),
        };
        match read {
            Ok(draft) => Ok(Some(Entrance::Event(draft))),
            Err(unread) => self.unfit(call, body, unread).map(Some),
        }
    }

    /// What becomes of a body that is signed and no event of the topic.
    fn unfit(&self, call: &Call<'_>, body: Received, unread: Unread) -> Result<Entrance, Answer> {
        let Unread { id, field, fault } = unread;
        if self.on_invalid == OnInvalid::Refuse {
            return Err(Answer::unfit(&field, &fault.message));
        }
        let headers = kept_headers(call.headers);
        let (body, received) = (Some(body.raw), call.received);
        let rejected = Rejected { id, key: None, body, headers, received };
        Ok(Entrance::Rejected(rejected, fault))
    }

    /// Puts the object that the call names in the body's place, where calls only name one.
    async fn fetched(&self, body: &mut Received) -> Result<(), Unfetched> {
        let Some(fetch) = &self.fetch else { return Ok(()) };
        match timeout(ANSWER_WITHIN, fetch.object(&body.plain)).await {
            Ok(Ok(Some(object))) => {
                *body = Received::of(object);
                Ok(())
            }
            Ok(Ok(None)) => Err(Unfetched::Gone),
            Ok(Err(fault)) if fault.domain == Domain::Data => Err(Unfetched::Invalid(fault)),
            failed => {
                let fault = failed.ok().and_then(Result::err).map(|fault| fault.to_string());
                warn!(route = %self.route, fault, "what a call names could not be fetched");
                let message = "What the call names could not be fetched now: send it again.";
                Err(Unfetched::Answered(Answer::unavailable(message)))
            }
        }
    }

    /// Whether events can be written now.
    pub(super) fn available(&self) -> Result<(), Fault> {
        self.out.available()
    }

    /// Puts it into Kafka once for its id, and answers once it is there; `reading` is that of the
    /// application, where it was asked.
    pub(super) async fn take(
        self: Arc<Self>,
        entrance: Entrance,
        reading: Option<Arc<Reading>>,
    ) -> Answer {
        self.take_all([entrance], None, reading).await
    }

    /// The same with all of a call, in order; it takes its room until all of it is written.
    async fn take_all(
        self: Arc<Self>,
        entrances: impl IntoIterator<Item = Entrance>,
        taken: Option<Arc<Taken>>,
        reading: Option<Arc<Reading>>,
    ) -> Answer {
        let (mut answers, mut waiting, mut firsts) = (Vec::new(), Vec::new(), Vec::new());
        for entrance in entrances {
            let id = entrance.id().to_owned();
            match self.window.enter(&id, now()) {
                Entry::Taken => {
                    debug!(route = %self.route, %id, "a repeated call: its event is in Kafka already");
                    answers.push(Answer::taken(&id, true));
                }
                Entry::Wait(one) => waiting.push(one.answer()),
                Entry::First(first) => {
                    firsts.push(Arc::clone(&self).publish(entrance, first, reading.clone()));
                }
            }
        }
        // A caller that hangs up, or is told to call again, must not part an event from its window.
        let published = Finish::of(async move {
            let answers = join_all(firsts).await;
            drop(taken);
            answers
        });
        let all = async {
            answers.extend(published.await);
            for answer in join_all(waiting).await {
                answers.push(answer?);
            }
            Some(Answer::of_all(answers))
        };
        match self.in_time(all).await {
            Some(Some(answer)) => answer,
            Some(None) => Answer::unavailable("The event could not be taken: send it again."),
            None => Answer::unavailable("The event is not stored yet: send it again."),
        }
    }

    /// Waits as long as a caller should: not once the brokers are known to be away.
    async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let (mut answer, started) = (pin!(answer), Instant::now());
        let mut away = self.out.available().is_err();
        loop {
            match timeout(LOOK, answer.as_mut()).await {
                Ok(answer) => return Some(answer),
                Err(_) if away || started.elapsed() >= ANSWER_WITHIN => return None,
                Err(_) => away = self.out.available().is_err(),
            }
        }
    }

    async fn publish(
        self: Arc<Self>,
        entrance: Entrance,
        first: First<Answer>,
        reading: Option<Arc<Reading>>,
    ) -> Answer {
        // (Calls that bring everything themselves, with no poll beside them, have no need for it.)
        let _turn = match entrance.key().filter(|_| self.takes_turns) {
            None => None,
            Some(key) => match self.turns.turn(key, reading.as_deref()).await {
                Some(turn) => Some(turn),
                None => {
                    first.failed(Answer::overtaken());
                    return Answer::overtaken();
                }
            },
        };
        self.write(entrance, first).await
    }

    async fn write(&self, entrance: Entrance, first: First<Answer>) -> Answer {
        let id = entrance.id().to_owned();
        let sent = match self.out.available() {
            Err(fault) => Err(fault),
            Ok(()) => match entrance {
                Entrance::Event(draft) => self.out.send(draft).await,
                Entrance::Rejected(rejected, fault) => {
                    warn!(route = %self.route, %id, %fault, "a signed call does not fit the schema: kept in the dead letters");
                    self.out.reject(rejected, &fault).await
                }
            },
        };
        match sent {
            Ok(_) => {
                let answer = Answer::taken(&id, false);
                first.acknowledged(answer.clone(), now());
                answer
            }
            Err(fault) => {
                warn!(route = %self.route, %id, %fault, "an event was not acknowledged by Kafka");
                let answer = match fault.domain {
                    // Kafka takes it neither now nor later: its record is too large for the topic.
                    Domain::Data => Answer::error(StatusCode::PAYLOAD_TOO_LARGE, fault.message),
                    _ => Answer::unavailable("The event could not be stored now: send it again."),
                };
                first.failed(answer.clone());
                answer
            }
        }
    }
}

impl Entrance {
    fn id(&self) -> &str {
        match self {
            Entrance::Event(draft) => &draft.id,
            Entrance::Rejected(rejected, _) => &rejected.id,
        }
    }

    fn key(&self) -> Option<&str> {
        match self {
            Entrance::Event(draft) => draft.key.as_deref(),
            Entrance::Rejected(..) => None,
        }
    }
}

/// Milliseconds since the Unix epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
