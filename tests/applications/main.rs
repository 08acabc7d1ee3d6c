//! Applications that are described, each simulated as its API's documentation says, and one suite that
//! every sink passes: whatever the application does, each order ends there once.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod contracts;
#[path = "../endtoend/mod.rs"]
mod endtoend;
mod hubspot;
mod mailbox;
mod objects;
mod quickbooks;
mod rows;
mod simulator;
mod stripe;
mod suite;
mod tryton;

use endtoend::folder::Folder;
use serde_json::Value;
use simulator::{Application, Simulator};
use suite::{Case, holds};

const TEMPLATE: &str = include_str!("../../sinks/applications/template.yaml");

async fn case(
    application: impl Application,
    connector: &'static str,
    connection: &'static str,
    sink: &'static str,
) -> Case {
    let simulator = Simulator::start(application).await;
    let (from, topics, more) = ("shop.orders", "", "");
    Case { simulator, connector, connection, from, topics, sink, once: true, more }
}

#[tokio::test(flavor = "multi_thread")]
async fn hubspot_has_each_contact_once_and_each_item_of_a_batch_is_told_apart() {
    let sink = r#"object: contacts, operation: upsert, fields: '{ "email": .id, "lastname": .customer.name }'"#;
    holds(&case(hubspot::HubSpot::default(), "hubspot", "token: pat-1", sink).await, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quickbooks_has_each_invoice_once_although_its_versions_go_stale() {
    let mut case = case(
        quickbooks::QuickBooks::default(),
        "quickbooks",
        "",
        r#"object: invoice, operation: upsert, fields: '{ "DocNumber": .id, "CustomerRef": { "value": "1" }, "Line": [{ "Amount": .total }] }'"#,
    )
    .await;
    let url = case.simulator.url.clone();
    // The address of the company follows from the realm only where none is given.
    case.simulator.url = format!("{url}/v3/company/1");
    let connection = format!(
        "realm: 1, client_id: passerelle, client_secret: s3cret, refresh_token: refresh-0, token_url: \"{url}/tokens\""
    );
    case.connection = connection.leak();
    holds(&case, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stripe_has_each_customer_once_by_its_key_while_its_search_is_late() {
    let sink = r#"object: customers, operation: create, fields: '{ "name": .customer.name, "metadata": { "order_system_id": .id } }'"#;
    holds(&case(stripe::Stripe::default(), "stripe", "key: sk_test_1", sink).await, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odoo_has_each_order_once_although_it_keeps_nothing_unique() {
    let sink = r#"object: sale.order, operation: upsert, fields: '{ "client_order_ref": .id, "note": .customer.name }'"#;
    let connection = "key: odoo-key, database: shop";
    holds(&case(rows::Odoo::default(), "odoo", connection, sink).await, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn erpnext_has_each_order_once_with_its_rates_as_numbers() {
    let sink = r#"object: Sales Order, operation: upsert, fields: '{ "po_no": .id, "items": [{ "item_code": .lines[0].sku, "rate": .lines[0].unit_price }] }'"#;
    let connection = "key: erp-key, secret: erp-secret";
    holds(&case(rows::ErpNext::default(), "erpnext", connection, sink).await, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dolibarr_has_each_order_once() {
    let sink = r#"object: orders, operation: create, fields: '{ "ref_ext": .id, "socid": 1 }'"#;
    holds(&case(rows::Dolibarr::default(), "dolibarr", "key: doli-key", sink).await, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn woocommerce_has_each_product_once() {
    let sink =
        r#"object: products, operation: upsert, fields: '{ "sku": .id, "name": .customer.name }'"#;
    let connection = "consumer_key: ck, consumer_secret: csecret";
    holds(&case(rows::WooCommerce::default(), "woocommerce", connection, sink).await, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shopify_has_each_product_as_it_was_written_last() {
    let sink =
        r#"object: products, operation: update, fields: '{ "id": .id, "title": .customer.name }'"#;
    let connection = "shop: ours, token: shpat, limits: { per_second: 50, concurrent: 4 }";
    holds(&case(rows::Shopify::default(), "shopify", connection, sink).await, &[]).await;
}

/// Hooks promise nothing about repeats, but that a repeat can be known.
async fn hook(connector: &'static str) {
    let mut case = case(rows::Hook::default(), connector, "", "concurrency: 4").await;
    case.simulator.url += "/hooks/secret-of-the-hook";
    case.sink = "on_delete: ignore";
    case.once = false;
    holds(&case, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catch_hook_of_zapier_gets_each_order_and_can_know_a_repeat() {
    hook("zapier").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_webhook_of_make_gets_each_order_and_can_know_a_repeat() {
    hook("make").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_of_n8n_gets_each_order_and_can_know_a_repeat() {
    hook("n8n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sink_http_passes_the_same_suite_where_its_target_keeps_keys() {
    let mut case =
        case(rows::Hook::unique(), "http", "limits: { per_second: 200 }", "once: forever").await;
    case.simulator.url += "/hooks/secret-of-the-hook";
    holds(&case, &[]).await;
}

/// The ERP takes sales, not orders.
async fn tryton(connection: &'static str) {
    let mut case = case(tryton::Tryton::default(), "tryton", connection, "object: sale.sale").await;
    case.simulator.url += "/erp";
    case.from = "erp.sales";
    case.topics = "  erp.sales: { partitions: 4, schema: sale.avsc }";
    case.more = tryton::TO_SALE;
    holds(&case, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tryton_has_each_sale_once_by_rest() {
    tryton("key: a-key-of-tryton").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tryton_has_each_sale_once_by_json_rpc() {
    tryton("user: admin, password: open-sesame").await;
}

/// Mail promises nothing about repeats, but that a repeat is the same mail, byte for byte.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_gets_each_mail_and_can_know_a_repeat() {
    let sink = r#"mail_from: shop@example.com, mail_to: "{{ .customer.email }}", subject: "{{ .id }}", text: "{{ .total }}""#;
    let simulator = mailbox::start().await;
    let (from, topics, more) = ("shop.orders", "", "");
    let connection = "user: shop, password: s3cret";
    let case =
        Case { simulator, connector: "smtp", connection, from, topics, sink, once: false, more };
    holds(&case, &[]).await;
}

/// A new application is its description and a pipeline: nothing else is written.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_application_made_from_the_template_passes_the_suite() {
    let description =
        TEMPLATE.replace("our-crm", "acme").replace("contacts", "people").replace("email", "mail");
    let sink =
        r#"object: people, operation: upsert, fields: '{ "mail": .id, "name": .customer.name }'"#;
    let case = case(rows::Crm::new("people", "mail"), "acme", "key: key-of-the-crm", sink).await;
    holds(&case, &[("applications/acme.yaml", &description)]).await;
}

#[tokio::test]
async fn a_users_description_is_checked_like_a_pipeline() {
    let sections = r#"
applications: [ ./our-crm.yaml ]
connections:
  crm: { our-crm: { url: "https://crm.example.com", key: k } }
topics:
  orders: { partitions: 1 }
sinks:
  orders: { from: orders, to: crm, object: contacts, operation: upsert }
"#;
    for (old, new, expected) in [
        ("", "", ""),
        ("method: PUT", "metod: PUT", "unknown field `metod`"),
        ("record: .body.items[0]", "record: .body.items[", "our-crm.yaml:"),
        ("name: our-crm ", "name: hubspot ", "there is a connector `hubspot`"),
    ] {
        let folder = Folder::with(sections);
        folder.write("our-crm.yaml", &TEMPLATE.replacen(old, new, 1));
        let answer = folder.passerelle(&["check", "pipeline.yaml"]).await;
        let said = format!("{}{}", answer.stdout, answer.stderr);
        assert_eq!(answer.code == 0, expected.is_empty(), "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let folder = Folder::with(&sections.replace("contacts", "invoices"));
    folder.write("our-crm.yaml", TEMPLATE);
    let answer = folder.passerelle(&["check", "pipeline.yaml"]).await;
    assert!(answer.code != 0 && format!("{answer:?}").contains("invoices"), "{answer:?}");
    let folder = Folder::with(sections);
    let answer = folder.passerelle(&["check", "pipeline.yaml"]).await;
    let said = format!("{answer:?}");
    assert!(answer.code != 0 && said.contains("our-crm.yaml` cannot be read"), "{said}");
}

#[tokio::test]
async fn what_each_application_covers_is_told_to_people_and_programs() {
    let folder = Folder::with("");
    let answer = folder.passerelle(&["connectors", "hubspot", "--json"]).await;
    let told: Value = serde_json::from_str(&answer.stdout).unwrap();
    let upsert = &told["coverage"]["objects"]["contacts"]["operations"]["upsert"];
    assert_eq!((upsert["once"].as_str(), upsert["batch"].as_u64()), (Some("for ever"), Some(100)));
    let answer = folder.passerelle(&["connectors", "quickbooks"]).await;
    for expected in ["invoice", "upsert", "for ever", "Not covered", "Not proven"] {
        assert!(answer.stdout.contains(expected), "{expected}: {}", answer.stdout);
    }
    let answer = folder.passerelle(&["connectors", "zapier", "--json"]).await;
    assert!(answer.stdout.contains(r#""once": "no""#), "{}", answer.stdout);
}
