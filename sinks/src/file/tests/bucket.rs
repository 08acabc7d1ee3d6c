//! The sink over a bucket in memory, whose requests fail when they are told to.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryFutureExt as _};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};

use super::*;

/// A store that answers so many requests, then none.
#[derive(Debug)]
struct Store {
    memory: InMemory,
    left: AtomicUsize,
    /// Whether it does what it is asked in the request that it leaves without an answer.
    acts: AtomicBool,
    /// Whether it replaces objects although it is asked not to.
    replaces: bool,
}

impl Store {
    fn new(replaces: bool) -> Arc<Self> {
        let (left, acts) = (AtomicUsize::new(usize::MAX), AtomicBool::new(false));
        Arc::new(Self { memory: InMemory::new(), left, acts, replaces })
    }

    fn answers(&self, requests: usize, acts: bool) {
        self.left.store(requests, Ordering::Relaxed);
        self.acts.store(acts, Ordering::Relaxed);
    }

    async fn ask<T>(&self, request: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        if left > 0 {
            return request.await;
        }
        if self.acts.swap(false, Ordering::Relaxed) {
            let _ = request.await;
        }
        Err(Error::Generic { store: "test", source: "no answer".into() })
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store of tests")
    }
}

#[async_trait]
impl ObjectStore for Store {
    async fn put_opts(
        &self,
        path: &Path,
        bytes: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        if self.replaces {
            options.mode = PutMode::Overwrite;
        }
        self.ask(self.memory.put_opts(path, bytes, options)).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.memory.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.ask(self.memory.get_opts(path, options)).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.memory.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.left.load(Ordering::Relaxed) {
            0 => futures::stream::iter([Err(Error::Generic {
                store: "test",
                source: "no answer".into(),
            })])
            .boxed(),
            left => {
                self.left.store(left - 1, Ordering::Relaxed);
                self.memory.list(prefix)
            }
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.memory.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl MultipartStore for Store {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.ask(self.memory.create_multipart(path)).await
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        index: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        self.ask(self.memory.put_part(path, id, index, data)).await
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        // The store in memory has no better word for an upload that it does not know.
        let unknown =
            |error: Error| Error::NotFound { path: path.to_string(), source: error.into() };
        let completed = self.memory.complete_multipart(path, id, parts).map_err(unknown);
        self.ask(completed).await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.ask(self.memory.abort_multipart(path, id)).await
    }
}

/// The sink of a process that has just started.
fn started(store: &Arc<Store>, options: Json) -> Box<dyn Sink> {
    let mut whole = json!({ "format": "json_lines" });
    whole.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let schema = schemas::Schema::parse(SCHEMA).unwrap();
    let setup = Setup {
        input: schemas::kind(&schema),
        input_schema: Some(schema),
        ..crate::tests::setup()
    };
    let objects = exchange::bucket::Bucket::new(Arc::<Store>::clone(store), "the bucket `lake`");
    let bucket = Bucket::new(objects, &setup.route);
    super::super::sink(Box::new(bucket), serde_json::from_value(whole).unwrap(), &setup).unwrap()
}

/// Every object that readers see, by its key.
async fn objects(store: &Store) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut listed = store.memory.list(None);
    while let Some(object) = listed.next().await {
        let path = object.unwrap().location;
        if !path.as_ref().starts_with('.') {
            let bytes = store.memory.get(&path).await.unwrap().bytes().await.unwrap();
            found.push((path.to_string(), String::from_utf8(bytes.to_vec()).unwrap()));
        }
    }
    found.sort();
    found
}

/// The orders in all objects, by number.
async fn numbers(store: &Store) -> Vec<i64> {
    let number = |line: &str| {
        let row: Json = serde_json::from_str(line).unwrap();
        row["id"].as_str().unwrap().trim_start_matches("O-").parse().unwrap()
    };
    let objects = objects(store).await;
    let mut numbers: Vec<i64> =
        objects.iter().flat_map(|(_, text)| text.lines()).map(number).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn what_comes_again_in_other_batches_is_in_one_object() {
    let store = Store::new(false);
    assert_eq!(deliver(&*started(&store, json!({})), &orders(0..10)).await, 0);
    let restarted = started(&store, json!({}));
    assert_eq!(deliver(&*restarted, &orders(5..15)).await, 5);
    assert_eq!(deliver(&*restarted, &orders([16, 15, 14])).await, 1);
    assert_eq!(numbers(&store).await, (0..17).collect::<Vec<_>>());
    let by_country = json!({ "path": "country={{ .country }}" });
    assert_eq!(deliver(&*started(&store, by_country), &orders(0..18)).await, 17);
    let keys: Vec<_> = objects(&store).await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(
        keys,
        [
            "country=FR/shop.orders-3-000000000017-000000000017.jsonl",
            "shop.orders-3-000000000000-000000000009.jsonl",
            "shop.orders-3-000000000010-000000000014.jsonl",
            "shop.orders-3-000000000015-000000000016.jsonl",
        ]
    );
}

/// A process dies after each of its requests in turn, with or without what it asked last being done.
#[tokio::test]
async fn a_batch_is_in_all_its_folders_or_in_none_whenever_the_process_dies() {
    let by_country = || json!({ "path": "{{ .country }}" });
    let mut died = 0;
    for (requests, acts) in (0..40).flat_map(|requests| [(requests, false), (requests, true)]) {
        let store = Store::new(false);
        deliver(&*started(&store, by_country()), &orders(0..3)).await;
        store.answers(requests, acts);
        let outcomes = started(&store, by_country()).deliver(&orders(3..9), 1).await;
        died += usize::from(outcomes.iter().any(Result::is_err));
        let seen = numbers(&store).await.len();
        assert!((3..=9).contains(&seen), "{requests}: {seen}");
        store.answers(usize::MAX, false);
        // What an entry says comes to be there before anything else does.
        let restarted = started(&store, by_country());
        deliver(&*restarted, &orders(0..1)).await;
        assert!(
            matches!(numbers(&store).await.len(), 3 | 9),
            "{requests}, {acts}: a part is there"
        );
        deliver(&*restarted, &orders(2..7)).await;
        deliver(&*restarted, &orders(0..12)).await;
        assert_eq!(numbers(&store).await, (0..12).collect::<Vec<_>>(), "{requests}, {acts}");
    }
    assert!((10..80).contains(&died), "{died}: some lived on");
}

#[tokio::test]
async fn of_two_processes_that_write_one_partition_one_goes_on_and_nothing_is_there_twice() {
    let store = Store::new(false);
    let (one, other) = (started(&store, json!({})), started(&store, json!({})));
    deliver(&*one, &orders(0..2)).await;
    assert_eq!(deliver(&*other, &orders(0..4)).await, 2);
    // It has not seen what the other has written.
    let refused = fault(&*one, &orders(2..6)).await;
    assert_eq!((refused.cause, refused.retry), ("partition_in_use", Retry::Route), "{refused}");
    assert_eq!(deliver(&*one, &orders(2..6)).await, 2);
    assert_eq!(deliver(&*started(&store, json!({})), &orders(0..6)).await, 6);
    assert_eq!(numbers(&store).await, (0..6).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_store_that_does_not_keep_them_apart_is_found_out() {
    let refused = fault(&*started(&Store::new(true), json!({})), &orders(0..2)).await;
    assert_eq!(refused.cause, "condition_ignored");
    assert!(refused.message.contains("`conditional_put: false`"), "{refused}");
}

#[tokio::test]
async fn an_object_that_a_reader_took_away_is_not_written_again_and_nobodys_is_replaced() {
    let store = Store::new(false);
    deliver(&*started(&store, json!({})), &orders(0..4)).await;
    let taken = Path::from(objects(&store).await[0].0.as_str());
    store.memory.delete(&taken).await.unwrap();
    let sink = started(&store, json!({}));
    assert_eq!(deliver(&*sink, &orders(0..4)).await, 4);
    assert!(objects(&store).await.is_empty());
    let mine = Path::from("shop.orders-3-000000000004-000000000005.jsonl");
    store.memory.put(&mine, "mine".into()).await.unwrap();
    let refused = fault(&*sink, &orders(4..6)).await;
    assert_eq!((refused.cause, refused.retry), ("file_there", Retry::Route), "{refused}");
    assert_eq!(objects(&store).await[0].1, "mine");
}

#[tokio::test]
async fn a_long_journal_is_read_from_its_last_whole_entry_and_forgets_nothing() {
    let store = Store::new(false);
    let sink = started(&store, json!({}));
    // 2 comes late: it went to the dead letters.
    for number in (0..251).filter(|number| *number != 2).chain([2]) {
        deliver(&*sink, &orders([number])).await;
    }
    let folder = Path::from(".passerelle/orders.target/shop.orders-3");
    let mut listed: Vec<_> =
        store.memory.list(Some(&folder)).map(|found| found.unwrap().location).collect().await;
    listed.sort();
    assert_eq!(listed.len(), 252, "a head, and one for each batch");
    for old in &listed[1..200] {
        store.memory.delete(old).await.unwrap();
    }
    assert_eq!(deliver(&*started(&store, json!({})), &orders(0..252)).await, 251);
    store.memory.delete(&listed[230]).await.unwrap();
    let damaged = fault(&*started(&store, json!({})), &orders(0..1)).await;
    assert_eq!(damaged.cause, "journal_damaged", "{damaged}");
    let anew = Event { timestamp: 1_790_000_000_000, ..order(1) };
    assert_eq!(fault(&*sink, &[anew]).await.cause, "topic_made_anew");
}
