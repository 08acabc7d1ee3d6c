use super::*;
use crate::events;

fn refusal(text: &str) -> String {
    Schema::parse(text).expect_err("the schema is refused").to_string()
}

#[test]
fn the_built_in_events_are_valid_and_every_field_is_described() {
    for (text, name) in
        [(events::ORDER, "passerelle.shop.Order"), (events::SALE, "passerelle.erp.Sale")]
    {
        let schema = Schema::parse(text).unwrap();
        assert_eq!(schema.fullname().as_deref(), Some(name));
        for field in schema.fields() {
            assert!(field.doc.is_some(), "{name}{} has no doc", field.path);
        }
    }
}

#[test]
fn fields_are_listed_with_their_paths_and_types() {
    let fields = Schema::parse(events::ORDER).unwrap().fields();
    let find = |path: &str| fields.iter().find(|field| field.path.to_string() == path).unwrap();
    assert_eq!(find(".lines").kind, "array of Line");
    assert_eq!(find(".lines[].unit_price").kind, "decimal(18, 2)");
    assert_eq!(find(".customer.address.city").kind, "string");
    let note = find(".note");
    assert_eq!(
        (note.kind.as_str(), note.nullable, note.default.as_deref()),
        ("string or null", true, Some("null"))
    );
}

#[test]
fn a_recursive_type_is_listed_once() {
    let text =
        r#"{"type":"record","name":"Node","fields":[{"name":"next","type":["null","Node"]}]}"#;
    let fields = Schema::parse(text).unwrap().fields();
    assert_eq!(fields.len(), 1);
    assert_eq!(fields[0].kind, "Node or null");
}

#[test]
fn an_error_names_the_field() {
    let text = r#"{"type":"record","name":"Order","fields":[
        {"name":"id","type":"string"},
        {"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
            {"name":"sku","type":"string"},{"name":"price","type":"money"}]}}}]}"#;
    let error = Schema::parse(text).unwrap_err();
    assert_eq!(error.at.unwrap().to_string(), ".lines[].price");
    assert!(error.cause.contains("money"), "{}", error.cause);
}

#[test]
fn an_error_of_a_default_names_the_field() {
    let text = r#"{"type":"record","name":"Order","fields":[
        {"name":"id","type":"string"},{"name":"count","type":"int","default":"none"}]}"#;
    assert!(refusal(text).contains("at `.count`"), "{}", refusal(text));
}

#[test]
fn an_error_in_a_branch_of_a_union_names_the_field() {
    let text = r#"{"type":"record","name":"Order","fields":[
        {"name":"note","type":["null",{"type":"array","items":"text"}]}]}"#;
    assert!(refusal(text).contains("at `.note[]`"), "{}", refusal(text));
}

#[test]
fn a_text_that_is_not_json_is_refused_with_line_and_column() {
    assert!(
        refusal("{\n  \"type\": ,}").contains("line 2 column 11"),
        "{}",
        refusal("{\n  \"type\": ,}")
    );
}

#[test]
fn one_name_for_two_types_is_refused() {
    let text = r#"{"type":"record","name":"Order","fields":[
        {"name":"a","type":{"type":"fixed","name":"Code","size":2}},
        {"name":"b","type":{"type":"fixed","name":"Code","size":3}}]}"#;
    assert!(refusal(text).contains("`Code` is defined twice"), "{}", refusal(text));
}

#[test]
fn a_reference_brings_the_other_schema_s_types() {
    let address = Schema::parse(
        r#"{"type":"record","name":"a.Address","fields":[{"name":"city","type":"string"}]}"#,
    )
    .unwrap();
    let text = r#"{"type":"record","name":"a.Order","fields":[{"name":"to","type":"a.Address"},{"name":"from","type":"a.Address"}]}"#;
    assert!(refusal(text).contains("at `.to`"), "{}", refusal(text));
    let order = Schema::parse_with(text, &[address]).unwrap();
    assert_eq!(order.text(), text);
    assert_eq!(order.fields()[1].path.to_string(), ".to.city");
    assert!(Schema::parse(&order.canonical()).is_ok(), "the canonical form stands alone");
}
