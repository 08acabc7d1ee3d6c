//! Following a business key through all routes.
//!
//! The partition to which the key hashes is read first; where an event came from another key, or
//! went on under another, that key's partition is read for this event alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::{Outcome, TOPIC, What, hashed_key};
use crate::Fault;
use crate::kafka::{Cluster, ReadFrom, Reader, partition_of};
use crate::options::Secret;

/// What to follow.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// The business key; for events without one, their id.
    pub key: String,
    /// What the pipeline hashes masked keys with.
    pub hash_key: Option<Secret>,
    /// Outcomes older than this are left out, milliseconds since the Unix epoch.
    pub since: Option<i64>,
}

/// One event's way through the routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Journey {
    /// The event's id.
    pub id: String,
    /// The id of the event that it was split from, if that is known too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// When Passerelle received it, milliseconds since the Unix epoch.
    pub received: i64,
    /// From then to the last outcome, in milliseconds.
    pub took: i64,
    /// What came of it, in the order of time.
    pub outcomes: Vec<Outcome>,
}

/// Follows a key through all routes: its events in the order of their receipt, those split from
/// another behind that one. Blocks.
///
/// # Errors
/// A `Remote` fault when the brokers do not answer, or no pipeline has kept outcomes there
/// (`topic_missing`).
pub fn trace(cluster: &Cluster, query: &Query) -> Result<Vec<Journey>, Fault> {
    let mut trail = Trail::new(query);
    let from = query.since.map_or(ReadFrom::Beginning, ReadFrom::Time);
    while !trail.ahead.is_empty() {
        let keys = std::mem::take(&mut trail.ahead);
        let wanted = |count: i32| {
            let partitions = keys.keys().map(|key| partition_of(key.as_bytes(), count));
            partitions.collect::<BTreeSet<_>>()
        };
        Reader::open_some(cluster, TOPIC, from, wanted)?.read_to_end(|event| {
            let (Some(key), Some(payload)) = (event.key_text(), &event.payload) else { return };
            let Some(ids) = keys.get(&key) else { return };
            // What a later version writes in another form is none of ours.
            let Ok(outcome) = serde_json::from_slice::<Outcome>(payload) else { return };
            if ids.as_ref().is_none_or(|ids| ids.iter().any(|id| is_or_is_of(&outcome.id, id))) {
                trail.take(outcome);
            }
        })?;
    }
    Ok(trail.journeys())
}

/// Whether an id is this one, or that of an event split from it.
fn is_or_is_of(id: &str, whole: &str) -> bool {
    id.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What was found so far.
struct Trail {
    /// Keys to read, each with the ids to look for; all of them where there are none.
    ahead: HashMap<String, Option<BTreeSet<String>>>,
    /// Keys and ids that were looked for before.
    seen: BTreeSet<(String, String)>,
    /// The key itself, in the forms under which it may be kept.
    own: BTreeSet<String>,
    found: Vec<Outcome>,
}

impl Trail {
    fn new(query: &Query) -> Self {
        let mut own = BTreeSet::from([query.key.clone(), hashed_key(&query.key, None)]);
        own.extend(query.hash_key.as_ref().map(|secret| hashed_key(&query.key, Some(secret))));
        let ahead = own.iter().map(|key| (key.clone(), None)).collect();
        Self { ahead, seen: BTreeSet::new(), own, found: Vec::new() }
    }

    fn take(&mut self, outcome: Outcome) {
        let onward: &[String] = match &outcome.what {
            What::Produced { keys, .. } => keys,
            _ => &[],
        };
        for key in onward.iter().chain(&outcome.from_key) {
            if !self.own.contains(key) && self.seen.insert((key.clone(), outcome.id.clone())) {
                let ids = self.ahead.entry(key.clone()).or_insert_with(|| Some(BTreeSet::new()));
                ids.get_or_insert_default().insert(outcome.id.clone());
            }
        }
        // The same outcome lies under the old key and the new one.
        let same = |one: &Outcome| {
            let place = |outcome: &Outcome| (outcome.partition, outcome.offset, outcome.finished);
            one.route == outcome.route && one.id == outcome.id && place(one) == place(&outcome)
        };
        if !self.found.iter().any(same) {
            self.found.push(Outcome { from_key: None, ..outcome });
        }
    }

    fn journeys(self) -> Vec<Journey> {
        let mut by_id: BTreeMap<String, Vec<Outcome>> = BTreeMap::new();
        for outcome in self.found {
            by_id.entry(outcome.id.clone()).or_default().push(outcome);
        }
        let parents: BTreeMap<String, String> = by_id
            .keys()
            .filter_map(|id| {
                let above = id.rmatch_indices('/').map(|(at, _)| &id[..at]);
                let parent = above.into_iter().find(|above| by_id.contains_key(*above))?;
                Some((id.clone(), parent.to_owned()))
            })
            .collect();
        let mut journeys: Vec<Journey> = by_id
            .into_iter()
            .map(|(id, mut outcomes)| {
                outcomes.sort_by_key(in_turn);
                let received = outcomes.iter().map(|outcome| outcome.received).min();
                let last = outcomes.iter().map(|outcome| outcome.finished).max();
                let (received, last) = (received.unwrap_or(0), last.unwrap_or(0));
                let parent = parents.get(&id).cloned();
                Journey { id, parent, received, took: (last - received).max(0), outcomes }
            })
            .collect();
        journeys.sort_by(|one, other| (one.received, &one.id).cmp(&(other.received, &other.id)));
        journeys
    }
}

/// What an event met first comes first. A route begins with what another has written before that one has
/// noted that it did: the ends alone are in no order.
fn in_turn(outcome: &Outcome) -> (i64, bool, i64) {
    (outcome.started, outcome.what != What::Published, outcome.finished)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(route: &str, id: &str, finished: i64, what: What) -> Outcome {
        Outcome {
            version: 1,
            route: route.into(),
            id: id.into(),
            topic: "t".into(),
            partition: 0,
            offset: finished,
            received: 1_000,
            started: finished - 1,
            finished,
            attempts: 1,
            replay: None,
            from_key: None,
            what,
        }
    }

    fn produced(keys: &[&str]) -> What {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        What::Produced { to: "u".into(), count: 1, keys }
    }

    fn trail(key: &str) -> Trail {
        Trail::new(&Query { key: key.to_owned(), ..Query::default() })
    }

    #[test]
    fn an_events_outcomes_are_in_the_order_of_time_and_children_know_their_parent() {
        let mut trail = trail("C-1");
        trail.take(outcome("p/b", "evt_1", 1_020, produced(&[])));
        trail.take(outcome("p/a", "evt_1", 1_010, What::Published));
        trail.take(outcome("p/c", "evt_1/2", 1_030, What::Filtered));
        trail.take(outcome("p/c", "other/2", 1_030, What::Filtered));
        let journeys = trail.journeys();
        let ids: Vec<_> = journeys.iter().map(|journey| &*journey.id).collect();
        assert_eq!(ids, ["evt_1", "evt_1/2", "other/2"]);
        assert_eq!((journeys[0].took, &journeys[0].parent), (20, &None));
        assert_eq!(&*journeys[0].outcomes[0].route, "p/a");
        assert_eq!(journeys[1].parent.as_deref(), Some("evt_1"));
        assert_eq!(journeys[2].parent, None);
    }

    #[test]
    fn what_was_made_of_an_event_comes_after_it_whoever_noted_it_first() {
        let mut trail = trail("C-1");
        trail.take(outcome("p/b", "evt_1", 1_020, produced(&[])));
        let published = outcome("p/a", "evt_1", 1_030, What::Published);
        trail.take(Outcome { started: 1_010, ..published.clone() });
        trail.take(Outcome { route: "p/c".into(), started: 1_019, ..published });
        let routes: Vec<_> =
            trail.journeys()[0].outcomes.iter().map(|outcome| outcome.route.to_string()).collect();
        assert_eq!(routes, ["p/a", "p/c", "p/b"]);
    }

    #[test]
    fn an_event_is_followed_to_its_new_key_and_back_to_its_old_one_once_each() {
        let mut forth = trail("C-1");
        forth.take(outcome("p/b", "evt_1", 1_020, produced(&["O-7"])));
        assert_eq!(forth.ahead["O-7"], Some(BTreeSet::from(["evt_1".to_owned()])));
        let mut back = trail("O-7");
        back.ahead.clear();
        let moved = outcome("p/b", "evt_1", 1_020, produced(&["O-7"]));
        back.take(Outcome { from_key: Some("C-1".into()), ..moved.clone() });
        assert_eq!(back.ahead.keys().collect::<Vec<_>>(), ["C-1"]);
        back.ahead.clear();
        back.take(moved);
        assert!(back.ahead.is_empty());
        assert_eq!(back.journeys()[0].outcomes.len(), 1, "one outcome under two keys");
    }

    #[test]
    fn a_key_is_looked_for_in_its_masked_forms_too() {
        let query = Query { key: "a".into(), hash_key: Some(Secret::new("s")), since: None };
        assert_eq!(Trail::new(&query).ahead.len(), 3);
    }

    #[test]
    fn an_id_that_begins_like_another_is_not_its_child() {
        assert!(is_or_is_of("evt_1", "evt_1") && is_or_is_of("evt_1/2", "evt_1"));
        assert!(!is_or_is_of("evt_12", "evt_1") && !is_or_is_of("evt", "evt_1"));
    }
}
