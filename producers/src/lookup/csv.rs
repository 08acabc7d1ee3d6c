//! The look-up `csv`: a CSV file, held in memory by the texts of one column.
//!
//! A thread looks at the file every second. It is read when it was written to, once it is complete: nobody
//! has written to it for two seconds. What cannot be read does not take the place of what is held: that
//! stays, and the log says why.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use engine::connector::{Finding, Findings, Place, Setup};
use engine::lookup::{Around, Held, LookupConnector};
use engine::options::Size;
use engine::{Enrichment, Fault, Lookup, Value};
use schemars::JsonSchema;
use serde::Deserialize;
use vrl::value::Kind;
use vrl::value::kind::Collection;

use crate::file::table::{SETTLED, Stamp, Table, TableFile, is_settled};
use crate::file::{Csv as Format, Writing};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// The largest file that may be asked for.
const LARGEST: u64 = 1 << 30;

/// A CSV file in memory.
pub struct Csv {
    file: Arc<TableFile>,
    watched: OnceLock<Arc<Watched>>,
    /// What examples find.
    at_hand: OnceLock<Result<Table, Fault>>,
}

/// A CSV file, whose rows are found by the text in one column. It may be replaced at any time, best by
/// renaming a complete one: it is read again once nobody has written to it for two seconds.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct CsvOptions {
    /// The file, from the pipeline file's own folder.
    pub file: PathBuf,
    /// The column of the keys; each key stands in one row.
    pub key: String,
    /// How it is cut into columns.
    #[serde(flatten)]
    pub format: Format,
    /// How texts say what they say, where `schema` wants more than texts.
    #[serde(flatten)]
    pub writing: Writing,
    /// The largest file that is read. In memory it takes several times its size.
    #[serde(default = "CsvOptions::default_largest")]
    pub largest: Size,
}

impl CsvOptions {
    fn default_largest() -> Size {
        Size(16 << 20)
    }

    fn table(&self, folder: &Path, setup: Option<&Setup>) -> Result<TableFile, Fault> {
        let schema = setup.and_then(|setup| setup.output_schema.clone());
        let path = folder.join(&self.file);
        TableFile::new(path, &self.key, self.largest.0, &self.format, &self.writing, schema)
    }

    /// What is wrong with the file as it is now. It is no part of the pipeline, and may be mended or
    /// come later: none of it keeps the pipeline from running.
    fn look_into(&self, folder: &Path) -> Option<(&'static str, String, &'static str)> {
        let file = self.table(folder, None).ok()?;
        if !file.is_there() {
            let cause = format!("there is no file `{}` here", self.file.display());
            let hint =
                "paths start at the folder of the pipeline file; the route waits for the file";
            return Some(("file_missing", cause, hint));
        }
        let fault = file.read().err()?;
        Some((fault.cause, fault.message, "the route waits until the file can be read"))
    }
}

impl LookupConnector for Csv {
    const NAME: &'static str = "csv";
    const SUMMARY: &'static str =
        "A CSV file, held in memory by the texts of one column, and read again when it changes.";
    const EXAMPLE: &'static str =
        include_str!("../../../docs/examples/lines-with-articles/pipeline.yaml");
    const CONNECTION: bool = false;
    type Options = CsvOptions;

    fn check(options: &CsvOptions, folder: &Path, findings: &mut Findings) {
        let before = findings.0.len();
        let mut wrong = |option: &str, code, cause: &str, hint: &str| {
            findings.route(&format!("/{option}"), code, cause, hint);
        };
        options.format.check(&mut wrong);
        options.writing.check(&mut wrong);
        if options.format.columns.as_ref().is_some_and(|names| !names.contains(&options.key)) {
            let cause = format!("`columns` has no `{}`.", options.key);
            wrong("key", "key_missing", &cause, "Name one of the columns.");
        }
        if !(1..=LARGEST).contains(&options.largest.0) {
            let cause = "`largest` lies between 1 byte and 1GiB.";
            wrong("largest", "largest", cause, "Leave it out, or write 16MiB.");
        }
        if findings.0.len() > before {
            return;
        }
        if let Some((code, cause, hint)) = options.look_into(folder) {
            findings.0.push(Finding {
                place: Place::Route,
                pointer: "/file".to_owned(),
                span: None,
                warning: true,
                code,
                cause,
                hint: Some(hint.to_owned()),
            });
        }
    }

    fn kind(_: &CsvOptions) -> Kind {
        Kind::object(Collection::from_unknown(Kind::bytes()))
    }

    fn build(options: CsvOptions, setup: &Setup) -> Result<Box<dyn Lookup>, Fault> {
        let file = Arc::new(options.table(&setup.folder, Some(setup))?);
        Ok(Box::new(Self { file, watched: OnceLock::new(), at_hand: OnceLock::new() }))
    }
}

#[async_trait]
impl Lookup for Csv {
    fn begin(&self, _: &Around<'_>) -> Result<(), Fault> {
        let name = self.file.name();
        let awaited = Fault::remote("file_being_read", format!("`{name}` is being read."));
        let file = Arc::clone(&self.file);
        let watched = Arc::new(Watched { file, held: Held::awaited(awaited) });
        let weak = Arc::downgrade(&watched);
        if self.watched.set(watched).is_err() {
            return Ok(());
        }
        let thread = thread::Builder::new().name("lookup".to_owned());
        thread.spawn(move || watch(&weak)).map(drop).map_err(|error| {
            Fault::internal("thread", format!("No thread to read `{name}`: {error}."))
        })
    }

    fn holds(&self) -> bool {
        true
    }

    fn at_hand(&self, key: &Value) -> Option<Result<Option<Value>, Fault>> {
        let read = || self.file.read().map(|(table, _)| table);
        let found = self.at_hand.get_or_init(read).as_ref().map_err(Clone::clone);
        Some(found.map(|table| table.get(&Enrichment::text(key)).cloned()))
    }

    async fn find(&self, key: &Value) -> Result<Option<Value>, Fault> {
        let Some(watched) = self.watched.get() else {
            let message = format!("`{}` is looked up in before it is read.", self.file.name());
            return Err(Fault::internal("lookup", message));
        };
        let table = watched.held.get().await?;
        Ok(table.get(&Enrichment::text(key)).cloned())
    }
}

/// A file that a thread looks at, for as long as this lives.
struct Watched {
    file: Arc<TableFile>,
    held: Held<Table>,
}

/// What was seen of a file.
#[derive(Default)]
struct Seen {
    /// What it is, and since when nobody has written to it.
    last: Option<(Stamp, Instant)>,
    /// What it was when it was read, or could not be.
    read: Option<Stamp>,
    /// What was said of it last.
    said: Option<String>,
}

fn watch(watched: &Weak<Watched>) {
    let mut seen = Seen::default();
    while let Some(watched) = watched.upgrade() {
        watched.look(&mut seen);
        drop(watched);
        thread::sleep(LOOK);
    }
}

impl Watched {
    fn look(&self, seen: &mut Seen) {
        let stamp = match self.file.stamp() {
            Ok(stamp) => stamp,
            Err(fault) => return self.say(fault, seen),
        };
        let since = match seen.last {
            Some((last, since)) if last == stamp => since,
            _ => seen.last.insert((stamp, Instant::now())).1,
        };
        if seen.read == Some(stamp) {
            return;
        }
        // Where it is the first one, its own time tells, so that a start does not wait.
        if since.elapsed() < SETTLED && (self.held.is_there() || !is_settled(&stamp)) {
            let message = format!("`{}` is being written.", self.file.name());
            if !self.held.is_there() {
                self.held.refuse(Fault::remote("file_being_written", message));
            }
            return;
        }
        match self.file.read() {
            Ok((table, read)) => {
                let (file, rows) = (self.file.name(), table.len());
                tracing::info!(file, rows, "a file is held in memory, to be looked up in");
                (seen.read, seen.said) = (Some(read), None);
                self.held.set(Arc::new(table));
            }
            Err(fault) => {
                // Only one that was written to meanwhile is another without being written again.
                seen.read = (fault.cause != "file_changed").then_some(stamp);
                self.say(fault, seen);
            }
        }
    }

    /// The route waits if nothing is held, and goes on with what is.
    fn say(&self, fault: Fault, seen: &mut Seen) {
        let held = self.held.is_there();
        if seen.said.as_ref() != Some(&fault.message) {
            let file = self.file.name();
            match held {
                true => tracing::warn!(file, %fault, "what was read before stays in use"),
                false => tracing::warn!(file, %fault, "the route waits for the file"),
            }
            seen.said = Some(fault.message.clone());
        }
        if !held {
            self.held.refuse(fault);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use engine::Domain;
    use engine::connector::Shared;
    use engine::kafka::Cluster;
    use schemas::Schema;
    use schemas::registry::{Registry, RegistryConfig};
    use serde_json::{Value as Json, json};

    use super::*;

    const ARTICLES: &str = "sku;number;price\ntea;4711;19,90\ncup;4712;\"1 004,00\"\n";
    const PRICED: &str = r#"{"type":"record","name":"Article","fields":[
        {"name":"number","type":"long"},
        {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":18,"scale":2}}]}"#;

    struct World(tempfile::TempDir);

    impl World {
        fn new(content: &str) -> Self {
            let world = Self(tempfile::tempdir().unwrap());
            world.write(content);
            world
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("articles.csv")
        }

        fn write(&self, content: &str) {
            std::fs::write(self.path(), content).unwrap();
        }

        /// Puts a complete file in the place of the one that is there.
        fn replace(&self, content: &str) {
            let new = self.0.path().join(".new");
            std::fs::write(&new, content).unwrap();
            std::fs::rename(new, self.path()).unwrap();
        }

        fn options(&self, more: Json) -> CsvOptions {
            let mut options = json!({ "file": "articles.csv", "key": "sku", "delimiter": ";" });
            options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value(options).unwrap()
        }

        fn lookup(&self, more: Json, schema: Option<&str>) -> Box<dyn Lookup> {
            let setup = Setup {
                route: "tests/lookup".into(),
                input: Kind::any(),
                input_schema: None,
                output_schema: schema.map(|schema| Schema::parse(schema).unwrap()),
                connection: None,
                listen: ([127, 0, 0, 1], 0).into(),
                folder: self.0.path().into(),
                shared: Shared::default(),
            };
            Csv::build(self.options(more), &setup).unwrap()
        }

        /// A look-up at work.
        fn begun(&self) -> Box<dyn Lookup> {
            let lookup = self.lookup(json!({}), None);
            let registry = Registry::new(RegistryConfig::new("http://127.0.0.1:1")).unwrap();
            let cluster = Cluster::new("127.0.0.1:1");
            let around = Around { cluster: &cluster, registry: &registry, topics: &[] };
            lookup.begin(&around).unwrap();
            lookup
        }

        fn findings(&self, more: Json) -> Vec<(&'static str, String, bool)> {
            let mut findings = Findings::default();
            Csv::check(&self.options(more), self.0.path(), &mut findings);
            findings.0.into_iter().map(|one| (one.code, one.cause, one.warning)).collect()
        }
    }

    /// What is found, once nothing needs to be waited for.
    async fn found(lookup: &dyn Lookup, key: &str) -> Option<Value> {
        for _ in 0..30 {
            match lookup.find(&key.into()).await {
                Ok(found) => return found,
                Err(fault) => assert_eq!(fault.domain, Domain::Remote, "{fault}"),
            }
        }
        panic!("in vain: {key}");
    }

    /// Waits until an article has this number.
    async fn until_number(lookup: &dyn Lookup, key: &str, number: &str) {
        for _ in 0..600 {
            let found = found(lookup, key).await;
            let found = found.as_ref().and_then(|found| found.as_object()?.get("number"));
            if found == Some(&number.into()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("in vain: {key} {number}");
    }

    #[tokio::test]
    async fn a_row_is_found_by_its_key_as_texts_or_as_the_schema_says() {
        let world = World::new(&format!("{ARTICLES}42;4713;1,00\n;;\n;;\n"));
        let lookup = world.begun();
        let tea = vrl::value!({ sku: "tea", number: "4711", price: "19,90" });
        assert_eq!(found(&*lookup, "tea").await, Some(tea));
        assert_eq!(found(&*lookup, "pot").await, None);
        assert_eq!(found(&*lookup, "").await, None, "rows of nothing are none");
        let by_number = lookup.find(&Value::from(42)).await.unwrap().unwrap();
        assert_eq!(by_number.as_object().unwrap()["number"], "4713".into());
        let numbers = json!({ "numbers": { "decimal": ",", "thousands": " " } });
        let cup = world.lookup(numbers, Some(PRICED)).at_hand(&"cup".into()).unwrap();
        let cup = cup.unwrap().unwrap();
        assert_eq!(schemas::json::write(&cup), r#"{"number":4712,"price":"1004.00"}"#);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_rows() {
        for (content, code, parts) in [
            (
                "sku;number\na;1\nb;2\na;3\nb;4\na;5\n",
                "keys_twice",
                ["`a` (rows 1 and 3)", "`b` (rows 2"],
            ),
            ("number;name\n1;a\n", "key_missing", ["no column `sku`", "`name`"]),
            ("sku;number\na;1\nb\n", "ragged_row", ["row 2 (line 3)", "1 columns"]),
            ("sku;number\n\"a;1\n", "quote_unclosed", ["row 1", "quote"]),
        ] {
            let world = World::new(content);
            let fault = world.lookup(json!({}), None).at_hand(&"a".into()).unwrap().unwrap_err();
            assert_eq!((fault.domain, fault.cause), (Domain::Remote, code), "{fault}");
            assert!(fault.message.starts_with("`articles.csv`"), "{fault}");
            assert!(parts.iter().all(|part| fault.message.contains(part)), "{fault}");
            let [(found, cause, warning)] = &world.findings(json!({}))[..] else { panic!() };
            assert_eq!((*found, cause, *warning), (code, &fault.message, true));
        }
        let world = World::new("sku;number\nM\u{fc}ller;1\n");
        let small = world.findings(json!({ "largest": 5 }));
        assert_eq!(small[0].0, "file_too_large");
        std::fs::write(world.path(), b"sku;number\nM\xfcller;1\n").unwrap();
        assert_eq!(world.findings(json!({}))[0].0, "not_in_encoding");
        let latin = world.lookup(json!({ "encoding": "CP1252" }), None);
        assert!(latin.at_hand(&"M\u{fc}ller".into()).unwrap().unwrap().is_some());
    }

    #[test]
    fn the_check_tells_mistakes_and_warns_of_a_file_that_is_not_there() {
        let world = World::new(ARTICLES);
        assert_eq!(world.findings(json!({})), []);
        let code = |more| world.findings(more)[0].0;
        assert_eq!(code(json!({ "delimiter": "\u{e9}" })), "delimiter");
        assert_eq!(code(json!({ "encoding": "latin-99" })), "encoding");
        assert_eq!(code(json!({ "largest": "2GiB" })), "largest");
        assert_eq!(code(json!({ "columns": ["number", "name"] })), "key_missing");
        let [(code, _, warning)] = world.findings(json!({ "file": "other.csv" }))[..] else {
            panic!()
        };
        assert_eq!((code, warning), ("file_missing", true));
    }

    #[tokio::test]
    async fn a_file_that_changes_is_read_again_and_a_bad_one_leaves_what_was_there() {
        let world = World::new(ARTICLES);
        let lookup = world.begun();
        until_number(&*lookup, "tea", "4711").await;
        world.replace(&ARTICLES.replace("4711", "5000"));
        until_number(&*lookup, "tea", "5000").await;
        world.replace("sku;number;price\ntea;1;1\ntea;2;2\n");
        tokio::time::sleep(Duration::from_secs(5)).await;
        until_number(&*lookup, "tea", "5000").await;
        std::fs::remove_file(world.path()).unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        until_number(&*lookup, "tea", "5000").await;
        world.replace(&ARTICLES.replace("4711", "6000"));
        until_number(&*lookup, "tea", "6000").await;
    }

    #[tokio::test]
    async fn a_file_that_is_being_written_is_never_seen_in_half() {
        let world = World::new(ARTICLES);
        let lookup = world.begun();
        until_number(&*lookup, "tea", "4711").await;
        let mut file = std::fs::File::create(world.path()).unwrap();
        file.write_all(b"sku;number;price\ntea;5000;1\n").unwrap();
        for number in 0..20 {
            writeln!(file, "x{number};{number};1").unwrap();
            tokio::time::sleep(Duration::from_millis(250)).await;
            let tea = lookup.find(&"tea".into()).await.unwrap().unwrap();
            assert_eq!(tea.as_object().unwrap()["number"], "4711".into(), "what was read whole");
            assert!(lookup.find(&"cup".into()).await.unwrap().is_some());
        }
        writeln!(file, "last;1;1").unwrap();
        drop(file);
        until_number(&*lookup, "tea", "5000").await;
        assert!(lookup.find(&"last".into()).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn without_its_file_a_route_waits_and_says_so() {
        let world = World::new(ARTICLES);
        std::fs::remove_file(world.path()).unwrap();
        let lookup = world.begun();
        let fault = lookup.find(&"tea".into()).await.unwrap_err();
        assert_eq!((fault.domain, fault.cause), (Domain::Remote, "file_unreadable"));
        assert!(fault.message.contains("articles.csv"), "{fault}");
        world.replace(ARTICLES);
        until_number(&*lookup, "tea", "4711").await;
    }
}
