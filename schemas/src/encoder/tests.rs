use super::*;
use crate::{Decoder, events};
use vrl::value;

fn order() -> Value {
    value!({
        id: "1001", placed_at: (crate::calendar::parse_timestamp("2024-05-01T12:34:56.789Z").unwrap()),
        currency: "EUR",
        customer: { id: "c1", name: "Ada", email: "ada@example.com",
            address: { street: "1 rue A", city: "Lyon", postal_code: "69001", country: "FR" } },
        lines: [
            { sku: "A", description: null, quantity: "2.0000", unit_price: "10.00" },
            { sku: "B", description: "Bee", quantity: "1.5000", unit_price: "4.25" },
        ],
        total: "26.38", note: null,
    })
}

fn float(number: f64) -> Value {
    Value::Float(number.try_into().unwrap())
}

fn schema(text: &str) -> Schema {
    Schema::parse(text).unwrap()
}

fn field(avro: &str) -> Schema {
    schema(&format!(r#"{{"type":"record","name":"R","fields":[{{"name":"f","type":{avro}}}]}}"#))
}

/// What decoding gives after encoding.
fn round(schema: &Schema, value: &Value) -> Result<Value, String> {
    let mut payload = Vec::new();
    let encoder = Encoder::new(schema).unwrap();
    encoder.encode(value, &mut payload).map_err(|error| error.to_string())?;
    Ok(Decoder::new(schema, None).unwrap().decode(&payload).unwrap())
}

fn round_field(avro: &str, value: Value) -> Result<Value, String> {
    round(&field(avro), &value!({ f: value })).map(|value| value.as_object().unwrap()["f"].clone())
}

#[test]
fn an_order_is_the_same_after_encoding_and_decoding() {
    assert_eq!(round(&schema(events::ORDER), &order()), Ok(order()));
}

#[test]
fn a_field_that_is_missing_takes_its_default() {
    let mut value = order();
    value.remove(vrl::path!("note"), false);
    value.remove(vrl::path!("lines", 0, "description"), false);
    assert_eq!(round(&schema(events::ORDER), &value), Ok(order()));
}

#[test]
fn fields_that_the_schema_lacks_are_ignored() {
    let mut value = order();
    value.insert(vrl::path!("loyalty"), 3);
    assert_eq!(round(&schema(events::ORDER), &value), Ok(order()));
}

#[test]
fn every_wrong_field_is_named_with_its_path() {
    let mut value = order();
    value.remove(vrl::path!("id"), false);
    value.insert(vrl::path!("lines", 1, "unit_price"), float(4.25));
    value.insert(vrl::path!("customer", "address", "city"), Value::Null);
    value.insert(vrl::path!("total"), "26.385");
    let mut out = b"header".to_vec();
    let error = Encoder::new(&schema(events::ORDER)).unwrap().encode(&value, &mut out).unwrap_err();
    assert_eq!(out, b"header", "nothing is left of a value that was refused");
    assert_eq!(
        error.wrong.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "`.id` must be string, but there is nothing",
            "`.customer.address.city` must be string, but there is null",
            "`.lines[1].unit_price` must be decimal(18, 2), but there is a float, which is not exact: write it as text, such as \"20.00\"",
            "`.total` must be decimal(18, 2), but there is `26.385`: it has more than the 2 decimals of decimal(18, 2), and is not rounded",
        ]
    );
}

#[test]
fn no_more_than_ten_wrong_fields_are_listed() {
    let items: Vec<Value> = (0..100).map(|_| Value::Null).collect();
    let schema = schema(r#"{"type":"array","items":"string"}"#);
    let error = Encoder::new(&schema).unwrap().encode(&Value::Array(items), &mut Vec::new());
    assert_eq!(error.unwrap_err().wrong.len(), 10);
}

#[test]
fn numbers_are_held_to_their_range() {
    assert_eq!(round_field(r#""int""#, value!(2147483647)), Ok(value!(2147483647)));
    assert!(
        round_field(r#""int""#, value!(2147483648_i64))
            .unwrap_err()
            .contains("an int does not hold")
    );
    assert_eq!(round_field(r#""double""#, value!(3)), Ok(float(3.0)));
    assert!(
        round_field(r#""double""#, value!(9007199254740993_i64)).unwrap_err().contains("exactly")
    );
    assert!(round_field(r#""float""#, float(1e300)).unwrap_err().contains("beyond"));
    assert!(round_field(r#""long""#, float(1.0)).unwrap_err().contains("a float"));
    assert_eq!(round_field(r#""double""#, float(f64::INFINITY)), Ok(float(f64::INFINITY)));
}

#[test]
fn texts_and_bytes_are_told_apart_by_what_they_hold() {
    let raw = Value::Bytes(vec![0xff, 0x00].into());
    assert_eq!(round_field(r#""bytes""#, raw.clone()), Ok(raw.clone()));
    assert!(round_field(r#""string""#, raw.clone()).unwrap_err().contains("not UTF-8"));
    assert_eq!(
        round_field(r#"{"type":"fixed","name":"F","size":2}"#, raw.clone()),
        Ok(raw.clone())
    );
    assert!(
        round_field(r#"{"type":"fixed","name":"F","size":3}"#, raw)
            .unwrap_err()
            .contains("2 bytes")
    );
    let symbol = r#"{"type":"enum","name":"E","symbols":["NEW","PAID"]}"#;
    assert_eq!(round_field(symbol, value!("PAID")), Ok(value!("PAID")));
    assert!(
        round_field(symbol, value!("paid"))
            .unwrap_err()
            .contains("none of its symbols (NEW, PAID)")
    );
}

#[test]
fn logical_types_take_the_texts_that_decoding_gives() {
    for (avro, text) in [
        (r#"{"type":"int","logicalType":"date"}"#, "2024-02-29"),
        (r#"{"type":"int","logicalType":"time-millis"}"#, "23:59:59.999"),
        (r#"{"type":"long","logicalType":"time-micros"}"#, "00:00:00.000001"),
        (r#"{"type":"long","logicalType":"local-timestamp-millis"}"#, "1969-12-31T23:59:59.999"),
        (r#"{"type":"long","logicalType":"local-timestamp-micros"}"#, "2024-05-01T12:34:56.789012"),
        (
            r#"{"type":"long","logicalType":"local-timestamp-nanos"}"#,
            "2024-05-01T12:34:56.789012345",
        ),
        (r#"{"type":"string","logicalType":"uuid"}"#, "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
        (
            r#"{"type":"fixed","size":16,"name":"U","logicalType":"uuid"}"#,
            "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        ),
        (
            r#"{"type":"bytes","logicalType":"big-decimal"}"#,
            "-12345678901234567890123456789012345678901234567890.5",
        ),
        (
            r#"{"type":"bytes","logicalType":"decimal","precision":60,"scale":10}"#,
            "12345678901234567890123456789012345678901234567890.0123456789",
        ),
        (
            r#"{"type":"fixed","size":30,"name":"D","logicalType":"decimal","precision":60,"scale":10}"#,
            "-12345678901234567890123456789012345678901234567890.0123456789",
        ),
    ] {
        assert_eq!(round_field(avro, value!(text)), Ok(value!(text)), "{avro}");
        assert!(round_field(avro, value!("nonsense")).is_err(), "{avro}");
        assert!(round_field(avro, value!(true)).unwrap_err().contains("a boolean"), "{avro}");
    }
    let duration = r#"{"type":"fixed","size":12,"name":"T","logicalType":"duration"}"#;
    let value = value!({ months: 1, days: 2, milliseconds: 4294967295_i64 });
    assert_eq!(round_field(duration, value.clone()), Ok(value));
    assert!(
        round_field(duration, value!({ months: 1, days: (-2), milliseconds: 0 }))
            .unwrap_err()
            .contains("`days`")
    );
}

#[test]
fn a_timestamp_is_cut_to_its_unit() {
    let instant = |text| Value::Timestamp(crate::calendar::parse_timestamp(text).unwrap());
    let millis = r#"{"type":"long","logicalType":"timestamp-millis"}"#;
    assert_eq!(
        round_field(millis, instant("2024-05-01T12:34:56.789999Z")),
        Ok(instant("2024-05-01T12:34:56.789Z"))
    );
    assert!(round_field(millis, value!("2024-05-01T12:34:56Z")).unwrap_err().contains("a text"));
    let nanos = r#"{"type":"long","logicalType":"timestamp-nanos"}"#;
    assert!(round_field(nanos, instant("2500-01-01T00:00:00Z")).unwrap_err().contains("too far"));
}

#[test]
fn an_integer_is_a_decimal() {
    let money = r#"{"type":"bytes","logicalType":"decimal","precision":18,"scale":2}"#;
    assert_eq!(round_field(money, value!(20)), Ok(value!("20.00")));
    assert!(round_field(money, value!(i64::MAX)).unwrap_err().contains("21 digits"));
}

/// The branch that is written, by its place.
fn branch(union: &str, value: Value) -> Option<u8> {
    let mut payload = Vec::new();
    Encoder::new(&schema(union)).unwrap().encode(&value, &mut payload).ok()?;
    payload.first().map(|zigzag| zigzag / 2)
}

#[test]
fn a_union_takes_the_most_specific_branch() {
    let numbers = r#"["null","int","long","double"]"#;
    assert_eq!(branch(numbers, Value::Null), Some(0));
    assert_eq!(branch(numbers, value!(5)), Some(1));
    assert_eq!(branch(numbers, value!(5_000_000_000_i64)), Some(2));
    assert_eq!(branch(numbers, float(5.0)), Some(3));
    assert_eq!(branch(numbers, value!("5")), None);
    let texts = r#"["bytes","string",{"type":"int","logicalType":"date"},{"type":"enum","name":"E","symbols":["NEW"]}]"#;
    assert_eq!(branch(texts, value!("NEW")), Some(3));
    assert_eq!(branch(texts, value!("2024-05-01")), Some(2));
    assert_eq!(branch(texts, value!("anything")), Some(1));
    assert_eq!(branch(texts, Value::Bytes(vec![0xff].into())), Some(0));
}

#[test]
fn a_union_of_records_takes_the_one_whose_fields_are_there() {
    let union = r#"[
        {"type":"record","name":"Card","fields":[{"name":"number","type":"string"}]},
        {"type":"record","name":"Transfer","fields":[{"name":"iban","type":"string"},{"name":"bic","type":["null","string"],"default":null}]},
        {"type":"map","values":"string"}]"#;
    assert_eq!(branch(union, value!({ number: "4" })), Some(0));
    assert_eq!(branch(union, value!({ iban: "FR", bic: "X" })), Some(1));
    assert_eq!(branch(union, value!({ iban: "FR" })), Some(1));
    assert_eq!(branch(union, value!({ anything: "else" })), Some(2));
}

#[test]
fn an_error_in_an_optional_field_names_what_lies_deeper() {
    let union =
        r#"["null",{"type":"record","name":"A","fields":[{"name":"city","type":"string"}]}]"#;
    assert_eq!(
        round_field(union, value!({ city: 3 })),
        Err("encoding Avro failed: `.f.city` must be string, but there is an integer".to_owned())
    );
    assert!(round_field(r#"["null","string"]"#, value!(3)).unwrap_err().contains("must be string"));
}

#[test]
fn a_value_that_is_too_deep_is_refused() {
    let schema = schema(
        r#"{"type":"record","name":"Node","fields":[{"name":"next","type":["null","Node"],"default":null}]}"#,
    );
    let nested = |depth| (0..depth).fold(value!({}), |inner, _| value!({ next: inner }));
    assert!(round(&schema, &nested(100)).is_ok());
    assert!(round(&schema, &nested(200)).unwrap_err().contains("128 deep"));
}
