//! What users read when an expression is wrong.

use schemas::{Schema, events};

use super::*;

/// The mistakes in an expression on orders, each as the text it points at and what is said.
fn said(text: &str) -> String {
    let schema = Schema::parse(events::ORDER).unwrap();
    let mistakes = match text.contains(" = ") {
        true => Map(text.to_owned()).compile(&schema).map(drop),
        false => Expression(text.to_owned()).compile(&schema).map(drop),
    };
    let one = |mistake: Diagnostic| {
        let Diagnostic { span, code, cause, hint } = mistake;
        let hint = hint.map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
        format!("{code} at `{}`\n  {cause}{hint}", &text[span])
    };
    match mistakes {
        Ok(()) => "nothing wrong".to_owned(),
        Err(mistakes) => mistakes.into_iter().map(one).collect::<Vec<_>>().join("\n"),
    }
}

#[test]
fn a_mistake_is_named_at_its_place() {
    let texts = [
        ".custmer.email",
        ".customer.emial",
        ".customer.name.first",
        "map_values(.lines) -> |line| { line.unit_prise }",
        "customer.email",
        ".web_id = upcas(.id)",
        ".n = to_int(.id)",
        ".n = parse_int(.note)",
        "upcase(.note)",
        "starts_with(.id)",
        "starts_with(.id, \"a\", true, 4)",
        "starts_with(.id, \"a\", sensitive: true)",
        "if .id { 1 } else { 2 }",
        ".id = {",
        ".id == \"x",
        ".id ++ 2",
        "1 +",
        ".id = now()",
        "uuid_v4()",
        "http_request(\"http://x\")",
        ".total > 100",
        "100.5 <= .total",
        ".total == \"9.00\"",
        ".x = .total + 1",
        ".x = .total / 3",
        "to_float!(.total)",
        "decimal_add!(.total, 1.5)",
        "decimal_add(.total, 1)",
        "decimal_add(\"1,5\", 1)",
        "decimal_round(1, 2, \"bankers\")",
        "if .id == \"x\" { return 1 }; 2",
        "for_each(.note) -> |_, v| { v }",
        ".a = 1\n.id.b = 2",
        "%nope",
        "!.id",
        ".id ?? \"x\"",
        "r'('",
        ".id < \"a\" < \"b\"",
        "",
    ];
    let all: Vec<_> = texts.iter().map(|text| format!("{text}\n{}", said(text))).collect();
    insta::assert_snapshot!(all.join("\n\n"));
}
