use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::{Domain, Headers, Retry};
use serde_json::json;

use super::cutter::Cutter;
use super::sales::FIELDS;
use super::simulator::{KEY, PASSWORD, Simulator};
use super::*;
use crate::tests::setup;

const SKIPPED: &str = "SKIPPED: nothing was held against a real Tryton. To do so, set \
                       PASSERELLE_TRYTON_URL=http://127.0.0.1:8070/erp and PASSERELLE_TRYTON_KEY.\n";

/// The way in.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Key,
    Password,
}

/// An ERP to hold the promises against.
pub(super) struct Erp {
    pub(super) host: String,
    /// Our credentials there.
    pub(super) credentials: Json,
}

impl Erp {
    pub(super) async fn simulated(way: Way) -> Self {
        Self::at(Simulator::start().await.1, way)
    }

    /// The simulator at `host`.
    pub(super) fn at(host: String, way: Way) -> Self {
        let credentials = match way {
            Way::Key => json!({ "key": KEY }),
            Way::Password => json!({ "user": "admin", "password": PASSWORD }),
        };
        Self { host, credentials }
    }

    /// The real one of the environment: `PASSERELLE_TRYTON_URL=http://HOST:PORT/erp`, with products
    /// SKU-1 and SKU-2, and `PASSERELLE_TRYTON_KEY`; the password of its `admin` is `admin`.
    pub(super) fn real(way: Way) -> Option<Self> {
        let read = |name: &str| std::env::var(name).ok();
        let found = read("PASSERELLE_TRYTON_URL").zip(read("PASSERELLE_TRYTON_KEY"));
        let Some((url, key)) = found else {
            static ONCE: std::sync::Once = std::sync::Once::new();
            // Past the test harness, which keeps what passing tests print to itself.
            ONCE.call_once(|| drop(std::io::stderr().write_all(SKIPPED.as_bytes())));
            return None;
        };
        let host = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/erp"));
        let credentials = match way {
            Way::Key => json!({ "key": key.trim() }),
            Way::Password => json!({ "user": "admin", "password": "admin" }),
        };
        Some(Self { host: host.expect("http://HOST:PORT/erp").to_owned(), credentials })
    }

    pub(super) fn sink(&self, options: Json) -> TrytonSink {
        self.sink_at(&self.host, options)
    }

    /// A sink that reaches the ERP through `host`.
    pub(super) fn sink_at(&self, host: &str, options: Json) -> TrytonSink {
        let mut connection = json!({
            "url": format!("http://{host}/erp"),
            "allow_private": true,
            "timeout": "60s",
        });
        connection.as_object_mut().unwrap().extend(self.credentials.as_object().unwrap().clone());
        let connection = serde_json::from_value(connection).unwrap();
        TrytonSink::new(&connection, serde_json::from_value(options).unwrap(), &setup()).unwrap()
    }

    pub(super) async fn all(&self, model: &str, domain: Json, fields: &[&str]) -> Vec<Json> {
        self.sink(json!({})).erp.search(model, &domain, fields, 100).await.unwrap()
    }

    /// The one sale of an order: its state and its total's text. What is confirmed the ERP processes by
    /// itself, soon after.
    pub(super) async fn sale(&self, order: &Order) -> (String, String) {
        for _ in 0..100 {
            let sale = self.sale_now(order).await;
            if sale.0 != "confirmed" {
                return sale;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.sale_now(order).await
    }

    async fn sale_now(&self, order: &Order) -> (String, String) {
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
pub(super) struct Order {
    pub(super) web_id: String,
    pub(super) customer: String,
    pub(super) email: String,
    pub(super) street: &'static str,
    pub(super) lines: Json,
    pub(super) total: &'static str,
    /// What the customer calls it.
    pub(super) reference: Option<&'static str>,
}

impl Order {
    pub(super) fn new() -> Self {
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
            reference: None,
        }
    }

    pub(super) fn value(&self) -> Json {
        json!({
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
            "reference": self.reference,
        })
    }

    pub(super) fn event(&self) -> Event {
        let sale = self.value();
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

pub(super) async fn deliver(
    sink: &TrytonSink,
    order: &Order,
    attempt: u32,
) -> Result<Delivery, Fault> {
    sink.deliver(&[order.event()], attempt).await.pop().unwrap()
}

/// Each promise is held against the simulator, and against a real ERP where there is one, by both
/// interfaces.
macro_rules! promises {
    ($($name:ident),+ $(,)?) => {
        promises!(@of at_the_simulator_by_rest, Key, simulated, $($name),+);
        promises!(@of at_the_simulator_by_json_rpc, Password, simulated, $($name),+);
        promises!(@of at_a_real_erp_by_rest, Key, found, $($name),+);
        promises!(@of at_a_real_erp_by_json_rpc, Password, found, $($name),+);
    };
    (@of $module:ident, $way:ident, $erp:ident, $($name:ident),+) => {
        mod $module {
            $(#[tokio::test]
            async fn $name() {
                if let Some(erp) = super::$erp(super::Way::$way).await {
                    super::$name(erp).await;
                }
            })+
        }
    };
}

mod before_writing;

async fn simulated(way: Way) -> Option<Erp> {
    Some(Erp::simulated(way).await)
}

async fn found(way: Way) -> Option<Erp> {
    Erp::real(way)
}

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
    wrong_credentials_make_the_route_wait,
);

async fn an_order_becomes_a_processed_sale_of_the_exact_total(erp: Erp) {
    let order = Order::new();
    let delivery = deliver(&erp.sink(json!({})), &order, 1).await.unwrap();
    assert!(!delivery.already_there);
    assert!(delivery.answer.starts_with("sale "), "{delivery:?}");
    // What follows a confirmation is done in a moment.
    assert!([" confirmed", " processing"].iter().any(|end| delivery.answer.ends_with(end)));
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
    let rest = ["POST /party.party", "POST /sale.sale", "POST /quote", "POST /confirm"];
    let calls = ["party.party.create", "sale.sale.create", "sale.sale.quote", "sale.sale.confirm"];
    let calls = calls.map(|call| format!("RPC {call}").leak() as &'static str);
    for step in if erp.credentials["key"].is_string() { rest } else { calls } {
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

async fn wrong_credentials_make_the_route_wait(erp: Erp) {
    let (credentials, cause) = match erp.credentials["key"].is_string() {
        true => (json!({ "key": "wrong-key" }), "http_401"),
        false => (json!({ "user": "admin", "password": "wrong-key" }), "tryton_login"),
    };
    let wrong = Erp { credentials, ..erp };
    let fault = deliver(&wrong.sink(json!({})), &Order::new(), 1).await.unwrap_err();
    assert_eq!((fault.cause, fault.retry), (cause, Retry::Route), "{fault}");
    assert!(!fault.message.contains("wrong-key"));
}
