//! What an ERP cannot be brought to do at will, at the simulator.

use engine::{Domain, Retry};
use serde_json::json;

use super::simulator::Simulator;
use super::tests::{Erp, Order, Way, deliver};
use super::*;

/// What one bad answer makes of a delivery at the simulator.
async fn after(path: &'static str, status: u16, body: &'static str) -> (Fault, Delivery) {
    let (simulator, host) = Simulator::start().await;
    let erp = Erp::at(host, Way::Key);
    let (sink, order) = (erp.sink(json!({})), Order::new());
    simulator.fail_next(path, status, body);
    let fault = deliver(&sink, &order, 1).await.unwrap_err();
    let delivery = deliver(&sink, &order, 2).await.unwrap();
    assert_eq!(erp.sale(&order).await.0, "processing");
    (fault, delivery)
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_goes_on_from_where_it_was() {
    let locked = "<p>database is locked</p>";
    for (path, status, body) in [
        ("GET /web.shop", 503, locked),
        ("POST /party.party", 502, ""),
        ("POST /sale.sale", 500, locked),
        ("POST /sale.sale", 504, ""),
        ("POST /quote", 500, "<p>&#39;a key of the ERP&#39;s own&#39;</p>"),
        ("POST /confirm", 200, "<html>maintenance</html>"),
        ("POST /confirm", 404, "<p>Not Found</p>"),
    ] {
        let (fault, _) = after(path, status, body).await;
        let expected = (Domain::Remote, Retry::Backoff);
        assert_eq!((fault.domain, fault.retry), expected, "{path} {status}: {fault}");
    }
}

#[tokio::test]
async fn what_the_erp_refuses_is_the_events_fault_except_in_look_ups() {
    let said = r#"{"status":400,"message":"No stock.","description":"Ask Ann."}"#;
    for path in ["POST /party.party", "POST /sale.sale", "POST /quote", "POST /confirm"] {
        let (simulator, host) = Simulator::start().await;
        let erp = Erp::at(host, Way::Key);
        simulator.fail_next(path, 400, said);
        let fault = deliver(&erp.sink(json!({})), &Order::new(), 1).await.unwrap_err();
        assert_eq!((fault.domain, fault.cause), (Domain::Data, "tryton_refused"), "{path}");
        assert!(fault.message.ends_with("No stock. Ask Ann."), "{fault}");
    }
    let (fault, _) = after("GET /web.shop", 400, said).await;
    assert_eq!((fault.retry, fault.cause), (Retry::Route, "tryton_access"));
    let (fault, _) = after("GET /web.shop", 404, "<p>Not Found</p>").await;
    assert_eq!(fault.retry, Retry::Route);
    let (fault, _) = after("GET /web.shop", 500, "<p>&#39;web.shop&#39;</p>").await;
    assert_eq!((fault.retry, fault.cause), (Retry::Route, "tryton_unknown_field"));
}

#[tokio::test]
async fn what_does_not_change_is_asked_once() {
    let (simulator, host) = Simulator::start().await;
    let erp = Erp::at(host, Way::Key);
    let sink = erp.sink(json!({ "payment_term": "Direct" }));
    for _ in 0..3 {
        deliver(&sink, &Order::new(), 1).await.unwrap();
    }
    let asked = simulator.asked();
    let count = |what: &str| asked.iter().filter(|one| *one == what).count();
    for once in ["GET web.shop", "GET product.product", "GET account.invoice.payment_term"] {
        assert_eq!(count(once), 1, "{once}");
    }
    assert_eq!(count("POST sale.sale"), 3);
    assert_eq!(count("GET sale.sale"), 0);
}

#[tokio::test]
async fn what_is_remembered_is_asked_again_after_a_refusal() {
    let (simulator, host) = Simulator::start().await;
    let erp = Erp::at(host, Way::Key);
    let sink = erp.sink(json!({}));
    deliver(&sink, &Order::new(), 1).await.unwrap();
    simulator.fail_next("POST /sale.sale", 400, r#"{"message":"The product is archived."}"#);
    deliver(&sink, &Order::new(), 1).await.unwrap_err();
    deliver(&sink, &Order::new(), 1).await.unwrap();
    let asked = simulator.asked();
    assert_eq!(asked.iter().filter(|one| *one == "GET product.product").count(), 2);
}

#[tokio::test]
async fn a_shop_that_is_not_clear_makes_the_route_wait() {
    let (simulator, host) = Simulator::start().await;
    let erp = Erp::at(host, Way::Key);
    simulator.insert("web.shop", json!({ "name": "other", "company": 1 }));
    for (options, said) in [
        (json!({}), "more than one web shop"),
        (json!({ "shop": "third" }), "no web shop `third`"),
        (json!({ "payment_term": "Never", "shop": "shop" }), "no payment term `Never`"),
    ] {
        let fault = deliver(&erp.sink(options), &Order::new(), 1).await.unwrap_err();
        assert_eq!(fault.retry, Retry::Route);
        assert!(fault.message.contains(said), "{fault}");
    }
    deliver(&erp.sink(json!({ "shop": "other" })), &Order::new(), 1).await.unwrap();
}

#[tokio::test]
async fn a_sale_that_somebody_cancelled_stays_cancelled() {
    let (simulator, host) = Simulator::start().await;
    let erp = Erp::at(host, Way::Key);
    let (sink, order) = (erp.sink(json!({})), Order::new());
    deliver(&sink, &order, 1).await.unwrap();
    simulator.set("sale.sale", "state", &json!("cancelled"));
    let delivery = deliver(&sink, &order, 2).await.unwrap();
    assert!(delivery.already_there && delivery.answer.ends_with("cancelled"));
    assert_eq!(erp.sale(&order).await.0, "cancelled");
}

#[tokio::test]
async fn a_deletion_is_kept_or_ignored() {
    let erp = Erp::simulated(Way::Key).await;
    let tombstone = || Event { payload: None, value: None, ..Order::new().event() };
    let kept = erp.sink(json!({})).deliver(&[tombstone()], 1).await.pop().unwrap();
    assert_eq!(kept.unwrap_err().cause, "tombstone");
    let sink = erp.sink(json!({ "on_delete": "ignore" }));
    sink.deliver(&[tombstone()], 1).await.pop().unwrap().unwrap();
}

#[test]
fn mistakes_are_found_when_the_file_is_checked() {
    let connection = json!({ "url": "http://127.0.0.1:8070/erp", "key": "a\nb" });
    let options = json!({ "fields": { "web_id": ".x", "comment": ".y" } });
    let mut findings = Findings::default();
    Tryton::check(
        &serde_json::from_value(connection).unwrap(),
        &serde_json::from_value(options).unwrap(),
        &mut findings,
    );
    for connection in [json!({}), json!({ "key": "k", "user": "u" }), json!({ "user": "u" })] {
        let mut whole = json!({ "url": "https://erp.example.com/erp" });
        whole.as_object_mut().unwrap().extend(connection.as_object().unwrap().clone());
        let (connection, mut found) = (serde_json::from_value(whole).unwrap(), Findings::default());
        Tryton::check(&connection, &serde_json::from_value(json!({})).unwrap(), &mut found);
        assert_eq!(found.0[0].code, "credentials");
    }
    let codes: Vec<_> =
        findings.0.iter().map(|found| (found.pointer.as_str(), found.code)).collect();
    let expected =
        [("/url", "url_invalid"), ("/key", "key_invalid"), ("/fields/web_id", "field_taken")];
    assert_eq!(codes, expected);
}
