//! The row in which an application is polled while its list changes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::hubspot::{self, HubSpot};
use crate::run::Run;
use crate::world::{World, until};

/// Nothing is needed.
pub fn obstacle() -> Option<String> {
    None
}

/// Contacts change while they are paged, ten and more have each time, tokens end, calls are answered 429
/// and 502, and the process is killed again and again.
pub async fn t25_a_list_changes_while_it_is_polled(run: &Run) {
    let hubspot = HubSpot::start(400).await;
    let world = World::around(run, &[&hubspot::sections(&hubspot.url)]).await;
    world.folder.write("contact.avsc", ::schemas::events::CONTACT);
    hubspot.set_busy(true);
    let mut process = world.started().await;
    for _ in 0..run.rounds {
        let wanted = hubspot.calls() + run.draw(1..12) as usize;
        until("it is polled", async || (hubspot.calls() >= wanted).then_some(())).await;
        run.moment(0..80).await;
        world.kill_and_start(&mut process);
    }
    hubspot.set_busy(false);
    world.operators().ready(&mut process).await;

    let topic = world.topic("crm.contacts");
    let expected: BTreeMap<String, String> =
        hubspot.contacts().into_iter().map(|(id, changes)| (id, changes.to_string())).collect();
    let events = async || {
        let events = world.folder.tap(&topic).await;
        (last(&events) == expected).then_some(events)
    };
    let events = until("every contact is there as it is", events).await;
    let ids: BTreeSet<_> = events.iter().map(|event| event["headers"]["ce_id"].as_str()).collect();
    let (tokens, refused) = hubspot.refusals();
    run.note(|finding| {
        finding.sent = ids.len();
        finding.received = events.len();
        finding.repeated = events.len() - ids.len();
        finding.note =
            format!("{} searches, {tokens} tokens, refusals: {refused:?}", hubspot.calls());
    });
    assert_eq!(events.len(), ids.len(), "no event lies in the topic twice");
    assert!(world.dead_letters("contacts").await.is_empty());
    process.assert_alive();
}

/// How each contact is by its last event.
fn last(events: &[Value]) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = |event: &Value| (text(&event["value"]["id"]), text(&event["value"]["name"]));
    events.iter().map(name).collect()
}
