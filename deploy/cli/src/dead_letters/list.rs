//! `passerelle dead-letters list`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat};
use engine::dead_letters::{Archive, Filed};
use engine::kafka::{Admin, Cluster};
use serde::Serialize;

use super::arguments::List;
use super::{letters, pipeline, place, read};
use crate::failure::{Failure, Outcome};

/// The dead letters of one cause.
#[derive(Serialize)]
struct Group {
    route: String,
    cause: String,
    letters: usize,
    /// Those of them that are being tried again.
    retried: usize,
    /// Those of them that came back from being tried again.
    came_back: usize,
    first: String,
    last: String,
    sample: Sample,
}

#[derive(Serialize)]
struct Sample {
    id: String,
    key: Option<String>,
    place: String,
    message: String,
}

/// Groups dead letters by their cause.
pub async fn run(options: List) -> Outcome {
    let mut groups = Vec::new();
    for (cluster, routes) in places(&options).await? {
        for route in routes {
            let archive = read(&cluster, route).await?;
            let found = group(&archive, options.settled);
            if !options.json {
                show(&archive, &found);
            }
            groups.extend(found);
        }
    }
    if options.json {
        let text = serde_json::to_string_pretty(&groups)
            .map_err(|error| Failure::new(error.to_string()))?;
        say!("{text}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The brokers and the routes there.
async fn places(options: &List) -> Result<Vec<(Cluster, Vec<String>)>, Failure> {
    let (files, routes): (Vec<_>, Vec<_>) =
        options.of.iter().partition(|name| Path::new(name).is_file());
    let mut places = Vec::new();
    for file in files {
        let pipeline = pipeline(Path::new(file))?;
        let (cluster, _) = place(Some(&pipeline), &options.address)?;
        let there = with_dead_letters(&cluster).await?;
        let ours = there
            .into_iter()
            .filter(|route| route.split_once('/').is_some_and(|(name, _)| name == pipeline.name));
        places.push((cluster, ours.collect()));
    }
    if !routes.is_empty() || options.of.is_empty() {
        let (cluster, _) = place(None, &options.address)?;
        let routes = match routes.is_empty() {
            true => with_dead_letters(&cluster).await?,
            false => routes.into_iter().cloned().collect(),
        };
        places.push((cluster, routes));
    }
    Ok(places)
}

/// The routes that have a topic of dead letters.
async fn with_dead_letters(cluster: &Cluster) -> Result<Vec<String>, Failure> {
    let topics = Admin::new(cluster)?.partitions().await?;
    let route = |topic: &String| {
        let (pipeline, route) = topic.strip_suffix(".dead-letters")?.split_once('.')?;
        Some(format!("{pipeline}/{route}"))
    };
    Ok(topics.keys().filter_map(route).collect())
}

fn group(archive: &Archive, settled: bool) -> Vec<Group> {
    let mut causes: BTreeMap<&str, Vec<&Filed>> = BTreeMap::new();
    for filed in archive.letters.values().filter(|filed| settled || filed.is_open()) {
        causes.entry(filed.cause().0).or_default().push(filed);
    }
    let mut groups: Vec<Group> = causes
        .into_iter()
        .filter_map(|(cause, mut all)| {
            all.sort_by_key(|filed| filed.letter.at);
            let (first, last) = (all.first()?, all.last()?);
            let event = &last.letter.event;
            let came_back =
                |filed: &&&Filed| filed.entry.as_ref().is_some_and(|entry| entry.returned > 0);
            Some(Group {
                route: archive.route.clone(),
                cause: cause.to_owned(),
                letters: all.len(),
                retried: all.iter().filter(|filed| filed.is_retried()).count(),
                came_back: all.iter().filter(came_back).count(),
                first: time(first.letter.at),
                last: time(last.letter.at),
                sample: Sample {
                    id: event.id(),
                    key: event.key_text(),
                    place: last.letter.origin.to_string(),
                    message: last.cause().1.to_owned(),
                },
            })
        })
        .collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.letters));
    groups
}

fn show(archive: &Archive, groups: &[Group]) {
    let open: Vec<&Filed> = archive.open().collect();
    let parked: std::collections::BTreeSet<_> = open
        .iter()
        .filter(|filed| filed.is_parked())
        .map(|filed| (filed.letter.origin.partition, filed.letter.event.key.clone()))
        .collect();
    let parked = match parked.len() {
        0 => String::new(),
        1 => ", 1 key parked".to_owned(),
        count => format!(", {count} keys parked"),
    };
    say!("{}: {} open{parked}", archive.route, letters(open.len()));
    for group in groups {
        let Group { cause, letters, first, last, sample, retried, came_back, .. } = group;
        let mut notes = String::new();
        for (count, what) in [(*retried, "being tried again"), (*came_back, "came back")] {
            if count > 0 {
                notes += &format!(", {count} {what}");
            }
        }
        say!("  {cause}: {letters}{notes}, from {first} to {last}");
        let key = sample.key.as_ref().map(|key| format!(", key {key}")).unwrap_or_default();
        say!("    {}{key} ({})", sample.id, sample.place);
        say!("    {}", sample.message);
    }
}

/// A time in milliseconds since the Unix epoch, as people write it.
pub fn time(millis: i64) -> String {
    DateTime::from_timestamp_millis(millis)
        .map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
        .unwrap_or_default()
}
