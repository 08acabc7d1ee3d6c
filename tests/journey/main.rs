//! The journey: signed webhooks of a payment service become sales of an ERP, mails to the buyers, invoices
//! of an accounting application, rows of a table, lines of a sheet and of a lake, each once, with real
//! parts at all ends (but the accounting application's) and a real Apache Kafka between.
//!
//! localstripe signs and sends; `passerelle run` takes the webhooks as `orders.yaml` says; Tryton is
//! asked at the end what it has. Stripe sends a webhook again until it is answered 2xx, localstripe
//! sends it once: an [`outbox`] between the two keeps each as it was signed, and sends it as Stripe does.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod erp;
mod mail;
mod orders;
mod outbox;
mod passerelle;
#[path = "../postgres/database.rs"]
mod postgres;
#[path = "../applications/quickbooks.rs"]
mod quickbooks;
#[path = "../applications/simulator.rs"]
#[expect(dead_code, reason = "here it behaves")]
mod simulator;
mod stripe;
mod surroundings;
mod targets;

use std::collections::HashSet;
use std::time::{Duration, UNIX_EPOCH};

use erp::{Erp, Sale};
use mail::Mail;
use orders::{BUYERS, Order};
use outbox::Outbox;
use passerelle::{Passerelle, Pipeline};
use stripe::Stripe;
use surroundings::Surroundings;
use targets::Targets;

/// How long the last order may take; the ERP needs about a second for each.
const PATIENCE: Duration = Duration::from_secs(300);

/// The ERP writes one sale at a time, and both tests would like the usual ports.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Everything between the first payment and the last sale.
struct Journey {
    stripe: Stripe,
    outbox: Outbox,
    pipeline: Pipeline,
    erp: Erp,
    mail: Mail,
    targets: Targets,
}

impl Journey {
    /// Everything is there but the mail server, which does not run yet.
    async fn prepare(around: &Surroundings) -> Self {
        // Whoever opens a connection finds its cryptography.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let erp = Erp::in_directory(&around.erp);
        let mail = Mail::new(&around.python);
        let targets = Targets::prepare(&around.postgres).await;
        let pipeline = Pipeline::write(&around.kafka, &erp, &mail, &targets);
        let outbox = Outbox::start(pipeline.webhook_url()).await;
        let stripe = Stripe::start(&around.python).await;
        stripe.send_webhooks_to(&outbox.url, passerelle::SECRET).await;
        Self { stripe, outbox, pipeline, erp, mail, targets }
    }

    /// The customers of Stripe, in the order of [`BUYERS`].
    async fn customers(&self) -> Vec<String> {
        let mut customers = Vec::new();
        for buyer in &BUYERS {
            customers.push(self.stripe.customer(buyer).await);
        }
        customers
    }

    async fn sales(&self, orders: &[Order]) -> Vec<Sale> {
        self.erp.sales(&orders.iter().map(|order| order.id.as_str()).collect::<Vec<_>>()).await
    }

    /// Waits until the ERP processes as many of the orders as are expected.
    async fn landed(&self, orders: &[Order], expected: usize) -> Vec<Sale> {
        let landed = async || {
            let sales = self.sales(orders).await;
            let processing = sales.iter().filter(|sale| sale.state == "processing").count();
            (processing >= expected).then_some(sales)
        };
        eventually("the orders are in the ERP", landed).await
    }

    /// Waits until every route has handled every event.
    async fn settled(&self, running: &Passerelle) {
        let now = UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
        let settled = async || (running.lag(now).await == Some(0)).then_some(());
        eventually("every route has caught up", settled).await;
    }
}

/// Asks until there is an answer.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let started = std::time::Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_payment_lands_everywhere_once_although_webhooks_repeat_and_the_process_is_killed() {
    let Some(around) = Surroundings::find() else { return };
    let _turn = ONE_AT_A_TIME.lock().await;
    let mut journey = Journey::prepare(&around).await;
    journey.mail.start().await;
    let orders = Order::twelve(journey.pipeline.run());
    let customers = journey.customers().await;
    let mut running = journey.pipeline.start().await;

    // The first two are of one customer whom the ERP does not know, at the same moment.
    let (before, after) = orders.split_at(8);
    let pay = |order| journey.stripe.pay(&customers, order);
    tokio::join!(pay(&before[0]), pay(&before[1]));
    for order in &before[2..] {
        pay(order).await;
    }
    for order in &before[..2] {
        let (status, answer) = journey.outbox.send_again(&order.id).await;
        assert!(status == 200 && answer["duplicate"] == true, "{status} {answer}");
    }
    let some = async || Some(journey.sales(&orders).await.len()).filter(|landed| *landed >= 3);
    let landed = eventually("some orders are in the ERP", some).await;
    running.kill();
    println!("killed with {landed} of {} orders in the ERP", orders.len());
    for order in after {
        pay(order).await;
    }
    let running = journey.pipeline.start().await;
    let (status, answer) = journey.outbox.send_again(&before[2].id).await;
    assert!(status == 200 && answer["duplicate"] == true, "{status} {answer}");

    journey.landed(&orders, orders.len()).await;
    journey.settled(&running).await;
    let events = journey.pipeline.tap("stripe.events");
    let dead = journey.pipeline.dead_letters();
    running.stop();
    let sales = journey.sales(&orders).await;
    orders::print(&orders, &sales, &journey.outbox);
    println!(
        "{} webhooks of Stripe, {} sent again, {} events, {} sales, {} dead letters",
        journey.outbox.received(),
        journey.outbox.repeats(),
        events.len(),
        sales.len(),
        dead.len()
    );
    assert_eq!(events.len(), journey.outbox.received(), "a webhook is one event");
    assert!(dead.is_empty(), "{dead:#?}");
    orders::hold(&orders, &customers, &sales);
    // A mail that is sent again after the kill is the same mail.
    let mails: HashSet<_> = journey.mail.taken().iter().map(|mail| told(mail)).collect();
    let expected: HashSet<_> = orders.iter().map(told_of).collect();
    assert_eq!(mails, expected);
    journey.targets.hold(&orders, &journey.pipeline.files(), &around.python);
}

/// Whom a mail tells what.
fn told(mail: &str) -> (String, String) {
    let header = |name| mail::header(mail, name).to_owned();
    (header("To"), header("Subject"))
}

/// What its buyer should be told of an order.
fn told_of(order: &Order) -> (String, String) {
    (BUYERS[order.buyer].email.to_owned(), format!("Your order {}", order.id))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_is_down_delays_no_sale_and_then_gets_each_mail_once() {
    let Some(around) = Surroundings::find() else { return };
    let _turn = ONE_AT_A_TIME.lock().await;
    let mut journey = Journey::prepare(&around).await;
    let orders = Order::twelve(journey.pipeline.run());
    let customers = journey.customers().await;
    let running = journey.pipeline.start().await;
    for order in &orders {
        journey.stripe.pay(&customers, order).await;
    }
    let sales = journey.landed(&orders, orders.len()).await;
    orders::hold(&orders, &customers, &sales);
    assert_ne!(running.lag(0).await, Some(0), "the mails wait");

    journey.mail.start().await;
    journey.settled(&running).await;
    let (dead, mails) = (journey.pipeline.dead_letters(), journey.mail.taken());
    running.stop();
    assert!(dead.is_empty(), "{dead:#?}");
    let mut told: Vec<_> = mails.iter().map(|mail| told(mail)).collect();
    let mut expected: Vec<_> = orders.iter().map(told_of).collect();
    told.sort();
    expected.sort();
    assert_eq!(told, expected, "each mail once");
    let ids: HashSet<_> = mails.iter().map(|mail| mail::header(mail, "Message-ID")).collect();
    assert_eq!(ids.len(), orders.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_cannot_be_a_sale_is_a_dead_letter_and_the_others_go_on() {
    let Some(around) = Surroundings::find() else { return };
    let _turn = ONE_AT_A_TIME.lock().await;
    let mut journey = Journey::prepare(&around).await;
    journey.mail.start().await;
    let orders = Order::of_which_three_are_bad(journey.pipeline.run());
    let customers = journey.customers().await;
    let running = journey.pipeline.start().await;
    for order in &orders {
        journey.stripe.pay(&customers, order).await;
    }
    journey.landed(&orders, 1).await;
    let all = async || Some(journey.pipeline.dead_letters()).filter(|dead| dead.len() == 3);
    let dead = eventually("the bad payments are dead letters", all).await;
    journey.settled(&running).await;
    let sales = journey.sales(&orders).await;
    running.stop();

    for letter in &dead {
        println!("{}: {}", letter.topic, letter.cause);
    }
    let has = |route: &str, cause: &str| {
        let topic = journey.pipeline.dead_letters_of(route);
        dead.iter().any(|letter| letter.topic == topic && letter.cause.contains(cause))
    };
    assert!(has("to_sale", "`parse_json` failed"), "the lines are no JSON: {dead:#?}");
    assert!(has("sales", "no product `SKU-404`"), "the ERP does not know it: {dead:#?}");
    assert!(has("sales", "0.30 EUR in the ERP and to 0.31 EUR"), "a cent too much: {dead:#?}");
    // Money that differs is not booked: the sale stays for a person to look at.
    let (drafts, booked): (Vec<_>, Vec<_>) =
        sales.into_iter().partition(|sale| sale.state == "draft");
    assert_eq!(drafts.iter().map(|sale| &sale.order).collect::<Vec<_>>(), [&orders[2].id]);
    orders::hold(&orders[3..], &customers, &booked);
}
