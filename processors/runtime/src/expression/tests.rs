use vrl::value;
use vrl::value::kind::Collection;
use vrl::value::{Kind, Value};

use super::compilation::Access;
use super::*;
use crate::{Domain, Event, Fault, Headers};

fn event(value: Value) -> Event {
    let headers = [("ce_id", "evt_1"), ("ce_type", "order.paid")];
    Event {
        topic: "shop.orders".into(),
        partition: 3,
        offset: 42,
        timestamp: 1_700_000_000_123,
        key: Some("c-7".into()),
        payload: None,
        headers: headers
            .into_iter()
            .map(|(name, text)| (name.to_owned(), Some(text.into())))
            .collect::<Headers>(),
        value: Some(value),
    }
}

/// An object with these fields and no others.
fn record(fields: impl IntoIterator<Item = (&'static str, Kind)>) -> Kind {
    let mut known = Collection::empty();
    for (name, kind) in fields {
        known.known_mut().insert(name.into(), kind);
    }
    Kind::object(known)
}

fn anything() -> Kind {
    Kind::object(Collection::any())
}

fn order() -> Kind {
    record([
        ("id", Kind::bytes()),
        ("quantity", Kind::integer()),
        ("note", Kind::bytes().or_null()),
        ("customer", record([("id", Kind::bytes()), ("email", Kind::bytes())])),
    ])
}

fn run(text: &str, value: Value) -> Result<Value, Fault> {
    let program = Expression(text.to_owned()).compile(&anything()).unwrap();
    program.run(&event(Value::Null), &value)
}

fn map(text: &str, value: Value) -> Result<Value, Fault> {
    let program = Map(text.to_owned()).compile(&anything()).unwrap();
    program.run(&event(Value::Null), value)
}

/// The mistakes of an expression: code, the text they point at, cause, hint.
fn mistakes(text: &str, access: Access) -> Vec<(String, String)> {
    let mistakes = match access {
        Access::Read => Expression(text.to_owned()).compile(&order()).map(drop),
        Access::Write => Map(text.to_owned()).compile(&order()).map(drop),
    };
    let shown = |one: Diagnostic| {
        (
            format!("{} at `{}`", one.code, &text[one.span]),
            format!("{} | {:?}", one.cause, one.hint),
        )
    };
    mistakes.unwrap_err().into_iter().map(shown).collect()
}

#[test]
fn an_expression_reads_the_event_and_what_is_around_it() {
    let text = r#"[.id, %key, %topic, %partition, %offset, %timestamp, %id, %headers.ce_type]"#;
    let Value::Array(all) = run(text, value!({ id: "o-1" })).unwrap() else { panic!() };
    let shown: Vec<_> = all.iter().map(ToString::to_string).collect();
    let expected = [
        r#""o-1""#,
        r#""c-7""#,
        r#""shop.orders""#,
        "3",
        "42",
        "t'2023-11-14T22:13:20.123Z'",
        r#""evt_1""#,
        r#""order.paid""#,
    ];
    assert_eq!(shown, expected);
}

#[test]
fn a_map_gives_what_the_value_has_become() {
    let mapped = map(".web_id = del(.id)\n.n = .n + 1 ?? 0", value!({ id: "o-1", n: 1 }));
    assert_eq!(mapped, Ok(value!({ web_id: "o-1", n: 2 })));
}

/// The items of lists and objects, within each other, under names that are taken outside.
#[test]
fn what_is_made_of_each_item_leaves_the_names_outside_alone() {
    let text = r#"
        item = "outside"
        .made = map_values!(.rows) -> |item| {
            map_values!(item) -> |item| { string!(item) + "!" }
        }
        .rows = map_values!(.rows) -> |row| { length!(row) }
        .all = map_values([1, [2, 3]], recursive: true) -> |part| {
            if is_integer(part) { int!(part) + 1 } else { part }
        }
        .item = item
    "#;
    let event = value!({ "rows": [["a", "b"], { "c": "d" }, []] });
    let made = value!({
        "rows": [2, 1, 0], "made": [["a!", "b!"], { "c": "d!" }, []], "all": [2, [3, 4]], "item": "outside"
    });
    assert_eq!(map(text, event), Ok(made));
    let refused = map(".made = map_values!(.rows) -> |row| { row }", value!({ "rows": "none" }));
    assert!(refused.unwrap_err().message.contains("expected an array or an object"));
}

#[test]
fn the_type_of_the_result_is_known() {
    let program = Expression(".customer.email".into()).compile(&order()).unwrap();
    assert_eq!(program.kind(), &Kind::bytes());
    let mapping = Map(". = { \"web_id\": .id }".into()).compile(&order()).unwrap();
    assert_eq!(mapping.kind(), &record([("web_id", Kind::bytes())]));
}

#[test]
fn a_failing_map_is_a_data_fault_with_its_place() {
    let fault = map(".a = 1\n.n = to_int!(.id)", value!({ id: "o-1" })).unwrap_err();
    assert_eq!((fault.domain, fault.cause), (Domain::Data, "map_failed"));
    assert!(fault.message.starts_with("`to_int` failed at line 2, column 6: "), "{fault}");

    let fault = map("if .n == 0 { abort \"no lines\" }", value!({ n: 0 })).unwrap_err();
    assert_eq!(fault.cause, "map_aborted");
    assert_eq!(fault.message, "The expression aborted at line 1, column 14: no lines");
}

#[test]
fn only_a_map_assigns() {
    let found = mistakes(".id = \"x\"", Access::Read);
    assert!(found[0].0.starts_with("read_only at `"), "{found:?}");
    let found = mistakes("del(.id)", Access::Read);
    assert!(found[0].0.starts_with("invalid_argument at `del(.id)`"), "{found:?}");
    let found = mistakes("%key = \"x\"", Access::Write);
    assert!(found[0].0.starts_with("read_only at `"), "{found:?}");
    assert_eq!(run("a = .n; a", value!({ n: 1 })), Ok(value!(1)));
}

#[test]
fn a_template_puts_values_into_a_text() {
    let template = Template(r#"/o/{{ .id }}/{{ .n }}?\{{ {{ {"a": {"b": "}}"}}.a.b }}"#.into());
    let template = template.compile(&anything()).unwrap();
    let rendered =
        template.render(&event(value!({ id: "ä b", n: (Value::from_f64_or_zero(1.5)) })));
    assert_eq!(rendered.as_deref(), Ok("/o/ä b/1.5?{{ }}"));
    let event = event(value!({ id: "ä b", n: true }));
    let rendered = template.render_with(&event, |text| text.replace(' ', "%20").into());
    assert_eq!(rendered.as_deref(), Ok("/o/ä%20b/true?{{ }}"));
}

#[test]
fn a_template_names_what_has_no_text() {
    let template = Template("to {{ .note }}".into()).compile(&order()).unwrap();
    let fault = template.render(&event(value!({ note: null }))).unwrap_err();
    assert_eq!(fault.cause, "template_failed");
    assert!(fault.message.contains("`{{ .note }}` gave null"), "{fault}");
    for (text, span) in [("a {{ .customer }}", ".customer"), ("{{}}", ""), ("x {{ .id", "{{")] {
        let found = Template(text.into()).compile(&order()).unwrap_err();
        assert_eq!(&text[found[0].span.clone()], span, "{found:?}");
    }
    let found = Template("é {{ .id + nope(1) }}".into()).compile(&order()).unwrap_err();
    assert_eq!((found[0].code, found[0].span.clone()), ("unknown_function", 12..16));
}

mod abuse;
mod decimals;
mod documentation;
mod mistakes;
