//! The source `schedule`: an event when a time comes, for what is done at night.

mod cron;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDateTime, SecondsFormat, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use engine::clock::unix_millis;
use engine::connector::{Findings, Setup, SourceConnector};
use engine::expression::{Expression, Program, sentence};
use engine::{Draft, Event, Fault, Publisher, Shutdown, Source, Value};
use schemars::JsonSchema;
use schemas::Schema;
use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;

use crate::cursor::unreadable;
use cron::Cron;

/// How soon to look at the clock again: it may be set meanwhile, and the machine may sleep.
const LOOK: Duration = Duration::from_secs(20);
/// How many missed ticks go into one transaction.
const AT_ONCE: usize = 100;

/// An event when a time comes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct ScheduleOptions {
    /// When, as crontab(5) writes it: minute, hour, day of the month, month, day of the week (0 and 7
    /// are Sunday), for example `0 2 * * MON-FRI`; with six parts, seconds come first. A local time
    /// that a change of the clock leaves out comes right after it; one that it repeats comes once.
    pub cron: String,
    /// The time zone of those times, by its name in IANA's list, such as `Europe/Paris`.
    #[serde(default = "ScheduleOptions::default_zone")]
    pub time_zone: String,
    /// What becomes of times that came while nothing ran.
    #[serde(default)]
    pub missed: Missed,
}

/// What becomes of times that came while nothing ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// The last of them is caught up.
    #[default]
    Last,
    /// All of them are caught up, in order.
    All,
    /// Nothing: one that is more than a minute late is left out.
    Skip,
}

impl ScheduleOptions {
    fn default_zone() -> String {
        "UTC".to_owned()
    }

    fn times(&self) -> Result<Times, (&'static str, String, &'static str)> {
        let cron = Cron::read(&self.cron).map_err(|error| {
            let cause = format!("`{}` is no time of cron: {error}.", self.cron);
            ("cron", cause, "Write five parts, such as `0 2 * * *`: every night at two.")
        })?;
        let zone: Tz = self.time_zone.parse().map_err(|_| {
            let cause = format!("`{}` is no time zone.", self.time_zone);
            ("time_zone", cause, "Write its name in IANA's list, such as `Europe/Paris` or `UTC`.")
        })?;
        let times = Times { cron, zone };
        match times.after(Utc::now()) {
            Some(_) => Ok(times),
            None => {
                let cause = format!("The times of `{}` never come.", self.cron);
                Err(("cron", cause, "Look at the day and the month."))
            }
        }
    }
}

/// The times of a schedule.
#[derive(Debug, Clone)]
struct Times {
    cron: Cron,
    zone: Tz,
}

impl Times {
    /// The first one after this moment.
    fn after(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut local = moment.with_timezone(&self.zone).naive_local();
        loop {
            local = self.cron.after(local)?;
            // A local time that comes twice counts at its first coming, which may have been before.
            if let Some(time) = self.moment(local).filter(|time| *time > moment) {
                return Some(time);
            }
        }
    }

    /// When a local time comes; right after the gap, if a change of the clock leaves it out.
    fn moment(&self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        let mut later = (0..=180).map(|minutes| local + TimeDelta::minutes(minutes));
        let found = later.find_map(|local| self.zone.from_local_datetime(&local).earliest());
        found.map(|time| time.with_timezone(&Utc))
    }

    /// The last one after `begin` and not after `end`.
    fn last(&self, begin: DateTime<Utc>, end: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut window = TimeDelta::hours(1);
        loop {
            let from = (end - window).max(begin);
            let within = |from| self.after(from).filter(|time| *time <= end);
            if let Some(first) = within(from) {
                return std::iter::successors(Some(first), |time| within(*time)).last();
            }
            if from <= begin {
                return None;
            }
            window = window * 2;
        }
    }

    /// Those to publish at `now` when `begin` was the last one looked at, the oldest first, at most
    /// [`AT_ONCE`].
    fn due(&self, missed: Missed, begin: DateTime<Utc>, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let begin = match missed {
            Missed::Skip => begin.max(now - TimeDelta::minutes(1)),
            Missed::Last | Missed::All => begin,
        };
        match missed {
            Missed::Last => self.last(begin, now).into_iter().collect(),
            Missed::All | Missed::Skip => {
                let within = |from| self.after(from).filter(|time| *time <= now);
                let all = std::iter::successors(within(begin), |time| within(*time));
                all.take(AT_ONCE).collect()
            }
        }
    }
}

/// The connector.
pub struct Schedule;

impl SourceConnector for Schedule {
    const NAME: &'static str = "schedule";
    const SUMMARY: &'static str = "An event when a time comes, such as every night at two.";
    const EXAMPLE: &'static str =
        include_str!("../../../docs/examples/nightly-closing/pipeline.yaml");
    const ONCE: bool = true;
    type Options = ScheduleOptions;

    fn check(options: &ScheduleOptions, findings: &mut Findings) {
        if let Err((option, cause, hint)) = options.times() {
            findings.route(&format!("/schedule/{option}"), option, cause, hint);
        }
    }

    fn build(
        options: ScheduleOptions,
        key: Option<Expression>,
        setup: &Setup,
    ) -> Result<Box<dyn Source>, Fault> {
        let Some(schema) = setup.output_schema.clone() else {
            let message =
                format!("The topic of {} declares no schema: add `schema:` to it.", setup.route);
            return Err(Fault::config("schema", message));
        };
        let times = options.times().map_err(|(option, cause, _)| Fault::config(option, cause))?;
        let key = key.map(|key| key.compile(&schema)).transpose();
        let key = key.map_err(|all| Fault::config("expression", sentence(&all)))?;
        let (route, missed) = (Arc::clone(&setup.route), options.missed);
        Ok(Box::new(ScheduleSource { route, times, missed, schema, key }))
    }
}

struct ScheduleSource {
    route: Arc<str>,
    times: Times,
    missed: Missed,
    schema: Schema,
    key: Option<Program>,
}

#[async_trait]
impl Source for ScheduleSource {
    async fn run(self: Box<Self>, out: Publisher, stop: Shutdown) -> Result<(), Fault> {
        let mut last = match out.cursor() {
            Some(text) => read_cursor(&text)?,
            // Nothing was missed before the first start.
            None => {
                let now = Utc::now();
                out.send_with_cursor(Vec::new(), cursor(now)).await?;
                now
            }
        };
        out.ready();
        while !stop.is_requested() {
            let now = Utc::now();
            let due = self.times.due(self.missed, last, now);
            if let Some(newest) = due.last().copied() {
                let drafts = due.iter().map(|time| self.draft(*time)).collect::<Result<_, _>>()?;
                out.send_with_cursor(drafts, cursor(newest)).await?;
                last = newest;
                continue;
            }
            let next = self.times.after(now).and_then(|next| (next - now).to_std().ok());
            tokio::select! {
                () = sleep(next.unwrap_or(LOOK).min(LOOK)) => {}
                () = stop.requested() => {}
            }
        }
        Ok(())
    }
}

impl ScheduleSource {
    fn draft(&self, due: DateTime<Utc>) -> Result<Draft, Fault> {
        let schedule = self.route.rsplit('/').next().unwrap_or(&self.route);
        let text = due.to_rfc3339_opts(SecondsFormat::Secs, true);
        let json = json!({ "schedule": schedule, "due": text }).to_string();
        let read = schemas::json::read(&self.schema, json.as_bytes()).map_err(|error| {
            let message = format!(
                "The topic's schema does not fit a tick, {json}: {error}. Give it the fields \
                 `schedule` (string) and `due` (timestamp), and defaults to all others."
            );
            Fault::config("schema", message)
        })?;
        let key = match &self.key {
            None => schedule.to_owned(),
            Some(program) => {
                let given = program.run(&Event::of_value(Value::Null), &read.value)?;
                given.to_string_lossy().into_owned()
            }
        };
        Ok(Draft {
            id: format!("{schedule}@{text}"),
            kind: Some("schedule.tick".to_owned()),
            time: Some(due.timestamp_millis()),
            traceparent: None,
            received: unix_millis(),
            key: Some(key),
            value: Some(read.value),
        })
    }
}

fn cursor(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn read_cursor(text: &str) -> Result<DateTime<Utc>, Fault> {
    let read = DateTime::parse_from_rfc3339(text).map(|time| time.with_timezone(&Utc));
    read.map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(cron: &str, zone: &str) -> Times {
        let options = json!({ "cron": cron, "time_zone": zone });
        serde_json::from_value::<ScheduleOptions>(options).unwrap().times().unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc)
    }

    #[test]
    fn what_was_missed_is_caught_up_as_declared() {
        let times = times("0 2 * * *", "UTC");
        let (stopped, now) = (at("2026-03-01T12:00:00Z"), at("2026-03-04T09:00:00Z"));
        let nights =
            ["2026-03-02T02:00:00Z", "2026-03-03T02:00:00Z", "2026-03-04T02:00:00Z"].map(at);
        assert_eq!(times.due(Missed::All, stopped, now), nights);
        assert_eq!(times.due(Missed::Last, stopped, now), nights[2..]);
        assert!(times.due(Missed::Skip, stopped, now).is_empty());
        let due = times.due(Missed::Skip, stopped, at("2026-03-04T02:00:30Z"));
        assert_eq!(due, nights[2..], "a little late is not missed");
        for missed in [Missed::All, Missed::Last, Missed::Skip] {
            assert!(times.due(missed, nights[2], now).is_empty(), "none comes twice");
        }
    }

    #[test]
    fn a_year_of_minutes_is_caught_up_in_pieces_and_its_last_one_at_once() {
        let times = times("* * * * *", "UTC");
        let (stopped, now) = (at("2025-03-01T00:00:30Z"), at("2026-03-01T00:00:30Z"));
        let all = times.due(Missed::All, stopped, now);
        assert_eq!((all.len(), all[0]), (AT_ONCE, at("2025-03-01T00:01:00Z")));
        assert_eq!(times.due(Missed::Last, stopped, now), [at("2026-03-01T00:00:00Z")]);
    }

    #[test]
    fn local_times_follow_the_zone_over_changes_of_the_clock() {
        let times = times("30 2 * * *", "Europe/Paris");
        let next = |text: &str| times.after(at(text)).unwrap();
        assert_eq!(next("2026-01-01T00:00:00Z"), at("2026-01-01T01:30:00Z"));
        assert_eq!(next("2026-07-01T00:00:00Z"), at("2026-07-01T00:30:00Z"));
        // On 29 March 2026 there is no 02:30: it comes at 03:00, right after the gap.
        let spring = next("2026-03-28T12:00:00Z");
        assert!(
            (at("2026-03-29T01:00:00Z")..=at("2026-03-29T01:30:00Z")).contains(&spring),
            "{spring}"
        );
        // On 25 October 2026 there are two: one event.
        let first = next("2026-10-24T12:00:00Z");
        assert!([at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z")].contains(&first));
        assert_eq!(times.after(first), Some(at("2026-10-26T01:30:00Z")));
    }

    #[test]
    fn mistakes_are_named() {
        for (cron, zone, option) in [
            ("at night", "UTC", "cron"),
            ("0 2 30 2 *", "UTC", "cron"),
            ("0 2 * * *", "Paris", "time_zone"),
            ("", "UTC", "cron"),
        ] {
            let options = json!({ "cron": cron, "time_zone": zone });
            let mut findings = Findings::default();
            Schedule::check(&serde_json::from_value(options).unwrap(), &mut findings);
            let found: Vec<_> = findings.0.iter().map(|one| one.code).collect();
            assert_eq!(found, [option], "{cron} {zone}");
        }
    }
}
