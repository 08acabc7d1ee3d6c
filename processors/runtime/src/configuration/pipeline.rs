//! A pipeline as its file says it, checked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value as Json;
use vrl::value::Kind;
use vrl::value::kind::Collection;

use super::sections::{
    Admin, EnrichCommon, Http, Kafka, Outcomes, ProcessorCommon, Registry, SinkCommon,
    SourceCommon, Test, Topic,
};
use crate::connector::{Options, Setup, Shared, SinkDeclaration};

/// A pipeline whose file has no mistakes.
#[derive(Clone, PartialEq)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    /// The folder of that file: relative paths start here.
    pub folder: PathBuf,
    /// The brokers; the embedded broker if there are none.
    pub kafka: Option<Kafka>,
    /// The schema registry; the embedded one if there is none.
    pub registry: Option<Registry>,
    /// Where its sources listen.
    pub http: Http,
    /// Where metrics and states are served.
    pub admin: Admin,
    /// What is kept of each event's way.
    pub outcomes: Outcomes,
    /// The folder for what is kept on disk.
    pub data: PathBuf,
    /// Its connections, by name, whether a route uses them or not.
    pub connections: BTreeMap<String, ConnectionSection>,
    /// Its topics, by name.
    pub topics: BTreeMap<String, DeclaredTopic>,
    /// Its sources, in the file's order.
    pub sources: Vec<SourceSection>,
    /// Its processors, in the file's order.
    pub processors: Vec<ProcessorSection>,
    /// Its sinks, in the file's order.
    pub sinks: Vec<SinkSection>,
    /// Its examples.
    pub tests: Vec<Test>,
    /// The applications that its own files describe.
    pub applications: Vec<Application>,
}

/// A file that describes an application, and the connector that it is.
#[derive(Clone)]
pub struct Application {
    /// The file.
    pub file: PathBuf,
    /// Its text: what it describes is what it was as long as this is the same.
    pub text: String,
    /// The connector.
    pub declaration: SinkDeclaration,
}

impl PartialEq for Application {
    fn eq(&self, other: &Self) -> bool {
        (&self.file, &self.text) == (&other.file, &other.text)
    }
}

/// A topic and its schema.
#[derive(Debug, Clone, PartialEq)]
pub struct DeclaredTopic {
    /// What the file says.
    pub settings: Topic,
    /// The schema that it names, parsed.
    pub schema: Option<schemas::Schema>,
}

/// A connection of the file.
#[derive(Clone, PartialEq)]
pub struct ConnectionSection {
    /// Its connector's name.
    pub connector: String,
    /// Its options.
    pub options: Options,
}

/// A source of the file.
#[derive(Clone, PartialEq)]
pub struct SourceSection {
    /// Its name.
    pub name: String,
    /// What all sources have.
    pub common: SourceCommon,
    /// Its connector's name.
    pub connector: String,
    /// The options of the connection that it reads from, if its connector reads from one.
    pub connection: Option<Options>,
    /// Its connector's options.
    pub options: Options,
}

/// A processor of the file.
#[derive(Clone, PartialEq)]
pub struct ProcessorSection {
    /// Its name.
    pub name: String,
    /// What all processors have.
    pub common: ProcessorCommon,
    /// The topics that it writes: `to`, or those that its last step chooses from.
    pub outputs: Vec<String>,
    /// What its events are enriched with, in the file's order.
    pub enrichments: Vec<EnrichSection>,
    /// The steps that it takes, in the file's order: each one's name and options.
    pub steps: Vec<(String, Options)>,
}

/// Something that is looked up.
#[derive(Clone, PartialEq)]
pub struct EnrichSection {
    /// The field that events get; for a sink, what it calls what it waits for.
    pub field: String,
    /// What all look-ups have.
    pub common: EnrichCommon,
    /// The form of what is found, if the file or its topic tells it.
    pub schema: Option<schemas::Schema>,
    /// Its connector's name.
    pub connector: String,
    /// The options of the connection that it asks, if it asks one.
    pub connection: Option<Options>,
    /// Its connector's options.
    pub options: Options,
    /// The type of the field.
    pub kind: Kind,
}

/// A sink of the file.
#[derive(Clone, PartialEq)]
pub struct SinkSection {
    /// Its name.
    pub name: String,
    /// What all sinks have.
    pub common: SinkCommon,
    /// The connector of its connection.
    pub connector: String,
    /// The options of the connection.
    pub connection: Options,
    /// What has to be there before an event is delivered.
    pub awaited: Vec<EnrichSection>,
    /// The connector's options in the sink itself.
    pub options: Options,
}

impl Pipeline {
    /// What a route is built from that reads and writes these topics.
    pub fn setup(
        &self,
        route: &str,
        from: Option<&str>,
        to: Option<&str>,
        shared: &Shared,
    ) -> Setup {
        let schema = |topic| self.topics.get(topic).and_then(|topic| topic.schema.clone());
        let input_schema = from.and_then(schema);
        Setup {
            route: format!("{}/{route}", self.name).into(),
            input: input_schema.as_ref().map_or_else(any_object, schemas::kind),
            input_schema,
            output_schema: to.and_then(schema),
            folder: self.folder.clone(),
            connection: None,
            listen: self.http.listen,
            shared: shared.clone(),
        }
    }
}

/// Gives a value of this type a field.
pub(super) fn set_field(kind: &mut Kind, field: &str, of: Kind) {
    if let Some(fields) = kind.as_object_mut() {
        fields.known_mut().insert(field.into(), of);
    }
}

/// The type of events whose topic declares no schema.
pub(super) fn any_object() -> Kind {
    Kind::object(Collection::any())
}

/// Secrets lie in the options, so that only names are shown.
impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sources: Vec<_> = self.sources.iter().map(|route| &route.name).collect();
        let processors: Vec<_> = self.processors.iter().map(|route| &route.name).collect();
        let sinks: Vec<_> = self.sinks.iter().map(|route| &route.name).collect();
        f.debug_struct("Pipeline")
            .field("name", &self.name)
            .field("file", &self.file)
            .field("topics", &self.topics.keys())
            .field("sources", &sources)
            .field("processors", &processors)
            .field("sinks", &sinks)
            .finish_non_exhaustive()
    }
}

/// The options that a section has beside those that all of its kind have.
pub(super) fn own_options(section: &Json, common: &Json) -> Options {
    let shared = common.get("properties").and_then(Json::as_object);
    let own = |name: &String| shared.is_none_or(|shared| !shared.contains_key(name));
    let fields = section.as_object().into_iter().flatten();
    fields
        .filter(|(name, _)| own(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
