//! Connectors declare themselves: a name, a summary, options, an example.
//!
//! `check`, `--help`, the JSON Schema of pipeline files, the reference docs and the console's forms
//! all come from these declarations. A new connector is one file that implements one of the traits
//! here and one line in its crate's list.

mod findings;

use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path as Folder, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{BoxFuture, FutureExt as _, ready};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use schemas::Path;
use serde::de::DeserializeOwned;
use vrl::value::Kind;

use crate::lookup::LookupDeclaration;
use crate::sink::Once;
use crate::study::{Question, Study};
use crate::{Fault, Processor, Sink, Source};

pub use findings::{Finding, Findings, Place};

/// Options as they stand in the file, variables already put in.
pub type Options = serde_json::Value;

/// What a route is built from, besides its own options.
#[derive(Clone)]
pub struct Setup {
    /// The route's full name, `pipeline/route`: part of idempotency keys, metrics and logs.
    pub route: Arc<str>,
    /// The type of the values that the route reads; any object when no schema is declared.
    pub input: Kind,
    /// The schema of the values that it reads, when its topic declares one.
    pub input_schema: Option<schemas::Schema>,
    /// The schema of the values that a source writes, when its topic declares one, or that a look-up
    /// finds, when it is declared. What processors write is held against their topics by the engine.
    pub output_schema: Option<schemas::Schema>,
    /// The folder of the pipeline file: relative paths start here.
    pub folder: PathBuf,
    /// The options of the connection that a source reads from
    /// ([`CONNECTION`](SourceConnector::CONNECTION)), or a look-up asks.
    pub connection: Option<Options>,
    /// Where the pipeline's sources listen for HTTP (`http: { listen: … }`).
    pub listen: std::net::SocketAddr,
    /// Things that routes of one process share (listeners, clients).
    pub shared: Shared,
}

/// Things that routes of one process share, one of each type.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>>);

impl Shared {
    /// The one `T` of this process, made at the first call.
    pub fn get<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let one = all.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        // The entry's key is T's own id, so the cast holds; a fresh T is the honest fallback.
        Arc::clone(one).downcast().unwrap_or_default()
    }
}

/// What a kind of application is, for sinks.
pub trait SinkConnector: 'static {
    /// The word that names it in files.
    const NAME: &'static str;
    /// One sentence for the catalogue.
    const SUMMARY: &'static str;
    /// A whole pipeline file that uses it: one of `docs/examples/`, where it is checked and tested.
    const EXAMPLE: &'static str;
    /// The options of the connection; its doc comments are the user's documentation.
    type Connection: DeserializeOwned + JsonSchema;
    /// The options of the sink in its route, beside those that all sinks share.
    type Options: DeserializeOwned + JsonSchema;

    /// Studies the application of a connection, where that can be done. Nothing is changed there.
    const PROBE: Option<Probe<Self::Connection>> = None;

    /// What it promises about repeats.
    fn once(options: &Self::Options) -> Once;

    /// Whether an event replaces what the target has (an upsert, a PUT): an old event that is sent
    /// again can then overwrite a newer state.
    fn overwrites(_options: &Self::Options) -> bool {
        false
    }

    /// What of its application it covers, in the shape of
    /// [`SinkDeclaration::coverage`]; none for one that is no single application's.
    fn coverage() -> Option<serde_json::Value> {
        None
    }

    /// Looks for mistakes that the options' types do not exclude. Expressions and templates are
    /// checked by the engine.
    fn check(_connection: &Self::Connection, _options: &Self::Options, _findings: &mut Findings) {}

    /// Builds the sink. Opens no connection.
    ///
    /// # Errors
    /// A `Config` fault when the options cannot work.
    fn build(
        connection: Self::Connection,
        options: Self::Options,
        setup: &Setup,
    ) -> Result<Box<dyn Sink>, Fault>;
}

/// What a kind of source is.
pub trait SourceConnector: 'static {
    /// The word that names it in files.
    const NAME: &'static str;
    /// One sentence for the catalogue.
    const SUMMARY: &'static str;
    /// A whole pipeline file that uses it, of `docs/examples/`.
    const EXAMPLE: &'static str;
    /// Whether it must run on one instance at a time: it then writes with
    /// [`send_with_cursor`](crate::publisher::Outlet::send_with_cursor), and starts at its last
    /// [`cursor`](crate::publisher::Outlet::cursor).
    const ONCE: bool = false;
    /// The connector of the connection that it reads from, which the source names with `from`; none
    /// for a source that needs no connection. Its options are in [`Setup::connection`].
    const CONNECTION: Option<&'static str> = None;
    /// Its options; the doc comments are the user's documentation.
    type Options: DeserializeOwned + JsonSchema;

    /// Looks for mistakes that the options' types do not exclude.
    fn check(_options: &Self::Options, _findings: &mut Findings) {}

    /// Looks for mistakes in the files that the options name; relative paths start at `folder`.
    fn check_files(_options: &Self::Options, _folder: &Folder, _findings: &mut Findings) {}

    /// Looks for mistakes in the connection that it reads from.
    ///
    /// # Errors
    /// The connection's schema and its type disagree.
    fn check_connection(_connection: Options, _findings: &mut Findings) -> serde_json::Result<()> {
        Ok(())
    }

    /// Whether it reads from a connection with these options, where its connector has one.
    fn reads(_options: &Self::Options) -> bool {
        Self::CONNECTION.is_some()
    }

    /// The path of the pipeline's HTTP listener that it takes for itself (`/shop`), if it takes one:
    /// two sources cannot take the same.
    fn path(_options: &Self::Options) -> Option<String> {
        None
    }

    /// Builds the source. Opens nothing. `key` is the route's `key:` expression, if any.
    ///
    /// # Errors
    /// A `Config` fault when the options cannot work.
    fn build(
        options: Self::Options,
        key: Option<crate::expression::Expression>,
        setup: &Setup,
    ) -> Result<Box<dyn Source>, Fault>;
}

/// What a kind of processor is.
pub trait ProcessorConnector: 'static {
    /// The word that names it in files.
    const NAME: &'static str;
    /// One sentence for the catalogue.
    const SUMMARY: &'static str;
    /// A whole pipeline file that uses it, of `docs/examples/`.
    const EXAMPLE: &'static str;
    /// Its options; the doc comments are the user's documentation.
    type Options: DeserializeOwned + JsonSchema;

    /// Looks for mistakes. [`Setup::input`] is the type of what the step before emits. What the last
    /// step emits is held against the schemas of the topics by the engine.
    fn check(_options: &Self::Options, _setup: &Setup, _findings: &mut Findings) {}

    /// The type of what it emits, given the type of what it reads: by default the same. Nothing when
    /// its options are wrong.
    fn emits(_options: &Self::Options, setup: &Setup) -> Option<Kind> {
        Some(setup.input.clone())
    }

    /// Where its options decide what is at a path of what it emits; nothing for what it passes on.
    fn origin(_options: &Self::Options, _setup: &Setup, _path: &Path) -> Option<Origin> {
        None
    }

    /// The topics that it chooses from, by [`Emit::send_to`](crate::Emit::send_to): its route then
    /// has no `to`, and it is the last step.
    fn targets(_options: &Self::Options) -> Vec<Target> {
        Vec::new()
    }

    /// Builds the processor.
    ///
    /// # Errors
    /// A `Config` fault when the options cannot work.
    fn build(options: Self::Options, setup: &Setup) -> Result<Box<dyn Processor>, Fault>;
}

/// A place in a connector's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The way to it, as a JSON pointer.
    pub pointer: String,
    /// The bytes of the text that decide, when the value there is a text.
    pub span: Option<Range<usize>>,
}

/// A topic that a step writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where its options name it, as a JSON pointer.
    pub pointer: String,
    /// The topic.
    pub topic: String,
}

/// The topics of these targets, each once, in order: what [`Emit::send_to`](crate::Emit::send_to)
/// counts.
pub fn topics_of(targets: &[Target]) -> Vec<String> {
    let mut topics: Vec<String> = Vec::new();
    for target in targets {
        if !topics.contains(&target.topic) {
            topics.push(target.topic.clone());
        }
    }
    topics
}

/// What comes of options that have been held against their schema; it fails only where a schema and
/// its type disagree.
pub type Checked<T> = Result<T, serde_json::Error>;
pub(crate) type Built<T> = Result<Box<T>, Fault>;
/// What becomes of a probe: a study, or why there is none.
pub type Probing = BoxFuture<'static, Result<Study, Fault>>;
/// Studies the application of a connection.
pub type Probe<Connection> = fn(Connection, Question, Setup) -> Probing;
type ProbeOptions = dyn Fn(Options, Question, Setup) -> Probing + Send + Sync;
type CheckSink = dyn Fn(Options, Options, &mut Findings) -> Checked<()> + Send + Sync;
type BuildSink = dyn Fn(Options, Options, &Setup) -> Built<dyn Sink> + Send + Sync;

/// A sink connector in a list: declared by a type ([`SinkConnector`]), or by a file that describes an
/// application ([`Descriptions`]).
#[derive(Clone)]
pub struct SinkDeclaration {
    /// The word that names it in files.
    pub name: Cow<'static, str>,
    /// One sentence.
    pub summary: Cow<'static, str>,
    /// A whole pipeline file that uses it.
    pub example: Cow<'static, str>,
    /// What of an application it covers, for people and programs: its objects, their operations, what
    /// each promises about repeats, what it lacks. None for one that is no single application's.
    pub coverage: Option<Arc<serde_json::Value>>,
    /// The JSON Schema of its connection's options.
    pub connection: Schema,
    /// The JSON Schema of its own options.
    pub options: Schema,
    /// What it promises about repeats, given its options.
    pub once: Arc<dyn Fn(Options) -> Checked<Once> + Send + Sync>,
    /// See [`SinkConnector::overwrites`].
    pub overwrites: Arc<dyn Fn(Options) -> Checked<bool> + Send + Sync>,
    /// See [`SinkConnector::check`].
    pub check: Arc<CheckSink>,
    /// See [`SinkConnector::build`].
    pub build: Arc<BuildSink>,
    /// See [`SinkConnector::PROBE`].
    pub probe: Option<Arc<ProbeOptions>>,
}

/// How files that describe applications become sink connectors.
#[derive(Clone)]
pub struct Descriptions {
    /// The JSON Schema of such a file.
    pub schema: Schema,
    /// Declares what a file of that shape describes; none when something is wrong with it. Pointers
    /// of what it finds start at the file's root.
    pub declare: fn(Options, &mut Findings) -> Checked<Option<SinkDeclaration>>,
}

/// A source connector in a list.
#[derive(Clone)]
pub struct SourceDeclaration {
    /// The word that names it in files.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// A whole pipeline file that uses it.
    pub example: &'static str,
    /// The JSON Schema of its options.
    pub options: Schema,
    /// See [`SourceConnector::ONCE`].
    pub once: bool,
    /// See [`SourceConnector::CONNECTION`].
    pub connection: Option<&'static str>,
    /// See [`SourceConnector::check`] and [`SourceConnector::check_files`].
    pub check: fn(Options, &Folder, &mut Findings) -> Checked<()>,
    /// See [`SourceConnector::check_connection`].
    pub check_connection: fn(Options, &mut Findings) -> Checked<()>,
    /// See [`SourceConnector::reads`].
    pub reads: fn(Options) -> Checked<bool>,
    /// See [`SourceConnector::path`].
    pub path: fn(Options) -> Checked<Option<String>>,
    /// See [`SourceConnector::build`].
    pub build: fn(Options, Option<crate::expression::Expression>, &Setup) -> Built<dyn Source>,
}

/// A processor connector in a list.
#[derive(Clone)]
pub struct ProcessorDeclaration {
    /// The word that names it in files.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// A whole pipeline file that uses it.
    pub example: &'static str,
    /// The JSON Schema of its options.
    pub options: Schema,
    /// See [`ProcessorConnector::check`].
    pub check: fn(Options, &Setup, &mut Findings) -> Checked<()>,
    /// See [`ProcessorConnector::emits`].
    pub emits: fn(Options, &Setup) -> Checked<Option<Kind>>,
    /// See [`ProcessorConnector::origin`].
    pub origin: fn(Options, &Setup, &Path) -> Checked<Option<Origin>>,
    /// See [`ProcessorConnector::targets`].
    pub targets: fn(Options) -> Checked<Vec<Target>>,
    /// See [`ProcessorConnector::build`].
    pub build: fn(Options, &Setup) -> Built<dyn Processor>,
}

/// Everything that files can name, in the order of the lists.
#[derive(Clone, Default)]
pub struct Catalogue {
    /// The sources.
    pub sources: Vec<SourceDeclaration>,
    /// The processors.
    pub processors: Vec<ProcessorDeclaration>,
    /// What processors look up.
    pub lookups: Vec<LookupDeclaration>,
    /// The sinks.
    pub sinks: Vec<SinkDeclaration>,
    /// How a user's own descriptions of applications are read, if they are.
    pub descriptions: Option<Descriptions>,
}

impl Catalogue {
    /// The sink connector of this name.
    pub fn sink(&self, name: &str) -> Option<&SinkDeclaration> {
        self.sinks.iter().find(|sink| sink.name == name)
    }
}

/// The JSON Schema of a type, as files are held against it.
pub fn schema_of<T: JsonSchema>() -> Schema {
    SchemaGenerator::new(
        schemars::generate::SchemaSettings::draft2020_12()
            .with(|settings| settings.inline_subschemas = true),
    )
    .into_root_schema_for::<T>()
}

impl Setup {
    /// The connection that a source reads from.
    ///
    /// # Errors
    /// A `Config` fault: there is none, or it is of another type.
    pub fn connection<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        read("connection", self.connection.clone().unwrap_or(Options::Null))
    }
}

/// The file has been held against the schema before, so this fails only where a schema and its
/// type disagree; the message still names the connector.
pub(crate) fn read<T: DeserializeOwned>(name: &str, options: Options) -> Result<T, Fault> {
    serde_json::from_value(options).map_err(|error| {
        Fault::config("options", format!("The options of `{name}` cannot be read: {error}."))
    })
}

impl SinkDeclaration {
    /// The declaration of `C`.
    pub fn of<C: SinkConnector>() -> Self {
        Self {
            name: C::NAME.into(),
            summary: C::SUMMARY.into(),
            example: C::EXAMPLE.into(),
            coverage: C::coverage().map(Arc::new),
            connection: schema_of::<C::Connection>(),
            options: schema_of::<C::Options>(),
            once: Arc::new(|options| Ok(C::once(&serde_json::from_value(options)?))),
            overwrites: Arc::new(|options| Ok(C::overwrites(&serde_json::from_value(options)?))),
            check: Arc::new(|connection, options, findings| {
                C::check(
                    &serde_json::from_value(connection)?,
                    &serde_json::from_value(options)?,
                    findings,
                );
                Ok(())
            }),
            build: Arc::new(|connection, options, setup| {
                C::build(read(C::NAME, connection)?, read(C::NAME, options)?, setup)
            }),
            probe: C::PROBE.map(|probe| -> Arc<ProbeOptions> {
                Arc::new(move |connection, question, setup| match read(C::NAME, connection) {
                    Ok(connection) => probe(connection, question, setup),
                    Err(fault) => ready(Err(fault)).boxed(),
                })
            }),
        }
    }
}

impl SourceDeclaration {
    /// The declaration of `C`.
    pub fn of<C: SourceConnector>() -> Self {
        Self {
            name: C::NAME,
            summary: C::SUMMARY,
            example: C::EXAMPLE,
            options: schema_of::<C::Options>(),
            once: C::ONCE,
            connection: C::CONNECTION,
            check_connection: C::check_connection,
            check: |options, folder, findings| {
                let options = serde_json::from_value(options)?;
                C::check(&options, findings);
                C::check_files(&options, folder, findings);
                Ok(())
            },
            reads: |options| Ok(C::reads(&serde_json::from_value(options)?)),
            path: |options| Ok(C::path(&serde_json::from_value(options)?)),
            build: |options, key, setup| C::build(read(C::NAME, options)?, key, setup),
        }
    }
}

impl ProcessorDeclaration {
    /// The declaration of `C`.
    pub fn of<C: ProcessorConnector>() -> Self {
        Self {
            name: C::NAME,
            summary: C::SUMMARY,
            example: C::EXAMPLE,
            options: schema_of::<C::Options>(),
            check: |options, setup, findings| {
                C::check(&serde_json::from_value(options)?, setup, findings);
                Ok(())
            },
            emits: |options, setup| Ok(C::emits(&serde_json::from_value(options)?, setup)),
            origin: |options, setup, path| {
                Ok(C::origin(&serde_json::from_value(options)?, setup, path))
            },
            targets: |options| Ok(C::targets(&serde_json::from_value(options)?)),
            build: |options, setup| C::build(read(C::NAME, options)?, setup),
        }
    }
}
