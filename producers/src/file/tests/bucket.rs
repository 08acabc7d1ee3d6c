//! The source over a bucket in memory.

use exchange::bucket::Bucket;
use futures::StreamExt as _;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};

use super::super::bucket;
use super::*;

/// The source as it starts.
fn run(place: &Place, memory: &Arc<InMemory>, then: Json) -> Run {
    let options = json!({
        "folder": "in/", "pattern": "*.csv", "format": { "csv": { "delimiter": ";" } },
        "numbers": { "decimal": ",", "thousands": " " }, "dates": ["%d/%m/%Y"], "then": then,
    });
    let objects = Bucket::new(Arc::<InMemory>::clone(memory), "the bucket `exports`");
    let options = serde_json::from_value(options).unwrap();
    place.start(bucket::open(objects, &options, key(), &place.setup()).unwrap())
}

async fn put(memory: &InMemory, name: &str, text: String) {
    memory.put(&Path::from(name), text.into()).await.unwrap();
}

async fn keys(memory: &InMemory) -> Vec<String> {
    let mut keys: Vec<_> =
        memory.list(None).map(|found| found.unwrap().location.to_string()).collect().await;
    keys.sort();
    keys
}

#[tokio::test]
async fn rows_of_objects_are_read_once_over_kills_and_put_away() {
    let (place, memory) = (Place::with(json!({})), Arc::new(InMemory::new()));
    put(&memory, "in/a.csv", HEAD.to_owned() + &rows(0..2_500)).await;
    put(&memory, "in/b.txt", "not read".to_owned()).await;
    put(&memory, "in/deeper/c.csv", HEAD.to_owned() + &rows(7_000..7_001)).await;
    put(&memory, "done/a.csv", "another".to_owned()).await;
    let then = || json!({ "archive": "done" });
    for _ in 0..2 {
        place.kill_after(Some(1));
        run(&place, &memory, then()).round().await.unwrap_err();
        assert_eq!(keys(&memory).await.len(), 4);
    }
    place.kill_after(None);
    run(&place, &memory, then()).round().await.unwrap();
    assert_eq!((place.desk.ids().len(), place.distinct_ids()), (2_500, 2_500));
    let archived = keys(&memory).await;
    assert_eq!(archived.len(), 4);
    assert!(archived[1].starts_with("done/a.csv.") && archived[2] == "in/b.txt", "{archived:?}");

    // The same content again, under another name, and left there.
    put(&memory, "in/again.csv", HEAD.to_owned() + &rows(0..2_500)).await;
    run(&place, &memory, json!("leave")).round().await.unwrap();
    run(&place, &memory, json!("delete")).round().await.unwrap();
    assert_eq!(place.desk.ids().len(), 2_500);
    assert_eq!(keys(&memory).await, archived);
}

#[test]
fn what_would_read_what_it_archived_is_refused() {
    for (folder, then, code) in [
        ("in", json!({ "archive": "in/" }), "archive"),
        ("in//deeper", json!("leave"), "folder"),
        ("in", json!({ "archive": "../done" }), "folder"),
    ] {
        let options = json!({ "folder": folder, "format": "json_lines", "then": then });
        let options: S3Options = serde_json::from_value(options).unwrap();
        let mut findings = Findings::default();
        S3::check(&options, &mut findings);
        let found: Vec<_> = findings.0.iter().map(|finding| finding.code).collect();
        assert_eq!(found, [code]);
    }
}
