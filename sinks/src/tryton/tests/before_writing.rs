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
    let wrong = Erp { key: "wrong-key".to_owned(), ..erp };
    let fault = wrong.sink(json!({})).connect().await.unwrap_err();
    assert_eq!(fault.cause, "http_401", "{fault}");
}

#[tokio::test]
async fn a_field_that_went_away_is_named_and_the_sink_goes_on_once_it_is_back() {
    let (simulator, host) = Simulator::start().await;
    let sink = Erp { host, key: KEY.to_owned() }.sink(json!({}));
    for gone in ["web_id", "unit_price", "postal_code"] {
        simulator.take_away(Some(gone));
        let fault = sink.contract().await.unwrap_err();
        assert!(fault.message.contains(&format!("no field `{gone}`")), "{fault}");
        simulator.take_away(None);
        sink.contract().await.unwrap();
    }
    let asked = simulator.asked();
    let read = |one: &&String| one.starts_with("GET ") || one.ends_with("/fields_get");
    assert_eq!(asked.iter().filter(read).count(), asked.len(), "it only reads: {asked:?}");
}

#[tokio::test]
async fn what_would_be_sent_is_told_without_asking_the_erp() {
    let (simulator, host) = Simulator::start().await;
    let sink =
        Erp { host, key: KEY.to_owned() }.sink(json!({ "fields": { "comment": ".web_id" } }));
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
