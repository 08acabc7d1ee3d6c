//! What is found, and told, before anything is written.

use super::*;

promises!(what_the_erp_lacks_is_named_before_anything_is_written);

async fn what_the_erp_lacks_is_named_before_anything_is_written(erp: Erp) {
    erp.sink(json!({ "payment_term": "Direct" })).contract().await.unwrap();
    for (options, name) in [
        (json!({ "fields": { "no_such_field": ".web_id" } }), "`no_such_field`"),
        (json!({ "shop": "no such shop" }), "`no such shop`"),
        (json!({ "payment_term": "no such term" }), "`no such term`"),
    ] {
        let fault = erp.sink(options).connect().await.unwrap_err();
        assert_eq!(fault.retry, Retry::Route, "{fault}");
        assert!(fault.message.contains(name), "{fault}");
    }
    let mut wrong = erp;
    for name in ["key", "password"] {
        if let Some(secret) = wrong.credentials.get_mut(name) {
            *secret = json!("wrong-secret");
        }
    }
    let fault = wrong.sink(json!({})).connect().await.unwrap_err();
    assert_eq!(fault.retry, Retry::Route, "{fault}");
    assert!(!fault.message.contains("wrong-secret"), "{fault}");
}

#[tokio::test]
async fn a_field_that_went_away_is_named_and_the_sink_goes_on_once_it_is_back() {
    for (way, object, fields) in [
        (Way::Key, "sale.sale", &["web_id", "unit_price", "postal_code"][..]),
        (Way::Password, "sale.sale", &["web_id", "unit_price", "postal_code"]),
        (Way::Password, "party.party", &["contact_mechanisms"]),
        (Way::Password, "product.product", &["list_price"]),
        (Way::Password, "account.invoice", &["reference"]),
    ] {
        let (simulator, host) = Simulator::start().await;
        let sink = Erp::at(host, way).sink(json!({ "object": object }));
        for gone in fields {
            simulator.lack(Some(gone));
            let fault = sink.contract().await.unwrap_err();
            assert_eq!((fault.retry, fault.cause), (Retry::Route, "tryton_unknown_field"));
            assert!(fault.message.contains(&format!("no field `{gone}`")), "{fault}");
            simulator.lack(None);
            sink.contract().await.unwrap();
        }
        let asked = simulator.asked();
        let writes = |one: &String| {
            let posts = one.starts_with("POST ") && !one.ends_with("/fields_get");
            posts || one.ends_with(".create") || one.ends_with(".write")
        };
        assert!(!asked.iter().any(writes), "it only reads: {asked:?}");
    }
}

#[tokio::test]
async fn what_would_be_sent_is_told_without_asking_the_erp() {
    let (simulator, host) = Simulator::start().await;
    let sink = Erp::at(host, Way::Key).sink(json!({ "fields": { "comment": ".web_id" } }));
    let order = Order::new();
    let intent = sink.intent(&order.event()).unwrap().unwrap();
    assert_eq!(intent.key.as_ref(), Some(&order.web_id));
    assert_eq!(intent.operation, "create");
    assert_eq!(
        (&intent.payload["comment"], &intent.payload["total"]),
        (&json!(order.web_id), &json!(order.total))
    );
    let mut wrong = order.event();
    wrong.value = Some(engine::Value::Null);
    assert_eq!(sink.intent(&wrong).unwrap_err().domain, Domain::Data);
    assert!(simulator.asked().is_empty());
}
