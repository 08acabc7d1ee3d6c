//! The API over real sockets, route by route.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::*;
use crate::registry::testing::{Caller, serve};

const INT: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#;
const INT_AND_DEFAULT: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"a","type":"int"},{"name":"b","type":"int","default":0}]}"#;
const BREAKING: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"a","type":"int"},{"name":"b","type":"int","default":0},{"name":"c","type":"int"}]}"#;

async fn start() -> Caller {
    Caller::new(serve(&Server::open(MemoryLog::default()).await.unwrap()).await)
}

fn body(schema: &str) -> Value {
    json!({ "schema": schema })
}

#[tokio::test]
async fn one_content_has_one_id_across_subjects_spellings_and_repeats() {
    let api = start().await;
    let id = api.post("/subjects/a/versions", body(INT)).await.ok()["id"].clone();
    assert_eq!(id, 1);
    let spaced = INT.replace(',', " , ");
    for (subject, text) in [("a", INT), ("a", spaced.as_str()), ("b", INT)] {
        let answer = api.post(&format!("/subjects/{subject}/versions"), body(text)).await.ok();
        assert_eq!(answer["id"], id, "{subject}");
    }
    let other = api.post("/subjects/a/versions", body(INT_AND_DEFAULT)).await.ok();
    assert_eq!(other["id"], 2);
    assert_eq!(api.get("/subjects").await.ok(), json!(["a", "b"]));
    assert_eq!(api.get("/subjects/").await.ok(), json!(["a", "b"]));
    assert_eq!(api.get("/subjects?subjectPrefix=b").await.ok(), json!(["b"]));
    assert_eq!(api.get("/subjects?offset=1&limit=5").await.ok(), json!(["b"]));
    assert_eq!(api.get("/subjects/a/versions").await.ok(), json!([1, 2]));
    for latest in ["latest", "-1", "2"] {
        let found = api.get(&format!("/subjects/a/versions/{latest}")).await.ok();
        assert_eq!((&found["id"], &found["version"]), (&json!(2), &json!(2)));
        assert_eq!(found["subject"], "a");
    }
    let found = api.post("/subjects/b?deleted=false", body(&spaced)).await.ok();
    assert_eq!((&found["id"], &found["version"]), (&json!(1), &json!(1)));
    let by_id = api.get("/schemas/ids/1?deleted=true&subject=").await.ok();
    assert_eq!(by_id, json!({ "schema": serde_json::from_str::<Value>(INT).unwrap().to_string() }));
    assert_eq!(api.get("/schemas/ids/1/schema").await.ok()["name"], "R");
    assert_eq!(api.get("/subjects/a/versions/1/schema").await.ok()["name"], "R");
    assert_eq!(api.get("/schemas/ids/1/subjects").await.ok(), json!(["a", "b"]));
    let versions = json!([{"subject": "a", "version": 1}, {"subject": "b", "version": 1}]);
    assert_eq!(api.get("/schemas/ids/1/versions").await.ok(), versions);
    let guid = found["guid"].as_str().unwrap();
    assert!(api.get(&format!("/schemas/guids/{guid}")).await.ok()["schema"].is_string());
    assert_eq!(api.get("/schemas/types").await.ok(), json!(["AVRO"]));
    assert_eq!(api.get("/").await.ok(), json!({}));
}

#[tokio::test]
async fn errors_have_the_codes_of_confluents_registry() {
    let api = start().await;
    api.post("/subjects/s/versions", body(INT_AND_DEFAULT)).await.ok();
    let json_type = json!({ "schema": "{}", "schemaType": "JSON" });
    let missing = json!({ "schema": "\"x.T\"", "references": [
        { "name": "x.T", "subject": "nowhere", "version": 1 }] });
    let with_id = json!({ "schema": INT, "id": 9 });
    let level = |name: &str| json!({ "compatibility": name });
    #[rustfmt::skip]
    let table = [
        ("GET", "/subjects/none/versions", Value::Null, 404, 40401),
        ("GET", "/subjects/none/versions/latest", Value::Null, 404, 40401),
        ("GET", "/subjects/s/versions/2", Value::Null, 404, 40402),
        ("GET", "/subjects/s/versions/0", Value::Null, 422, 42202),
        ("GET", "/subjects/s/versions/x", Value::Null, 422, 42202),
        ("GET", "/schemas/ids/7", Value::Null, 404, 40403),
        ("GET", "/schemas/ids/99999999999", Value::Null, 404, 40403),
        ("GET", "/schemas/guids/7", Value::Null, 404, 40403),
        ("POST", "/subjects/none", body(INT), 404, 40401),
        ("POST", "/subjects/s", body(INT), 404, 40403),
        ("POST", "/subjects/s/versions", body(BREAKING), 409, 40901),
        ("POST", "/subjects/s/versions", body("{"), 422, 42201),
        ("POST", "/subjects/s/versions", json!({}), 422, 42201),
        ("POST", "/subjects/s/versions", json_type, 422, 42201),
        ("POST", "/subjects/s/versions", missing, 422, 42201),
        ("POST", "/subjects/s/versions", with_id, 422, 42205),
        ("POST", "/subjects/%00/versions", body(INT), 422, 42208),
        ("POST", "/subjects/s/versions", json!(3), 400, 400),
        ("DELETE", "/subjects/s?permanent=true", Value::Null, 404, 40405),
        ("DELETE", "/subjects/s/versions/1?permanent=true", Value::Null, 404, 40407),
        ("DELETE", "/subjects/none", Value::Null, 404, 40401),
        ("GET", "/config/s", Value::Null, 404, 40408),
        ("PUT", "/config", level("SIDEWAYS"), 422, 42203),
        ("GET", "/mode/s", Value::Null, 404, 40409),
        ("PUT", "/mode", json!({ "mode": "SIDEWAYS" }), 422, 42204),
        ("PUT", "/mode", json!({ "mode": "IMPORT" }), 422, 42205),
        ("POST", "/compatibility/subjects/s/versions/9", body(INT), 404, 40402),
        ("POST", "/compatibility/subjects/s/versions/x", body(INT), 422, 42202),
        ("POST", "/compatibility/subjects/s/versions", body("{"), 422, 42201),
        ("GET", "/nowhere", Value::Null, 404, 404),
        ("PUT", "/subjects", json!({}), 405, 405),
        ("GET", "/subjects/%FF/versions", Value::Null, 400, 400),
    ];
    for (method, path, body, status, code) in table {
        let answer = api.call(method, path, Some(body).filter(|body| !body.is_null())).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        assert_eq!(answer.body["error_code"], code, "{method} {path}: {}", answer.body);
        assert!(!answer.body["message"].as_str().unwrap().is_empty(), "{method} {path}");
    }
    let huge = format!(r#"{{"type":"fixed","name":"F","size":1,"doc":"{}"}}"#, "x".repeat(1 << 20));
    let answer = api.post("/subjects/huge/versions", body(&huge)).await;
    assert_eq!(answer.body["error_code"], 42209);
    let answer = api.post("/subjects/huge/versions", body(&"x".repeat(5 << 20))).await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn media_types_are_those_of_the_registry() {
    let api = start().await;
    for sent in [
        "application/vnd.schemaregistry.v1+json",
        "application/vnd.schemaregistry+json; charset=utf-8",
        "application/json",
        "application/octet-stream",
    ] {
        let accepted = if sent.ends_with("stream") { sent } else { "*/*" };
        let answer = api.send("POST", "/subjects/s/versions", sent, accepted, &body(INT)).await;
        assert_eq!(answer.status, 200, "{sent}");
        assert_eq!(answer.media_type, "application/vnd.schemaregistry.v1+json");
    }
    let form = "application/x-www-form-urlencoded";
    assert_eq!(api.send("POST", "/subjects/s", form, "*/*", &body(INT)).await.status, 415);
    let json = "application/json";
    for path in ["/subjects/s", "/subjects/none"] {
        let answer = api.send("POST", path, json, "application/json, */*", &body(INT)).await;
        assert_eq!(answer.media_type, "application/json");
    }
}

#[tokio::test]
async fn subjects_may_hold_slashes_and_spaces() {
    let api = start().await;
    api.post("/subjects/a%2Fb%20c/versions", body(INT)).await.ok();
    assert_eq!(api.get("/subjects").await.ok(), json!(["a/b c"]));
    assert_eq!(api.get("/subjects/a%2Fb%20c/versions/1").await.ok()["subject"], "a/b c");
    api.call("PUT", "/config/a%2Fb%20c", Some(json!({ "compatibility": "FULL" }))).await.ok();
    assert_eq!(api.get("/config/a%2fb%20c").await.ok(), json!({ "compatibilityLevel": "FULL" }));
}

#[tokio::test]
async fn levels_are_set_inherited_and_cleared() {
    let api = start().await;
    let backward = json!({ "compatibilityLevel": "BACKWARD" });
    for path in ["/config", "/config/", "/config/s?defaultToGlobal=true"] {
        assert_eq!(api.get(path).await.ok(), backward, "{path}");
    }
    let none = json!({ "compatibility": "NONE" });
    api.post("/subjects/s/versions", body(INT_AND_DEFAULT)).await.ok();
    assert_eq!(api.call("PUT", "/config/s", Some(none.clone())).await.ok(), none);
    api.post("/subjects/s/versions", body(BREAKING)).await.ok();
    let before = api.call("DELETE", "/config/s", None).await.ok();
    assert_eq!(before, json!({ "compatibilityLevel": "NONE" }));
    assert_eq!(api.call("DELETE", "/config/s", None).await.body["error_code"], 40401);
    api.call("PUT", "/config/", Some(none)).await.ok();
    api.call("DELETE", "/config", None).await.ok();
    assert_eq!(api.get("/config").await.ok(), backward);
}

#[tokio::test]
async fn compatibility_is_told_without_registering() {
    let api = start().await;
    let check = "/compatibility/subjects/s/versions";
    let yes = json!({ "is_compatible": true });
    assert_eq!(api.post(&format!("{check}/latest"), body(INT)).await.ok(), yes);
    assert_eq!(api.post(check, body(INT)).await.ok(), yes);
    api.post("/subjects/s/versions", body(INT_AND_DEFAULT)).await.ok();
    for path in [check.to_owned(), format!("{check}/latest"), format!("{check}/1")] {
        let no = api.post(&format!("{path}?verbose=True"), body(BREAKING)).await.ok();
        assert_eq!(no["is_compatible"], false);
        let message = no["messages"][0].as_str().unwrap();
        assert!(message.contains("field `c` was added without a default"), "{message}");
    }
    assert_eq!(api.get("/subjects/s/versions").await.ok(), json!([1]));
}

#[tokio::test]
async fn deletion_is_soft_before_it_is_for_good() {
    let api = start().await;
    let delete = async |path: &str| api.call("DELETE", path, None).await;
    api.post("/subjects/s/versions", body(INT)).await.ok();
    api.post("/subjects/s/versions", body(INT_AND_DEFAULT)).await.ok();
    assert_eq!(delete("/subjects/s/versions/latest").await.ok(), 2);
    assert_eq!(delete("/subjects/s/versions/2").await.body["error_code"], 40406);
    assert_eq!(api.get("/subjects/s/versions").await.ok(), json!([1]));
    assert_eq!(api.get("/subjects/s/versions?deleted=true").await.ok(), json!([1, 2]));
    assert!(api.get("/schemas/ids/2").await.ok()["schema"].is_string());
    assert_eq!(delete("/subjects/s/versions/2?permanent=true").await.ok(), 2);
    assert_eq!(api.get("/schemas/ids/2").await.body["error_code"], 40403);
    assert_eq!(delete("/subjects/s").await.ok(), json!([1]));
    assert_eq!(delete("/subjects/s").await.body["error_code"], 40404);
    assert_eq!(api.get("/subjects").await.ok(), json!([]));
    assert_eq!(api.get("/subjects?deleted=true").await.ok(), json!(["s"]));
    assert_eq!(api.get("/subjects?deletedOnly=true").await.ok(), json!(["s"]));
    assert_eq!(api.get("/subjects/s/versions").await.body["error_code"], 40401);
    // A deleted version holds nothing back, and comes back under its id and a new number.
    assert_eq!(api.post("/subjects/s/versions", body(INT)).await.ok()["id"], 1);
    assert_eq!(api.get("/subjects/s/versions").await.ok(), json!([2]));
    delete("/subjects/s").await.ok();
    assert_eq!(delete("/subjects/s?permanent=true").await.ok(), json!([1, 2]));
    assert_eq!(api.get("/subjects?deleted=true").await.ok(), json!([]));
}

#[tokio::test]
async fn references_are_resolved_and_protect_what_they_use() {
    let api = start().await;
    let money = r#"{"type":"record","name":"n.Money","fields":[{"name":"cents","type":"long"}]}"#;
    let line = r#"{"type":"record","name":"n.Line","fields":[{"name":"price","type":"n.Money"}]}"#;
    let order = r#"{"type":"record","name":"n.Order","fields":[
        {"name":"lines","type":{"type":"array","items":"Line"}},{"name":"total","type":"Money"}]}"#;
    api.post("/subjects/money/versions", body(money)).await.ok();
    let uses =
        |schema: &str, references: Value| json!({"schema": schema, "references": references});
    let to_money = json!({ "name": "n.Money", "subject": "money", "version": -1 });
    let to_line = json!({ "name": "n.Line", "subject": "line", "version": 1 });
    let id = api.post("/subjects/line/versions", uses(line, json!([to_money]))).await.ok();
    let body_of_order = uses(order, json!([to_money, to_line]));
    api.post("/subjects/order/versions", body_of_order.clone()).await.ok();
    let found = api.get("/subjects/line/versions/1").await.ok();
    let resolved = json!([{ "name": "n.Money", "subject": "money", "version": 1 }]);
    assert_eq!((&found["id"], &found["references"]), (&id["id"], &resolved));
    assert_eq!(api.get("/subjects/money/versions/1/referencedby").await.ok(), json!([2, 3]));
    assert_eq!(api.post("/subjects/order", body_of_order).await.ok()["id"], 3);
    for path in ["/subjects/money", "/subjects/money/versions/1"] {
        assert_eq!(api.call("DELETE", path, None).await.body["error_code"], 42206);
    }
}

#[tokio::test]
async fn normalize_keeps_the_normal_spelling() {
    let api = start().await;
    let odd = r#"{"fields":[{"type":{"type":"int"},"name":"a"}],"name":"R","namespace":"n","type":"record"}"#;
    api.post("/subjects/s/versions?normalize=True", body(odd)).await.ok();
    let kept = api.get("/subjects/s/versions/1").await.ok()["schema"].clone();
    assert_eq!(kept, r#"{"fields":[{"name":"a","type":"int"}],"name":"n.R","type":"record"}"#);
    assert_eq!(api.post("/subjects/s?normalize=true", body(odd)).await.ok()["id"], 1);
}

#[tokio::test]
async fn modes_hold_writers_back_and_let_imports_keep_their_ids() {
    let api = start().await;
    let mode = |name: &str| Some(json!({ "mode": name }));
    assert_eq!(api.get("/mode").await.ok(), json!({ "mode": "READWRITE" }));
    assert_eq!(api.call("PUT", "/mode/s", mode("IMPORT")).await.ok(), json!({ "mode": "IMPORT" }));
    let import = json!({ "schema": INT, "id": 40, "version": 7 });
    assert_eq!(api.post("/subjects/s/versions", import).await.ok()["id"], 40);
    assert_eq!(api.get("/subjects/s/versions").await.ok(), json!([7]));
    let taken = json!({ "schema": BREAKING, "id": 40 });
    assert_eq!(api.post("/subjects/s/versions", taken).await.body["error_code"], 42205);
    api.call("DELETE", "/mode/s", None).await.ok();
    assert_eq!(api.post("/subjects/s/versions", body(INT_AND_DEFAULT)).await.ok()["id"], 41);
    api.call("PUT", "/mode/", mode("READONLY")).await.ok();
    assert_eq!(api.post("/subjects/s/versions", body(INT)).await.ok()["id"], 40);
    for (method, path, body) in [
        ("POST", "/subjects/t/versions", Some(body(BREAKING))),
        ("DELETE", "/subjects/s", None),
        ("PUT", "/config", Some(json!({ "compatibility": "FULL" }))),
    ] {
        assert_eq!(api.call(method, path, body).await.body["error_code"], 42205, "{path}");
    }
    assert_eq!(api.get("/mode/s?defaultToGlobal=true").await.ok(), json!({ "mode": "READONLY" }));
}

#[tokio::test]
async fn fifty_concurrent_registrations_of_one_schema_are_one_id() {
    let log = Arc::new(MemoryLog::default());
    let api = Caller::new(serve(&Server::open(Arc::clone(&log)).await.unwrap()).await);
    let calls = (0..50).map(|n| {
        let api = api.clone();
        let path = format!("/subjects/s{}/versions", n % 2);
        tokio::spawn(async move { api.post(&path, body(INT)).await.ok()["id"].clone() })
    });
    for id in futures::future::join_all(calls).await {
        assert_eq!(id.unwrap(), 1);
    }
    assert_eq!(log.read_all().await.unwrap().len(), 2);
}

/// What a compacted topic keeps: the last record of each key, without those that end one.
async fn compacted(log: &MemoryLog) -> MemoryLog {
    let records = log.read_all().await.unwrap();
    let last = |key: &Bytes| records.iter().rposition(|(other, _)| other == key).unwrap();
    let kept = records.iter().enumerate().filter(|(at, (key, _))| last(key) == *at);
    let kept = kept.filter(|(_, (_, value))| value.is_some()).map(|(_, record)| record.clone());
    MemoryLog(Mutex::new(kept.collect()))
}

#[tokio::test]
async fn a_restart_reads_everything_back_and_gives_no_id_twice() {
    let log = Arc::new(MemoryLog::default());
    let api = Caller::new(serve(&Server::open(Arc::clone(&log)).await.unwrap()).await);
    let string = "\"string\"";
    api.post("/subjects/s/versions", body(INT)).await.ok();
    api.post("/subjects/s/versions", body(INT_AND_DEFAULT)).await.ok();
    api.call("PUT", "/config/s", Some(json!({ "compatibility": "FULL" }))).await.ok();
    api.call("PUT", "/mode/r", Some(json!({ "mode": "READONLY" }))).await.ok();
    assert_eq!(api.post("/subjects/t/versions", body(string)).await.ok()["id"], 3);
    api.call("DELETE", "/subjects/t", None).await.ok();
    api.call("DELETE", "/subjects/t?permanent=true", None).await.ok();
    api.call("DELETE", "/subjects/s/versions/1", None).await.ok();
    for log in [compacted(&log).await, MemoryLog(Mutex::new(log.read_all().await.unwrap()))] {
        let again = Caller::new(serve(&Server::open(log).await.unwrap()).await);
        for path in [
            "/subjects?deleted=true",
            "/subjects/s/versions",
            "/subjects/s/versions?deleted=true",
            "/subjects/s/versions/latest",
            "/schemas/ids/1",
            "/schemas/ids/3",
            "/config/s",
            "/mode/r",
        ] {
            assert_eq!(again.get(path).await.body, api.get(path).await.body, "{path}");
        }
        assert_eq!(again.post("/subjects/t/versions", body(string)).await.ok()["id"], 4);
    }
}

#[tokio::test]
async fn a_record_that_is_not_a_registrys_stops_the_start() {
    let log = MemoryLog::default();
    log.append(Bytes::from_static(b"?"), None).await.unwrap();
    let cause = Server::open(log).await.err().unwrap();
    assert!(cause.0.starts_with("record 0 of the registry's log cannot be read"), "{cause}");
}

/// Fails while told to, after the record was written: the writer cannot know.
#[derive(Default)]
struct Unsure {
    log: MemoryLog,
    failing: AtomicBool,
}

#[async_trait]
impl Log for Unsure {
    async fn append(&self, key: Bytes, value: Option<Bytes>) -> Result<u64, LogError> {
        let offset = self.log.append(key, value).await?;
        match self.failing.load(Ordering::SeqCst) {
            true => Err(LogError("timed out".to_owned())),
            false => Ok(offset),
        }
    }

    async fn read_all(&self) -> Result<Vec<(Bytes, Option<Bytes>)>, LogError> {
        self.log.read_all().await
    }
}

#[tokio::test]
async fn an_append_of_unknown_outcome_is_not_acknowledged_and_its_id_not_given_twice() {
    let log = Arc::new(Unsure::default());
    let api = Caller::new(serve(&Server::open(Arc::clone(&log)).await.unwrap()).await);
    log.failing.store(true, Ordering::SeqCst);
    let answer = api.post("/subjects/s/versions", body(INT)).await;
    assert_eq!((answer.status, &answer.body["error_code"]), (500, &json!(50001)));
    assert_eq!(api.get("/schemas/ids/1").await.status, 404);
    log.failing.store(false, Ordering::SeqCst);
    assert_eq!(api.post("/subjects/t/versions", body("\"string\"")).await.ok()["id"], 2);
    assert_eq!(api.post("/subjects/s/versions", body(INT)).await.ok()["id"], 1);
}
