use ::parquet::file::reader::{FileReader as _, SerializedFileReader};

use super::*;

fn table(fields: &str) -> (schemas::Schema, Table) {
    let text = format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
    let schema = schemas::Schema::parse(&text).unwrap();
    let table = Table::new(&schemas::columns::columns(&schema).unwrap()).unwrap();
    (schema, table)
}

/// The rows as Parquet's own reader shows them.
fn rows(bytes: Vec<u8>) -> Vec<String> {
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
    reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect()
}

fn written(fields: &str, jsons: &[&str]) -> Vec<String> {
    let (schema, table) = table(fields);
    let mut rows_of = table.begin();
    for json in jsons {
        rows_of.add(&schemas::json::read(&schema, json.as_bytes()).unwrap().value).unwrap();
    }
    rows(rows_of.finish().unwrap())
}

#[test]
fn lists_maps_and_records_within_each_other_are_read_back_as_they_were() {
    let fields = r#"{"name":"id","type":"int"},
        {"name":"lines","type":{"type":"array","items":["null",{"type":"record","name":"L","fields":[
            {"name":"sku","type":"string"},
            {"name":"marks","type":["null",{"type":"array","items":["null","long"]}]}]}]}},
        {"name":"more","type":{"type":"map","values":{"type":"array","items":"boolean"}}}"#;
    let read = written(
        fields,
        &[
            r#"{"id":1,"lines":[],"more":{}}"#,
            r#"{"id":2,"lines":[null,{"sku":"a","marks":null},{"sku":"b","marks":[]},{"sku":"c","marks":[1,null,3]}],"more":{"x":[true,false],"y":[]}}"#,
            r#"{"id":3,"lines":[{"sku":"d","marks":[null]}],"more":{"z":[true]}}"#,
        ],
    );
    assert_eq!(
        read,
        [
            r#"{id: 1, lines: [], more: {}}"#,
            r#"{id: 2, lines: [null, {sku: "a", marks: null}, {sku: "b", marks: []}, {sku: "c", marks: [1, null, 3]}], more: {"x" -> [true, false], "y" -> []}}"#,
            r#"{id: 3, lines: [{sku: "d", marks: [null]}], more: {"z" -> [true]}}"#,
        ]
    );
}

#[test]
fn decimals_of_every_size_are_exact() {
    let decimal = |name: &str, precision: usize| {
        format!(
            r#"{{"name":"{name}","type":{{"type":"bytes","logicalType":"decimal","precision":{precision},"scale":2}}}}"#
        )
    };
    let fields = [decimal("a", 9), decimal("b", 18), decimal("c", 38), decimal("d", 90)].join(",");
    let read = written(
        &fields,
        &[
            r#"{"a":"-0.01","b":"1234567890123456.78","c":"-123456789012345678901234567890123456.78","d":"1.10"}"#,
        ],
    );
    let expected = r#"{a: -0.01, b: 1234567890123456.78, c: -123456789012345678901234567890123456.78, d: "1.10"}"#;
    assert_eq!(read, [expected]);
}

#[test]
fn dates_and_times_have_their_types_and_other_unions_are_json() {
    let logical = |name: &str, kind: &str, logical: &str| {
        format!(r#"{{"name":"{name}","type":{{"type":"{kind}","logicalType":"{logical}"}}}}"#)
    };
    let fields = [
        logical("day", "int", "date"),
        logical("at", "long", "timestamp-micros"),
        logical("clock", "long", "local-timestamp-millis"),
        logical("noon", "int", "time-millis"),
        r#"{"name":"any","type":["null","int","string"]}"#.to_owned(),
    ]
    .join(",");
    let (_, table) = table(&fields);
    let mut shown = Vec::new();
    ::parquet::schema::printer::print_schema(&mut shown, &table.schema);
    let shown = String::from_utf8(shown).unwrap();
    for line in [
        "REQUIRED INT32 day (DATE);",
        "REQUIRED INT64 at (TIMESTAMP(MICROS,true));",
        "REQUIRED INT64 clock (TIMESTAMP(MILLIS,false));",
        "REQUIRED INT32 noon (TIME(MILLIS,false));",
        "OPTIONAL BYTE_ARRAY any (STRING);",
    ] {
        assert!(shown.contains(line), "{line} is not in {shown}");
    }
    let read = written(
        &fields,
        &[
            r#"{"day":"2024-05-01","at":"2024-05-01T12:34:56.789012Z","clock":"2024-05-01T12:34:56","noon":"12:00","any":"7"}"#,
        ],
    );
    assert!(
        read[0].contains(r#"day: 2024-05-01"#) && read[0].contains(r#"any: ""7"""#),
        "{read:?}"
    );
}

#[test]
fn a_row_that_fails_half_way_leaves_nothing_behind() {
    let (_, table) = table(r#"{"name":"a","type":"string"},{"name":"b","type":"int"}"#);
    let mut rows_of = table.begin();
    let row =
        |b: Value| Value::from_iter([("a".to_owned(), Value::from("x")), ("b".to_owned(), b)]);
    rows_of.add(&row(Value::Integer(1))).unwrap();
    for (wrong, word) in [(Value::from("x"), "`b` is string"), (Value::Null, "`b` is missing")] {
        let fault = rows_of.add(&row(wrong)).unwrap_err();
        assert!(fault.message.contains(word), "{fault}");
    }
    rows_of.add(&row(Value::Integer(2))).unwrap();
    assert_eq!(rows(rows_of.finish().unwrap()), [r#"{a: "x", b: 1}"#, r#"{a: "x", b: 2}"#]);
}
