//! What a pipeline file may hold: the common sections and the connectors' declarations, composed
//! into JSON Schemas.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value as Json, json};

use super::sections::{
    Admin, EnrichCommon, Http, Kafka, Outcomes, ProcessorCommon, Registry, SinkCommon,
    SourceCommon, Test, Topic,
};
use crate::Catalogue;

/// The keyword that lists the fields of which a section has exactly one, or at least one.
pub(super) const CHOICE: &str = "x-choice";
/// The keyword that lists the fields that do as well as one of the choice.
pub(super) const ALSO: &str = "x-also";

/// The schemas that files are held against.
pub struct Grammar {
    /// The file, its routes and connections excepted: those are any maps here.
    pub(super) file: Json,
    /// One connection: exactly one connector with its options.
    pub(super) connection: Json,
    /// One source.
    pub(super) source: Json,
    /// One processor.
    pub(super) processor: Json,
    /// One thing that processors look up.
    pub(super) enrichment: Json,
    /// What all sinks have.
    pub(super) sink: Json,
    /// The sinks of each connector.
    pub(super) sinks: Vec<(String, Json)>,
    /// A file that describes an application; any if the catalogue reads none.
    pub(super) description: Json,
    /// The definitions that the schemas refer to, by name.
    pub(super) definitions: Map<String, Json>,
}

impl Grammar {
    /// The grammar of files that use these connectors.
    pub fn of(catalogue: &Catalogue) -> Self {
        let mut definitions = Map::new();
        let mut take = |name: &str, schema: &schemars::Schema| {
            hoist(schema.as_value().clone(), name, &mut definitions)
        };
        let connectors: Vec<_> = catalogue
            .sinks
            .iter()
            .map(|sink| {
                let connection = take(&format!("connections.{}", sink.name), &sink.connection);
                (&*sink.name, described(connection, &sink.summary))
            })
            .collect();
        let sources: Vec<_> = catalogue
            .sources
            .iter()
            .map(|source| {
                let options = take(&format!("sources.{}", source.name), &source.options);
                (source.name, described(options, source.summary))
            })
            .collect();
        let processors: Vec<_> = catalogue
            .processors
            .iter()
            .map(|processor| {
                let options = take(&format!("processors.{}", processor.name), &processor.options);
                (processor.name, described(options, processor.summary))
            })
            .collect();
        let lookups: Vec<_> = catalogue
            .lookups
            .iter()
            .map(|lookup| {
                let options = take(&format!("lookups.{}", lookup.name), &lookup.options);
                (lookup.name, described(options, lookup.summary))
            })
            .collect();
        let enrichment = choice(&common::<EnrichCommon>(), "look-up", 1, lookups);
        let mut sink = common::<SinkCommon>();
        sink["properties"]["wait_for"]["additionalProperties"] = awaited(enrichment.clone());
        let sinks = catalogue
            .sinks
            .iter()
            .map(|declared| {
                let options = take(&format!("sinks.{}", declared.name), &declared.options);
                (declared.name.to_string(), merge(&sink, &described(options, &declared.summary)))
            })
            .collect();
        let mut processor = common::<ProcessorCommon>();
        processor["properties"]["enrich"]["additionalProperties"] = enrichment.clone();
        let mut processor = choice(&processor, "processor", usize::MAX, processors);
        // A processor may do these without a step.
        for field in ["deduplicate", "enrich"] {
            processor[ALSO][field] = true.into();
            if let Some(choices) = processor["anyOf"].as_array_mut() {
                choices.push(json!({ "required": [field] }));
            }
        }
        let nothing = json!({ "type": "object", "properties": {} });
        let description = catalogue.descriptions.as_ref().map(|descriptions| {
            hoist(descriptions.schema.as_value().clone(), "description", &mut definitions)
        });
        Self {
            file: file(),
            connection: choice(&nothing, "connector", 1, connectors),
            source: choice(&common::<SourceCommon>(), "source", 1, sources),
            processor,
            enrichment,
            sink,
            sinks,
            description: description.unwrap_or(Json::Bool(true)),
            definitions,
        }
    }

    /// The JSON Schema of files that describe applications, for editors.
    pub fn description_schema(&self) -> Json {
        let mut schema = self.description.clone();
        if !self.definitions.is_empty() {
            schema["$defs"] = Json::Object(self.definitions.clone());
        }
        close(&mut schema);
        schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
        schema["title"] = "A description of an application for Passerelle".into();
        schema
    }

    /// The schema of the sinks of a connector.
    pub(super) fn sink(&self, connector: &str) -> Option<&Json> {
        self.sinks.iter().find(|(name, _)| name == connector).map(|(_, schema)| schema)
    }

    /// One JSON Schema for whole files, for editors.
    pub fn json_schema(&self) -> Json {
        let mut schema = self.file.clone();
        let any_sink: Vec<_> = self.sinks.iter().map(|(_, sink)| sink.clone()).collect();
        let sections = [
            ("connections", self.connection.clone()),
            ("sources", self.source.clone()),
            ("processors", self.processor.clone()),
            ("sinks", json!({ "anyOf": any_sink })),
        ];
        for (section, schema_of_one) in sections {
            schema["properties"][section]["additionalProperties"] = schema_of_one;
        }
        if !self.definitions.is_empty() {
            schema["$defs"] = Json::Object(self.definitions.clone());
        }
        close(&mut schema);
        schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
        schema["title"] = "A pipeline of Passerelle".into();
        schema["patternProperties"] = json!({ "^x-": true });
        schema
    }
}

/// The names that a sink's options share with what all sinks have: such an option could not be
/// set. A test holds the real catalogue to none.
pub fn clashes(catalogue: &Catalogue) -> Vec<String> {
    let of_sinks = catalogue.sinks.iter().map(|sink| (&*sink.name, sink.options.as_value()));
    let common = common::<SinkCommon>();
    let names = |schema: &Json| -> Vec<String> {
        let properties = schema.get("properties").and_then(Json::as_object);
        properties.map(|all| all.keys().cloned().collect()).unwrap_or_default()
    };
    let taken = names(&common);
    of_sinks
        .flat_map(|(sink, options)| {
            let clashing = names(options).into_iter().filter(|name| taken.contains(name));
            clashing.map(|name| format!("{sink}.{name}")).collect::<Vec<_>>()
        })
        .collect()
}

/// The schema of a type of this crate.
pub(super) fn schema_of<T: JsonSchema>() -> Json {
    let settings = schemars::generate::SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true);
    let mut schema = SchemaGenerator::new(settings).into_root_schema_for::<T>().to_value();
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("$schema");
        schema.remove("title");
    }
    schema
}

fn common<T: JsonSchema>() -> Json {
    schema_of::<T>()
}

fn file() -> Json {
    let any_map = json!({ "type": "object" });
    let map_of = |description: &str, one: Json| json!({ "type": "object", "description": description, "additionalProperties": one });
    json!({
        "type": "object",
        "properties": {
            "name": {
                "type": "string",
                "description": "The pipeline's name, part of its consumer groups and of the names of its dead letters: small letters, digits, `_` and `-`.",
            },
            "kafka": schema_of::<Kafka>(),
            "registry": schema_of::<Registry>(),
            "http": schema_of::<Http>(),
            "admin": schema_of::<Admin>(),
            "outcomes": schema_of::<Outcomes>(),
            "data": {
                "type": "string",
                "description": "The folder for what is kept on disk, from the file's own folder: the embedded broker's files, schemas by id.",
                "default": "passerelle-data",
            },
            "applications": {
                "type": "array",
                "description": "Files that describe applications which the catalogue lacks, from the file's own folder: each becomes a connector. Those in the folder `applications` beside the file are taken without being named.",
                "items": { "type": "string" },
            },
            "connections": map_of("Applications, by a name of yours: one connector each, with address and credentials.", any_map.clone()),
            "topics": map_of("Topics, by their names in Kafka.", schema_of::<Topic>()),
            "sources": map_of("Sources, by a name of yours: each turns what an application says into events on a topic.", any_map.clone()),
            "processors": map_of("Processors, by a name of yours: each reads a topic and writes a topic.", any_map.clone()),
            "sinks": map_of("Sinks, by a name of yours: each delivers a topic to a connection.", any_map),
            "tests": {
                "type": "array",
                "description": "Examples, run by `passerelle test`.",
                "items": schema_of::<Test>(),
            },
        },
        "required": ["name"],
    })
}

/// A look-up of which nothing matters but that something is found.
fn awaited(mut lookup: Json) -> Json {
    if let Some(properties) = lookup["properties"].as_object_mut() {
        properties.retain(|name, _| !["on_miss", "schema"].contains(&name.as_str()));
    }
    lookup
}

/// A section that has some of these fields, at most `most` of them.
fn choice(base: &Json, noun: &str, most: usize, fields: Vec<(&str, Json)>) -> Json {
    let mut schema = base.clone();
    let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    let required: Vec<_> = names.iter().map(|name| json!({ "required": [name] })).collect();
    schema[CHOICE] = json!({ "noun": noun, "names": names, "most": most });
    // For editors; the validator reads the keyword above.
    schema[if most == 1 { "oneOf" } else { "anyOf" }] = required.into();
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.extend(fields.into_iter().map(|(name, field)| (name.to_owned(), field)));
    }
    schema
}

/// The connector's summary stands before what its options say of themselves.
fn described(mut schema: Json, summary: &str) -> Json {
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("$schema");
        schema.remove("title");
        schema.insert("description".to_owned(), summary.into());
    }
    schema
}

/// Both schemas at once: the fields of both; for everything else the second one's word.
pub(super) fn merge(base: &Json, more: &Json) -> Json {
    let (Some(base), Some(more)) = (base.as_object(), more.as_object()) else {
        return more.clone();
    };
    let mut both = base.clone();
    for (keyword, value) in more {
        match (keyword.as_str(), both.get_mut(keyword), value) {
            ("properties", Some(Json::Object(properties)), Json::Object(others)) => {
                properties.extend(others.clone());
            }
            ("required", Some(Json::Array(required)), Json::Array(others)) => {
                required.extend(others.iter().cloned());
            }
            _ => {
                both.insert(keyword.clone(), value.clone());
            }
        }
    }
    Json::Object(both)
}

/// Moves a schema's definitions to the common ones, under names of their own. A type that holds
/// itself, which `schemars` refers to as `#`, becomes one of them.
pub(super) fn hoist(mut schema: Json, owner: &str, definitions: &mut Map<String, Json>) -> Json {
    let own = schema.as_object_mut().and_then(|schema| schema.remove("$defs"));
    let mut holds_itself = rename_references(&mut schema, owner);
    if let Some(Json::Object(own)) = own {
        for (name, mut definition) in own {
            holds_itself |= rename_references(&mut definition, owner);
            definitions.insert(format!("{owner}.{name}"), definition);
        }
    }
    if holds_itself {
        definitions.insert(owner.to_owned(), schema.clone());
    }
    schema
}

/// Returns whether the schema refers to its root.
fn rename_references(schema: &mut Json, owner: &str) -> bool {
    let mut to_root = false;
    match schema {
        Json::Object(fields) => {
            if let Some(Json::String(reference)) = fields.get_mut("$ref") {
                if reference == "#" {
                    to_root = true;
                    *reference = format!("#/$defs/{owner}");
                } else if let Some(name) = reference.strip_prefix("#/$defs/") {
                    *reference = format!("#/$defs/{owner}.{name}");
                }
            }
            for value in fields.values_mut() {
                to_root |= rename_references(value, owner);
            }
        }
        Json::Array(items) => {
            for item in items {
                to_root |= rename_references(item, owner);
            }
        }
        _ => {}
    }
    to_root
}

/// Says for editors what the validator does of itself: unknown fields are refused.
fn close(schema: &mut Json) {
    let Some(fields) = schema.as_object_mut() else { return };
    let mut branches = 0;
    for (keyword, value) in fields.iter_mut() {
        match (keyword.as_str(), value) {
            ("properties" | "$defs", Json::Object(inner)) => inner.values_mut().for_each(close),
            ("items" | "additionalProperties", inner) => close(inner),
            ("oneOf" | "anyOf" | "allOf", Json::Array(inner)) => {
                inner.iter_mut().for_each(close);
                branches += inner.iter().filter(|one| one.get("properties").is_some()).count();
            }
            _ => {}
        }
    }
    // A field that a branch brings would be refused by the base.
    let open = fields.contains_key("additionalProperties") || branches > 0;
    if fields.contains_key("properties") && !open {
        fields.insert("additionalProperties".to_owned(), false.into());
    }
}
