//! The running source: from a call to Kafka's acknowledgement.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use axum::extract::Request;
use axum::http::StatusCode;
use engine::publisher::Rejected;
use engine::{Domain, Draft, Fault, Publisher, Shutdown, Source};
use tracing::{debug, warn};

use super::answer::Answer;
use super::body::{self, Received};
use super::call::{Reader, Unread, kept_headers};
use super::listener::{Handler, Listeners};
use super::window::{Entry, First, Window};
use super::{OnInvalid, WindowOptions};

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
    /// The listeners of this process.
    pub listeners: Arc<Listeners>,
}

/// What all calls share.
struct Endpoint {
    route: Arc<str>,
    body_limit: usize,
    on_invalid: OnInvalid,
    reader: Reader,
    window: Window<Answer>,
    out: Publisher,
}

/// What a call puts into Kafka.
enum Entrance {
    Event(Draft),
    Rejected(Rejected, Fault),
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
        let endpoint = Arc::new(Endpoint {
            route: self.route,
            body_limit: self.body_limit,
            on_invalid: self.on_invalid,
            reader: self.reader,
            window,
            out: out.clone(),
        });
        let handler: Handler =
            Arc::new(move |request| Box::pin(Arc::clone(&endpoint).answer(request)));
        self.listeners.serve(self.address, &self.path, handler, || out.ready(), &stop).await
    }
}

impl Endpoint {
    async fn answer(self: Arc<Self>, request: Request) -> Answer {
        let (parts, body) = request.into_parts();
        let body = match body::receive(&parts.headers, body, self.body_limit).await {
            Ok(body) => body,
            Err(answer) => return answer,
        };
        let received = now();
        match self.reader.read(&parts.headers, &body, received) {
            Ok(draft) => self.take(Entrance::Event(draft)).await,
            Err(Unread::Refused(answer)) => {
                warn!(route = %self.route, status = answer.status.as_u16(), "a call was refused: its signature is not good");
                answer
            }
            Err(Unread::Invalid { field, fault, .. }) if self.on_invalid == OnInvalid::Refuse => {
                Answer::unfit(&field, &fault.message)
            }
            Err(Unread::Invalid { id, fault, .. }) => {
                let Received { raw, .. } = body;
                let headers = kept_headers(&parts.headers).into_iter().collect();
                self.take(Entrance::Rejected(Rejected { id, body: raw, headers, received }, fault))
                    .await
            }
        }
    }

    /// Puts it into Kafka once for its id, and answers once it is there.
    async fn take(self: Arc<Self>, entrance: Entrance) -> Answer {
        let id = entrance.id().to_owned();
        match self.window.enter(&id, now()) {
            Entry::Taken => {
                debug!(route = %self.route, %id, "a repeated call: its event is in Kafka already");
                Answer::taken(&id, true)
            }
            Entry::Wait(waiting) => match waiting.answer().await {
                Some(answer) => answer,
                None => Answer::unavailable(
                    "The first call with this id went away: send this one again.",
                ),
            },
            // A task of its own: a caller that hangs up must not part the event from its window.
            Entry::First(first) => match tokio::spawn(self.publish(entrance, first)).await {
                Ok(answer) => answer,
                Err(_) => Answer::unavailable("The event could not be taken: send it again."),
            },
        }
    }

    async fn publish(self: Arc<Self>, entrance: Entrance, first: First<Answer>) -> Answer {
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
}

/// Milliseconds since the Unix epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
