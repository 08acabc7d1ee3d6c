//! Messages that Google's and Confluent's Python wrote (`samples/write.py`), and bytes that nobody should.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path as At, State};
use axum::http::StatusCode;
use axum::routing::get;
use engine::Domain;
use schemas::registry::RegistryConfig;
use serde_json::{Value as Object, json};

use super::*;

const ORDER: &[u8] = include_bytes!("samples/order.bin");
const KINDS: &[u8] = include_bytes!("samples/kinds.bin");
const REGISTERED: &str = include_str!("samples/registered.json");
/// The id under which the registry has `order.proto`.
const ORDER_ID: u32 = 2;

const ALL_KINDS: &str = r#"{"type":"record","name":"Kinds","fields":[
    {"name":"smallest","type":"long"},
    {"name":"largest","type":{"type":"bytes","logicalType":"decimal","precision":20,"scale":0}},
    {"name":"fixed","type":"long"}, {"name":"small","type":"int"},
    {"name":"real","type":"float"}, {"name":"wide","type":"double"},
    {"name":"flag","type":"boolean"}, {"name":"raw","type":"bytes"},
    {"name":"state","type":{"type":"enum","name":"State","symbols":["STATE_UNSPECIFIED","STATE_PAID"]}},
    {"name":"parts","type":{"type":"map","values":{"type":"record","name":"Part","fields":[
        {"name":"name","type":"string"}]}}},
    {"name":"numbers","type":{"type":"array","items":"int"}},
    {"name":"card","type":["null","string"],"default":null},
    {"name":"voucher","type":["null","long"],"default":null},
    {"name":"chosen","type":["null","int"],"default":null},
    {"name":"unset","type":"int"},
    {"name":"absent","type":["null","string"],"default":null},
    {"name":"missing","type":["null","Part"],"default":null},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"took","type":"string"},
    {"name":"counted","type":["null","long"],"default":null},
    {"name":"unknown","type":["null","boolean"],"default":null},
    {"name":"due","type":{"type":"int","logicalType":"date"}},
    {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":20,"scale":2}}]}"#;

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kafka/protobuf/samples")
}

fn declared(file: &str, message: &str) -> Messages {
    let imports = Some(PathBuf::from("."));
    let proto = Proto { file: file.into(), message: message.to_owned(), imports };
    proto.read(&samples()).unwrap()
}

fn schema(text: &str) -> Schema {
    Schema::parse(text).unwrap()
}

/// One field of `Kinds` as another type.
fn field(name: &str, kind: &str) -> Schema {
    schema(&format!(
        r#"{{"type":"record","name":"R","fields":[{{"name":"{name}","type":{kind}}}]}}"#
    ))
}

async fn kinds(schema: &Schema) -> Result<Object, Fault> {
    let value = declared("shop/kinds.proto", "shop.Kinds").read(KINDS, schema).await?;
    Ok(serde_json::from_str(&schemas::json::write(&value)).unwrap())
}

#[tokio::test]
async fn every_kind_of_field_is_read_exactly() {
    let read = kinds(&schema(ALL_KINDS)).await.unwrap();
    assert_eq!(read["smallest"], json!(i64::MIN));
    assert_eq!(read["largest"], "18446744073709551615");
    assert_eq!(read["fixed"], json!(i64::MAX));
    assert_eq!((&read["small"], &read["flag"]), (&json!(-1), &json!(true)));
    assert_eq!(read["wide"].to_string(), "0.1");
    let real = read["real"].as_f64().unwrap();
    assert_eq!(real as f32, 0.1_f32);
    assert_eq!(read["raw"], "AP8=");
    assert_eq!(read["state"], "STATE_PAID");
    assert_eq!(read["parts"], json!({ "-5": { "name": "wheel" } }));
    assert_eq!(read["numbers"], json!([1, -2]));
    assert_eq!(read["at"], "1969-12-31T23:59:59.999999Z");
    assert_eq!(read["took"], "-1.5s");
    assert_eq!(read["counted"].to_string(), "9007199254740993");
    assert_eq!(read["due"], "2026-02-28");
    assert_eq!(read["price"], "12345678901234567.89");
}

#[tokio::test]
async fn what_is_not_set_is_null_where_it_can_be_told_and_its_default_where_not() {
    let read = kinds(&schema(ALL_KINDS)).await.unwrap();
    assert_eq!((&read["card"], &read["voucher"]), (&Object::Null, &json!(7)));
    assert_eq!((&read["chosen"], &read["unset"]), (&json!(0), &json!(0)));
    for name in ["absent", "missing", "unknown"] {
        assert_eq!(read[name], Object::Null, "{name}");
    }
    let needed = kinds(&field("missing", "\"string\"")).await.unwrap_err();
    assert_eq!((needed.domain, needed.cause), (Domain::Data, "message_mismatch"));
    assert!(needed.message.contains("`.missing`: it must be string"), "{}", needed.message);
}

#[tokio::test]
async fn what_does_not_fit_is_named_and_hurts_only_where_it_is_read() {
    for (name, kind, expected) in [
        ("newer", "\"string\"", "the number 9, for which `shop.State` has no name"),
        ("newer", r#"["null","string"]"#, "the number 9"),
        ("largest", "\"long\"", "18446744073709551615"),
        ("raw", "\"string\"", "a run of bytes"),
        ("took", r#"{"type":"int","logicalType":"time-millis"}"#, "-1.5s"),
        ("real", "\"long\"", "0.1"),
        ("free", "\"string\"", "an object"),
    ] {
        let fault = kinds(&field(name, kind)).await.unwrap_err();
        assert_eq!((fault.domain, fault.cause), (Domain::Data, "message_mismatch"));
        let message = fault.message;
        assert!(message.contains(&format!("`.{name}`")) && message.contains(expected), "{message}");
    }
    assert!(kinds(&field("small", "\"int\"")).await.is_ok(), "the others do no harm");
}

#[tokio::test]
async fn a_struct_is_what_it_would_be_in_json() {
    let free = r#"{"type":"record","name":"F","fields":[{"name":"d","type":"boolean"},
        {"name":"a","type":{"type":"array","items":["null","long",{"type":"map","values":"string"}]}}]}"#;
    let read = kinds(&field("free", free)).await.unwrap();
    assert_eq!(read["free"], json!({ "d": true, "a": [1, null, { "b": "c" }] }));
}

#[tokio::test]
async fn bytes_that_are_no_message_are_said_and_damage_never_panics() {
    let (messages, order) =
        (declared("shop/order.proto", "shop.Order"), schema(schemas::events::ORDER));
    let whole = messages.read(ORDER, &order).await.unwrap();
    assert_eq!(whole.get(vrl::path!("total")), Some(&Value::from("99.90")));
    let cut = messages.read(&ORDER[..20], &order).await.unwrap_err();
    assert_eq!((cut.domain, cut.cause), (Domain::Data, "protobuf_invalid"));
    assert!(cut.message.contains("`shop.Order`"), "{}", cut.message);
    for sample in [ORDER, KINDS] {
        for at in 0..sample.len() {
            for byte in [0, 0x0b, 0x7f, 0x80, 0xff] {
                let mut bytes = sample.to_vec();
                bytes[at] = byte;
                let _ = messages.read(&bytes, &order).await;
                let kinds = declared_once().read(&bytes, &schema(ALL_KINDS)).await;
                assert!(kinds.is_ok() || kinds.is_err_and(|fault| fault.domain == Domain::Data));
            }
        }
    }
}

/// Compiled once: damage is read often.
fn declared_once() -> &'static Messages {
    static KINDS: std::sync::OnceLock<Messages> = std::sync::OnceLock::new();
    KINDS.get_or_init(|| declared("shop/kinds.proto", "shop.Kinds"))
}

/// A registry that has these subjects, one version of each, and counts what it is asked.
async fn registry(subjects: Object) -> Messages {
    async fn by_id(State(all): State<Arc<Object>>, At(id): At<u32>) -> (StatusCode, Json<Object>) {
        let found = all.as_object().unwrap().values().find(|one| one["id"] == id);
        let none = json!({ "error_code": 40403, "message": "Schema not found" });
        found.map_or((StatusCode::NOT_FOUND, Json(none)), |one| (StatusCode::OK, Json(one.clone())))
    }
    async fn by_subject(
        State(all): State<Arc<Object>>,
        At((subject, _)): At<(String, u32)>,
    ) -> Json<Object> {
        Json(all[subject].clone())
    }
    let router = axum::Router::new()
        .route("/schemas/ids/{id}", get(by_id))
        .route("/subjects/{subject}/versions/{version}", get(by_subject))
        .with_state(Arc::new(subjects));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Messages::of(Registry::new(RegistryConfig::new(url)).unwrap())
}

/// What Confluent's client registered: descriptors in base64.
fn registered() -> Object {
    serde_json::from_str(REGISTERED).unwrap()
}

/// The same as texts, as Confluent's registry gives them back.
fn as_texts() -> Object {
    let mut all = registered();
    for (subject, file) in [("orders-value", "order"), ("shop/customer.proto", "customer")] {
        let file = samples().join(format!("shop/{file}.proto"));
        all[subject]["schema"] = json!(std::fs::read_to_string(file).unwrap());
    }
    all
}

#[tokio::test]
async fn what_confluents_serializer_writes_names_its_message_by_place() {
    let one_text = |name| field(name, "\"string\"");
    for subjects in [registered(), as_texts()] {
        let messages = registry(subjects).await;
        let order = include_bytes!("samples/order.confluent.bin");
        let read = messages.read(order, &schema(schemas::events::ORDER)).await.unwrap();
        assert_eq!(read.get(vrl::path!("customer", "address", "city")), Some(&Value::from("Lyon")));
        assert_eq!(read.get(vrl::path!("note")), Some(&Value::from("à emporter")));
        let refund = include_bytes!("samples/refund.confluent.bin");
        let read = messages.read(refund, &one_text("order")).await.unwrap();
        assert_eq!(
            schemas::json::write(&read),
            r#"{"order":"O-1"}"#,
            "the short form of the first"
        );
        let line = include_bytes!("samples/line.confluent.bin");
        let read = messages.read(line, &one_text("unit_price")).await.unwrap();
        assert_eq!(schemas::json::write(&read), r#"{"unit_price":"10.10"}"#, "one within another");
    }
}

#[tokio::test]
async fn values_that_name_nothing_are_data_faults() {
    let mut subjects = registered();
    subjects["avro"] = json!({ "id": 7, "schema": r#"{"type":"string"}"# });
    subjects["json"] = json!({ "id": 8, "schemaType": "JSON", "schema": "{}" });
    let broken = "syntax = \"proto3\";\nmessage A {\n  strin x = 1;\n}";
    subjects["broken"] = json!({ "id": 9, "schemaType": "PROTOBUF", "schema": broken });
    let messages = registry(subjects).await;
    let framed = |id: u32, rest: &[u8]| wire::frame(id, rest);
    for (value, cause, expected) in [
        (b"{}".to_vec(), "wire_format", "not written with a schema registry"),
        (framed(ORDER_ID, &[]), "wire_format", "places"),
        (framed(ORDER_ID, &[0x80; 9]), "wire_format", "places"),
        (framed(ORDER_ID, &[1]), "wire_format", "places"),
        (framed(ORDER_ID, &[4, 2]), "wire_format", "places"),
        (framed(ORDER_ID, &[0xfe, 0xff, 0xff, 0xff, 0x0f]), "wire_format", "places"),
        (framed(ORDER_ID, &[2, 4]), "wire_format", "the message [2] of schema 2"),
        (framed(ORDER_ID, &[4, 2, 2]), "wire_format", "the message [1, 1] of schema 2"),
        (framed(ORDER_ID, &[2, 2, 0xff]), "protobuf_invalid", "`shop.Order`"),
        (framed(7, &[0]), "schema_mismatch", "Schema 7 is one of AVRO"),
        (framed(8, &[0]), "schema_mismatch", "Schema 8 is one of JSON"),
        (framed(9, &[0]), "schema_invalid", "schema 9:3:3"),
    ] {
        let fault = messages.read(&value, &field("x", "\"string\"")).await.unwrap_err();
        assert_eq!((fault.domain, fault.cause), (Domain::Data, cause), "{value:?}");
        assert!(fault.message.contains(expected), "{}", fault.message);
    }
    let unknown = messages.read(&framed(99, &[0]), &field("x", "\"string\"")).await.unwrap_err();
    assert_eq!((unknown.domain, unknown.cause), (Domain::Remote, "schema_unknown"), "at first");
}

#[tokio::test]
async fn files_that_no_registry_holds_are_known() {
    let text = r#"syntax = "proto3"; import "confluent/type/decimal.proto"; import "confluent/meta.proto";
        import "google/type/money.proto";
        message A { confluent.type.Decimal a = 1 [(confluent.field_meta) = { doc: "d" }]; google.type.Money b = 2; }"#;
    let messages =
        registry(json!({ "a": { "id": 1, "schemaType": "PROTOBUF", "schema": text } })).await;
    let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":3}"#;
    // -12345 with three digits behind the point, in two bytes.
    let value = wire::frame(1, &[0, 0x0a, 6, 0x0a, 2, 0xcf, 0xc7, 0x18, 3]);
    let read = messages.read(&value, &field("a", decimal)).await.unwrap();
    assert_eq!(schemas::json::write(&read), r#"{"a":"-12.345"}"#);
}

#[test]
fn mistakes_are_found_when_the_file_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("good.proto", "syntax = \"proto3\";\npackage shop;\nmessage Order { string id = 1; }\n");
    write("typo.proto", "syntax = \"proto3\";\nmessage A {\n  strin x = 1;\n}\n");
    write("cut.proto", "syntax = \"proto3\";\nmessage A {\n");
    write("lost.proto", "syntax = \"proto3\";\n\nimport \"other.proto\";\n");
    for (file, message, at, expected) in [
        ("none.proto", "A", "/kafka/proto/file", "none.proto"),
        ("typo.proto", "A", "/kafka/proto/file", "typo.proto:3:3"),
        ("cut.proto", "A", "/kafka/proto/file", "cut.proto:"),
        ("lost.proto", "A", "/kafka/proto/file", "lost.proto:3:"),
        ("good.proto", "Order", "/kafka/proto/message", "`Order`"),
    ] {
        let proto = Proto { file: file.into(), message: message.to_owned(), imports: None };
        let mut findings = Findings::default();
        proto.check(folder.path(), &mut findings);
        let found = &findings.0[0];
        assert_eq!(found.pointer, at, "{found:?}");
        assert!(found.cause.contains(expected), "{found:?}");
    }
    let good = |message: &str| Proto {
        file: "good.proto".into(),
        message: message.to_owned(),
        imports: None,
    };
    let mut findings = Findings::default();
    good("Order").check(folder.path(), &mut findings);
    assert!(findings.0[0].hint.as_ref().unwrap().contains("`shop.Order`"), "{findings:?}");
    let mut findings = Findings::default();
    good("shop.Order").check(folder.path(), &mut findings);
    assert!(findings.0.is_empty(), "{findings:?}");
}
