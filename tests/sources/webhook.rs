//! A shop that calls for each event, and again until it is told that it is taken.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::json;
use tokio::time::sleep;

use crate::application::{Application, HELD, body, names};
use crate::endtoend::folder::Folder;
use crate::endtoend::shop::{self, Answer, Call, now, signed_with};
use crate::endtoend::until;
use crate::world::World;

/// How many calls come while Kafka takes nothing, how many of them at once, and how large they are.
const CALLS: usize = 2_000;
const AT_ONCE: usize = 500;
const BYTES: usize = 200_000;
/// How many calls wait for the pipeline to start, and call again until they are taken.
const KEPT: usize = 200;
/// What the large ones are let in with: to sign so much takes its time without optimisations.
const TOKEN: &str = "token-of-the-large-calls";

pub struct Shop {
    calls: Arc<Calls>,
    changed: usize,
}

#[derive(Default)]
struct Calls {
    /// Who makes them, once it knows where they go.
    shop: Mutex<Option<Arc<shop::Shop>>>,
    secret: Mutex<&'static str>,
    /// What was not taken yet, with the last answer.
    open: Mutex<BTreeMap<String, Option<Answer>>>,
}

impl Calls {
    async fn call(&self, name: &str) -> Option<Answer> {
        let (shop, secret) = (self.shop.lock().unwrap().clone(), *self.secret.lock().unwrap());
        let event = json!({ "id": name, "body": "" }).to_string();
        shop?.try_send(signed_with(secret, now(), name, event)).await
    }

    /// Calls until it is taken.
    async fn until_taken(&self, name: String) {
        while !self.is_taken(&name, self.call(&name).await) {
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn is_taken(&self, name: &str, answer: Option<Answer>) -> bool {
        let mut open = self.open.lock().unwrap();
        let taken = answer.as_ref().is_some_and(|answer| answer.status == 200);
        match answer {
            Some(_) if taken => drop(open.remove(name)),
            Some(answer) => drop(open.insert(name.to_owned(), Some(answer))),
            None => {}
        }
        taken
    }
}

impl Shop {
    fn begin(&self, names: &[String]) {
        for name in names {
            self.calls.open.lock().unwrap().insert(name.clone(), None);
            let (calls, name) = (Arc::clone(&self.calls), name.clone());
            tokio::spawn(async move { calls.until_taken(name).await });
        }
    }
}

impl Application for Shop {
    const NAME: &'static str = "webhook";
    const ONCE: bool = false;
    /// 8 MiB of calls, held several times as large, and what is read ahead of as many connections.
    const GROWTH: u64 = 160;
    const SECRETS: [&'static str; 2] =
        ["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"];

    async fn start() -> Self {
        let calls = Calls { secret: Mutex::new(Self::SECRETS[0]), ..Calls::default() };
        Self { calls: Arc::new(calls), changed: 0 }
    }

    fn sections(&self) -> String {
        let sources = r#"
sources:
  source:
    webhook: { path: /shop, signature: { standard_webhooks: "${file:application.secret}" } }
    to: events
    key: .id
  large:
    webhook: { path: /large, signature: { bearer: TOKEN }, id: { field: .id } }
    to: events
    key: .id
"#;
        sources.replace("TOKEN", TOKEN)
    }

    fn meets(&mut self, folder: &Folder) {
        let shop = Arc::new(folder.shop());
        let mut known = self.calls.shop.lock().unwrap();
        // A new client takes its time.
        if known.as_ref().is_none_or(|known| known.url != shop.url) {
            *known = Some(shop);
        }
    }

    async fn change(&mut self, count: usize) -> Vec<String> {
        let names = names(self.changed..self.changed + count);
        self.changed += count;
        self.begin(&names);
        names
    }

    async fn repeats(&mut self) {
        self.begin(&names(0..self.changed));
    }

    async fn is_told(&self) {
        until("every call is taken", async || {
            self.calls.open.lock().unwrap().is_empty().then_some(())
        })
        .await;
    }

    async fn floods(&mut self, _kafka: &str) -> Vec<String> {
        self.change(KEPT).await
    }

    /// Others call once each: 503, with the time after which to call again.
    async fn goes_on(&mut self) {
        let url = self.calls.shop.lock().unwrap().as_ref().unwrap().url.replace("/shop", "/large");
        let (shop, body) = (shop::Shop::new(&url), body(0, BYTES));
        let call = |number: usize, body: &str| {
            let event = format!(r#"{{"id":"large-{number}","body":"{body}"}}"#).into_bytes();
            let call = Call { headers: Vec::new(), body: event };
            call.with("authorization", &format!("Bearer {TOKEN}"))
        };
        until("the second source listens", async || {
            let answer = shop.try_send(call(CALLS, "")).await?;
            (answer.status == 503).then_some(())
        })
        .await;
        let calls = futures::stream::iter(0..CALLS).map(|number| shop.send(call(number, &body)));
        let calls = calls.buffer_unordered(AT_ONCE);
        let (answers, ()) = futures::join!(calls.collect::<Vec<_>>(), sleep(HELD));
        for answer in answers {
            assert_eq!(answer.status, 503, "{answer:?}");
            let wait: u64 = answer.retry_after.as_deref().expect("Retry-After").parse().unwrap();
            assert!(wait > 0, "{answer:?}");
        }
    }

    async fn lock(&mut self) {
        *self.calls.secret.lock().unwrap() = Self::SECRETS[1];
    }

    /// The route does not wait: others may call with another secret. The caller is told, and the log.
    async fn refusal(world: &World<Self>) -> Option<String> {
        let open = world.application.calls.open.lock().unwrap();
        let answer = open.values().flatten().find(|answer| answer.status == 401)?;
        let logs = world.logs();
        let line = logs.lines().find(|line| line.contains("a call was refused"))?;
        Some(format!("{} {}\n{line}", answer.status, answer.body))
    }

    fn expected_refusal(&self) -> Vec<String> {
        let said = "The signature does not match the body. Sign the very bytes that are sent, with \
                    the secret of this source.";
        // To the caller, and in the log.
        let (answer, logged) =
            (format!("401 {{\"error\":\"{said}\"}}"), format!("reason=\"{said}\""));
        vec![answer, "route=orders/source".to_owned(), "status=401".to_owned(), logged]
    }
}
