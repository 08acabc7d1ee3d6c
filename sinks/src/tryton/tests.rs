use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use engine::{Domain, Headers, Retry};

use super::cutter::Cutter;
use super::simulator::{KEY, Simulator};
use super::*;
use crate::tests::setup;

const SKIPPED: &str = "SKIPPED: nothing was held against a real Tryton. To do so, set \
                       PASSERELLE_TRYTON_URL=http://127.0.0.1:8070/erp and PASSERELLE_TRYTON_KEY.\n";

/// An ERP to hold the promises against.
struct Erp {
    host: String,
    key: String,
}

impl Erp {
    async fn simulated() -> Self {
        Self { host: Simulator::start().await.1, key: KEY.to_owned() }
    }

    /// The real one of the environment: `PASSERELLE_TRYTON_URL=http://HOST:PORT/erp`, with products
    /// SKU-1 and SKU-2, and `PASSERELLE_TRYTON_KEY`.
    fn real() -> Option<Self> {
        let read = |name: &str| std::env::var(name).ok();
        let found = read("PASSERELLE_TRYTON_URL").zip(read("PASSERELLE_TRYTON_KEY"));
        let Some((url, key)) = found else {
            static ONCE: std::sync::Once = std::sync::Once::new();
            // Past the test harness, which keeps what passing tests print to itself.
            ONCE.call_once(|| drop(std::io::stderr().write_all(SKIPPED.as_bytes())));
            return None;
        };
        let host = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/erp"));
        Some(Self {
            host: host.expect("http://HOST:PORT/erp").to_owned(),
            key: key.trim().to_owned(),
        })
    }

    fn sink(&self, options: Json) -> TrytonSink {
        self.sink_at(&self.host, options)
    }

    /// A sink that reaches the ERP through `host`.
    fn sink_at(&self, host: &str, options: Json) -> TrytonSink {
        let connection = json!({
            "url": format!("http://{host}/erp"),
            "key": self.key,
            "allow_private": true,
            "timeout": "60s",
        });
        let connection = serde_json::from_value(connection).unwrap();
        TrytonSink::new(&connection, serde_json::from_value(options).unwrap(), &setup()).unwrap()
    }

    async fn all(&self, model: &str, domain: Json, fields: &[&str]) -> Vec<Json> {
        self.sink(json!({})).rest.search(model, &domain, fields, 100).await.unwrap()
    }

    /// The one sale of an order: its state and its total's text.
    async fn sale(&self, order: &Order) -> (String, String) {
        let found = self.all("sale.sale", json!([["web_id", "=", order.web_id]]), &FIELDS).await;
        assert_eq!(found.len(), 1, "{} has {} sales", order.web_id, found.len());
        let text = |json: &Json| json.as_str().unwrap().to_owned();
        (text(&found[0]["state"]), text(&found[0]["total_amount"]["decimal"]))
    }

    async fn parties(&self, order: &Order) -> Vec<Json> {
        let fields = ["addresses.street", "contact_mechanisms.value"];
        self.all("party.party", json!([["code", "=", order.customer]]), &fields).await
    }
}

/// An order that no ERP has seen.
#[derive(Clone)]
struct Order {
    web_id: String,
    customer: String,
    email: String,
    street: &'static str,
    lines: Json,
    total: &'static str,
}

impl Order {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let name = format!("{time}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        Self {
            web_id: format!("O-{name}"),
            customer: format!("shop:{name}"),
            email: format!("{name}@acme.example"),
            street: "1 rue de la Paix",
            lines: json!([
                { "product": "SKU-1", "quantity": "3.0000", "unit_price": "0.10" },
                { "product": "SKU-2", "quantity": "1.0000", "unit_price": "1234567.89" },
            ]),
            total: "1234568.19",
        }
    }

    fn event(&self) -> Event {
        let sale = json!({
            "web_id": self.web_id,
            "date": "2026-01-05",
            "currency": "EUR",
            "party": {
                "code": self.customer,
                "name": "ACME SARL",
                "email": self.email,
                "address": {
                    "street": self.street,
                    "city": "Paris",
                    "postal_code": "75002",
                    "country": "FR",
                },
            },
            "lines": self.lines,
            "total": self.total,
            "reference": null,
        });
        Event {
            topic: "erp.sales".into(),
            partition: 0,
            offset: 1,
            timestamp: 1,
            key: Some(self.web_id.clone().into()),
            payload: Some("avro".into()),
            headers: Headers::default(),
            value: Some(schemas::json::read_plain(sale.to_string().as_bytes()).unwrap()),
        }
    }
}

async fn deliver(sink: &TrytonSink, order: &Order, attempt: u32) -> Result<Delivery, Fault> {
    sink.deliver(&[order.event()], attempt).await.pop().unwrap()
}

/// Each promise is held against the simulator, and against a real ERP where there is one.
macro_rules! promises {
    ($($name:ident),+ $(,)?) => {
        mod at_the_simulator {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Erp::simulated().await).await;
            })+
        }

        mod at_a_real_erp {
            $(#[tokio::test]
            async fn $name() {
                if let Some(erp) = super::Erp::real() {
                    super::$name(erp).await;
                }
            })+
        }
    };
}

mod before_writing;

promises!(
    an_order_becomes_a_processed_sale_of_the_exact_total,
    eight_deliveries_at_once_of_one_order_make_one_sale,
    eight_orders_at_once_of_a_new_customer_make_one_party,
    a_connection_cut_at_any_step_makes_one_sale,
    a_repeat_is_already_there,
    a_total_that_differs_leaves_a_draft,
    an_unknown_product_or_currency_is_the_events_fault,
    a_new_address_is_added_once,
    a_customer_is_found_by_mail_address,
    a_sale_is_taken_as_far_as_the_route_says,
    further_fields_are_written,
    a_field_that_the_erp_lacks_makes_the_route_wait,
    a_wrong_key_makes_the_route_wait,
);

async fn an_order_becomes_a_processed_sale_of_the_exact_total(erp: Erp) {
    let order = Order::new();
    let delivery = deliver(&erp.sink(json!({})), &order, 1).await.unwrap();
    assert!(!delivery.already_there);
    assert!(delivery.answer.starts_with("sale ") && delivery.answer.ends_with(" confirmed"));
    let expected = ("processing".to_owned(), "1234568.19".to_owned());
    assert_eq!(erp.sale(&order).await, expected);
    let parties = erp.parties(&order).await;
    assert_eq!(parties[0]["addresses"][0]["street"], order.street);
    assert_eq!(parties[0]["contact_mechanisms"][0]["value"], order.email);
}

async fn eight_deliveries_at_once_of_one_order_make_one_sale(erp: Erp) {
    let (sink, order) = (Arc::new(erp.sink(json!({}))), Order::new());
    let tries = [(); 8].map(|()| {
        let (sink, order) = (Arc::clone(&sink), order.clone());
        tokio::spawn(async move { deliver(&sink, &order, 1).await })
    });
    let mut created = 0;
    for one in tries {
        let delivery = one.await.unwrap().unwrap();
        created += usize::from(!delivery.already_there);
    }
    assert_eq!(created, 1);
    assert_eq!(erp.sale(&order).await.0, "processing");
    assert_eq!(erp.parties(&order).await.len(), 1);
}

async fn eight_orders_at_once_of_a_new_customer_make_one_party(erp: Erp) {
    let sink = Arc::new(erp.sink(json!({})));
    let first = Order::new();
    let orders = [(); 8].map(|()| Order { web_id: Order::new().web_id, ..first.clone() });
    let tries = orders.clone().map(|order| {
        let sink = Arc::clone(&sink);
        tokio::spawn(async move { deliver(&sink, &order, 1).await })
    });
    for one in tries {
        assert!(!one.await.unwrap().unwrap().already_there);
    }
    for order in &orders {
        assert_eq!(erp.sale(order).await.0, "processing");
    }
    let parties = erp.parties(&first).await;
    assert_eq!(parties.len(), 1);
    assert_eq!(parties[0]["addresses"].as_array().unwrap().len(), 1);
}

async fn a_connection_cut_at_any_step_makes_one_sale(erp: Erp) {
    for step in ["POST /party.party", "POST /sale.sale", "POST /quote", "POST /confirm"] {
        let order = Order::new();
        let cutter = Cutter::before(&erp.host).await;
        let sink = erp.sink_at(&cutter.address, json!({}));
        cutter.cut_next(step);
        let fault = deliver(&sink, &order, 1).await.unwrap_err();
        assert!(cutter.has_cut(), "{step} was never asked");
        assert!(fault.unknown_outcome, "{step}: {fault}");
        assert_eq!((fault.domain, fault.retry), (Domain::Remote, Retry::Backoff), "{step}");
        // At once: the ERP is still working on what it was asked.
        let delivery = deliver(&sink, &order, 2).await.unwrap();
        assert!(delivery.answer.starts_with("sale "), "{step}: {}", delivery.answer);
        assert_eq!(erp.sale(&order).await, ("processing".to_owned(), order.total.to_owned()));
        let parties = erp.parties(&order).await;
        assert_eq!(parties.len(), 1, "{step}");
        assert_eq!(parties[0]["addresses"].as_array().unwrap().len(), 1, "{step}");
    }
}

async fn a_repeat_is_already_there(erp: Erp) {
    let (sink, order) = (erp.sink(json!({})), Order::new());
    deliver(&sink, &order, 1).await.unwrap();
    // After a restart nothing is known of the first time; after a time-out something is.
    for attempt in [1, 2] {
        let delivery = deliver(&erp.sink(json!({})), &order, attempt).await.unwrap();
        assert!(delivery.already_there);
    }
    assert_eq!(erp.sale(&order).await.0, "processing");
    let changed = Order { total: "1.00", ..order };
    let fault = deliver(&sink, &changed, 1).await.unwrap_err();
    assert_eq!(fault.cause, "tryton_total");
}

async fn a_total_that_differs_leaves_a_draft(erp: Erp) {
    let order = Order { total: "1234568.20", ..Order::new() };
    let sink = erp.sink(json!({}));
    for attempt in 1..=2 {
        let fault = deliver(&sink, &order, attempt).await.unwrap_err();
        assert_eq!((fault.domain, fault.cause), (Domain::Data, "tryton_total"));
        for part in ["1234568.19 EUR in the ERP", "1234568.20 EUR in the event", &order.web_id] {
            assert!(fault.message.contains(part), "{fault}");
        }
    }
    assert_eq!(erp.sale(&order).await.0, "draft");
    // Once somebody has looked, the retry goes on from there.
    let trusting = erp.sink(json!({ "check_total": "no" }));
    assert!(deliver(&trusting, &order, 1).await.unwrap().already_there);
    assert_eq!(erp.sale(&order).await.0, "processing");
}

async fn an_unknown_product_or_currency_is_the_events_fault(erp: Erp) {
    let sink = erp.sink(json!({}));
    let line = |code: &str| json!({ "product": code, "quantity": "1", "unit_price": "1.00" });
    let lines = json!([line("SKU-1"), line("NO-1"), line("NO-2")]);
    let order = Order { lines, ..Order::new() };
    let fault = deliver(&sink, &order, 1).await.unwrap_err();
    assert_eq!((fault.domain, fault.cause), (Domain::Data, "tryton_product"));
    assert!(fault.message.contains("`NO-1`, `NO-2`"), "{fault}");
    assert!(erp.parties(&order).await.is_empty());
    let mut event = Order::new().event();
    let text = schemas::json::write(event.value.as_ref().unwrap()).replace("EUR", "XXQ");
    event.value = Some(schemas::json::read_plain(text.as_bytes()).unwrap());
    let fault = sink.deliver(&[event], 1).await.pop().unwrap().unwrap_err();
    assert_eq!((fault.domain, fault.cause), (Domain::Data, "tryton_currency"));
}

async fn a_new_address_is_added_once(erp: Erp) {
    let sink = erp.sink(json!({}));
    let first = Order::new();
    deliver(&sink, &first, 1).await.unwrap();
    for _ in 0..2 {
        let moved = Order { web_id: Order::new().web_id, street: "2 rue Neuve", ..first.clone() };
        deliver(&sink, &moved, 1).await.unwrap();
    }
    let parties = erp.parties(&first).await;
    assert_eq!(parties[0]["addresses"].as_array().unwrap().len(), 2);
}

async fn a_customer_is_found_by_mail_address(erp: Erp) {
    let sink = erp.sink(json!({ "match_party": "email" }));
    let first = Order::new();
    deliver(&sink, &first, 1).await.unwrap();
    let again = Order { email: first.email.clone(), ..Order::new() };
    deliver(&sink, &again, 1).await.unwrap();
    assert!(erp.parties(&again).await.is_empty());
    assert_eq!(erp.parties(&first).await[0]["addresses"].as_array().unwrap().len(), 1);
}

async fn a_sale_is_taken_as_far_as_the_route_says(erp: Erp) {
    for state in ["draft", "quotation"] {
        let order = Order::new();
        deliver(&erp.sink(json!({ "state": state })), &order, 1).await.unwrap();
        assert_eq!(erp.sale(&order).await.0, state);
    }
}

async fn further_fields_are_written(erp: Erp) {
    let order = Order::new();
    let fields = json!({ "description": "\"Web order \" + string!(.web_id)" });
    let sink = erp.sink(json!({ "fields": fields, "payment_term": "Direct" }));
    deliver(&sink, &order, 1).await.unwrap();
    let domain = json!([["web_id", "=", order.web_id]]);
    let found = erp.all("sale.sale", domain, &["description", "payment_term"]).await;
    assert_eq!(found[0]["description"], format!("Web order {}", order.web_id));
    assert!(found[0]["payment_term"].is_i64());
}

async fn a_field_that_the_erp_lacks_makes_the_route_wait(erp: Erp) {
    let sink = erp.sink(json!({ "fields": { "no_such_field": ".web_id" } }));
    let fault = deliver(&sink, &Order::new(), 1).await.unwrap_err();
    assert_eq!((fault.cause, fault.retry), ("tryton_unknown_field", Retry::Route), "{fault}");
    assert!(fault.message.contains("`no_such_field`"), "{fault}");
}

async fn a_wrong_key_makes_the_route_wait(erp: Erp) {
    let wrong = Erp { key: "wrong-key".to_owned(), ..erp };
    let fault = deliver(&wrong.sink(json!({})), &Order::new(), 1).await.unwrap_err();
    assert_eq!((fault.cause, fault.retry), ("http_401", Retry::Route));
    assert!(!fault.message.contains("wrong-key"));
}

/// What one bad answer makes of a delivery at the simulator.
async fn after(path: &'static str, status: u16, body: &'static str) -> (Fault, Delivery) {
    let (simulator, host) = Simulator::start().await;
    let erp = Erp { host, key: KEY.to_owned() };
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
        let erp = Erp { host, key: KEY.to_owned() };
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
    let erp = Erp { host, key: KEY.to_owned() };
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
    let erp = Erp { host, key: KEY.to_owned() };
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
    let erp = Erp { host, key: KEY.to_owned() };
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
    let erp = Erp { host, key: KEY.to_owned() };
    let (sink, order) = (erp.sink(json!({})), Order::new());
    deliver(&sink, &order, 1).await.unwrap();
    simulator.set("sale.sale", "state", &json!("cancelled"));
    let delivery = deliver(&sink, &order, 2).await.unwrap();
    assert!(delivery.already_there && delivery.answer.ends_with("cancelled"));
    assert_eq!(erp.sale(&order).await.0, "cancelled");
}

#[tokio::test]
async fn a_deletion_is_kept_or_ignored() {
    let erp = Erp::simulated().await;
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
    let codes: Vec<_> =
        findings.0.iter().map(|found| (found.pointer.as_str(), found.code)).collect();
    let expected =
        [("/url", "url_invalid"), ("/key", "key_invalid"), ("/fields/web_id", "field_taken")];
    assert_eq!(codes, expected);
}
