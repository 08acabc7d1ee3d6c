//! Parties, products, invoices and payments: at the simulator what only it can be brought to do, and
//! all of it at a real ERP where there is one.

use engine::{Domain, Headers, Retry};
use serde_json::json;

use super::cutter::Cutter;
use super::rpc::Rpc;
use super::simulator::Simulator;
use super::tests::{Erp, Order, Way};
use super::*;

fn event(value: &Json) -> Event {
    Event {
        topic: "erp.objects".into(),
        partition: 0,
        offset: 1,
        timestamp: 1,
        key: Some("key".into()),
        payload: Some("avro".into()),
        headers: Headers::default(),
        value: Some(schemas::json::read_plain(value.to_string().as_bytes()).unwrap()),
    }
}

async fn deliver(sink: &TrytonSink, values: &[&Json]) -> Vec<Result<Delivery, Fault>> {
    let batch: Vec<Event> = values.iter().map(|value| event(value)).collect();
    sink.deliver(&batch, 1).await
}

async fn deliver_one(sink: &TrytonSink, value: &Json) -> Result<Delivery, Fault> {
    deliver(sink, &[value]).await.remove(0)
}

/// A text that no ERP has seen.
fn new() -> String {
    Order::new().web_id
}

/// A day of the ERP's fiscal year.
fn today() -> String {
    chrono::Utc::now().date_naive().to_string()
}

fn party(code: &str, name: &str) -> Json {
    json!({
        "code": code, "name": name,
        "addresses": [{ "street": "1 rue de la Paix", "city": "Paris", "postal_code": "75002", "country": "FR" }],
        "contacts": [{ "type": "email", "value": "buyer@acme.example" }],
    })
}

/// The ERP by its calls.
fn rpc(erp: &Erp) -> Rpc {
    match erp.sink(json!({})).erp {
        super::erp::Erp::Rpc(rpc) => rpc,
        super::erp::Erp::Rest(_) => panic!("it speaks REST"),
    }
}

async fn parties_are_created_changed_and_left_alone(erp: Erp) {
    let sink = erp.sink(json!({ "object": "party.party" }));
    let (first, second) = (party(&new(), "ACME"), party(&new(), "Bolt"));
    for (outcome, end) in deliver(&sink, &[&first, &second]).await.into_iter().zip(["created"; 2]) {
        assert!(outcome.unwrap().answer.ends_with(end));
    }
    let again = deliver_one(&sink, &first).await.unwrap();
    assert!(again.already_there && again.answer.ends_with("unchanged"), "{again:?}");
    let mut changed = party(first["code"].as_str().unwrap(), "ACME SARL");
    changed["contacts"] = json!([{ "type": "phone", "value": "+33102030405" }]);
    // Both of one batch, in their order.
    let outcomes = deliver(&sink, &[&changed, &first, &changed]).await;
    for outcome in outcomes {
        let delivery = outcome.unwrap();
        assert!(delivery.answer.ends_with("changed") && !delivery.already_there, "{delivery:?}");
    }
    let fields = ["name", "addresses.street", "contact_mechanisms.value"];
    let found = erp.all("party.party", json!([["code", "=", first["code"]]]), &fields).await;
    assert_eq!((found.len(), &found[0]["name"]), (1, &json!("ACME SARL")));
    assert_eq!(found[0]["addresses"].as_array().unwrap().len(), 1);
    assert_eq!(found[0]["contact_mechanisms"].as_array().unwrap().len(), 2);
}

/// A time-out is unknown, never failed.
async fn a_party_whose_answer_was_lost_is_there_once(erp: Erp) {
    let cutter = Cutter::before(&erp.host).await;
    let sink = erp.sink_at(&cutter.address, json!({ "object": "party.party" }));
    let wanted = party(&new(), "ACME");
    cutter.cut_next("RPC party.party.create");
    let fault = deliver_one(&sink, &wanted).await.unwrap_err();
    assert!(fault.unknown_outcome && cutter.has_cut(), "{fault}");
    deliver_one(&sink, &wanted).await.unwrap();
    let changed = party(wanted["code"].as_str().unwrap(), "ACME SARL");
    cutter.cut_next("RPC party.party.write");
    assert!(deliver_one(&sink, &changed).await.unwrap_err().unknown_outcome);
    deliver_one(&sink, &changed).await.unwrap();
    let found = erp.all("party.party", json!([["code", "=", wanted["code"]]]), &["name"]).await;
    assert_eq!((found.len(), &found[0]["name"]), (1, &json!("ACME SARL")));
}

#[tokio::test]
async fn parties_at_the_simulator() {
    parties_are_created_changed_and_left_alone(Erp::simulated(Way::Password).await).await;
    a_party_whose_answer_was_lost_is_there_once(Erp::simulated(Way::Password).await).await;
}

#[tokio::test]
async fn parties_at_a_real_erp() {
    if let Some(erp) = Erp::real(Way::Password) {
        parties_are_created_changed_and_left_alone(erp).await;
    }
    if let Some(erp) = Erp::real(Way::Password) {
        a_party_whose_answer_was_lost_is_there_once(erp).await;
    }
}

#[tokio::test]
async fn what_somebody_changed_is_not_overwritten_unless_the_file_says_so() {
    let (simulator, host) = Simulator::start().await;
    let erp = Erp::at(host, Way::Password);
    let sink = |on| erp.sink(json!({ "object": "party.party", "on_conflict": on }));
    let name = async || erp.all("party.party", json!([]), &["name"]).await[0]["name"].clone();
    deliver_one(&sink("dead_letter"), &party("C-1", "ACME")).await.unwrap();
    simulator.set("party.party", "name", &json!("Ann's ACME"));
    let wanted = party("C-1", "ACME SARL");
    let fault = deliver_one(&sink("dead_letter"), &wanted).await.unwrap_err();
    assert_eq!(
        (fault.domain, fault.retry, fault.cause),
        (Domain::Data, Retry::Never, "tryton_conflict")
    );
    for part in ["by Ann", "`name` is `Ann's ACME` there and `ACME SARL` in the event", "`C-1`"] {
        assert!(fault.message.contains(part), "{fault}");
    }
    assert!(deliver_one(&sink("keep"), &wanted).await.unwrap().already_there);
    assert_eq!(name().await, "Ann's ACME");
    // What she wrote is what the event says.
    assert!(
        deliver_one(&sink("dead_letter"), &party("C-1", "Ann's ACME")).await.unwrap().already_there
    );
    deliver_one(&sink("overwrite"), &wanted).await.unwrap();
    assert_eq!(name().await, "ACME SARL");
    // Now it is ours again.
    deliver_one(&sink("dead_letter"), &party("C-1", "ACME")).await.unwrap();
}

#[tokio::test]
async fn a_change_between_our_reading_and_our_writing_is_read_and_decided_anew() {
    let (simulator, host) = Simulator::start().await;
    let sink = Erp::at(host, Way::Password).sink(json!({ "object": "party.party" }));
    let codes = ["C-1", "C-2", "C-3"];
    let parties = codes.map(|code| party(code, "ACME"));
    deliver(&sink, &parties.iter().collect::<Vec<_>>())
        .await
        .into_iter()
        .for_each(|one| drop(one.unwrap()));
    let stale =
        r#"{"id":0,"error":["ConcurrencyException","Records were modified in the meanwhile"]}"#;
    // Of all three, of the first alone, and then no more.
    simulator.fail_next("RPC party.party.write", 200, stale);
    simulator.fail_next("RPC party.party.write", 200, stale);
    let parties = codes.map(|code| party(code, "ACME SARL"));
    for outcome in deliver(&sink, &parties.iter().collect::<Vec<_>>()).await {
        assert!(outcome.unwrap().answer.ends_with("changed"));
    }
}

#[tokio::test]
async fn a_persons_change_of_a_real_erp_is_not_overwritten() {
    let Some(erp) = Erp::real(Way::Password) else { return };
    let rpc = rpc(&erp);
    let groups = rpc.search("res.group", &json!([]), &["id"], 100).await.unwrap();
    let groups: Vec<&Json> = groups.iter().map(|group| &group["id"]).collect();
    let login = new();
    let ann = json!({ "name": "Ann", "login": login, "password": "correct horse battery",
                      "groups": [["add", groups]], "companies": [["add", [1]]], "company": 1 });
    rpc.create("res.user", &[ann]).await.unwrap();
    let credentials = json!({ "user": login, "password": "correct horse battery" });
    let hers = Erp { host: erp.host.clone(), credentials };
    let options = json!({ "object": "party.party", "on_conflict": "overwrite" });
    let (ours, hers) = (erp.sink(json!({ "object": "party.party" })), hers.sink(options));
    let code = new();
    deliver_one(&ours, &party(&code, "ACME")).await.unwrap();
    deliver_one(&hers, &party(&code, "Ann's ACME")).await.unwrap();
    let fault = deliver_one(&ours, &party(&code, "ACME SARL")).await.unwrap_err();
    assert_eq!(fault.cause, "tryton_conflict");
    assert!(fault.message.contains("by Ann: `name` is `Ann's ACME` there"), "{fault}");
    // The version guards what was read.
    let domain = json!([["code", "=", code]]);
    let found = rpc.search("party.party", &domain, &["_timestamp"], 1).await.unwrap().remove(0);
    deliver_one(&hers, &party(&code, "Ann's new ACME")).await.unwrap();
    let change = super::rpc::Change {
        id: rest::id(&found).unwrap(),
        values: json!({ "name": "ours" }),
        version: found["_timestamp"].as_str().unwrap().to_owned(),
    };
    let failure = rpc.write("party.party", &[change]).await.unwrap_err();
    assert!(matches!(failure, super::failure::Failure::Stale { .. }), "{failure:?}");
}

#[tokio::test]
async fn products_of_a_real_erp_are_created_and_changed() {
    let Some(erp) = Erp::real(Way::Password) else { return };
    let sink = erp.sink(json!({ "object": "product.product", "fields": { "consumable": "true" } }));
    let product = |code: &str, price: &str| json!({ "code": code, "name": "Thing", "type": "goods", "unit": "u", "list_price": price, "category": "Goods" });
    let code = new();
    for (price, end) in
        [("12.5000", "created"), ("12.5", "unchanged"), ("13.00", "changed"), ("13", "unchanged")]
    {
        let delivery = deliver_one(&sink, &product(&code, price)).await.unwrap();
        assert!(delivery.answer.ends_with(end), "{price}: {delivery:?}");
    }
    let found =
        erp.all("product.product", json!([["code", "=", code]]), &["template.consumable"]).await;
    // SQLite has 1 for true.
    assert!(found.len() == 1 && found[0]["template"]["consumable"] != json!(null), "{found:?}");
    assert_ne!(found[0]["template"]["consumable"], json!(0));
    let mut strange = product(&new(), "1");
    strange["unit"] = json!("ell");
    let fault = deliver_one(&sink, &strange).await.unwrap_err();
    assert!(fault.domain == Domain::Data && fault.message.contains("no unit `ell`"), "{fault}");
}

fn invoice(id: &str, customer: &str, total: &str) -> Json {
    let mut sale = Order::new().value();
    sale["id"] = json!(id);
    sale["party"]["code"] = json!(customer);
    sale["date"] = json!(today());
    sale["total"] = json!(total);
    sale
}

/// The states and the amounts that are still to be paid of the invoices of a reference.
async fn invoices(erp: &Erp, reference: &str) -> Vec<(String, String)> {
    let fields = ["state", "amount_to_pay"];
    let found = erp.all("account.invoice", json!([["reference", "=", reference]]), &fields).await;
    let text = |json: &Json| json.as_str().unwrap_or_default().to_owned();
    found.iter().map(|one| (text(&one["state"]), text(&one["amount_to_pay"]["decimal"]))).collect()
}

/// Waits until an invoice is in this state. The ERP goes on with what it was asked although the answer was
/// cut; what it is asked meanwhile does not see it.
async fn becomes(erp: &Erp, reference: &str, state: &str) {
    for _ in 0..300 {
        if invoices(erp, reference).await.iter().any(|(now, _)| now == state) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    panic!("{reference} is not {state}: {:?}", invoices(erp, reference).await);
}

#[tokio::test]
async fn invoices_of_a_real_erp_are_booked_and_paid_once_whatever_answer_is_lost() {
    let Some(erp) = Erp::real(Way::Password) else { return };
    let cutter = Cutter::before(&erp.host).await;
    let sink =
        erp.sink_at(&cutter.address, json!({ "object": "account.invoice", "state": "posted" }));
    let (id, customer) = (new(), new());
    let wanted = invoice(&id, &customer, "1234568.19");
    for (call, state) in
        [("RPC account.invoice.create", "draft"), ("RPC account.invoice.post", "posted")]
    {
        cutter.cut_next(call);
        let fault = deliver_one(&sink, &wanted).await.unwrap_err();
        assert!(fault.unknown_outcome && cutter.has_cut(), "{call}: {fault}");
        becomes(&erp, &id, state).await;
    }
    let outcomes = deliver(&sink, &[&wanted, &wanted]).await;
    assert!(outcomes.into_iter().all(|outcome| outcome.unwrap().already_there));
    assert_eq!(invoices(&erp, &id).await, [("posted".to_owned(), "1234568.19".to_owned())]);
    let bad = invoice(&new(), &customer, "1.00");
    let fault = deliver_one(&sink, &bad).await.unwrap_err();
    assert_eq!((fault.domain, fault.cause), (Domain::Data, "tryton_total"));
    assert_eq!(invoices(&erp, bad["id"].as_str().unwrap()).await[0].0, "draft");

    let sink = erp.sink_at(&cutter.address, json!({ "object": "account.invoice.pay" }));
    let payment = |of: &str, amount: &str| json!({ "id": new(), "invoice": of, "date": today(), "currency": "EUR", "amount": amount, "method": "Card" });
    let first = payment(&id, "1234000.00");
    let delivery = deliver_one(&sink, &first).await.unwrap();
    assert!(!delivery.already_there && delivery.answer.starts_with("move "), "{delivery:?}");
    let second = payment(&id, "568.19");
    cutter.cut_next("WIZARD account.invoice.pay.execute");
    assert!(deliver_one(&sink, &second).await.unwrap_err().unknown_outcome);
    becomes(&erp, &id, "paid").await;
    for outcome in deliver(&sink, &[&first, &second]).await {
        assert!(outcome.unwrap().already_there);
    }
    assert_eq!(invoices(&erp, &id).await, [("paid".to_owned(), "0".to_owned())]);
    let third = deliver_one(&sink, &payment(&id, "1.00")).await.unwrap_err();
    assert_eq!((third.domain, third.cause), (Domain::Data, "tryton_paid"));
    let early = deliver_one(&sink, &payment(&new(), "1.00")).await.unwrap_err();
    assert_eq!(
        (early.domain, early.retry, early.cause),
        (Domain::Remote, Retry::Backoff, "tryton_invoice")
    );
}
