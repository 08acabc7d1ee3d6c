use super::*;
use crate::{Decoder, Encoder, events};
use vrl::value;

fn field(avro: &str) -> Schema {
    let text = format!(r#"{{"type":"record","name":"R","fields":[{{"name":"f","type":{avro}}}]}}"#);
    Schema::parse(&text).unwrap()
}

/// Reads one field, and checks that what was read is what an event will hold.
fn read_field(avro: &str, json: &str) -> Result<Value, String> {
    let schema = field(avro);
    let read = read(&schema, format!(r#"{{"f":{json}}}"#).as_bytes());
    let read = read.map_err(|error| error.cause)?;
    let mut payload = Vec::new();
    Encoder::new(&schema).unwrap().encode(&read.value, &mut payload).unwrap();
    assert_eq!(Decoder::new(&schema, None).unwrap().decode(&payload).unwrap(), read.value);
    Ok(read.value.as_object().unwrap()["f"].clone())
}

fn float(number: f64) -> Value {
    Value::Float(number.try_into().unwrap())
}

const MONEY: &str = r#"{"type":"bytes","logicalType":"decimal","precision":38,"scale":9}"#;

#[test]
fn decimals_are_read_from_their_digits() {
    for (json, text) in [
        ("0.1", "0.100000000"),
        ("1e2", "100.000000000"),
        ("12345678901234567890.123456789", "12345678901234567890.123456789"),
        ("\"12345678901234567890.123456789\"", "12345678901234567890.123456789"),
        ("-0.000000001", "-0.000000001"),
        ("1.10000000000", "1.100000000"),
    ] {
        assert_eq!(read_field(MONEY, json), Ok(value!(text)), "{json}");
    }
    assert_eq!(
        read_field(MONEY, "0.0000000001").unwrap_err(),
        "it must be decimal(38, 9), but there is `0.0000000001`: it has more than the 9 decimals of decimal(38, 9), and is not rounded"
    );
    assert!(read_field(MONEY, "true").unwrap_err().contains("a boolean"));
    assert!(read_field(MONEY, "\"ten\"").unwrap_err().contains("not a number"));
    let big = r#"{"type":"bytes","logicalType":"big-decimal"}"#;
    assert_eq!(read_field(big, "1.50"), Ok(value!("1.50")));
}

#[test]
fn whole_numbers_are_exact_and_held_to_their_range() {
    assert_eq!(read_field(r#""long""#, "9007199254740993"), Ok(value!(9007199254740993_i64)));
    assert_eq!(read_field(r#""long""#, "1e2"), Ok(value!(100)));
    assert_eq!(read_field(r#""long""#, "\"9223372036854775807\""), Ok(value!(i64::MAX)));
    assert!(read_field(r#""long""#, "9223372036854775808").is_err());
    assert!(read_field(r#""long""#, "1.5").unwrap_err().contains("whole number"));
    assert!(read_field(r#""int""#, "2147483648").unwrap_err().contains("an int does not hold"));
    assert_eq!(read_field(r#""double""#, "1e-7"), Ok(float(1e-7)));
    assert_eq!(read_field(r#""double""#, "\"-Infinity\""), Ok(float(f64::NEG_INFINITY)));
    assert!(read_field(r#""double""#, "1e999").unwrap_err().contains("beyond"));
    assert!(read_field(r#""double""#, "\"NaN\"").is_err());
}

#[test]
fn texts_bytes_and_symbols_are_read() {
    assert_eq!(read_field(r#""string""#, r#""a\u00e9\n\ud83d\ude00\/""#), Ok(value!("aé\n😀/")));
    assert_eq!(read_field(r#""string""#, "1001"), Ok(value!("1001")));
    assert!(read_field(r#""string""#, "false").is_err());
    assert_eq!(read_field(r#""bytes""#, "\"/wA=\""), Ok(Value::Bytes(vec![0xff, 0].into())));
    assert_eq!(read_field(r#""bytes""#, "\"/wA\""), Ok(Value::Bytes(vec![0xff, 0].into())));
    assert!(read_field(r#""bytes""#, "\"é\"").unwrap_err().contains("not base64"));
    let symbols = r#"{"type":"enum","name":"E","symbols":["NEW","PAID"]}"#;
    assert_eq!(read_field(symbols, "\"NEW\""), Ok(value!("NEW")));
    assert!(
        read_field(symbols, "\"new\"").unwrap_err().contains("none of its symbols (NEW, PAID)")
    );
}

#[test]
fn times_are_read_from_texts_and_counts() {
    let instant = |text| Ok(Value::Timestamp(crate::calendar::parse_timestamp(text).unwrap()));
    let millis = r#"{"type":"long","logicalType":"timestamp-millis"}"#;
    assert_eq!(
        read_field(millis, "\"2024-05-01T14:34:56.7891+02:00\""),
        instant("2024-05-01T12:34:56.789Z")
    );
    assert_eq!(read_field(millis, "1714566896789"), instant("2024-05-01T12:34:56.789Z"));
    assert!(read_field(millis, "\"yesterday\"").unwrap_err().contains("2024-05-01T12:34:56Z"));
    let date = r#"{"type":"int","logicalType":"date"}"#;
    assert_eq!(read_field(date, "\"2024-05-01\""), Ok(value!("2024-05-01")));
    assert_eq!(read_field(date, "19844"), Ok(value!("2024-05-01")));
    assert!(read_field(date, "99999999999").is_err());
    let time = r#"{"type":"int","logicalType":"time-millis"}"#;
    assert_eq!(read_field(time, "\"12:34\""), Ok(value!("12:34:00.000")));
    let local = r#"{"type":"long","logicalType":"local-timestamp-micros"}"#;
    assert_eq!(
        read_field(local, "\"2024-05-01T12:34:56\""),
        Ok(value!("2024-05-01T12:34:56.000000"))
    );
    let duration = r#"{"type":"fixed","size":12,"name":"T","logicalType":"duration"}"#;
    assert_eq!(
        read_field(duration, r#"{"months":1,"days":2,"milliseconds":3}"#),
        Ok(value!({ months: 1, days: 2, milliseconds: 3 }))
    );
    let uuid = r#"{"type":"string","logicalType":"uuid"}"#;
    assert_eq!(
        read_field(uuid, "\"6BA7B810-9DAD-11D1-80B4-00C04FD430C8\""),
        Ok(value!("6ba7b810-9dad-11d1-80b4-00c04fd430c8"))
    );
}

#[test]
fn a_union_reads_the_branch_that_an_encoder_would_choose() {
    let union = r#"["null","string","long","double",{"type":"int","logicalType":"date"}]"#;
    assert_eq!(read_field(union, "null"), Ok(Value::Null));
    assert_eq!(read_field(union, "\"42\""), Ok(value!("42")));
    assert_eq!(read_field(union, "42"), Ok(value!(42)));
    assert_eq!(read_field(union, "4.5"), Ok(float(4.5)));
    assert!(read_field(union, "[]").unwrap_err().contains("an array"));
}

#[test]
fn a_type_that_holds_itself_in_two_ways_is_read_in_linear_time() {
    let text = r#"{"type":"record","name":"A","fields":[{"name":"next","default":null,"type":["null","A",
        {"type":"record","name":"B","fields":[{"name":"next","default":null,"type":["null","A","B"]}]}]}]}"#;
    let nested = (0..100).fold("7".to_owned(), |inner, _| format!("{{\"next\":{inner}}}"));
    let error = read(&Schema::parse(text).unwrap(), nested.as_bytes()).unwrap_err();
    assert!(error.cause.contains("a number"), "{error}");
}

#[test]
fn missing_and_unknown_fields_are_no_errors_where_the_schema_allows_them() {
    let text = r#"{"type":"record","name":"R","fields":[
        {"name":"id","type":"string"},
        {"name":"state","type":{"type":"enum","name":"E","symbols":["NEW","PAID"]},"default":"NEW"},
        {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":4,"scale":2},"default":"\u0001\u0000"},
        {"name":"note","type":["null","string"]}]}"#;
    let schema = Schema::parse(text).unwrap();
    let result = read(&schema, br#"{"id":"1","vip":true,"a b":{"c":1}}"#).unwrap();
    assert_eq!(result.value, value!({ id: "1", state: "NEW", price: "2.56", note: null }));
    let unknown: Vec<_> = result.unknown.iter().map(ToString::to_string).collect();
    assert_eq!(unknown, [".vip", ".\"a b\""]);
    assert_eq!(
        read(&schema, b"{}").unwrap_err().to_string(),
        "reading JSON failed at `.id` (line 1, column 1): it must be string, but there is nothing"
    );
}

#[test]
fn an_error_names_the_field_and_its_line_and_column() {
    let json =
        "{\n  \"lines\": [\n    {\"sku\": \"é\", \"quantity\": 1, \"unit_price\": \"x\"}\n  ]}";
    let text = r#"{"type":"record","name":"O","fields":[{"name":"lines","type":{"type":"array","items":
        {"type":"record","name":"L","fields":[{"name":"unit_price","type":"double"}]}}}]}"#;
    let error = read(&Schema::parse(text).unwrap(), json.as_bytes()).unwrap_err();
    assert_eq!(
        (error.path.to_string().as_str(), error.line, error.column),
        (".lines[0].unit_price", 3, 47)
    );
}

#[test]
fn a_text_that_is_not_json_is_refused_with_its_place() {
    for (text, cause) in [
        ("", "a value is expected, and the text ends"),
        ("{", "a field's name in quotes is expected, and the text ends"),
        ("{\"a\" 1}", "`:` is expected, not `1`"),
        ("[1 2]", "`,` or `]` is expected, not `2`"),
        ("[1,]", "a value is expected, not `]`"),
        ("01", "a number does not start with 0 before other digits"),
        ("1.", "a digit is expected, and the text ends"),
        ("-", "a digit is expected, and the text ends"),
        ("1e+", "a digit is expected, and the text ends"),
        ("nul", "a value is expected, not `n`"),
        ("1 1", "something follows the value"),
        ("\"a", "a text is not closed"),
        ("\"\n\"", "a text holds a control character: write it as an escape"),
        ("\"\\x\"", "an escape is expected, not `x`"),
        ("\"\\u12\"", "four hexadecimal digits follow \\u"),
        ("\"\\ud800\"", "half of a surrogate pair is no character"),
        ("\"\\udc00\\ud800\"", "half of a surrogate pair is no character"),
    ] {
        assert_eq!(read_plain(text.as_bytes()).unwrap_err().cause, cause, "{text}");
    }
    assert_eq!(read_plain(&[b'"', 0xff, b'"']).unwrap_err().column, 2);
    let deep = "[".repeat(100_000);
    assert!(read_plain(deep.as_bytes()).unwrap_err().cause.contains("128 deep"));
    assert_eq!(read_plain("\u{feff}1".as_bytes()), Ok(value!(1)));
}

#[test]
fn numbers_without_a_schema_stay_exact() {
    assert_eq!(
        read_plain(b"[0.1, 1e2, -0, 42, 9223372036854775807]"),
        Ok(value!([(float(0.1)), (float(100.0)), 0, 42, (i64::MAX)]))
    );
    for text in [
        "12345678901234567890.123456789",
        "9223372036854775808",
        "0.1000000000000000055511151231257827",
        "1e400",
    ] {
        assert_eq!(read_plain(text.as_bytes()), Ok(value!(text)));
    }
}

#[test]
fn what_is_written_is_compact_json() {
    let value = value!({
        a: null, b: true, c: (-5), d: (float(1.0)), e: (float(f64::INFINITY)), "f \"": "q\"\\\n\u{1}é",
        g: ["x", {}], h: (Value::Bytes(vec![0xff, 0].into())), i: (float(1e300)),
        j: (Value::Timestamp(crate::calendar::parse_timestamp("2024-05-01T12:34:56.7Z").unwrap())),
    });
    let text = write(&value);
    assert_eq!(
        text,
        r#"{"a":null,"b":true,"c":-5,"d":1.0,"e":"Infinity","f \"":"q\"\\\n\u0001é","g":["x",{}],"h":"/wA=","i":1e300,"j":"2024-05-01T12:34:56.700Z"}"#
    );
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
}

#[test]
fn an_order_written_and_read_again_is_the_same() {
    let schema = Schema::parse(events::ORDER).unwrap();
    let json = br#"{"id":"1001","placed_at":"2024-05-01T12:34:56.789Z","currency":"EUR",
        "customer":{"id":"c1","name":"Ada","email":"ada@example.com",
            "address":{"street":"1 rue A","city":"Lyon","postal_code":"69001","country":"FR"}},
        "lines":[{"sku":"A","quantity":2,"unit_price":10.1},{"sku":"B","description":"Bee","quantity":"0.5","unit_price":3}],
        "total":21.70}"#;
    let order = read(&schema, json).unwrap();
    assert_eq!(order.unknown, []);
    assert_eq!(order.value.get(vrl::path!("lines", 0, "unit_price")), Some(&value!("10.10")));
    assert_eq!(read(&schema, write(&order.value).as_bytes()).unwrap(), order);
}

#[test]
fn what_other_formats_hold_is_read_by_the_same_rules() {
    let schema = Schema::parse(
        r#"{"type":"record","name":"R","fields":[{"name":"raw","type":["null","bytes"]},
            {"name":"total","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}]}"#,
    );
    let (schema, wrong) =
        (schema.unwrap(), || Node::Wrong("the number 7, which has no name".into()));
    let tree = |raw: Node<'static>, total: Node<'static>| {
        let fields = [("raw", raw), ("total", total), ("unread", wrong())];
        let named = fields.map(|(name, node)| (name.into(), node.into()));
        Node::Object(named.into_iter().collect())
    };
    let read = shape(&schema, tree(Node::Bytes(vec![0, 0xff]), Node::Number("1.5".into())));
    let expected = value!({ raw: (Value::Bytes(vec![0, 0xff].into())), total: "1.50" });
    assert_eq!(read, Ok(expected));
    for (node, cause) in [(wrong(), "the number 7"), (Node::Bytes(vec![1]), "a run of bytes")] {
        let error = shape(&schema, tree(Node::Null, node)).unwrap_err();
        assert_eq!(error.path.to_string(), ".total");
        assert!(error.cause.contains(cause), "{error}");
    }
}

#[test]
fn a_damaged_text_never_panics() {
    use rand::{Rng, SeedableRng};
    let schema = Schema::parse(events::ORDER).unwrap();
    let text = br#"{"id":"\u00e9\ud83d\ude00","placed_at":1714566896789,"lines":[{"sku":"\u{e9}","unit_price":-1.5e3}],"note":null}"#;
    let mut random = rand::rngs::StdRng::seed_from_u64(3);
    for _ in 0..20_000 {
        let mut text = text.to_vec();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..text.len());
            match random.random_range(0..3) {
                0 => text[at] = random.random(),
                1 => text.insert(at, *b"\"\\{}[],:u0-.e".get(random.random_range(0..13)).unwrap()),
                _ => text.truncate(at.max(1)),
            }
        }
        let (plain, shaped) = (read_plain(&text), read(&schema, &text));
        assert!(plain.is_ok() || shaped.is_err());
    }
}
