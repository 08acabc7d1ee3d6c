//! The clock: times come by themselves, one each second.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Timelike as _, Utc};
use serde_json::json;
use tests::producer::Producer;
use tests::record::Record as Written;
use tokio::task::block_in_place;

use crate::application::Application;
use crate::endtoend::topic::Record;

/// How long ago it was stopped, as its cursor says: so many times were missed.
const MISSED: usize = 200_000;

pub struct Clock {
    /// The last second that was told of.
    last: Option<DateTime<Utc>>,
}

fn second(time: DateTime<Utc>) -> DateTime<Utc> {
    time.with_nanosecond(0).unwrap()
}

fn name(due: DateTime<Utc>) -> String {
    format!("source@{}", due.to_rfc3339_opts(SecondsFormat::Secs, true))
}

impl Application for Clock {
    const NAME: &'static str = "schedule";
    const TOPIC: &'static str = "ticks";
    const SCHEMA: &'static str = schemas::events::TICK;
    const CHANGES_BY_ITSELF: bool = true;
    const SECRETS: [&'static str; 2] = ["secret-before", "secret-afterwards"];
    const WITHOUT_CREDENTIALS: Option<&'static str> =
        Some("it does not apply: a schedule reads the clock, and has no credentials");

    async fn start() -> Self {
        Self { last: None }
    }

    fn sections(&self) -> String {
        "sources:\n  source: { schedule: { cron: \"* * * * * *\", missed: all }, to: ticks }\n"
            .into()
    }

    /// The seconds since it was asked last; waits for one, the first time.
    async fn change(&mut self, _count: usize) -> Vec<String> {
        let last = *self.last.get_or_insert_with(|| second(Utc::now()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = second(Utc::now());
        self.last = Some(now);
        let seconds = 1..=(now - last).num_seconds();
        seconds.map(|seconds| name(last + TimeDelta::seconds(seconds))).collect()
    }

    fn name_of(event: &Record) -> String {
        event.header("ce_id").to_owned()
    }

    /// As if nothing had run for days: its cursor is set back.
    async fn floods(&mut self, kafka: &str) -> Vec<String> {
        let since = second(Utc::now()) - TimeDelta::seconds(MISSED as i64);
        let cursor = since.to_rfc3339_opts(SecondsFormat::Millis, true);
        let kept = json!({ "version": 1, "cursor": cursor }).to_string();
        let record = Written::of(kept).keyed("orders/source");
        block_in_place(|| Producer::new(kafka, &[]).write("passerelle.owners", 0, [&record]));
        (1..=MISSED as i64).map(|seconds| name(since + TimeDelta::seconds(seconds))).collect()
    }

    async fn lock(&mut self) {}

    fn expected_refusal(&self) -> Vec<String> {
        Vec::new()
    }
}
