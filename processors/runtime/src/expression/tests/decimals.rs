//! Decimals as programs see them.

use schemas::{Schema, events};
use vrl::compiler::Function;

use super::*;
use crate::expression::decimal;

fn order_schema() -> Schema {
    Schema::parse(events::ORDER).unwrap()
}

fn codes(text: &str) -> Vec<&'static str> {
    let schema = order_schema();
    let result = match text.contains(" = ") {
        true => Map(text.to_owned()).compile(&schema).map(drop),
        false => Expression(text.to_owned()).compile(&schema).map(drop),
    };
    result.err().unwrap_or_default().into_iter().map(|mistake| mistake.code).collect()
}

#[test]
fn every_function_does_what_its_example_says() {
    for function in &decimal::ALL {
        let function: &dyn Function = &function;
        for example in function.examples() {
            let given = run(example.source, value!({})).unwrap();
            let shown = given.to_string();
            let shown = shown.trim_matches('"');
            assert_eq!(Ok(shown), example.result, "{}", example.source);
        }
    }
}

#[test]
fn sums_are_exact() {
    let sum = |text: &str, value| run(text, value).map(|sum| sum.to_string());
    assert_eq!(sum(r#"decimal_add!(.a, .b)"#, value!({ a: "0.1", b: "0.2" })).unwrap(), "\"0.3\"");
    let nines = "9".repeat(60);
    assert_eq!(
        sum("decimal_add!(.a, 1)", value!({ a: (nines.as_str()) })).unwrap(),
        format!("\"1{}\"", "0".repeat(60))
    );
    let many = Value::Array(vec![value!("0.10"); 1_000]);
    assert_eq!(sum("decimal_sum!(.a)", value!({ a: many })).unwrap(), "\"100.00\"");
    assert_eq!(sum("decimal_sum!(.a)", value!({ a: [] })).unwrap(), "\"0\"");
}

#[test]
fn what_is_no_decimal_is_this_event_s_fault() {
    for (value, cause) in [
        (value!({ a: "1,5" }), "`1,5` is not a decimal number"),
        (value!({ a: null }), "got null"),
        (value!({ a: (Value::from_f64_or_zero(1.5)) }), "got float"),
        (value!({ a: "1e999999999" }), "more than 1000 digits"),
    ] {
        let fault = run("decimal_add!(.a, 1)", value).unwrap_err();
        assert_eq!(fault.cause, "expression_failed");
        assert!(fault.message.contains(cause), "{fault}");
        assert!(fault.message.starts_with("`decimal_add` failed at line 1, column 1: "), "{fault}");
    }
    let fault = run("decimal_divide!(.a, .b, 2)", value!({ a: 1, b: "0.0" })).unwrap_err();
    assert!(fault.message.contains("division by zero"), "{fault}");
}

#[test]
fn integers_and_written_numbers_need_no_exclamation_mark() {
    let kind = record([("n", Kind::integer()), ("text", Kind::bytes())]);
    let compiles = |text: &str| Expression(text.into()).compile(&kind).is_ok();
    assert!(compiles(r#"decimal_multiply(.n, "1.20")"#));
    assert!(compiles("decimal_greater(.n, 3)"));
    assert!(compiles("decimal_divide(.n, 100, 2)"));
    assert!(!compiles("decimal_divide(.n, 0, 2)"));
    assert!(!compiles("decimal_divide(100, .n, 2)"));
    assert!(!compiles("decimal_add(.text, 1)"));
    assert!(!compiles("decimal_round(.n, .n)"));
    assert!(compiles("decimal_add(.text, 1) ?? \"0\""));
}

#[test]
fn operators_on_decimals_are_refused_wherever_the_decimal_has_gone() {
    for text in [
        ".total > 5",
        "5 < .total",
        ".total != \"5.00\"",
        ".lines[0].unit_price * 2 ?? 0",
        "total = .total\ntotal >= \"5\"",
        "order = .\norder.total + 1 ?? 0",
        "line = .lines[0]\nline.quantity - 1 ?? 0",
        ".t = .total\nif .t < \"5\" { .id = \"x\" }",
        "filter(.lines) -> |_, line| { line.unit_price > \"5\" }",
        "for_each(.lines) -> |_, line| { price = line.unit_price; price == \"5\" }",
        "prices = map_values(.lines) -> |line| { line.unit_price }\nprices[0] > \"5\"",
        "decimal_add!(.total, 1) > \"5\"",
        "best = if .id == \"x\" { .total } else { \"0\" }\nbest > \"5\"",
        "(.total || \"0\") > \"5\"",
        "{ \"a\": .total }.a > \"5\"",
        "[.total][0] > \"5\"",
        "!(.total == \"5\")",
        "x, err = decimal_add(.total, 1)\nx > \"5\"",
        ".\"total\" > \"5\"",
    ] {
        assert!(codes(text).contains(&"decimal_operator"), "{text}: {:?}", codes(text));
    }
}

#[test]
fn a_template_compares_no_decimal_either() {
    let template = Template("Large: {{ .total > \"100\" }}".into());
    let found = template.compile(&order_schema()).unwrap_err();
    assert_eq!((found[0].code, found[0].span.clone()), ("decimal_operator", 10..24));
}

#[test]
fn what_is_no_operator_on_a_decimal_passes() {
    for text in [
        "decimal_greater!(.total, 5)",
        ".total == null",
        "null != .total",
        "exists(.total)",
        ".id > \"a\"",
        "length(.lines) > 3",
        ".lines[0].sku == \"tea\"",
        "filter(.lines) -> |_, line| { line.sku == \"tea\" }",
        "decimal_compare!(.total, 5) > 0",
        ".total = \"x\"\nif .total == \"x\" { .id = \"y\" }",
        "to_string(.total)",
        "total = .total\n\"Total: {{ total }}\"",
    ] {
        assert_eq!(codes(text), [""; 0], "{text}");
    }
}
