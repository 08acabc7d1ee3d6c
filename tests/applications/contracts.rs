//! What is found of an application before anything is written to it: by a route that starts, and by
//! `check --connect`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::endtoend::folder::Folder;
use crate::endtoend::process::Answer;
use crate::endtoend::shop::order;
use crate::endtoend::until;
use crate::hubspot::HubSpot;
use crate::simulator::Simulator;

const CONTACTS: &str = r#"
topics:
  shop.orders: { partitions: 2, schema: order.avsc }
sources:
  shop:
    webhook: { path: /shop, signature: { standard_webhooks: "${file:shop.secret}" } }
    to: shop.orders
    key: .id
connections:
  crm: { hubspot: { url: "URL", allow_private: true, timeout: 2s, token: TOKEN } }
sinks:
  contacts:
    from: shop.orders
    to: crm
    object: contacts
    operation: upsert
    fields: '{ "email": .id, "lastname": .customer.name }'
    backoff: { initial: 100ms, max: 300ms }
"#;

fn contacts(url: &str, token: &str) -> String {
    CONTACTS.replace("URL", url).replace("TOKEN", token)
}

/// What a command says, whichever way.
fn said(answer: &Answer) -> String {
    format!("{}{}", answer.stdout, answer.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_gone_is_named_before_the_first_event_comes() {
    let simulator = Simulator::start(HubSpot::default()).await;
    assert!(simulator.set_field(false));
    let folder = Folder::with(&contacts(&simulator.url, "pat-1"));
    let process = folder.run().await;
    let operators = folder.operators();
    let route = operators.state("orders/contacts", "waiting").await;
    let reason = route["reason"].as_str().unwrap();
    assert!(
        reason.contains("has no field `lastname`") && reason.contains("nothing is written"),
        "{reason}"
    );
    assert!(route["next_try"].is_i64(), "{route}");
    // What comes meanwhile waits, and is counted.
    folder.shop().tell(&order("O-0", "C-1")).await;
    until("the order is seen to wait", async || {
        (operators.routes().await["orders/contacts"]["lag_events"] == 1).then_some(())
    })
    .await;
    assert_eq!(simulator.writes().len(), 0);
    simulator.set_field(true);
    operators.state("orders/contacts", "running").await;
    until("the order arrives", async || simulator.objects().contains_key("O-0").then_some(()))
        .await;
    assert!(process.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn check_connect_names_the_place_the_cause_and_the_cure_and_writes_nothing() {
    let simulator = Simulator::start(HubSpot::default()).await;
    let folder = Folder::with(&contacts(&simulator.url, "pat-1"));
    let check = async |arguments: &[&str]| {
        folder.passerelle(&[&["check", "pipeline.yaml", "--connect"], arguments].concat()).await
    };
    let well = check(&[]).await;
    assert_eq!(well.code, 0, "{well:?}");
    assert!(
        well.stdout.contains("orders/contacts: ") && well.stdout.contains("all 2 fields"),
        "{well:?}"
    );
    assert!(well.stdout.contains("no problems"), "{well:?}");

    simulator.set_field(false);
    let gone = check(&[]).await;
    let line = CONTACTS.lines().position(|line| line == "  contacts:").unwrap();
    // The folder writes four lines before the sections, which begin with an empty one.
    let place = format!("pipeline.yaml:{}:3", line + 5);
    assert_eq!(gone.code, 1, "{gone:?}");
    for part in ["error[contract]", &place, "no field `lastname`", "leave it out here"] {
        assert!(said(&gone).contains(part), "{part}: {}", said(&gone));
    }
    let json = check(&["--json"]).await;
    let problems: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code, &problems[0]["code"]), (1, &"contract".into()), "{json:?}");
    simulator.set_field(true);

    folder.set_pipeline(&contacts(&simulator.url, "pat-wrong"));
    let refused = check(&[]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    for part in ["error[http_401]", "check the connection's credentials"] {
        assert!(said(&refused).contains(part), "{part}: {}", said(&refused));
    }
    assert!(!said(&refused).contains("pat-wrong"), "no secret is shown: {refused:?}");

    folder.set_pipeline(&contacts("http://127.0.0.1:1", "pat-1"));
    let away = check(&[]).await;
    assert!(away.code == 1 && said(&away).contains("error[http_connect]"), "{away:?}");
    assert_eq!(simulator.writes().len(), 0, "nothing was written");
    assert!(!folder.path().join("data").exists(), "and nothing begun here");
}

const LIST: &str = r#"
topics:
  shop.orders: { partitions: 1, schema: order.avsc }
connections:
  shop: { http: { url: "URL", allow_private: true } }
  hook: { http: { url: "HOOK", allow_private: true } }
sources:
  orders:
    from: shop
    to: shop.orders
    poll: { path: /orders, id: .id }
sinks:
  hook: { from: shop.orders, to: hook }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_held_against_what_it_would_read_and_a_hook_is_not_called() {
    let whole = Arc::new(AtomicBool::new(true));
    let calls = Arc::new(AtomicBool::new(false));
    async fn list(State(whole): State<Arc<AtomicBool>>) -> Json<Value> {
        let mut order = order("O-1", "C-1");
        if !whole.load(Ordering::SeqCst) {
            order.as_object_mut().unwrap().remove("currency");
        }
        Json(json!([order]))
    }
    let called = Arc::clone(&calls);
    let router = Router::new()
        .route("/orders", get(list))
        .with_state(Arc::clone(&whole))
        .fallback(async move || called.store(true, Ordering::SeqCst));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let folder = Folder::with(&LIST.replace("URL", &url).replace("HOOK", &format!("{url}/hook")));
    let well = folder.passerelle(&["check", "pipeline.yaml", "--connect"]).await;
    assert_eq!(well.code, 0, "{well:?}");
    for part in
        ["orders/orders: ", "make events of the topic's schema", "orders/hook: ", "is reached"]
    {
        assert!(well.stdout.contains(part), "{part}: {well:?}");
    }
    whole.store(false, Ordering::SeqCst);
    let gone = folder.passerelle(&["check", "pipeline.yaml", "--connect"]).await;
    assert!(gone.code == 1 && said(&gone).contains("`.currency`"), "{gone:?}");
    assert!(!calls.load(Ordering::SeqCst), "a hook acts on whatever it is asked");
}
