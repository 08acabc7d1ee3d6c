//! Several events of one object, objects whose ids are alike, and refusals of one application's own.

use std::collections::BTreeMap;

use crate::endtoend::folder::Folder;
use crate::endtoend::shop::order;
use crate::endtoend::until;
use crate::simulator::Manner;
use crate::suite::Case;
use crate::{case, hubspot, rows, stripe};

/// Waits until the application has one object of each of these ids, and no other.
async fn has_once(case: &Case, ids: &[&str]) {
    let expected: BTreeMap<_, _> = ids.iter().map(|id| ((*id).to_owned(), 1)).collect();
    until(&format!("there is one of each of {ids:?}"), async || {
        (case.simulator.objects() == expected).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_that_stripes_search_does_not_see_yet_is_not_created_twice() {
    let sink = r#"object: customers, operation: upsert, fields: '{ "name": .id, "metadata": { "order_system_id": .customer.id } }'"#;
    let case = case(stripe::Stripe::default(), "stripe", "key: sk_test_1", sink).await;
    let folder = Folder::with(&case.pipeline());
    let process = folder.run().await;
    folder.shop().tell(&order("O-1", "C-1")).await;
    has_once(&case, &["C-1"]).await;
    folder.shop().tell(&order("O-2", "C-1")).await;
    until("the customer is changed", async || {
        let writes = case.simulator.writes();
        let change = writes.iter().find(|write| write.path == "/v1/customers/cus_1")?;
        (change.form()["name"] == "O-2").then_some(())
    })
    .await;
    has_once(&case, &["C-1"]).await;
    drop(process);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sku_with_a_comma_is_none_of_the_products_that_it_lists() {
    let sink =
        r#"object: products, operation: upsert, fields: '{ "sku": .id, "name": .customer.name }'"#;
    let connection = "consumer_key: ck, consumer_secret: csecret";
    let case = case(rows::WooCommerce::default(), "woocommerce", connection, sink).await;
    let folder = Folder::with(&case.pipeline());
    let process = folder.run().await;
    for id in ["A", "B", "A,B"] {
        folder.shop().tell(&order(id, "C-1")).await;
        folder.operators().caught_up().await;
    }
    has_once(&case, &["A", "B", "A,B"]).await;
    drop(process);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hubspot_locks_for_a_moment_is_tried_again() {
    let sink = r#"object: contacts, operation: upsert, fields: '{ "email": .id, "lastname": .customer.name }'"#;
    let case = case(hubspot::HubSpot::default(), "hubspot", "token: pat-1", sink).await;
    let folder = Folder::with(&case.pipeline());
    let process = folder.run().await;
    case.simulator.meet(&[Manner::Refuse(423, None), Manner::Refuse(423, None)]);
    folder.shop().tell(&order("a@shop.example", "C-1")).await;
    has_once(&case, &["a@shop.example"]).await;
    drop(process);
}
