//! Webhooks, as an application that calls them sees it: what is answered 2xx is in Kafka once, what
//! is refused leaves nothing.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "endtoend/mod.rs"]
mod endtoend;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::Duration;

use endtoend::folder::{Folder, free_address};
use endtoend::process::{Process, Signal};
use endtoend::shop::{Call, SECRET, Shop, now, order, signed, signed_with};
use endtoend::{client, topic, until};
use hmac::{Hmac, Mac as _};
use serde_json::json;
use sha2::Sha256;

const NEW_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const SHOP: &str = r#"
topics:
  shop.orders: { partitions: 4, schema: order.avsc }
sources:
  shop:
    webhook:
      path: /shop
      signature: { standard_webhooks: "${file:shop.secret}" }
      time: .placed_at
      body_limit: 16KiB
    to: shop.orders
    key: .customer.id
"#;

/// A second source on the same topic, for a caller of our own.
const STRICT: &str = r#"
  strict:
    webhook: { path: /strict, signature: { standard_webhooks: "${file:shop.secret}" }, on_invalid: refuse }
    to: shop.orders
    key: .customer.id
"#;

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

async fn status(shop: &Shop, call: Call) -> u16 {
    shop.send(call).await.status
}

async fn orders(folder: &Folder) -> Vec<topic::Record> {
    topic::read(folder.kafka(), "shop.orders").await
}

#[tokio::test]
async fn a_signed_order_is_one_event_of_its_customer() {
    let folder = Folder::with(SHOP);
    let mut process = folder.run().await;
    let before = now() * 1_000;
    let body = order("O-1", "C-1").to_string();
    let answer = folder.shop().send(signed("msg_1", body.clone())).await;
    assert_eq!((answer.status, answer.body["duplicate"].as_bool()), (200, Some(false)));

    let events = orders(&folder).await;
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(event.key.as_deref(), Some(b"C-1".as_slice()));
    assert_eq!((event.header("ce_id"), event.header("ce_source")), ("msg_1", "orders/shop"));
    let time = chrono::DateTime::parse_from_rfc3339(event.header("ce_time")).unwrap();
    assert_eq!(time.to_utc().to_rfc3339(), "2026-01-31T08:00:00+00:00");
    let received: u64 = event.header("passerelle_received").parse().unwrap();
    assert!((before..=now() * 1_000 + 1_000).contains(&received));
    let shown = folder.tap("shop.orders").await;
    assert_eq!(shown[0]["value"]["id"], "O-1");
    assert_eq!(shown[0]["value"]["total"], "99.90", "money is its exact digits");

    // A gateway may have packed the body after it was signed.
    let packed = Call { body: gzip(body.as_bytes()), ..signed("msg_2", body) };
    assert_eq!(status(&folder.shop(), packed.with("content-encoding", "gzip")).await, 200);
    assert_eq!(orders(&folder).await.len(), 2);
    process.assert_alive();
}

#[tokio::test]
async fn a_call_that_is_not_signed_well_is_401_and_leaves_nothing() {
    let folder = Folder::with(SHOP);
    let _process = folder.run().await;
    let shop = folder.shop();
    let body = order("O-1", "C-1").to_string();
    let good = || signed("msg_1", body.clone());
    let signature =
        good().headers.iter().find(|(name, _)| *name == "webhook-signature").unwrap().1.clone();
    let spoilt = [
        ("another secret", signed_with(NEW_SECRET, now(), "msg_1", body.clone())),
        ("no signature", good().with("webhook-signature", "")),
        ("an empty signature", good().with("webhook-signature", "v1,")),
        ("a cut signature", good().with("webhook-signature", &signature[..signature.len() - 5])),
        ("another version", good().with("webhook-signature", &signature.replace("v1,", "v2,"))),
        ("another id", good().with("webhook-id", "msg_2")),
        ("another time", good().with("webhook-timestamp", &(now() - 60).to_string())),
        ("no time", good().with("webhook-timestamp", "yesterday")),
        ("an old time", signed_with(SECRET, now() - 301, "msg_1", body.clone())),
        ("a time to come", signed_with(SECRET, now() + 330, "msg_1", body.clone())),
        ("a body written anew", Call { body: body.replace(':', ": ").into(), ..good() }),
        ("no body", Call { body: Vec::new(), ..good() }),
    ];
    for (what, call) in spoilt {
        let answer = shop.send(call).await;
        assert_eq!(answer.status, 401, "{what}: {}", answer.body);
        assert!(!answer.body.to_string().contains("C2FVsBQIhrscChlQIMV"), "{what}");
    }
    assert!(orders(&folder).await.is_empty());
    assert!(topic::read(folder.kafka(), "orders.shop.dead-letters").await.is_empty());
    // The id of a refused call is not taken.
    assert_eq!(status(&shop, good()).await, 200);
}

#[tokio::test]
async fn what_is_too_large_or_no_call_at_all_leaves_nothing() {
    let folder = Folder::with(SHOP);
    let mut process = folder.run().await;
    let (shop, nowhere) = (folder.shop(), Shop::new(&format!("http://{}/other", folder.webhooks)));
    assert_eq!(status(&shop, signed("msg_1", vec![b' '; 16 * 1024 + 1])).await, 413);
    let bomb = gzip(&vec![b' '; 10_000_000]);
    assert!(bomb.len() < 16 * 1024);
    let bomb = signed("msg_2", bomb).with("content-encoding", "gzip");
    assert_eq!(status(&shop, bomb).await, 413);
    let not_gzip = signed("msg_3", "{}").with("content-encoding", "gzip");
    assert_eq!(status(&shop, not_gzip).await, 400);
    assert_eq!(status(&nowhere, signed("msg_4", order("O-1", "C-1").to_string())).await, 404);
    assert_eq!(client().get(&shop.url).send().await.unwrap().status(), 405);
    assert!(orders(&folder).await.is_empty());
    assert!(topic::read(folder.kafka(), "orders.shop.dead-letters").await.is_empty());
    process.assert_alive();
}

#[tokio::test]
async fn a_signed_call_that_does_not_fit_is_kept_byte_for_byte_or_refused_with_its_field() {
    let folder = Folder::with(&format!("{SHOP}{STRICT}"));
    let _process = folder.run().await;
    let misfit = order("O-1", "C-1").to_string().replace("\"33.30\"", "\"thirty\"");
    let bodies = [b"not \xff JSON".to_vec(), misfit.clone().into_bytes(), Vec::new()];
    for (at, body) in bodies.iter().enumerate() {
        let id = format!("msg_{at}");
        assert_eq!(status(&folder.shop(), signed(&id, body.clone())).await, 200);
        assert_eq!(status(&folder.shop(), signed(&id, body.clone())).await, 200, "again");
    }
    let letters = topic::read(folder.kafka(), "orders.shop.dead-letters").await;
    let kept = letters.iter().map(|letter| letter.value.clone().unwrap_or_default());
    assert_eq!(kept.collect::<Vec<_>>(), bodies, "once each, byte for byte");
    for letter in &letters {
        let added = letter.headers.iter().filter(|(name, _)| name.starts_with("__connect.errors."));
        assert_eq!(added.count(), 10);
        assert_eq!(letter.header("__connect.errors.exception.class.name"), "invalid_body");
    }
    assert!(letters[1].header("__connect.errors.exception.message").contains("unit_price"));

    let strict = Shop::new(&format!("http://{}/strict", folder.webhooks));
    let answer = strict.send(signed("msg_9", misfit)).await;
    assert_eq!((answer.status, &answer.body["field"]), (422, &".lines[0].unit_price".into()));
    assert!(topic::read(folder.kafka(), "orders.strict.dead-letters").await.is_empty());
    assert!(orders(&folder).await.is_empty());
    let mended = signed("msg_9", order("O-1", "C-1").to_string());
    assert_eq!(status(&strict, mended).await, 200, "a refused id is not taken");
    assert_eq!(orders(&folder).await.len(), 1);
}

#[tokio::test]
async fn an_id_makes_one_event_however_often_it_comes_and_over_a_crash() {
    let folder = Folder::with(SHOP);
    let mut process = folder.run().await;
    let shop = folder.shop();
    let call = |id: &str| signed(id, order(id, "C-1").to_string());
    for again in 0..5 {
        let answer = shop.send(call("O-1")).await;
        assert_eq!((answer.status, &answer.body["duplicate"]), (200, &(again > 0).into()));
    }
    let together = futures::future::join_all((0..50).map(|_| shop.send(call("O-2")))).await;
    assert!(together.iter().all(|answer| answer.status == 200), "{together:?}");
    assert_eq!(orders(&folder).await.len(), 2);

    process.kill();
    let mut process = folder.start();
    // From the first moment on: the window is there before the first 2xx.
    let answer =
        until("the webhook answers again", async || shop.try_send(call("O-2")).await).await;
    assert_eq!((answer.status, &answer.body["duplicate"]), (200, &true.into()));
    assert_eq!(shop.send(call("O-1")).await.body["duplicate"], true);
    let together = futures::future::join_all((0..50).map(|_| shop.send(call("O-2")))).await;
    assert!(together.iter().all(|answer| answer.body["duplicate"] == true));
    folder.operators().ready(&mut process).await;
    assert_eq!(orders(&folder).await.len(), 2);
}

#[tokio::test]
async fn during_a_rotation_the_old_and_the_new_secret_sign() {
    let folder =
        Folder::with(&SHOP.replace(
            "\"${file:shop.secret}\"",
            "[\"${file:new.secret}\", \"${file:shop.secret}\"]",
        ));
    folder.write("new.secret", &format!("{NEW_SECRET}\n"));
    let _process = folder.run().await;
    let shop = folder.shop();
    let call =
        |secret: &str, id: &str| signed_with(secret, now(), id, order(id, "C-1").to_string());
    assert_eq!(status(&shop, call(SECRET, "O-1")).await, 200);
    assert_eq!(status(&shop, call(NEW_SECRET, "O-2")).await, 200);
    let third = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(status(&shop, call(third, "O-3")).await, 401);
    // A sender that signs with both is taken by whoever knows one.
    let signature = |call: &Call| call.headers.last().unwrap().1.clone();
    let both = format!("{} {}", signature(&call(third, "O-4")), signature(&call(SECRET, "O-4")));
    assert_eq!(status(&shop, call(SECRET, "O-4").with("webhook-signature", &both)).await, 200);
    assert_eq!(orders(&folder).await.len(), 3);
}

/// The embedded broker and registry as a process of their own.
struct Brokers {
    kafka: String,
    registry: String,
    folder: tempfile::TempDir,
}

impl Brokers {
    fn new() -> Self {
        Self {
            kafka: free_address().to_string(),
            registry: free_address().to_string(),
            folder: tempfile::TempDir::new().unwrap(),
        }
    }

    fn start(&self) -> Process {
        let arguments =
            ["broker", "--data", "data", "--listen", &self.kafka, "--registry", &self.registry];
        Process::start(self.folder.path(), "broker", &arguments)
    }
}

#[tokio::test]
async fn without_a_broker_calls_are_503_and_what_was_acknowledged_is_there_afterwards() {
    let brokers = Brokers::new();
    let mut broker = brokers.start();
    let Brokers { kafka, registry, .. } = &brokers;
    let folder = Folder::with(&format!(
        "kafka: {{ brokers: \"{kafka}\" }}\nregistry: {{ url: \"http://{registry}\" }}\n{SHOP}"
    ));
    let process = folder.run().await;
    let shop = folder.shop();
    let mut acknowledged = BTreeSet::new();
    let mut number = 0;
    let mut send = async || {
        number += 1;
        let id = format!("O-{number}");
        let answer = shop.send(signed(&id, order(&id, "C-1").to_string())).await;
        (answer.status == 200).then(|| acknowledged.insert(id));
        answer
    };
    assert_eq!(send().await.status, 200);

    for outage in ["stopped", "killed"] {
        match outage {
            "stopped" => broker.signal(Signal::Stop),
            _ => broker.kill(),
        }
        for _ in 0..3 {
            let answer = send().await;
            assert_eq!(answer.status, 503, "{outage}: {}", answer.body);
            let wait: u64 = answer.retry_after.expect("Retry-After").parse().unwrap();
            assert!(wait > 0);
        }
        folder.operators().waits("orders/shop", &[kafka]).await;
        match outage {
            "stopped" => broker.signal(Signal::Continue),
            _ => broker = brokers.start(),
        }
        until("calls are taken again", async || (send().await.status == 200).then_some(())).await;
        folder.operators().state("orders/shop", "running").await;
    }
    let there = topic::read(kafka.clone(), "shop.orders").await;
    let there: BTreeSet<_> = there.iter().map(|event| event.header("ce_id").to_owned()).collect();
    assert!(acknowledged.is_subset(&there), "{acknowledged:?} {there:?}");
    assert!(acknowledged.len() >= 3);
    assert!(process.terminate().await.success());
}

/// What it brought is in the producer's queue by then: it will be written, and its id must be known.
#[tokio::test]
async fn a_caller_that_hangs_up_before_its_answer_does_not_double_its_event() {
    let brokers = Brokers::new();
    let broker = brokers.start();
    let Brokers { kafka, registry, .. } = &brokers;
    let folder = Folder::with(&format!(
        "kafka: {{ brokers: \"{kafka}\" }}\nregistry: {{ url: \"http://{registry}\" }}\n{SHOP}"
    ));
    let process = folder.run().await;
    let shop = folder.shop();
    let call = |number: usize| {
        let id = format!("O-{number}");
        signed(&id, order(&id, &format!("C-{number}")).to_string())
    };
    assert_eq!(status(&shop, call(0)).await, 200);
    broker.signal(Signal::Stop);
    let hasty = (1..20).map(|number| {
        let sent = shop.send(call(number));
        async move { tokio::time::timeout(Duration::from_millis(300), sent).await.is_err() }
    });
    let hung_up = futures::future::join_all(hasty).await;
    assert_eq!(hung_up, [true; 19], "nobody was answered");
    broker.signal(Signal::Continue);
    for number in 1..20 {
        let again = async || (status(&shop, call(number)).await == 200).then_some(());
        until("the call is taken when it comes again", again).await;
    }
    let there = topic::read(kafka.clone(), "shop.orders").await;
    let mut ids: Vec<_> = there.iter().map(|event| event.header("ce_id")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), there.len()), (20, 20), "each once");
    assert!(process.terminate().await.success());
}

/// HubSpot's calls are lists, WooCommerce tries the address first, Slack asks for a challenge.
const PLATFORMS: &str = r#"
topics:
  shop.orders: { partitions: 4, schema: order.avsc }
sources:
  many:
    webhook: { path: /many, signature: { bearer: "t0ken" }, items: .orders, id: { field: .id } }
    to: shop.orders
    key: .customer.id
  strict:
    webhook: { path: /strict, signature: { bearer: "t0ken" }, items: ., id: { field: .id }, on_invalid: refuse }
    to: shop.orders
    key: .customer.id
  woo:
    webhook: { path: /woo, signature: { woocommerce: "shh" }, id: { field: .id } }
    to: shop.orders
    key: .customer.id
  slack:
    webhook: { path: /slack, signature: { slack: "shh" } }
    to: shop.orders
"#;

fn with_token(body: serde_json::Value) -> Call {
    Call { headers: Vec::new(), body: body.to_string().into_bytes() }
        .with("authorization", "Bearer t0ken")
}

#[tokio::test]
async fn a_call_that_brings_several_events_is_answered_once_all_are_stored_each_once() {
    let folder = Folder::with(PLATFORMS);
    let mut process = folder.run().await;
    let at = |path: &str| Shop::new(&format!("http://{}{path}", folder.webhooks));
    let orders_of = |range: std::ops::Range<u32>| -> Vec<_> {
        range.map(|n| order(&format!("O-{n}"), &format!("C-{}", n % 3))).collect()
    };
    let answer = at("/many").send(with_token(json!({ "orders": orders_of(0..40) }))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = at("/many").send(with_token(json!({ "orders": orders_of(20..60) }))).await;
    let known = answer.body["events"].as_array().unwrap().iter();
    assert_eq!(known.filter(|one| one["duplicate"] == true).count(), 20);
    let events = orders(&folder).await;
    let ids: Vec<_> = events.iter().map(|event| event.header("ce_id").to_owned()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 60);
    assert_eq!(ids.len(), 60);
    for customer in ["C-0", "C-1", "C-2"] {
        let of = events.iter().filter(|event| event.key.as_deref() == Some(customer.as_bytes()));
        let numbers: Vec<u32> =
            of.map(|event| event.header("ce_id")[2..].parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "{customer}: {numbers:?}");
    }

    // One that does not fit is kept alone; where the caller is ours, nothing of its call is taken.
    let mut spoilt = orders_of(60..63);
    spoilt[1]["lines"] = json!("none");
    assert_eq!(status(&at("/many"), with_token(json!({ "orders": spoilt }))).await, 200);
    assert_eq!(orders(&folder).await.len(), 62);
    assert_eq!(topic::read(folder.kafka(), "orders.many.dead-letters").await.len(), 1);
    let mut spoilt = orders_of(70..73);
    spoilt[2]["lines"] = json!("none");
    assert_eq!(status(&at("/strict"), with_token(json!(spoilt))).await, 422);
    assert_eq!(orders(&folder).await.len(), 62);
    // What is no list is kept whole; an empty one is heard.
    assert_eq!(status(&at("/many"), with_token(json!({ "orders": 7 }))).await, 200);
    assert_eq!(topic::read(folder.kafka(), "orders.many.dead-letters").await.len(), 2);
    assert_eq!(status(&at("/many"), with_token(json!({ "orders": [] }))).await, 200);
    let stranger = with_token(json!({ "orders": [] })).with("authorization", "Bearer other");
    assert_eq!(status(&at("/many"), stranger).await, 401);
    process.assert_alive();
}

#[tokio::test]
async fn calls_that_only_try_the_address_are_answered_and_make_no_event() {
    let folder = Folder::with(PLATFORMS);
    let mut process = folder.run().await;
    let at = |path: &str| Shop::new(&format!("http://{}{path}", folder.webhooks));
    let trial = Call { headers: Vec::new(), body: b"webhook_id=17".to_vec() };
    assert_eq!(status(&at("/woo"), trial).await, 200);
    let slack = |body: serde_json::Value, at: u64| {
        let (body, at) = (body.to_string(), at.to_string());
        let mut mac = Hmac::<Sha256>::new_from_slice(b"shh").unwrap();
        mac.update(format!("v0:{at}:{body}").as_bytes());
        let signature = format!("v0={}", hex::encode(mac.finalize().into_bytes()));
        Call { headers: Vec::new(), body: body.into_bytes() }
            .with("x-slack-signature", &signature)
            .with("x-slack-request-timestamp", &at)
    };
    let asked = json!({ "type": "url_verification", "challenge": "3eZbrw1aB" });
    let answer = at("/slack").send(slack(asked.clone(), now())).await;
    assert_eq!((answer.status, answer.body["challenge"].as_str()), (200, Some("3eZbrw1aB")));
    assert_eq!(status(&at("/slack"), slack(asked, now() - 301)).await, 401, "signed long ago");
    assert!(orders(&folder).await.is_empty());
    let mut event = order("O-1", "C-1");
    event["event_id"] = json!("Ev1");
    assert_eq!(status(&at("/slack"), slack(event, now())).await, 200);
    assert_eq!(orders(&folder).await[0].header("ce_id"), "Ev1");
    process.assert_alive();
}
