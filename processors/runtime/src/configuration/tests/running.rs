//! Examples, plans, the JSON Schema and the reference.

use super::super::{Page, Shelf, Surroundings, clashes, examples, reference};
use super::{Folder, Grammar, ORDERS, catalogue};
use crate::connector::Shared;
use crate::kafka::Cluster;
use crate::positions;

/// What the examples of the file give after these replacements.
fn ran(changes: &[(&str, &str)]) -> String {
    let folder = Folder::new();
    let mut text = ORDERS.to_owned();
    for (old, new) in changes {
        assert!(text.contains(old), "the file of orders has no {old:?}");
        text = text.replace(old, new);
    }
    folder.write("orders.yaml", &text);
    let loaded = folder.load(&["orders.yaml"]).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let outcomes = examples::run(&loaded.pipelines[0], &catalogue()).unwrap();
    outcomes.iter().map(ToString::to_string).collect()
}

#[test]
fn an_example_that_comes_out_as_expected_passes() {
    assert_eq!(ran(&[]), "ok   an order becomes a sale\n");
}

#[test]
fn an_example_that_does_not_is_told_field_by_field() {
    let said =
        ran(&[(".web_id = .id", ".web_id = upcase(.id)"), ("decimal_round!(.total, 2)", "\"60\"")]);
    insta::assert_snapshot!(said, @r#"
    FAIL an order becomes a sale
           erp.sales, event 1: .total: expected "59.97", got "60.00"
           erp.sales, event 1: .web_id: expected "o-1001", got "O-1001"
    "#);
}

#[test]
fn an_event_that_is_filtered_out_is_expected_as_nothing() {
    let filter = (".currency == \"EUR\"", ".currency == \"USD\"");
    let said = ran(&[filter, ("examples/sale.json }", "[] }")]);
    assert_eq!(said, "ok   an order becomes a sale\n");
    let said = ran(&[filter]);
    assert!(
        said.contains("erp.sales, event 1: expected {") && said.ends_with("got nothing\n"),
        "{said}"
    );
}

#[test]
fn an_event_that_fails_is_told_with_its_fault() {
    let said = ran(&[(".web_id = .id", ".web_id = to_string(to_int!(.id))")]);
    assert!(said.contains("erp.sales: `to_sale` gives an event of `shop.orders` up: "), "{said}");
}

#[test]
fn an_event_runs_through_several_processors_with_its_key() {
    let second = "processors:\n  copy: { from: erp.sales, to: erp.copies, filter: .web_id == \"o-1001\", key: .party.code }\n";
    let said = ran(&[
        ("processors:\n", second),
        ("topics:\n", "topics:\n  erp.copies: { schema: sale.avsc }\n"),
        (
            "expect: { erp.sales: examples/sale.json }",
            "expect: { erp.copies: [examples/sale.json] }",
        ),
        ("      .reference = .note\n", "      .reference = string!(%key)\n"),
    ]);
    assert!(said.contains("erp.copies, event 1: .reference: expected null, got \"c-7\""), "{said}");
}

#[test]
fn an_example_may_stand_in_the_file_itself_and_a_file_may_hold_several() {
    let folder = Folder::new();
    let sale = include_str!("sale.json");
    folder.write("examples/two.json", &format!("[{}, {0}]", include_str!("order.json")));
    let text = ORDERS
        .replace("examples/order.json", "examples/two.json")
        .replace("examples/sale.json", &format!("[{}, {0}]", sale.replace('\n', " ")));
    folder.write("orders.yaml", &text);
    let loaded = folder.load(&["orders.yaml"]).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let outcomes = examples::run(&loaded.pipelines[0], &catalogue()).unwrap();
    assert!(outcomes[0].passed(), "{}", outcomes[0]);
}

#[tokio::test]
async fn a_checked_file_becomes_a_plan() {
    let folder = Folder::new();
    let kafka = "\nkafka:\n  brokers: k1:9092,k2:9092\n  security:\n    tls: { ca: ca.pem }\n    sasl: { username: p, password: \"${ERP_KEY}\" }\n  properties: { socket.timeout.ms: 5000 }\n";
    let text = ORDERS
        .replace("    method: put", "    start: 2026-01-31T00:00:00Z")
        .replace("retention: 30d", "retention: forever");
    folder.write("orders.yaml", &format!("{text}{kafka}"));
    let loaded = folder.load(&["orders.yaml"]).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let pipeline = &loaded.pipelines[0];
    let cluster = pipeline.cluster().unwrap();
    assert_eq!(cluster.brokers, "k1:9092,k2:9092");
    let property = |name: &str| cluster.properties[name].as_str();
    assert_eq!(property("security.protocol"), "sasl_ssl");
    assert_eq!(property("sasl.mechanism"), "SCRAM-SHA-512");
    assert_eq!(property("sasl.password"), "erp-key-7f3a");
    assert_eq!(property("socket.timeout.ms"), "5000");
    assert!(property("ssl.ca.location").ends_with("/ca.pem"));
    let registry = schemas::registry::RegistryConfig::new("http://127.0.0.1:1");
    let around = Surroundings {
        cluster: Cluster::new("127.0.0.1:1"),
        registry: schemas::registry::Registry::new(registry).unwrap(),
        instance: None,
        shared: Shared::default(),
    };
    let plan = pipeline.plan(&catalogue(), around).unwrap();
    assert_eq!(plan.topics.len(), 2);
    let sales = plan.topics.iter().find(|topic| topic.name == "erp.sales").unwrap();
    assert_eq!(sales.retention, None);
    assert_eq!(sales.properties, [("retention.ms".to_owned(), "-1".to_owned())]);
    assert_eq!(plan.processors[0].steps.len(), 2);
    assert_eq!(plan.sinks[1].options.max_ahead.events, 500);
    assert_eq!(plan.sinks[1].options.start, Some(positions::Start::Time(1_769_817_600_000)));
    assert!((plan.sources[0].build)().is_ok() && (plan.sources[0].build)().is_ok());
}

#[test]
fn the_json_schema_describes_whole_files_for_editors() {
    let schema = Grammar::of(&catalogue()).json_schema();
    let source = &schema["properties"]["sources"]["additionalProperties"];
    assert_eq!(source["properties"]["webhook"]["properties"]["path"]["type"], "string");
    assert_eq!(source["additionalProperties"], false);
    let sinks = schema["properties"]["sinks"]["additionalProperties"]["anyOf"].as_array().unwrap();
    assert_eq!(sinks.len(), 2);
    let topic = &schema["properties"]["topics"]["additionalProperties"];
    assert!(topic["properties"]["properties"]["additionalProperties"].is_object());
    assert!(clashes(&catalogue()).is_empty());
}

#[test]
fn the_reference_has_every_section_field_and_connector() {
    let page = |path: &str, text: &str| Page { path: path.to_owned(), text: text.to_owned() };
    let example = "# Hooks\n# become sales.\n#\n# Try it.\nname: hooks\nsources: { shop: { webhook: { path: /shop } } }\n";
    let shelf = Shelf {
        guides: vec![page("hooks.md", "# All of hooks\n\nSee [it](sources/webhook.md#options).\n")],
        examples: vec![page("examples/hooks/pipeline.yaml", example)],
    };
    let pages = reference(&catalogue(), &shelf);
    let pages = pages.iter().map(|page| format!("<<< {} >>>\n{}", page.path, page.text));
    let pages = pages.collect::<Vec<_>>().join("\n");
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("reference", pages);
    });
}
