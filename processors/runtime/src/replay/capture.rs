//! What a replay sends, captured once, when it begins.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Edge, Request};
use crate::clock::unix_millis;
use crate::dispatch::Commit;
use crate::kafka::{
    Admin, Bounds, Cluster, GroupOffsets, GroupView, Producer, ReadFrom, Reader, Record, blocking,
};
use crate::runtime::Topic;
use crate::{Fault, Headers};

/// The compacted topic of the replays that have begun. Key: the consumer group; value: [`Captured`]
/// as JSON.
pub const TOPIC: &str = "passerelle.replays";
const VERSION: u32 = 1;
/// How long the oldest events are looked for.
const LOOK: Duration = Duration::from_secs(10);

/// What a replay sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// The form of this record.
    pub version: u32,
    /// The route whose topic is read, `pipeline/route`.
    pub route: String,
    /// The sink that delivers, `pipeline/route`.
    pub into: String,
    /// The topic.
    pub topic: String,
    /// The topic's own id, if the brokers told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// When the replay began, milliseconds since the Unix epoch.
    pub begun: i64,
    /// When it came to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<i64>,
    /// The offsets of each partition that has any.
    pub spans: BTreeMap<i32, Span>,
}

/// A range of offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first.
    pub from: i64,
    /// The one behind the last.
    pub to: i64,
}

/// A replay that can be run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it sends.
    pub captured: Captured,
    /// Whether it has begun before.
    pub standing: Standing,
    /// When Kafka received the oldest of its events, milliseconds since the Unix epoch; nothing if
    /// there are none.
    pub oldest: Option<i64>,
    /// How far its group is.
    pub committed: BTreeMap<i32, i64>,
}

/// Whether a replay has begun before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has not.
    New,
    /// It was begun, and goes on.
    Begun,
    /// It came to its end.
    Finished,
}

impl Plan {
    /// The offsets that it spans, and how many of them are done.
    pub fn progress(&self) -> (i64, i64) {
        self.captured.progress(&self.committed)
    }
}

impl Captured {
    /// The offsets that it spans, and how many lie before these places.
    pub(super) fn progress(&self, places: &BTreeMap<i32, i64>) -> (i64, i64) {
        self.spans.iter().fold((0, 0), |(total, done), (partition, span)| {
            let place = places.get(partition).copied().unwrap_or(span.from);
            (total + span.to - span.from, done + (place.min(span.to) - span.from).max(0))
        })
    }

    pub(super) async fn write(&self, group: &str, producer: &Producer) -> Result<(), Fault> {
        let json = serde_json::to_vec(self);
        let json = json.map_err(|error| Fault::internal("replay_record", error.to_string()))?;
        let record = Record {
            topic: TOPIC.into(),
            partition: None,
            key: Some(Bytes::copy_from_slice(group.as_bytes())),
            payload: Some(Bytes::from(json)),
            headers: Headers::default(),
        };
        producer.send(&record).await.map(drop)
    }
}

/// Looks up what was captured of this replay, or captures it. Nothing is begun yet. With `again`, a
/// replay that was begun is captured anew.
///
/// # Errors
/// A `Config` fault when it cannot be run: its topic is missing or another one, its events are gone,
/// its progress is. A `Remote` fault when the brokers do not answer.
pub async fn plan(request: &Request, again: bool) -> Result<Plan, Fault> {
    let topic = Topic {
        name: TOPIC.to_owned(),
        partitions: Some(1),
        compaction: Some(true),
        ..Topic::default()
    };
    Admin::new(&request.cluster)?.create_missing(&[topic]).await?;
    let (cluster, group) = (request.cluster.clone(), request.group());
    let (name, from, to) = (request.topic.name.clone(), request.from.clone(), request.to.clone());
    let full = |route: &str| format!("{}/{route}", request.pipeline);
    let (route, into) = (full(&request.route), full(&request.into));
    blocking(move || {
        let offsets = GroupOffsets::open(&cluster, &group)?;
        let Some(view) = offsets.view(&name)? else {
            let message = format!("Topic `{name}` does not exist: there is no history to send.");
            return Err(Fault::config("topic_missing", message));
        };
        let known = if again { None } else { recall(&cluster, &group)? };
        let standing = match &known {
            None => Standing::New,
            Some(Captured { finished: None, .. }) => Standing::Begun,
            Some(_) => Standing::Finished,
        };
        let committed = view.committed.iter().map(|(id, committed)| (*id, committed.offset));
        let mut committed: BTreeMap<i32, i64> = committed.collect();
        let captured = match known {
            Some(known) => known,
            None => {
                committed.clear();
                let spans = capture(&offsets, &name, &view, &from, &to)?;
                let (begun, topic_id) = (unix_millis(), view.topic_id.clone());
                let (version, finished, topic) = (VERSION, None, name);
                Captured { version, route, into, topic, topic_id, begun, finished, spans }
            }
        };
        if standing == Standing::Begun {
            hold(&captured, &view, &committed)?;
        }
        let oldest = oldest(&cluster, &captured)?;
        Ok(Plan { captured, standing, oldest, committed })
    })
    .await
}

/// Commits the beginning, and remembers what was captured.
pub(super) async fn begin(
    request: &Request,
    captured: &Captured,
    producer: &Producer,
) -> Result<(), Fault> {
    let (cluster, group, topic) =
        (request.cluster.clone(), request.group(), captured.topic.clone());
    let commits = captured.spans.iter().map(|(partition, span)| {
        let (partition, offset) = (*partition, span.from);
        Commit { partition, offset, metadata: String::new() }
    });
    let commits: Vec<Commit> = commits.collect();
    blocking(move || GroupOffsets::open(&cluster, &group)?.commit(&topic, &commits)).await?;
    captured.write(&request.group(), producer).await
}

/// How far the group is.
pub(super) async fn committed(request: &Request) -> Result<BTreeMap<i32, i64>, Fault> {
    let (cluster, group) = (request.cluster.clone(), request.group());
    let topic = request.topic.name.clone();
    blocking(move || {
        let view = GroupOffsets::open(&cluster, &group)?.view(&topic)?;
        let committed = view.map(|view| view.committed).unwrap_or_default();
        Ok(committed.into_iter().map(|(id, committed)| (id, committed.offset)).collect())
    })
    .await
}

fn recall(cluster: &Cluster, group: &str) -> Result<Option<Captured>, Fault> {
    let mut found = None;
    Reader::open(cluster, TOPIC, ReadFrom::Beginning)?.read_to_end(|event| {
        if event.key.as_deref() == Some(group.as_bytes()) {
            found = event.payload.as_deref().and_then(|json| serde_json::from_slice(json).ok());
        }
    })?;
    Ok(found)
}

fn capture(
    offsets: &GroupOffsets,
    topic: &str,
    view: &GroupView,
    from: &Edge,
    to: &Edge,
) -> Result<BTreeMap<i32, Span>, Fault> {
    let times = |edge: &Edge| match edge {
        Edge::Time(time) => offsets.at_time(topic, view.partitions, *time),
        _ => Ok(BTreeMap::new()),
    };
    let (begins, ends) = (times(from)?, times(to)?);
    let spans = view.bounds.iter().filter_map(|(partition, bounds)| {
        let from = place(from, *partition, *bounds, &begins)?;
        let to = place(to, *partition, *bounds, &ends)?;
        (from < to).then_some((*partition, Span { from, to }))
    });
    Ok(spans.collect())
}

/// Where an edge lies in a partition; nothing if that partition is not asked for.
fn place(edge: &Edge, partition: i32, bounds: Bounds, times: &BTreeMap<i32, i64>) -> Option<i64> {
    match edge {
        Edge::Oldest => Some(bounds.low),
        Edge::Newest => Some(bounds.high),
        Edge::Time(_) => Some(times.get(&partition).copied().unwrap_or(bounds.high)),
        Edge::Offsets(offsets) => {
            let offset = offsets.get(&Some(partition)).or_else(|| offsets.get(&None))?;
            Some((*offset).clamp(bounds.low, bounds.high))
        }
    }
}

/// Refuses to go on where something of what was captured is gone.
fn hold(captured: &Captured, view: &GroupView, places: &BTreeMap<i32, i64>) -> Result<(), Fault> {
    let topic = &captured.topic;
    let refuse = |cause, sentence: String| {
        let hint = "give --again to capture it anew from the beginning";
        Err(Fault::config(cause, format!("{sentence}; {hint}.")))
    };
    if captured.topic_id.as_ref().zip(view.topic_id.as_ref()).is_some_and(|(then, now)| then != now)
    {
        let sentence =
            format!("Topic `{topic}` was deleted and created anew since the replay began");
        return refuse("topic_recreated", sentence);
    }
    for (partition, span) in &captured.spans {
        let Some(place) = places.get(partition) else {
            let sentence = format!(
                "The replay was begun, but the place that its group had in {topic}[{partition}] is \
                 gone (expired or deleted)"
            );
            return refuse("offset_lost", sentence);
        };
        let low = view.bounds.get(partition).map_or(0, |bounds| bounds.low);
        if *place < low.min(span.to) {
            let sentence = format!(
                "{topic}[{partition}]: offsets {place} to {} were removed by retention before the \
                 replay sent them",
                low - 1
            );
            return refuse("offset_lost", sentence);
        }
    }
    Ok(())
}

/// When Kafka received the oldest event.
fn oldest(cluster: &Cluster, captured: &Captured) -> Result<Option<i64>, Fault> {
    let begins: BTreeMap<i32, i64> =
        captured.spans.iter().map(|(partition, span)| (*partition, span.from)).collect();
    if begins.is_empty() {
        return Ok(None);
    }
    let mut reader = Reader::open_at(cluster, &captured.topic, &begins)?;
    let (mut oldest, started) = (None, Instant::now());
    while !reader.is_at_end() && started.elapsed() < LOOK {
        let Some(event) = reader.next(Duration::from_millis(100))? else { continue };
        oldest = Some(oldest.map_or(event.timestamp, |oldest: i64| oldest.min(event.timestamp)));
        reader.leave(event.partition);
    }
    if !reader.is_at_end() {
        let sentence =
            format!("The oldest events of {} could not be read in time.", captured.topic);
        return Err(Fault::remote("kafka_timeout", sentence));
    }
    Ok(oldest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { low: 10, high: 50 };

    fn captured() -> Captured {
        Captured {
            version: 1,
            route: "p/r".into(),
            into: "p/r".into(),
            topic: "t".into(),
            topic_id: Some("a".into()),
            begun: 0,
            finished: None,
            spans: BTreeMap::from([(0, Span { from: 10, to: 30 }), (2, Span { from: 0, to: 5 })]),
        }
    }

    fn view(low: i64, topic_id: &str) -> GroupView {
        GroupView {
            partitions: 3,
            topic_id: Some(topic_id.to_owned()),
            committed: BTreeMap::new(),
            bounds: BTreeMap::from([
                (0, Bounds { low, high: 90 }),
                (2, Bounds { low: 0, high: 9 }),
            ]),
        }
    }

    #[test]
    fn an_edge_lies_within_what_the_partition_holds() {
        let at =
            |edge: &Edge, partition| place(edge, partition, BOUNDS, &BTreeMap::from([(1, 20)]));
        assert_eq!(at(&Edge::Oldest, 1), Some(10));
        assert_eq!(at(&Edge::Newest, 1), Some(50));
        assert_eq!(at(&Edge::Time(0), 1), Some(20));
        assert_eq!(at(&Edge::Time(0), 2), Some(50), "all of it is older");
        let some = Edge::Offsets(BTreeMap::from([(Some(1), 5)]));
        assert_eq!((at(&some, 1), at(&some, 2)), (Some(10), None));
        let every = Edge::Offsets(BTreeMap::from([(None, 99)]));
        assert_eq!(at(&every, 2), Some(50));
    }

    #[test]
    fn progress_counts_what_lies_before_the_groups_places() {
        assert_eq!(captured().progress(&BTreeMap::new()), (25, 0));
        assert_eq!(captured().progress(&BTreeMap::from([(0, 15), (2, 7)])), (25, 10));
        let json = serde_json::to_string(&captured()).unwrap();
        assert_eq!(serde_json::from_str::<Captured>(&json).unwrap(), captured());
    }

    #[test]
    fn a_replay_goes_on_only_where_nothing_of_it_is_gone() {
        let places = BTreeMap::from([(0, 15), (2, 5)]);
        assert!(hold(&captured(), &view(15, "a"), &places).is_ok());
        let cause = |result: Result<(), Fault>| result.unwrap_err().message;
        assert!(cause(hold(&captured(), &view(20, "a"), &places)).contains("15 to 19"));
        assert!(cause(hold(&captured(), &view(0, "b"), &places)).contains("created anew"));
        let lost = cause(hold(&captured(), &view(0, "a"), &BTreeMap::new()));
        assert!(lost.contains("t[0]") && lost.contains("--again"), "{lost}");
    }
}
