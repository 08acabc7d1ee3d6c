//! Each rule in both directions, by small schemas.

use super::*;

fn schema(text: &str) -> Schema {
    Schema::parse(text).unwrap()
}

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"R","namespace":"n","fields":[{fields}]}}"#)
}

fn field(kind: &str) -> String {
    record(&format!(r#"{{"name":"f","type":{kind}}}"#))
}

/// The kinds found when `new` has to read `old`.
fn backward(new: &str, old: &str) -> Vec<&'static str> {
    let found = check(Level::Backward, &schema(new), &[schema(old)]);
    found.iter().map(|reason| reason.kind.name()).collect()
}

const DECIMAL_12_2: &str = r#"{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}"#;
const DECIMAL_18_2: &str = r#"{"type":"bytes","logicalType":"decimal","precision":18,"scale":2}"#;
const DECIMAL_18_3: &str = r#"{"type":"bytes","logicalType":"decimal","precision":18,"scale":3}"#;

#[test]
fn a_type_reads_those_that_the_specification_promotes_to_it() {
    let plain = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
    let promoted = [
        ("long", "int"),
        ("float", "int"),
        ("float", "long"),
        ("double", "int"),
        ("double", "long"),
        ("double", "float"),
        ("bytes", "string"),
        ("string", "bytes"),
    ];
    for reader in plain {
        for writer in plain {
            let found =
                backward(&field(&format!("\"{reader}\"")), &field(&format!("\"{writer}\"")));
            let reads = reader == writer || promoted.contains(&(reader, writer));
            let expected: &[&str] = if reads { &[] } else { &["TYPE_MISMATCH"] };
            assert_eq!(found, expected, "{reader} reads {writer}");
        }
    }
}

#[test]
fn the_rules_of_resolution() {
    let two = |a: &str, b: &str| record(&format!("{a},{b}"));
    let (a, b) = (r#"{"name":"a","type":"int"}"#, r#"{"name":"b","type":"int"}"#);
    let b_default = r#"{"name":"b","type":"int","default":0}"#;
    let b_alias = r#"{"name":"c","aliases":["b"],"type":"int"}"#;
    let fixed = |size: u8| field(&format!(r#"{{"type":"fixed","name":"F","size":{size}}}"#));
    let symbols = |rest: &str| field(&format!(r#"{{"type":"enum","name":"E","symbols":{rest}}}"#));
    let named = |name: &str| format!(r#"{{"type":"record","name":"{name}","fields":[]}}"#);
    let items = |kind: &str| field(&format!(r#"{{"type":"array","items":"{kind}"}}"#));
    let values = |kind: &str| field(&format!(r#"{{"type":"map","values":"{kind}"}}"#));
    let aliased = r#"{"type":"record","name":"m.S","aliases":["n.R"],"fields":[]}"#.to_owned();
    #[rustfmt::skip]
    let table: Vec<(&str, String, String, &[&str])> = vec![
        ("a field with a default may be added", two(a, b_default), record(a), &[]),
        ("one without may not", two(a, b), record(a), &["READER_FIELD_MISSING_DEFAULT_VALUE"]),
        ("a field may be removed", record(a), two(a, b), &[]),
        ("a renamed field keeps its alias", two(a, b_alias), two(a, b), &[]),
        ("an enum may gain symbols", symbols(r#"["X","Y"]"#), symbols(r#"["X"]"#), &[]),
        ("it may not lose them", symbols(r#"["X"]"#), symbols(r#"["X","Y"]"#), &["MISSING_ENUM_SYMBOLS"]),
        ("unless it has a default", symbols(r#"["X"],"default":"X""#), symbols(r#"["X","Y"]"#), &[]),
        ("a fixed keeps its size", fixed(4), fixed(8), &["FIXED_SIZE_MISMATCH"]),
        ("a namespace may change", named("m.R"), named("n.R"), &[]),
        ("a name may not", named("n.S"), named("n.R"), &["NAME_MISMATCH"]),
        ("unless an alias holds the old one", aliased, named("n.R"), &[]),
        ("items follow the same rules", items("long"), items("int"), &[]),
        ("items that do not fit", items("int"), items("long"), &["TYPE_MISMATCH"]),
        ("values follow the same rules", values("int"), values("string"), &["TYPE_MISMATCH"]),
        ("an array is no map", items("int"), values("int"), &["TYPE_MISMATCH"]),
        ("a field may become optional", field(r#"["null","int"]"#), field(r#""int""#), &[]),
        ("it may not become required", field(r#""int""#), field(r#"["null","int"]"#), &["TYPE_MISMATCH"]),
        ("a union may gain a branch", field(r#"["null","int","string"]"#), field(r#"["int","null"]"#), &[]),
        ("it may not lose one", field(r#"["null","int"]"#), field(r#"["null","boolean"]"#), &["MISSING_UNION_BRANCH"]),
        ("a branch may read by promotion", field(r#"["null","double"]"#), field(r#"["null","int"]"#), &[]),
        ("a union may shrink to what reads all", field(r#""double""#), field(r#"["int","long"]"#), &[]),
        ("a date reads an int", field(r#"{"type":"int","logicalType":"date"}"#), field(r#""int""#), &[]),
        ("a uuid is a string", field(r#"{"type":"string","logicalType":"uuid"}"#), field(r#""string""#), &[]),
        ("a decimal reads bytes", field(DECIMAL_12_2), field(r#""bytes""#), &[]),
        ("a decimal may gain digits", field(DECIMAL_18_2), field(DECIMAL_12_2), &[]),
        ("it may not lose digits", field(DECIMAL_12_2), field(DECIMAL_18_2), &["TYPE_MISMATCH"]),
        ("it keeps its scale", field(DECIMAL_18_3), field(DECIMAL_18_2), &["TYPE_MISMATCH"]),
        ("also within a union", field(&format!("[\"null\",{DECIMAL_18_3}]")), field(&format!("[\"null\",{DECIMAL_18_2}]")), &["MISSING_UNION_BRANCH"]),
    ];
    for (rule, new, old, expected) in table {
        assert_eq!(backward(&new, &old), expected, "{rule}");
    }
}

#[test]
fn a_level_says_who_reads_whom_and_how_far_back() {
    let with = |fields: &[&str]| {
        let fields: Vec<_> = fields
            .iter()
            .map(|field| match field.strip_suffix('?') {
                Some(name) => format!(r#"{{"name":"{name}","type":"int","default":0}}"#),
                None => format!(r#"{{"name":"{field}","type":"int"}}"#),
            })
            .collect();
        schema(&record(&fields.join(",")))
    };
    // The first version lacks `b`, which the second has without a default.
    let versions = [with(&["a"]), with(&["a", "b"])];
    let passes = |level: Level, new: &[&str]| check(level, &with(new), &versions).is_empty();
    let adds = ["a", "b", "c"];
    let removes = ["a"];
    let optional = ["a", "b", "c?"];
    for (level, adds_passes, removes_passes, optional_passes) in [
        (Level::None, true, true, true),
        (Level::Backward, false, true, true),
        (Level::BackwardTransitive, false, true, false),
        (Level::Forward, true, false, true),
        (Level::ForwardTransitive, true, false, true),
        (Level::Full, false, false, true),
        (Level::FullTransitive, false, false, false),
    ] {
        assert_eq!(passes(level, &adds), adds_passes, "{level} and an added field");
        assert_eq!(passes(level, &removes), removes_passes, "{level} and a removed field");
        assert_eq!(passes(level, &optional), optional_passes, "{level} and an optional field");
        assert_eq!(level.name().parse(), Ok(level));
    }
    assert!(check(Level::FullTransitive, &with(&adds), &[]).is_empty());
    assert!("SIDEWAYS".parse::<Level>().is_err());
}

#[test]
fn recursive_types_are_compared_once() {
    let node = |rest: &str| {
        schema(&format!(
            r#"{{"type":"record","name":"Node","fields":[
                {{"name":"next","type":["null","Node"]}},
                {{"name":"all","type":{{"type":"array","items":"Node"}}}}{rest}]}}"#
        ))
    };
    let old = node("");
    assert_eq!(check(Level::Full, &node(""), std::slice::from_ref(&old)), []);
    let found = check(Level::Backward, &node(r#",{"name":"x","type":"int"}"#), &[old]);
    let kinds: Vec<_> = found.iter().map(|reason| reason.kind).collect();
    assert_eq!(kinds, [Kind::ReaderFieldMissingDefaultValue]);
}

#[test]
fn a_message_says_what_changed_whom_it_breaks_and_what_to_do() {
    let old = schema(&record(r#"{"name":"id","type":"int"},{"name":"note","type":"string"}"#));
    let new = schema(&record(
        r#"{"name":"id","type":"string"},{"name":"lines","type":{"type":"array","items":
            {"type":"record","name":"Line","fields":[]}}},{"name":"total","type":"int"}"#,
    ));
    let messages: Vec<_> = check(Level::Full, &new, std::slice::from_ref(&old))
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        messages,
        [
            "TYPE_MISMATCH: field `id` is string for readers, which does not hold the int of old \
             events: readers of the new schema cannot read old events. Keep the type, or add a new \
             field",
            "READER_FIELD_MISSING_DEFAULT_VALUE: field `lines` was added without a default: readers \
             of the new schema cannot read old events. Give it a default",
            "READER_FIELD_MISSING_DEFAULT_VALUE: field `total` was added without a default: readers \
             of the new schema cannot read old events. Give it a default",
            "TYPE_MISMATCH: field `id` is int for readers, which does not hold the string of new \
             events: readers of the earlier version cannot read new events. Keep the type, or add a \
             new field",
            "READER_FIELD_MISSING_DEFAULT_VALUE: field `note` (string) was removed and had no \
             default: readers of the earlier version cannot read new events. Keep the field",
        ]
    );
    assert_eq!(
        changes(&old, &new),
        ["~ .id: int → string", "+ .lines: array of Line", "+ .total: int", "- .note: string"]
    );
}

#[test]
fn the_builtin_events_are_compatible_with_themselves() {
    for text in [crate::events::ORDER, crate::events::SALE] {
        assert_eq!(check(Level::FullTransitive, &schema(text), &[schema(text)]), []);
    }
}
