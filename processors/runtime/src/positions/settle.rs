//! Settling where a route reads from, before it joins its group.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::{Accept, Decision, Facts, Remembered, Start, decide};
use crate::dispatch::Commit;
use crate::kafka::{
    Cluster, Decide, GroupOffsets, GroupView, Producer, ReadFrom, Reader, Record, blocking,
};
use crate::sink::SHADOW;
use crate::{Fault, Headers};

/// The compacted topic that remembers which routes have started. Key: the route's full name; value:
/// [`Remembered`] as JSON.
pub(crate) const ROUTES_TOPIC: &str = "passerelle.routes";
const VERSION: u32 = 1;

/// Where a route stands.
pub(crate) enum Settled {
    /// Every partition has an offset to read from.
    Ready,
    /// An operator has to decide, for this reason.
    Waiting(String),
}

/// A route that reads a topic.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// Its full name, `pipeline/route`.
    pub route: Arc<str>,
    /// Its consumer group.
    pub group: String,
    /// The topic.
    pub topic: Arc<str>,
    /// Where its first start begins.
    pub start: Option<Start>,
}

/// Settles where the routes of a pipeline read from, and remembers it.
pub(crate) struct Settler {
    cluster: Cluster,
    producer: Arc<Producer>,
    /// The full names of the pipeline's routes.
    routes: Vec<Arc<str>>,
    memory: Mutex<Option<HashMap<String, Remembered>>>,
}

impl Settler {
    pub fn new(cluster: &Cluster, producer: Arc<Producer>, routes: Vec<Arc<str>>) -> Self {
        Self { cluster: cluster.clone(), producer, routes, memory: Mutex::default() }
    }

    /// Reads what is remembered, the first time.
    async fn recall(&self) -> Result<HashMap<String, Remembered>, Fault> {
        if let Some(memory) = &*self.memory.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(memory.clone());
        }
        let cluster = self.cluster.clone();
        let memory = blocking(move || {
            let mut memory = HashMap::new();
            Reader::open(&cluster, ROUTES_TOPIC, ReadFrom::Beginning)?.read_to_end(|event| {
                let Some(route) = event.key_text() else { return };
                let value = event.payload.as_deref();
                match value.and_then(|value| serde_json::from_slice(value).ok()) {
                    Some(remembered) => memory.insert(route, remembered),
                    None => memory.remove(&route),
                };
            })?;
            Ok(memory)
        })
        .await?;
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = Some(memory.clone());
        Ok(memory)
    }

    async fn remember(&self, route: &str, remembered: Option<Remembered>) -> Result<(), Fault> {
        let json = remembered.as_ref().map(serde_json::to_vec).transpose();
        let json = json.map_err(|error| Fault::internal("routes_record", error.to_string()))?;
        let record = Record {
            topic: ROUTES_TOPIC.into(),
            partition: None,
            key: Some(Bytes::copy_from_slice(route.as_bytes())),
            payload: json.map(Bytes::from),
            headers: Headers::default(),
        };
        self.producer.send(&record).await?;
        if let Some(memory) = &mut *self.memory.lock().unwrap_or_else(PoisonError::into_inner) {
            match remembered {
                Some(remembered) => memory.insert(route.to_owned(), remembered),
                None => memory.remove(route),
            };
        }
        Ok(())
    }

    /// Settles where a route reads from; with `accept`, what waits is decided by it.
    ///
    /// # Errors
    /// A `Remote` fault when the brokers are away or refuse: to be tried again.
    pub async fn settle(
        &self,
        reading: &Reading,
        accept: Option<Accept>,
    ) -> Result<Settled, Fault> {
        let memory = self.recall().await?;
        let remembered = memory.get(&*reading.route).filter(|known| known.topic == *reading.topic);
        let left = match remembered {
            Some(_) => Vec::new(),
            // Nobody takes a sink in shadow for one under another name.
            None if reading.route.ends_with(SHADOW) => Vec::new(),
            None => self.left_behind(&memory, &reading.topic),
        };
        let (work, cluster) = (reading.clone(), self.cluster.clone());
        let (known, gone) = (remembered.cloned(), left.clone());
        let sources = memory.clone();
        let accepted = accept.clone();
        let outcome = blocking(move || {
            settle_partitions(&cluster, &work, known.as_ref(), &gone, accepted, &sources)
        })
        .await?;
        let (partitions, topic_id) = match outcome {
            Outcome::Waiting(reason) => return Ok(Settled::Waiting(reason)),
            Outcome::Ready { partitions, topic_id } => (partitions, topic_id),
        };
        let (group, topic) = (reading.group.clone(), reading.topic.to_string());
        let topic_id = topic_id.or_else(|| remembered.and_then(|known| known.topic_id.clone()));
        let now = Remembered { version: VERSION, group, topic, partitions, topic_id };
        if remembered != Some(&now) {
            self.remember(&reading.route, Some(now)).await?;
        }
        if accept.is_some() {
            for route in left {
                self.remember(&route, None).await?;
            }
        }
        Ok(Settled::Ready)
    }

    /// Routes of this pipeline that read the topic once and are no longer in the file: a new route
    /// on the topic may be one of them under another name.
    fn left_behind(&self, memory: &HashMap<String, Remembered>, topic: &str) -> Vec<String> {
        let pipeline = self.routes.first().and_then(|route| route.split_once('/'));
        let Some((pipeline, _)) = pipeline else { return Vec::new() };
        let mut left: Vec<String> = memory
            .iter()
            .filter(|(route, known)| {
                known.topic == topic
                    && route.split_once('/').is_some_and(|(of, _)| of == pipeline)
                    && !route.ends_with(SHADOW)
                    && !self.routes.iter().any(|ours| ours.trim_end_matches(SHADOW) == **route)
            })
            .map(|(route, _)| route.clone())
            .collect();
        left.sort();
        left
    }

    /// Decides for partitions that the group assigns later: by the same rules, with every
    /// partition of now remembered.
    pub fn decider(&self, reading: &Reading) -> Decide {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let known = memory.as_ref().and_then(|memory| memory.get(&*reading.route)).cloned();
        let (topic, start) = (Arc::clone(&reading.topic), reading.start);
        Arc::new(move |partition, committed, bounds| {
            let facts = Facts { topic: &topic, partition, committed, bounds, at_time: None };
            decide(facts, start, known.as_ref())
        })
    }
}

enum Outcome {
    Ready { partitions: i32, topic_id: Option<String> },
    Waiting(String),
}

/// Blocks.
fn settle_partitions(
    cluster: &Cluster,
    reading: &Reading,
    remembered: Option<&Remembered>,
    left_behind: &[String],
    accept: Option<Accept>,
    memory: &HashMap<String, Remembered>,
) -> Result<Outcome, Fault> {
    let topic = &*reading.topic;
    let offsets = GroupOffsets::open(cluster, &reading.group)?;
    let Some(view) = offsets.view(topic)? else {
        return Ok(Outcome::Waiting(format!(
            "topic `{topic}` does not exist: declare it under `topics` or create it"
        )));
    };
    let times = match reading.start {
        Some(Start::Time(time)) => offsets.at_time(topic, view.partitions, time)?,
        _ => BTreeMap::new(),
    };
    let mut decisions: BTreeMap<i32, Decision> = BTreeMap::new();
    for (partition, bounds) in &view.bounds {
        let (partition, bounds) = (*partition, *bounds);
        let committed = view.committed.get(&partition);
        let at_time = times.get(&partition).copied();
        let facts = Facts { topic, partition, committed, bounds, at_time };
        decisions.insert(partition, decide(facts, reading.start, remembered));
    }
    if remembered.is_some_and(|known| known.is_recreated(view.topic_id.as_deref())) {
        hold_recreated(&mut decisions, reading, &view);
    }
    hold_renamed(&mut decisions, reading, &view, left_behind);
    if let Some(reason) = waiting_reason(&decisions) {
        let Some(accept) = &accept else { return Ok(Outcome::Waiting(reason)) };
        let chosen = choose(cluster, &offsets, reading, &view, accept, memory)?;
        for (partition, decision) in &mut decisions {
            if let (Decision::Hold { .. }, Some(offset)) = (&*decision, chosen.get(partition)) {
                *decision = Decision::Begin { offset: *offset };
            }
        }
        tracing::warn!(route = &*reading.route, ?accept, reason, "accepted by an operator");
    }
    let commits: Vec<Commit> = decisions
        .into_iter()
        .filter_map(|(partition, decision)| match decision {
            Decision::Begin { offset } => {
                Some(Commit { partition, offset, metadata: String::new() })
            }
            _ => None,
        })
        .collect();
    match offsets.commit(topic, &commits) {
        // The group has members (another instance): the member that is assigned an added partition
        // commits its beginning.
        Err(fault) if remembered.is_some() && accept.is_none() => {
            tracing::debug!(%fault, "the group's members commit");
        }
        result => result?,
    }
    Ok(Outcome::Ready { partitions: view.partitions, topic_id: view.topic_id })
}

/// The committed offsets are those of another topic that had the same name.
fn hold_recreated(decisions: &mut BTreeMap<i32, Decision>, reading: &Reading, view: &GroupView) {
    let topic = &*reading.topic;
    for (partition, decision) in decisions {
        let committed = view.committed.get(partition).map_or(0, |committed| committed.offset);
        let bounds = view.bounds.get(partition).map_or((0, 0), |bounds| (bounds.low, bounds.high));
        *decision = Decision::Hold {
            reason: format!(
                "{topic}[{partition}]: the topic was deleted and created anew; what the old one held \
                 from offset {committed} on is gone, the new one holds offsets {} to {}: accept where \
                 to go on",
                bounds.0, bounds.1
            ),
        };
    }
}

/// A first start beside a route that is gone from the file waits: starting over would repeat
/// everything, starting now would lose what lies between.
fn hold_renamed(
    decisions: &mut BTreeMap<i32, Decision>,
    reading: &Reading,
    view: &GroupView,
    left_behind: &[String],
) {
    let [old, ..] = left_behind else { return };
    let holds_events = view.bounds.values().any(|bounds| bounds.low < bounds.high);
    if !holds_events || !view.committed.is_empty() {
        return;
    }
    for decision in decisions.values_mut() {
        *decision = Decision::Hold {
            reason: format!(
                "the route is new on topic `{}`, and `{old}`, which read it before, is no longer in \
                 the file: if it was renamed, accept to go on where `{old}` was left; if not, accept \
                 where to start",
                reading.topic
            ),
        };
    }
}

fn waiting_reason(decisions: &BTreeMap<i32, Decision>) -> Option<String> {
    let mut reasons = decisions.values().filter_map(|decision| match decision {
        Decision::Hold { reason } => Some(reason),
        _ => None,
    });
    let first = reasons.next()?.clone();
    let mut others: Vec<&String> = reasons.filter(|reason| **reason != first).collect();
    others.truncate(3);
    Some(others.into_iter().fold(first, |all, next| format!("{all}; {next}")))
}

/// The offsets that an operator chose.
fn choose(
    cluster: &Cluster,
    offsets: &GroupOffsets,
    reading: &Reading,
    view: &GroupView,
    accept: &Accept,
    memory: &HashMap<String, Remembered>,
) -> Result<BTreeMap<i32, i64>, Fault> {
    let bounds = view.bounds.iter();
    let chosen = match accept {
        Accept::Beginning => bounds.map(|(id, bounds)| (*id, bounds.low)).collect(),
        Accept::Now => bounds.map(|(id, bounds)| (*id, bounds.high)).collect(),
        Accept::Offset(offset) => {
            bounds.map(|(id, bounds)| (*id, (*offset).clamp(bounds.low, bounds.high))).collect()
        }
        Accept::Time(time) => {
            let times = offsets.at_time(&reading.topic, view.partitions, *time)?;
            bounds
                .map(|(id, bounds)| (*id, times.get(id).copied().unwrap_or(bounds.high)))
                .collect()
        }
        Accept::Renamed(old) => {
            let Some(known) = memory.get(old) else {
                let message = format!("No route `{old}` is remembered in {ROUTES_TOPIC}.");
                return Err(Fault::config("unknown_route", message));
            };
            let old = GroupOffsets::open(cluster, &known.group)?.view(&reading.topic)?;
            let left = old.map(|view| view.committed).unwrap_or_default();
            left.into_iter().map(|(id, committed)| (id, committed.offset)).collect()
        }
    };
    Ok(chosen)
}
