use engine::Value;
use engine::expression::Map as Text;
use schemas::{Decoder, Encoder, Schema, events};
use serde_json::json;

use super::*;
use crate::fixture::{findings, order, orders_to_sales, process};

/// The map of the example pipeline.
fn example() -> String {
    let (_, map) = Map::EXAMPLE.split_once("map: |\n").unwrap();
    map.lines().map_while(|line| line.strip_prefix("      ")).collect::<Vec<_>>().join("\n")
}

fn mapped(text: &str) -> Result<Value, Fault> {
    process::<Map>(Text(text.to_owned()), &orders_to_sales(), order())
        .map(|mut values| values.remove(0))
}

fn found(text: &str) -> Vec<String> {
    findings::<Map>(text, &Text(text.to_owned()), &orders_to_sales())
}

/// What a consumer of the sales reads, as JSON.
fn written(value: &Value) -> serde_json::Value {
    let schema = Schema::parse(events::SALE).unwrap();
    let mut bytes = Vec::new();
    Encoder::new(&schema).unwrap().encode(value, &mut bytes).unwrap();
    let read = Decoder::new(&schema, None).unwrap().decode(&bytes).unwrap();
    serde_json::to_value(&read).unwrap()
}

#[test]
fn an_order_becomes_a_sale() {
    assert_eq!(found(&example()), [""; 0]);
    let sale = written(&mapped(&example()).unwrap());
    let expected = json!({
        "web_id": "o-1001",
        "date": "2023-11-14",
        "currency": "EUR",
        "party": {
            "code": "c-7",
            "name": "Ada Lovelace",
            "email": "ada@example.com",
            "address": {
                "street": "1 rue de la Paix", "city": "Paris", "postal_code": "75002", "country": "FR"
            }
        },
        "lines": [
            { "product": "tea", "quantity": "3.0000", "unit_price": "19.99" },
            { "product": "cup", "quantity": "0.5000", "unit_price": "4.00" }
        ],
        "total": "61.97",
        "reference": null
    });
    assert_eq!(sale, expected);
}

#[test]
fn a_sum_over_lines_as_in_the_design_works_with_and_without_a_schema() {
    let text = ".web_id = .id\n.total = decimal_sum!(map_values!(.lines) -> |l| { \
                decimal_multiply!(l.unit_price, l.quantity) })";
    let total = |setup: &Setup| {
        let value = process::<Map>(Text(text.to_owned()), setup, order()).unwrap().remove(0);
        value.as_object().unwrap()["total"].to_string()
    };
    let mut setup = orders_to_sales();
    assert_eq!(total(&setup), "\"61.970000\"");
    setup.input_schema = None;
    setup.input = vrl::value::Kind::any_object();
    assert_eq!(total(&setup), "\"61.970000\"");
}

#[test]
fn what_does_not_fit_the_output_is_found_before_an_event_comes() {
    let text = example()
        .replace(".web_id = .id\n", "")
        .replace(".date = format_timestamp!(.placed_at, \"%Y-%m-%d\")", ".date = .placed_at")
        .replace("\"email\": .customer.email", "\"email\": .note")
        .replace("line.sku,", "5,")
        .replace(
            ".reference = .note",
            "if .note == null { .refrence = \"x\" }\nif .note == \"a\" { .reference = [1] }",
        );
    insta::assert_snapshot!(found(&text).join("\n"), @r#"
    missing_field: `.web_id` is not set, and the output schema wants string. (Set it: `.web_id = …`.)
    wrong_type at ".date": `.date` is a timestamp, and the output schema wants date. (Use `format_timestamp!(…, "%Y-%m-%d")`.)
    maybe_null at ".party": `.party.email` may be null, and the output schema wants string. (Say what to write instead of null: `… || "none"`.)
    wrong_type at ".lines": `.lines[].product` is an integer, and the output schema wants string. (Use `to_string(…)`, or `string!(…)` to assert it.)
    wrong_type at ".reference": `.reference` is an array, and the output schema wants string or null. (Use `to_string(…)`, or `string!(…)` to assert it.)
    unknown_field at ".refrence": The output schema has no `.refrence`: did you mean `reference`? (Rename it, or add it to the output's schema.)
    "#);
}
