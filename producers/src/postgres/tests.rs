use engine::connector::Findings;

use super::*;

fn options(options: serde_json::Value) -> PostgresOptions {
    serde_json::from_value(options).unwrap()
}

fn mistakes(json: serde_json::Value) -> Vec<&'static str> {
    let mut findings = Findings::default();
    options(json).check(&mut findings);
    findings.0.into_iter().map(|finding| finding.code).collect()
}

#[test]
fn a_source_reads_tables_or_an_outbox() {
    assert_eq!(mistakes(serde_json::json!({"tables": ["public.orders"]})), [""; 0]);
    assert_eq!(mistakes(serde_json::json!({"outbox": {"table": "outbox"}})), [""; 0]);
    assert_eq!(mistakes(serde_json::json!({})), ["tables_or_outbox"]);
    let both = serde_json::json!({"tables": ["a"], "outbox": {"table": "b"}});
    assert_eq!(mistakes(both), ["tables_or_outbox"]);
    let wrong = serde_json::json!({"tables": ["a"], "slot": "My-Slot", "chunk": 0});
    assert_eq!(mistakes(wrong), ["slot_name", "chunk"]);
    let wrong = serde_json::json!({"tables": ["a"], "event": ".afterr"});
    assert_eq!(mistakes(wrong).len(), 1);
}

#[test]
fn a_slot_is_named_after_its_route() {
    let options = options(serde_json::json!({"tables": ["orders"]}));
    assert_eq!(options.slot("Shop/all-orders"), "passerelle_shop_all_orders");
    assert_eq!(options.tables(), ["public.orders"]);
}
