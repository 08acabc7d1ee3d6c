//! Files that are right, and files that run together.

use super::super::sections::{OnError, SinkCommon};
use super::{Folder, ORDERS, relative};
use crate::expression::Expression;
use crate::options::Period;

#[test]
fn a_right_file_is_read_into_its_pipeline() {
    let folder = Folder::new();
    folder.write("orders.yaml", ORDERS);
    let loaded = folder.load(&["orders.yaml"]).unwrap();
    let [pipeline] = &loaded.pipelines[..] else { panic!("{loaded:?}") };
    assert_eq!(
        (pipeline.name.as_str(), relative(&pipeline.file)),
        ("orders", "orders.yaml".into())
    );
    assert_eq!(pipeline.topics["shop.orders"].settings.partitions.unwrap().get(), 12);
    assert!(pipeline.topics["erp.sales"].schema.is_some());
    let [source] = &pipeline.sources[..] else { panic!() };
    assert_eq!((source.connector.as_str(), source.common.to.as_str()), ("webhook", "shop.orders"));
    assert_eq!(source.common.key, Some(Expression(".customer.id".into())));
    assert_eq!(source.options["signature"]["standard_webhooks"], "whsec_c2VjcmV0");
    let steps: Vec<_> =
        pipeline.processors[0].steps.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(steps, ["filter", "map"]);
    let [sales, invoices] = &pipeline.sinks[..] else { panic!() };
    assert_eq!(sales.connection["key"], "erp-key-7f3a");
    assert_eq!(sales.options, serde_json::json!({ "object": "sale.sale", "id": "web_id" }));
    let SinkCommon { concurrency, max_ahead, on_error, give_up_after, .. } = &invoices.common;
    assert_eq!((concurrency.get(), max_ahead.events.get(), max_ahead.bytes.0), (8, 500, 1 << 20));
    assert_eq!((*on_error, *give_up_after), (OnError::DeadLetter, Period::parse("15m").unwrap()));
    assert!(!format!("{pipeline:?}").contains("erp-key"));
}

#[test]
fn anchors_may_stand_in_sections_of_the_users_own() {
    let folder = Folder::new();
    let text = ORDERS
        .replace("topics:", "x-topic: &topic { partitions: 6, retention: 1y }\n\ntopics:")
        .replace(
            "{ partitions: 12, retention: 1y, schema: order.avsc }",
            "{ <<: *topic, schema: order.avsc }",
        );
    folder.write("orders.yaml", &text);
    let loaded = folder.load(&["orders.yaml"]).unwrap();
    let topic = &loaded.pipelines[0].topics["shop.orders"].settings;
    assert_eq!(topic.partitions.unwrap().get(), 6);
}

#[test]
fn files_that_run_together_have_names_of_their_own_and_one_cluster() {
    let folder = Folder::new();
    folder.write("a.yaml", ORDERS);
    let other = format!("{ORDERS}\nkafka: {{ brokers: \"k1:9092\" }}\n");
    folder.write("b.yaml", &other);
    let said = folder.said(&["a.yaml", "b.yaml"]);
    for sentence in [
        "`a.yaml` has a pipeline of this name, too",
        "`kafka` differs from `a.yaml`",
        "`/shop` of `shop` is already taken by the source `shop` of `a.yaml`",
    ] {
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
    folder.write(
        "b.yaml",
        &ORDERS.replace("name: orders\n", "name: others\n").replace("/shop", "/b"),
    );
    assert_eq!(folder.load(&["a.yaml", "b.yaml"]).unwrap().pipelines.len(), 2);
}

#[test]
fn every_file_is_checked_even_if_another_is_missing() {
    let folder = Folder::new();
    folder.write("a.yaml", "name: A\n");
    let problems = folder.load(&["none.yaml", "a.yaml"]).unwrap_err();
    let codes: Vec<_> = problems.iter().map(|problem| &*problem.code).collect();
    assert_eq!(codes, ["unreadable_file", "bad_name"]);
}

/// Mutations of the file of orders: whatever is written, problems are told and nothing panics.
#[test]
fn no_mutation_of_a_pipeline_panics() {
    let folder = Folder::new();
    let lines: Vec<&str> = ORDERS.lines().collect();
    let mut state: u64 = 0x2545_F491_4F6C_DD1D;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for _ in 0..60 {
        let mut lines = lines.clone();
        for _ in 0..=next(3) {
            let (one, other) = (next(lines.len()), next(lines.len()));
            match next(3) {
                0 => drop(lines.remove(one)),
                1 => lines.swap(one, other),
                _ => {
                    lines[one] = ["    - [a, {b: c}]", "  x:", "to: ~", "    map: 3", "'"][next(5)]
                }
            }
        }
        folder.write("a.yaml", &lines.join("\n"));
        let said = folder.said(&["a.yaml"]);
        assert!(!said.is_empty());
    }
}
