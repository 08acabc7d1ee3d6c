//! `passerelle trace`: one business key's way through all routes.

use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat};
use engine::outcomes::{Journey, Outcome, Query, TOPIC, What, trace};

use crate::addresses;
use crate::arguments::Trace;
use crate::failure::{Failure, Outcome as Ended};
use crate::files;
use crate::place::Place;

/// Shows what came of a key's events.
pub async fn run(options: Trace) -> Ended {
    let pipeline = match &options.file {
        Some(file) => files::read(std::slice::from_ref(file))?.pipelines.into_iter().next(),
        None => None,
    };
    let cluster = addresses::cluster(pipeline.as_ref(), &options.address)?;
    let since = match options.since.as_deref().map(Place::read).transpose()? {
        Some(Place::Time(time)) => Some(time.timestamp_millis()),
        Some(Place::Now) => {
            return Err(Failure::new("Nothing is newer than now: give --since a time."));
        }
        Some(Place::Beginning) | None => None,
    };
    let hash_key = pipeline.and_then(|pipeline| pipeline.outcomes.hash_key);
    let query = Query { key: options.key.clone(), hash_key, since };
    let searched = tokio::task::spawn_blocking(move || trace(&cluster, &query)).await;
    let found = searched.map_err(|error| Failure::new(format!("The search ended: {error}.")))?;
    let journeys = found.map_err(|fault| match fault.cause {
        "topic_missing" => Failure::new(format!(
            "No outcomes are kept there (no topic `{TOPIC}`): they are once a pipeline has run."
        )),
        _ => fault.into(),
    })?;
    if options.json {
        let text = serde_json::to_string_pretty(&journeys)
            .map_err(|error| Failure::new(error.to_string()))?;
        say!("{text}");
    } else {
        show(&options.key, &journeys);
    }
    Ok(if journeys.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn show(key: &str, journeys: &[Journey]) {
    if journeys.is_empty() {
        say!("Nothing is known of `{key}`: no outcome is kept under this key.");
        return;
    }
    for journey in journeys {
        say!("{}", heading(journey));
        let route = journey.outcomes.iter().map(|outcome| outcome.route.len()).max().unwrap_or(0);
        for outcome in &journey.outcomes {
            let since = format!("+{}", length(outcome.finished - journey.received));
            let word = outcome.what.word().replace('_', " ");
            say!("{since:>12}  {word:<13}  {:<route$}  {}", outcome.route, told(outcome));
        }
    }
}

fn heading(journey: &Journey) -> String {
    let time = DateTime::from_timestamp_millis(journey.received)
        .map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
        .unwrap_or_default();
    let split = match &journey.parent {
        Some(parent) => format!(", split from {parent}"),
        None => String::new(),
    };
    format!("{}  received {time}{split}, {} to its last outcome", journey.id, length(journey.took))
}

/// What came of it: the place, the answer, how long it took.
fn told(outcome: &Outcome) -> String {
    let Outcome { topic, partition, offset, .. } = outcome;
    let mut text = format!("{topic}[{partition}]@{offset}");
    match &outcome.what {
        What::Published | What::Filtered | What::Duplicate => {}
        What::Produced { to, count, keys } => {
            text += &format!(" → {to}");
            if *count > 1 {
                text += &format!(" ({count} events)");
            }
            if !keys.is_empty() {
                text += &format!(", under the key {}", keys.join(", "));
            }
        }
        What::Delivered { answer } | What::AlreadyThere { answer } => {
            text += &format!(": {answer}, in {}", length(outcome.finished - outcome.started));
        }
        What::DeadLetter { cause, message } => text += &format!(": {message} ({cause})"),
        What::Parked { behind } => text += &format!(" behind {behind}"),
    }
    if outcome.attempts > 1 {
        text += &format!(", attempt {}", outcome.attempts);
    }
    if let Some(replay) = &outcome.replay {
        text += &format!(", replay {replay}");
    }
    text
}

/// A length of time: `12 ms`, `3.4 s`, `2 h 5 min`.
fn length(millis: i64) -> String {
    let seconds = millis / 1_000;
    match millis {
        ..1_000 => format!("{} ms", millis.max(0)),
        1_000..60_000 => format!("{seconds}.{} s", millis % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_told_in_its_own_units() {
        for (millis, text) in [
            (-3, "0 ms"),
            (999, "999 ms"),
            (3_450, "3.4 s"),
            (125_000, "2 min 5 s"),
            (7_500_000, "2 h 5 min"),
        ] {
            assert_eq!(length(millis), text);
        }
    }
}
