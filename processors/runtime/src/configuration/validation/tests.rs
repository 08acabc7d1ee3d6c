use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::document::parse;
use super::super::grammar::{hoist, schema_of};
use super::*;
use crate::options::{Period, Secret};

/// What is wrong with a text as the options of a type: each mistake as `line:column code: cause`.
fn wrong<T: JsonSchema + DeserializeOwned>(yaml: &str) -> Vec<String> {
    let file = File::new(Path::new("a.yaml"), yaml.to_owned());
    let root = parse(&file).unwrap();
    let mut definitions = Map::new();
    let schema = hoist(schema_of::<T>(), "t", &mut definitions);
    let mut validation = Validation::new(&file, &definitions);
    let value = validation.read(&root, &schema, &Place::new("it", 0..0));
    if validation.problems.is_empty() {
        serde_json::from_value::<T>(value).map(drop).unwrap();
    }
    let shown = |one: &Problem| format!("{}:{} {}: {}", one.line, one.column, one.code, one.cause);
    validation.problems.iter().map(shown).collect()
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its shape is looked at")]
struct Flat {
    name: String,
    #[serde(flatten)]
    window: Window,
    #[serde(flatten)]
    way: Way,
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its shape is looked at")]
struct Window {
    length: Option<Period>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its shape is looked at")]
enum Way {
    Query(String),
    Table { name: String },
}

#[test]
fn flattened_fields_are_fields_of_their_section() {
    assert_eq!(wrong::<Flat>("{ name: a, length: 3s, query: x }"), [""; 0]);
    assert_eq!(wrong::<Flat>("{ name: a, table: { name: x } }"), [""; 0]);
    assert_eq!(
        wrong::<Flat>("{ name: a, lenght: 3s, query: x }"),
        ["1:12 unknown_field: unknown field `lenght` in it"]
    );
    assert_eq!(
        wrong::<Flat>("{ name: a, table: { nam: x } }"),
        ["1:21 unknown_field: unknown field `nam` in `table`"]
    );
    assert_eq!(wrong::<Flat>("{ name: a }"), ["1:1 missing_field: it needs one of: query, table"]);
    assert_eq!(
        wrong::<Flat>("{ name: a, tabel: { name: x } }"),
        ["1:12 unknown_kind: unknown kind `tabel` of it, expected one of: query, table"]
    );
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its shape is looked at")]
enum Loose {
    Word(String),
    Several(Vec<u16>),
    Full { word: String, weight: Option<f64> },
}

#[test]
fn the_alternative_of_the_right_kind_is_the_one_that_was_meant() {
    assert_eq!(wrong::<Loose>("word"), [""; 0]);
    assert_eq!(wrong::<Loose>("[1, 2]"), [""; 0]);
    assert_eq!(wrong::<Loose>("{ word: a, weight: 1.5 }"), [""; 0]);
    assert_eq!(
        wrong::<Loose>("[1, a, 70000, 1.5]"),
        [
            "1:5 wrong_type: item 2 of it is a whole number, not a text",
            "1:8 out_of_range: item 3 of it is from 0 to 65535, not 70000",
            "1:15 wrong_type: item 4 of it is a whole number, not a number",
        ]
    );
    assert_eq!(
        wrong::<Loose>("{ word: a, wieght: 1 }"),
        ["1:12 unknown_field: unknown field `wieght` in it"]
    );
    assert_eq!(
        wrong::<Loose>("true"),
        ["1:1 wrong_type: it is a text or a list or a map, not true or false"]
    );
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its shape is looked at")]
struct Tree {
    value: i32,
    #[serde(default)]
    children: Vec<Tree>,
    pair: Option<(String, bool)>,
}

#[test]
fn a_type_that_holds_itself_is_followed() {
    let right = "{ value: 1, children: [{ value: 2, children: [{ value: 3 }] }], pair: [a, true] }";
    assert_eq!(wrong::<Tree>(right), [""; 0]);
    assert_eq!(
        wrong::<Tree>("{ value: 1, children: [{ value: 2, children: [{ valu: 3 }] }], pair: [a] }"),
        [
            "1:49 unknown_field: unknown field `valu` in item 1 of `children`",
            "1:70 wrong_length: `pair` has 1 item, and needs at least 2",
        ]
    );
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its shape is looked at")]
struct Free {
    secret: Secret,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    anything: serde_json::Value,
}

#[test]
fn names_of_the_users_own_and_any_value_are_taken() {
    assert_eq!(
        wrong::<Free>("{ secret: 0123, labels: { a: b }, anything: [1, { x: ~ }] }"),
        [""; 0]
    );
    assert_eq!(wrong::<Free>("{ secret: 1.10 }"), [""; 0]);
    assert_eq!(
        wrong::<Free>("{ secret: [1], labels: { a: 1 } }"),
        [
            "1:11 wrong_type: `secret` is a text or a number, not a list",
            "1:29 wrong_type: `a` is a text, not a number",
        ]
    );
}

#[test]
fn a_secret_keeps_the_digits_that_are_written() {
    let file = File::new(Path::new("a.yaml"), "secret: 1.10e5".to_owned());
    let root = parse(&file).unwrap();
    let definitions = Map::new();
    let mut validation = Validation::new(&file, &definitions);
    let value = validation.read(&root, &schema_of::<Free>(), &Place::new("it", 0..0));
    assert_eq!(value["secret"], "1.10e5");
    assert_eq!(validation.secrets.first(), Some(&(8..14)));
}

#[test]
fn the_nearest_name_is_near() {
    assert_eq!(nearest("partitons", &["partitions", "retention"]), Some("partitions"));
    assert_eq!(nearest("Retention", &["partitions", "retention"]), Some("retention"));
    assert_eq!(nearest("colour", &["partitions", "retention"]), None);
}
