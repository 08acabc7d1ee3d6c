//! One mistake each in the file of orders, and all that is said of it.

use super::{Folder, ORDERS, said};

/// A mistake's name and what it changes in the file.
type Mistake = (&'static str, &'static [(&'static str, &'static str)]);

const MISTAKES: &[Mistake] = &[
    ("a_misspelt_section", &[("\nsinks:", "\nsink:")]),
    ("a_misspelt_field_of_a_topic", &[("    partitions: 12", "    partitons: 12")]),
    ("an_unknown_field_that_is_near_nothing", &[("    partitions: 12", "    colour: red")]),
    ("a_misspelt_source", &[("    webhook:", "    webhok:")]),
    (
        "a_source_without_connector",
        &[(
            "    webhook:\n      path: /shop\n      signature: { standard_webhooks: \"${SHOP_SECRET}\" }\n",
            "",
        )],
    ),
    (
        "a_source_with_two_connectors",
        &[(
            "    to: shop.orders\n    key",
            "    poll: { url: \"https://a.b\", every: 1m, id: .id }\n    to: shop.orders\n    key",
        )],
    ),
    ("a_misspelt_connector", &[("{ tryton: {", "{ trytn: {")]),
    ("a_connection_to_a_source", &[("{ tryton: {", "{ webhook: {")]),
    ("a_misspelt_option_of_a_sink", &[("object: sale.sale", "objct: sale.sale")]),
    ("a_missing_field", &[("    from: shop.orders\n    to: billing\n", "    to: billing\n")]),
    ("a_field_without_value", &[("    path: \"/invoices/{{ .id }}\"", "    path:")]),
    ("a_word_for_a_number", &[("    partitions: 12", "    partitions: many")]),
    ("a_number_for_a_text", &[("id: web_id", "id: 17")]),
    ("a_text_for_a_list", &[("    method: put", "    method: put\n    accept: 409")]),
    ("a_text_for_a_map", &[("max_ahead: { events: 500, bytes: 1MiB }", "max_ahead: 500")]),
    ("a_word_that_is_not_one_of_a_list", &[("dead_letter", "dead_leter")]),
    ("an_unknown_kind", &[("standard_webhooks:", "standard_webhook:")]),
    ("a_bad_period", &[("give_up_after: 15m", "give_up_after: 15")]),
    ("a_bad_size", &[("bytes: 1MiB", "bytes: 1 mega")]),
    ("a_bad_start", &[("    method: put", "    start: yesterday")]),
    ("a_number_out_of_range", &[("concurrency: 8", "concurrency: 0")]),
    ("a_bad_name", &[("name: orders\n", "name: My orders\n")]),
    ("a_bad_topic_name", &[("erp.sales", "erp/sales")]),
    (
        "two_topics_that_kafka_cannot_tell_apart",
        &[("  erp.sales:\n", "  erp_sales: { schema: sale.avsc }\n  erp.sales:\n")],
    ),
    ("two_routes_of_one_name", &[("  sales: {", "  shop: {")]),
    ("a_misspelt_topic", &[("from: erp.sales", "from: erp.sale")]),
    ("a_misspelt_connection", &[("to: erp,", "to: epr,")]),
    ("a_missing_schema", &[("schema: sale.avsc", "schema: sales.avsc")]),
    (
        "a_processor_that_does_nothing",
        &[("    filter:", "    filtr:"), ("    map: |", "    mapp: |")],
    ),
    ("a_processor_that_feeds_itself", &[("    to: erp.sales\n", "    to: shop.orders\n")]),
    (
        "processors_that_feed_each_other",
        &[(
            "processors:\n",
            "processors:\n  back: { from: erp.sales, to: shop.orders, filter: \"true\" }\n",
        )],
    ),
    ("a_map_that_does_not_compile", &[("format_timestamp!(", "format_timestmp!(")]),
    ("a_map_that_adds_decimals", &[("decimal_round!(.total, 2)", ".total + 1")]),
    (
        "a_map_that_does_not_fit",
        &[("      .web_id = .id\n", ""), (".reference = .note", ".refernce = .note")],
    ),
    ("a_key_that_does_not_compile", &[("key: .customer.id", "key: .customer.id +")]),
    ("a_filter_that_does_not_compile", &[(".currency == \"EUR\"", ".currency = \"EUR\"")]),
    ("a_filter_that_yaml_takes_for_a_tag", &[(".currency == \"EUR\"", "!is_null(.note)")]),
    ("a_template_that_does_not_compile", &[("{{ .id }}", "{{ .id + }}")]),
    ("a_missing_variable", &[("${ERP_KEY}", "${ERP_KEYS}")]),
    ("a_missing_file", &[("${ERP_KEY}", "${file:erp.key}")]),
    (
        "a_path_taken_twice",
        &[(
            "sources:\n",
            "sources:\n  old: { webhook: { path: /shop, signature: none }, to: shop.orders }\n",
        )],
    ),
    ("a_finding_of_a_source", &[("path: /shop", "path: shop")]),
    ("a_finding_in_a_connection", &[("https://billing", "billing")]),
    ("an_option_that_its_type_refuses", &[("object: sale.sale", "object: sales")]),
    ("a_field_given_twice", &[("    method: put", "    method: put\n    method: post")]),
    ("a_tab", &[("    webhook:\n", "\twebhook:\n")]),
    ("a_topic_on_more_nodes_than_there_are", &[("    retention: 30d", "    replication: 3")]),
    (
        "two_listeners_at_one_address",
        &[("\nconnections:", "\nhttp: { listen: 127.0.0.1:9464 }\nconnections:")],
    ),
    ("a_bad_address", &[("\nconnections:", "\nhttp: { listen: localhost }\nconnections:")]),
    (
        "a_setting_of_kafka_that_is_ours",
        &[(
            "\nconnections:",
            "\nkafka: { brokers: \"k1:9092\", properties: { enable.auto.commit: true } }\nconnections:",
        )],
    ),
    ("a_test_of_nothing", &[("expect: { erp.sales:", "expect: { erp.sale:")]),
    ("a_test_without_its_file", &[("examples/sale.json", "examples/sales.json")]),
    (
        "what_is_not_used",
        &[
            ("topics:\n", "topics:\n  old.orders: { retention: 1y }\n"),
            (
                "from: erp.sales, to: erp, object: sale.sale, id: web_id",
                "from: erp.sales, to: billing, path: /sales",
            ),
        ],
    ),
    (
        "a_bad_mask",
        &[("topics:\n", "outcomes: { mask: [.customer.emial, email, \"%key\"] }\ntopics:\n")],
    ),
    (
        "a_misspelt_mask",
        &[("topics:\n", "outcomes: { mask: [.customer.emial, .party.email] }\ntopics:\n")],
    ),
    ("a_retention_that_ends_before_a_replay", &[("retention: 1y", "retention: 1d")]),
    ("a_topic_written_without_schema", &[("retention: 1y, schema: order.avsc", "retention: 1y")]),
    ("a_route_with_a_new_key", &[("    filter:", "    key: .party.code\n    filter:")]),
];

#[test]
fn a_file_without_mistakes_has_no_problems() {
    assert_eq!(said(&[]), "no problems\n");
}

#[test]
fn every_mistake_is_shown_at_its_place_with_what_to_do() {
    for (name, changes) in MISTAKES {
        let said = said(changes);
        assert_ne!(said, "no problems\n", "{name}");
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(*name, said);
        });
    }
}

#[test]
fn six_mistakes_are_shown_at_once() {
    let said = said(&[
        ("timeout: 10s", "timeout: soon"),
        ("    partitions: 12", "    partitons: 12"),
        ("to: shop.orders\n    key: .customer.id", "to: shop.order\n    key: .customer.id"),
        ("decimal_round!(.total, 2)", ".total * 2"),
        ("to: erp, object: sale.sale", "to: epr, object: sale.sale"),
        ("{{ .id }}", "{{ .id"),
    ]);
    assert!(said.ends_with("\n6 errors\n") || said.contains("6 errors, "), "{said}");
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("six_mistakes", said);
    });
}

#[test]
fn a_value_from_a_variable_is_never_shown() {
    for change in [
        ("key: .customer.id", "key: ${HOOK}("),
        ("url: https://billing.example.com", "url: ${SHOP_SECRET}"),
        ("to: erp,", "to: \"${ERP_KEY}\","),
        ("name: orders\n", "name: ${SHOP_SECRET}\n"),
        ("method: put", "method: ${ERP_KEY}"),
        ("give_up_after: 15m", "give_up_after: ${ERP_KEY}"),
        ("object: sale.sale", "object: \"${SHOP_SECRET}\""),
        ("    partitions: 12", "    partitions: ${ERP_KEY}"),
        ("schema: sale.avsc", "schema: \"${SHOP_SECRET}\""),
    ] {
        let said = said(&[change]);
        assert!(said.contains("error["), "{change:?}: {said}");
        for secret in ["erp-key-7f3a", "whsec_c2VjcmV0", "identity"] {
            assert!(!said.contains(secret), "{change:?}: {said}");
        }
    }
}

#[test]
fn a_secret_written_in_the_file_is_not_drawn() {
    let said = said(&[("\"${SHOP_SECRET}\" }", "whsec_plain, x: 1 }")]);
    assert!(said.contains("error[") && !said.contains("whsec_plain"), "{said}");
}

#[test]
fn a_variable_may_hold_a_number_where_one_is_wanted() {
    assert_eq!(said(&[("    partitions: 12", "    partitions: ${PARTITIONS}")]), "no problems\n");
}

#[test]
fn a_mistake_in_a_file_that_is_put_in_names_its_place_there() {
    let folder = Folder::new();
    folder.write("to_sale.vrl", ".web_id = .id\n.date = nonsense(.placed_at)\n");
    let start = ORDERS.find("    map: |").unwrap();
    let end = ORDERS.find("\nsinks:").unwrap();
    let text = format!("{}    map: ${{file:to_sale.vrl}}\n{}", &ORDERS[..start], &ORDERS[end..]);
    folder.write("orders.yaml", &text);
    let said = folder.said(&["orders.yaml"]);
    assert!(said.contains("to_sale.vrl:2:9: "), "{said}");
}
