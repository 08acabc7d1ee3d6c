use super::*;
use vrl::value;

fn schema(text: &str) -> Schema {
    Schema::parse(text).unwrap()
}

fn record(fields: &str) -> Schema {
    schema(&format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#))
}

fn decode(writer: &Schema, payload: &[u8]) -> Result<Value, String> {
    Decoder::new(writer, None).unwrap().decode(payload).map_err(|error| error.to_string())
}

fn resolve(writer: &Schema, reader: &Schema, payload: &[u8]) -> Result<Value, String> {
    let decoder = Decoder::new(writer, Some(reader)).map_err(|error| error.to_string())?;
    decoder.decode(payload).map_err(|error| error.to_string())
}

fn float(number: f64) -> Value {
    Value::Float(number.try_into().unwrap())
}

#[test]
fn an_error_names_the_field_and_the_byte() {
    let lines = record(
        r#"{"name":"lines","type":{"type":"array","items":{"type":"record","name":"L","fields":[
            {"name":"sku","type":"string"},{"name":"rush","type":"boolean"}]}}}"#,
    );
    assert_eq!(
        decode(&lines, b"\x04\x02a\x00\x02b\x07"),
        Err("decoding Avro failed at `.lines[1].rush`, byte 7 of the payload: a boolean is 0 or 1, not [7]".to_owned())
    );
    assert_eq!(
        decode(&lines, b"\x04\x02a\x00\x02b"),
        Err("decoding Avro failed at `.lines[1].rush`, byte 6 of the payload: of the 1 bytes it takes, 0 are left".to_owned())
    );
}

#[test]
fn bytes_after_the_value_are_an_error() {
    assert!(
        decode(&schema(r#""long""#), &[2, 0])
            .unwrap_err()
            .contains("left over after the value: 1 bytes")
    );
    assert!(decode(&schema(r#""null""#), &[0]).unwrap_err().contains("left over"));
}

#[test]
fn numbers_end_within_64_bits() {
    let long = schema(r#""long""#);
    let most = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert_eq!(decode(&long, &most), Ok(value!(i64::MAX)));
    let least = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert_eq!(decode(&long, &least), Ok(value!(i64::MIN)));
    assert!(decode(&long, &[0xff; 10]).unwrap_err().contains("longer than 64 bits"));
    assert!(decode(&long, &[0xff; 3]).unwrap_err().contains("ends within a number"));
    assert!(decode(&schema(r#""int""#), &most).unwrap_err().contains("an int does not hold"));
}

#[test]
fn a_float_that_is_not_a_number_is_an_error_and_infinity_is_not() {
    let double = schema(r#""double""#);
    assert!(decode(&double, &f64::NAN.to_le_bytes()).unwrap_err().contains("NaN"));
    assert_eq!(decode(&double, &f64::INFINITY.to_le_bytes()), Ok(float(f64::INFINITY)));
    let single = schema(r#""float""#);
    assert!(decode(&single, &f32::NAN.to_le_bytes()).unwrap_err().contains("NaN"));
    assert_eq!(decode(&single, &0.5_f32.to_le_bytes()), Ok(float(0.5)));
}

#[test]
fn what_vrl_cannot_hold_is_an_error() {
    for (avro, payload) in [
        (r#"{"type":"int","logicalType":"date"}"#, &[0xfe, 0xff, 0xff, 0xff, 0x0f][..]),
        (r#"{"type":"int","logicalType":"time-millis"}"#, &[0x01]),
        (
            r#"{"type":"long","logicalType":"timestamp-millis"}"#,
            &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        ),
    ] {
        assert!(
            decode(&schema(avro), payload).unwrap_err().contains("outside of what a"),
            "{avro}"
        );
    }
    assert!(decode(&schema(r#""string""#), b"\x02\xff").unwrap_err().contains("not UTF-8"));
    let uuid = schema(r#"{"type":"string","logicalType":"uuid"}"#);
    assert!(decode(&uuid, b"\x02x").unwrap_err().contains("no uuid"));
    let money = schema(r#"{"type":"bytes","logicalType":"decimal","precision":3,"scale":1}"#);
    assert!(
        decode(&money, b"\x04\x03\xe8").unwrap_err().contains("4 digits, more than decimal(3, 1)")
    );
}

#[test]
fn what_a_payload_promises_is_held_against_its_bytes() {
    // 2^40 items, bytes, entries, in a few bytes.
    let huge = [0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
    for avro in [
        r#""string""#,
        r#""bytes""#,
        r#"{"type":"array","items":"long"}"#,
        r#"{"type":"map","values":"long"}"#,
        r#"{"type":"array","items":"null"}"#,
    ] {
        assert!(decode(&schema(avro), &huge).is_err(), "{avro}");
    }
    let nulls = schema(r#"{"type":"array","items":"null"}"#);
    assert_eq!(decode(&nulls, &[6, 0]), Ok(value!([null, null, null])));
    let empty = schema(
        r#"{"type":"array","items":{"type":"array","items":{"type":"record","name":"E","fields":[]}}}"#,
    );
    let mut many = vec![0xc8, 0x01];
    (0..100).for_each(|_| many.extend_from_slice(&[0xd0, 0x0f, 0]));
    many.push(0);
    assert!(decode(&empty, &many).unwrap_err().contains("more empty values than it has bytes"));
}

#[test]
fn a_value_nested_too_deep_is_refused() {
    let list = record(r#"{"name":"next","type":["null","R"]}"#);
    let nested = |depth: usize| [vec![2; depth], vec![0]].concat();
    assert!(decode(&list, &nested(100)).is_ok());
    assert!(decode(&list, &nested(100_000)).unwrap_err().contains("128 deep"));
    let endless = record(r#"{"name":"self","type":"R"}"#);
    assert!(decode(&endless, &[]).unwrap_err().contains("128 deep"));
    let nothing = schema("[]");
    assert!(Decoder::new(&nothing, None).is_err());
}

#[test]
fn a_reader_drops_adds_and_renames_fields() {
    let writer = record(
        r#"{"name":"a","type":"int"},{"name":"gone","type":{"type":"array","items":"string"}},{"name":"old","type":"string"}"#,
    );
    let reader = record(
        r#"{"name":"new","type":"string","aliases":["old"]},{"name":"a","type":"long"},
           {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2},"default":"\u00ff"},
           {"name":"tags","type":{"type":"map","values":"int"},"default":{"x":1}},
           {"name":"note","type":["null","string"],"default":null}"#,
    );
    // The array is written with its size, which lets a reader pass over it, and without.
    for array in [&b"\x03\x08\x02x\x02y\x00"[..], b"\x04\x02x\x02y\x00"] {
        let payload = [b"\x0e", array, b"\x02z"].concat();
        assert_eq!(
            resolve(&writer, &reader, &payload),
            Ok(value!({ a: 7, new: "z", price: "-0.01", tags: { x: 1 }, note: null }))
        );
    }
}

#[test]
fn a_field_without_default_that_the_writer_lacks_is_refused_by_name() {
    let error = resolve(&record(""), &record(r#"{"name":"id","type":"string"}"#), b"").unwrap_err();
    assert!(
        error.contains("at `.id`: the writer does not write it, and it has no default"),
        "{error}"
    );
}

#[test]
fn numbers_and_texts_are_promoted() {
    let from = |writer: &str, reader: &str, payload: &[u8]| {
        resolve(&schema(writer), &schema(reader), payload)
    };
    assert_eq!(from(r#""int""#, r#""double""#, &[6]), Ok(float(3.0)));
    assert_eq!(from(r#""long""#, r#""float""#, &[6]), Ok(float(3.0)));
    assert_eq!(from(r#""float""#, r#""double""#, &0.5_f32.to_le_bytes()), Ok(float(0.5)));
    assert_eq!(from(r#""string""#, r#""bytes""#, b"\x02a"), Ok(value!("a")));
    assert_eq!(from(r#""bytes""#, r#""string""#, b"\x02a"), Ok(value!("a")));
    assert_eq!(
        from(r#""long""#, r#"{"type":"long","logicalType":"local-timestamp-millis"}"#, &[2]),
        Ok(value!("1970-01-01T00:00:00.001"))
    );
    for (writer, reader) in [
        (r#""long""#, r#""int""#),
        (r#""double""#, r#""float""#),
        (r#""string""#, r#""long""#),
        (r#""null""#, r#""string""#),
    ] {
        assert!(
            from(writer, reader, &[0]).unwrap_err().contains("is not the reader's"),
            "{writer} {reader}"
        );
    }
}

#[test]
fn the_writer_s_unit_tells_what_its_numbers_mean() {
    let millis = schema(r#"{"type":"long","logicalType":"timestamp-millis"}"#);
    let micros = schema(r#"{"type":"long","logicalType":"timestamp-micros"}"#);
    assert_eq!(resolve(&millis, &micros, &[4]), decode(&millis, &[4]));
}

#[test]
fn a_decimal_of_another_scale_is_refused() {
    let decimal = |scale| {
        schema(&format!(
            r#"{{"type":"bytes","logicalType":"decimal","precision":9,"scale":{scale}}}"#
        ))
    };
    let error = resolve(&decimal(2), &decimal(4), &[2, 1]).unwrap_err();
    assert!(error.contains("scale is 2 for the writer and 4 for the reader"), "{error}");
    assert_eq!(resolve(&decimal(2), &decimal(2), &[2, 1]), Ok(value!("0.01")));
}

#[test]
fn a_symbol_that_the_reader_lacks_takes_its_default() {
    let writer = schema(r#"{"type":"enum","name":"E","symbols":["A","B","C"]}"#);
    let with = schema(r#"{"type":"enum","name":"E","symbols":["B","X"],"default":"X"}"#);
    let without = schema(r#"{"type":"enum","name":"E","symbols":["B"]}"#);
    assert_eq!(resolve(&writer, &with, &[2]), Ok(value!("B")));
    assert_eq!(resolve(&writer, &with, &[4]), Ok(value!("X")));
    assert!(
        resolve(&writer, &without, &[4]).unwrap_err().contains("the reader's enum E has no `C`")
    );
    assert!(decode(&writer, &[6]).unwrap_err().contains("symbol 3 of an enum that has 3"));
}

#[test]
fn unions_are_resolved_branch_by_branch() {
    let optional = schema(r#"["null","int"]"#);
    assert_eq!(resolve(&optional, &schema(r#""long""#), &[2, 8]), Ok(value!(4)));
    assert!(
        resolve(&optional, &schema(r#""long""#), &[0])
            .unwrap_err()
            .contains("the writer's null is not the reader's long")
    );
    assert_eq!(
        resolve(&schema(r#""int""#), &schema(r#"["null","double","int"]"#), &[8]),
        Ok(value!(4))
    );
    assert_eq!(
        resolve(&schema(r#""int""#), &schema(r#"["string","double"]"#), &[8]),
        Ok(float(4.0))
    );
    assert!(resolve(&schema(r#"["null","string"]"#), &schema(r#""long""#), &[0]).is_err());
    assert!(decode(&optional, &[4]).unwrap_err().contains("branch 2 of a union that has 2"));
}

#[test]
fn named_types_match_by_name_or_alias() {
    let writer = schema(r#"{"type":"record","name":"a.Old","fields":[]}"#);
    assert!(
        resolve(&writer, &schema(r#"{"type":"record","name":"b.Old","fields":[]}"#), b"").is_ok()
    );
    assert!(
        resolve(
            &writer,
            &schema(r#"{"type":"record","name":"b.New","aliases":["a.Old"],"fields":[]}"#),
            b""
        )
        .is_ok()
    );
    let error = resolve(&writer, &schema(r#"{"type":"record","name":"b.New","fields":[]}"#), b"")
        .unwrap_err();
    assert!(error.contains("the writer's Old is not the reader's New"), "{error}");
}

#[test]
fn a_record_that_holds_itself_is_resolved() {
    let writer = record(r#"{"name":"id","type":"int"},{"name":"next","type":["null","R"]}"#);
    let reader = record(r#"{"name":"next","type":["null","R"]},{"name":"id","type":"double"}"#);
    assert_eq!(
        resolve(&writer, &reader, &[2, 2, 4, 0]),
        Ok(value!({ id: (float(1.0)), next: { id: (float(2.0)), next: null } }))
    );
}

#[test]
fn types_without_common_ground_deep_within_are_refused_by_name() {
    let line = |avro: &str| {
        record(&format!(
            r#"{{"name":"lines","type":{{"type":"array","items":{{"type":"record","name":"L","fields":[{{"name":"n","type":{avro}}}]}}}}}}"#
        ))
    };
    let error = resolve(&line(r#""string""#), &line(r#""int""#), &[0]).unwrap_err();
    assert!(
        error.contains("at `.lines[].n`: the writer's string is not the reader's int"),
        "{error}"
    );
}

#[test]
fn records_that_share_fields_many_times_over_are_prepared_at_once() {
    let mut fields = r#"{"name":"f0","type":{"type":"record","name":"R0","fields":[]}}"#.to_owned();
    for n in 1..60 {
        let inner = n - 1;
        fields += &format!(
            r#",{{"name":"f{n}","type":{{"type":"record","name":"R{n}","fields":[{{"name":"a","type":"R{inner}"}},{{"name":"b","type":"R{inner}"}}]}}}}"#
        );
    }
    let schema = record(&fields);
    assert!(decode(&schema, &[]).unwrap_err().contains("more empty values"));
}

#[test]
fn an_event_s_texts_share_one_copy_of_the_payload() {
    let schema = schema(r#"{"type":"array","items":"string"}"#);
    let value = decode(&schema, b"\x04\x02a\x02b\x00").unwrap();
    let Value::Array(items) = value else { panic!("an array") };
    let start = |item: &Value| match item {
        Value::String(text) => text.as_ptr(),
        other => panic!("{other:?}"),
    };
    assert_eq!(start(&items[1]) as usize - start(&items[0]) as usize, 2);
}
