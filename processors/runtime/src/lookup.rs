//! Look-ups: what a route asks an application, or holds in memory: to enrich events before a
//! processor's steps, or to know whether that is there which a sink's events wait for.

mod held;
mod topic;

use std::path::Path;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema};
use schemas::registry::Registry;
use serde::de::DeserializeOwned;
use vrl::value::Kind;

use crate::connector::{Built, Checked, Findings, Options, Setup, read, schema_of};
use crate::kafka::Cluster;
use crate::{Enrichment, Fault, Value, runtime};

pub use held::Held;
pub use topic::{Bounds, Topic, TopicOptions};

/// What a look-up may hold in memory is read from.
pub struct Around<'a> {
    /// The brokers.
    pub cluster: &'a Cluster,
    /// The registry.
    pub registry: &'a Registry,
    /// The pipeline's topics.
    pub topics: &'a [runtime::Topic],
}

impl Around<'_> {
    /// Begins to read what look-ups hold in memory.
    ///
    /// # Errors
    /// One can never be read.
    pub(crate) fn begin(&self, all: &[Enrichment]) -> Result<(), Fault> {
        all.iter().try_for_each(|one| one.lookup.begin(self))
    }
}

/// Finds what belongs to a key.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// Begins to read what is held in memory, for one that holds it all. Called once, before the route
    /// reads its topic. It waits for nothing: [`find`](Self::find) does.
    ///
    /// # Errors
    /// It can never be read; the route stops.
    fn begin(&self, _around: &Around<'_>) -> Result<(), Fault> {
        Ok(())
    }

    /// How many keys of one partition may be looked up at once.
    fn at_once(&self) -> usize {
        16
    }

    /// Whether it holds all in memory: what it finds is not remembered a second time, and has its
    /// declared form.
    fn holds(&self) -> bool {
        false
    }

    /// What belongs to a key, where that is told by a file that lies beside the pipeline's; nothing for
    /// others. Examples use it.
    fn at_hand(&self, _key: &Value) -> Option<Result<Option<Value>, Fault>> {
        None
    }

    /// What belongs to a key; nothing where there is nothing.
    ///
    /// # Errors
    /// A `Remote` fault makes the route wait, and is tried again; a `Data` fault (the key itself is
    /// refused) sends the event to the route's dead letters.
    async fn find(&self, key: &Value) -> Result<Option<Value>, Fault>;

    /// Connects to the application that it asks for `check --connect`, and tells in a few words what
    /// was found; nothing where it asks none. Changes nothing there.
    ///
    /// # Errors
    /// What keeps it from asking.
    async fn connect(&self) -> Result<Option<String>, Fault> {
        Ok(None)
    }
}

/// What a kind of look-up is.
pub trait LookupConnector: 'static {
    /// The word that names it in files, and the connector of the connection that it asks, if it asks
    /// one.
    const NAME: &'static str;
    /// One sentence for the catalogue.
    const SUMMARY: &'static str;
    /// A whole pipeline file that uses it, of `docs/examples/`.
    const EXAMPLE: &'static str;
    /// Whether it asks a connection, which `lookup` names; one that does not holds all in memory.
    const CONNECTION: bool = true;
    /// Its options; the doc comments are the user's documentation.
    type Options: DeserializeOwned + JsonSchema;

    /// Looks for mistakes that the options' types do not exclude. Relative paths start at the folder.
    fn check(_options: &Self::Options, _folder: &Path, _findings: &mut Findings) {}

    /// The topic that it holds, if it holds one: what is found has its schema.
    fn topic(_options: &Self::Options) -> Option<String> {
        None
    }

    /// The type of what is found where no schema tells it.
    fn kind(_options: &Self::Options) -> Kind {
        Kind::json()
    }

    /// Looks for mistakes in the connection that it asks.
    ///
    /// # Errors
    /// The connection's schema and its type disagree.
    fn check_connection(_connection: Options, _findings: &mut Findings) -> serde_json::Result<()> {
        Ok(())
    }

    /// Builds the look-up, which asks [`Setup::connection`]; what it finds takes the form of
    /// [`Setup::output_schema`], if that is declared. Opens nothing.
    ///
    /// # Errors
    /// A `Config` fault when the options cannot work.
    fn build(options: Self::Options, setup: &Setup) -> Result<Box<dyn Lookup>, Fault>;
}

/// A look-up connector in a list.
#[derive(Clone)]
pub struct LookupDeclaration {
    /// The word that names it in files.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// A whole pipeline file that uses it.
    pub example: &'static str,
    /// The JSON Schema of its options.
    pub options: Schema,
    /// See [`LookupConnector::CONNECTION`].
    pub connection: bool,
    /// See [`LookupConnector::check`].
    pub check: fn(Options, &Path, &mut Findings) -> Checked<()>,
    /// See [`LookupConnector::topic`].
    pub topic: fn(Options) -> Checked<Option<String>>,
    /// See [`LookupConnector::kind`].
    pub kind: fn(Options) -> Checked<Kind>,
    /// See [`LookupConnector::check_connection`].
    pub check_connection: fn(Options, &mut Findings) -> serde_json::Result<()>,
    /// See [`LookupConnector::build`].
    pub build: fn(Options, &Setup) -> Built<dyn Lookup>,
}

impl LookupDeclaration {
    /// The declaration of `C`.
    pub fn of<C: LookupConnector>() -> Self {
        Self {
            name: C::NAME,
            summary: C::SUMMARY,
            example: C::EXAMPLE,
            options: schema_of::<C::Options>(),
            connection: C::CONNECTION,
            check: |options, folder, findings| {
                C::check(&serde_json::from_value(options)?, folder, findings);
                Ok(())
            },
            topic: |options| Ok(C::topic(&serde_json::from_value(options)?)),
            kind: |options| Ok(C::kind(&serde_json::from_value(options)?)),
            check_connection: C::check_connection,
            build: |options, setup| C::build(read(C::NAME, options)?, setup),
        }
    }
}
