use engine::{Domain, Headers, event};
use serde_json::json;

use super::*;

const SCHEMA: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"text","type":"string"},{"name":"total","type":["null",
        {"type":"bytes","logicalType":"decimal","precision":9,"scale":2}],"default":null}]}"#;

fn reading(more: serde_json::Value, key: Option<&str>) -> Reading {
    let mut options = json!({ "topic": "theirs", "value": "json", "start": "beginning" });
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let schema = schemas::Schema::parse(SCHEMA).unwrap();
    let key = key.map(|key| Expression(key.to_owned()).compile(&schema).unwrap());
    Reading::new(&serde_json::from_value(options).unwrap(), Path::new("."), schema, key).unwrap()
}

fn record(payload: Option<&'static str>) -> Event {
    Event {
        topic: "theirs".into(),
        partition: 2,
        offset: 7,
        timestamp: 1_764_000_000_000,
        key: Some("K".into()),
        payload: payload.map(Into::into),
        headers: Headers::default(),
        value: None,
    }
}

#[tokio::test]
async fn a_record_keeps_its_key_its_time_and_has_its_place_as_id() {
    let draft = reading(json!({}), None).draft(&record(Some(r#"{"text":"a","total":1.10}"#))).await;
    let draft = draft.unwrap();
    assert_eq!((draft.id.as_str(), draft.key.as_deref()), ("theirs/2/7", Some("K")));
    assert_eq!(draft.time, Some(1_764_000_000_000));
    let value = schemas::json::write(&draft.value.unwrap());
    assert_eq!(value, r#"{"text":"a","total":"1.10"}"#, "never a float");
}

#[tokio::test]
async fn headers_and_expressions_say_more() {
    let mut named = record(Some("hello"));
    named.headers.set("order", "O-1");
    named.headers.set(event::CE_TIME, "2026-01-31T08:00:00Z");
    let reading = reading(json!({ "value": "text", "id_header": "order" }), Some(".text"));
    let draft = reading.draft(&named).await.unwrap();
    assert_eq!((draft.id.as_str(), draft.key.as_deref()), ("O-1", Some("hello")));
    assert_eq!(draft.time, Some(1_769_846_400_000));
    let unnamed = reading.draft(&record(Some("hello"))).await.unwrap_err();
    assert_eq!((unnamed.domain, unnamed.cause), (Domain::Data, "id_missing"));
}

#[test]
fn what_is_rejected_stays_as_it_came() {
    let mut odd = record(None);
    odd.headers.push("odd", None);
    odd.headers.push("odd", Some(bytes::Bytes::from_static(b"\xff\x00")));
    let kept = rejected(&odd, "theirs/2/7".to_owned());
    assert_eq!((kept.key, kept.body, kept.headers), (odd.key, None, odd.headers));
}

#[tokio::test]
async fn a_deletion_stays_one_and_what_cannot_be_read_is_said() {
    let reading = reading(json!({}), Some(".text"));
    let deletion = reading.draft(&record(None)).await.unwrap();
    assert_eq!((deletion.value, deletion.key.as_deref()), (None, Some("K")));
    let wrong = reading.draft(&record(Some("{"))).await.unwrap_err();
    assert_eq!((wrong.domain, wrong.cause), (Domain::Data, "json_invalid"));
}
