use super::*;
use crate::{events, kind};
use std::collections::BTreeMap;

const MONEY: &str = r#"{"type":"bytes","logicalType":"decimal","precision":18,"scale":2}"#;

fn record(fields: &str) -> Schema {
    Schema::parse(&format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)).unwrap()
}

fn field(avro: &str) -> Schema {
    record(&format!(r#"{{"name":"f","type":{avro}}}"#))
}

fn object(fields: impl IntoIterator<Item = (&'static str, Kind)>) -> Kind {
    let fields: BTreeMap<Field, Kind> =
        fields.into_iter().map(|(name, kind)| (name.into(), kind)).collect();
    Kind::object(Collection::from_parts(fields, Kind::undefined()))
}

fn array(items: Kind) -> Kind {
    Kind::array(Collection::from_unknown(items))
}

fn shown(kind: &Kind, output: &Schema) -> Vec<String> {
    misfits(kind, output, None).iter().map(ToString::to_string).collect()
}

fn shown_field(kind: Kind, avro: &str) -> Vec<String> {
    shown(&object([("f", kind)]), &field(avro))
}

#[test]
fn what_a_schema_s_own_decoder_makes_fits_it() {
    for text in [events::ORDER, events::SALE] {
        let schema = Schema::parse(text).unwrap();
        assert_eq!(misfits(&kind(&schema), &schema, None), []);
    }
    let tree = record(
        r#"{"name":"children","type":{"type":"array","items":"R"}},{"name":"next","type":["null","R"]}"#,
    );
    assert_eq!(misfits(&kind(&tree), &tree, None), []);
}

#[test]
fn each_kind_is_held_against_each_type() {
    let optional = format!(r#"["null",{MONEY}]"#);
    let union = format!(r#"["string",{MONEY}]"#);
    let nested = format!(
        r#"{{"type":"array","items":{{"type":"record","name":"L","fields":[{{"name":"p","type":{MONEY}}}]}}}}"#
    );
    let cases: [(Kind, &str, &[&str]); 22] = [
        (Kind::bytes(), r#""string""#, &[]),
        (
            Kind::integer(),
            r#""string""#,
            &["`.f` is an integer, and the output schema wants string"],
        ),
        (
            Kind::bytes().or_null(),
            r#""string""#,
            &["`.f` may be null, and the output schema wants string"],
        ),
        (
            Kind::bytes().or_undefined(),
            r#""string""#,
            &["`.f` may not be set, and the output schema wants string"],
        ),
        (
            Kind::any(),
            r#""string""#,
            &[
                "`.f` may not be set, and the output schema wants string",
                "`.f` may be an integer, a float, a boolean, a timestamp, a regular expression, an array, an object or null, and the output schema wants string",
            ],
        ),
        (Kind::bytes(), MONEY, &[]),
        (Kind::integer(), MONEY, &[]),
        (Kind::float(), MONEY, &["`.f` is a float, and the output schema wants decimal(18, 2)"]),
        (Kind::null(), &optional, &[]),
        (
            Kind::float().or_null(),
            &optional,
            &["`.f` may be a float, and the output schema wants decimal(18, 2) or null"],
        ),
        (
            Kind::bytes(),
            &union,
            &["`.f` is a string, which more than one branch of string or decimal(18, 2) takes"],
        ),
        (Kind::integer(), &union, &[]),
        (Kind::integer(), r#"["null","int","long"]"#, &[]),
        (Kind::integer(), r#""double""#, &[]),
        (Kind::float(), r#""long""#, &["`.f` is a float, and the output schema wants long"]),
        (
            Kind::bytes(),
            r#"{"type":"long","logicalType":"timestamp-millis"}"#,
            &["`.f` is a string, and the output schema wants timestamp-millis"],
        ),
        (
            Kind::timestamp(),
            r#"{"type":"int","logicalType":"date"}"#,
            &["`.f` is a timestamp, and the output schema wants date"],
        ),
        (Kind::bytes(), r#"{"type":"enum","name":"E","symbols":["A"]}"#, &[]),
        (
            array(Kind::bytes()),
            r#"{"type":"array","items":"long"}"#,
            &["`.f[]` is a string, and the output schema wants long"],
        ),
        (
            array(object([("p", Kind::float())])),
            &nested,
            &["`.f[].p` is a float, and the output schema wants decimal(18, 2)"],
        ),
        (
            Kind::object(Collection::from_unknown(Kind::float())),
            r#"{"type":"map","values":"string"}"#,
            &["`.f.*` is a float, and the output schema wants string"],
        ),
        (object([("k", Kind::float())]), r#"{"type":"map","values":"double"}"#, &[]),
    ];
    for (kind, avro, expected) in cases {
        assert_eq!(shown_field(kind.clone(), avro), expected, "{kind} as {avro}");
    }
}

#[test]
fn a_field_that_is_not_set_needs_a_default() {
    let output = record(
        r#"{"name":"id","type":"string"},{"name":"note","type":["null","string"],"default":null},{"name":"tag","type":["null","string"]}"#,
    );
    assert_eq!(
        shown(&object([]), &output),
        [
            "`.id` is not set, and the output schema wants string",
            "`.tag` is not set, and the output schema wants string or null"
        ]
    );
    assert_eq!(
        shown(
            &object([
                ("id", Kind::bytes()),
                ("tag", Kind::null()),
                ("note", Kind::bytes().or_undefined())
            ]),
            &output
        ),
        [] as [&str; 0]
    );
}

#[test]
fn an_object_of_anything_may_lack_what_is_needed() {
    let output = record(
        r#"{"name":"id","type":"string"},{"name":"note","type":["null","string"],"default":null}"#,
    );
    assert_eq!(
        shown(&Kind::any_object(), &output),
        ["`.id` may not be set, and the output schema wants string"]
    );
}

#[test]
fn a_field_passed_through_is_dropped_and_one_assigned_is_an_error() {
    let input = record(
        r#"{"name":"id","type":"string"},{"name":"vip","type":"boolean"},
           {"name":"customer","type":["null",{"type":"record","name":"C","fields":[{"name":"email","type":"string"},{"name":"phone","type":"string"}]}]},
           {"name":"lines","type":{"type":"array","items":{"type":"record","name":"L","fields":[{"name":"sku","type":"string"},{"name":"weight","type":"double"}]}}}"#,
    );
    let output = record(
        r#"{"name":"id","type":"string"},
           {"name":"customer","type":["null",{"type":"record","name":"C","fields":[{"name":"email","type":"string"}]}]},
           {"name":"lines","type":{"type":"array","items":{"type":"record","name":"L","fields":[{"name":"sku","type":"string"}]}}}"#,
    );
    assert_eq!(misfits(&kind(&input), &output, Some(&input)), []);
    assert_eq!(
        shown(&kind(&input), &output),
        [
            "the output schema has no `.customer.phone`",
            "the output schema has no `.lines[].weight`",
            "the output schema has no `.vip`"
        ]
    );
    let line = object([("sku", Kind::bytes()), ("skuu", Kind::bytes()), ("weight", Kind::float())]);
    let assigned = object([
        ("id", Kind::bytes()),
        ("customer", Kind::null()),
        ("lines", array(line)),
        ("total", Kind::bytes()),
    ]);
    let found: Vec<_> =
        misfits(&assigned, &output, Some(&input)).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "the output schema has no `.lines[].skuu`: did you mean `sku`?",
            "the output schema has no `.total`"
        ]
    );
}

#[test]
fn of_several_records_the_one_whose_fields_are_set_is_meant() {
    let union = r#"[{"type":"record","name":"Card","fields":[{"name":"number","type":"string"}]},
        {"type":"record","name":"Transfer","fields":[{"name":"iban","type":"string"}]}]"#;
    assert_eq!(shown_field(object([("iban", Kind::bytes())]), union), [] as [&str; 0]);
    assert_eq!(
        shown_field(object([("iban", Kind::integer())]), union),
        ["`.f.iban` is an integer, and the output schema wants string"]
    );
    assert_eq!(
        shown_field(object([("iban", Kind::bytes()), ("number", Kind::bytes())]), union),
        ["`.f` is an object, which more than one branch of Card or Transfer takes"]
    );
    assert_eq!(
        shown_field(object([]), union),
        ["`.f.number` is not set, and the output schema wants string"]
    );
}
