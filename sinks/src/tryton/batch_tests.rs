//! Many events in one call, by JSON-RPC, at the simulator.

use engine::{Domain, Retry};
use serde_json::json;

use super::cutter::Cutter;
use super::simulator::Simulator;
use super::tests::{Erp, Order, Way};
use super::*;

async fn simulated() -> (Simulator, Erp) {
    let (simulator, host) = Simulator::start().await;
    (simulator, Erp::at(host, Way::Password))
}

/// Orders of one customer each; those at these places have this reference.
fn orders(count: usize, bad: &[usize], reference: &'static str) -> Vec<Order> {
    let order = |at| match bad.contains(&at) {
        true => Order { reference: Some(reference), ..Order::new() },
        false => Order::new(),
    };
    (0..count).map(order).collect()
}

type Outcomes = Vec<Result<Delivery, Fault>>;

async fn deliver(sink: &TrytonSink, orders: &[Order], attempt: u32) -> Outcomes {
    let batch: Vec<Event> = orders.iter().map(Order::event).collect();
    let outcomes = sink.deliver(&batch, attempt).await;
    assert_eq!(outcomes.len(), orders.len());
    outcomes
}

fn count(simulator: &Simulator, asked: &str) -> usize {
    simulator.asked().iter().filter(|one| *one == asked).count()
}

#[tokio::test]
async fn fifty_orders_are_created_in_one_call() {
    let (simulator, erp) = simulated().await;
    let (sink, orders) = (erp.sink(json!({})), orders(50, &[], ""));
    assert_eq!(sink.batch(), 50);
    for outcome in deliver(&sink, &orders, 1).await {
        assert!(!outcome.unwrap().already_there);
    }
    assert_eq!(count(&simulator, "RPC sale.sale.create"), 1);
    assert_eq!(count(&simulator, "RPC sale.sale.confirm"), 5);
    for order in &orders {
        assert_eq!(erp.sale(order).await.0, "processing");
    }
    // Again, as after a kill: nothing is doubled, and one question finds them all.
    let asked = count(&simulator, "RPC sale.sale.search_read");
    for outcome in deliver(&erp.sink(json!({})), &orders, 2).await {
        assert!(outcome.unwrap().already_there);
    }
    assert_eq!(count(&simulator, "RPC sale.sale.search_read"), asked + 1);
    assert_eq!(count(&simulator, "RPC sale.sale.create"), 1);
}

#[tokio::test]
async fn a_bad_order_alone_is_refused_with_the_erps_own_words() {
    for (reference, domain, said) in [
        ("refuse me", Domain::Data, "The reference is not polite."),
        ("break", Domain::Remote, "'a key of its own'"),
    ] {
        let (simulator, erp) = simulated().await;
        let (sink, orders) = (erp.sink(json!({})), orders(50, &[7, 31], reference));
        for (at, outcome) in deliver(&sink, &orders, 1).await.into_iter().enumerate() {
            match [7, 31].contains(&at) {
                true => {
                    let fault = outcome.unwrap_err();
                    assert_eq!(fault.domain, domain, "{fault}");
                    assert!(fault.message.contains(said), "{fault}");
                }
                false => assert!(outcome.unwrap().answer.starts_with("sale ")),
            }
        }
        let calls = count(&simulator, "RPC sale.sale.create");
        assert!(calls <= 25, "{calls}");
        let sales = erp.all("sale.sale", json!([]), &["web_id"]).await;
        assert_eq!(sales.len(), 48);
    }
}

#[tokio::test]
async fn a_batch_may_hold_one_order_twice_and_one_customer_often() {
    let (_, erp) = simulated().await;
    let first = Order::new();
    let again = Order { web_id: Order::new().web_id, ..first.clone() };
    let moved = |order: &Order| Order {
        web_id: Order::new().web_id,
        street: "2 rue Neuve",
        ..order.clone()
    };
    let orders = [first.clone(), first.clone(), again, moved(&first), moved(&first)];
    let outcomes = deliver(&erp.sink(json!({})), &orders, 1).await;
    let there: Vec<bool> = outcomes.into_iter().map(|one| one.unwrap().already_there).collect();
    assert_eq!(there, [false, true, false, false, false]);
    let parties = erp.all("party.party", json!([]), &["addresses.street"]).await;
    assert_eq!(parties.len(), 1);
    assert_eq!(parties[0]["addresses"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_session_that_ends_in_the_middle_is_opened_again() {
    let (simulator, erp) = simulated().await;
    let sink = erp.sink(json!({}));
    deliver(&sink, &orders(2, &[], ""), 1).await.into_iter().for_each(|one| drop(one.unwrap()));
    assert_eq!(simulator.sessions(), 1);
    simulator.end_sessions();
    let orders = orders(3, &[], "");
    deliver(&sink, &orders, 1).await.into_iter().for_each(|one| drop(one.unwrap()));
    assert_eq!(simulator.sessions(), 2);
    for order in &orders {
        assert_eq!(erp.sale(order).await.0, "processing");
    }
}

#[tokio::test]
async fn a_batch_whose_answer_was_lost_is_found_and_taken_on() {
    for call in ["RPC sale.sale.create", "RPC sale.sale.quote", "RPC sale.sale.confirm"] {
        let (simulator, erp) = simulated().await;
        let cutter = Cutter::before(&erp.host).await;
        let (sink, orders) = (erp.sink_at(&cutter.address, json!({})), orders(8, &[], ""));
        cutter.cut_next(call);
        for outcome in deliver(&sink, &orders, 1).await {
            let fault = outcome.unwrap_err();
            assert!(fault.unknown_outcome && fault.domain == Domain::Remote, "{call}: {fault}");
        }
        assert!(cutter.has_cut(), "{call}");
        // The ERP goes on with what it was asked.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        for outcome in deliver(&sink, &orders, 2).await {
            assert!(outcome.unwrap().already_there, "{call}");
        }
        assert_eq!(count(&simulator, "RPC sale.sale.create"), 1, "{call}");
    }
}

#[tokio::test]
async fn the_errors_of_json_rpc_are_told_apart() {
    let all = Retry::Route;
    for (call, body, expected) in [
        (
            "RPC sale.sale.create",
            r#"{"id":0,"error":["UserWarning",["w1","Stock is low.","Sure?"]]}"#,
            (Domain::Data, Retry::Never, "tryton_warning"),
        ),
        (
            "RPC sale.sale.quote",
            r#"{"id":0,"error":["UserError",["No address.","",null]]}"#,
            (Domain::Data, Retry::Never, "tryton_refused"),
        ),
        (
            "RPC sale.sale.confirm",
            r#"{"id":0,"error":["ConcurrencyException","Records were modified"]}"#,
            (Domain::Remote, Retry::Backoff, "tryton_changed"),
        ),
        (
            "RPC sale.sale.create",
            r#"{"id":0,"error":["database is locked","Traceback"]}"#,
            (Domain::Remote, Retry::Backoff, "tryton_500"),
        ),
        (
            "RPC web.shop.search_read",
            r#"{"id":0,"error":["UserError",["You may not.","",null]]}"#,
            (Domain::Remote, all, "tryton_access"),
        ),
        (
            "RPC web.shop.search_read",
            r#"{"id":0,"error":["'web.shop'","Traceback"]}"#,
            (Domain::Remote, all, "tryton_unknown_field"),
        ),
        (
            "RPC sale.sale.create",
            r#"{"id":0,"error":["LoginException",["password","Again?","password"]]}"#,
            (Domain::Remote, all, "tryton_login"),
        ),
        (
            "RPC sale.sale.create",
            "<html>maintenance</html>",
            (Domain::Remote, Retry::Backoff, "tryton_answer"),
        ),
    ] {
        let (simulator, erp) = simulated().await;
        let (sink, orders) = (erp.sink(json!({})), orders(1, &[], ""));
        simulator.fail_next(call, 200, body);
        let fault = deliver(&sink, &orders, 1).await.remove(0).unwrap_err();
        assert_eq!((fault.domain, fault.retry, fault.cause), expected, "{call}: {fault}");
        assert!(!fault.message.contains("Traceback"), "{fault}");
        deliver(&sink, &orders, 2).await.remove(0).unwrap();
        assert_eq!(erp.sale(&orders[0]).await.0, "processing");
    }
}

#[tokio::test]
async fn a_status_that_may_pass_is_every_events_and_asked_once() {
    for (status, cause) in
        [(429, "http_429"), (503, "http_503"), (504, "http_504"), (403, "http_403")]
    {
        let (simulator, erp) = simulated().await;
        let (sink, orders) = (erp.sink(json!({})), orders(20, &[], ""));
        simulator.fail_next("RPC sale.sale.create", status, "");
        for outcome in deliver(&sink, &orders, 1).await {
            let fault = outcome.unwrap_err();
            assert_eq!((fault.domain, fault.cause), (Domain::Remote, cause));
        }
        assert_eq!(count(&simulator, "RPC sale.sale.create"), 1);
        deliver(&sink, &orders, 2).await.into_iter().for_each(|one| drop(one.unwrap()));
    }
}
