//! Expressions and templates as they stand in the file.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// A VRL expression as it stands in the file, for example `.customer.id`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Expression(pub String);

/// A VRL program as it stands in the file: statements that change `.`, the event's value, for
/// example `.web_id = del(.id)`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Map(pub String);

/// A text that may hold VRL between `{{` and `}}`, for example `/orders/{{ .id }}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Template(pub String);

/// An expression or a template that reads something else than the route's events, such as an
/// application's answer: its connector compiles it, when the file is checked too.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Own<T>(pub T);

/// The formats `expression` and `template` tell the checker of files to compile the text, with the
/// type of the route's input; a `map` is checked by its processor, with the output's schema too.
macro_rules! schema {
    ($type:ident, $format:literal) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format })
            }

            fn inline_schema() -> bool {
                true
            }
        }
    };
}

schema!(Expression, "expression");
schema!(Map, "map");

impl<T: JsonSchema> JsonSchema for Own<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Own{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = T::json_schema(generator);
        let format = schema.get("format").and_then(|format| format.as_str()).map(str::to_owned);
        schema.insert("format".to_owned(), format!("own_{}", format.unwrap_or_default()).into());
        schema
    }

    fn inline_schema() -> bool {
        true
    }
}
schema!(Template, "template");
