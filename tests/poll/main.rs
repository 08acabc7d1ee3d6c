//! Applications that do not call, or whose calls may be lost, are polled: HubSpot and QuickBooks,
//! simulated with their paging, tokens, limits and errors, a real Tryton and a real pretix.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "../endtoend/mod.rs"]
mod endtoend;
mod hubspot;
mod pretix;
mod quickbooks;
mod thin;
mod tryton;

use std::collections::{BTreeMap, BTreeSet};

use endtoend::folder::Folder;
use endtoend::until;
use hubspot::HubSpot;
use quickbooks::QuickBooks;
use serde_json::{Value, json};
use thin::Tickets;
use tryton::{Protocol, Tryton};

fn folder(sections: &str) -> Folder {
    let folder = Folder::with(sections);
    folder.write("contact.avsc", schemas::events::CONTACT);
    folder
}

/// The last name of each object in a topic, and that no event lies there twice.
async fn last(folder: &Folder, topic: &str) -> BTreeMap<String, String> {
    let events = folder.tap(topic).await;
    let ids: BTreeSet<_> =
        events.iter().map(|event| event["headers"]["ce_id"].to_string()).collect();
    assert_eq!(ids.len(), events.len(), "an event lies there twice");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = |event: &Value| (text(&event["value"]["id"]), text(&event["value"]["name"]));
    events.iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_contact_of_hubspot_arrives_although_tokens_end_and_calls_are_refused() {
    let hubspot = HubSpot::start(400).await;
    let folder = folder(&hubspot::sections(&hubspot.url).replace('@', ""));
    hubspot.set_busy(true);
    let mut process = folder.run().await;
    until("forty searches", async || (hubspot.calls() > 40).then_some(())).await;
    process.kill();
    let mut process = folder.run().await;
    until("forty more", async || (hubspot.calls() > 80).then_some(())).await;
    hubspot.set_busy(false);
    let expected: BTreeMap<_, _> =
        hubspot.contacts().into_iter().map(|(id, changes)| (id, changes.to_string())).collect();
    let arrived = async || (last(&folder, "crm.contacts").await == expected).then_some(());
    until("every contact is there as it is", arrived).await;
    let (tokens, refused) = hubspot.refusals();
    assert!(tokens >= 3, "{tokens} tokens");
    assert!([401, 429, 502].iter().all(|status| refused.contains_key(status)), "{refused:?}");
    assert!(!process.log().contains("secret-of-the-client"));
    process.assert_alive();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_invoice_of_quickbooks_arrives_although_each_refresh_token_is_taken_once() {
    let quickbooks = QuickBooks::start(130).await;
    let folder = folder(&quickbooks::sections(&quickbooks.url));
    let mut process = folder.run().await;
    let all = |changed: &[u64]| -> BTreeMap<String, String> {
        let version = |id| if changed.contains(&id) { "1" } else { "0" };
        (0..130).map(|id| (id.to_string(), version(id).to_owned())).collect()
    };
    let arrived = async |expected: BTreeMap<String, String>| {
        let there = async || (last(&folder, "books.invoices").await == expected).then_some(());
        until("every invoice is there as it is", there).await;
    };
    arrived(all(&[])).await;
    quickbooks.change(3, 30);
    quickbooks.change(129, 31);
    arrived(all(&[3, 129])).await;
    let file = folder.path().join("tokens/quickbooks.json");
    until("the newest token is kept", async || quickbooks.while_kept(&file, || process.kill()))
        .await;
    // The refresh token of the file has been taken: the newest one was kept.
    quickbooks.change(77, 32);
    let _process = folder.run().await;
    arrived(all(&[3, 129, 77])).await;
    let (tokens, refused) = quickbooks.tokens();
    assert!(tokens >= 3 && refused == 0, "{tokens} tokens, {refused} refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_credential_makes_the_source_wait_and_names_the_cure() {
    let quickbooks = QuickBooks::start(1).await;
    let wrong = quickbooks::sections(&quickbooks.url).replace("refresh-0", "used-before");
    let folder = folder(&wrong);
    let _process = folder.start();
    let waits = async || {
        let answer = folder.ask(&["status"]).await;
        answer.stdout.contains("authorize the application again").then_some(answer.stdout)
    };
    let status = until("the status names the cure", waits).await;
    assert!(status.contains("invalid_grant") && !status.contains("used-before"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thin_call_is_fetched_and_a_lost_one_is_found_without_a_second_event() {
    let tickets = Tickets::start(1).await;
    let folder = folder(&thin::sections(&tickets.url));
    let mut process = folder.run().await;
    let client = endtoend::client();
    let url = format!("http://{}/tickets", folder.webhooks);
    let call = async |body: Value| {
        let sent = client.post(&url).header("content-type", "application/json");
        sent.body(body.to_string()).send().await.unwrap().status().as_u16()
    };
    let first = tickets.change("A");
    assert_eq!(call(first.clone()).await, 503, "the shop answered 502: the call is to come again");
    assert_eq!(call(first.clone()).await, 200);
    assert_eq!(call(first).await, 200, "the same state again");
    assert_eq!(call(json!({ "code": "unknown" })).await, 200, "there is no such order");
    assert_eq!(call(tickets.change("B")).await, 200);
    // These calls are lost.
    tickets.change("B");
    tickets.change("C");
    let found = async |expected: &[(&str, &str)]| {
        let all: BTreeMap<String, String> =
            expected.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect();
        let there = async || (last(&folder, "tickets.orders").await == all).then_some(());
        until("what was lost is found", there).await;
    };
    found(&[("A", "1"), ("B", "2"), ("C", "1")]).await;
    process.kill();
    tickets.change("D");
    let _process = folder.run().await;
    found(&[("A", "1"), ("B", "2"), ("C", "1"), ("D", "1")]).await;
    assert_eq!(folder.tap("tickets.orders").await.len(), 5, "A, B twice, C, D");
    assert_eq!(call(json!([1, 2])).await, 200, "what names no order is kept in the dead letters");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_state_is_never_published_after_a_newer_one() {
    let tickets = Tickets::start(0).await;
    let sections = thin::sections(&tickets.url);
    let folder = folder(&sections.replace("every: 1s", "every: 1h"));
    let mut process = folder.run().await;
    let (client, url) = (endtoend::client(), format!("http://{}/tickets", folder.webhooks));
    let call = |body: Value| {
        let sent = client.post(&url).header("content-type", "application/json");
        let sent = sent.body(body.to_string()).send();
        async move { sent.await.unwrap().status().as_u16() }
    };
    // The answer to the first call's fetch shows the order before its change, and comes after the second call.
    tickets.listed().await;
    tickets.hold();
    let first = tokio::spawn(call(tickets.change("A")));
    tickets.looked_up().await;
    assert_eq!(call(tickets.change("A")).await, 200);
    tickets.give();
    assert_eq!(first.await.unwrap(), 200);
    assert_eq!(last(&folder, "tickets.orders").await["A"], "2");
    assert_eq!(folder.tap("tickets.orders").await.len(), 1, "the state that was gone is not told");
    process.kill();
    // The same with a list of the poll, after a call that was lost.
    tickets.change("B");
    tickets.hold();
    let _process = folder.run().await;
    tickets.looked_up().await;
    assert_eq!(call(tickets.change("B")).await, 200);
    tickets.change("C");
    tickets.give();
    let found = async || last(&folder, "tickets.orders").await.contains_key("C").then_some(());
    until("the poll has begun again", found).await;
    assert_eq!(last(&folder, "tickets.orders").await["B"], "2");
}

#[tokio::test]
async fn what_a_source_reads_from_is_checked() {
    let good = quickbooks::sections("http://127.0.0.1:1");
    let erp =
        "  erp: { tryton: { url: \"http://127.0.0.1:2\", allow_private: true, key: k } }\ntopics:";
    let schedule =
        "  nightly: { from: quickbooks, schedule: { cron: \"0 2 * * *\" }, to: books.invoices }\n";
    for (wrong, expected) in [
        (good.replace("    from: quickbooks\n", ""), "does not say what it reads from"),
        (good.replace("from: quickbooks", "from: quickbook"), "unknown connection `quickbook`"),
        (
            good.replace("from: quickbooks", "from: erp").replace("topics:", erp),
            "no connection of the kind `http`",
        ),
        (format!("{good}{schedule}"), "this source `schedule` reads from no connection"),
        (good.replace("{{ .size }}", "{{ .sise }}"), ".sise"),
        (good.replace("token_url: http:", "token_url: ftp:"), "token_url"),
    ] {
        let folder = folder(&wrong);
        let answer = folder.passerelle(&["check", "pipeline.yaml"]).await;
        let said = format!("{}{}", answer.stdout, answer.stderr);
        assert!(answer.code != 0 && said.contains(expected), "{expected}: {said}");
    }
    let folder = folder(&good);
    let answer = folder.passerelle(&["check", "pipeline.yaml"]).await;
    assert_eq!(answer.code, 0, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parties_of_a_real_tryton_are_polled_by_rest_and_their_changes_found() {
    poll_parties(Protocol::Rest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parties_of_a_real_tryton_are_polled_by_json_rpc_and_their_changes_found() {
    poll_parties(Protocol::JsonRpc).await;
}

async fn poll_parties(protocol: Protocol) {
    let Some(tryton) = Tryton::find() else { return };
    let run = format!("{protocol:?}-{}", std::process::id());
    let mut ids = Vec::new();
    for number in 0..25 {
        // With codes of their own: two that Tryton numbers at the same moment may get the same one.
        let name = format!("{run}-{number}");
        ids.push(tryton.write(None, json!({ "name": name, "code": name })).await);
    }
    let folder = folder(&tryton.sections(protocol));
    let mut process = folder.run().await;
    let ours = async |suffix: &str| {
        let found = last(&folder, "erp.parties").await;
        let is_there =
            |id: &&i64| found.get(&id.to_string()).is_some_and(|name| name.ends_with(suffix));
        ids.iter().filter(is_there).count()
    };
    until("all are there", async || (ours("").await == 25).then_some(())).await;
    process.kill();
    for id in &ids[5..15] {
        tryton.write(Some(*id), json!({ "name": format!("{run}-changed") })).await;
    }
    let _process = folder.run().await;
    until("the changes are there", async || (ours("-changed").await == 10).then_some(())).await;
}
