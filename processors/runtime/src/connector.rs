//! Connectors declare themselves: a name, a summary, options, an example.
//!
//! `check`, `--help`, the JSON Schema of pipeline files, the reference docs and the console's forms
//! all come from these declarations. A new connector is one file that implements one of the traits
//! here and one line in its crate's list.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use vrl::value::Kind;

use crate::sink::Once;
use crate::{Fault, Processor, Sink, Source};

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
    /// The schema of the values that it writes, when its topic declares one.
    pub output_schema: Option<schemas::Schema>,
    /// The folder of the pipeline file: relative paths start here.
    pub folder: PathBuf,
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

/// Where in the file a finding belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The route's own section; for a processor, its step's value in it.
    Route,
    /// The section of the connection that the route uses.
    Connection,
}

/// A mistake that a connector found in its options.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The section it is in.
    pub place: Place,
    /// The way from that section to the value, as a JSON pointer (`/headers/Accept`).
    pub pointer: String,
    /// The bytes of the text that are wrong, when the value is a text.
    pub span: Option<Range<usize>>,
    /// True when the file can be run all the same.
    pub warning: bool,
    /// A short stable name of the mistake, in snake case.
    pub code: &'static str,
    /// What is wrong, as a sentence.
    pub cause: String,
    /// What to do.
    pub hint: Option<String>,
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// Adds a mistake in the route's section.
    pub fn route(
        &mut self,
        pointer: &str,
        code: &'static str,
        cause: impl Into<String>,
        hint: &str,
    ) {
        self.add(Place::Route, pointer, code, cause.into(), hint);
    }

    /// Adds a mistake in the connection's section.
    pub fn connection(
        &mut self,
        pointer: &str,
        code: &'static str,
        cause: impl Into<String>,
        hint: &str,
    ) {
        self.add(Place::Connection, pointer, code, cause.into(), hint);
    }

    fn add(&mut self, place: Place, pointer: &str, code: &'static str, cause: String, hint: &str) {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        self.0.push(Finding {
            place,
            pointer: pointer.to_owned(),
            span: None,
            warning: false,
            code,
            cause,
            hint,
        });
    }
}

/// What a kind of application is, for sinks.
pub trait SinkConnector: 'static {
    /// The word that names it in files.
    const NAME: &'static str;
    /// One sentence for the catalogue.
    const SUMMARY: &'static str;
    /// A whole pipeline file that uses it. A test holds that `check` accepts it.
    const EXAMPLE: &'static str;
    /// The options of the connection; its doc comments are the user's documentation.
    type Connection: DeserializeOwned + JsonSchema;
    /// The options of the sink in its route, beside those that all sinks share.
    type Options: DeserializeOwned + JsonSchema;

    /// What it promises about repeats.
    fn once(options: &Self::Options) -> Once;

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
    /// A whole pipeline file that uses it.
    const EXAMPLE: &'static str;
    /// Its options; the doc comments are the user's documentation.
    type Options: DeserializeOwned + JsonSchema;

    /// Looks for mistakes that the options' types do not exclude.
    fn check(_options: &Self::Options, _findings: &mut Findings) {}

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
    /// A whole pipeline file that uses it.
    const EXAMPLE: &'static str;
    /// Its options; the doc comments are the user's documentation.
    type Options: DeserializeOwned + JsonSchema;

    /// Looks for mistakes, with the schemas at both ends.
    fn check(_options: &Self::Options, _setup: &Setup, _findings: &mut Findings) {}

    /// Builds the processor.
    ///
    /// # Errors
    /// A `Config` fault when the options cannot work.
    fn build(options: Self::Options, setup: &Setup) -> Result<Box<dyn Processor>, Fault>;
}

type Checked<T> = Result<T, serde_json::Error>;
type Built<T> = Result<Box<T>, Fault>;

/// A sink connector in a list.
pub struct SinkDeclaration {
    /// The word that names it in files.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// A whole pipeline file that uses it.
    pub example: &'static str,
    /// The JSON Schema of its connection's options.
    pub connection: Schema,
    /// The JSON Schema of its own options.
    pub options: Schema,
    /// What it promises about repeats, given its options.
    pub once: fn(Options) -> Checked<Once>,
    /// See [`SinkConnector::check`].
    pub check: fn(Options, Options, &mut Findings) -> Checked<()>,
    /// See [`SinkConnector::build`].
    pub build: fn(Options, Options, &Setup) -> Built<dyn Sink>,
}

/// A source connector in a list.
pub struct SourceDeclaration {
    /// The word that names it in files.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// A whole pipeline file that uses it.
    pub example: &'static str,
    /// The JSON Schema of its options.
    pub options: Schema,
    /// See [`SourceConnector::check`].
    pub check: fn(Options, &mut Findings) -> Checked<()>,
    /// See [`SourceConnector::path`].
    pub path: fn(Options) -> Checked<Option<String>>,
    /// See [`SourceConnector::build`].
    pub build: fn(Options, Option<crate::expression::Expression>, &Setup) -> Built<dyn Source>,
}

/// A processor connector in a list.
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
    /// See [`ProcessorConnector::build`].
    pub build: fn(Options, &Setup) -> Built<dyn Processor>,
}

/// Everything that files can name, in the order of the lists.
#[derive(Default)]
pub struct Catalogue {
    /// The sources.
    pub sources: Vec<SourceDeclaration>,
    /// The processors, in the order in which a route applies them.
    pub processors: Vec<ProcessorDeclaration>,
    /// The sinks.
    pub sinks: Vec<SinkDeclaration>,
}

fn schema_of<T: JsonSchema>() -> Schema {
    SchemaGenerator::new(
        schemars::generate::SchemaSettings::draft2020_12()
            .with(|settings| settings.inline_subschemas = true),
    )
    .into_root_schema_for::<T>()
}

/// The file has been held against the schema before, so this fails only where a schema and its
/// type disagree; the message still names the connector.
fn read<T: DeserializeOwned>(name: &str, options: Options) -> Result<T, Fault> {
    serde_json::from_value(options).map_err(|error| {
        Fault::config("options", format!("The options of `{name}` cannot be read: {error}."))
    })
}

impl SinkDeclaration {
    /// The declaration of `C`.
    pub fn of<C: SinkConnector>() -> Self {
        Self {
            name: C::NAME,
            summary: C::SUMMARY,
            example: C::EXAMPLE,
            connection: schema_of::<C::Connection>(),
            options: schema_of::<C::Options>(),
            once: |options| Ok(C::once(&serde_json::from_value(options)?)),
            check: |connection, options, findings| {
                C::check(
                    &serde_json::from_value(connection)?,
                    &serde_json::from_value(options)?,
                    findings,
                );
                Ok(())
            },
            build: |connection, options, setup| {
                C::build(read(C::NAME, connection)?, read(C::NAME, options)?, setup)
            },
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
            check: |options, findings| {
                C::check(&serde_json::from_value(options)?, findings);
                Ok(())
            },
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
            build: |options, setup| C::build(read(C::NAME, options)?, setup),
        }
    }
}
