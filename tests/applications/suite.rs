//! What every sink promises about its application, however that behaves: one story for each, through
//! the binary.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::endtoend::folder::Folder;
use crate::endtoend::process::Process;
use crate::endtoend::shop::order;
use crate::endtoend::{topic, until};
use crate::simulator::{BAD, Manner, Request, Simulator};

/// The shop whose orders are written.
const SHOP: &str = r#"
topics:
  shop.orders: { partitions: 4, schema: order.avsc }
TOPICS
sources:
  shop:
    webhook: { path: /shop, signature: { standard_webhooks: "${file:shop.secret}" } }
    to: shop.orders
    key: .id
"#;

const SINK: &str = "to: application, concurrency: 4, backoff: { initial: 100ms, max: 300ms }";

/// A sink and its application.
pub struct Case {
    pub simulator: Simulator,
    /// The connection's connector and its options beside the address, as YAML.
    pub connector: &'static str,
    pub connection: &'static str,
    /// The topic that the sink reads, and those that the pipeline has beside the shop's, as YAML.
    pub from: &'static str,
    pub topics: &'static str,
    /// The options of the sink.
    pub sink: &'static str,
    /// Whether a repeat has no second effect.
    pub once: bool,
    /// Further top-level sections.
    pub more: &'static str,
}

impl Case {
    pub fn pipeline(&self) -> String {
        let Self { simulator, connector, connection, from, topics, sink, more, .. } = self;
        let shop = SHOP.replace("TOPICS", topics);
        let separator = if connection.is_empty() { "" } else { ", " };
        let plain =
            if simulator.url.starts_with("smtp") { "tls: false" } else { "allow_private: true" };
        format!(
            "{shop}connections:\n  application: {{ {connector}: {{ url: \"{}\", {plain}, timeout: 1s{separator}{connection} }} }}\nsinks:\n  application: {{ from: {from}, {SINK}, {sink} }}\n{more}\n",
            simulator.url
        )
    }
}

/// A story in the making.
struct Story<'c> {
    case: &'c Case,
    /// Before its folder, so that its log can be shown when it is dropped.
    process: Process,
    folder: Folder,
    sold: usize,
}

/// Tells the story of a case: orders are sold while the application misbehaves in every way, and the
/// process is killed between its write and the commit. Each order ends there once, the refused ones in
/// the dead letters.
pub async fn holds(case: &Case, files: &[(&str, &str)]) {
    let folder = Folder::with(&case.pipeline());
    for (name, text) in files {
        std::fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
        folder.write(name, text);
    }
    let checked = folder.passerelle(&["check", "pipeline.yaml"]).await;
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    let process = folder.run().await;
    let mut story = Story { case, folder, process, sold: 0 };
    story.good_behaviour().await;
    story.answers_that_do_not_come().await;
    story.refusals_that_pass().await;
    story.orders_that_are_refused().await;
    story.credentials_that_are_refused().await;
    story.a_field_that_goes_away().await;
    story.kills_between_the_write_and_the_commit().await;
    story.accounts().await;
}

impl Story<'_> {
    fn simulator(&self) -> &Simulator {
        &self.case.simulator
    }

    async fn sell(&mut self, count: usize) {
        let shop = self.folder.shop();
        for _ in 0..count {
            let id = format!("O-{}", self.sold);
            shop.tell(&order(&id, "C-1")).await;
            self.sold += 1;
        }
    }

    async fn arrived(&self, when: &str) {
        let expected = self.sold;
        until(&format!("all have arrived after {when}"), async || {
            let objects = self.simulator().objects();
            let all = (0..expected).all(|number| objects.contains_key(&format!("O-{number}")));
            all.then_some(())
        })
        .await;
        self.folder.operators().caught_up().await;
    }

    async fn good_behaviour(&mut self) {
        self.sell(3).await;
        self.arrived("good behaviour").await;
    }

    /// It acts, and we hear nothing, or not all: whether it acted is unknown.
    async fn answers_that_do_not_come(&mut self) {
        for manners in [[Manner::Silent, Manner::Silent], [Manner::Drip, Manner::Drip]] {
            self.simulator().meet(&manners);
            self.sell(3).await;
            self.arrived("answers that did not come").await;
        }
    }

    async fn refusals_that_pass(&mut self) {
        let refusals = [(429, Some(1)), (503, None), (502, None), (500, None)];
        let manners: Vec<_> =
            refusals.iter().map(|(status, after)| Manner::Refuse(*status, *after)).collect();
        self.simulator().meet(&manners);
        self.sell(3).await;
        self.arrived("refusals that pass").await;
        until("every refusal was given", async || (self.simulator().left() == 0).then_some(()))
            .await;
    }

    /// They go to the dead letters, and hold nothing up.
    async fn orders_that_are_refused(&mut self) {
        let shop = self.folder.shop();
        for number in 0..2 {
            shop.tell(&order(&format!("{BAD}-{number}"), "C-1")).await;
        }
        self.sell(2).await;
        self.arrived("orders that are refused").await;
        self.assert_letters().await;
    }

    /// The refused orders are the only dead letters.
    async fn assert_letters(&self) {
        let letters = topic::read(self.folder.kafka(), "orders.application.dead-letters").await;
        let key = |letter: &topic::Record| {
            let key =
                String::from_utf8_lossy(letter.key.as_deref().unwrap_or_default()).into_owned();
            (key, letter.header("__connect.errors.exception.message").to_owned())
        };
        let mut told: Vec<_> = letters.iter().map(key).collect();
        told.sort();
        let keys: Vec<_> = told.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, [format!("{BAD}-0"), format!("{BAD}-1")], "{told:?}");
    }

    async fn credentials_that_are_refused(&mut self) {
        self.simulator().lock(true);
        self.sell(2).await;
        self.folder.operators().state("orders/application", "waiting").await;
        self.simulator().lock(false);
        self.arrived("credentials that were refused").await;
    }

    /// It is named, and nothing is written until it is back.
    async fn a_field_that_goes_away(&mut self) {
        if !self.simulator().set_field(false) {
            return;
        }
        // What was read of the application is read anew at a start.
        self.restart().await;
        let written = self.simulator().writes().len();
        self.sell(2).await;
        self.folder.operators().waits("orders/application", &["has no field"]).await;
        assert_eq!(self.simulator().writes().len(), written, "nothing is written");
        self.simulator().set_field(true);
        self.arrived("a field that went away").await;
    }

    async fn kills_between_the_write_and_the_commit(&mut self) {
        for _ in 0..2 {
            let before = self.simulator().writes().len();
            self.simulator().meet(&[
                Manner::Late(Duration::from_millis(700)),
                Manner::Late(Duration::from_millis(700)),
            ]);
            self.sell(3).await;
            until("it writes", async || (self.simulator().writes().len() > before).then_some(()))
                .await;
            self.restart().await;
            self.arrived("a kill").await;
        }
    }

    async fn restart(&mut self) {
        self.process.kill();
        self.process = self.folder.run().await;
    }

    /// Each order is there once, where that is promised; else its repeats say that they are repeats.
    async fn accounts(&mut self) {
        let objects = self.simulator().objects();
        assert_eq!(objects.len(), self.sold, "{objects:?}");
        let doubled: Vec<_> = objects.iter().filter(|(_, count)| **count != 1).collect();
        if self.case.once {
            assert!(doubled.is_empty(), "{doubled:?}");
        } else {
            let mut keys: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
            for Request { body, headers, .. } in self.simulator().writes() {
                keys.entry(body).or_default().push(headers["idempotency-key"].clone());
            }
            for keys in keys.values_mut() {
                keys.dedup();
                assert_eq!(keys.len(), 1, "a repeat has its first one's key");
            }
        }
        self.assert_letters().await;
        self.process.assert_alive();
    }
}
